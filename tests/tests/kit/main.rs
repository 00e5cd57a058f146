//! The kit that services test their jobs with, held against the engine itself.
// Helpers of tests are not tests to clippy.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod agreement;
mod draining;
mod enqueued;
mod inline;
mod laws;
