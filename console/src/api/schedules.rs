//! Schedules: what they are, and what is done to them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::act;
use super::change::Change;
use super::problem::Problem;
use super::queues::Nothing;
use crate::action::Action;
use crate::console::Console;
use crate::guard::Visitor;
use crate::view::schedules::ScheduleView;

/// All schedules.
#[utoipa::path(get, path = "/schedules", responses((status = 200, body = Vec<ScheduleView>)))]
pub(super) async fn list(State(console): State<Console>) -> Result<Json<Vec<ScheduleView>>, Problem> {
    Ok(Json(console.engine().schedules().await?.iter().map(ScheduleView::from).collect()))
}

/// A schedule that something was done to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleSteered {
    /// The job that was enqueued, where it was to run now.
    pub(crate) job: Option<String>,
}

/// Does something to a schedule: `pause`, `resume`, `run` has its job run once more now, `remove` forgets it.
#[utoipa::path(post, path = "/schedules/{name}/{what}",
    params(("name" = String, Path), ("what" = String, Path, description = "`pause`, `resume`, `run` or `remove`")),
    request_body = Nothing,
    responses((status = 200, body = ScheduleSteered), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn steer(
    Path((name, what)): Path<(String, String)>,
    Change { console, visitor, body: Nothing {} }: Change<Nothing>,
) -> Result<Json<ScheduleSteered>, Problem> {
    steer_schedule(&console, &visitor, &name, &what).await.map(Json)
}

pub(crate) async fn steer_schedule(
    console: &Console,
    visitor: &Visitor,
    name: &str,
    what: &str,
) -> Result<ScheduleSteered, Problem> {
    let engine = console.engine();
    let mut job = None;
    match what {
        "pause" => drop(act(console, visitor, Action::PauseSchedule, name, engine.pause_schedule(name)).await?),
        "resume" => drop(act(console, visitor, Action::ResumeSchedule, name, engine.resume_schedule(name)).await?),
        "remove" => drop(act(console, visitor, Action::RemoveSchedule, name, engine.remove_schedule(name)).await?),
        "run" => {
            let id = act(console, visitor, Action::RunSchedule, name, engine.run_schedule(name)).await?;
            job = Some(id.to_string());
        }
        _ => {
            let detail = "a schedule can be told to `pause`, `resume`, `run` or `remove`";
            return Err(Problem::new(StatusCode::NOT_FOUND, "not there", detail));
        }
    }
    Ok(ScheduleSteered { job })
}
