//! Events: every one in its order, none before it is remembered, and what is missing is said.
//!
//! Guards I2: nobody is told of what is not yet as safe as its queue promises.

mod held;
mod kept;

use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use windlass::{
    Durability, Engine, Event, EventFilter, EventKind, Events, FailureKind, Flow, FlowId, FlowState, Gap, MIN,
    MemoryJournal, Priority, QueueConfig, RetryPolicy, SEC, StepDraft, What, new_job_id,
};
use windlass_tests::fault::{Call, Faults};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{builder, start, start_with_faults, work};

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(MIN * 10, future).await.expect("it comes")
}

async fn next(events: &mut Events) -> Event {
    in_time(events.next()).await.expect("it goes on").expect("no gap")
}

async fn gap(events: &mut Events) -> Gap {
    in_time(events.next()).await.expect("it goes on").expect_err("a gap")
}

/// What happened until this, that included.
async fn until(events: &mut Events, last: EventKind) -> Vec<EventKind> {
    let mut kinds = Vec::new();
    while kinds.last() != Some(&last) {
        kinds.push(next(events).await.what().kind());
    }
    kinds
}

/// All that was told by the end.
async fn rest(events: &mut Events) -> Vec<Result<Event, Gap>> {
    let mut rest = Vec::new();
    while let Some(event) = in_time(events.next()).await {
        rest.push(event);
    }
    rest
}

fn all() -> EventFilter {
    EventFilter::new()
}

#[tokio::test(start_paused = true)]
async fn a_job_s_life_is_told_in_its_order_with_who_when_and_why() {
    use EventKind::{Dead, Enqueued, Failed, FellDue, Requeued, Started};
    let script = Script::new();
    let queue = work().retry(RetryPolicy::fixed(SEC * 5).attempts(2).jitter_percent(0));
    let engine = start(&script, queue).await;
    let mut events = engine.events(all());
    script.plan("a", [Play::Fail, Play::Permanent]);
    let before = SystemTime::now();
    let job = engine.enqueue(step("a")).correlation_id("story").delay(SEC).await.unwrap();
    job.wait().await.unwrap_err();
    engine.requeue(job.id()).await.unwrap();
    let mut told = Vec::new();
    while told.last().is_none_or(|event: &Event| event.what().kind() != EventKind::Requeued) {
        told.push(next(&mut events).await);
    }
    let kinds: Vec<_> = told.iter().map(|event| event.what().kind()).collect();
    assert_eq!(kinds, [Enqueued, FellDue, Started, Failed, FellDue, Started, Failed, Dead, Requeued]);
    let attempts: Vec<_> = told.iter().map(Event::attempt).collect();
    assert_eq!(attempts, [0, 0, 1, 1, 1, 2, 2, 2, 0]);
    for event in &told {
        assert_eq!((event.job(), event.kind(), event.queue()), (Some(job.id()), Some("step"), Some("work")));
        let story = (event.what().kind() != Requeued).then_some("story");
        assert_eq!((event.correlation_id(), event.flow()), (story, None), "{event:?}");
    }
    let What::Enqueued { due: Some(due) } = told[0].what() else { panic!("{:?}", told[0]) };
    assert_eq!(due.duration_since(told[0].at()).unwrap(), SEC);
    assert!(told[0].at() + Duration::from_millis(1) >= before && told.is_sorted_by_key(Event::at));
    let What::Failed { failure, retry_in } = told[3].what() else { panic!("{:?}", told[3]) };
    assert_eq!(
        (failure.kind, failure.message.as_str(), *retry_in),
        (FailureKind::Error, "as the script says", Some(SEC * 5))
    );
    let What::Failed { failure, retry_in: None } = told[6].what() else { panic!("{:?}", told[6]) };
    assert_eq!(failure.kind, FailureKind::Permanent);
    assert_eq!(told[7].what(), &What::Dead { failure: Some(failure.clone()) });
    assert!(told.is_sorted_by(|one, next| one.no() < next.no()));
    assert_eq!((told[6].no().step(), told[6].no().term()), (told[7].no().step(), 1), "one commit");
}

