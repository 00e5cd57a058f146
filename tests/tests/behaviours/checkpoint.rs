//! Checkpoints: what an attempt leaves for the next one, through failures, stops, rebuilds and deaths.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use windlass::storage::{Journal, MemoryJournal};
use windlass::{
    CheckpointError, Context, ControlError, Durability, Engine, Job, JobError, JobId, MIN, QueueConfig, Refusal,
    RetryPolicy, SEC, ShutdownError,
};
use windlass_scheduler::change::{Key, Record};
use windlass_tests::fault::{AppendFault, Call, FaultJournal};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{World, builder, start, start_with_faults, work};

/// Reads what there is, leaves `mark`, and does `then`.
fn leaves(mark: &'static str, then: Play) -> Play {
    Play::run(move |cx| {
        let then = then.clone();
        async move {
            let before = cx.last_checkpoint::<String>().await?;
            cx.checkpoint(mark).await?;
            assert_eq!(cx.last_checkpoint::<String>().await?.as_deref(), Some(mark));
            match then {
                Play::Fail => Err(format!("found {before:?}").into()),
                Play::Snooze(delay) => Err(JobError::snooze(delay)),
                Play::Permanent => Err(JobError::permanent("enough")),
                _ => Ok(format!("{before:?}")),
            }
        }
    })
}

fn reads() -> Play {
    Play::run(async |cx: Context<Script>| Ok(format!("{:?}", cx.last_checkpoint::<String>().await?)))
}

fn stands(disk: &MemoryJournal, id: JobId) -> Option<Record> {
    let mut disk = disk.second_handle();
    disk.open().unwrap();
    let record = disk.reader().unwrap().get(&Key::Checkpoint(id)).unwrap();
    disk.close().unwrap();
    record
}

#[tokio::test(start_paused = true)]
async fn the_next_attempt_reads_what_the_one_before_left_at_every_level() {
    for level in [Durability::Memory, Durability::Process, Durability::Durable] {
        let script = Script::new();
        let engine = start(&script, work().durability(level).retry(RetryPolicy::fixed(SEC))).await;
        let plays = [leaves("one", Play::Fail), leaves("two", Play::Snooze(SEC)), leaves("three", Play::Succeed)];
        script.plan("a", plays);
        assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "Some(\"two\")", "{level:?}");
        script.plan("b", [reads()]);
        assert_eq!(engine.enqueue(step("b")).and_wait().await.unwrap(), "None", "{level:?}");
    }
}

