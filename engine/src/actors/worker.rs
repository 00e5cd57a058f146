//! The worker actor of one queue: it owns the slots and runs no job itself.
//!
//! Hands attempts over (async ones to the handlers' runtime, blocking ones to threads of their own), passes cancellations on,
//! drops async code whose grace is over, and hands ends to the queue in waves. Never decides whether a job runs: what it is
//! told to run has a slot.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::{Instrument as _, Span, debug, error};
use windlass_scheduler::command::QueueNo;
use windlass_scheduler::job::{Body, JobId};
use windlass_scheduler::lease::{Lease, LeaseToken, StopReason};

use crate::attempt::{Code, Crew, End, Ends, Guard, Stage, Start, Starts, failed_here, run_all};
use crate::context::AttemptCore;
use crate::door::Door;
use crate::fetch::{self, Awaited, Wanted};
use crate::handler::{AttemptFuture, Registry, Runner};
use crate::live::{LiveAttempt, LiveTable, Signals};
use crate::logs;
use crate::messages::{QueueMsg, SupervisorMsg, WorkerMsg};
use crate::telemetry::{self, Traced, WorkerMeters};

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
    /// Outlives the actor, like the attempts that report to it.
    pub(crate) ends: Arc<Ends>,
    pub(crate) door: Arc<Door>,
    /// The runtime that called `start()`.
    pub(crate) handlers: Handle,
    /// Blocking attempts go to the runtime's own blocking threads, which hold a paused clock.
    pub(crate) is_single_runtime: bool,
    pub(crate) supervisor: ActorRef<SupervisorMsg>,
    pub(crate) meters: WorkerMeters,
}

pub(crate) struct WorkerState {
    parts: WorkerParts,
    /// Threads of the handlers' runtime: so many attempts can be begun at a time.
    threads: usize,
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
        let threads = parts.handlers.metrics().num_workers();
        Ok(WorkerState { parts, threads })
    }

    /// After a restart: what ended meanwhile is told, and what still runs keeps its slot in the core's own count.
    async fn post_start(
        &self,
        _myself: ActorRef<WorkerMsg>,
        state: &mut WorkerState,
    ) -> Result<(), ActorProcessingErr> {
        // All of these stand in the table of live attempts, too.
        drop(state.parts.ends.take());
        let (live, queue) = (&state.parts.live, state.parts.queue);
        let ended = live.ended_of(queue).into_iter();
        state.tell(ended.filter_map(|(id, token)| Some((id, token, live.outcome(id, token)?))).collect());
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
            WorkerMsg::Run(leases) => state.run(&myself, leases),
            WorkerMsg::Stop { id, token, reason } => state.stop(id, token, reason),
            WorkerMsg::Ended => state.tell(state.parts.ends.take()),
        }
        Ok(())
    }
}

impl WorkerState {
    /// Async attempts are begun by as many tasks as there are threads to run them: a task each would cost more than many a
    /// job does.
    fn run(&self, myself: &ActorRef<WorkerMsg>, leases: Vec<Lease>) {
        let (crew, mut wanted) = (Arc::new(self.crew(myself)), Vec::new());
        let starts = Starts::new(leases.into_iter().filter_map(|lease| self.start(&crew, lease, &mut wanted)));
        fetch::read_all(&self.parts.handlers, &self.parts.door, wanted);
        let tasks = starts.len().min(self.threads);
        let starts = Arc::new(starts);
        for row in 0..tasks {
            self.parts.handlers.spawn(run_all(starts.clone(), row));
        }
    }

    fn crew(&self, myself: &ActorRef<WorkerMsg>) -> Crew {
        let WorkerParts { registry, live, ends, door, supervisor, .. } = &self.parts;
        let (registry, live, ends) = (registry.clone(), live.clone(), ends.clone());
        let began = door.book.begin();
        Crew { registry, live, ends, worker: myself.clone(), door: door.clone(), supervisor: supervisor.clone(), began }
    }

