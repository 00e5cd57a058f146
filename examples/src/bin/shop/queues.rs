//! The engine: three workloads, three queues. A flood of pictures never delays a mail.

use std::sync::Arc;

use windlass::{Engine, MIN, Priority, QueueConfig, RetryPolicy, RocksJournal, SEC, StartError};

use crate::app::App;
use crate::args::Args;
use crate::{signup, thumbnails, webhooks};

/// Mails that somebody is waiting for.
pub(crate) const CRITICAL_EMAIL: &str = "critical-email";
/// Pictures to be made smaller.
pub(crate) const PHOTOS: &str = "photos";
/// Calls to other people's services.
pub(crate) const WEBHOOKS: &str = "webhooks";

pub(crate) async fn start(args: &Args, app: Arc<App>) -> Result<Engine, StartError> {
    // A person waits: quick at first, and never more than 10 s apart, for about as long as the mail is of use: 15
    // minutes.
    let mails = QueueConfig::new(CRITICAL_EMAIL)
        .concurrency(16)
        .priority(Priority::URGENT)
        .retry(RetryPolicy::exponential(SEC).cap(SEC * 10).attempts(90))
        .attempt_timeout(SEC * 30)
        .depth_max(args.depth_max);
    // Blocking work: as many at once as this service shall have of the machine.
    let photos = QueueConfig::new(PHOTOS)
        .concurrency(2)
        .retry(RetryPolicy::exponential(SEC * 5).attempts(5))
        .attempt_timeout(MIN)
        .depth_max(args.depth_max);
    // The other side needs time to be mended, and not our patience for ever.
    let webhooks = QueueConfig::new(WEBHOOKS)
        .concurrency(32)
        .retry(RetryPolicy::list(&[SEC * 30, MIN * 2, MIN * 10]))
        .attempt_timeout(SEC * 30)
        .depth_max(args.depth_max);
    Engine::builder()
        .journal(RocksJournal::at(args.data.join("jobs")))
        .app(app)
        .queue(mails)
        .queue(photos)
        .queue(webhooks)
        .handler(signup::verify_email)
        .blocking_handler(thumbnails::make_thumbnails)
        .handler(webhooks::deliver_webhook)
        .start()
        .await
}
