//! For code that is not async: the same calls, which block their thread until the answer is there.
//!
//! Owns the decision where blocking is allowed. Inside of async code it would hold up the runtime, or wait for itself for
//! ever: there it panics as tokio's own `blocking_send` and `Handle::block_on` do, at the first call and before anything
//! is handed in. On the thread that drives a single-threaded runtime, between two `block_on`s, nobody would run what it
//! waits for: there it is refused.

use std::future::{Future, IntoFuture};

use serde::de::DeserializeOwned;
use windlass_scheduler::effect::Receipt;

use crate::engine::Engine;
use crate::error::{ControlError, EnqueueError, FlowError, FlowWaitError, WaitError};
use crate::flow::{Flow, FlowHandle};
use crate::handle::JobHandle;
use crate::job::{Draft, Enqueue, Job};

/// What a blocking call needs from the runtime that called `start()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// The engine's parts, if they live there.
    Engine,
    /// The handlers, too.
    Handlers,
}

impl Engine {
    /// Blocks until this is ready, or tells why that would never be.
    ///
    /// # Panics
    /// Within async code.
    fn block_on<T>(&self, needs: Needs, future: impl Future<Output = T>) -> Result<T, String> {
        self.handlers().block_on(async {
            // Asked in here, so that async code meets the panic first, whatever its runtime is.
            let parts_are_there = self.is_single_runtime() || needs == Needs::Handlers;
            if parts_are_there && self.driver() == Some(std::thread::current().id()) {
                let what = if self.is_single_runtime() { "the engine lives" } else { "async handlers run" };
                return Err(format!(
                    "{what} on the single-threaded runtime that this thread drives, and nothing would happen there while \
                     it blocks: say `runtime.block_on(..)` with the async call, or call from another thread"
                ));
            }
            Ok(future.await)
        })
    }

    /// As [`enqueue_all`](Self::enqueue_all), for code that is not async: it blocks this thread until the answer is there.
    ///
    /// # Errors
    /// As of [`enqueue_all`](Self::enqueue_all); [`EnqueueError::Unavailable`] also on the thread that drives the engine's
    /// own single-threaded runtime ([`single_runtime`](crate::EngineBuilder::single_runtime)), where it would wait for
    /// itself.
    ///
    /// # Panics
    /// Within async code, whose runtime it would hold up, as tokio's `blocking_send` does. (Blocking handlers and
    /// `spawn_blocking` are the places to call it from there.)
    pub fn enqueue_all_blocking(&self, drafts: impl IntoIterator<Item = Draft>) -> Result<Vec<Receipt>, EnqueueError> {
        self.block_on(Needs::Engine, self.enqueue_all(drafts)).map_err(EnqueueError::Unavailable)?
    }

    /// As [`submit`](Self::submit), for code that is not async: it blocks this thread until the answer is there.
    ///
    /// # Errors
    /// As of [`submit`](Self::submit); [`EnqueueError::Unavailable`] also on the thread that drives the engine's own single-threaded
    /// runtime, as of [`enqueue_all_blocking`](Self::enqueue_all_blocking).
    ///
    /// # Panics
    /// As [`Enqueue::blocking`].
    pub fn submit_blocking<O>(&self, flow: Flow<O>) -> Result<FlowHandle<O>, FlowError> {
        self.block_on(Needs::Engine, self.submit(flow)).map_err(EnqueueError::Unavailable)?
    }
}

impl<J: Job> Enqueue<J> {
    /// Enqueues it from code that is not async: as awaiting it does, and blocks this thread until the answer is there.
    ///
    /// # Errors
    /// [`EnqueueError`]; [`EnqueueError::Unavailable`] also on the thread that drives the engine's own single-threaded
    /// runtime ([`single_runtime`](crate::EngineBuilder::single_runtime)), where it would wait for itself.
    ///
    /// # Panics
    /// Within async code, whose runtime it would hold up, as tokio's `blocking_send` does. (Blocking handlers and
    /// `spawn_blocking` are the places to call it from there.)
    pub fn blocking(self) -> Result<JobHandle<J>, EnqueueError> {
        let engine = self.engine.clone();
        engine.block_on(Needs::Engine, self.into_future()).map_err(EnqueueError::Unavailable)?
    }

    /// As [`and_wait`](Self::and_wait), for code that is not async: it blocks this thread until the job has ended.
    ///
    /// # Errors
    /// As of [`and_wait`](Self::and_wait); also on the thread that drives the handlers' single-threaded runtime, where
    /// nothing would run while it waits. Nothing is enqueued then.
    ///
    /// # Panics
    /// As [`blocking`](Self::blocking).
    pub fn and_wait_blocking(self) -> Result<J::Output, WaitError> {
        let engine = self.engine.clone();
        engine.block_on(Needs::Handlers, self.and_wait()).map_err(EnqueueError::Unavailable)?
    }
}

impl<J: Job> JobHandle<J> {
    /// As [`wait`](Self::wait), for code that is not async: it blocks this thread until the job has ended.
    ///
    /// # Errors
    /// As of [`wait`](Self::wait); [`ControlError::Unavailable`] also on the thread that drives the handlers'
    /// single-threaded runtime, where nothing would run while it waits.
    ///
    /// # Panics
    /// As [`Enqueue::blocking`].
    pub fn wait_blocking(&self) -> Result<J::Output, WaitError> {
        self.engine.block_on(Needs::Handlers, self.wait()).map_err(ControlError::Unavailable)?
    }
}

impl<O: DeserializeOwned> FlowHandle<O> {
    /// As [`wait`](Self::wait), for code that is not async: it blocks this thread until the flow has ended.
    ///
    /// # Errors
    /// As of [`wait`](Self::wait); [`ControlError::Unavailable`] also on the thread that drives the handlers' single-threaded runtime,
    /// where nothing would run while it waits.
    ///
    /// # Panics
    /// As [`Enqueue::blocking`].
    pub fn wait_blocking(&self) -> Result<O, FlowWaitError> {
        self.engine.block_on(Needs::Handlers, self.wait()).map_err(ControlError::Unavailable)?
    }
}
