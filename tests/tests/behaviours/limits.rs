//! Limits: a refusal with its numbers, and nothing stored.

use serde::{Deserialize, Serialize};
use windlass::{
    Draft, EnqueueError, Job, JobState, MemoryJournal, QueueConfig, Refusal, SEC, WaitError, Why, new_job_id,
};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{World, builder, start, start_with_faults, work};

/// I6: everything has a limit with its unit in its name.
#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_with_its_numbers() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1).depth_max(3)).await;
    script.plan("running", [Play::Hold]);
    engine.enqueue(step("running")).await.unwrap();
    script.started("running", 1).await;
    for _ in 0..3 {
        engine.enqueue(step("waiting")).await.unwrap();
    }
    let Err(EnqueueError::Refused(refusal)) = engine.enqueue(step("more")).await else { panic!("it is full") };
    let Refusal::QueueFull { queue, depth: 3, depth_max: 3, jobs: 1 } = refusal else { panic!("{refusal}") };
    assert_eq!(queue.as_str(), "work");
    script.tell("running", Play::Succeed);
    script.returned("waiting", 3).await;
    engine.enqueue(step("more")).and_wait().await.unwrap();
}

/// I6: what bounds the calls on their way is taken for as long as they are on it.
#[tokio::test(start_paused = true)]
async fn a_refused_call_gives_back_the_room_that_it_took() {
    let engine = start(&Script::new(), work().depth_max(10)).await;
    for _ in 0..2 {
        // More than half of what may be on the way at once.
        let drafts = (0..60_000).map(|_| Draft::new(&step("a")));
        let call = tokio::time::timeout(SEC, engine.enqueue_all(drafts)).await.expect("there is room");
        assert!(matches!(call, Err(EnqueueError::Refused(Refusal::QueueFull { .. }))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_lets_wait_lets_so_many_wait_and_in_their_order() {
    let script = Script::new();
    let engine = start(&script, work().concurrency(1).depth_max(1).wait_when_full(2)).await;
    script.plan("running", [Play::Hold]);
    engine.enqueue(step("running")).await.unwrap();
    script.started("running", 1).await;
    engine.enqueue(step("first")).await.unwrap();
    let waiting: Vec<_> = ["second", "third"]
        .map(|name| {
            let engine = engine.clone();
            tokio::spawn(async move { engine.enqueue(step(name)).await.map(|job| job.id()) })
        })
        .into_iter()
        .collect();
    while engine.stats().await.unwrap()[0].waiting_callers < 2 {
        tokio::task::yield_now().await;
    }
    let refused = engine.enqueue(step("too many")).await.unwrap_err();
    assert!(matches!(refused, EnqueueError::Refused(Refusal::TooManyWaiters { waiters_max: 2, .. })), "{refused}");
    assert!(waiting.iter().all(|task| !task.is_finished()));
    script.tell("running", Play::Succeed);
    for task in waiting {
        task.await.unwrap().unwrap();
    }
    script.returned("third", 1).await;
    assert_eq!(script.order(), ["running", "first", "second", "third"]);
}

#[tokio::test(start_paused = true)]
async fn callers_who_wait_at_a_full_queue_do_not_shut_the_door_of_another() {
    let script = Script::new();
    let full = work().concurrency(1).depth_max(1).wait_when_full(1_000_000);
    let free = QueueConfig::new("free");
    let engine = builder(&script, MemoryJournal::new()).queue(full).queue(free).start().await.unwrap();
    script.plan("running", [Play::Hold]);
    engine.enqueue(step("running")).await.unwrap();
    script.started("running", 1).await;
    for _ in 0..10_000 {
        let engine = engine.clone();
        tokio::spawn(async move { engine.enqueue(step("waiting")).await });
    }
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let other = engine.enqueue(step("other")).queue("free").and_wait();
    assert_eq!(tokio::time::timeout(SEC * 60, other).await.expect("it is let in").unwrap(), "other");
}

#[tokio::test(start_paused = true)]
async fn a_payload_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
    let script = Script::new();
    let engine = start(&script, work().payload_bytes_max(100)).await;
    let name_for = |bytes: usize| "x".repeat(bytes - r#"{"name":""}"#.len());
    engine.enqueue(step(&name_for(100))).and_wait().await.unwrap();
    let refused = engine.enqueue(step(&name_for(101))).await.unwrap_err();
    let EnqueueError::Refused(Refusal::PayloadTooLarge { bytes: 101, bytes_max: 100, .. }) = refused else {
        panic!("{refused}")
    };
}

/// I9: an oversized result leaves the job Done.
#[tokio::test(start_paused = true)]
async fn a_result_over_the_limit_is_not_kept_and_its_job_is_done() {
    let script = Script::new();
    let engine = start(&script, work().result_bytes_max(10)).await;
    script.plan("a", [Play::Output("x".repeat(100))]);
    let job = engine.enqueue(step("a")).await.unwrap();
    for _ in 0..2 {
        let Err(WaitError::ResultTooLarge { bytes: 102, bytes_max: 10, .. }) = job.wait().await else { panic!() };
    }
    assert_eq!(job.status().await.unwrap().state, JobState::Done);
}

#[tokio::test(start_paused = true)]
async fn a_call_with_too_many_jobs_or_bytes_is_refused_at_once() {
    let script = Script::new();
    let engine = start(&script, work().payload_bytes_max(16 << 20)).await;
    let many = (0..100_001).map(|_| Draft::new(&step("a")));
    let refused = engine.enqueue_all(many).await.unwrap_err();
    assert!(matches!(refused, EnqueueError::TooLarge { jobs: 100_001, jobs_max: 100_000, .. }), "{refused}");
    let large = "x".repeat(15 << 20);
    let refused = engine.enqueue_all((0..5).map(|_| Draft::new(&step(&large)))).await.unwrap_err();
    assert!(matches!(refused, EnqueueError::TooLarge { jobs: 5, bytes_max: 67_108_864, .. }), "{refused}");
    assert_eq!(engine.stats().await.unwrap()[0].totals.enqueued, 0);
}

#[tokio::test(start_paused = true)]
async fn labels_have_limits() {
    let engine = start(&Script::new(), work()).await;
    let long = "x".repeat(257);
    let mut tagged = engine.enqueue(step("a"));
    for _ in 0..17 {
        tagged = tagged.tag("red");
    }
    let results = [
        tagged.await,
        engine.enqueue(step("a")).tag(&long).await,
        engine.enqueue(step("a")).correlation_id(&long).await,
        engine.enqueue(step("a")).trace_context(&"x".repeat(569)).await,
    ];
    for result in results {
        assert!(matches!(result, Err(EnqueueError::Range(_))), "{result:?}");
    }
}

#[derive(Serialize, Deserialize)]
struct Unknown;

impl Job for Unknown {
    const KIND: &'static str = "unknown";
    const QUEUE: &'static str = "work";
    type Output = ();
}

#[tokio::test(start_paused = true)]
async fn unknown_queues_and_kinds_are_refused() {
    let engine = start(&Script::new(), work()).await;
    let refused = engine.enqueue(step("a")).queue("nowhere").await.unwrap_err();
    assert!(matches!(refused, EnqueueError::Refused(Refusal::NoQueue { queue }) if queue.as_str() == "nowhere"));
    // A name that no queue can have is a queue that is not there.
    let refused = engine.enqueue(step("a")).queue(&"x".repeat(10_000)).await.unwrap_err();
    assert!(matches!(refused, EnqueueError::Refused(Refusal::NoQueue { .. })));
    let refused = engine.enqueue(Unknown).await.unwrap_err();
    assert!(matches!(refused, EnqueueError::Refused(Refusal::NoHandler { kind }) if kind.as_str() == "unknown"));
}

#[test]
fn unknown_kinds_are_parked_where_they_are_allowed_and_run_where_they_are_known() {
    let mut world = World::new();
    let id = world.life(async |life| {
        let engine = life.builder().queue(work()).allow_unknown_kinds().start().await.unwrap();
        let job = engine.enqueue(Unknown).id(new_job_id()).await.unwrap();
        let status = job.status().await.unwrap();
        assert_eq!((status.state, status.why), (JobState::Parked, Some(Why::NoHandler)));
        job.id()
    });
    world.life(async |life| {
        let engine = life.builder().queue(work()).handler(|_: Unknown, _| async { Ok(()) }).start().await.unwrap();
        engine.handle::<Unknown>(id).wait().await.unwrap();
    });
}

/// I9: accepted means room to finish. New jobs stop while the disk still has room for acknowledgements.
#[tokio::test(start_paused = true)]
async fn a_nearly_full_disk_refuses_new_jobs_and_finishes_those_that_it_has() {
    const MIB: u64 = 1 << 20;
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work()).await;
    script.plan("running", [Play::Hold]);
    let running = engine.enqueue(step("running")).await.unwrap();
    script.started("running", 1).await;
    faults.set_free_bytes(255 * MIB);
    // It is looked at with the syncs, once a second.
    tokio::time::advance(SEC).await;
    engine.enqueue(step("before the look")).and_wait().await.unwrap();
    let refused = engine.enqueue(step("refused")).await.unwrap_err();
    let EnqueueError::DiskNearlyFull { free_bytes, free_bytes_min } = refused else { panic!("{refused}") };
    assert_eq!((free_bytes, free_bytes_min), (255 * MIB, 256 * MIB));
    script.tell("running", Play::Succeed);
    running.wait().await.unwrap();
    // Nothing is written any more, and yet it is noticed that there is room again.
    faults.set_free_bytes(257 * MIB);
    let mut looks = 0;
    while let Err(EnqueueError::DiskNearlyFull { .. }) = engine.enqueue(step("accepted")).await {
        looks += 1;
        assert!(looks < 5, "it looks once a second");
        tokio::time::advance(SEC).await;
    }
    script.returned("accepted", 1).await;
}
