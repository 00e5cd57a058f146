//! W8: very many jobs through one directory, with a steady backlog: does anything grow, or slow down?
//!
//! Twenty million unless `JOBS` says otherwise, so it runs only where it is asked for (`ONLY=soak`). The work is done by a
//! process of its own that ends as by a kill, so that the start after it meets what such a life leaves in the journal.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use windlass::{
    Context, Draft, Durability, Engine, Job, JobError, KeepDone, Priority, QueueConfig, Retention, RocksJournal,
};

use crate::Failure;
use crate::child;
use crate::counted::{self, Counted};
use crate::figure::{Figure, Run, Stopwatch, at};
use crate::work::{self, BULK, NoOp, QUEUE};

/// The part of the child.
pub(crate) const SOAK: &str = "soak";
const JOBS: u64 = 20_000_000;
/// Jobs that wait at any time, about.
const BACKLOG: u64 = 200_000;
/// What is told apart: so many parts of the whole.
const WINDOWS: u64 = 20;
/// How often an urgent job is sent past the backlog.
const PROBE_EVERY: Duration = Duration::from_millis(10);
/// How often a producer that is too far ahead looks again.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A job before all others, which tells how long it took to be handed out.
#[derive(Serialize, Deserialize)]
struct Probe {
    sent_us: u64,
}

impl Job for Probe {
    const KIND: &'static str = "probe";
    const QUEUE: &'static str = QUEUE;
    type Output = ();
}

/// One part of the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Window {
    jobs_per_s: f64,
    cpu_s_per_100k: f64,
    /// Memory that is no file's.
    memory_mib: f64,
    /// The journal's caches and buffers, which are part of that.
    journal_mib: f64,
    disk_mib: f64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

/// What the child tells.
#[derive(Serialize, Deserialize)]
pub(crate) struct Told {
    windows: Vec<Window>,
    /// Starts of a job that had started before, and jobs that never started.
    inexact: u64,
}

/// Something that a window shows: its name, its unit, and where it stands.
type Shown = (&'static str, &'static str, fn(&Window) -> f64);

/// What there is to see, of each window.
const SEEN: [Shown; 7] = [
    ("rate", "jobs/s", |window| window.jobs_per_s),
    ("memory of the process", "MiB", |window| window.memory_mib),
    ("of it the journal's caches and buffers", "MiB", |window| window.journal_mib),
    ("the directory on disk", "MiB", |window| window.disk_mib),
    ("dispatch of an urgent job, p50", "µs", |window| window.p50_us),
    ("dispatch of an urgent job, p99", "µs", |window| window.p99_us),
    ("dispatch of an urgent job, max", "µs", |window| window.max_us),
];

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    let jobs = jobs()?;
    for level in work::one_level()? {
        let dir = tempfile::tempdir_in(dir)?;
        let told: Told = child::run(SOAK, dir.path(), level)?;
        let exact = Some(told.inexact == 0);
        let figure = |what: &str, unit, values: &[f64]| {
            let runs: Vec<_> = values.iter().map(|value| Run { exact, ..Run::bare(*value) }).collect();
            Figure::of("soak", &format!("{jobs} jobs: {what}"), work::name(level), unit, &runs)
        };
        for (what, unit, of) in SEEN {
            let values: Vec<_> = told.windows.iter().map(of).collect();
            figures.push(figure(what, unit, &values));
            figures.push(figure(&format!("{what}: last quarter by second"), "times", &[growth(&values)]));
        }
        let started = Instant::now();
        let seen = Arc::new(work::Seen::default());
        work::runtime()?.block_on(async {
            let engine = work::start_with(&dir.path().join("journal"), queue(level), &seen, None).await?;
            figures.push(figure("a start after it", "s", &[started.elapsed().as_secs_f64()]));
            work::stop(engine).await
        })?;
    }
    Ok(figures)
}

/// Whole windows of whole bulks.
fn jobs() -> Result<u64, Failure> {
    let (jobs, least) = (child::number("JOBS", JOBS)?, WINDOWS * BULK);
    if jobs < least {
        return Err(format!("JOBS={jobs}: a soak takes {least} at least, a bulk of {BULK} for each window").into());
    }
    Ok(jobs.div_ceil(least) * least)
}

/// The middle of the last quarter, in middles of the second: in the first, buffers and caches fill.
fn growth(values: &[f64]) -> f64 {
    let quarter = (values.len() / 4).max(1);
    let middle = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        at(&sorted, 0.5)
    };
    middle(&values[values.len() - quarter..]) / middle(&values[quarter..2 * quarter])
}

