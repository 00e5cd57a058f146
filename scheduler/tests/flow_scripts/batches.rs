//! Batches: steps that are made of many jobs.

use std::sync::Arc;

use windlass_scheduler::batch::BatchCounts;
use windlass_scheduler::change::{Key, Record};
use windlass_scheduler::command::TimerClass;
use windlass_scheduler::flow::FlowState;
use windlass_scheduler::job::{Body, Labels, NewJob, When};
use windlass_scheduler::limit::Share;
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::state::State;
use windlass_scheduler::unique::{KeyOf, OnConflict, Unique, UniqueKey, Until};

use super::bed::{Bed, FLOW_KEEP_FAILED_MS, FLOW_KEEP_MS, KEEP_MS, batch, job};
use super::{CANCEL, GO_ON, of};

fn counts(jobs: u32, done: u32, dead: u32, cancelled: u32) -> BatchCounts {
    BatchCounts { jobs, done, dead, cancelled, ..BatchCounts::NONE }
}

#[test]
fn a_step_decides_how_wide_the_next_one_is() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), batch(&[(0, CANCEL)], true), job(&[(1, CANCEL)])]).unwrap();
    let members = [1_000, 1_001, 1_002].map(|n| Bed::member(1, 1, n));
    bed.done_with(100, members.to_vec());
    assert_eq!(bed.states(1), [State::Done, State::Waiting, State::Waiting]);
    assert_eq!(bed.counts(1, 1), counts(3, 0, 0, 0));
    bed.end_with(1_001, b"one");
    bed.driver.settle();
    bed.reload();
    assert_eq!(bed.counts(1, 1), counts(3, 1, 0, 0));
    bed.end_with(1_000, b"nought");
    bed.driver.settle();
    assert_eq!(bed.states(1)[1..], [State::Waiting, State::Waiting]);
    bed.end_with(1_002, b"two");
    bed.driver.settle();
    assert_eq!(bed.states(1), [State::Done, State::Done, State::Running]);
    for place in 0..3 {
        assert!(bed.driver.journal.0.contains_key(&Key::Member(of(1, 1), place)), "{place}");
    }
    bed.done(102);
    assert_eq!(bed.state(1), FlowState::Done);
    bed.driver.advance(FLOW_KEEP_MS);
    bed.fire();
    assert_eq!(bed.flow_records(), 0, "all of it is forgotten");
}

#[test]
fn as_many_jobs_come_in_with_a_flow_as_one_call_may_have_and_its_steps_besides() {
    let mut bed = Bed::new();
    let whole = |bed: &Bed, jobs: u64| {
        let (plan, mut all) = bed.plan(1, vec![job(&[]), batch(&[], false), job(&[(1, CANCEL)])]);
        all.extend((0..jobs).map(|n| Bed::member(1, 1, 1_000 + n)));
        (plan, all)
    };
    let (plan, jobs) = whole(&bed, 100_001);
    let refused = bed.hand_in(plan, jobs).unwrap_err();
    assert!(matches!(refused, Refusal::BulkTooLarge { jobs: 100_001, jobs_max: 100_000, .. }), "{refused}");
    assert_eq!((bed.look(1), bed.flow_records()), (None, 0));
    let (plan, jobs) = whole(&bed, 100_000);
    assert_eq!(bed.hand_in(plan, jobs).unwrap().len(), 100_003);
    assert_eq!(bed.counts(1, 1), counts(100_000, 0, 0, 0));
}

#[test]
fn a_width_of_nothing_is_one() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), batch(&[(0, CANCEL)], true), job(&[(1, CANCEL)])]).unwrap();
    bed.done(100);
    assert_eq!(bed.states(1), [State::Done, State::Done, State::Running]);
}

#[test]
fn a_batch_is_over_when_all_its_jobs_are_however_they_ended() {
    let mut bed = Bed::new();
    let (plan, mut jobs) = bed.plan(1, vec![batch(&[], false), job(&[(0, CANCEL)])]);
    jobs.extend((1_000..1_003).map(|n| Bed::member(1, 0, n)));
    bed.hand_in(plan, jobs).unwrap();
    assert_eq!(bed.counts(1, 0), counts(3, 0, 0, 0));
    bed.die(1_000);
    // Its own jobs may bring more.
    bed.done_with(1_001, vec![Bed::member(1, 0, 1_004)]);
    bed.done(1_002);
    assert_eq!(bed.states(1), [State::Waiting, State::Waiting]);
    bed.reload();
    bed.cancel_attempt(1_004);
    assert_eq!((bed.counts(1, 0), bed.states(1)), (counts(4, 2, 1, 1), vec![State::Done, State::Running]));
    let notes = [0, 1, 2, 3].map(|place| bed.driver.journal.0.contains_key(&Key::Member(of(1, 0), place)));
    assert_eq!(notes, [true, false, false, true], "those that failed are told");
    let refused = bed.add(vec![Bed::member(1, 0, 1_005)]).unwrap_err();
    assert_eq!(refused.to_string(), format!("step `s0` of flow {} is over, and cannot be added to", super::flow_id(1)));
}

