//! What the child's journal was given: every batch, told beside the recorded folder before it is appended.
//!
//! Owns the expectation. What is there after a cut must be what the batches up to some one leave, that one and no other
//! record; and that one must not be before the last sync that had ended.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use windlass::storage::codec::{self, Encoder, Names};
use windlass::storage::keys::{self, Family};
use windlass::storage::{
    Append, Batch, Capabilities, CommitNo, Journal, LoadError, Loaded, OpenError, Opened, Reader, Resolution,
    StorageError,
};
use windlass_scheduler::change::{Change, Key, Record};

use crate::kill::pipe::Line;

/// Of the file that the batches are told in.
pub const FILE: &str = "WINDLASS_TOLD";

/// A journal that tells what it is given, and what it has done.
pub struct Telling<J> {
    inner: J,
    file: File,
    encoder: Encoder,
    last: CommitNo,
    synced: CommitNo,
}

impl<J: Journal> Telling<J> {
    /// Around this journal. Tells at the end of this file.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn new(inner: J, file: &Path) -> std::io::Result<Self> {
        let file = File::options().create(true).append(true).open(file)?;
        let (last, synced) = (CommitNo::default(), CommitNo::default());
        Ok(Self { inner, file, encoder: Encoder::default(), last, synced })
    }

    fn tell(&mut self, batch: &Batch) -> Result<(), StorageError> {
        let mut text = Vec::new();
        for change in &batch.changes {
            let (family, key, value) = match change {
                Change::Put(record) => {
                    let encoded = self.encoder.put(record)?;
                    (encoded.family, encoded.key, encoded.value)
                }
                Change::Delete(key) => {
                    let (family, key) = self.encoder.key(key)?;
                    (family, key, &[][..])
                }
            };
            text.push(family.no());
            for bytes in [key, value] {
                text.extend(u32::try_from(bytes.len()).expect("a record is small").to_le_bytes());
                text.extend(bytes);
            }
        }
        let CommitNo { term, step } = batch.commit_no;
        let head = [term, step, text.len() as u64].map(u64::to_le_bytes).concat();
        self.file.write_all(&[head, text].concat()).expect("the parent's file can be written");
        Ok(())
    }
}

fn note(what: &str, no: CommitNo) {
    Line::Note(format!("{what} {} {}", no.term, no.step)).tell();
}

impl<J: Journal> Journal for Telling<J> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn open(&mut self) -> Result<Opened, OpenError> {
        let opened = self.inner.open()?;
        self.last = opened.recovered;
        self.synced = self.last;
        // The term that it began is synced and marked, and with it all that there was.
        note("marked", opened.recovered);
        Ok(opened)
    }

    fn load(&mut self, sink: &mut dyn FnMut(Loaded) -> Option<String>) -> Result<(), LoadError> {
        self.inner.load(sink)
    }

    fn append(&mut self, batch: &Batch) -> Append {
        if let Err(error) = self.tell(batch) {
            return Append::Refused(error);
        }
        let answer = self.inner.append(batch);
        self.last = batch.commit_no;
        answer
    }

    fn resolve(&mut self, commit_no: CommitNo) -> Result<Resolution, StorageError> {
        self.inner.resolve(commit_no)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.inner.sync()?;
        self.synced = self.last;
        note("synced", self.synced);
        Ok(())
    }

    fn watermark(&mut self) -> Result<(), StorageError> {
        self.inner.watermark()?;
        note("marked", self.synced);
        Ok(())
    }

    fn free_bytes(&self) -> Option<u64> {
        self.inner.free_bytes()
    }

    fn reader(&self) -> Result<Arc<dyn Reader>, StorageError> {
        self.inner.reader()
    }

    fn close(&mut self) -> Result<(), StorageError> {
        self.inner.close()?;
        note("marked", self.last);
        Ok(())
    }
}

/// One change: where, and what stands there now.
type Put = (Family, Vec<u8>, Vec<u8>);

/// The batches, in order.
#[derive(Debug, Default)]
pub struct Batches(Vec<(CommitNo, Vec<Put>)>);

/// What stands in a journal, by key.
pub type State = BTreeMap<Key, Record>;

impl Batches {
    /// Reads what a child told.
    ///
    /// # Panics
    /// It ends in the middle of something.
    pub fn read(mut text: &[u8]) -> Self {
        let mut batches = Vec::new();
        while !text.is_empty() {
            let mut number = || {
                let (number, rest) = text.split_first_chunk::<8>().expect("a number");
                text = rest;
                u64::from_le_bytes(*number)
            };
            let (term, step, length) = (number(), number(), number());
            let (mut puts, rest) = text.split_at(usize::try_from(length).expect("it fits into memory"));
            let mut batch = Vec::new();
            while let Some((family, rest)) = puts.split_first() {
                puts = rest;
                let mut bytes = || {
                    let (length, rest) = puts.split_first_chunk::<4>().expect("a length");
                    let (bytes, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
                    puts = rest;
                    bytes.to_vec()
                };
                batch.push((Family::ALL[usize::from(*family)], bytes(), bytes()));
            }
            batches.push((CommitNo { term, step }, batch));
            text = rest;
        }
        Self(batches)
    }

    /// What the batches up to this one leave; `None` if there is no such batch. A job has its latest head in it, as a reader
    /// gives it.
    ///
    /// # Panics
    /// What was told is no record.
    pub fn state(&self, last: CommitNo) -> Option<State> {
        let end = match self.0.binary_search_by_key(&last, |(no, _)| *no) {
            Ok(at) => at + 1,
            Err(_) if last == CommitNo::default() => 0,
            Err(_) => return None,
        };
        let mut stands = BTreeMap::new();
        for (family, key, value) in self.0[..end].iter().flat_map(|(_, batch)| batch) {
            if value.is_empty() {
                stands.remove(&(*family, key));
            } else {
                stands.insert((*family, key), value);
            }
        }
        let mut names = Names::default();
        let records = stands.iter().map(|((family, key), value)| {
            let record = codec::decode(*family, key, value, &mut names).expect("what was told is a record");
            (record.key(), record)
        });
        let mut state: State = records.collect();
        let heads: Vec<_> = state
            .values()
            .filter_map(|record| if let Record::Head(id, head) = record { Some((*id, head.clone())) } else { None })
            .collect();
        for (id, latest) in heads {
            if let Some(Record::Job(job)) = state.get_mut(&Key::Job(id)) {
                job.head = latest;
            }
        }
        Some(state)
    }

    /// All keys that any batch ever touched.
    pub fn keys(&self) -> Vec<Key> {
        let mut names = Names::default();
        let touched = self.0.iter().flat_map(|(_, batch)| batch);
        let keys = touched.filter_map(|(family, key, _)| keys::decode(*family, key, &mut |text| names.intern(text)));
        let keys: std::collections::BTreeSet<Key> = keys.collect();
        keys.into_iter().collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}
