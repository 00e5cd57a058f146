//! What records must say of one another, beyond what a load looks at.
//!
//! Owns these rules, and for each what has to be written where it is broken, so that the check and the repair cannot differ.

use std::collections::{BTreeMap, HashSet};

use windlass_scheduler::attempt::Output;
use windlass_scheduler::change::{Change, Counters, EndedRecord, Head, JobRecord, PolicyNo, Record};
use windlass_scheduler::flow::{StepEnd, StepOf, StepRecord};
use windlass_scheduler::job::{JobId, Name};

/// Two records that do not fit together.
#[derive(Debug)]
pub(crate) struct Disagreement {
    /// What it is about.
    pub(crate) about: String,
    /// What is wrong.
    pub(crate) what: String,
    /// What makes it right.
    pub(crate) mend: Change,
}

/// Watches records go by. It grows with outputs, policies and queues, and not with what waits.
#[derive(Default)]
pub(crate) struct Cross {
    results: HashSet<JobId>,
    step_outputs: HashSet<StepOf>,
    policies: HashSet<PolicyNo>,
    counters: BTreeMap<Name, Counters>,
    queues: BTreeMap<Name, Here>,
    found: Vec<Disagreement>,
}

/// What is in a queue.
#[derive(Default)]
struct Here {
    jobs: u64,
    end_last: u64,
}

impl Cross {
    /// A record that no load looks at; all of these come first.
    pub(crate) fn aside(&mut self, record: &Record) {
        match record {
            Record::Result(id, _) => {
                self.results.insert(*id);
            }
            Record::StepOutput(of, _) => {
                self.step_outputs.insert(*of);
            }
            _ => {}
        }
    }

    /// A record as a load streams it, in its order.
    pub(crate) fn loaded(&mut self, record: &Record) {
        match record {
            Record::Policy(no, _) => {
                self.policies.insert(*no);
            }
            Record::Counters(counters) => drop(self.counters.insert(counters.queue.clone(), counters.clone())),
            Record::Ended(end) => self.ended(end),
            Record::Job(job) => self.job(job),
            Record::Step(step) => self.step(step),
            _ => {}
        }
    }

    fn ended(&mut self, end: &EndedRecord) {
        let queue = self.queues.entry(end.key.queue.clone()).or_default();
        queue.jobs += 1;
        queue.end_last = queue.end_last.max(end.key.end_no);
        if matches!(end.output, Output::Bytes(_)) && !self.results.contains(&end.id) {
            let what = "it left an output, and that is gone".to_owned();
            let mend = Change::Put(Record::Ended(Box::new(EndedRecord { output: Output::None, ..end.clone() })));
            self.found.push(Disagreement { about: format!("job {}", end.id), what, mend });
        }
    }

    fn job(&mut self, job: &JobRecord) {
        self.queues.entry(job.head.queue.clone()).or_default().jobs += 1;
        if let Some(no) = job.head.policy.filter(|no| !self.policies.contains(no)) {
            let what = format!("it goes by retry policy {}, and that is gone: its queue's counts instead", no.0);
            let mend = Change::Put(Record::Head(job.id, Head { policy: None, ..job.head.clone() }));
            self.found.push(Disagreement { about: format!("job {}", job.id), what, mend });
        }
    }

    fn step(&mut self, step: &StepRecord) {
        if matches!(step.end.output, Output::Bytes(_)) && !self.step_outputs.contains(&step.of) {
            let what = "it left an output, and that is gone".to_owned();
            let end = StepEnd { output: Output::None, ..step.end.clone() };
            let mend = Change::Put(Record::Step(Box::new(StepRecord { of: step.of, end })));
            let about = format!("step {} of flow {}", step.of.no, step.of.flow);
            self.found.push(Disagreement { about, what, mend });
        }
    }

    /// All that does not fit, once everything has gone by.
    pub(crate) fn finish(mut self) -> Vec<Disagreement> {
        for queue in self.counters.keys() {
            self.queues.entry(queue.clone()).or_default();
        }
        for (queue, here) in self.queues {
            let counters = self.counters.remove(&queue).unwrap_or_else(|| Counters::new(queue.clone()));
            if let Some((counters, what)) = mended(&counters, &here) {
                let (about, mend) = (format!("queue {queue}"), Change::Put(Record::Counters(counters)));
                self.found.push(Disagreement { about, what, mend });
            }
        }
        self.found
    }
}

/// Counters that fit what is there, as a load counts them, and what was wrong with these.
fn mended(counters: &Counters, here: &Here) -> Option<(Counters, String)> {
    let (came, accounted) = (counters.came(), here.jobs.saturating_add(counters.left()));
    if came == accounted && counters.ends >= here.end_last {
        return None;
    }
    let what = if came == accounted {
        format!("end number {} stands there, and its counters say {}", here.end_last, counters.ends)
    } else {
        format!("{came} jobs came in, and {accounted} are accounted for")
    };
    let mut counters = counters.clone();
    counters.quarantined += came.saturating_sub(accounted);
    counters.enqueued += accounted.saturating_sub(came);
    counters.ends = counters.ends.max(here.end_last);
    Some((counters, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(enqueued: u64, ends: u64) -> Counters {
        Counters { enqueued, ends, ..Counters::new(Name::from("q")) }
    }

    #[test]
    fn counters_that_fit_are_left_alone_and_others_are_made_to() {
        assert!(mended(&counters(3, 2), &Here { jobs: 3, end_last: 2 }).is_none());
        for (before, here) in [
            (counters(5, 2), Here { jobs: 3, end_last: 2 }),
            (counters(0, 0), Here { jobs: 3, end_last: 7 }),
            (counters(3, 1), Here { jobs: 3, end_last: 2 }),
        ] {
            let (after, what) = mended(&before, &here).unwrap_or_else(|| panic!("{before:?} fits"));
            assert!(!what.is_empty());
            assert!(mended(&after, &here).is_none(), "{after:?}");
        }
    }
}
