//! The guide: one page for each thing that a user of the engine has to decide or to know.
//!
//! Owns pages, which stand in `engine/docs`, and no code: their examples are tests.
//!
//! | page | answers |
//! |---|---|
//! | [`getting_started`] | from an empty crate to a job that survives `kill -9`; the words, if you come from elsewhere |
//! | [`workloads`] | a queue for each workload, in code and in TOML; kinds, promises, priorities, concurrency |
//! | [`retries`] | policies, a kind's own rule, what counts as a failure; dead letters |
//! | [`recurring`] | cron and intervals, downtime, overlaps, changes of clocks; schedules at run time |
//! | [`unique`] | one job a key; debounce, throttle, calls that may be repeated |
//! | [`flow_control`] | rates, limits of each key, fair turns, limits that queues share; why a job does not run |
//! | [`flows`] | jobs that need one another: chains, joins, graphs; what if one fails; signals and timers |
//! | [`durability`] | what `Ok` is worth, unknown outcomes, why a handler may run twice, checkpoints, backups |
//! | [`around_attempts`] | cancellation, progress, logs, middleware, layers of tower, hooks |
//! | [`deploying`] | signals and drains, one directory with one owner, blocking handlers, two runtimes |
//! | [`evolving`] | payloads, kinds and queues that change while jobs wait; rolling back |
//! | [`operating`] | health, numbers, lists, verbs, a full disk, quarantine, log lines |
//! | [`metrics`] | every number that is told, where it goes, and when to wake somebody |
//! | [`events`] | what happens, as it happens: subscriptions, filters, gaps, going on after a break |
//! | [`testing`] | retries as properties, handlers by hand, what is enqueued, crashes; all on a paused clock |
//! | [`limits`] | every limit, its default, and what is refused beyond it |

#[doc = include_str!("../docs/around-attempts.md")]
pub mod around_attempts {}
#[doc = include_str!("../docs/deploying.md")]
pub mod deploying {}
#[doc = include_str!("../docs/durability.md")]
pub mod durability {}
#[doc = include_str!("../docs/events.md")]
pub mod events {}
#[doc = include_str!("../docs/evolving.md")]
pub mod evolving {}
#[doc = include_str!("../docs/flow-control.md")]
pub mod flow_control {}
#[doc = include_str!("../docs/flows.md")]
pub mod flows {}
#[doc = include_str!("../docs/getting-started.md")]
pub mod getting_started {}
#[doc = include_str!("../docs/limits.md")]
pub mod limits {}
#[doc = include_str!("../docs/metrics.md")]
pub mod metrics {}
#[doc = include_str!("../docs/operating.md")]
pub mod operating {}
#[doc = include_str!("../docs/recurring.md")]
pub mod recurring {}
#[doc = include_str!("../docs/retries.md")]
pub mod retries {}
#[cfg_attr(feature = "testing", doc = include_str!("../docs/testing.md"))]
#[cfg_attr(
    not(feature = "testing"),
    doc = "How to test jobs: shown with the feature `testing`, whose examples it is about."
)]
pub mod testing {}
#[doc = include_str!("../docs/unique.md")]
pub mod unique {}
#[doc = include_str!("../docs/workloads.md")]
pub mod workloads {}
