//! Accepting jobs: all of a call or none.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::super::flows::{Flow, StepAt};
use super::super::outbox::Mark;
use super::super::state::{Place, State};
use super::unique::{Meeting, Met};
use super::{Decision, batch, flow};
use crate::bug;
use crate::command::{QueueNo, Request, Submit};
use crate::effect::{Answer, Receipt};
use crate::event::{Event, Turn};
use crate::flow::{FlowPlan, FlowRecord, Work};
use crate::job::{Body, JobId, Name, NewJob};
use crate::refusal::Refusal;
use crate::retry::RetryPolicy;
use crate::settings::Level;
use crate::time::Now;

/// Accepts the jobs of a call, or says why not.
pub(crate) fn submit(state: &State, mut submit: Submit, now: Now) -> Result<Decision, Refusal> {
    if state.draining {
        return Err(Refusal::Stopping);
    }
    let steps = submit.flow.as_ref().map_or(0, |plan| plan.steps.len());
    check_bulk(state, &submit.jobs, steps)?;
    let mut decision = Decision { events: Vec::with_capacity(submit.jobs.len()), ..Decision::default() };
    if let Some(plan) = submit.flow.take() {
        if let Some(slot) = state.flows.by_id.get(&plan.id) {
            return same_flow(state, &state.flows.all[*slot], &plan, submit.request, submit.watch);
        }
        enter(state, *plan, &mut submit.jobs, now, &mut decision)?;
    }
    let mut receipts = Vec::with_capacity(submit.jobs.len());
    let mut level = Level::Memory;
    if steps == 0 {
        submit.jobs.iter_mut().for_each(by_itself);
    }
    let mut intake = Intake::new(state, &submit.jobs);
    for mut job in submit.jobs {
        let met = if steps > 0 { intake.meet_of_flow(&job)? } else { intake.meet(&job, now, &mut decision.events)? };
        let (id, queue, fresh) = match met {
            Met::Same(id, queue) => (id, queue, false),
            Met::Accepted(queue, turn) => {
                if steps == 0 {
                    intake.join(&mut job, false)?;
                }
                let id = job.id;
                let event = intake.accept(job, queue, now, turn);
                decision.events.push(event);
                (id, queue, true)
            }
        };
        level = level.max(state.queue(queue).level());
        receipts.push(Receipt { id, fresh });
    }
    intake.check_depths()?;
    if let Some(request) = submit.watch {
        decision = watch_last(state, request, &receipts, Mark::from(level), decision);
    }
    Ok(decision.reply(Mark::from(level), submit.request, Ok(Answer::Enqueued(receipts))))
}

/// A flow comes in before its jobs. Those steps that nothing and nobody has to run are looked at as soon as it is in.
fn enter(
    state: &State,
    mut plan: FlowPlan,
    jobs: &mut [NewJob],
    now: Now,
    decision: &mut Decision,
) -> Result<(), Refusal> {
    flow::check(state, &mut plan, jobs)?;
    let slot = state.flows.all.next();
    let at_once = (0..).zip(&plan.steps).filter(|(_, step)| step.work != Work::Job && step.needs.is_empty());
    decision.steps.extend(at_once.map(|(no, _)| (StepAt { flow: slot, no }, now)));
    decision.events.push(Event::FlowEntered(Box::new(FlowRecord { created: now.wall, plan })));
    Ok(())
}

/// A job that came with no flow is no step, whatever its labels say: a load would take it for one whose flow is lost.
fn by_itself(job: &mut NewJob) {
    if job.body.labels.step().is_some() {
        let labels = job.body.labels.clone().of_step(None);
        job.body = Arc::new(Body { labels, ..(*job.body).clone() });
    }
}

/// A flow that is there already; one of another sort is another flow, and only its id is the same.
fn same_flow(
    state: &State,
    flow: &Flow,
    plan: &FlowPlan,
    request: Request,
    watch: Option<Request>,
) -> Result<Decision, Refusal> {
    if flow.name != plan.name {
        return Err(Refusal::FlowTaken { id: flow.id, name: flow.name.clone() });
    }
    let (mark, mut decision) = (Mark::from(flow.level), Decision::default());
    let receipts: Vec<_> = flow.steps.iter().map(|step| Receipt { id: step.plan.job, fresh: false }).collect();
    if let Some(watch) = watch {
        decision = watch_last(state, watch, &receipts, mark, decision);
    }
    Ok(decision.reply(mark, request, Ok(Answer::Enqueued(receipts))))
}

