//! A journal around a journal, which kills its process inside a chosen call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use windlass::RocksJournal;
use windlass::storage::{
    Append, Batch, Capabilities, CommitNo, Journal, LoadError, Loaded, OpenError, Opened, Reader, Resolution,
    StorageError,
};
use windlass_scheduler::change::{Change, Key, Record, Setting, SettingKey};
use windlass_scheduler::state::EndState;

use crate::kill::pipe::Line;

/// The calls that may be the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// An append.
    Append,
    /// A sync.
    Sync,
    /// A watermark.
    Watermark,
    /// While it comes back.
    Open,
    /// While it loads.
    Load,
    /// The first append of all.
    First,
    /// While it stops.
    Close,
}

/// The moment of the call at which the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before anything of it was done.
    Before,
    /// While it is done: the parent kills when it hears of it.
    During,
    /// After all of it was done, before anyone was told.
    After,
}

/// A change of state that a batch carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// A job is accepted.
    Enqueue,
    /// Attempts are handed out.
    Claim,
    /// A job succeeds.
    Done,
    /// An attempt failed and there will be another.
    Retry,
    /// A job becomes a dead letter.
    Dead,
    /// A retained job is forgotten.
    Purge,
    /// A queue is paused.
    Pause,
    /// A queue is resumed.
    Resume,
}

impl Move {
    fn is_in(self, batch: &Batch) -> bool {
        batch.changes.iter().any(|change| match (self, change) {
            (Self::Enqueue, Change::Put(Record::Job(_)))
            | (Self::Claim, Change::Put(Record::Claims(_)))
            | (Self::Purge, Change::Delete(Key::Ended(_))) => true,
            (Self::Done, Change::Put(Record::Ended(end))) => end.key.state == EndState::Done,
            (Self::Dead, Change::Put(Record::Ended(end))) => end.key.state == EndState::Dead,
            (Self::Retry, Change::Put(Record::Head(_, head))) => head.failures > 0,
            (Self::Pause, Change::Put(Record::Setting(setting))) => matches!(setting, Setting::Paused(_)),
            (Self::Resume, Change::Delete(Key::Setting(key))) => matches!(key, SettingKey::Paused(_)),
            _ => false,
        })
    }
}

/// Where, and at the how-manieth such call while attempts run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trap {
    /// The call.
    pub call: Call,
    /// The moment of the call.
    pub moment: Moment,
    /// Only calls for this change count: appends that carry it, syncs that are the first after one.
    pub change: Option<Move>,
    /// The how-manieth such call.
    pub nth: u64,
}

type Place = (Call, Moment, Option<Move>, &'static str);

const PLACES: [Place; 41] = [
    (Call::Append, Moment::Before, None, "append-before"),
    (Call::Append, Moment::During, None, "append-during"),
    (Call::Append, Moment::After, None, "append-after"),
    (Call::Sync, Moment::Before, None, "sync-before"),
    (Call::Sync, Moment::During, None, "sync-during"),
    (Call::Sync, Moment::After, None, "sync-after"),
    (Call::Watermark, Moment::Before, None, "watermark-before"),
    (Call::Watermark, Moment::After, None, "watermark-after"),
    (Call::Open, Moment::Before, None, "open-before"),
    (Call::Open, Moment::After, None, "open-after"),
    (Call::Load, Moment::Before, None, "load-before"),
    (Call::Load, Moment::During, None, "load-during"),
    (Call::Load, Moment::After, None, "load-after"),
    (Call::First, Moment::Before, None, "first-append-before"),
    (Call::First, Moment::After, None, "first-append-after"),
    (Call::Close, Moment::Before, None, "close-before"),
    (Call::Close, Moment::After, None, "close-after"),
    (Call::Append, Moment::Before, Some(Move::Enqueue), "enqueue-handled"),
    (Call::Append, Moment::After, Some(Move::Enqueue), "enqueue-written"),
    (Call::Sync, Moment::After, Some(Move::Enqueue), "enqueue-synced"),
    (Call::Append, Moment::Before, Some(Move::Claim), "claim-handled"),
    (Call::Append, Moment::After, Some(Move::Claim), "claim-written"),
    (Call::Sync, Moment::After, Some(Move::Claim), "claim-synced"),
    (Call::Append, Moment::Before, Some(Move::Done), "done-handled"),
    (Call::Append, Moment::After, Some(Move::Done), "done-written"),
    (Call::Sync, Moment::After, Some(Move::Done), "done-synced"),
    (Call::Append, Moment::Before, Some(Move::Retry), "retry-handled"),
    (Call::Append, Moment::After, Some(Move::Retry), "retry-written"),
    (Call::Sync, Moment::After, Some(Move::Retry), "retry-synced"),
    (Call::Append, Moment::Before, Some(Move::Dead), "dead-handled"),
    (Call::Append, Moment::After, Some(Move::Dead), "dead-written"),
    (Call::Sync, Moment::After, Some(Move::Dead), "dead-synced"),
    (Call::Append, Moment::Before, Some(Move::Purge), "purge-handled"),
    (Call::Append, Moment::After, Some(Move::Purge), "purge-written"),
    (Call::Sync, Moment::After, Some(Move::Purge), "purge-synced"),
    (Call::Append, Moment::Before, Some(Move::Pause), "pause-handled"),
    (Call::Append, Moment::After, Some(Move::Pause), "pause-written"),
    (Call::Sync, Moment::After, Some(Move::Pause), "pause-synced"),
    (Call::Append, Moment::Before, Some(Move::Resume), "resume-handled"),
    (Call::Append, Moment::After, Some(Move::Resume), "resume-written"),
    (Call::Sync, Moment::After, Some(Move::Resume), "resume-synced"),
];

impl Trap {
    /// The names of all places.
    pub fn places() -> impl Iterator<Item = &'static str> {
        PLACES.iter().map(|place| place.3)
    }

    /// Its name.
    pub fn place(self) -> &'static str {
        let is_here = |place: &&Place| (place.0, place.1, place.2) == (self.call, self.moment, self.change);
        PLACES.iter().find(is_here).map_or("nowhere", |place| place.3)
    }

    /// `None` if no place has this name.
    pub fn at(place: &str, nth: u64) -> Option<Self> {
        let (call, moment, change, _) = PLACES.into_iter().find(|(.., name)| *name == place)?;
        // There is one watermark a second, so the first one has to do.
        let nth = if call == Call::Watermark { 1 } else { nth };
        Some(Self { call, moment, change, nth })
    }
}

