//! The last synced commit, remembered beside the database.
//!
//! Owns the file `WATERMARK`. It closes the hole that tolerant log recovery leaves: a log that was cut, or put back
//! from an older copy, opens without an error, and only something outside it can tell. Never written before the commit
//! that it names is synced, and replaced whole, so that it is never ahead and never torn.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use super::directory::sync_directory;
use crate::error::{OpenError, StorageError};
use crate::journal::CommitNo;

pub(super) const NAME: &str = "WATERMARK";
const TEMPORARY: &str = "WATERMARK.tmp";
const WORDS: &str = "windlass watermark 1: synced up to commit ";

/// The mark, or `None` where there never was one.
pub(super) fn read(directory: &Path) -> Result<Option<CommitNo>, OpenError> {
    let path = directory.join(NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::from_io(directory, "reading the file WATERMARK", &error)),
    };
    match parse(&bytes) {
        Ok(commit_no) => Ok(Some(commit_no)),
        Err(reason) => Err(OpenError::WatermarkDamaged { path, reason: reason.to_owned() }),
    }
}

/// Replaces the mark, durably.
pub(super) fn write(directory: &Path, synced: CommitNo) -> Result<(), StorageError> {
    replace(directory, synced).map_err(|error| StorageError::from_io(directory, "writing the file WATERMARK", &error))
}

fn replace(directory: &Path, synced: CommitNo) -> io::Result<()> {
    let temporary = directory.join(TEMPORARY);
    let mut file = File::create(&temporary)?;
    file.write_all(text(synced).as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join(NAME))?;
    sync_directory(directory)
}

fn text(synced: CommitNo) -> String {
    let line = format!("{WORDS}{} {}\n", synced.term, synced.step);
    format!("{line}checksum {:08x}\n", crc32c::crc32c(line.as_bytes()))
}

fn parse(bytes: &[u8]) -> Result<CommitNo, &'static str> {
    let whole = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let numbers = whole.strip_prefix(WORDS).ok_or("it does not begin as a watermark")?;
    let numbers = numbers.lines().next().and_then(|line| line.split_once(' ')).ok_or("it names no commit")?;
    let (Ok(term), Ok(step)) = (numbers.0.parse(), numbers.1.parse()) else { return Err("it names no commit") };
    let commit_no = CommitNo { term, step };
    // Written anew and compared: so that not one byte may differ, the checksum's own included.
    if text(commit_no) == whole { Ok(commit_no) } else { Err("its checksum does not fit") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MARK: CommitNo = CommitNo { term: 7, step: 1_234_567 };

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()), Ok(None));
        for mark in [CommitNo::default(), MARK, CommitNo { term: u64::MAX, step: u64::MAX }] {
            write(directory.path(), mark).unwrap();
            assert_eq!(read(directory.path()), Ok(Some(mark)));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_mark_is_noticed() {
        let whole = text(MARK).into_bytes();
        for at in 0..whole.len() {
            assert!(parse(&whole[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                assert!(parse(&bytes).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn a_damaged_mark_is_refused_with_the_way_out() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAME), "zeroes").unwrap();
        let refusal = read(directory.path()).unwrap_err();
        assert!(matches!(refusal, OpenError::WatermarkDamaged { .. }));
        assert!(refusal.to_string().contains("remove that file"), "{refusal}");
    }
}