/// Who waits for the end of the last of these jobs.
fn watch_last(state: &State, request: Request, receipts: &[Receipt], mark: Mark, mut decision: Decision) -> Decision {
    let Some(Receipt { id, fresh }) = receipts.last().copied() else { return decision };
    match state.stub(id) {
        Some((_, stub)) => {
            let found = Answer::Found(super::look::ended(state, stub));
            let mark = Mark::from(state.queue(stub.queue).level()).max(Mark::Written);
            decision.reply(mark, request, Ok(found))
        }
        // The key's window outlives it, or its flow does.
        None if !fresh && state.live(id).is_none() && !receipts.iter().any(|one| one.fresh && one.id == id) => {
            decision.reply(mark, request, Err(Refusal::Forgotten { id }))
        }
        None => {
            decision.events.push(Event::Watched { id, request });
            decision
        }
    }
}

/// Follow-ups of a success: checked when they were added, so that the ack is never refused (I9). They may overdraw a
/// depth limit; one whose id is taken already is that job, or is dropped.
pub(crate) fn follow_ups(state: &State, jobs: Vec<NewJob>, now: Now, decision: &mut Decision) {
    let mut intake = Intake::new(state, &jobs);
    for mut job in jobs {
        if !matches!(intake.place_of(&job), Ok(None)) {
            continue;
        }
        by_itself(&mut job);
        if batch::check_label(state, &job).is_err() {
            batch::relabel(&mut job, None);
        }
        if intake.check_policy(&job).is_err() {
            job.retry = None;
        }
        let Some(queue) = state.queue_no(&job.queue) else { continue };
        let met = intake.keys.meet(&job, queue, now, &mut intake.arrival, &mut decision.events);
        if let Ok(Met::Accepted(queue, turn)) = met {
            // One that runs by itself is better than one that does not.
            if intake.join(&mut job, true).is_err() {
                batch::relabel(&mut job, None);
            }
            let event = intake.accept(job, queue, now, turn);
            decision.events.push(event);
        }
    }
}

/// Whether such a job may come in, as far as it alone can tell.
pub(crate) fn check(state: &State, job: &NewJob) -> Result<(), Refusal> {
    Intake::new(state, &[]).check(job).map(|_| ())
}

/// The steps of a flow have a limit of their own: of its jobs only those of batches count, of its bytes all.
fn check_bulk(state: &State, jobs: &[NewJob], steps: usize) -> Result<(), Refusal> {
    let (jobs_max, bytes_max) = (state.settings.bulk_jobs_max, state.settings.bulk_bytes_max);
    let (bytes, jobs) = (NewJob::bytes_of(jobs), jobs.len().saturating_sub(steps));
    if jobs > jobs_max || bytes > bytes_max {
        return Err(Refusal::BulkTooLarge { jobs, jobs_max, bytes, bytes_max });
    }
    Ok(())
}

/// The jobs of one call on their way in: what the state will be when all of them are accepted.
struct Intake<'a> {
    state: &'a State,
    /// Queue and kind of those accepted so far. `None` where ids only rise, as those that are made here do: no two are the same.
    ids: Option<HashMap<JobId, (QueueNo, Name), FixedState>>,
    depths: Vec<(QueueNo, u64)>,
    policies: BTreeSet<RetryPolicy>,
    limit_keys: BTreeSet<(QueueNo, Arc<str>)>,
    keys: Meeting<'a>,
    /// How many jobs come into which batch.
    joins: Vec<(StepAt, u32)>,
    arrival: i64,
}

impl<'a> Intake<'a> {
    fn new(state: &'a State, jobs: &[NewJob]) -> Self {
        let is_rising = jobs.is_sorted_by(|one, next| one.id < next.id);
        let ids = || HashMap::with_capacity_and_hasher(jobs.len(), FixedState::with_seed(state.settings.seed));
        let ids = (!is_rising).then(ids);
        Self {
            state,
            ids,
            depths: Vec::new(),
            policies: BTreeSet::new(),
            limit_keys: BTreeSet::new(),
            keys: Meeting::new(state),
            joins: Vec::new(),
            arrival: state.next_arrival,
        }
    }

    /// The queue of the job that has this id already, if one has.
    fn place_of(&self, job: &NewJob) -> Result<Option<QueueNo>, Refusal> {
        let name = |kind: u32| &self.state.kinds[kind as usize].name;
        let (queue, kind) = match self.state.place_of(job.id) {
            Some(Place::Live(slot)) => (self.state.jobs[slot].queue, name(self.state.jobs[slot].kind)),
            Some(Place::Ended(slot)) => (self.state.stubs[slot].queue, name(self.state.stubs[slot].kind)),
            None => match self.ids.as_ref().and_then(|ids| ids.get(&job.id)) {
                Some((queue, kind)) => (*queue, kind),
                None => return Ok(None),
            },
        };
        if *kind == job.kind { Ok(Some(queue)) } else { Err(Refusal::IdTaken { id: job.id, kind: kind.clone() }) }
    }

    /// What becomes of a job: one that has its id, or its key, may stand for it.
    fn meet(&mut self, job: &NewJob, now: Now, events: &mut Vec<Event>) -> Result<Met, Refusal> {
        if let Some(queue) = self.place_of(job)? {
            return Ok(Met::Same(job.id, queue));
        }
        let queue = self.check(job)?;
        self.keys.meet(job, queue, now, &mut self.arrival, events)
    }

