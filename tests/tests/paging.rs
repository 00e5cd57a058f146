//! Payloads over the budget on a real disk: 200,000 jobs run exactly once, in order, with their own payloads.
// Helpers of tests are not tests to clippy.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use windlass::{
    Context, Draft, Durability, Engine, Job, JobError, KeepDone, QueueConfig, Retention, RocksJournal, SEC,
};

const JOBS: u64 = 200_000;
const BULK: u64 = 1_000;
/// Far less than the payloads are, and more than the heads.
const BUDGET_BYTES: u64 = 48 << 20;

#[derive(Serialize, Deserialize)]
struct Count {
    n: u64,
    rest: String,
}

impl Job for Count {
    const KIND: &'static str = "count";
    const QUEUE: &'static str = "work";
    type Output = ();
}

/// What ran, in order.
#[derive(Clone, Default)]
struct Seen {
    order: Arc<Mutex<Vec<u64>>>,
    all: Arc<Notify>,
}

async fn count(job: Count, cx: Context<Seen>) -> Result<(), JobError> {
    assert_eq!(job.rest, rest(job.n));
    let seen = {
        let mut order = cx.app().order.lock().unwrap();
        order.push(job.n);
        order.len() as u64
    };
    if seen >= JOBS {
        cx.app().all.notify_one();
    }
    Ok(())
}

fn rest(n: u64) -> String {
    format!("{n:0300}")
}

async fn start(dir: &std::path::Path, seen: &Seen) -> Engine {
    let queue = QueueConfig::new("work").concurrency(1).durability(Durability::Process);
    let queue = queue.retention(Retention::default().keep_done(KeepDone::None));
    let builder = Engine::builder().journal(RocksJournal::at(dir)).memory_bytes_max(BUDGET_BYTES);
    builder.app(seen.clone()).queue(queue).handler(count).start().await.unwrap()
}

/// I6: one budget, on disk and in memory; the order does not know of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_thousand_jobs_with_little_memory_run_once_each_in_order() {
    let (dir, seen) = (tempfile::tempdir().unwrap(), Seen::default());
    let engine = start(dir.path(), &seen).await;
    engine.pause("work").await.unwrap();
    for bulk in 0..JOBS / BULK {
        let drafts = (bulk * BULK..(bulk + 1) * BULK).map(|n| Draft::new(&Count { n, rest: rest(n) }));
        engine.enqueue_all(drafts).await.unwrap();
    }
    let memory = engine.memory().await.unwrap();
    assert!(memory.paged_out > JOBS / 2 && memory.used_bytes() <= BUDGET_BYTES, "{memory:?}");
    assert!(memory.journal_buffers_bytes > 0, "{memory:?}");
    // The next life has to bring back the order, and the payloads as they come.
    engine.shutdown(SEC * 30).await.unwrap();
    let engine = start(dir.path(), &seen).await;
    let memory = engine.memory().await.unwrap();
    assert!(memory.jobs == JOBS && memory.used_bytes() <= BUDGET_BYTES, "{memory:?}");
    engine.resume("work").await.unwrap();
    seen.all.notified().await;
    engine.shutdown(SEC * 30).await.unwrap();
    let order = seen.order.lock().unwrap();
    assert_eq!(order.len() as u64, JOBS);
    assert!(order.iter().copied().eq(0..JOBS), "each once, in order");
}
