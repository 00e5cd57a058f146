//! What is kept of events, and for whom: gaps, going on where one was, rebuilds, restarts, the end.

use std::time::Duration;

use windlass::{Engine, EventKind, EventNo, MemoryJournal, SEC, new_job_id};
use windlass_tests::fault::{AppendFault, Fault};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{World, builder, start, start_with_faults, wall, work};

use super::{all, gap, in_time, is_silent, next, rest, until};

#[tokio::test(start_paused = true)]
async fn who_is_too_slow_gets_a_gap_and_goes_on_and_nobody_waits_for_it() {
    let script = Script::new();
    let described = builder(&script, MemoryJournal::new()).queue(work()).events_kept_max(6);
    let engine = described.start().await.unwrap();
    let (mut slow, mut quick) = (engine.events(all()), engine.events(all()));
    let mut told = Vec::new();
    for _ in 0..100 {
        engine.enqueue(step("a")).and_wait().await.unwrap();
        for _ in 0..3 {
            told.push(next(&mut quick).await.no());
        }
    }
    let missed = gap(&mut slow).await;
    assert_eq!(missed.to, told[293], "six of three hundred are there");
    assert!(missed.from < told[0]);
    for no in &told[294..] {
        assert_eq!(next(&mut slow).await.no(), *no);
    }
    engine.enqueue(step("a")).await.unwrap();
    assert_eq!(next(&mut slow).await.what().kind(), EventKind::Enqueued);
    assert!(missed.to_string().contains(&missed.to.to_string()));
}

/// A subscriber that only wants what never comes has seen everything all the same.
#[tokio::test(start_paused = true)]
async fn where_a_subscriber_stands_moves_with_what_it_did_not_want() {
    let script = Script::new();
    let engine = builder(&script, MemoryJournal::new()).queue(work()).events_kept_max(3).start().await.unwrap();
    let mut rare = engine.events(all().what([EventKind::Dead]));
    let mut every = engine.events(all());
    for _ in 0..10 {
        engine.enqueue(step("a")).and_wait().await.unwrap();
        for _ in 0..3 {
            next(&mut every).await;
        }
        assert!(is_silent(&mut rare).await);
    }
    assert_eq!(rare.position(), every.position());
    drop(rare);
    let mut again = engine.events(all()).after(every.position().unwrap());
    assert!(is_silent(&mut again).await, "no gap");
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_comes_back_goes_on_where_it_was() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let mut events = engine.events(all());
    for _ in 0..2 {
        engine.enqueue(step("a")).and_wait().await.unwrap();
    }
    let mut numbers = Vec::new();
    for _ in 0..6 {
        numbers.push(next(&mut events).await.no());
    }
    drop(events);
    engine.enqueue(step("a")).and_wait().await.unwrap();
    engine.shutdown(SEC).await.unwrap();
    // Text and back, as a browser does it; also after the end.
    for (seen, no) in numbers.iter().enumerate() {
        let no: EventNo = no.to_string().parse().unwrap();
        let mut events = engine.events(all()).after(no);
        let told: Vec<_> = rest(&mut events).await.into_iter().map(|event| event.unwrap().no()).collect();
        assert_eq!(told.len(), 8 - seen);
        assert_eq!(told[..5 - seen], numbers[seen + 1..]);
    }
}

/// I10: what was in flight when the core fell, nobody knows: the subscription goes on over it, with a gap in its place.
#[tokio::test(start_paused = true)]
async fn a_subscription_outlives_a_rebuild_and_says_that_something_may_be_missing() {
    for fault in [AppendFault::Refused, AppendFault::UnknownAbsent, AppendFault::UnknownWritten, AppendFault::Panic] {
        let script = Script::new();
        let (engine, faults) = start_with_faults(&script, work()).await;
        let mut events = engine.events(all());
        engine.enqueue(step("a")).and_wait().await.unwrap();
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(next(&mut events).await.no());
        }
        script.plan("b", [Play::Hold]);
        let held = engine.enqueue(step("b")).await.unwrap();
        script.started("b", 1).await;
        assert_eq!(until(&mut events, EventKind::Started).await.len(), 2);
        let last = events.position().unwrap();
        faults.on_append(fault);
        let id = new_job_id();
        engine.enqueue(step("c")).id(id).await.unwrap_err();
        engine.enqueue(step("c")).id(id).and_wait().await.unwrap();
        script.tell("b", Play::Succeed);
        held.wait().await.unwrap();
        let missed = gap(&mut events).await;
        assert_eq!((missed.from, missed.to.term(), missed.from.term()), (last, 2, 1), "{fault:?}");
        assert!(missed.from < missed.to);
        engine.shutdown(SEC).await.unwrap();
        let told: Vec<_> = rest(&mut events).await.into_iter().map(Result::unwrap).collect();
        assert!(told.is_sorted_by(|one, next| one.no() < next.no()) && told.iter().all(|event| event.no().term() == 2));
        // What ran all the while was adopted: it does not start again.
        let of_held: Vec<_> = told.iter().filter(|event| event.job() == Some(held.id())).collect();
        assert_eq!(of_held.iter().map(|event| event.what().kind()).collect::<Vec<_>>(), [EventKind::Succeeded]);
        let of_c = told.iter().filter(|event| event.job() == Some(id)).map(|event| event.what().kind());
        let enqueued = of_c.filter(|kind| *kind == EventKind::Enqueued).count();
        assert_eq!(enqueued, usize::from(fault != AppendFault::UnknownWritten), "{fault:?}");
        // From before the fall, the gap comes in its place.
        let again = rest(&mut engine.events(all()).after(seen[0])).await;
        let gaps: Vec<_> = again.iter().filter_map(|event| event.as_ref().err()).collect();
        assert_eq!((again.len(), gaps), (4 + 1 + told.len(), vec![&missed]), "{fault:?}");
    }
}

