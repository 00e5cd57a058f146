//! Limits, and what is set over them.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;
use windlass::{Override, RateLimit};

use super::act;
use super::change::{Change, object};
use super::problem::Problem;
use super::queues::{DONE, Done};
use crate::action::Action;
use crate::console::Console;
use crate::guard::Visitor;
use crate::view::limits::{LimitNumbers, LimitRef, LimitView};

/// All limits: what the code says of each, what is set over it, and how many of it run.
#[utoipa::path(get, path = "/limits", responses((status = 200, body = Vec<LimitView>)))]
pub(super) async fn list(State(console): State<Console>) -> Result<Json<Vec<LimitView>>, Problem> {
    Ok(Json(console.engine().limits().await?.iter().map(LimitView::from).collect()))
}

/// What is to be set over a limit.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetLimit {
    /// Over which.
    #[serde(deserialize_with = "object")]
    of: LimitRef,
    /// What is not said stays as the code says.
    #[serde(deserialize_with = "object")]
    set: LimitNumbers,
}

/// Which limit is to be as the code says.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResetLimit {
    /// Which.
    #[serde(deserialize_with = "object")]
    of: LimitRef,
}

/// Sets something over a limit, instead of what was set before. It counts from now on, and across restarts.
#[utoipa::path(post, path = "/limits/set", request_body = SetLimit,
    responses((status = 200, body = Done), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn set(
    Change { console, visitor, body: SetLimit { of, set } }: Change<SetLimit>,
) -> Result<Json<Done>, Problem> {
    set_limit(&console, &visitor, &of, Some(set)).await?;
    Ok(DONE)
}

/// Takes back what is set over a limit.
#[utoipa::path(post, path = "/limits/reset", request_body = ResetLimit,
    responses((status = 200, body = Done), (status = 404, body = Problem)))]
pub(super) async fn reset(
    Change { console, visitor, body: ResetLimit { of } }: Change<ResetLimit>,
) -> Result<Json<Done>, Problem> {
    set_limit(&console, &visitor, &of, None).await?;
    Ok(DONE)
}

pub(crate) async fn set_limit(
    console: &Console,
    visitor: &Visitor,
    of: &LimitRef,
    set: Option<LimitNumbers>,
) -> Result<(), Problem> {
    let (engine, core) = (console.engine(), of.to_core());
    let target = core.to_string();
    let Some(numbers) = set else {
        return act(console, visitor, Action::SetLimit, target, engine.reset_limit(core)).await;
    };
    let mut change = Override::new();
    if let Some(slots) = numbers.slots {
        change = change.concurrency(slots);
    }
    if let Some(rate) = numbers.rate {
        let limit = RateLimit::new(rate.jobs, std::time::Duration::from_millis(rate.period_ms));
        change = change.rate_limit(rate.burst.map_or(limit, |burst| limit.burst(burst)));
    }
    if let Some(weight) = numbers.weight {
        change = change.weight(weight);
    }
    act(console, visitor, Action::SetLimit, target, engine.override_limit(core, change)).await
}
