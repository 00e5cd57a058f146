//! What API and pages both show: asked of the engine, bounded.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;
use tokio::time::Instant;
use windlass::{ControlError, Filter, FlowId, FlowState, JobId, JobState, JobStatus, Refusal};

use super::problem::Problem;
use super::query::JobQuery;
use crate::console::Console;
use crate::payload::FieldFilter;
use crate::sampler::Seen;
use crate::view::dead::DeadGroups;
use crate::view::flows::{FlowList, FlowWhole};
use crate::view::jobs::{JobList, JobView, JobWhole};
use crate::view::overview::{HealthView, Numbers, Overview, QueueView};

/// Dead letters that one look at causes of death takes at most.
const DEAD_LOOKED_AT: usize = 1_000;
/// Jobs whose payloads are looked at for a page at most, and how many of them are asked for together.
const PAYLOADS_MAX: usize = 500;
const PAYLOADS_AT_ONCE: usize = 100;
/// Of which so many are read beside each other.
const PAYLOADS_BESIDE: usize = 8;
/// Pages of the engine's that are looked through for one: they may be empty.
const PAYLOAD_PAGES_MAX: usize = 100;
/// For how long more are looked at.
const PAYLOADS_WITHIN: Duration = Duration::from_secs(5);
/// With less room than this left, a page is full.
const PAYLOAD_ROOM_MIN: usize = 10;
/// Running jobs that are shown at most.
const RUNNING_SHOWN: usize = 500;

pub(crate) fn job_id(text: &str) -> Result<JobId, Problem> {
    JobId::from_str(text).map_err(|error| Problem::bad(format!("this is no job id: {error}")))
}

pub(crate) fn flow_id(text: &str) -> Result<FlowId, Problem> {
    FlowId::from_str(text).map_err(|error| Problem::bad(format!("this is no flow id: {error}")))
}

pub(crate) async fn queues(console: &Console) -> Result<Vec<QueueView>, Problem> {
    Ok(console.engine().stats().await?.iter().map(QueueView::from).collect())
}

/// Nobody knows a queue of this name.
pub(crate) fn no_queue(name: &str) -> Problem {
    let shown: String = name.chars().take(100).collect();
    Problem::new(StatusCode::NOT_FOUND, "not there", format!("there is no queue `{shown}`"))
}

/// How fresh an answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fresh {
    /// As it is now.
    Now,
    /// As it was a moment ago, shared by all who watch.
    Lately,
}

/// All queues with how fast they go.
pub(crate) async fn seen(console: &Console, fresh: Fresh) -> Result<Arc<Seen>, Problem> {
    match fresh {
        Fresh::Now => console.sampler().look().await,
        Fresh::Lately => console.sampler().glance().await,
    }
}

pub(crate) async fn overview(console: &Console, fresh: Fresh) -> Result<Overview, Problem> {
    let seen = seen(console, fresh).await?;
    Ok(Overview {
        environment: console.environment_name().map(str::to_owned),
        health: HealthView::from(&console.engine().health()),
        all: Numbers::sum(&seen.queues),
        queues: seen.queues.clone(),
        kinds: seen.paces.kinds.clone(),
        memory: seen.memory.clone(),
        journal: seen.paces.journal.clone(),
    })
}

pub(crate) async fn jobs_page(console: &Console, query: &JobQuery) -> Result<JobList, Problem> {
    if let Some(field) = query.payload_filter()?
        && (1..=1_000).contains(&query.page_size())
    {
        return jobs_with(console, query, &field).await;
    }
    let mut list = console.engine().jobs(query.filter_but_payload()?).limit(query.page_size());
    if let Some(cursor) = query.cursor()? {
        list = list.after(cursor);
    }
    Ok(JobList::new(&list.await?, console.redaction()))
}

/// Those of a page, of which payloads are looked at, so many at most.
async fn jobs_with(console: &Console, query: &JobQuery, field: &FieldFilter) -> Result<JobList, Problem> {
    let (filter, size, began) = (query.filter_but_payload()?, query.page_size(), Instant::now());
    let (mut jobs, mut looked_at, mut after) = (Vec::new(), 0, query.cursor()?);
    for _ in 0..PAYLOAD_PAGES_MAX {
        let room = (size - jobs.len()).min(PAYLOADS_MAX - looked_at).min(PAYLOADS_AT_ONCE);
        let mut list = console.engine().jobs(filter.clone()).limit(room);
        if let Some(after) = after {
            list = list.after(after);
        }
        let page = list.await?;
        (looked_at, after) = (looked_at + page.jobs.len(), page.next);
        for (job, payload) in payloads(console, page.jobs).await? {
            if field.is_met_by(&payload) {
                jobs.push(JobView::new(&job, console.redaction()));
            }
        }
        // What is left of a page is not filled by looks at one or two.
        let is_full = !jobs.is_empty() && size - jobs.len() < PAYLOAD_ROOM_MIN;
        if after.is_none() || is_full || looked_at >= PAYLOADS_MAX || began.elapsed() > PAYLOADS_WITHIN {
            break;
        }
    }
    Ok(JobList { jobs, next: after.as_ref().map(ToString::to_string), looked_at: Some(looked_at as u64) })
}

