//! What a killed process left: a copy of its directory, opened by the journal alone, without an engine.
//!
//! A copy, because opening changes what is there: the directory itself is left as the kill left it for the next child.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use windlass::storage::{Journal, Loaded};
use windlass::{Failure, JobId};
use windlass_scheduler::attempt::Output;
use windlass_scheduler::change::{Claims, Counters, EndedRecord, Head, JobRecord, Key, Record, Setting};
use windlass_scheduler::state::EndState;

use crate::kill::child::small;
use crate::kill::jobs::{No, Queue};

/// A live job.
pub struct Live {
    /// Its queue.
    pub queue: String,
    /// Attempts that have ended.
    pub attempts_ended: u32,
    /// Failures that count.
    pub failures: u32,
    /// Attempts lost one after the other.
    pub lost: u32,
    /// The attempt that was handed out and has not ended.
    pub open: Option<u32>,
}

/// A retained job.
pub struct Ended {
    /// The queue in which it ended.
    pub queue: String,
    /// How it ended.
    pub state: EndState,
    /// Attempts that have ended.
    pub attempts: u32,
    /// Failures that count.
    pub failures: u32,
    /// Why it is dead.
    pub failure: Option<Failure>,
}

/// All of it.
#[derive(Default)]
pub struct Image {
    /// The live jobs.
    pub live: BTreeMap<No, Live>,
    /// The retained jobs.
    pub ended: BTreeMap<No, Ended>,
    /// The counters, by queue.
    pub counters: BTreeMap<String, Counters>,
    /// Whether the queue that is paused and resumed is paused.
    pub is_paused: bool,
    claims: Vec<Claims>,
}

impl Image {
    /// Of this directory, whose owner is dead. `fresh` tells of which retained jobs the bodies and outputs are read, too.
    pub fn of(directory: &Path, fresh: impl Fn(No) -> bool) -> Self {
        let copied = tempfile::tempdir().expect("a temporary directory");
        let copy = copied.path().join("copy");
        duplicate(directory, &copy);
        let mut journal = small(&copy);
        journal.open().unwrap_or_else(|refusal| panic!("what a kill left does not open: {refusal}"));
        let mut image = Self::default();
        let mut sink = |loaded| {
            match loaded {
                Loaded::Record(record) => image.take(record),
                Loaded::Quarantined(record) => panic!("a kill damaged a record: {record:?}"),
            }
            None
        };
        journal.load(&mut sink).unwrap_or_else(|error| panic!("what a kill left does not load: {error}"));
        image.settle();
        let reader = journal.reader().expect("an open journal can be read");
        for no in image.ended.keys().copied().filter(|no| fresh(*no)) {
            let Ok(Some(Record::Job(job))) = reader.get(&Key::Job(no.id())) else { panic!("{no:?} lost its body") };
            assert_eq!(job.body.payload, no.payload(), "the payload of {no:?}");
            let result = reader.get(&Key::Result(no.id())).expect("results can be read");
            let expected = (image.ended[&no].state == EndState::Done).then(|| no.output().to_string());
            let found = result.map(|record| match record {
                Record::Result(_, bytes) => String::from_utf8(bytes.to_vec()).expect("an output is a number"),
                other => panic!("{other:?} is no result"),
            });
            assert_eq!(found, expected, "the output of {no:?}");
        }
        drop(reader);
        journal.close().expect("the copy closes");
        image
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Counters(counters) => _ = self.counters.insert(counters.queue.to_string(), counters),
            Record::Job(JobRecord { id, body, head, .. }) => {
                let no = No::of(id);
                assert_eq!(body.payload, no.payload(), "the payload of {no:?}");
                let Head { queue, attempts_ended, failures, lost, .. } = head;
                let live = Live { queue: queue.to_string(), attempts_ended, failures, lost, open: None };
                assert!(self.live.insert(no, live).is_none(), "{no:?} is there twice");
            }
            Record::Ended(ended) => {
                let EndedRecord { id, key, head, failure, output, .. } = *ended;
                let no = No::of(id);
                assert_eq!(matches!(output, Output::Bytes(_)), key.state == EndState::Done, "the output of {no:?}");
                let queue = key.queue.to_string();
                let (attempts, failures) = (head.attempts_ended, head.failures);
                let ended = Ended { queue, state: key.state, attempts, failures, failure };
                assert!(self.ended.insert(no, ended).is_none(), "{no:?} ended twice");
            }
            Record::Claims(claims) => self.claims.push(claims),
            Record::Setting(Setting::Paused(queue)) => self.is_paused |= queue.as_str() == Queue::Light.name(),
            Record::Setting(_) | Record::Policy(..) => {}
            other => panic!("loading does not stream {other:?}"),
        }
    }

    /// Which attempts were open: at most one a job, the one after the last that ended, and no more than there are slots.
    fn settle(&mut self) {
        let both = self.live.keys().find(|no| self.ended.contains_key(*no));
        assert_eq!(both, None, "it is live and has ended");
        for claim in std::mem::take(&mut self.claims).iter().flat_map(|claims| &claims.entries) {
            let id: JobId = claim.id;
            let Some(live) = self.live.get_mut(&No::of(id)) else { continue };
            if claim.attempt <= live.attempts_ended {
                continue;
            }
            assert_eq!(claim.attempt, live.attempts_ended + 1, "an attempt of {:?} left a gap", No::of(id));
            assert_eq!(live.open, None, "two attempts of {:?} were open", No::of(id));
            live.open = Some(claim.attempt);
        }
        for queue in Queue::ALL {
            let open = self.live.values().filter(|live| live.open.is_some() && live.queue == queue.name()).count();
            assert!(open <= queue.slots() as usize, "{open} attempts were open in {}", queue.name());
        }
    }

    /// Live jobs with an open attempt.
    pub fn open(&self) -> impl Iterator<Item = (No, &Live)> {
        self.live.iter().filter(|(_, live)| live.open.is_some()).map(|(no, live)| (*no, live))
    }
}

/// Copies a directory with all that is in it. Tables never change: a second name for them is enough.
fn duplicate(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    for entry in fs::read_dir(from).expect("a directory can be listed") {
        let entry = entry.expect("a directory can be listed");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("an entry has a type").is_dir() {
            duplicate(&entry.path(), &to);
        } else if to.extension().is_none_or(|name| name != "sst") || fs::hard_link(entry.path(), &to).is_err() {
            fs::copy(entry.path(), to).expect("a file can be copied");
        }
    }
}
