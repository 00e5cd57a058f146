//! From a description to a running engine: parse, do not validate later.

use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::{Duration, SystemTime};

use ractor::{Actor, ActorRef};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;
use windlass_scheduler::command::QueueNo;
use windlass_scheduler::recurrence::{Origin, SharedCalendar};
use windlass_scheduler::settings::{Notices, ShardSettings};
use windlass_storage::{Journal, MemoryJournal};

use crate::actors::supervisor::{Supervisor, SupervisorParts, WorkerPlan, WriterPlan};
use crate::actors::worker::WorkerParts;
use crate::attempt::Ends;
use crate::calendar::Patterns;
use crate::clock::{Clock, Clocks, SystemClock, is_paused, timestamp};
#[cfg(feature = "metrics")]
use crate::config::ms;
use crate::config::{EngineConfig, KindConfig, Plan, QueueConfig, SharedLimit};
use crate::context::Context;
use crate::door::Door;
use crate::engine::{Engine, Inner};
use crate::error::{ConfigError, JobError, ScheduleError, StartError};
use crate::handler::Registry;
use crate::hooks::Hooks;
use crate::job::Job;
use crate::memory;
use crate::messages::SupervisorMsg;
use crate::middleware::Layers;
use crate::patience::Patience;
use crate::schedule::Schedule;
use crate::telemetry::Meters;
#[cfg(feature = "testing")]
use crate::testing::Settled;
use crate::trace::Propagator;
use crate::witness::Witness;
use crate::writer::{WriterCore, spawn_inline, spawn_thread};

/// An engine to be. Everything is checked by [`start`](Self::start), and nothing happens before.
pub struct EngineBuilder<A> {
    app: Arc<A>,
    journal: Option<Box<dyn Journal>>,
    /// What the code says.
    code: EngineConfig,
    /// What was read.
    files: Vec<EngineConfig>,
    registry: Registry,
    clock: Arc<dyn Clock>,
    pub(crate) layers: Layers,
    pub(crate) hooks: Hooks,
    pub(crate) propagator: Propagator,
    schedules: Vec<Schedule>,
    witness: Witness,
}

impl Default for EngineBuilder<()> {
    fn default() -> Self {
        Self {
            app: Arc::new(()),
            journal: None,
            code: EngineConfig::default(),
            files: Vec::new(),
            registry: Registry::default(),
            clock: Arc::new(SystemClock),
            layers: Layers::default(),
            hooks: Hooks::default(),
            propagator: Propagator::default(),
            schedules: Vec::new(),
            witness: None,
        }
    }
}

impl EngineBuilder<()> {
    /// State that all handlers share. Comes before the first handler that uses it.
    #[must_use]
    pub fn app<A: Send + Sync + 'static>(self, app: A) -> EngineBuilder<A> {
        EngineBuilder {
            app: Arc::new(app),
            journal: self.journal,
            code: self.code,
            files: self.files,
            registry: self.registry,
            clock: self.clock,
            layers: self.layers,
            hooks: self.hooks,
            propagator: self.propagator,
            schedules: self.schedules,
            witness: self.witness,
        }
    }
}

