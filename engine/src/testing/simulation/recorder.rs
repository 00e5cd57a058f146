//! What a life is seen to do, written down as it happens, until the process dies.
//!
//! Owns the tale of all lives. It is told of calls by the door, of attempts by a middleware, of commits by the journal. Each life
//! has a recorder of its own: what still comes from an earlier one, out of destructors and threads, is not heard any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;
use windlass_scheduler::effect::{Answer as CoreAnswer, Found};
use windlass_scheduler::flow::{FlowCommand, FlowId, FlowPlan, StepPlan};
use windlass_scheduler::history::{
    Alone, Answer, Bound, Call, Event, Graph, GraphStep, Intent, Rules, What, fingerprint,
};
use windlass_scheduler::job::{JobId, Name, NewJob, Priority, When};
use windlass_scheduler::lease::{Lease, LeaseToken};
use windlass_scheduler::limit::LimitOf;
use windlass_scheduler::order::OrderCommand;
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::state::{EndState, State};
use windlass_scheduler::unique::{Unique, Until};
use windlass_scheduler::verb::Verb;

use super::chance::Chance;
use super::faults::{Faults, Fuse};
use crate::config::ms;
use crate::error::{ControlError, EnqueueError};
use crate::messages::Question;

/// What a job is, beside what happens to it.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) kind: Name,
    pub(crate) queue: Name,
    pub(crate) payload: bytes::Bytes,
    pub(crate) version: u32,
    pub(crate) end: Option<(EndState, u64)>,
}

/// All that happened in all lives, and what it is made of.
pub(crate) struct Tale {
    pub(crate) events: Vec<Event>,
    pub(crate) facts: BTreeMap<JobId, Facts>,
    pub(crate) chance: Chance,
    pub(crate) faults: Faults,
    /// The priority of jobs that state none, by queue.
    pub(crate) priorities: BTreeMap<Name, Priority>,
    /// The queues at level `Memory`.
    pub(crate) volatile: BTreeSet<Name>,
    /// The names of the steps of each flow.
    flows: BTreeMap<FlowId, Vec<Arc<str>>>,
    /// Some limit is not as the code says: none is judged any more.
    pub(crate) has_overrides: bool,
    /// Which life may be heard; none after its death.
    life: Option<u64>,
    calls: u64,
    running: BTreeMap<JobId, (LeaseToken, u32)>,
    /// Where the process is about to die.
    pub(crate) fuse: Option<Fuse>,
    /// When this life began, in milliseconds of the simulation.
    began_ms: u64,
    began: Instant,
    /// The wall clock's time when the simulation began.
    wall_ms: u64,
}

/// One life's way to the [`Tale`].
pub(crate) struct Recorder {
    tale: Arc<Mutex<Tale>>,
    life: u64,
    died: Arc<Notify>,
}

