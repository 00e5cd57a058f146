//! W10: a hundred thousand cron schedules on one instant: how long a start with them takes, how late their jobs are, and what a
//! caller notices meanwhile.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use windlass::{Context, Durability, Engine, JobError, JobId, Priority, RocksJournal, Schedule};

use crate::Failure;
use crate::figure::{Figure, Run, Stopwatch};
use crate::work::{self, NoOp};

const RUNS: usize = 5;
const SCHEDULES: u64 = 100_000;
/// Twice a minute: far enough apart that the jobs of one instant are done before the next.
const PATTERN: &str = "*/30 * * * * *";
const PROBE_EVERY: Duration = Duration::from_millis(5);

/// What one run told.
struct Told {
    first_start: Run,
    start: Run,
    /// From the instant to the last job's start, in milliseconds.
    last: Run,
    /// The longest that an urgent job of a caller took, from the call to its end, in milliseconds.
    probe: Run,
}

/// A figure's name and unit, and how to get it.
type Row = (&'static str, &'static str, fn(&Told) -> Run);

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for level in work::one_level()? {
        let runs = (0..RUNS).map(|_| run(dir, level)).collect::<Result<Vec<_>, _>>()?;
        let rows: [Row; 4] = [
            ("first start, which writes them", "s", |told| told.first_start),
            ("start", "s", |told| told.start),
            ("all on one instant, the last job's start", "ms", |told| told.last),
            ("meanwhile, the longest urgent job of a caller", "ms", |told| told.probe),
        ];
        for (what, unit, of) in rows {
            let runs: Vec<_> = runs.iter().map(of).collect();
            let figure = format!("{SCHEDULES} cron schedules: {what}");
            figures.push(Figure::of("schedules", &figure, work::name(level), unit, &runs));
        }
    }
    Ok(figures)
}

type Starts = Arc<Mutex<Vec<(JobId, u64)>>>;

fn now_ms() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
}

async fn start(dir: &Path, level: Durability, starts: &Starts) -> Result<Engine, Failure> {
    let starts = starts.clone();
    let handler = move |_: NoOp, cx: Context<()>| {
        starts.lock().unwrap_or_else(PoisonError::into_inner).push((cx.id(), now_ms()));
        std::future::ready(Ok::<(), JobError>(()))
    };
    let builder = Engine::builder().journal(RocksJournal::at(dir)).queue(work::queue(level)).handler(handler);
    let schedule = |n| Schedule::cron(&format!("tenant-{n}"), PATTERN, &NoOp::new()).zone("Europe/Berlin");
    Ok((0..SCHEDULES).map(schedule).fold(builder, windlass::EngineBuilder::schedule).start().await?)
}

fn run(dir: &Path, level: Durability) -> Result<Told, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let starts = Starts::default();
        let watch = Stopwatch::start();
        let engine = start(dir.path(), level, &starts).await?;
        // Not before they are written.
        engine.enqueue(NoOp::new()).and_wait().await?;
        let first_start = watch.seconds(SCHEDULES);
        work::stop(engine).await?;
        let watch = Stopwatch::start();
        let engine = start(dir.path(), level, &starts).await?;
        let first_start = Run { exact: None, ..first_start };
        let start = watch.seconds(SCHEDULES);
        let (instant_ms, probes, longest) = through_an_instant(&engine, &starts).await?;
        let mut ids = BTreeSet::new();
        let starts = std::mem::take(&mut *starts.lock().unwrap_or_else(PoisonError::into_inner));
        let of_instant = starts.iter().filter(|(id, _)| ids.insert(*id) && time_ms(*id) == instant_ms);
        let late: Vec<_> = of_instant.map(|(_, at_ms)| at_ms.saturating_sub(instant_ms)).collect();
        let fired: u64 = engine.schedules().await?.iter().map(|schedule| schedule.fired).sum();
        work::stop(engine).await?;
        let jobs = fired + probes + 1;
        let is_exact = late.len() as u64 >= SCHEDULES && starts.len() as u64 == jobs && ids.len() as u64 == jobs;
        let exact = Some(is_exact);
        let last = late.iter().max().copied().unwrap_or_default();
        #[allow(clippy::cast_precision_loss)]
        let last = Run { exact, ..Run::bare(last as f64) };
        let probe = Run { exact, ..Run::bare(longest.as_secs_f64() * 1e3) };
        Ok(Told { first_start, start: Run { exact, ..start }, last, probe })
    })
}

/// The milliseconds that an id of version 7 begins with.
fn time_ms(id: JobId) -> u64 {
    u64::try_from(id.0.as_u128() >> 80).unwrap_or(u64::MAX)
}

/// Waits for the next instant and for all its jobs, with an urgent job now and then. Tells the instant, how many those were, and
/// how long the longest took.
async fn through_an_instant(engine: &Engine, starts: &Starts) -> Result<(u64, u64, Duration), Failure> {
    let instant_ms = (now_ms() / 30_000 + 1) * 30_000;
    let (mut probes, mut longest) = (0, Duration::ZERO);
    while now_ms() + 200 < instant_ms {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let before = starts.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
    loop {
        let called = Instant::now();
        engine.enqueue(NoOp::new()).priority(Priority::URGENT).and_wait().await?;
        (probes, longest) = (probes + 1, longest.max(called.elapsed()));
        let begun = starts.lock().unwrap_or_else(PoisonError::into_inner).len() as u64 - before - probes;
        if begun >= SCHEDULES || now_ms() > instant_ms + 25_000 {
            return Ok((instant_ms, probes, longest));
        }
        tokio::time::sleep(PROBE_EVERY).await;
    }
}
