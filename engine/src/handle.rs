//! A typed handle on one job.

use std::fmt;
use std::marker::PhantomData;

use windlass_scheduler::job::JobId;
use windlass_scheduler::state::State;

use crate::engine::Engine;
use crate::error::{ControlError, WaitError};
use crate::job::Job;
use crate::status::JobStatus;

/// A job that was accepted, with the type of its output.
pub struct JobHandle<J> {
    pub(crate) engine: Engine,
    id: JobId,
    is_fresh: bool,
    job: PhantomData<fn() -> J>,
}

impl<J: Job> JobHandle<J> {
    pub(crate) fn new(engine: Engine, id: JobId, is_fresh: bool) -> Self {
        Self { engine, id, is_fresh, job: PhantomData }
    }

    /// The job's id. Keep it: [`Engine::handle`] makes a handle of it again, after a restart too.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Whether the call that gave this handle stored a new job; otherwise one with this id, or with its [unique
    /// key](crate::Unique), was there already.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Waits for the job's end and gives its output. A wait does not keep a job from being forgotten by retention, but one
    /// that began before the end gets its answer.
    ///
    /// # Errors
    /// [`WaitError`], where it did not succeed, or is not known any more.
    pub async fn wait(&self) -> Result<J::Output, WaitError> {
        self.engine.wait_for::<J>(self.id).await
    }

    /// What is known of the job now.
    ///
    /// # Errors
    /// As [`Engine::job`].
    pub async fn status(&self) -> Result<JobStatus, ControlError> {
        self.engine.job(self.id).await
    }

    /// Calls the job off.
    ///
    /// # Errors
    /// As [`Engine::cancel`].
    pub async fn cancel(&self) -> Result<State, ControlError> {
        self.engine.cancel(self.id).await
    }
}

impl<J> Clone for JobHandle<J> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), id: self.id, is_fresh: self.is_fresh, job: PhantomData }
    }
}

impl<J> fmt::Debug for JobHandle<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle").field("id", &self.id).finish_non_exhaustive()
    }
}
