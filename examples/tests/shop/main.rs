//! The shop from outside: a real process, a real disk, HTTP in, SMTP out.
// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

mod console;
mod dead;
mod kill;
mod newsletters;
mod photos;
mod recovery;
mod reports;
mod signup;
mod support;
mod webhooks;
