//! W7: how long an urgent job waits behind a million that are ready, while they are worked off.

use std::path::Path;
use std::time::{Duration, Instant};

use windlass::{Draft, Durability, Priority};

use crate::Failure;
use crate::figure::{Figure, Stopwatch};
use crate::latency::{self, Lap, Timed, distributions};
use crate::work::{self, BULK, QUEUE};

const BACKLOG: u64 = 1_000_000;
const URGENT: u64 = 50;
const EVERY: Duration = Duration::from_millis(20);

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>, Failure> {
    let behind = "an urgent job behind 1,000,000";
    distributions("urgent", behind, work::one_level()?, |level| lap(dir, level))
}

fn lap(dir: &Path, level: Durability) -> Result<Lap, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let (engine, notes) = latency::start(dir.path(), level).await?;
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
        Ok(notes.lap(&ids, run))
    })
}
