//! Flows, one short story a promise: what a step's end does to those that need it, and what is written of it.
//!
//! Guards I16 (a flow goes on, or says what holds it: a step begins once all its needs are met and not before, in the commit that meets
//! the last one), I1 (a load finds each flow where it stood, or says what was lost) and I2 (whoever asked is answered once it stands).
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

#[path = "flow_scripts/batches.rs"]
mod batches;
#[path = "flow_scripts/bed.rs"]
mod bed;
mod common;
#[path = "flow_scripts/lost.rs"]
mod lost;
#[path = "flow_scripts/refused.rs"]
mod refused;
#[path = "flow_scripts/steered.rs"]
mod steered;

use windlass_scheduler::change::{Change, Key, Record};
use windlass_scheduler::command::TimerClass;
use windlass_scheduler::flow::{FlowPlan, FlowState, IfFailed, StepHow, StepOf, Work};
use windlass_scheduler::job::When;
use windlass_scheduler::settings::{Level, ShardSettings};
use windlass_scheduler::state::{EndState, State};
use windlass_scheduler::verb::Verb;

use self::bed::{Bed, Planned, flow_id, job, signal, timed};
use self::common::id;

const CANCEL: IfFailed = IfFailed::Cancel;
const GO_ON: IfFailed = IfFailed::GoOn;
const HOLD: IfFailed = IfFailed::Hold;

/// What stands in the wave that is sealed now.
fn changes(bed: &mut Bed) -> Vec<Change> {
    bed.driver.seal();
    let changes = bed.driver.sealed.back().unwrap().changes.clone();
    bed.driver.settle();
    changes
}

fn of(n: u64, no: u32) -> StepOf {
    StepOf { flow: flow_id(n), no }
}

#[test]
fn a_chain_goes_on_in_the_wave_of_the_ack_and_needs_no_head_for_it() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[(0, CANCEL)]), job(&[(1, CANCEL)])]).unwrap();
    assert_eq!(bed.started(), [100].map(id));
    assert_eq!(bed.states(1), [State::Running, State::Waiting, State::Waiting]);
    bed.end_with(100, b"left");
    let changes = changes(&mut bed);
    let is_of_next = |change: &&Change| match change {
        Change::Put(Record::Head(of, _)) => *of == id(101),
        Change::Put(Record::Job(job)) => job.id == id(101),
        _ => false,
    };
    assert_eq!(changes.iter().find(is_of_next), None, "nothing has to be written for a step that is opened");
    let has = |key: Key| changes.iter().any(|change| matches!(change, Change::Put(record) if record.key() == key));
    assert!(has(Key::Step(of(1, 0))) && has(Key::StepOutput(of(1, 0))), "{changes:?}");
    assert!(changes.iter().any(|change| matches!(change, Change::Put(Record::Ended(ended)) if ended.id == id(100))));
    let starts =
        |change: &Change| matches!(change, Change::Put(Record::Claims(claims)) if claims.entries[0].id == id(101));
    assert!(changes.iter().any(starts), "the next one is handed out by the same wave");
    assert_eq!(bed.started(), [100, 101].map(id));
    bed.done(101);
    bed.done(102);
    assert_eq!(bed.state(1), FlowState::Done);
}

#[test]
fn a_success_that_is_not_retained_is_still_its_steps_end() {
    let mut bed =
        Bed::with(|settings| settings.queues[0].retention.keep_done = windlass_scheduler::settings::KeepDone::None);
    bed.submit(1, vec![job(&[]), job(&[(0, CANCEL)])]).unwrap();
    bed.end_with(100, b"left");
    let changes = changes(&mut bed);
    assert!(changes.contains(&Change::Delete(Key::Job(id(100)))), "{changes:?}");
    assert!(bed.driver.journal.0.contains_key(&Key::StepOutput(of(1, 0))));
    assert_eq!(bed.started(), [100, 101].map(id));
    bed.reload();
    assert_eq!(bed.states(1), [State::Done, State::Running]);
}

#[test]
fn a_join_begins_once_and_with_the_last_of_those_that_it_needs() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[]), job(&[(0, CANCEL), (1, CANCEL)])]).unwrap();
    bed.done(101);
    assert_eq!(bed.states(1), [State::Running, State::Done, State::Waiting]);
    bed.reload();
    assert_eq!(bed.states(1), [State::Running, State::Done, State::Waiting]);
    bed.done(100);
    assert_eq!(bed.started(), [100, 101, 102].map(id));
}

