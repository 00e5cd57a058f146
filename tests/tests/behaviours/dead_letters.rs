//! Dead letters: found page by page, looked into, brought back, thrown away.

use windlass::{ControlError, FailureKind, Filter, JobState, Refusal, RetryPolicy, SEC, new_job_id};
use windlass_tests::script::{Play, Script, Step, step};
use windlass_tests::world::{World, start, work};

fn dead() -> Filter {
    Filter::new().queue("work").state(JobState::Dead)
}

#[tokio::test(start_paused = true)]
async fn a_list_is_read_page_by_page_the_latest_first() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1)).await;
    script.plan("dead", [Play::Permanent]);
    let mut ids = Vec::new();
    for _ in 0..25 {
        let job = engine.enqueue(step("dead")).await.unwrap();
        job.wait().await.unwrap_err();
        ids.insert(0, job.id());
    }
    let mut found = Vec::new();
    let mut list = engine.jobs(dead()).limit(10);
    loop {
        let page = list.await.unwrap();
        assert!(page.jobs.len() <= 10);
        // What moves between two pages leaves the cursor where it is.
        engine.discard(page.jobs[0].id).await.unwrap();
        found.extend(page.jobs.into_iter().map(|letter| letter.id));
        let Some(next) = page.next else { break };
        list = engine.jobs(dead()).limit(10).after(next);
    }
    assert_eq!(found, ids);
    assert_eq!(engine.count(dead()).await.unwrap(), 22);
    assert_eq!(engine.count(Filter::new().queue("nowhere")).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_has_its_payload_and_every_attempt_s_error() {
    let script = Script::new();
    let engine = start(&script, work().retry(RetryPolicy::fixed(SEC).attempts(3).jitter_percent(0))).await;
    script.plan("a", [Play::Panic, Play::Fail, Play::Permanent]);
    let job = engine.enqueue(step("a")).tag("red").correlation_id("story").await.unwrap();
    job.wait().await.unwrap_err();
    let detail = engine.inspect(job.id()).await.unwrap();
    assert_eq!(serde_json::from_slice::<Step>(&detail.payload).unwrap(), step("a"));
    assert_eq!((detail.tags, detail.correlation_id), (vec!["red".to_owned()], Some("story".to_owned())));
    assert_eq!((detail.status.attempts, detail.status.kind.as_str(), detail.version), (3, "step", 1));
    let ends: Vec<_> = detail.attempts.iter().map(|end| (end.attempt, end.failure().unwrap().kind)).collect();
    assert_eq!(ends, [(1, FailureKind::Panic), (2, FailureKind::Error), (3, FailureKind::Permanent)]);
    assert!(detail.attempts.iter().all(|end| end.failure().unwrap().message == "as the script says"));
}

#[tokio::test(start_paused = true)]
async fn of_many_attempts_the_first_and_the_last_twenty_are_kept() {
    let script = Script::new();
    let engine = start(&script, work().retry(RetryPolicy::fixed(SEC).attempts(50))).await;
    script.plan("a", [Play::Fail]);
    let job = engine.enqueue(step("a")).await.unwrap();
    job.wait().await.unwrap_err();
    let detail = engine.inspect(job.id()).await.unwrap();
    let kept: Vec<_> = detail.attempts.iter().map(|end| end.attempt).collect();
    assert_eq!(kept, [1].into_iter().chain(31..=50).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_requeued_dead_letter_runs_again_with_all_its_retries() {
    let script = Script::new();
    let engine = start(&script, work().retry(RetryPolicy::fixed(SEC).attempts(2))).await;
    script.plan("a", [Play::Fail, Play::Fail, Play::Fail, Play::Succeed]);
    let job = engine.enqueue(step("a")).await.unwrap();
    job.wait().await.unwrap_err();
    engine.requeue(job.id()).await.unwrap();
    assert_eq!(job.wait().await.unwrap(), "a");
    assert_eq!(script.attempts("a"), [1, 2, 3, 4]);
    assert_eq!(engine.stats().await.unwrap()[0].dead, 0);
    assert_eq!(engine.count(dead()).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_discarded_dead_letter_is_forgotten() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan("a", [Play::Permanent]);
    let job = engine.enqueue(step("a")).await.unwrap();
    job.wait().await.unwrap_err();
    engine.discard(job.id()).await.unwrap();
    let requeued = engine.requeue(job.id()).await.map(|_| ());
    for result in [engine.discard(job.id()).await, requeued, job.status().await.map(|_| ())] {
        assert!(matches!(result, Err(ControlError::Refused(Refusal::Forgotten { .. }))), "{result:?}");
    }
    let stats = &engine.stats().await.unwrap()[0];
    assert_eq!((stats.dead, stats.totals.purged), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn what_succeeded_or_waits_cannot_be_requeued() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let done = engine.enqueue(step("done")).await.unwrap();
    done.wait().await.unwrap();
    let delayed = engine.enqueue(step("delayed")).delay(SEC).await.unwrap();
    for (id, is) in [(done.id(), JobState::Done), (delayed.id(), JobState::Delayed)] {
        let refused = engine.requeue(id).await;
        assert!(matches!(refused, Err(ControlError::Refused(Refusal::Forbidden { state, .. })) if state == is));
    }
    assert!(engine.requeue(new_job_id()).await.is_err());
}

#[test]
fn dead_letters_and_their_errors_survive_a_restart() {
    let mut world = World::new();
    world.script.plan("a", [Play::Fail, Play::Permanent, Play::Succeed]);
    let id = world.life_without_power_at_its_end(async |life| {
        let engine = life.start(work()).await;
        let job = engine.enqueue(step("a")).await.unwrap();
        job.wait().await.unwrap_err();
        job.id()
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        assert_eq!(engine.jobs(dead()).await.unwrap().jobs[0].id, id);
        let detail = engine.inspect(id).await.unwrap();
        assert_eq!(detail.attempts.iter().map(|end| end.attempt).collect::<Vec<_>>(), [1, 2]);
        engine.requeue(id).await.unwrap();
        engine.handle::<Step>(id).wait().await.unwrap();
        assert_eq!(life.script.attempts("a"), [1, 2, 3]);
    });
}
