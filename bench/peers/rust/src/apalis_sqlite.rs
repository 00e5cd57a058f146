//! apalis with SQLite: each queue is a database of its own, so that what ended in one run is not in the way of the
//! next.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apalis::prelude::*;
use apalis_sqlite::callback::HookCallbackListener;
use apalis_sqlite::{Config, SqlitePool, SqliteStorage};
use futures::StreamExt as _;
use tokio::task::JoinHandle;
use ulid::Ulid;

use crate::protocol::{Body, Failure, Notes, Peer};

/// Jobs that run at once, and that are fetched at once.
const AT_ONCE: usize = 100;
const POLL: Duration = Duration::from_millis(5);

struct Open {
    storage: SqliteStorage<Body>,
    pool: SqlitePool,
    /// Tells of new jobs. Only where latency is measured: otherwise it wakes the worker for nothing.
    listener: Option<HookCallbackListener>,
}

/// Its databases, and its worker.
#[derive(Clone)]
pub struct Sqlite {
    dir: PathBuf,
    open: Arc<Mutex<Option<Open>>>,
    worker: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Sqlite {
    pub fn new(dir: &str) -> Self {
        Self { dir: dir.into(), open: Arc::default(), worker: Arc::default() }
    }

    fn storage(&self) -> Result<SqliteStorage<Body>, Failure> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(open.as_ref().ok_or("no queue is open")?.storage.clone())
    }

    fn task() -> (String, Task<Body>) {
        // What its database gives back as an id has to read as one of these.
        let id = Ulid::new().to_string();
        (id.clone(), TaskBuilder::new(Body::new()).task_id(TaskId::from_string(id)).build())
    }
}

impl Peer for Sqlite {
    async fn open(&self, queue: &str) -> Result<(), Failure> {
        let last = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(last) = last {
            last.pool.close().await;
        }
        let url = format!("sqlite://{}/{queue}.db?mode=rwc", self.dir.display());
        let (pool, listener) = if queue.starts_with("pace") {
            let (pool, listener) = SqliteStorage::connect_with_callback(&url)?;
            (pool, Some(listener))
        } else {
            (SqlitePool::connect(&url).await?, None)
        };
        SqliteStorage::setup(&pool).await?;
        let storage = SqliteStorage::new(&pool).with_config(Config::default().queue("bench").batch_size(AT_ONCE));
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(Open { storage, pool, listener });
        Ok(())
    }

    async fn one(&self) -> Result<String, Failure> {
        let (id, task) = Self::task();
        self.storage()?.push_task(task).await?;
        Ok(id)
    }

    async fn bulk(&self, jobs: u64) -> Result<Vec<String>, Failure> {
        let (ids, tasks): (Vec<_>, Vec<_>) = (0..jobs).map(|_| Self::task()).unzip();
        self.storage()?.push_all(futures::stream::iter(tasks)).await?;
        Ok(ids)
    }

    async fn work(&self, notes: Notes) -> Result<(), Failure> {
        let storage = self.storage()?;
        let listener =
            self.open.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(|open| open.listener.take());
        let strategy = Strategy::new();
        let strategy = match listener {
            Some(listener) => strategy.stream(listener.ready_chunks(AT_ONCE)).interval(Duration::from_millis(500)),
            None => strategy.interval(POLL),
        };
        let no_op = |_: Body, id: TaskId, notes: Data<Notes>| async move { notes.started(id) };
        let backend = storage.poll_with_strategy(strategy);
        let worker = WorkerBuilder::new("bench").backend(backend).data(notes).concurrency(AT_ONCE).build(no_op);
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
