//! The deciding core of Windlass: what happens to a job, and in which order.
//!
//! This crate DECIDES. It owns the life cycle, the order, the retries, the leases and the counters of a *shard*: all
//! queues of an engine. It has no clock, no thread, no disk and no dice: time and everything else enters as an
//! argument, so that any behaviour can be replayed, ours and a user's. `no_std` is the wall that keeps it so. (An actor
//! of the engine is called scheduler, too: that one only sleeps until the instant that this crate names.)
//!
//! ```text
//!              enqueue                      fell due
//!    ------------------------> DELAYED -----------------+
//!       | (delay)                 ^                     |
//!       |                         | retry, snooze       v          claim
//!       +--------------------------------------------> READY ------------------> RUNNING
//!       | (no handler here)       |                     ^  released, lost           |
//!       +--> PARKED               +---------------------+---------------------------+
//!                                                       | requeue                   | ok: DONE
//!    DELAYED, READY, PARKED: cancelled, expired         +---------- DEAD <----------+ gave up
//!    (both can be requeued like DEAD)                                                | called off: CANCELLED
//! ```
//!
//! # The loop of a driver
//!
//! 1. [`Shard::new`](shard::Shard::new), [`admit`](shard::Shard::admit) every record of the journal, then
//!    [`Command::LoadEnd`](command::Command::LoadEnd).
//! 2. [`handle`](shard::Shard::handle) commands as they come; each is one *step*.
//! 3. [`seal`](shard::Shard::seal) when none waits: the steps since the last seal are a *wave*. Put its volatile
//!    changes into the twin, and hand the wave to whoever writes the journal.
//! 4. Report progress with [`written`](shard::Shard::written) and [`synced`](shard::Shard::synced), and do every
//!    [`poll_effect`](shard::Shard::poll_effect) after that. No effect leaves before its step is safe enough.
//!
//! # Invariants
//!
//! - I1 State changes only in `apply`, which cannot fail; loading takes the same road.
//! - I2 No effect leaves before the step that it depends on has reached its mark.
//! - I3 A job is in exactly one place; live counters equal a recount.
//! - I4 Lease tokens rise; one live lease a job; any other token changes nothing.
//! - I5 Time is an argument, and it is the current time, not the deadline that fired.
//! - I11 Enqueued + moved in = live + retained + purged + quarantined + moved out, by queue; in total the moves cancel out.
//! - I12 A key has one job: it is taken in the commit that accepts the job, and given back in the one that ends it.
//! - I13 No limit is exceeded by a start, of a queue, a kind, a key, or what queues share; and nothing that may go waits behind what may
//!   not.
//! - I14 Of the keys of one queue and priority that may go, none starts more jobs than its turn has before another one's turn.
//! - I15 What fails rests: nothing starts under an open breaker; and retries beyond their share go after what has not failed.
//! - I16 A flow goes on, or says what holds it: a step begins once all its needs are met and not before, in the commit that meets the last
//!   one.
#![no_std]
// Counts and places are far below the widths they are cast to; each cast stands where that is plain.
#![allow(clippy::cast_possible_truncation)]

extern crate alloc;

pub mod attempt;
pub mod batch;
pub mod breaker;
#[cfg(windlass_bugs)]
#[doc(hidden)]
pub mod bugs;
pub mod change;
pub mod command;
pub mod effect;
mod event;
pub mod filter;
pub mod flow;
pub mod history;
pub mod job;
pub mod lease;
pub mod limit;
pub mod news;
pub mod order;
pub mod rate;
pub mod recurrence;
pub mod refusal;
pub mod retry;
pub mod settings;
pub mod shard;
pub mod state;
pub mod time;
pub mod unique;
pub mod verb;
pub mod view;

/// Whether this bug of the bank is on: never, but in the build of `make bugs` (see `bugs.rs`).
#[cfg(not(windlass_bugs))]
#[doc(hidden)]
#[macro_export]
macro_rules! bug {
    ($bug:ident) => {
        false
    };
}

/// Whether this bug of the bank is on.
#[cfg(windlass_bugs)]
#[doc(hidden)]
#[macro_export]
macro_rules! bug {
    ($bug:ident) => {
        $crate::bugs::Bug::$bug.is_on()
    };
}
