//! The verbs on one job: what they do, and what they refuse.

use windlass::{
    ControlError, Durability, HOUR, JobId, JobState, MIN, MemoryJournal, Priority, QueueConfig, Refusal, SEC, Verb,
    new_job_id,
};
use windlass_tests::script::{Play, Script, Step, block, step};
use windlass_tests::world::{World, builder, start, wall, work};

fn refusal<T: std::fmt::Debug>(result: Result<T, ControlError>) -> Refusal {
    match result {
        Err(ControlError::Refused(refusal)) => refusal,
        other => panic!("{other:?} is no refusal"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_job_runs_now_when_it_is_told_to() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let job = engine.enqueue(step("a")).delay(HOUR).await.unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(engine.run_now(job.id()).await.unwrap(), JobState::Ready);
    job.wait().await.unwrap();
    assert!(began.elapsed() < SEC);
    assert!(matches!(refusal(engine.run_now(job.id()).await), Refusal::Forbidden { state: JobState::Done, .. }));
}

#[tokio::test(start_paused = true)]
async fn another_priority_changes_who_is_next() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1)).await;
    engine.pause("work").await.unwrap();
    let mut jobs = Vec::new();
    for name in ["a", "b", "c"] {
        jobs.push(engine.enqueue(step(name)).await.unwrap());
    }
    engine.reprioritise(jobs[2].id(), Priority::URGENT).await.unwrap();
    engine.reprioritise(jobs[0].id(), Priority::LOW).await.unwrap();
    engine.resume("work").await.unwrap();
    for job in &jobs {
        job.wait().await.unwrap();
    }
    assert_eq!(script.order(), ["c", "b", "a"]);
}

#[test]
fn another_time_is_kept_across_a_restart() {
    let mut world = World::new();
    let (soon, late) = world.life(async |life| {
        let engine = life.start(work()).await;
        let soon = engine.enqueue(step("soon")).delay(HOUR).await.unwrap().id();
        let late = engine.enqueue(step("late")).delay(SEC).await.unwrap().id();
        assert_eq!(engine.reschedule_in(soon, MIN).await.unwrap(), JobState::Delayed);
        assert_eq!(engine.reschedule_at(late, wall(HOUR * 2)).await.unwrap(), JobState::Delayed);
        (soon, late)
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        engine.handle::<Step>(soon).wait().await.unwrap();
        assert_eq!(engine.job(late).await.unwrap().due, Some(wall(HOUR * 2)));
        assert_eq!(engine.reschedule_at(late, wall(SEC)).await.unwrap(), JobState::Ready);
        engine.handle::<Step>(late).wait().await.unwrap();
    });
}

/// I11: it leaves one queue and comes into the other.
#[tokio::test(start_paused = true)]
async fn a_job_moves_to_another_queue_and_runs_there() {
    let script = Script::new();
    let other = || QueueConfig::new("other").depth_max(1).payload_bytes_max(20);
    let ram = QueueConfig::new("ram").durability(Durability::Memory);
    let builder = builder(&script, MemoryJournal::new()).queue(work()).queue(other()).queue(ram);
    let engine = builder.start().await.unwrap();
    engine.pause("work").await.unwrap();
    engine.pause("other").await.unwrap();
    let (a, b) = (engine.enqueue(step("a")).await.unwrap(), engine.enqueue(step("b")).await.unwrap());
    let long = engine.enqueue(step(&"long".repeat(9))).await.unwrap();
    assert_eq!(engine.move_to(a.id(), "other").await.unwrap(), JobState::Ready);
    assert_eq!(engine.job(a.id()).await.unwrap().queue, "other");
    assert!(matches!(refusal(engine.move_to(b.id(), "other").await), Refusal::QueueFull { depth_max: 1, .. }));
    assert!(matches!(refusal(engine.move_to(b.id(), "nowhere").await), Refusal::NoQueue { .. }));
    assert!(matches!(refusal(engine.move_to(b.id(), "ram").await), Refusal::OtherStore { .. }));
    let refused = refusal(engine.move_to(long.id(), "other").await);
    assert!(matches!(refused, Refusal::PayloadTooLarge { bytes: 47, bytes_max: 20, .. }), "{refused:?}");
    let stats = engine.stats().await.unwrap();
    assert_eq!((stats[0].totals.moved_out, stats[1].totals.moved_in, stats[1].ready), (1, 1, 1));
    engine.resume("other").await.unwrap();
    a.wait().await.unwrap();
}

