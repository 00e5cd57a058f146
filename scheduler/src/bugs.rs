//! The bank of known bugs: mistakes that this code, or code like it, once had or easily could have.
//!
//! Owns the list, and which one is on. `make bugs` builds the house with `cfg(windlass_bugs)` and runs the suite against
//! each of them: all must be caught, or the suite is worth less than it says. Where each one bites stands one short
//! `bug!(Name)`, in the very line that it spoils. No other build has any of it: there, `bug!` is the word `false`.

use core::fmt;

/// Which bug is on: its name. Read once, when the first of them is asked for.
pub const VARIABLE: &str = "WINDLASS_BUG";

macro_rules! bank {
    ($($name:ident: $what:literal, $promise:literal;)+) => {
        /// A known bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $(#[doc = $what] $name,)+
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name, as the variable and the sources have it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What it does.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$name => $what,)+
                }
            }

            /// Which promise it breaks.
            #[must_use]
            pub const fn promise(self) -> &'static str {
                match self {
                    $(Self::$name => $promise,)+
                }
            }
        }
    };
}

bank! {
    // What leaves, and when.
    AckBeforeSync: "an Ok of a durable queue leaves when it is written, and not synced", "I2, durability";
    SyncSkipped: "the writer reports a sync that it never asked for", "I2, durability";
    LogNotSynced: "the log is handed to the system, and never to the disk", "durability";
    RunBeforeClaim: "an attempt starts before it is written, and counts only afterwards", "I2, at most one live attempt";
    ToldEarly: "an event is told before what it tells of is remembered", "I2";
    RefusalEarly: "a refusal that another job caused does not wait for that job's record", "I2";
    WriteErrorSwallowed: "a write that failed is reported as written", "I10, durability";
    OkAfterFailure: "after a failed write the writer goes on as if nothing were", "I10";
    // Keys.
    KeyLeaked: "a job that ends keeps its key, and nobody ever has it again", "I12, one commit";
    KeyUnchecked: "a job comes in whoever has its key", "I12";
    KeyUnwritten: "who has a key is not remembered", "I12, I1";
    BreakerIgnored: "an open breaker lets everything through", "I15";
    RetriesUnbounded: "retries take more than their share of the starts", "I15";
    KeyLimitIgnored: "attempts of a key do not count for its limit", "I13";
    TurnKept: "who has had a turn keeps its place", "I14";
    RateIgnored: "what a queue starts is not taken from its rate", "limits";
    // Flows.
    JoinEarly: "a step begins when all but one of those that it needs have ended", "I16";
    StepUnwritten: "how a step ended is not written", "I16, one commit";
    BatchUnwritten: "what a batch has counted is not written where a job of it ends", "I16, one commit";
    MemberTwice: "a job of a batch that comes back stays counted among the ended ones", "I16";
    // Attempts and leases.
    TokenUnchecked: "an end with a token that is not current ends some other attempt", "I4";
    StaleStart: "a start that a fallen core had ordered is carried out", "I4, one live attempt a job";
    ClaimUnwritten: "what is handed out is not written", "I1, lost attempts count";
    LostUncounted: "an attempt that died with its process is not counted as lost", "bounded crashes";
    StaleClaimOpen: "a load counts attempts that have ended as lost once more", "I1, LoadEnd is idempotent";
    AdoptionForgotten: "a rebuilt core does not know of the attempts that still run", "one live attempt a job";
    AttemptNumberReused: "an adopted attempt gives its number to the next one", "attempts are counted";
    EndForgottenEarly: "an end leaves the table of live attempts before it is written", "an outcome is applied";
    LeaseByWall: "the time of an attempt is taken from the wall clock", "I5";
    // Order and time.
    PriorityIgnored: "the line goes by arrival alone", "the order of priorities";
    ArrivalForgotten: "after a start, arrival numbers begin anew", "the order of arrival";
    DelayForgotten: "after a start, delayed jobs are due at once", "a delay is kept";
    DueOrderForgotten: "jobs that fell due while nobody was there lose their order", "the order of due times";
    RearmForgotten: "a new scheduler actor is not told of the timers", "I7";
    ExpiredRuns: "a job that is claimed after its expiry runs", "expiry";
    // Retries.
    RetryForever: "a job is tried again after its last attempt", "retries are bounded";
    BackoffUncapped: "the delay between retries grows beyond its cap", "retries are bounded";
    JitterUnbounded: "jitter takes the whole delay instead of its share", "the retry policy";
    SnoozeCounts: "an attempt that ends without a failure counts as one", "snoozes are free";
    // What is remembered.
    FollowUpsApart: "follow-ups are written before the success that they follow", "done is one commit";
    FollowUpsEarly: "what follows in memory runs before the journal has the success", "done is one commit";
    DeadLetterCopied: "a job that ends leaves its head among the living", "I1, I3";
    IndexNotDeleted: "a retained job that is purged or brought back stays in the list of ended ones", "I1, I3";
    RequeuedIsPurged: "a job that is brought back loses its record as if it were purged", "nothing disappears";
    PurgeUncounted: "a purged job is not counted", "I11";
    CountersUnwritten: "counters move in memory alone", "I11";
    StaleIdKept: "what the journal forgot too late outlives the job in memory that has its id", "I1, levels";
    LevelsMixedUp: "what is volatile goes to the journal", "levels";
    CursorApart: "a schedule fires, and how far it came is not written with the job", "one job an instant";
    InstantTwice: "an instant that had its job has it again when the clock goes back", "one job an instant";
    CancelForgotten: "that a running job was called off is not written", "a cancellation stands";
    OverrideForgotten: "that a limit is not as the code says is not written", "an operator's word stands";
    PauseForgotten: "that a queue is paused is not written", "a pause stands";
    // Bounds.
    DepthUnchecked: "a full queue takes more jobs", "I6";
    PermitLeaked: "a refused call keeps its permits", "I6, refusals cost nothing";
    FullDiskIgnored: "jobs are taken while the disk is nearly full", "I9";
    // The journal.
    TermNotRaised: "an opening goes on with the term before", "I4, fencing";
    ChecksumUnchecked: "a record whose checksum is wrong is believed", "damage is noticed";
    QuarantineDeletes: "a record that cannot be used is deleted instead of kept aside", "nothing disappears";
    WatermarkBeforeSync: "the watermark names what is written, and not what is synced", "a good log opens";
    PointInTimeRecovery: "a damaged log is cut there, with all that comes after", "damage is noticed";
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Only here does this crate know of an environment: tests run as many processes, and children inherit it.
#[cfg(windlass_bugs)]
mod switch {
    extern crate std;

    use std::sync::OnceLock;

    use super::{Bug, VARIABLE};

    static ON: OnceLock<Option<Bug>> = OnceLock::new();

    impl Bug {
        /// Whether this one is on.
        ///
        /// # Panics
        /// Where the variable names a bug that there is not: a run without a bug would look like one that nothing catches.
        #[must_use]
        pub fn is_on(self) -> bool {
            let named = |name: std::string::String| {
                let bug = Self::ALL.iter().copied().find(|bug| bug.name() == name);
                bug.unwrap_or_else(|| panic!("{VARIABLE} says {name:?}, and the bank has no such bug"))
            };
            let read = || std::env::var(VARIABLE).ok().filter(|name| !name.is_empty()).map(named);
            *ON.get_or_init(read) == Some(self)
        }
    }
}
