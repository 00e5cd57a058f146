//! The worker actor of one queue: it owns the slots and runs no job itself.
//!
//! Spawns attempts (async ones on the handlers' runtime, blocking ones on threads of their own), passes cancellations on,
//! drops async code whose grace is over, and hands ends to the queue in waves. Never decides whether a job runs: what it is
//! told to run has a slot.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::runtime::Handle;
use tracing::{Instrument, error};
use windlass_scheduler::attempt::{Failure, FailureKind, Outcome, Retry};
use windlass_scheduler::command::QueueNo;
use windlass_scheduler::job::JobId;
use windlass_scheduler::lease::{Lease, LeaseToken, StopReason};

use crate::context::AttemptCore;
use crate::door::Door;
use crate::handler::{Registry, Runner};
use crate::live::{LiveAttempt, LiveTable, Signals};
use crate::messages::{QueueMsg, SupervisorMsg, WorkerMsg};
use crate::telemetry;

/// After a stop's deadline nobody waits for a queue's own grace.
const STOPPING_GRACE_MAX: Duration = Duration::from_secs(1);

pub(crate) struct WorkerActor;

/// What the actor is started with.
#[derive(Clone)]
pub(crate) struct WorkerParts {
    pub(crate) queue: QueueNo,
    pub(crate) slots: u32,
    pub(crate) abort_after: Duration,
    pub(crate) registry: Arc<Registry>,
    pub(crate) live: Arc<LiveTable>,
    pub(crate) door: Arc<Door>,
    /// The runtime that called `start()`.
    pub(crate) handlers: Handle,
    /// Blocking attempts go to the runtime's own blocking threads, which hold a paused clock.
    pub(crate) is_single_runtime: bool,
    pub(crate) supervisor: ActorRef<SupervisorMsg>,
}

pub(crate) struct WorkerState {
    parts: WorkerParts,
    ended: Vec<(JobId, LeaseToken)>,
}

impl Actor for WorkerActor {
    type Msg = WorkerMsg;
    type State = WorkerState;
    type Arguments = WorkerParts;

    async fn pre_start(
        &self,
        _myself: ActorRef<WorkerMsg>,
        parts: WorkerParts,
    ) -> Result<WorkerState, ActorProcessingErr> {
        Ok(WorkerState { parts, ended: Vec::new() })
    }

    /// After a restart: what ended meanwhile is told, and what still runs keeps its slot in the core's own count.
    async fn post_start(
        &self,
        _myself: ActorRef<WorkerMsg>,
        state: &mut WorkerState,
    ) -> Result<(), ActorProcessingErr> {
        state.ended = state.parts.live.ended_of(state.parts.queue);
        state.flush();
        let (queue, slots) = (state.parts.queue, state.parts.slots);
        state.parts.door.tell_queue(QueueMsg::Slots { queue, slots });
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<WorkerMsg>,
        message: WorkerMsg,
        state: &mut WorkerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            WorkerMsg::Run(leases) => leases.into_iter().for_each(|lease| state.start(&myself, lease)),
            WorkerMsg::Stop { id, token, reason } => state.stop(id, token, reason),
            WorkerMsg::Ended { id, token } => {
                if state.ended.is_empty() {
                    let _ = myself.send_message(WorkerMsg::Flush);
                }
                state.ended.push((id, token));
            }
            WorkerMsg::Flush => state.flush(),
        }
        Ok(())
    }
}

impl WorkerState {
    fn start(&mut self, myself: &ActorRef<WorkerMsg>, lease: Lease) {
        let (id, token) = (lease.id, lease.token);
        let signals = Arc::new(Signals::default());
        let attempt = LiveAttempt {
            queue: self.parts.queue,
            token,
            attempt: lease.attempt,
            signals: signals.clone(),
            abort: None,
            outcome: None,
        };
        self.parts.live.insert(id, attempt);
        let runner = self.parts.registry.runners.get(&lease.kind).cloned();
        let span = telemetry::attempt_span(&lease);
        let guard = Guard {
            id,
            token,
            signals: signals.clone(),
            live: self.parts.live.clone(),
            worker: myself.clone(),
            door: self.parts.door.clone(),
            supervisor: self.parts.supervisor.clone(),
            needs_thread: matches!(runner, Some(Runner::Blocking(_))) && !self.parts.is_single_runtime,
            is_reported: false,
        };
        let core = AttemptCore { lease, signals, door: self.parts.door.clone(), follow_ups: Mutex::default() };
        let core = Arc::new(core);
        match runner {
            Some(Runner::Async(run)) => {
                let task = async move { guard.report(run(core).await) };
                let task = self.parts.handlers.spawn(task.instrument(span));
                self.parts.live.set_abort(id, token, task.abort_handle());
            }
            Some(Runner::Blocking(run)) => {
                let task = move || span.in_scope(|| guard.report(run(core)));
                if self.parts.is_single_runtime {
                    self.parts.handlers.spawn_blocking(task);
                    return;
                }
                // A thread that cannot be had drops the guard, which reports it.
                let name = "windlass-blocking".to_owned();
                if let Err(error) = std::thread::Builder::new().name(name).spawn(task) {
                    error!(%id, %error, "no thread for a blocking attempt");
                }
            }
            None => guard.report(failed_here("no handler for this kind")),
        }
    }

