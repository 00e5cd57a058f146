//! Faults at every step of something: a caller that leaves, a part that falls, a stop. One run for each place.
//!
//! Between two steps everybody else has a turn, so that each run is cut at another place, until none is left.

use std::future::{Future, IntoFuture as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use windlass::{
    Clock, ControlError, Draft, Durability, Engine, EnqueueError, HealthState, JobId, JobState, MIN, MemoryJournal,
    RetryPolicy, SEC, ShutdownError, new_job_id,
};
use windlass_tests::fault::{AppendFault, Fault};
use windlass_tests::script::{Play, Script, Step, step};
use windlass_tests::world::{EPOCH_MS, World, builder, start_with_faults, work};

/// More steps than anything in here has.
const STEPS_MAX: u64 = 2_000;

/// Polls it so many times, and lets everybody else have a turn after each. What came of it by then; it is dropped.
async fn polled<T>(mut future: Pin<Box<dyn Future<Output = T> + '_>>, times: u64) -> Option<T> {
    for _ in 0..times {
        if let Poll::Ready(output) = futures_util::poll!(future.as_mut()) {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Whatever was under way has come to its end.
async fn settle(engine: &Engine) {
    for _ in 0..20 {
        engine.stats().await.unwrap();
        tokio::task::yield_now().await;
    }
}

async fn is_known(engine: &Engine, id: JobId) -> bool {
    match engine.job(id).await {
        Ok(_) => true,
        Err(ControlError::Refused(windlass::Refusal::Forgotten { .. })) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Fault 64: durable or absent, never half; and the same id again is the same job.
#[tokio::test(start_paused = true)]
async fn an_enqueue_whose_caller_leaves_at_any_await_is_there_whole_or_not_at_all() {
    for level in [Durability::Memory, Durability::Process, Durability::Durable] {
        let (mut absent, mut there) = (0, 0);
        for times in 0..STEPS_MAX {
            let script = Script::new();
            let (engine, _) = start_with_faults(&script, work().durability(level)).await;
            let id = new_job_id();
            let came = polled(Box::pin(engine.enqueue(step("a")).id(id).into_future()), times).await;
            settle(&engine).await;
            let was_known = is_known(&engine, id).await;
            assert!(was_known || came.is_none(), "{level:?}, {times} polls: it was accepted");
            let again = engine.enqueue(step("a")).id(id).await.unwrap();
            assert_eq!(again.is_fresh(), !was_known);
            again.wait().await.unwrap();
            assert_eq!(script.attempts("a"), [1], "{level:?}, {times} polls");
            if was_known {
                there += 1;
            } else {
                absent += 1;
            }
            if came.is_some() {
                break;
            }
        }
        assert!(absent > 0 && there > 1, "{level:?}: a caller left before and after: {absent}, {there}");
    }
}

/// Fault 64, for many jobs in one call, and for a call that waits for room.
#[tokio::test(start_paused = true)]
async fn a_bulk_whose_caller_leaves_at_any_await_is_there_whole_or_not_at_all() {
    for is_full in [false, true] {
        let (mut absent, mut there) = (0, 0);
        for times in 0..30 {
            let script = Script::new();
            let queue = work().concurrency(1).depth_max(3).wait_when_full(1);
            let (engine, _) = start_with_faults(&script, queue).await;
            script.plan("busy", [Play::Hold]);
            let held = if is_full { 4 } else { 0 };
            for _ in 0..held {
                engine.enqueue(step("busy")).await.unwrap();
            }
            if is_full {
                script.started("busy", 1).await;
            }
            let ids = [new_job_id(), new_job_id(), new_job_id()];
            let drafts = ids.map(|id| Draft::new(&step("a")).id(id));
            let came = polled(Box::pin(engine.enqueue_all(drafts)), times).await;
            for no in 1..=held {
                script.started("busy", no).await;
                script.tell("busy", Play::Succeed);
            }
            settle(&engine).await;
            let mut known = 0;
            for id in ids {
                known += u32::from(is_known(&engine, id).await);
            }
            assert!(known == 0 || known == 3, "{times} polls: {known} of 3");
            assert!(known == 3 || came.is_none());
            if known == 0 {
                absent += 1;
            } else {
                there += 1;
            }
            // Nobody's place is kept for one who left.
            assert_eq!(engine.stats().await.unwrap()[0].waiting_callers, 0);
            engine.enqueue(step("next")).and_wait().await.unwrap();
        }
        assert!(absent > 0 && (there > 0 || is_full), "{absent}, {there}");
    }
}

/// I6: what a call took at the door it gives back, wherever its caller left it: two such calls are more than may be in.
#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_gives_back_what_it_took_at_the_door() {
    let large = "x".repeat(250_000);
    let drafts = || (0..150).map(|_| Draft::new(&step(&large)).delay(MIN)).collect::<Vec<_>>();
    let (engine, _) = start_with_faults(&Script::new(), work()).await;
    for times in 0..12 {
        polled(Box::pin(engine.enqueue_all(drafts())), times).await;
        let next = engine.enqueue_all(drafts());
        tokio::time::timeout(SEC, next).await.expect("there is room again").unwrap();
    }
}

/// A clock that panics at one look, and counts all.
#[derive(Clone, Default)]
struct Brittle {
    looks: Arc<AtomicU64>,
    breaks_at: Arc<AtomicU64>,
}

impl Clock for Brittle {
    fn wall_ms(&self) -> u64 {
        let look = self.looks.fetch_add(1, Ordering::SeqCst) + 1;
        assert_ne!(look, self.breaks_at.load(Ordering::SeqCst), "a clock that panics at look {look}");
        EPOCH_MS
    }
}

/// Asks until it is answered: an interruption says that the outcome is unknown, and asking again is safe. (A macro, since
/// futures of closures that borrow are no tasks.)
macro_rules! insist {
    ($ask:expr) => {
        loop {
            match $ask.await {
                Err(ControlError::Interrupted) => {}
                answer => break answer,
            }
        }
    };
}

async fn enqueue(engine: &Engine, draft: impl Fn() -> Draft) -> Result<(), EnqueueError> {
    for _ in 0..10 {
        match engine.enqueue_all([draft()]).await {
            Err(EnqueueError::Interrupted { .. }) => {}
            answer => return answer.map(|_| ()),
        }
    }
    panic!("it is interrupted again and again")
}

type Answered = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// A life in which every message is sent. Done in the end: all but `called off`.
async fn whole_life(engine: &Engine, script: &Script, ids: &[JobId; 7]) -> Answered {
    let [plain, failing, held, delayed, called_off, requeued, moved] = *ids;
    script.plan("failing", [Play::Fail, Play::Snooze(SEC), Play::Succeed]);
    script.plan("requeued", [Play::Permanent, Play::Succeed]);
    let held_play = |cx: windlass::Context<Script>| async move {
        cx.progress(&1)?;
        cx.follow_up(&step("follow-up"))?;
        insist!(cx.extend(MIN))?;
        cx.cancellation().cancelled().await;
        Ok("held".to_owned())
    };
    script.plan("held", [Play::run(held_play)]);
    enqueue(engine, || Draft::new(&step("plain")).id(plain)).await?;
    enqueue(engine, || Draft::new(&step("failing")).id(failing)).await?;
    enqueue(engine, || Draft::new(&step("held")).id(held).attempt_timeout(MIN)).await?;
    enqueue(engine, || Draft::new(&step("delayed")).id(delayed).delay(MIN * 60)).await?;
    enqueue(engine, || Draft::new(&step("called off")).id(called_off).delay(MIN * 60)).await?;
    enqueue(engine, || Draft::new(&step("requeued")).id(requeued)).await?;
    enqueue(engine, || Draft::new(&step("moved")).id(moved).delay(SEC * 30)).await?;
    insist!(engine.pause("work"))?;
    insist!(engine.resume("work"))?;
    // Repeated, it may be told that it is done already.
    let _ = insist!(engine.cancel(called_off));
    let _ = insist!(engine.run_now(delayed));
    let _ = insist!(engine.reschedule_in(moved, SEC * 5));
    insist!(engine.stats())?;
    assert!(engine.handle::<Step>(requeued).wait().await.is_err() || script.attempts("requeued").len() > 1);
    let _ = insist!(engine.requeue(requeued));
    for id in [plain, failing, held, delayed, requeued, moved] {
        engine.handle::<Step>(id).wait().await?;
    }
    script.returned("follow-up", 1).await;
    Ok(())
}

fn counts(script: &Script) -> Vec<usize> {
    let names = ["plain", "failing", "held", "delayed", "called off", "requeued", "moved", "follow-up"];
    names.map(|name| script.attempts(name).len()).into()
}

/// Fault 59: at each message whoever falls comes back, callers get an answer, and no job is lost or run twice. I4.
#[tokio::test(start_paused = true)]
async fn a_part_that_falls_at_any_look_at_the_clock_costs_no_job() {
    let mut falls = 0;
    for nth in 1..STEPS_MAX {
        let (script, clock) = (Script::new(), Brittle::default());
        let retry = RetryPolicy::fixed(SEC).jitter_percent(0);
        let builder = builder(&script, MemoryJournal::simulated_disk()).clock(clock.clone());
        let engine = builder.queue(work().retry(retry)).start().await.unwrap();
        let breaks_at = clock.looks.load(Ordering::SeqCst) + nth;
        clock.breaks_at.store(breaks_at, Ordering::SeqCst);
        let ids = [(); 7].map(|()| new_job_id());
        let life = whole_life(&engine, &script, &ids);
        tokio::time::timeout(MIN * 30, life).await.unwrap_or_else(|_| panic!("look {nth}: a wait for ever")).unwrap();
        let was_met = clock.looks.load(Ordering::SeqCst) >= breaks_at;
        insist!(engine.stats()).unwrap();
        assert_eq!(counts(&script), [1, 3, 1, 1, 0, 2, 1, 1], "look {nth}");
        assert!(script.overlaps().is_empty(), "look {nth}");
        assert_eq!(engine.job(ids[4]).await.unwrap().state, JobState::Cancelled, "look {nth}");
        let stats = engine.stats().await.unwrap()[0].clone();
        assert_eq!((stats.running, stats.totals.lost, stats.totals.failures), (0, 0, 2), "look {nth}");
        assert_eq!(engine.health().state, HealthState::Healthy, "look {nth}");
        if !was_met {
            break;
        }
        falls += 1;
    }
    assert!(falls > 50, "{falls} looks");
}

/// I10, at every call of the journal: refused, unknown either way, or a panic. What is unknown is asked for again.
#[tokio::test(start_paused = true)]
async fn a_journal_that_fails_at_any_call_costs_no_job() {
    let faults = [
        Some(AppendFault::Refused),
        Some(AppendFault::UnknownAbsent),
        Some(AppendFault::UnknownWritten),
        Some(AppendFault::PanicWritten),
        None,
    ];
    for fault in faults {
        for nth in 0..STEPS_MAX {
            let script = Script::new();
            let retry = RetryPolicy::fixed(SEC).jitter_percent(0);
            let (engine, journal) = start_with_faults(&script, work().retry(retry)).await;
            let mut appends = 0;
            let hits = Arc::new(AtomicU64::new(0));
            let hit = hits.clone();
            let (with_syncs, control) = (fault.is_none(), journal.clone());
            journal.judge_appends(move |_| {
                appends += 1;
                if appends != nth + 1 {
                    return None;
                }
                hit.store(1, Ordering::SeqCst);
                if with_syncs {
                    control.on_sync(Fault::Error);
                }
                fault
            });
            let ids = [(); 7].map(|()| new_job_id());
            let life = whole_life(&engine, &script, &ids);
            tokio::time::timeout(MIN * 30, life)
                .await
                .unwrap_or_else(|_| panic!("{fault:?} {nth}: a wait for ever"))
                .unwrap();
            insist!(engine.stats()).unwrap();
            assert_eq!(counts(&script), [1, 3, 1, 1, 0, 2, 1, 1], "{fault:?} at append {nth}");
            assert!(script.overlaps().is_empty(), "{fault:?} at append {nth}");
            if hits.load(Ordering::SeqCst) == 0 {
                assert!(nth > 15, "{nth} appends");
                break;
            }
        }
    }
}

/// Fault 65: a stop at any step ends in time; what was accepted is there in the next life, and nothing counts as lost.
#[test]
fn a_stop_at_any_step_ends_in_time_and_loses_nothing() {
    let mut is_over = false;
    for steps in (0..STEPS_MAX).step_by(3) {
        let mut world = World::new();
        let ids = [(); 7].map(|()| new_job_id());
        let accepted = world.life(async |life| {
            let engine = life.start(work().retry(RetryPolicy::fixed(SEC).jitter_percent(0))).await;
            let (handle, script) = (engine.clone(), life.script.clone());
            let service = tokio::spawn(async move { whole_life(&handle, &script, &ids).await });
            for _ in 0..steps {
                tokio::task::yield_now().await;
            }
            is_over = service.is_finished();
            let began = tokio::time::Instant::now();
            match engine.shutdown(SEC).await {
                Ok(()) | Err(ShutdownError::Unfinished { .. }) => {}
                Err(error) => panic!("after {steps} steps: {error}"),
            }
            assert!(began.elapsed() < SEC * 5, "after {steps} steps it took {:?}", began.elapsed());
            // Its calls are refused now.
            service.abort();
            life.script.order()
        });
        world.disk.lose_power();
        world.script.plan("held", [Play::Succeed]);
        world.script.plan("failing", [Play::Succeed]);
        world.script.plan("requeued", [Play::Succeed]);
        world.life(async |life| {
            let engine = life.start(work()).await;
            let stats = engine.stats().await.unwrap()[0].clone();
            assert_eq!(stats.totals.lost, 0, "after {steps} steps");
            for id in ids {
                if !is_known(&engine, id).await {
                    continue;
                }
                let _ = engine.run_now(id).await;
                let _ = engine.handle::<Step>(id).wait().await;
                let state = engine.job(id).await.unwrap().state;
                let is_end = matches!(state, JobState::Done | JobState::Dead | JobState::Cancelled);
                assert!(is_end, "after {steps} steps: {state:?}");
            }
            for (name, id) in [("plain", ids[0]), ("failing", ids[1]), ("held", ids[2])] {
                assert!(is_known(&engine, id).await || !accepted.iter().any(|ran| ran == name), "{name} is gone");
            }
        });
        assert!(world.script.overlaps().is_empty(), "after {steps} steps");
        if is_over {
            break;
        }
    }
}
