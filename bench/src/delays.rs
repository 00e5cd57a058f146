//! W5: how late delayed jobs start. Counted from before the call that hands them in, so that what the call takes is part of
//! it; one that starts before its time voids the figure.

use std::path::Path;
use std::time::{Duration, Instant};

use windlass::{Draft, Durability};

use crate::Failure;
use crate::figure::{Figure, Stopwatch};
use crate::latency::{self, Lap, Timed, distributions};
use crate::work;

const JOBS: u32 = 20_000;
/// So that all are due within a second.
const JOBS_PER_MS: u32 = JOBS / 1_000;
/// The first is due after this time.
const SPREAD: Duration = Duration::from_secs(1);

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>, Failure> {
    let what = "lateness of 20,000 delayed jobs within 1 s";
    distributions("delays", what, work::levels()?, |level| lap(dir, level))
}

fn lap(dir: &Path, level: Durability) -> Result<Lap, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let (engine, notes) = latency::start(dir.path(), level).await?;
        let watch = Stopwatch::start();
        let mut ids = Vec::new();
        for bulk in 0..JOBS / 1_000 {
            let called = Instant::now();
            let drafts = (0..1_000).map(|n| {
                let delay = SPREAD + Duration::from_millis(u64::from((bulk * 1_000 + n) / JOBS_PER_MS));
                Draft::new(&Timed::new(notes.ns(called + delay))).delay(delay)
            });
            ids.extend(engine.enqueue_all(drafts).await?.into_iter().map(|receipt| receipt.id));
        }
        work::all_done(&engine, &notes.seen, JOBS.into()).await?;
        let run = watch.rate(JOBS.into());
        work::stop(engine).await?;
        Ok(notes.lap(&ids, run))
    })
}
