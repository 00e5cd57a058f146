//! The short workload that is recorded, and the engine that has to come to terms with an image of it.
//!
//! Buffers are so small that tables are written and the log is changed a few times; two lives, so that an opening is recorded
//! as well. All ends are kept, so that whatever was accepted has to be found.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use windlass::storage::{Journal, RocksOptions};
use windlass::{
    Context, Draft, Durability, Engine, HOUR, JobError, KeepDone, MIN, QueueConfig, Retention, RetryPolicy,
    RocksJournal, StartError, WaitError,
};
use windlass_scheduler::history::{Rules, fingerprint};

use super::told::{FILE, Telling};
use crate::chance::Chance;
use crate::kill::child::tell_all;
use crate::kill::history;
use crate::kill::jobs::{No, Queue, Script, Work};
use crate::kill::pipe::{End, Line};
use crate::kill::process::Orders;

/// Jobs that each of the producers hands in, in each life.
const JOBS: u32 = 14;
/// Producers of the durable queue; there is one more for the other.
const PRODUCERS: u32 = 3;
/// Attempts of a queue that may run at once.
const SLOTS: u32 = 4;
/// Failures after which a job is dead.
const FAILURES_MAX: u32 = 3;
/// Lives in one process.
const LIVES: u16 = 2;
/// Jobs of one call.
const BULK: u8 = 8;

/// What the handlers share.
#[derive(Clone)]
struct App {
    /// It is recorded, so it tells what it does.
    tells: bool,
    started: Arc<Mutex<BTreeSet<No>>>,
    ends: watch::Sender<u64>,
}

/// The journal of the recorded workload and of its images.
pub fn journal(path: &Path) -> RocksJournal {
    let bounds = RocksOptions {
        write_buffer_size_bytes: 128 << 10,
        cache_bytes: 1 << 20,
        log_bytes_max: 160 << 10,
        ..RocksOptions::default()
    };
    RocksJournal::at(path).with_options(bounds)
}

/// How these queues are judged.
pub fn rules() -> [Rules; 2] {
    [Queue::Fast, Queue::Light].map(|queue| history::rules(queue, SLOTS, FAILURES_MAX, queue == Queue::Fast))
}

async fn start(journal: impl Journal + 'static, tells: bool) -> Result<(Engine, App), StartError> {
    let app = App { tells, started: Arc::default(), ends: watch::Sender::new(0) };
    let retention = Retention::default().done(HOUR, 1_000_000, 1 << 30);
    let queue = |queue: Queue| {
        QueueConfig::new(queue.name())
            .concurrency(SLOTS)
            .retry(RetryPolicy::fixed(Duration::from_millis(1)).attempts(FAILURES_MAX))
            .retention(retention)
    };
    let light = queue(Queue::Light).durability(Durability::Process).retention(retention.keep_done(KeepDone::None));
    let builder = Engine::builder().app(app.clone()).journal(journal).disk_free_bytes_min(1 << 20);
    let engine = builder.queue(queue(Queue::Fast)).queue(light).handler(work).start().await?;
    Ok((engine, app))
}

async fn work(job: Work, cx: Context<App>) -> Result<u64, JobError> {
    let no = No::of(cx.id());
    cx.app().started.lock().unwrap_or_else(PoisonError::into_inner).insert(no);
    cx.app().ends.send_modify(|ends| *ends += 1);
    if job.0 != no.payload() {
        Line::Wrong(format!("{no} was given other bytes than were handed in")).tell();
    }
    let end = match no.script() {
        Script::Flaky(failures) if cx.failures() < failures.min(2) => End::Error,
        Script::Doomed => End::Error,
        Script::Poison => End::Permanent,
        _ => End::Ok,
    };
    if cx.app().tells {
        Line::Start(no, cx.attempt(), cx.failures(), fingerprint(&job.0)).tell();
        Line::End(no, cx.attempt(), end).tell();
    }
    match end {
        End::Ok => Ok(no.output()),
        End::Permanent => Err(JobError::permanent("it failed for good as scripted")),
        _ => Err("it failed as scripted".into()),
    }
}

