//! What comes of an attempt: the outcome that a handler reports, and the failure that is remembered.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::job::NewJob;
use crate::time::Timestamp;

/// The longest failure message that is kept, in bytes: enough for an error chain, too little to fill a disk.
pub const MESSAGE_BYTES_MAX: usize = 4_096;

/// The largest checkpoint in bytes: where an attempt got to, not what it made.
pub const CHECKPOINT_BYTES_MAX: usize = 64 * 1_024;

/// What sort of failure ended an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// The handler returned an error.
    Error,
    /// The handler returned an error that no retry can mend.
    Permanent,
    /// The handler panicked.
    Panic,
    /// The attempt did not end in its time.
    TimedOut,
    /// The payload could not be decoded for the handler.
    Decode,
    /// The process died under the attempt.
    Lost,
}

impl FailureKind {
    /// The word for it, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Permanent => "permanent",
            Self::Panic => "panic",
            Self::TimedOut => "timed out",
            Self::Decode => "decode",
            Self::Lost => "lost",
        }
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What sort of failure it was.
    pub kind: FailureKind,
    /// The error's text, cut to [`MESSAGE_BYTES_MAX`].
    pub message: String,
}

impl Failure {
    /// A failure with its message cut, at a character's edge, to [`MESSAGE_BYTES_MAX`].
    #[must_use]
    pub fn new(kind: FailureKind, mut message: String) -> Self {
        cut(&mut message, MESSAGE_BYTES_MAX);
        Self { kind, message }
    }
}

/// Shortens a text to so many bytes at most, at a character's edge.
pub fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.shrink_to_fit();
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.message)
    }
}

/// How serious a line of a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Something went wrong.
    Error,
    /// Something may go wrong.
    Warn,
    /// Something happened.
    Info,
    /// For those who look for a bug.
    Debug,
    /// For those who do not find it.
    Trace,
}

impl LogLevel {
    /// All of them, the gravest first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The word for it, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// One line that an attempt logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When.
    pub at: Timestamp,
    /// How serious it is.
    pub level: LogLevel,
    /// Where in the code it comes from: a module's path, as a rule.
    pub target: String,
    /// Its text, with its fields.
    pub text: String,
}

impl LogLine {
    /// Bytes of its texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.target.len() + self.text.len()
    }
}

/// What is kept of an attempt's log: its last lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptLog {
    /// In the order in which they came.
    pub lines: Vec<LogLine>,
    /// How many came before these, and are not kept.
    pub dropped: u64,
}

impl AttemptLog {
    /// Bytes of its texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lines.iter().map(LogLine::bytes).sum()
    }
}

/// How an attempt of which something is kept ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    /// It succeeded.
    Succeeded,
    /// It did not, for this reason.
    Failed(Failure),
    /// It asked to run again later, and that was no failure.
    Snoozed,
    /// It called its job off.
    Cancelled,
    /// It was taken back, uncounted: its engine stopped.
    Released,
}

impl AttemptResult {
    /// Why it failed, if it did.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        if let Self::Failed(failure) = self { Some(failure) } else { None }
    }

    /// The word for it, in lower case.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed(_) => "failed",
            Self::Snoozed => "snoozed",
            Self::Cancelled => "cancelled",
            Self::Released => "released",
        }
    }
}

/// What an attempt logged that was no failure, and so leaves a record for the sake of that only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) result: AttemptResult,
    pub(crate) log: Arc<AttemptLog>,
}

/// What a failed attempt asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// What the policy says.
    ByPolicy,
    /// After this many milliseconds, unless the policy's attempts are used up.
    After(u64),
    /// Nothing: the job is dead.
    Never,
}

/// What a successful attempt leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Nothing worth keeping.
    #[default]
    None,
    /// The encoded output.
    Bytes(Bytes),
    /// An output over the queue's limit: the job is done all the same.
    TooLarge {
        /// Bytes that it had.
        bytes: u64,
        /// Bytes that the queue allows.
        bytes_max: u64,
    },
}

impl Output {
    /// Bytes that are kept of it.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::None | Self::TooLarge { .. } => 0,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded. The follow-up jobs are stored in the same commit.
    Done {
        /// What it leaves.
        output: Output,
        /// Jobs that exist because it succeeded.
        follow_ups: Vec<NewJob>,
    },
    /// It failed.
    Failed {
        /// Why.
        failure: Failure,
        /// What it asks for.
        retry: Retry,
    },
    /// It wants to run again after this many milliseconds, and that is no failure.
    Snoozed {
        /// The delay.
        delay_ms: u64,
    },
    /// It calls the job off.
    Cancelled {
        /// Why.
        reason: String,
    },
    /// The engine took it back unfinished (stop): not a failure, and the job keeps its turn.
    Released,
}
