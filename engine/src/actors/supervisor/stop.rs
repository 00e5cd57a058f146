//! A stop: what runs may end, then it is asked to, then the last wave is written, and the journal closed.
//!
//! Owns the order of a stop and who is told. Each step waits for a message, so that the supervisor goes on meanwhile: a
//! rebuild may still come between, until the last wave is sealed.

use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::info;
use windlass_scheduler::job::JobId;
use windlass_scheduler::lease::StopReason;
use windlass_storage::StorageError;

use super::{SupervisorState, after};
use crate::door::Gate;
use crate::error::ShutdownError;
use crate::health::HealthState;
use crate::messages::{QueueMsg, SupervisorMsg, WorkerMsg, WriterMsg};

/// What code gets to end in, after a stop's deadline has cancelled it.
const GRACE: Duration = Duration::from_millis(1_500);
/// How often it is looked whether code has ended, while there is no core that would be told.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// The longest deadline of a stop: a clock can count no further than some years.
const DEADLINE_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A stop under way.
pub(super) struct Stopping {
    pub(super) replies: Vec<oneshot::Sender<Result<(), ShutdownError>>>,
    pub(super) reason: String,
    pub(super) phase: Phase,
    deadline: Instant,
    pub(super) is_deadline_over: bool,
    pub(super) closed: Result<(), StorageError>,
    /// Jobs whose code had not ended when the last wave was sealed.
    pub(super) given_back: Vec<JobId>,
}

/// How far a stop is. Each step waits for a message, never for an actor (I8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// What runs may end.
    Draining,
    /// The queue actor hands over its last wave.
    Sealing,
    /// The writer writes it, syncs, and closes the journal.
    Closing,
    /// The queue actor says what that lets it say.
    Halting,
}

impl SupervisorState {
    pub(super) fn begin_stop(
        &mut self,
        myself: &ActorRef<SupervisorMsg>,
        deadline: Duration,
        reply: Option<oneshot::Sender<Result<(), ShutdownError>>>,
        reason: &str,
    ) {
        if let Some(stopping) = &mut self.stopping {
            stopping.replies.extend(reply);
            // Whoever has less time than those before decides.
            after(myself, deadline, SupervisorMsg::DeadlineOver);
            return;
        }
        let (replies, reason) = (reply.into_iter().collect(), reason.to_owned());
        self.stopping = Some(Stopping {
            replies,
            reason,
            phase: Phase::Draining,
            deadline: Instant::now() + deadline.min(DEADLINE_MAX),
            is_deadline_over: false,
            closed: Ok(()),
            given_back: Vec::new(),
        });
        if let Some(queue) = &self.queue {
            let _ = queue.send_message(QueueMsg::Drain);
            after(myself, deadline, SupervisorMsg::DeadlineOver);
        } else {
            self.drain_without_core(myself);
        }
    }

    /// Where there is no core, nobody hears that code ends: the table of live attempts is looked at instead.
    pub(super) fn drain_without_core(&self, myself: &ActorRef<SupervisorMsg>) {
        let Some(over) = self.stopping.as_ref().map(|stopping| stopping.deadline) else { return };
        let (live, myself) = (self.door.live.clone(), myself.clone());
        tokio::spawn(async move {
            while !live.unended().is_empty() {
                if Instant::now() >= over {
                    let _ = myself.send_message(SupervisorMsg::DeadlineOver);
                    return;
                }
                tokio::time::sleep_until(over.min(Instant::now() + LOOK_INTERVAL)).await;
            }
            let _ = myself.send_message(SupervisorMsg::GraceOver);
        });
    }

