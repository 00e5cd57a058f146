//! Steps: what is done once is skipped by every later attempt of the job, through failures, crashes and deaths.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use windlass::{Context, Durability, Engine, JobError, JobState, MemoryJournal, RetryPolicy, SEC};
use windlass_scheduler::attempt::CHECKPOINT_BYTES_MAX;
use windlass_tests::script::{Block, Play, Script, block, step};
use windlass_tests::world::{World, builder, start, work};

/// How often each of two steps was done.
#[derive(Clone, Default)]
struct Done([Arc<AtomicUsize>; 2]);

impl Done {
    fn times(&self) -> [usize; 2] {
        [0, 1].map(|n: usize| self.0[n].load(Ordering::SeqCst))
    }

    async fn one(&self, cx: &Context<Script>, n: usize) -> Result<String, JobError> {
        let done = self.0[n].clone();
        let work = || async move { Ok(format!("{n}.{}", done.fetch_add(1, Ordering::SeqCst))) };
        cx.step(&format!("step {n}"), work).await
    }

    /// Two steps, and what is given in between.
    fn twice(&self, between: Play) -> Play {
        let done = self.clone();
        Play::run(move |cx| {
            let (done, between) = (done.clone(), between.clone());
            async move {
                let first = done.one(&cx, 0).await?;
                match between {
                    Play::Fail => return Err("in between".into()),
                    Play::Permanent => return Err(JobError::permanent("in between")),
                    Play::Hold => std::future::pending().await,
                    _ => {}
                }
                let second = done.one(&cx, 1).await?;
                Ok(format!("{first} {second}"))
            }
        })
    }
}

async fn retrying(script: &Script, level: Durability) -> Engine {
    start(script, work().durability(level).retry(RetryPolicy::fixed(SEC).attempts(3))).await
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_done_is_done_once_at_every_level() {
    for level in [Durability::Memory, Durability::Process, Durability::Durable] {
        let (script, done) = (Script::new(), Done::default());
        let engine = retrying(&script, level).await;
        script.plan("a", [done.twice(Play::Fail), done.twice(Play::Fail), done.twice(Play::Succeed)]);
        assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "0.0 1.0", "{level:?}");
        assert_eq!(done.times(), [1, 1], "{level:?}");
        // Of another job nothing is done.
        script.plan("b", [done.twice(Play::Succeed)]);
        assert_eq!(engine.enqueue(step("b")).and_wait().await.unwrap(), "0.1 1.1", "{level:?}");
    }
}

