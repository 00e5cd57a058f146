//! Tells the recorder, again and again, what the engine's parts tell when they are asked.
//!
//! Owns the handles of it. Counters that the core counts absolutely are set, not raised: they stay exact through rebuilds and
//! restarts. A recorder that panics costs what it was about to be told, and nothing else.

use std::array;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use metrics::{Counter, Gauge};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::error;
use windlass_scheduler::breaker::Circuit;
use windlass_scheduler::effect::Answer;
use windlass_scheduler::job::Name;
use windlass_scheduler::limit::{LimitOf, LimitView};
use windlass_scheduler::state::State;
use windlass_scheduler::view::{Measures, MemoryUse, QueueStats};
use windlass_storage::{JournalDisk, JournalMemory, StorageError};

use super::meters::{counter, gauge, number, words_of};
use super::names::{self, Metric, OTHER};
use crate::admin::Desk;
use crate::door::Door;
use crate::error::{ControlError, panic_text};
use crate::messages::Question;

/// Goes on until the engine's end.
pub(super) async fn publish(desk: Desk, every: Duration, memory_bytes_max: u64) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut publisher = Publisher { memory_bytes_max, ..Publisher::default() };
    loop {
        tokio::select! {
            biased;
            _ = desk.door.closed() => break,
            _ = ticks.tick() => {}
        }
        contained(publisher.round(&desk, &mut ticks)).await;
    }
    contained(async { publisher.health(&desk.door) }).await;
}

/// What goes to a recorder runs code of the service's.
async fn contained(telling: impl Future<Output = ()>) {
    if let Err(panic) = AssertUnwindSafe(telling).catch_unwind().await {
        error!(panic = panic_text(panic.as_ref()), "the recorder of metrics panicked");
    }
}

/// What the journal takes of memory and disk.
type Seen = (JournalMemory, Option<JournalDisk>);

/// The handles: each is registered when it is first needed.
#[derive(Default)]
struct Publisher {
    whole: Option<OfWhole>,
    journal: Option<OfJournal>,
    queues: BTreeMap<String, OfQueue>,
    limits: BTreeMap<LimitOf, OfLimit>,
    /// The budget, the journal's part included.
    memory_bytes_max: u64,
    /// What the core of the day had said last.
    stale_acks: u64,
    look: Option<JoinHandle<Result<Seen, StorageError>>>,
}

impl Publisher {
    async fn round(&mut self, desk: &Desk, ticks: &mut Interval) {
        self.health(&desk.door);
        let measures = {
            let asked = desk.door.ask(Question::Measure);
            tokio::pin!(asked);
            loop {
                tokio::select! {
                    biased;
                    answer = &mut asked => break answer,
                    // While the core is being rebuilt, that is what there is to tell.
                    _ = ticks.tick() => self.health(&desk.door),
                }
            }
        };
        match measures {
            Ok(Answer::Measures(measures)) => self.measured(desk, &measures),
            // It fell meanwhile, or stops: there may be a next time.
            Err(ControlError::Interrupted | ControlError::Unavailable(_)) => return,
            other => unreachable!("a question for all numbers was answered with {other:?}"),
        }
        self.look_at_disk(desk).await;
    }

    /// What the last look came to, and the next one: nobody waits for a disk that hangs.
    async fn look_at_disk(&mut self, desk: &Desk) {
        if let Some(look) = self.look.take_if(|look| look.is_finished()) {
            // A journal that was closed meanwhile, or cannot say, says nothing.
            if let Ok(Ok((memory, disk))) = look.await {
                self.journal.get_or_insert_with(OfJournal::new).tell(memory, disk);
            }
        }
        self.look.get_or_insert_with(|| {
            let door = desk.door.clone();
            let read = move || {
                let reader = door.journal_reader()?;
                Ok((reader.memory()?, reader.disk()?))
            };
            desk.door.read_on(&desk.handlers, read)
        });
    }

    fn health(&mut self, door: &Door) {
        self.whole.get_or_insert_with(OfWhole::new).health(door);
    }

    fn measured(&mut self, desk: &Desk, measures: &Measures) {
        let stale_acks = measures.stale_acks;
        // A core that was loaded anew counts from zero.
        let more = stale_acks.checked_sub(self.stale_acks).unwrap_or(stale_acks);
        self.stale_acks = stale_acks;
        let whole = self.whole.get_or_insert_with(OfWhole::new);
        whole.memory_max.set(number(self.memory_bytes_max));
        whole.measured(measures, more);
        let mut queues: BTreeMap<&str, Numbers> = BTreeMap::new();
        for stats in &measures.queues {
            let name = label_of(&desk.door, &stats.queue);
            queues.entry(name).or_default().add(stats);
        }
        for (name, numbers) in queues {
            let of = self.queues.entry(name.to_owned()).or_insert_with(|| OfQueue::new(name));
            of.tell(&numbers);
        }
        for view in &measures.limits {
            self.limits.entry(view.of.clone()).or_insert_with(|| OfLimit::new(view)).tell(view);
        }
    }
}

