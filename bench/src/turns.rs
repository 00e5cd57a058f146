//! W12: what limit keys, breakers, rates and ageing cost a job in its whole life; and how long the jobs of 99 quiet customers wait while one has a million in line.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use windlass::{CircuitBreaker, Draft, Durability, Engine, JobId, KeepDone, Limit, RateLimit, Retention, SEC};

use crate::Failure;
use crate::figure::{Figure, Run, Stopwatch};
use crate::latency::{self, Lap, Timed, distributions};
use crate::work::{self, BULK, NoOp, QUEUE, Seen};

const RUNS: usize = 5;
const JOBS: u64 = 200_000;
const BACKLOG: u64 = 1_000_000;
const QUIET: u64 = 99;
/// Jobs of each quiet customer.
const ROUNDS: u64 = 5;
const EVERY: Duration = Duration::from_millis(1);

/// What key the jobs come with, or what the queue has instead.
#[derive(Clone, Copy)]
enum Keys {
    None,
    /// A breaker and a retry budget.
    Guarded,
    /// A rate that is never reached.
    Rated,
    /// After a second a job goes first.
    Ageing,
    /// So many in turn.
    Of(u64),
    /// So many in turn, of which each may run two at a time.
    Limited(u64),
}

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for level in work::one_level()? {
        let rows = [
            ("no limit key", Keys::None),
            ("no limit key, a circuit breaker and a retry budget", Keys::Guarded),
            ("no limit key, a rate of 10,000,000/s", Keys::Rated),
            ("no limit key, ageing", Keys::Ageing),
            ("100 limit keys", Keys::Of(100)),
            ("a limit key each", Keys::Of(JOBS)),
            ("100 limit keys, two at a time of each", Keys::Limited(100)),
        ];
        for (what, keys) in rows {
            let runs = (0..RUNS).map(|_| run(dir, level, keys)).collect::<Result<Vec<_>, _>>()?;
            let figure = format!("whole life, {what}, bulk of 1,000, keep_done None");
            figures.push(Figure::of("turns", &figure, work::name(level), "jobs/s", &runs));
        }
    }
    let waits = "a job of one of 99 quiet keys behind 1,000,000 of a noisy one";
    figures.extend(distributions("turns", waits, work::one_level()?, |level| lap(dir, level))?);
    Ok(figures)
}

fn run(dir: &Path, level: Durability, keys: Keys) -> Result<Run, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let seen = Arc::new(Seen::default());
        let queue = work::queue(level).retention(Retention::default().keep_done(KeepDone::None));
        let queue = match keys {
            Keys::Limited(_) => queue.per_key(Limit::new().concurrency(2)),
            Keys::Guarded => queue.circuit_breaker(CircuitBreaker::new(50, 100)).retry_budget_percent(20),
            Keys::Rated => queue.rate_limit(RateLimit::new(10_000_000, SEC).burst(10_000_000)),
            Keys::Ageing => queue.ages_after(SEC),
            Keys::None | Keys::Of(_) => queue,
        };
        let engine = work::start_with(dir.path(), queue, &seen, None).await?;
        let watch = Stopwatch::start();
        let mut ids = Vec::with_capacity(usize::try_from(JOBS)?);
        for no in 0..JOBS / BULK {
            ids.extend(bulk(&engine, no, keys).await?);
        }
        work::all_done(&engine, &seen, JOBS).await?;
        let run = watch.rate(JOBS);
        work::stop(engine).await?;
        Ok(Run { exact: Some(seen.were_exactly(&ids)), ..run })
    })
}

async fn bulk(engine: &Engine, no: u64, keys: Keys) -> Result<Vec<JobId>, Failure> {
    let draft = |n: u64| match keys {
        Keys::None | Keys::Guarded | Keys::Rated | Keys::Ageing => Draft::new(&NoOp::new()),
        Keys::Of(count) | Keys::Limited(count) => {
            Draft::new(&NoOp::new()).limit_key(format!("customer/{}", (no * BULK + n) % count))
        }
    };
    let receipts = engine.enqueue_all((0..BULK).map(draft)).await?;
    Ok(receipts.into_iter().map(|receipt| receipt.id).collect())
}

fn lap(dir: &Path, level: Durability) -> Result<Lap, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let (engine, notes) = latency::start(dir.path(), level).await?;
        engine.pause(QUEUE).await?;
        let mut ids = Vec::new();
        for _ in 0..BACKLOG / BULK {
            let drafts = (0..BULK).map(|_| Draft::new(&Timed::new(0)).limit_key("noisy"));
            ids.extend(engine.enqueue_all(drafts).await?.into_iter().map(|receipt| receipt.id));
        }
        let watch = Stopwatch::start();
        engine.resume(QUEUE).await?;
        for n in 0..QUIET * ROUNDS {
            tokio::time::sleep(EVERY).await;
            let job = Timed::new(notes.ns(Instant::now()));
            ids.push(engine.enqueue(job).limit_key(format!("quiet/{}", n % QUIET)).await?.id());
        }
        work::all_done(&engine, &notes.seen, BACKLOG + QUIET * ROUNDS).await?;
        let run = watch.rate(BACKLOG + QUIET * ROUNDS);
        work::stop(engine).await?;
        Ok(notes.lap(&ids, run))
    })
}
