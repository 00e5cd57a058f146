//! W14: what an open console costs an engine that has a million jobs in line.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use tokio::task::JoinSet;
use tower::ServiceExt as _;
use windlass::{Draft, Durability, Engine, HOUR, KeepDone, Retention};
use windlass_console::{Access, Console, Identity};

use crate::Failure;
use crate::figure::{Figure, Run, Stopwatch};
use crate::work::{self, BULK, NoOp, Seen};

/// Pairs of a run with the console closed and one with it open: one after the other, so that the machine's mood is the same.
const PAIRS: usize = 8;
const JOBS: u64 = 1_000_000;
const BACKLOG: u64 = 1_000_000;
const PRODUCERS: u64 = 2;

/// What three people look at, each all the time, again every two seconds: more than the pages' own script asks for.
const LOOKED_AT: [&str; 3] = ["/", "/queues", "/jobs"];
const EVERY: Duration = Duration::from_secs(2);
const PAGE_BYTES_MAX: usize = 16 << 20;
/// How often all three are looked at for the time that one such look takes.
const LOOKS: u32 = 100;

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for level in work::one_level()? {
        let Runs { closed, open, looks } = runs(dir, level)?;
        let what = "whole life beside 1,000,000 jobs in line, bulk of 1,000, keep_done None";
        for (console, runs) in [("no console", closed), ("a console open in three browsers", open)] {
            let figure = format!("{what}, {console}");
            figures.push(Figure::of("console", &figure, work::name(level), "jobs/s", &runs));
        }
        let figure = "one look of all three, beside 1,000,000 jobs in line, nothing running";
        figures.push(Figure::of("console", figure, work::name(level), "ms", &looks));
    }
    Ok(figures)
}

#[derive(Default)]
struct Runs {
    closed: Vec<Run>,
    open: Vec<Run>,
    looks: Vec<Run>,
}

fn runs(dir: &Path, level: Durability) -> Result<Runs, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let seen = Arc::new(Seen::default());
        let queue = work::queue(level).retention(Retention::default().keep_done(KeepDone::None));
        let engine = work::start_with(dir.path(), queue, &seen, None).await?;
        for _ in 0..BACKLOG / BULK {
            engine.enqueue_all((0..BULK).map(|_| Draft::new(&NoOp::new()).delay(24 * HOUR))).await?;
        }
        let access = Access::service(|_| async { Ok(Identity::operator("bench")) });
        let console = Console::new(engine.clone(), access).router();
        let mut runs = Runs::default();
        // The first of each is to warm up.
        for pair in 0..=PAIRS {
            let without = run(&engine, &seen).await?;
            let viewers = viewers(&console);
            let with = run(&engine, &seen).await?;
            stop(viewers).await?;
            if pair > 0 {
                runs.closed.push(without);
                runs.open.push(with);
                runs.looks.push(looks(&console).await?);
            }
        }
        work::stop(engine).await?;
        Ok(runs)
    })
}

async fn run(engine: &Engine, seen: &Arc<Seen>) -> Result<Run, Failure> {
    let watch = Stopwatch::start();
    let ids = work::produce(engine, JOBS, PRODUCERS).await?;
    seen.wait_for(JOBS).await;
    let run = watch.rate(JOBS);
    Ok(Run { exact: Some(seen.were_exactly(&ids)), ..run })
}

async fn looks(console: &Router) -> Result<Run, Failure> {
    let started = Instant::now();
    for _ in 0..LOOKS {
        for path in LOOKED_AT {
            look(console, path).await?;
        }
    }
    Ok(Run::bare(started.elapsed().as_secs_f64() * 1_000.0 / f64::from(LOOKS)))
}

fn viewers(console: &Router) -> JoinSet<Result<(), Failure>> {
    let view = |path: &'static str| {
        let console = console.clone();
        async move {
            loop {
                look(&console, path).await?;
                tokio::time::sleep(EVERY).await;
            }
        }
    };
    LOOKED_AT.into_iter().map(view).collect()
}

async fn look(console: &Router, path: &str) -> Result<(), Failure> {
    let request = Request::get(path).header("host", "localhost").body(Body::empty())?;
    let answer = console.clone().oneshot(request).await?;
    let (status, page) = (answer.status(), to_bytes(answer.into_body(), PAGE_BYTES_MAX).await?);
    if status != StatusCode::OK {
        return Err(format!("{path} was answered with {status}: {}", String::from_utf8_lossy(&page)).into());
    }
    Ok(())
}

/// A viewer that ended by itself has failed.
async fn stop(mut viewers: JoinSet<Result<(), Failure>>) -> Result<(), Failure> {
    while let Some(ended) = viewers.try_join_next() {
        ended??;
    }
    viewers.shutdown().await;
    Ok(())
}
