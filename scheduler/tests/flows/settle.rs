//! What follows from what the moves did: looked for in all steps of all flows, until nothing changes.

use std::collections::BTreeSet;

use windlass_scheduler::flow::{StepState, Work};
use windlass_scheduler::state::{EndState, State};
use windlass_scheduler::time::Now;

use super::world::{Flow, Kept, Phase, World};

impl World {
    /// All that follows. The flows that have ended by it.
    pub(crate) fn settle(&mut self, kept: &Kept, now: Now) -> Vec<u8> {
        let mut ended = Vec::new();
        for no in self.flows.keys().copied().collect::<Vec<_>>() {
            // Nothing else follows before all is called off that a failure calls off.
            while self.fail_fast(no, kept, now)
                || self.turn(no, kept, now) | self.complete(no, now) | self.undo(no, now)
            {}
            let flow = self.flows.get_mut(&no).unwrap();
            flow.fresh.clear();
            let is_over = flow.steps.iter().all(|step| step.end.is_some());
            let at = flow.steps.iter().filter_map(|step| Some(step.end.as_ref()?.at)).max();
            if is_over && flow.ended.is_none() {
                flow.ended = at;
                ended.push(no);
            }
            self.check_turns(no);
        }
        ended
    }

    fn job_of(&self, flow: u8, no: usize) -> windlass_scheduler::job::JobId {
        self.flows[&flow].steps[no].job
    }

    /// The first failure calls off all the rest, where that is wanted.
    fn fail_fast(&mut self, no: u8, kept: &Kept, now: Now) -> bool {
        let flow = &self.flows[&no];
        let is_root = |no: &usize| flow.steps[*no].end.as_ref().is_some_and(|end| end.causes.is_empty());
        let roots = flow.fresh.iter().filter(|no| flow.fails(**no) && is_root(no));
        let roots: BTreeSet<_> = roots.copied().filter(|_| flow.fail_fast).collect();
        let is_open = |step: &usize| flow.steps[*step].end.is_none() && flow.plan[*step].undoes.is_none();
        let is_asked = |step: &usize| {
            let is_being_called_off = flow.is_called_off(*step) && flow.has_open_members(*step);
            is_being_called_off || self.jobs[&flow.steps[*step].job].cancel
        };
        // What is found to be too late in the same visit is over before anybody calls it off.
        let is_late = |step: &usize| self.said_ends.get(&(no, *step)) == Some(&(StepState::Job(State::Expired), None));
        let open: Vec<_> = (0..flow.steps.len()).filter(|no| is_open(no) && !is_asked(no) && !is_late(no)).collect();
        if roots.is_empty() || open.is_empty() {
            return false;
        }
        // The end of another one may have come first, and what it let go was over at once.
        let was_faster = |step: &&usize| flow.needs_open(**step) == 0 && self.said_done.contains(&(no, **step));
        let waits = |step: &&usize| self.jobs[&flow.steps[**step].job].phase == Phase::Waiting;
        let faster = open.iter().filter(|_| flow.fresh.len() > 1).filter(waits).find(was_faster).copied();
        if let Some(step) = faster {
            self.begin(no, step, now);
            return true;
        }
        if let Some(step) = open.iter().find(|step| self.is_as_foretold(no, **step)) {
            self.finish(no, *step, now);
            return true;
        }
        for step in open {
            self.begin_before(no, step, now);
            // It may have been called off for want of another one just before.
            let flow = &self.flows[&no];
            let lost = flow.lost_needs(step, kept);
            let causes =
                lost.into_iter().flat_map(|other| roots_of(flow, other)).chain(roots.iter().copied()).collect();
            self.call_off(self.job_of(no, step), &causes, now);
        }
        true
    }

    /// Turns come, and steps that wait in vain are called off.
    fn turn(&mut self, no: u8, kept: &Kept, now: Now) -> bool {
        let mut has_changed = false;
        for step in 0..self.flows[&no].steps.len() {
            let flow = &self.flows[&no];
            let id = flow.steps[step].job;
            let waits = flow.steps[step].end.is_none() && self.jobs[&id].phase == Phase::Waiting;
            if !waits || flow.plan[step].undoes.is_some() {
                continue;
            }
            let lost = flow.lost_needs(step, kept);
            if flow.needs_open(step) == 0 && self.may_begin_first(no, step, now) {
                self.begin(no, step, now);
                has_changed = true;
            } else if !lost.is_empty() {
                // A batch that fails by the same move may have been first.
                let lost = lost.into_iter().flat_map(|other| roots_of(flow, other));
                let causes = lost.chain(flow.about_to_fail(step)).collect();
                self.call_off(id, &causes, now);
                has_changed = true;
            }
        }
        has_changed
    }

