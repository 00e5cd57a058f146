//! What a command comes to: a verdict, or why there is none.
//!
//! Every failure says what, where, and what to do about it; most words are the storage crate's own.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use windlass::storage::{BackupError, LoadError, OpenError, StorageError};

use crate::holder::holder_of;
use crate::online::Trouble;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is wrong.
    Sound,
    /// Something is.
    Wrong,
}

impl Verdict {
    pub(crate) const fn of(is_sound: bool) -> Self {
        if is_sound { Self::Sound } else { Self::Wrong }
    }
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Sound => Self::SUCCESS,
            Verdict::Wrong => Self::from(1),
        }
    }
}

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Whoever read the output is gone. Nobody is left to be told.
    #[error("the reader of the output is gone")]
    Gone,
    /// An engine has the directory open.
    #[error(
        "an engine holds {path} ({holder}): stop that service first, or look at a copy that its engine makes (`Engine::backup`). \
         Nothing was read"
    )]
    Held {
        /// The directory.
        path: String,
        /// Who it is, as far as the system tells.
        holder: String,
    },
    /// The directory is not there.
    #[error("{path} does not exist: correct the path")]
    Missing {
        /// Where it is not.
        path: String,
    },
    /// What the storage crate says.
    #[error(transparent)]
    Open(OpenError),
    /// What the storage crate says.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What the storage crate says.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What the storage crate says.
    #[error(transparent)]
    Copy(BackupError),
    /// A console did not answer with what was asked for.
    #[error(transparent)]
    Online(#[from] Trouble),
    /// The system refused to take the output.
    #[error("the output could not be written: {0}: see where it goes, and ask again")]
    Output(#[source] io::Error),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// Why the journal at `path` could not be looked into.
    pub(crate) fn opening(path: &Path, error: OpenError) -> Self {
        match error {
            OpenError::InUse { .. } => Self::Held { path: path.display().to_string(), holder: holder_of(path) },
            _ if !path.exists() => Self::Missing { path: path.display().to_string() },
            error => Self::Open(error),
        }
    }

    /// Why what is at `path` could not be copied.
    pub(crate) fn copying(path: &Path, error: BackupError) -> Self {
        match error {
            BackupError::Open(error) => Self::opening(path, error),
            error => Self::Copy(error),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Gone } else { Self::Output(error) }
    }
}