impl Tale {
    pub(crate) fn new(seed: u64, faults: Faults, wall_ms: u64) -> Self {
        Self {
            events: Vec::new(),
            facts: BTreeMap::new(),
            chance: Chance::new(seed),
            faults,
            priorities: BTreeMap::new(),
            volatile: BTreeSet::new(),
            flows: BTreeMap::new(),
            has_overrides: false,
            life: None,
            calls: 0,
            running: BTreeMap::new(),
            fuse: None,
            began_ms: 0,
            began: Instant::now(),
            wall_ms,
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        if self.life.is_none() { self.began_ms } else { self.began_ms + ms(self.began.elapsed()) }
    }

    pub(crate) fn say(&mut self, what: What) {
        let at_ms = self.now_ms();
        self.events.push(Event { at_ms, what });
    }

    /// What a queue is judged by, as far as an operator has not changed it.
    pub(crate) fn say_rules(&mut self, rules: Rules) {
        let judged = !self.has_overrides;
        self.say(What::Queue(Rules { slots: if judged { rules.slots } else { u32::MAX }, ..rules }));
    }

    /// The same of a limit.
    pub(crate) fn say_bound(&mut self, bound: Bound) {
        let judged = !self.has_overrides;
        self.say(What::Limit(Bound {
            slots: bound.slots.filter(|_| judged),
            rate: bound.rate.filter(|_| judged),
            ..bound
        }));
    }

    fn overridden(&mut self) {
        if std::mem::replace(&mut self.has_overrides, true) {
            return;
        }
        let rules = self.events.iter().filter_map(|event| match &event.what {
            What::Queue(rules) => Some((rules.queue.clone(), rules.clone())),
            _ => None,
        });
        let rules: BTreeMap<Name, Rules> = rules.collect();
        let bounds = self.events.iter().filter_map(|event| match &event.what {
            What::Limit(bound) => Some((bound.of.clone(), bound.clone())),
            _ => None,
        });
        let bounds: BTreeMap<LimitOf, Bound> = bounds.collect();
        for rules in rules.into_values() {
            self.say_rules(rules);
        }
        for bound in bounds.into_values() {
            self.say_bound(bound);
        }
    }

    /// Ends the life that is heard; what it still does leaves no trace. To be called where its clock is.
    pub(crate) fn stop(&mut self) {
        self.began_ms = self.now_ms();
        self.life = None;
        self.running.clear();
        self.fuse = None;
    }

    fn call(&mut self, what: Call) -> u64 {
        self.calls += 1;
        self.say(What::Called { call: self.calls, what });
        self.calls
    }

    fn moment(&self, when: When) -> u64 {
        match when {
            When::After(after_ms) => self.now_ms().saturating_add(after_ms),
            When::At(at) => at.0.saturating_sub(self.wall_ms),
        }
    }

    /// `Memory` queues have keys of their own.
    fn alone(&self, queue: &Name, unique: &Unique) -> Alone {
        let of_memory = self.volatile.contains(queue);
        Alone {
            key: fingerprint(format!("{of_memory} {}", unique.key).as_bytes()),
            until_end: unique.until == Until::Done,
        }
    }

    fn submits(&mut self, plan: &FlowPlan) {
        let names = plan.steps.iter().map(|step| step.name.clone()).collect();
        self.flows.insert(plan.id, names);
        let step = |step: &StepPlan| GraphStep {
            job: step.job,
            work: step.work,
            needs: step.needs.clone(),
            undoes: step.undoes,
            is_optional: step.is_optional,
        };
        let steps = plan.steps.iter().map(step).collect();
        self.say(What::Flow(Graph { id: plan.id, fail_fast: plan.fail_fast, steps }));
    }

    /// What changes something.
    fn asks_flow(&self, command: &FlowCommand) -> Option<Call> {
        match command {
            FlowCommand::Cancel { id } | FlowCommand::Skip { id, .. } | FlowCommand::Retry { id, .. } => {
                Some(Call::SteerFlow(*id))
            }
            FlowCommand::Signal { id, step, .. } => {
                let no = self.flows.get(id)?.iter().position(|name| name == step)?;
                Some(Call::Signal(*id, u32::try_from(no).ok()?))
            }
            FlowCommand::Look { .. }
            | FlowCommand::List { .. }
            | FlowCommand::Inputs { .. }
            | FlowCommand::Watch { .. }
            | FlowCommand::Batch { .. }
            | FlowCommand::Close { .. } => None,
        }
    }

    fn intent(&mut self, job: &NewJob) -> Intent {
        let (kind, queue, payload) = (job.kind.clone(), job.queue.clone(), job.body.payload.clone());
        let facts = Facts { kind, queue, payload, version: job.body.version, end: None };
        self.facts.entry(job.id).or_insert(facts);
        let default = self.priorities.get(&job.queue).copied().unwrap_or_default();
        Intent {
            id: job.id,
            queue: job.queue.clone(),
            priority: job.priority.unwrap_or(default),
            due_ms: job.due.map_or(0, |when| self.moment(when)),
            expires_ms: job.expires.into_iter().chain(job.deadline).map(|when| self.moment(when)).min(),
            has_deadline: job.deadline.is_some(),
            failures_max: job.retry.as_ref().map(|policy| policy.attempts_max),
            payload: fingerprint(&job.body.payload),
            alone: job.body.labels.unique().map(|unique| self.alone(&job.queue, unique)),
            limit_key: job.body.labels.share().key.as_ref().map(|key| fingerprint(key.as_bytes())),
            weight: job.body.labels.share().weight,
            batch: job.body.labels.member().map(|member| member.batch),
        }
    }
}

impl Recorder {
    /// Begins a life. To be called on its runtime.
    pub(crate) fn begin(tale: &Arc<Mutex<Tale>>, life: u64) -> Arc<Self> {
        let recorder = Self { tale: tale.clone(), life, died: Arc::default() };
        {
            let mut tale = recorder.lock();
            (tale.life, tale.began) = (Some(life), Instant::now());
            tale.say(What::Began);
        }
        Arc::new(recorder)
    }

