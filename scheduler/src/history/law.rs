//! The laws, each in one sentence, and what it looks like when one is broken.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::job::JobId;

macro_rules! laws {
    ($($(#[$doc:meta])* $law:ident = $says:literal,)+) => {
        /// What every history has to keep.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Law {
            $(#[doc = $says] $(#[$doc])* $law,)+
        }

        impl Law {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$law,)+];

            /// The law in one sentence.
            #[must_use]
            pub const fn says(self) -> &'static str {
                match self {
                    $(Self::$law => $says,)+
                }
            }
        }
    };
}

laws! {
    NothingLost = "A job that was accepted is in the store until it has ended and its queue does not keep it.",
    NothingInvented = "Only jobs that somebody handed in, and that were not refused, are in the store or run.",
    WholeOrNot = "The jobs of one call are there all or not at all.",
    NoHole = "After a loss of power what is left is a beginning of what was accepted, with no hole in it.",
    WindowKept = "A loss of power takes nothing that was accepted longer ago than the queue's level says.",
    OnePlace = "A job is in one place: live or ended, and once.",
    Conservation = "What came into a queue is in it, or was counted as it left.",
    CountersCount = "Counters are the counts of what happened, and memory counts what the store holds.",
    SameAgain = "Looked at again, with no process at it meanwhile, a store holds the same.",
    OneLiveAttempt = "No job has two attempts whose code runs.",
    AttemptsInOrder = "Attempts of a job are numbered from 1, each number once, and only a dead process leaves a gap.",
    ClaimedFirst = "An attempt is in the store before its handler runs.",
    EndsAreTold = "An end, and a failure, stands in the store only if the attempt's code had it.",
    EndIsFinal = "A job that has ended stays as it ended, and does not run, unless it is requeued.",
    RetriesBounded = "No attempt follows the failure that was one too many.",
    NotEarly = "No attempt starts before its job is due, nor a retry before its delay is over.",
    NotLate = "No attempt starts after its job has expired.",
    InOrder = "The most urgent ready job of a limit key goes first, and of these the oldest.",
    OneAKey = "Of the jobs that have one key until they end, one runs at a time.",
    SlotsKept = "No queue runs more attempts than it has slots.",
    RateKept = "In no time more attempts start than a rate allows: of a queue, of a key, or of what queues share.",
    LimitKept = "No more attempts run at a time than a limit allows: of a key, or of what queues share.",
    PausedRestsStill = "A paused queue starts nothing.",
    CancelSticks = "A job that was cancelled never starts, and one that was running ends as done or cancelled.",
    SamePayload = "A handler gets, and the store keeps, the bytes that were handed in.",
    LeaseOnly = "Only the attempt that holds the lease acts for its job.",
    StepInTurn = "A step of a flow starts only once all that it needs has ended as it has to.",
    FlowAsItsSteps = "A flow is done, failed or called off as its steps are, and they are what their attempts were.",
    FlowsEnd = "With nothing else under way, a flow has ended, or somebody has to do or say something.",
    DoneIsOneCommit = "Follow-ups are there if, and only if, their parent is done.",
    CommitsRise = "Commit numbers rise, over all terms, and none is used twice.",
    SyncedIsRecovered = "What was synced is found again.",
    NoOkAfterBreak = "After a failed call of the store nothing is accepted until it has been opened anew.",
    MemoryBounded = "The engine holds no more memory than it was allowed.",
    EveryJobEnds = "With the faults gone, every job that can run ends.",
    NoSlotStuck = "With the faults gone, every slot becomes free.",
    TimeoutKept = "An attempt ends within its time and its grace.",
    ShutdownInTime = "A shutdown ends within its time.",
    OpensInTime = "With the fault gone, the engine opens within its time.",
}

/// A law that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub law: Law,
    /// When it was noticed.
    pub at_ms: u64,
    /// By which job.
    pub id: Option<JobId>,
    /// What was seen, with the numbers.
    pub found: String,
    /// What is known of the job, in the order of time.
    pub life: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?} at {} ms: {}", self.law, self.at_ms, self.found)?;
        write!(f, "  the law: {}", self.law.says())?;
        if let Some(id) = self.id {
            write!(f, "\n  the job: {id}")?;
        }
        self.life.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}
