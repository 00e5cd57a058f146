//! W3: dispatch latency in an open loop: jobs come at their times whatever becomes of those before. Measured from when a job
//! should have been handed in, so that a stall counts for all that it held up (no coordinated omission).

use std::future::{Future as _, IntoFuture as _};
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use windlass::{Context, Durability, Engine, Job, JobError, JobId, RocksJournal};

use crate::Failure;
use crate::ceilings::Ceilings;
use crate::figure::{Figure, Run, Stopwatch, at};
use crate::work::{self, PAYLOAD_BYTES, QUEUE, Seen};

const RUNS: usize = 5;
/// Jobs a second, and how many of them.
const PACES: [(&str, u32, u32); 3] = [("1,000", 1_000, 3_000), ("10,000", 10_000, 20_000), ("50,000", 50_000, 100_000)];
/// The last of a wait is spent awake: a sleeping thread comes late. Where there is hardly more than that between two jobs it
/// sleeps all the same, and hands in together what has become due: awake all the time, it would have a core to itself.
const AWAKE: Duration = Duration::from_micros(120);

/// A job that knows when it should have been handed in, or started.
#[derive(Serialize, Deserialize)]
pub(crate) struct Timed {
    due_ns: u64,
    body: String,
}

impl Job for Timed {
    const KIND: &'static str = "timed";
    const QUEUE: &'static str = QUEUE;
    type Output = ();
}

impl Timed {
    pub(crate) fn new(due_ns: u64) -> Self {
        Self { due_ns, body: "x".repeat(PAYLOAD_BYTES - 40) }
    }

    /// Whether its start is noted; the others only have to start.
    const fn is_timed(&self) -> bool {
        self.due_ns > 0
    }
}

/// What handlers note.
pub(crate) struct Notes {
    origin: Instant,
    pub(crate) seen: Seen,
    latencies_us: Mutex<Vec<f64>>,
    /// One started before its time.
    is_early: AtomicBool,
}

impl Notes {
    fn new() -> Self {
        Self {
            origin: Instant::now(),
            seen: Seen::default(),
            latencies_us: Mutex::default(),
            is_early: AtomicBool::new(false),
        }
    }

    /// A moment as jobs carry it.
    pub(crate) fn ns(&self, moment: Instant) -> u64 {
        u64::try_from(moment.duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    fn note(&self, job: &Timed, id: JobId) {
        if job.is_timed() {
            let late = self.origin.elapsed().checked_sub(Duration::from_nanos(job.due_ns));
            let is_early = self.origin.elapsed() < Duration::from_nanos(job.due_ns);
            self.is_early.fetch_or(is_early, Ordering::AcqRel);
            let late_us = late.unwrap_or_default().as_secs_f64() * 1e6;
            self.latencies_us.lock().unwrap_or_else(PoisonError::into_inner).push(late_us);
        }
        self.seen.note(id);
    }

    /// The lap, where these jobs were handed in: each has to have started once, and none before its time.
    pub(crate) fn lap(&self, ids: &[JobId], run: Run) -> Lap {
        let mut latencies_us = std::mem::take(&mut *self.latencies_us.lock().unwrap_or_else(PoisonError::into_inner));
        latencies_us.sort_by(f64::total_cmp);
        let exact = self.seen.were_exactly(ids) && !self.is_early.load(Ordering::Acquire);
        Lap { latencies_us, run: Run { exact: Some(exact), ..run } }
    }
}

/// An engine that runs timed jobs, and what their handler notes.
pub(crate) async fn start(dir: &Path, level: Durability) -> Result<(Engine, Arc<Notes>), Failure> {
    let notes = Arc::new(Notes::new());
    let noted = notes.clone();
    let handler = move |job: Timed, cx: Context<()>| {
        noted.note(&job, cx.id());
        std::future::ready(Ok::<(), JobError>(()))
    };
    let engine = Engine::builder().journal(RocksJournal::at(dir)).queue(work::queue(level)).handler(handler);
    Ok((engine.start().await?, notes))
}

/// Latencies of one run, and what the run cost.
pub(crate) struct Lap {
    /// The least first.
    latencies_us: Vec<f64>,
    run: Run,
}

/// The figures of a workload that is told by a distribution, at each of these levels.
pub(crate) fn distributions(
    group: &'static str,
    what: &str,
    levels: Vec<Durability>,
    lap: impl Fn(Durability) -> Result<Lap, Failure>,
) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for level in levels {
        let laps = (0..RUNS).map(|_| lap(level)).collect::<Result<Vec<_>, _>>()?;
        figures.extend(shares(group, what, level, &laps));
    }
    Ok(figures)
}

/// The figures that a distribution is told by.
fn shares(group: &'static str, what: &str, level: Durability, laps: &[Lap]) -> Vec<Figure> {
    let figure = |(name, share): (&str, f64)| {
        let runs: Vec<_> = laps.iter().map(|lap| Run { value: at(&lap.latencies_us, share), ..lap.run }).collect();
        Figure::of(group, &format!("{what}, {name}"), work::name(level), "µs", &runs)
    };
    [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)].map(figure).into()
}

pub(crate) fn measure(dir: &Path, ceilings: &mut Ceilings) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for level in work::levels()? {
        for (pace, per_second, jobs) in PACES {
            let every = Duration::from_secs(1) / per_second;
            let laps = (0..RUNS).map(|_| lap(dir, level, every, jobs)).collect::<Result<Vec<_>, _>>()?;
            let mut distribution = shares("latency", &format!("dispatch latency at {pace} jobs/s"), level, &laps);
            if level == Durability::Durable {
                let p50 = distribution.remove(0).over(1e6 / ceilings.fsync()?, "one fsync");
                distribution.insert(0, p50);
            }
            figures.extend(distribution);
        }
    }
    Ok(figures)
}

fn lap(dir: &Path, level: Durability, every: Duration, jobs: u32) -> Result<Lap, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    let runtime = work::runtime()?;
    runtime.block_on(async {
        let (engine, notes) = start(dir.path(), level).await?;
        let handle = tokio::runtime::Handle::current();
        let (producer, timer) = (engine.clone(), notes.clone());
        let watch = Stopwatch::start();
        let tasks = tokio::task::spawn_blocking(move || offer(&producer, &handle, &timer, every, jobs)).await?;
        let mut ids = Vec::with_capacity(tasks.len());
        for task in tasks {
            ids.push(task.await??);
        }
        work::all_done(&engine, &notes.seen, jobs.into()).await?;
        let run = watch.rate(jobs.into());
        work::stop(engine).await?;
        Ok(notes.lap(&ids, run))
    })
}

type Offered = tokio::task::JoinHandle<Result<JobId, Failure>>;

/// Hands in each job at its time, from a thread of its own, and waits for none.
fn offer(engine: &Engine, runtime: &tokio::runtime::Handle, notes: &Notes, every: Duration, jobs: u32) -> Vec<Offered> {
    let first = Instant::now() + every;
    let awake = if every < 2 * AWAKE { Duration::ZERO } else { AWAKE };
    let mut tasks = Vec::new();
    for n in 0..jobs {
        let due = first + every * n;
        if let Some(wait) = due.checked_duration_since(Instant::now()).and_then(|wait| wait.checked_sub(awake)) {
            std::thread::sleep(wait);
        }
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        let job = Timed::new(notes.ns(due));
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