/// What may be seen of these jobs' payloads, of those that are still there.
async fn payloads(console: &Console, jobs: Vec<JobStatus>) -> Result<Vec<(JobStatus, Value)>, Problem> {
    let of = |job: JobStatus| async move {
        match console.engine().inspect(job.id).await {
            Ok(detail) => {
                let payload = console.redaction().shown(&job.kind, &detail.payload);
                Ok(Some((job, payload)))
            }
            Err(ControlError::Refused(Refusal::Forgotten { .. })) => Ok(None),
            Err(error) => Err(Problem::from(error)),
        }
    };
    let found: Vec<_> = stream::iter(jobs).map(of).buffered(PAYLOADS_BESIDE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

pub(crate) async fn job_whole(console: &Console, id: JobId) -> Result<JobWhole, Problem> {
    let detail = console.engine().inspect(id).await?;
    let mut whole = JobWhole::new(&detail, console.redaction());
    if let (Some(part), Some(of)) = (&mut whole.part_of, detail.part_of) {
        part.step = match console.engine().flow::<()>(of.flow).status().await {
            Ok(flow) => flow.steps.into_iter().nth(of.step).map(|step| step.name),
            Err(ControlError::Refused(Refusal::NoFlow { .. })) => None,
            Err(error) => return Err(error.into()),
        };
    }
    Ok(whole)
}

/// Of the latest dead letters: what they died of.
pub(crate) async fn dead_groups(console: &Console, query: &JobQuery) -> Result<DeadGroups, Problem> {
    let stats = console.engine().stats().await?;
    let retained = stats.iter().map(|stats| stats.dead).sum();
    let query = JobQuery { state: None, ..query.clone() };
    let (filter, mut jobs, mut after) = (query.filter()?.state(JobState::Dead), Vec::new(), None);
    while jobs.len() < DEAD_LOOKED_AT {
        let mut list = console.engine().jobs(filter.clone()).limit(DEAD_LOOKED_AT - jobs.len());
        if let Some(after) = after {
            list = list.after(after);
        }
        let page = list.await?;
        jobs.extend(page.jobs);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(DeadGroups::new(&jobs, retained))
}

/// What runs now.
pub(crate) async fn workers(console: &Console) -> Result<Vec<JobView>, Problem> {
    let running = Filter::new().state(JobState::Running);
    let page = console.engine().jobs(running).limit(RUNNING_SHOWN).await?;
    let mut jobs: Vec<_> = page.jobs.iter().map(|job| JobView::new(job, console.redaction())).collect();
    jobs.sort_by_key(|job| (job.started, job.created));
    Ok(jobs)
}

pub(crate) async fn flows_page(
    console: &Console,
    after: Option<&str>,
    state: Option<&str>,
    limit: usize,
) -> Result<FlowList, Problem> {
    let after = after.filter(|text| !text.is_empty()).map(flow_id).transpose()?;
    let state = state.filter(|text| !text.is_empty()).map(flow_state).transpose()?;
    Ok(FlowList::new(&console.engine().flows(after, state, limit).await?, limit))
}

pub(crate) async fn flow_whole(console: &Console, id: FlowId) -> Result<FlowWhole, Problem> {
    Ok(FlowWhole::new(&console.engine().flow::<()>(id).status().await?))
}

fn flow_state(word: &str) -> Result<FlowState, Problem> {
    use FlowState::{Cancelled, Done, Failed, Held, Running, Undoing};
    let all = [Running, Held, Undoing, Done, Failed, Cancelled];
    let state = all.into_iter().find(|state| state.as_str() == word);
    state.ok_or_else(|| {
        let known: Vec<_> = all.iter().map(|state| state.as_str()).collect();
        Problem::bad(format!("no such state of a flow: there are {}", known.join(", ")))
    })
}
