//! Histories of flows: what breaks a law, and what only looks like it.

use std::collections::BTreeSet;

use uuid::Uuid;
use windlass_scheduler::flow::{FlowId, FlowState, IfFailed, Need, StepState, Work};
use windlass_scheduler::history::{Answer, Call, Checker, Finish, FlowSeen, Graph, GraphStep, Intent, Law, What};
use windlass_scheduler::state::State;

use super::common::id;
use super::tale::{FAILED, Tale, durable, intent};

const FLOW: FlowId = FlowId(Uuid::from_u128(1));
const DONE: StepState = StepState::Job(State::Done);
const DEAD: StepState = StepState::Job(State::Dead);
const CANCELLED: StepState = StepState::Job(State::Cancelled);
const WAITING: StepState = StepState::Job(State::Waiting);

/// A step that needs these.
fn needs(needs: &[(u32, IfFailed)]) -> (Work, Vec<Need>) {
    (Work::Job, needs.iter().map(|(step, if_failed)| Need { step: *step, if_failed: *if_failed }).collect())
}

/// A flow whose steps are the jobs from 1 on, handed in.
fn flow(steps: &[(Work, Vec<Need>)]) -> Tale {
    let mut tale = durable();
    let numbers = || (1..).zip(steps);
    let step = |(n, (work, needs)): (u64, &(Work, Vec<Need>))| GraphStep {
        job: id(n),
        work: *work,
        needs: needs.clone(),
        undoes: None,
        is_optional: false,
    };
    tale.add(What::Flow(Graph { id: FLOW, fail_fast: false, steps: numbers().map(step).collect() }));
    // A timer is due half a second from here.
    let due = |work: Work| if work == Work::Timer { 500 } else { 0 };
    let jobs = numbers().map(|(n, (work, _))| Intent { due_ms: due(*work), ..intent(n) }).collect();
    tale.asked(Call::Enqueue(jobs), Answer::Ok);
    tale
}

fn pair(if_failed: IfFailed) -> Tale {
    flow(&[needs(&[]), needs(&[(0, if_failed)])])
}

fn at_rest(state: FlowState, steps: &[StepState]) -> What {
    let steps = (1..).zip(steps).map(|(n, state)| (id(n), *state)).collect();
    What::FlowsAtRest(vec![FlowSeen { id: FLOW, state, steps }])
}

/// For each law of flows a history that breaks it.
pub(crate) fn breach(law: Law) -> Option<Tale> {
    let mut tale = pair(IfFailed::Cancel);
    match law {
        Law::StepInTurn => tale.start(1, 1).start(2, 1),
        Law::FlowAsItsSteps => {
            tale.run(1, 1, Finish::Ok).run(2, 1, Finish::Ok).add(at_rest(FlowState::Failed, &[DONE, DONE]))
        }
        Law::FlowsEnd => tale.run(1, 1, Finish::Ok).add(at_rest(FlowState::Running, &[DONE, WAITING])),
        _ => return None,
    };
    Some(tale)
}

fn tell(law: Option<Law>, mut tale: Tale, tell: impl FnOnce(&mut Tale)) {
    tell(&mut tale);
    assert_eq!(tale.broken(), BTreeSet::from_iter(law), "{:#?}", Checker::judge(&tale.events));
}

#[test]
fn a_step_has_its_turn_by_what_its_edges_say() {
    let early = Some(Law::StepInTurn);
    tell(early, pair(IfFailed::Cancel), |tale| _ = tale.run(1, 1, Finish::Permanent).start(2, 1));
    tell(early, pair(IfFailed::Hold), |tale| _ = tale.run(1, 1, Finish::Permanent).start(2, 1));
    tell(None, pair(IfFailed::GoOn), |tale| _ = tale.run(1, 1, Finish::Permanent).start(2, 1));
    // It may try again, it runs, or it has not begun.
    tell(early, pair(IfFailed::GoOn), |tale| _ = tale.run(1, 1, FAILED).start(2, 1));
    tell(early, pair(IfFailed::GoOn), |tale| _ = tale.start(1, 1).start(2, 1));
    tell(early, pair(IfFailed::GoOn), |tale| _ = tale.start(2, 1));
    // A join, when one is missing.
    let join = || flow(&[needs(&[]), needs(&[]), needs(&[(0, IfFailed::Cancel), (1, IfFailed::Cancel)])]);
    tell(early, join(), |tale| _ = tale.run(1, 1, Finish::Ok).start(3, 1));
    tell(None, join(), |tale| _ = tale.run(1, 1, Finish::Ok).run(2, 1, Finish::Ok).start(3, 1));
    // Whoever skips a step knows better.
    tell(None, pair(IfFailed::Cancel), |tale| {
        tale.ask(Call::SteerFlow(FLOW));
        tale.start(2, 1);
    });
    // What was not stored when the process died has not ended.
    tell(early, pair(IfFailed::Cancel), |tale| {
        tale.run(1, 1, Finish::Ok).add(What::Killed);
        tale.dump(&[super::tale::live(1, 0, Some(1)), super::tale::live(2, 0, None)]).add(What::Began).start(2, 1);
    });
}

