//! What a job costs its journal: puts and deletes, and bytes of log. Counted in a run of its own, which nobody times: the
//! journal's is a thread that others wait for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use windlass_storage::{
    Append, BackupError, Batch, Capabilities, CommitNo, Journal, LoadError, Loaded, OpenError, Opened, PendingBackup,
    Reader, Resolution, RocksJournal, StorageError,
};

/// What went into a journal so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    operations: AtomicU64,
    bytes: AtomicU64,
    /// A log could not be looked at.
    is_broken: AtomicBool,
}

/// What of it is one job's, on average.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) operations_per_job: f64,
    pub(crate) bytes_per_job: f64,
}

impl Tally {
    /// Operations and bytes up to now; none where something could not be counted.
    pub(crate) fn now(&self) -> Option<(u64, u64)> {
        let is_whole = !self.is_broken.load(Ordering::Acquire);
        is_whole.then(|| (self.operations.load(Ordering::Acquire), self.bytes.load(Ordering::Acquire)))
    }

    /// `bytes`: none where they could not be counted.
    fn add(&self, operations: u64, bytes: Option<u64>) {
        self.operations.fetch_add(operations, Ordering::AcqRel);
        self.bytes.fetch_add(bytes.unwrap_or_default(), Ordering::AcqRel);
        self.is_broken.fetch_or(bytes.is_none(), Ordering::AcqRel);
    }
}

impl Written {
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn between(before: (u64, u64), after: (u64, u64), jobs: u64) -> Self {
        let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / jobs as f64;
        Self { operations_per_job: each(before.0, after.0), bytes_per_job: each(before.1, after.1) }
    }
}

/// A journal on RocksDB that counts what is appended to it.
pub(crate) struct Counting {
    journal: RocksJournal,
    tally: Arc<Tally>,
    log: Log,
}

impl Counting {
    pub(crate) fn new(journal: RocksJournal, tally: Arc<Tally>) -> Self {
        let log = Log::new(&journal.path().join("db"));
        Self { journal, tally, log }
    }
}

impl Journal for Counting {
    fn append(&mut self, batch: &Batch) -> Append {
        let answer = self.journal.append(batch);
        if matches!(answer, Append::Ok) {
            // The journal puts the commit's own record into each batch.
            self.tally.add(batch.changes.len() as u64 + 1, self.log.grown().ok());
        }
        answer
    }

    fn open(&mut self) -> Result<Opened, OpenError> {
        let opened = self.journal.open()?;
        // What an opening writes is nobody's.
        self.tally.add(0, self.log.grown().ok().map(|_| 0));
        Ok(opened)
    }

    fn capabilities(&self) -> Capabilities {
        self.journal.capabilities()
    }

    fn describe(&self) -> String {
        self.journal.describe()
    }

    fn set_memory(&mut self, bytes: u64) -> u64 {
        self.journal.set_memory(bytes)
    }

    fn load(&mut self, sink: &mut dyn FnMut(Loaded) -> Option<String>) -> Result<(), LoadError> {
        self.journal.load(sink)
    }

    fn resolve(&mut self, commit_no: CommitNo) -> Result<Resolution, StorageError> {
        self.journal.resolve(commit_no)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.journal.sync()
    }

    fn watermark(&mut self) -> Result<(), StorageError> {
        self.journal.watermark()
    }

    fn free_bytes(&self) -> Option<u64> {
        self.journal.free_bytes()
    }

    fn reader(&self) -> Result<Arc<dyn Reader>, StorageError> {
        self.journal.reader()
    }

    fn backup(&mut self, to: &Path) -> Result<PendingBackup, BackupError> {
        self.journal.backup(to)
    }

    fn close(&mut self) -> Result<(), StorageError> {
        self.journal.close()
    }
}

/// The log that RocksDB writes at present, by the length of its file: exact, with RocksDB's own frames in it.
struct Log {
    dir: PathBuf,
    file: PathBuf,
    length: u64,
}

impl Log {
    fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), file: PathBuf::new(), length: 0 }
    }

    /// Bytes since the last call, which must have been after the append before.
    ///
    /// Every append writes to one log. Where it did not make the last one longer it began the next, and nothing comes to the
    /// last one any more; so one look at one file does, mostly.
    fn grown(&mut self) -> io::Result<u64> {
        // RocksDB may have removed it by now.
        let length = fs::metadata(&self.file).map_or(self.length, |file| file.len());
        if length == self.length {
            (self.file, self.length) = (newest(&self.dir)?, 0);
        }
        let length = fs::metadata(&self.file)?.len();
        let grown = length.saturating_sub(self.length);
        self.length = length;
        Ok(grown)
    }
}

/// Logs are numbered as they are begun, in names of one length.
fn newest(dir: &Path) -> io::Result<PathBuf> {
    let mut newest = PathBuf::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") && path > newest {
            newest = path;
        }
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use windlass_scheduler::change::{Change, Record};
    use windlass_scheduler::job::JobId;
    use windlass_storage::RocksOptions;
    use windlass_storage::codec::Encoder;

    use super::*;

    /// Sequence number and count of a batch; a tag, a family and two lengths of a record; the frame of a fragment of 32 KiB.
    const BATCH_BYTES: u64 = 12;
    const RECORD_BYTES: u64 = 7;
    const COMMIT_BYTES: u64 = 32;
    const FRAGMENT: u64 = 32 << 10;
    const FRAGMENT_BYTES: u64 = 7;

    #[test]
    fn what_is_counted_is_what_the_logs_get_however_many_there_are() {
        let directory = tempfile::tempdir().unwrap();
        let tally = Arc::new(Tally::default());
        // Small, so that one log follows the other.
        let journal = RocksJournal::at(directory.path()).with_options(RocksOptions::within(8 << 20));
        let mut journal = Counting::new(journal, tally.clone());
        let term = journal.open().unwrap().term;
        let first = newest(&directory.path().join("db")).unwrap();
        let before = tally.now().unwrap();
        assert_eq!(before, (0, 0), "what an opening writes is nobody's");
        let (mut least, mut most, mut encoder) = (0, 0, Encoder::default());
        for step in 1..=200_u64 {
            let id = |n: u64| JobId(uuid::Uuid::from_u128(u128::from(step * 1_000 + n)));
            let changes: Vec<_> =
                (0..500).map(|n| Change::Put(Record::Result(id(n), Bytes::from_static(&[7; 200])))).collect();
            for change in &changes {
                let Change::Put(record) = change else { unreachable!() };
                let encoded = encoder.put(record).unwrap();
                least += (encoded.key.len() + encoded.value.len()) as u64;
            }
            most += BATCH_BYTES + 500 * RECORD_BYTES + COMMIT_BYTES + FRAGMENT_BYTES;
            let batch = Batch { commit_no: CommitNo { term, step }, changes };
            assert!(matches!(journal.append(&batch), Append::Ok));
        }
        assert_ne!(newest(&directory.path().join("db")).unwrap(), first, "one log followed the other");
        most += least;
        most += most / FRAGMENT * FRAGMENT_BYTES;
        let written = Written::between(before, tally.now().unwrap(), 200);
        assert!((written.operations_per_job - 501.0).abs() < 1e-9);
        #[allow(clippy::cast_precision_loss)]
        let (least, most) = (least as f64 / 200.0, most as f64 / 200.0);
        assert!(least < written.bytes_per_job && written.bytes_per_job <= most, "{least} {written:?} {most}");
        journal.close().unwrap();
    }
}
