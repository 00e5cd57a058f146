//! The handle that services hold: enqueue, wait, look, stop.

use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use ractor::ActorRef;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use windlass_scheduler::attempt::Output;
use windlass_scheduler::change::{EndedKey, EndedRecord, Key, Record};
use windlass_scheduler::effect::{Answer, Ending, Found, Receipt};
use windlass_scheduler::job::{JobId, Names, NewJob};
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::state::EndState;
use windlass_storage::{Reader, StorageError};

use crate::builder::EngineBuilder;
use crate::config::EngineConfig;
use crate::door::{Door, WatchGuard};
use crate::error::{ControlError, EnqueueError, ShutdownError, WaitError};
use crate::handle::JobHandle;
use crate::health::Health;
use crate::job::{Draft, Enqueue, Job};
use crate::messages::{Awaited, SupervisorMsg};

/// How often a wait reads an end anew, where the journal was closed meanwhile.
const READS_MAX: u32 = 5;
/// The most jobs of a call that room is kept for before they are seen.
const BULK_ROOM_MAX: usize = 10_000;

/// A running engine. Cloning is cheap, and every clone is the same engine.
///
/// Shut it down with [`shutdown`](Self::shutdown). When the last clone is dropped instead, it stops at once: what runs is
/// cancelled and given back, and the journal is closed in the background.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) door: Arc<Door>,
    pub(crate) supervisor: ActorRef<SupervisorMsg>,
    /// Where blocking reads go.
    pub(crate) handlers: Handle,
    /// What it goes by.
    pub(crate) config: EngineConfig,
    /// The engine's parts run there, too.
    pub(crate) is_single_runtime: bool,
    /// The thread that drives it, where it has no other.
    pub(crate) driver: Option<ThreadId>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let stop = SupervisorMsg::Shutdown { deadline: Duration::ZERO, reply: None };
        let _ = self.supervisor.send_message(stop);
    }
}

