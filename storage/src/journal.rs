//! The seam: what every journal promises, and the words that the writer and a journal exchange.
//!
//! A journal is an ordered, fenced, single-writer log of one shard, seen as the records that are left. It is blocking,
//! has no clock and no thread that outlives a call, and never reads in order to write. The trait's text is half of the contract;
//! the other half is the suite in `conformance` (behind the feature of that name), which every journal runs, third-party ones too.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use windlass_scheduler::change::{Change, EndedRecord, Key, Record};
use windlass_scheduler::job::{Body, JobId, Name};
use windlass_scheduler::state::EndState;

use crate::backup::PendingBackup;
use crate::error::{BackupError, LoadError, OpenError, StorageError};

/// The number of a commit: the term in which it was made, and the last step in it. Rises strictly, across reopenings
/// too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitNo {
    /// Raised and synced at every open, before anything is handed out.
    pub term: u64,
    /// The last step of the commit.
    pub step: u64,
}

impl fmt::Display for CommitNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.step)
    }
}

/// What a journal can do, fixed for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What is appended survives the death of the process.
    pub survives_process: bool,
    /// What is synced survives the loss of power.
    pub survives_power: bool,
    /// The largest batch in bytes that one append takes.
    pub batch_bytes_max: usize,
}

/// What [`Journal::open`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The new term, already durable: greater than any that this journal ever had.
    pub term: u64,
    /// The last commit that is there from earlier terms; the default where there is none.
    pub recovered: CommitNo,
}

/// What a journal's own memory is used for, in bytes: see [`Reader::memory`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalMemory {
    /// What was read and is kept.
    pub cache_bytes: u64,
    /// What was written and is not yet in a table.
    pub buffers_bytes: u64,
}

/// What a journal takes on its disk, in bytes: see [`Reader::disk`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalDisk {
    /// What stands in tables.
    pub tables_bytes: u64,
    /// What stands in the log.
    pub log_bytes: u64,
}

/// Changes that are written together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Its number; greater than every earlier one of this journal.
    pub commit_no: CommitNo,
    /// What changes, in order.
    pub changes: Vec<Change>,
}

/// The journal's answer to an append.
#[must_use]
#[derive(Debug)]
pub enum Append {
    /// Written: it survives the death of this process (as far as the journal survives it), and a later
    /// [`Journal::sync`] covers it.
    Ok,
    /// Nothing of it was written and nothing of it ever will appear; the journal is as before.
    Refused(StorageError),
    /// It may be there or not, now or after reopening. The journal is poisoned: close it, open it, and ask
    /// [`Journal::resolve`].
    Unknown(StorageError),
    /// Another owner has a later term. Nothing was written; this handle is of no use any more.
    Fenced {
        /// The later term.
        term: u64,
    },
}

/// Whether a commit is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It is, whole.
    Committed,
    /// It is not, and never will be.
    Absent,
}

/// Something that [`Journal::load`] streams.
// It is passed on at once, never stored: a box would cost every record an allocation.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum Loaded {
    /// A readable record. A job's record comes with the head that replaced its first one already in it.
    Record(Record),
    /// A record that could not be read. It has been moved, with its bytes, where nothing will touch it.
    Quarantined(Quarantined),
}

/// A record that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its key, in hexadecimal digits.
    pub key: String,
    /// What was wrong.
    pub reason: String,
}

/// An ordered, fenced, single-writer log of one shard.
///
/// A journal value starts closed and may be opened and closed any number of times. Creating one touches nothing: all
/// errors of opening come from [`open`](Self::open).
pub trait Journal: Send {
    /// What this journal can do. The same at every call.
    fn capabilities(&self) -> Capabilities;

    /// Where it is, for messages: a directory, or a word.
    fn describe(&self) -> String;

    /// How much memory the journal may take for itself from its next opening on, in bytes. Answers how much it then takes at
    /// most; a journal that keeps nothing in memory but what it stores there takes none of it.
    ///
    /// Bounds that its user gave it stand, and are answered.
    fn set_memory(&mut self, bytes: u64) -> u64 {
        let _ = bytes;
        0
    }

    /// Takes the journal for this owner and starts a new term.
    ///
    /// Must make the new term durable before it returns. Must refuse, touching nothing, what it cannot read whole: a
    /// newer format, a damaged log, a log that has gone back behind its watermark.
    ///
    /// # Errors
    /// [`OpenError`], typed by what the operator has to do.
    fn open(&mut self) -> Result<Opened, OpenError>;

    /// Streams every record that deciding needs, in this order: settings, policies, counters, ended jobs, jobs (each
    /// joined with its latest head), claims, orders, schedules, keys, flows, ends of steps, batches. Attempts, results,
    /// checkpoints, what steps left and ends of jobs of batches are left for the readers.
    ///
    /// Jobs whose end was streamed before need not be streamed: their bodies are retained for the readers.
    ///
    /// Must not lose an unreadable record: it is moved aside with its bytes and reported as [`Loaded::Quarantined`]. A
    /// job whose own record or head is unreadable goes whole, and so does a head without a job; an end takes its
    /// retained job with it, which would come to life again otherwise. The sink answers `Some(reason)` to a record that
    /// is readable but makes no sense, and the journal must then move it aside in the same way, without reporting it
    /// once more. What was moved is durable when this returns.
    ///
    /// Must refuse a whole record of a later version, and must then have moved nothing: an older version that is tried
    /// on a newer journal leaves every record to the newer one. Reports that were streamed before mean nothing then.
    ///
    /// The sink must call neither the journal nor its readers: they may wait for each other.
    ///
    /// # Errors
    /// [`LoadError`] where the journal is not open, is of a later version, or cannot be read at all.
    fn load(&mut self, sink: &mut dyn FnMut(Loaded) -> Option<String>) -> Result<(), LoadError>;

