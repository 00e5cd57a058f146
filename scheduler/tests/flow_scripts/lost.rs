//! Records that could not be read: a flow that lost one ends, and says why; nothing of it runs that should have waited.

use std::sync::Arc;

use windlass_scheduler::change::Key;
use windlass_scheduler::command::{Command, Request, Submit};
use windlass_scheduler::flow::{FlowPlan, FlowState, StepHow};
use windlass_scheduler::job::{Body, Labels};
use windlass_scheduler::shard::Misfit;
use windlass_scheduler::state::{EndState, State};

use super::bed::{Bed, FLOW_KEEP_MS, Planned, flow_id, job};
use super::common::id;
use super::{CANCEL, GO_ON, HOLD, of};

#[test]
fn a_step_whose_end_is_lost_with_its_job_is_dead_and_says_why() {
    let mut bed =
        Bed::with(|settings| settings.queues[0].retention.keep_done = windlass_scheduler::settings::KeepDone::None);
    bed.submit(1, vec![job(&[]), job(&[(0, CANCEL)]), job(&[(1, CANCEL)])]).unwrap();
    bed.done(100);
    assert_eq!(bed.lose(&[Key::Step(of(1, 0))]), []);
    assert_eq!(bed.state(1), FlowState::Failed);
    let view = bed.look(1).unwrap();
    let end = view.steps[0].end.as_ref().unwrap();
    assert_eq!((end.how, view.summary.failed), (StepHow::Job(EndState::Dead), Some(0)));
    assert!(end.failure.as_ref().unwrap().message.contains("could not be read"));
    assert_eq!(view.steps[2].end.as_ref().unwrap().cause, Some(0));
    bed.reload();
}

#[test]
fn a_step_whose_job_is_lost_is_dead_and_what_needs_it_does_as_planned() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[(0, CANCEL)]), job(&[(1, GO_ON)]), job(&[(1, HOLD)])]).unwrap();
    assert_eq!(bed.lose(&[Key::Job(id(101)), Key::Head(id(101))]), []);
    assert_eq!(bed.states(1), [State::Running, State::Dead, State::Running, State::Cancelled]);
    bed.done(100);
    bed.done(102);
    assert_eq!((bed.state(1), bed.look(1).unwrap().summary.failed), (FlowState::Failed, Some(1)));
    bed.reload();
}

#[test]
fn a_hold_is_over_when_the_record_of_its_job_is_lost() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[(0, HOLD)])]).unwrap();
    bed.die(100);
    let ended = bed.driver.journal.ended(id(100)).unwrap().key.clone();
    assert_eq!(bed.lose(&[Key::Ended(ended), Key::Job(id(100))]), []);
    assert_eq!((bed.state(1), bed.states(1)), (FlowState::Failed, vec![State::Dead, State::Cancelled]));
}

#[test]
fn jobs_whose_flow_is_lost_do_not_run() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[(0, CANCEL)]), job(&[(1, CANCEL)])]).unwrap();
    bed.done(100);
    let misfits = bed.lose(&[Key::Flow(flow_id(1))]);
    assert_eq!(misfits, [Misfit::NoStep(of(1, 0))]);
    assert_eq!(bed.look(1), None);
    let portrait = bed.driver.shard.portrait();
    assert!(portrait.jobs.is_empty());
    for n in [101, 102] {
        assert_eq!(portrait.retained[&id(n)].1, EndState::Cancelled);
        let failure = bed.driver.journal.ended(id(n)).unwrap().failure.clone().unwrap();
        assert!(failure.message.contains("the record of its flow could not be read"), "{failure}");
    }
    assert_eq!(bed.started(), [100, 101].map(id), "none but those that ran before");
    // By itself it may.
    bed.requeue(102).unwrap();
    bed.done(102);
}

#[test]
fn undoing_goes_on_past_a_job_that_is_lost() {
    let mut bed = Bed::new();
    let undo = |step| Planned { undoes: Some(step), ..job(&[]) };
    bed.submit(1, vec![job(&[]), undo(0), job(&[(0, CANCEL)]), undo(2), job(&[(2, CANCEL)])]).unwrap();
    bed.done(100);
    bed.driver.advance(1);
    bed.done(102);
    assert_eq!(bed.lose(&[Key::Job(id(103)), Key::Head(id(103))]), []);
    assert_eq!(bed.state(1), FlowState::Running);
    bed.die(104);
    assert_eq!(bed.started().last(), Some(&id(101)));
    bed.done(101);
    assert_eq!(bed.state(1), FlowState::Failed);
}

#[test]
fn the_last_end_and_a_lost_job_that_would_undo_may_come_together() {
    // The attempt that is lost with its process kills its job, and the job that would undo what came before is lost, too.
    let mut bed = Bed::with(|settings| settings.lost_max = 0);
    let undo = |step| Planned { undoes: Some(step), ..job(&[]) };
    bed.submit(1, vec![job(&[]), undo(0), job(&[(0, CANCEL)])]).unwrap();
    bed.done(100);
    for _ in 0..4 {
        bed.driver.crash(None);
        assert_eq!(bed.driver.load(), []);
        bed.driver.settle();
        if bed.state(1) != FlowState::Running {
            break;
        }
    }
    let mut again = Bed::with(|settings| settings.lost_max = 3);
    again.submit(1, vec![job(&[]), undo(0), job(&[(0, CANCEL)])]).unwrap();
    again.done(100);
    for _ in 0..2 {
        assert_eq!(again.lose(&[]), []);
    }
    assert_eq!(again.lose(&[Key::Job(id(101)), Key::Head(id(101))]), []);
    assert_eq!((again.state(1), again.states(1)), (FlowState::Failed, vec![State::Done, State::Dead, State::Dead]));
}

#[test]
fn a_flow_that_the_journal_forgot_too_late_gives_way_to_the_one_in_memory() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[(0, CANCEL)])]).unwrap();
    bed.done(100);
    bed.done(101);
    bed.driver.advance(FLOW_KEEP_MS);
    for (queue, class) in bed.driver.fired() {
        bed.driver.due(queue, class);
    }
    bed.driver.seal();
    assert!(!bed.driver.shard.portrait().flows.contains_key(&flow_id(1)));
    let in_memory = |planned| Planned { queue: "ram", ..planned };
    let (plan, mut jobs) = bed.plan(2, vec![in_memory(job(&[])), in_memory(job(&[(0, CANCEL)]))]);
    for (no, job) in (0..).zip(&mut jobs) {
        job.body = Arc::new(Body { labels: Labels::default().of_step(Some(of(1, no))), ..Body::default() });
    }
    let flow = Some(Box::new(FlowPlan { id: flow_id(1), ..plan }));
    bed.driver.handle(Command::Submit(Submit { request: Request(1_000), watch: None, jobs, flow }));
    bed.driver.seal();
    assert!(bed.driver.journal.0.contains_key(&Key::Flow(flow_id(1))));

    for _ in 0..2 {
        assert_eq!(bed.driver.load(), []);
        assert_eq!(bed.states(1), [State::Running, State::Waiting]);
    }
    bed.driver.settle();
    let is_of_flow = |key: &&Key| matches!(key, Key::Flow(_) | Key::Step(_) | Key::StepOutput(_));
    assert_eq!(bed.driver.journal.0.keys().filter(is_of_flow).count(), 0);
    bed.done(200);
    bed.done(201);
    assert_eq!(bed.state(1), FlowState::Done);
}
