//! The verbs on single jobs: each is one durable step, done or refused whole.
//!
//! Which verb goes with which state is the core's table ([`Verb::acts_on`](windlass_scheduler::verb::Verb::acts_on)).

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use windlass_scheduler::change::{Key, Record};
use windlass_scheduler::effect::{Answer, Found};
use windlass_scheduler::job::{JobId, Name, Priority, When};
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::state::State;
use windlass_scheduler::verb::{Read, Retained, Verb};

use crate::config::ms;
use crate::engine::{Engine, ended_record};
use crate::error::ControlError;
use crate::job::{Job, at, encode};
use crate::messages::Question;
use crate::range::{self, check_when};

impl Engine {
    /// Calls a job off. A waiting one is cancelled now. A running one is asked to end: the request is recorded before `Ok`,
    /// and afterwards its success makes it done, and anything else cancelled. Tells the state it is in now.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `Forbidden` (it has ended) or `Forgotten`.
    pub async fn cancel(&self, id: JobId) -> Result<State, ControlError> {
        self.steer(id, Verb::Cancel).await
    }

    /// Ends a job's delay: it is ready now. One that is ready or runs stays as it is.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `Forbidden` (it is parked or has ended) or `Forgotten`.
    pub async fn run_now(&self, id: JobId) -> Result<State, ControlError> {
        self.steer(id, Verb::RunNow).await
    }

    /// Gives a job another priority. One that is ready goes to the end of the line at that priority; for one that runs it
    /// counts from its next attempt on.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `Forbidden` (it has ended) or `Forgotten`.
    pub async fn reprioritise(&self, id: JobId, priority: Priority) -> Result<State, ControlError> {
        self.steer(id, Verb::Reprioritise(priority)).await
    }

    /// Starts a waiting job after this time, by a clock that nobody can set (while this process lives); no time means now,
    /// and the longest is 36,500 days.
    ///
    /// # Errors
    /// [`ControlError::Range`], or [`ControlError::Refused`] with `Forbidden` (it runs or has ended) or `Forgotten`.
    pub async fn reschedule_in(&self, id: JobId, delay: Duration) -> Result<State, ControlError> {
        self.reschedule(id, When::After(ms(delay))).await
    }

    /// Starts a waiting job at this time of the wall clock, up to the year 9999; a time that is past means now.
    ///
    /// # Errors
    /// As [`reschedule_in`](Self::reschedule_in).
    pub async fn reschedule_at(&self, id: JobId, time: SystemTime) -> Result<State, ControlError> {
        self.reschedule(id, at(time)).await
    }

    /// Moves a waiting job to the end of another queue; its delay and its priority stay. So a job is freed that is parked
    /// because its queue is not there any more.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `Forbidden` (it runs or has ended), `Forgotten`, `NoQueue`, `QueueFull`,
    /// `PayloadTooLarge`, or `OtherStore` (one of the two queues is at level `Memory`).
    pub async fn move_to(&self, id: JobId, queue: &str) -> Result<State, ControlError> {
        self.steer(id, Verb::Move(Name::from(queue))).await
    }

    /// Brings a job that is dead, cancelled or expired back into its queue, with all its retries before it and no expiry.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `Forbidden` (it is live or done), `Forgotten`, `Changed` (it moved meanwhile: look
    /// again), `QueueFull` or `Stopping`.
    pub async fn requeue(&self, id: JobId) -> Result<State, ControlError> {
        let read = self.read_retained(id).await?;
        self.steer_with(id, Verb::Requeue, read).await
    }

    /// Forgets a job, payload and all: one that is retained, or one that waits, which is called off and not retained.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `Forbidden` (it runs: cancel it first) or `Forgotten`.
    pub async fn discard(&self, id: JobId) -> Result<(), ControlError> {
        self.steer(id, Verb::Discard).await.map(|_| ())
    }

    /// Gives a job another payload: one that waits, or one that is dead, cancelled or expired and can be
    /// [requeued](Self::requeue) then. Its tags, correlation id and trace context stay.
    ///
    /// # Errors
    /// [`ControlError::Encode`], [`ControlError::OtherKind`], or [`ControlError::Refused`] with `Forbidden` (it runs or is
    /// done), `Forgotten`, `Changed` or `PayloadTooLarge`.
    pub async fn edit<J: Job>(&self, id: JobId, job: &J) -> Result<State, ControlError> {
        let payload = encode(job).map_err(|reason| ControlError::Encode { kind: J::KIND, reason })?;
        self.edit_as(id, Some(J::KIND), payload.into(), J::VERSION).await
    }

    /// As [`edit`](Self::edit), with the payload's bytes and their schema version as they are: for tools that know no types.
    /// Whether they are a payload of the job's kind shows when it runs.
    ///
    /// # Errors
    /// As [`edit`](Self::edit).
    pub async fn edit_payload(&self, id: JobId, payload: Bytes, version: u32) -> Result<State, ControlError> {
        self.edit_as(id, None, payload, version).await
    }

    async fn edit_as(
        &self,
        id: JobId,
        kind: Option<&'static str>,
        payload: Bytes,
        version: u32,
    ) -> Result<State, ControlError> {
        let found = self.look(id).await?;
        let read = self.read_found(id, &found).await?;
        let is = match (&found, &read) {
            (Found::Live(view), _) => Some(&view.kind),
            (_, read) => read.as_ref().map(|read| &read.ended.kind),
        };
        if let (Some(kind), Some(is)) = (kind, is.filter(|is| kind.is_some_and(|kind| is.as_str() != kind))) {
            return Err(ControlError::OtherKind { id, kind: is.to_string(), asked: kind });
        }
        Ok(steered(self.door().ask(Question::Edit { id, payload, version, read }).await?))
    }

    async fn reschedule(&self, id: JobId, when: When) -> Result<State, ControlError> {
        check_when(&range::JOB_DELAY, when)?;
        self.steer(id, Verb::Reschedule(when)).await
    }

    async fn steer(&self, id: JobId, verb: Verb) -> Result<State, ControlError> {
        self.steer_with(id, verb, None).await
    }

    async fn steer_with(&self, id: JobId, verb: Verb, read: Read) -> Result<State, ControlError> {
        Ok(steered(self.door().ask(Question::Steer { id, verb, read }).await?))
    }

    async fn read_retained(&self, id: JobId) -> Result<Read, ControlError> {
        let found = self.look(id).await?;
        self.read_found(id, &found).await
    }

    /// What a verb needs to know of a retained job; nothing of a live one.
    async fn read_found(&self, id: JobId, found: &Found) -> Result<Read, ControlError> {
        let Found::Ended(key) = found else { return Ok(None) };
        let key = key.clone();
        let desk = self.desk();
        let read = desk.read(key.queue.clone(), move |reader| {
            let ended = ended_record(reader, &key, id)?;
            match reader.get(&Key::Job(id))? {
                Some(Record::Job(job)) => Ok(Retained { ended, body: job.body }),
                _ => Err(Refusal::Forgotten { id }.into()),
            }
        });
        Ok(Some(Box::new(read.await?)))
    }
}

fn steered(answer: Answer) -> State {
    match answer {
        Answer::Steered { state } => state,
        other => unreachable!("a verb was answered with {other:?}"),
    }
}
