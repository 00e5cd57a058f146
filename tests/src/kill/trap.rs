//! A journal around a journal, which kills its process inside a chosen call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use windlass::RocksJournal;
use windlass::storage::{
    Append, Batch, Capabilities, CommitNo, Journal, LoadError, Loaded, OpenError, Opened, Reader, Resolution,
    StorageError,
};

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

/// Where, and at the how-manieth such call while attempts run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trap {
    /// The call.
    pub call: Call,
    /// The moment of the call.
    pub moment: Moment,
    /// The how-manieth such call.
    pub nth: u64,
}

const PLACES: [(Call, Moment, &str); 13] = [
    (Call::Append, Moment::Before, "append-before"),
    (Call::Append, Moment::During, "append-during"),
    (Call::Append, Moment::After, "append-after"),
    (Call::Sync, Moment::Before, "sync-before"),
    (Call::Sync, Moment::During, "sync-during"),
    (Call::Sync, Moment::After, "sync-after"),
    (Call::Watermark, Moment::Before, "watermark-before"),
    (Call::Watermark, Moment::After, "watermark-after"),
    (Call::Open, Moment::After, "open-after"),
    (Call::Load, Moment::During, "load-during"),
    (Call::Load, Moment::After, "load-after"),
    (Call::First, Moment::Before, "first-append-before"),
    (Call::First, Moment::After, "first-append-after"),
];

impl Trap {
    /// Its name.
    pub fn place(self) -> &'static str {
        let is_here = |place: &&(Call, Moment, &str)| (place.0, place.1) == (self.call, self.moment);
        PLACES.iter().find(is_here).map_or("nowhere", |place| place.2)
    }

    /// `None` if no place has this name.
    pub fn at(place: &str, nth: u64) -> Option<Self> {
        let (call, moment, _) = PLACES.into_iter().find(|(_, _, name)| *name == place)?;
        // There is one watermark a second, so the first one has to do.
        let nth = if call == Call::Watermark { 1 } else { nth };
        Some(Self { call, moment, nth })
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
}

impl Trapped {
    fn is_counted(&self, call: Call) -> bool {
        let is_at_work = matches!(call, Call::Append | Call::Sync | Call::Watermark);
        !is_at_work || self.running.load(Ordering::SeqCst) > 0
    }

    fn caught<T>(&mut self, call: Call, work: impl FnOnce(&mut RocksJournal) -> T) -> T {
        let Some(trap) = self.trap.filter(|trap| trap.call == call && self.is_counted(call)) else {
            return work(&mut self.inner);
        };
        self.seen += 1;
        let is_once = matches!(call, Call::Open | Call::Load | Call::First);
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
        self.caught(Call::Open, Journal::open)
    }

    fn load(&mut self, sink: &mut dyn FnMut(Loaded) -> Option<String>) -> Result<(), LoadError> {
        let trap = self.trap.filter(|trap| (trap.call, trap.moment) == (Call::Load, Moment::During));
        let mut left = trap.map(|trap| trap.nth);
        let mut sink = |loaded| {
            left = left.map(|left| left - 1);
            if left == Some(0) {
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
        self.caught(Call::Append, |inner| inner.append(batch))
    }

    fn resolve(&mut self, commit_no: CommitNo) -> Result<Resolution, StorageError> {
        self.inner.resolve(commit_no)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.caught(Call::Sync, Journal::sync)
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
        self.inner.close()
    }
}
