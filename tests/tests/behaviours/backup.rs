//! Backup: asked of the engine while it works. What is copied, and what is refused; with files, and without.

use windlass::storage::BackupError as JournalBackupError;
use windlass::{BackupError, SEC};
use windlass_tests::script::{Script, step};
use windlass_tests::world::{start, work};

#[tokio::test(start_paused = true)]
async fn a_journal_in_memory_says_that_it_has_nothing_to_copy() {
    let folder = tempfile::tempdir().unwrap();
    let engine = start(&Script::new(), work()).await;
    let refused = engine.backup(folder.path().join("copy")).await.unwrap_err();
    assert!(matches!(refused, BackupError::Journal(JournalBackupError::Unsupported { .. })), "{refused}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "a");
    engine.shutdown(SEC).await.unwrap();
    let refused = engine.backup(folder.path().join("copy")).await.unwrap_err();
    assert!(matches!(refused, BackupError::Unavailable(_)), "{refused}");
}

#[cfg(feature = "rocksdb")]
mod on_disk {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use windlass::{Durability, Engine, JobId, JobState, MIN, QueueConfig, RocksJournal, new_job_id};
    use windlass_tests::script::{Play, Step};
    use windlass_tests::world::builder;

    use super::*;

    fn queues() -> [QueueConfig; 3] {
        let process = QueueConfig::new("process").durability(Durability::Process);
        [work(), process, QueueConfig::new("memory").durability(Durability::Memory)]
    }

    async fn open(script: &Script, path: &Path) -> Engine {
        let mut builder = builder(script, RocksJournal::at(path)).disk_free_bytes_min(1 << 20);
        for queue in queues() {
            builder = builder.queue(queue);
        }
        builder.start().await.unwrap()
    }

    /// Hands in jobs until it is told to stop; gives those that were acknowledged.
    fn producer(engine: &Engine, queue: &'static str, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<Vec<JobId>> {
        let (engine, stop) = (engine.clone(), stop.clone());
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                let job = engine.enqueue(step(&"x".repeat(300))).id(new_job_id()).queue(queue);
                acknowledged.push(job.await.unwrap().id());
            }
            acknowledged
        })
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_backup_under_load_has_every_job_that_was_acknowledged_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let script = Script::new();
        script.plan("running", [Play::Hold]);
        let engine = open(&script, &at("journal")).await;
        // Before it: done, dead, delayed, running and waiting jobs, of every level.
        let done = engine.enqueue(step("done")).await.unwrap();
        done.wait().await.unwrap();
        script.plan("dead", [Play::Permanent]);
        let dead = engine.enqueue(step("dead")).await.unwrap();
        dead.wait().await.unwrap_err();
        let delayed = engine.enqueue(step("delayed")).delay(MIN * 60).await.unwrap().id();
        let running = engine.enqueue(step("running")).await.unwrap().id();
        script.started("running", 1).await;
        engine.pause("process").await.unwrap();
        engine.pause("memory").await.unwrap();
        let mut before = Vec::new();
        for no in 0..200 {
            before.push(engine.enqueue(step(&no.to_string())).queue("process").await.unwrap().id());
        }
        let volatile = engine.enqueue(step("volatile")).queue("memory").await.unwrap().id();

        let stop = Arc::new(AtomicBool::new(false));
        let producers = ["work", "process"].map(|queue| producer(&engine, queue, &stop));
        let report = engine.backup(at("copy")).await.unwrap();
        let after = engine.enqueue(step("after")).queue("process").await.unwrap().id();
        stop.store(true, Ordering::SeqCst);
        let mut since = BTreeSet::new();
        for producer in producers {
            since.extend(producer.await.unwrap());
        }
        assert_eq!(engine.health().state, windlass::HealthState::Healthy);
        script.tell("running", Play::Succeed);
        engine.shutdown(SEC * 10).await.unwrap();
        assert_eq!((report.unreadable, &report.path), (0, &at("copy")));
        assert!(report.jobs >= 202 && report.ended >= 2 && report.bytes > 0, "{report:?}");

        // Put back twice: it stays as it is.
        for name in ["one", "two"] {
            let restored = RocksJournal::restore(at("copy"), at(name)).unwrap();
            let counts =
                |report: &windlass::BackupReport| (report.jobs, report.ended, report.records, report.commit_no);
            assert_eq!(counts(&restored), counts(&report));
            let script = Script::new();
            script.plan("running", [Play::Hold]);
            let engine = open(&script, &at(name)).await;
            script.started("running", 1).await;
            assert_eq!(script.attempts("running"), [2], "it was running then, and counts as lost once");
            assert_eq!(engine.job(running).await.unwrap().lost, 1);
            assert_eq!(engine.job(done.id()).await.unwrap().state, JobState::Done);
            assert_eq!(engine.job(dead.id()).await.unwrap().state, JobState::Dead);
            assert_eq!(engine.job(delayed).await.unwrap().state, JobState::Delayed);
            for id in &before {
                assert_eq!(engine.job(*id).await.unwrap().state, JobState::Ready, "acknowledged before the call");
            }
            engine.job(after).await.expect_err("it came after the backup was finished");
            engine.job(volatile).await.expect_err("it was in no journal");
            let stats = engine.stats().await.unwrap();
            let live: u64 = stats.iter().map(|queue| queue.delayed + queue.ready + queue.running).sum();
            assert!(live <= report.jobs, "nothing else came along: {live} of {}", report.jobs);
            script.tell("running", Play::Succeed);
            engine.handle::<Step>(running).wait().await.unwrap();
            engine.shutdown(SEC * 10).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_cannot_be_is_refused_and_the_engine_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let engine = open(&Script::new(), &at("journal")).await;
        let refused = async |path: &Path| match engine.backup(path).await.unwrap_err() {
            BackupError::Journal(error) => error,
            other => panic!("{other}"),
        };
        std::fs::create_dir(at("full")).unwrap();
        std::fs::write(at("full").join("thesis.tex"), "precious").unwrap();
        assert!(matches!(refused(&at("full")).await, JournalBackupError::NotEmpty { .. }));
        assert!(matches!(refused(&at("full").join("thesis.tex")).await, JournalBackupError::Exists { .. }));
        assert!(matches!(refused(&at("missing/copy")).await, JournalBackupError::ParentMissing { .. }));
        assert!(matches!(refused(&at("journal/copy")).await, JournalBackupError::Inside { .. }));
        assert_eq!(engine.enqueue(step("a")).and_wait().await.unwrap(), "a");
        engine.backup(at("copy")).await.unwrap();
        let names = |path: &Path| -> BTreeSet<_> {
            std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect()
        };
        assert_eq!(names(folder.path()), ["copy", "full", "journal"].map(Into::into).into());
        assert_eq!(names(&at("copy")), ["WATERMARK", "WINDLASS", "db"].map(Into::into).into());
        engine.shutdown(SEC * 10).await.unwrap();
    }
}
