//! What happened, told from outside, and the laws that it has to keep.
//!
//! Owns the words of a history (every call and its answer, every start and end of a handler, deaths of the process, and what
//! the store holds) and one [`Checker`] that judges it, whoever tells it: the model, the simulation, killed processes, images
//! of a power cut, and a user's own tests. It knows nothing of how the engine decides, so that it cannot repeat its mistakes;
//! and it never guesses: a call without an answer may have been carried out or not, until the store is seen.
//!
//! Times are milliseconds of one clock that never goes back. Who has no clock says 0 throughout, and no law of time applies.

use alloc::vec::Vec;

use crate::attempt::{Outcome, Retry};
use crate::change::Counters;
use crate::flow::{FlowId, FlowState, Need, StepState, Work};
use crate::job::{JobId, Name, Priority};
use crate::limit::LimitOf;
use crate::rate::Rate;
use crate::settings::Level;
use crate::state::{EndState, State};

mod alone;
mod attempts;
mod bounds;
mod calls;
mod checker;
mod dump;
mod flows;
mod law;
mod line;
mod records;
mod story;

pub use checker::{Checker, Seen};
pub use law::{Law, Violation};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at_ms: u64,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// From here on a queue is to be judged so. Said before the first job of the queue, and again where it changes.
    Queue(Rules),
    /// A limit, as the configuration has it from now on.
    Limit(Bound),
    /// The jobs that the next call hands in are the steps of a flow.
    Flow(Graph),
    /// A call was made. Its number is used once.
    Called {
        /// Which call.
        call: u64,
        /// For what.
        what: Call,
    },
    /// It was answered. A call that dies with its process is not.
    Answered {
        /// Which call.
        call: u64,
        /// How.
        answer: Answer,
    },
    /// Another job has the key of one that was asked for, and stands for it. Said before the call is answered.
    StandsFor {
        /// The one that was asked for, and is none.
        id: JobId,
        /// The other one.
        other: JobId,
    },
    /// A handler was given a job.
    Started {
        /// Which.
        id: JobId,
        /// The attempt's number, from 1.
        attempt: u32,
        /// The [`fingerprint`] of the bytes that it was given.
        payload: u64,
    },
    /// The code of an attempt ended.
    Ended {
        /// Of which job.
        id: JobId,
        /// Of which attempt.
        attempt: u32,
        /// How.
        how: Finish,
    },
    /// The journal took a batch.
    Committed(Commit),
    /// Everything up to here is synced.
    Synced(Commit),
    /// A call of the journal failed, or nobody knows how it went.
    StoreBroke,
    /// The journal was opened, at first or again.
    StoreOpened {
        /// The term that begins.
        term: u64,
        /// The last commit that was found in it; nothing in a new one.
        recovered: Option<Commit>,
    },
    /// A process begins.
    Began,
    /// The process ended by itself: it was shut down.
    Stopped,
    /// The process died where it stood; what was written is there.
    Killed,
    /// The power failed: the process died, and what was not synced may be gone.
    PowerLost,
    /// What the engine's memory counts, with nothing under way.
    Counted(Vec<Count>),
    /// How the flows stand that are remembered, while nothing goes on: no job is about to run, or to be due.
    FlowsAtRest(Vec<FlowSeen>),
    /// What the store holds, with no process at it.
    Dump(Dump),
    /// Memory that the engine says it holds, and what it was allowed.
    Memory {
        /// Bytes held.
        used_bytes: u64,
        /// Bytes allowed.
        bytes_max: u64,
    },
    /// Faults are off and all time that was needed has passed: whatever can end has ended.
    Drained,
}

/// A limit beside the slots of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Of what. Told again, it is this from now on.
    pub of: LimitOf,
    /// The queues that it is over.
    pub queues: Vec<Name>,
    /// It is of the jobs of each limit key, and not of all together.
    pub is_of_keys: bool,
    /// Attempts that may run at once.
    pub slots: Option<u32>,
    /// Starts in a time.
    pub rate: Option<Rate>,
}