/// The journal with the trap in it.
pub struct Trapped {
    /// The journal around which it is.
    pub inner: RocksJournal,
    /// Where it dies; `None`: nowhere.
    pub trap: Option<Trap>,
    /// Attempts that run: calls without any do not count.
    pub running: Arc<AtomicU64>,
    /// Calls that counted.
    pub seen: u64,
    /// The change that is waited for was appended, and not synced yet.
    pub is_carried: bool,
    /// It was opened and not closed since: closing what is closed does not count.
    pub is_open: bool,
}

impl Trapped {
    /// Around this journal, before anything has happened.
    pub fn new(inner: RocksJournal, trap: Option<Trap>, running: Arc<AtomicU64>) -> Self {
        Self { inner, trap, running, seen: 0, is_carried: false, is_open: false }
    }

    fn is_counted(&self, trap: Trap) -> bool {
        let is_at_work = matches!(trap.call, Call::Append | Call::Sync | Call::Watermark);
        let is_meant = trap.change.is_none() || self.is_carried;
        is_meant && (!is_at_work || self.running.load(Ordering::SeqCst) > 0)
    }

    fn caught<T>(&mut self, call: Call, work: impl FnOnce(&mut RocksJournal) -> T) -> T {
        let Some(trap) = self.trap.filter(|trap| trap.call == call && self.is_counted(*trap)) else {
            return work(&mut self.inner);
        };
        self.seen += 1;
        let is_once = matches!(call, Call::Open | Call::Load | Call::First | Call::Close);
        if self.seen != if is_once { 1 } else { trap.nth } {
            return work(&mut self.inner);
        }
        let tell = || Line::Trap(trap.place().to_owned()).tell();
        match trap.moment {
            Moment::Before => {
                tell();
                std::process::abort()
            }
            Moment::During => {
                tell();
                work(&mut self.inner)
            }
            Moment::After => {
                let _ = work(&mut self.inner);
                tell();
                std::process::abort()
            }
        }
    }
}

impl Journal for Trapped {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn open(&mut self) -> Result<Opened, OpenError> {
        let opened = self.caught(Call::Open, Journal::open);
        self.is_open = opened.is_ok();
        opened
    }

    fn load(&mut self, sink: &mut dyn FnMut(Loaded) -> Option<String>) -> Result<(), LoadError> {
        let trap = self.trap.filter(|trap| (trap.call, trap.moment) == (Call::Load, Moment::During));
        let mut left = trap.map(|trap| trap.nth);
        let mut sink = |loaded| {
            left = left.map(|left| left - 1);
            if left == Some(0) {
                Line::Trap("load-during".to_owned()).tell();
                std::process::abort();
            }
            sink(loaded)
        };
        self.caught(Call::Load, |inner| inner.load(&mut sink))
    }

    fn append(&mut self, batch: &Batch) -> Append {
        if self.trap.is_some_and(|trap| trap.call == Call::First) {
            return self.caught(Call::First, |inner| inner.append(batch));
        }
        self.is_carried |= self.trap.and_then(|trap| trap.change).is_some_and(|change| change.is_in(batch));
        let answer = self.caught(Call::Append, |inner| inner.append(batch));
        // What waits for a sync goes on waiting.
        self.is_carried &= self.trap.is_some_and(|trap| trap.call == Call::Sync);
        answer
    }

    fn resolve(&mut self, commit_no: CommitNo) -> Result<Resolution, StorageError> {
        self.inner.resolve(commit_no)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        let synced = self.caught(Call::Sync, Journal::sync);
        self.is_carried = false;
        synced
    }

    fn watermark(&mut self) -> Result<(), StorageError> {
        self.caught(Call::Watermark, Journal::watermark)
    }

    fn free_bytes(&self) -> Option<u64> {
        self.inner.free_bytes()
    }

    fn reader(&self) -> Result<Arc<dyn Reader>, StorageError> {
        self.inner.reader()
    }

    fn close(&mut self) -> Result<(), StorageError> {
        if std::mem::take(&mut self.is_open) { self.caught(Call::Close, Journal::close) } else { self.inner.close() }
    }
}
