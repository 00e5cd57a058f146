//! What a store holds, read from its records.

use alloc::collections::BTreeMap;

use super::{Dump, Kept, fingerprint};
use crate::attempt::FailureKind;
use crate::change::{EndedRecord, Head, JobRecord, Record};
use crate::job::JobId;

impl Dump {
    /// What these records say, in any order: all that stand, or what a load streams of them (a job joined with its head, and
    /// then nothing of the bytes of one that has ended).
    #[must_use]
    pub fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut dump = Self::default();
        let mut jobs: BTreeMap<JobId, &JobRecord> = BTreeMap::new();
        let mut heads: BTreeMap<JobId, &Head> = BTreeMap::new();
        let mut claims: BTreeMap<JobId, u32> = BTreeMap::new();
        for record in records {
            match record {
                Record::Job(job) => drop(jobs.insert(job.id, job)),
                Record::Head(id, head) => drop(heads.insert(*id, head)),
                Record::Ended(ended) => dump.jobs.push(over(ended)),
                Record::Counters(counters) => dump.counters.push(counters.clone()),
                Record::Claims(wave) => {
                    for claim in &wave.entries {
                        let last = claims.entry(claim.id).or_default();
                        *last = claim.attempt.max(*last);
                    }
                }
                _ => {}
            }
        }
        for kept in &mut dump.jobs {
            kept.payload = jobs.remove(&kept.id).map(|job| fingerprint(&job.body.payload));
        }
        let live = jobs.into_values().map(|job| {
            let head = heads.get(&job.id).copied().unwrap_or(&job.head);
            Kept {
                id: job.id,
                queue: head.queue.clone(),
                ended: None,
                attempts_ended: head.attempts_ended,
                // A claim of an attempt that has ended is stale.
                open: claims.get(&job.id).copied().filter(|open| *open > head.attempts_ended),
                failures: head.failures,
                is_condemned: false,
                payload: Some(fingerprint(&job.body.payload)),
            }
        });
        dump.jobs.extend(live);
        dump
    }
}

fn over(ended: &EndedRecord) -> Kept {
    let kind = ended.failure.as_ref().map(|failure| failure.kind);
    Kept {
        id: ended.id,
        queue: ended.key.queue.clone(),
        ended: Some(ended.key.state),
        attempts_ended: ended.head.attempts_ended,
        open: None,
        failures: ended.head.failures,
        is_condemned: matches!(kind, Some(FailureKind::Lost | FailureKind::Decode)),
        payload: None,
    }
}