    /// What comes in with a flow comes in as itself or not at all.
    fn meet_of_flow(&mut self, job: &NewJob) -> Result<Met, Refusal> {
        if self.place_of(job)?.is_some() {
            return Err(Refusal::IdTaken { id: job.id, kind: job.kind.clone() });
        }
        let turn = job.body.labels.step().map_or(Turn::Free, Turn::Step);
        Ok(Met::Accepted(self.check(job)?, turn))
    }

    /// A job of a batch gets the next place in it.
    fn join(&mut self, job: &mut NewJob, is_inside: bool) -> Result<(), Refusal> {
        let Some(member) = job.body.labels.member() else { return Ok(()) };
        let before = |at| self.joins.iter().find(|(of, _)| *of == at).map_or(0, |(_, jobs)| *jobs);
        let at = batch::may_join(self.state, job, member, is_inside, before)?;
        if !self.joins.iter().any(|(of, _)| *of == at) {
            self.joins.push((at, 0));
        }
        let Some((_, jobs)) = self.joins.iter_mut().find(|(of, _)| *of == at) else { return Ok(()) };
        let known = self.state.flows.step(at).batch.as_ref().map_or(0, |batch| batch.counts.jobs);
        batch::take_place(job, known + *jobs);
        *jobs += 1;
        Ok(())
    }

    /// Whether the job may come in, as far as it alone can tell.
    fn check(&mut self, job: &NewJob) -> Result<QueueNo, Refusal> {
        let no = self.state.queue_no(&job.queue).filter(|no| self.state.queue(*no).is_configured);
        let no = no.ok_or_else(|| Refusal::NoQueue { queue: job.queue.clone() })?;
        let handled = self.state.kind_names.get(&job.kind).is_some_and(|no| self.state.kinds[*no as usize].is_handled);
        let is_idle =
            job.body.labels.step().is_some() && Work::IDLE.iter().any(|work| work.kind() == Some(job.kind.as_str()));
        if !handled && !is_idle && !self.state.settings.unknown_kinds {
            return Err(Refusal::NoHandler { kind: job.kind.clone() });
        }
        let settings = &self.state.queue(no).settings;
        let (bytes, bytes_max) = (job.body.bytes(), settings.payload_bytes_max);
        if bytes > bytes_max {
            return Err(Refusal::PayloadTooLarge { queue: job.queue.clone(), bytes, bytes_max });
        }
        batch::check_label(self.state, job)?;
        self.check_policy(job)?;
        self.check_limit_key(job, no)?;
        Ok(no)
    }

    fn check_limit_key(&mut self, job: &NewJob, queue: QueueNo) -> Result<(), Refusal> {
        let Some(key) = &job.body.labels.share().key else { return Ok(()) };
        if self.state.lines.tenant(queue, Some(key)).is_some() || self.limit_keys.contains(&(queue, key.clone())) {
            return Ok(());
        }
        let keys_max = self.state.settings.limit_keys_max;
        if self.state.lines.keys() + self.state.limits.keys.idle() + self.limit_keys.len() >= keys_max {
            return Err(Refusal::TooManyLimitKeys { keys_max });
        }
        self.limit_keys.insert((queue, key.clone()));
        Ok(())
    }

    fn check_policy(&mut self, job: &NewJob) -> Result<(), Refusal> {
        let Some(policy) = &job.retry else { return Ok(()) };
        if self.state.policy_nos.contains_key(policy) || self.policies.contains(policy) {
            return Ok(());
        }
        if self.state.policies.len() + self.policies.len() >= Refusal::POLICIES_MAX {
            return Err(Refusal::TooManyPolicies { policies_max: Refusal::POLICIES_MAX });
        }
        self.policies.insert(policy.clone());
        Ok(())
    }

    fn accept(&mut self, job: NewJob, queue: QueueNo, now: Now, turn: Turn) -> Event {
        if let Some(ids) = &mut self.ids {
            ids.insert(job.id, (queue, job.kind.clone()));
        }
        match self.depths.iter_mut().find(|(no, _)| *no == queue) {
            Some((_, jobs)) => *jobs += 1,
            None => self.depths.push((queue, 1)),
        }
        let arrival = self.arrival;
        self.arrival += 1;
        Event::Enqueued { job, queue, arrival, now, turn }
    }

    fn check_depths(&self) -> Result<(), Refusal> {
        for (no, jobs) in &self.depths {
            let queue = self.state.queue(*no);
            let (depth, depth_max) = (queue.depth(), queue.settings.depth_max);
            if depth + jobs > depth_max && !bug!(DepthUnchecked) {
                let queue = queue.settings.name.clone();
                return Err(Refusal::QueueFull { queue, depth, depth_max, jobs: *jobs });
            }
        }
        Ok(())
    }
}
