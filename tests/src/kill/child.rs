//! The child that works: hands in jobs without end, runs them, and tells its parent before and after whatever it does.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use windlass::storage::RocksOptions;
use windlass::{
    Context, Draft, Durability, Engine, EnqueueError, HOUR, JobError, JobHandle, KeepDone, MIN, Priority, QueueConfig,
    QueueStats, Refusal, Retention, RetryPolicy, RocksJournal, WaitError,
};
use windlass_scheduler::history::{Rules, fingerprint};

use crate::chance::Chance;
use crate::images;
use crate::kill::history;
use crate::kill::jobs::{DOOMED_ATTEMPTS, FAST_KEPT_MAX, FOLLOW_UPS, No, Press, Queue, Script, Work};
use crate::kill::pipe::{End, Line};
use crate::kill::process::Orders;
use crate::kill::trap::Trapped;

/// What a panic says that is part of the play.
const AS_SCRIPTED: &str = "as scripted";
/// Failures after which a job is dead, if it does not say so itself.
const RETRIES: u32 = 20;
/// Attempts that end while a queue is paused.
const PAUSED_ENDS: u64 = 5;
/// Attempts that end while a [`Script::Long`] one runs.
const LONG_ENDS: u64 = 40;

/// What the handlers share.
pub struct App {
    running: Arc<AtomicU64>,
    ends: watch::Sender<u64>,
    /// Nobody waits for others.
    is_open: bool,
    runtime: tokio::runtime::Handle,
}

/// A journal whose buffers are so small that tables are written and compacted all the time.
pub fn small(directory: &Path) -> RocksJournal {
    let bounds = RocksOptions {
        write_buffer_size_bytes: 256 << 10,
        cache_bytes: 1 << 20,
        log_bytes_max: 512 << 10,
        ..RocksOptions::default()
    };
    RocksJournal::at(directory).with_options(bounds)
}

/// Runs on a runtime with two threads, and tells of any panic that is not part of the play.
pub fn on_a_runtime(body: impl Future<Output = ()>) {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        if !text.contains(AS_SCRIPTED) {
            Line::Wrong(text).tell();
        }
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime starts").block_on(body);
}

/// The body of a child with one of the roles that are known here.
///
/// # Panics
/// Nobody knows the role.
pub fn play(orders: &Orders) {
    match orders.role.as_str() {
        "work" => on_a_runtime(work_for_ever(orders)),
        "drain" => on_a_runtime(drain(orders)),
        "stop" => on_a_runtime(stop_soon(orders)),
        "idle" => on_a_runtime(run_only(orders)),
        "record" => on_a_runtime(images::work::record(orders)),
        role => panic!("nobody knows the role {role}"),
    }
}

fn queues() -> [QueueConfig; 3] {
    let kept = Retention::default().done(HOUR, FAST_KEPT_MAX, 1 << 30);
    Queue::ALL.map(|queue| {
        let retry = RetryPolicy::fixed(Duration::from_millis(3)).attempts(RETRIES);
        let config =
            QueueConfig::new(queue.name()).concurrency(queue.slots()).depth_max(queue.depth_max()).retry(retry);
        match queue {
            Queue::Fast => config.wait_when_full(3).retention(kept),
            Queue::Light => {
                config.durability(Durability::Process).retention(Retention::default().keep_done(KeepDone::None))
            }
            Queue::Heavy => config
                .wait_when_full(1)
                .retention(Retention::default().done(HOUR, 1_000_000, 1 << 30).keep_done(KeepDone::WithOutput)),
        }
    })
}

/// How these queues are judged.
pub fn rules() -> [Rules; 3] {
    Queue::ALL.map(|queue| history::rules(queue, queue.slots(), RETRIES, queue == Queue::Heavy))
}

async fn start(orders: &Orders, is_open: bool) -> (Engine, Arc<AtomicU64>, watch::Receiver<u64>) {
    let running = Arc::new(AtomicU64::new(0));
    let journal = Trapped::new(small(&orders.directory), orders.trap, running.clone());
    let (ends, seen) = watch::channel(0);
    let app = App { running: running.clone(), ends, is_open, runtime: tokio::runtime::Handle::current() };
    let mut builder = Engine::builder().app(app).journal(journal).disk_free_bytes_min(1 << 20);
    for queue in queues() {
        builder = builder.queue(queue);
    }
    let engine = builder.handler(work).blocking_handler(press).start().await.expect("the engine starts");
    (engine, running, seen)
}

async fn work(job: Work, cx: Context<App>) -> Result<u64, JobError> {
    let no = begin(&job.0, &cx);
    if no.script() == Script::Long {
        gate(cx.app()).await;
    }
    act(no, &cx)
}

// By value, as every handler gets its job.
#[allow(clippy::needless_pass_by_value)]
fn press(job: Press, cx: Context<App>) -> Result<u64, JobError> {
    let no = begin(&job.0, &cx);
    if no.script() == Script::Long {
        cx.app().runtime.block_on(gate(cx.app()));
    }
    act(no, &cx)
}

