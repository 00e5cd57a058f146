//! Several engines in one process: each with its own journal, and no two with the same.

use windlass::{MemoryJournal, SEC};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{builder, start, work};

#[tokio::test(start_paused = true)]
async fn engines_in_one_process_know_nothing_of_each_other() {
    let scripts = [Script::new(), Script::new(), Script::new()];
    let mut engines = Vec::new();
    for (no, script) in scripts.iter().enumerate() {
        script.plan("a", [Play::Output(no.to_string())]);
        engines.push(start(script, work()).await);
    }
    let id = windlass::new_job_id();
    for (no, engine) in engines.iter().enumerate() {
        let job = engine.enqueue(step("a")).id(id).await.unwrap();
        assert!(job.is_fresh());
        assert_eq!(job.wait().await.unwrap(), no.to_string());
    }
    engines[0].shutdown(SEC).await.unwrap();
    assert_eq!(engines[1].enqueue(step("a")).and_wait().await.unwrap(), "1");
}

#[tokio::test]
async fn engines_with_threads_of_their_own_start_and_stop_again_and_again() {
    let script = Script::new();
    let journal = MemoryJournal::new();
    for round in 1..=20 {
        let engine = builder(&script, journal.second_handle()).queue(work()).start().await.unwrap();
        engine.enqueue(step("a")).and_wait().await.unwrap();
        assert_eq!(engine.stats().await.unwrap()[0].totals.enqueued, round);
        engine.shutdown(SEC * 10).await.unwrap();
    }
}

#[cfg(feature = "rocksdb")]
mod on_disk {
    use windlass::storage::OpenError;
    use windlass::{RocksJournal, StartError};

    use super::*;

    #[tokio::test]
    async fn a_second_engine_on_one_directory_is_told_that_it_is_in_use() {
        let directory = tempfile::tempdir().unwrap();
        let script = Script::new();
        let start = async || builder(&script, RocksJournal::at(directory.path())).queue(work()).start().await;
        let first = start().await.unwrap();
        let refused = start().await.unwrap_err();
        assert!(
            matches!(&refused, StartError::Open(OpenError::InUse { path }) if path == directory.path()),
            "{refused}"
        );
        assert!(refused.to_string().contains("in use"));
        // The first has not noticed.
        first.enqueue(step("a")).and_wait().await.unwrap();
        first.shutdown(SEC * 10).await.unwrap();
        let again = start().await.unwrap();
        assert_eq!(again.stats().await.unwrap()[0].done, 1);
        again.shutdown(SEC * 10).await.unwrap();
    }
    #[tokio::test]
    async fn engines_with_directories_of_their_own_run_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let scripts = [Script::new(), Script::new(), Script::new()];
        let mut engines = Vec::new();
        for (no, script) in scripts.iter().enumerate() {
            script.plan("a", [Play::Output(no.to_string())]);
            let journal = RocksJournal::at(folder.path().join(no.to_string()));
            engines.push(builder(script, journal).queue(work()).start().await.unwrap());
        }
        let id = windlass::new_job_id();
        let jobs = engines.iter().map(|engine| engine.enqueue(step("a")).id(id).and_wait());
        let outputs = futures_util::future::try_join_all(jobs).await.unwrap();
        assert_eq!(outputs, ["0", "1", "2"]);
        // One that stops takes nothing from the others.
        engines.remove(0).shutdown(SEC * 10).await.unwrap();
        for engine in engines {
            assert_eq!(engine.enqueue(step("b")).and_wait().await.unwrap(), "b");
            assert_eq!(engine.stats().await.unwrap()[0].totals.enqueued, 2);
            engine.shutdown(SEC * 10).await.unwrap();
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn another_name_of_the_same_directory_is_the_same_directory() {
        let folder = tempfile::tempdir().unwrap();
        let (real, alias) = (folder.path().join("real"), folder.path().join("alias"));
        let script = Script::new();
        let start = async |path| builder(&script, RocksJournal::at(path)).queue(work()).start().await;
        let first = start(real.clone()).await.unwrap();
        std::os::unix::fs::symlink(&real, &alias).unwrap();
        for path in [alias, real.join("..").join("real")] {
            let refused = start(path.clone()).await.unwrap_err();
            assert!(
                matches!(&refused, StartError::Open(OpenError::InUse { path: told }) if *told == path),
                "{refused}"
            );
        }
        first.shutdown(SEC * 10).await.unwrap();
    }
}
