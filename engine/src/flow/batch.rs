//! Batches: steps that are made of many jobs, planned in a flow, added to while it runs, and told about at the end.
//!
//! Owns what callers say and see of them. Never counts: the core does, in the commit of each job's end.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windlass_scheduler::attempt::Failure;
use windlass_scheduler::batch::{BatchCounts, BatchPlan, BatchView, MemberOf, MemberRecord};
use windlass_scheduler::change::{Key, Record};
use windlass_scheduler::effect::{Answer, Receipt};
use windlass_scheduler::flow::{FlowCommand, FlowId, StepState};
use windlass_scheduler::job::{JobId, Name, Names, NewJob};
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::state::{EndState, State};
use windlass_storage::Reader;

use super::input::{TRIES_MAX, asks_again};
use super::{Doing, Flow, FlowHandle, Needs, StepRef};
use crate::context::{AttemptCore, Context};
use crate::engine::Engine;
use crate::error::{ControlError, EnqueueError, InputError, JobError};
use crate::job::{Draft, Job};
use crate::messages::Question;
use crate::range;

/// Ends of jobs of a batch that are read at once at most.
const READ_MAX: u32 = 100_000;

/// How it stands with a batch, and what a step that needs one gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BatchReport {
    /// Jobs that ever came in.
    pub jobs: u32,
    /// Of these, those that succeeded.
    pub done: u32,
    /// Those that are dead.
    pub dead: u32,
    /// Those that were called off.
    pub cancelled: u32,
    /// Those that expired.
    pub expired: u32,
}

impl BatchReport {
    /// Jobs that have not ended.
    #[must_use]
    pub const fn open(&self) -> u32 {
        self.jobs.saturating_sub(self.done.saturating_add(self.failed()))
    }

    /// Jobs that ended without success. [`BatchHandle::failures`] tells which.
    #[must_use]
    pub const fn failed(&self) -> u32 {
        self.dead.saturating_add(self.cancelled).saturating_add(self.expired)
    }
}

impl From<BatchCounts> for BatchReport {
    fn from(counts: BatchCounts) -> Self {
        let BatchCounts { jobs, done, dead, cancelled, expired, is_closed: _ } = counts;
        Self { jobs, done, dead, cancelled, expired }
    }
}

/// A job of a batch that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchFailure {
    /// The job.
    pub job: JobId,
    /// The how-manieth job of the batch it was, from 0.
    pub place: u32,
    /// How it ended.
    pub end: EndState,
    /// Why; `None`: it expired, or was called off for no reason of its own.
    pub failure: Option<Failure>,
}

impl<O> Flow<O> {
    /// A step that is made of many jobs, of any kinds: those that are [added](Self::add_to) here, those that a step before it or a job of the
    /// batch itself [adds](Context::batch) while it runs, and those that come [from outside](FlowHandle::batch). They run at once. The batch
    /// is done when those before it have ended and so have all its jobs, however they did: what needs it gets a [`BatchReport`].
    ///
    /// It has no list of its jobs, only numbers: a batch of a million takes no more memory than one of ten, beside its jobs.
    pub fn batch(&mut self, name: &str, needs: impl Needs) -> StepRef<BatchReport> {
        self.plan(name, Doing::Batch(BatchPlan::default()), needs, Vec::new(), false)
    }

    /// As [`batch`](Self::batch), and it does not end before it is [closed](BatchHandle::close): for one that is filled from outside,
    /// bit by bit.
    pub fn open_batch(&mut self, name: &str, needs: impl Needs) -> StepRef<BatchReport> {
        let plan = BatchPlan { stays_open: true, collects: None };
        self.plan(name, Doing::Batch(plan), needs, Vec::new(), false)
    }

    /// A [`batch`](Self::batch) whose jobs are all of one kind, and whose outputs are collected: what needs it gets them all, in the order
    /// in which the jobs came in. So a step may decide how wide the next one is. It fails if one of them did, once all have ended; run the
    /// dead ones again, and then [`retry`](FlowHandle::retry) it, or [`go_on`](StepRef::go_on) without.
    pub fn spread<J: Job>(&mut self, name: &str, needs: impl Needs) -> StepRef<Vec<J::Output>> {
        let plan = BatchPlan { stays_open: false, collects: Some(Name::from(J::KIND)) };
        self.plan(name, Doing::Batch(plan), needs, Vec::new(), false)
    }

    /// A job that the batch has from the beginning. Up to 100,000 such jobs, and with the steps 64 MiB; more may come later.
    pub fn add_to<P, J: Job>(&mut self, batch: &StepRef<P>, job: &J) {
        self.add_draft_to(batch, Draft::new(job));
    }

    /// As [`add_to`](Self::add_to), with options; but for a unique key, which would let another job stand for it.
    pub fn add_draft_to<P>(&mut self, batch: &StepRef<P>, draft: Draft) {
        self.check_owner(batch.flow);
        self.members.push((batch.no, draft));
    }
}

