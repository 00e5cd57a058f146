//! The supervisor: starts the parts, rebuilds them within a budget, drains and stops them.
//!
//! Owns the life of the engine and its health. Never touches job data: state comes back from the journal alone. A rebuild
//! always is one of the whole shard: the door closes, the writer finishes or fails what it holds, the journal is opened
//! again and loaded into a new core, and the attempts whose code still runs are adopted.

mod stop;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{error, info, warn};
use windlass_scheduler::settings::ShardSettings;
use windlass_storage::MemoryJournal;

use self::stop::{Phase, Stopping};
use super::queue::{QueueActor, QueueParts};
use super::scheduler::{SchedulerActor, SchedulerParts};
use super::worker::{WorkerActor, WorkerParts};
use crate::admin::{Desk, carry_out, report_orphans, resume};
use crate::clock::Clocks;
use crate::door::{Door, Gate};
use crate::error::StartError;
use crate::health::HealthState;
use crate::messages::{Opening, QueueMsg, SchedulerMsg, SupervisorMsg, WorkerMsg, WriterMsg};
use crate::writer::WriterHandle;

/// So many rebuilds without [`SERVICE_MIN`] of service between them, and the engine gives up handing out work.
const REBUILDS_MAX: u32 = 5;
/// Service for so long makes the budget whole again.
const SERVICE_MIN: Duration = Duration::from_secs(60);

pub(crate) struct Supervisor;

/// What the supervisor is started with.
pub(crate) struct SupervisorParts {
    pub(crate) settings: ShardSettings,
    pub(crate) twin: Arc<Mutex<MemoryJournal>>,
    pub(crate) clocks: Clocks,
    pub(crate) door: Arc<Door>,
    /// Where those who carry out orders read.
    pub(crate) handlers: Handle,
    /// Without the supervisor's own address, which is not known before.
    pub(crate) workers: Vec<WorkerPlan>,
    /// Starts the writer, once there is someone to report to.
    pub(crate) writer: WriterPlan,
    pub(crate) started: oneshot::Sender<Result<(), StartError>>,
}

/// How to start the writer, once there is someone to report to.
pub(crate) type WriterPlan = Box<dyn FnOnce(ActorRef<SupervisorMsg>) -> std::io::Result<WriterHandle> + Send>;

/// How to start the worker of a queue.
pub(crate) type WorkerPlan = Box<dyn Fn(ActorRef<SupervisorMsg>) -> WorkerParts + Send + Sync>;

pub(crate) struct SupervisorState {
    settings: ShardSettings,
    twin: Arc<Mutex<MemoryJournal>>,
    clocks: Clocks,
    door: Arc<Door>,
    handlers: Handle,
    plans: Vec<WorkerPlan>,
    writer: WriterHandle,
    workers: Vec<ActorRef<WorkerMsg>>,
    scheduler: Option<ActorRef<SchedulerMsg>>,
    scheduler_since: Instant,
    queue: Option<ActorRef<QueueMsg>>,
    rebuilds: u32,
    serving_since: Instant,
    is_rebuilding: bool,
    stopping: Option<Stopping>,
}

impl Drop for SupervisorState {
    /// However it ends, nobody waits for a core that does not come. After a stop the gate is closed already.
    fn drop(&mut self) {
        let reason = "its supervisor is gone".to_owned();
        self.door.set_health(HealthState::Stopped(reason.clone()));
        self.door.set_gate(Gate::Closed(reason));
    }
}