    pub(super) fn stop_attempts(&mut self, myself: &ActorRef<SupervisorMsg>) {
        let Some(stopping) = self.stopping.as_mut().filter(|s| s.phase == Phase::Draining && !s.is_deadline_over)
        else {
            return;
        };
        stopping.is_deadline_over = true;
        if let Some(queue) = &self.queue {
            let _ = queue.send_message(QueueMsg::StopAttempts);
        }
        if self.is_rebuilding || self.queue.is_none() {
            // What a core says now is never written, so it never leaves.
            for (queue, id, token) in self.door.live.unended() {
                if let Some(worker) = self.workers.get(queue.0 as usize) {
                    let _ = worker.send_message(WorkerMsg::Stop { id, token, reason: StopReason::Stopping });
                }
            }
        }
        after(myself, GRACE, SupervisorMsg::GraceOver);
    }

    /// The phase of a stop that no rebuild can help any more.
    pub(super) fn closing_phase(&self) -> Option<Phase> {
        self.stopping.as_ref().map(|stopping| stopping.phase).filter(|phase| *phase != Phase::Draining)
    }

    /// The next step of a stop, once this phase is over; anything else is an echo.
    pub(super) fn advance(&mut self, myself: &ActorRef<SupervisorMsg>, over: Phase) {
        let Some(stopping) = self.stopping.as_mut().filter(|stopping| stopping.phase == over) else { return };
        match over {
            Phase::Draining => {
                stopping.phase = Phase::Sealing;
                self.ask_queue(myself, QueueMsg::Finish, SupervisorMsg::Sealed { given_back: Vec::new() });
            }
            Phase::Sealing => {
                stopping.phase = Phase::Closing;
                self.door.clear_readers();
                self.close_journal(myself);
            }
            Phase::Closing => {
                stopping.phase = Phase::Halting;
                // It comes behind the writer's last mark, so that the answers which that lets go have left.
                self.ask_queue(myself, QueueMsg::Halt, SupervisorMsg::Halted);
            }
            Phase::Halting => self.end(myself),
        }
    }

    /// Asks the queue actor, or answers for it where there is none.
    fn ask_queue(&self, myself: &ActorRef<SupervisorMsg>, question: QueueMsg, answer: SupervisorMsg) {
        let asked = self.queue.as_ref().is_some_and(|queue| queue.send_message(question).is_ok());
        if !asked {
            let _ = myself.send_message(answer);
        }
    }

    fn close_journal(&self, myself: &ActorRef<SupervisorMsg>) {
        let (reply, closed) = oneshot::channel();
        let _ = self.writer.send(WriterMsg::Close(reply));
        let myself = myself.clone();
        tokio::spawn(async move {
            let closed = closed.await.unwrap_or(Err(StorageError::Closed));
            let _ = myself.send_message(SupervisorMsg::Closed(closed));
        });
    }

    /// Tells those who asked for the stop, and ends all actors.
    fn end(&mut self, myself: &ActorRef<SupervisorMsg>) {
        let Some(stopping) = self.stopping.take() else { return };
        for (_, id, token) in self.door.live.unended() {
            // Where no core could say so.
            self.door.live.stop(id, token, StopReason::Stopping);
            self.door.live.abort(id, token);
        }
        // An entry leaves the table when its end is written: what is left has none, or one that was lost with the storage.
        let mut unfinished = stopping.given_back;
        unfinished.extend(self.door.live.claims().iter().map(|claim| claim.id));
        unfinished.sort_unstable();
        unfinished.dedup();
        self.door.set_health(HealthState::Stopped(stopping.reason.clone()));
        self.door.set_gate(Gate::Closed(stopping.reason));
        for reply in stopping.replies {
            let result = match &stopping.closed {
                Err(error) => Err(ShutdownError::Storage(error.clone())),
                Ok(()) if !unfinished.is_empty() => Err(ShutdownError::Unfinished { ids: unfinished.clone() }),
                Ok(()) => Ok(()),
            };
            let _ = reply.send(result);
        }
        for worker in &self.workers {
            worker.stop(None);
        }
        if let Some(scheduler) = &self.scheduler {
            scheduler.stop(None);
        }
        info!(unfinished = unfinished.len(), "stopped");
        myself.stop(None);
    }
}