/// I2: nothing is said before it is true.
#[tokio::test]
async fn while_the_sync_is_held_no_ok_of_a_checkpoint_leaves() {
    let script = Script::new();
    let journal = FaultJournal::new(MemoryJournal::simulated_disk());
    let faults = journal.faults();
    let engine = builder(&script, journal).queue(work()).start().await.unwrap();
    let said = Arc::new(Mutex::new(false));
    let has_said = said.clone();
    let (go, gone) = tokio::sync::watch::channel(false);
    script.plan(
        "a",
        [Play::run(move |cx| {
            let (said, mut gone) = (said.clone(), gone.clone());
            async move {
                gone.wait_for(|go| *go).await.unwrap();
                cx.checkpoint(&1).await?;
                *said.lock().unwrap() = true;
                Ok(String::new())
            }
        })],
    );
    let job = engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    faults.hold(Call::Sync);
    go.send(true).unwrap();
    faults.stands_at_the_gate(Call::Sync).await;
    for _ in 0..3 {
        engine.stats().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(!*has_said.lock().unwrap());
    faults.release(Call::Sync);
    tokio::time::timeout(Duration::from_secs(30), job.wait()).await.unwrap().unwrap();
    assert!(*has_said.lock().unwrap());
    engine.shutdown(SEC).await.unwrap();
}

/// A process dies under the attempt, and the power with it: what was Ok stands, and goes with the job.
#[test]
fn it_outlives_the_process_and_goes_with_its_job() {
    let mut world = World::new();
    let id = world.life_without_power_at_its_end(async |life| {
        let said = Arc::new(Semaphore::new(0));
        let has_said = said.clone();
        let hangs = Play::run(move |cx| {
            let said = has_said.clone();
            async move {
                cx.checkpoint("before the crash").await?;
                said.add_permits(1);
                std::future::pending().await
            }
        });
        life.script.plan("a", [hangs, reads()]);
        let engine = life.start(work()).await;
        let id = engine.enqueue(step("a")).await.unwrap().id();
        let _ = said.acquire().await.unwrap();
        id
    });
    assert!(stands(&world.disk, id).is_some());
    world.life(async |life| {
        let engine = life.start(work()).await;
        let found = engine.handle::<windlass_tests::script::Step>(id).wait().await.unwrap();
        assert_eq!((found.as_str(), life.script.attempts("a")), ("Some(\"before the crash\")", vec![1, 2]));
        engine.shutdown(SEC).await.unwrap();
    });
    assert_eq!(stands(&world.disk, id), None);
}

#[test]
fn a_dead_letter_keeps_it_until_it_is_discarded_and_it_comes_back_with_it() {
    let mut world = World::new();
    let (back, gone) = world.life(async |life| {
        life.script.plan("a", [leaves("dead", Play::Permanent), reads()]);
        life.script.plan("b", [leaves("dead", Play::Permanent)]);
        let engine = life.start(work()).await;
        let (back, gone) = (engine.enqueue(step("a")).await.unwrap(), engine.enqueue(step("b")).await.unwrap());
        back.wait().await.unwrap_err();
        gone.wait().await.unwrap_err();
        engine.shutdown(SEC).await.unwrap();
        (back.id(), gone.id())
    });
    assert!(stands(&world.disk, back).is_some() && stands(&world.disk, gone).is_some());
    world.life(async |life| {
        let engine = life.start(work()).await;
        engine.discard(gone).await.unwrap();
        engine.requeue(back).await.unwrap();
        let found = engine.handle::<windlass_tests::script::Step>(back).wait().await.unwrap();
        assert_eq!(found, "Some(\"dead\")");
        engine.shutdown(SEC).await.unwrap();
    });
    assert!(stands(&world.disk, back).is_none() && stands(&world.disk, gone).is_none());
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_it_is_stored_and_one_byte_over_it_is_refused_with_the_numbers() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan(
        "a",
        [Play::run(async |cx: Context<Script>| {
            // Two more bytes are the quotes of JSON.
            cx.checkpoint(&"x".repeat(64 * 1_024 - 2)).await?;
            let error = cx.checkpoint(&"x".repeat(64 * 1_024 - 1)).await.unwrap_err();
            assert!(matches!(error, CheckpointError::TooLarge { bytes: 65_537, bytes_max: 65_536 }), "{error}");
            let error = cx.last_checkpoint::<u32>().await.unwrap_err();
            assert!(matches!(error, CheckpointError::Decode { bytes: 65_536, .. }), "{error}");
            Ok(cx.last_checkpoint::<String>().await?.unwrap().len().to_string())
        })],
    );
    assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "65534");
}

/// I4: an attempt that was superseded changes nothing any more.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_has_ended_leaves_nothing() {
    let script = Script::new();
    let engine = start(&script, work().retry(RetryPolicy::fixed(SEC))).await;
    let kept: Arc<Mutex<Option<Context<Script>>>> = Arc::default();
    let keep = kept.clone();
    script.plan(
        "a",
        [
            Play::run(move |cx| {
                *keep.lock().unwrap() = Some(cx);
                async { Err("again".into()) }
            }),
            leaves("mine", Play::Fail),
            Play::Hold,
        ],
    );
    let job = engine.enqueue(step("a")).await.unwrap();
    script.started("a", 3).await;
    let earlier = kept.lock().unwrap().take().unwrap();
    let error = earlier.checkpoint("late").await.unwrap_err();
    let is_stale = |error: &CheckpointError| {
        let CheckpointError::Control(ControlError::Refused(Refusal::StaleLease { id })) = error else { return false };
        *id == job.id()
    };
    assert!(is_stale(&error), "{error}");
    assert_eq!(earlier.last_checkpoint::<String>().await.unwrap().as_deref(), Some("mine"));
    script.tell("a", reads());
    assert_eq!(job.wait().await.unwrap(), "Some(\"mine\")");
    assert!(is_stale(&earlier.checkpoint("later still").await.unwrap_err()));
    assert_eq!(earlier.last_checkpoint::<String>().await.unwrap(), None);
}

