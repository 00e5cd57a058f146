//! What operators and callers do to flows and to their steps.

use windlass_scheduler::change::{Key, Record};
use windlass_scheduler::command::TimerClass;
use windlass_scheduler::flow::{FlowState, Work};
use windlass_scheduler::job::When;
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::state::State;
use windlass_scheduler::verb::Verb;

use super::bed::{Bed, Planned, flow_id, job, signal, timed};
use super::common::id;
use super::{CANCEL, GO_ON, HOLD, of};

fn output(bed: &Bed, n: u64, no: u32) -> Option<&[u8]> {
    match bed.driver.journal.0.get(&Key::StepOutput(of(n, no))) {
        Some(Record::StepOutput(_, bytes)) => Some(bytes),
        _ => None,
    }
}

#[test]
fn a_skip_leaves_an_output_and_those_that_need_it_go_on() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[(0, HOLD)]), job(&[(1, CANCEL)])]).unwrap();
    bed.die(100);
    bed.skip(1, "s0", Some(b"by hand")).unwrap();
    assert_eq!(output(&bed, 1, 0), Some(&b"by hand"[..]));
    assert_eq!((bed.skipped(1), bed.states(1)[1]), (vec![0], State::Running));
    // One that waits, too, and its job is gone.
    bed.skip(1, "s2", None).unwrap();
    assert!(!bed.driver.journal.0.contains_key(&Key::Job(id(102))));
    bed.reload();
    bed.done(101);
    assert_eq!((bed.state(1), bed.skipped(1)), (FlowState::Done, vec![0, 2]));
    let large = bed.skip(1, "s1", None).unwrap_err();
    assert!(matches!(large, Refusal::StepForbidden { is: "part of a flow that has ended", .. }), "{large}");
}

#[test]
fn the_dead_letter_of_a_skipped_step_runs_by_itself() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[(0, HOLD)])]).unwrap();
    bed.die(100);
    bed.skip(1, "s0", None).unwrap();
    bed.requeue(100).unwrap();
    assert_eq!((bed.skipped(1), bed.states(1)[1]), (vec![0], State::Running));
    bed.reload();
    bed.done(100);
    bed.done(101);
    assert_eq!(bed.state(1), FlowState::Done);
}

#[test]
fn a_signal_may_come_before_its_turn_and_counts_once() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), signal(&[(0, CANCEL)]), job(&[(1, CANCEL)])]).unwrap();
    assert_eq!(bed.signal(1, "s1", b"first"), Ok(true));
    assert_eq!(bed.signal(1, "s1", b"second"), Ok(false));
    assert_eq!(bed.states(1)[1], State::Waiting);
    bed.reload();
    bed.done(100);
    assert_eq!(bed.states(1), [State::Done, State::Done, State::Running]);
    assert_eq!(output(&bed, 1, 1), Some(&b"first"[..]));
    assert_eq!(bed.signal(1, "s1", b"third"), Ok(false));
    bed.reload();
    bed.done(102);
    assert_eq!(bed.state(1), FlowState::Done);
}

#[test]
fn a_signal_that_is_awaited_ends_its_step() {
    let mut bed = Bed::new();
    bed.submit(1, vec![signal(&[]), job(&[(0, CANCEL)])]).unwrap();
    assert_eq!((bed.states(1), bed.state(1)), (vec![State::Waiting; 2], FlowState::Running));
    bed.reload();
    assert_eq!(bed.signal(1, "s0", b"yes"), Ok(true));
    assert_eq!(bed.signal(1, "s0", b"no"), Ok(false));
    assert_eq!(bed.states(1), [State::Done, State::Running]);
    assert_eq!(output(&bed, 1, 0), Some(&b"yes"[..]));
    assert!(matches!(bed.signal(1, "s0", &[0; 65]), Err(Refusal::PayloadTooLarge { bytes: 65, .. })));
}