    /// Asks an attempt to end, and drops its code after its queue's grace where that can be done.
    fn stop(&self, id: JobId, token: LeaseToken, reason: StopReason) {
        let Some(signals) = self.parts.live.signals(id) else { return };
        signals.stop(reason);
        let grace = match reason {
            StopReason::Stopping => self.parts.abort_after.min(STOPPING_GRACE_MAX),
            _ => self.parts.abort_after,
        };
        let live = self.parts.live.clone();
        tokio::spawn(async move {
            tokio::time::sleep(grace).await;
            live.abort(id, token);
        });
    }

    fn flush(&mut self) {
        let live = &self.parts.live;
        let ends = self.ended.drain(..).filter_map(|(id, token)| Some((id, token, live.outcome(id, token)?)));
        let ends: Vec<_> = ends.collect();
        if !ends.is_empty() {
            self.parts.door.tell_queue(QueueMsg::Ends(ends));
        }
    }
}

fn failed_here(message: &str) -> Outcome {
    let failure = Failure::new(FailureKind::Error, message.to_owned());
    Outcome::Failed { failure, retry: Retry::ByPolicy }
}

/// Reports an attempt's end exactly once: with its outcome where the code returned one, from the destructor where it was
/// dropped or its thread never began.
struct Guard {
    id: JobId,
    token: LeaseToken,
    signals: Arc<Signals>,
    live: Arc<LiveTable>,
    worker: ActorRef<WorkerMsg>,
    door: Arc<Door>,
    supervisor: ActorRef<SupervisorMsg>,
    /// Dropped unreported, it means that no thread could be had, and not that the runtime is gone.
    needs_thread: bool,
    is_reported: bool,
}

impl Guard {
    fn report(mut self, outcome: Outcome) {
        self.is_reported = true;
        self.tell(outcome);
    }

    fn tell(&self, outcome: Outcome) {
        let outcome = seen_from_outside(self.signals.reason(), outcome);
        self.live.ended(self.id, self.token, outcome.clone());
        let ended = WorkerMsg::Ended { id: self.id, token: self.token };
        if self.worker.send_message(ended).is_err() {
            // That worker was restarted since. Should the queue be gone as well, it will find the outcome in the table.
            self.door.tell_queue(QueueMsg::Ends(vec![(self.id, self.token, outcome)]));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.is_reported {
            return;
        }
        if self.needs_thread {
            return self.tell(failed_here("no thread could be started for a blocking attempt"));
        }
        if self.signals.reason().is_none() {
            // Nobody asked for it, so the runtime under it is going down.
            let _ = self.supervisor.send_message(SupervisorMsg::RuntimeGone);
        }
        self.tell(Outcome::Released);
    }
}

/// What an outcome means where someone had asked the attempt to end: a success stays one.
fn seen_from_outside(reason: Option<StopReason>, outcome: Outcome) -> Outcome {
    match (reason, outcome) {
        (Some(StopReason::TimedOut), Outcome::Failed { failure, .. }) => timed_out(Some(&failure)),
        (Some(StopReason::TimedOut), Outcome::Released) => timed_out(None),
        (Some(StopReason::Stopping), Outcome::Failed { .. }) => Outcome::Released,
        (_, outcome) => outcome,
    }
}

fn timed_out(failure: Option<&Failure>) -> Outcome {
    let message = match failure {
        Some(failure) => format!("the attempt's time was over; then {failure}"),
        None => "the attempt's time was over, and its code was dropped".to_owned(),
    };
    Outcome::Failed { failure: Failure::new(FailureKind::TimedOut, message), retry: Retry::ByPolicy }
}
