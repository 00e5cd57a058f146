//! The door: how calls get to the queue actor of the day, and how many at once.
//!
//! Owns the permits that bound what waits in the ring (jobs, bytes, calls), and what everyone outside the actors shares:
//! the gate, the readers, the table of live attempts, the health. Never decides anything about a job.

mod guards;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::SystemTime;

use bytes::Bytes;
use dashmap::DashSet;
use ractor::{ActorRef, ActorStatus};
use tokio::runtime::Handle;
use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use windlass_scheduler::bug;
use windlass_scheduler::command::Request;
use windlass_scheduler::effect::Answer;
use windlass_scheduler::flow::FlowPlan;
use windlass_scheduler::job::{JobId, Name, NewJob};
use windlass_scheduler::lease::LeaseToken;
use windlass_scheduler::order::OrderId;
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::settings::{Level, QueueSettings, ShardSettings};
use windlass_storage::{Reader, StorageError};

use self::guards::CallGuard;
pub(crate) use self::guards::WatchGuard;
use crate::error::{ControlError, EnqueueError};
use crate::events::Ring;
use crate::health::{Health, HealthState, HealthWarning, Vitals};
use crate::hooks::Teller;
use crate::job::new_job_id;
use crate::live::LiveTable;
use crate::messages::{Question, QueueMsg, ReplyTo, Ticket};
use crate::patience::Patience;
use crate::telemetry::Meters;
#[cfg(feature = "testing")]
use crate::testing::{Settled, StandIn};
use crate::times::Book;
use crate::trace::Propagator;
use crate::witness::Witness;

/// Calls that may be in the ring at once: more gains nothing, each costs memory while it waits.
const CALLS_MAX: usize = 4_096;

/// Whether there is a queue actor to speak to.
#[derive(Clone, Debug)]
pub(crate) enum Gate {
    /// This one.
    Open(ActorRef<QueueMsg>),
    /// Not now: the core is being rebuilt.
    Recovering,
    /// Not any more, and why.
    Closed(String),
}

/// Both journals' readers: the journal's own, and the volatile twin's.
#[derive(Clone)]
struct Readers {
    journal: Arc<dyn Reader>,
    twin: Arc<dyn Reader>,
}

/// What the outside needs to know of a queue.
#[derive(Clone, Copy, Debug)]
struct QueueLimits {
    level: Level,
    payload_bytes_max: usize,
    result_bytes_max: usize,
}

impl QueueLimits {
    const fn of(queue: &QueueSettings) -> Self {
        Self {
            level: queue.level,
            payload_bytes_max: queue.payload_bytes_max,
            result_bytes_max: queue.result_bytes_max,
        }
    }
}

pub(crate) struct Door {
    gate: RwLock<Gate>,
    /// Whoever waits for the gate goes on in the order in which they came: a `watch` would wake them in any.
    gate_moved: Notify,
    health: RwLock<(HealthState, SystemTime)>,
    pub(crate) vitals: Vitals,
    readers: RwLock<Option<Readers>>,
    requests: AtomicU64,
    calls: Arc<Semaphore>,
    /// Of a lone caller.
    patience: Patience,
    /// The engine has a thread of its own, which goes on while a caller looks for its answer.
    is_apart: bool,
    jobs: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    jobs_max: usize,
    bytes_max: usize,
    queues: BTreeMap<Name, QueueLimits>,
    /// Of queues that nobody has configured: only where a test stands in for an engine.
    other_queues: Option<QueueLimits>,
    kinds: BTreeSet<Name>,
    /// Where a kind's jobs go instead of its own default.
    kind_queues: BTreeMap<Name, String>,
    unknown_kinds: bool,
    pub(crate) live: Arc<LiveTable>,
    /// Orders that a task of this process carries out.
    pub(crate) orders: DashSet<OrderId>,
    /// Some order came on, or ended.
    pub(crate) orders_moved: Notify,
    pub(crate) hooks: Arc<Teller>,
    pub(crate) events: Arc<Ring>,
    pub(crate) meters: Meters,
    pub(crate) book: Book,
    pub(crate) propagator: Propagator,
    /// Answers where there is no engine.
    #[cfg(feature = "testing")]
    stand_in: Option<Arc<StandIn>>,
    pub(crate) witness: Witness,
}