impl<A: Send + Sync + 'static> EngineBuilder<A> {
    /// Where the truth lives. This is a description: [`start`](Self::start) opens it.
    #[must_use]
    pub fn journal(mut self, journal: impl Journal + 'static) -> Self {
        self.journal = Some(Box::new(journal));
        self
    }

    /// A queue.
    #[must_use]
    pub fn queue(mut self, queue: QueueConfig) -> Self {
        self.code.queues.push(queue);
        self
    }

    /// A limit that queues share.
    #[must_use]
    pub fn shared_limit(mut self, limit: SharedLimit) -> Self {
        self.code.limits.push(limit);
        self
    }

    /// Settings of a kind, where its queue's do not fit.
    #[must_use]
    pub fn kind(mut self, kind: KindConfig) -> Self {
        self.code.kinds.push(kind);
        self
    }

    /// A job that comes back. What the code says counts at every start: a schedule that is there already goes on where it was if
    /// its rule is the same, and begins now if it is another. One that the code no longer has goes on until it is removed; a line
    /// in the log says so at every start.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedules.push(schedule);
        self
    }

    /// What was read from a file, beside what the code says. May come more than once, if nothing is said twice.
    #[must_use]
    pub fn config(mut self, config: EngineConfig) -> Self {
        self.files.push(config);
        self
    }

    /// What the engine would go by: code and files together, checked, with the defaults filled in, and each kind that has a
    /// handler with its queue. What is unset has no default: a queue with no `attempt_timeout` lets attempts run for ever.
    ///
    /// # Errors
    /// What [`start`](Self::start) would refuse.
    pub fn effective_config(&self) -> Result<EngineConfig, ConfigError> {
        Ok(self.plan()?.config)
    }

    /// What a test stands in with: the shared state, and what there is.
    #[cfg(feature = "testing")]
    pub(crate) fn settled(&self) -> Result<(Arc<A>, Settled), ConfigError> {
        let plan = self.plan()?;
        let (shard, kind_queues) = (shard_settings(&plan, Notices::default(), &None), plan.kind_queues().collect());
        Ok((self.app.clone(), Settled { shard, kind_queues }))
    }

    fn plan(&self) -> Result<Plan, ConfigError> {
        let plan = Plan::new(&self.code, &self.files, &self.registry.kinds)?;
        self.layers.check(&self.registry)?;
        Ok(plan)
    }

    /// The async handler of a kind. It runs on the tokio runtime that calls [`start`](Self::start).
    #[must_use]
    pub fn handler<J, F, Fut>(mut self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, Context<A>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<J::Output, JobError>> + Send + 'static,
    {
        self.registry.add_async(self.app.clone(), handler);
        self
    }

    /// The blocking handler of a kind. Every attempt runs on a thread of its own. It cannot be dropped: it should look at
    /// [`Context::is_cancelled`] now and then.
    #[must_use]
    pub fn blocking_handler<J, F>(mut self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, Context<A>) -> Result<J::Output, JobError> + Send + Sync + 'static,
    {
        self.registry.add_blocking(self.app.clone(), handler);
        self
    }

    /// Accepts jobs of kinds that have no handler here; otherwise they are refused. They are parked: stored as durably as
    /// others, counted (`parked` in [`stats`](Engine::stats)), seen ([`JobState::Parked`](crate::JobState::Parked)), and
    /// run in their place as soon as an engine that has the handler opens the same journal. An engine with this and no
    /// handler at all is a producer: it hands in what another build works off later.
    #[must_use]
    pub fn allow_unknown_kinds(mut self) -> Self {
        self.code.wide.allow_unknown_kinds = Some(true);
        self
    }

    /// Another wall clock, for tests.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Whether some handler blocks a thread of its own.
    #[cfg(feature = "testing")]
    pub(crate) fn has_blocking_handlers(&self) -> bool {
        self.registry.handlers.values().any(|handler| matches!(handler.runner, crate::handler::Runner::Blocking(_)))
    }

    /// Tells this of every call.
    #[cfg(feature = "testing")]
    pub(crate) fn witness(mut self, witness: Arc<crate::witness::Recorder>) -> Self {
        self.witness = Some(witness);
        self
    }

    /// Runs the engine's parts on the caller's runtime instead of a thread of their own. A handler that blocks that runtime
    /// then stops the engine, too: timers, leases and enqueues of all queues wait. A paused tokio clock chooses this by
    /// itself.
    #[must_use]
    pub fn single_runtime(mut self) -> Self {
        self.code.wide.single_runtime = Some(true);
        self
    }

    /// New jobs are refused while the journal's disk has fewer bytes free; 256 MiB unless said. What is kept free is for
    /// the acknowledgements of jobs that were accepted.
    #[must_use]
    pub fn disk_free_bytes_min(mut self, bytes: u64) -> Self {
        self.code.wide.disk_free_bytes_min = Some(bytes);
        self
    }

    /// What jobs and journal may take of memory, in bytes; 1 GiB unless said, from 16 MiB on. An eighth of it (8 to 512 MiB)
    /// is the journal's own: what it has read, and what it has written and not yet put into tables. The rest is for heads of
    /// live jobs, stubs of retained ones, and, a third of it at most, payloads: at the default 850,000 of 200 bytes. Payloads
    /// over it stay on disk: they are read ahead of their turn, or by their attempts, and neither the order nor any verb
    /// knows the difference. See [`Engine::memory`].
    ///
    /// Ten million waiting jobs of 200 bytes fit in 3 GiB, as the system counts the process.
    ///
    /// Heads are never on disk only: about 110 bytes a live job, whose number `depth_max` bounds. Beside the budget stand what
    /// is on its way through the engine (64 MiB of payloads at most), what attempts and hooks have in hand, and errors of
    /// attempts of `Memory` queues. What else these keep (payloads, and outputs and checkpoints) is counted and has no other
    /// place; nor has anything with a journal that does not survive the process.
    #[must_use]
    pub fn memory_bytes_max(mut self, bytes: u64) -> Self {
        self.code.wide.memory_bytes_max = Some(bytes);
        self
    }

    /// A job is [taken for what kills the process](crate::guide::retries), and dead, when that died under so many of its attempts in a
    /// row, under the last one while no other suspect ran; 3 unless said, from 3 on. More of them spare those that are alone each time a
    /// machine is killed for another reason, and give a job that does kill as many more deaths.
    #[must_use]
    pub fn lost_max(mut self, attempts: u32) -> Self {
        self.code.wide.lost_max = Some(attempts);
        self
    }

    /// So many events are kept in memory for subscribers that fall behind or come back; 65,536 unless said, from 1 to 100,000,000. See
    /// [`Engine::events`].
    #[must_use]
    pub fn events_kept_max(mut self, events: u32) -> Self {
        self.code.wide.events_kept_max = Some(events.into());
        self
    }

    /// And so many bytes of events; 16 MiB unless said, from 1 to 1 TiB. They stand beside the budget of
    /// [`memory_bytes_max`](Self::memory_bytes_max), and as many may wait for the journal.
    #[must_use]
    pub fn events_kept_bytes_max(mut self, bytes: u64) -> Self {
        self.code.wide.events_kept_bytes_max = Some(bytes);
        self
    }

    /// Events are kept from the start on, and not from the first subscription on: whoever goes on after an event of an earlier process
    /// then gets all that this one did.
    #[must_use]
    pub fn events_from_start(mut self) -> Self {
        self.code.wide.events_from_start = Some(true);
        self
    }

    /// How often numbers are told to the recorder of [`metrics`](crate::guide::metrics) that are asked for and not told as they
    /// happen; a second unless said, and zero for no metrics at all. Without a recorder nothing is told, whatever this says.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn metrics_interval(mut self, interval: Duration) -> Self {
        self.code.wide.metrics_interval_ms = Some(ms(interval));
        self
    }

    /// Checks everything, opens the journal, recovers what it holds, and begins to run jobs.
    ///
    /// # Errors
    /// [`StartError`]: nothing has run then.
    pub async fn start(mut self) -> Result<Engine, StartError> {
        let handlers = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let plan = self.plan()?;
        let mut journal = self.journal.take().ok_or(ConfigError::NoJournal)?;
        let single_runtime = plan.config.wide.single_runtime.unwrap_or_default() || is_paused();
        let driver = driver_of(&handlers);
        let mut settings = shard_settings(&plan, self.hooks.notices(), &self.witness);
        schedule_all(&mut settings, self.schedules, &plan)?;
        settings.memory_bytes_max = memory::share(plan.config.memory_bytes_max(), journal.as_mut())?;
        let hooks = Arc::new(self.hooks.start(&handlers));
        let mut door = Door::new(
            &settings,
            plan.kind_queues().collect(),
            plan.config.disk_free_bytes_min(),
            !single_runtime,
            hooks,
            Meters::new(&plan.config),
            self.witness,
        );
        (door.events, door.propagator) = (Arc::new(plan.config.ring()), self.propagator);
        let door = Arc::new(door);
        let twin = Arc::new(Mutex::new(MemoryJournal::new()));
        let registry = Arc::new(self.layers.around(self.registry));
        let workers = plan.config.queues.iter().enumerate().map(|(no, queue)| {
            let (slots, abort_after) = (queue.settings.slots, queue.abort_after);
            let (registry, door, handlers) = (registry.clone(), door.clone(), handlers.clone());
            let ends = Arc::new(Ends::new(handlers.metrics().num_workers()));
            let meters = door.meters.of_worker(queue.name(), registry.kinds.len());
            let plan = move |supervisor: ActorRef<SupervisorMsg>| WorkerParts {
                queue: QueueNo(u32::try_from(no).unwrap_or(u32::MAX)),
                slots,
                abort_after,
                registry: registry.clone(),
                live: door.live.clone(),
                ends: ends.clone(),
                door: door.clone(),
                handlers: handlers.clone(),
                is_single_runtime: single_runtime,
                supervisor,
                meters: meters.clone(),
            };
            Box::new(plan) as WorkerPlan
        });
        let workers = workers.collect();
        let writer = writer_plan(WriterCore::new(journal, twin.clone(), door.clone()));
        let (started, outcome) = oneshot::channel();
        let clock = self.clock;
        let parts = {
            let (door, handlers) = (door.clone(), handlers.clone());
            move || SupervisorParts {
                settings,
                twin,
                clocks: Clocks::new(clock),
                door,
                handlers,
                workers,
                writer,
                started,
            }
        };
        let mut supervisor = if single_runtime { spawn_here(parts()).await? } else { spawn_apart(parts).await? };
        outcome.await.map_err(|_| StartError::Thread("the supervisor ended while starting".to_owned()))??;
        match supervisor.0.take() {
            Some(supervisor) => {
                let (config, is_single_runtime) = (plan.config, single_runtime);
                Ok(Engine::new(Inner { door, supervisor, handlers, config, is_single_runtime, driver }))
            }
            None => Err(StartError::Thread("the supervisor did not start".to_owned())),
        }
    }
}

