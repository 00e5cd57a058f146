//! What is no flow is refused, all of it, and says why.

use std::sync::Arc;

use windlass_scheduler::effect::Answer;
use windlass_scheduler::flow::{FlowPlan, FlowState, Need};
use windlass_scheduler::job::{Body, NewJob};
use windlass_scheduler::limit::Share;
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::settings::ShardSettings;
use windlass_scheduler::unique::{KeyOf, OnConflict, Unique, UniqueKey, Until};
use windlass_scheduler::verb::Verb;

use super::bed::{Bed, FLOW_KEEP_MS, Planned, flow_id, job, signal};
use super::common::{bare, id};
use super::{CANCEL, GO_ON};

fn bad(step: u32, what: &'static str) -> Refusal {
    Refusal::BadStep { flow: flow_id(1), step, name: Some(format!("s{step}").into()), what }
}

/// Where there is no such step.
fn no_step(step: u32, what: &'static str) -> Refusal {
    Refusal::BadStep { flow: flow_id(1), step, name: None, what }
}

#[test]
fn the_same_flow_twice_is_one() {
    let mut bed = Bed::new();
    let first = bed.submit(1, vec![job(&[]), job(&[(0, CANCEL)])]).unwrap();
    assert!(first.iter().all(|receipt| receipt.fresh));
    let second = bed.submit(1, vec![job(&[])]).unwrap();
    assert_eq!(
        second.iter().map(|receipt| (receipt.id, receipt.fresh)).collect::<Vec<_>>(),
        [(id(100), false), (id(101), false)]
    );
    bed.done(100);
    bed.done(101);
    let third = bed.submit(1, vec![job(&[])]).unwrap();
    assert!(third.len() == 2 && third.iter().all(|receipt| !receipt.fresh));
    assert_eq!(bed.state(1), FlowState::Done);
}

/// I2: what a refusal says of a flow is true after a loss of power, too.
#[test]
fn another_sort_of_flow_with_the_same_id_is_another_flow() {
    let mut bed = Bed::new();
    let (plan, jobs) = bed.plan(1, vec![job(&[])]);
    let other = FlowPlan { name: "refund".into(), ..plan.clone() };
    let (first, second) =
        (bed.submit_unsealed(plan.clone(), jobs.clone()), bed.submit_unsealed(other.clone(), jobs.clone()));
    assert_eq!((bed.told(first), bed.told(second)), (None, None), "nothing is written yet");
    bed.driver.settle();
    let taken = Refusal::FlowTaken { id: flow_id(1), name: "order".into() };
    assert!(matches!(bed.told(first), Some(Ok(Answer::Enqueued(_)))));
    assert_eq!(bed.told(second), Some(Err(taken.clone())));
    assert_eq!(
        taken.to_string(),
        format!("flow {} exists already and is a flow `order`: choose another id", flow_id(1))
    );
    // An ended one has its id as long as it is remembered.
    bed.done(100);
    assert_eq!(bed.hand_in(other.clone(), jobs.clone()), Err(taken));
    assert!(!bed.hand_in(plan, jobs).unwrap()[0].fresh);
    bed.driver.advance(FLOW_KEEP_MS);
    bed.fire();
    let (_, jobs) = bed.plan(1, vec![job(&[])]);
    assert!(bed.hand_in(other, jobs).unwrap()[0].fresh);
}

#[test]
fn whoever_waits_for_the_same_flow_once_more_is_told_of_its_last_job() {
    let mut bed = Bed::new();
    bed.submit(1, vec![job(&[]), job(&[])]).unwrap();
    let watch = bed.submit_and_watch(1, vec![job(&[])]);
    assert_eq!(bed.told(watch), None);
    bed.done(101);
    assert!(matches!(bed.told(watch), Some(Ok(Answer::Ending(ending))) if ending.id == id(101)));
    let watch = bed.submit_and_watch(1, vec![job(&[])]);
    assert!(matches!(bed.told(watch), Some(Ok(Answer::Found(_)))));
    bed.steer(101, Verb::Discard).unwrap();
    let watch = bed.submit_and_watch(1, vec![job(&[])]);
    assert_eq!(bed.told(watch), Some(Err(Refusal::Forgotten { id: id(101) })));
}

