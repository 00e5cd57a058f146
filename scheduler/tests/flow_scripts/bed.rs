//! The bed that the stories of flows are played in: one engine, flows by small numbers, jobs by the flow's and the step's.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;
use windlass_scheduler::attempt::{Failure, FailureKind, Outcome, Output, Retry};
use windlass_scheduler::batch::{BatchCounts, BatchPlan, MemberOf};
use windlass_scheduler::change::Key;
use windlass_scheduler::command::{Command, QueueNo, Request, Submit, TimerClass};
use windlass_scheduler::effect::{Answer, Effect, Receipt};
use windlass_scheduler::flow::{
    FlowCommand, FlowEnding, FlowId, FlowPlan, FlowState, FlowView, IfFailed, Need, StepOf, StepPlan, StepState, Work,
};
use windlass_scheduler::job::{Body, JobId, Labels, Name, NewJob, When};
use windlass_scheduler::recurrence::{CatchUp, Origin, Overlap, Rule, Schedule, ScheduleCommand, Template};
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::settings::{Keep, Level, QueueSettings, Retention, ShardSettings};
use windlass_scheduler::shard::Misfit;
use windlass_scheduler::state::State;
use windlass_scheduler::time::{Mono, Now, Timestamp};
use windlass_scheduler::verb::{Retained, Verb};

use super::common::{Driver, bare, id};

/// How long jobs are retained.
pub(crate) const KEEP_MS: u64 = 10_000;
/// And flows.
pub(crate) const FLOW_KEEP_MS: u64 = 40_000;
/// That failed.
pub(crate) const FLOW_KEEP_FAILED_MS: u64 = 60_000;

pub(crate) fn flow_id(n: u64) -> FlowId {
    FlowId(Uuid::from_u128(u128::from(n)))
}

/// A step to be.
#[derive(Clone)]
pub(crate) struct Planned {
    pub(crate) queue: &'static str,
    pub(crate) needs: Vec<(u32, IfFailed)>,
    pub(crate) work: Work,
    pub(crate) undoes: Option<u32>,
    pub(crate) is_optional: bool,
    pub(crate) due: Option<When>,
    pub(crate) expires: Option<When>,
    pub(crate) batch: Option<BatchPlan>,
}

pub(crate) fn job(needs: &[(u32, IfFailed)]) -> Planned {
    Planned {
        queue: "mail",
        needs: needs.to_vec(),
        work: Work::Job,
        undoes: None,
        is_optional: false,
        due: None,
        expires: None,
        batch: None,
    }
}

pub(crate) fn signal(needs: &[(u32, IfFailed)]) -> Planned {
    Planned { work: Work::Signal, ..job(needs) }
}

/// A batch that ends by itself, or fails with its jobs if what they leave is collected.
pub(crate) fn batch(needs: &[(u32, IfFailed)], collects: bool) -> Planned {
    let collects = collects.then(|| Name::from("work"));
    Planned { work: Work::Batch, batch: Some(BatchPlan { stays_open: false, collects }), ..job(needs) }
}

pub(crate) fn timed(planned: Planned, due: Option<When>, expires: Option<When>) -> Planned {
    Planned { due, expires, ..planned }
}

/// The job of a step of a flow that has more steps than 100.
pub(crate) fn long_job(flow: u64, no: u32) -> u64 {
    flow * 1_000_000 + u64::from(no)
}

