//! Jobs whose payloads are on disk only are found, steered, moved, edited and told of like all others.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use windlass::storage::StorageError;
use windlass::{
    ControlError, Durability, Engine, EngineBuilder, Filter, HOUR, JobHandle, JobId, JobState, KeepDone, MIN,
    MemoryJournal, Priority, QueueConfig, Refusal, Retention, SEC, Verb,
};
use windlass_tests::fault::{AppendFault, FaultJournal, Faults};
use windlass_tests::script::{Play, Script, Step, step};
use windlass_tests::world::{World, builder, work};

const BUDGET_BYTES: u64 = 16 << 20;
const PAYLOAD_BYTES: usize = 200 << 10;
/// A third more than there is room for.
const JOBS: usize = 100;
/// Of those, the last ones are certainly out.
const OUT: usize = 20;

/// A long name makes a large payload.
fn name(n: usize) -> String {
    format!("{n:05}{}", "x".repeat(PAYLOAD_BYTES - 20))
}

fn queue() -> QueueConfig {
    work().concurrency(1).result_bytes_max(PAYLOAD_BYTES).retention(Retention::default().keep_done(KeepDone::None))
}

fn on_disk(script: &Script) -> (EngineBuilder<Script>, Faults) {
    let journal = FaultJournal::new(MemoryJournal::simulated_disk());
    let faults = journal.faults();
    let other = QueueConfig::new("other").concurrency(1).result_bytes_max(PAYLOAD_BYTES);
    (builder(script, journal).memory_bytes_max(BUDGET_BYTES).queue(queue()).queue(other), faults)
}

/// Every third one is red, every second one is part of the story, and nothing runs yet.
async fn fill(engine: &Engine) -> Vec<JobHandle<Step>> {
    engine.pause("work").await.unwrap();
    engine.pause("other").await.unwrap();
    let mut jobs = Vec::new();
    for n in 0..JOBS {
        let draft = engine.enqueue(step(&name(n))).tag(if n % 3 == 0 { "red" } else { "blue" });
        let draft = if n % 2 == 0 { draft.correlation_id("story") } else { draft };
        jobs.push(draft.await.unwrap());
    }
    let memory = engine.memory().await.unwrap();
    assert!(memory.paged_out >= OUT as u64 && memory.used_bytes() <= BUDGET_BYTES, "{memory:?}");
    jobs
}

async fn start() -> (Engine, Script, Faults, Vec<JobHandle<Step>>) {
    let script = Script::new();
    let (builder, faults) = on_disk(&script);
    let engine = builder.start().await.unwrap();
    let jobs = fill(&engine).await;
    (engine, script, faults, jobs)
}

async fn ids(engine: &Engine, filter: Filter) -> BTreeSet<JobId> {
    let (mut found, mut list) = (BTreeSet::new(), engine.jobs(filter.clone()).limit(7));
    loop {
        let page = list.await.unwrap();
        for job in page.jobs {
            assert!(found.insert(job.id), "{job:?} is on two pages");
        }
        let Some(next) = page.next else { break };
        list = engine.jobs(filter.clone()).limit(7).after(next);
    }
    assert_eq!(engine.count(filter).await.unwrap(), found.len() as u64);
    found
}

fn those(jobs: &[JobHandle<Step>], are: impl Fn(usize) -> bool) -> BTreeSet<JobId> {
    jobs.iter().enumerate().filter(|(n, _)| are(*n)).map(|(_, job)| job.id()).collect()
}

