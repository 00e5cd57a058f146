//! Dead letters by what they died of: failures that say the same, but for numbers and names, are one group.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use windlass::JobStatus;

use super::{When, failure_word, hex};

/// Characters of a message that tell one failure from another: what comes after is detail.
const TOLD_CHARS: usize = 200;
/// Characters of a sample message.
const SAMPLE_CHARS: usize = 500;

/// Dead letters that died of the same.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct DeadGroup {
    /// What tells it from others, for URLs.
    pub(crate) fingerprint: String,
    /// Their kind.
    pub(crate) kind: String,
    /// How they failed.
    pub(crate) failure: &'static str,
    /// What the latest of them said.
    pub(crate) sample: String,
    /// How many there are, of those that were looked at.
    pub(crate) count: u64,
    /// When the first of them died.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) first: Option<When>,
    /// When the last of them died.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) last: Option<When>,
    /// The latest one.
    pub(crate) latest_job: String,
    /// The queues that they are of.
    pub(crate) queues: Vec<String>,
}

/// Dead letters by what they died of.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct DeadGroups {
    /// The groups, the largest first.
    pub(crate) groups: Vec<DeadGroup>,
    /// Dead letters that were looked at: the latest of each queue.
    pub(crate) looked_at: u64,
    /// All that are retained.
    pub(crate) retained: u64,
}

impl DeadGroups {
    pub(crate) fn new<'a>(jobs: impl IntoIterator<Item = &'a JobStatus>, retained: u64) -> Self {
        let (mut groups, mut looked_at) = (BTreeMap::<String, DeadGroup>::new(), 0);
        for job in jobs {
            looked_at += 1;
            let fingerprint = fingerprint(job);
            match groups.get_mut(&fingerprint) {
                Some(group) => join(group, job),
                None => drop(groups.insert(fingerprint.clone(), begin(fingerprint, job))),
            }
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by(|a, b| b.count.cmp(&a.count).then(b.last.cmp(&a.last)));
        Self { groups, looked_at, retained }
    }
}

fn begin(fingerprint: String, job: &JobStatus) -> DeadGroup {
    DeadGroup {
        fingerprint,
        kind: job.kind.clone(),
        failure: job.failure.as_ref().map_or("failure", failure_word),
        sample: sample(job),
        count: 1,
        first: job.ended.map(When),
        last: job.ended.map(When),
        latest_job: job.id.to_string(),
        queues: vec![job.queue.clone()],
    }
}

fn join(group: &mut DeadGroup, job: &JobStatus) {
    let ended = job.ended.map(When);
    group.count += 1;
    group.first = group.first.min(ended);
    if ended > group.last {
        (group.last, group.sample, group.latest_job) = (ended, sample(job), job.id.to_string());
    }
    if !group.queues.contains(&job.queue) {
        group.queues.push(job.queue.clone());
    }
}

fn sample(job: &JobStatus) -> String {
    job.failure.iter().flat_map(|failure| failure.message.chars()).take(SAMPLE_CHARS).collect()
}

/// What tells one cause of death from another, in 16 hexadecimal digits.
pub(crate) fn fingerprint(job: &JobStatus) -> String {
    let failure = job.failure.as_ref();
    let message = failure.map(|failure| failure.message.as_str()).unwrap_or_default();
    let mut hash = Sha256::new();
    for part in [job.kind.as_str(), failure.map_or("", failure_word), &told(message)] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hex(&hash.finalize()[..8])
}

/// A message without what differs from job to job: numbers, ids in hexadecimal, what stands in quotes.
fn told(message: &str) -> String {
    let (mut told, mut word, mut quote) = (String::new(), String::new(), None);
    for char in message.chars().take(TOLD_CHARS).chain([' ']) {
        if let Some(end) = quote {
            quote = Some(end).filter(|end| *end != char);
            continue;
        }
        if char.is_alphanumeric() || char == '-' || char == '_' {
            word.push(char);
            continue;
        }
        // A quote within a word is an apostrophe.
        if matches!(char, '"' | '`') || (char == '\'' && word.is_empty()) {
            quote = Some(char);
        }
        let is_of_this_job = word.chars().any(|char| char.is_ascii_digit());
        told.push_str(if is_of_this_job { "#" } else { &word });
        told.push(char);
        word.clear();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_job_to_job_is_left_out() {
        let same = [
            ("order 17 is gone", "order 99871 is gone"),
            ("no user `ada`", "no user `bob`"),
            (
                "can't find 0190f3c4-aaaa-7000-8000-000000000001: gone",
                "can't find 0290f3c4-aaaa-7000-8000-000000000001: gone",
            ),
            ("timeout after 30.5s to 10.0.0.1:80", "timeout after 1.9s to 10.0.0.7:443"),
        ];
        for (one, other) in same {
            assert_eq!(told(one), told(other));
        }
        let different = [
            ("order 17 is gone", "order 17 is paid"),
            ("connection refused", "connection reset"),
            ("can't find it", "can't see it"),
        ];
        for (one, other) in different {
            assert_ne!(told(one), told(other));
        }
    }
}