pub(crate) struct Bed {
    pub(crate) driver: Driver,
    pub(crate) fail_fast: bool,
    requests: u64,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ShardSettings)) -> Self {
        let queue = |name: &str, level| {
            let keep = Keep { age_ms: KEEP_MS, count_max: 20_000, bytes_max: u64::MAX };
            let retention = Retention { done: keep, dead: keep, dropped: keep, ..Retention::default() };
            QueueSettings { level, slots: 4, retention, payload_bytes_max: 64, ..QueueSettings::new(Name::from(name)) }
        };
        let queues = vec![queue("mail", Level::Durable), queue("bulk", Level::Process), queue("ram", Level::Memory)];
        let mut settings = ShardSettings::new(1, 7, queues, vec!["work".into()]);
        change(&mut settings);
        let mut driver = Driver::new(settings, Now { mono: Mono(0), wall: Timestamp(1_000_000) });
        driver.settle();
        Self { driver, fail_fast: false, requests: 0 }
    }

    fn request(&mut self) -> Request {
        self.requests += 1;
        Request(self.requests)
    }

    /// What this request was answered, if it was; once.
    pub(crate) fn told(&mut self, request: Request) -> Option<Result<Answer, Refusal>> {
        let is_it = |effect: &Effect| matches!(effect, Effect::Reply { request: of, .. } if *of == request);
        let at = self.driver.effects.iter().position(is_it)?;
        match self.driver.effects.remove(at) {
            Effect::Reply { answer, .. } => Some(answer),
            other => panic!("{other:?}"),
        }
    }

    fn ask(&mut self, command: impl FnOnce(Request) -> Command) -> Result<Answer, Refusal> {
        let request = self.request();
        self.driver.handle(command(request));
        self.driver.settle();
        self.told(request).unwrap()
    }

    fn ask_flow(&mut self, command: FlowCommand) -> Result<Answer, Refusal> {
        self.ask(|request| Command::Flow { request, command })
    }

    /// A plan as a caller would hand it in, and its jobs.
    pub(crate) fn plan(&self, n: u64, steps: Vec<Planned>) -> (FlowPlan, Vec<NewJob>) {
        let is_long = steps.len() > 100;
        let mut jobs = Vec::new();
        let mut plans = Vec::new();
        for (no, planned) in (0..).zip(steps) {
            let job_no = if is_long { long_job(n, no) } else { n * 100 + u64::from(no) };
            let kind = Name::from(planned.work.kind().unwrap_or("work"));
            let of = StepOf { flow: flow_id(n), no };
            let body = Arc::new(Body { labels: Labels::default().of_step(Some(of)), ..Body::default() });
            let (due, expires) = (planned.due, planned.expires);
            jobs.push(NewJob { kind: kind.clone(), due, expires, body, ..bare(job_no, planned.queue) });
            let need = |(step, if_failed): (u32, IfFailed)| Need { step, if_failed };
            plans.push(StepPlan {
                name: format!("s{no}").into(),
                job: id(job_no),
                kind,
                queue: Name::from(planned.queue),
                work: planned.work,
                input: Vec::new(),
                needs: planned.needs.into_iter().map(need).collect(),
                undoes: planned.undoes,
                is_optional: planned.is_optional,
                times: None,
                batch: planned.batch.map(Box::new),
            });
        }
        let plan = FlowPlan {
            id: flow_id(n),
            name: Name::from("order"),
            keep_ms: FLOW_KEEP_MS,
            keep_failed_ms: FLOW_KEEP_FAILED_MS,
            fail_fast: self.fail_fast,
            output: None,
            steps: plans,
        };
        (plan, jobs)
    }

    pub(crate) fn submit(&mut self, n: u64, steps: Vec<Planned>) -> Result<Vec<Receipt>, Refusal> {
        let (plan, jobs) = self.plan(n, steps);
        self.hand_in(plan, jobs)
    }

    pub(crate) fn hand_in(&mut self, plan: FlowPlan, jobs: Vec<NewJob>) -> Result<Vec<Receipt>, Refusal> {
        let flow = Some(Box::new(plan));
        match self.ask(|request| Command::Submit(Submit { request, watch: None, jobs, flow }))? {
            Answer::Enqueued(receipts) => Ok(receipts),
            other => panic!("{other:?}"),
        }
    }

    /// Nothing is written before the next seal.
    pub(crate) fn submit_unsealed(&mut self, plan: FlowPlan, jobs: Vec<NewJob>) -> Request {
        let (request, flow) = (self.request(), Some(Box::new(plan)));
        self.driver.handle(Command::Submit(Submit { request, watch: None, jobs, flow }));
        request
    }

    pub(crate) fn submit_plain(&mut self, jobs: Vec<NewJob>) {
        self.ask(|request| Command::Submit(Submit { request, watch: None, jobs, flow: None })).unwrap();
    }

    pub(crate) fn list(&mut self, after: Option<u64>, state: Option<FlowState>, limit: usize) -> Vec<u64> {
        match self.ask_flow(FlowCommand::List { after: after.map(flow_id), state, limit }).unwrap() {
            Answer::Flows(flows) => flows.iter().map(|flow| flow.id.0.as_u128() as u64).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Who waits for the end of its last job.
    pub(crate) fn submit_and_watch(&mut self, n: u64, steps: Vec<Planned>) -> Request {
        let (watch, (plan, jobs)) = (self.request(), self.plan(n, steps));
        let flow = Some(Box::new(plan));
        self.ask(|request| Command::Submit(Submit { request, watch: Some(watch), jobs, flow })).unwrap();
        watch
    }

    /// Without anything else that costs time.
    pub(crate) fn submit_quietly(&mut self, n: u64, steps: Vec<Planned>) {
        let (request, (plan, jobs)) = (self.request(), self.plan(n, steps));
        let submit = Submit { request, watch: None, jobs, flow: Some(Box::new(plan)) };
        self.driver.shard.handle(Command::Submit(submit), self.driver.now);
    }

    pub(crate) fn started(&self) -> Vec<JobId> {
        self.driver.tokens.iter().map(|(_, id, _)| *id).collect()
    }

    fn end(&mut self, n: u64, outcome: Outcome) {
        let mine = self.driver.live.iter().find(|(_, one)| one.claim.id == id(n) && one.end.is_none());
        let token = *mine.unwrap_or_else(|| panic!("job {n} does not run")).0;
        self.driver.end(token, outcome);
    }

    /// A job that is to be of this batch.
    pub(crate) fn member(flow: u64, no: u32, job: u64) -> NewJob {
        let of = StepOf { flow: flow_id(flow), no };
        let member = MemberOf { of, batch: id(flow * 100 + u64::from(no)), place: 0 };
        let body = Body { labels: Labels::default().of_batch(Some(member)), ..Body::default() };
        NewJob { body: Arc::new(body), ..bare(job, "mail") }
    }

    pub(crate) fn add(&mut self, jobs: Vec<NewJob>) -> Result<Vec<Receipt>, Refusal> {
        match self.ask(|request| Command::Submit(Submit { request, watch: None, jobs, flow: None }))? {
            Answer::Enqueued(receipts) => Ok(receipts),
            other => panic!("{other:?}"),
        }
    }

    /// A schedule that makes such jobs makes one.
    pub(crate) fn run_scheduled(&mut self, job: &NewJob) {
        let name = Name::from("now and then");
        let template = Template {
            queue: job.queue.clone(),
            kind: job.kind.clone(),
            priority: None,
            expires_ms: None,
            deadline_ms: None,
            timeout_ms: None,
            retry: None,
            body: job.body.clone(),
        };
        let schedule = Schedule {
            name: name.clone(),
            rule: Rule::Every { period_ms: 60_000_000 },
            template,
            catch_up: CatchUp::Latest,
            overlap: Overlap::Allow,
            jitter_ms: 0,
            origin: Origin::Runtime,
            is_paused: false,
            cursor: Timestamp(0),
            last: None,
            held: Vec::new(),
            fired: 0,
            overlapped: 0,
        };
        for command in [ScheduleCommand::Define(Box::new(schedule)), ScheduleCommand::RunNow { name, id: job.id }] {
            self.ask(|request| Command::Schedule { request, command }).unwrap();
        }
    }

    pub(crate) fn counts(&self, flow: u64, no: u32) -> BatchCounts {
        self.driver.shard.portrait().batches[&StepOf { flow: flow_id(flow), no }]
    }

    pub(crate) fn close(&mut self, n: u64, step: &str) -> Result<(), Refusal> {
        self.ask_flow(FlowCommand::Close { id: flow_id(n), step: step.into() }).map(drop)
    }

    /// A success with follow-ups.
    pub(crate) fn done_with(&mut self, n: u64, follow_ups: Vec<NewJob>) {
        self.end(n, Outcome::Done { output: Output::None, follow_ups });
        self.driver.settle();
    }

    /// An attempt leaves this; nothing is sealed yet.
    pub(crate) fn end_with(&mut self, n: u64, output: &'static [u8]) {
        let output = Output::Bytes(Bytes::from_static(output));
        self.end(n, Outcome::Done { output, follow_ups: Vec::new() });
    }

    pub(crate) fn done(&mut self, n: u64) {
        self.end(n, Outcome::Done { output: Output::None, follow_ups: Vec::new() });
        self.driver.settle();
    }

    pub(crate) fn die(&mut self, n: u64) {
        let failure = Failure::new(FailureKind::Permanent, "no luck".into());
        self.end(n, Outcome::Failed { failure, retry: Retry::Never });
        self.driver.settle();
    }

    pub(crate) fn cancel_attempt(&mut self, n: u64) {
        self.end(n, Outcome::Cancelled { reason: "asked to".into() });
        self.driver.settle();
    }

    pub(crate) fn steer(&mut self, n: u64, verb: Verb) -> Result<State, Refusal> {
        let read = self.read(n);
        let read = read.filter(|_| verb == Verb::Requeue).map(Box::new);
        match self.ask(|request| Command::Steer { request, id: id(n), verb, read })? {
            Answer::Steered { state } => Ok(state),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn steer_quietly(&mut self, n: u64, verb: Verb) {
        let request = self.request();
        self.driver.shard.handle(Command::Steer { request, id: id(n), verb, read: None }, self.driver.now);
    }

    pub(crate) fn requeue(&mut self, n: u64) -> Result<State, Refusal> {
        self.steer(n, Verb::Requeue)
    }

    fn read(&self, n: u64) -> Option<Retained> {
        let stores = [&self.driver.journal, &self.driver.twin];
        stores.into_iter().find_map(|store| {
            let (ended, job) = (store.ended(id(n))?, store.job(id(n))?);
            Some(Retained { ended: ended.clone(), body: job.body.clone() })
        })
    }

    pub(crate) fn look(&mut self, n: u64) -> Option<FlowView> {
        match self.ask_flow(FlowCommand::Look { id: flow_id(n) }) {
            Ok(Answer::Flow(view)) => Some(*view),
            Err(Refusal::NoFlow { .. }) => None,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn state(&self, n: u64) -> FlowState {
        self.driver.shard.portrait().flows[&flow_id(n)].0
    }

    /// How its steps stand; skipped ones as done.
    pub(crate) fn states(&self, n: u64) -> Vec<State> {
        let state = |(state, _): &(StepState, u32)| match state {
            StepState::Job(state) => *state,
            StepState::Skipped => State::Done,
        };
        self.driver.shard.portrait().flows[&flow_id(n)].1.iter().map(state).collect()
    }

    pub(crate) fn skipped(&self, n: u64) -> Vec<u32> {
        let steps = &self.driver.shard.portrait().flows[&flow_id(n)].1;
        (0..).zip(steps).filter(|(_, (state, _))| *state == StepState::Skipped).map(|(no, _)| no).collect()
    }

    pub(crate) fn watch(&mut self, n: u64) -> Request {
        let request = self.request();
        self.driver.handle(Command::Flow { request, command: FlowCommand::Watch { id: flow_id(n) } });
        self.driver.settle();
        request
    }

    pub(crate) fn ending(&mut self, watch: Request) -> Option<FlowEnding> {
        match self.told(watch)? {
            Ok(Answer::FlowEnding(ending)) => Some(*ending),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn cancel(&mut self, n: u64) -> Result<(), Refusal> {
        self.ask_flow(FlowCommand::Cancel { id: flow_id(n) }).map(drop)
    }

    pub(crate) fn skip(&mut self, n: u64, step: &str, output: Option<&'static [u8]>) -> Result<(), Refusal> {
        let output = output.map(Bytes::from_static);
        self.ask_flow(FlowCommand::Skip { id: flow_id(n), step: step.into(), output }).map(drop)
    }

    /// Whether it was the first.
    pub(crate) fn signal(&mut self, n: u64, step: &str, payload: &'static [u8]) -> Result<bool, Refusal> {
        let payload = Bytes::from_static(payload);
        match self.ask_flow(FlowCommand::Signal { id: flow_id(n), step: step.into(), payload })? {
            Answer::Signalled { is_first } => Ok(is_first),
            other => panic!("{other:?}"),
        }
    }

    /// With whatever of its flow is retained.
    pub(crate) fn retry(&mut self, n: u64, step: &str) -> Result<(), Refusal> {
        let read = (n * 100..n * 100 + 10).filter_map(|n| self.read(n)).collect();
        self.ask_flow(FlowCommand::Retry { id: flow_id(n), step: step.into(), read }).map(drop)
    }

    pub(crate) fn due(&mut self, queue: u32, class: TimerClass) {
        self.driver.due(QueueNo(queue), class);
        self.driver.settle();
    }

    pub(crate) fn fire(&mut self) {
        for (queue, class) in self.driver.fired() {
            self.driver.due(queue, class);
        }
        self.driver.settle();
    }

    /// The core falls, and another one takes over what runs.
    pub(crate) fn reload(&mut self) {
        let before = self.driver.shard.portrait();
        assert_eq!(self.driver.load(), []);
        let after = self.driver.shard.portrait();
        assert_eq!((&after.flows, &after.retained), (&before.flows, &before.retained));
        self.driver.settle();
    }

    /// The process dies, and the journal has lost this.
    pub(crate) fn lose(&mut self, keys: &[Key]) -> Vec<Misfit> {
        self.driver.crash(None);
        self.driver.journal.0.retain(|key, _| !keys.contains(key));
        let misfits = self.driver.load();
        self.driver.shard.audit().unwrap();
        self.driver.settle();
        misfits
    }

    pub(crate) fn flow_records(&self) -> usize {
        let keys = self.driver.journal.0.keys().chain(self.driver.twin.0.keys());
        keys.filter(|key| {
            matches!(key, Key::Flow(_) | Key::Step(_) | Key::StepOutput(_) | Key::Batch(_) | Key::Member(..))
        })
        .count()
    }
}
