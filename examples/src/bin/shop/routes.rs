//! Which request goes to which room.

use axum::Router;
use axum::routing::{get, post};

use crate::app::Shop;
use crate::{dead, health, jobs, newsletters, photos, reports, signup, webhooks};

pub(crate) fn routes(shop: Shop) -> Router {
    Router::new()
        .route("/signup", post(signup::sign_up))
        .route("/verify", post(signup::verify))
        .route("/newsletters", post(newsletters::accept))
        .route("/reports", post(reports::accept))
        .route("/photos", post(photos::upload))
        .route("/webhooks", post(webhooks::accept))
        .route("/jobs/{id}", get(jobs::job))
        .route("/dead", get(dead::list))
        .route("/dead/{id}", get(dead::inspect).delete(dead::discard))
        .route("/dead/{id}/requeue", post(dead::requeue))
        .route("/healthz", get(health::healthz))
        .route("/queues", get(health::queues))
        .with_state(shop)
}
