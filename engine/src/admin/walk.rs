//! Walking over jobs by a filter, a bounded look at a time: what lists, counts and orders share.
//!
//! First the live jobs, which the core shows, then the retained ones, which stand in the journal by queue and end. A job
//! that is there all the while is met at least once: one that ends meanwhile is met where it is then.

use std::sync::Arc;

use tokio::runtime::Handle;
use tracing::warn;
use windlass_scheduler::attempt::{AttemptResult, Failure};
use windlass_scheduler::change::{EndedRecord, JobRecord, Key, Record};
use windlass_scheduler::effect::Answer;
use windlass_scheduler::filter::Facts;
use windlass_scheduler::job::{Body, JobId, Name};
use windlass_scheduler::state::{EndState, State};
use windlass_scheduler::verb::Retained;
use windlass_scheduler::view::{IsMeant, JobView, Page};
use windlass_storage::{Reader, StorageError};

use crate::door::Door;
use crate::error::ControlError;
use crate::filter::{Filter, Place};
use crate::messages::Question;

/// Places of live jobs that one look passes at most: it holds up the core.
const LIVE_SCAN_MAX: usize = 10_000;
/// Retained jobs that one look reads at most.
const RETAINED_SCAN_MAX: usize = 1_000;
/// Attempts of which a record is looked for, back from the last: so many are kept.
const ATTEMPTS_BACK_MAX: u32 = 20;

/// Where questions are asked and records read.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) door: Arc<Door>,
    /// Where blocking reads go.
    pub(crate) handlers: Handle,
}

impl Desk {
    /// Reads records of this queue on a thread where blocking is allowed.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        queue: Name,
        read: impl FnOnce(&dyn Reader) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, ControlError> {
        let door = self.door.clone();
        let task = self.door.read_on(&self.handlers, move || read(door.reader(&queue)?.as_ref()));
        task.await.map_err(|_| ControlError::Unavailable("the handlers' runtime is gone".to_owned()))?
    }

    async fn queues(&self) -> Result<Vec<Name>, ControlError> {
        match self.door.ask(Question::Stats).await? {
            Answer::Stats(stats) => Ok(stats.into_iter().map(|stats| stats.queue).collect()),
            other => unreachable!("stats were answered with {other:?}"),
        }
    }
}

/// A job that the filter means.
pub(crate) enum Met {
    Live(JobView),
    Retained(EndedRecord, Option<Arc<Body>>),
}

impl Met {
    pub(crate) fn id(&self) -> JobId {
        match self {
            Self::Live(view) => view.id,
            Self::Retained(ended, _) => ended.id,
        }
    }

    /// As a verb needs it, where it was read with its body.
    pub(crate) fn into_read(self) -> Option<Box<Retained>> {
        match self {
            Self::Retained(ended, Some(body)) => Some(Box::new(Retained { ended, body })),
            Self::Live(_) | Self::Retained(_, None) => None,
        }
    }
}

/// A walk under way.
pub(crate) struct Walk {
    desk: Desk,
    filter: Filter,
    /// Where it goes on; `None`: it is over.
    pub(crate) place: Option<Place>,
    /// The retained rows, in order, once they were asked for.
    rows: Option<Vec<(Name, EndState)>>,
    /// Whether the bodies of retained jobs are wanted.
    with_bodies: bool,
}

impl Walk {
    pub(crate) fn new(desk: Desk, filter: Filter, from: Place, with_bodies: bool) -> Self {
        Self { desk, filter, place: Some(from), rows: None, with_bodies }
    }

    /// Looks once: the next jobs that the filter means, at most so many. May be none although the walk is not over.
    pub(crate) async fn next(&mut self, limit: usize) -> Result<Vec<Met>, ControlError> {
        match self.place.clone() {
            None => Ok(Vec::new()),
            Some(Place::Live { .. }) if !self.filter.asks_live() => {
                self.place = self.row_after(None).await?;
                Ok(Vec::new())
            }
            Some(Place::Live { term, slot }) => self.next_live(term, slot, limit).await,
            Some(Place::Retained { queue, state, before }) => self.next_retained(queue, state, before, limit).await,
        }
    }

    async fn next_live(&mut self, term: Option<u64>, from: u32, limit: usize) -> Result<Vec<Met>, ControlError> {
        let filter = Box::new(self.filter.core.clone());
        let question = Question::List { filter, from, limit, scan_max: LIVE_SCAN_MAX };
        let page = match self.desk.door.ask(question).await? {
            Answer::Page(page) => page,
            other => unreachable!("a list was answered with {other:?}"),
        };
        if term.is_some_and(|term| term != page.term) {
            return Err(ControlError::CursorExpired);
        }
        let Page { jobs, term, next } = page;
        self.place = match next {
            Some(slot) => Some(Place::Live { term: Some(term), slot }),
            None => self.row_after(None).await?,
        };
        let views = self.with_labels(jobs).await?;
        Ok(self.with_error(views).await?.into_iter().map(Met::Live).collect())
    }

    /// Only those whose labels meet the filter, where the core could not tell: their bodies are on disk only.
    async fn with_labels(&self, jobs: Vec<(JobView, IsMeant)>) -> Result<Vec<JobView>, ControlError> {
        let Some((view, _)) = jobs.iter().find(|(_, is_meant)| *is_meant == IsMeant::ByLabels) else {
            return Ok(jobs.into_iter().map(|(view, _)| view).collect());
        };
        let (queue, filter) = (view.queue.clone(), self.filter.clone());
        // What is not in memory is in the journal, whatever queue.
        let pick = move |reader: &dyn Reader| {
            let mut meant = Vec::with_capacity(jobs.len());
            for (view, is_meant) in jobs {
                if is_meant == IsMeant::Yes || has_labels(reader, &filter, &view)? {
                    meant.push(view);
                }
            }
            Ok(meant)
        };
        self.desk.read(queue, pick).await
    }

