//! How far the manifest reaches, remembered in the watermark.
//!
//! The manifest says which tables there are. RocksDB takes one that ends early for one that was being written, and forgets
//! the tables behind: of one family alone, where the others have them. No commit number tells, since the log has later ones
//! of all families. Owns the length that is known to be synced. Never remembers more than that: a cut of the power may take
//! the rest.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::error::OpenError;

const CURRENT: &str = "CURRENT";
const PREFIX: &str = "MANIFEST-";

/// A manifest, and how much of it is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Its number: each opening begins another one, with a greater number.
    pub(super) number: u64,
    /// Bytes that are synced.
    pub(super) bytes: u64,
}

impl Manifest {
    /// The one in force, synced unless it is known to be; `None` where there is no database.
    pub(super) fn synced(database: &Path, known: Option<Self>) -> io::Result<Option<Self>> {
        let Some(number) = in_force(database)? else { return Ok(None) };
        let file = File::open(path_of(database, number))?;
        let found = Self { number, bytes: file.metadata()?.len() };
        if known != Some(found) {
            // A flush may be writing to it just now.
            file.sync_all()?;
        }
        Ok(Some(found))
    }

    /// Refuses a database whose manifest is an older one, or ends earlier.
    pub(super) fn check(self, path: &Path, database: &Path) -> Result<(), OpenError> {
        let io = |error: io::Error| OpenError::from_io(path, "looking at the manifest", &error);
        let damaged = |reason: String| Err(OpenError::Damaged { path: path.to_owned(), reason });
        let Some(number) = in_force(database).map_err(io)? else {
            return damaged(format!("its file {CURRENT} names no manifest"));
        };
        let Self { number: expected, bytes } = self;
        if number < expected {
            return damaged(format!("its manifest is number {number}, and number {expected} was in force"));
        }
        let found = fs::metadata(path_of(database, number)).map_or(0, |file| file.len());
        if number == expected && found < bytes {
            return damaged(format!("its manifest has {found} bytes, and {bytes} were synced"));
        }
        Ok(())
    }
}

fn path_of(database: &Path, number: u64) -> std::path::PathBuf {
    database.join(format!("{PREFIX}{number:06}"))
}

/// The number of the manifest that is in force.
fn in_force(database: &Path) -> io::Result<Option<u64>> {
    match fs::read_to_string(database.join(CURRENT)) {
        Ok(name) => Ok(name.trim_end().strip_prefix(PREFIX).and_then(|number| number.parse().ok())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Ok(None),
        Err(error) => Err(error),
    }
}
