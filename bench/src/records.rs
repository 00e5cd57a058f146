//! The records that jobs leave in a journal, for ceilings that write nothing else: as changes, and as the bytes that the
//! journal makes of them.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;
use windlass_scheduler::attempt::Output;
use windlass_scheduler::change::{Change, EndedKey, EndedRecord, Head, JobRecord, Key, Record};
use windlass_scheduler::job::{Body, JobId, Name, Priority};
use windlass_scheduler::state::EndState;
use windlass_scheduler::time::Timestamp;
use windlass_storage::codec::Encoder;

use crate::Failure;
use crate::work::{BULK, PAYLOAD_BYTES, QUEUE};

/// Retained successes: the default.
const RETAINED: u64 = 10_000;

/// What is written of each job. What all jobs of a batch share (counters, claims) is left out: it is the engine's to keep small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Records {
    /// A job comes.
    NewJobs,
    /// A job comes, and one of the bulk before is gone.
    Lives,
    /// A job comes, it ends, and one that ended before is forgotten.
    KeptLives,
}

/// A put, or a deletion where there is no value.
pub(crate) struct Write {
    pub(crate) key: Box<[u8]>,
    pub(crate) value: Option<Box<[u8]>>,
}

impl Records {
    pub(crate) const ALL: [Self; 3] = [Self::NewJobs, Self::Lives, Self::KeptLives];

    /// Of whole lives with the default retention, or with none.
    pub(crate) const fn lives(is_kept: bool) -> Self {
        if is_kept { Self::KeptLives } else { Self::Lives }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NewJobs => "new jobs",
            Self::Lives => "whole lives, keep_done None",
            Self::KeptLives => "whole lives, default retention",
        }
    }

    /// The changes of so many batches of so many jobs, as in the long run: from the first on there are earlier ones to delete.
    pub(crate) fn batches(self, batches: u64, jobs: u64) -> impl Iterator<Item = Vec<Change>> {
        let body = Arc::new(Body { payload: Bytes::from(vec![b'x'; PAYLOAD_BYTES]), version: 1, ..Body::default() });
        (0..batches).map(move |batch| {
            let first = RETAINED + batch * jobs;
            (first..first + jobs).flat_map(|n| self.of(n, &body)).collect()
        })
    }

    fn of(self, n: u64, body: &Arc<Body>) -> Vec<Change> {
        let job = JobRecord { id: job_id(n), kind: Name::from("no-op"), body: body.clone(), head: head(n) };
        let comes = Change::Put(Record::Job(job));
        let gone = |n: u64| Change::Delete(Key::Job(job_id(n)));
        match self {
            Self::NewJobs => vec![comes],
            Self::Lives => vec![comes, gone(n - BULK)],
            Self::KeptLives => {
                let forgotten = Change::Delete(Key::Ended(ended_key(n - RETAINED)));
                vec![comes, Change::Put(Record::Ended(Box::new(ended(n)))), forgotten, gone(n - RETAINED)]
            }
        }
    }
}

/// The bytes that the journal writes of these changes, in the order of their keys as it does: RocksDB is faster at that.
pub(crate) fn encoded(changes: &[Change], encoder: &mut Encoder) -> Result<Vec<Write>, Failure> {
    let write = |change: &Change| match change {
        Change::Put(record) => {
            let encoded = encoder.put(record)?;
            Ok(Write { key: encoded.key.into(), value: Some(encoded.value.into()) })
        }
        Change::Delete(key) => Ok(Write { key: encoder.key(key)?.1.into(), value: None }),
    };
    let mut writes = changes.iter().map(write).collect::<Result<Vec<_>, Failure>>()?;
    writes.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(writes)
}

/// Ids that rise as those of version 7 do.
fn job_id(n: u64) -> JobId {
    let spread = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    JobId(Uuid::from_u128((0x0192 << 112) | (u128::from(n / 100) << 80) | u128::from(spread)))
}

fn head(n: u64) -> Head {
    Head {
        queue: Name::from(QUEUE),
        priority: Priority::NORMAL,
        arrival: i64::try_from(n).unwrap_or(i64::MAX),
        created: Timestamp(1_700_000_000_000 + n),
        due: None,
        due_by_wall: false,
        expires: None,
        deadline: None,
        timeout_ms: None,
        policy: None,
        attempts_ended: 0,
        failures: 0,
        lost: 0,
        cancel_requested: false,
    }
}

fn ended_key(n: u64) -> EndedKey {
    EndedKey { queue: Name::from(QUEUE), state: EndState::Done, end_no: n }
}

fn ended(n: u64) -> EndedRecord {
    EndedRecord {
        key: ended_key(n),
        id: job_id(n),
        kind: Name::from("no-op"),
        head: head(n),
        at: Timestamp(1_700_000_000_000 + n),
        started: Some(Timestamp(1_700_000_000_000 + n)),
        attempt_recorded: 0,
        edits: 0,
        bytes: PAYLOAD_BYTES as u64,
        output: Output::None,
        failure: None,
    }
}
