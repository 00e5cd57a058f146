//! apalis with its memory backend: an unbounded channel to a handler. A ceiling more than a peer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use apalis::prelude::*;
use futures::channel::mpsc;
use futures::{SinkExt as _, StreamExt as _};
use tokio::task::JoinHandle;

use crate::protocol::{Body, Failure, Notes, Peer};

/// Its queue, and its worker.
#[derive(Clone, Default)]
pub struct Memory {
    ids: Arc<AtomicU64>,
    sink: Arc<tokio::sync::Mutex<Option<MemorySink<Body>>>>,
    storage: Arc<Mutex<Option<MemoryStorage<Body>>>>,
    worker: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Memory {
    fn task(&self) -> (String, Task<Body>) {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        (id.to_string(), TaskBuilder::new(Body::new()).task_id(TaskId::from_int(id)).build())
    }
}

fn sink(sender: mpsc::UnboundedSender<Task<Body>>) -> MemorySink<Body> {
    MemorySink::new(Arc::new(futures::lock::Mutex::new(Box::new(sender.sink_map_err(MemoryStorageError::from)))))
}

impl Peer for Memory {
    // Two that push at once may find its lock taken, and it panics.
    const IS_SHARED: bool = false;

    async fn open(&self, _: &str) -> Result<(), Failure> {
        let (sender, receiver) = mpsc::unbounded::<Task<Body>>();
        // Its worker looks at a sink's lock before it looks for a task, and is woken by nobody where it finds that taken.
        // So it has a sink of its own, into the same channel, and sleeps through no task that is just being handed in.
        let storage = MemoryStorage::new_with(sink(sender.clone()), receiver.boxed());
        *self.sink.lock().await = Some(sink(sender));
        *self.storage.lock().unwrap_or_else(PoisonError::into_inner) = Some(storage);
        Ok(())
    }

    async fn one(&self) -> Result<String, Failure> {
        let (id, task) = self.task();
        self.sink.lock().await.as_mut().ok_or("no queue is open")?.send(task).await?;
        Ok(id)
    }

    async fn bulk(&self, jobs: u64) -> Result<Vec<String>, Failure> {
        let (ids, tasks): (Vec<_>, Vec<_>) = (0..jobs).map(|_| self.task()).unzip();
        let mut tasks = futures::stream::iter(tasks.into_iter().map(Ok));
        self.sink.lock().await.as_mut().ok_or("no queue is open")?.send_all(&mut tasks).await?;
        Ok(ids)
    }

    async fn work(&self, notes: Notes) -> Result<(), Failure> {
        let storage = self.storage.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or("no queue is open")?;
        let no_op = |_: Body, id: TaskId, notes: Data<Notes>| async move { notes.started(id) };
        let worker = WorkerBuilder::new("bench").backend(storage).data(notes).concurrency(64).build(no_op);
        let task = tokio::spawn(async move {
            if let Err(error) = worker.run().await {
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
