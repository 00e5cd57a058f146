//! One bit that changed, in any file of a closed journal: refused, or set aside, or harmless; never believed.

#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use support::{append_history, copy, expected, files, small};
use windlass_storage::{Journal, LoadError, Loaded, OpenError};

/// Commits, enough for tables and a log.
const COMMITS: u64 = 700;
/// Bits that are flipped in each sort of file, spread over all of it.
const FLIPS: usize = 7;

/// What came of a directory with a flipped bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Refused,
    SetAside,
    Harmless,
}

/// Opens and loads what is there. Whatever is given as sound has to be what was written, and the flipped file stays.
fn fate(directory: &Path, flipped: &Path, what: &str) -> Fate {
    let before = files(directory);
    let mut journal = small(directory);
    match journal.open() {
        Ok(_) => {}
        Err(
            refusal @ (OpenError::Damaged { .. }
            | OpenError::WatermarkDamaged { .. }
            | OpenError::NewerFormat { .. }
            | OpenError::RolledBack { .. }),
        ) => {
            let after = files(directory);
            // A table may be looked at for the first time when the database is open already.
            let is_kept =
                if what.contains(".sst") { after.get(flipped) == before.get(flipped) } else { after == before };
            assert!(is_kept, "{what}: a refusal changed a file: {refusal}");
            return Fate::Refused;
        }
        Err(refusal) => panic!("{what}: it is damage, and refused as {refusal}"),
    }
    let (mut records, mut set_aside) = (support::Records::new(), 0);
    let loaded = journal.load(&mut |loaded| {
        match loaded {
            Loaded::Record(record) => _ = records.insert(record.key(), record),
            Loaded::Quarantined(report) => {
                assert!(!report.reason.is_empty(), "{what}");
                set_aside += 1;
            }
        }
        None
    });
    match loaded {
        Ok(()) => {}
        Err(LoadError::Unreadable(_) | LoadError::NewerRecord { .. }) => return Fate::Refused,
        Err(error) => panic!("{what}: {error}"),
    }
    let mut expected = expected(COMMITS);
    if set_aside == 0 {
        assert_eq!(records, expected, "{what}: it says that nothing is damaged");
        return Fate::Harmless;
    }
    expected.retain(|key, _| records.contains_key(key));
    assert_eq!(records, expected, "{what}: what is given as sound is as it was");
    Fate::SetAside
}

#[test]
fn a_flipped_bit_in_any_file_is_refused_or_set_aside_and_never_believed() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    let mut journal = small(&image);
    let term = journal.open().unwrap().term;
    append_history(&mut journal, term, 1, COMMITS);
    journal.close().unwrap();
    let mut sorts: BTreeMap<String, Vec<(String, usize)>> = BTreeMap::new();
    for (path, bytes) in files(&image) {
        let name = path.strip_prefix(&image).unwrap().to_str().unwrap().to_owned();
        let sort = path.extension().and_then(|sort| sort.to_str()).unwrap_or(&name).to_owned();
        let sort = sort.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').to_owned();
        // RocksDB's own talk, and what is empty.
        if !name.contains("LOG") && !bytes.is_empty() {
            sorts.entry(sort).or_default().push((name, bytes.len()));
        }
    }
    let seen: Vec<&str> = sorts.keys().map(String::as_str).collect();
    assert!(seen.len() >= 7 && seen.contains(&"log") && seen.contains(&"sst"), "{seen:?}");
    for (sort, of_it) in &sorts {
        let total: usize = of_it.iter().map(|(_, bytes)| bytes).sum();
        let mut fates = BTreeMap::new();
        for flip in 0..FLIPS.min(total) {
            let mut at = (total * flip / FLIPS.min(total) + flip % 3).min(total - 1);
            let (name, _) = of_it
                .iter()
                .find(|(_, bytes)| {
                    at < *bytes || {
                        at -= bytes;
                        false
                    }
                })
                .unwrap();
            let flipped = folder.path().join("flipped");
            copy(&image, &flipped);
            let mut bytes = fs::read(flipped.join(name)).unwrap();
            bytes[at] ^= 1 << (flip % 8);
            fs::write(flipped.join(name), bytes).unwrap();
            *fates.entry(fate(&flipped, &flipped.join(name), &format!("{name}, byte {at}"))).or_insert(0) += 1;
            fs::remove_dir_all(&flipped).unwrap();
        }
        println!("{sort}: {fates:?}");
    }
}