/// Queues that only an earlier build had are told together: there may have been any number.
fn label_of<'a>(door: &Door, queue: &'a Name) -> &'a str {
    if door.has_queue(queue) { queue.as_str() } else { OTHER }
}

/// Of the whole engine.
struct OfWhole {
    serving: Gauge,
    accepting: Gauge,
    stuck: Gauge,
    free: Option<Gauge>,
    quarantined: Counter,
    stale_acks: Counter,
    flows: [Gauge; 3],
    memory: [Gauge; 4],
    memory_max: Gauge,
    paged_out: Gauge,
    paged_out_bytes: Gauge,
}

impl OfWhole {
    fn new() -> Self {
        let plain = |metric: &Metric| gauge(metric, &[]);
        Self {
            serving: plain(&names::SERVING),
            accepting: plain(&names::ACCEPTING),
            stuck: plain(&names::STUCK),
            free: None,
            quarantined: counter(&names::QUARANTINED_RECORDS, &[]),
            stale_acks: counter(&names::STALE_ACKS, &[]),
            flows: ["open", "held", "ended"].map(|state| gauge(&names::FLOWS, &[state])),
            memory: ["heads", "stubs", "volatile", "payloads"].map(|part| gauge(&names::MEMORY, &[part])),
            memory_max: plain(&names::MEMORY_MAX),
            paged_out: plain(&names::PAGED_OUT),
            paged_out_bytes: plain(&names::PAGED_OUT_BYTES),
        }
    }

    fn health(&mut self, door: &Door) {
        let health = door.health();
        self.serving.set(flag(health.is_serving()));
        self.accepting.set(flag(health.accepts_jobs()));
        self.stuck.set(number(door.live.stuck().map_or(0, |(attempts, _)| attempts)));
        self.quarantined.absolute(door.vitals.quarantined());
        if let Some(bytes) = door.vitals.free_bytes() {
            self.free.get_or_insert_with(|| gauge(&names::FREE, &[])).set(number(bytes));
        }
    }

    fn measured(&self, measures: &Measures, stale_acks: u64) {
        self.stale_acks.increment(stale_acks);
        set(&self.flows, [measures.flows_open, measures.flows_held, measures.flows_ended]);
        let MemoryUse { heads_bytes, stubs_bytes, volatile_bytes, bodies_bytes, .. } = measures.memory;
        set(&self.memory, [heads_bytes, stubs_bytes, volatile_bytes, bodies_bytes]);
        self.paged_out.set(number(measures.memory.paged_out));
        self.paged_out_bytes.set(number(measures.memory.paged_out_bytes));
    }
}

/// Of what the journal takes.
struct OfJournal {
    memory: [Gauge; 2],
    disk: Option<[Gauge; 2]>,
}

impl OfJournal {
    fn new() -> Self {
        let memory = ["journal_cache", "journal_buffers"].map(|part| gauge(&names::MEMORY, &[part]));
        Self { memory, disk: None }
    }

    fn tell(&mut self, memory: JournalMemory, disk: Option<JournalDisk>) {
        set(&self.memory, [memory.cache_bytes, memory.buffers_bytes]);
        if let Some(JournalDisk { tables_bytes, log_bytes }) = disk {
            let of_disk = || [&names::TABLES, &names::LOG].map(|metric| gauge(metric, &[]));
            set(self.disk.get_or_insert_with(of_disk), [tables_bytes, log_bytes]);
        }
    }
}

/// The states that are told, in the order of [`Numbers::jobs`].
const STATES: [State; 9] = [
    State::Waiting,
    State::Delayed,
    State::Ready,
    State::Running,
    State::Parked,
    State::Done,
    State::Dead,
    State::Cancelled,
    State::Expired,
];

/// The totals, in the order of [`Numbers::totals`].
const TOTALS: [&Metric; 12] = [
    &names::ENQUEUED,
    &names::STARTED,
    &names::SUCCEEDED,
    &names::FAILED,
    &names::RETRIES,
    &names::LOST,
    &names::DEAD,
    &names::CANCELLED,
    &names::EXPIRED,
    &names::REQUEUED,
    &names::PURGED,
    &names::QUARANTINED,
];