fn begin(payload: &[u8], cx: &Context<App>) -> No {
    let no = No::of(cx.id());
    Line::Start(no, cx.attempt(), cx.failures(), fingerprint(payload)).tell();
    cx.app().running.fetch_add(1, Ordering::SeqCst);
    no
}

/// Until other attempts have ended.
async fn gate(app: &App) {
    let mut ends = app.ends.subscribe();
    let from = *ends.borrow();
    let _ = ends.wait_for(|now| app.is_open || *now >= from + LONG_ENDS).await;
}

fn act(no: No, cx: &Context<App>) -> Result<u64, JobError> {
    let end = match no.script() {
        Script::Flaky(failures) if cx.failures() < failures => End::Error,
        Script::Panics if cx.failures() == 0 => End::Panic,
        Script::Doomed => End::Error,
        Script::Poison => End::Permanent,
        Script::Sleepy if cx.attempt() == 1 => End::Snooze,
        _ => End::Ok,
    };
    if no.script() == Script::Parent {
        for place in 1..=FOLLOW_UPS {
            let child = no.follow_up(place);
            Line::Intent(child).tell();
            if let Err(error) = cx.follow_up_with(draft(child)) {
                Line::Wrong(format!("a follow-up was refused: {error}")).tell();
            }
        }
    }
    Line::End(no, cx.attempt(), end).tell();
    cx.app().running.fetch_sub(1, Ordering::SeqCst);
    cx.app().ends.send_modify(|ends| *ends += 1);
    match end {
        End::Ok => Ok(no.output()),
        End::Error => Err("it failed as scripted".into()),
        End::Panic => panic!("{AS_SCRIPTED}"),
        End::Permanent => Err(JobError::permanent("it failed for good as scripted")),
        End::Snooze => Err(JobError::snooze(Duration::from_millis(2))),
    }
}

macro_rules! with_options {
    ($job:expr, $no:expr) => {{
        let priority = [Priority::HIGH, Priority::NORMAL, Priority::NORMAL, Priority::LOW][($no.0 >> 64 & 3) as usize];
        let job = $job.id($no.id()).queue($no.queue().name()).priority(priority);
        match $no.script() {
            Script::Doomed => job.retry(RetryPolicy::fixed(Duration::from_millis(2)).attempts(DOOMED_ATTEMPTS)),
            Script::Delayed => job.delay(Duration::from_millis(5 + ($no.0 >> 64 & 63) as u64)),
            _ => job,
        }
    }};
}

fn draft(no: No) -> Draft {
    if no.queue() == Queue::Heavy {
        with_options!(Draft::new(&Press(no.payload())), no)
    } else {
        with_options!(Draft::new(&Work(no.payload())), no)
    }
}

/// One who hands in jobs.
#[derive(Clone)]
struct Producer {
    engine: Engine,
    life: u16,
    serials: Arc<AtomicU32>,
    ends: watch::Receiver<u64>,
}

/// What came of an enqueue.
#[derive(PartialEq, Eq)]
enum Came {
    In,
    Full,
}

pub(crate) fn tell_all(numbers: &[No], line: impl Fn(No) -> Line) {
    for no in numbers {
        line(*no).tell();
    }
}

fn outcome(result: Result<(), EnqueueError>, numbers: &[No]) -> Came {
    match result {
        Ok(()) => {
            tell_all(numbers, Line::Accepted);
            Came::In
        }
        Err(EnqueueError::Refused(Refusal::QueueFull { .. } | Refusal::TooManyWaiters { .. })) => {
            tell_all(numbers, Line::Refused);
            Came::Full
        }
        Err(error) => {
            Line::Wrong(format!("an enqueue was answered: {error}")).tell();
            Came::Full
        }
    }
}

fn single<J>(result: Result<JobHandle<J>, EnqueueError>, no: No, waits: bool) -> Came
where
    J: windlass::Job<Output = u64>,
{
    let result = result.map(|handle| {
        if !handle.is_fresh() || handle.id() != no.id() {
            Line::Wrong(format!("{no} is another job than the one that was handed in")).tell();
        }
        if waits {
            tokio::spawn(wait(handle, no));
        }
    });
    outcome(result, &[no])
}

impl Producer {
    /// Of a group, and of so many jobs in it.
    fn number(&self, queue: Queue, (group, jobs): (u32, u8), chance: &mut Chance) -> No {
        let serial = self.serials.fetch_add(1, Ordering::SeqCst);
        let script = u8::try_from(chance.below(No::SCRIPTS)).expect("a small number");
        let no = No::new(self.life, queue, script, serial, group).among(jobs);
        Line::Intent(no).tell();
        no
    }

    /// One job after the other into this queue, for ever.
    async fn singles(mut self, queue: Queue, seed: u64) {
        let mut chance = Chance::new(seed);
        loop {
            let no = self.number(queue, (0, 0), &mut chance);
            let waits = chance.below(3) == 0;
            let came = if queue == Queue::Heavy {
                single(with_options!(self.engine.enqueue(Press(no.payload())), no).await, no, waits)
            } else {
                single(with_options!(self.engine.enqueue(Work(no.payload())), no).await, no, waits)
            };
            if came == Came::Full {
                let _ = self.ends.changed().await;
            }
        }
    }