/// While the core is being rebuilt nobody is there to be asked: the next one looks by itself.
#[tokio::test(start_paused = true)]
async fn a_first_subscription_during_a_rebuild_is_heard() {
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work()).await;
    for _ in 0..2 {
        faults.on_open(Fault::Error);
    }
    faults.on_append(AppendFault::Refused);
    engine.enqueue(step("a")).await.unwrap_err();
    assert!(!engine.health().is_serving());
    let mut events = engine.events(all());
    engine.enqueue(step("b")).and_wait().await.unwrap();
    assert_eq!(until(&mut events, EventKind::Succeeded).await.len(), 3);
}

/// A number of an earlier process is a gap, whatever is in memory, also where the journal keeps nothing and its terms begin anew.
#[test]
fn after_a_restart_a_number_of_before_is_a_gap_and_never_a_hole() {
    for (from_start, is_fresh) in [(false, false), (true, false), (true, true)] {
        let mut world = World::new();
        let first = async |engine: Engine| {
            let mut events = engine.events(all());
            engine.enqueue(step("a")).and_wait().await.unwrap();
            let first = next(&mut events).await.no();
            engine.enqueue(step("b")).and_wait().await.unwrap();
            engine.shutdown(SEC).await.unwrap();
            first
        };
        let no = world.life(async |life| first(life.start(work()).await).await);
        world.life(async |life| {
            let described = if is_fresh { builder(&life.script, MemoryJournal::new()) } else { life.builder() };
            let described = if from_start { described.events_from_start() } else { described };
            let engine = described.queue(work()).start().await.unwrap();
            engine.enqueue(step("c")).and_wait().await.unwrap();
            let mut events = engine.events(all()).after(no);
            let missed = gap(&mut events).await;
            assert_eq!((missed.from, missed.to.term()), (no, if is_fresh { 1 } else { 2 }));
            engine.enqueue(step("d")).and_wait().await.unwrap();
            engine.shutdown(SEC).await.unwrap();
            let told = rest(&mut events).await;
            assert!(told.iter().all(Result::is_ok));
            assert_eq!(told.len(), if from_start { 6 } else { 3 }, "from the start: {from_start}");
        });
    }
}

/// The process died under it: the next one tells so, if it listens from its start on.
#[test]
fn a_lost_attempt_is_told_by_the_process_that_finds_it() {
    let mut world = World::new();
    world.script.plan("a", [Play::Hold, Play::Succeed]);
    let id = new_job_id();
    world.life(async |life| {
        let engine = life.start(work()).await;
        engine.enqueue(step("a")).id(id).await.unwrap();
        life.script.started("a", 1).await;
    });
    world.life(async |life| {
        let engine = life.builder().queue(work()).events_from_start().start().await.unwrap();
        life.script.returned("a", 1).await;
        let stranger: EventNo = "1.1.1.0".parse().unwrap();
        let mut events = engine.events(all().job(id)).after(stranger);
        gap(&mut events).await;
        let told = [next(&mut events).await, next(&mut events).await, next(&mut events).await];
        assert_eq!(
            told.each_ref().map(|event| (event.what().kind(), event.attempt())),
            [(EventKind::Lost, 1), (EventKind::Started, 2), (EventKind::Succeeded, 2),]
        );
        assert!(told[0].at() >= wall(Duration::ZERO));
    });
}

/// All that happened is told before the end, and after it there is nothing; also for those who come then.
#[tokio::test(start_paused = true)]
async fn a_stop_is_the_end_after_the_last_event() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    let mut events = engine.events(all());
    let waits = tokio::spawn({
        let mut events = engine.events(all());
        async move { rest(&mut events).await.len() }
    });
    script.plan("a", [Play::until_cancelled(Play::Succeed)]);
    engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    engine.shutdown(SEC).await.unwrap();
    let told: Vec<_> = rest(&mut events).await.into_iter().map(|event| event.unwrap().what().kind()).collect();
    assert_eq!(told, [EventKind::Enqueued, EventKind::Started, EventKind::Succeeded]);
    assert_eq!(in_time(waits).await.unwrap(), 3);
    assert!(events.next().await.is_none() && engine.events(all()).next().await.is_none());
}

/// Also where there never was anything to tell, and where the storage stays broken.
#[tokio::test(start_paused = true)]
async fn an_engine_that_gave_up_tells_nothing_more_and_says_so() {
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work()).await;
    let mut events = engine.events(all());
    for _ in 0..20 {
        faults.on_open(Fault::Error);
    }
    faults.on_append(AppendFault::Refused);
    engine.enqueue(step("a")).await.unwrap_err();
    assert!(rest(&mut events).await.is_empty());
}
