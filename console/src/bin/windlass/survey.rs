//! What records say together about the state of a job.
//!
//! Owns the states of live jobs as far as the records alone tell: which attempts were open when the engine ended, who waits for a
//! key, and whose turn in a flow has not come. Whether a kind has a handler, only the code of a service knows: what an engine
//! would park counts as ready.

use std::collections::{HashMap, HashSet};

use windlass_scheduler::change::{JobRecord, Record};
use windlass_scheduler::flow::{FlowId, FlowPlan, IfFailed, StepEnd, StepHow, Work};
use windlass_scheduler::job::JobId;
use windlass_scheduler::state::{EndState, State};
use windlass_scheduler::time::Timestamp;

/// What has to be known before a live job's state can be told. It grows with what runs, what waits for keys, and flows.
#[derive(Default)]
pub(crate) struct Survey {
    /// The latest attempt that was handed out, and when.
    claims: HashMap<JobId, (u32, Timestamp)>,
    waits_for_key: HashSet<JobId>,
    flows: HashMap<FlowId, Seen>,
}

struct Seen {
    plan: FlowPlan,
    ends: HashMap<u32, StepEnd>,
    called_off: HashSet<u32>,
}

impl Survey {
    /// Takes note of a record of the small ones: flows come before what happened to their steps.
    pub(crate) fn note(&mut self, record: &Record) {
        match record {
            Record::Claims(claims) => {
                for claim in &claims.entries {
                    let known = self.claims.entry(claim.id).or_insert((claim.attempt, claims.at));
                    *known = (*known).max((claim.attempt, claims.at));
                }
            }
            Record::Unique(held) => self.waits_for_key.extend(held.next.map(|(id, _)| id)),
            Record::Flow(flow) => {
                let seen = Seen { plan: flow.plan.clone(), ends: HashMap::new(), called_off: HashSet::new() };
                self.flows.insert(flow.plan.id, seen);
            }
            Record::Step(step) => {
                if let Some(flow) = self.flows.get_mut(&step.of.flow) {
                    flow.ends.insert(step.of.no, step.end.clone());
                }
            }
            Record::Batch(batch) if batch.called_off.is_some() => {
                if let Some(flow) = self.flows.get_mut(&batch.of.flow) {
                    flow.called_off.insert(batch.of.no);
                }
            }
            _ => {}
        }
    }

    /// How many flows there are, and how many of them have a step that has not ended.
    pub(crate) fn flows(&self) -> (u64, u64) {
        let is_open = |flow: &&Seen| (0..).zip(&flow.plan.steps).any(|(no, _)| flow.end(no).is_none());
        (self.flows.len() as u64, self.flows.values().filter(is_open).count() as u64)
    }

    /// The state of a live job.
    pub(crate) fn state_of(&self, job: &JobRecord) -> State {
        if self.started(job).is_some() {
            State::Running
        } else if self.waits_for_key.contains(&job.id) || self.waits_for_turn(job) {
            State::Waiting
        } else if job.head.due.is_some() {
            State::Delayed
        } else {
            State::Ready
        }
    }

    /// When the attempt was handed out that was under way when the engine ended.
    pub(crate) fn started(&self, job: &JobRecord) -> Option<Timestamp> {
        let (attempt, at) = self.claims.get(&job.id)?;
        (*attempt > job.head.attempts_ended).then_some(*at)
    }

    fn waits_for_turn(&self, job: &JobRecord) -> bool {
        let Some(of) = job.body.labels.step() else { return false };
        let Some(flow) = self.flows.get(&of.flow) else { return false };
        // One that is no step of it any more runs by itself.
        let Some(step) = flow.plan.steps.get(of.no as usize).filter(|step| step.job == job.id) else { return false };
        if matches!(step.work, Work::Signal | Work::Batch) {
            return true;
        }
        if flow.called_off.contains(&of.no) {
            return false;
        }
        match step.undoes {
            Some(_) => flow.next_undo() != Some(of.no),
            None => !step.needs.iter().all(|need| flow.is_met(need.step, need.if_failed)),
        }
    }
}

impl Seen {
    fn end(&self, no: u32) -> Option<&StepEnd> {
        self.ends.get(&no).filter(|end| end.is_end())
    }

    fn is_met(&self, no: u32, if_failed: IfFailed) -> bool {
        self.end(no).is_some_and(|end| end.is_good() || if_failed == IfFailed::GoOn)
    }

    /// The step that is undone next, once all others have ended: the last one that succeeded comes first.
    fn next_undo(&self) -> Option<u32> {
        let steps = || (0..).zip(&self.plan.steps);
        if steps().any(|(no, step)| step.undoes.is_none() && self.end(no).is_none()) {
            return None;
        }
        let open = steps().filter(|(no, _)| self.end(*no).is_none());
        let done = open.filter_map(|(no, step)| {
            let undoes = step.undoes?;
            let end = self.end(undoes).filter(|end| end.how == StepHow::Job(EndState::Done))?;
            Some((end.at, undoes, no))
        });
        done.max().map(|(_, _, no)| no)
    }
}
