//! Finding jobs: one by its id, many by a filter, and all that is kept of one.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use windlass_scheduler::attempt::Output;
use windlass_scheduler::change::{Key, Record};
use windlass_scheduler::effect::{Answer, Found};
use windlass_scheduler::job::JobId;
use windlass_scheduler::refusal::Refusal;
use windlass_storage::Reader;

use super::walk::{Desk, Met, Walk};
use crate::engine::{Engine, ended_record};
use crate::error::ControlError;
use crate::filter::{Cursor, Filter, Place};
use crate::messages::Question;
use crate::range;
use crate::status::{AttemptEnd, JobDetail, JobPage, JobStatus};

/// Jobs on one page, unless asked otherwise.
const PAGE: usize = 100;
/// Jobs that one step of a count takes at most.
const COUNTED_AT_ONCE: usize = 1_000;
/// Looks that one page takes at most: a filter that few jobs meet gives short pages instead of slow ones.
const LOOKS_MAX: usize = 10;

/// A question for jobs, to be awaited: see [`Engine::jobs`].
#[must_use = "a list is asked for by awaiting"]
#[derive(Debug)]
pub struct List {
    engine: Engine,
    filter: Filter,
    limit: usize,
    after: Option<Cursor>,
}

impl List {
    /// Jobs on the page at most: 100 unless said; 1 to 1,000.
    pub fn limit(mut self, jobs: usize) -> Self {
        self.limit = jobs;
        self
    }

    /// Goes on after the page that gave this cursor, with the same filter.
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    async fn page(self) -> Result<JobPage, ControlError> {
        let Self { engine, filter, limit, after } = self;
        filter.check()?;
        range::PAGE.check(limit as u64)?;
        let mut walk = Walk::new(engine.desk(), filter, after.map_or(Place::START, |cursor| cursor.0), false);
        let mut jobs = Vec::new();
        for _ in 0..LOOKS_MAX {
            let met = walk.next(limit - jobs.len()).await?;
            jobs.extend(met.into_iter().map(|met| engine.status_of(met)));
            if jobs.len() >= limit || walk.place.is_none() {
                break;
            }
        }
        Ok(JobPage { jobs, next: walk.place.map(Cursor) })
    }
}

impl IntoFuture for List {
    type Output = Result<JobPage, ControlError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.page())
    }
}

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
            match self.desk().read(key.queue.clone(), move |reader| ended_record(reader, &key, id)).await {
                // It was brought back between the two looks, or purged.
                Err(ControlError::Refused(Refusal::Forgotten { .. })) if may_look_again => may_look_again = false,
                record => return Ok(JobStatus::ended(record?)),
            }
        }
    }

    pub(crate) async fn look(&self, id: JobId) -> Result<Found, ControlError> {
        match self.door().ask(Question::Look(id)).await? {
            Answer::Found(found) => Ok(found),
            other => unreachable!("a look was answered with {other:?}"),
        }
    }

    /// The jobs that a filter means, a page at a time: first the live ones in an order that stays while they move, then the
    /// retained ones by queue and end, the latest first. It may show what is not yet durable.
    ///
    /// A job that meets the filter all the while is on some page, and may be on two where it ends meanwhile. A page may be
    /// short, or empty, and have a next one: what only the journal knows (error, tag) is read for so many jobs at a time.
    ///
    /// ```no_run
    /// # use windlass::{Engine, Filter, JobState};
    /// # async fn all(engine: &Engine) -> Result<(), Box<dyn std::error::Error>> {
    /// let dead = Filter::new().queue("payments").state(JobState::Dead);
    /// let mut page = engine.jobs(dead.clone()).await?;
    /// while let Some(next) = page.next {
    ///     page = engine.jobs(dead.clone()).after(next).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Of the await: [`ControlError::Range`], [`ControlError::CursorExpired`], [`ControlError::Storage`].
    pub fn jobs(&self, filter: Filter) -> List {
        List { engine: self.clone(), filter, limit: PAGE, after: None }
    }

    /// How many jobs a filter means. It walks over all of them, a bounded look at a time; one that ends meanwhile may be
    /// counted twice. [`stats`](Self::stats) has the exact numbers of whole queues.
    ///
    /// # Errors
    /// As [`jobs`](Self::jobs).
    pub async fn count(&self, filter: Filter) -> Result<u64, ControlError> {
        filter.check()?;
        let mut walk = Walk::new(self.desk(), filter, Place::START, false);
        let mut count = 0;
        while walk.place.is_some() {
            count += walk.next(COUNTED_AT_ONCE).await?.len() as u64;
        }
        Ok(count)
    }

    /// A job, live or retained, with its payload, its labels, its attempts' errors and its output: all that is kept of it.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `Forgotten`, or [`ControlError::Storage`].
    pub async fn inspect(&self, id: JobId) -> Result<JobDetail, ControlError> {
        let status = self.job(id).await?;
        let mut detail = self.desk().read(status.queue.as_str().into(), move |reader| detail(reader, status)).await?;
        detail.running_log = self.door().live.running_log(id);
        Ok(detail)
    }

    pub(crate) fn desk(&self) -> Desk {
        Desk { door: self.door().clone(), handlers: self.handlers().clone() }
    }

    fn status_of(&self, met: Met) -> JobStatus {
        match met {
            Met::Live(view) => JobStatus::live(&view, self.door().live.progress(view.id)),
            Met::Retained(ended, _) => JobStatus::ended(ended),
        }
    }
}

fn detail(reader: &dyn Reader, status: JobStatus) -> Result<JobDetail, ControlError> {
    let id = status.id;
    let Some(Record::Job(job)) = reader.get(&Key::Job(id))? else {
        return Err(Refusal::Forgotten { id }.into());
    };
    let mut attempts = Vec::new();
    // The kept ones are the first and some of the last: point reads of the others find nothing.
    let last = status.attempts;
    for attempt in (1..=last).filter(|attempt| *attempt == 1 || last - attempt <= 20) {
        if let Some(Record::Attempt(end)) = reader.get(&Key::Attempt(id, attempt))? {
            attempts.push(AttemptEnd::from(end));
        }
    }
    let output = match reader.get(&Key::Result(id))? {
        Some(Record::Result(_, bytes)) => Output::Bytes(bytes),
        _ => Output::None,
    };
    Ok(JobDetail::new(status, &job.body, attempts, output))
}