#[test]
fn the_wait_for_a_signal_expires() {
    let mut bed = Bed::new();
    let waits = timed(signal(&[(0, CANCEL)]), None, Some(When::After(100)));
    bed.submit(1, vec![job(&[]), waits, job(&[(1, CANCEL)])]).unwrap();
    bed.driver.advance(1_000);
    bed.due(0, TimerClass::Expiry);
    bed.done(100);
    assert_eq!(bed.states(1)[1], State::Waiting, "its time begins with its turn");
    bed.reload();
    bed.driver.advance(100);
    bed.fire();
    assert_eq!(bed.states(1), [State::Done, State::Expired, State::Cancelled]);
    assert_eq!((bed.state(1), bed.look(1).unwrap().summary.failed), (FlowState::Failed, Some(1)));
    assert_eq!(bed.signal(1, "s1", b"late"), Ok(false));
}

#[test]
fn a_flow_that_is_called_off_is_cancelled() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[]), signal(&[(0, HOLD)]), job(&[(2, GO_ON)])]).unwrap();
    let watch = bed.watch(1);
    bed.die(100);
    bed.cancel(1).unwrap();
    assert_eq!(bed.states(1), [State::Dead, State::Running, State::Cancelled, State::Cancelled]);
    bed.cancel_attempt(101);
    assert_eq!(bed.ending(watch).unwrap().summary.state, FlowState::Failed);
    bed.submit(2, vec![job(&[]), signal(&[(0, CANCEL)])]).unwrap();
    bed.cancel(2).unwrap();
    bed.done(200);
    assert_eq!((bed.state(2), bed.states(2)), (FlowState::Cancelled, vec![State::Done, State::Cancelled]));
    bed.cancel(2).unwrap();
}

#[test]
fn a_retry_brings_back_a_step_and_what_was_called_off_for_want_of_it() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[(0, CANCEL)]), job(&[(1, CANCEL)]), job(&[(0, GO_ON)])]).unwrap();
    bed.die(100);
    bed.done(103);
    assert_eq!(bed.state(1), FlowState::Failed);
    bed.retry(1, "s0").unwrap();
    assert_eq!(bed.states(1), [State::Running, State::Waiting, State::Waiting, State::Done]);
    assert_eq!(bed.state(1), FlowState::Running);
    bed.reload();
    for n in [100, 101, 102] {
        bed.done(n);
    }
    assert_eq!((bed.state(1), bed.look(1).unwrap().summary.failed), (FlowState::Done, None));
}

#[test]
fn a_retry_leaves_alone_what_would_be_called_off_again() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[]), job(&[(0, CANCEL), (1, CANCEL)])]).unwrap();
    bed.die(100);
    bed.die(101);
    bed.retry(1, "s0").unwrap();
    assert_eq!(bed.states(1), [State::Running, State::Dead, State::Cancelled]);
    bed.retry(1, "s1").unwrap();
    assert_eq!(bed.states(1), [State::Running, State::Running, State::Waiting]);
    for n in [100, 101, 102] {
        bed.done(n);
    }
    assert_eq!(bed.state(1), FlowState::Done);
}

#[test]
fn a_retry_needs_the_jobs_of_all_that_run_again() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[(0, CANCEL)])]).unwrap();
    bed.die(100);
    bed.steer(101, Verb::Discard).unwrap();
    let step = "s1".into();
    assert_eq!(bed.retry(1, "s0"), Err(Refusal::StepForgotten { flow: flow_id(1), step, queue: "mail".into() }));
    assert_eq!(bed.state(1), FlowState::Failed);
}

#[test]
fn what_was_called_off_does_not_come_back_before_what_it_needs() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[(0, CANCEL)]), job(&[])]).unwrap();
    bed.die(100);
    let refused = bed.requeue(101).unwrap_err();
    assert!(matches!(refused, Refusal::StepForbidden { verb: "requeued", .. }), "{refused}");
    bed.requeue(100).unwrap();
    assert_eq!(bed.requeue(101), Ok(State::Waiting));
    bed.reload();
    for n in [100, 101, 102] {
        bed.done(n);
    }
    assert_eq!(bed.state(1), FlowState::Done);
}

