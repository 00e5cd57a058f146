//! The key that a job came with, and the body of the record of who has one.

use std::sync::Arc;

use bincode::{BorrowDecode as BorrowDecodeDerive, Encode};
use uuid::Uuid;
use windlass_scheduler::job::{JobId, Name};
use windlass_scheduler::time::Timestamp;
use windlass_scheduler::unique::{Held, KeyOf, OnConflict, Unique, UniqueKey, Until};

#[derive(Encode, BorrowDecodeDerive)]
enum OfV1<'a> {
    Kind(&'a str),
    Queue(&'a str),
    Engine,
}

#[derive(Encode, BorrowDecodeDerive)]
enum UntilV1 {
    Started,
    Done,
    Window { ms: u64 },
}

#[derive(Encode, BorrowDecodeDerive)]
enum OnConflictV1 {
    Existing,
    Replace { within_ms: Option<u64> },
    KeepLast,
}

/// Part of a job's body.
#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct UniqueV1<'a> {
    of: OfV1<'a>,
    text: &'a str,
    until: UntilV1,
    on_conflict: OnConflictV1,
}

#[derive(Encode, BorrowDecodeDerive)]
struct NextV1 {
    id: [u8; 16],
    until: UntilV1,
}

/// The key itself stands in the record's key.
#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct HeldV1<'a> {
    queue: &'a str,
    kind: &'a str,
    holder: [u8; 16],
    taken: u64,
    until: UntilV1,
    next: Option<NextV1>,
}

impl From<Until> for UntilV1 {
    fn from(until: Until) -> Self {
        match until {
            Until::Started => Self::Started,
            Until::Done => Self::Done,
            Until::Window { ms } => Self::Window { ms },
        }
    }
}

impl From<&UntilV1> for Until {
    fn from(until: &UntilV1) -> Self {
        match *until {
            UntilV1::Started => Self::Started,
            UntilV1::Done => Self::Done,
            UntilV1::Window { ms } => Self::Window { ms },
        }
    }
}

impl<'a> UniqueV1<'a> {
    pub(crate) fn new(unique: &'a Unique) -> Self {
        Self {
            of: match &unique.key.of {
                KeyOf::Kind(kind) => OfV1::Kind(kind.as_str()),
                KeyOf::Queue(queue) => OfV1::Queue(queue.as_str()),
                KeyOf::Engine => OfV1::Engine,
            },
            text: &unique.key.text,
            until: unique.until.into(),
            on_conflict: match unique.on_conflict {
                OnConflict::Existing => OnConflictV1::Existing,
                OnConflict::Replace { within_ms } => OnConflictV1::Replace { within_ms },
                OnConflict::KeepLast => OnConflictV1::KeepLast,
            },
        }
    }

    pub(crate) fn domain(&self, intern: &mut dyn FnMut(&str) -> Name) -> Unique {
        let of = match self.of {
            OfV1::Kind(kind) => KeyOf::Kind(intern(kind)),
            OfV1::Queue(queue) => KeyOf::Queue(intern(queue)),
            OfV1::Engine => KeyOf::Engine,
        };
        Unique {
            key: Arc::new(UniqueKey { of, text: self.text.into() }),
            until: Until::from(&self.until),
            on_conflict: match self.on_conflict {
                OnConflictV1::Existing => OnConflict::Existing,
                OnConflictV1::Replace { within_ms } => OnConflict::Replace { within_ms },
                OnConflictV1::KeepLast => OnConflict::KeepLast,
            },
        }
    }
}

impl<'a> HeldV1<'a> {
    pub(crate) fn new(held: &'a Held) -> Self {
        Self {
            queue: held.queue.as_str(),
            kind: held.kind.as_str(),
            holder: *held.holder.0.as_bytes(),
            taken: held.taken.0,
            until: held.until.into(),
            next: held.next.map(|(id, until)| NextV1 { id: *id.0.as_bytes(), until: until.into() }),
        }
    }

    pub(crate) fn domain(&self, key: UniqueKey, intern: &mut dyn FnMut(&str) -> Name) -> Held {
        let id = |bytes| JobId(Uuid::from_bytes(bytes));
        Held {
            key: Arc::new(key),
            queue: intern(self.queue),
            kind: intern(self.kind),
            holder: id(self.holder),
            taken: Timestamp(self.taken),
            until: Until::from(&self.until),
            next: self.next.as_ref().map(|next| (id(next.id), Until::from(&next.until))),
        }
    }
}
