//! The judge: hears one event after the other.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use super::alone::KeySeen;
use super::bounds::BoundSeen;
use super::flows::StepOfGraph;
use super::story::{Story, survives};
use super::{Call, Commit, Count, Event, Graph, Law, Rules, Violation, What};
use crate::job::{JobId, Name, Priority};
use crate::settings::Level;

/// Violations that are written down; those that follow are counted.
const VIOLATIONS_MAX: usize = 32;

/// What was seen, for a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Calls that were made.
    pub calls: u64,
    /// Jobs of which acceptance was acknowledged.
    pub accepted: u64,
    /// Calls whose outcome nobody knows.
    pub unknown: u64,
    /// Attempts that started.
    pub starts: u64,
    /// Starts of jobs that had started before and had not failed or asked for it: what at least once costs.
    pub run_again: u64,
    /// Processes that died.
    pub deaths: u64,
    /// Jobs that a loss of power took, as their level says.
    pub lost_to_power: u64,
    /// Stores that were looked at.
    pub dumps: u64,
    /// Jobs that are missing: accepted, not ended, not in the store.
    pub missing: u64,
}

/// A queue's rules and what it is doing.
#[derive(Debug, Default)]
pub(super) struct QueueSeen {
    pub(super) rules: Option<Rules>,
    pub(super) running: u32,
    /// When a pause was answered, and no resume was asked for since.
    pub(super) paused_ms: Option<u64>,
    /// The event of the last call that resumed it.
    pub(super) resumed_no: u64,
    /// Jobs that are first in line: see [`Story::is_plain`].
    pub(super) line: BTreeSet<(Priority, u64, JobId)>,
}

/// Hears a history and finds where it breaks a [`Law`].
#[derive(Debug, Default)]
pub struct Checker {
    pub(super) stories: BTreeMap<JobId, Story>,
    pub(super) queues: BTreeMap<Name, QueueSeen>,
    pub(super) bounds: Vec<BoundSeen>,
    pub(super) calls: BTreeMap<u64, (Call, u64, u64)>,
    /// Of these, the ones that ask for something in the name of an attempt that did not run.
    pub(super) late_uses: BTreeSet<u64>,
    /// The jobs of calls with more than one.
    pub(super) groups: BTreeMap<u64, Vec<JobId>>,
    pub(super) running: BTreeMap<JobId, u32>,
    pub(super) keys: BTreeMap<u64, KeySeen>,
    pub(super) graphs: Vec<Graph>,
    /// The jobs of their steps.
    pub(super) steps: BTreeMap<JobId, StepOfGraph>,
    /// Of these, the ones for which a signal was sent.
    pub(super) signalled: BTreeSet<JobId>,
    /// The jobs of batches, by the batches' own jobs.
    pub(super) members: BTreeMap<JobId, Vec<JobId>>,
    /// How often a job may have come in of a name that there was before.
    pub(super) times_more: u64,
    pub(super) now_ms: u64,
    pub(super) event_no: u64,
    /// Deaths of any kind; the losses of power among them.
    pub(super) deaths: u64,
    pub(super) power_losses: u64,
    /// Processes that ended, by themselves or not.
    pub(super) ends: u64,
    /// Processes that began.
    pub(super) lives: u64,
    pub(super) power_lost_ms: Option<u64>,
    pub(super) is_stopping: bool,
    pub(super) is_drained: bool,
    /// Since which event the store is broken.
    pub(super) broken_no: Option<u64>,
    pub(super) committed: Option<Commit>,
    pub(super) synced: Option<Commit>,
    pub(super) term: u64,
    pub(super) counted: Option<Vec<Count>>,
    pub(super) last_dump: Option<BTreeMap<JobId, bool>>,
    violations: Vec<Violation>,
    more: u64,
    pub(super) seen: Seen,
}