#[test]
fn a_step_may_come_back_while_others_go_on_without_it() {
    let mut bed = Bed::new();
    let in_memory = |needs: &[_]| Planned { queue: "ram", ..job(needs) };
    bed.submit(1, vec![job(&[]), job(&[(0, GO_ON)]), job(&[(0, HOLD)]), job(&[(0, GO_ON), (2, CANCEL)])]).unwrap();
    bed.submit(2, vec![in_memory(&[]), in_memory(&[(0, GO_ON)])]).unwrap();
    for n in [100, 200] {
        bed.die(n);
        bed.requeue(n).unwrap();
    }
    assert_eq!(bed.states(1), [State::Running, State::Running, State::Waiting, State::Waiting]);
    bed.reload();
    assert_eq!((bed.states(1)[1], bed.states(2)), (State::Running, vec![State::Running; 2]));
    for n in [100, 101, 102, 103, 201, 200] {
        bed.done(n);
        bed.reload();
    }
    assert_eq!((bed.state(1), bed.states(1)[0]), (FlowState::Done, State::Done));
    assert_eq!((bed.state(2), bed.started().len()), (FlowState::Done, 8));
}

#[test]
fn a_step_comes_back_by_itself_where_its_flow_is_undone_and_holds_nobody_any_more() {
    let mut bed = Bed::new();
    let undo = |step| Planned { undoes: Some(step), ..job(&[]) };
    bed.submit(1, vec![job(&[]), undo(0), job(&[(0, HOLD)])]).unwrap();
    bed.die(100);
    // Now nothing of it can be undone any more.
    bed.steer(101, Verb::Cancel).unwrap();
    assert_eq!(bed.state(1), FlowState::Held);
    bed.requeue(100).unwrap();
    assert_eq!((bed.state(1), bed.states(1)[2]), (FlowState::Failed, State::Cancelled));
    bed.reload();
    bed.done(100);
}

#[test]
fn what_came_back_by_itself_holds_nobody_however_it_ends() {
    for is_good in [true, false] {
        let mut bed = Bed::new();
        let undo = Planned { undoes: Some(0), ..job(&[]) };
        bed.submit(1, vec![job(&[]), job(&[]), job(&[(1, HOLD)]), undo]).unwrap();
        bed.die(101);
        bed.die(100);
        bed.cancel(1).unwrap();
        assert_eq!((bed.state(1), bed.skipped(1)), (FlowState::Failed, vec![3]));
        bed.requeue(101).unwrap();
        bed.reload();
        if is_good {
            bed.done(101);
        } else {
            bed.die(101);
        }
        assert!(bed.driver.journal.ended(id(101)).is_some());
        bed.reload();
        // Nothing that anybody does about that job would ever let it go.
        let refused = bed.retry(1, "s2").unwrap_err();
        assert!(matches!(refused, Refusal::StepForbidden { verb: "retried", .. }), "{refused}");
        assert_eq!(bed.state(1), FlowState::Failed);
    }
}

#[test]
fn a_flow_that_ended_is_open_again_when_a_step_comes_back() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[])]).unwrap();
    bed.die(100);
    bed.done(101);
    assert_eq!(bed.state(1), FlowState::Failed);
    bed.requeue(100).unwrap();
    let watch = bed.watch(1);
    assert_eq!(bed.state(1), FlowState::Running);
    bed.driver.advance(super::bed::FLOW_KEEP_MS);
    bed.fire();
    assert_eq!(bed.state(1), FlowState::Running);
    bed.done(100);
    assert_eq!(bed.ending(watch).unwrap().summary.state, FlowState::Done);
}

