//! The gate: nothing is said before it is true. On the real clock, since the writer needs a thread to stand still on.

use std::time::Duration;

use tokio::task::JoinHandle;
use windlass::{Durability, Engine, EnqueueError, MemoryJournal, QueueConfig, Refusal, SEC, new_job_id};
use windlass_tests::fault::{AppendFault, Call, FaultJournal, Faults};
use windlass_tests::script::{Play, Script, block, step};
use windlass_tests::world::{builder, work};

async fn start(script: &Script, queue: QueueConfig) -> (Engine, Faults) {
    let journal = FaultJournal::new(MemoryJournal::simulated_disk());
    let faults = journal.faults();
    let builder = builder(script, journal).queue(queue);
    (builder.start().await.unwrap(), faults)
}

/// Whatever the queue actor had to say to us, it has said, and whoever waited for it has heard it.
async fn settle(engine: &Engine) {
    for _ in 0..3 {
        engine.stats().await.unwrap();
        tokio::task::yield_now().await;
    }
}

fn spawn_enqueue(engine: &Engine, id: windlass::JobId) -> JoinHandle<Result<bool, EnqueueError>> {
    let engine = engine.clone();
    tokio::spawn(async move { engine.enqueue(step("a")).id(id).await.map(|job| job.is_fresh()) })
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it ends")
}

/// I2: no effect leaves before the step it depends on reaches its mark: neither the Ok of a Durable enqueue, nor a
/// duplicate's, nor a refusal that another job caused.
#[tokio::test]
async fn while_the_sync_is_held_no_ok_of_a_durable_enqueue_leaves_and_no_duplicate_s() {
    let script = Script::new();
    let (engine, faults) = start(&script, work()).await;
    script.plan("a", [Play::Hold]);
    let id = new_job_id();
    faults.hold(Call::Sync);
    let first = spawn_enqueue(&engine, id);
    in_time(faults.stands_at_the_gate(Call::Sync)).await;
    let duplicate = spawn_enqueue(&engine, id);
    let other_kind = tokio::spawn({
        let engine = engine.clone();
        async move { engine.enqueue(block("a")).id(id).await.map(|_| ()) }
    });
    let cancel = tokio::spawn({
        let engine = engine.clone();
        async move { engine.cancel(id).await }
    });
    settle(&engine).await;
    assert!(!first.is_finished() && !duplicate.is_finished() && !other_kind.is_finished() && !cancel.is_finished());
    faults.release(Call::Sync);
    assert!(in_time(first).await.unwrap().unwrap());
    assert!(!in_time(duplicate).await.unwrap().unwrap());
    let refused = in_time(other_kind).await.unwrap().unwrap_err();
    assert!(matches!(refused, EnqueueError::Refused(Refusal::IdTaken { .. })));
    in_time(cancel).await.unwrap().unwrap();
    engine.shutdown(SEC).await.unwrap();
}

/// I2: a wait is answered when the end is synced, whether it began before the end or after it.
#[tokio::test]
async fn while_the_sync_is_held_no_wait_of_a_durable_queue_is_answered() {
    let script = Script::new();
    let (engine, faults) = start(&script, work()).await;
    script.plan("a", [Play::Hold]);
    let job = engine.enqueue(step("a")).await.unwrap();
    let wait = || {
        let job = job.clone();
        tokio::spawn(async move { job.wait().await })
    };
    in_time(script.started("a", 1)).await;
    let before = wait();
    settle(&engine).await;
    faults.hold(Call::Sync);
    script.tell("a", Play::Succeed);
    in_time(faults.stands_at_the_gate(Call::Sync)).await;
    let after = wait();
    settle(&engine).await;
    assert!(!before.is_finished() && !after.is_finished());
    faults.release(Call::Sync);
    assert_eq!(in_time(before).await.unwrap().unwrap(), "a");
    assert_eq!(in_time(after).await.unwrap().unwrap(), "a");
    engine.shutdown(SEC).await.unwrap();
}

/// I2: `Process` needs what is written and no sync, `Memory` neither.
#[tokio::test]
async fn each_level_waits_for_its_own_mark() {
    for (level, call, leaves) in [
        (Durability::Process, Call::Append, false),
        (Durability::Process, Call::Sync, true),
        (Durability::Memory, Call::Append, true),
        (Durability::Memory, Call::Sync, true),
        (Durability::Durable, Call::Append, false),
    ] {
        let script = Script::new();
        let (engine, faults) = start(&script, work().durability(level)).await;
        faults.hold(call);
        let first = spawn_enqueue(&engine, new_job_id());
        if leaves {
            assert!(in_time(first).await.unwrap().unwrap(), "{level:?}, {call:?} held");
            faults.release(call);
        } else {
            in_time(faults.stands_at_the_gate(call)).await;
            settle(&engine).await;
            assert!(!first.is_finished(), "{level:?}, {call:?} held");
            faults.release(call);
            assert!(in_time(first).await.unwrap().unwrap());
        }
        engine.shutdown(SEC).await.unwrap();
    }
}

