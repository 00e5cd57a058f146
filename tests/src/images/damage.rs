//! Beyond the honest device: a bit that flips, a file that is gone, older, shorter, or another one.
//!
//! Owns what is done to an image. One thing at a time: two of them can hide each other, and nobody promises more.

use std::path::Path;

use super::disk::{Cut, Device, Disk};
use crate::chance::Chance;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// One bit of any file flips.
    Bit,
    /// One bit of the newest log flips.
    BitOfLog,
    /// The length of a record in the last block of the newest log says too much: it looks like the end of a torn write.
    Length,
    /// A file is gone.
    Deleted,
    /// Two files of a kind have each other's bytes.
    Swapped,
    /// A file is as it was at some time before.
    Older,
    /// A file ends earlier.
    Shorter,
    /// A page of a file reads as zeroes.
    Zeroed,
}

/// Of a record in RocksDB's log: checksum (4), length (2), type (1).
const RECORD_HEAD_BYTES: usize = 7;
/// Records do not cross blocks of this size.
const BLOCK_BYTES: usize = 32 << 10;
const PAGE_BYTES: usize = 4096;

impl Damage {
    /// Does it. Says what was done; `None` where there is nothing that it could be done to.
    pub fn apply(self, disk: &mut Disk, device: &Device<'_>, cut: Cut) -> Option<String> {
        let mut chance = Chance::new(!cut.seed);
        match self {
            Self::Bit => {
                let path = any(disk, &mut chance, |_, bytes| !bytes.is_empty())?;
                Some(flip(disk, &path, &mut chance))
            }
            Self::BitOfLog => {
                let path = newest_log(disk)?;
                (!disk.files[&path].is_empty()).then(|| flip(disk, &path, &mut chance))
            }
            Self::Length => lengthen(disk, &mut chance),
            Self::Deleted => {
                let path = any(disk, &mut chance, |_, _| true)?;
                disk.files.remove(&path);
                Some(format!("{path} is gone"))
            }
            Self::Swapped => swap(disk, &mut chance),
            Self::Older => {
                let mut earlier = device.after(Cut { at: below(&mut chance, cut.at + 1), ..cut });
                earlier.files.retain(|path, bytes| disk.files.get(path).is_some_and(|now| now != bytes));
                let path = any(&earlier, &mut chance, |_, _| true)?;
                disk.files.insert(path.clone(), earlier.files[&path].clone());
                Some(format!("{path} is older"))
            }
            Self::Shorter => {
                let path = any(disk, &mut chance, |_, bytes| !bytes.is_empty())?;
                let bytes = disk.files.get_mut(&path)?;
                let length = below(&mut chance, bytes.len());
                bytes.truncate(length);
                Some(format!("{path} has {length} bytes"))
            }
            Self::Zeroed => {
                let path = any(disk, &mut chance, |_, bytes| !bytes.is_empty())?;
                let bytes = disk.files.get_mut(&path)?;
                let page = below(&mut chance, bytes.len().div_ceil(PAGE_BYTES));
                let end = bytes.len().min((page + 1) * PAGE_BYTES);
                bytes[page * PAGE_BYTES..end].fill(0);
                Some(format!("{path} has zeroes in page {page}"))
            }
        }
    }
}

fn below(chance: &mut Chance, bound: usize) -> usize {
    usize::try_from(chance.below(bound as u64)).expect("it fits into memory")
}

fn any(disk: &Disk, chance: &mut Chance, fits: impl Fn(&str, &[u8]) -> bool) -> Option<String> {
    let fitting: Vec<&String> =
        disk.files.iter().filter(|(path, bytes)| fits(path, bytes)).map(|(path, _)| path).collect();
    (!fitting.is_empty()).then(|| fitting[below(chance, fitting.len())].clone())
}

/// The log that was begun last, as numbers in names have it.
pub fn newest_log(disk: &Disk) -> Option<String> {
    disk.files.keys().filter(|path| Path::new(path).extension().is_some_and(|kind| kind == "log")).max().cloned()
}

fn flip(disk: &mut Disk, path: &str, chance: &mut Chance) -> String {
    let bytes = disk.files.get_mut(path).expect("it is there");
    let (at, bit) = (below(chance, bytes.len()), chance.below(8));
    bytes[at] ^= 1 << bit;
    format!("bit {bit} of byte {at} of {path} flipped")
}

/// Where the records of the last block of a log begin.
pub fn last_records(log: &[u8]) -> Vec<usize> {
    let mut at = log.len() / BLOCK_BYTES * BLOCK_BYTES;
    let mut found = Vec::new();
    while let Some(head) = log.get(at..at + RECORD_HEAD_BYTES) {
        // Type 0 is what was allocated and never written.
        if head[6] == 0 {
            break;
        }
        found.push(at);
        at += RECORD_HEAD_BYTES + usize::from(u16::from_le_bytes([head[4], head[5]]));
    }
    found
}

/// Makes the record at this place say that it is longer than what is left of its block.
pub fn claim_too_much(log: &mut [u8], at: usize) {
    log[at + 4..at + 6].copy_from_slice(&0x7FF0_u16.to_le_bytes());
}

fn lengthen(disk: &mut Disk, chance: &mut Chance) -> Option<String> {
    let path = newest_log(disk)?;
    let log = disk.files.get_mut(&path)?;
    let records = last_records(log);
    let at = *records.get(below(chance, records.len().max(1)))?;
    claim_too_much(log, at);
    Some(format!("the record at byte {at} of {path} claims to be longer than the file"))
}

fn swap(disk: &mut Disk, chance: &mut Chance) -> Option<String> {
    let one = any(disk, chance, |_, _| true)?;
    let kind = |path: &str| {
        path.rsplit_once(['.', '-']).map(|(before, after)| {
            if before.contains('-') || after.len() > 3 { before.to_owned() } else { after.to_owned() }
        })
    };
    let of_kind = kind(&one);
    let other = any(disk, chance, |path, _| path != one && kind(path) == of_kind)?;
    let (first, second) = (disk.files.remove(&one)?, disk.files.remove(&other)?);
    let text = format!("{one} and {other} have each other's bytes");
    disk.files.insert(one, second);
    disk.files.insert(other, first);
    Some(text)
}
