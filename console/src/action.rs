//! What can be done, named: permissions are given by these, and the audit log tells of them.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

/// Something that an operator does. Looking is none: whoever comes in may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Pauses a queue.
    PauseQueue,
    /// Resumes a queue.
    ResumeQueue,
    /// Empties a queue: what waits in it is called off and forgotten.
    PurgeQueue,
    /// Sets slots, rate or weight over what is configured, or takes that back.
    SetLimit,
    /// Has a job run now, whatever its time.
    RunNow,
    /// Brings back a job that has ended.
    Requeue,
    /// Calls a job off.
    Cancel,
    /// Forgets a job that has ended.
    Discard,
    /// Gives a job another payload.
    Edit,
    /// Gives a job another priority.
    Reprioritise,
    /// Gives a job another time.
    Reschedule,
    /// Puts a job into another queue.
    Move,
    /// Calls off an order on many jobs.
    CancelOrder,
    /// Pauses a schedule.
    PauseSchedule,
    /// Resumes a schedule.
    ResumeSchedule,
    /// Has a schedule's job run now.
    RunSchedule,
    /// Forgets a schedule.
    RemoveSchedule,
    /// Calls a flow off.
    CancelFlow,
    /// Runs a step of a flow once more.
    RetryStep,
    /// Has a flow go on without a step.
    SkipStep,
    /// Brings a flow a signal.
    Signal,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::PauseQueue,
        Self::ResumeQueue,
        Self::PurgeQueue,
        Self::SetLimit,
        Self::RunNow,
        Self::Requeue,
        Self::Cancel,
        Self::Discard,
        Self::Edit,
        Self::Reprioritise,
        Self::Reschedule,
        Self::Move,
        Self::CancelOrder,
        Self::PauseSchedule,
        Self::ResumeSchedule,
        Self::RunSchedule,
        Self::RemoveSchedule,
        Self::CancelFlow,
        Self::RetryStep,
        Self::SkipStep,
        Self::Signal,
    ];

    /// Its name, as JSON and the log have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PauseQueue => "pause_queue",
            Self::ResumeQueue => "resume_queue",
            Self::PurgeQueue => "purge_queue",
            Self::SetLimit => "set_limit",
            Self::RunNow => "run_now",
            Self::Requeue => "requeue",
            Self::Cancel => "cancel",
            Self::Discard => "discard",
            Self::Edit => "edit",
            Self::Reprioritise => "reprioritise",
            Self::Reschedule => "reschedule",
            Self::Move => "move",
            Self::CancelOrder => "cancel_order",
            Self::PauseSchedule => "pause_schedule",
            Self::ResumeSchedule => "resume_schedule",
            Self::RunSchedule => "run_schedule",
            Self::RemoveSchedule => "remove_schedule",
            Self::CancelFlow => "cancel_flow",
            Self::RetryStep => "retry_step",
            Self::SkipStep => "skip_step",
            Self::Signal => "signal",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