#[test]
fn a_time_and_a_signal_have_come_before_what_needs_them() {
    let after = |work| flow(&[needs(&[]), (work, needs(&[(0, IfFailed::Cancel)]).1), needs(&[(1, IfFailed::Cancel)])]);
    let early = Some(Law::StepInTurn);
    tell(early, after(Work::Timer), |tale| _ = tale.run(1, 1, Finish::Ok).pass(499).start(3, 1));
    tell(early, after(Work::Timer), |tale| _ = tale.pass(500).start(3, 1));
    tell(None, after(Work::Timer), |tale| _ = tale.run(1, 1, Finish::Ok).pass(500).start(3, 1));
    tell(early, after(Work::Signal), |tale| _ = tale.run(1, 1, Finish::Ok).start(3, 1));
    tell(None, after(Work::Signal), |tale| {
        tale.asked(Call::Signal(FLOW, 1), Answer::Ok).run(1, 1, Finish::Ok).start(3, 1);
    });
}

#[test]
fn what_needs_a_batch_starts_when_none_of_its_jobs_runs() {
    let batch = || {
        let mut tale = flow(&[(Work::Batch, Vec::new()), needs(&[(0, IfFailed::Cancel)])]);
        tale.asked(Call::Enqueue(vec![Intent { batch: Some(id(1)), ..intent(3) }]), Answer::Ok);
        tale
    };
    tell(Some(Law::StepInTurn), batch(), |tale| _ = tale.start(3, 1).start(2, 1));
    tell(None, batch(), |tale| _ = tale.run(3, 1, Finish::Permanent).start(2, 1));
    // Whoever brings one back wants it to run.
    tell(None, batch(), |tale| {
        tale.run(3, 1, Finish::Permanent);
        tale.ask(Call::Requeue(id(3)));
        tale.start(3, 2).start(2, 1);
    });
}

#[test]
fn what_a_flow_says_is_what_its_steps_came_to() {
    let wrong = Some(Law::FlowAsItsSteps);
    let failed = |if_failed| {
        let mut tale = pair(if_failed);
        tale.run(1, 1, Finish::Permanent);
        tale
    };
    let both = &[DEAD, CANCELLED];
    tell(None, failed(IfFailed::Cancel), |tale| _ = tale.add(at_rest(FlowState::Failed, both)));
    tell(wrong, failed(IfFailed::Cancel), |tale| _ = tale.add(at_rest(FlowState::Done, both)));
    tell(wrong, failed(IfFailed::Cancel), |tale| _ = tale.add(at_rest(FlowState::Failed, &[DONE, CANCELLED])));
    tell(wrong, failed(IfFailed::Cancel), |tale| _ = tale.add(at_rest(FlowState::Failed, &[DEAD, WAITING])));
    let went_on = |state| {
        let mut tale = failed(IfFailed::GoOn);
        tale.run(2, 1, Finish::Ok).add(at_rest(state, &[DEAD, DONE]));
        tale
    };
    tell(None, went_on(FlowState::Done), |_| ());
    tell(wrong, went_on(FlowState::Failed), |_| ());
    tell(wrong, went_on(FlowState::Cancelled), |_| ());
}

#[test]
fn a_flow_rests_where_somebody_has_to_do_or_say_something() {
    let stuck = Some(Law::FlowsEnd);
    let failed = |if_failed| {
        let mut tale = pair(if_failed);
        tale.run(1, 1, Finish::Permanent);
        tale
    };
    tell(None, failed(IfFailed::Hold), |tale| _ = tale.add(at_rest(FlowState::Held, &[DEAD, WAITING])));
    tell(stuck, failed(IfFailed::Cancel), |tale| _ = tale.add(at_rest(FlowState::Held, &[DEAD, WAITING])));
    let signal = || flow(&[needs(&[]), (Work::Signal, needs(&[(0, IfFailed::Cancel)]).1)]);
    tell(None, signal(), |tale| _ = tale.run(1, 1, Finish::Ok).add(at_rest(FlowState::Running, &[DONE, WAITING])));
    tell(stuck, signal(), |tale| _ = tale.run(1, 1, Finish::Ok).add(at_rest(FlowState::Held, &[DONE, WAITING])));
}
