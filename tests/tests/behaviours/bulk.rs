//! Many jobs in one call: one commit, all or nothing, across queues.

use windlass::{Draft, Durability, EnqueueError, JobState, MemoryJournal, QueueConfig, Refusal, SEC, new_job_id};
use windlass_scheduler::change::{Change, Record};
use windlass_tests::fault::{AppendFault, FaultJournal};
use windlass_tests::script::{Script, Step, block, step};
use windlass_tests::world::{World, builder, start, work};

#[tokio::test(start_paused = true)]
async fn a_call_across_queues_and_kinds_is_one_commit() {
    let script = Script::new();
    let journal = FaultJournal::new(MemoryJournal::new());
    let faults = journal.faults();
    let engine = builder(&script, journal).queue(work()).queue(QueueConfig::new("other")).start().await.unwrap();
    let drafts = vec![
        Draft::new(&step("a")),
        Draft::new(&block("b")).queue("other"),
        Draft::new(&step("c")).queue("other").delay(SEC),
    ];
    let receipts = engine.enqueue_all(drafts).await.unwrap();
    assert!(receipts.len() == 3 && receipts.iter().all(|receipt| receipt.fresh));
    let holds =
        |change: &Change| matches!(change, Change::Put(Record::Job(job)) if receipts.iter().any(|r| r.id == job.id));
    let commits: Vec<_> =
        faults.batches().iter().map(|batch| batch.changes.iter().filter(|c| holds(c)).count()).collect();
    assert_eq!(commits.into_iter().filter(|jobs| *jobs > 0).collect::<Vec<_>>(), [3]);
    for receipt in receipts {
        while engine.job(receipt.id).await.unwrap().state != JobState::Done {
            tokio::time::advance(SEC).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_job_that_is_refused_refuses_all() {
    let script = Script::new();
    let full = QueueConfig::new("full").depth_max(1);
    let builder = builder(&script, MemoryJournal::new()).queue(work().payload_bytes_max(100)).queue(full);
    let engine = builder.start().await.unwrap();
    let good = || Draft::new(&step("a")).delay(SEC);
    let taken = new_job_id();
    engine.enqueue(block("b")).id(taken).and_wait().await.unwrap();
    let bad = [
        vec![Draft::new(&step(&"x".repeat(200)))],
        vec![good().queue("nowhere")],
        vec![good().queue("full"), good().queue("full")],
        vec![good().id(taken)],
        vec![good().tag(&"x".repeat(1_000))],
    ];
    for bad in bad {
        let id = new_job_id();
        let drafts = [good(), good().id(id)].into_iter().chain(bad).chain([good()]);
        engine.enqueue_all(drafts).await.unwrap_err();
        assert!(engine.job(id).await.is_err());
    }
    let stats = engine.stats().await.unwrap();
    assert_eq!((stats[0].totals.enqueued, stats[1].totals.enqueued), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_with_nothing_in_it_is_fine() {
    let engine = start(&Script::new(), work()).await;
    assert!(engine.enqueue_all([]).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_too_large_for_a_queue_is_refused_whole_and_one_that_fits_is_taken_whole() {
    let engine = start(&Script::new(), work().depth_max(100)).await;
    let drafts = |n| (0..n).map(|_| Draft::new(&step("a")).delay(SEC));
    let refused = engine.enqueue_all(drafts(101)).await.unwrap_err();
    assert!(matches!(refused, EnqueueError::Refused(Refusal::QueueFull { depth: 0, depth_max: 100, jobs: 101, .. })));
    assert_eq!(engine.enqueue_all(drafts(100)).await.unwrap().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_call_is_there_whole_or_not_at_all() {
    for (fault, there) in [(AppendFault::UnknownWritten, 100), (AppendFault::UnknownAbsent, 0)] {
        let journal = FaultJournal::new(MemoryJournal::new());
        let faults = journal.faults();
        let script = Script::new();
        let engine = builder(&script, journal).queue(work()).queue(QueueConfig::new("other")).start().await.unwrap();
        faults.on_append(fault);
        let drafts = (0..100).map(|n| Draft::new(&step("a")).queue(["work", "other"][n % 2]).delay(SEC));
        let error = engine.enqueue_all(drafts).await.unwrap_err();
        assert!(matches!(error, EnqueueError::Interrupted { .. }));
        assert_eq!(engine.stats().await.unwrap().iter().map(|stats| stats.delayed).sum::<u64>(), there);
    }
}

#[test]
fn a_call_survives_as_the_strongest_of_its_queues() {
    let mut world = World::new();
    let queues = |life: &windlass_tests::world::Life| {
        let process = QueueConfig::new("process").durability(Durability::Process);
        life.builder().queue(work()).queue(process)
    };
    let ids = world.life_without_power_at_its_end(async |life| {
        let engine = queues(life).start().await.unwrap();
        let drafts = ["work", "process"].map(|queue| Draft::new(&step("a")).queue(queue).delay(SEC));
        engine.enqueue_all(drafts).await.unwrap()
    });
    world.life(async |life| {
        let engine = queues(life).start().await.unwrap();
        for receipt in ids {
            engine.handle::<Step>(receipt.id).wait().await.unwrap();
        }
    });
}
