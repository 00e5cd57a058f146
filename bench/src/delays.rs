//! W5: how late delayed jobs start. Counted from before the call that hands them in, so that what the call takes is part of
//! it; one that starts before its time voids the figure.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use windlass::{Context, Draft, Durability, JobError, RocksJournal};

use crate::Failure;
use crate::figure::{Figure, Run, Stopwatch};
use crate::latency::{Lap, Notes, Timed, shares};
use crate::work;

const RUNS: usize = 5;
const JOBS: u32 = 20_000;
/// The first is due after this time, the last after twice as much.
const SPREAD: Duration = Duration::from_secs(1);

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for level in work::levels()? {
        let laps = (0..RUNS).map(|_| lap(dir, level)).collect::<Result<Vec<_>, _>>()?;
        figures.extend(shares("delays", "lateness of 20,000 delayed jobs within 1 s", level, &laps));
    }
    Ok(figures)
}

fn lap(dir: &Path, level: Durability) -> Result<Lap, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let notes = Arc::new(Notes::new());
        let is_early = Arc::new(AtomicBool::new(false));
        let (noted, early) = (notes.clone(), is_early.clone());
        let handler = move |job: Timed, cx: Context<()>| {
            early.fetch_or(noted.note(&job, cx.id()), Ordering::AcqRel);
            std::future::ready(Ok::<(), JobError>(()))
        };
        let engine = windlass::Engine::builder().journal(RocksJournal::at(dir.path()));
        let engine = engine.queue(work::queue(level)).handler(handler).start().await?;
        let watch = Stopwatch::start();
        let mut ids = Vec::new();
        for bulk in 0..JOBS / 1_000 {
            let called = Instant::now();
            let drafts = (0..1_000).map(|n| {
                let delay = SPREAD + SPREAD * (bulk * 1_000 + n) / JOBS;
                Draft::new(&Timed::new(notes.ns(called + delay))).delay(delay)
            });
            ids.extend(engine.enqueue_all(drafts).await?.into_iter().map(|receipt| receipt.id));
        }
        work::all_done(&engine, &notes.seen, JOBS.into()).await?;
        let run = watch.rate(JOBS.into());
        work::stop(engine).await?;
        let exact = notes.seen.were_exactly(&ids) && !is_early.load(Ordering::Acquire);
        Ok(Lap { latencies_us: notes.sorted(), run: Run { exact: Some(exact), ..run } })
    })
}
