//! What is kept of jobs that ended, for how long, and that nothing grows for ever.

use std::time::Duration;

use windlass::{HOUR, JobState, KeepDone, Priority, QueueStats, Retention, RetryPolicy, SEC};
use windlass_tests::script::{Play, Step, step};
use windlass_tests::world::{Life, World, work};

const ALWAYS: Duration = Duration::from_secs(1 << 30);

async fn stats_after_twenty(life: &Life, retention: Retention) -> QueueStats {
    let queue = work().retention(retention).retry(RetryPolicy::never()).concurrency(1);
    let engine = life.start(queue).await;
    life.script.plan("dead", [Play::Fail]);
    life.script.plan("empty", [Play::run(|_| async { Ok(String::new()) })]);
    for name in ["done", "dead", "empty"] {
        for _ in 0..20 {
            engine.enqueue(step(name)).await.unwrap();
        }
    }
    engine.enqueue(step("last")).priority(Priority::LOW).and_wait().await.unwrap();
    engine.stats().await.unwrap().remove(0)
}

#[test]
fn no_more_are_kept_than_the_count_says() {
    World::new().life(async |life| {
        let retention = Retention::default().done(ALWAYS, 7, 1 << 20).dead(ALWAYS, 3, 1 << 20);
        let stats = stats_after_twenty(life, retention).await;
        assert_eq!((stats.done, stats.dead, stats.totals.purged), (7, 3, 61 - 10));
    });
}

#[test]
fn no_more_are_kept_than_the_bytes_say() {
    World::new().life(async |life| {
        // A payload and an output: {"name":"dead"} and the failure's text.
        let bytes = (r#"{"name":"dead"}"#.len() + "as the script says".len()) as u64;
        let retention = Retention::default().dead(ALWAYS, 1_000, bytes * 5 + 1);
        let stats = stats_after_twenty(life, retention).await;
        assert_eq!((stats.done, stats.dead), (41, 5));
    });
}

#[test]
fn none_are_kept_where_none_are_wanted() {
    World::new().life(async |life| {
        let stats = stats_after_twenty(life, Retention::default().keep_done(KeepDone::None)).await;
        assert_eq!((stats.done, stats.dead, stats.totals.purged), (0, 20, 41));
    });
}

#[test]
fn what_is_too_old_is_forgotten_with_its_payload_and_output() {
    World::new().life(async |life| {
        let engine = life.start(work().retention(Retention::default().done(HOUR, 1_000, 1 << 20))).await;
        let job = engine.enqueue(step("a")).await.unwrap();
        job.wait().await.unwrap();
        tokio::time::advance(SEC * 3_595).await;
        assert_eq!(job.status().await.unwrap().state, JobState::Done);
        let is_gone = async {
            while job.status().await.is_ok() {
                tokio::time::advance(SEC).await;
            }
        };
        tokio::time::timeout(SEC * 30, is_gone).await.unwrap();
        assert_eq!(engine.stats().await.unwrap()[0].totals.purged, 1);
    });
}

#[test]
fn what_grew_too_old_while_the_process_was_down_is_forgotten_at_the_start() {
    let mut world = World::new();
    let retention = Retention::default().done(HOUR, 1_000, 1 << 20);
    let id = world.life(async |life| {
        let engine = life.start(work().retention(retention)).await;
        let job = engine.enqueue(step("a")).await.unwrap();
        job.wait().await.unwrap();
        job.id()
    });
    world.pass(HOUR * 2);
    world.life(async |life| {
        let engine = life.start(work().retention(retention)).await;
        engine.enqueue(step("b")).and_wait().await.unwrap();
        engine.handle::<Step>(id).status().await.unwrap_err();
        let stats = &engine.stats().await.unwrap()[0];
        assert_eq!((stats.done, stats.totals.purged), (1, 1));
    });
}

/// A journal of jobs that are forgotten is an empty one: nothing grows for ever.
#[test]
fn forgotten_jobs_leave_no_record() {
    use windlass::storage::{Journal, Loaded};
    use windlass_scheduler::change::{Key, Record};
    let mut world = World::new();
    let ids = world.life(async |life| {
        life.script.plan("a", [Play::Fail, Play::Snooze(SEC), Play::Output("out".to_owned())]);
        let retention = Retention::default().done(HOUR, 1, 1 << 20).dead(HOUR, 1, 1 << 20);
        let engine = life.start(work().retention(retention)).await;
        let mut ids = Vec::new();
        for _ in 0..50 {
            let job = engine.enqueue(step("a")).await.unwrap();
            job.wait().await.unwrap();
            ids.push(job.id());
        }
        engine.shutdown(SEC).await.unwrap();
        ids
    });
    let mut disk = world.disk.second_handle();
    disk.open().unwrap();
    let mut records = Vec::new();
    disk.load(&mut |loaded| {
        if let Loaded::Record(record) = loaded {
            records.push(record);
        }
        None
    })
    .unwrap();
    let of_jobs = records
        .iter()
        .filter(|record| matches!(record, Record::Job(_) | Record::Ended(_) | Record::Head(..) | Record::Claims(_)));
    assert_eq!(of_jobs.count(), 1);
    let reader = disk.reader().unwrap();
    for id in &ids[..49] {
        for key in [Key::Job(*id), Key::Head(*id), Key::Result(*id), Key::Attempt(*id, 1)] {
            assert_eq!(reader.get(&key).unwrap(), None);
        }
    }
    assert!(reader.get(&Key::Result(ids[49])).unwrap().is_some());
}
