//! One attempt under way: begun, dropped or ended, and reported exactly once.
//!
//! Owns the road from a handler's end to the worker. Never decides what an end means for its job.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use ractor::ActorRef;
use tracing::error;
use tracing::instrument::Instrumented;
use windlass_scheduler::attempt::{Failure, FailureKind, Outcome, Retry};
use windlass_scheduler::job::JobId;
use windlass_scheduler::lease::{LeaseToken, StopReason};

use crate::config::{RetryDecision, ms};
use crate::door::Door;
use crate::error::panic_text;
use crate::handler::{AttemptFuture, RetryRule};
use crate::live::{LiveTable, Signals};
use crate::messages::{QueueMsg, SupervisorMsg, WorkerMsg};

/// After so many attempts a task lets others on its thread have their turn.
const TURN: usize = 32;

/// An attempt whose code has ended.
pub(crate) type End = (JobId, LeaseToken, Outcome);

/// The ends of a queue's attempts that its worker has not yet passed on: one message to it tells of many.
#[derive(Debug, Default)]
pub(crate) struct Ends(Mutex<Vec<End>>);

impl Ends {
    /// Whether it is the first since they were taken, and the worker has to be told.
    fn push(&self, end: End) -> bool {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.push(end);
        ends.len() == 1
    }

    pub(crate) fn take(&self) -> Vec<End> {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // As many are likely to come next.
        let room = Vec::with_capacity(ends.len());
        std::mem::replace(&mut *ends, room)
    }
}

/// An async attempt that waits for its first poll.
pub(crate) struct Start {
    pub(crate) guard: Guard,
    pub(crate) code: Instrumented<AttemptFuture>,
}

/// Begins one attempt after the other, together with other tasks that share the list. Code that does not end at its first
/// poll goes on in a task of its own, so that nobody waits for it; while it is polled, the other tasks begin the rest.
pub(crate) async fn run_all(starts: Arc<Mutex<std::vec::IntoIter<Start>>>) {
    let next = || starts.lock().unwrap_or_else(PoisonError::into_inner).next();
    for turn in 1.. {
        let Some(start) = next() else { return };
        start.run().await;
        if turn % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}

impl Start {
    async fn run(self) {
        let Self { mut guard, mut code } = self;
        if guard.signals.abort_is_due() {
            return;
        }
        guard.stage = Stage::Begun;
        match poll_fn(|cx| Poll::Ready(Pin::new(&mut code).poll(cx))).await {
            Poll::Ready(outcome) => guard.report(outcome),
            Poll::Pending => {
                let (live, id, token) = (guard.live.clone(), guard.id, guard.token);
                let task = tokio::spawn(async move {
                    // Dropped unpolled, the code goes first: its end is told when its destructors have run.
                    let outcome = code.await;
                    guard.report(outcome);
                });
                live.set_abort(id, token, &task.abort_handle());
            }
        }
    }
}

pub(crate) fn failed_here(message: &str) -> Outcome {
    let failure = Failure::new(FailureKind::Error, message.to_owned());
    Outcome::Failed { failure, retry: Retry::ByPolicy }
}

/// Reports an attempt's end exactly once: with its outcome where the code returned one, from the destructor where it was
/// dropped or its thread never began.
pub(crate) struct Guard {
    pub(crate) id: JobId,
    pub(crate) token: LeaseToken,
    pub(crate) signals: Arc<Signals>,
    pub(crate) live: Arc<LiveTable>,
    pub(crate) ends: Arc<Ends>,
    pub(crate) worker: ActorRef<WorkerMsg>,
    pub(crate) door: Arc<Door>,
    pub(crate) supervisor: ActorRef<SupervisorMsg>,
    /// The kind's own rule for retries; `None`: nobody here handles it.
    pub(crate) rule: Option<RetryRule>,
    /// How many there are, should this attempt fail.
    pub(crate) failures: u32,
    pub(crate) stage: Stage,
}

/// How far an attempt is: what it means that its guard is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its code waits for its runtime.
    Waiting,
    /// Its code waits for a thread of its own: dropped, none could be had.
    NeedsThread,
    /// Its code was polled.
    Begun,
    /// Its end is told.
    Reported,
}

impl Guard {
    pub(crate) fn report(mut self, outcome: Outcome) {
        self.stage = Stage::Reported;
        self.tell(self.judged(outcome));
    }

    fn judged(&self, outcome: Outcome) -> Outcome {
        judged(self.signals.reason(), self.rule, self.failures, self.id, outcome)
    }

    fn tell(&self, outcome: Outcome) {
        self.live.ended(self.id, self.token, outcome.clone());
        if self.ends.push((self.id, self.token, outcome)) && self.worker.send_message(WorkerMsg::Ended).is_err() {
            // That worker was restarted since. Should the queue be gone as well, it will find the outcomes in the table.
            self.door.tell_queue(QueueMsg::Ends(self.ends.take()));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let outcome = match self.stage {
            Stage::Reported => return,
            Stage::NeedsThread => failed_here("no thread could be started for a blocking attempt"),
            // Handlers' panics are caught before they come here: this one is of what a service put around them.
            Stage::Begun if std::thread::panicking() => failed_here("the code around the handler panicked"),
            Stage::Waiting if std::thread::panicking() => Outcome::Released,
            Stage::Waiting | Stage::Begun => {
                if self.signals.reason().is_none() {
                    // Nobody asked for it, so the runtime under it is going down.
                    let _ = self.supervisor.send_message(SupervisorMsg::RuntimeGone);
                }
                Outcome::Released
            }
        };
        // What never ran has failed at nothing, whatever its time was.
        let has_run = self.stage == Stage::Begun;
        self.tell(if has_run { self.judged(outcome) } else { outcome });
    }
}

/// The outcome as those see it who had asked for the end, and as the kind's own rule does. Seen so twice, it is the same.
pub(crate) fn judged(
    reason: Option<StopReason>,
    rule: Option<RetryRule>,
    failures: u32,
    id: JobId,
    outcome: Outcome,
) -> Outcome {
    let outcome = seen_from_outside(reason, outcome);
    let Outcome::Failed { failure, retry: Retry::ByPolicy } = outcome else { return outcome };
    let asked = || rule.map_or(RetryDecision::ByPolicy, |rule| rule(failures, &failure));
    let retry = match catch_unwind(AssertUnwindSafe(asked)) {
        Ok(RetryDecision::ByPolicy) => Retry::ByPolicy,
        Ok(RetryDecision::After(delay)) => Retry::After(ms(delay)),
        Ok(RetryDecision::Never) => Retry::Never,
        Err(panic) => {
            error!(%id, panic = panic_text(panic.as_ref()), "the kind's rule for retries panicked");
            Retry::ByPolicy
        }
    };
    Outcome::Failed { failure, retry }
}

/// What an outcome means where someone had asked the attempt to end: a success stays one.
fn seen_from_outside(reason: Option<StopReason>, outcome: Outcome) -> Outcome {
    match (reason, outcome) {
        (Some(StopReason::TimedOut), Outcome::Failed { failure, .. }) if failure.kind != FailureKind::TimedOut => {
            timed_out(Some(&failure))
        }
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