    fn lock(&self) -> MutexGuard<'_, Tale> {
        self.tale.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tale, if this life is still heard.
    pub(crate) fn tale(&self) -> Option<MutexGuard<'_, Tale>> {
        let tale = self.lock();
        (tale.life == Some(self.life)).then_some(tale)
    }

    pub(crate) fn say(&self, what: What) {
        if let Some(mut tale) = self.tale() {
            tale.say(what);
        }
    }

    /// The process dies here and now: nothing that comes after has happened.
    pub(crate) fn die(&self, power_lost: bool) {
        if let Some(mut tale) = self.tale() {
            tale.say(if power_lost { What::PowerLost } else { What::Killed });
            tale.stop();
            self.died.notify_one();
        }
    }

    pub(crate) async fn died(&self) {
        self.died.notified().await;
    }

    /// Dies, if the process was to die here.
    pub(crate) fn reaches(&self, place: super::faults::Place) -> bool {
        let fuse = self.tale().and_then(|mut tale| tale.fuse.take_if(|fuse| fuse.place == place));
        if let Some(fuse) = &fuse {
            self.die(fuse.power_lost);
        }
        fuse.is_some()
    }

    pub(crate) fn enqueues(&self, jobs: &[NewJob], flow: Option<&FlowPlan>) -> u64 {
        self.tale().map_or(0, |mut tale| {
            if let Some(plan) = flow {
                tale.submits(plan);
            }
            let intents = jobs.iter().map(|job| tale.intent(job)).collect();
            tale.call(Call::Enqueue(intents))
        })
    }

    pub(crate) fn enqueued(&self, call: u64, outcome: Result<&CoreAnswer, &EnqueueError>) {
        let is_another = self.others(call, outcome);
        let answer = match outcome {
            Ok(_) if is_another => Answer::Refused,
            Ok(_) => Answer::Ok,
            Err(EnqueueError::Interrupted { .. }) => Answer::Unknown,
            Err(_) => Answer::Refused,
        };
        self.say(What::Answered { call, answer });
    }

    /// Of which jobs the caller is told that others stand for them; whether there was a flow with this one's id, which then is none.
    fn others(&self, call: u64, outcome: Result<&CoreAnswer, &EnqueueError>) -> bool {
        let (Ok(CoreAnswer::Enqueued(receipts)), Some(mut tale)) = (outcome, self.tale()) else { return false };
        let is_mine = |event: &Event| matches!(&event.what, What::Called { call: no, .. } if *no == call);
        let at = tale.events.iter().rposition(is_mine);
        let Some((at, What::Called { what: Call::Enqueue(jobs), .. })) = at.map(|at| (at, &tale.events[at].what))
        else {
            return false;
        };
        let pairs = jobs.iter().map(|job| job.id).zip(receipts.iter().map(|one| one.id));
        let pairs: Vec<_> = pairs.filter(|(id, other)| id != other).collect();
        let is_flow = at.checked_sub(1).is_some_and(|before| matches!(tale.events[before].what, What::Flow(_)));
        if is_flow {
            return !pairs.is_empty();
        }
        for (id, other) in pairs {
            tale.say(What::StandsFor { id, other });
        }
        false
    }

