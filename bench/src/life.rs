//! W2: whole lives of no-op jobs, from the enqueue to the acknowledgement: producer and workers together, and the drain of a
//! queue that was filled before.

use std::path::Path;
use std::sync::Arc;

use windlass::{Durability, KeepDone, QueueConfig, Retention};

use crate::Failure;
use crate::ceilings::Ceilings;
use crate::counting::Tally;
use crate::figure::{Figure, Run, Stopwatch};
use crate::records::Records;
use crate::work::{self, BULK, QUEUE, Seen};

const RUNS: usize = 5;
const JOBS: u64 = 300_000;
const DRAINED: u64 = 200_000;

/// What is kept of successes: nothing, or what is kept unless something else is said.
const KEPT: [(&str, bool); 2] = [("keep_done None", false), ("default retention", true)];

/// One run of a life or of a part of it.
type Life = fn(&Path, &QueueConfig, Option<Arc<Tally>>) -> Result<Run, Failure>;

pub(crate) fn measure(dir: &Path, ceilings: &mut Ceilings) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for level in work::levels()? {
        for (kept, is_kept) in KEPT {
            let queue = queue(level, is_kept);
            let figure = |what: &str, run: Life| {
                let run = |tally| run(dir, &queue, tally);
                Figure::counted("life", &format!("{what}, {kept}"), work::name(level), RUNS, run)
            };
            let together = figure("whole life, bulk of 1,000, producer and workers", together)?;
            figures.push(ceilings.share(together, level, Records::lives(is_kept), BULK)?);
            figures.push(figure("drain of a filled queue", drain)?);
            if !is_kept && work::one_level()?.contains(&level) {
                let crowd = figure("whole life, bulk of 1,000, four producers and workers", together_of_four)?;
                figures.push(ceilings.share(crowd, level, Records::lives(is_kept), BULK)?);
            }
        }
    }
    Ok(figures)
}

fn queue(level: Durability, is_kept: bool) -> QueueConfig {
    let queue = work::queue(level);
    if is_kept { queue } else { queue.retention(Retention::default().keep_done(KeepDone::None)) }
}

fn together(dir: &Path, queue: &QueueConfig, tally: Option<Arc<Tally>>) -> Result<Run, Failure> {
    lives(dir, queue, tally, 1)
}

fn together_of_four(dir: &Path, queue: &QueueConfig, tally: Option<Arc<Tally>>) -> Result<Run, Failure> {
    lives(dir, queue, tally, 4)
}

fn lives(dir: &Path, queue: &QueueConfig, tally: Option<Arc<Tally>>, producers: u64) -> Result<Run, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let seen = Arc::new(Seen::default());
        let engine = work::start_with(dir.path(), queue.clone(), &seen, tally.clone()).await?;
        let watch = Stopwatch::counting(tally);
        let ids = work::produce(&engine, JOBS, producers).await?;
        work::all_done(&engine, &seen, JOBS).await?;
        let run = watch.rate(JOBS);
        work::stop(engine).await?;
        // What ended last is written at the latest now.
        let written = watch.written(JOBS);
        Ok(Run { exact: Some(seen.were_exactly(&ids)), written, ..run })
    })
}

fn drain(dir: &Path, queue: &QueueConfig, tally: Option<Arc<Tally>>) -> Result<Run, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let seen = Arc::new(Seen::default());
        let engine = work::start_with(dir.path(), queue.clone(), &seen, tally.clone()).await?;
        engine.pause(QUEUE).await?;
        let ids = work::bulks(&engine, DRAINED).await?;
        let watch = Stopwatch::counting(tally);
        engine.resume(QUEUE).await?;
        work::all_done(&engine, &seen, DRAINED).await?;
        let run = watch.rate(DRAINED);
        work::stop(engine).await?;
        // What ended last is written at the latest now.
        let written = watch.written(DRAINED);
        Ok(Run { exact: Some(seen.were_exactly(&ids)), written, ..run })
    })
}
