//! Delays, times and expiry: not before, and not after.

use tokio::time::Instant;
use windlass::{HOUR, JobState, MIN, MemoryJournal, SEC, WaitError, Why};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{World, builder, start, took, wall, work};

#[tokio::test(start_paused = true)]
async fn a_delayed_job_starts_when_its_time_has_come() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let before = Instant::now();
    let job = engine.enqueue(step("a")).delay(MIN * 5).await.unwrap();
    let status = job.status().await.unwrap();
    assert_eq!((status.state, status.why), (JobState::Delayed, Some(Why::Delayed)));
    job.wait().await.unwrap();
    assert!(took(before, script.starts("a")[0], MIN * 5));
}

#[tokio::test(start_paused = true)]
async fn delayed_jobs_start_in_the_order_of_their_times() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1)).await;
    for (name, delay) in [("c", 30), ("a", 10), ("d", 40), ("b", 20)] {
        engine.enqueue(step(name)).delay(SEC * delay).await.unwrap();
    }
    script.returned("d", 1).await;
    assert_eq!(script.order(), ["a", "b", "c", "d"]);
}

#[tokio::test(start_paused = true)]
async fn a_delay_of_years_does_not_disturb_the_others() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let far = engine.enqueue(step("far")).delay(HOUR * 24 * 36_500).await.unwrap();
    let near = engine.enqueue(step("near")).delay(SEC).await.unwrap();
    near.wait().await.unwrap();
    assert_eq!(far.status().await.unwrap().state, JobState::Delayed);
}

#[test]
fn a_job_for_a_wall_time_starts_at_that_time() {
    let mut world = World::new();
    world.life(async |life| {
        let engine = life.start(work()).await;
        let before = Instant::now();
        let job = engine.enqueue(step("a")).at(wall(MIN * 90)).await.unwrap();
        assert_eq!(job.status().await.unwrap().due, Some(wall(MIN * 90)));
        job.wait().await.unwrap();
        // Wall timers are looked at once a second.
        let waited = life.script.starts("a")[0] - before;
        assert!((MIN * 90..MIN * 90 + SEC * 2).contains(&waited), "{waited:?}");
    });
}

#[tokio::test(start_paused = true)]
async fn a_time_in_the_past_is_now() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let job = engine.enqueue(step("a")).at(std::time::UNIX_EPOCH).await.unwrap();
    job.wait().await.unwrap();
}

#[test]
fn a_job_that_is_not_started_in_time_expires_and_never_runs() {
    World::new().life(async |life| {
        let (script, engine) = (&life.script, life.start(work().concurrency(1)).await);
        script.plan("first", [Play::Hold]);
        engine.enqueue(step("first")).await.unwrap();
        script.started("first", 1).await;
        let late = engine.enqueue(step("late")).expires_in(MIN * 15).await.unwrap();
        let delayed = engine.enqueue(step("delayed")).delay(MIN * 20).expires_in(MIN * 15).await.unwrap();
        for job in [late, delayed] {
            assert!(matches!(job.wait().await, Err(WaitError::Expired { id }) if id == job.id()));
            assert_eq!(job.status().await.unwrap().state, JobState::Expired);
        }
        script.tell("first", Play::Succeed);
        engine.enqueue(step("next")).and_wait().await.unwrap();
        assert_eq!(script.order(), ["first", "next"]);
        assert_eq!(engine.stats().await.unwrap()[0].expired, 2);
    });
}

#[test]
fn a_job_that_has_started_does_not_expire() {
    World::new().life(async |life| {
        let (script, engine) = (&life.script, life.start(work()).await);
        script.plan("a", [Play::Hold]);
        let job = engine.enqueue(step("a")).expires_in(SEC).await.unwrap();
        script.started("a", 1).await;
        tokio::time::advance(MIN).await;
        script.tell("a", Play::Succeed);
        assert_eq!(job.wait().await.unwrap(), "a");
    });
}

#[tokio::test(start_paused = true)]
async fn a_thousand_jobs_due_at_one_moment_all_run() {
    let script = Script::new();
    let engine = builder(&script, MemoryJournal::new()).queue(work()).start().await.unwrap();
    let drafts = (0..2_500).map(|_| windlass::Draft::new(&step("many")).delay(SEC * 3));
    engine.enqueue_all(drafts).await.unwrap();
    script.returned("many", 2_500).await;
    assert_eq!(engine.stats().await.unwrap()[0].delayed, 0);
}
