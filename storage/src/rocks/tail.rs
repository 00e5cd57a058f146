//! The ends of the logs, looked at before RocksDB drops them.
//!
//! Tolerant recovery takes a record that runs past the end of its log for a write that was torn, and drops it. So it does
//! with a whole record whose length is damaged, and with all that stands behind it: synced commits, which no watermark names
//! yet if they are younger than that. Owns telling one from the other. What a torn write has left belongs to one record, and
//! its checksum holds for no part of it. Never touches a byte, and never refuses what a kill or a cut of the power leaves.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use crate::error::OpenError;

/// Records do not cross blocks of this size; only in the last, incomplete one a record may run past the end.
const BLOCK_BYTES: usize = 32 << 10;
/// Checksum (4), length (2), type (1). The longer head of recycled logs is not in use.
const HEAD_BYTES: usize = 7;
/// Whole, first, middle, last: what a record may be.
const TYPES: std::ops::RangeInclusive<u8> = 1..=4;

/// Refuses logs with a record of a damaged length near the end.
pub(super) fn check(path: &Path, database: &Path) -> Result<(), OpenError> {
    let io = |error: io::Error| OpenError::from_io(path, "looking at the end of a log", &error);
    for entry in fs::read_dir(database).map_err(io)? {
        let log = entry.map_err(io)?.path();
        // The manifest has the same form, and the same hole.
        let is_manifest = log.file_name().is_some_and(|name| name.to_string_lossy().starts_with("MANIFEST-"));
        if !is_manifest && log.extension().is_none_or(|kind| kind != "log") {
            continue;
        }
        let (block, begins) = last_block(&log).map_err(io)?;
        if let Some(at) = damaged_length(&block) {
            let at = begins + at as u64;
            let name = log.file_name().unwrap_or_default().display();
            let reason = format!("in {name} the length of the record at byte {at} is wrong");
            return Err(OpenError::Damaged { path: path.to_owned(), reason });
        }
    }
    Ok(())
}

/// The last block, if it is not complete, and where it begins.
fn last_block(log: &Path) -> io::Result<(Vec<u8>, u64)> {
    let mut file = File::open(log)?;
    let begins = file.metadata()?.len() / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
    file.seek(SeekFrom::Start(begins))?;
    let mut block = Vec::new();
    file.take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
    Ok((block, begins))
}

/// Where a record stands that claims to run past the end, and does not.
fn damaged_length(block: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let head = Head::of(block, at)?;
        let end = at + HEAD_BYTES + head.length;
        if end > block.len() {
            return (has_another_length(block, at, &head) || has_record_behind(block, at)).then_some(at);
        }
        at = end;
    }
}

struct Head {
    checksum: u32,
    length: usize,
    kind: u8,
}

impl Head {
    /// `None` where there is no room for one.
    fn of(block: &[u8], at: usize) -> Option<Self> {
        let &[a, b, c, d, low, high, kind] = block.get(at..at + HEAD_BYTES)? else { return None };
        let length = usize::from(u16::from_le_bytes([low, high]));
        Some(Self { checksum: u32::from_le_bytes([a, b, c, d]), length, kind })
    }
}

/// As RocksDB stores a checksum.
const fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// Whether a record stands here, whole.
fn is_whole(block: &[u8], at: usize) -> bool {
    let Some(head) = Head::of(block, at).filter(|head| TYPES.contains(&head.kind)) else { return false };
    // Its type is the first byte of what is summed.
    let body = block.get(at + HEAD_BYTES - 1..at + HEAD_BYTES + head.length);
    body.is_some_and(|body| masked(crc32c::crc32c(body)) == head.checksum)
}

/// Whether this record's checksum holds for fewer bytes, with the end of the log behind them or another record.
fn has_another_length(block: &[u8], at: usize, head: &Head) -> bool {
    let mut checksum = crc32c::crc32c(&[head.kind]);
    for end in at + HEAD_BYTES..=block.len() {
        if masked(checksum) == head.checksum && (end == block.len() || is_whole(block, end)) {
            return true;
        }
        checksum = block.get(end).map_or(checksum, |byte| crc32c::crc32c_append(checksum, &[*byte]));
    }
    false
}

/// Whether more of this record's head is damaged, and whole records stand behind it up to the end of the log.
fn has_record_behind(block: &[u8], at: usize) -> bool {
    (at + 1..block.len().saturating_sub(HEAD_BYTES)).any(|behind| {
        let mut end = behind;
        while is_whole(block, end) {
            end += HEAD_BYTES + Head::of(block, end).map_or(0, |head| head.length);
        }
        end == block.len()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of these lengths, one after the other.
    fn log(lengths: &[usize]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for (n, length) in (1_u8..).zip(lengths) {
            starts.push(bytes.len());
            let body = [vec![1], vec![n; *length]].concat();
            bytes.extend(masked(crc32c::crc32c(&body)).to_le_bytes());
            bytes.extend(u16::try_from(*length).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend(body);
        }
        (bytes, starts)
    }

    #[test]
    fn whole_logs_and_logs_cut_anywhere_have_no_damaged_length() {
        let (log, _) = log(&[30, 1, 0, 200, 17]);
        for length in 0..=log.len() {
            assert_eq!(damaged_length(&log[..length]), None, "cut at {length}");
        }
    }

    #[test]
    fn a_length_that_claims_too_much_is_found_wherever_it_stands() {
        let (whole, starts) = log(&[30, 1, 0, 200, 17]);
        for at in starts {
            for length in [whole.len() - at, 0x7FF0, 0xFFFF] {
                let mut log = whole.clone();
                log[at + 4..at + 6].copy_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
                assert_eq!(damaged_length(&log), Some(at), "length {length}");
            }
        }
    }

    #[test]
    fn a_whole_head_of_nonsense_is_found_by_what_stands_behind_it() {
        let (mut log, starts) = log(&[30, 1, 90, 200, 17]);
        log[starts[2]..starts[2] + HEAD_BYTES].fill(0xEE);
        assert_eq!(damaged_length(&log), Some(starts[2]));
    }
}