    /// Starts a blocking attempt; gives an async one back, ready to be polled. A body that is not in memory is read before
    /// the handler begins.
    fn start(&self, crew: &Arc<Crew>, mut lease: Lease, wanted: &mut Vec<Wanted>) -> Option<Start> {
        let (id, token, signals) = (lease.id, lease.token, Arc::<Signals>::default());
        let attempt = self.live_attempt(&lease, &signals);
        let handler = self.parts.registry.handlers.get(&lease.kind);
        let (runner, rule) = handler.map(|handler| (&handler.runner, handler.retry)).unzip();
        // A service's own code runs in here, and may panic: that comes before anyone answers for the attempt.
        let span = logs::offered(&signals, || telemetry::attempt_span(&lease, &self.parts.door.propagator));
        if !self.parts.live.insert(id, attempt) {
            debug!(%id, %token, "the core that handed it out fell before it could begin");
            return None;
        }
        let no = handler.map(|handler| handler.no);
        let timed = self.parts.door.book.started(crew.began, self.parts.queue, no, &lease.kind, lease.waited_ms);
        let needs_thread = matches!(runner, Some(Runner::Blocking(_))) && !self.parts.is_single_runtime;
        let guard = Guard {
            id,
            token,
            signals: signals.clone(),
            crew: crew.clone(),
            row: 0,
            rule,
            failures: lease.failures + 1,
            traced: Traced::new(&span),
            watch: self.parts.meters.started(no, lease.kind.as_str(), lease.waited_ms),
            timed,
            stage: if needs_thread { Stage::NeedsThread } else { Stage::Waiting },
        };
        let (body, queue) = (lease.body.take(), lease.queue.clone());
        let door = || self.parts.door.clone();
        match (runner, body) {
            (Some(Runner::Async(_)), Some(body)) => {
                return Some(Start { guard, code: Code::OfLease(lease, body, span) });
            }
            (Some(Runner::Async(run)), None) => {
                let (answer, read) = oneshot::channel();
                wanted.push(Wanted { id, token, queue, answer });
                let (run, door) = (run.clone(), door());
                let core = move |body| Arc::new(AttemptCore::new(lease, body, signals, door));
                let code = awaiting(id, read, (span, self.parts.door.clone()), move |body| run(core(body)));
                return Some(Start { guard, code: Code::Awaiting(code) });
            }
            (Some(Runner::Blocking(run)), body) => {
                let (run, door) = (run.clone(), door());
                let core = {
                    let door = door.clone();
                    move |body| Arc::new(AttemptCore::new(lease, body, signals, door))
                };
                let task = move || {
                    let body = or_read(body, (&span, &door), || fetch::read(&door, &queue, id, token));
                    span.in_scope(|| guard.report(body.map_or_else(|outcome| outcome, |body| run(core(body)))));
                };
                if self.parts.is_single_runtime {
                    self.parts.handlers.spawn_blocking(task);
                    return None;
                }
                // A thread that cannot be had drops the guard, which reports it.
                if let Err(error) = std::thread::Builder::new().name("windlass-blocking".to_owned()).spawn(task) {
                    error!(%id, %error, "no thread for a blocking attempt");
                }
            }
            (None, _) => guard.report(failed_here("no handler for this kind")),
        }
        None
    }

    fn live_attempt(&self, lease: &Lease, signals: &Arc<Signals>) -> LiveAttempt {
        LiveAttempt {
            queue: self.parts.queue,
            token: lease.token,
            attempt: lease.attempt,
            signals: signals.clone(),
            abort: None,
            outcome: None,
            // A core that has to be rebuilt may not hold it any more.
            body: lease.body.clone().filter(|_| self.parts.door.hooks.are_there()),
        }
    }

    /// Asks an attempt to end, and drops its code after its queue's grace where that can be done.
    fn stop(&self, id: JobId, token: LeaseToken, reason: StopReason) {
        if !self.parts.live.stop(id, token, reason) {
            return;
        }
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

    fn tell(&self, ends: Vec<End>) {
        if !ends.is_empty() {
            self.parts.door.tell_queue(QueueMsg::Ends(ends));
        }
    }
}

/// The body, read where it is not here.
fn or_read(body: Option<Arc<Body>>, (span, door): (&Span, &Door), read: impl FnOnce() -> Awaited) -> Awaited {
    body.map_or_else(|| read().inspect(|body| telemetry::record_body(span, body, &door.propagator)), Ok)
}

/// The code of an attempt that begins once its body is read.
fn awaiting(
    id: JobId,
    body: oneshot::Receiver<Awaited>,
    (span, door): (Span, Arc<Door>),
    run: impl FnOnce(Arc<Body>) -> AttemptFuture + Send + 'static,
) -> AttemptFuture {
    Box::pin(async move {
        match body.await {
            Ok(Ok(body)) => {
                telemetry::record_body(&span, &body, &door.propagator);
                run(body).instrument(span).await
            }
            Ok(Err(outcome)) => outcome,
            // The threads that read are gone, and with them the runtime.
            Err(_) => fetch::later(id, "nobody reads any more"),
        }
    })
}
