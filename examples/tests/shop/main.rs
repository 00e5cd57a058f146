//! The shop from outside: a real process, a real disk, HTTP in, SMTP out.
// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

mod dead;
mod kill;
mod photos;
mod recovery;
mod signup;
mod support;
mod webhooks;