    /// The turn of a step that is called off may have come just before, which shows where it goes on until its attempt or its jobs have
    /// ended.
    fn begin_before(&mut self, no: u8, step: usize, now: Now) {
        let flow = &self.flows[&no];
        let id = flow.steps[step].job;
        if self.jobs[&id].phase != Phase::Waiting || flow.needs_open(step) > 0 {
            return;
        }
        let runs = self.said_live.get(&id).is_some_and(|(_, runs)| *runs);
        if runs || (flow.has_open_members(step) && self.may_begin_first(no, step, now)) {
            self.begin(no, step, now);
        }
        if runs {
            self.jobs.get_mut(&id).unwrap().phase = Phase::Running;
        }
    }

    /// Not one that the failure of another step called off in this very move, before its turn: that shows by its end, or in a batch that
    /// has jobs left by its times alone. It has to be called off then.
    fn may_begin_first(&self, no: u8, step: usize, now: Now) -> bool {
        let flow = &self.flows[&no];
        let said = self.said_ends.get(&(no, step));
        let is_called_off =
            matches!(said, Some((StepState::Job(State::Cancelled), Some(_)))) && flow.is_about_to_fail();
        if !flow.fail_fast || !flow.has_open_members(step) {
            return !is_called_off;
        }
        let mut job = self.jobs[&flow.steps[step].job].clone();
        job.begin(flow.plan[step].times, now);
        self.said_live.get(&flow.steps[step].job).is_none_or(|(said, _)| *said == job.times())
    }

    fn begin(&mut self, no: u8, step: usize, now: Now) {
        let (id, spec) = (self.job_of(no, step), self.flows[&no].plan[step].clone());
        let is_signalled = self.flows[&no].steps[step].has_output;
        let job = self.jobs.get_mut(&id).unwrap();
        // What came in without needs began with its job.
        let times = if spec.is_ordinary() { super::plan::Times::default() } else { spec.times };
        match spec.work {
            Work::Signal if is_signalled => self.succeed(id, true, now),
            Work::Signal | Work::Batch => {
                job.begin(times, now);
                job.phase = Phase::Idle;
            }
            Work::Job => drop(job.begin(times, now)),
            Work::Timer => {
                if !job.begin(times, now) {
                    self.succeed(id, false, now);
                }
            }
        }
    }

    /// All else is over: what succeeded is undone, if it has to be.
    fn undo(&mut self, no: u8, now: Now) -> bool {
        let flow = &self.flows[&no];
        let undoes = |step: &usize| flow.plan[*step].undoes.is_some();
        let left: Vec<_> = (0..flow.steps.len()).filter(|step| flow.steps[*step].end.is_none()).collect();
        if left.is_empty() || !left.iter().all(undoes) {
            return false;
        }
        let idle: Vec<_> = left.iter().copied().filter(|step| flow.has_nothing_to_undo(*step)).collect();
        let next = left.into_iter().find(|step| flow.is_going(*step));
        for step in &idle {
            let id = self.job_of(no, *step);
            self.close_as(id, EndState::Cancelled, None, &BTreeSet::new(), now);
        }
        let begins = next.filter(|step| self.jobs[&self.job_of(no, *step)].phase == Phase::Waiting);
        if let Some(step) = begins {
            self.begin(no, step, now);
        }
        !idle.is_empty() || begins.is_some()
    }

    /// I16: those whose turn has come have begun, and no other.
    fn check_turns(&self, no: u8) {
        let flow = &self.flows[&no];
        for (step, one) in flow.steps.iter().enumerate().filter(|(_, one)| one.end.is_none()) {
            let has_begun = self.jobs[&one.job].phase != Phase::Waiting;
            assert_eq!(has_begun, flow.is_going(step), "I16: step {step} of flow {no}: {flow:?}");
        }
    }
}

/// What has to be named as the cause, where this step fails others.
fn roots_of(flow: &Flow, no: usize) -> BTreeSet<usize> {
    let causes = flow.steps[no].end.as_ref().map(|end| end.causes.clone()).unwrap_or_default();
    if causes.is_empty() { BTreeSet::from([no]) } else { causes }
}