    /// Writes a batch: all of it or nothing, after all earlier ones.
    ///
    /// Must not wait for the disk's own cache (that is [`sync`](Self::sync)). Must refuse a commit number that does not
    /// rise, or whose term is before this opening's. After an answer of [`Append::Unknown`] must answer nothing but
    /// that until reopened.
    fn append(&mut self, batch: &Batch) -> Append;

    /// Whether the commit is there. To be asked after reopening, about a commit of an earlier term whose append
    /// answered [`Append::Unknown`]; about one that was refused the answer means nothing.
    ///
    /// # Errors
    /// [`StorageError`] where the journal is not open; [`StorageError::Forgotten`] for a term so old that nobody knows:
    /// the last 64 must be known.
    fn resolve(&mut self, commit_no: CommitNo) -> Result<Resolution, StorageError>;

    /// Makes everything that was appended survive the loss of power.
    ///
    /// # Errors
    /// [`StorageError`]: nothing may be believed durable that was not so before, and the journal is poisoned.
    fn sync(&mut self) -> Result<(), StorageError>;

    /// Remembers the last synced commit in such a way that a log which has gone back behind it is noticed at the next
    /// [`open`](Self::open). It costs a sync or two of its own, so the writer calls it about once a second;
    /// [`close`](Self::close) does it too. Journals that cannot go back need nothing.
    ///
    /// # Errors
    /// [`StorageError`]: the older mark stands. The journal is as good as before.
    fn watermark(&mut self) -> Result<(), StorageError> {
        Ok(())
    }

    /// Free bytes where the journal writes; `None` where that means nothing.
    fn free_bytes(&self) -> Option<u64>;

    /// A way to read what is written, from any thread. It is revoked by [`close`](Self::close).
    ///
    /// # Errors
    /// [`StorageError`] where the journal is not open.
    fn reader(&self) -> Result<Arc<dyn Reader>, StorageError>;

    /// Begins a copy of the journal that can be opened as one, to stand at `to`. What takes long is left to
    /// [`PendingBackup::finish`], which runs on another thread while this journal goes on.
    ///
    /// Everything that was appended before this call must be in the copy, and of what is appended while it is made a
    /// prefix, whole batches only. The copy must be durable, must have been opened and read through, and must appear in
    /// its place at once: whatever breaks, and whenever, nothing may stand there that looks like a copy and is none. What
    /// stood there before must be refused untouched, unless it is an empty directory. A copy that fails must leave the
    /// journal as it was. [`close`](Self::close) waits for copying that is under way.
    ///
    /// Journals that have no files say so, as this default does.
    ///
    /// # Errors
    /// [`BackupError`], typed by what the operator has to do.
    fn backup(&mut self, to: &Path) -> Result<PendingBackup, BackupError> {
        let _ = to;
        Err(BackupError::Unsupported { place: self.describe() })
    }

    /// Syncs, gives up the ownership and revokes all readers. Closing a closed journal does nothing.
    ///
    /// Must release the journal even where it cannot sync, and wait for the reads that are under way.
    ///
    /// # Errors
    /// [`StorageError`] where the last sync failed, or where the journal was poisoned and did not try: what was not
    /// synced before may be gone after a loss of power. The journal is closed all the same.
    fn close(&mut self) -> Result<(), StorageError>;
}

/// Point reads and pages of what is written, from any thread.
pub trait Reader: Send + Sync {
    /// The record under this key. A job's record comes with its latest head in it.
    ///
    /// # Errors
    /// [`StorageError::Closed`] once the journal is closed; [`StorageError::Damaged`] for a record that cannot be read.
    fn get(&self, key: &Key) -> Result<Option<Record>, StorageError>;

    /// The body of a job, live or retained, in one read.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn body(&self, id: JobId) -> Result<Option<Arc<Body>>, StorageError> {
        Ok(self
            .get(&Key::Job(id))?
            .and_then(|record| if let Record::Job(job) = record { Some(job.body) } else { None }))
    }

    /// What the journal's own memory is used for.
    ///
    /// # Errors
    /// [`StorageError::Closed`] once the journal is closed.
    fn memory(&self) -> Result<JournalMemory, StorageError> {
        Ok(JournalMemory::default())
    }

    /// What the journal takes on its disk; `None` where it is on none. It is asked for every second, and must not look at records.
    ///
    /// # Errors
    /// [`StorageError::Closed`] once the journal is closed.
    fn disk(&self) -> Result<Option<JournalDisk>, StorageError> {
        Ok(None)
    }

    /// A page of the jobs that ended so in this queue, the latest first, with end numbers below `before`
    /// (`None`: from the latest on), at most `limit`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn ended(
        &self,
        queue: &Name,
        state: EndState,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<EndedRecord>, StorageError>;
}
