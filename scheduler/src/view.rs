//! What the core tells about jobs and queues to those who look.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::breaker::Circuit;
use crate::change::Counters;
use crate::job::{JobId, Name, Priority};
use crate::limit::{LimitOf, LimitView};
use crate::state::State;
use crate::time::Timestamp;

/// A live job as it stands in memory. It may show what is not yet durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// Its queue.
    pub queue: Name,
    /// Its kind.
    pub kind: Name,
    /// Its state.
    pub state: State,
    /// How urgent it is.
    pub priority: Priority,
    /// Attempts started so far, the running one included.
    pub attempts: u32,
    /// Failures that count for its retry policy.
    pub failures: u32,
    /// Attempts whose process died, since the last that ended.
    pub lost: u32,
    /// When it was accepted.
    pub created: Timestamp,
    /// Until when it is delayed.
    pub due: Option<Timestamp>,
    /// From when on it is no longer started.
    pub expires: Option<Timestamp>,
    /// From when on no attempt of it goes on.
    pub deadline: Option<Timestamp>,
    /// When its running attempt started.
    pub started: Option<Timestamp>,
    /// Someone cancelled it while it ran.
    pub cancel_requested: bool,
    /// Why it is not running, or that it is.
    pub why: Why,
}

/// A part of a list of live jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The jobs, and what the filter says of each.
    pub jobs: Vec<(JobView, IsMeant)>,
    /// The term of the core that gave it: places mean nothing to another one.
    pub term: u64,
    /// Where to go on, if there may be more.
    pub next: Option<u32>,
}

/// What a filter says of a live job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsMeant {
    /// It is meant, by all that memory knows: an error stands in the journal.
    Yes,
    /// It is, if its labels are: they are with its body, which is on disk only, and written by the time that this leaves.
    ByLabels,
}

/// Why a live job is not running. Displayed, it is a sentence about the job, with all names and numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is running.
    Running {
        /// Its time is over, and its code has not ended.
        overdue: bool,
    },
    /// Another job has the key that it came with.
    Key {
        /// That job.
        holder: JobId,
    },
    /// Steps of its flow have to end before it.
    Steps {
        /// The first few of them.
        open: Vec<Arc<str>>,
        /// How many there are.
        count: u32,
    },
    /// It waits for a signal to its flow.
    Signal {
        /// The step's name, which is the signal's.
        step: Arc<str>,
    },
    /// It is a batch, and jobs of it have not ended, or more may come.
    Batch {
        /// Those that have not ended.
        open: u32,
        /// All that ever came.
        jobs: u32,
    },
    /// Its time has not come.
    Delayed,
    /// No handler for its kind, in this build.
    NoHandler,
    /// Its queue is not configured in this build.
    NoQueue,
    /// Its queue is paused.
    Paused,
    /// The engine hands out nothing any more.
    Stopping,
    /// It was lost twice or more, and as many such jobs as may already run.
    Suspect {
        /// How many may run at once.
        suspects_max: u32,
    },
    /// As many attempts of its kind as may run do.
    KindInUse {
        /// Attempts of the kind that run, in all queues.
        running: u32,
        /// How many may.
        slots: u32,
    },
    /// As many attempts run as a limit allows: of its key, or of all in the queues that share one.
    LimitInUse {
        /// Which limit.
        of: LimitOf,
        /// Attempts that run under it.
        running: u32,
        /// How many may.
        slots: u32,
    },
    /// As many were started as a rate allows, of its queue, its key, or what they share: the next one goes after a time.
    Rate {
        /// Which limit's.
        of: LimitOf,
        /// Starts in one period.
        jobs: u32,
        /// The period in milliseconds.
        period_ms: u64,
        /// Until the next start, in milliseconds.
        next_ms: u64,
    },
    /// Most of the last attempts failed, of its queue, its key, or what they share: a breaker is open, or lets others try.
    Breaker {
        /// Which limit's.
        of: LimitOf,
        /// Until it lets some try, in milliseconds; `None`: as many as may try do.
        left_ms: Option<u64>,
    },
    /// It has failed before, and retries have had their share of the starts: others go first.
    RetryBudget {
        /// Retries among a hundred starts.
        percent: u8,
    },
    /// All slots are taken, or others go first: they are more urgent, or earlier, or it is the turn of their key or queue.
    InLine {
        /// Jobs of its queue that run.
        running: u64,
        /// Attempts that may run at once.
        slots: u32,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running { overdue: false } => f.write_str("it is running"),
            Self::Running { overdue: true } => {
                f.write_str("it is running, though its time is over: its code has not ended")
            }
            Self::Key { holder } => write!(f, "job {holder} has the key that it came with"),
            Self::Steps { open, count } => {
                let more = (*count as usize).saturating_sub(open.len());
                write!(f, "it needs step{} `{}`", s(*count), open.join("`, `"))?;
                if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
            }
            Self::Signal { step } => write!(f, "it waits for the signal `{step}`"),
            Self::Batch { open: 0, jobs } => write!(f, "its {jobs} jobs have ended, and somebody has to close it"),
            Self::Batch { open, jobs } => write!(f, "{open} of its {jobs} jobs have not ended"),
            Self::Delayed => f.write_str("its time has not come"),
            Self::NoHandler => f.write_str("this build has no handler for its kind"),
            Self::NoQueue => f.write_str("its queue is not configured in this build"),
            Self::Paused => f.write_str("its queue is paused"),
            Self::Stopping => f.write_str("the engine is stopping, and hands out nothing any more"),
            Self::Suspect { suspects_max } => {
                write!(f, "it was lost twice or more, and as many such jobs as may run at once do: {suspects_max}")
            }
            Self::KindInUse { running, slots } => {
                write!(f, "its kind is at its limit: {}", InUse(u64::from(*running), *slots))
            }
            Self::LimitInUse { of, running, slots } => {
                write!(f, "{of} is at its limit: {}", InUse(u64::from(*running), *slots))
            }
            Self::Rate { of, jobs, period_ms, next_ms } => {
                let (period, next) = (Duration::from_millis(*period_ms), Duration::from_millis(*next_ms));
                write!(
                    f,
                    "{of} has used up its rate, {jobs} start{} in {period:?}: the next one goes in {next:?}",
                    s(*jobs)
                )
            }
            Self::Breaker { of, left_ms: Some(left_ms) } => {
                let left = Duration::from_millis(*left_ms);
                write!(
                    f,
                    "most of the last attempts of {of} failed: its breaker is open, and lets some try in {left:?}"
                )
            }
            Self::Breaker { of, left_ms: None } => {
                write!(f, "most of the last attempts of {of} failed: its breaker lets some try, and as many as may do")
            }
            Self::RetryBudget { percent } => {
                write!(
                    f,
                    "it has failed before, and retries have had their share, {percent} of 100 starts: others go first"
                )
            }
            Self::InLine { running, slots } if *running < u64::from(*slots) => {
                write!(f, "others go first, though its queue has a slot: {}", InUse(*running, *slots))
            }
            Self::InLine { running, slots } => write!(f, "its queue has no slot left: {}", InUse(*running, *slots)),
        }
    }
}