/// Waits until nothing is left to do.
async fn idle(engine: &Engine, app: &App) {
    let mut ends = app.ends.subscribe();
    loop {
        let stats = engine.stats().await.expect("stats are told");
        if stats.iter().all(|queue| queue.live() == 0) {
            return;
        }
        // The last end is told before it is acknowledged, so one has to look again after it.
        let _ = tokio::time::timeout(Duration::from_millis(5), ends.changed()).await;
    }
}

async fn produce(engine: Engine, life: u16, queue: Queue, first: u32, seed: u64) {
    let mut chance = Chance::new(seed);
    for serial in first..first + JOBS {
        let script = u8::try_from(chance.below(No::SCRIPTS)).expect("a small number");
        let no = No::new(life, queue, script, serial, 0);
        Line::Intent(no).tell();
        let delay = Duration::from_millis(if no.script() == Script::Delayed { 10 } else { 0 });
        match engine.enqueue(Work(no.payload())).id(no.id()).queue(queue.name()).delay(delay).await {
            Err(error) => Line::Wrong(format!("an enqueue was answered: {error}")).tell(),
            Ok(handle) => {
                Line::Accepted(no).tell();
                if queue == Queue::Fast && chance.below(3) == 0 {
                    match handle.wait().await {
                        Ok(output) => Line::Done(no, output).tell(),
                        Err(WaitError::Dead { .. }) => Line::Dead(no).tell(),
                        Err(error) => Line::Wrong(format!("a wait was answered: {error}")).tell(),
                    }
                }
            }
        }
    }
}

async fn bulk(engine: &Engine, life: u16, first: u32) {
    let serials = first..first + u32::from(BULK);
    let numbers: Vec<No> = serials.map(|serial| No::new(life, Queue::Fast, 0, serial, first).among(BULK)).collect();
    tell_all(&numbers, Line::Intent);
    let drafts = numbers.iter().map(|no| Draft::new(&Work(no.payload())).id(no.id()).queue(Queue::Fast.name()));
    match engine.enqueue_all(drafts).await {
        Ok(_) => tell_all(&numbers, Line::Accepted),
        Err(error) => Line::Wrong(format!("a bulk was answered: {error}")).tell(),
    }
}

/// The child that is recorded.
///
/// # Panics
/// The engine does not work.
pub async fn record(orders: &Orders) {
    let told = std::env::var_os(FILE).expect("a file to tell the batches in");
    for life in 1..=LIVES {
        let telling = Telling::new(journal(&orders.directory), Path::new(&told)).expect("the parent's file opens");
        let (engine, app) = start(telling, true).await.expect("the engine starts");
        Line::Ready.tell();
        let mut tasks = tokio::task::JoinSet::new();
        for producer in 0..=PRODUCERS {
            let queue = if producer == PRODUCERS { Queue::Light } else { Queue::Fast };
            let seed = orders.seed ^ u64::from(producer) << 32 ^ u64::from(life) << 48;
            tasks.spawn(produce(engine.clone(), life, queue, producer * 1_000, seed));
        }
        engine.pause(Queue::Light.name()).await.expect("a queue is paused");
        bulk(&engine, life, 10_000).await;
        engine.resume(Queue::Light.name()).await.expect("a queue is resumed");
        bulk(&engine, life, 20_000).await;
        tasks.join_all().await;
        idle(&engine, &app).await;
        engine.shutdown(MIN).await.expect("the engine stops");
    }
    Line::Bye.tell();
}

/// Starts an engine on an image and lets everything come to its end. Gives the jobs that were started.
///
/// # Errors
/// The engine refuses the image.
///
/// # Panics
/// The engine does not work.
pub async fn drain(image: &Path) -> Result<BTreeSet<No>, StartError> {
    let (engine, app) = start(journal(image), false).await?;
    engine.resume(Queue::Light.name()).await.expect("a queue is resumed");
    idle(&engine, &app).await;
    engine.shutdown(MIN).await.expect("the engine stops");
    let started = app.started.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(started)
}
