//! A backup while the engine works.
//!
//! Owns the way to the writer and back. The copying itself is the journal's, on a thread where blocking is allowed: the
//! writer only says how far the copy has to reach.

use std::path::Path;

use tokio::sync::oneshot;
use tracing::{info, warn};
use windlass_storage::BackupReport;

use crate::engine::Engine;
use crate::error::BackupError;
use crate::messages::SupervisorMsg;

impl Engine {
    /// Makes a consistent copy of the journal at this path, while everything goes on. Everything that was acknowledged
    /// before this call is in it, but for queues at [`Durability::Memory`](crate::Durability::Memory), which are in no
    /// journal. The path must not exist, or be an empty directory; the directory around it must exist.
    ///
    /// On the journal's own disk it shares tables with the journal and copies the log; on another disk it copies
    /// everything, and protects against the loss of the first one. Before it appears under its name it is opened, read
    /// through and synced: the report says what is in it, unreadable records too. Until then it is called
    /// `<path>.partial`. Put it back with `RocksJournal::restore`.
    ///
    /// Dropping the future does not stop a copy that has begun. A shutdown waits for the copying.
    ///
    /// # Errors
    /// [`BackupError`]: nothing stands at the path then that did not before, and the engine is as it was.
    pub async fn backup(&self, to: impl AsRef<Path>) -> Result<BackupReport, BackupError> {
        let to = to.as_ref().to_owned();
        let gone = |what: &str| BackupError::Unavailable(format!("{what} is gone"));
        let (reply, begun) = oneshot::channel();
        let asked = self.supervisor().send_message(SupervisorMsg::Backup { to: to.clone(), reply });
        asked.map_err(|_| gone("the engine"))?;
        let pending = begun.await.map_err(|_| gone("the journal's writer"))??;
        let finished = self.handlers().spawn_blocking(move || pending.finish()).await;
        match finished.map_err(|_| gone("the thread that copied"))? {
            Ok(report) => {
                let (jobs, ended, bytes) = (report.jobs, report.ended, report.bytes);
                let (commit, unreadable) = (report.commit_no, report.unreadable);
                info!(path = %to.display(), jobs, ended, bytes, unreadable, %commit, "a backup was made");
                Ok(report)
            }
            Err(error) => {
                warn!(path = %to.display(), %error, "a backup was not made");
                Err(error.into())
            }
        }
    }
}