impl Door {
    pub(crate) fn new(
        settings: &ShardSettings,
        kind_queues: BTreeMap<Name, String>,
        free_bytes_min: u64,
        is_apart: bool,
        hooks: Arc<Teller>,
        meters: Meters,
        witness: Witness,
    ) -> Self {
        Self {
            gate: RwLock::new(Gate::Recovering),
            gate_moved: Notify::new(),
            health: RwLock::new((HealthState::Recovering("starting".to_owned()), SystemTime::now())),
            vitals: Vitals::new(free_bytes_min),
            readers: RwLock::new(None),
            requests: AtomicU64::new(1),
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            patience: Patience::default(),
            is_apart,
            jobs: Arc::new(Semaphore::new(settings.bulk_jobs_max)),
            bytes: Arc::new(Semaphore::new(settings.bulk_bytes_max)),
            jobs_max: settings.bulk_jobs_max,
            bytes_max: settings.bulk_bytes_max,
            queues: settings.queues.iter().map(|queue| (queue.name.clone(), QueueLimits::of(queue))).collect(),
            other_queues: None,
            kinds: settings.kinds.iter().map(|kind| kind.name.clone()).collect(),
            kind_queues,
            unknown_kinds: settings.unknown_kinds,
            live: Arc::new(LiveTable::default()),
            orders: DashSet::new(),
            orders_moved: Notify::new(),
            hooks,
            events: Arc::default(),
            meters,
            book: Book::new(settings),
            propagator: Propagator::default(),
            #[cfg(feature = "testing")]
            stand_in: None,
            witness,
        }
    }

    /// A door with no engine behind it, by these settings; `None`: every queue is there and like this one, and every kind.
    #[cfg(feature = "testing")]
    pub(crate) fn without_engine(
        settled: Option<Settled>,
        other_queues: &QueueSettings,
        stand_in: Arc<StandIn>,
    ) -> Self {
        let is_open = settled.is_none();
        let Settled { mut shard, kind_queues } = settled.unwrap_or_default();
        shard.unknown_kinds |= is_open;
        let mut door = Self::new(&shard, kind_queues, 0, false, Arc::default(), Meters::default(), None);
        door.other_queues = is_open.then(|| QueueLimits::of(other_queues));
        door.set_readers(stand_in.clone(), stand_in.clone());
        door.stand_in = Some(stand_in);
        door
    }

    pub(crate) fn set_gate(&self, gate: Gate) {
        let is_over = matches!(gate, Gate::Closed(_));
        {
            let mut before = self.gate.write().unwrap_or_else(PoisonError::into_inner);
            // A gate that was closed stays closed: an engine does not come back from its end.
            if matches!(*before, Gate::Closed(_)) {
                return;
            }
            *before = gate;
        }
        if is_over {
            // Whoever is woken by it may look here.
            self.events.close();
        }
        self.gate_moved.notify_waiters();
    }

    fn gate(&self) -> RwLockReadGuard<'_, Gate> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until this is found in the gate.
    async fn gate_where<T>(&self, find: impl Fn(&Gate) -> Option<T>) -> T {
        loop {
            let moved = self.gate_moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if let Some(found) = find(&self.gate()) {
                return found;
            }
            moved.await;
        }
    }

    pub(crate) fn health(&self) -> Health {
        let (state, since) = self.health.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut warnings = self.vitals.warnings();
        let stuck = self.live.stuck();
        warnings.extend(stuck.map(|(attempts, since)| HealthWarning::AttemptsStuck { attempts, since }));
        Health { state, since, warnings }
    }

    pub(crate) fn set_health(&self, state: HealthState) {
        let mut health = self.health.write().unwrap_or_else(PoisonError::into_inner);
        if health.0 != state && !matches!(health.0, HealthState::RuntimeGone | HealthState::Stopped(_)) {
            *health = (state, SystemTime::now());
        }
    }

    pub(crate) fn set_readers(&self, journal: Arc<dyn Reader>, twin: Arc<dyn Reader>) {
        *self.readers.write().unwrap_or_else(PoisonError::into_inner) = Some(Readers { journal, twin });
    }