#[test]
fn no_commit_holds_steps_of_memory_and_of_the_journal() {
    let mut bed = Bed::new();
    let in_memory = Planned { queue: "ram", ..job(&[(0, CANCEL)]) };
    let refused = bed.submit(1, vec![job(&[]), in_memory.clone()]).unwrap_err();
    assert_eq!(refused, Refusal::FlowInTwoStores { flow: flow_id(1), one: "mail".into(), other: "ram".into() });
    assert_eq!(bed.look(1), None);
    // Two queues of the journal, or memory alone: why not.
    bed.submit(1, vec![job(&[]), Planned { queue: "bulk", ..job(&[(0, CANCEL)]) }]).unwrap();
    bed.submit(2, vec![Planned { queue: "ram", ..job(&[]) }, in_memory]).unwrap();
    bed.done(200);
    bed.done(201);
    bed.done(100);
    bed.done(101);
    assert_eq!((bed.state(1), bed.state(2)), (FlowState::Done, FlowState::Done));
    bed.driver.crash(None);
    assert_eq!(bed.driver.load(), []);
    assert_eq!(bed.driver.shard.portrait().flows.len(), 1, "memory is gone with its process");
}

#[test]
fn steps_need_earlier_ones_and_each_once() {
    let mut bed = Bed::new();
    let forward = "needs a step that does not come before it";
    assert_eq!(bed.submit(1, vec![job(&[(0, CANCEL)])]), Err(bad(0, forward)));
    assert_eq!(bed.submit(1, vec![job(&[(1, CANCEL)]), job(&[])]), Err(bad(0, forward)));
    let undo = |step| Planned { undoes: Some(step), ..job(&[]) };
    assert_eq!(bed.submit(1, vec![undo(1), job(&[])]), Err(bad(0, forward)));
    assert_eq!(bed.submit(1, vec![job(&[]), job(&[(0, CANCEL), (0, GO_ON)])]), Err(bad(1, "needs a step twice")));
    assert_eq!(
        bad(1, "needs a step twice").to_string(),
        format!("step `s1` of flow {} needs a step twice", flow_id(1))
    );
}

#[test]
fn a_step_that_undoes_another_has_its_own_turn() {
    let mut bed = Bed::new();
    let undo = |step, needs| Planned { undoes: Some(step), ..job(needs) };
    let what = "undoes another one, and needs nothing else";
    assert_eq!(bed.submit(1, vec![job(&[]), undo(0, &[(0, CANCEL)])]), Err(bad(1, what)));
    let waits = Planned { undoes: Some(0), ..signal(&[]) };
    assert_eq!(bed.submit(1, vec![job(&[]), waits]), Err(bad(1, what)));
    // It would wait for the end of the flow, and the flow for it.
    let what = "needs, or undoes, a step that undoes another one";
    assert_eq!(bed.submit(1, vec![job(&[]), undo(0, &[]), job(&[(1, CANCEL)])]), Err(bad(2, what)));
    assert_eq!(bed.submit(1, vec![job(&[]), undo(0, &[]), undo(1, &[])]), Err(bad(2, what)));
}

#[test]
fn a_step_has_its_own_job_and_no_key() {
    let mut bed = Bed::new();
    let key = Arc::new(UniqueKey { of: KeyOf::Engine, text: "k".into() });
    let unique = Unique { key, until: Until::Done, on_conflict: OnConflict::Existing };
    let (plan, mut jobs) = bed.plan(1, vec![job(&[])]);
    let of = jobs[0].body.labels.step();
    let labels = windlass_scheduler::job::Labels::new(Vec::new(), None, None, Some(unique), Share::NONE).of_step(of);
    jobs[0].body = Arc::new(Body { labels, ..Body::default() });
    let refused = Err(bad(0, "has a unique key, and another job would stand for it: say `.unique(None)`"));
    assert_eq!(bed.hand_in(plan, jobs), refused);
    let (plan, jobs) = bed.plan(1, vec![job(&[])]);
    let jobs = jobs.into_iter().map(|job| NewJob { body: Arc::default(), ..job }).collect();
    assert_eq!(bed.hand_in(plan, jobs), Err(bad(0, "is not the one that its job says")));
    let (plan, mut jobs) = bed.plan(1, vec![job(&[])]);
    assert_eq!(bed.hand_in(plan.clone(), Vec::new()), Err(no_step(1, "has a job, or an output, that is no step's")));
    jobs.push(bare(101, "mail"));
    assert_eq!(bed.hand_in(plan, jobs), Err(no_step(1, "has a job that is no step's, and of no batch")));
    // Nor may another one have its id.
    bed.submit(1, vec![job(&[])]).unwrap();
    let (mut plan, mut jobs) = bed.plan(2, vec![job(&[])]);
    (plan.steps[0].job, jobs[0].id) = (id(100), id(100));
    assert_eq!(bed.hand_in(plan, jobs), Err(Refusal::IdTaken { id: id(100), kind: "work".into() }));
    assert_eq!(bed.look(2), None);
}

