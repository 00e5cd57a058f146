//! Schedules: what they are, and what is done to them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::act;
use super::change::Change;
use super::problem::Problem;
use super::query::moment;
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
    /// The job that was enqueued, where it was to run; the one that an instant had before, if that is known.
    pub(crate) job: Option<String>,
}

/// What else there is to say.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SteerSchedule {
    /// With `run`: an instant of it that is over, RFC 3339, which is to have its job. Now, beside its instants, unless said.
    #[serde(default)]
    pub(crate) at: Option<String>,
}

/// Does something to a schedule: `pause`, `resume`, `run` has its job run once more, `remove` forgets it.
#[utoipa::path(post, path = "/schedules/{name}/{what}",
    params(("name" = String, Path), ("what" = String, Path, description = "`pause`, `resume`, `run` or `remove`")),
    request_body = SteerSchedule,
    responses((status = 200, body = ScheduleSteered), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn steer(
    Path((name, what)): Path<(String, String)>,
    Change { console, visitor, body: SteerSchedule { at } }: Change<SteerSchedule>,
) -> Result<Json<ScheduleSteered>, Problem> {
    steer_schedule(&console, &visitor, &name, &what, at.as_deref()).await.map(Json)
}

pub(crate) async fn steer_schedule(
    console: &Console,
    visitor: &Visitor,
    name: &str,
    what: &str,
    at: Option<&str>,
) -> Result<ScheduleSteered, Problem> {
    let engine = console.engine();
    let instant = at.map(|at| moment("at", at)).transpose()?;
    let mut job = None;
    match what {
        "pause" | "resume" | "remove" if at.is_some() => return Err(Problem::bad("`at` is for `run` alone")),
        "pause" => drop(act(console, visitor, Action::PauseSchedule, name, engine.pause_schedule(name)).await?),
        "resume" => drop(act(console, visitor, Action::ResumeSchedule, name, engine.resume_schedule(name)).await?),
        "remove" => drop(act(console, visitor, Action::RemoveSchedule, name, engine.remove_schedule(name)).await?),
        "run" => {
            let run = async {
                match instant {
                    Some(instant) => engine.run_schedule_at(name, instant).await,
                    None => engine.run_schedule(name).await,
                }
            };
            job = Some(act(console, visitor, Action::RunSchedule, name, run).await?.to_string());
        }
        _ => {
            let detail = "a schedule can be told to `pause`, `resume`, `run` or `remove`";
            return Err(Problem::new(StatusCode::NOT_FOUND, "not there", detail));
        }
    }
    Ok(ScheduleSteered { job })
}