#[test]
fn a_job_whose_queue_is_gone_is_freed_by_a_move() {
    let mut world = World::new();
    let id = world.life(async |life| {
        let engine = life.builder().queue(work()).queue(QueueConfig::new("old")).start().await.unwrap();
        engine.pause("old").await.unwrap();
        engine.enqueue(step("a")).queue("old").await.unwrap().id()
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        assert_eq!(engine.job(id).await.unwrap().state, JobState::Parked);
        assert!(matches!(refusal(engine.run_now(id).await), Refusal::Forbidden { state: JobState::Parked, .. }));
        assert_eq!(engine.move_to(id, "work").await.unwrap(), JobState::Ready);
        engine.handle::<Step>(id).wait().await.unwrap();
    });
}

#[test]
fn an_edited_payload_is_the_one_that_runs() {
    let mut world = World::new();
    world.script.plan("typo", [Play::Permanent]);
    let (waiting, dead) = world.life(async |life| {
        let engine = life.start(work()).await;
        let waiting = engine.enqueue(step("typo")).tag("red").delay(HOUR).await.unwrap().id();
        let dead = engine.enqueue(step("typo")).tag("red").await.unwrap();
        dead.wait().await.unwrap_err();
        for id in [waiting, dead.id()] {
            engine.edit(id, &step("right")).await.unwrap();
        }
        (waiting, dead.id())
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        assert_eq!(engine.requeue(dead).await.unwrap(), JobState::Ready);
        engine.run_now(waiting).await.unwrap();
        for id in [waiting, dead] {
            assert_eq!(engine.handle::<Step>(id).wait().await.unwrap(), "right");
            assert_eq!(engine.inspect(id).await.unwrap().tags, ["red"]);
        }
    });
}

