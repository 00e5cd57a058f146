//! What an attempt leaves for the next one of its job: how far it got.
//!
//! Owns the JSON and the road to the journal and back. Never decides who may leave one: that is the core's (the live lease
//! alone).

use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use windlass_scheduler::attempt::CHECKPOINT_BYTES_MAX;
use windlass_scheduler::change::{Key, Record};
use windlass_scheduler::job::{JobId, Name};
use windlass_scheduler::refusal::Refusal;
use windlass_storage::StorageError;

use crate::context::{AttemptCore, Context};
use crate::door::Door;
use crate::error::ControlError;
use crate::messages::Question;
use crate::step::Word;

/// How often a storage that breaks meanwhile is waited for.
const TRIES_MAX: u32 = 5;

/// Why a checkpoint was not stored, or not read. In a handler `?` makes a failure of it, which is retried.
///
/// ```
/// use windlass::{CheckpointError, Context};
///
/// /// A checkpoint that is nice to have: work goes on where there is no room for it.
/// async fn try_to_keep(cx: &Context<()>, row: u64) -> Result<(), CheckpointError> {
///     match cx.checkpoint(&row).await {
///         Err(CheckpointError::DiskNearlyFull { .. }) => Ok(()),
///         kept => kept,
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It could not be encoded. The one before stands.
    #[error("the checkpoint could not be encoded: {reason}")]
    Encode {
        /// Why.
        reason: String,
    },
    /// What stands is not of the type that is asked for.
    #[error("the checkpoint of job {id} ({bytes} bytes) could not be decoded: {reason}")]
    Decode {
        /// The job.
        id: JobId,
        /// Bytes that stand.
        bytes: usize,
        /// Why.
        reason: String,
    },
    /// It is over the limit. The one before stands.
    #[error(
        "the checkpoint has {bytes} bytes, {bytes_max} are allowed: keep where the attempt got to, not what it made"
    )]
    TooLarge {
        /// Bytes that it has.
        bytes: usize,
        /// Bytes that one may have.
        bytes_max: usize,
    },
    /// The disk is nearly full: the rest is kept so that what runs can still be acknowledged. The one before stands.
    #[error("the disk is nearly full: {free_bytes} bytes free, checkpoints need {free_bytes_min}; free some space")]
    DiskNearlyFull {
        /// Bytes free.
        free_bytes: u64,
        /// Bytes that have to be free.
        free_bytes_min: u64,
    },
    /// The engine said no ([`Refusal::StaleLease`]: this attempt is not the job's live one any more, and the one before
    /// stands), or could not answer.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl<A> Context<A> {
    /// Leaves word of how far this attempt got: any JSON of at most 64 KiB, instead of the one before. `Ok` means that it has
    /// reached the queue's durability, and that [`last_checkpoint`](Self::last_checkpoint) finds it, in this attempt and in
    /// later ones: after a failure, a snooze, a stop, a crash, and when the job is dead and brought back. It goes with the
    /// success of its job, or when the job is discarded or forgotten.
    ///
    /// Each one is a write (a sync, at `Durable`, which all who wait share): every few seconds of work is a good pace.
    /// A storage that breaks meanwhile is waited for. Dropping the future leaves the new one stored, or the one before.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use windlass::{Context, Job, JobError};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Import { rows: u32 }
    /// impl Job for Import {
    ///     const KIND: &'static str = "import";
    ///     const QUEUE: &'static str = "bulk";
    ///     type Output = ();
    /// }
    ///
    /// async fn import(job: Import, cx: Context<()>) -> Result<(), JobError> {
    ///     let done = cx.last_checkpoint::<u32>().await?.unwrap_or(0);
    ///     for row in done..job.rows {
    ///         // import the row ..
    ///         if row % 1_000 == 0 {
    ///             cx.checkpoint(&row).await?;
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// # let _ = windlass::Engine::builder().handler(import);
    /// ```
    ///
    /// # Errors
    /// [`CheckpointError`]. But for [`ControlError::Interrupted`], which says that it may stand or not, the one before stands.
    pub async fn checkpoint<T: Serialize + ?Sized>(&self, checkpoint: &T) -> Result<(), CheckpointError> {
        self.checkpoint_as(checkpoint, false).await
    }

    async fn checkpoint_as<T: Serialize + ?Sized>(
        &self,
        checkpoint: &T,
        may_block: bool,
    ) -> Result<(), CheckpointError> {
        let json = serde_json::value::to_raw_value(checkpoint);
        let json = json.map_err(|error| CheckpointError::Encode { reason: error.to_string() })?;
        self.attempt.change_left(may_block, |left| left.checkpoint = Some(json)).await
    }

    /// As [`checkpoint`](Self::checkpoint), for blocking handlers: it blocks their thread until the answer is there. Never call
    /// it from async code, whose runtime it would hold up.
    ///
    /// ```
    /// # use windlass::{CheckpointError, Context};
    /// fn next_page(cx: &Context<()>) -> Result<u64, CheckpointError> {
    ///     let page = cx.last_checkpoint_blocking::<u64>()?.map_or(0, |page| page + 1);
    ///     cx.checkpoint_blocking(&page)?;
    ///     Ok(page)
    /// }
    /// ```
    ///
    /// # Errors
    /// As of [`checkpoint`](Self::checkpoint).
    pub fn checkpoint_blocking<T: Serialize + ?Sized>(&self, checkpoint: &T) -> Result<(), CheckpointError> {
        futures_executor::block_on(self.checkpoint_as(checkpoint, true))
    }

    /// The newest checkpoint of this job, by this attempt or an earlier one; `None` where there is none. Read from the
    /// journal each time.
    ///
    /// # Errors
    /// [`CheckpointError::Decode`], where it is of another type; [`CheckpointError::Control`], where it cannot be read.
    pub async fn last_checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, CheckpointError> {
        self.decoded(self.attempt.stands(false).await?)
    }

    /// As [`last_checkpoint`](Self::last_checkpoint), for blocking handlers: it blocks their thread. Never call it from async
    /// code.
    ///
    /// # Errors
    /// As of [`last_checkpoint`](Self::last_checkpoint).
    pub fn last_checkpoint_blocking<T: DeserializeOwned>(&self) -> Result<Option<T>, CheckpointError> {
        self.decoded(futures_executor::block_on(self.attempt.stands(true))?)
    }

    fn decoded<T: DeserializeOwned>(&self, json: Option<Bytes>) -> Result<Option<T>, CheckpointError> {
        let Some(json) = json else { return Ok(None) };
        let undecodable = |error| self.attempt.undecodable(json.len(), &error);
        let left = Word::decode(&json).map_err(undecodable)?;
        let checkpoint = left.checkpoint.map(|checkpoint| serde_json::from_str(checkpoint.get()));
        checkpoint.transpose().map_err(undecodable)
    }
}

