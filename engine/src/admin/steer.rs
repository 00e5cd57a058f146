//! The verbs on single jobs: each is one durable step, done or refused whole.
//!
//! Which verb goes with which state is the core's table ([`Verb::acts_on`](windlass_scheduler::verb::Verb::acts_on)).

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use windlass_scheduler::change::{EndedKey, Key, Record};
use windlass_scheduler::effect::{Answer, Found};
use windlass_scheduler::job::{JobId, Name, Priority, When};
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::state::State;
use windlass_scheduler::verb::{Edition, Known, Read, Retained, Verb};
use windlass_storage::Reader;

use crate::config::ms;
use crate::engine::{Engine, ended_record};
use crate::error::{ControlError, OutOfRange};
use crate::job::{Job, at, encode};
use crate::messages::Question;
use crate::range::{self, check_when};

/// How often an edit reads a live job that moves meanwhile.
const READS_MAX: u32 = 8;

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
        self.steer(id, Verb::Reschedule(When::After(ms(delay)))).await
    }

    /// Starts a waiting job at this time of the wall clock, up to the year 9999; a time that is past means now.
    ///
    /// # Errors
    /// As [`reschedule_in`](Self::reschedule_in).
    pub async fn reschedule_at(&self, id: JobId, time: SystemTime) -> Result<State, ControlError> {
        self.steer(id, Verb::Reschedule(at(time))).await
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
        let (mut reads_left, mut on_disk) = (READS_MAX, None);
        loop {
            let (is, known) = match self.look(id).await? {
                Found::Live(view) => match on_disk {
                    Some(edition) => (view.kind, self.read_live(id, view.queue, edition).await?),
                    None => (view.kind, Known::Nothing),
                },
                Found::Ended(key) => {
                    let read = self.read_ended(id, key).await?;
                    (read.ended.kind.clone(), Known::Retained(Box::new(read)))
                }
            };
            if let Some(kind) = kind.filter(|kind| is.as_str() != *kind) {
                return Err(ControlError::OtherKind { id, kind: is.to_string(), asked: kind });
            }
            let edit = Question::Edit { id, payload: payload.clone(), version, known };
            match self.door().ask(edit).await {
                // Its labels stay, and are with a body that is on disk only.
                Err(ControlError::Refused(Refusal::OnDisk { edition, .. })) if reads_left > 0 => {
                    reads_left -= 1;
                    on_disk = Some(edition);
                }
                Err(ControlError::Refused(Refusal::OnDisk { .. })) => return Err(Refusal::Changed { id }.into()),
                answer => return Ok(steered(answer?)),
            }
        }
    }

    async fn steer(&self, id: JobId, verb: Verb) -> Result<State, ControlError> {
        self.steer_with(id, verb, None).await
    }

    async fn steer_with(&self, id: JobId, verb: Verb, read: Read) -> Result<State, ControlError> {
        check(&verb)?;
        Ok(steered(self.door().ask(Question::Steer { id, verb, read }).await?))
    }

    /// What a verb needs to know of a retained job; nothing of a live one.
    async fn read_retained(&self, id: JobId) -> Result<Read, ControlError> {
        match self.look(id).await? {
            Found::Live(_) => Ok(None),
            Found::Ended(key) => Ok(Some(Box::new(self.read_ended(id, key).await?))),
        }
    }

    pub(crate) async fn read_ended(&self, id: JobId, key: EndedKey) -> Result<Retained, ControlError> {
        let queue = key.queue.clone();
        let read = move |reader: &dyn Reader| {
            let ended = ended_record(reader, &key, id)?;
            match reader.get(&Key::Job(id))? {
                Some(Record::Job(job)) => Ok(Retained { ended, body: job.body }),
                _ => Err(Refusal::Forgotten { id }.into()),
            }
        };
        self.desk().read(queue, read).await
    }

    /// The body of a live job, as it is written; whether it is the one that is meant, is for the core to judge.
    async fn read_live(&self, id: JobId, queue: Name, edition: Edition) -> Result<Known, ControlError> {
        let read = move |reader: &dyn Reader| match reader.get(&Key::Job(id))? {
            Some(Record::Job(job)) => Ok(Known::Live(job.body, edition)),
            _ => Ok(Known::Nothing),
        };
        self.desk().read(queue, read).await
    }
}

/// Whether the numbers of a verb are in their ranges, for one job or for many.
pub(super) fn check(verb: &Verb) -> Result<(), OutOfRange> {
    if let Verb::Reschedule(when) = verb { check_when(&range::JOB_DELAY, *when) } else { Ok(()) }
}

fn steered(answer: Answer) -> State {
    match answer {
        Answer::Steered { state } => state,
        other => unreachable!("a verb was answered with {other:?}"),
    }
}