    pub(crate) fn clear_readers(&self) {
        *self.readers.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The reader of the journal that this queue's records are in.
    pub(crate) fn reader(&self, queue: &Name) -> Result<Arc<dyn Reader>, StorageError> {
        let readers = self.readers.read().unwrap_or_else(PoisonError::into_inner);
        let readers = readers.as_ref().ok_or(StorageError::Closed)?;
        Ok(if self.is_volatile(queue) { readers.twin.clone() } else { readers.journal.clone() })
    }

    /// Whether this build has such a queue.
    #[cfg(feature = "metrics")]
    pub(crate) fn has_queue(&self, queue: &Name) -> bool {
        self.queues.contains_key(queue)
    }

    /// Whether what is in this queue is in memory only.
    pub(crate) fn is_volatile(&self, queue: &Name) -> bool {
        self.queues.get(queue).is_some_and(|queue| queue.level == Level::Memory)
    }

    /// The reader of the journal, whatever queue.
    pub(crate) fn journal_reader(&self) -> Result<Arc<dyn Reader>, StorageError> {
        let readers = self.readers.read().unwrap_or_else(PoisonError::into_inner);
        Ok(readers.as_ref().ok_or(StorageError::Closed)?.journal.clone())
    }

    pub(crate) fn result_bytes_max(&self, queue: &Name) -> usize {
        self.limits(queue).map_or(0, |queue| queue.result_bytes_max)
    }

    fn limits(&self, queue: &Name) -> Option<&QueueLimits> {
        self.queues.get(queue).or(self.other_queues.as_ref())
    }

    /// The queue that jobs of this kind go to unless told otherwise.
    pub(crate) fn queue_of<'a>(&'a self, kind: &str, default: &'a str) -> &'a str {
        self.kind_queues.get(kind).map_or(default, String::as_str)
    }

    /// Checks a follow-up as the core would, but for the depth, which it may overdraw.
    pub(crate) fn check_follow_up(&self, job: &NewJob) -> Result<(), EnqueueError> {
        let Some(limits) = self.limits(&job.queue) else {
            return Err(Refusal::NoQueue { queue: job.queue.clone() }.into());
        };
        if !self.unknown_kinds && !self.kinds.contains(&job.kind) {
            return Err(Refusal::NoHandler { kind: job.kind.clone() }.into());
        }
        let (bytes, bytes_max) = (job.body.bytes(), limits.payload_bytes_max);
        if bytes > bytes_max {
            return Err(Refusal::PayloadTooLarge { queue: job.queue.clone(), bytes, bytes_max }.into());
        }
        Ok(())
    }

    /// An id that nobody has: in a simulation, the next one of its seed.
    pub(crate) fn new_id(&self) -> JobId {
        self.witness.as_ref().map_or_else(new_job_id, |witness| witness.new_id())
    }

    /// Runs this where it may wait for a disk. In a simulation, whose disk is memory, it is a task among the others: threads
    /// race, and a seed would not repeat itself.
    pub(crate) fn read_on<T: Send + 'static>(
        &self,
        handlers: &Handle,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        if self.witness.is_some() { handlers.spawn(async move { read() }) } else { handlers.spawn_blocking(read) }
    }

    /// For the actors: to the queue actor of the day. One that is being rebuilt finds out by itself.
    pub(crate) fn tell_queue(&self, message: QueueMsg) {
        if let Gate::Open(queue) = &*self.gate() {
            let _ = queue.send_message(message);
        }
    }

