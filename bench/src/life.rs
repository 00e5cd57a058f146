//! W2: whole lives of no-op jobs, from the enqueue to the acknowledgement: producer and workers together, and the drain of a
//! queue that was filled before.

use std::path::Path;
use std::sync::Arc;

use windlass::Durability;

use crate::Failure;
use crate::ceilings::Ceilings;
use crate::figure::{Figure, Run, Stopwatch};
use crate::work::{self, QUEUE, Seen};

const RUNS: usize = 5;
const JOBS: u64 = 400_000;
const DRAINED: u64 = 200_000;

pub(crate) fn measure(dir: &Path, ceilings: &mut Ceilings) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for level in work::levels()? {
        let is_durable = level == Durability::Durable;
        let together = (0..RUNS).map(|_| together(dir, level)).collect::<Result<Vec<_>, _>>()?;
        let drain = (0..3).map(|_| drain(dir, level)).collect::<Result<Vec<_>, _>>()?;
        let name = work::name(level);
        let together = Figure::of("life", "whole life, bulk of 1,000, producer and workers", name, "jobs/s", &together);
        let drain = Figure::of("life", "drain of a filled queue", name, "jobs/s", &drain);
        figures.push(match level {
            Durability::Memory => together,
            _ => together.under(ceilings.lives(is_durable)?, "journal, the records of whole lives"),
        });
        figures.push(drain);
    }
    Ok(figures)
}

fn together(dir: &Path, level: Durability) -> Result<Run, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let seen = Arc::new(Seen::default());
        let engine = work::start(dir.path(), level, &seen).await?;
        let producer = engine.clone();
        let watch = Stopwatch::start();
        let ids = tokio::spawn(async move { work::bulks(&producer, JOBS).await }).await??;
        work::all_done(&engine, &seen, JOBS).await?;
        let run = watch.rate(JOBS);
        work::stop(engine).await?;
        Ok(Run { exact: Some(seen.were_exactly(&ids)), ..run })
    })
}

fn drain(dir: &Path, level: Durability) -> Result<Run, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let seen = Arc::new(Seen::default());
        let engine = work::start(dir.path(), level, &seen).await?;
        engine.pause(QUEUE).await?;
        let ids = work::bulks(&engine, DRAINED).await?;
        let watch = Stopwatch::start();
        engine.resume(QUEUE).await?;
        work::all_done(&engine, &seen, DRAINED).await?;
        let run = watch.rate(DRAINED);
        work::stop(engine).await?;
        Ok(Run { exact: Some(seen.were_exactly(&ids)), ..run })
    })
}
