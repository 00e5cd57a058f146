//! Steps: parts of a handler whose results are kept, so that the next attempt of the job goes on behind them.
//!
//! Owns what the attempts of a job leave for the next one, as it stands in the journal: the results of steps, and the checkpoint.
//! Never decides who may leave it: that is the core's (the live lease alone).

use std::collections::BTreeMap;
use std::future::Future;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::checkpoint::CheckpointError;
use crate::context::{AttemptCore, Context};
use crate::error::JobError;
use crate::range;

/// What a job's attempts left.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Word {
    steps: BTreeMap<String, Box<RawValue>>,
    pub(crate) checkpoint: Option<Box<RawValue>>,
}

/// Before what has steps; JSON begins with no such byte, so that a checkpoint alone stands as it is.
const WITH_STEPS: u8 = 1;

impl Word {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        match bytes.split_first() {
            Some((&WITH_STEPS, json)) => serde_json::from_slice(json),
            _ => Ok(Self { checkpoint: Some(serde_json::from_slice(bytes)?), ..Self::default() }),
        }
    }

    pub(crate) fn encode(&self) -> Result<Bytes, serde_json::Error> {
        match &self.checkpoint {
            Some(checkpoint) if self.steps.is_empty() => Ok(Bytes::copy_from_slice(checkpoint.get().as_bytes())),
            _ => {
                let mut bytes = vec![WITH_STEPS];
                serde_json::to_writer(&mut bytes, self)?;
                Ok(bytes.into())
            }
        }
    }

    pub(crate) fn step(&self, name: &str) -> Option<&RawValue> {
        self.steps.get(name).map(AsRef::as_ref)
    }

    pub(crate) fn set_step(&mut self, name: &str, result: Box<RawValue>) {
        self.steps.insert(name.to_owned(), result);
    }

    #[cfg(feature = "testing")]
    pub(crate) fn step_names(&self) -> impl Iterator<Item = &str> {
        self.steps.keys().map(String::as_str)
    }
}

impl<A> Context<A> {
    /// A part of the handler whose result is kept: done once, the next attempts of the job skip it and get what it gave. So a job that
    /// fails at its third step does the first two no second time, after a failure, a snooze, a crash, and when it is dead and brought back.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use windlass::{Context, Job, JobError};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Order { id: u64 }
    /// # impl Job for Order {
    /// #     const KIND: &'static str = "order";
    /// #     const QUEUE: &'static str = "orders";
    /// #     type Output = ();
    /// # }
    /// # async fn charge(_: u64) -> Result<String, std::io::Error> { Ok(String::new()) }
    /// # async fn send_receipt(_: &str) -> Result<(), std::io::Error> { Ok(()) }
    /// async fn order(job: Order, cx: Context<()>) -> Result<(), JobError> {
    ///     let receipt = cx.step("charge", || async { Ok(charge(job.id).await?) }).await?;
    ///     cx.step("receipt", || async { Ok(send_receipt(&receipt).await?) }).await?;
    ///     Ok(())
    /// }
    /// # let _ = windlass::Engine::builder().handler(order);
    /// ```
    ///
    /// `Ok` means that the result has reached the queue's durability. A step that was done when the process died, and not yet kept, is done
    /// again: what must not happen twice needs a key of its own at whoever does it (the job's id and the step's name make one).
    ///
    /// A name stands for one step of the job: in a loop, say `&format!("page-{n}")`. Steps may run at the same time. A name has 1 to
    /// 128 bytes, and all results together, with the [checkpoint](Self::checkpoint), have at most 64 KiB of JSON: keep ids, not documents.
    ///
    /// # Errors
    /// What the step says, and nothing is kept of it; or [`CheckpointError`], as a failure that is retried: the result could not be kept,
    /// or what was kept is not of this type.
    pub async fn step<T, F, Fut>(&self, name: &str, work: F) -> Result<T, JobError>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, JobError>>,
    {
        if let Some(done) = self.attempt.done(name, false).await? {
            return Ok(done);
        }
        let result = work().await?;
        self.attempt.keep(name, &result, false).await?;
        Ok(result)
    }

    /// As [`step`](Self::step), for blocking handlers: it blocks their thread. Never call it from async code.
    ///
    /// # Errors
    /// As of [`step`](Self::step).
    pub fn step_blocking<T, F>(&self, name: &str, work: F) -> Result<T, JobError>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce() -> Result<T, JobError>,
    {
        if let Some(done) = futures_executor::block_on(self.attempt.done(name, true))? {
            return Ok(done);
        }
        let result = work()?;
        futures_executor::block_on(self.attempt.keep(name, &result, true))?;
        Ok(result)
    }
}

impl AttemptCore {
    /// What a step gave, if it is done.
    async fn done<T: DeserializeOwned>(&self, name: &str, may_block: bool) -> Result<Option<T>, JobError> {
        range::STEP_NAME.check(name.len() as u64).map_err(JobError::permanent)?;
        let mut known = self.left.lock().await;
        let left = match known.take() {
            Some(left) => left,
            None => self.read_left(may_block).await?,
        };
        let done = known.insert(left).step(name).map(|result| {
            serde_json::from_str(result.get()).map_err(|error| self.undecodable(result.get().len(), &error))
        });
        Ok(done.transpose()?)
    }

    async fn keep<T: Serialize>(&self, name: &str, result: &T, may_block: bool) -> Result<(), CheckpointError> {
        let result = serde_json::value::to_raw_value(result);
        let result = result.map_err(|error| CheckpointError::Encode { reason: error.to_string() })?;
        self.change_left(may_block, |left| left.set_step(name, result)).await
    }
}