/// How to start the writer.
fn writer_plan(mut writer: WriterCore) -> WriterPlan {
    Box::new(move |supervisor| {
        writer.report_to(supervisor);
        // A paused clock cannot see a thread; nothing else may block a runtime with writes and syncs.
        if is_paused() { Ok(spawn_inline(writer)) } else { spawn_thread(writer) }
    })
}

/// The thread that drives a runtime of one thread: this one.
fn driver_of(handlers: &Handle) -> Option<ThreadId> {
    let is_alone = handlers.runtime_flavor() == RuntimeFlavor::CurrentThread;
    is_alone.then(|| std::thread::current().id())
}

/// What the core is started with.
fn shard_settings(plan: &Plan, notices: Notices, witness: &Witness) -> ShardSettings {
    let queues = plan.config.queues.iter().map(|queue| queue.settings.clone()).collect();
    let any = || std::hash::RandomState::new().build_hasher().finish();
    let seed = witness.as_ref().map_or_else(any, |witness| witness.seed());
    let mut settings = ShardSettings::new(0, seed, queues, plan.handled.clone());
    settings.unknown_kinds = plan.config.wide.allow_unknown_kinds.unwrap_or_default();
    settings.lost_max = plan.config.wide.lost_max.unwrap_or(ShardSettings::LOST_MAX);
    settings.shared = plan.config.limits.iter().map(|limit| limit.core.clone()).collect();
    settings.notices = Notices { ticks: witness.is_some(), ..notices };
    settings
}

