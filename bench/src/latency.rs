//! W3: dispatch latency in an open loop: jobs come at their times whatever becomes of those before. Measured from when a job
//! should have been handed in, so that a stall counts for all that it held up (no coordinated omission).

use std::future::{Future as _, IntoFuture as _};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use windlass::{Context, Durability, Engine, Job, JobError, JobId, QueueConfig, RocksJournal};

use crate::Failure;
use crate::ceilings::Ceilings;
use crate::figure::{Figure, Run, Stopwatch};
use crate::work::{self, CONCURRENCY, PAYLOAD_BYTES, QUEUE, Seen};

const RUNS: usize = 3;
const JOBS: u64 = 4_000;
const EVERY: Duration = Duration::from_millis(1);
/// The last of a wait is spent awake: a sleeping thread comes late.
const AWAKE: Duration = Duration::from_micros(120);

/// A job that knows when it should have been handed in.
#[derive(Serialize, Deserialize)]
struct Timed {
    due_ns: u64,
    body: String,
}

impl Job for Timed {
    const KIND: &'static str = "timed";
    const QUEUE: &'static str = QUEUE;
    type Output = ();
}

/// What handlers note.
struct Notes {
    origin: Instant,
    seen: Seen,
    latencies_us: Mutex<Vec<f64>>,
}

/// Latencies of one run, and what the run cost.
struct Lap {
    latencies_us: Vec<f64>,
    run: Run,
}

pub(crate) fn measure(dir: &Path, ceilings: &mut Ceilings) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for level in work::levels()? {
        let laps = (0..RUNS).map(|_| lap(dir, level)).collect::<Result<Vec<_>, _>>()?;
        let shares = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];
        for (name, share) in shares {
            let runs: Vec<_> = laps.iter().map(|lap| Run { value: at(&lap.latencies_us, share), ..lap.run }).collect();
            let figure = format!("dispatch latency at 1,000 jobs/s, {name}");
            let figure = Figure::of("latency", &figure, work::name(level), "µs", &runs);
            figures.push(match (level, name) {
                (Durability::Durable, "p50") => figure.over(1e6 / ceilings.fsync()?, "one fsync"),
                _ => figure,
            });
        }
    }
    Ok(figures)
}

/// The value that this share of all is not above.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn at(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

fn lap(dir: &Path, level: Durability) -> Result<Lap, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    let runtime = work::runtime()?;
    runtime.block_on(async {
        let origin = Instant::now();
        let notes = Arc::new(Notes { origin, seen: Seen::default(), latencies_us: Mutex::default() });
        let queue = QueueConfig::new(QUEUE).durability(level).concurrency(CONCURRENCY);
        let noted = notes.clone();
        let handler = move |job: Timed, cx: Context<()>| {
            let late = noted.origin.elapsed().saturating_sub(Duration::from_nanos(job.due_ns));
            noted.latencies_us.lock().unwrap_or_else(PoisonError::into_inner).push(late.as_secs_f64() * 1e6);
            noted.seen.note(cx.id());
            std::future::ready(Ok::<(), JobError>(()))
        };
        let engine = Engine::builder().journal(RocksJournal::at(dir.path())).queue(queue).handler(handler);
        let engine = engine.start().await?;
        let handle = tokio::runtime::Handle::current();
        let producer = engine.clone();
        let watch = Stopwatch::start();
        let tasks = tokio::task::spawn_blocking(move || offer(&producer, &handle, origin)).await?;
        let mut ids = Vec::with_capacity(tasks.len());
        for task in tasks {
            ids.push(task.await??);
        }
        work::all_done(&engine, &notes.seen, JOBS).await?;
        let run = watch.rate(JOBS);
        work::stop(engine).await?;
        let mut latencies_us = std::mem::take(&mut *notes.latencies_us.lock().unwrap_or_else(PoisonError::into_inner));
        latencies_us.sort_by(f64::total_cmp);
        Ok(Lap { latencies_us, run: Run { exact: Some(notes.seen.were_exactly(&ids)), ..run } })
    })
}

type Offered = tokio::task::JoinHandle<Result<JobId, Failure>>;

/// Hands in each job at its time, from a thread of its own, and waits for none.
fn offer(engine: &Engine, runtime: &tokio::runtime::Handle, origin: Instant) -> Vec<Offered> {
    let first = Instant::now() + EVERY;
    let mut tasks = Vec::new();
    let body = "x".repeat(PAYLOAD_BYTES - 40);
    for n in 0..u32::try_from(JOBS).unwrap_or(u32::MAX) {
        let due = first + EVERY * n;
        if let Some(wait) = due.checked_duration_since(Instant::now()).and_then(|wait| wait.checked_sub(AWAKE)) {
            std::thread::sleep(wait);
        }
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        let due_ns = u64::try_from(due.duration_since(origin).as_nanos()).unwrap_or(u64::MAX);
        let job = Timed { due_ns, body: body.clone() };
        // Handed in here and now, as by a caller that runs already; only its answer is awaited elsewhere.
        let mut offered = engine.enqueue(job).into_future();
        let mut cx = std::task::Context::from_waker(Waker::noop());
        let ready = pin!(&mut offered).poll(&mut cx);
        tasks.push(runtime.spawn(async move {
            let handle = match ready {
                std::task::Poll::Ready(answer) => answer,
                std::task::Poll::Pending => offered.await,
            };
            Ok(handle?.id())
        }));
    }
    tasks
}