impl<O> FlowHandle<O> {
    /// A handle on the batch of this name.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoFlow`, `NoStep`, or `StepForbidden` where the step is no batch.
    pub async fn batch(&self, name: &str) -> Result<BatchHandle, ControlError> {
        let view = batch_view(self.engine(), self.id(), name).await?;
        Ok(BatchHandle { engine: self.engine().clone(), flow: self.id(), name: name.to_owned(), view })
    }
}

async fn batch_view(engine: &Engine, id: FlowId, name: &str) -> Result<BatchView, ControlError> {
    match engine.door().ask(Question::Flow(FlowCommand::Batch { id, step: name.into() })).await? {
        Answer::Batch(view) => Ok(*view),
        other => unreachable!("a look at a batch was answered with {other:?}"),
    }
}

/// A batch of a flow, to be added to and asked about from outside.
#[derive(Clone)]
pub struct BatchHandle {
    engine: Engine,
    flow: FlowId,
    name: String,
    view: BatchView,
}

impl BatchHandle {
    /// Adds a job: it counts from the moment at which it is stored. Up to 2^31 jobs.
    ///
    /// # Errors
    /// [`EnqueueError`]: as of [`Engine::enqueue`], and `StepForbidden` where the batch is over, closed or called off, or `BadStep` where
    /// it takes no such job. Nothing was stored.
    pub async fn add<J: Job>(&self, job: &J) -> Result<Receipt, EnqueueError> {
        let receipts = self.add_all([Draft::new(job)]).await?;
        receipts.into_iter().next().ok_or_else(|| EnqueueError::Unavailable("no receipt came".to_owned()))
    }

    /// Adds many jobs in one commit: all of them or none. Up to 100,000 jobs and 64 MiB a call. One whose id is taken already is that
    /// job, and not added, so that whoever is not sure may say it again. Returns a receipt a job, in order.
    ///
    /// # Errors
    /// As of [`add`](Self::add).
    pub async fn add_all(&self, drafts: impl IntoIterator<Item = Draft>) -> Result<Vec<Receipt>, EnqueueError> {
        let mut names = Names::default();
        let job = |draft: Draft| Ok(of_batch(draft.into_new_job(self.engine.door(), &mut names)?, self.view.member));
        let jobs = drafts.into_iter().map(job).collect::<Result<Vec<_>, EnqueueError>>()?;
        self.engine.enqueue_jobs(jobs).await
    }

    /// Lets the batch end when its jobs have: nobody adds to it any more but its own jobs. Once is enough, and twice does no harm.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoFlow`.
    pub async fn close(&self) -> Result<(), ControlError> {
        let command = FlowCommand::Close { id: self.flow, step: self.name.as_str().into() };
        self.engine.door().ask(Question::Flow(command)).await.map(|_| ())
    }

    /// How far it is. It may show what is not yet durable.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoFlow`.
    pub async fn progress(&self) -> Result<BatchReport, ControlError> {
        Ok(batch_view(&self.engine, self.flow, &self.name).await?.counts.into())
    }

    /// How it stands as a step of its flow.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoFlow`.
    pub async fn state(&self) -> Result<StepState, ControlError> {
        Ok(batch_view(&self.engine, self.flow, &self.name).await?.state)
    }

    /// Which of its jobs did not succeed, by place: those with places from this one on, 1 to 1,000 of them. They are remembered as long as
    /// the flow is, whether their queues retain them or not. One that was brought back is none of them until it fails again.
    ///
    /// # Errors
    /// [`ControlError::Range`], [`ControlError::Refused`] with `NoFlow`, or [`ControlError::Storage`].
    pub async fn failures(&self, from_place: u32, limit: usize) -> Result<Vec<BatchFailure>, ControlError> {
        range::PAGE.check(limit as u64)?;
        let counts = batch_view(&self.engine, self.flow, &self.name).await?.counts;
        let (of, mut next, mut found) = (self.view.member.of, from_place, Vec::new());
        // In bites: a reader holds up the closing of its journal.
        while next < counts.jobs && found.len() < limit {
            let until = counts.jobs.min(next.saturating_add(READ_MAX));
            let (from, left) = (core::mem::replace(&mut next, until), limit - found.len());
            let read = move |reader: &dyn Reader| {
                let mut failures = Vec::new();
                for place in from..until {
                    match reader.get(&Key::Member(of, place))? {
                        Some(Record::Member(member)) if member.end != EndState::Done => failures.push(*member),
                        _ => {}
                    }
                    if failures.len() == left {
                        break;
                    }
                }
                Ok(failures)
            };
            let read = self.engine.desk().read(self.view.queue.clone(), read).await?;
            found.extend(read.into_iter().map(BatchFailure::from));
        }
        Ok(found)
    }

    /// What its jobs say: for [`Filter::batch`](crate::Filter::batch).
    pub(crate) fn step(&self) -> windlass_scheduler::flow::StepOf {
        self.view.member.of
    }
}

