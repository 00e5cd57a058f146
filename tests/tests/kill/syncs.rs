//! No Ok of a `Durable` queue without a sync that reached the system: a kill cannot tell, only the calls can.
//!
//! A small library is preloaded into the child and tells of its syncs in the pipe, between the child's own lines.

use std::path::Path;
use std::sync::Arc;

use windlass::storage::{
    Append, Batch, Capabilities, CommitNo, Journal, LoadError, Loaded, OpenError, Opened, Reader, Resolution,
    StorageError,
};
use windlass::{Durability, Engine, MIN, QueueConfig, RocksJournal};

use windlass_tests::images::recording::compiled;
use windlass_tests::kill::jobs::{No, Queue, Work};
use windlass_tests::kill::pipe::Line;
use windlass_tests::kill::process::Orders;
use windlass_tests::kill::say;

/// Jobs that are awaited one by one, of each level.
const JOBS: u32 = 60;
/// Syncs that other reasons have: there is one a second, at most.
const STRAY_MAX: usize = 12;

/// A journal that believes itself synced. What the test is to catch.
struct Unsynced(RocksJournal);

impl Journal for Unsynced {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn open(&mut self) -> Result<Opened, OpenError> {
        self.0.open()
    }

    fn load(&mut self, sink: &mut dyn FnMut(Loaded) -> Option<String>) -> Result<(), LoadError> {
        self.0.load(sink)
    }

    fn append(&mut self, batch: &Batch) -> Append {
        self.0.append(batch)
    }

    fn resolve(&mut self, commit_no: CommitNo) -> Result<Resolution, StorageError> {
        self.0.resolve(commit_no)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    fn free_bytes(&self) -> Option<u64> {
        self.0.free_bytes()
    }

    fn reader(&self) -> Result<Arc<dyn Reader>, StorageError> {
        self.0.reader()
    }

    fn close(&mut self) -> Result<(), StorageError> {
        self.0.close()
    }
}

/// The child: hands in jobs one by one, and runs none.
pub(crate) async fn enqueue_one_by_one(orders: &Orders) {
    let journal = RocksJournal::at(&orders.directory);
    let builder = Engine::builder().allow_unknown_kinds().disk_free_bytes_min(1 << 20);
    let builder = if orders.role == "syncs" { builder.journal(journal) } else { builder.journal(Unsynced(journal)) };
    let builder = builder.queue(QueueConfig::new(Queue::Fast.name()));
    let light = QueueConfig::new(Queue::Light.name()).durability(Durability::Process);
    let engine = builder.queue(light).start().await.expect("the engine starts");
    Line::Ready.tell();
    for queue in [Queue::Fast, Queue::Light] {
        for serial in 0..JOBS {
            let no = No::new(orders.life, queue, 0, serial, 0);
            Line::Intent(no).tell();
            let accepted = engine.enqueue(Work(no.payload())).id(no.id()).queue(queue.name()).await;
            accepted.expect("a job is accepted");
            Line::Accepted(no).tell();
        }
    }
    engine.shutdown(MIN).await.expect("the engine stops");
    Line::Bye.tell();
}

/// For each level: how many jobs had a sync of data between the call and its Ok.
fn covered(role: &str, library: &Path) -> [usize; 2] {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let life = Orders::new(role, 1, &directory.path().join("journal")).spawn_with(&[("LD_PRELOAD", library)]);
    let (lines, status) = life.bury();
    assert!(status.success() && lines.contains(&Line::Bye), "{role}: {status}, {lines:?}");
    let is_sync = |line: &&Line| **line == Line::Note("fdatasync".to_owned());
    assert!(lines.iter().any(|line| is_sync(&line)), "the library is in force: closing the journal syncs it");
    [Queue::Fast, Queue::Light].map(|queue| {
        let accepted = lines.iter().enumerate().filter_map(|(at, line)| match line {
            Line::Accepted(no) if no.queue() == queue => Some((at, *no)),
            _ => None,
        });
        let is_covered = |(at, no): &(usize, No)| {
            let call = lines.iter().position(|line| *line == Line::Intent(*no)).expect("it was handed in");
            lines[call..*at].iter().any(|line| is_sync(&line))
        };
        let all: Vec<_> = accepted.collect();
        assert_eq!(all.len(), JOBS as usize);
        all.iter().filter(|accepted| is_covered(accepted)).count()
    })
}

/// I2: a reply of a `Durable` queue leaves when its step is synced, and not before.
#[test]
fn every_ok_of_a_durable_queue_comes_after_a_sync_and_a_removed_sync_is_noticed() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let library = compiled(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kill/tell_syncs.c"), folder.path());
    let [durable, process] = covered("syncs", &library);
    let [removed, _] = covered("syncs-removed", &library);
    say(&format!("of {JOBS} jobs each had a sync before their Ok: {durable} durable, {process} process"));
    say(&format!("with the sync removed: {removed}"));
    assert_eq!(durable, JOBS as usize, "an Ok came without a sync");
    assert!(process <= STRAY_MAX, "the level `Process` pays for syncs that it does not promise: {process}");
    assert!(removed <= STRAY_MAX, "the test would not notice a sync that is not made: {removed}");
}
