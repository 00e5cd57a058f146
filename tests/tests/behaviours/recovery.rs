//! Starting again on the same journal: everything accepted is there, as it was.

use std::time::Duration;

use windlass::{
    ControlError, Durability, Flow, FlowId, JobState, KeepDone, MIN, Priority, QueueConfig, Refusal, Retention, SEC,
    StartError, StepDraft, Why, new_job_id,
};
use windlass_scheduler::change::Record;
use windlass_tests::script::{Play, Step, step};
use windlass_tests::world::{World, took, work};

#[test]
fn jobs_that_waited_run_after_a_restart_in_their_order_and_with_their_payloads() {
    let mut world = World::new();
    let odd = "\u{1f6a2} \"quoted\" \\ \0 end".to_owned() + &"x".repeat(10_000);
    world.life_without_power_at_its_end(async |life| {
        let engine = life.start(work().concurrency(1)).await;
        engine.pause("work").await.unwrap();
        for (name, priority) in [("c", 200), (odd.as_str(), 100), ("a", 0), ("d", 200)] {
            engine.enqueue(step(name)).priority(Priority(priority)).await.unwrap();
        }
    });
    world.life(async |life| {
        let engine = life.start(work().concurrency(1)).await;
        engine.resume("work").await.unwrap();
        life.script.returned("d", 1).await;
        assert_eq!(life.script.order(), ["a", &odd, "c", "d"]);
    });
}

#[test]
fn what_ran_is_lost_and_runs_again_at_once_under_the_next_number() {
    let mut world = World::new();
    world.script.plan("a", [Play::Hold, Play::Hold, Play::Succeed]);
    let id = world.life_without_power_at_its_end(async |life| {
        let engine = life.start(work()).await;
        let job = engine.enqueue(step("a")).await.unwrap();
        life.script.started("a", 1).await;
        // Starts are written and not synced: another job's Ok takes this one's start along.
        engine.enqueue(step("b")).delay(MIN).await.unwrap();
        job.id()
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        let before = tokio::time::Instant::now();
        life.script.started("a", 2).await;
        assert!(took(before, life.script.starts("a")[1], Duration::ZERO));
        let status = engine.job(id).await.unwrap();
        assert_eq!((status.state, status.attempts, status.lost, status.failures), (JobState::Running, 2, 1, 0));
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        engine.handle::<Step>(id).wait().await.unwrap();
        assert_eq!(life.script.attempts("a"), [1, 2, 3]);
        let status = engine.job(id).await.unwrap();
        assert_eq!((status.attempts, status.lost, status.failures), (3, 0, 0));
        assert_eq!(engine.stats().await.unwrap()[0].totals.lost, 2);
    });
}

#[test]
fn delayed_jobs_keep_their_time_and_those_that_fell_due_meanwhile_run_at_once_in_order() {
    let mut world = World::new();
    world.life_without_power_at_its_end(async |life| {
        let engine = life.start(work()).await;
        for (name, delay) in [("late", MIN * 60), ("second", MIN * 2), ("first", MIN)] {
            engine.enqueue(step(name)).delay(delay).await.unwrap();
        }
    });
    world.pass(MIN * 10);
    world.life(async |life| {
        let _engine = life.start(work().concurrency(1)).await;
        let before = tokio::time::Instant::now();
        life.script.returned("late", 1).await;
        assert_eq!(life.script.order(), ["first", "second", "late"]);
        assert!(took(before, life.script.starts("second")[0], Duration::ZERO));
        assert!(took(before, life.script.starts("late")[0], MIN * 50));
    });
}

#[test]
fn each_level_keeps_what_it_says() {
    for (level, after_kill, after_power) in
        [(Durability::Memory, 0, 0), (Durability::Process, 1, 0), (Durability::Durable, 1, 1)]
    {
        for (is_power, kept) in [(false, after_kill), (true, after_power)] {
            let mut world = World::new();
            let enqueue = async |life: &windlass_tests::world::Life| {
                let engine = life.start(work().durability(level)).await;
                engine.enqueue(step("a")).delay(MIN).await.unwrap();
            };
            if is_power {
                world.life_without_power_at_its_end(enqueue);
            } else {
                world.life(enqueue);
            }
            world.life(async |life| {
                let engine = life.start(work().durability(level)).await;
                assert_eq!(engine.stats().await.unwrap()[0].delayed, kept, "{level:?}, power: {is_power}");
            });
        }
    }
}

#[test]
fn failures_count_on_after_a_restart() {
    let mut world = World::new();
    world.script.plan("a", [Play::Fail]);
    let retry = windlass::RetryPolicy::fixed(MIN).attempts(3).jitter_percent(0);
    let id = world.life(async |life| {
        let engine = life.start(work().retry(retry.clone())).await;
        let job = engine.enqueue(step("a")).await.unwrap();
        life.script.returned("a", 2).await;
        engine.stats().await.unwrap();
        assert_eq!(job.status().await.unwrap().failures, 2);
        // Its end is written with the next thing that is.
        engine.enqueue(step("b")).and_wait().await.unwrap();
        job.id()
    });
    world.life(async |life| {
        let engine = life.start(work().retry(retry)).await;
        engine.handle::<Step>(id).wait().await.unwrap_err();
        assert_eq!(life.script.attempts("a"), [1, 2, 3]);
    });
}

