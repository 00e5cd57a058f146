//! W1: enqueueing alone. The queue is paused while the clock runs, and drained afterwards for the check.

use std::path::Path;
use std::sync::Arc;

use windlass::{Durability, Engine, JobId};

use crate::Failure;
use crate::ceilings::Ceilings;
use crate::counting::Tally;
use crate::figure::{Figure, Run, Stopwatch};
use crate::records::Records;
use crate::work::{self, BULK, NoOp, QUEUE, Seen};

const RUNS: usize = 5;

/// How jobs are handed in.
#[derive(Clone, Copy)]
enum Way {
    /// One caller, each job awaited.
    One,
    /// So many callers at once, each awaiting its job.
    Callers(u64),
    /// So many callers, each bulk awaited.
    Bulks(u64),
}

impl Way {
    /// How many jobs the engine can write together at most, or nearly.
    const fn batch(self) -> u64 {
        match self {
            Self::One => 1,
            Self::Callers(callers) => callers,
            Self::Bulks(callers) => callers * BULK,
        }
    }
}

pub(crate) fn measure(dir: &Path, ceilings: &mut Ceilings) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for level in work::levels()? {
        let is_durable = level == Durability::Durable;
        let ways = [
            ("enqueue, one caller", Way::One, if is_durable { 4_000 } else { 20_000 }),
            ("enqueue, 64 callers", Way::Callers(64), 64_000),
            ("enqueue, 1,000 callers", Way::Callers(1_000), 100_000),
            ("enqueue, bulk of 1,000", Way::Bulks(1), 200_000),
            ("enqueue, bulk of 1,000, four callers", Way::Bulks(4), 200_000),
        ];
        for (figure, way, jobs) in ways {
            let run = |tally| run(dir, level, way, jobs, tally);
            let figure = Figure::counted("enqueue", figure, work::name(level), RUNS, run)?;
            figures.push(ceilings.share(figure, level, Records::NewJobs, way.batch())?);
        }
    }
    Ok(figures)
}

fn run(dir: &Path, level: Durability, way: Way, jobs: u64, tally: Option<Arc<Tally>>) -> Result<Run, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let seen = Arc::new(Seen::default());
        let engine = work::start_with(dir.path(), work::queue(level), &seen, tally.clone()).await?;
        engine.pause(QUEUE).await?;
        let producer = engine.clone();
        let watch = Stopwatch::counting(tally);
        // In a task, as in a service: not on the thread that only waits for the runtime.
        let ids = tokio::spawn(async move { hand_in(&producer, way, jobs).await }).await??;
        let (run, written) = (watch.rate(jobs), watch.written(jobs));
        engine.resume(QUEUE).await?;
        work::all_done(&engine, &seen, jobs).await?;
        work::stop(engine).await?;
        Ok(Run { exact: Some(seen.were_exactly(&ids)), written, ..run })
    })
}

async fn hand_in(engine: &Engine, way: Way, jobs: u64) -> Result<Vec<JobId>, Failure> {
    match way {
        Way::One => one_by_one(engine.clone(), jobs).await,
        Way::Bulks(callers) => work::produce(engine, jobs, callers).await,
        Way::Callers(callers) => {
            let each = |_| tokio::spawn(one_by_one(engine.clone(), jobs / callers));
            let tasks: Vec<_> = (0..callers).map(each).collect();
            let mut ids = Vec::with_capacity(usize::try_from(jobs)?);
            for task in tasks {
                ids.extend(task.await??);
            }
            Ok(ids)
        }
    }
}

async fn one_by_one(engine: Engine, jobs: u64) -> Result<Vec<JobId>, Failure> {
    let mut ids = Vec::with_capacity(usize::try_from(jobs)?);
    for _ in 0..jobs {
        ids.push(engine.enqueue(NoOp::new()).await?.id());
    }
    Ok(ids)
}
