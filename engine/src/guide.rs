//! The guide: one page for each thing that a user of the engine has to decide or to know.
//!
//! Owns pages, which stand in `engine/docs`, and no code.

#[doc = include_str!("../docs/limits.md")]
pub mod limits {}