    /// Only those whose last failure meets the filter: that stands in the record of an attempt.
    async fn with_error(&self, views: Vec<JobView>) -> Result<Vec<JobView>, ControlError> {
        if self.filter.core.error.is_none() || views.is_empty() {
            return Ok(views);
        }
        let (door, filter) = (self.desk.door.clone(), self.filter.clone());
        let is_meant = move |view: &JobView| -> Result<bool, ControlError> {
            let failure = last_failure(door.reader(&view.queue)?.as_ref(), view)?;
            Ok(filter.core.is_met_by_failure(failure.as_ref()))
        };
        // Of whichever queue: the readers are found for each.
        let queue = views[0].queue.clone();
        let pick = move |_: &dyn Reader| {
            let mut meant = Vec::with_capacity(views.len());
            for view in views {
                if is_meant(&view)? {
                    meant.push(view);
                }
            }
            Ok(meant)
        };
        self.desk.read(queue, pick).await
    }

    async fn next_retained(
        &mut self,
        queue: Name,
        state: EndState,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Met>, ControlError> {
        let (filter, with_bodies) = (self.filter.clone(), self.with_bodies);
        let scan_max = if with_bodies || filter.core.asks_labels() { limit } else { RETAINED_SCAN_MAX };
        let of = queue.clone();
        let look = move |reader: &dyn Reader| {
            let records = reader.ended(&of, state, before, scan_max)?;
            let is_over = records.len() < scan_max;
            let (mut met, mut last) = (Vec::new(), None);
            for record in records {
                if met.len() >= limit {
                    return Ok((met, last, false));
                }
                last = Some(record.key.end_no);
                met.extend(meant(reader, &filter, record, with_bodies)?);
            }
            Ok((met, last, is_over))
        };
        let (met, last, is_over) = self.desk.read(queue.clone(), look).await?;
        self.place = if is_over {
            self.row_after(Some((queue, state))).await?
        } else {
            Some(Place::Retained { queue, state, before: last.or(before) })
        };
        Ok(met)
    }

    /// The beginning of the row behind this one.
    async fn row_after(&mut self, row: Option<(Name, EndState)>) -> Result<Option<Place>, ControlError> {
        if self.rows.is_none() {
            let mut queues = match self.filter.core.queues.as_slice() {
                [] => self.desk.queues().await?,
                queues => queues.to_vec(),
            };
            queues.sort_unstable();
            queues.dedup();
            let ends: Vec<_> = self.filter.ends().collect();
            self.rows = Some(queues.iter().flat_map(|queue| ends.iter().map(|end| (queue.clone(), *end))).collect());
        }
        let is_behind = |one: &&(Name, EndState)| {
            row.as_ref().is_none_or(|(queue, state)| (&one.0, one.1.index()) > (queue, state.index()))
        };
        let next = self.rows.iter().flatten().find(is_behind);
        Ok(next.map(|(queue, state)| Place::Retained { queue: queue.clone(), state: *state, before: None }))
    }
}

/// A retained job, if the filter means it.
fn meant(
    reader: &dyn Reader,
    filter: &Filter,
    record: EndedRecord,
    with_body: bool,
) -> Result<Option<Met>, ControlError> {
    let facts = Facts {
        queue: &record.key.queue,
        kind: &record.kind,
        state: State::from(record.key.state),
        created: record.head.created,
        due: None,
        ended: Some(record.at),
    };
    if !filter.core.is_met_by(&facts) || !filter.core.is_met_by_failure(record.failure.as_ref()) {
        return Ok(None);
    }
    if !with_body && !filter.core.asks_labels() {
        return Ok(Some(Met::Retained(record, None)));
    }
    match found(reader, &Key::Job(record.id))? {
        Some(Record::Job(job)) if filter.core.is_met_by_labels(&job.body) => {
            Ok(Some(Met::Retained(record, Some(job.body))))
        }
        // Of another job, or purged between the two reads.
        _ => Ok(None),
    }
}

/// What stands there, if it can be read. One damaged record hides no other job from a list, and holds up no order for ever: its
/// job is passed by, and the next start moves it aside.
fn found(reader: &dyn Reader, key: &Key) -> Result<Option<Record>, ControlError> {
    match reader.get(key) {
        Err(error @ StorageError::Damaged { .. }) => {
            warn!(%error, "a record cannot be read: its job is passed by");
            Ok(None)
        }
        read => Ok(read?),
    }
}

/// Whether the labels of a live job, as they are written, meet the filter. They stay through all edits; what stands there
/// may be about a later job with the same id.
fn has_labels(reader: &dyn Reader, filter: &Filter, view: &JobView) -> Result<bool, ControlError> {
    let job = found(reader, &Key::Job(view.id))?;
    let is_it = |job: &JobRecord| job.head.created == view.created && filter.core.is_met_by_labels(&job.body);
    Ok(matches!(job, Some(Record::Job(job)) if is_it(&job)))
}

/// The failure of the last attempt of a live job that left one.
fn last_failure(reader: &dyn Reader, view: &JobView) -> Result<Option<Failure>, ControlError> {
    let last = view.attempts - u32::from(view.state == State::Running);
    for attempt in (1..=last).rev().take(ATTEMPTS_BACK_MAX as usize) {
        if let Some(Record::Attempt(end)) = found(reader, &Key::Attempt(view.id, attempt))?
            && let AttemptResult::Failed(failure) = end.result
        {
            return Ok(Some(failure));
        }
    }
    Ok(None)
}