/// Gives the core the schedules of the code, and who knows their patterns.
fn schedule_all(settings: &mut ShardSettings, schedules: Vec<Schedule>, plan: &Plan) -> Result<(), ConfigError> {
    let (kind_queues, patterns): (HashMap<_, _>, _) = (plan.kind_queues().collect(), Patterns::default());
    let now = timestamp(SystemTime::now());
    for schedule in schedules {
        let queue_of = |kind: &str, own: &'static str| kind_queues.get(kind).map_or(own, String::as_str).to_owned();
        let schedule = schedule.into_core(Origin::Code, now, &patterns, queue_of)?;
        plan.check_template(&schedule.template)
            .map_err(|refusal| ScheduleError::Refused { schedule: schedule.name.to_string(), refusal })?;
        if let Some(twice) = settings.schedules.insert(schedule.name.clone(), schedule) {
            return Err(ScheduleError::Twice(twice.name.to_string()).into());
        }
    }
    settings.calendar = SharedCalendar(Arc::new(patterns));
    Ok(())
}

/// A supervisor that belongs to nobody yet: dropped so, it stops.
struct Spawned(Option<ActorRef<SupervisorMsg>>);

impl Drop for Spawned {
    fn drop(&mut self) {
        if let Some(supervisor) = self.0.take() {
            let _ = supervisor.send_message(SupervisorMsg::Shutdown { deadline: Duration::ZERO, reply: None });
        }
    }
}

/// Starts the parts on the current runtime.
async fn spawn_here(parts: SupervisorParts) -> Result<Spawned, StartError> {
    // Where it refused to start, the reason has gone another way.
    Ok(Spawned(Actor::spawn(None, Supervisor, parts).await.ok().map(|(supervisor, _)| supervisor)))
}

/// Starts the parts on a thread and a runtime of their own.
async fn spawn_apart(parts: impl FnOnce() -> SupervisorParts + Send + 'static) -> Result<Spawned, StartError> {
    let (send, spawned) = oneshot::channel();
    let body = move || {
        let patience = Patience::default();
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .on_thread_park(move || patience.look_for_tasks())
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = send.send(Err(StartError::Thread(error.to_string())));
                return;
            }
        };
        runtime.block_on(async move {
            match Actor::spawn(None, Supervisor, parts()).await {
                Ok((supervisor, ended)) => {
                    // Where whoever called `start()` has left, it stops at once.
                    let _ = send.send(Ok(Spawned(Some(supervisor))));
                    let _ = ended.await;
                }
                Err(_) => {
                    let _ = send.send(Ok(Spawned(None)));
                }
            }
        });
    };
    let thread = std::thread::Builder::new().name("windlass-engine".to_owned()).spawn(body);
    thread.map_err(|error| StartError::Thread(error.to_string()))?;
    spawned.await.map_err(|_| StartError::Thread("the engine's thread ended while starting".to_owned()))?
}