#[test]
fn jobs_of_a_queue_that_is_gone_wait_for_its_return() {
    let mut world = World::new();
    let id = world.life(async |life| {
        let engine = life.builder().queue(work()).queue(QueueConfig::new("other")).start().await.unwrap();
        engine.enqueue(step("a")).queue("other").delay(SEC).await.unwrap().id()
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        tokio::time::advance(MIN).await;
        assert_eq!(engine.job(id).await.unwrap().why, Some(Why::NoQueue));
    });
    world.life(async |life| {
        let engine = life.builder().queue(work()).queue(QueueConfig::new("other")).start().await.unwrap();
        engine.handle::<Step>(id).wait().await.unwrap();
    });
}

#[test]
fn a_queue_with_journaled_jobs_does_not_become_volatile() {
    let mut world = World::new();
    world.life(async |life| {
        let engine = life.start(work()).await;
        engine.enqueue(step("a")).delay(SEC).await.unwrap();
    });
    world.life(async |life| {
        let refused = life.builder().queue(work().durability(Durability::Memory)).start().await;
        assert!(matches!(refused, Err(StartError::VolatileQueue { jobs: 1, .. })));
    });
}

/// A flow stands where its first step did, though that queue has no job any more.
#[test]
fn a_queue_in_which_a_flow_began_does_not_become_volatile_while_that_goes_on() {
    let (mut world, id) = (World::new(), FlowId(new_job_id().0));
    let quick = || QueueConfig::new("quick").retention(Retention::default().keep_done(KeepDone::None));
    world.life(async |life| {
        let engine = life.builder().queue(work()).queue(quick()).start().await.unwrap();
        life.script.plan("b", [Play::Hold, Play::Succeed]);
        let mut flow = Flow::new("story").id(id);
        let a = flow.first(StepDraft::new(&step("a")).named("a").queue("quick"));
        flow.after(&a, step("b"));
        engine.submit(flow).await.unwrap();
        life.script.started("b", 1).await;
    });
    world.life(async |life| {
        let quick = quick().durability(Durability::Memory);
        let refused = life.builder().queue(work()).queue(quick).start().await;
        assert!(matches!(refused, Err(StartError::VolatileQueue { queue, jobs: 1 }) if queue == "quick"));
    });
    world.life(async |life| {
        let engine = life.builder().queue(work()).queue(quick()).start().await.unwrap();
        engine.flow::<()>(id).wait().await.unwrap();
    });
    world.life(async |life| {
        let quick = quick().durability(Durability::Memory);
        life.builder().queue(work()).queue(quick).start().await.unwrap();
    });
}

/// I11, over many lives: what was accepted is there, and the numbers add up.
#[test]
fn the_numbers_add_up_after_every_life() {
    let mut world = World::new();
    for round in 0..10_u64 {
        let name = format!("job {round}");
        let plays = [Play::Succeed, Play::Permanent, Play::CallOff, Play::Hold, Play::Snooze(MIN)];
        world.script.plan(&name, [plays[usize::try_from(round % 5).unwrap()].clone(), Play::Succeed]);
        let stats = world.life_without_power_at_its_end(async |life| {
            let engine = life.start(work().retry(windlass::RetryPolicy::never())).await;
            engine.enqueue(step(&name)).await.unwrap();
            life.script.started(&name, 1).await;
            engine.enqueue(step("other")).and_wait().await.unwrap();
            engine.stats().await.unwrap().remove(0)
        });
        let live = stats.live();
        let retained = stats.done + stats.dead + stats.cancelled + stats.expired;
        assert_eq!(stats.totals.enqueued, 2 * (round + 1));
        assert_eq!(stats.totals.enqueued, live + retained + stats.totals.purged + stats.totals.quarantined);
    }
}

/// I11: what cannot be read is counted, and costs nobody else.
#[test]
fn a_record_that_cannot_be_read_costs_its_own_job_alone_and_is_counted() {
    let mut world = World::new();
    let [first, bad, last] = world.life(async |life| {
        let engine = life.start(work()).await;
        engine.pause("work").await.unwrap();
        let mut ids = Vec::new();
        for name in ["first", "bad", "last"] {
            ids.push(engine.enqueue(step(name)).await.unwrap().id());
        }
        [ids[0], ids[1], ids[2]]
    });
    world.life(async |life| {
        life.faults.damage(move |record| matches!(record, Record::Job(job) if job.id == bad));
        let engine = life.start(work()).await;
        engine.resume("work").await.unwrap();
        for id in [first, last] {
            engine.handle::<Step>(id).wait().await.unwrap();
        }
        let forgotten = engine.job(bad).await.unwrap_err();
        assert!(matches!(forgotten, ControlError::Refused(Refusal::Forgotten { id }) if id == bad), "{forgotten}");
        let totals = &engine.stats().await.unwrap()[0].totals;
        assert_eq!((totals.enqueued, totals.done_total, totals.quarantined), (3, 2, 1));
    });
    assert_eq!(world.script.order(), ["first", "last"]);
}
