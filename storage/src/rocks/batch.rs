//! A batch of changes in RocksDB's own form.
//!
//! Owns the order inside it. Changes come as things happened: a job is put here, one that ended long ago is deleted there,
//! in turns. RocksDB's tables in memory are lists that find the place of a key fast where it is next to the one before, and
//! by a search over all keys otherwise. So a batch is written in the order of keys; it is there whole or not at all, so only
//! the order of changes to one key means anything, and that is kept.

use std::ops::Range;

use rocksdb::{DB, WriteBatch};
use windlass_scheduler::change::Change;

use super::BATCH_BYTES_MAX;
use super::reader::{Held, handle};
use crate::codec::{Encoded, Encoder};
use crate::error::StorageError;
use crate::journal::Batch;
use crate::keys::Family;

/// What the buffers keep from one batch to the next at most.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// Makes batches, in buffers that are used again and again.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// Keys and values, one after the other.
    bytes: Vec<u8>,
    /// In two runs, since what is put and what is deleted mostly rises by itself: sorting then is little more than merging.
    puts: Vec<Write>,
    deletes: Vec<Write>,
}

/// One change: where it goes, and its place in the batch as it came.
#[derive(Debug)]
struct Write {
    family: Family,
    key: Range<usize>,
    /// Empty for a deletion: a record always has a frame.
    value: Range<usize>,
    place: usize,
}

impl Writes {
    /// The batch in RocksDB's own form, the commit number with it.
    pub(super) fn of<'a>(
        &mut self,
        held: &'a Held<'_>,
        encoder: &mut Encoder,
        batch: &Batch,
    ) -> Result<(&'a DB, WriteBatch), StorageError> {
        let db = held.as_ref().ok_or(StorageError::Closed)?;
        self.clear();
        for (place, change) in batch.changes.iter().enumerate() {
            match change {
                Change::Put(record) => {
                    let Encoded { family, key, value } = encoder.put(record)?;
                    let write = self.take(family, key, value, place);
                    self.puts.push(write);
                }
                Change::Delete(key) => {
                    let (family, key) = encoder.key(key)?;
                    let write = self.take(family, key, &[], place);
                    self.deletes.push(write);
                }
            }
        }
        let Encoded { family, key, value } = encoder.commit(batch.commit_no)?;
        let commit = self.take(family, key, value, batch.changes.len());
        self.deletes.append(&mut self.puts);
        self.deletes.push(commit);
        let bytes = &self.bytes;
        let rank = |write: &Write| (write.family, &bytes[write.key.clone()], write.place);
        self.deletes.sort_by(|a, b| rank(a).cmp(&rank(b)));

        // By number: a look-up by name for every change would cost as much as the change.
        let [meta, jobs, history, quarantine] = Family::ALL.map(|family| handle(db, family));
        let families = [meta?, jobs?, history?, quarantine?];
        // Every change has a head of its own there.
        let mut writes = WriteBatch::with_capacity_bytes(bytes.len() + 16 * self.deletes.len() + 64);
        for Write { family, key, value, .. } in &self.deletes {
            let (family, key) = (families[usize::from(family.no())], &bytes[key.clone()]);
            if value.is_empty() {
                writes.delete_cf(family, key);
            } else {
                writes.put_cf(family, key, &bytes[value.clone()]);
            }
        }
        let bytes = writes.size_in_bytes();
        if bytes > BATCH_BYTES_MAX {
            return Err(StorageError::BatchTooLarge { bytes, bytes_max: BATCH_BYTES_MAX });
        }
        Ok((db, writes))
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        for run in [&mut self.puts, &mut self.deletes] {
            run.clear();
            run.shrink_to(KEPT_BYTES_MAX / size_of::<Write>());
        }
    }

    fn take(&mut self, family: Family, key: &[u8], value: &[u8], place: usize) -> Write {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        Write { family, key: from..middle, value: middle..self.bytes.len(), place }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use windlass_scheduler::change::Key;

    use super::*;
    use crate::conformance::samples;
    use crate::journal::{Append, CommitNo, Journal};
    use crate::rocks::RocksJournal;

    #[test]
    fn the_last_change_to_a_key_stands_whatever_came_between() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = RocksJournal::at(directory.path());
        let term = journal.open().unwrap().term;
        let (put, delete) =
            (|n: u64| Change::Put(samples::job(n)), |n: u64| Change::Delete(Key::Job(samples::job_id(n))));
        let changes = vec![put(9), put(2), delete(1), delete(2), put(1), put(3), delete(3), put(3), delete(9)];
        let batch = Batch { commit_no: CommitNo { term, step: 1 }, changes };
        assert!(matches!(journal.append(&batch), Append::Ok));
        let reader = journal.reader().unwrap();
        let stands = |n: u64| reader.get(&Key::Job(samples::job_id(n))).unwrap().is_some();
        assert_eq!([1, 2, 3, 9].map(stands), [true, false, true, false]);
    }
}
