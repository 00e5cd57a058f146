//! Keys of uniqueness: which jobs may stand for one another, and which may not run beside one another.

use alloc::collections::BTreeSet;
use alloc::format;

use super::story::{Promise, Story};
use super::{Checker, Intent, Law};
use crate::job::JobId;

/// What is known of a key.
#[derive(Debug, Default)]
pub(super) struct KeySeen {
    jobs: BTreeSet<JobId>,
    /// The bytes of all of them: a job may get any others', whichever was called first.
    payloads: BTreeSet<u64>,
}

impl Checker {
    pub(super) fn note_key(&mut self, job: &Intent) {
        if let Some(alone) = job.alone {
            let seen = self.keys.entry(alone.key).or_default();
            seen.jobs.insert(job.id);
            seen.payloads.insert(job.payload);
        }
    }

    /// Whether these can be a job's bytes.
    pub(super) fn has_payload(&self, story: &Story, payload: u64) -> bool {
        let of_key = story.intent.alone.and_then(|alone| self.keys.get(&alone.key));
        story.has_payload(payload) || of_key.is_some_and(|seen| seen.payloads.contains(&payload))
    }

    /// Another job stands for this one, which is none.
    pub(super) fn stands_for(&mut self, id: JobId, other: JobId) {
        let Some(story) = self.stories.get(&id) else { return };
        let was_seen = story.promise == Promise::Seen && !story.is_shared();
        let lets_go_sooner = story.intent.alone.is_some_and(|alone| !alone.until_end);
        if was_seen {
            self.broken(Law::NothingInvented, Some(id), format!("{id} is told to be {other}, and ran"));
        }
        if !self.keys.values().any(|seen| seen.jobs.contains(&id) && seen.jobs.contains(&other)) {
            let found = format!("{id} is told to be {other}, which has not its key");
            self.broken(Law::NothingInvented, Some(id), found);
        }
        // It may have brought its words along: then that one has the key no longer than they say.
        if lets_go_sooner {
            self.with(other, |story| {
                if let Some(alone) = &mut story.intent.alone {
                    alone.until_end = false;
                }
            });
        }
        self.with(id, |story| {
            if story.promise == Promise::Open {
                story.promise = Promise::Never;
                story.is_merged = true;
            }
        });
    }

    /// Of those that have a key until they end, one runs. (A broken store may have forgotten one whose code runs on.)
    pub(super) fn judge_alone(&mut self, story: &Story) {
        let (id, key) = (story.intent.id, story.intent.alone.map(|alone| alone.key));
        let is_judged = |story: &Story| story.intent.alone.is_some_and(|alone| alone.until_end) && !story.is_shared();
        let Some(seen) = story.intent.alone.filter(|_| is_judged(story)).and_then(|alone| self.keys.get(&alone.key))
        else {
            return;
        };
        // A call that nobody heard of again may have changed what one of them says.
        let is_open =
            |other: &Story| other.promise == Promise::Open && other.intent.alone.is_some_and(|alone| !alone.until_end);
        if seen.jobs.iter().any(|other| self.stories.get(other).is_some_and(is_open)) {
            return;
        }
        // One that came anew under a known id may have another key.
        let has_key = |other: &Story| other.intent.alone.map(|alone| alone.key) == key;
        let mut others = seen.jobs.iter().filter(|other| **other != id && self.running.contains_key(other));
        let beside = others.find(|other| {
            let other = self.stories.get(other);
            other.is_some_and(|other| has_key(other) && is_judged(other) && !other.ran_through_a_break)
        });
        if let Some(other) = beside {
            let found = format!("{id} starts beside {other}, which has the same key until its end");
            self.broken(Law::OneAKey, Some(id), found);
        }
    }
}