#[test]
fn what_one_of_its_jobs_failed_is_failed_and_may_be_tried_again() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), batch(&[(0, CANCEL)], true), job(&[(1, CANCEL)])]).unwrap();
    bed.done_with(100, vec![Bed::member(1, 1, 1_000), Bed::member(1, 1, 1_001)]);
    bed.done(1_000);
    bed.die(1_001);
    assert_eq!(bed.states(1), [State::Done, State::Dead, State::Cancelled]);
    let failure = bed.look(1).unwrap().steps[1].end.clone().unwrap().failure.unwrap();
    assert_eq!(failure.message, "1 of 2 jobs failed: 1 dead, 0 called off, 0 expired");
    bed.requeue(1_001).unwrap();
    assert_eq!(bed.counts(1, 1), counts(2, 1, 0, 0));
    assert!(!bed.driver.journal.0.contains_key(&Key::Member(of(1, 1), 1)));
    bed.reload();
    bed.retry(1, "s1").unwrap();
    assert_eq!(bed.states(1), [State::Done, State::Waiting, State::Waiting]);
    bed.done(1_001);
    assert_eq!(bed.states(1), [State::Done, State::Done, State::Running]);
}

#[test]
fn a_batch_that_is_called_off_is_over_when_its_jobs_are() {
    let mut bed = Bed::new();
    let (plan, mut jobs) = bed.plan(1, vec![job(&[]), batch(&[(0, CANCEL)], false), job(&[(1, GO_ON)])]);
    jobs.extend((1_000..1_010).map(|n| Bed::member(1, 1, n)));
    bed.hand_in(plan, jobs).unwrap();
    assert_eq!(bed.started(), [100, 1_000, 1_001, 1_002].map(super::id));
    bed.die(100);
    assert_eq!(bed.states(1), [State::Dead, State::Waiting, State::Waiting], "jobs of it run");
    bed.reload();
    bed.fire();
    assert_eq!(bed.counts(1, 1), counts(10, 0, 0, 6), "those that waited are called off");
    bed.done_with(1_000, vec![Bed::member(1, 1, 1_010)]);
    bed.cancel_attempt(1_001);
    assert_eq!(bed.states(1)[1], State::Waiting);
    bed.fire();
    bed.cancel_attempt(1_002);
    bed.cancel_attempt(1_003);
    assert_eq!(bed.states(1)[1], State::Waiting, "one that came meanwhile runs, and was asked to stop");
    bed.cancel_attempt(1_010);
    assert_eq!(bed.counts(1, 1), counts(11, 1, 0, 10));
    assert_eq!(bed.states(1), [State::Dead, State::Cancelled, State::Running]);
}

#[test]
fn a_batch_that_stays_open_ends_when_it_is_closed() {
    let mut bed = Bed::new();
    let mut open = batch(&[], false);
    open.batch.as_mut().unwrap().stays_open = true;
    bed.submit(1, vec![open, job(&[(0, CANCEL)])]).unwrap();
    bed.add(vec![Bed::member(1, 0, 1_000), Bed::member(1, 0, 1_001)]).unwrap();
    bed.done(1_000);
    bed.done(1_001);
    assert_eq!(bed.states(1), [State::Waiting, State::Waiting]);
    bed.reload();
    bed.add(vec![Bed::member(1, 0, 1_002)]).unwrap();
    bed.close(1, "s0").unwrap();
    bed.close(1, "s0").unwrap();
    assert!(bed.add(vec![Bed::member(1, 0, 1_003)]).is_err(), "closed");
    bed.done(1_002);
    assert_eq!(bed.states(1), [State::Done, State::Running]);
    assert_eq!(bed.counts(1, 0), BatchCounts { is_closed: true, ..counts(3, 3, 0, 0) });
}

