//! From what was built to what the core takes: jobs, and the plan of their flow.

use std::sync::Arc;

use windlass_scheduler::batch::MemberOf;
use windlass_scheduler::flow::{FlowId, FlowPlan, StepOf, StepPlan, Work};
use windlass_scheduler::job::{Body, JobId, Labels, Name, Names, NewJob, When};
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::settings::ShardSettings;

use super::batch::of_batch;
use super::{Doing, Flow, Planned};
use crate::config::ms;
use crate::door::Door;
use crate::error::{EnqueueError, FlowError};
use crate::range::{self, check_when};

impl<O> Flow<O> {
    /// The plan, and the jobs of its steps in their order.
    pub(super) fn into_plan(mut self, door: &Door) -> Result<(FlowPlan, Vec<NewJob>), FlowError> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        let id = self.id.unwrap_or_else(|| FlowId(door.new_id().0));
        self.check(id)?;
        let mut names = Names::default();
        // Whatever waits without a worker stands in the queue of the first job.
        let home = self.steps.iter().find_map(|step| match &step.doing {
            Doing::Job(draft) => Some(draft.options.queue_or(door.queue_of(draft.kind, draft.default_queue))),
            Doing::Timer(_) | Doing::Signal(_) | Doing::Batch(_) => None,
        });
        let home = home.or_else(|| {
            let (_, draft) = self.members.first()?;
            Some(draft.options.queue_or(door.queue_of(draft.kind, draft.default_queue)))
        });
        let home = names.get(&home.ok_or(FlowError::NoJob)?);
        let (mut jobs, mut steps) = (Vec::with_capacity(self.steps.len()), Vec::with_capacity(self.steps.len()));
        for (no, step) in (0..).zip(self.steps) {
            let Planned { name, doing, needs, input, undoes, is_optional } = step;
            let mut batch = None;
            let (work, mut job) = match doing {
                Doing::Job(draft) => (Work::Job, draft.into_new_job(door, &mut names)?),
                Doing::Timer(due) => {
                    check_when(&range::JOB_DELAY, due).map_err(EnqueueError::from)?;
                    (Work::Timer, NewJob { due: Some(due), ..idle(door.new_id(), Work::Timer, &home) })
                }
                Doing::Signal(timeout) => {
                    let expires = timeout.map(|timeout| When::After(ms(timeout)));
                    expires.map_or(Ok(()), |when| check_when(&range::EXPIRY, when)).map_err(EnqueueError::from)?;
                    (Work::Signal, NewJob { expires, ..idle(door.new_id(), Work::Signal, &home) })
                }
                Doing::Batch(plan) => {
                    batch = Some(Box::new(plan));
                    (Work::Batch, idle(door.new_id(), Work::Batch, &home))
                }
            };
            let body = Arc::unwrap_or_clone(job.body);
            job.body = Arc::new(Body { labels: body.labels.of_step(Some(StepOf { flow: id, no })), ..body });
            steps.push(StepPlan {
                name: name.into(),
                job: job.id,
                kind: job.kind.clone(),
                queue: job.queue.clone(),
                work,
                needs,
                input,
                undoes,
                is_optional,
                times: None,
                batch,
            });
            jobs.push(job);
        }
        for (no, draft) in self.members {
            let batch = steps.get(no as usize).map_or(JobId(id.0), |step: &StepPlan| step.job);
            let member = MemberOf { of: StepOf { flow: id, no }, batch, place: 0 };
            jobs.push(of_batch(draft.into_new_job(door, &mut names)?, member));
        }
        let plan = FlowPlan {
            id,
            name: Name::from(self.name.as_str()),
            keep_ms: ms(self.keep),
            keep_failed_ms: ms(self.keep_failed),
            fail_fast: self.fail_fast,
            output: self.output,
            steps,
        };
        Ok((plan, jobs))
    }

    /// What can be told before there is a plan. Needs beyond what may be are not even here.
    fn check(&self, id: FlowId) -> Result<(), FlowError> {
        if !Name::is_valid(&self.name) {
            return Err(FlowError::Name { name: self.name.clone(), bytes_max: Name::BYTES_MAX });
        }
        range::FLOW_KEEP.check(ms(self.keep)).map_err(EnqueueError::from)?;
        range::FLOW_KEEP_FAILED.check(ms(self.keep_failed)).map_err(EnqueueError::from)?;
        let (needs, needs_max) = (self.needs, ShardSettings::FLOW_NEEDS_MAX);
        if needs > needs_max {
            return Err(EnqueueError::from(Refusal::FlowNeeds { flow: id, needs, needs_max }).into());
        }
        Ok(())
    }
}

/// The job of a step that no worker has anything to do with.
fn idle(id: JobId, work: Work, queue: &Name) -> NewJob {
    NewJob {
        id,
        queue: queue.clone(),
        kind: Name::from(work.kind().unwrap_or_default()),
        priority: None,
        due: None,
        expires: None,
        deadline: None,
        timeout_ms: None,
        retry: None,
        body: Arc::new(Body { labels: Labels::default(), ..Body::default() }),
    }
}