impl Checker {
    /// One that has heard nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Judges a history from its beginning.
    #[must_use]
    pub fn judge<'a>(history: impl IntoIterator<Item = &'a Event>) -> Vec<Violation> {
        let mut checker = Self::new();
        history.into_iter().for_each(|event| checker.hear(event));
        checker.violations
    }

    /// What has been found so far.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Violations beyond those that were written down.
    #[must_use]
    pub const fn more_violations(&self) -> u64 {
        self.more
    }

    /// What was seen so far.
    #[must_use]
    pub const fn seen(&self) -> Seen {
        self.seen
    }

    /// What is known of a job, in lines to be read.
    #[must_use]
    pub fn life(&self, id: JobId) -> Vec<String> {
        self.stories.get(&id).map(|story| story.life.lines()).unwrap_or_default()
    }

    /// Hears the next event.
    pub fn hear(&mut self, event: &Event) {
        self.event_no += 1;
        self.now_ms = self.now_ms.max(event.at_ms);
        let changes_nothing = matches!(
            event.what,
            What::Killed
                | What::Stopped
                | What::Dump(_)
                | What::Memory { .. }
                | What::Drained
                | What::Counted(_)
                | What::FlowsAtRest(_)
        );
        if !changes_nothing {
            self.last_dump = None;
        }
        if !changes_nothing && !self.is_stopping {
            self.counted = None;
        }
        match &event.what {
            What::Limit(bound) => self.bound(bound),
            What::Queue(rules) => self.queues.entry(rules.queue.clone()).or_default().rules = Some(rules.clone()),
            What::Flow(graph) => self.graph(graph),
            What::FlowsAtRest(flows) => self.flows_at_rest(flows),
            What::Called { call, what } => self.called(*call, what),
            What::Answered { call, answer } => self.answered(*call, *answer),
            What::StandsFor { id, other } => self.stands_for(*id, *other),
            What::Started { id, attempt, payload } => self.started(*id, *attempt, *payload),
            What::Ended { id, attempt, how } => self.ended(*id, *attempt, *how),
            What::Committed(commit) => self.commit(*commit),
            What::Synced(commit) => self.synced = self.synced.max(Some(*commit)),
            What::StoreBroke => {
                self.broken_no.get_or_insert(self.event_no);
                self.follows_again();
                for id in self.running.keys() {
                    if let Some(story) = self.stories.get_mut(id) {
                        story.ran_through_a_break = true;
                    }
                }
            }
            What::StoreOpened { term, recovered } => self.opened(*term, *recovered),
            What::Began => self.began(),
            What::Stopped => self.stopped(),
            What::Killed => self.died(false),
            What::PowerLost => self.died(true),
            What::Counted(counts) => self.counted = Some(counts.clone()),
            What::Dump(dump) => self.dump(dump),
            What::Memory { used_bytes, bytes_max } if used_bytes > bytes_max => {
                let found = alloc::format!("{used_bytes} bytes are held, {bytes_max} are allowed");
                self.broken(Law::MemoryBounded, None, found);
            }
            What::Memory { .. } => {}
            What::Drained => self.drained(),
        }
    }

    pub(super) fn broken(&mut self, law: Law, id: Option<JobId>, found: String) {
        if self.violations.len() == VIOLATIONS_MAX {
            self.more += 1;
            return;
        }
        let life = id.map(|id| self.life(id)).unwrap_or_default();
        self.violations.push(Violation { law, at_ms: self.now_ms, id, found, life });
    }

    pub(super) fn rules(&self, queue: &Name) -> Option<&Rules> {
        self.queues.get(queue)?.rules.as_ref()
    }

    /// What an Ok of this queue means; the strongest where nobody said.
    pub(super) fn level(&self, queue: &Name) -> Level {
        self.rules(queue).map_or(Level::Durable, |rules| rules.level)
    }

    fn commit(&mut self, commit: Commit) {
        if self.committed.is_some_and(|last| commit <= last) {
            let found = alloc::format!("{commit:?} comes after {:?}", self.committed);
            self.broken(Law::CommitsRise, None, found);
        }
        self.committed = self.committed.max(Some(commit));
    }

    fn opened(&mut self, term: u64, recovered: Option<Commit>) {
        if term <= self.term {
            let found = alloc::format!("term {term} begins after term {}", self.term);
            self.broken(Law::CommitsRise, None, found);
        }
        if recovered < self.synced {
            let found = alloc::format!("{recovered:?} is the last that was found, {:?} was synced", self.synced);
            self.broken(Law::SyncedIsRecovered, None, found);
        }
        self.term = self.term.max(term);
        self.bounds.iter_mut().for_each(BoundSeen::forget_debts);
        // What was not found is used again by nobody: the term is a new one.
        self.committed = self.committed.max(recovered);
        if self.broken_no.take().is_some() {
            // An attempt that was claimed and not handed out when the store broke leaves a gap.
            self.deaths += 1;
        }
        // What runs on is adopted, and has its time anew: whether it was extended nobody knows any more.
        for id in self.running.keys() {
            if let Some((_, since_ms)) = self.stories.get_mut(id).and_then(|story| story.running.as_mut()) {
                *since_ms = self.now_ms;
            }
        }
    }

    fn began(&mut self) {
        self.lives += 1;
        self.is_stopping = false;
        self.broken_no = None;
    }

    /// A stop may leave a gap, too: of an attempt that was handed out and given back before its code began.
    fn stopped(&mut self) {
        self.deaths += 1;
        self.ends += 1;
        for queue in self.queues.values_mut() {
            queue.line.clear();
        }
    }

    fn died(&mut self, power_lost: bool) {
        self.stopped();
        self.seen.deaths += 1;
        self.is_stopping = false;
        self.broken_no = None;
        if power_lost {
            self.power_losses += 1;
            self.power_lost_ms = Some(self.now_ms);
        }
        self.late_uses.clear();
        for call in core::mem::take(&mut self.calls).into_values() {
            self.seen.unknown += u64::from(matches!(call.0, Call::Enqueue(_)));
        }
        for (id, attempt) in core::mem::take(&mut self.running) {
            self.stop_running(id, attempt);
            if let Some(story) = self.stories.get_mut(&id) {
                story.lost = Some((attempt, self.lives));
                story.losses += 1;
                story.life.push(self.now_ms, super::line::Line::Lost(attempt));
            }
        }
        for queue in self.queues.values_mut() {
            queue.running = 0;
            // A pause is as durable as its queue.
            let level = queue.rules.as_ref().map_or(Level::Durable, |rules| rules.level);
            queue.paused_ms = queue.paused_ms.filter(|_| survives(level, power_lost));
        }
    }
}
