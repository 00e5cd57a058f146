//! The kit with which a service tests what it does with jobs; behind the feature `testing`.
//!
//! Nothing here is a model of the engine beside it. [`timeline()`] asks the code that engines ask; the rest is a real engine, or
//! a real handler with a context that is made by hand.
//!
//! | question | with |
//! |---|---|
//! | when does a job run again, and when is it given up? | [`timeline()`], [`timeline_of`], [`laws`] |
//! | what becomes of a whole service in thirty days, with crashes and failures? | [`Simulation`], [`History`] |
//! | whatever happens to it? | [`check`], [`strategies`] for `proptest` |
//!
//! ```
//! use windlass::testing::{check, laws, timeline};
//! use windlass::{HOUR, RetryPolicy, SEC};
//!
//! # fn main() -> Result<(), laws::Broken> {
//! let webhooks = RetryPolicy::exponential(SEC * 10).cap(HOUR).attempts(16);
//! laws::all(&webhooks)?;
//! laws::outlasts(&webhooks, HOUR * 4)?; // a subscriber that is down for four hours misses nothing
//! laws::gives_up_within(&webhooks, HOUR * 24)?;
//! check(&webhooks, |life| life.failures() <= 16); // whatever its attempts do
//! println!("{}", timeline(&webhooks, 16)); // a table
//! # Ok(())
//! # }
//! ```

mod check;
mod context;
mod drain;
mod enqueued;
mod history;
mod inline;
pub mod laws;
mod retries;
mod script;
mod seed;
mod simulation;
mod stand_in;
pub mod strategies;
mod timeline;
mod words;

pub use check::{Holds, check, check_with};
pub use context::{Stopper, TestContext};
pub use drain::{Drain, DrainError, Drained, drain};
pub use enqueued::{EnqueuedJob, Expected, JOBS_MAX, Source, Unexpected};
pub use history::{AttemptStory, History, JobStory, Unlawful, dump};
pub use inline::{Run, run, run_blocking};
pub use retries::{End, Retries};
pub use script::{Play, Script};
pub(crate) use simulation::Recorder;
pub use simulation::{Faults, Life, Simulation};
pub(crate) use stand_in::{Settled, StandIn};
pub use timeline::{ATTEMPTS_MAX, AttemptAt, Timeline, timeline, timeline_of};
pub use windlass_scheduler::history::{Answer, Event, Finish, Law, Seen, Violation, What};

#[doc(inline)]
pub use crate::{assert_enqueued, refute_enqueued};