    /// Many jobs in one call, for all queues, for ever.
    async fn bulks(mut self, seed: u64) {
        let mut chance = Chance::new(seed);
        loop {
            let group = self.serials.fetch_add(1, Ordering::SeqCst) + 1;
            let jobs = u8::try_from(2 + chance.below(30)).expect("a small number");
            let queue = |chance: &mut Chance| Queue::ALL[usize::try_from(chance.below(3)).expect("a small number")];
            let numbers: Vec<No> = (0..jobs)
                .map(|_| {
                    let queue = queue(&mut chance);
                    self.number(queue, (group, jobs), &mut chance)
                })
                .collect();
            let result = self.engine.enqueue_all(numbers.iter().copied().map(draft)).await;
            let result = result.map(|receipts| {
                let ids = receipts.iter().map(|receipt| receipt.id);
                if !ids.eq(numbers.iter().map(|no| no.id())) || receipts.iter().any(|receipt| !receipt.fresh) {
                    Line::Wrong("a bulk's receipts are not its jobs'".to_owned()).tell();
                }
            });
            outcome(result, &numbers);
            let _ = self.ends.changed().await;
        }
    }
}

/// Pauses a queue and resumes it, for ever. A kill may have left it paused.
async fn pauses(engine: Engine, mut ends: watch::Receiver<u64>) {
    loop {
        for (is_paused, doing, done) in [(false, "resuming", "resumed"), (true, "pausing", "paused")] {
            Line::Note(doing.to_owned()).tell();
            let name = Queue::Light.name();
            let answer = if is_paused { engine.pause(name).await } else { engine.resume(name).await };
            match answer {
                Ok(()) => Line::Note(done.to_owned()).tell(),
                Err(error) => Line::Wrong(format!("{doing} was answered: {error}")).tell(),
            }
            let from = *ends.borrow_and_update();
            let _ = ends.wait_for(|now| *now >= from + if is_paused { PAUSED_ENDS } else { 5 * PAUSED_ENDS }).await;
        }
    }
}

async fn wait<J: windlass::Job<Output = u64>>(handle: JobHandle<J>, no: No) {
    match handle.wait().await {
        Ok(output) => Line::Done(no, output).tell(),
        Err(WaitError::Dead { .. }) => Line::Dead(no).tell(),
        // It was done and purged before the question came.
        Err(WaitError::Control(windlass::ControlError::Refused(Refusal::Forgotten { .. }))) => {}
        Err(error) => Line::Wrong(format!("a wait for {no} was answered: {error}")).tell(),
    }
}

async fn live(engine: &Engine) -> u64 {
    let stats = engine.stats().await.expect("stats are told");
    for queue in &stats {
        let live = queue.live();
        let retained = queue.done + queue.dead + queue.cancelled + queue.expired;
        let totals = &queue.totals;
        Line::Stats([totals.enqueued, live, retained, totals.purged, totals.quarantined]).tell();
    }
    stats.iter().map(QueueStats::live).sum()
}

/// The life that ends with a kill.
async fn work_for_ever(orders: &Orders) {
    let (engine, _, ends) = start(orders, false).await;
    Line::Ready.tell();
    live(&engine).await;
    tokio::spawn(pauses(engine.clone(), ends.clone()));
    let producer = Producer { engine, life: orders.life, serials: Arc::default(), ends };
    let queues = [Queue::Fast, Queue::Fast, Queue::Fast, Queue::Light, Queue::Light, Queue::Heavy];
    for (queue, at) in queues.into_iter().zip(0_u64..) {
        tokio::spawn(producer.clone().singles(queue, orders.seed ^ at << 48));
    }
    producer.bulks(orders.seed ^ 99 << 48).await;
}

/// The life that hands in nothing.
async fn run_only(orders: &Orders) {
    let (engine, _, _) = start(orders, false).await;
    Line::Ready.tell();
    live(&engine).await;
    std::future::pending::<()>().await;
}

/// The life that hands in nothing and soon stops.
async fn stop_soon(orders: &Orders) {
    let (engine, _, mut ends) = start(orders, true).await;
    Line::Ready.tell();
    // There may be less to do than that.
    let _ = tokio::time::timeout(Duration::from_millis(500), ends.wait_for(|ends| *ends >= 3)).await;
    match engine.shutdown(MIN).await {
        Ok(()) => Line::Bye.tell(),
        Err(error) => Line::Wrong(format!("the shutdown failed: {error}")).tell(),
    }
}

/// The life in which everything comes to its end.
async fn drain(orders: &Orders) {
    let (engine, _, mut ends) = start(orders, true).await;
    Line::Ready.tell();
    Line::Note("resuming".to_owned()).tell();
    engine.resume(Queue::Light.name()).await.expect("a queue is resumed");
    while live(&engine).await > 0 {
        // The last end is told before it is acknowledged, so one has to look again after it.
        let _ = tokio::time::timeout(Duration::from_millis(10), ends.changed()).await;
    }
    match engine.shutdown(MIN).await {
        Ok(()) => Line::Bye.tell(),
        Err(error) => Line::Wrong(format!("the shutdown failed: {error}")).tell(),
    }
}
