//! A journal in memory: for queues that may forget, for tests, and as the yardstick for every other journal.
//!
//! Owns records as they are, without bytes. Two sorts: [`MemoryJournal::new`] promises nothing beyond this process, and
//! [`MemoryJournal::simulated_disk`] also tells written from synced, so that a test can take the power away
//! ([`MemoryJournal::lose_power`]). Never injects faults: that is for wrappers. Its records live as long as any of its
//! handles, through closing and opening.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use windlass_scheduler::bug;
use windlass_scheduler::change::{Change, EndedKey, EndedRecord, Key, Record};
use windlass_scheduler::job::{JobId, Name};
use windlass_scheduler::state::EndState;

use crate::codec::Encoder;
use crate::error::{LoadError, OpenError, StorageError};
use crate::journal::{Append, Batch, Capabilities, CommitNo, Journal, Loaded, Opened, Quarantined, Reader, Resolution};
use crate::keys::hex;
use crate::terms::Terms;

/// A journal in memory. See the [module](self).
#[derive(Debug)]
pub struct MemoryJournal {
    store: Arc<Mutex<Store>>,
    /// The number of our opening, while we are open: as long as it is the store's, the store is ours.
    opening: Option<u64>,
}

/// What all handles share.
#[derive(Debug, Default)]
struct Store {
    records: BTreeMap<Key, Record>,
    /// Records that the core could not use, and why.
    quarantine: Vec<(Record, String)>,
    terms: Terms,
    last: CommitNo,
    /// Openings so far; the last of them owns the store, unless `owned` says that it is closed.
    openings: u64,
    /// Openings whose readers may still read.
    readable: HashSet<u64>,
    disk: Option<Disk>,
}

/// What a loss of power would bring back.
#[derive(Debug, Default)]
struct Disk {
    /// What stood under each key that changed since the last sync.
    before: BTreeMap<Key, Option<Record>>,
    last: CommitNo,
}

impl Store {
    fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Put(record) => self.set(record.key(), Some(record.clone())),
                Change::Delete(key) => self.set(key.clone(), None),
            }
        }
    }

    fn set(&mut self, key: Key, value: Option<Record>) {
        let before = match value {
            Some(record) => self.records.insert(key.clone(), record),
            None => self.records.remove(&key),
        };
        if let Some(disk) = &mut self.disk {
            disk.before.entry(key).or_insert(before);
        }
    }

    fn sync(&mut self) {
        if let Some(disk) = &mut self.disk {
            disk.before.clear();
            disk.last = self.last;
        }
    }

    /// A job's record with its latest head in it, or any other record as it is.
    fn joined(&self, record: &Record) -> Record {
        match record {
            Record::Job(job) => match self.records.get(&Key::Head(job.id)) {
                Some(Record::Head(_, head)) => {
                    let mut job = job.clone();
                    job.head = head.clone();
                    Record::Job(job)
                }
                _ => record.clone(),
            },
            _ => record.clone(),
        }
    }

    /// Moves what stands under the key to the quarantine. A job takes its head with it, and an end the retained job: it
    /// must not come to life again for want of its end.
    fn move_aside(&mut self, key: &Key, reason: &str) {
        let also = match (key, self.records.get(key)) {
            (Key::Job(id), _) => Some(Key::Head(*id)),
            (_, Some(Record::Ended(end))) if !self.records.contains_key(&Key::Head(end.id)) => Some(Key::Job(end.id)),
            _ => None,
        };
        for key in [Some(key.clone()), also].into_iter().flatten() {
            if let Some(record) = self.records.get(&key).cloned() {
                if !bug!(QuarantineDeletes) {
                    self.quarantine.push((record, reason.to_owned()));
                }
                self.set(key, None);
            }
        }
    }
}

impl MemoryJournal {
    /// An empty journal that promises nothing beyond this process.
    #[must_use]
    pub fn new() -> Self {
        Self { store: Arc::default(), opening: None }
    }

    /// An empty journal that claims to survive the loss of power, and loses what was not synced when
    /// [`lose_power`](Self::lose_power) is called.
    #[must_use]
    pub fn simulated_disk() -> Self {
        let store = Store { disk: Some(Disk::default()), ..Store::default() };
        Self { store: Arc::new(Mutex::new(store)), opening: None }
    }

    /// Another handle on the same records. Whoever opens last has the later term, and fences the others.
    #[must_use]
    pub fn second_handle(&self) -> Self {
        Self { store: Arc::clone(&self.store), opening: None }
    }