impl Engine {
    /// Describes a new engine.
    #[must_use]
    pub fn builder() -> EngineBuilder<()> {
        EngineBuilder::default()
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn door(&self) -> &Arc<Door> {
        &self.inner.door
    }

    pub(crate) fn supervisor(&self) -> &ActorRef<SupervisorMsg> {
        &self.inner.supervisor
    }

    pub(crate) fn handlers(&self) -> &Handle {
        &self.inner.handlers
    }

    pub(crate) fn is_single_runtime(&self) -> bool {
        self.inner.is_single_runtime
    }

    pub(crate) fn driver(&self) -> Option<ThreadId> {
        self.inner.driver
    }

    /// Hands in a job. Nothing happens until the returned value is awaited (or [`blocking`](Enqueue::blocking)); then `Ok`
    /// means that the job has reached its
    /// queue's durability, and will run until it succeeds, is dead-lettered, is cancelled or expires.
    ///
    /// Dropping the future before it is ready leaves the job stored whole, or not at all.
    ///
    /// # Errors
    /// Of the await: [`EnqueueError`].
    // By value: a job is handed over, and a caller that wants to keep it says so.
    #[allow(clippy::needless_pass_by_value)]
    pub fn enqueue<J: Job>(&self, job: J) -> Enqueue<J> {
        Enqueue::new(self.clone(), &job)
    }

    /// Hands in many jobs, of any kinds and for any queues, in one commit: all of them or none. Up to 100,000 jobs and
    /// 64 MiB. Returns a receipt a job, in order.
    ///
    /// # Errors
    /// [`EnqueueError`], and none of the jobs is stored, but for [`EnqueueError::Interrupted`].
    pub async fn enqueue_all(&self, drafts: impl IntoIterator<Item = Draft>) -> Result<Vec<Receipt>, EnqueueError> {
        let (drafts, mut names) = (drafts.into_iter(), Names::default());
        // Collected as results, they would be moved again and again as their number grows.
        let mut jobs = Vec::with_capacity(drafts.size_hint().0.min(BULK_ROOM_MAX));
        for draft in drafts {
            jobs.push(draft.into_new_job(self.door(), &mut names)?);
        }
        self.enqueue_jobs(jobs).await
    }

    pub(crate) async fn enqueue_jobs(&self, jobs: Vec<NewJob>) -> Result<Vec<Receipt>, EnqueueError> {
        let turn = self.door().turn(&jobs, 0).await?;
        Ok(receipts(Box::pin(self.door().submit(turn, jobs, None, None)).await?))
    }

    pub(crate) async fn submit_one(
        &self,
        turn: OwnedSemaphorePermit,
        jobs: Vec<NewJob>,
    ) -> Result<Receipt, EnqueueError> {
        let receipts = receipts(self.door().submit(turn, jobs, None, None).await?);
        receipts.into_iter().next().ok_or_else(|| EnqueueError::Unavailable("no receipt came".to_owned()))
    }

    pub(crate) async fn enqueue_and_wait<J: Job>(&self, draft: Draft) -> Result<J::Output, WaitError> {
        let job = draft.into_new_job(self.door(), &mut Names::default())?;
        let id = job.id;
        let request = self.door().next_request();
        let of = Awaited::Job(id);
        let mut guard = WatchGuard { door: self.door().clone(), request, of, is_over: false };
        let (ending, ended) = oneshot::channel();
        let jobs = vec![job];
        let turn = self.door().turn(&jobs, 0).await?;
        let taken = receipts(Box::pin(self.door().submit(turn, jobs, None, Some((request, ending)))).await?);
        // Another job may have its key, and is the one that is waited for.
        let id = taken.first().map_or(id, |receipt| receipt.id);
        guard.of = Awaited::Job(id);
        let answer = ended.await;
        guard.is_over = true;
        match answer {
            Ok(answer) => self.output::<J>(id, answer.map_err(ControlError::from)?).await,
            // The storage broke after the job was accepted: the wait goes on where it is rebuilt.
            Err(_) => self.wait_for::<J>(id).await,
        }
    }

    /// A handle on a job that was enqueued before, by this process or an earlier one.
    #[must_use]
    pub fn handle<J: Job>(&self, id: JobId) -> JobHandle<J> {
        JobHandle::new(self.clone(), id, false)
    }

    /// Waits until the job has ended. Survives rebuilds: the wait is taken up again.
    pub(crate) async fn wait_for<J: Job>(&self, id: JobId) -> Result<J::Output, WaitError> {
        let mut reads_left = READS_MAX;
        loop {
            let answer = self.watch(Awaited::Job(id)).await?;
            match self.output::<J>(id, answer).await {
                // It was closed for a rebuild between the answer and the reading, or brought back from the dead: the
                // next answer comes after it, and says so where it is forgotten.
                Err(WaitError::Control(
                    ControlError::Storage(StorageError::Closed) | ControlError::Refused(Refusal::Forgotten { .. }),
                )) if reads_left > 0 => {
                    reads_left -= 1;
                }
                output => return output,
            }
        }
    }

    /// The answer that it has ended, however often it has to be asked for.
    pub(crate) async fn watch(&self, of: Awaited) -> Result<Answer, ControlError> {
        loop {
            let request = self.door().next_request();
            let mut guard = WatchGuard { door: self.door().clone(), request, of, is_over: false };
            let answer = self.door().ask_as(request, of.question()).await;
            guard.is_over = true;
            if !matches!(answer, Err(ControlError::Interrupted)) {
                return answer;
            }
        }
    }

    async fn output<J: Job>(&self, id: JobId, answer: Answer) -> Result<J::Output, WaitError> {
        let ending = match answer {
            Answer::Ending(ending) => ending,
            Answer::Found(Found::Ended(key)) => self.read_ending(id, key).await?,
            other => unreachable!("a wait was answered with {other:?}"),
        };
        match (ending.state, ending.output) {
            (EndState::Done, Output::None) => decode_output::<J>(id, b"null"),
            (EndState::Done, Output::Bytes(bytes)) => decode_output::<J>(id, &bytes),
            (EndState::Done, Output::TooLarge { bytes, bytes_max }) => {
                Err(WaitError::ResultTooLarge { id, bytes, bytes_max })
            }
            (EndState::Dead, _) => {
                let unknown = || windlass_scheduler::attempt::Failure {
                    kind: windlass_scheduler::attempt::FailureKind::Error,
                    message: "no failure is recorded".to_owned(),
                };
                Err(WaitError::Dead { id, failure: ending.failure.unwrap_or_else(unknown) })
            }
            (EndState::Cancelled, _) => Err(WaitError::Cancelled { id }),
            (EndState::Expired, _) => Err(WaitError::Expired { id }),
        }
    }

    async fn read_ending(&self, id: JobId, key: EndedKey) -> Result<Ending, ControlError> {
        let queue = key.queue.clone();
        let read = move |reader: &dyn Reader| {
            let record = ended_record(reader, &key, id)?;
            let output = match record.output {
                Output::Bytes(_) => match reader.get(&Key::Result(id))? {
                    Some(Record::Result(_, bytes)) => Output::Bytes(bytes),
                    // It was purged between the two looks.
                    _ => return Err(Refusal::Forgotten { id }.into()),
                },
                other => other,
            };
            Ok(Ending { id, state: key.state, output, failure: record.failure })
        };
        self.desk().read(queue, read).await
    }

    /// What the engine goes by: see [`EngineBuilder::effective_config`].
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.inner.config
    }

