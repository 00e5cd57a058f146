//! Schedules, in words.

use serde::Serialize;
use utoipa::ToSchema;
use windlass::{CatchUp, Fire, Overlap, ScheduleRule, ScheduleStatus};

use super::{When, millis};

/// Instants that are shown of what comes.
const UPCOMING: usize = 5;

/// A schedule.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleView {
    /// Its name.
    pub(crate) name: String,
    /// When it fires, in words.
    pub(crate) rule: String,
    /// Its cron pattern, if it has one.
    pub(crate) pattern: Option<String>,
    /// The queue that its jobs go to.
    pub(crate) queue: String,
    /// Their kind.
    pub(crate) kind: String,
    /// What becomes of instants that it missed, in words.
    pub(crate) catch_up: String,
    /// What becomes of an instant while an earlier job lives, in words.
    pub(crate) overlap: &'static str,
    /// How much later a job may be due, in milliseconds.
    pub(crate) jitter_ms: u64,
    /// Whether somebody has stopped it.
    pub(crate) is_paused: bool,
    /// Whether the code defined it.
    pub(crate) is_of_code: bool,
    /// The code defined it, and no longer does.
    pub(crate) is_orphan: bool,
    /// When it fires next.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) next: Option<When>,
    /// When it fires, the next five of it.
    pub(crate) upcoming: Vec<FireView>,
    /// Its last instant that had a job.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) last: Option<When>,
    /// That job.
    pub(crate) last_job: Option<String>,
    /// Instants that wait for that job's end.
    pub(crate) held: usize,
    /// Jobs that it ever enqueued.
    pub(crate) fired_total: u64,
    /// Instants that were left out since an earlier job lived.
    pub(crate) overlapped_total: u64,
}

/// One time at which a schedule fires.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct FireView {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: When,
    /// When, as clocks of its zone show it.
    pub(crate) local: String,
    /// Whether they are changed on that day.
    pub(crate) is_clock_change: bool,
}

impl From<&Fire> for FireView {
    fn from(fire: &Fire) -> Self {
        Self { at: fire.at.into(), local: fire.local.clone(), is_clock_change: fire.is_clock_change }
    }
}

impl From<&ScheduleStatus> for ScheduleView {
    fn from(status: &ScheduleStatus) -> Self {
        Self {
            name: status.name.clone(),
            rule: status.rule.in_words(),
            pattern: if let ScheduleRule::Cron { pattern, .. } = &status.rule { Some(pattern.clone()) } else { None },
            queue: status.queue.clone(),
            kind: status.kind.clone(),
            catch_up: match status.catch_up {
                CatchUp::Skip => "left out".to_owned(),
                CatchUp::Latest => "the latest one runs".to_owned(),
                CatchUp::All { max } => format!("each runs, the latest {max} at most"),
            },
            overlap: match status.overlap {
                Overlap::Allow => "runs beside it",
                Overlap::Skip => "left out",
                Overlap::Queue => "waits for its end",
            },
            jitter_ms: millis(status.jitter),
            is_paused: status.is_paused,
            is_of_code: status.is_of_code,
            is_orphan: status.is_orphan,
            next: status.next.map(When),
            upcoming: status.upcoming(UPCOMING).iter().map(FireView::from).collect(),
            last: status.last.as_ref().map(|(at, _)| When(*at)),
            last_job: status.last.as_ref().map(|(_, job)| job.to_string()),
            held: status.held,
            fired_total: status.fired,
            overlapped_total: status.overlapped,
        }
    }
}
