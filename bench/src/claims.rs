//! W9: what handing out costs with little or much behind it: the first jobs of backlogs of different depths, all of them in
//! memory. `JOBS` chooses how deep the deep one is: with ten millions it takes minutes, and 5 GiB.

use std::path::Path;
use std::sync::Arc;

use windlass::Durability;

use crate::Failure;
use crate::child;
use crate::figure::{self, Figure, Run, Stopwatch};
use crate::work::{self, QUEUE, Seen};

const RUNS: usize = 5;
const FIRST: u64 = 10_000;
const DEEP: u64 = 1_000_000;
/// Of the budget, a job: payloads have a third of it at most.
const BUDGET_BYTES: u64 = 1_024;

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for level in work::one_level()? {
        for backlog in [FIRST, child::number("JOBS", DEEP)?] {
            let runs = (0..RUNS).map(|_| run(dir, level, backlog)).collect::<Result<Vec<_>, _>>()?;
            let figure = format!("the first {FIRST} of {backlog} that wait");
            figures.push(Figure::of("claims", &figure, work::name(level), "jobs/s", &runs));
        }
    }
    Ok(figures)
}

fn run(dir: &Path, level: Durability, backlog: u64) -> Result<Run, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let seen = Arc::new(Seen::default());
        let budget = (backlog * BUDGET_BYTES).max(1 << 30);
        let engine = work::start_within(dir.path(), level, &seen, Some(budget)).await?;
        engine.pause(QUEUE).await?;
        let ids = work::bulks(&engine, backlog).await?;
        figure::quiet().await;
        let watch = Stopwatch::start();
        engine.resume(QUEUE).await?;
        seen.wait_for(FIRST).await;
        let run = watch.rate(FIRST);
        work::all_done(&engine, &seen, backlog).await?;
        work::stop(engine).await?;
        Ok(Run { exact: Some(seen.were_exactly(&ids)), ..run })
    })
}
