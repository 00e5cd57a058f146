//! At the start: what the database has and the engine has not is enqueued again.
//!
//! The same id twice is the same job, so it would be right to enqueue *every* user's job again, if the engine
//! remembered every job for ever. It does not: a done one is retained for a day, then its id means nothing, and
//! enqueueing it again would send a second mail, a day later, to somebody who has long been verified. So the database
//! has to know when to stop asking, by itself, whatever the engine still remembers. Two marks do that.
//!
//! - `job_known` is set after the engine's durable yes. From then on the job is the engine's: it will be sent, or
//!   become a dead letter that an operator may throw away, or expire; none of these may be undone by a restart. Set
//!   *before* the yes, a kill in between would lose the mail; so it comes after, and a kill in between leaves it unset.
//! - `mailed_ms` is set by the handler, before its `Ok` and so before the job can be done. It covers that gap: a job
//!   that was accepted, run, done and forgotten while `job_known` was never written has still left its mark.
//!
//! So a row with neither mark is one of three: the engine never got the job (enqueueing is the point of all this); it
//! has it live or retained (enqueueing changes nothing); or the job died or expired unmailed, within the one process
//! that was killed before it wrote `job_known`, and was forgotten by retention before the next start: then the user,
//! who never got a mail, gets one. No row whose mail was marked as sent is ever enqueued again.
//!
//! A sign-up that is found here may never have been answered with 201. It is sent all the same: the caller cannot know
//! whether it was accepted, and a mail that nobody expects does less harm than one that never comes.

use windlass::{EnqueueError, Refusal, SEC};

use crate::app::Shop;
use crate::database::DatabaseError;
use crate::signup;

/// Runs beside the service: a full queue makes it wait, and nobody else.
pub(crate) async fn enqueue_again(shop: Shop) {
    match run(&shop).await {
        Ok(0) => {}
        Ok(users) => tracing::info!(users, "enqueued again what the engine may not have had"),
        Err(error) => tracing::warn!("not all sign-ups could be compared with the engine: {error}"),
    }
}

async fn run(shop: &Shop) -> Result<u64, DatabaseError> {
    let database = &shop.app.database;
    // Whoever signs up from now on is looked after by the request itself.
    let last = database.last_id().await?;
    let (mut after, mut users) = (0, 0);
    while let Some(user) = database.next_job_unknown(after, last).await? {
        match signup::enqueue_again(shop, &user).await {
            Ok(()) => {
                database.mark_job_known(user.id).await?;
                after = user.id;
                users += 1;
            }
            // The next start goes on here.
            Err(EnqueueError::Unavailable(_) | EnqueueError::Refused(Refusal::Stopping)) => break,
            Err(error) => {
                tracing::debug!(user = user.id, "not yet enqueued again: {error}");
                tokio::time::sleep(SEC).await;
            }
        }
    }
    Ok(users)
}