#[test]
fn a_failure_calls_off_all_that_need_it_and_is_named_as_the_cause() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[(0, CANCEL)]), job(&[(1, CANCEL)]), job(&[(2, GO_ON)]), job(&[])]).unwrap();
    let watch = bed.watch(1);
    bed.die(100);
    assert_eq!(bed.states(1), [State::Dead, State::Cancelled, State::Cancelled, State::Running, State::Running]);
    let view = bed.look(1).unwrap();
    for no in [1, 2] {
        let end = view.steps[no].end.as_ref().unwrap();
        assert_eq!((end.how, end.cause), (StepHow::Job(EndState::Cancelled), Some(0)));
        assert_eq!(end.failure.as_ref().unwrap().message, "step `s0` is dead: permanent: no luck");
    }
    assert_eq!(view.summary.failed, Some(0));
    bed.done(103);
    assert_eq!(bed.ending(watch), None);
    bed.done(104);
    let ending = bed.ending(watch).unwrap();
    assert_eq!((ending.summary.state, ending.summary.failed), (FlowState::Failed, Some(0)));
    assert_eq!(ending.failed.unwrap().0.as_ref(), "s0");
    assert_eq!(bed.ending(watch), None, "once");
}

#[test]
fn what_goes_on_without_bears_the_failure() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[(0, GO_ON)])]).unwrap();
    bed.die(100);
    assert_eq!(bed.states(1), [State::Dead, State::Running]);
    bed.done(101);
    assert_eq!((bed.state(1), bed.look(1).unwrap().summary.failed), (FlowState::Done, None));
}

#[test]
fn an_optional_step_does_not_fail_its_flow_but_what_it_calls_off_does() {
    let mut bed = Bed::new();
    let optional = || Planned { is_optional: true, ..job(&[]) };
    bed.submit(1, vec![optional(), job(&[])]).unwrap();
    bed.submit(2, vec![optional(), job(&[(0, CANCEL)])]).unwrap();
    bed.die(100);
    bed.done(101);
    bed.die(200);
    assert_eq!((bed.state(1), bed.state(2)), (FlowState::Done, FlowState::Failed));
    assert_eq!(bed.look(2).unwrap().summary.failed, Some(0), "that is what went wrong");
}

#[test]
fn a_held_flow_goes_on_when_what_failed_is_brought_back() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[(0, HOLD)])]).unwrap();
    bed.die(100);
    assert_eq!((bed.state(1), bed.states(1)[1]), (FlowState::Held, State::Waiting));
    assert!(bed.look(1).unwrap().steps[0].is_holding);
    bed.reload();
    assert_eq!(bed.state(1), FlowState::Held);
    bed.requeue(100).unwrap();
    assert_eq!((bed.state(1), bed.states(1)), (FlowState::Running, vec![State::Running, State::Waiting]));
    bed.reload();
    bed.done(100);
    bed.done(101);
    assert_eq!(bed.state(1), FlowState::Done);
}

#[test]
fn a_held_flow_is_let_go_with_the_job_that_holds_it() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[(0, HOLD)])]).unwrap();
    bed.submit(2, vec![job(&[]), job(&[(0, HOLD)])]).unwrap();
    bed.die(100);
    bed.die(200);
    bed.steer(100, Verb::Discard).unwrap();
    assert_eq!((bed.state(1), bed.states(1)[1]), (FlowState::Failed, State::Cancelled));
    assert_eq!(bed.look(1).unwrap().steps[1].end.as_ref().unwrap().cause, Some(0));
    // By age, the same.
    assert_eq!(bed.state(2), FlowState::Held);
    bed.driver.advance(bed::KEEP_MS);
    bed.fire();
    assert_eq!(bed.state(2), FlowState::Failed);
}

#[test]
fn the_first_failure_calls_off_everything_where_that_is_wanted() {
    let mut bed = Bed::new();
    bed.fail_fast = true;
    bed.submit(1, vec![job(&[]), job(&[]), job(&[(1, GO_ON)]), job(&[(0, HOLD)])]).unwrap();
    bed.die(100);
    assert_eq!(bed.states(1), [State::Dead, State::Running, State::Cancelled, State::Cancelled]);
    assert!(bed.driver.shard.portrait().jobs[&id(101)].2.cancel_requested, "what runs is asked");
    bed.cancel_attempt(101);
    assert_eq!((bed.state(1), bed.look(1).unwrap().summary.failed), (FlowState::Failed, Some(0)));
}

