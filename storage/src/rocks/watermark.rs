//! The last synced commit, remembered beside the database.
//!
//! Owns the file `WATERMARK`, which also says how far the manifest reached. It closes the hole that tolerant log recovery leaves: a log that was cut, or put back
//! from an older copy, opens without an error, and only something outside it can tell. Never written before the commit
//! that it names is synced, and replaced whole, so that it is never ahead and never torn.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use super::directory::{DATABASE, sync_directory};
use super::manifest::Manifest;
use crate::error::{OpenError, StorageError};
use crate::journal::CommitNo;

pub(super) const NAME: &str = "WATERMARK";
const TEMPORARY: &str = "WATERMARK.tmp";
const WORDS: &str = "synced up to commit ";

/// What is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The last synced commit.
    pub(super) commit_no: CommitNo,
    /// The manifest at that time; marks of version 1 do not have it.
    pub(super) manifest: Option<Manifest>,
}

/// The mark, or `None` where there never was one.
pub(super) fn read(directory: &Path) -> Result<Option<Mark>, OpenError> {
    let path = directory.join(NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::from_io(directory, "reading the file WATERMARK", &error)),
    };
    match parse(&bytes) {
        Ok(mark) => Ok(Some(mark)),
        Err(reason) => Err(OpenError::WatermarkDamaged { path, reason: reason.to_owned() }),
    }
}

/// Replaces the mark, durably. `known` is the manifest as the last mark has it; gives the one that this has.
pub(super) fn write(
    directory: &Path,
    synced: CommitNo,
    known: Option<Manifest>,
) -> Result<Option<Manifest>, StorageError> {
    replace(directory, synced, known)
        .map_err(|error| StorageError::from_io(directory, "writing the file WATERMARK", &error))
}

fn replace(directory: &Path, commit_no: CommitNo, known: Option<Manifest>) -> io::Result<Option<Manifest>> {
    let manifest = Manifest::synced(&directory.join(DATABASE), known)?;
    let temporary = directory.join(TEMPORARY);
    let mut file = File::create(&temporary)?;
    file.write_all(text(Mark { commit_no, manifest }).as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, directory.join(NAME))?;
    sync_directory(directory)?;
    Ok(manifest)
}

fn text(mark: Mark) -> String {
    let CommitNo { term, step } = mark.commit_no;
    let lines = match mark.manifest {
        None => format!("windlass watermark 1: {WORDS}{term} {step}\n"),
        Some(Manifest { number, bytes }) => {
            format!("windlass watermark 2: {WORDS}{term} {step}\nmanifest {number} synced up to byte {bytes}\n")
        }
    };
    format!("{lines}checksum {:08x}\n", crc32c::crc32c(lines.as_bytes()))
}

fn parse(bytes: &[u8]) -> Result<Mark, &'static str> {
    let whole = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let mut lines = whole.lines();
    let pair = |numbers: Option<(&str, &str)>| {
        let (one, other) = numbers?;
        Some((one.parse().ok()?, other.parse().ok()?))
    };
    let first = lines.next().and_then(|line| line.split_once(WORDS)).ok_or("it does not begin as a watermark")?;
    let (term, step) = pair(first.1.split_once(' ')).ok_or("it names no commit")?;
    let manifest = lines.next().and_then(|line| line.strip_prefix("manifest "));
    let manifest = pair(manifest.and_then(|line| line.split_once(" synced up to byte ")));
    let manifest = manifest.map(|(number, bytes)| Manifest { number, bytes });
    let mark = Mark { commit_no: CommitNo { term, step }, manifest };
    // Written anew and compared: so that not one byte may differ, the checksum's own included.
    if text(mark) == whole { Ok(mark) } else { Err("its checksum does not fit") }
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
        for commit_no in [CommitNo::default(), MARK, CommitNo { term: u64::MAX, step: u64::MAX }] {
            assert_eq!(write(directory.path(), commit_no, None), Ok(None), "there is no database");
            assert_eq!(read(directory.path()), Ok(Some(Mark { commit_no, manifest: None })));
        }
        let database = directory.path().join(DATABASE);
        fs::create_dir(&database).unwrap();
        fs::write(database.join("CURRENT"), "MANIFEST-000012\n").unwrap();
        fs::write(database.join("MANIFEST-000012"), "tables").unwrap();
        let manifest = Some(Manifest { number: 12, bytes: 6 });
        assert_eq!(write(directory.path(), MARK, None), Ok(manifest));
        assert_eq!(read(directory.path()), Ok(Some(Mark { commit_no: MARK, manifest })));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_mark_is_noticed() {
        for manifest in [None, Some(Manifest { number: 12, bytes: 700 })] {
            every_change_is_noticed(&text(Mark { commit_no: MARK, manifest }).into_bytes());
        }
    }

    fn every_change_is_noticed(whole: &[u8]) {
        for at in 0..whole.len() {
            assert!(parse(&whole[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bytes = whole.to_vec();
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
