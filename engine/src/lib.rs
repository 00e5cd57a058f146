//! Windlass: a background-job engine that a Rust service embeds.
//!
//! Priority queues live in memory, the truth lives in a write-ahead log, the parts are actors. No server to run, and nothing
//! lost when the process is killed: `enqueue(..).await` is `Ok` when the job has reached its queue's durability, and from
//! then on it runs until it succeeds, is dead-lettered, is cancelled or expires.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use windlass::{Context, Engine, Job, JobError, MIN, MemoryJournal, Priority, QueueConfig, RetryPolicy, SEC};
//!
//! #[derive(Serialize, Deserialize)]
//! struct VerifyEmail { to: String, code: String }
//! impl Job for VerifyEmail {
//!     const KIND: &'static str = "verify-email";
//!     const QUEUE: &'static str = "critical";
//!     type Output = ();
//! }
//!
//! async fn verify_email(job: VerifyEmail, cx: Context<()>) -> Result<(), JobError> {
//!     println!("mail to {} with code {} (attempt {})", job.to, job.code, cx.attempt());
//!     Ok(()) // any error is retried; JobError::permanent(..) is not
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::builder()
//!     .journal(MemoryJournal::new()) // or RocksJournal::at("./data")
//!     .queue(QueueConfig::new("critical").concurrency(16).retry(RetryPolicy::exponential(SEC * 2).cap(MIN * 10).attempts(8)))
//!     .handler(verify_email)
//!     .start().await?;
//!
//! let mail = VerifyEmail { to: "ada@example.org".into(), code: "1815".into() };
//! let job = engine.enqueue(mail).priority(Priority::URGENT).expires_in(MIN * 15).await?; // stored, here
//! job.wait().await?;
//! engine.shutdown(SEC * 30).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! Jobs run *at least once*, and at most one live attempt at a time; make handlers idempotent. A start is journaled before
//! the handler runs, so that an attempt which kills the process is known and counted as lost. Done is one commit:
//! acknowledgement, output and follow-up jobs are written together or not at all.
//!
//! | durability | `Ok` means | process killed | power lost |
//! |---|---|---|---|
//! | [`Durability::Memory`] | in RAM | lost | lost |
//! | [`Durability::Process`] | written | kept | at most about the last second lost |
//! | [`Durability::Durable`] (default) | synced, shared by group commit | kept | kept |
//!
//! # Configuration
//!
//! In code as above, or from TOML and JSON, or both: see [`config`].
//!
//! # The guide
//!
//! [`guide`] has a page for each thing that you have to decide or to know: [getting started](guide::getting_started),
//! [workloads](guide::workloads), [retries and dead letters](guide::retries),
//! [recurring jobs](guide::recurring), [unique jobs](guide::unique), [flows](guide::flows), [durability](guide::durability),
//! [around attempts](guide::around_attempts), [deploying](guide::deploying), [evolving jobs](guide::evolving),
//! [operating](guide::operating), [metrics](guide::metrics), [events](guide::events), [testing](guide::testing), [limits](guide::limits).
//!
//! # Where it runs
//!
//! The engine's parts have a thread of their own, and so does the journal. Handlers run on the tokio runtime that called
//! `start()`; blocking ones on threads of their own. A handler that blocks its runtime cannot stop the engine.
//!
//! This crate MOVES: async, clocks and threads live only here. What happens is decided by `windlass-scheduler`, and
//! remembered by `windlass-storage`.

mod actors;
mod admin;
mod attempt;
mod backup;
mod blocking;
mod builder;
mod calendar;
mod checkpoint;
mod clock;
pub mod config;
mod context;
mod door;
mod engine;
pub mod error;
mod events;
mod fetch;
mod filter;
mod flow;
pub mod guide;
mod handle;
mod handler;
mod health;
mod hooks;
mod job;
mod live;
mod logs;
mod memory;
mod messages;
pub mod middleware;
mod patience;
mod range;
mod schedule;
pub mod serde_id;
#[cfg(feature = "signal")]
mod signal;
mod spread;
mod status;
mod step;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;
mod times;
mod trace;
mod unique;
mod witness;
mod writer;

pub use admin::{List, OrderDraft, OrderStatus, Override};
pub use builder::EngineBuilder;
pub use checkpoint::CheckpointError;
pub use clock::{Clock, ManualClock, SystemClock};
pub use config::{
    CircuitBreaker, ConfigPlace, EngineConfig, HOUR, KindConfig, Limit, MIN, QueueConfig, RateLimit, Retention,
    RetryDecision, RetryPolicy, SEC, SharedLimit,
};
pub use context::Context;
pub use engine::Engine;
pub use error::{
    BackupError, ConfigError, ControlError, EnqueueError, FlowError, FlowWaitError, InputError, JobError, OutOfRange,
    ScheduleError, ShutdownError, StartError, WaitError,
};
#[cfg(feature = "config-file")]
pub use error::{ConfigFileError, ConfigProblem};
pub use events::{Event, EventFilter, EventKind, EventNo, Events, Gap, NoEventNo, What};
pub use filter::{Cursor, Filter, NoCursor};
pub use flow::{
    Batch, BatchFailure, BatchHandle, BatchReport, CriticalStep, Flow, FlowGraph, FlowHandle, FlowStatus, FlowStep,
    FlowSummary, GoOn, Hold, Needs, StepDraft, StepRef, StepStatus,
};
pub use handle::JobHandle;
pub use health::{Health, HealthState, HealthWarning};
pub use hooks::{DeadEvent, RetryEvent};
pub use job::{Draft, Enqueue, Job, new_job_id};
#[cfg(feature = "logs")]
pub use logs::AttemptLogLayer;
pub use memory::Memory;
pub use middleware::{Attempt, AttemptOutcome, Middleware};
pub use schedule::{Fire, Schedule, ScheduleRule, ScheduleStatus};
#[cfg(feature = "signal")]
pub use signal::{SignalStop, StopSignal, StopSignals, stop_signal};
pub use spread::Spread;
pub use status::{AttemptEnd, JobDetail, JobPage, JobStatus, PartOfFlow, ScheduledFor};
pub use times::{AttemptTimes, JournalStats};
pub use trace::{Propagation, TraceContext};
pub use unique::{Unique, UniqueScope};
pub use windlass_scheduler::attempt::{AttemptLog, AttemptResult, Failure, FailureKind, LogLevel, LogLine};
pub use windlass_scheduler::breaker::Circuit;
pub use windlass_scheduler::change::Counters;
pub use windlass_scheduler::effect::Receipt;
pub use windlass_scheduler::flow::{FlowId, FlowState, IfFailed, StepState, Work};
pub use windlass_scheduler::job::{JobId, Name, Priority, When};
pub use windlass_scheduler::lease::StopReason;
pub use windlass_scheduler::limit::{LimitOf, LimitView, Override as LimitValues};
pub use windlass_scheduler::order::{OrderEnd, OrderId};
pub use windlass_scheduler::rate::Rate;
pub use windlass_scheduler::recurrence::{CatchUp, Overlap};
pub use windlass_scheduler::refusal::Refusal;
pub use windlass_scheduler::settings::{KeepDone, Level as Durability};
pub use windlass_scheduler::state::State as JobState;
pub use windlass_scheduler::time::Timestamp;
pub use windlass_scheduler::verb::Verb;
pub use windlass_scheduler::view::{QueueStats, Why};
#[cfg(feature = "rocksdb")]
pub use windlass_storage::RocksJournal;
pub use windlass_storage::{self as storage, BackupReport, MemoryJournal};

/// The README's examples are tests, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