/// I2: an attempt starts when its start is written, and that needs no sync.
#[tokio::test]
async fn no_attempt_starts_before_its_start_is_written_and_none_waits_for_a_sync() {
    let script = Script::new();
    let (engine, faults) = start(&script, work().durability(Durability::Process)).await;
    faults.hold(Call::Append);
    let first = spawn_enqueue(&engine, new_job_id());
    in_time(faults.stands_at_the_gate(Call::Append)).await;
    settle(&engine).await;
    assert!(script.order().is_empty());
    faults.hold(Call::Sync);
    faults.release(Call::Append);
    in_time(script.started("a", 1)).await;
    faults.release(Call::Sync);
    in_time(first).await.unwrap().unwrap();
    engine.shutdown(SEC).await.unwrap();
}

/// I10: what waits behind a refused write is not written either, before the journal has been opened and loaded again.
#[tokio::test]
async fn nothing_that_waits_behind_a_refused_write_is_written() {
    let script = Script::new();
    let (engine, faults) = start(&script, work()).await;
    faults.hold(Call::Append);
    faults.on_append(AppendFault::Refused);
    let ids = [new_job_id(), new_job_id()];
    let refused = spawn_enqueue(&engine, ids[0]);
    in_time(faults.stands_at_the_gate(Call::Append)).await;
    let behind = spawn_enqueue(&engine, ids[1]);
    settle(&engine).await;
    assert_eq!(engine.stats().await.unwrap()[0].running, 2);
    faults.release(Call::Append);
    for caller in [refused, behind] {
        assert!(matches!(in_time(caller).await.unwrap(), Err(EnqueueError::Interrupted { .. })));
    }
    for id in ids {
        assert!(in_time(spawn_enqueue(&engine, id)).await.unwrap().unwrap(), "it is new");
    }
    assert_eq!((faults.opens(), faults.batches()[0].commit_no.term), (2, 2));
    engine.shutdown(SEC).await.unwrap();
}

/// I8: actors never await each other: while the writer stands still, the queue actor answers, timers fire, and other
/// levels go on.
#[tokio::test]
async fn while_the_writer_stands_still_everybody_else_goes_on() {
    let script = Script::new();
    let journal = FaultJournal::new(MemoryJournal::simulated_disk());
    let faults = journal.faults();
    let quick = QueueConfig::new("quick").durability(Durability::Memory);
    let engine = builder(&script, journal).queue(work()).queue(quick).start().await.unwrap();
    faults.hold(Call::Append);
    let held = spawn_enqueue(&engine, new_job_id());
    in_time(faults.stands_at_the_gate(Call::Append)).await;
    let delayed = engine.enqueue(step("b")).queue("quick").delay(Duration::from_millis(20)).and_wait();
    assert_eq!(in_time(delayed).await.unwrap(), "b");
    assert!(!held.is_finished());
    faults.release(Call::Append);
    in_time(held).await.unwrap().unwrap();
    engine.shutdown(SEC).await.unwrap();
}

/// Group commit: who comes while a sync is under way shares the next one.
#[tokio::test]
async fn callers_who_come_during_a_sync_share_the_next() {
    let script = Script::new();
    let (engine, faults) = start(&script, work()).await;
    engine.pause("work").await.unwrap();
    let before = faults.syncs();
    faults.hold(Call::Sync);
    let first = spawn_enqueue(&engine, new_job_id());
    in_time(faults.stands_at_the_gate(Call::Sync)).await;
    let others: Vec<_> = (0..100).map(|_| spawn_enqueue(&engine, new_job_id())).collect();
    while engine.stats().await.unwrap()[0].ready < 101 {
        tokio::task::yield_now().await;
    }
    faults.release(Call::Sync);
    in_time(first).await.unwrap().unwrap();
    for other in others {
        in_time(other).await.unwrap().unwrap();
    }
    assert_eq!(faults.syncs() - before, 2);
    engine.shutdown(SEC).await.unwrap();
}

/// What is written at the `Process` level is synced within about a second, though nobody asks.
#[tokio::test]
async fn what_nobody_asks_to_sync_is_synced_soon() {
    let script = Script::new();
    let (engine, faults) = start(&script, work().durability(Durability::Process)).await;
    engine.enqueue(step("a")).await.unwrap();
    in_time(faults.synced(1)).await;
    engine.shutdown(SEC).await.unwrap();
}

/// Nor does much of it wait for that second: everybody would wait while it is synced.
#[tokio::test(start_paused = true)]
async fn what_nobody_asks_to_sync_is_synced_at_once_when_it_is_much() {
    let script = Script::new();
    let (engine, faults) = start(&script, work().durability(Durability::Process)).await;
    engine.pause("work").await.unwrap();
    let before = faults.syncs();
    let much = step(&"a".repeat(250_000));
    for _ in 0..8 {
        engine.enqueue(much.clone()).await.unwrap();
    }
    assert_eq!(faults.syncs(), before, "less than 2 MiB");
    engine.enqueue(much).await.unwrap();
    engine.stats().await.unwrap();
    assert_eq!(faults.syncs(), before + 1, "no time has passed");
    engine.shutdown(SEC).await.unwrap();
}
