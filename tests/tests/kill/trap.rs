//! A journal around a journal, which kills its process inside a chosen call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use windlass::RocksJournal;
use windlass::storage::{
    Append, Batch, Capabilities, CommitNo, Journal, LoadError, Loaded, OpenError, Opened, Reader, Resolution,
    StorageError,
};

use crate::pipe::Line;

/// The calls that may be the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Append,
    Sync,
    Watermark,
}

/// The moment of the call at which the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before anything of it was done.
    Before,
    /// While it is done: the parent kills when it hears of it.
    During,
    /// After all of it was done, before anyone was told.
    After,
}

/// Where, and at the how-manieth such call while attempts run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trap {
    pub(crate) call: Call,
    pub(crate) moment: Moment,
    pub(crate) nth: u64,
}

const PLACES: [(Call, Moment, &str); 8] = [
    (Call::Append, Moment::Before, "append-before"),
    (Call::Append, Moment::During, "append-during"),
    (Call::Append, Moment::After, "append-after"),
    (Call::Sync, Moment::Before, "sync-before"),
    (Call::Sync, Moment::During, "sync-during"),
    (Call::Sync, Moment::After, "sync-after"),
    (Call::Watermark, Moment::Before, "watermark-before"),
    (Call::Watermark, Moment::After, "watermark-after"),
];

impl Trap {
    /// The kill with this number goes here.
    pub(crate) fn number(at: u64, nth: u64) -> Self {
        let (call, moment, _) = PLACES[usize::try_from(at % PLACES.len() as u64).expect("a small number")];
        // There is one a second, so the first one has to do.
        let nth = if call == Call::Watermark { 1 } else { nth };
        Self { call, moment, nth }
    }

    pub(crate) fn place(self) -> &'static str {
        let is_here = |place: &&(Call, Moment, &str)| (place.0, place.1) == (self.call, self.moment);
        PLACES.iter().find(is_here).map_or("nowhere", |place| place.2)
    }

    pub(crate) fn parse(place: &str, nth: &str) -> Option<Self> {
        let (call, moment, _) = PLACES.into_iter().find(|(_, _, name)| *name == place)?;
        Some(Self { call, moment, nth: nth.parse().ok()? })
    }
}

/// The journal with the trap in it.
pub(crate) struct Trapped {
    pub(crate) inner: RocksJournal,
    pub(crate) trap: Option<Trap>,
    /// Attempts that run: calls without any do not count.
    pub(crate) running: Arc<AtomicU64>,
    pub(crate) seen: u64,
}

impl Trapped {
    fn caught<T>(&mut self, call: Call, work: impl FnOnce(&mut RocksJournal) -> T) -> T {
        let Some(trap) = self.trap.filter(|trap| trap.call == call && self.running.load(Ordering::SeqCst) > 0) else {
            return work(&mut self.inner);
        };
        self.seen += 1;
        if self.seen != trap.nth {
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
        self.inner.open()
    }

    fn load(&mut self, sink: &mut dyn FnMut(Loaded) -> Option<String>) -> Result<(), LoadError> {
        self.inner.load(sink)
    }

    fn append(&mut self, batch: &Batch) -> Append {
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