#[tokio::test(start_paused = true)]
async fn every_way_to_go_on_and_to_end_has_its_own_word() {
    use EventKind::{CancelRequested, Cancelled, Enqueued, Expired, FellDue, Released, Snoozed, Started, Succeeded};
    let script = Script::new();
    let engine = start(&script, work().concurrency(2)).await;
    let mut events = engine.events(all());
    script.plan("snoozes", [Play::Snooze(SEC), Play::Snooze(Duration::ZERO), Play::Succeed]);
    engine.enqueue(step("snoozes")).and_wait().await.unwrap();
    let told = until(&mut events, Succeeded).await;
    assert_eq!(told, [Enqueued, Started, Snoozed, FellDue, Started, Snoozed, Started, Succeeded]);

    script.plan("calls-off", [Play::CallOff]);
    engine.enqueue(step("calls-off")).and_wait().await.unwrap_err();
    assert_eq!(until(&mut events, Cancelled).await, [Enqueued, Started, Cancelled]);

    script.plan("is-cancelled", [Play::until_cancelled(Play::Fail)]);
    let job = engine.enqueue(step("is-cancelled")).await.unwrap();
    script.started("is-cancelled", 1).await;
    job.cancel().await.unwrap();
    job.wait().await.unwrap_err();
    let told = until(&mut events, Cancelled).await;
    assert_eq!(told, [Enqueued, Started, CancelRequested, EventKind::Failed, Cancelled]);

    let waits = engine.enqueue(step("waits")).delay(MIN).await.unwrap();
    waits.cancel().await.unwrap();
    assert_eq!(until(&mut events, Cancelled).await, [Enqueued, Cancelled]);
    engine.enqueue(step("expires")).expires_in(Duration::ZERO).and_wait().await.unwrap_err();
    assert_eq!(until(&mut events, Expired).await, [Enqueued, Expired]);

    script.plan("is-released", [Play::Hold]);
    engine.enqueue(step("is-released")).await.unwrap();
    script.started("is-released", 1).await;
    engine.shutdown(SEC).await.unwrap();
    assert_eq!(until(&mut events, Released).await, [Enqueued, Started, Released]);
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_operators_do_is_told_with_what_it_came_to() {
    let script = Script::new();
    let engine =
        builder(&script, MemoryJournal::new()).queue(work()).queue(QueueConfig::new("other")).start().await.unwrap();
    let mut events = engine.events(all());
    let moves = all().what([EventKind::Moved, EventKind::Cancelled]);
    let mut of_work = engine.events(moves.queue("work"));
    engine.pause("work").await.unwrap();
    engine.pause("work").await.unwrap();
    let job = engine.enqueue(step("a")).await.unwrap();
    engine.reprioritise(job.id(), Priority::URGENT).await.unwrap();
    engine.reschedule_in(job.id(), MIN).await.unwrap();
    engine.edit(job.id(), &step("b")).await.unwrap();
    engine.move_to(job.id(), "other").await.unwrap();
    job.cancel().await.unwrap();
    engine.discard(job.id()).await.unwrap();
    engine.resume("work").await.unwrap();
    let mut told = Vec::new();
    while told.len() < 9 {
        told.push(next(&mut events).await);
    }
    let due = told[3].at() + MIN;
    let what: Vec<_> = told.iter().map(|event| event.what().clone()).collect();
    let expected = [
        What::Paused,
        What::Enqueued { due: None },
        What::Reprioritised { priority: Priority::URGENT },
        What::Rescheduled { due: Some(due) },
        What::Edited,
        What::Moved { from: "work".into() },
        What::Cancelled,
        What::Forgotten,
        What::Resumed,
    ];
    assert_eq!(what, expected);
    let queues: Vec<_> = told.iter().map(|event| event.queue().unwrap()).collect();
    assert_eq!(queues, ["work", "work", "work", "work", "work", "other", "other", "other", "work"]);
    assert_eq!((told[0].job(), told[7].job(), told[7].kind()), (None, Some(job.id()), Some("step")));
    // That it leaves is the last that is heard of it where it was.
    engine.shutdown(SEC).await.unwrap();
    let left: Vec<_> = rest(&mut of_work).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(left, [told[5].clone()]);
}

#[tokio::test(start_paused = true)]
async fn a_flow_is_told_with_its_jobs_and_found_by_its_id() {
    use EventKind::{Dead, Enqueued, Failed, FlowEnded, FlowSubmitted, Started, Succeeded};
    let script = Script::new();
    let engine = start(&script, work().retry(RetryPolicy::never())).await;
    let mut events = engine.events(all());
    script.plan("b", [Play::Fail]);
    let mut flow = Flow::new("trip");
    let a = flow.first(StepDraft::new(&step("a")).named("a"));
    flow.after(&a, StepDraft::new(&step("b")).named("b"));
    let id = FlowId::from_u128(7);
    let mut of_flow = engine.events(all().flow(id));
    let flow = engine.submit(flow.id(id)).await.unwrap();
    let _ = flow.wait().await.unwrap_err();
    engine.enqueue(step("other")).and_wait().await.unwrap();
    let life = [FlowSubmitted, Enqueued, Enqueued, Started, Succeeded, Started, Failed, Dead, FlowEnded];
    assert_eq!(until(&mut events, FlowEnded).await, life);
    engine.shutdown(SEC).await.unwrap();
    let told: Vec<_> = rest(&mut of_flow).await.into_iter().map(Result::unwrap).collect();
    assert!(told.iter().all(|event| event.flow() == Some(flow.id())));
    let ended = told.last().unwrap();
    assert_eq!(ended.what(), &What::FlowEnded { name: "trip".into(), state: FlowState::Failed });
    assert_eq!((ended.job(), ended.queue(), ended.kind()), (None, None, None));
    assert_eq!(told.iter().map(|event| event.what().kind()).collect::<Vec<_>>(), life);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_gets_what_its_filter_means_and_nothing_else() {
    let script = Script::new();
    let other = QueueConfig::new("other");
    let engine = builder(&script, MemoryJournal::new()).queue(work()).queue(other).start().await.unwrap();
    let id = new_job_id();
    let filters = [
        all().queue("other"),
        all().job(id),
        all().what([EventKind::Succeeded, EventKind::Paused]),
        all().queue("work").what([EventKind::Started]),
        all().correlation_id("story"),
        all().kind("block"),
        all().queue("work").queue("other").kind("step"),
    ];
    let mut subscribers: Vec<_> = filters.into_iter().map(|filter| engine.events(filter)).collect();
    engine.enqueue(step("a")).id(id).and_wait().await.unwrap();
    engine.enqueue(step("b")).queue("other").correlation_id("story").and_wait().await.unwrap();
    engine.pause("other").await.unwrap();
    engine.shutdown(SEC).await.unwrap();
    let mut told = Vec::new();
    for events in &mut subscribers {
        let events: Vec<_> = rest(events).await.into_iter().map(Result::unwrap).collect();
        let words = events.iter().map(|event| format!("{} {}", event.queue().unwrap(), event.what().kind()));
        told.push(words.collect::<Vec<_>>());
    }
    let life = |queue: &str| ["enqueued", "started", "succeeded"].map(|word| format!("{queue} {word}")).to_vec();
    let paused = "other paused".to_owned();
    assert_eq!(told[0], [life("other"), vec![paused.clone()]].concat());
    assert_eq!(told[1], life("work"));
    assert_eq!(told[2], ["work succeeded".to_owned(), "other succeeded".to_owned(), paused]);
    assert_eq!(told[3], ["work started"]);
    assert_eq!(told[4], life("other"));
    assert!(told[5].is_empty());
    assert_eq!(told[6], [life("work"), life("other")].concat());
}

/// Whatever the engine had to say, it has said, and whoever waited for it has heard it.
async fn settle(engine: &Engine) {
    for _ in 0..3 {
        engine.stats().await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// I2: with the journal standing still, at each level, for what callers wait for and for what nobody does.
#[tokio::test]
async fn nothing_is_told_before_it_is_remembered_at_the_queue_s_level() {
    for (level, call, leaves) in [
        (Durability::Durable, Call::Sync, false),
        (Durability::Durable, Call::Append, false),
        (Durability::Process, Call::Append, false),
        (Durability::Process, Call::Sync, true),
        (Durability::Memory, Call::Append, true),
    ] {
        let script = Script::new();
        let (engine, faults) = start_with_faults(&script, work().durability(level)).await;
        let mut events = engine.events(all());
        script.plan("a", [Play::Hold]);
        engine.enqueue(step("a")).await.unwrap();
        script.started("a", 1).await;
        assert_eq!(until(&mut events, EventKind::Started).await.len(), 2);
        faults.hold(call);
        script.tell("a", Play::Succeed);
        if leaves {
            assert_eq!(until(&mut events, EventKind::Succeeded).await.len(), 1, "{level:?}, {call:?} held");
        } else {
            in_time(faults.stands_at_the_gate(call)).await;
            settle(&engine).await;
            assert!(is_silent(&mut events).await, "{level:?}, {call:?} held");
            faults.release(call);
            assert_eq!(until(&mut events, EventKind::Succeeded).await.len(), 1);
        }
        faults.release(call);
        engine.shutdown(SEC).await.unwrap();
    }
}

async fn is_silent(events: &mut Events) -> bool {
    tokio::select! {
        biased;
        event = events.next() => panic!("{event:?}"),
        () = std::future::ready(()) => true,
    }
}

/// In the order of commits, whatever each waits for: what is in memory only does not overtake.
#[tokio::test]
async fn what_waits_for_a_weaker_mark_waits_for_its_turn() {
    let script = Script::new();
    let journal = windlass_tests::fault::FaultJournal::new(MemoryJournal::simulated_disk());
    let faults: Faults = journal.faults();
    let quick = QueueConfig::new("quick").durability(Durability::Memory);
    let engine = builder(&script, journal).queue(work()).queue(quick).start().await.unwrap();
    let mut events = engine.events(all().what([EventKind::Enqueued]));
    faults.hold(Call::Sync);
    let durable = tokio::spawn({
        let engine = engine.clone();
        async move { engine.enqueue(step("a")).await.map(|job| job.id()) }
    });
    in_time(faults.stands_at_the_gate(Call::Sync)).await;
    in_time(engine.enqueue(step("b")).queue("quick").and_wait()).await.unwrap();
    assert!(is_silent(&mut events).await);
    faults.release(Call::Sync);
    let first = in_time(durable).await.unwrap().unwrap();
    assert_eq!(next(&mut events).await.job(), Some(first));
    assert_eq!(next(&mut events).await.queue(), Some("quick"));
    engine.shutdown(SEC).await.unwrap();
}

/// I6: what waits for a disk that stands still is bounded, too, and what is given up is said.
#[tokio::test]
async fn while_a_disk_stands_still_what_waits_to_be_told_is_bounded() {
    let script = Script::new();
    let journal = windlass_tests::fault::FaultJournal::new(MemoryJournal::simulated_disk());
    let faults: Faults = journal.faults();
    let quick = QueueConfig::new("quick").durability(Durability::Memory);
    let described = builder(&script, journal).queue(work()).queue(quick).events_kept_max(30);
    let engine = described.start().await.unwrap();
    let mut events = engine.events(all());
    in_time(engine.enqueue(step("before")).queue("quick").and_wait()).await.unwrap();
    assert_eq!(until(&mut events, EventKind::Succeeded).await.len(), 3);
    let last = events.position().unwrap();
    faults.hold(Call::Sync);
    let durable = tokio::spawn({
        let engine = engine.clone();
        async move { engine.enqueue(step("a")).await.map(|job| job.id()) }
    });
    in_time(faults.stands_at_the_gate(Call::Sync)).await;
    let mut id = None;
    for _ in 0..24 {
        let job = in_time(async { engine.enqueue(step("b")).queue("quick").await.unwrap() }).await;
        in_time(job.wait()).await.unwrap();
        id = Some(job.id());
    }
    // What was given up holds up nothing any more.
    let missed = in_time(gap(&mut events)).await;
    assert!(missed.from == last && missed.to > last);
    faults.release(Call::Sync);
    let durable = in_time(durable).await.unwrap().unwrap();
    engine.shutdown(SEC).await.unwrap();
    // The ring is as small, so that there may be more gaps, and no hole.
    let (mut told, mut seen) = (Vec::new(), missed.to);
    for next in rest(&mut events).await {
        seen = match next {
            Ok(event) => {
                assert!(event.no() > seen);
                told.push(event.clone());
                event.no()
            }
            Err(gap) => {
                assert!(gap.from == seen && gap.to > seen);
                gap.to
            }
        };
    }
    assert!(told.iter().all(|event| event.job() != Some(durable) || event.what().kind() != EventKind::Enqueued));
    let quick: Vec<_> = told.iter().filter(|event| event.queue() == Some("quick")).collect();
    assert!(quick.last().is_some_and(|event| event.job() == id && event.what() == &What::Succeeded), "{told:?}");
}

/// Watching changes nothing: not what is written, nor how often that is synced.
#[tokio::test(start_paused = true)]
async fn a_subscriber_asks_for_no_sync() {
    let mut syncs = Vec::new();
    for listens in [false, true] {
        let script = Script::new();
        let (engine, faults) = start_with_faults(&script, work()).await;
        let mut events = listens.then(|| engine.events(all()));
        for _ in 0..20 {
            engine.enqueue(step("a")).await.unwrap();
        }
        script.returned("a", 20).await;
        engine.stats().await.unwrap();
        syncs.push((faults.syncs(), faults.appends()));
        if let Some(events) = &mut events {
            // And yet what nobody waits for is told, within a second or so.
            let begin = tokio::time::Instant::now();
            for _ in 0..60 {
                next(events).await;
            }
            assert!(begin.elapsed() <= SEC * 2, "{:?}", begin.elapsed());
        }
    }
    assert_eq!(syncs[0], syncs[1]);
}

/// A batch is one commit: all of it is told, with one step's numbers, and whoever goes on in the middle of it gets the rest.
#[tokio::test(start_paused = true)]
async fn ten_thousand_jobs_of_one_call_are_one_commit() {
    const JOBS: usize = 10_000;
    let script = Script::new();
    let engine = start(&script, work()).await;
    let mut events = engine.events(all());
    engine.pause("work").await.unwrap();
    let receipts = engine.enqueue_all((0..JOBS).map(|_| windlass::Draft::new(&step("a")))).await.unwrap();
    assert_eq!(next(&mut events).await.what(), &What::Paused);
    let mut numbers = Vec::with_capacity(JOBS);
    for receipt in &receipts {
        let event = next(&mut events).await;
        assert_eq!((event.job(), event.what().kind()), (Some(receipt.id), EventKind::Enqueued));
        numbers.push(event.no());
    }
    assert!(numbers.is_sorted_by(|one, next| one < next && one.step() == next.step()));
    let mut again = engine.events(all()).after(numbers[JOBS / 2]);
    for no in &numbers[JOBS / 2 + 1..] {
        assert_eq!(next(&mut again).await.no(), *no);
    }
    assert!(is_silent(&mut again).await && is_silent(&mut events).await);
}

/// It is a stream as well, and what is dropped in the middle of a wait has taken nothing along.
#[tokio::test(start_paused = true)]
async fn it_is_a_stream_and_a_dropped_wait_loses_nothing() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let mut events = engine.events(all());
    for _ in 0..3 {
        assert!(is_silent(&mut events).await);
    }
    engine.enqueue(step("a")).and_wait().await.unwrap();
    engine.shutdown(SEC).await.unwrap();
    let told: Vec<_> = events.map(|event| event.unwrap().what().kind().as_str()).collect().await;
    assert_eq!(told, ["enqueued", "started", "succeeded"]);
}

/// A narrow filter over a great many events lets others have their turn.
#[tokio::test(start_paused = true)]
async fn a_subscriber_that_looks_through_much_keeps_nobody_from_the_thread() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let mut events = engine.events(all().what([EventKind::Dead]));
    engine.pause("work").await.unwrap();
    engine.enqueue_all((0..10_000).map(|_| windlass::Draft::new(&step("a")))).await.unwrap();
    // Each time that it is polled it looks at some, and has itself polled again.
    let mut stands = Vec::new();
    while stands.len() < 2 || stands[stands.len() - 1] != stands[stands.len() - 2] {
        assert!(is_silent(&mut events).await);
        stands.push(events.position().unwrap());
    }
    assert!((10..20).contains(&stands.len()) && stands.is_sorted(), "{stands:?}");
}

#[test]
fn what_events_take_of_memory_has_its_range() {
    let described = || Engine::builder().journal(MemoryJournal::new()).queue(work());
    assert!(described().events_kept_max(1).events_kept_bytes_max(1).effective_config().is_ok());
    assert!(described().events_kept_max(100_000_000).events_kept_bytes_max(1 << 40).effective_config().is_ok());
    for (refused, field) in [
        (described().events_kept_max(0), "events_kept_max"),
        (described().events_kept_max(100_000_001), "events_kept_max"),
        (described().events_kept_bytes_max(0), "events_kept_bytes_max"),
        (described().events_kept_bytes_max((1 << 40) + 1), "events_kept_bytes_max"),
    ] {
        let refused = refused.effective_config().unwrap_err();
        let names = matches!(&refused, windlass::ConfigError::Range { field: said, .. } if *said == field);
        assert!(names, "{refused}");
    }
}
