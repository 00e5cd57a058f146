//! Follow-up jobs: stored with the success that they come from, or not at all.

use std::sync::{Arc, Mutex};

use windlass::{
    Context, Draft, Durability, EnqueueError, Filter, JobId, KeepDone, MIN, MemoryJournal, QueueConfig, Refusal,
    Retention, RetryPolicy, SEC, new_job_id,
};
use windlass_scheduler::change::{Change, Record};
use windlass_storage::journal::Batch;
use windlass_tests::fault::{AppendFault, FaultJournal};
use windlass_tests::script::{Play, Script, Step, step};
use windlass_tests::world::{World, builder, start, work};

fn with_children(then: Play) -> Play {
    Play::run(move |cx| {
        let then = then.clone();
        async move {
            cx.follow_up(&step("child"))?;
            cx.follow_up_with(Draft::new(&step("later")).delay(MIN))?;
            match then {
                Play::Fail => Err("after the children".into()),
                Play::Panic => panic!("after the children"),
                _ => Ok("parent".to_owned()),
            }
        }
    })
}

/// Done is one commit: acknowledgement, result and follow-ups stand in one batch.
#[tokio::test(start_paused = true)]
async fn the_ack_the_output_and_the_follow_ups_are_one_commit() {
    let script = Script::new();
    let journal = FaultJournal::new(MemoryJournal::new());
    let faults = journal.faults();
    let engine = builder(&script, journal).queue(work()).start().await.unwrap();
    script.plan("parent", [with_children(Play::Succeed)]);
    let parent = engine.enqueue(step("parent")).await.unwrap();
    parent.wait().await.unwrap();
    let batches = faults.batches();
    let ack = batches.iter().find(|batch| {
        batch.changes.iter().any(|change| matches!(change, Change::Put(Record::Ended(end)) if end.id == parent.id()))
    });
    let changes = &ack.expect("the ack").changes;
    assert_eq!(changes.iter().filter(|change| matches!(change, Change::Put(Record::Job(_)))).count(), 2);
    assert_eq!(changes.iter().filter(|change| matches!(change, Change::Put(Record::Result(..)))).count(), 1);
    script.returned("later", 1).await;
    assert_eq!(script.order(), ["parent", "child", "later"]);
}

/// Done is one commit, however large it is: batches have a size at which no more is joined, and none is split.
#[tokio::test(start_paused = true)]
async fn a_success_with_more_follow_ups_than_a_batch_is_joined_from_is_one_commit() {
    let script = Script::new();
    let journal = FaultJournal::new(MemoryJournal::new());
    let faults = journal.faults();
    let engine = builder(&script, journal).queue(work().payload_bytes_max(16 << 20)).start().await.unwrap();
    let three = |cx: Context<Script>| async move {
        for _ in 0..3 {
            cx.follow_up_with(Draft::new(&step(&"x".repeat(12 << 20))).delay(MIN))?;
        }
        Ok(String::new())
    };
    script.plan("parent", [Play::run(three)]);
    let parent = engine.enqueue(step("parent")).await.unwrap();
    parent.wait().await.unwrap();
    let is_ack = |change: &Change| matches!(change, Change::Put(Record::Ended(end)) if end.id == parent.id());
    let is_child = |change: &&Change| matches!(change, Change::Put(Record::Job(job)) if job.id != parent.id());
    let batches = faults.batches();
    let ack = batches.iter().find(|batch| batch.changes.iter().any(is_ack)).expect("the ack");
    assert_eq!(ack.changes.iter().filter(is_child).count(), 3);
}

#[tokio::test(start_paused = true)]
async fn follow_ups_of_an_attempt_that_does_not_succeed_vanish() {
    for then in [Play::Fail, Play::Panic] {
        let script = Script::new();
        let engine = start(&script, work().retry(RetryPolicy::fixed(SEC))).await;
        script.plan("parent", [with_children(then), with_children(Play::Succeed)]);
        engine.enqueue(step("parent")).and_wait().await.unwrap();
        script.returned("later", 1).await;
        assert_eq!(script.order(), ["parent", "parent", "child", "later"]);
    }
}

