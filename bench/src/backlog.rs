//! W4 and W6 at their largest: ten million waiting jobs. What the process takes in memory by the system's own count, how long a
//! start with them takes, and how fast they drain, each job once.
//!
//! Minutes long, so it runs only where it is asked for (`ONLY=backlog`; `JOBS` and `MEMORY_MIB` choose others). The filling
//! and the start are processes of their own: what the allocator keeps of one is not the other's.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use windlass::{Context, Draft, Durability, Engine, EnqueueError, JobError, QueueConfig, RocksJournal};

use crate::Failure;
use crate::child;
use crate::counted::{self, Counted};
use crate::figure::{Figure, Run};
use crate::work::{self, BULK, CONCURRENCY, NoOp, QUEUE};

const JOBS: u64 = 10_000_000;
/// Who fill, each awaiting its bulks.
const CALLERS: usize = 4;
/// The parts of children.
pub(crate) const FILL: &str = "fill";
pub(crate) const START: &str = "start";
/// The first job's id: the others count up from it.
const BASE: &str = "base";

/// What a child tells.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Told {
    /// For what was asked of it.
    seconds: f64,
    /// As the system counts it, in bytes, once everything was in place.
    rss_bytes: u64,
    /// The most that it ever was.
    peak_rss_bytes: u64,
    /// What the engine says itself.
    used_bytes: u64,
    budget_bytes: u64,
    paged_out: u64,
    drain_seconds: f64,
    /// Starts of a job that had started before, and jobs that never started.
    inexact: u64,
}

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    let jobs = jobs()?;
    for level in work::levels()?.into_iter().filter(|level| *level != Durability::Memory) {
        let dir = tempfile::tempdir_in(dir)?;
        let filled = child::run::<Told>(FILL, dir.path(), level)?;
        let started = child::run::<Told>(START, dir.path(), level)?;
        let exact = Some(started.inexact == 0);
        #[allow(clippy::cast_precision_loss)]
        let figure = |what: &str, unit, value: f64| {
            Figure::of(
                "backlog",
                &format!("{jobs} jobs: {what}"),
                work::name(level),
                unit,
                &[Run { exact, ..Run::bare(value) }],
            )
        };
        #[allow(clippy::cast_precision_loss)]
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let budget = mib(started.budget_bytes);
        for (what, told) in [("filled", &filled), ("started", &started)] {
            let rss = figure(&format!("memory of the process, {what}"), "MiB", mib(told.rss_bytes));
            figures.push(rss.under(budget, "memory_bytes_max"));
            figures.push(figure(&format!("of it told by the engine, {what}"), "MiB", mib(told.used_bytes)));
        }
        figures.push(figure("the most of it, drained", "MiB", mib(started.peak_rss_bytes)));
        #[allow(clippy::cast_precision_loss)]
        let (jobs, out) = (jobs as f64, started.paged_out as f64);
        figures.push(figure("with payloads on disk only", "jobs", out));
        figures.push(figure("filling, bulks of four callers", "jobs/s", jobs / filled.seconds));
        figures.push(figure("start", "s", started.seconds));
        figures.push(figure("drain", "jobs/s", jobs / started.drain_seconds));
    }
    Ok(figures)
}

/// Whole bulks of them.
fn jobs() -> Result<u64, Failure> {
    Ok(child::number("JOBS", JOBS)?.div_ceil(BULK) * BULK)
}

/// A part of it, in a child.
pub(crate) fn part(part: &str, dir: &Path, level: Durability) -> Result<Told, Failure> {
    work::runtime()?.block_on(async { if part == FILL { fill(dir, level).await } else { start(dir, level).await } })
}

async fn engine(dir: &Path, level: Durability, seen: &Arc<Counted>) -> Result<Engine, Failure> {
    let queue = QueueConfig::new(QUEUE).durability(level).concurrency(CONCURRENCY).depth_max(jobs()?);
    let seen = seen.clone();
    let no_op = move |_: NoOp, cx: Context<()>| {
        seen.note(cx.id());
        std::future::ready(Ok::<(), JobError>(()))
    };
    let mut builder = Engine::builder();
    if std::env::var_os("MEMORY_MIB").is_some() {
        builder = builder.memory_bytes_max(child::number("MEMORY_MIB", 0)? << 20);
    }
    Ok(builder.journal(RocksJournal::at(dir.join("journal"))).queue(queue).handler(no_op).start().await?)
}

async fn fill(dir: &Path, level: Durability) -> Result<Told, Failure> {
    let base = counted::base();
    fs::write(dir.join(BASE), base.to_string())?;
    let jobs_of = Arc::new(Counted::new(base, 0)?);
    let engine = engine(dir, level, &jobs_of).await?;
    engine.pause(QUEUE).await?;
    let started = Instant::now();
    let bulks = jobs()? / BULK;
    let start = |caller| {
        let (engine, jobs_of) = (engine.clone(), jobs_of.clone());
        tokio::spawn(async move {
            for bulk in (caller..bulks).step_by(CALLERS) {
                let id = |n: u64| jobs_of.id(bulk * BULK + n);
                engine.enqueue_all((0..BULK).map(|n| Draft::new(&NoOp::new()).id(id(n)))).await?;
            }
            Ok::<_, EnqueueError>(())
        })
    };
    for task in (0..CALLERS as u64).map(start).collect::<Vec<_>>() {
        task.await??;
    }
    let told = Told { seconds: started.elapsed().as_secs_f64(), ..told(&engine).await? };
    work::stop(engine).await?;
    Ok(told)
}

async fn start(dir: &Path, level: Durability) -> Result<Told, Failure> {
    let base = fs::read_to_string(dir.join(BASE))?.parse()?;
    let seen = Arc::new(Counted::new(base, jobs()?)?);
    let started = Instant::now();
    let engine = engine(dir, level, &seen).await?;
    let mut told = Told { seconds: started.elapsed().as_secs_f64(), ..told(&engine).await? };
    let started = Instant::now();
    engine.resume(QUEUE).await?;
    seen.all_started().await;
    told.drain_seconds = started.elapsed().as_secs_f64();
    while engine.stats().await?.iter().any(|queue| queue.running + queue.ready > 0) {
        tokio::task::yield_now().await;
    }
    told.peak_rss_bytes = child::status_of_process("VmHWM:")?;
    told.inexact = seen.inexact();
    work::stop(engine).await?;
    Ok(told)
}

async fn told(engine: &Engine) -> Result<Told, Failure> {
    let memory = engine.memory().await?;
    Ok(Told {
        rss_bytes: child::status_of_process("VmRSS:")?,
        used_bytes: memory.used_bytes(),
        budget_bytes: memory.bytes_max,
        paged_out: memory.paged_out,
        ..Told::default()
    })
}
