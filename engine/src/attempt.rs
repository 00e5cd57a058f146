//! One attempt under way: begun, dropped or ended, and reported exactly once.
//!
//! Owns the road from a handler's end to the worker. Never decides what an end means for its job.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use ractor::ActorRef;
use tokio::time::Instant;
use tracing::instrument::Instrumented;
use tracing::{Instrument as _, Span, error};
use windlass_scheduler::attempt::{Failure, FailureKind, Outcome, Retry};
use windlass_scheduler::job::{Body, JobId};
use windlass_scheduler::lease::{Lease, LeaseToken, StopReason};

use crate::config::{RetryDecision, ms};
use crate::context::AttemptCore;
use crate::door::Door;
use crate::error::panic_text;
use crate::handler::{AttemptFuture, Handler, Registry, RetryRule, Runner};
use crate::live::{LiveTable, Signals};
use crate::messages::{QueueMsg, SupervisorMsg, WorkerMsg};
use crate::telemetry::{Stopwatch, Traced};
use crate::times::Timed;

/// After so many attempts a task lets others on its thread have their turn.
const TURN: usize = 32;

/// An attempt whose code has ended.
pub(crate) type End = (JobId, LeaseToken, Outcome);

/// The ends of a queue's attempts that its worker has not yet passed on: one message to it tells of many.
///
/// In rows, one for each thread that runs attempts: one row for all would have them wait for each other at every end.
#[derive(Debug)]
pub(crate) struct Ends {
    rows: Vec<Mutex<Vec<End>>>,
    /// The worker was told since they were last taken.
    is_told: AtomicBool,
}

impl Ends {
    pub(crate) fn new(threads: usize) -> Self {
        Self { rows: (0..threads.max(1)).map(|_| Mutex::default()).collect(), is_told: AtomicBool::new(false) }
    }

    /// Whether it is the first since they were taken, and the worker has to be told.
    fn push(&self, row: usize, end: End) -> bool {
        self.rows[row % self.rows.len()].lock().unwrap_or_else(PoisonError::into_inner).push(end);
        // Mostly it is told already, and looking disturbs nobody.
        !self.is_told.load(Ordering::SeqCst) && !self.is_told.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn take(&self) -> Vec<End> {
        // Before the looking: whoever comes after it tells again.
        self.is_told.store(false, Ordering::SeqCst);
        let mut all = Vec::new();
        for row in &self.rows {
            let mut ends = row.lock().unwrap_or_else(PoisonError::into_inner);
            // As many are likely to come next.
            let room = Vec::with_capacity(ends.len());
            let ends = std::mem::replace(&mut *ends, room);
            if all.is_empty() { all = ends } else { all.extend(ends) }
        }
        all
    }
}

/// What all attempts of a wave have in common: the parts that they report to.
///
/// Each wave has its own, so that references are counted there: all attempts of all threads would wait for one another at
/// the counts of the parts themselves.
pub(crate) struct Crew {
    pub(crate) registry: Arc<Registry>,
    pub(crate) live: Arc<LiveTable>,
    pub(crate) ends: Arc<Ends>,
    pub(crate) worker: ActorRef<WorkerMsg>,
    pub(crate) door: Arc<Door>,
    pub(crate) supervisor: ActorRef<SupervisorMsg>,
    /// When they began, where somebody has asked for times.
    pub(crate) began: Option<Instant>,
}

/// An async attempt that waits for its first poll.
pub(crate) struct Start {
    pub(crate) guard: Guard,
    pub(crate) code: Code,
}

/// What is polled.
pub(crate) enum Code {
    /// Made where it runs: so what it takes of memory is taken and given back by one thread.
    OfLease(Lease, Arc<Body>, Span),
    /// It waits for its body first, and only then enters its span: what the span goes on from stands in the body.
    Awaiting(AttemptFuture),
}

/// Attempts that tasks on several threads begin together.
pub(crate) struct Starts {
    next: AtomicUsize,
    starts: Vec<Mutex<Option<Start>>>,
}

impl Starts {
    pub(crate) fn new(starts: impl IntoIterator<Item = Start>) -> Self {
        let starts = starts.into_iter().map(|start| Mutex::new(Some(start))).collect();
        Self { next: AtomicUsize::new(0), starts }
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    fn next(&self) -> Option<Start> {
        let start = self.starts.get(self.next.fetch_add(1, Ordering::Relaxed))?;
        start.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Begins one attempt after the other, together with other tasks that share the list. Code that does not end at its first
/// poll goes on in a task of its own, so that nobody waits for it; while it is polled, the other tasks begin the rest.
pub(crate) async fn run_all(starts: Arc<Starts>, row: usize) {
    for turn in 1.. {
        let Some(start) = starts.next() else { return };
        start.run(row).await;
        if turn % TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
}

impl Code {
    fn into_future(self, guard: &Guard) -> Option<Instrumented<AttemptFuture>> {
        let (lease, body, span) = match self {
            Self::OfLease(lease, body, span) => (lease, body, span),
            Self::Awaiting(code) => return Some(code.instrument(Span::none())),
        };
        let crew = &guard.crew;
        let Some(Handler { runner: Runner::Async(run), .. }) = crew.registry.handlers.get(&lease.kind) else {
            return None;
        };
        let core = AttemptCore::new(lease, body, guard.signals.clone(), crew.door.clone());
        Some(run(Arc::new(core)).instrument(span))
    }
}

impl Start {
    async fn run(self, row: usize) {
        let Self { mut guard, code } = self;
        if guard.signals.abort_is_due() {
            return;
        }
        (guard.stage, guard.row) = (Stage::Begun, row);
        let Some(mut code) = code.into_future(&guard) else {
            return guard.report(failed_here("no handler for this kind"));
        };
        match poll_fn(|cx| Poll::Ready(Pin::new(&mut code).poll(cx))).await {
            Poll::Ready(outcome) => guard.report(outcome),
            Poll::Pending => {
                let (crew, id, token) = (guard.crew.clone(), guard.id, guard.token);
                let task = tokio::spawn(async move {
                    // Dropped unpolled, the code goes first: its end is told when its destructors have run.
                    let outcome = code.await;
                    guard.report(outcome);
                });
                crew.live.set_abort(id, token, &task.abort_handle());
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
    pub(crate) crew: Arc<Crew>,
    /// Which row of ends it goes to.
    pub(crate) row: usize,
    /// The kind's own rule for retries; `None`: nobody here handles it.
    pub(crate) rule: Option<RetryRule>,
    /// How many there are, should this attempt fail.
    pub(crate) failures: u32,
    /// Its span, which is told how it ended.
    pub(crate) traced: Traced,
    /// Where somebody wants to know how long it takes.
    pub(crate) watch: Option<Stopwatch>,
    /// Where somebody has asked the engine.
    pub(crate) timed: Option<Timed>,
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
        self.traced.ended(&outcome);
        if let Some(watch) = &self.watch {
            watch.ended(&outcome);
        }
        let crew = &self.crew;
        if let Some(timed) = self.timed {
            crew.door.book.ended(timed, &outcome);
        }
        crew.live.ended(self.id, self.token, outcome.clone());
        let is_first = crew.ends.push(self.row, (self.id, self.token, outcome));
        if is_first && crew.worker.send_message(WorkerMsg::Ended).is_err() {
            // That worker was restarted since. Should the queue be gone as well, it will find the outcomes in the table.
            crew.door.tell_queue(QueueMsg::Ends(crew.ends.take()));
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
                    let _ = self.crew.supervisor.send_message(SupervisorMsg::RuntimeGone);
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