impl Actor for Supervisor {
    type Msg = SupervisorMsg;
    type State = SupervisorState;
    type Arguments = SupervisorParts;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMsg>,
        parts: SupervisorParts,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        let writer = match (parts.writer)(myself.clone()) {
            Ok(writer) => writer,
            Err(error) => return refuse(parts.started, StartError::Thread(error.to_string())),
        };
        let mut state = SupervisorState {
            settings: parts.settings,
            twin: parts.twin,
            clocks: parts.clocks,
            door: parts.door,
            handlers: parts.handlers,
            plans: parts.workers,
            writer,
            workers: Vec::new(),
            scheduler: None,
            scheduler_since: Instant::now(),
            queue: None,
            rebuilds: 0,
            serving_since: Instant::now(),
            is_rebuilding: false,
            stopping: None,
        };
        match state.start(&myself).await {
            Ok(()) => {
                tokio::spawn(resume(state.desk()));
                tokio::spawn(report_orphans(state.desk()));
                state.door.meters.publish(state.desk());
                let _ = parts.started.send(Ok(()));
                Ok(state)
            }
            Err(error) => refuse(parts.started, error),
        }
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMsg>,
        message: SupervisorMsg,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMsg::JournalBroken(reason) => state.schedule_rebuild(&myself, &reason),
            SupervisorMsg::Rebuild => state.rebuild(&myself).await,
            SupervisorMsg::Backup { to, reply } => {
                // Where the writer is gone, the answer is dropped, and that says so.
                let _ = state.writer.send(WriterMsg::Backup { to, reply });
            }
            SupervisorMsg::RuntimeGone => {
                if state.stopping.is_none() {
                    error!("the handlers' runtime is gone: the engine stops");
                    state.door.set_health(HealthState::RuntimeGone);
                    state.begin_stop(&myself, Duration::ZERO, None, "the handlers' runtime is gone");
                }
            }
            SupervisorMsg::Shutdown { deadline, reply } => state.begin_stop(&myself, deadline, reply, "it was stopped"),
            SupervisorMsg::Order(id) => drop(tokio::spawn(carry_out(state.desk(), id))),
            SupervisorMsg::DeadlineOver => state.stop_attempts(&myself),
            SupervisorMsg::Idle | SupervisorMsg::GraceOver => state.advance(&myself, Phase::Draining),
            SupervisorMsg::Sealed { given_back } => {
                if let Some(stopping) = &mut state.stopping {
                    stopping.given_back.extend(given_back);
                }
                state.advance(&myself, Phase::Sealing);
            }
            SupervisorMsg::Closed(closed) => {
                if let Some(stopping) = &mut state.stopping {
                    stopping.closed = closed;
                }
                state.advance(&myself, Phase::Closing);
            }
            SupervisorMsg::Halted => state.advance(&myself, Phase::Halting),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let SupervisionEvent::ActorFailed(who, error) = event else { return Ok(()) };
        let id = who.get_id();
        if state.queue.as_ref().is_some_and(|queue| queue.get_id() == id) {
            if let Some(phase) = state.closing_phase() {
                // It can answer no more, and the journal has what it has.
                state.queue = None;
                if phase != Phase::Closing {
                    state.advance(&myself, phase);
                }
                return Ok(());
            }
            state.schedule_rebuild(&myself, &format!("the queue actor failed: {error}"));
        } else if state.scheduler.as_ref().is_some_and(|scheduler| scheduler.get_id() == id) {
            state.replace_scheduler(&myself, &format!("the scheduler actor failed: {error}")).await;
        } else if let Some(no) = state.workers.iter().position(|worker| worker.get_id() == id) {
            warn!(%error, queue = no, "a worker actor failed and is started again");
            state.workers[no] = state.start_worker(&myself, no).await?;
            state.schedule_rebuild(&myself, "a worker actor failed");
        }
        Ok(())
    }
}

/// Ends the supervisor before it began. The reason has gone where `start()` waits.
fn refuse<T>(started: oneshot::Sender<Result<(), StartError>>, error: StartError) -> Result<T, ActorProcessingErr> {
    let text = error.to_string();
    let _ = started.send(Err(error));
    Err(text.into())
}

/// A message to the supervisor itself, after some time.
fn after(myself: &ActorRef<SupervisorMsg>, time: Duration, message: SupervisorMsg) {
    let myself = myself.clone();
    tokio::spawn(async move {
        tokio::time::sleep(time).await;
        let _ = myself.send_message(message);
    });
}

