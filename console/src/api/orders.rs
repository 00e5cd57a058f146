//! Orders on many jobs: what is done to all that a filter means.

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use windlass::{OrderId, OrderStatus};

use super::act;
use super::change::{Change, object};
use super::problem::Problem;
use super::query::JobQuery;
use super::queues::Nothing;
use super::steer::VerbWords;
use crate::action::Action;
use crate::console::Console;
use crate::guard::Visitor;
use crate::view::jobs::OrderView;

/// What is to be done to many jobs.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderWords {
    /// What is done to each.
    #[serde(rename = "do", deserialize_with = "object")]
    pub(crate) verb: VerbWords,
    /// Which jobs are meant. Where no state is said, what is requeued or discarded are dead letters.
    #[serde(deserialize_with = "object")]
    pub(crate) filter: JobQuery,
    /// Jobs a second at most; as fast as it goes unless said.
    #[serde(default)]
    #[schema(maximum = 4_294_967_295_u32)]
    pub(crate) rate_per_s: Option<u32>,
    /// Only counts the jobs that are meant, and changes nothing.
    #[serde(default)]
    pub(crate) dry_run: bool,
    /// Has to be said where the filter is empty, and means all jobs there are.
    #[serde(default)]
    pub(crate) all_jobs: bool,
}

/// An order that was placed, or what it would come to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Placed {
    /// The order; absent in a dry run.
    pub(crate) order: Option<OrderView>,
    /// The jobs that it means now; only counted in a dry run.
    pub(crate) jobs: Option<u64>,
}

impl Placed {
    pub(super) fn order(order: &OrderStatus) -> Self {
        Self { order: Some(OrderView::from(order)), jobs: None }
    }
}

/// Does something to all jobs that a filter means, as one durable order in bounded steps; or counts them.
#[utoipa::path(post, path = "/jobs/steer", request_body = OrderWords,
    responses((status = 200, body = Placed), (status = 400, body = Problem), (status = 403, body = Problem)))]
pub(super) async fn place(
    Change { console, visitor, body: words }: Change<OrderWords>,
) -> Result<Json<Placed>, Problem> {
    steer_many(&console, &visitor, words).await.map(Json)
}

pub(crate) async fn steer_many(console: &Console, visitor: &Visitor, words: OrderWords) -> Result<Placed, Problem> {
    let (verb, action) = words.verb.to_core()?;
    if words.filter.is_open() && !words.all_jobs {
        return Err(Problem::bad("the filter is empty and means all jobs there are: say so with `all_jobs`"));
    }
    let filter = words.filter.filter()?;
    let which = filter.to_string();
    let mut draft = console.engine().steer_all(verb, filter);
    if words.dry_run {
        visitor.may(action)?;
        return Ok(Placed { order: None, jobs: Some(draft.dry_run().await?) });
    }
    if let Some(rate) = words.rate_per_s {
        draft = draft.rate_per_s(rate);
    }
    let order = act(console, visitor, action, which, draft.into_future()).await?;
    Ok(Placed::order(&order))
}

/// The orders that are under way, and the last 100 that ended.
#[utoipa::path(get, path = "/orders", responses((status = 200, body = Vec<OrderView>)))]
pub(super) async fn list(State(console): State<Console>) -> Result<Json<Vec<OrderView>>, Problem> {
    Ok(Json(console.engine().orders().await?.iter().map(OrderView::from).collect()))
}

/// Calls an order off. What it did stays done.
#[utoipa::path(post, path = "/orders/{id}/cancel", params(("id" = String, Path)), request_body = Nothing,
    responses((status = 200, body = OrderView), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn cancel(
    Path(id): Path<String>,
    Change { console, visitor, body: Nothing {} }: Change<Nothing>,
) -> Result<Json<OrderView>, Problem> {
    cancel_order(&console, &visitor, &id).await.map(Json)
}

pub(crate) async fn cancel_order(console: &Console, visitor: &Visitor, id: &str) -> Result<OrderView, Problem> {
    let id: OrderId = id.parse().map_err(|error| Problem::bad(format!("this is no order id: {error}")))?;
    let order = act(console, visitor, Action::CancelOrder, id, console.engine().cancel_order(id)).await?;
    Ok(OrderView::from(&order))
}