#[test]
fn follow_ups_of_an_attempt_whose_process_dies_come_once() {
    let mut world = World::new();
    world.script.plan(
        "parent",
        [
            Play::run(|cx| async move {
                cx.follow_up(&step("child"))?;
                cx.app().started("parent", 1).await;
                std::future::pending().await
            }),
            with_children(Play::Succeed),
        ],
    );
    world.life(async |life| {
        let engine = life.start(work()).await;
        engine.enqueue(step("parent")).await.unwrap();
        life.script.started("parent", 1).await;
        tokio::task::yield_now().await;
    });
    let receipts = world.life_without_power_at_its_end(async |life| {
        let engine = life.start(work()).await;
        life.script.returned("later", 1).await;
        engine.enqueue(step("last")).and_wait().await.unwrap();
        engine.stats().await.unwrap().remove(0).totals.enqueued
    });
    assert_eq!(receipts, 4);
    assert_eq!(world.script.order(), ["parent", "parent", "child", "later", "last"]);
}

#[tokio::test(start_paused = true)]
async fn a_follow_up_into_another_queue_runs_there() {
    let script = Script::new();
    for level in [Durability::Durable, Durability::Process] {
        let other = QueueConfig::new("other").durability(level);
        let engine = builder(&script, MemoryJournal::new()).queue(work()).queue(other).start().await.unwrap();
        let id = new_job_id();
        script.plan(
            "parent",
            [Play::run(move |cx| async move {
                cx.follow_up_with(Draft::new(&step("child")).id(id).queue("other"))?;
                Ok(String::new())
            })],
        );
        engine.enqueue(step("parent")).and_wait().await.unwrap();
        assert_eq!(engine.handle::<Step>(id).wait().await.unwrap(), "child");
        assert_eq!(engine.job(id).await.unwrap().queue, "other");
    }
}

/// A second job with its id is the same job: a handler that runs again may add the same follow-up again.
#[tokio::test(start_paused = true)]
async fn a_follow_up_with_an_id_is_stored_once() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let id = new_job_id();
    script.plan(
        "parent",
        [Play::run(move |cx| async move {
            cx.follow_up_with(Draft::new(&step("child")).id(id))?;
            Ok(String::new())
        })],
    );
    for _ in 0..3 {
        engine.enqueue(step("parent")).and_wait().await.unwrap();
    }
    engine.handle::<Step>(id).wait().await.unwrap();
    assert_eq!(script.attempts("child"), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_follow_up_is_part_of_its_parent_s_story_unless_it_brings_its_own() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let of_parent = [Some("story"), Some("00-1-2-01")];
    for (parents, brings, expected) in [
        (of_parent, [None, None], of_parent),
        (of_parent, [Some("own"), None], [Some("own"), Some("00-1-2-01")]),
        (of_parent, [None, Some("00-1-3-01")], [Some("story"), Some("00-1-3-01")]),
        (of_parent, [Some("own"), Some("00-1-3-01")], [Some("own"), Some("00-1-3-01")]),
        ([None, None], [None, None], [None, None]),
    ] {
        let with = |draft: Draft, [id, trace]: [Option<&str>; 2]| {
            let draft = id.into_iter().fold(draft, Draft::correlation_id);
            trace.into_iter().fold(draft, Draft::trace_context)
        };
        let parent = Play::run(move |cx| async move {
            let child = with(Draft::new(&step("child")), brings);
            Ok(cx.follow_up_with(child)?.to_string())
        });
        let child = Play::run(|cx| async move { Ok(format!("{:?}", [cx.correlation_id(), cx.trace_context()])) });
        script.plan("parent", [parent]);
        script.plan("child", [child]);
        let id = new_job_id();
        let draft = with(Draft::new(&step("parent")).id(id).tag("red"), parents);
        engine.enqueue_all([draft]).await.unwrap();
        let child: JobId = engine.handle::<Step>(id).wait().await.unwrap().parse().unwrap();
        assert_eq!(engine.handle::<Step>(child).wait().await.unwrap(), format!("{expected:?}"));
        assert!(engine.inspect(child).await.unwrap().tags.is_empty(), "tags are its own");
    }
    let found = engine.count(Filter::new().correlation_id("story")).await.unwrap();
    assert_eq!(found, 6, "one id finds four parents, and the two follow-ups that are of their story");
}

