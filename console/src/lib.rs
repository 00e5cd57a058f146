//! The console of Windlass: what operators see of an engine, and how they steer it.
//!
//! A service mounts it under any prefix, and says who may come in:
//!
//! ```no_run
//! use windlass_console::{Access, Console, Token};
//!
//! # fn mount(engine: windlass::Engine, routes: axum::Router) -> Result<axum::Router, Box<dyn std::error::Error>> {
//! let access = Access::tokens([
//!     Token::operator("ada", std::env::var("CONSOLE_TOKEN")?)?,
//!     Token::reader("wallboard", std::env::var("WALLBOARD_TOKEN")?)?,
//! ]);
//! let routes = routes.nest("/console", Console::new(engine, access).router());
//! # Ok(routes)
//! # }
//! ```
//!
//! Below it is a JSON API at `/api/v1`, described by `/api/v1/openapi.json`.
//!
//! # What is promised
//!
//! - Nobody comes in of whom [`Access`] does not say so, and nothing that changes anything is done by a GET.
//! - What is asked costs a bounded look: numbers are counters, lists are pages. What people look at costs the engine little, however
//!   many jobs there are.
//! - Every change is said to the log (target `windlass_console::audit`) with who made it, and what became of it.
//!
//! This crate LOOKS AND STEERS, by the engine's public methods and nothing else: what it can do, a service can do without it.

mod access;
mod action;
mod api;
mod audit;
mod console;
mod guard;
mod history;
mod pace;
mod pages;
mod payload;
mod redact;
mod sampler;
mod serve;
mod view;

pub use access::{Access, Credentials, Denied, Identity, NoToken, Role, Token};
pub use action::Action;
pub use audit::AuditEntry;
pub use console::Console;
pub use serve::{Bounds, ServeError};
pub use view::When;

/// The README's examples are tests, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
