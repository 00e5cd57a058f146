//! Health: why, since when and what to do; cheap, and from any thread.

use std::future::IntoFuture as _;
use std::time::{Duration, SystemTime};

use windlass::{HealthState, HealthWarning, SEC};
use windlass_scheduler::change::Record;
use windlass_tests::fault::{Call, Fault};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{World, start, start_with_faults, work};

#[tokio::test(start_paused = true)]
async fn an_engine_that_serves_has_nothing_to_tell() {
    let before = SystemTime::now();
    let engine = start(&Script::new(), work()).await;
    let health = engine.health();
    assert!(health.is_serving() && health.accepts_jobs());
    assert_eq!((health.to_string().as_str(), health.what_to_do().len()), ("healthy", 0));
    assert!(before <= health.since && health.since <= SystemTime::now());
    engine.shutdown(SEC).await.unwrap();
    let health = engine.health();
    assert_eq!(health.to_string(), "stopped: it was stopped");
    assert_eq!(health.what_to_do(), [HealthState::Stopped(String::new()).what_to_do()]);
    assert!(!health.is_serving() && !health.accepts_jobs());
}

#[tokio::test(start_paused = true)]
async fn a_nearly_full_disk_is_told_with_its_numbers_until_there_is_room() {
    const MIB: u64 = 1 << 20;
    let (engine, faults) = start_with_faults(&Script::new(), work()).await;
    let look = async |mib: u64| {
        faults.set_free_bytes(mib * MIB);
        // It is looked at with the syncs, once a second.
        tokio::time::advance(SEC).await;
        let _ = engine.enqueue(step("a")).await;
        tokio::time::advance(SEC * 2).await;
        engine.stats().await.unwrap();
    };
    look(200).await;
    let health = engine.health();
    let [HealthWarning::DiskNearlyFull { free_bytes, free_bytes_min, since }] = health.warnings[..] else {
        panic!("{health}");
    };
    assert_eq!((free_bytes, free_bytes_min), (200 * MIB, 256 * MIB));
    assert!(since <= SystemTime::now() && health.since <= SystemTime::now());
    assert!(health.is_serving() && !health.accepts_jobs());
    assert!(health.what_to_do()[0].contains("free some space"));
    look(300).await;
    assert!(engine.health().accepts_jobs(), "{}", engine.health());
}

#[test]
fn records_in_quarantine_are_counted_from_the_start_on() {
    let mut world = World::new();
    let ids = world.life(async |life| {
        let engine = life.start(work()).await;
        engine.pause("work").await.unwrap();
        let mut ids = Vec::new();
        for name in ["a", "b", "c"] {
            ids.push(engine.enqueue(step(name)).await.unwrap().id());
        }
        assert_eq!(engine.health().warnings, []);
        ids
    });
    world.life(async |life| {
        life.faults.damage(move |record| matches!(record, Record::Job(job) if ids[..2].contains(&job.id)));
        let engine = life.start(work()).await;
        let health = engine.health();
        assert!(matches!(health.warnings[..], [HealthWarning::Quarantined { records: 2, .. }]), "{health}");
        assert!(health.accepts_jobs() && health.what_to_do()[0].contains("quarantine"));
        // A rebuild does not count them again.
        life.faults.on_sync(Fault::Error);
        let _ = engine.enqueue(step("d")).await;
        engine.stats().await.unwrap();
        assert_eq!(life.faults.opens(), 2);
        assert!(matches!(engine.health().warnings[..], [HealthWarning::Quarantined { records: 2, .. }]));
    });
    world.life(async |life| {
        let engine = life.start(work()).await;
        assert_eq!(engine.health().warnings, [], "what an earlier process moved aside, it has told");
    });
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_recovers_and_one_that_gave_up_say_why_and_what_to_do() {
    let (engine, faults) = start_with_faults(&Script::new(), work()).await;
    (0..20).for_each(|_| faults.on_open(Fault::Error));
    faults.on_sync(Fault::Error);
    let waits = tokio::spawn(engine.enqueue(step("a")).and_wait());
    while engine.health().is_serving() {
        tokio::task::yield_now().await;
    }
    let health = engine.health();
    let HealthState::Recovering(why) = &health.state else { panic!("{health}") };
    assert!(why.contains("a sync failed"), "{why}");
    assert!(health.what_to_do()[0].contains("calls wait"));
    while matches!(engine.health().state, HealthState::Recovering(_)) {
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    let health = engine.health();
    let HealthState::Unhealthy(why) = &health.state else { panic!("{health}") };
    assert!(why.contains("gave up after 5 rebuilds"), "{why}");
    assert!(health.what_to_do()[0].contains("restart"));
    waits.await.unwrap().unwrap_err();
}

/// The writer stands still, and so does everyone who waits for it: health is asked just then.
#[tokio::test]
async fn a_journal_that_does_not_come_back_is_told_while_it_lasts() {
    let script = Script::new();
    script.plan("a", [Play::Succeed]);
    let (engine, faults) = start_with_faults(&script, work()).await;
    faults.hold(Call::Sync);
    let waits = tokio::spawn(engine.enqueue(step("a")).into_future());
    faults.stands_at_the_gate(Call::Sync).await;
    assert_eq!(engine.health().warnings, [], "not yet");
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    let slow = async {
        loop {
            looks.tick().await;
            let elsewhere = engine.clone();
            let health = std::thread::spawn(move || elsewhere.health()).join().unwrap();
            if let [HealthWarning::JournalSlow { call, lasts, .. }] = health.warnings[..] {
                return (call, lasts, health);
            }
        }
    };
    let (call, lasts, health) = tokio::time::timeout(SEC * 30, slow).await.unwrap();
    assert!(call == "sync" && lasts >= SEC * 3, "{health}");
    assert!(health.is_serving() && health.what_to_do()[0].contains("disk"));
    faults.release(Call::Sync);
    waits.await.unwrap().unwrap();
    assert_eq!(engine.health().warnings, []);
    engine.shutdown(SEC * 10).await.unwrap();
}