#[test]
fn what_succeeded_is_undone_in_reverse_order_and_one_after_the_other() {
    let mut bed = Bed::new();
    let undo = |step| Planned { undoes: Some(step), ..job(&[]) };
    let steps = || vec![job(&[]), undo(0), job(&[(0, CANCEL)]), undo(2), job(&[(2, CANCEL)]), undo(4)];
    bed.submit(1, steps()).unwrap();
    bed.done(100);
    bed.driver.advance(1);
    bed.done(102);
    bed.die(104);
    assert_eq!((bed.state(1), bed.look(1).unwrap().summary.failed), (FlowState::Undoing, Some(4)));
    assert_eq!(bed.started(), [100, 102, 104, 103].map(id));
    assert_eq!(bed.skipped(1), [5], "it has nothing to undo");
    bed.reload();
    bed.done(103);
    assert_eq!(bed.started().last(), Some(&id(101)));
    bed.done(101);
    assert_eq!(bed.state(1), FlowState::Failed);
    bed.submit(2, steps()).unwrap();
    for n in [200, 202, 204] {
        bed.done(n);
    }
    assert_eq!((bed.state(2), bed.skipped(2)), (FlowState::Done, vec![1, 3, 5]));
}

#[test]
fn a_timer_needs_nobody() {
    let mut bed = Bed::new();
    let timer = |needs| timed(Planned { work: Work::Timer, ..job(needs) }, Some(When::After(50)), None);
    bed.submit(1, vec![timer(&[]), job(&[(0, CANCEL)]), timer(&[(1, CANCEL)])]).unwrap();
    assert_eq!(bed.states(1), [State::Delayed, State::Waiting, State::Waiting]);
    bed.reload();
    bed.driver.advance(50);
    bed.fire();
    assert_eq!(bed.states(1), [State::Done, State::Running, State::Waiting]);
    bed.driver.advance(500);
    bed.done(101);
    assert_eq!(bed.states(1)[2], State::Delayed, "its time begins with its turn");
    bed.driver.advance(50);
    bed.fire();
    assert_eq!((bed.state(1), bed.started()), (FlowState::Done, vec![id(101)]));
}

#[test]
fn the_times_of_a_step_begin_with_its_turn() {
    let mut bed = Bed::new();
    let late = timed(job(&[(0, CANCEL)]), Some(When::After(30)), Some(When::After(60)));
    bed.submit(1, vec![job(&[]), late]).unwrap();
    bed.driver.advance(500);
    bed.fire();
    assert_eq!(bed.states(1), [State::Running, State::Waiting]);
    bed.done(100);
    assert_eq!(bed.states(1)[1], State::Delayed);
    bed.reload();
    bed.driver.advance(60);
    bed.due(0, TimerClass::Expiry);
    assert_eq!((bed.states(1)[1], bed.state(1)), (State::Expired, FlowState::Failed));
}

#[test]
fn a_flow_is_forgotten_as_a_whole() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[(0, CANCEL)])]).unwrap();
    bed.end_with(100, b"left");
    bed.driver.settle();
    bed.end_with(101, b"left");
    bed.driver.settle();
    bed.driver.advance(bed::FLOW_KEEP_MS - 1);
    bed.fire();
    assert_eq!(bed.state(1), FlowState::Done);
    bed.driver.advance(1);
    bed.fire();
    assert_eq!(bed.look(1), None);
    assert_eq!(bed.flow_records(), 0);
}

#[test]
fn a_flow_that_failed_is_remembered_longer_or_shorter_than_one_that_went_well() {
    let mut bed = Bed::new();
    for n in [1, 2, 4] {
        bed.submit(n, vec![job(&[])]).unwrap();
    }
    bed.done(100);
    bed.die(200);
    bed.submit(3, vec![signal(&[])]).unwrap();
    bed.cancel(3).unwrap();
    // What it becomes when it is retried counts.
    bed.die(400);
    bed.retry(4, "s0").unwrap();
    bed.done(400);
    bed.reload();
    let remembered = |bed: &Bed| bed.driver.shard.portrait().flows.into_keys().collect::<Vec<_>>();
    bed.driver.advance(bed::FLOW_KEEP_MS);
    bed.fire();
    assert_eq!(remembered(&bed), [2, 3].map(flow_id));
    bed.driver.advance(bed::FLOW_KEEP_FAILED_MS - bed::FLOW_KEEP_MS - 1);
    bed.fire();
    assert_eq!(remembered(&bed), [2, 3].map(flow_id));
    bed.driver.advance(1);
    bed.fire();
    assert_eq!((remembered(&bed), bed.flow_records()), (vec![], 0));
    let (plan, jobs) = bed.plan(5, vec![job(&[])]);
    bed.hand_in(FlowPlan { keep_failed_ms: 10, ..plan }, jobs).unwrap();
    bed.die(500);
    bed.driver.advance(10);
    bed.fire();
    assert_eq!(remembered(&bed), []);
}

