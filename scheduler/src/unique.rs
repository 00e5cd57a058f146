//! Uniqueness: a key under which there is one job at a time, how long that job has the key, and what becomes of a second one.
//!
//! Owns the words and what a key's holder holds it by. A key is taken in the commit that accepts its job and given back in the one
//! that ends it, so that none can be left behind; a job's own record says which key it came with, and the key's record who has it.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use crate::job::{JobId, Name};
use crate::time::Timestamp;

/// How long a job has its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Until {
    /// Until its first attempt is handed out.
    Started,
    /// Until it has ended, in whatever way.
    #[default]
    Done,
    /// For this time from its acceptance by the wall clock, whether it has ended or not.
    Window {
        /// Milliseconds.
        ms: u64,
    },
}

/// What becomes of a job whose key another one has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnConflict {
    /// It is dropped, and its caller is told the other's id.
    #[default]
    Existing,
    /// The other one, if it has not begun, gets its payload, its labels and its times; otherwise as with [`Self::KeepLast`].
    Replace {
        /// Its new time is at most so long after the acceptance of the other one, in milliseconds: whoever is put off again and
        /// again has a turn at last.
        within_ms: Option<u64>,
    },
    /// It waits until the key is free, and has it then. Only the last one waits: it takes the place of one that waits already.
    KeepLast,
}

/// The key that a job comes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unique {
    /// The key. Whose it is was said when the job was handed in: a job that moves to another queue takes it along.
    pub key: Arc<UniqueKey>,
    /// How long the job has it.
    pub until: Until,
    /// And what if another one has it.
    pub on_conflict: OnConflict,
}

/// Of which jobs one has the key. Queues at level `Memory` have keys of their own: what a crash takes holds up nothing that is
/// journaled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyOf {
    /// Jobs of this kind.
    Kind(Name),
    /// Jobs that came into this queue.
    Queue(Name),
    /// All jobs.
    Engine,
}

/// A key, as it is told from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UniqueKey {
    /// Whose.
    pub of: KeyOf,
    /// Its text, of 1 to [`Self::BYTES_MAX`] bytes.
    pub text: Box<str>,
}

impl UniqueKey {
    /// The longest text of a key in bytes: it stands in memory and in keys on disk.
    pub const BYTES_MAX: usize = 256;

    /// Bytes of its text and of whose it is.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of = match &self.of {
            KeyOf::Kind(name) | KeyOf::Queue(name) => name.as_str().len(),
            KeyOf::Engine => 0,
        };
        of + self.text.len()
    }
}

impl fmt::Display for UniqueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.of {
            KeyOf::Kind(kind) => write!(f, "`{}` of kind `{kind}`", self.text),
            KeyOf::Queue(queue) => write!(f, "`{}` of queue `{queue}`", self.text),
            KeyOf::Engine => write!(f, "`{}`", self.text),
        }
    }
}

/// Who has a key, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The key.
    pub key: Arc<UniqueKey>,
    /// The queue into which its holder came: the key's record is of that level, and its timer there.
    pub queue: Name,
    /// The kind of all who may have it or wait for it.
    pub kind: Name,
    /// Who has it; may have ended, where it has it for a time.
    pub holder: JobId,
    /// Since when.
    pub taken: Timestamp,
    /// Until when.
    pub until: Until,
    /// Who has it next, and until when then.
    pub next: Option<(JobId, Until)>,
}

impl Held {
    /// When its window is over, if it has one.
    #[must_use]
    pub const fn ends(&self) -> Option<Timestamp> {
        match self.until {
            Until::Window { ms } => Some(self.taken.plus_ms(ms)),
            Until::Started | Until::Done => None,
        }
    }

    /// Whether this moment is within its window. One that was taken further ahead than its window is long was taken by a clock that
    /// has been set since, and would stand for who knows how long.
    #[must_use]
    pub const fn is_within(&self, now: Timestamp) -> bool {
        match self.until {
            Until::Window { ms } => now.since_ms(self.taken) < ms && self.taken.since_ms(now) <= ms,
            Until::Started | Until::Done => true,
        }
    }
}