#[tokio::test(start_paused = true)]
async fn jobs_are_found_and_counted_by_labels_that_are_on_disk_only() {
    let (engine, _, _, jobs) = start().await;
    let f = Filter::new;
    assert_eq!(ids(&engine, f().tag("red")).await, those(&jobs, |n| n % 3 == 0));
    assert_eq!(ids(&engine, f().correlation_id("story").tag("blue")).await, those(&jobs, |n| n % 2 == 0 && n % 3 != 0));
    assert_eq!(ids(&engine, f().tag("green")).await, those(&jobs, |_| false));
    assert_eq!(ids(&engine, f().queue("work")).await, those(&jobs, |_| true));
    assert!(engine.memory().await.unwrap().paged_out >= OUT as u64, "a look brings nothing into memory");
    engine.shutdown(SEC).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_verb_does_to_a_job_on_disk_what_it_does_to_others() {
    let (engine, script, _, jobs) = start().await;
    let id = |back: usize| jobs[JOBS - back].id();
    let detail = engine.inspect(id(1)).await.unwrap();
    assert!(detail.payload.ends_with(b"xx\"}") && detail.payload.starts_with(b"{\"name\":\"00099"), "it is read");
    assert_eq!((detail.tags.as_slice(), detail.correlation_id.as_deref()), (&["red".to_owned()][..], None));

    // Another payload, and the labels stay: twice, for a job that was edited may be on disk again.
    for new in ["once", "twice"] {
        assert_eq!(engine.edit(id(2), &step(&format!("{new}{}", name(98)))).await.unwrap(), JobState::Ready);
    }
    let detail = engine.inspect(id(2)).await.unwrap();
    assert!(detail.payload.starts_with(b"{\"name\":\"twice"));
    assert_eq!((detail.tags.as_slice(), detail.correlation_id.as_deref()), (&["blue".to_owned()][..], Some("story")));
    let other = engine.edit(id(3), &windlass_tests::script::block("b")).await.unwrap_err();
    assert!(matches!(other, ControlError::OtherKind { .. }), "{other}");

    assert_eq!(engine.move_to(id(4), "other").await.unwrap(), JobState::Ready);
    assert_eq!(engine.reschedule_in(id(5), HOUR).await.unwrap(), JobState::Delayed);
    assert_eq!(engine.reschedule_in(id(6), HOUR).await.unwrap(), JobState::Delayed);
    assert_eq!(engine.run_now(id(6)).await.unwrap(), JobState::Ready);
    // It has another place than when it was written.
    assert_eq!(engine.edit(id(6), &step(&format!("late{}", name(94)))).await.unwrap(), JobState::Ready);
    assert_eq!(engine.inspect(id(6)).await.unwrap().tags, ["blue"]);
    assert_eq!(engine.cancel(id(7)).await.unwrap(), JobState::Cancelled);
    assert_eq!(engine.cancel(id(8)).await.unwrap(), JobState::Cancelled);
    assert_eq!(engine.requeue(id(8)).await.unwrap(), JobState::Ready);
    engine.discard(id(9)).await.unwrap();
    engine.reprioritise(id(10), Priority::URGENT).await.unwrap();
    engine.edit(id(7), &step("retained")).await.unwrap();
    assert_eq!(engine.inspect(id(7)).await.unwrap().tags, ["red"]);
    let gone = engine.inspect(id(9)).await.unwrap_err();
    assert!(matches!(gone, ControlError::Refused(Refusal::Forgotten { .. })), "{gone}");

    engine.resume("other").await.unwrap();
    jobs[JOBS - 4].wait().await.unwrap();
    assert!(script.order() == [name(JOBS - 4)]);
    engine.resume("work").await.unwrap();
    // It was brought back, and stands at the end of the line.
    jobs[JOBS - 8].wait().await.unwrap();
    let order = script.order();
    let last = [name(97), format!("twice{}", name(98)), name(99), format!("late{}", name(94)), name(92)];
    let expected: Vec<_> = [name(96), name(90)].into_iter().chain((0..90).map(name)).chain(last).collect();
    assert!(order == expected, "{:?}", order.iter().map(|name| &name[..8]).collect::<Vec<_>>());
    engine.shutdown(SEC).await.unwrap();
}

/// The edit is what the next process and the attempt see.
#[test]
fn an_edit_of_a_job_on_disk_is_there_in_the_next_life() {
    let mut world = World::new();
    let id = world.life(async |life| {
        let other = QueueConfig::new("other");
        let builder = life.builder().memory_bytes_max(BUDGET_BYTES).queue(queue()).queue(other);
        let engine = builder.start().await.unwrap();
        let jobs = fill(&engine).await;
        engine.edit(jobs[JOBS - 1].id(), &step("edited")).await.unwrap();
        jobs[JOBS - 1].id()
    });
    world.life(async |life| {
        let other = QueueConfig::new("other");
        let builder = life.builder().memory_bytes_max(BUDGET_BYTES).queue(queue()).queue(other);
        let engine = builder.start().await.unwrap();
        assert_eq!(engine.inspect(id).await.unwrap().tags, ["red"]);
        engine.reprioritise(id, Priority::URGENT).await.unwrap();
        engine.resume("work").await.unwrap();
        life.script.started("edited", 1).await;
    });
    assert_eq!(world.script.order()[0], "edited");
}

#[tokio::test(start_paused = true)]
async fn orders_mean_jobs_by_labels_that_are_on_disk_only() {
    let (engine, _, _, jobs) = start().await;
    let red = Filter::new().tag("red").state(JobState::Ready);
    assert_eq!(engine.steer_all(Verb::move_to("other"), red.clone()).dry_run().await.unwrap(), 34);
    let order = engine.steer_all(Verb::move_to("other"), red).await.unwrap();
    let order = engine.wait_order(order.id).await.unwrap();
    assert_eq!((order.changed, order.skipped), (34, 0));
    assert_eq!(ids(&engine, Filter::new().queue("other")).await, those(&jobs, |n| n % 3 == 0));
    let story = Filter::new().correlation_id("story").queue("work");
    let order = engine.steer_all(Verb::Cancel, story.clone()).await.unwrap();
    assert_eq!(engine.wait_order(order.id).await.unwrap().changed, 33);
    // What was called off is retained, with its labels.
    let order = engine.steer_all(Verb::Requeue, story.state(JobState::Cancelled)).await.unwrap();
    assert_eq!(engine.wait_order(order.id).await.unwrap().changed, 33);
    assert_eq!(engine.wait_order(engine.purge("work").await.unwrap().id).await.unwrap().changed, 66);
    assert_eq!(ids(&engine, Filter::new()).await, those(&jobs, |n| n % 3 == 0));
    engine.shutdown(SEC).await.unwrap();
}

/// Whatever is on disk only, hooks are told with payload and labels, also where nothing is kept of the job.
#[tokio::test(start_paused = true)]
async fn hooks_are_told_of_jobs_on_disk_with_payload_and_labels() {
    let (script, told, all) = (Script::new(), Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
    let (builder, faults) = on_disk(&script);
    let (tell, wake) = (told.clone(), all.clone());
    let builder = builder.on_dead(move |event| {
        let mut told = tell.lock().unwrap();
        told.push((event.id(), event.payload().len(), event.tags().to_vec()));
        if told.len() == JOBS {
            wake.notify_one();
        }
        async {}
    });
    let queue = QueueConfig::new("fleeting").concurrency(1).retention(Retention::default().dead(HOUR, 0, 0));
    let engine = builder.queue(queue).start().await.unwrap();
    engine.pause("fleeting").await.unwrap();
    let mut jobs = Vec::new();
    for n in 0..JOBS {
        script.plan(&name(n), [Play::Permanent]);
        jobs.push(engine.enqueue(step(&name(n))).queue("fleeting").tag(&n.to_string()).await.unwrap().id());
    }
    // Every first read fails, so that what is read ahead is not there, and the attempt has to read.
    let mut seen = BTreeSet::new();
    faults.judge_reads(move |id| seen.insert(id).then_some(StorageError::Closed));
    engine.resume("fleeting").await.unwrap();
    all.notified().await;
    let expected: Vec<_> =
        (0..JOBS).map(|n| (jobs[n], name(n).len() + r#"{"name":""}"#.len(), vec![n.to_string()])).collect();
    assert_eq!(*told.lock().unwrap(), expected);
    assert!(faults.reads().len() >= OUT, "{} were read", faults.reads().len());
    engine.shutdown(SEC).await.unwrap();
}

/// Checkpoints and retained jobs of a queue in memory have no other place, and count.
#[tokio::test(start_paused = true)]
async fn what_a_queue_in_memory_keeps_is_counted_through_a_rebuild() {
    let script = Script::new();
    let (builder, faults) = on_disk(&script);
    let ram = QueueConfig::new("ram").durability(Durability::Memory);
    let engine = builder.queue(ram).start().await.unwrap();
    let volatile = async || engine.memory().await.unwrap().volatile_bytes;
    assert_eq!(volatile().await, 0);
    let keep = |cx: windlass::Context<Script>| async move {
        cx.checkpoint(&"x".repeat(60_000)).await?;
        Err::<String, _>(windlass::JobError::retry_after(MIN, "again"))
    };
    script.plan("a", [Play::run(keep), Play::Permanent]);
    let job = engine.enqueue(step("a")).queue("ram").await.unwrap();
    script.returned("a", 1).await;
    let with_checkpoint = volatile().await;
    assert!((60_000..61_000).contains(&with_checkpoint), "{with_checkpoint}");
    faults.on_append(AppendFault::UnknownAbsent);
    engine.enqueue(step("b")).await.unwrap_err();
    assert_eq!((volatile().await, faults.opens()), (with_checkpoint, 2));
    job.wait().await.unwrap_err();
    // The dead letter, too, and both until it is discarded.
    assert!(volatile().await > with_checkpoint);
    engine.discard(job.id()).await.unwrap();
    assert_eq!(volatile().await, 0);
    engine.shutdown(SEC).await.unwrap();
}

/// One that the disk has lost is passed by: live or retained, in lists and in orders.
#[tokio::test(start_paused = true)]
async fn a_damaged_record_hides_no_other_job_and_holds_up_no_order() {
    let (engine, script, faults, jobs) = start().await;
    let live: Vec<_> = jobs.iter().map(JobHandle::id).collect();
    let dead = {
        engine.resume("other").await.unwrap();
        let mut dead = Vec::new();
        for name in ["a", "b", "c"] {
            script.plan(name, [Play::Permanent]);
            let job = engine.enqueue(step(name)).queue("other").tag("red").await.unwrap();
            job.wait().await.unwrap_err();
            dead.push(job.id());
        }
        dead
    };
    // The last red one that waits, and one of the dead ones.
    let lost = [live[99], dead[1]];
    faults.judge_reads(move |id| {
        let damaged = || StorageError::Damaged { key: "01".to_owned(), reason: "its checksum is wrong".to_owned() };
        lost.contains(&id).then(damaged)
    });
    let red = Filter::new().tag("red");
    let found = engine.jobs(red.clone()).limit(1_000).await.unwrap();
    assert_eq!((found.jobs.len(), found.next), (34 - 1 + 3 - 1, None));
    assert!(!found.jobs.iter().any(|job| lost.contains(&job.id)));
    let order = engine.steer_all(Verb::Requeue, red).await.unwrap();
    let order = tokio::time::timeout(MIN, engine.wait_order(order.id)).await.expect("it ends").unwrap();
    assert_eq!(order.changed, 2);
}