/// A flow that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// Its id.
    pub id: FlowId,
    /// The first failure calls everything off.
    pub fail_fast: bool,
    /// Its steps; each needs only earlier ones.
    pub steps: Vec<GraphStep>,
}

/// A step of a [`Graph`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphStep {
    /// Its job.
    pub job: JobId,
    /// Who does it.
    pub work: Work,
    /// What it needs.
    pub needs: Vec<Need>,
    /// The step that it undoes, if that succeeded and the flow did not.
    pub undoes: Option<u32>,
    /// The flow does not fail with it.
    pub is_optional: bool,
}

/// How a flow says that it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSeen {
    /// Which.
    pub id: FlowId,
    /// As a whole.
    pub state: FlowState,
    /// Each of its steps, with its job.
    pub steps: Vec<(JobId, StepState)>,
}

/// How a queue is to be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Its name.
    pub queue: Name,
    /// What an Ok of it means.
    pub level: Level,
    /// Attempts that may run at once.
    pub slots: u32,
    /// Failures after which a job is dead.
    pub failures_max: u32,
    /// No retry comes earlier than so long after its failure, in milliseconds.
    pub retry_ms_min: u64,
    /// So long after its start an attempt has ended at the latest, in milliseconds, grace and all.
    pub attempt_ms_max: Option<u64>,
    /// So long after it was handed out an attempt starts at the latest, in milliseconds; `None`: nobody knows, and a late start
    /// may be of a job that was handed out in time.
    pub start_ms_max: Option<u64>,
    /// What was accepted longer ago than this survives a loss of power at any level, in milliseconds.
    pub window_ms_max: Option<u64>,
    /// Of each way to end, by [`EndState::index`], whether all jobs that ended so are there for ever.
    pub keeps: [bool; 4],
    /// Whether the most urgent and then the oldest job goes first, of those with one limit key: not where kinds have slots of their own.
    pub is_in_order: bool,
}

/// A call of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// All of these are accepted, or none.
    Enqueue(Vec<Intent>),
    /// A running attempt adds these to its success.
    FollowUps {
        /// Whose success.
        parent: JobId,
        /// In which attempt: with any other that succeeds, they are not there.
        attempt: u32,
        /// What.
        jobs: Vec<Intent>,
    },
    /// A schedule has this job come in, and nobody waits for an answer.
    Tick(Intent),
    /// Calls a job off.
    Cancel(JobId),
    /// Brings an ended job back.
    Requeue(JobId),
    /// Forgets an ended job.
    Discard(JobId),
    /// Gives a job other bytes.
    Edit {
        /// Which.
        id: JobId,
        /// Their [`fingerprint`].
        payload: u64,
    },
    /// Anything else that an operator does to a job: where it is, when it is due, how urgent it is.
    Steer(JobId),
    /// A verb on all jobs that a filter means: any of them may be steered, called off or forgotten from now on.
    Order,
    /// Calls a flow off, skips a step of it, or has one run once more: any of its steps may be steered from now on.
    SteerFlow(FlowId),
    /// Brings a flow the signal that this step waits for.
    Signal(FlowId, u32),
    /// This queue hands out nothing.
    Pause(Name),
    /// It does again.
    Resume(Name),
    /// Until a job has ended.
    Wait(JobId),
    /// In which state a job is.
    Look(JobId),
    /// Something that only the holder of a live lease may do: extend it, leave a checkpoint, tell the end.
    UseLease {
        /// Of which job.
        id: JobId,
        /// By which attempt.
        attempt: u32,
    },
    /// Opens the engine.
    Open {
        /// So long it may take, in milliseconds.
        within_ms: u64,
    },
    /// Stops the engine.
    Shutdown {
        /// So long it may take, in milliseconds.
        within_ms: u64,
    },
}