#[test]
fn jobs_whose_records_were_lost_are_counted_as_dead() {
    let mut bed = Bed::new();
    let (plan, mut jobs) = bed.plan(1, vec![batch(&[], false), job(&[(0, CANCEL)])]);
    jobs.extend((1_000..1_003).map(|n| Bed::member(1, 0, n)));
    bed.hand_in(plan, jobs).unwrap();
    assert_eq!(bed.lose(&[Key::Job(super::id(1_002))]), []);
    assert_eq!(bed.counts(1, 0), counts(3, 0, 1, 0));
    bed.done(1_000);
    bed.done(1_001);
    assert_eq!(bed.states(1), [State::Done, State::Running]);
}

#[test]
fn a_batch_whose_numbers_were_lost_is_dead() {
    let mut bed = Bed::new();
    let (plan, mut jobs) = bed.plan(1, vec![batch(&[], false), job(&[(0, CANCEL)])]);
    jobs.extend((1_000..1_003).map(|n| Bed::member(1, 0, n)));
    bed.hand_in(plan, jobs).unwrap();
    assert_eq!(bed.lose(&[Key::Batch(of(1, 0))]), []);
    assert_eq!(bed.states(1), [State::Dead, State::Cancelled]);
    // Nobody counts them any more; they run all the same.
    for n in 1_000..1_003 {
        bed.done(n);
    }
}

#[test]
fn a_batch_takes_no_more_jobs_than_it_can_count() {
    let mut bed = Bed::new();
    let mut open = batch(&[], false);
    open.batch.as_mut().unwrap().stays_open = true;
    bed.submit(1, vec![open]).unwrap();
    let jobs = BatchCounts::JOBS_MAX - 1;
    let Some(Record::Batch(record)) = bed.driver.journal.0.get_mut(&Key::Batch(of(1, 0))) else {
        panic!("its numbers")
    };
    record.counts = counts(jobs, jobs, 0, 0);
    assert_eq!(bed.lose(&[]), []);
    let what = "is a batch of 2^31 jobs, and more it cannot have";
    let refused = Err(Refusal::BadStep { flow: super::flow_id(1), step: 0, name: Some("s0".into()), what });
    assert_eq!(bed.add(vec![Bed::member(1, 0, 1_000), Bed::member(1, 0, 1_001)]), refused);
    bed.add(vec![Bed::member(1, 0, 1_000)]).unwrap();
    assert_eq!(bed.counts(1, 0), counts(BatchCounts::JOBS_MAX, jobs, 0, 0));
}

#[test]
fn a_job_that_comes_back_after_its_batch_succeeded_runs_by_itself() {
    let mut bed = Bed::new();
    let (plan, mut jobs) = bed.plan(1, vec![batch(&[], false)]);
    jobs.push(Bed::member(1, 0, 1_000));
    bed.hand_in(plan, jobs).unwrap();
    bed.die(1_000);
    assert_eq!((bed.state(1), bed.counts(1, 0)), (FlowState::Done, counts(1, 0, 1, 0)));
    bed.requeue(1_000).unwrap();
    bed.reload();
    bed.done(1_000);
    assert_eq!(bed.counts(1, 0), counts(1, 0, 1, 0), "what was told stays true");
    bed.driver.advance(KEEP_MS);
    bed.due(0, TimerClass::Retention);
}

/// A batch that was called off and is over, with one job that ran, and another one that came after its end; flow 2 brought that.
fn one_that_came_too_late() -> Bed {
    let mut bed = Bed::new();
    let (plan, mut jobs) = bed.plan(1, vec![batch(&[], false)]);
    jobs.push(Bed::member(1, 0, 1_000));
    bed.hand_in(plan, jobs).unwrap();
    bed.submit(2, vec![job(&[])]).unwrap();
    bed.cancel(1).unwrap();
    bed.fire();
    bed.cancel_attempt(1_000);
    assert_eq!(bed.state(1), FlowState::Cancelled);
    bed.done_with(200, vec![Bed::member(1, 0, 1_001)]);
    assert_eq!(bed.counts(1, 0), counts(2, 0, 0, 1));
    bed
}

fn is_asked_to_stop(bed: &Bed, n: u64) -> bool {
    bed.driver.shard.portrait().jobs[&super::id(n)].2.cancel_requested
}

#[test]
fn a_flow_that_is_forgotten_takes_nobody_along_that_is_to_be_called_off() {
    let mut bed = one_that_came_too_late();
    bed.driver.advance(FLOW_KEEP_FAILED_MS);
    bed.fire();
    assert_eq!(bed.flow_records(), 0);
    assert!(is_asked_to_stop(&bed, 1_001), "it was called off, as the batch was");
    bed.done(1_001);
}

