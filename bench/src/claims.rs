//! W9: what handing out costs with little or much behind it: the first jobs of backlogs of different depths.

use std::path::Path;
use std::sync::Arc;

use windlass::Durability;

use crate::Failure;
use crate::figure::{self, Figure, Run, Stopwatch};
use crate::work::{self, QUEUE, Seen};

const RUNS: usize = 5;
const BACKLOGS: [(&str, u64); 2] = [("10,000", 10_000), ("1,000,000", 1_000_000)];
const FIRST: u64 = 10_000;

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for level in work::one_level()? {
        for (name, backlog) in BACKLOGS {
            let runs = (0..RUNS).map(|_| run(dir, level, backlog)).collect::<Result<Vec<_>, _>>()?;
            let figure = format!("the first 10,000 of {name} that wait");
            figures.push(Figure::of("claims", &figure, work::name(level), "jobs/s", &runs));
        }
    }
    Ok(figures)
}

fn run(dir: &Path, level: Durability, backlog: u64) -> Result<Run, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let seen = Arc::new(Seen::default());
        let engine = work::start(dir.path(), level, &seen).await?;
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
