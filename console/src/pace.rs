//! How fast jobs go: what the engine counts from its first look on, kept for a few minutes back, so that what is shown is of now.
//!
//! Owns the looks back. What happened between two of them is told by the engine's own counts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use windlass::{AttemptTimes, JournalStats, Spread};

use crate::view::millis;
use crate::view::pace::{JournalView, KindView, PaceView};

/// How far back rates and quantiles look.
const WINDOW: Duration = Duration::from_secs(300);

/// What was counted up to a moment.
#[derive(Clone, Debug)]
pub(crate) struct Shot {
    at: Instant,
    attempts: Vec<AttemptTimes>,
    journal: Option<JournalStats>,
}

impl Shot {
    pub(crate) fn new(attempts: Vec<AttemptTimes>, journal: Option<JournalStats>) -> Self {
        Self { at: Instant::now(), attempts, journal }
    }
}

/// What was counted up to some moments of the last minutes, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Shots(Mutex<VecDeque<Shot>>);

/// How fast it goes: all of it, by queue and by queue and kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paces {
    pub(crate) queues: BTreeMap<String, PaceView>,
    pub(crate) kinds: Vec<KindView>,
    pub(crate) journal: Option<JournalView>,
}

impl Shots {
    /// One more to look back to.
    pub(crate) fn push(&self, shot: Shot) {
        let mut shots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while shots.get(1).is_some_and(|second| shot.at - second.at >= WINDOW) {
            shots.pop_front();
        }
        shots.push_back(shot);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// From the first of them up to this one.
    pub(crate) fn until(&self, now: &Shot) -> Paces {
        let shots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = shots.front();
        let window = now.at - first.map_or(now.at, |first| first.at);
        let before = |of: &AttemptTimes| {
            let same = |one: &&AttemptTimes| one.queue == of.queue && one.kind == of.kind;
            first.and_then(|first| first.attempts.iter().find(same))
        };
        let (mut queues, mut kinds) = (BTreeMap::<&str, Counted>::new(), Vec::new());
        for times in &now.attempts {
            let counted = Counted::between(before(times), times);
            kinds.push(KindView { queue: times.queue.clone(), kind: times.kind.clone(), pace: counted.view(window) });
            queues.entry(&times.queue).or_default().add(&counted);
        }
        let journal_before = shots.iter().find_map(|shot| shot.journal.as_ref());
        Paces {
            queues: queues.iter().map(|(name, counted)| ((*name).to_owned(), counted.view(window))).collect(),
            kinds,
            journal: now.journal.as_ref().map(|journal| JournalView::new(journal, journal_before)),
        }
    }
}

/// What was counted between two looks.
#[derive(Default)]
struct Counted {
    waits: Spread,
    succeeded: Spread,
    failed: Spread,
}

impl Counted {
    fn between(before: Option<&AttemptTimes>, now: &AttemptTimes) -> Self {
        let more = |of: fn(&AttemptTimes) -> &Spread| {
            before.map_or_else(|| of(now).clone(), |before| of(now).since(of(before)))
        };
        Self {
            waits: more(|times| &times.waits),
            succeeded: more(|times| &times.succeeded),
            failed: more(|times| &times.failed),
        }
    }

    fn add(&mut self, other: &Self) {
        self.waits = self.waits.and(&other.waits);
        self.succeeded = self.succeeded.and(&other.succeeded);
        self.failed = self.failed.and(&other.failed);
    }

    fn view(&self, window: Duration) -> PaceView {
        PaceView::new(millis(window), &self.waits, [&self.succeeded, &self.failed])
    }
}