#[test]
fn what_the_first_failure_called_off_may_come_back_by_hand_and_stays() {
    let mut bed = Bed::new();
    bed.fail_fast = true;
    bed.submit(1, vec![job(&[]), signal(&[])]).unwrap();
    bed.die(100);
    assert_eq!(bed.states(1), [State::Dead, State::Cancelled]);
    assert_eq!(bed.requeue(101), Ok(State::Waiting));
    bed.reload();
    assert_eq!((bed.states(1)[1], bed.state(1)), (State::Waiting, FlowState::Running));
    assert_eq!(bed.signal(1, "s1", b""), Ok(true));
    assert_eq!(bed.state(1), FlowState::Failed);
}

#[test]
fn what_failed_and_was_mended_by_itself_is_not_what_failed() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[(0, CANCEL)]), job(&[])]).unwrap();
    bed.die(100);
    bed.requeue(100).unwrap();
    bed.done(100);
    bed.done(102);
    assert_eq!(bed.states(1), [State::Done, State::Cancelled, State::Done]);
    assert_eq!((bed.state(1), bed.look(1).unwrap().summary.failed), (FlowState::Cancelled, Some(1)));
}

#[test]
fn a_timer_or_a_signal_does_not_come_back_without_its_flow() {
    let mut bed = Bed::new();
    let timer = timed(Planned { work: Work::Timer, ..job(&[]) }, Some(When::After(50)), None);
    let undo = Planned { undoes: Some(0), ..job(&[]) };
    bed.submit(1, vec![job(&[]), undo, timer.clone(), signal(&[])]).unwrap();
    bed.done(100);
    bed.steer(102, Verb::Cancel).unwrap();
    // By itself nobody would ever end it.
    assert_eq!(bed.requeue(102), Ok(State::Delayed));
    bed.cancel(1).unwrap();
    bed.done(101);
    for n in [102, 103] {
        let refused = bed.requeue(n).unwrap_err();
        assert!(matches!(refused, Refusal::StepForbidden { verb: "requeued", .. }), "{refused}");
    }
    let mut bed = Bed::with(|settings| settings.flow_steps_kept_max = 0);
    bed.submit(1, vec![timer]).unwrap();
    bed.steer(100, Verb::Cancel).unwrap();
    assert_eq!((bed.look(1), bed.requeue(100)), (None, Err(Refusal::NoFlow { id: flow_id(1) })));
}

#[test]
fn a_timer_that_was_rescheduled_while_it_waited_goes_by_its_own_clock() {
    let mut bed = Bed::new();
    let timer = |needs| Planned { work: Work::Timer, ..job(needs) };
    bed.submit(1, vec![job(&[]), timer(&[(0, CANCEL)])]).unwrap();
    assert_eq!(bed.steer(101, Verb::Reschedule(When::After(50))), Ok(State::Waiting));
    bed.driver.advance(60);
    bed.driver.set_wall(1_000_010);
    bed.done(100);
    assert_eq!(bed.state(1), FlowState::Done, "by the wall clock it is not over yet");
}

#[test]
fn what_holds_nobody_any_more_cannot_be_skipped() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[(0, HOLD)]), signal(&[])]).unwrap();
    bed.die(100);
    bed.steer(101, Verb::Cancel).unwrap();
    assert!(!bed.look(1).unwrap().steps[0].is_holding);
    assert!(matches!(bed.skip(1, "s0", None), Err(Refusal::StepForbidden { is: "over", .. })));
    bed.reload();
    // It comes back, and waits for the same step as before.
    assert_eq!(bed.requeue(101), Ok(State::Waiting));
    assert!(bed.look(1).unwrap().steps[0].is_holding);
    bed.reload();
    bed.skip(1, "s0", None).unwrap();
    bed.done(101);
    bed.signal(1, "s2", b"").unwrap();
    assert_eq!(bed.state(1), FlowState::Done);
}