#[tokio::test(start_paused = true)]
async fn an_edit_is_refused_while_the_job_runs_for_another_kind_and_over_the_limit() {
    let script = Script::new();
    let engine = start(&script, work().payload_bytes_max(30)).await;
    script.plan("a", [Play::Hold]);
    let running = engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    let refused = refusal(engine.edit(running.id(), &step("b")).await);
    assert_eq!(refused, Refusal::Forbidden { id: running.id(), state: JobState::Running, verb: "edited" });
    let late = engine.enqueue(step("late")).delay(HOUR).await.unwrap().id();
    let other = engine.edit(late, &block("b")).await.unwrap_err();
    assert!(matches!(other, ControlError::OtherKind { asked: "block", .. }), "{other}");
    // {"name":""} are 11 bytes.
    engine.edit(late, &step(&"x".repeat(19))).await.unwrap();
    let refused = refusal(engine.edit(late, &step(&"x".repeat(20))).await);
    assert!(matches!(refused, Refusal::PayloadTooLarge { bytes: 31, bytes_max: 30, .. }), "{refused:?}");
    script.tell("a", Play::Succeed);
    running.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_called_off_or_expired_can_be_brought_back() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let cancelled = engine.enqueue(step("a")).delay(HOUR).await.unwrap();
    engine.cancel(cancelled.id()).await.unwrap();
    let expired = engine.enqueue(step("b")).delay(HOUR).expires_at(wall(SEC)).await.unwrap();
    expired.wait().await.unwrap_err();
    for job in [cancelled, expired] {
        assert_eq!(engine.requeue(job.id()).await.unwrap(), JobState::Ready);
        job.wait().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_job_is_discarded_and_nothing_of_it_is_kept() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let job = engine.enqueue(step("a")).delay(HOUR).await.unwrap();
    engine.discard(job.id()).await.unwrap();
    assert!(matches!(refusal(engine.job(job.id()).await), Refusal::Forgotten { .. }));
    let stats = &engine.stats().await.unwrap()[0];
    assert_eq!((stats.cancelled, stats.totals.cancelled_total, stats.totals.purged), (0, 1, 1));
}

/// Every verb in every state: done, or refused by the state and the verb's name, and then nothing is different.
#[tokio::test(start_paused = true)]
async fn every_verb_is_done_or_refused_by_the_state_that_the_job_is_in() {
    let verbs = [
        Verb::Cancel,
        Verb::Discard,
        Verb::RunNow,
        Verb::Reprioritise(Priority::HIGH),
        Verb::Reschedule(windlass::When::After(7)),
        Verb::move_to("other"),
        Verb::Requeue,
    ];
    for verb in verbs {
        for state in JobState::ALL {
            let (engine, id) = in_state(state).await;
            let before = format!("{:?}", engine.job(id).await.unwrap());
            let done = match &verb {
                Verb::Cancel => engine.cancel(id).await,
                Verb::Discard => engine.discard(id).await.map(|()| state),
                Verb::RunNow => engine.run_now(id).await,
                Verb::Reprioritise(priority) => engine.reprioritise(id, *priority).await,
                Verb::Reschedule(_) => engine.reschedule_in(id, SEC).await,
                Verb::Move(queue) => engine.move_to(id, queue.as_str()).await,
                Verb::Requeue => engine.requeue(id).await,
            };
            if verb.acts_on(state) {
                assert!(done.is_ok(), "{verb:?} of a job that is {state}: {done:?}");
            } else {
                assert_eq!(refusal(done), Refusal::Forbidden { id, state, verb: verb.as_str() });
                assert_eq!(format!("{:?}", engine.job(id).await.unwrap()), before);
            }
        }
    }
    let engine = start(&Script::new(), work()).await;
    let nobody = new_job_id();
    assert_eq!(refusal(engine.cancel(nobody).await), Refusal::Forgotten { id: nobody });
}

/// An engine with a job in this state.
async fn in_state(state: JobState) -> (windlass::Engine, JobId) {
    let script = Script::new();
    script.plan("hold", [Play::Hold]);
    script.plan("die", [Play::Permanent]);
    let queues = [work(), QueueConfig::new("other")];
    let [work, other] = queues;
    let builder = builder(&script, MemoryJournal::new()).allow_unknown_kinds();
    let engine = builder.queue(work).queue(other).start().await.unwrap();
    let enqueue = |name: &'static str| engine.enqueue(step(name));
    let job = match state {
        JobState::Waiting => {
            let one = || windlass::Unique::key("one").keep_last();
            enqueue("late").delay(HOUR).unique(one()).await.unwrap();
            enqueue("later").unique(one()).await.unwrap()
        }
        JobState::Delayed | JobState::Cancelled => enqueue("late").delay(HOUR).await.unwrap(),
        JobState::Expired => enqueue("late").delay(HOUR).expires_at(wall(SEC)).await.unwrap(),
        JobState::Ready => {
            engine.pause("work").await.unwrap();
            enqueue("a").await.unwrap()
        }
        JobState::Running => enqueue("hold").await.unwrap(),
        JobState::Done => enqueue("a").await.unwrap(),
        JobState::Dead => enqueue("die").await.unwrap(),
        JobState::Parked => {
            let stranger = engine.enqueue(Stranger {}).await.unwrap();
            return (engine, stranger.id());
        }
    };
    match state {
        JobState::Cancelled => drop(engine.cancel(job.id()).await.unwrap()),
        JobState::Running => {
            script.started("hold", 1).await;
        }
        JobState::Done | JobState::Dead | JobState::Expired => drop(job.wait().await),
        _ => {}
    }
    assert_eq!(engine.job(job.id()).await.unwrap().state, state);
    (engine, job.id())
}

/// A kind that nobody here handles.
#[derive(serde::Serialize, serde::Deserialize)]
struct Stranger {}

impl windlass::Job for Stranger {
    const KIND: &'static str = "stranger";
    const QUEUE: &'static str = "work";
    type Output = ();
}