    pub(crate) fn next_request(&self) -> Request {
        Request(self.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// The queue actor, as soon as there is one (again): for one that has fallen, nobody may ask in a circle.
    async fn queue(&self) -> Result<ActorRef<QueueMsg>, String> {
        let has_fallen = |queue: &ActorRef<QueueMsg>| queue.get_status() >= ActorStatus::Stopping;
        if let Gate::Open(queue) = &*self.gate()
            && !has_fallen(queue)
        {
            return Ok(queue.clone());
        }
        let settled = |gate: &Gate| match gate {
            Gate::Open(queue) => (!has_fallen(queue)).then(|| Ok(queue.clone())),
            Gate::Recovering => None,
            Gate::Closed(reason) => Some(Err(reason.clone())),
        };
        self.gate_where(settled).await
    }

    /// Waits until there is no queue actor any more, for good: why.
    pub(crate) async fn closed(&self) -> String {
        self.gate_where(|gate| if let Gate::Closed(reason) = gate { Some(reason.clone()) } else { None }).await
    }

    /// Waits for a turn to speak. It is a step of its own, so that a crowd which waits for its turn holds its jobs and not
    /// what comes after: that goes into a box. The first so many jobs are steps of a flow.
    pub(crate) async fn turn(&self, jobs: &[NewJob], steps: usize) -> Result<OwnedSemaphorePermit, EnqueueError> {
        self.check_room(jobs, steps)?;
        self.calls.clone().acquire_owned().await.map_err(closed)
    }

    /// Lets jobs in, of a flow or none: waits for permits, then for the answer. `ending` is answered when the (only) job has ended.
    pub(crate) async fn submit(
        &self,
        call: OwnedSemaphorePermit,
        jobs: Vec<NewJob>,
        flow: Option<Box<FlowPlan>>,
        ending: Option<(Request, ReplyTo)>,
    ) -> Result<Answer, EnqueueError> {
        let Some(witness) = &self.witness else { return self.submit_unseen(call, jobs, flow, ending).await };
        let no = witness.enqueues(&jobs, flow.as_deref());
        let outcome = self.submit_unseen(call, jobs, flow, ending).await;
        witness.enqueued(no, outcome.as_ref());
        outcome
    }

    async fn submit_unseen(
        &self,
        call: OwnedSemaphorePermit,
        jobs: Vec<NewJob>,
        flow: Option<Box<FlowPlan>>,
        ending: Option<(Request, ReplyTo)>,
    ) -> Result<Answer, EnqueueError> {
        let Some(id) = jobs.first().map(|job| job.id) else { return Ok(Answer::Enqueued(Vec::new())) };
        let many = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        // With its steps a flow may have more jobs than there are permits.
        let room = jobs.len().min(self.jobs_max);
        let ticket = Ticket {
            _call: Some(call),
            _jobs: Some(self.jobs.clone().acquire_many_owned(many(room)).await.map_err(closed)?),
            _bytes: self.bytes.clone().acquire_many_owned(many(NewJob::bytes_of(&jobs))).await.map_err(closed)?,
        };
        let (reply, answer) = oneshot::channel();
        let request = self.next_request();
        let message = QueueMsg::Submit { request, jobs, flow, reply, ending, ticket };
        let queue = self.queue().await.map_err(EnqueueError::Unavailable)?;
        // A message that does not arrive was not stored, but a queue that falls meanwhile is told apart by nobody.
        queue.send_message(message).map_err(|_| EnqueueError::Interrupted { id })?;
        // Its mailbox lives as long as an address of it does, and with the mailbox what nobody reads any more.
        drop(queue);
        let mut guard = CallGuard { door: self, request, is_over: false };
        let is_alone = self.is_apart && self.calls.available_permits() + 1 >= CALLS_MAX;
        let answer = if is_alone { self.patience.answer(answer).await } else { answer.await };
        guard.is_over = true;
        match answer {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(EnqueueError::Interrupted { id }),
        }
    }

    /// Has this remembered for the job's next attempt. Its bytes wait for room like those of jobs.
    pub(crate) async fn checkpoint(&self, id: JobId, token: LeaseToken, bytes: Bytes) -> Result<Answer, ControlError> {
        let room = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let room = self.bytes.clone().acquire_many_owned(room).await;
        let room = room.map_err(|_| ControlError::Unavailable("it is gone".to_owned()))?;
        let ticket = Ticket { _call: None, _jobs: None, _bytes: room };
        let message = |request, reply| QueueMsg::Checkpoint { request, id, token, bytes, reply, ticket };
        self.say(self.next_request(), message).await
    }

    fn check_room(&self, jobs: &[NewJob], steps: usize) -> Result<(), EnqueueError> {
        if let Some((free_bytes, free_bytes_min)) = self.vitals.nearly_full().filter(|_| !bug!(FullDiskIgnored)) {
            return Err(EnqueueError::DiskNearlyFull { free_bytes, free_bytes_min });
        }
        let (bytes, jobs) = (NewJob::bytes_of(jobs), jobs.len().saturating_sub(steps));
        if jobs > self.jobs_max || bytes > self.bytes_max {
            let (jobs_max, bytes_max) = (self.jobs_max, self.bytes_max);
            return Err(EnqueueError::TooLarge { jobs, jobs_max, bytes, bytes_max });
        }
        Ok(())
    }

    /// Asks a question and waits for the answer.
    pub(crate) async fn ask(&self, question: Question) -> Result<Answer, ControlError> {
        self.ask_as(self.next_request(), question).await
    }

    pub(crate) async fn ask_as(&self, request: Request, question: Question) -> Result<Answer, ControlError> {
        let seen = self.witness.as_ref().map(|witness| (witness, witness.asks(&question)));
        let outcome = self.say(request, |request, reply| QueueMsg::Ask { request, question, reply }).await;
        if let Some((witness, no)) = seen {
            witness.asked(no, outcome.as_ref());
        }
        outcome
    }

    async fn say(
        &self,
        request: Request,
        message: impl FnOnce(Request, ReplyTo) -> QueueMsg,
    ) -> Result<Answer, ControlError> {
        let (reply, answer) = oneshot::channel();
        #[cfg(feature = "testing")]
        if let Some(stand_in) = &self.stand_in {
            stand_in.receive(message(request, reply));
            return Ok(answer.await.map_err(|_| ControlError::Interrupted)??);
        }
        let queue = self.queue().await.map_err(ControlError::Unavailable)?;
        let sent = queue.send_message(message(request, reply));
        sent.map_err(|_| ControlError::Interrupted)?;
        drop(queue);
        Ok(answer.await.map_err(|_| ControlError::Interrupted)??)
    }
}

fn closed(_: AcquireError) -> EnqueueError {
    EnqueueError::Unavailable("it is gone".to_owned())
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("gate", &*self.gate()).finish_non_exhaustive()
    }
}