    pub(crate) fn asks(&self, question: &Question) -> u64 {
        let Some(mut tale) = self.tale() else { return 0 };
        let what = match question {
            Question::Extend { id, token, .. } => {
                let holder = tale.running.get(id).filter(|(current, _)| current == token);
                Call::UseLease { id: *id, attempt: holder.map_or(0, |(_, attempt)| *attempt) }
            }
            Question::Steer { id, verb: Verb::Cancel, .. } => Call::Cancel(*id),
            Question::Steer { id, verb: Verb::Requeue, .. } => Call::Requeue(*id),
            Question::Steer { id, verb: Verb::Discard, .. } => Call::Discard(*id),
            Question::Steer { id, .. } => Call::Steer(*id),
            Question::Edit { id, payload, .. } => Call::Edit { id: *id, payload: fingerprint(payload) },
            Question::Pause(queue) => Call::Pause(queue.clone()),
            Question::Resume(queue) => Call::Resume(queue.clone()),
            Question::Watch(id) => Call::Wait(*id),
            Question::Look(id) => Call::Look(*id),
            Question::Order(OrderCommand::All) | Question::List { .. } | Question::Stats | Question::Memory => {
                return 0;
            }
            #[cfg(feature = "metrics")]
            Question::Measure => return 0,
            Question::Override { .. } => {
                tale.overridden();
                return 0;
            }
            // What comes of it is told as it comes.
            Question::Schedule(_) | Question::Limits => return 0,
            Question::Flow(command) => match tale.asks_flow(command) {
                Some(what) => what,
                None => return 0,
            },
            Question::Order(_) => Call::Order,
        };
        tale.call(what)
    }

    pub(crate) fn asked(&self, call: u64, outcome: Result<&CoreAnswer, &ControlError>) {
        let answer = match outcome {
            Ok(CoreAnswer::Ending(ending)) => Answer::Is(State::from(ending.state)),
            Ok(CoreAnswer::Found(Found::Ended(key))) => Answer::Is(State::from(key.state)),
            Ok(CoreAnswer::Found(Found::Live(view))) => Answer::Is(view.state),
            Ok(_) => Answer::Ok,
            Err(ControlError::Refused(Refusal::Forgotten { .. })) => Answer::Gone,
            Err(ControlError::Interrupted) => Answer::Unknown,
            Err(_) => Answer::Refused,
        };
        if call > 0 {
            self.say(What::Answered { call, answer });
        }
    }

    pub(crate) fn follow_up(&self, lease: &Lease, job: &NewJob) {
        if let Some(mut tale) = self.tale() {
            let jobs = vec![tale.intent(job)];
            tale.call(Call::FollowUps { parent: lease.id, attempt: lease.attempt, jobs });
        }
    }

    pub(crate) fn ticked(&self, job: &NewJob) {
        if let Some(mut tale) = self.tale() {
            let intent = tale.intent(job);
            tale.call(Call::Tick(intent));
        }
    }

    /// A call that a simulation itself makes.
    pub(crate) fn call(&self, what: Call) -> u64 {
        self.tale().map_or(0, |mut tale| tale.call(what))
    }

    pub(crate) fn started(&self, lease: &Lease, payload: &[u8]) {
        if let Some(mut tale) = self.tale() {
            tale.running.insert(lease.id, (lease.token, lease.attempt));
            let (id, attempt, payload) = (lease.id, lease.attempt, fingerprint(payload));
            tale.say(What::Started { id, attempt, payload });
        }
    }

    pub(crate) fn ended(&self, lease: &Lease, how: windlass_scheduler::history::Finish) {
        if let Some(mut tale) = self.tale() {
            tale.running.remove(&lease.id);
            tale.say(What::Ended { id: lease.id, attempt: lease.attempt, how });
        }
    }

    pub(crate) fn shuts_down(&self, deadline: Duration) -> u64 {
        let within = deadline.saturating_add(super::SLACK);
        self.call(Call::Shutdown { within_ms: ms(within) })
    }

    pub(crate) fn has_shut_down(&self, call: u64) {
        self.say(What::Answered { call, answer: Answer::Ok });
    }

    pub(crate) fn new_id(&self) -> JobId {
        let (high, low) = self.tale().map_or((0, 0), |mut tale| (tale.chance.next(), tale.chance.next()));
        JobId(Uuid::from_u64_pair(high, low))
    }

    pub(crate) fn seed(&self) -> u64 {
        self.tale().map_or(0, |mut tale| tale.chance.next())
    }

    /// How long the disk takes for its next call.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let mut tale = self.tale()?;
        let slowest = tale.faults.store_pause_max?;
        Some(Duration::from_millis(tale.chance.below(ms(slowest) + 1)))
    }
}