#[test]
fn a_flow_has_steps_and_not_too_many() {
    let mut bed = Bed::with(|settings| settings.flow_steps_max = 2);
    let refused = |steps| Err(Refusal::FlowSize { flow: flow_id(1), steps, steps_max: 2 });
    assert_eq!(bed.submit(1, Vec::new()), refused(0));
    assert_eq!(bed.submit(1, vec![job(&[]); 3]), refused(3));
    let mut plan = bed.plan(1, vec![job(&[]), job(&[])]);
    plan.0.steps[1].needs.push(Need { step: 7, if_failed: CANCEL });
    assert!(bed.hand_in(plan.0, plan.1).is_err());
}

#[test]
fn the_needs_of_a_flow_are_bounded_all_together() {
    let mut bed = Bed::with(|settings| settings.flow_needs_max = 4);
    let firsts = || vec![job(&[]); 2];
    let both = job(&[(0, CANCEL), (1, CANCEL)]);
    let refused = Refusal::FlowNeeds { flow: flow_id(1), needs: 6, needs_max: 4 };
    let told = refused.to_string();
    assert!(told.contains("6 needs") && told.contains("up to 4") && told.contains("put one step between"), "{told}");
    assert_eq!(bed.submit(1, [firsts(), vec![both.clone(); 3]].concat()), Err(refused));
    assert_eq!((bed.look(1), bed.flow_records()), (None, 0));
    bed.submit(1, [firsts(), vec![both; 2]].concat()).unwrap();
    assert_eq!(ShardSettings::new(1, 7, Vec::new(), Vec::new()).flow_needs_max, 100_000);
}

#[test]
fn what_is_not_there_is_named() {
    let mut bed = Bed::new();
    let no_flow = Refusal::NoFlow { id: flow_id(9) };
    assert_eq!(bed.cancel(9), Err(no_flow.clone()));
    assert_eq!(bed.skip(9, "s0", None), Err(no_flow.clone()));
    assert_eq!(bed.signal(9, "s0", b""), Err(no_flow.clone()));
    assert_eq!(bed.retry(9, "s0"), Err(no_flow));
    bed.submit(1, vec![job(&[])]).unwrap();
    let no_step = Refusal::NoStep { flow: flow_id(1), step: "x".into() };
    assert_eq!(bed.skip(1, "x", None), Err(no_step.clone()));
    assert_eq!(bed.signal(1, "x", b""), Err(no_step.clone()));
    assert_eq!(bed.retry(1, "x"), Err(no_step));
    let forbidden = |is, verb| Refusal::StepForbidden { flow: flow_id(1), step: "s0".into(), is, verb };
    assert_eq!(bed.signal(1, "s0", b""), Err(forbidden("a step that waits for no signal", "signalled")));
    assert_eq!(bed.retry(1, "s0"), Err(forbidden("not over", "retried")));
    assert_eq!(bed.skip(1, "s0", None), Err(forbidden("running: cancel it first", "skipped")));
}

#[test]
fn a_job_that_comes_without_its_flow_is_no_step_of_it() {
    let mut bed = Bed::new();
    bed.submit(1, vec![signal(&[])]).unwrap();
    let (_, mut jobs) = bed.plan(1, vec![job(&[])]);
    jobs[0].id = id(199);
    bed.submit_plain(jobs);
    assert_eq!(bed.driver.journal.job(id(199)).unwrap().body.labels.step(), None);
    bed.reload();
    bed.done(199);
    assert_eq!(bed.state(1), FlowState::Running);
}

#[test]
fn flows_are_listed_by_how_they_stand_and_in_pieces() {
    let mut bed = Bed::new();
    for n in 1..=4 {
        bed.submit(n, vec![job(&[])]).unwrap();
    }
    bed.done(200);
    bed.die(400);
    assert_eq!(bed.list(None, None, 3), [1, 2, 3]);
    assert_eq!(bed.list(Some(3), None, 3), [4]);
    assert_eq!(bed.list(None, Some(FlowState::Running), 9), [1, 3]);
    assert_eq!(bed.list(Some(2), Some(FlowState::Failed), 9), [4]);
    assert_eq!(bed.list(None, Some(FlowState::Held), 9), [0; 0]);
}
