//! Find and steer: what operators ask of jobs and queues. Here: looking at jobs, and whole queues; `steer` has the verbs.

mod steer;

use windlass_scheduler::change::{EndedKey, Key, Record};
use windlass_scheduler::effect::{Answer, Found};
use windlass_scheduler::job::{JobId, Name};
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::state::{EndState, State};
use windlass_scheduler::view::QueueStats;
use windlass_storage::Reader;

use crate::engine::{Engine, ended_record};
use crate::error::ControlError;
use crate::messages::Question;
use crate::status::{AttemptEnd, DeadLetter, DeadLetterDetail, JobStatus};

/// The most dead letters that one page has.
const PAGE_MAX: usize = 1_000;

impl Engine {
    /// What is known of a job, live or retained.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `Forgotten`, where no live or retained job has this id.
    pub async fn job(&self, id: JobId) -> Result<JobStatus, ControlError> {
        let mut may_look_again = true;
        loop {
            let key = match self.look(id).await? {
                Found::Live(view) => return Ok(JobStatus::live(&view, self.door().live.progress(id))),
                Found::Ended(key) => key,
            };
            match self.read(key.queue.clone(), move |reader| ended_record(reader, &key, id)).await {
                // It was brought back between the two looks, or purged.
                Err(ControlError::Refused(Refusal::Forgotten { .. })) if may_look_again => may_look_again = false,
                record => return Ok(JobStatus::ended(record?)),
            }
        }
    }

    async fn look(&self, id: JobId) -> Result<Found, ControlError> {
        match self.door().ask(Question::Look(id)).await? {
            Answer::Found(found) => Ok(found),
            other => unreachable!("a look was answered with {other:?}"),
        }
    }

    /// Hands out nothing of this queue until it is resumed. What runs goes on. Remembered across restarts.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoQueue`.
    pub async fn pause(&self, queue: &str) -> Result<(), ControlError> {
        self.door().ask(Question::Pause(Name::from(queue))).await.map(|_| ())
    }

    /// Hands out jobs of this queue again.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoQueue`.
    pub async fn resume(&self, queue: &str) -> Result<(), ControlError> {
        self.door().ask(Question::Resume(Name::from(queue))).await.map(|_| ())
    }

    /// The numbers of all queues, from counters: its cost does not grow with the jobs.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`] or [`ControlError::Interrupted`].
    pub async fn stats(&self) -> Result<Vec<QueueStats>, ControlError> {
        match self.door().ask(Question::Stats).await? {
            Answer::Stats(stats) => Ok(stats),
            other => unreachable!("stats were answered with {other:?}"),
        }
    }

    /// A page of a queue's dead letters, the latest first; `before` is the cursor of the last one of the page before.
    /// Cursors stay valid while jobs move. At most 1,000 a page.
    ///
    /// # Errors
    /// [`ControlError::Storage`], where they cannot be read.
    pub async fn dead_letters(
        &self,
        queue: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, ControlError> {
        let queue = Name::from(queue);
        let page = move |reader: &dyn Reader, queue: &Name| {
            Ok(reader.ended(queue, EndState::Dead, before, limit.min(PAGE_MAX))?)
        };
        let records = self.read(queue.clone(), move |reader| page(reader, &queue)).await?;
        Ok(records.into_iter().map(DeadLetter::from).collect())
    }

    /// A dead letter with its payload and its attempts' errors.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `Forbidden` or `Forgotten`.
    pub async fn dead_letter(&self, id: JobId) -> Result<DeadLetterDetail, ControlError> {
        let key = self.dead_key(id).await?;
        self.read(key.queue.clone(), move |reader| {
            let record = ended_record(reader, &key, id)?;
            let Some(Record::Job(job)) = reader.get(&Key::Job(id))? else {
                return Err(Refusal::Forgotten { id }.into());
            };
            let mut attempts = Vec::new();
            // The kept ones are the first and some of the last: point reads of the others find nothing.
            let last = record.attempt_recorded;
            for attempt in (1..=last).filter(|attempt| *attempt == 1 || last - attempt < 20) {
                if let Some(Record::Attempt(end)) = reader.get(&Key::Attempt(id, attempt))? {
                    attempts.push(AttemptEnd::from(end));
                }
            }
            Ok(DeadLetterDetail {
                letter: DeadLetter::from(record),
                payload: job.body.payload.clone(),
                version: job.body.version,
                tags: job.body.tags.clone(),
                correlation_id: job.body.correlation_id.clone(),
                attempts,
            })
        })
        .await
    }

    async fn dead_key(&self, id: JobId) -> Result<EndedKey, ControlError> {
        match self.look(id).await? {
            Found::Ended(key) if key.state == EndState::Dead => Ok(key),
            Found::Ended(key) => Err(not_dead(id, key.state.into())),
            Found::Live(view) => Err(not_dead(id, view.state)),
        }
    }
}

fn not_dead(id: JobId, state: State) -> ControlError {
    Refusal::Forbidden { id, state, verb: "shown as a dead letter" }.into()
}
