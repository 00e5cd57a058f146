//! Configuration as TOML or JSON, in and out.
//!
//! Owns the doors: text, file, and back to text. The fields are in `read` and `write`, the words for durations and sizes in
//! `words`, what can be wrong in `error`. Never checks a number by limits of its own: they are those of code.
//!
//! ```
//! use windlass::{Context, Engine, EngineConfig, Job, JobError, MemoryJournal};
//! # #[derive(serde::Serialize, serde::Deserialize)]
//! # struct Mail;
//! # impl Job for Mail { const KIND: &'static str = "mail"; const QUEUE: &'static str = "critical-email"; type Output = (); }
//! # async fn send(_: Mail, _: Context<()>) -> Result<(), JobError> { Ok(()) }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = EngineConfig::from_toml(
//!     r#"
//!     [engine]                        # what holds for all of it
//!     disk_free_bytes_min = "1 GiB"
//!     memory_bytes_max = "512 MiB"    # heads, payloads, and the journal's own
//!
//!     [queues.critical-email]
//!     concurrency = 16                # attempts at once
//!     rate_limit = { jobs = 50, per = "1s", burst = 10 }   # starts, retries too
//!     circuit_breaker = { failures = 10, attempts = 20, pause = "30s", pause_max = "10m", probes = 3 }
//!     per_key = { concurrency = 2, rate_limit = { jobs = 5, per = "1s" } }   # of each limit key
//!     keys.acme = { concurrency = 8, weight = 3 }   # of this one; or { unlimited = true }
//!     shares = ["mail-api"]           # limits that it shares with other queues
//!     share_weight = 4                # its starts in each turn among them
//!     priority = "urgent"             # or "high", "normal", "low", or 0 to 255
//!     ages_after = "10m"              # then a job goes before all that have not waited so long
//!     start_within = "30s"            # a promise: later, and the queue counts as late
//!     attempt_timeout = "2m 30s"
//!     abort_after = "10s"
//!     durability = "durable"          # or "process", "memory"
//!     depth_max = 100_000
//!     wait_when_full = 100            # callers; left out: a full queue refuses
//!     payload_bytes_max = "256 KiB"
//!     result_bytes_max = "64 KiB"
//!     retry = { backoff = "exponential", first = "2s", cap = "10m", attempts = 8, jitter_percent = 10 }
//!     retry_budget_percent = 20       # of the starts, as long as others wait
//!
//!     [queues.critical-email.retention]
//!     keep_done = "with-output"       # or "all", "none"
//!     done = { age = "1d", count_max = 10_000, bytes_max = "64 MiB" }    # as well: dead, dropped
//!
//!     [kinds.mail]                    # what its jobs go by instead of what their queue says
//!     queue = "critical-email"
//!     concurrency = 4                 # over all queues
//!     attempt_timeout = "30s"
//!     retry = { backoff = "list", delays = ["30s", "2m", "10m"] }
//!     ## or { backoff = "fixed", delay = "5s" }, { backoff = "linear", first = "1s", step = "2s", cap = "1m" }, "never"
//!
//!     [limits.mail-api]               # of all queues that share it
//!     concurrency = 10
//!     rate_limit = { jobs = 50, per = "1s" }
//!     draw = "weighted"               # whose turn it is; or "strict": the queue that comes first
//!     "#,
//! )?;
//! let engine = Engine::builder().journal(MemoryJournal::new()).config(config).handler(send).start().await?;
//!
//! // What it goes by in the end, defaults and all; read back, it is the same.
//! let written = engine.config().to_toml();
//! assert_eq!(&EngineConfig::from_toml(&written)?, engine.config());
//! # Ok(())
//! # }
//! ```
//!
//! What is wrong is refused with its place, its path, what stood there and what may stand there:
//!
//! ```
//! use windlass::EngineConfig;
//!
//! let refused = EngineConfig::from_toml("[queues.mail]\nconcurrency = 0").unwrap_err();
//! assert_eq!(
//!     refused.to_string(),
//!     "line 2 of the text: `queues.mail.concurrency` is 0: allowed are 1 to 100000"
//! );
//! ```

mod document;
mod error;
mod fields;
mod limits;
mod read;
mod words;
mod write;

use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use error::{ConfigFileError, ConfigProblem};

use self::document::Document;
use super::whole::{ConfigPlace, EngineConfig};
use crate::error::ConfigError;

/// A configuration is written by people: a longer file is another one.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl EngineConfig {
    /// Reads TOML.
    ///
    /// # Errors
    /// [`ConfigError::File`]: what is wrong, and where.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Ok(read::config(&Document::toml(None, text)?)?)
    }

    /// Reads JSON: the same fields as in TOML.
    ///
    /// # Errors
    /// [`ConfigError::File`]: what is wrong, and where.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        Ok(read::config(&Document::json(None, text)?)?)
    }

    /// Reads a file that ends with `.toml` or `.json` and has at most 1 MiB. Blocks.
    ///
    /// # Errors
    /// [`ConfigError::File`]: what is wrong, and where; a file that is not there or cannot be read as well.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let refuse = |problem| {
            let place = ConfigPlace::File { path: path.to_owned(), line: None };
            ConfigFileError::new(place, String::new(), problem)
        };
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        let is_toml = match extension.as_deref() {
            Some("toml") => true,
            Some("json") => false,
            other => {
                let given = other.unwrap_or_default().to_owned();
                return Err(refuse(ConfigProblem::Extension { given }).into());
            }
        };
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        let count = read.map_err(|error| refuse(ConfigProblem::Read(error)))?;
        if count as u64 > FILE_BYTES_MAX {
            return Err(refuse(ConfigProblem::TooLarge { bytes_max: FILE_BYTES_MAX }).into());
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let line = document::line_after(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            let place = ConfigPlace::File { path: path.to_owned(), line: Some(line) };
            ConfigFileError::new(place, String::new(), ConfigProblem::NotUtf8)
        })?;
        let document = if is_toml { Document::toml(Some(path), &text) } else { Document::json(Some(path), &text) };
        Ok(read::config(&document?)?)
    }

    /// As TOML. What is unset is left out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let written = toml::to_string(&write::config(self));
        written.unwrap_or_else(|error| unreachable!("tables, texts and numbers below 2^63 are TOML: {error}"))
    }

    /// As JSON. What is unset is left out.
    #[must_use]
    pub fn to_json(&self) -> String {
        let written = serde_json::to_string_pretty(&write::config(self));
        written.unwrap_or_else(|error| unreachable!("tables, texts and numbers are JSON: {error}"))
    }
}