/// I10: a write that fails gives no Ok; the attempt is adopted by the next core, which it tells again.
#[tokio::test(start_paused = true)]
async fn a_storage_that_breaks_meanwhile_is_waited_for() {
    for fault in [AppendFault::Refused, AppendFault::UnknownAbsent, AppendFault::UnknownWritten] {
        let script = Script::new();
        let (engine, faults) = start_with_faults(&script, work()).await;
        let break_it = faults.clone();
        script.plan(
            "a",
            [Play::run(move |cx| {
                let faults = break_it.clone();
                async move {
                    faults.on_append(fault);
                    cx.checkpoint("through").await?;
                    Ok(cx.last_checkpoint::<String>().await?.unwrap())
                }
            })],
        );
        assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "through", "{fault:?}");
        assert_eq!((faults.opens(), script.attempts("a")), (2, vec![1]));
    }
}

/// A stop takes the attempt back, and the checkpoint that it left on its way out is there for the next process.
#[test]
fn an_attempt_that_is_told_to_end_may_still_leave_one() {
    let mut world = World::new();
    let id = world.life(async |life| {
        let on_its_way_out = Play::until_cancelled(leaves("on its way out", Play::Fail));
        life.script.plan("a", [on_its_way_out, reads()]);
        let engine = life.start(work()).await;
        let id = engine.enqueue(step("a")).await.unwrap().id();
        life.script.started("a", 1).await;
        match engine.shutdown(SEC).await {
            Ok(()) | Err(ShutdownError::Unfinished { .. }) => id,
            Err(error) => panic!("{error}"),
        }
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        let found = engine.handle::<windlass_tests::script::Step>(id).wait().await.unwrap();
        assert_eq!(found, "Some(\"on its way out\")");
        engine.shutdown(SEC).await.unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn while_the_disk_is_nearly_full_the_room_is_kept_for_acknowledgements() {
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work().attempt_timeout(MIN)).await;
    script.plan("a", [Play::Hold]);
    let job = engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    faults.set_free_bytes(1);
    // The writer looks at the disk now and then.
    while engine.enqueue(step("b")).await.is_ok() {
        tokio::time::advance(SEC).await;
    }
    script.tell(
        "a",
        Play::run(async |cx: Context<Script>| {
            let error = cx.checkpoint("no room").await.unwrap_err();
            Ok(format!("{error}"))
        }),
    );
    let said = job.wait().await.unwrap();
    assert!(said.starts_with("the disk is nearly full: 1 bytes free, checkpoints need 268435456"), "{said}");
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Count;

impl Job for Count {
    const KIND: &'static str = "count";
    const QUEUE: &'static str = "work";
    type Output = u32;
}

// Handlers own what they get.
#[allow(clippy::needless_pass_by_value)]
fn count(_: Count, cx: Context<()>) -> Result<u32, JobError> {
    let before = cx.last_checkpoint_blocking::<u32>()?.unwrap_or(0);
    cx.checkpoint_blocking(&(before + 1))?;
    if before < 2 { Err("again".into()) } else { Ok(before) }
}

/// On the real clock: blocking handlers have threads of their own.
#[tokio::test]
async fn a_blocking_handler_leaves_and_reads_them_too() {
    let queue = QueueConfig::new("work").retry(RetryPolicy::fixed(Duration::from_millis(1)));
    let builder = Engine::builder().journal(MemoryJournal::new()).queue(queue).blocking_handler(count);
    let engine = builder.start().await.unwrap();
    assert_eq!(engine.enqueue(Count).and_wait().await.unwrap(), 2);
    engine.shutdown(SEC).await.unwrap();
}