impl SupervisorState {
    async fn start(&mut self, myself: &ActorRef<SupervisorMsg>) -> Result<(), StartError> {
        let opening = self.open().await?;
        let thread = |error: ActorProcessingErr| StartError::Thread(error.to_string());
        self.start_scheduler(myself).await.map_err(thread)?;
        for no in 0..self.plans.len() {
            let worker = self.start_worker(myself, no).await.map_err(thread)?;
            self.workers.push(worker);
        }
        self.start_queue(myself, opening).await.map_err(thread)
    }

    fn desk(&self) -> Desk {
        Desk { door: self.door.clone(), handlers: self.handlers.clone() }
    }

    async fn open(&self) -> Result<Opening, StartError> {
        let (reply, opened) = oneshot::channel();
        let gone = || StartError::Thread("the writer is gone".to_owned());
        self.writer.send(WriterMsg::Open { settings: self.settings.clone(), reply }).map_err(|_| gone())?;
        Ok(opened.await.map_err(|_| gone())??)
    }

    async fn start_scheduler(&mut self, myself: &ActorRef<SupervisorMsg>) -> Result<(), ActorProcessingErr> {
        let parts = SchedulerParts { clocks: self.clocks.clone(), door: self.door.clone() };
        let (scheduler, _) = Actor::spawn_linked(None, SchedulerActor, parts, myself.get_cell()).await?;
        (self.scheduler, self.scheduler_since) = (Some(scheduler), Instant::now());
        Ok(())
    }

    /// Its timers are soft state (I7): the queue arms them at a new one. One that failed soon, or does not start, costs a
    /// rebuild, so that the budget counts it.
    async fn replace_scheduler(&mut self, myself: &ActorRef<SupervisorMsg>, reason: &str) {
        self.scheduler = None;
        let has_served = self.scheduler_since.elapsed() >= SERVICE_MIN;
        if !has_served || self.start_scheduler(myself).await.is_err() {
            return self.schedule_rebuild(myself, reason);
        }
        warn!(reason, "the scheduler actor is started again");
        if let (Some(queue), Some(scheduler)) = (&self.queue, self.scheduler.clone()) {
            let _ = queue.send_message(QueueMsg::Rearm(scheduler));
        }
    }

    async fn start_worker(
        &self,
        myself: &ActorRef<SupervisorMsg>,
        no: usize,
    ) -> Result<ActorRef<WorkerMsg>, ActorProcessingErr> {
        let parts = (self.plans[no])(myself.clone());
        let (worker, _) = Actor::spawn_linked(None, WorkerActor, parts, myself.get_cell()).await?;
        Ok(worker)
    }

