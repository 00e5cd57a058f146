//! Who did what: the last entries, and all of them in the log.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::Serialize;
use tracing::info;
use utoipa::ToSchema;

use crate::action::Action;
use crate::view::When;

/// Entries that are kept in memory. All are in the log.
const KEPT: usize = 1_000;
/// Characters of what came of it, at most.
const OUTCOME_CHARS_MAX: usize = 500;

/// Something that somebody did, or tried to.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[non_exhaustive]
pub struct AuditEntry {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: When,
    /// Who: the name of the identity.
    pub who: String,
    /// What.
    pub action: Action,
    /// To what: a queue, a job, a filter.
    pub target: String,
    /// What came of it: `done`, or why not.
    pub outcome: String,
}

/// The last ones.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    last: Mutex<VecDeque<AuditEntry>>,
    noted: AtomicU64,
}

impl Audit {
    pub(crate) fn note(&self, who: &str, action: Action, target: &str, outcome: &str) {
        info!(target: "windlass_console::audit", who, action = action.as_str(), on = target, outcome, "an operator did this");
        let entry = AuditEntry {
            at: When(SystemTime::now()),
            who: who.to_owned(),
            action,
            target: target.to_owned(),
            outcome: outcome.chars().take(OUTCOME_CHARS_MAX).collect(),
        };
        self.noted.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_back();
        }
        kept.push_front(entry);
    }

    /// The latest first.
    pub(crate) fn last(&self, count: usize) -> Vec<AuditEntry> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().take(count).cloned().collect()
    }

    /// How many there ever were.
    pub(crate) fn count(&self) -> u64 {
        self.noted.load(Ordering::Relaxed)
    }
}