impl AttemptCore {
    pub(crate) fn undecodable(&self, bytes: usize, error: &serde_json::Error) -> CheckpointError {
        CheckpointError::Decode { id: self.lease.id, bytes, reason: error.to_string() }
    }

    /// What this attempt and those before it left, as it stands.
    pub(crate) async fn read_left(&self, may_block: bool) -> Result<Word, CheckpointError> {
        let Some(bytes) = self.stands(may_block).await? else { return Ok(Word::default()) };
        Word::decode(&bytes).map_err(|error| self.undecodable(bytes.len(), &error))
    }

    /// Leaves something else. One change at a time; what is not known to stand is read anew the next time.
    pub(crate) async fn change_left(
        &self,
        may_block: bool,
        change: impl FnOnce(&mut Word),
    ) -> Result<(), CheckpointError> {
        let mut known = self.left.lock().await;
        let before = match known.take() {
            Some(left) => left,
            None => self.read_left(may_block).await?,
        };
        let mut left = before.clone();
        change(&mut left);
        let bytes = left.encode().map_err(|error| CheckpointError::Encode { reason: error.to_string() })?;
        let kept = self.leave(bytes).await;
        match &kept {
            Ok(()) => *known = Some(left),
            Err(CheckpointError::TooLarge { .. } | CheckpointError::DiskNearlyFull { .. }) => *known = Some(before),
            Err(_) => {}
        }
        kept
    }

    async fn leave(&self, json: Bytes) -> Result<(), CheckpointError> {
        let (bytes, bytes_max) = (json.len(), CHECKPOINT_BYTES_MAX);
        if bytes > bytes_max {
            return Err(CheckpointError::TooLarge { bytes, bytes_max });
        }
        if let Some((free_bytes, free_bytes_min)) = self.door.vitals.nearly_full() {
            return Err(CheckpointError::DiskNearlyFull { free_bytes, free_bytes_min });
        }
        self.has_checkpointed.store(true, Ordering::SeqCst);
        let mut tries_left = TRIES_MAX;
        loop {
            // Said twice, it stands once: the lease goes on where its core is rebuilt.
            match self.door.checkpoint(self.lease.id, self.lease.token, json.clone()).await {
                Ok(_) => return Ok(()),
                Err(ControlError::Interrupted) if tries_left > 0 => tries_left -= 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn stands(&self, may_block: bool) -> Result<Option<Bytes>, ControlError> {
        // Nobody was there before who could have left one.
        if self.lease.attempt == 1 && !self.has_checkpointed.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let (id, queue) = (self.lease.id, &self.lease.queue);
        let mut tries_left = TRIES_MAX;
        loop {
            let door = self.door.clone();
            let read = match Handle::try_current() {
                Ok(runtime) if !may_block => {
                    let queue = queue.clone();
                    let task = self.door.read_on(&runtime, move || read(&door, &queue, id));
                    task.await.map_err(|_| ControlError::Unavailable("the handlers' runtime is gone".to_owned()))?
                }
                // A blocking handler's thread.
                _ => read(&door, queue, id),
            };
            match read {
                // It was closed for a rebuild: whoever answers comes after it.
                Err(StorageError::Closed) if tries_left > 0 => {
                    tries_left -= 1;
                    match self.door.ask(Question::Look(id)).await {
                        Ok(_) | Err(ControlError::Interrupted | ControlError::Refused(Refusal::Forgotten { .. })) => {}
                        Err(error) => return Err(error),
                    }
                }
                read => return Ok(read?),
            }
        }
    }
}

fn read(door: &Door, queue: &Name, id: JobId) -> Result<Option<Bytes>, StorageError> {
    match door.reader(queue)?.get(&Key::Checkpoint(id))? {
        Some(Record::Checkpoint(_, json)) => Ok(Some(json)),
        _ => Ok(None),
    }
}
