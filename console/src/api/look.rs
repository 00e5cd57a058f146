//! What API and pages both show: asked of the engine, bounded.

use std::str::FromStr;

use windlass::{Filter, FlowId, FlowState, JobId, JobState};

use super::problem::Problem;
use super::query::JobQuery;
use crate::console::Console;
use crate::view::dead::DeadGroups;
use crate::view::flows::{FlowList, FlowWhole};
use crate::view::jobs::{JobList, JobView, JobWhole};
use crate::view::overview::{HealthView, MemoryView, Numbers, Overview, QueueView};

/// Dead letters that one look at causes of death takes at most.
const DEAD_LOOKED_AT: usize = 1_000;
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

pub(crate) async fn overview(console: &Console) -> Result<Overview, Problem> {
    let queues = queues(console).await?;
    Ok(Overview {
        environment: console.environment_name().map(str::to_owned),
        health: HealthView::from(&console.engine().health()),
        all: Numbers::sum(&queues),
        queues,
        memory: console.engine().memory().await.ok().as_ref().map(MemoryView::from),
    })
}

pub(crate) async fn jobs_page(console: &Console, query: &JobQuery) -> Result<JobList, Problem> {
    let mut list = console.engine().jobs(query.filter()?).limit(query.page_size());
    if let Some(cursor) = query.cursor()? {
        list = list.after(cursor);
    }
    Ok(JobList::new(&list.await?, console.redaction()))
}

pub(crate) async fn job_whole(console: &Console, id: JobId) -> Result<JobWhole, Problem> {
    Ok(JobWhole::new(&console.engine().inspect(id).await?, console.redaction()))
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
    jobs.sort_by_key(|job| job.created);
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
