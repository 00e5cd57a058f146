//! `windlass-peer-effectum DIR`: each queue is a database of its own, so that what ended in one run is not in the
//! way of the next.

#[path = "../../src/protocol.rs"]
mod protocol;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use effectum::{Job, JobRunner, Queue, RunningJob, Worker};

use protocol::{Body, Failure, Notes, Peer, runtime, serve};

const KIND: &str = "no-op";
const CONCURRENCY_MAX: u16 = 256;
/// More are fetched when no more than these run.
const CONCURRENCY_MIN: u16 = 128;

#[derive(Clone)]
struct Effectum {
    dir: PathBuf,
    queue: Arc<Mutex<Option<Arc<Queue>>>>,
    worker: Arc<Mutex<Option<Worker>>>,
}

impl Effectum {
    fn queue(&self) -> Result<Arc<Queue>, Failure> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(queue.clone().ok_or("no queue is open")?)
    }
}

fn job() -> Result<Job, Failure> {
    Ok(Job::builder(KIND).json_payload(&Body::new())?.build())
}

async fn no_op(job: RunningJob, notes: Notes) -> Result<(), Failure> {
    job.json_payload::<Body>()?;
    notes.started(job.id);
    Ok(())
}

impl Peer for Effectum {
    async fn open(&self, queue: &str) -> Result<(), Failure> {
        let last = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(last) = last {
            last.close(Duration::from_secs(5)).await?;
        }
        let queue = Arc::new(Queue::new(&self.dir.join(format!("{queue}.db"))).await?);
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = Some(queue);
        Ok(())
    }

    async fn one(&self) -> Result<String, Failure> {
        Ok(self.queue()?.add_job(job()?).await?.to_string())
    }

    async fn bulk(&self, jobs: u64) -> Result<Vec<String>, Failure> {
        let jobs = (0..jobs).map(|_| job()).collect::<Result<_, _>>()?;
        Ok(self.queue()?.add_jobs(jobs).await?.iter().map(ToString::to_string).collect())
    }

    async fn work(&self, notes: Notes) -> Result<(), Failure> {
        let queue = self.queue()?;
        let worker = Worker::builder(&queue, notes)
            .jobs([JobRunner::builder(KIND, no_op).build()])
            .max_concurrency(CONCURRENCY_MAX)
            .min_concurrency(CONCURRENCY_MIN)
            .build()
            .await?;
        *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
        Ok(())
    }

    async fn rest(&self) -> Result<(), Failure> {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            worker.unregister(Some(Duration::from_secs(5))).await?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Failure> {
    let dir = std::env::args().nth(1).ok_or("usage: windlass-peer-effectum DIR")?;
    serve(Effectum { dir: dir.into(), queue: Arc::default(), worker: Arc::default() }, runtime()?)
}