#[test]
fn flows_that_ended_first_make_room() {
    let mut bed = Bed::with(|settings| settings.flow_steps_kept_max = 3);
    for n in 1..=3 {
        bed.submit(n, vec![job(&[]), job(&[])]).unwrap();
        bed.driver.advance(1);
        bed.done(n * 100);
        bed.done(n * 100 + 1);
    }
    assert_eq!(bed.driver.shard.portrait().flows.keys().copied().collect::<Vec<_>>(), [flow_id(3)]);
    assert_eq!(bed.flow_records(), 3);
}

/// Those that went well go first, however late they ended; of the others what is more than half of the room, the first one first.
#[test]
fn flows_that_failed_make_room_last() {
    let mut bed = Bed::with(|settings| settings.flow_steps_kept_max = 4);
    let remembered = |bed: &Bed| bed.driver.shard.portrait().flows.into_keys().collect::<Vec<_>>();
    let submit = |bed: &mut Bed, n| {
        bed.driver.advance(1);
        bed.submit(n, vec![job(&[])]).unwrap();
    };
    submit(&mut bed, 1);
    bed.die(100);
    for n in 2..=9 {
        submit(&mut bed, n);
        bed.done(n * 100);
    }
    assert_eq!(remembered(&bed), [1, 7, 8, 9].map(flow_id));
    bed.reload();
    // A step that comes back takes its flow out of those that have ended; and how it ends then counts.
    bed.retry(1, "s0").unwrap();
    bed.driver.advance(1);
    bed.done(100);
    bed.driver.shard.audit().unwrap();
    bed.driver.advance(1);
    bed.submit(10, vec![signal(&[])]).unwrap();
    bed.cancel(10).unwrap();
    submit(&mut bed, 11);
    bed.die(1_100);
    assert_eq!(remembered(&bed), [1, 9, 10, 11].map(flow_id));
    // Whoever waits for one that goes well finds it, however many fail.
    for n in 12..=14 {
        submit(&mut bed, n);
        bed.die(n * 100);
    }
    assert_eq!(remembered(&bed), [1, 9, 13, 14].map(flow_id));
    submit(&mut bed, 15);
    bed.done(1_500);
    assert_eq!(remembered(&bed), [1, 13, 14, 15].map(flow_id));
    bed.driver.shard.audit().unwrap();
}

#[test]
fn a_long_chain_is_called_off_without_a_deep_stack() {
    const STEPS: u32 = 10_000;
    let mut bed = Bed::with(|settings: &mut ShardSettings| settings.queues[0].level = Level::Durable);
    let steps = (0..STEPS).map(|no| if no == 0 { job(&[]) } else { job(&[(no - 1, CANCEL)]) }).collect();
    bed.submit(1, steps).unwrap();
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let bed = small.spawn(move || {
        bed.die(bed::long_job(1, 0));
        bed
    });
    let mut bed = bed.unwrap().join().unwrap();
    let view = bed.look(1).unwrap();
    assert_eq!((view.summary.state, view.summary.steps_ended), (FlowState::Failed, STEPS as usize));
    assert!(view.steps[1..].iter().all(|step| step.end.as_ref().unwrap().cause == Some(0)));
}

#[test]
fn held_flows_that_push_one_another_out_need_no_deep_stack() {
    const FLOWS: u64 = 3_000;
    let mut bed = Bed::with(|settings| {
        (settings.queues[0].retention.dropped.count_max, settings.queues[0].slots) = (FLOWS, 0);
    });
    for n in 1..=FLOWS {
        bed.submit_quietly(n, vec![job(&[]), job(&[(0, HOLD)])]);
        bed.steer_quietly(n * 100, Verb::Cancel);
    }
    assert_eq!(bed.state(1), FlowState::Held);
    bed.submit_quietly(FLOWS + 1, vec![job(&[])]);
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let bed = small.spawn(move || {
        bed.steer_quietly((FLOWS + 1) * 100, Verb::Cancel);
        bed
    });
    let mut bed = bed.unwrap().join().unwrap();
    let flows = bed.driver.shard.portrait().flows;
    assert!(flows.values().all(|(state, _)| *state == FlowState::Cancelled), "each lets the next one go");
    bed.driver.settle();
}
