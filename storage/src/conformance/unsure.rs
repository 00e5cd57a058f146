//! A wrapper whose appends can be made to answer `Unknown`, so that the suite can ask what became of them.
//!
//! Never changes what the inner journal does with a batch: it is passed on whole, or not at all.

use std::sync::Arc;

use crate::error::{LoadError, OpenError, StorageError};
use crate::journal::{Append, Batch, Capabilities, CommitNo, Journal, Loaded, Opened, Reader, Resolution};

/// What becomes of a batch whose append answers [`Append::Unknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is written all the same.
    Kept,
    /// It is not written.
    Lost,
}

/// A journal that does not always know what it did.
#[derive(Debug)]
pub struct Unsure<J> {
    inner: J,
    next: Option<Fate>,
    poison: Option<StorageError>,
}

impl<J> Unsure<J> {
    /// Wraps a journal; without [`next_append`](Self::next_append) nothing changes.
    pub const fn new(inner: J) -> Self {
        Self { inner, next: None, poison: None }
    }

    /// The next append answers [`Append::Unknown`], and its batch has this fate.
    pub const fn next_append(&mut self, fate: Fate) {
        self.next = Some(fate);
    }

    fn sound(&self) -> Result<(), StorageError> {
        self.poison.as_ref().map_or(Ok(()), |error| Err(error.poisoned()))
    }
}

impl<J: Journal> Journal for Unsure<J> {
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
        self.sound().map_err(LoadError::Unreadable)?;
        self.inner.load(sink)
    }

    fn append(&mut self, batch: &Batch) -> Append {
        if let Err(error) = self.sound() {
            return Append::Unknown(error);
        }
        let Some(fate) = self.next.take() else { return self.inner.append(batch) };
        if fate == Fate::Kept {
            let answer = self.inner.append(batch);
            assert!(matches!(answer, Append::Ok), "a batch that is to be kept must be written: {answer:?}");
        }
        let error = StorageError::Other { place: self.describe(), reason: "the answer went missing".to_owned() };
        self.poison = Some(error.clone());
        Append::Unknown(error)
    }

    fn resolve(&mut self, commit_no: CommitNo) -> Result<Resolution, StorageError> {
        self.sound()?;
        self.inner.resolve(commit_no)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.sound()?;
        self.inner.sync()
    }

    fn watermark(&mut self) -> Result<(), StorageError> {
        self.sound()?;
        self.inner.watermark()
    }

    fn free_bytes(&self) -> Option<u64> {
        self.inner.free_bytes()
    }

    fn reader(&self) -> Result<Arc<dyn Reader>, StorageError> {
        self.inner.reader()
    }

    fn close(&mut self) -> Result<(), StorageError> {
        self.inner.close()?;
        self.poison.take().map_or(Ok(()), |error| Err(error.poisoned()))
    }
}
