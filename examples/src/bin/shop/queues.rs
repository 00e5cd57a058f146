//! The engine: a queue per workload, so that a flood in one never delays another. What each may do stands in `shop.toml`.

use std::error::Error;
use std::sync::Arc;

use windlass::{Engine, EngineConfig, RocksJournal};

use crate::app::App;
use crate::args::Args;
use crate::{newsletters, reports, signup, thumbnails, webhooks};

/// Mails that somebody is waiting for.
pub(crate) const CRITICAL_EMAIL: &str = "critical-email";
/// Mails that nobody is waiting for.
pub(crate) const MARKETING_EMAIL: &str = "marketing-email";
/// Long looks at the database.
pub(crate) const REPORTS: &str = "reports";
/// Calls to other people's services.
pub(crate) const SYNC: &str = "sync";
/// Pictures to be made smaller.
pub(crate) const PHOTOS: &str = "photos";

/// What holds unless `--config` names another file.
const CONFIG: &str = include_str!("shop.toml");

pub(crate) async fn start(args: &Args, app: Arc<App>) -> Result<Engine, Box<dyn Error>> {
    let config = match &args.config {
        Some(path) => EngineConfig::from_path(path)?,
        None => EngineConfig::from_toml(CONFIG)?,
    };
    let engine = Engine::builder()
        .journal(RocksJournal::at(args.data.join("jobs")))
        .app(app)
        .config(config)
        .handler(signup::verify_email)
        .handler(newsletters::hand_round)
        .handler(newsletters::mail_newsletter)
        .blocking_handler(reports::sign_ups_per_day)
        .handler(webhooks::deliver_webhook)
        .blocking_handler(thumbnails::make_thumbnails)
        .schedule(reports::nightly())
        .start()
        .await?;
    tracing::debug!("the engine goes by\n{}", engine.config().to_toml());
    Ok(engine)
}