#[test]
fn a_process_that_dies_between_two_steps_has_done_the_first() {
    let (mut world, done) = (World::new(), Done::default());
    world.script.plan("a", [done.twice(Play::Hold), done.twice(Play::Hold), done.twice(Play::Succeed)]);
    let id = world.life_without_power_at_its_end(async |life| {
        let engine = life.start(work()).await;
        let job = engine.enqueue(step("a")).await.unwrap();
        life.script.started("a", 1).await;
        while done.times() != [1, 0] {
            tokio::task::yield_now().await;
        }
        // It is kept by the time that the handler goes on, which it does before this is answered.
        engine.stats().await.unwrap();
        job.id()
    });
    world.life(async |life| {
        let _engine = life.start(work()).await;
        life.script.started("a", 2).await;
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        assert_eq!(engine.handle::<windlass_tests::script::Step>(id).wait().await.unwrap(), "0.0 1.0");
    });
    assert_eq!(done.times(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_job_that_is_brought_back_goes_on_behind_its_steps() {
    let (script, done) = (Script::new(), Done::default());
    let engine = retrying(&script, Durability::Durable).await;
    script.plan("a", [done.twice(Play::Permanent), done.twice(Play::Succeed)]);
    let job = engine.enqueue(step("a")).await.unwrap();
    job.wait().await.unwrap_err();
    engine.requeue(job.id()).await.unwrap();
    assert_eq!(job.wait().await.unwrap(), "0.0 1.0");
    assert_eq!(done.times(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn of_a_step_that_fails_nothing_is_kept_and_steps_may_run_at_the_same_time() {
    let (script, done) = (Script::new(), Done::default());
    let engine = retrying(&script, Durability::Durable).await;
    let both = done.clone();
    let at_once = Play::run(move |cx: Context<Script>| {
        let done = both.clone();
        async move {
            let fails = async {
                let is_first = cx.attempt() == 1;
                cx.step("fails", || async move { if is_first { Err("not yet".into()) } else { Ok(7) } }).await
            };
            let (first, second, seven) = tokio::join!(done.one(&cx, 0), done.one(&cx, 1), fails);
            Ok(format!("{} {} {}", first?, second?, seven?))
        }
    });
    script.plan("a", [at_once]);
    assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "0.0 1.0 7");
    assert_eq!(done.times(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn steps_and_a_checkpoint_stand_beside_one_another() {
    let script = Script::new();
    let engine = retrying(&script, Durability::Durable).await;
    let fails = Play::run(async |cx: Context<Script>| {
        cx.checkpoint("row 7").await?;
        let one = cx.step("one", || async { Ok(1) }).await?;
        assert_eq!((one, cx.last_checkpoint::<String>().await?.as_deref()), (1, Some("row 7")));
        cx.checkpoint("row 8").await?;
        Err("now".into())
    });
    let goes_on = Play::run(async |cx: Context<Script>| {
        cx.checkpoint("row 9").await?;
        let one = cx.step("one", || async { Err::<u32, _>(JobError::permanent("it was done")) }).await?;
        Ok(format!("{one} {:?}", cx.last_checkpoint::<String>().await?))
    });
    script.plan("a", [fails, goes_on]);
    assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "1 Some(\"row 9\")");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_or_of_another_type_is_a_failure_and_what_stood_stands() {
    let script = Script::new();
    let engine = retrying(&script, Durability::Durable).await;
    let too_large = Play::run(async |cx: Context<Script>| {
        let small = cx.step("small", || async { Ok(1_u32) }).await?;
        let large = cx.step("large", || async { Ok("x".repeat(CHECKPOINT_BYTES_MAX)) }).await;
        assert!(format!("{:?}", large.unwrap_err()).contains("are allowed"), "it says what is allowed");
        Ok(format!("{small} {}", cx.step("small", || async { Ok(2_u32) }).await?))
    });
    script.plan("large", [too_large]);
    assert_eq!(engine.enqueue(step("large")).and_wait().await.unwrap(), "1 1");
    let other_type = Play::run(async |cx: Context<Script>| {
        cx.step("one", || async { Ok("text".to_owned()) }).await?;
        let number = cx.step("one", || async { Ok(1_u32) }).await;
        Ok(format!("{:?}", number.unwrap_err()))
    });
    script.plan("other", [other_type]);
    let says = engine.enqueue(step("other")).and_wait().await.unwrap();
    assert!(says.contains("could not be decoded"), "{says}");
    for name in ["", &"x".repeat(129)] {
        let name = name.to_owned();
        let named = Play::run(move |cx: Context<Script>| {
            let name = name.clone();
            async move { cx.step(&name, || async { Ok(String::new()) }).await }
        });
        script.plan("named", [named]);
        let job = engine.enqueue(step("named")).await.unwrap();
        job.wait().await.unwrap_err();
        let status = job.status().await.unwrap();
        let says = status.failure.unwrap().message;
        assert!(status.state == JobState::Dead && says.contains("bytes of a step's name"), "{says}");
    }
}

#[test]
fn blocking_handlers_have_steps_as_well_and_so_has_the_kit() {
    use windlass::testing::{self, TestContext};

    let twice = |_: Block, cx: Context<()>| {
        let first = cx.step_blocking("first", || Ok(1_u32))?;
        let second = cx.step_blocking("second", || Ok(first + 1))?;
        Ok(format!("{first} {second}"))
    };
    let run = testing::run_blocking(twice, block("a"), TestContext::new(()).step("first", &7));
    assert_eq!((run.output().as_deref(), run.steps()), (Some("7 8"), vec!["first".into(), "second".into()]));
    let none: Option<u32> = run.checkpoint();
    assert_eq!(none, None);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_holds_the_lease_no_more_keeps_no_step() {
    let script = Script::new();
    let engine = builder(&script, MemoryJournal::new()).queue(work().attempt_timeout(SEC)).start().await.unwrap();
    let ((go, may_go), (tell, told)) = (oneshot::channel::<()>(), oneshot::channel());
    let ends = Arc::new(Mutex::new(Some((may_go, tell))));
    let leaves_a_task = Play::run(move |cx: Context<Script>| {
        let (may_go, tell) = ends.lock().unwrap().take().unwrap();
        // A task of its own outlives the attempt.
        tokio::spawn(async move {
            let _ = may_go.await;
            let late = cx.step("late", || async { Ok(1) }).await;
            let _ = tell.send(format!("{:?}", late.unwrap_err()));
        });
        async { Ok(String::new()) }
    });
    script.plan("a", [leaves_a_task]);
    engine.enqueue(step("a")).and_wait().await.unwrap();
    go.send(()).unwrap();
    let says = told.await.unwrap();
    assert!(says.contains("attempt"), "{says}");
}