/// I10: the parent's end stands in memory at once, so its follow-up must not hang on one write alone, nor on two.
#[tokio::test(start_paused = true)]
async fn a_journaled_follow_up_of_a_memory_job_outlives_failed_writes() {
    for failures in [1, 2] {
        let script = Script::new();
        let journal = FaultJournal::new(MemoryJournal::new());
        let faults = journal.faults();
        let quick = QueueConfig::new("quick").durability(Durability::Memory);
        let engine = builder(&script, journal).queue(work()).queue(quick).start().await.unwrap();
        script.plan("parent", [Play::run(|cx| async move { Ok(cx.follow_up(&step("child"))?.to_string()) })]);
        (0..failures).for_each(|_| faults.on_append(AppendFault::UnknownAbsent));
        engine.enqueue(step("parent")).queue("quick").await.unwrap();
        tokio::time::timeout(MIN, script.returned("child", 1)).await.expect("the child runs");
        assert_eq!((script.order(), faults.opens()), (vec!["parent".to_owned(), "child".to_owned()], failures + 1));
    }
}

/// I2: what follows in memory alone begins when the journal has the success, and once, whether the failed write is there.
#[tokio::test(start_paused = true)]
async fn a_memory_follow_up_begins_once_and_after_the_success_is_written() {
    use AppendFault::{UnknownAbsent, UnknownWritten};

    for failures in [vec![], vec![UnknownWritten], vec![UnknownAbsent], vec![UnknownAbsent; 2]] {
        let script = Script::new();
        let journal = FaultJournal::new(MemoryJournal::new());
        let (faults, seen) = (journal.faults(), journal.faults());
        let quick = QueueConfig::new("quick")
            .durability(Durability::Memory)
            .retention(Retention::default().keep_done(KeepDone::None));
        let engine =
            builder(&script, journal).queue(work().durability(Durability::Process)).queue(quick).start().await.unwrap();
        let planned = failures.clone();
        let parent = Play::run(move |cx| {
            for fault in &planned {
                faults.on_append(*fault);
            }
            async move { Ok(cx.follow_up_with(Draft::new(&step("child")).queue("quick"))?.to_string()) }
        });
        script.plan("parent", [parent]);
        let is_done = move |batch: &Batch| batch.changes.iter().any(|one| matches!(one, Change::Put(Record::Ended(_))));
        let child = Play::run(move |_| {
            assert!(seen.batches().iter().any(is_done), "the child begins before its parent's success is written");
            async move { Ok(String::new()) }
        });
        script.plan("child", [child]);
        engine.enqueue(step("parent")).await.unwrap();
        tokio::time::timeout(MIN, script.returned("child", 1)).await.expect("the child runs");
        engine.enqueue(step("last")).and_wait().await.unwrap();
        assert_eq!((script.attempts("parent"), script.attempts("child")), (vec![1], vec![1]), "{failures:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_follow_up_that_comes_after_the_end_is_refused() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let kept = Arc::new(Mutex::new(None));
    let keep = kept.clone();
    let play = Play::run(move |cx| {
        let keep = keep.clone();
        async move {
            *keep.lock().unwrap() = Some(cx.clone());
            Ok("done".to_owned())
        }
    });
    script.plan("a", [play]);
    engine.enqueue(step("a")).and_wait().await.unwrap();
    let cx = kept.lock().unwrap().take().unwrap();
    let refused = cx.follow_up(&step("late"));
    assert!(matches!(refused, Err(EnqueueError::Refused(Refusal::StaleLease { .. }))), "{refused:?}");
}
