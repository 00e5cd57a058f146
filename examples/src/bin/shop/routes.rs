//! Which request goes to which room.

use axum::Router;
use axum::routing::{get, post};
use windlass::Job;
use windlass_console::{Access, Console, Identity, NoToken, Token};

use crate::app::Shop;
use crate::args::Args;
use crate::{dead, health, jobs, newsletters, photos, reports, signup, webhooks};

pub(crate) fn routes(shop: Shop, console: &Console) -> Router {
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
        .nest("/console", console.router())
}

/// The console of the shop's jobs: for whoever has the token, or else for this machine.
pub(crate) fn console(args: &Args, shop: &Shop) -> Result<Console, NoToken> {
    let access = match &args.console_token {
        Some(token) => Access::tokens([Token::operator("operator", token)?]),
        None => Access::loopback(Identity::operator("this machine")),
    };
    let console = Console::new(shop.engine.clone(), access).environment("the shop");
    // What customers send to one another is none of an operator's business.
    Ok(console.redact(|kind, payload| {
        if let (webhooks::DeliverWebhook::KIND, Some(body)) = (kind, payload.get_mut("body")) {
            *body = "(hidden)".into();
        }
    }))
}