/// What is told of a queue, or of several together.
#[derive(Default)]
struct Numbers {
    jobs: [u64; STATES.len()],
    oldest_ready_ms: u64,
    slots: u64,
    depth_max: u64,
    waiting_callers: u64,
    is_paused: bool,
    is_late: bool,
    totals: [u64; TOTALS.len()],
}

impl Numbers {
    fn add(&mut self, stats: &QueueStats) {
        let QueueStats { waiting, delayed, ready, running, parked, done, dead, cancelled, expired, .. } = *stats;
        add(&mut self.jobs, [waiting, delayed, ready, running, parked, done, dead, cancelled, expired]);
        self.oldest_ready_ms = self.oldest_ready_ms.max(stats.oldest_ready_ms.unwrap_or_default());
        self.slots += u64::from(stats.slots);
        self.depth_max += stats.depth_max;
        self.waiting_callers += stats.waiting_callers as u64;
        self.is_paused |= stats.paused;
        self.is_late |= stats.is_late;
        let all = &stats.totals;
        let totals = [
            all.enqueued,
            all.attempts,
            all.done_total,
            all.failures,
            all.retries,
            all.lost,
            all.dead_total,
            all.cancelled_total,
            all.expired_total,
            all.requeued,
            all.purged,
            all.quarantined,
        ];
        add(&mut self.totals, totals);
    }
}

fn add<const N: usize>(to: &mut [u64; N], more: [u64; N]) {
    for (to, more) in to.iter_mut().zip(more) {
        *to += more;
    }
}

fn set<const N: usize>(gauges: &[Gauge; N], values: [u64; N]) {
    for (gauge, value) in gauges.iter().zip(values) {
        gauge.set(number(value));
    }
}

fn flag(is_so: bool) -> f64 {
    number(is_so.into())
}

/// Of one queue.
struct OfQueue {
    jobs: [Gauge; STATES.len()],
    oldest_ready: Gauge,
    rest: [Gauge; 5],
    totals: [Counter; TOTALS.len()],
}

impl OfQueue {
    fn new(queue: &str) -> Self {
        let rest = [&names::SLOTS, &names::DEPTH_MAX, &names::WAITING_CALLERS, &names::PAUSED, &names::LATE];
        Self {
            jobs: STATES.map(|state| gauge(&names::JOBS, &[queue, state.as_str()])),
            oldest_ready: gauge(&names::OLDEST_READY, &[queue]),
            rest: rest.map(|metric| gauge(metric, &[queue])),
            totals: array::from_fn(|no| counter(TOTALS[no], &[queue])),
        }
    }

    fn tell(&self, numbers: &Numbers) {
        set(&self.jobs, numbers.jobs);
        self.oldest_ready.set(Duration::from_millis(numbers.oldest_ready_ms));
        let Numbers { slots, depth_max, waiting_callers, is_paused, is_late, .. } = *numbers;
        set(&self.rest, [slots, depth_max, waiting_callers, is_paused.into(), is_late.into()]);
        for (total, value) in self.totals.iter().zip(numbers.totals) {
            total.absolute(value);
        }
    }
}

/// Of one limit.
struct OfLimit {
    running: Gauge,
    /// Registered where there is something to tell: an operator may set it later.
    slots: Option<Gauge>,
    breaker: Option<[Gauge; 3]>,
}

impl OfLimit {
    fn new(view: &LimitView) -> Self {
        let words @ [scope, limit] = words_of(&view.of);
        let state = |state| gauge(&names::BREAKER, &[scope, limit, state]);
        Self {
            running: gauge(&names::LIMIT_RUNNING, &words),
            slots: None,
            breaker: view.circuit.map(|_| ["closed", "half_open", "open"].map(state)),
        }
    }

    fn tell(&mut self, view: &LimitView) {
        self.running.set(number(view.running));
        let slots = view.overridden.and_then(|set| set.slots).or(view.configured.slots);
        if let Some(slots) = slots {
            let of_slots = || gauge(&names::LIMIT_SLOTS, &words_of(&view.of));
            self.slots.get_or_insert_with(of_slots).set(f64::from(slots));
        } else if let Some(gauge) = &self.slots {
            // What was set over it was taken away.
            gauge.set(f64::INFINITY);
        }
        if let (Some(breaker), Some(circuit)) = (&self.breaker, view.circuit) {
            let stands = match circuit {
                Circuit::Closed { .. } => [1, 0, 0],
                Circuit::HalfOpen { .. } => [0, 1, 0],
                Circuit::Open { .. } => [0, 0, 1],
            };
            set(breaker, stands);
        }
    }
}