fn queue(level: Durability) -> QueueConfig {
    work::queue(level).retention(Retention::default().keep_done(KeepDone::None))
}

/// Latencies of the probes of a window.
#[derive(Default)]
struct Probes {
    latencies_us: Mutex<Vec<f64>>,
}

pub(crate) fn part(dir: &Path, level: Durability) -> Result<Told, Failure> {
    let jobs = jobs()?;
    let journal = dir.join("journal");
    work::runtime()?.block_on(async {
        let (counted, probes) = (Arc::new(Counted::new(counted::base(), jobs)?), Arc::new(Probes::default()));
        let engine = start(&journal, level, &counted, &probes).await?;
        let prober = tokio::spawn(probe(engine.clone()));
        let mut windows = Vec::new();
        for window in 0..WINDOWS {
            let watch = Stopwatch::start();
            let each = jobs / WINDOWS;
            for bulk in (window * each..(window + 1) * each).step_by(usize::try_from(BULK)?) {
                while bulk - (jobs - counted.left()).min(bulk) > BACKLOG {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                engine.enqueue_all((bulk..bulk + BULK).map(|n| Draft::new(&NoOp::new()).id(counted.id(n)))).await?;
            }
            let run = watch.rate(each);
            let memory = engine.memory().await?;
            windows.push(seen(run, memory.journal_cache_bytes + memory.journal_buffers_bytes, &journal, &probes)?);
            eprintln!("window {} of {WINDOWS}: {:?}", window + 1, windows.last());
        }
        counted.all_started().await;
        prober.abort();
        while engine.stats().await?.iter().any(|queue| queue.running + queue.ready > 0) {
            tokio::task::yield_now().await;
        }
        Ok(Told { windows, inexact: counted.inexact() })
    })
}

async fn start(
    journal: &Path,
    level: Durability,
    counted: &Arc<Counted>,
    probes: &Arc<Probes>,
) -> Result<Engine, Failure> {
    let (counted, probes) = (counted.clone(), probes.clone());
    let no_op = move |_: NoOp, cx: Context<()>| {
        counted.note(cx.id());
        std::future::ready(Ok::<(), JobError>(()))
    };
    let probe = move |probe: Probe, _: Context<()>| {
        let late_us = now_us().saturating_sub(probe.sent_us);
        #[allow(clippy::cast_precision_loss)]
        probes.latencies_us.lock().unwrap_or_else(PoisonError::into_inner).push(late_us as f64);
        std::future::ready(Ok::<(), JobError>(()))
    };
    let engine = Engine::builder().journal(RocksJournal::at(journal)).queue(queue(level)).handler(no_op).handler(probe);
    Ok(engine.start().await?)
}

/// Sends urgent jobs until it is aborted.
async fn probe(engine: Engine) {
    let mut ticks = tokio::time::interval(PROBE_EVERY);
    loop {
        ticks.tick().await;
        // One that is refused ends nothing: the next window shows it by a probe too few.
        let _ = engine.enqueue(Probe { sent_us: now_us() }).priority(Priority::URGENT).await;
    }
}

/// Microseconds since the first call.
fn now_us() -> u64 {
    static FIRST: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    u64::try_from(FIRST.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn seen(run: Run, journal_bytes: u64, journal: &Path, probes: &Probes) -> Result<Window, Failure> {
    let mut latencies_us = std::mem::take(&mut *probes.latencies_us.lock().unwrap_or_else(PoisonError::into_inner));
    latencies_us.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss)]
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(Window {
        jobs_per_s: run.value,
        cpu_s_per_100k: run.cpu_s_per_100k.unwrap_or_default(),
        memory_mib: mib(child::status_of_process("RssAnon:")?),
        journal_mib: mib(journal_bytes),
        disk_mib: mib(bytes_of(journal)?),
        p50_us: at(&latencies_us, 0.5),
        p99_us: at(&latencies_us, 0.99),
        max_us: at(&latencies_us, 1.0),
    })
}

/// Bytes of all files in there.
fn bytes_of(dir: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // RocksDB removes files meanwhile.
        bytes += match entry.metadata() {
            Ok(file) if file.is_dir() => bytes_of(&entry.path())?,
            Ok(file) => file.len(),
            Err(_) => 0,
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_the_last_quarter_by_the_second() {
        let values: Vec<_> = (1..=8).map(f64::from).collect();
        assert!((growth(&values) - 7.0 / 3.0).abs() < 1e-9, "the lower middle of 7 and 8 by that of 3 and 4");
        assert!((growth(&[1.0, 1.0, 2.0, 9.0, 1.0, 1.0, 2.0, 2.0]) - 1.0).abs() < 1e-9);
    }
}
