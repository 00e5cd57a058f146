//! Reading on behind what RocksDB cannot read.
//!
//! Owns the walk over a family that does not end at a damaged block. RocksDB refuses such a block as a whole, and a walk with
//! it; here the next key that it reads is looked for. Never reads without RocksDB's own checksums, though each record has one of
//! ours: RocksDB trusts what is in a block once it has taken it, and would read, and reserve memory for, whatever a flipped bit says. Never changes a byte.

use rocksdb::{DB, DBRawIterator, ReadOptions};
use windlass_scheduler::change::Record;

use super::reader::handle;
use crate::codec::{self, Names};
use crate::error::LoadError;
use crate::keys::{self, Family, hex};

/// Bytes that the disk reads ahead of the walk.
const READ_AHEAD_BYTES: usize = 2 << 20;
/// So many bytes of a key are counted through at least, where the next readable one is looked for: an id and its tag.
const COUNTED_BYTES_MIN: usize = 24;

/// What stands under a key, as it was found.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The family that it stands in.
    pub family: Family,
    /// Its key.
    pub key: &'a [u8],
    /// Its bytes.
    pub bytes: &'a [u8],
    /// What they are, or what is wrong with them.
    pub content: Result<Content, String>,
}

/// What is readable under a key.
// It is passed on at once, never stored.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum Content {
    /// A record of the core's.
    Record(Record),
    /// One of the journal's own: its last commit, or its terms.
    Own,
    /// A record that was moved aside.
    Quarantined,
}

impl Entry<'_> {
    /// What sort of record stands under this key, in one or two words; `None` for a key of no known form.
    #[must_use]
    pub fn kind(&self) -> Option<&'static str> {
        keys::kind_word(self.family, self.key)
    }
}

/// Keys between which RocksDB could not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The family.
    pub family: Family,
    /// Where it begins, in hexadecimal digits: no key before this one is missing.
    pub from: String,
    /// Where it ends: the first key that can be read again is not before this one. `None`: at the end of the family.
    pub until: Option<String>,
    /// RocksDB's words.
    pub reason: String,
    /// RocksDB refuses every key behind it, too: a table cannot even be opened.
    pub hides_rest: bool,
}

/// Tells every entry of a family in the order of keys, and what could not be read.
pub(super) fn walk(db: &DB, family: Family, each: &mut dyn FnMut(&Entry<'_>)) -> Result<Vec<Gap>, LoadError> {
    let mut names = Names::default();
    let mut gaps = Vec::new();
    let mut from = Vec::new();
    loop {
        let mut tell = |key: &[u8], bytes: &[u8]| {
            each(&entry(family, key, bytes, &mut names)?);
            Ok(())
        };
        let Some((begins, reason)) = stretch(db, family, &from, &mut tell)? else { return Ok(gaps) };
        let (until, hides_rest) = match behind(db, family, &begins)? {
            Behind::Key(key) => (Some(key), false),
            Behind::End => (None, false),
            Behind::Nothing => (None, true),
        };
        let (from_hex, until_hex) = (hex(&begins), until.as_deref().map(hex));
        gaps.push(Gap { family, from: from_hex, until: until_hex, reason, hides_rest });
        match until {
            Some(key) => from = key,
            None => return Ok(gaps),
        }
    }
}

fn entry<'a>(family: Family, key: &'a [u8], bytes: &'a [u8], names: &mut Names) -> Result<Entry<'a>, LoadError> {
    if let Some((kind, found)) = codec::newer(family, key, bytes) {
        return Err(LoadError::NewerRecord { key: hex(key), kind, found, known: codec::VERSION });
    }
    let content = match (family, key) {
        (Family::Meta, keys::COMMIT) => codec::decode_commit(bytes).map(|_| Content::Own),
        (Family::Meta, keys::TERMS) => codec::decode_terms(bytes).map(|_| Content::Own),
        (Family::Quarantine, _) => codec::decode_quarantine(key, bytes).map(|_| Content::Quarantined),
        _ => codec::decode(family, key, bytes, names).map(Content::Record),
    };
    Ok(Entry { family, key, bytes, content: content.map_err(|error| error.to_string()) })
}

/// Takes a key and what stands under it.
type Take<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<(), LoadError>;

/// Reads on from a key. Where RocksDB refuses to: the key from which on, and its words.
fn stretch(db: &DB, family: Family, from: &[u8], each: Take<'_>) -> Result<Option<(Vec<u8>, String)>, LoadError> {
    let mut records = records(db, family, from)?;
    let mut next = from.to_vec();
    while let Some((key, bytes)) = records.item() {
        each(key, bytes)?;
        next.clear();
        next.extend_from_slice(key);
        // The first key behind it.
        next.push(0);
        records.next();
    }
    Ok(records.status().err().map(|error| (next, error.to_string())))
}

fn records<'a>(db: &'a DB, family: Family, from: &[u8]) -> Result<DBRawIterator<'a>, LoadError> {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_readahead_size(READ_AHEAD_BYTES);
    options.set_iterate_lower_bound(from);
    let family = handle(db, family).map_err(LoadError::Unreadable)?;
    let mut records = db.raw_iterator_cf_opt(family, options);
    records.seek_to_first();
    Ok(records)
}

/// What is behind a key at which RocksDB refuses.
enum Behind {
    /// It reads again from this key on.
    Key(Vec<u8>),
    /// It reads again, and there is nothing.
    End,
    /// It refuses every key.
    Nothing,
}

/// Looks for where RocksDB reads again: in steps that double, and then in halves, so that it is the end of one damaged block.
fn behind(db: &DB, family: Family, from: &[u8]) -> Result<Behind, LoadError> {
    let width = from.len().max(COUNTED_BYTES_MIN);
    let mut low = from.to_vec();
    low.resize(width, 0);
    let begin = low.clone();
    let mut high = None;
    for power in 0..8 * width {
        let at = plus(&begin, power).unwrap_or_else(|| vec![u8::MAX; width]);
        if reads(db, family, &at)? {
            high = Some((at, power));
            break;
        }
        low = at;
    }
    let Some((mut high, power)) = high else { return Ok(Behind::Nothing) };
    for power in (0..power).rev() {
        let Some(at) = plus(&low, power).filter(|at| *at < high) else { continue };
        if reads(db, family, &at)? {
            high = at;
        } else {
            low = at;
        }
    }
    let at_end = records(db, family, &high)?;
    Ok(if at_end.valid() { Behind::Key(high) } else { Behind::End })
}

/// Whether RocksDB reads from this key on.
fn reads(db: &DB, family: Family, at: &[u8]) -> Result<bool, LoadError> {
    Ok(records(db, family, at)?.status().is_ok())
}

/// A key so many further, as a number; `None` where it has no room.
fn plus(key: &[u8], power: usize) -> Option<Vec<u8>> {
    let mut key = key.to_vec();
    let mut at = key.len().checked_sub(1 + power / 8)?;
    let mut more = 1 << (power % 8);
    loop {
        let (sum, is_over) = key[at].overflowing_add(more);
        key[at] = sum;
        if !is_over {
            return Some(key);
        }
        (at, more) = (at.checked_sub(1)?, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_counted_like_numbers_and_end_where_they_have_no_room() {
        assert_eq!(plus(&[0, 255], 0), Some(vec![1, 0]));
        assert_eq!(plus(&[1, 2], 9), Some(vec![3, 2]));
        assert_eq!(plus(&[0x80, 0], 15), None);
        assert_eq!(plus(&[255, 255], 0), None);
        assert_eq!(plus(&[0], 8), None);
    }
}