#[test]
fn a_hold_that_is_let_go_is_no_first_failure_once_more() {
    let mut bed = Bed::new();
    bed.fail_fast = true;
    let late = timed(job(&[]), Some(When::After(50)), None);
    bed.submit(1, vec![job(&[]), late, job(&[(0, HOLD)]), signal(&[])]).unwrap();
    bed.die(100);
    for n in [102, 103] {
        bed.requeue(n).unwrap();
    }
    assert!(bed.look(1).unwrap().steps[0].is_holding);
    bed.steer(100, Verb::Discard).unwrap();
    assert_eq!(bed.states(1), [State::Dead, State::Cancelled, State::Cancelled, State::Waiting]);
    bed.reload();
    bed.signal(1, "s3", b"").unwrap();
    assert_eq!(bed.state(1), FlowState::Failed);
}

#[test]
fn a_flow_that_failed_with_nothing_to_undo_is_retried_with_the_steps_that_undo() {
    let mut bed = Bed::new();
    let undo = |step| Planned { undoes: Some(step), ..job(&[]) };
    bed.submit(1, vec![job(&[]), undo(0), job(&[(0, CANCEL)]), undo(2), job(&[(2, CANCEL)])]).unwrap();
    bed.die(100);
    assert_eq!((bed.state(1), bed.skipped(1)), (FlowState::Failed, vec![1, 3]));
    bed.reload();
    bed.retry(1, "s0").unwrap();
    assert_eq!((bed.state(1), bed.skipped(1)), (FlowState::Running, vec![]));
    bed.reload();
    bed.done(100);
    bed.driver.advance(1);
    bed.done(102);
    bed.die(104);
    // What is undone now is what came back.
    assert_eq!(bed.state(1), FlowState::Undoing);
    bed.reload();
    bed.done(103);
    bed.done(101);
    assert_eq!((bed.state(1), bed.states(1)[1], bed.states(1)[3]), (FlowState::Failed, State::Done, State::Done));
    let refused = bed.retry(1, "s4").unwrap_err();
    assert!(matches!(refused, Refusal::StepForbidden { verb: "retried", .. }), "{refused}");
}

#[test]
fn without_the_jobs_that_undo_a_flow_is_not_retried() {
    let mut bed = Bed::new();
    let undo = |step| Planned { undoes: Some(step), ..job(&[]) };
    let refused = |bed: &mut Bed, n| match bed.retry(n, "s0") {
        Err(Refusal::StepForgotten { step, .. }) => step.to_string(),
        other => panic!("{other:?}"),
    };
    for n in [1, 2] {
        bed.submit(n, vec![job(&[]), undo(0)]).unwrap();
        bed.die(n * 100);
    }
    // Thrown away, or it runs by itself, and has.
    bed.steer(101, Verb::Discard).unwrap();
    assert_eq!(refused(&mut bed, 1), "s1");
    assert_eq!(bed.requeue(201), Ok(State::Ready));
    assert_eq!(refused(&mut bed, 2), "s1");
    bed.die(201);
    assert_eq!(refused(&mut bed, 2), "s1");
    assert_eq!((bed.state(2), bed.skipped(2)), (FlowState::Failed, vec![1]));
}

#[test]
fn a_flow_that_went_well_keeps_no_jobs_that_would_have_undone() {
    let mut bed = Bed::new();
    let undo = |step| Planned { undoes: Some(step), ..job(&[]) };
    let optional = Planned { is_optional: true, ..job(&[]) };
    bed.submit(1, vec![job(&[]), undo(0), optional]).unwrap();
    bed.done(100);
    bed.die(102);
    assert_eq!((bed.state(1), bed.skipped(1)), (FlowState::Done, vec![1]));
    assert!(bed.driver.journal.ended(id(101)).is_none());
    let refused = bed.retry(1, "s2").unwrap_err();
    assert!(matches!(refused, Refusal::StepForbidden { verb: "retried", .. }), "{refused}");
}