    /// Takes the power away: all handles are closed at once, and what was not synced is gone. A journal that is not a
    /// [simulated disk](Self::simulated_disk) loses everything but its terms.
    pub fn lose_power(&self) {
        let mut store = self.lock();
        store.openings += 1;
        store.readable.clear();
        if let Some(disk) = store.disk.take() {
            for (key, before) in disk.before {
                store.set(key, before);
            }
            store.last = disk.last;
            store.disk = Some(Disk { last: disk.last, ..Disk::default() });
        } else {
            store.records.clear();
            store.quarantine.clear();
            store.last = CommitNo::default();
        }
    }

    /// Records that were moved aside, with the reasons.
    #[must_use]
    pub fn quarantine(&self) -> Vec<(Record, String)> {
        self.lock().quarantine.clone()
    }

    /// The checkpoints that stand, which a load leaves out.
    #[must_use]
    pub fn checkpoints(&self) -> Vec<Record> {
        let store = self.lock();
        store.records.values().filter(|record| matches!(record, Record::Checkpoint(..))).cloned().collect()
    }

    /// A panic in a sink or a reader leaves the store whole: every change of it is made between two calls of ours.
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store, if it is still ours to write.
    fn owned(&self) -> Result<MutexGuard<'_, Store>, StorageError> {
        let opening = self.opening.ok_or(StorageError::Closed)?;
        let store = self.lock();
        if store.openings == opening {
            Ok(store)
        } else if store.readable.contains(&opening) {
            Err(StorageError::Fenced { term: store.terms.last() })
        } else {
            Err(StorageError::Closed)
        }
    }
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new()
    }
}

impl Journal for MemoryJournal {
    fn capabilities(&self) -> Capabilities {
        let disk = self.lock().disk.is_some();
        Capabilities { survives_process: disk, survives_power: disk, batch_bytes_max: usize::MAX }
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn open(&mut self) -> Result<Opened, OpenError> {
        match self.owned() {
            Ok(_) | Err(StorageError::Fenced { .. }) => {
                return Err(OpenError::AlreadyOpen { path: PathBuf::from("memory") });
            }
            Err(_) => {}
        }
        let mut store = self.lock();
        let recovered = store.last;
        let term = store.terms.begin(recovered);
        store.openings += 1;
        let opening = store.openings;
        store.readable.insert(opening);
        // The term must be durable, and a log is so in order: all before it is too.
        store.sync();
        drop(store);
        self.opening = Some(opening);
        Ok(Opened { term, recovered })
    }

    fn load(&mut self, sink: &mut dyn FnMut(Loaded) -> Option<String>) -> Result<(), LoadError> {
        let mut store = self.owned().map_err(|error| match error {
            StorageError::Closed => LoadError::Closed,
            error => LoadError::Unreadable(error),
        })?;
        let mut misfits: Vec<(Key, String)> = Vec::new();
        let mut ended: HashSet<JobId> = HashSet::new();
        // The order of keys is the order that is promised.
        for (key, record) in &store.records {
            let loaded = match (key, record) {
                (_, Record::Ended(end)) => {
                    ended.insert(end.id);
                    Loaded::Record(record.clone())
                }
                // Retained: its end says all that deciding needs.
                (Key::Job(id), _) if ended.contains(id) && !store.records.contains_key(&Key::Head(*id)) => continue,
                (Key::Head(id), _) if store.records.contains_key(&Key::Job(*id)) => continue,
                (Key::Head(_), _) => {
                    let reason = "a head without its job";
                    misfits.push((key.clone(), reason.to_owned()));
                    Loaded::Quarantined(Quarantined { key: key_hex(key), reason: reason.to_owned() })
                }
                (Key::Attempt(..) | Key::Result(_) | Key::Checkpoint(_) | Key::StepOutput(_) | Key::Member(..), _) => {
                    continue;
                }
                _ => Loaded::Record(store.joined(record)),
            };
            let moved = matches!(loaded, Loaded::Quarantined(_));
            if let (Some(reason), false) = (sink(loaded), moved) {
                misfits.push((key.clone(), reason));
            }
        }
        for (key, reason) in misfits {
            store.move_aside(&key, &reason);
        }
        store.sync();
        Ok(())
    }

    fn append(&mut self, batch: &Batch) -> Append {
        let mut store = match self.owned() {
            Ok(store) => store,
            Err(StorageError::Fenced { term }) => return Append::Fenced { term },
            Err(error) => return Append::Refused(error),
        };
        if let Err(error) = store.terms.check(batch.commit_no, store.last) {
            return Append::Refused(error);
        }
        store.apply(&batch.changes);
        store.last = batch.commit_no;
        Append::Ok
    }

    fn resolve(&mut self, commit_no: CommitNo) -> Result<Resolution, StorageError> {
        let store = self.owned()?;
        store.terms.resolve(commit_no, store.last)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.owned()?.sync();
        Ok(())
    }

    fn free_bytes(&self) -> Option<u64> {
        None
    }

    fn reader(&self) -> Result<Arc<dyn Reader>, StorageError> {
        let opening = self.opening.ok_or(StorageError::Closed)?;
        drop(self.owned()?);
        Ok(Arc::new(MemoryReader { store: Arc::clone(&self.store), opening }))
    }

    fn close(&mut self) -> Result<(), StorageError> {
        if let Ok(mut store) = self.owned() {
            store.sync();
            // Nobody's, until the next opening.
            store.openings += 1;
        }
        if let Some(opening) = self.opening.take() {
            self.lock().readable.remove(&opening);
        }
        Ok(())
    }
}

/// See [`Journal::reader`].
#[derive(Debug)]
struct MemoryReader {
    store: Arc<Mutex<Store>>,
    opening: u64,
}

impl MemoryReader {
    fn lock(&self) -> Result<MutexGuard<'_, Store>, StorageError> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if store.readable.contains(&self.opening) { Ok(store) } else { Err(StorageError::Closed) }
    }
}