impl From<MemberRecord> for BatchFailure {
    fn from(member: MemberRecord) -> Self {
        let MemberRecord { id, place, end, failure, .. } = member;
        Self { job: id, place, end, failure }
    }
}

impl fmt::Debug for BatchHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchHandle").field("flow", &self.flow).field("name", &self.name).finish_non_exhaustive()
    }
}

/// The job, of this batch.
pub(super) fn of_batch(mut job: NewJob, member: MemberOf) -> NewJob {
    let body = std::sync::Arc::unwrap_or_clone(job.body);
    let labels = body.labels.of_batch(Some(member));
    job.body = std::sync::Arc::new(windlass_scheduler::job::Body { labels, ..body });
    job
}

/// A batch of the flow that a running job belongs to, to be added to: what is added comes in with the job's success.
pub struct Batch<'a> {
    attempt: &'a AttemptCore,
    name: Arc<str>,
    view: BatchView,
}

impl<A> Context<A> {
    /// The batch of this name in the flow that this job is a step of, or of a batch of.
    ///
    /// One that is over is refused, for what is added to it would be no part of it: let the batch need the step that fills it, or plan an
    /// [`open_batch`](Flow::open_batch). One that was called off, failed or was skipped is given all the same.
    ///
    /// # Errors
    /// A failure of the policy where it could not be asked for, and one for good where there is no such batch, or it is over.
    pub async fn batch(&self, name: &str) -> Result<Batch<'_>, JobError> {
        self.attempt.batch(name).await.map_err(JobError::from)
    }

    /// As [`batch`](Self::batch), for blocking handlers: it blocks their thread. Never call it from async code.
    ///
    /// # Errors
    /// As of [`batch`](Self::batch).
    pub fn batch_blocking(&self, name: &str) -> Result<Batch<'_>, JobError> {
        futures_executor::block_on(self.attempt.batch(name)).map_err(JobError::from)
    }
}

impl AttemptCore {
    /// The flow that the job is a step of, or of a batch of.
    pub(crate) fn flow(&self) -> Option<FlowId> {
        let labels = &self.body.labels;
        labels.step().or_else(|| labels.member().map(|member| member.of)).map(|of| of.flow)
    }

    async fn batch(&self, name: &str) -> Result<Batch<'_>, InputError> {
        let id = self.flow().ok_or(InputError::NoFlow { id: self.lease.id })?;
        let mut tries_left = TRIES_MAX;
        loop {
            let question = Question::Flow(FlowCommand::Batch { id, step: name.into() });
            let answered = match self.door.ask(question).await {
                // Of one that was called off or skipped somebody knows already that it goes on without.
                Ok(Answer::Batch(view)) if view.state == StepState::Job(State::Done) => {
                    Err(InputError::BatchOver { step: name.to_owned() })
                }
                Ok(Answer::Batch(view)) => Ok(Batch { attempt: self, name: name.into(), view: *view }),
                Ok(other) => unreachable!("a look at a batch was answered with {other:?}"),
                Err(ControlError::Refused(refusal)) => Err(InputError::NoBatch { refusal }),
                Err(error) => Err(error.into()),
            };
            if !asks_again(&answered, &mut tries_left) {
                return answered;
            }
        }
    }
}

impl Batch<'_> {
    /// Adds a job that is stored in the same commit as the running job's success, and not at all if that does not succeed: as a
    /// [follow-up](Context::follow_up), up to 10,000 of them an attempt. Returns its id.
    ///
    /// A batch that ends well before the running job does has no need of it: then the added job runs by itself. One that was called off
    /// calls it off.
    ///
    /// # Errors
    /// [`EnqueueError`], and the job is not added.
    pub fn follow_up<J: Job>(&self, job: &J) -> Result<JobId, EnqueueError> {
        self.follow_up_with(Draft::new(job))
    }

    /// As [`follow_up`](Self::follow_up), with options.
    ///
    /// # Errors
    /// [`EnqueueError`], and the job is not added.
    pub fn follow_up_with(&self, draft: Draft) -> Result<JobId, EnqueueError> {
        let job = self.attempt.follow_up(draft)?;
        self.check(&job)?;
        self.attempt.add_follow_up(of_batch(job, self.view.member))
    }

    /// Its numbers, when it was asked for.
    #[must_use]
    pub fn progress(&self) -> BatchReport {
        self.view.counts.into()
    }

    /// As the core would, but that a success is not to be refused.
    fn check(&self, job: &NewJob) -> Result<(), Refusal> {
        let of = self.view.member.of;
        let door = &self.attempt.door;
        if door.is_volatile(&job.queue) != door.is_volatile(&self.view.queue) {
            let (one, other) = (self.view.queue.clone(), job.queue.clone());
            return Err(Refusal::FlowInTwoStores { flow: of.flow, one, other });
        }
        let name = Some(self.name.clone());
        self.view.plan.check(job).map_err(|what| Refusal::BadStep { flow: of.flow, step: of.no, name, what })
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("step", &self.view.member.of).finish_non_exhaustive()
    }
}