    /// Starts a queue actor on a loaded core, has it adopt what runs, and opens the door.
    async fn start_queue(
        &mut self,
        myself: &ActorRef<SupervisorMsg>,
        opening: Opening,
    ) -> Result<(), ActorProcessingErr> {
        let Some(scheduler) = self.scheduler.clone() else { return Err("there is no scheduler".into()) };
        self.door.vitals.add_quarantined(opening.quarantined);
        if opening.quarantined > 0 {
            warn!(
                records = opening.quarantined,
                "some records were unreadable: they are kept aside, their jobs do not run"
            );
        }
        self.door.live.begin_term(opening.term);
        let parts = QueueParts {
            shard: opening.shard,
            term: opening.term,
            twin: self.twin.clone(),
            twin_term: opening.twin_term,
            clocks: self.clocks.clone(),
            writer: self.writer.clone(),
            workers: self.workers.clone(),
            scheduler: scheduler.clone(),
            supervisor: myself.clone(),
            live: self.door.live.clone(),
            door: self.door.clone(),
            reader: opening.reader.clone(),
            handlers: self.handlers.clone(),
        };
        let (queue, _) = Actor::spawn_linked(None, QueueActor, parts, myself.get_cell()).await?;
        if self.writer.send(WriterMsg::Attach(queue.clone())).is_err() {
            return Err("the writer is gone".into());
        }
        let _ = queue.send_message(QueueMsg::Adopt);
        for (no, queue_settings) in self.settings.queues.iter().enumerate() {
            let no = windlass_scheduler::command::QueueNo(u32::try_from(no).unwrap_or(u32::MAX));
            let _ = queue.send_message(QueueMsg::Slots { queue: no, slots: queue_settings.slots });
        }
        if let Some(stopping) = &self.stopping {
            let _ = queue.send_message(QueueMsg::Drain);
            if stopping.is_deadline_over {
                let _ = queue.send_message(QueueMsg::StopAttempts);
            }
        }
        self.queue = Some(queue.clone());
        let first = queue.clone();
        self.door.set_readers(opening.reader, opening.twin_reader);
        self.door.set_gate(Gate::Open(queue));
        // What ended or fell due between the adoption and the opening of the gate was told to nobody, nor who began to listen.
        let _ = first.send_message(QueueMsg::Listen);
        let _ = first.send_message(QueueMsg::Collect);
        let _ = first.send_message(QueueMsg::Rearm(scheduler));
        self.door.set_health(HealthState::Healthy);
        self.serving_since = Instant::now();
        Ok(())
    }

    /// Closes the door, and rebuilds at once or after a pause, as long as the budget lasts.
    fn schedule_rebuild(&mut self, myself: &ActorRef<SupervisorMsg>, reason: &str) {
        if self.closing_phase().is_some() || std::mem::replace(&mut self.is_rebuilding, true) {
            return;
        }
        if self.queue.is_some() && self.serving_since.elapsed() >= SERVICE_MIN {
            self.rebuilds = 0;
        }
        self.rebuilds += 1;
        self.door.set_gate(Gate::Recovering);
        if self.rebuilds > REBUILDS_MAX {
            error!(reason, rebuilds = REBUILDS_MAX, "the storage stays broken: nothing is handed out any more");
            let text = format!("gave up after {REBUILDS_MAX} rebuilds: {reason}");
            self.door.set_health(HealthState::Unhealthy(text.clone()));
            self.door.set_gate(Gate::Closed(text));
            if let Some(queue) = self.queue.take() {
                // Whoever waits for it learns that the outcome is unknown.
                queue.stop(None);
            }
            // Nobody is left to say that nothing runs any more.
            self.drain_without_core(myself);
            return;
        }
        warn!(reason, rebuild = self.rebuilds, "the core is rebuilt from the journal");
        self.door.set_health(HealthState::Recovering(reason.to_owned()));
        let pause = Duration::from_millis(10) * 5_u32.pow(self.rebuilds - 1);
        after(myself, pause, SupervisorMsg::Rebuild);
    }

    async fn rebuild(&mut self, myself: &ActorRef<SupervisorMsg>) {
        if self.closing_phase().is_some() {
            return;
        }
        if let Some(queue) = self.queue.take() {
            // Its requests and its core fall with it: callers learn that the outcome is unknown.
            let _ = queue.stop_and_wait(None, None).await;
        }
        self.door.clear_readers();
        let rebuilt = match self.open().await {
            Ok(opening) => self.serve_again(myself, opening).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        self.is_rebuilding = false;
        match rebuilt {
            Ok(()) => info!(rebuilds = self.rebuilds, "serving again"),
            Err(reason) => self.schedule_rebuild(myself, &format!("the rebuild failed: {reason}")),
        }
    }

    async fn serve_again(
        &mut self,
        myself: &ActorRef<SupervisorMsg>,
        opening: Opening,
    ) -> Result<(), ActorProcessingErr> {
        if self.scheduler.is_none() {
            self.start_scheduler(myself).await?;
        }
        self.start_queue(myself, opening).await
    }
}