impl Reader for MemoryReader {
    fn get(&self, key: &Key) -> Result<Option<Record>, StorageError> {
        let store = self.lock()?;
        Ok(store.records.get(key).map(|record| store.joined(record)))
    }

    fn ended(
        &self,
        queue: &Name,
        state: EndState,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<EndedRecord>, StorageError> {
        let store = self.lock()?;
        let at = |end_no| Key::Ended(EndedKey { queue: queue.clone(), state, end_no });
        // Numbers begin at 1 or 0 and never reach the largest, so that "from the latest on" is "below the largest".
        let page = store.records.range(at(0)..at(before.unwrap_or(u64::MAX))).rev();
        let ended = page
            .filter_map(|(_, record)| if let Record::Ended(end) = record { Some(end.as_ref().clone()) } else { None });
        Ok(ended.take(limit).collect())
    }
}

/// As the other journals name it: the digits that the key has on disk.
fn key_hex(key: &Key) -> String {
    Encoder::default().key(key).map_or_else(|_| format!("{key:?}"), |(_, bytes)| hex(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::conformance::samples::{head, job, job_id};
    use crate::conformance::{append, load};

    fn put(journal: &mut MemoryJournal, step: u64, records: impl IntoIterator<Item = Record>) {
        let term = journal.lock().terms.last();
        append(journal, CommitNo { term, step }, records.into_iter().map(Change::Put).collect());
    }

    #[test]
    fn a_loss_of_power_brings_back_what_was_synced_and_closes_every_handle() {
        let mut journal = MemoryJournal::simulated_disk();
        let first = journal.open().unwrap();
        put(&mut journal, 1, [job(1), job(2)]);
        journal.sync().unwrap();
        put(&mut journal, 2, [head(1, 1), job(3)]);
        append(&mut journal, CommitNo { term: first.term, step: 3 }, vec![Change::Delete(Key::Job(job_id(2)))]);
        let reader = journal.reader().unwrap();
        journal.second_handle().lose_power();

        assert!(matches!(journal.append(&Batch::default()), Append::Refused(StorageError::Closed)));
        assert_eq!(journal.sync(), Err(StorageError::Closed));
        assert_eq!(reader.get(&Key::Job(job_id(1))), Err(StorageError::Closed));
        let opened = journal.open().unwrap();
        assert!(opened.term > first.term, "a term is durable before it is used");
        assert_eq!(opened.recovered, CommitNo { term: first.term, step: 1 });
        assert_eq!(load(&mut journal), [job(1), job(2)]);
        let lost = CommitNo { term: first.term, step: 3 };
        assert_eq!(journal.resolve(lost), Ok(Resolution::Absent));
        assert_eq!(journal.resolve(opened.recovered), Ok(Resolution::Committed));
    }

    #[test]
    fn the_death_of_the_process_keeps_what_was_written_on_a_simulated_disk() {
        let mut journal = MemoryJournal::simulated_disk();
        let mut after = journal.second_handle();
        journal.open().unwrap();
        put(&mut journal, 1, [job(1)]);
        drop(journal);
        after.open().unwrap();
        assert_eq!(load(&mut after), [job(1)]);
        after.lose_power();
        after.open().unwrap();
        assert_eq!(load(&mut after), [job(1)], "an opening makes what it found durable");
    }

    #[test]
    fn a_loss_of_power_empties_a_journal_that_promised_nothing() {
        let mut journal = MemoryJournal::new();
        let term = journal.open().unwrap().term;
        put(&mut journal, 1, [job(1)]);
        journal.sync().unwrap();
        journal.lose_power();
        let opened = journal.open().unwrap();
        assert_eq!((opened.term > term, opened.recovered), (true, CommitNo::default()));
        assert_eq!(load(&mut journal), []);
        assert!(!journal.capabilities().survives_process);
    }
}