#[test]
fn once_a_job_of_it_comes_back_nobody_is_called_off_any_more() {
    let mut bed = one_that_came_too_late();
    bed.requeue(1_000).unwrap();
    bed.fire();
    assert_eq!(bed.counts(1, 0), counts(2, 0, 0, 0));
    assert_eq!([1_000, 1_001].map(|n| is_asked_to_stop(&bed, n)), [false; 2]);
    let mut bed = one_that_came_too_late();
    bed.retry(1, "s0").unwrap();
    bed.fire();
    assert!(!is_asked_to_stop(&bed, 1_001));
    bed.done(1_001);
    assert_eq!(bed.state(1), FlowState::Done);
}

#[test]
fn a_batch_fails_its_flow_once_whoever_of_its_jobs_comes_back() {
    let mut bed = Bed::new();
    bed.fail_fast = true;
    let (plan, mut jobs) = bed.plan(1, vec![batch(&[], true), job(&[])]);
    jobs.push(Bed::member(1, 0, 1_000));
    bed.hand_in(plan, jobs).unwrap();
    bed.die(1_000);
    bed.cancel_attempt(101);
    assert_eq!(bed.states(1), [State::Dead, State::Cancelled]);
    bed.requeue(101).unwrap();
    bed.requeue(1_000).unwrap();
    bed.die(1_000);
    assert!(!is_asked_to_stop(&bed, 101), "what was to be called off was");
    bed.done(101);
}

/// The job, which takes the place of any other one that waits and has the same key.
fn replacing(job: NewJob) -> NewJob {
    let key = Arc::new(UniqueKey { of: KeyOf::Engine, text: "k".into() });
    let unique = Unique { key, until: Until::Done, on_conflict: OnConflict::Replace { within_ms: None } };
    let labels = Labels::new(Vec::new(), None, None, Some(unique), Share::NONE).of_batch(job.body.labels.member());
    NewJob { body: Arc::new(Body { labels, ..Body::default() }), ..job }
}

#[test]
fn a_job_with_a_key_is_of_no_batch() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), batch(&[(0, CANCEL)], false)]).unwrap();
    let plain = NewJob { due: Some(When::After(50)), ..replacing(super::common::bare(1_000, "mail")) };
    bed.submit_plain(vec![plain]);
    let member = replacing(Bed::member(1, 1, 1_001));
    let what = "was given a job with a unique key, and another job would stand for that: say `.unique(None)`";
    let refused = Refusal::BadStep { flow: super::flow_id(1), step: 1, name: Some("s1".into()), what };
    assert_eq!(bed.add(vec![member.clone()]), Err(refused));
    bed.done_with(100, vec![member]);
    assert_eq!((bed.counts(1, 1), bed.states(1)[1]), (BatchCounts::NONE, State::Done));
    bed.reload();
    assert_eq!(bed.counts(1, 1), BatchCounts::NONE, "nor is the one that it stands for");
    bed.done(1_000);
}

#[test]
fn a_job_of_a_batch_is_no_step_whatever_it_says() {
    let mut bed = Bed::new();
    let (plan, mut jobs) = bed.plan(1, vec![batch(&[], false), job(&[])]);
    let member = Bed::member(1, 0, 1_000);
    let labels = member.body.labels.clone().of_step(Some(of(1, 1)));
    jobs.push(NewJob { body: Arc::new(Body { labels, ..Body::default() }), ..member });
    bed.hand_in(plan, jobs).unwrap();
    assert_eq!(bed.lose(&[]), []);
    bed.done(1_000);
    assert_eq!(bed.counts(1, 0), counts(1, 1, 0, 0));
}

#[test]
fn what_a_schedule_makes_is_of_no_batch() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), batch(&[(0, CANCEL)], false)]).unwrap();
    bed.run_scheduled(&Bed::member(1, 1, 1_000));
    assert_eq!(bed.counts(1, 1), BatchCounts::NONE);
    bed.done(1_000);
}

#[test]
fn what_comes_for_a_batch_that_was_called_off_is_called_off_as_well() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), batch(&[(0, CANCEL)], false)]).unwrap();
    bed.cancel(1).unwrap();
    assert_eq!(bed.states(1), [State::Running, State::Cancelled]);
    bed.reload();
    // It was asked to stop, and was faster.
    bed.done_with(100, vec![Bed::member(1, 1, 1_000)]);
    bed.fire();
    assert!(is_asked_to_stop(&bed, 1_000));
    bed.cancel_attempt(1_000);
    assert_eq!(bed.counts(1, 1), counts(1, 0, 0, 1));
}
