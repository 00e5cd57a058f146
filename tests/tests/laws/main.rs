//! The style of the house as tests.
//!
//! A rule that only a reviewer enforces is a rule until the first busy week. Each module here holds one law: a scanner over
//! the sources, the test that applies it to the whole tree, and a test that shows it a small offence, because a law that
//! cannot be broken says nothing. A red law lists every place and what to do there; CONTRIBUTING.md gives the reasons.

mod bugs;
mod comments;
mod docs;
mod faults;
mod house;
mod imports;
mod invariants;
mod leaves;
mod limits;
mod manifests;
mod metrics;
mod offence;
mod packages;
mod public_api;
mod reach;
mod size;
mod sleep;
mod uses;
