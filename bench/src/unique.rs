//! W11: what a key of uniqueness costs a job in its whole life, with none, with one that is free, and with one that is taken.

use std::path::Path;
use std::sync::Arc;

use windlass::{Draft, Durability, Engine, JobId, KeepDone, Retention, Unique};

use crate::Failure;
use crate::figure::{Figure, Run, Stopwatch};
use crate::work::{self, BULK, NoOp, Seen};

const RUNS: usize = 5;
const JOBS: u64 = 200_000;

/// What key the jobs come with.
#[derive(Clone, Copy)]
enum Keys {
    None,
    OneEach,
    /// In each bulk the same as many as there are jobs: all but the first bulk's are dropped.
    Taken,
}

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for level in work::one_level()? {
        let rows = [
            ("whole life, no key", Keys::None),
            ("whole life, a key each", Keys::OneEach),
            ("enqueue, every key taken", Keys::Taken),
        ];
        for (what, keys) in rows {
            let runs = (0..RUNS).map(|_| run(dir, level, keys)).collect::<Result<Vec<_>, _>>()?;
            let figure = format!("{what}, bulk of 1,000, keep_done None");
            figures.push(Figure::of("unique", &figure, work::name(level), "jobs/s", &runs));
        }
    }
    Ok(figures)
}

fn run(dir: &Path, level: Durability, keys: Keys) -> Result<Run, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let seen = Arc::new(Seen::default());
        let queue = work::queue(level).retention(Retention::default().keep_done(KeepDone::None));
        let engine = work::start_with(dir.path(), queue, &seen, None).await?;
        let mut held = Vec::new();
        if let Keys::Taken = keys {
            engine.pause(work::QUEUE).await?;
            held = bulk(&engine, 0, keys).await?;
        }
        let watch = Stopwatch::start();
        let mut ids = Vec::with_capacity(usize::try_from(JOBS)?);
        for no in 0..JOBS / BULK {
            ids.extend(bulk(&engine, no, keys).await?);
        }
        if let Keys::Taken = keys {
            let run = watch.rate(JOBS);
            let is_exact = ids.chunks(held.len()).all(|told| told == held);
            engine.resume(work::QUEUE).await?;
            work::all_done(&engine, &seen, BULK).await?;
            work::stop(engine).await?;
            return Ok(Run { exact: Some(is_exact && seen.were_exactly(&held)), ..run });
        }
        work::all_done(&engine, &seen, JOBS).await?;
        let run = watch.rate(JOBS);
        work::stop(engine).await?;
        Ok(Run { exact: Some(seen.were_exactly(&ids)), ..run })
    })
}

async fn bulk(engine: &Engine, no: u64, keys: Keys) -> Result<Vec<JobId>, Failure> {
    let draft = |n: u64| match keys {
        Keys::None => Draft::new(&NoOp::new()),
        Keys::OneEach => Draft::new(&NoOp::new()).unique(Unique::key(format!("customer/{}", no * BULK + n))),
        Keys::Taken => Draft::new(&NoOp::new()).unique(Unique::key(format!("customer/{n}"))),
    };
    let receipts = engine.enqueue_all((0..BULK).map(draft)).await?;
    Ok(receipts.into_iter().map(|receipt| receipt.id).collect())
}
