//! Memory under a rush: 100,000 callers at once, on a binary of its own, since it counts every allocation.
// Helpers of tests are not tests to clippy.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use peak_alloc::PeakAlloc;
use tokio::sync::Barrier;
use windlass::storage::{
    Append, Batch, Capabilities, CommitNo, Journal, LoadError, Loaded, MemoryJournal, OpenError, Opened, Reader,
    Resolution, StorageError,
};
use windlass::{Engine, QueueConfig, SEC};
use windlass_tests::script::{Script, run_block, run_step, step};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const CALLERS: usize = 100_000;
const PAYLOAD_BYTES: usize = 200;
const BYTES_MAX: usize = 64 << 20;

/// A journal that keeps nothing, as a disk keeps nothing in the process's memory.
struct NoMemory {
    terms: MemoryJournal,
}

impl Journal for NoMemory {
    fn capabilities(&self) -> Capabilities {
        self.terms.capabilities()
    }

    fn describe(&self) -> String {
        "nowhere".to_owned()
    }

    fn open(&mut self) -> Result<Opened, OpenError> {
        self.terms.open()
    }

    fn load(&mut self, sink: &mut dyn FnMut(Loaded) -> Option<String>) -> Result<(), LoadError> {
        self.terms.load(sink)
    }

    fn append(&mut self, _: &Batch) -> Append {
        Append::Ok
    }

    fn resolve(&mut self, commit_no: CommitNo) -> Result<Resolution, StorageError> {
        self.terms.resolve(commit_no)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    fn free_bytes(&self) -> Option<u64> {
        None
    }

    fn reader(&self) -> Result<Arc<dyn Reader>, StorageError> {
        self.terms.reader()
    }

    fn close(&mut self) -> Result<(), StorageError> {
        self.terms.close()
    }
}

/// I6: everything has a limit: the peak of the allocator, minus its reading with the same tasks parked at a barrier, minus
/// 200 B for each accepted job, minus the payloads, stays within 64 MiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_callers_at_once_cost_their_jobs_and_a_bounded_rest() {
    let builder = Engine::builder().journal(NoMemory { terms: MemoryJournal::new() }).app(Script::new());
    let builder = builder.handler(run_step).blocking_handler(run_block);
    let engine = builder.queue(QueueConfig::new("work")).start().await.unwrap();
    engine.pause("work").await.unwrap();
    let barrier = Arc::new(Barrier::new(CALLERS + 1));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (engine, barrier) = (engine.clone(), barrier.clone());
            tokio::spawn(async move {
                // It arrives once to be counted, and once more to begin.
                barrier.wait().await;
                barrier.wait().await;
                engine.enqueue(step(&"x".repeat(PAYLOAD_BYTES - r#"{"name":""}"#.len()))).await.unwrap();
            })
        })
        .collect();
    barrier.wait().await;
    ALLOCATOR.reset_peak_usage();
    let parked = ALLOCATOR.current_usage();
    barrier.wait().await;
    for caller in callers {
        caller.await.unwrap();
    }
    let peak = ALLOCATOR.peak_usage();
    assert_eq!(engine.stats().await.unwrap()[0].ready, CALLERS as u64);
    let rest = peak.saturating_sub(parked).saturating_sub(CALLERS * (200 + PAYLOAD_BYTES));
    let kib = |bytes: usize| bytes / 1_024;
    println!("parked {} KiB, peak {} KiB, rest {} KiB", kib(parked), kib(peak), kib(rest));
    assert!(rest <= BYTES_MAX, "{} KiB over what the jobs and their payloads are worth", kib(rest));
    engine.shutdown(SEC * 30).await.unwrap();
}
