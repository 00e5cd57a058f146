//! The cast: who starts whom, and who may speak to whom.
//!
//! The supervisor starts all others and speaks control only. Job data goes round one ring, in one direction: queue, writer,
//! queue, worker, queue. The scheduler stands beside it and only says that time has come. Nobody awaits anybody (I8).

pub(crate) mod queue;
pub(crate) mod scheduler;
pub(crate) mod supervisor;
pub(crate) mod worker;