/// Attempts that run, and how many may.
struct InUse(u64, u32);

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(1, slots) => write!(f, "1 attempt runs, and {slots} may"),
            Self(running, slots) => write!(f, "{running} attempts run, and {slots} may"),
        }
    }
}

const fn s(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The numbers of one queue, kept as counters and not counted when asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// Its name.
    pub queue: Name,
    /// Jobs that wait for others to let go of their keys.
    pub waiting: u64,
    /// Jobs that wait for their time.
    pub delayed: u64,
    /// Jobs that wait for a worker.
    pub ready: u64,
    /// Jobs that run.
    pub running: u64,
    /// Jobs that wait for a build with their handler or queue.
    pub parked: u64,
    /// Retained successes.
    pub done: u64,
    /// Retained dead letters.
    pub dead: u64,
    /// Retained cancelled jobs.
    pub cancelled: u64,
    /// Retained expired jobs.
    pub expired: u64,
    /// For how long the oldest ready job has been ready, in milliseconds, of the jobs that are next at their priority.
    /// Starts anew with the process.
    pub oldest_ready_ms: Option<u64>,
    /// How long a ready job may wait, in milliseconds, as the queue promises.
    pub start_within_ms: Option<u64>,
    /// Whether a ready job has waited longer than that, a paused queue's as well: whoever waits does not care why.
    pub is_late: bool,
    /// Throughput: jobs that succeeded in the last 60 seconds, by the monotonic clock. Starts anew with the process.
    pub done_last_minute: u64,
    /// Attempts that failed in the last 60 seconds, by the monotonic clock. Starts anew with the process.
    pub failed_last_minute: u64,
    /// Whether it is paused.
    pub paused: bool,
    /// Where its breaker stands, if it has one.
    pub circuit: Option<Circuit>,
    /// Attempts that may run at once.
    pub slots: u32,
    /// Jobs that may wait.
    pub depth_max: u64,
    /// Callers that wait for room.
    pub waiting_callers: usize,
    /// Everything that was ever counted.
    pub totals: Counters,
}

impl QueueStats {
    /// Jobs that have not ended, in whatever state.
    #[must_use]
    pub const fn live(&self) -> u64 {
        self.waiting + self.delayed + self.ready + self.running + self.parked
    }
}

/// What a shard's memory is used for. From counters: its cost does not grow with the jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Bytes that all of it may take, but for the paged-out bodies, which are on disk.
    pub bytes_max: u64,
    /// Live jobs.
    pub jobs: u64,
    /// Bytes of their heads, with timers and the index of all ids.
    pub heads_bytes: u64,
    /// Retained jobs.
    pub retained: u64,
    /// Bytes of their stubs.
    pub stubs_bytes: u64,
    /// Bytes of what queues at level `Memory` keep beside live jobs: payloads, outputs and errors of retained ones, and
    /// checkpoints.
    pub volatile_bytes: u64,
    /// Bodies (payload and labels) of live jobs that are in memory.
    pub bodies: u64,
    /// Bytes of those, with what holding them takes.
    pub bodies_bytes: u64,
    /// Live jobs whose bodies are on disk only.
    pub paged_out: u64,
    /// Bytes of those bodies.
    pub paged_out_bytes: u64,
}

