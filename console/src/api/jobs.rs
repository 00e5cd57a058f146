//! Looking at jobs.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::look;
use super::problem::Problem;
use super::query::JobQuery;
use crate::console::Console;
use crate::view::dead::DeadGroups;
use crate::view::jobs::{JobList, JobView, JobWhole};

/// The jobs that a filter means, a page at a time.
#[utoipa::path(get, path = "/jobs", params(JobQuery),
    responses((status = 200, body = JobList), (status = 400, body = Problem), (status = 410, body = Problem)))]
pub(super) async fn list(
    State(console): State<Console>,
    query: Result<Query<JobQuery>, QueryRejection>,
) -> Result<Json<JobList>, Problem> {
    look::jobs_page(&console, &query?.0).await.map(Json)
}

/// How many there are.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Count {
    count: u64,
}

/// How many jobs a filter means. It walks over all of them: the numbers of whole queues are at `/queues`, and cost nothing.
#[utoipa::path(get, path = "/jobs/count", params(JobQuery),
    responses((status = 200, body = Count), (status = 400, body = Problem)))]
pub(super) async fn count(
    State(console): State<Console>,
    query: Result<Query<JobQuery>, QueryRejection>,
) -> Result<Json<Count>, Problem> {
    Ok(Json(Count { count: console.engine().count(query?.filter()?).await? }))
}

/// A job with all that is kept of it.
#[utoipa::path(get, path = "/jobs/{id}", params(("id" = String, Path)),
    responses((status = 200, body = JobWhole), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn whole(State(console): State<Console>, Path(id): Path<String>) -> Result<Json<JobWhole>, Problem> {
    look::job_whole(&console, look::job_id(&id)?).await.map(Json)
}

/// What the latest dead letters died of, grouped by what is the same in their messages.
#[utoipa::path(get, path = "/dead", params(JobQuery),
    responses((status = 200, body = DeadGroups), (status = 400, body = Problem)))]
pub(super) async fn dead(
    State(console): State<Console>,
    query: Result<Query<JobQuery>, QueryRejection>,
) -> Result<Json<DeadGroups>, Problem> {
    look::dead_groups(&console, &query?.0).await.map(Json)
}

/// The jobs that run now, the oldest first; 500 at most.
#[utoipa::path(get, path = "/workers", responses((status = 200, body = Vec<JobView>)))]
pub(super) async fn workers(State(console): State<Console>) -> Result<Json<Vec<JobView>>, Problem> {
    look::workers(&console).await.map(Json)
}
