//! W7: how long an urgent job waits behind a million that are ready, while they are worked off.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use windlass::{Context, Draft, Durability, Engine, JobError, Priority, RocksJournal};

use crate::Failure;
use crate::figure::{Figure, Run, Stopwatch};
use crate::latency::{Lap, Notes, Timed, shares};
use crate::work::{self, BULK, QUEUE};

const RUNS: usize = 5;
const BACKLOG: u64 = 1_000_000;
const URGENT: u64 = 50;
const EVERY: Duration = Duration::from_millis(20);

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for level in work::levels()? {
        let laps = (0..RUNS).map(|_| lap(dir, level)).collect::<Result<Vec<_>, _>>()?;
        figures.extend(shares("urgent", "an urgent job behind 1,000,000", level, &laps));
    }
    Ok(figures)
}

fn lap(dir: &Path, level: Durability) -> Result<Lap, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let notes = Arc::new(Notes::new());
        let noted = notes.clone();
        let handler = move |job: Timed, cx: Context<()>| {
            if job.is_timed() {
                noted.note(&job, cx.id());
            } else {
                noted.seen.note(cx.id());
            }
            std::future::ready(Ok::<(), JobError>(()))
        };
        let engine = Engine::builder().journal(RocksJournal::at(dir.path()));
        let engine = engine.queue(work::queue(level)).handler(handler).start().await?;
        engine.pause(QUEUE).await?;
        let mut ids = Vec::new();
        for _ in 0..BACKLOG / BULK {
            let drafts = (0..BULK).map(|_| Draft::new(&Timed::new(0)));
            ids.extend(engine.enqueue_all(drafts).await?.into_iter().map(|receipt| receipt.id));
        }
        let watch = Stopwatch::start();
        engine.resume(QUEUE).await?;
        for _ in 0..URGENT {
            tokio::time::sleep(EVERY).await;
            let job = Timed::new(notes.ns(Instant::now()));
            ids.push(engine.enqueue(job).priority(Priority::URGENT).await?.id());
        }
        work::all_done(&engine, &notes.seen, BACKLOG + URGENT).await?;
        let run = watch.rate(BACKLOG + URGENT);
        work::stop(engine).await?;
        Ok(Lap { latencies_us: notes.sorted(), run: Run { exact: Some(notes.seen.were_exactly(&ids)), ..run } })
    })
}
