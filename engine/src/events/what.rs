//! What may happen.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use windlass_scheduler::attempt::Failure;
use windlass_scheduler::flow::FlowState;
use windlass_scheduler::job::{Name, Priority};
use windlass_scheduler::news::{NewsOf, ToldFailure};
use windlass_scheduler::time::Timestamp;

macro_rules! events {
    ($($(#[$doc:meta])+ $name:ident $({ $($(#[$field_doc:meta])+ $field:ident: $type:ty,)+ })?, $word:literal;)+) => {
        /// What happened. More may join them.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum What {
            $($(#[$doc])+ $name $({ $($(#[$field_doc])+ $field: $type,)+ })?,)+
        }

        /// What sort of thing happened: what an [`EventFilter`](crate::EventFilter) chooses by. More may join them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum EventKind {
            $(#[doc = concat!("[`What::", stringify!($name), "`].")] $name,)+
        }

        impl What {
            /// What sort of thing it is.
            #[must_use]
            pub const fn kind(&self) -> EventKind {
                match self {
                    $(Self::$name { .. } => EventKind::$name,)+
                }
            }
        }

        impl EventKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word for it, in lower case.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }

            pub(super) const fn of(news: &NewsOf) -> Self {
                match news {
                    $(NewsOf::$name { .. } => Self::$name,)+
                }
            }
        }
    };
}

events! {
    /// A job was accepted. One that was there already is not told of.
    Enqueued {
        /// It waits for this moment; `None`: it may run at once.
        due: Option<SystemTime>,
    }, "enqueued";
    /// A job that had not begun took over the payload of a later one with its key.
    Replaced {
        /// It waits for this moment; `None`: it may run at once.
        due: Option<SystemTime>,
    }, "replaced";
    /// A delay is over: the job stands in line.
    FellDue, "fell due";
    /// An attempt was handed out.
    Started, "started";
    /// The job is done.
    Succeeded, "succeeded";
    /// An attempt failed.
    Failed {
        /// Why; its text is cut to 512 bytes.
        failure: Failure,
        /// The job is tried again after this; `None`: no more, and what became of it comes next.
        retry_in: Option<Duration>,
    }, "failed";
    /// The process died under an attempt. What became of its job comes next, where it is not simply in line again.
    Lost, "lost";
    /// An attempt wants to run again later, and that is no failure.
    Snoozed {
        /// After this.
        delay: Duration,
    }, "snoozed";
    /// An attempt was given back by a stop, and does not count.
    Released, "released";
    /// Somebody cancelled the job while it ran: it ends when its attempt does.
    CancelRequested, "cancel requested";
    /// The job has become a dead letter.
    Dead {
        /// Why; its text is cut to 512 bytes.
        failure: Option<Failure>,
    }, "dead";
    /// The job was called off.
    Cancelled, "cancelled";
    /// The job was not started in time.
    Expired, "expired";
    /// A job that waits has another time.
    Rescheduled {
        /// The time; `None`: now.
        due: Option<SystemTime>,
    }, "rescheduled";
    /// A job that waits has another priority.
    Reprioritised {
        /// That one.
        priority: Priority,
    }, "reprioritised";
    /// A job that waits went to another queue: the event's.
    Moved {
        /// The queue that it was in.
        from: Name,
    }, "moved";
    /// A job has another payload.
    Edited, "edited";
    /// A dead, cancelled or expired job was brought back.
    Requeued, "requeued";
    /// A retained job is not there any more: its time was over, or others needed its place, or somebody discarded it. One that is not
    /// retained at all is gone with its end.
    Forgotten, "forgotten";
    /// A queue was paused.
    Paused, "paused";
    /// A queue that was paused goes on.
    Resumed, "resumed";
    /// A flow was accepted, with its jobs.
    FlowSubmitted {
        /// What sort of flow it is.
        name: Name,
    }, "flow submitted";
    /// A step of a flow failed, and others [hold](crate::StepRef::hold) until somebody requeues, skips or gives it up. The event's job,
    /// kind and queue are the step's.
    FlowHeld {
        /// What sort of flow it is.
        name: Name,
        /// The name of the step that failed.
        step: Arc<str>,
    }, "flow held";
    /// All steps of a flow are over.
    FlowEnded {
        /// What sort of flow it is.
        name: Name,
        /// How it ended.
        state: FlowState,
    }, "flow ended";
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<NewsOf> for What {
    fn from(news: NewsOf) -> Self {
        match news {
            NewsOf::Enqueued { due } => Self::Enqueued { due: due.map(moment) },
            NewsOf::Replaced { due } => Self::Replaced { due: due.map(moment) },
            NewsOf::FellDue => Self::FellDue,
            NewsOf::Started => Self::Started,
            NewsOf::Succeeded => Self::Succeeded,
            NewsOf::Failed { failure, retry_ms } => {
                Self::Failed { failure: whole(&failure), retry_in: retry_ms.map(Duration::from_millis) }
            }
            NewsOf::Lost => Self::Lost,
            NewsOf::Snoozed { delay_ms } => Self::Snoozed { delay: Duration::from_millis(delay_ms) },
            NewsOf::Released => Self::Released,
            NewsOf::CancelRequested => Self::CancelRequested,
            NewsOf::Dead { failure } => Self::Dead { failure: failure.as_ref().map(whole) },
            NewsOf::Cancelled => Self::Cancelled,
            NewsOf::Expired => Self::Expired,
            NewsOf::Rescheduled { due } => Self::Rescheduled { due: due.map(moment) },
            NewsOf::Reprioritised { priority } => Self::Reprioritised { priority },
            NewsOf::Moved { from } => Self::Moved { from },
            NewsOf::Edited => Self::Edited,
            NewsOf::Requeued => Self::Requeued,
            NewsOf::Forgotten => Self::Forgotten,
            NewsOf::Paused => Self::Paused,
            NewsOf::Resumed => Self::Resumed,
            NewsOf::FlowSubmitted { name } => Self::FlowSubmitted { name },
            NewsOf::FlowHeld { name, step } => Self::FlowHeld { name, step },
            NewsOf::FlowEnded { name, state } => Self::FlowEnded { name, state },
        }
    }
}

fn moment(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(at.0)
}

fn whole(failure: &ToldFailure) -> Failure {
    Failure::new(failure.kind, failure.message.to_string())
}
