//! Finding jobs: by every part of a filter, page by page, while they move.

use std::collections::BTreeSet;

use windlass::{
    ControlError, Cursor, Draft, Engine, Filter, HOUR, JobId, JobState, MIN, MemoryJournal, OutOfRange, Priority,
    QueueConfig, RetryPolicy, SEC,
};
use windlass_tests::script::{Play, Script, block, step};
use windlass_tests::world::{World, builder, start, wall, work};

async fn ids(engine: &Engine, filter: Filter) -> BTreeSet<JobId> {
    let (mut found, mut list) = (BTreeSet::new(), engine.jobs(filter.clone()).limit(3));
    loop {
        let page = list.await.unwrap();
        for job in page.jobs {
            assert!(found.insert(job.id), "{job:?} is on two pages");
        }
        let Some(next) = page.next else { break };
        // As a page of a web site would pass it on.
        list = engine.jobs(filter.clone()).limit(3).after(next.to_string().parse::<Cursor>().unwrap());
    }
    assert_eq!(engine.count(filter).await.unwrap(), found.len() as u64);
    found
}

fn set<const N: usize>(ids: [JobId; N]) -> BTreeSet<JobId> {
    BTreeSet::from(ids)
}

#[test]
fn jobs_are_found_by_every_part_of_a_filter() {
    let mut world = World::new();
    world.life(async |life| {
        let script = &life.script;
        let other = QueueConfig::new("other");
        let work = work().concurrency(1).retry(RetryPolicy::fixed(HOUR).attempts(2));
        let engine = life.builder().queue(work).queue(other).start().await.unwrap();
        script.plan("dead", [Play::Permanent]);
        script.plan("retry", [Play::Fail]);
        script.plan("held", [Play::Hold]);
        let done = engine.enqueue(step("done")).tag("red").limit_key("customer").await.unwrap();
        done.wait().await.unwrap();
        let dead = engine.enqueue(step("dead")).tag("red").correlation_id("story").await.unwrap();
        dead.wait().await.unwrap_err();
        let retry = engine.enqueue(step("retry")).await.unwrap();
        engine.enqueue(step("after")).await.unwrap().wait().await.unwrap();
        tokio::time::advance(SEC).await;
        let held = engine.enqueue(step("held")).limit_key("customer").await.unwrap();
        let ready = engine.enqueue(block("ready")).tag("blue").tag("red").correlation_id("story").await.unwrap();
        let late = engine.enqueue(step("late")).queue("other").delay(MIN).limit_key("customer").await.unwrap();
        let gone = engine.enqueue(step("gone")).queue("other").delay(HOUR).await.unwrap();
        engine.cancel(gone.id()).await.unwrap();
        let all = engine.count(Filter::new()).await.unwrap();
        assert_eq!(all, 8);

        let f = Filter::new;
        assert_eq!(ids(&engine, f().state(JobState::Running)).await, set([held.id()]));
        assert_eq!(ids(&engine, f().state(JobState::Delayed)).await, set([retry.id(), late.id()]));
        assert_eq!(ids(&engine, f().limit_key("customer")).await, set([done.id(), held.id(), late.id()]));
        assert_eq!(ids(&engine, f().limit_key("customer").state(JobState::Running)).await, set([held.id()]));
        assert_eq!(ids(&engine, f().limit_key("another")).await, set([]));
        assert_eq!(ids(&engine, f().waiting()).await, set([retry.id(), late.id(), ready.id()]));
        assert_eq!(ids(&engine, f().queue("other")).await, set([late.id(), gone.id()]));
        assert_eq!(ids(&engine, f().kind("block").queue("work")).await, set([ready.id()]));
        assert_eq!(ids(&engine, f().tag("red")).await, set([done.id(), dead.id(), ready.id()]));
        assert_eq!(ids(&engine, f().correlation_id("story")).await, set([dead.id(), ready.id()]));
        assert_eq!(ids(&engine, f().tag("red").state(JobState::Dead)).await, set([dead.id()]));
        // The last failure, of live jobs too.
        assert_eq!(ids(&engine, f().error("the script")).await, set([retry.id(), dead.id()]));
        assert_eq!(ids(&engine, f().error("THE SCRIPT")).await, set([]));
        // Times: of acceptance, of what is due, of the end.
        let early = ids(&engine, f().created_until(wall(SEC))).await;
        assert_eq!((early.len(), early.contains(&held.id())), (4, false));
        assert_eq!(ids(&engine, f().created_from(wall(SEC))).await.len(), 4);
        assert_eq!(ids(&engine, f().due_from(wall(SEC * 2)).due_until(wall(MIN * 2))).await, set([late.id()]));
        assert_eq!(ids(&engine, f().ended_from(wall(SEC))).await, set([gone.id()]));
        script.tell("held", Play::Succeed);
        engine.shutdown(MIN).await.unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn a_job_that_moves_all_the_while_is_found() {
    let script = Script::new();
    let engine = builder(&script, MemoryJournal::new()).queue(work().depth_max(10_000)).start().await.unwrap();
    engine.pause("work").await.unwrap();
    let drafts = (0..2_000).map(|n| Draft::new(&step(&n.to_string())));
    let receipts = engine.enqueue_all(drafts).await.unwrap();
    let (mut found, mut list) = (BTreeSet::new(), engine.jobs(Filter::new().state(JobState::Ready)).limit(150));
    loop {
        let page = list.await.unwrap();
        found.extend(page.jobs.iter().map(|job| job.id));
        for receipt in receipts.iter().step_by(199) {
            engine.reprioritise(receipt.id, Priority(u8::try_from(found.len() % 250).unwrap())).await.unwrap();
        }
        let Some(next) = page.next else { break };
        list = engine.jobs(Filter::new().state(JobState::Ready)).limit(150).after(next);
    }
    assert_eq!(found.len(), 2_000);
}

#[test]
fn a_cursor_among_live_jobs_ends_with_its_process_and_one_among_retained_jobs_does_not() {
    let mut world = World::new();
    world.script.plan("dead", [Play::Permanent]);
    let (live, retained) = world.life(async |life| {
        let engine = life.start(work()).await;
        for _ in 0..3 {
            engine.enqueue(step("dead")).await.unwrap().wait().await.unwrap_err();
            engine.enqueue(step("late")).delay(HOUR).await.unwrap();
        }
        let live = engine.jobs(Filter::new()).limit(1).await.unwrap().next.unwrap();
        let retained = engine.jobs(Filter::new().state(JobState::Dead)).limit(1).await.unwrap().next.unwrap();
        (live, retained)
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        let expired = engine.jobs(Filter::new()).after(live).await.unwrap_err();
        assert!(matches!(expired, ControlError::CursorExpired), "{expired}");
        let rest = engine.jobs(Filter::new().state(JobState::Dead)).after(retained).await.unwrap();
        assert_eq!(rest.jobs.len(), 2);
    });
}

#[tokio::test(start_paused = true)]
async fn a_page_has_one_to_a_thousand_jobs() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    assert!(engine.jobs(Filter::new()).limit(1_000).await.is_ok());
    for limit in [0_u16, 1_001] {
        let refused = engine.jobs(Filter::new()).limit(limit.into()).await.unwrap_err();
        assert!(
            matches!(refused, ControlError::Range(OutOfRange { value, max: 1_000, .. }) if value == u64::from(limit)),
            "{refused}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn everything_that_is_kept_of_a_live_job_and_of_a_success_can_be_seen() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let job = engine.enqueue(step("a")).tag("red").correlation_id("story").trace_context("00-1-2-01").await.unwrap();
    job.wait().await.unwrap();
    let detail = engine.inspect(job.id()).await.unwrap();
    assert_eq!((detail.payload.as_ref(), detail.output.as_deref()), (&br#"{"name":"a"}"#[..], Some(&br#""a""#[..])));
    assert_eq!(detail.trace_context.as_deref(), Some("00-1-2-01"));
    let late = engine.enqueue(step("b")).delay(HOUR).await.unwrap();
    let detail = engine.inspect(late.id()).await.unwrap();
    assert_eq!((detail.status.state, detail.output, detail.attempts.len()), (JobState::Delayed, None, 0));
}
