//! Flows among the commands: small graphs, whose steps are steered like all jobs, by ids that meet again.

use std::sync::Arc;

use uuid::Uuid;
use windlass_scheduler::batch::{BatchPlan, MemberOf};
use windlass_scheduler::command::{Command, Submit};
use windlass_scheduler::flow::{
    FlowCommand, FlowId, FlowPlan, FlowState, IfFailed, Need, StepOf, StepPlan, Work, may_run_again,
};
use windlass_scheduler::job::{Body, JobId, Name, NewJob};
use windlass_scheduler::verb::Retained;

use super::Play;

/// Flows that there are at a time: few, so that ids meet again. The last one is in memory.
const FLOWS: u8 = 4;
const STEPS: u8 = 5;

/// The job of a step: no two flows say the same, for it is the engine that names them.
fn job_of(flow: u8, no: u32) -> JobId {
    JobId(Uuid::from_u128(100 + u128::from(flow) * 10 + u128::from(no)))
}

/// The one in memory has the id of one that is not: whichever comes first, and the other one when that is forgotten.
fn flow_id(flow: u8) -> FlowId {
    FlowId(Uuid::from_u128(1_000 + u128::from(flow % (FLOWS - 1))))
}

impl Play<'_> {
    /// A step's job, where some flow has such a one.
    pub(super) fn step_id(&mut self) -> JobId {
        let (flow, no) = (self.input.below(FLOWS), self.input.below(STEPS));
        self.job_now(flow, no.into())
    }

    /// The job that a step has now: the jobs of batches are never the same.
    fn job_now(&self, flow: u8, no: u32) -> JobId {
        let view = self.driver.shard.flow(flow_id(flow));
        let step = view.as_ref().and_then(|view| view.steps.get(no as usize));
        step.map_or(job_of(flow, no), |step| step.plan.job)
    }

    /// The job says that it is of a batch, which may be there.
    pub(super) fn of_batch(&mut self, job: &mut NewJob) {
        let view = |flow: u8| Some((flow, self.driver.shard.flow(flow_id(flow))?));
        let batches = (0..FLOWS).filter_map(view).flat_map(|(flow, view)| {
            let steps = (0..).zip(view.steps).filter(|(_, step)| step.batch.is_some());
            steps.map(move |(no, step)| (flow, no, step.plan.job))
        });
        let batches: Vec<_> = batches.collect();
        let any = (self.input.below(FLOWS), self.input.below(STEPS).into());
        let any = (any.0, any.1, self.job_now(any.0, any.1));
        let (flow, no, batch) = self.input.pick(&batches).filter(|_| !self.input.one_in(8)).unwrap_or(any);
        self.of_this_batch(job, flow, no, batch);
    }

    fn of_this_batch(&mut self, job: &mut NewJob, flow: u8, no: u32, batch: JobId) {
        let of = StepOf { flow: flow_id(flow), no };
        let member = MemberOf { of, batch, place: self.input.byte().into() };
        // One that says it is a step as well is none.
        let labels = job.body.labels.clone().of_batch(Some(member)).of_step(self.input.one_in(8).then_some(of));
        job.body = Arc::new(Body { labels, ..(*job.body).clone() });
    }

    pub(super) fn submit_flow(&mut self) {
        let (request, flow) = (self.request(), self.input.below(FLOWS));
        let volatile = flow == FLOWS - 1;
        let (mut jobs, mut steps) = (Vec::new(), Vec::new());
        for no in 0..=u32::from(self.input.below(STEPS)) {
            let (job, step) = self.new_step(flow, no, volatile);
            jobs.push(job);
            steps.push(step);
        }
        for (no, step) in (0..).zip(&steps).filter(|(_, step)| step.batch.is_some()) {
            for _ in 0..self.input.below(3) {
                let mut job = self.job_of_store(volatile);
                self.of_this_batch(&mut job, flow, no, step.job);
                jobs.push(job);
            }
        }
        let plan = FlowPlan {
            id: flow_id(flow),
            name: Name::from("f"),
            keep_ms: self.input.byte().into(),
            keep_failed_ms: self.input.byte().into(),
            fail_fast: self.input.one_in(4),
            output: None,
            steps,
        };
        self.driver.handle(Command::Submit(Submit { request, watch: None, jobs, flow: Some(Box::new(plan)) }));
    }

    fn new_step(&mut self, flow: u8, no: u32, volatile: bool) -> (NewJob, StepPlan) {
        let mut job = self.job();
        let works = [Work::Job, Work::Job, Work::Job, Work::Timer, Work::Signal, Work::Batch, Work::Batch];
        let work = self.input.pick(&works).unwrap_or_default();
        job.id = job_of(flow, no);
        job.queue = self.queue_of_store(volatile);
        let batch = (work == Work::Batch).then(|| {
            job.id = JobId(Uuid::from_u128(u128::from(no) + 10_000 + u128::from(self.requests) * 10));
            let collects = self.input.one_in(2).then(|| Name::from("mail"));
            Box::new(BatchPlan { stays_open: self.input.one_in(3), collects })
        });
        job.kind = work.kind().map_or(job.kind, Name::from);
        let of = StepOf { flow: flow_id(flow), no };
        let labels = windlass_scheduler::job::Labels::tagged(vec!["a".into()]).of_step(Some(of));
        job.body = Arc::new(Body { payload: job.body.payload.clone(), labels, ..Body::default() });
        let undoes =
            (no > 0 && work == Work::Job && self.input.one_in(6)).then(|| u32::from(self.input.below(STEPS)) % no);
        let ifs = [IfFailed::Cancel, IfFailed::GoOn, IfFailed::Hold];
        let mut needs = Vec::new();
        for step in (0..no).filter(|_| undoes.is_none()) {
            if self.input.one_in(2) {
                needs.push(Need { step, if_failed: self.input.pick(&ifs).unwrap_or_default() });
            }
        }
        let plan = StepPlan {
            name: format!("s{no}").into(),
            job: job.id,
            kind: job.kind.clone(),
            queue: job.queue.clone(),
            work,
            needs,
            input: Vec::new(),
            undoes,
            is_optional: self.input.one_in(4),
            times: None,
            batch,
        };
        (job, plan)
    }

    fn queue_of_store(&mut self, volatile: bool) -> Name {
        Name::from(if volatile { "ram" } else { self.input.pick(&["tiny", "safe"]).unwrap_or("safe") })
    }

    /// A job that may be of a batch in this store.
    fn job_of_store(&mut self, volatile: bool) -> NewJob {
        let job = self.job();
        let share = job.body.labels.share().clone();
        let labels = windlass_scheduler::job::Labels::new(Vec::new(), None, None, None, share);
        let body = Arc::new(Body { labels, ..(*job.body).clone() });
        NewJob { id: self.plain_id(), queue: self.queue_of_store(volatile), body, ..job }
    }

    pub(super) fn steer_flow(&mut self) {
        let (request, id) = (self.request(), flow_id(self.input.below(FLOWS)));
        let step: Arc<str> = format!("s{}", self.input.below(STEPS)).into();
        let no = self.input.below(STEPS).into();
        let command = match self.input.below(15) {
            0 => FlowCommand::Look { id },
            1 => FlowCommand::Inputs { of: StepOf { flow: id, no } },
            2 => FlowCommand::Watch { id },
            3 => FlowCommand::List { after: None, state: self.input.pick(&FlowState::ALL), limit: no as usize },
            4 => FlowCommand::Cancel { id },
            5 | 6 => {
                let output = self.input.one_in(2).then(|| self.payload());
                FlowCommand::Skip { id, step, output }
            }
            7..10 => FlowCommand::Signal { id, step, payload: self.payload() },
            10 | 11 => FlowCommand::Close { id, step },
            12 => FlowCommand::Batch { id, step },
            _ => {
                let read = self.read_again(id, &step);
                FlowCommand::Retry { id, step, read }
            }
        };
        self.driver.handle(Command::Flow { request, command });
        if self.input.one_in(6) {
            self.driver.handle(Command::UnwatchFlow { request, id });
        }
    }

    /// What the driver reads of the steps that may run again: which may be behind.
    fn read_again(&self, id: FlowId, step: &str) -> Vec<Retained> {
        let Some(view) = self.driver.shard.flow(id) else { return Vec::new() };
        let Some(no) = view.steps.iter().position(|one| &*one.plan.name == step) else { return Vec::new() };
        let steps = view.steps.iter().map(|step| (&step.plan, step.end.as_ref()));
        let again = may_run_again(u32::try_from(no).unwrap_or(u32::MAX), steps);
        again.into_iter().filter_map(|no| self.read(view.steps[no as usize].plan.job)).map(|read| *read).collect()
    }
}
