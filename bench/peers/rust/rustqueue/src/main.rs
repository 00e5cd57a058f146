//! `windlass-peer-rustqueue redb|coalesced|memory DIR`: each queue is a file of its own, so that what ended in one run
//! is not in the way of the next.
//!
//! Jobs are taken 64 at once and acknowledged concurrently. Its own loop for workers takes one at a time, and sleeps
//! for half a second whenever it finds nothing.

#[path = "../../src/protocol.rs"]
mod protocol;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustqueue::{RustQueue, storage::BufferedRedbConfig};
use tokio::task::{JoinHandle, JoinSet};

use protocol::{Body, Failure, Notes, Peer, runtime, serve};

const QUEUE: &str = "bench";
const AT_ONCE: u32 = 64;
const IDLE: Duration = Duration::from_millis(1);

#[derive(Clone)]
struct Rusty {
    kind: String,
    dir: PathBuf,
    queue: Arc<Mutex<Option<RustQueue>>>,
    worker: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Rusty {
    fn queue(&self) -> Result<RustQueue, Failure> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(queue.clone().ok_or("no queue is open")?)
    }
}

async fn work(queue: &RustQueue, notes: &Notes) -> Result<(), Failure> {
    loop {
        let jobs = queue.pull(QUEUE, AT_ONCE).await?;
        if jobs.is_empty() {
            tokio::time::sleep(IDLE).await;
            continue;
        }
        let mut acks = JoinSet::new();
        for job in jobs {
            notes.started(job.id);
            let queue = queue.clone();
            acks.spawn(async move { queue.ack(job.id, None).await });
        }
        while let Some(ack) = acks.join_next().await {
            ack??;
        }
    }
}

impl Peer for Rusty {
    async fn open(&self, name: &str) -> Result<(), Failure> {
        let path = self.dir.join(format!("{name}.redb"));
        let builder = match self.kind.as_str() {
            "memory" => RustQueue::memory(),
            "coalesced" => RustQueue::redb(path)?.with_write_coalescing(BufferedRedbConfig::default()),
            _ => RustQueue::redb(path)?,
        };
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = Some(builder.build()?);
        Ok(())
    }

    async fn one(&self) -> Result<String, Failure> {
        let data = serde_json::to_value(Body::new())?;
        Ok(self.queue()?.push(QUEUE, "no-op", data, None).await?.to_string())
    }

    async fn bulk(&self, _: u64) -> Result<Vec<String>, Failure> {
        Err("its library has no bulk".into())
    }

    async fn work(&self, notes: Notes) -> Result<(), Failure> {
        let queue = self.queue()?;
        let task = tokio::spawn(async move {
            if let Err(error) = work(&queue, &notes).await {
                eprintln!("the worker ended: {error}");
            }
        });
        *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        Ok(())
    }

    async fn rest(&self) -> Result<(), Failure> {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            worker.abort();
            drop(worker.await);
        }
        Ok(())
    }
}

fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let (Some(kind), Some(dir)) = (words.next(), words.next()) else {
        return Err("usage: windlass-peer-rustqueue redb|coalesced|memory DIR".into());
    };
    serve(Rusty { kind, dir: dir.into(), queue: Arc::default(), worker: Arc::default() }, runtime()?)
}