    /// Whether the engine serves, and if not, why, since when, and what to do; and what wants looking at besides. Cheap,
    /// from any thread, and it waits for nothing.
    #[must_use]
    pub fn health(&self) -> Health {
        self.door().health()
    }

    /// Stops: accepts nothing more, lets what runs end until the deadline, then cancels it, and closes the journal synced.
    /// Attempts whose code ended by then are given back uncounted. May be called more than once.
    ///
    /// # Errors
    /// [`ShutdownError::Unfinished`] with the jobs whose code did not end even then (they are given back uncounted, too), or
    /// what kept the journal from being closed cleanly.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), ShutdownError> {
        let seen = self.door().witness.as_ref().map(|witness| (witness, witness.shuts_down(deadline)));
        let outcome = self.stop(deadline).await;
        if let Some((witness, no)) = seen {
            witness.has_shut_down(no);
        }
        outcome
    }

    async fn stop(&self, deadline: Duration) -> Result<(), ShutdownError> {
        let (reply, stopped) = oneshot::channel();
        let stop = SupervisorMsg::Shutdown { deadline, reply: Some(reply) };
        let gone = || ShutdownError::Stopped("the supervisor is gone".to_owned());
        self.inner.supervisor.send_message(stop).map_err(|_| gone())?;
        stopped.await.map_err(|_| gone())?
    }
}

fn receipts(answer: Answer) -> Vec<Receipt> {
    match answer {
        Answer::Enqueued(receipts) => receipts,
        other => unreachable!("an enqueue was answered with {other:?}"),
    }
}

fn decode_output<J: Job>(id: JobId, json: &[u8]) -> Result<J::Output, WaitError> {
    serde_json::from_slice(json).map_err(|error| WaitError::Decode { id, reason: error.to_string() })
}

/// The record of a job that ended, if it still stands there.
pub(crate) fn ended_record(reader: &dyn Reader, key: &EndedKey, id: JobId) -> Result<EndedRecord, ControlError> {
    match reader.get(&Key::Ended(key.clone()))? {
        Some(Record::Ended(record)) => Ok(*record),
        _ => Err(Refusal::Forgotten { id }.into()),
    }
}
