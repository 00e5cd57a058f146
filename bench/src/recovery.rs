//! W6: how long a start takes with a million jobs waiting.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use windlass::Durability;
use windlass::storage::{Journal, RocksJournal};

use crate::Failure;
use crate::figure::{Figure, Run, Stopwatch};
use crate::work::{self, QUEUE, Seen};

const RUNS: usize = 5;
const JOBS: u64 = 1_000_000;

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    // What is kept in memory does not come back.
    for level in work::one_level()?.into_iter().filter(|level| *level != Durability::Memory) {
        let (mut starts, mut floors) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let (start, floor) = run(dir, level)?;
            starts.push(start);
            floors.push(Run::bare(floor));
        }
        let floor = Figure::of("recovery", "", "", "s", &floors).median;
        let figure = Figure::of("recovery", "start with 1,000,000 jobs waiting", work::name(level), "s", &starts);
        figures.push(figure.over(floor, "journal alone: open and read"));
    }
    Ok(figures)
}

fn run(dir: &Path, level: Durability) -> Result<(Run, f64), Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let seen = Arc::new(Seen::default());
        let engine = work::start(dir.path(), level, &seen).await?;
        engine.pause(QUEUE).await?;
        let ids = work::bulks(&engine, JOBS).await?;
        work::stop(engine).await?;
        let watch = Stopwatch::start();
        let engine = work::start(dir.path(), level, &seen).await?;
        let run = watch.seconds(JOBS);
        work::stop(engine).await?;

        let floor = tokio::task::block_in_place(|| alone(dir.path()))?;
        let engine = work::start(dir.path(), level, &seen).await?;
        engine.resume(QUEUE).await?;
        work::all_done(&engine, &seen, JOBS).await?;
        work::stop(engine).await?;
        Ok((Run { exact: Some(seen.were_exactly(&ids)), ..run }, floor))
    })
}

/// Opens and reads the same directory with nobody to keep what is read.
fn alone(dir: &Path) -> Result<f64, Failure> {
    let started = Instant::now();
    let mut journal = RocksJournal::at(dir);
    journal.open()?;
    journal.load(&mut |_| None)?;
    let seconds = started.elapsed().as_secs_f64();
    journal.close()?;
    Ok(seconds)
}
