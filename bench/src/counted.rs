//! Which of very many jobs have started: a bit each, where ten million ids would be memory of their own.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use uuid::Uuid;
use windlass::{JobId, new_job_id};

use crate::Failure;

/// Jobs whose ids count up from one, and which of them have started.
pub(crate) struct Counted {
    base: u128,
    bits: Vec<AtomicU64>,
    left: AtomicU64,
    again: AtomicU64,
    all: Notify,
}

impl Counted {
    /// Of so many jobs. `base`: the first one's id, as a number; see [`base`].
    pub(crate) fn new(base: u128, jobs: u64) -> Result<Self, Failure> {
        let words = usize::try_from(jobs.div_ceil(64))?;
        let bits = (0..words).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { base, bits, left: AtomicU64::new(jobs), again: AtomicU64::new(0), all: Notify::new() })
    }

    /// The id of the job with this number.
    pub(crate) fn id(&self, n: u64) -> JobId {
        JobId(Uuid::from_u128(self.base + u128::from(n)))
    }

    /// A handler has this job in hand.
    pub(crate) fn note(&self, id: JobId) {
        let n = usize::try_from(id.0.as_u128().wrapping_sub(self.base)).unwrap_or(usize::MAX);
        let bit = 1 << (n % 64);
        let is_new = self.bits.get(n / 64).is_some_and(|word| word.fetch_or(bit, Ordering::AcqRel) & bit == 0);
        if !is_new {
            self.again.fetch_add(1, Ordering::AcqRel);
        } else if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all.notify_one();
        }
    }

    /// Jobs that have not started.
    pub(crate) fn left(&self) -> u64 {
        self.left.load(Ordering::Acquire)
    }

    /// Starts of a job that had started before or is none of these, and jobs that never started.
    pub(crate) fn inexact(&self) -> u64 {
        self.again.load(Ordering::Acquire) + self.left()
    }

    /// Waits until all have started.
    pub(crate) async fn all_started(&self) {
        self.all.notified().await;
    }
}

/// A first id with room behind it for all that count up from it.
pub(crate) fn base() -> u128 {
    new_job_id().0.as_u128()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_job_that_starts_twice_or_never_is_told() {
        let counted = Counted::new(base(), 130).unwrap();
        assert_eq!(counted.inexact(), 130);
        (0..130).for_each(|n| counted.note(counted.id(n)));
        assert_eq!((counted.left(), counted.inexact()), (0, 0));
        counted.note(counted.id(129));
        assert_eq!(counted.inexact(), 1, "twice");
        counted.note(counted.id(1_000));
        counted.note(new_job_id());
        assert_eq!(counted.inexact(), 3, "none of ours");
    }
}
