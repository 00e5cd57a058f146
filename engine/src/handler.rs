//! From a user's function to something that a worker can run: decoding in, outcome out, panics contained.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use windlass_scheduler::attempt::{Failure, FailureKind, Outcome, Output, Retry};
use windlass_scheduler::job::Name;

use crate::config::RetryDecision;
use crate::context::{AttemptCore, Context};
use crate::error::{JobError, panic_text};
use crate::job::Job;

pub(crate) type AttemptFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// How the attempts of a kind are run. Neither sort lets a panic out.
#[derive(Clone)]
pub(crate) enum Runner {
    /// On the handlers' runtime.
    Async(Arc<dyn Fn(Arc<AttemptCore>) -> AttemptFuture + Send + Sync>),
    /// On a thread of its own.
    Blocking(Arc<dyn Fn(Arc<AttemptCore>) -> Outcome + Send + Sync>),
}

/// A kind's own rule for retries.
pub(crate) type RetryRule = fn(u32, &Failure) -> RetryDecision;

/// What an engine knows of a kind.
#[derive(Clone)]
pub(crate) struct Handler {
    /// Its place among the kinds.
    pub(crate) no: usize,
    pub(crate) runner: Runner,
    pub(crate) retry: RetryRule,
}

/// The handlers of an engine, by kind.
#[derive(Clone, Default)]
pub(crate) struct Registry {
    pub(crate) handlers: BTreeMap<Name, Handler>,
    /// Kind and default queue of each, for the builder's checks.
    pub(crate) kinds: Vec<(&'static str, &'static str)>,
}

impl Registry {
    pub(crate) fn add_async<J, A, F, Fut>(&mut self, app: Arc<A>, handler: F)
    where
        J: Job,
        A: Send + Sync + 'static,
        F: Fn(J, Context<A>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<J::Output, JobError>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let run = move |core: Arc<AttemptCore>| -> AttemptFuture {
            let (app, handler) = (app.clone(), handler.clone());
            Box::pin(async move {
                let attempt = async {
                    let job = match decode::<J>(&core) {
                        Ok(job) => job,
                        Err(outcome) => return outcome,
                    };
                    // Awaited and dropped inside, so that a panic in a destructor is contained too.
                    let result = handler(job, Context::new(app, core.clone())).await;
                    into_outcome::<J>(&core, result)
                };
                AssertUnwindSafe(attempt).catch_unwind().await.unwrap_or_else(panicked)
            })
        };
        self.add::<J>(Runner::Async(Arc::new(run)));
    }

    pub(crate) fn add_blocking<J, A, F>(&mut self, app: Arc<A>, handler: F)
    where
        J: Job,
        A: Send + Sync + 'static,
        F: Fn(J, Context<A>) -> Result<J::Output, JobError> + Send + Sync + 'static,
    {
        let run = move |core: Arc<AttemptCore>| -> Outcome {
            let attempt = || {
                let job = match decode::<J>(&core) {
                    Ok(job) => job,
                    Err(outcome) => return outcome,
                };
                let result = handler(job, Context::new(app.clone(), core.clone()));
                into_outcome::<J>(&core, result)
            };
            catch_unwind(AssertUnwindSafe(attempt)).unwrap_or_else(panicked)
        };
        self.add::<J>(Runner::Blocking(Arc::new(run)));
    }

    fn add<J: Job>(&mut self, runner: Runner) {
        let no = self.kinds.len();
        self.kinds.push((J::KIND, J::QUEUE));
        self.handlers.insert(Name::from(J::KIND), Handler { no, runner, retry: J::retry });
    }
}

fn decode<J: Job>(core: &AttemptCore) -> Result<J, Outcome> {
    let body = &core.body;
    J::decode(&body.payload, body.version).map_err(|error| {
        let (bytes, version, kind) = (body.payload.len(), body.version, J::KIND);
        // A newer build wrote it, and may come back.
        let is_newer = version > J::VERSION;
        let (than, retry) = if is_newer { (", newer than this build's", Retry::ByPolicy) } else { ("", Retry::Never) };
        let message = format!("the payload ({bytes} bytes, version {version}{than}) is no {kind}: {error}");
        Outcome::Failed { failure: Failure::new(FailureKind::Decode, message), retry }
    })
}

fn into_outcome<J: Job>(core: &AttemptCore, result: Result<J::Output, JobError>) -> Outcome {
    let follow_ups = core.follow_ups.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
    let output = match result {
        Ok(output) => output,
        Err(error) => return error.into_outcome(),
    };
    match serde_json::to_vec(&output) {
        Ok(json) => {
            let output = output_of(json, core.door.result_bytes_max(&core.lease.queue));
            Outcome::Done { output, follow_ups }
        }
        Err(error) => {
            let message = format!("the output could not be encoded: {error}");
            Outcome::Failed { failure: Failure::new(FailureKind::Permanent, message), retry: Retry::Never }
        }
    }
}

/// An encoded output, as far as it is kept.
pub(crate) fn output_of(json: Vec<u8>, bytes_max: usize) -> Output {
    match json.as_slice() {
        b"null" => Output::None,
        _ if json.len() > bytes_max => Output::TooLarge { bytes: json.len() as u64, bytes_max: bytes_max as u64 },
        _ => Output::Bytes(Bytes::from(json)),
    }
}

/// The outcome with as much of its output as its queue keeps: not every one is a handler's.
pub(crate) fn kept(core: &AttemptCore, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Done { output: Output::Bytes(json), follow_ups } => {
            let bytes_max = core.door.result_bytes_max(&core.lease.queue);
            let output = match json.len() {
                bytes if bytes > bytes_max => Output::TooLarge { bytes: bytes as u64, bytes_max: bytes_max as u64 },
                _ => Output::Bytes(json),
            };
            Outcome::Done { output, follow_ups }
        }
        outcome => outcome,
    }
}

pub(crate) fn panicked(panic: Box<dyn Any + Send>) -> Outcome {
    let failure = Failure::new(FailureKind::Panic, panic_text(panic.as_ref()));
    // What was thrown may itself panic when it is dropped, and must not take the attempt's report along.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
    Outcome::Failed { failure, retry: Retry::ByPolicy }
}