/// A job that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its id.
    pub id: JobId,
    /// Where to.
    pub queue: Name,
    /// How urgent.
    pub priority: Priority,
    /// Not started before.
    pub due_ms: u64,
    /// Not started from then on.
    pub expires_ms: Option<u64>,
    /// Whether it has a deadline over all attempts: it may be dead before its failures are too many.
    pub has_deadline: bool,
    /// Its own bound on failures.
    pub failures_max: Option<u32>,
    /// The [`fingerprint`] of its bytes.
    pub payload: u64,
    /// The key under which it is to be alone.
    pub alone: Option<Alone>,
    /// The [`fingerprint`] of its limit key.
    pub limit_key: Option<u64>,
    /// How many starts each of its starts counts for in a rate.
    pub weight: u32,
    /// The own job of the batch that it is of.
    pub batch: Option<JobId>,
}

/// A key of uniqueness: jobs that have the same one may stand for one another, and get one another's bytes and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alone {
    /// The [`fingerprint`] of the key, and of whose it is.
    pub key: u64,
    /// Whether a job has it until it has ended.
    pub until_end: bool,
}

/// How a call was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Carried out, to the level of its queue.
    Ok,
    /// Not carried out.
    Refused,
    /// Nobody knows.
    Unknown,
    /// The job is in this state.
    Is(State),
    /// There is no such job, or none any more.
    Gone,
}

/// How the code of an attempt ended, as the code itself sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It succeeded.
    Ok,
    /// It failed, and wants to be tried again: after so many milliseconds, or as the policy says.
    Failed {
        /// Its own wish.
        after_ms: Option<u64>,
    },
    /// It failed for good.
    Permanent,
    /// It wants to run again after so many milliseconds, and that is no failure.
    Snoozed {
        /// When.
        after_ms: u64,
    },
    /// It called its job off.
    CalledOff,
    /// It gave its job back: the engine stops, or has lost what ran it.
    Released,
    /// It was dropped, by whomever; whether that is a failure is not for the code to say.
    Dropped,
}

impl From<&Outcome> for Finish {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done { .. } => Self::Ok,
            Outcome::Failed { retry: Retry::Never, .. } => Self::Permanent,
            Outcome::Failed { retry: Retry::After(after_ms), .. } => Self::Failed { after_ms: Some(*after_ms) },
            Outcome::Failed { retry: Retry::ByPolicy, .. } => Self::Failed { after_ms: None },
            Outcome::Snoozed { delay_ms } => Self::Snoozed { after_ms: *delay_ms },
            Outcome::Cancelled { .. } => Self::CalledOff,
            Outcome::Released => Self::Released,
        }
    }
}

/// A commit's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commit {
    /// The term.
    pub term: u64,
    /// The number in it.
    pub n: u64,
}

/// What memory counts of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The queue.
    pub queue: Name,
    /// Jobs that have not ended.
    pub live: u64,
    /// Jobs that are retained, by [`EndState::index`].
    pub ended: [u64; 4],
}

/// All that a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// The jobs, in any order.
    pub jobs: Vec<Kept>,
    /// The counters of every queue.
    pub counters: Vec<Counters>,
    /// Records that could not be read, and were set aside.
    pub quarantined: u64,
}

/// A job as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub id: JobId,
    /// Where.
    pub queue: Name,
    /// How it ended; `None`: it is live.
    pub ended: Option<EndState>,
    /// The last attempt that ended.
    pub attempts_ended: u32,
    /// An attempt that was handed out and has not ended.
    pub open: Option<u32>,
    /// Failures that count.
    pub failures: u32,
    /// Whether it is dead of something that no handler of its kind was asked for: bytes that it cannot read, a process that
    /// it killed.
    pub is_condemned: bool,
    /// The [`fingerprint`] of its bytes; `None`: not read.
    pub payload: Option<u64>,
}

impl Kept {
    /// The last attempt that was handed out.
    #[must_use]
    pub fn claimed(&self) -> u32 {
        self.open.map_or(self.attempts_ended, |open| open.max(self.attempts_ended))
    }
}

/// A hash that tells bytes apart that were mixed up (FNV-1a, 64 bits): no protection against malice.
#[must_use]
pub fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}