impl MemoryUse {
    /// Bytes of all that is in memory.
    #[must_use]
    pub const fn used_bytes(&self) -> u64 {
        self.heads_bytes + self.stubs_bytes + self.volatile_bytes + self.bodies_bytes
    }
}

/// The numbers of a shard at one moment. From counters, but for its queues and limits, over which it walks: its cost does
/// not grow with the jobs, nor with the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measures {
    /// Of all queues, those that only an earlier build had among them.
    pub queues: Vec<QueueStats>,
    /// What the memory is used for.
    pub memory: MemoryUse,
    /// Limits of queues that have a rate or a breaker, and shared ones; of no key.
    pub limits: Vec<LimitView>,
    /// Acknowledgements refused since the load because their token was not current.
    pub stale_acks: u64,
    /// Flows that have not ended, and that nobody has to do anything for.
    pub flows_open: u64,
    /// Flows with a step that failed and that others hold for: these are counted one by one.
    pub flows_held: u64,
    /// Flows that have, and are remembered.
    pub flows_ended: u64,
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use uuid::Uuid;

    use super::*;

    fn reads(why: &Why, sentence: &str) {
        assert_eq!(why.to_string(), sentence);
    }

    #[test]
    fn one_that_runs_says_whether_its_time_is_over() {
        reads(&Why::Running { overdue: false }, "it is running");
        reads(&Why::Running { overdue: true }, "it is running, though its time is over: its code has not ended");
    }

    #[test]
    fn who_has_the_key_is_named() {
        let holder = JobId(Uuid::from_u128(7));
        let open = ["load", "clean"].map(Into::into).to_vec();
        reads(&Why::Steps { open: open[..1].to_vec(), count: 1 }, "it needs step `load`");
        reads(&Why::Steps { open, count: 9 }, "it needs steps `load`, `clean` and 7 more");
        reads(&Why::Signal { step: "paid".into() }, "it waits for the signal `paid`");
        reads(&Why::Key { holder }, "job 00000000-0000-0000-0000-000000000007 has the key that it came with");
    }

    #[test]
    fn what_has_no_number_is_said_in_words() {
        reads(&Why::Delayed, "its time has not come");
        reads(&Why::NoHandler, "this build has no handler for its kind");
        reads(&Why::NoQueue, "its queue is not configured in this build");
        reads(&Why::Paused, "its queue is paused");
        reads(&Why::Stopping, "the engine is stopping, and hands out nothing any more");
    }

    #[test]
    fn a_suspect_says_how_many_may_run() {
        let sentence = "it was lost twice or more, and as many such jobs as may run at once do: 1";
        reads(&Why::Suspect { suspects_max: 1 }, sentence);
    }

    #[test]
    fn a_limit_is_named_with_what_runs_and_what_may() {
        reads(&Why::KindInUse { running: 2, slots: 2 }, "its kind is at its limit: 2 attempts run, and 2 may");
        let one = Why::LimitInUse { of: LimitOf::key("imports", "ada"), running: 1, slots: 1 };
        reads(&one, "key `ada` of queue `imports` is at its limit: 1 attempt runs, and 1 may");
        let none = Why::LimitInUse { of: LimitOf::shared("api"), running: 0, slots: 0 };
        reads(&none, "shared limit `api` is at its limit: 0 attempts run, and 0 may");
    }

    #[test]
    fn a_rate_is_named_with_when_it_goes_on() {
        let rate = |jobs, period_ms, next_ms| Why::Rate { of: LimitOf::queue("mail"), jobs, period_ms, next_ms };
        let many = "queue `mail` has used up its rate, 50 starts in 1s: the next one goes in 20ms";
        reads(&rate(50, 1_000, 20), many);
        let one = "queue `mail` has used up its rate, 1 start in 3600s: the next one goes in 1.5s";
        reads(&rate(1, 3_600_000, 1_500), one);
    }

    #[test]
    fn a_breaker_is_named_with_when_some_may_try() {
        let breaker = |left_ms| Why::Breaker { of: LimitOf::queue("mail"), left_ms };
        let failed = "most of the last attempts of queue `mail` failed: its breaker";
        reads(&breaker(Some(10_000)), &(failed.to_string() + " is open, and lets some try in 10s"));
        reads(&breaker(None), &(failed.to_string() + " lets some try, and as many as may do"));
    }

    #[test]
    fn a_retry_says_what_share_there_is() {
        let sentence = "it has failed before, and retries have had their share, 20 of 100 starts: others go first";
        reads(&Why::RetryBudget { percent: 20 }, sentence);
    }

    #[test]
    fn one_in_line_says_whether_there_are_slots() {
        let full = "its queue has no slot left: 4 attempts run, and 4 may";
        reads(&Why::InLine { running: 4, slots: 4 }, full);
        let free = "others go first, though its queue has a slot: 1 attempt runs, and 4 may";
        reads(&Why::InLine { running: 1, slots: 4 }, free);
    }
}
