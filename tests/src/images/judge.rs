//! What must be true of an image, and who says so.
//!
//! Owns two judges. The first opens the journal alone: what is there has to be exactly what the batches up to some one left,
//! and that one not before the last sync (of an honest device) or the last watermark (of one that is not). The second starts
//! an engine on it and lets everything come to its end. Each may refuse an image by a typed error; neither may panic.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use windlass::storage::{CommitNo, Journal, LoadError, Loaded, OpenError, Opened, StorageError};
use windlass::{FailureKind, JobId, RocksJournal, StartError};
use windlass_scheduler::change::{Key, Record};
use windlass_scheduler::history::Dump;
use windlass_scheduler::state::EndState;

use super::recording::{Op, Recording};
use super::told::{Batches, State};
use super::work;
use crate::kill::history::History;
use crate::kill::jobs::{No, Queue, Script};
use crate::kill::pipe::Line;

/// What had been said before a cut.
#[derive(Debug, Default)]
pub struct Facts {
    /// The last commit that a sync covers.
    pub synced: CommitNo,
    /// The last commit that a watermark names.
    pub marked: CommitNo,
    /// All of it, in the words of the judge that all layers share.
    pub history: History,
    /// What may be there.
    pub handed_in: BTreeSet<No>,
    /// What must be there: what a durable queue accepted.
    pub accepted: BTreeSet<No>,
    /// What must have ended, and whether well.
    pub ended: BTreeMap<No, bool>,
}

/// All that a child said, by when.
pub struct Said(Vec<(usize, Line)>);

impl Said {
    /// In this recording.
    ///
    /// # Panics
    /// The child said that something is wrong, or did not come to its end.
    pub fn of(recording: &Recording) -> Self {
        let said = recording.ops.iter().enumerate();
        let lines = said.filter_map(|(at, op)| if let Op::Said(text) = op { Some((at, text)) } else { None });
        let lines = lines.flat_map(|(at, text)| text.lines().filter_map(move |line| Some((at, Line::parse(line)?))));
        let lines: Vec<(usize, Line)> = lines.collect();
        assert!(matches!(lines.last(), Some((_, Line::Bye))), "the recorded child did not come to its end");
        let wrong = lines.iter().find(|(_, line)| matches!(line, Line::Wrong(_)));
        assert_eq!(wrong, None, "the recorded child");
        Self(lines)
    }

    /// What had been said before this operation.
    pub fn before(&self, cut: usize) -> Facts {
        let mut facts = Facts { history: History::new(work::rules()), ..Facts::default() };
        for (_, line) in self.0.iter().take_while(|(at, _)| *at < cut) {
            facts.history.hear(line);
            match line {
                Line::Intent(no) => _ = facts.handed_in.insert(*no),
                Line::Accepted(no) if no.queue() == Queue::Fast => _ = facts.accepted.insert(*no),
                Line::Done(no, _) => _ = facts.ended.insert(*no, true),
                Line::Dead(no) => _ = facts.ended.insert(*no, false),
                Line::Note(note) => {
                    let words: Vec<&str> = note.split(' ').collect();
                    let [what, term, step] = *words else { continue };
                    let number = |text: &str| text.parse().expect("a number");
                    let no = CommitNo { term: number(term), step: number(step) };
                    if what == "marked" {
                        facts.marked = no;
                    }
                    facts.synced = facts.synced.max(no);
                }
                _ => {}
            }
        }
        facts
    }
}

/// What may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// What the process had in its memory.
    Process,
    /// And what no sync covers.
    Power,
    /// And whatever a device that is not honest loses: what the watermark names has to be there.
    Anything,
}

/// What a judge found who found nothing wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// All that has to be there.
    Whole,
    /// All that has to be there of a device that is not honest; something was synced behind the last watermark, and is gone.
    Behind,
    /// All but records that are in quarantine.
    Quarantined(usize),
    /// It was refused, by this kind of error.
    Refused(String),
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offence {
    /// In words.
    pub what: String,
    /// Acknowledged jobs that are nowhere.
    pub missing: usize,
}

fn offence(what: impl Into<String>) -> Offence {
    Offence { what: what.into(), missing: 0 }
}

/// The first word of an error's kind.
fn kind(error: &impl std::fmt::Debug) -> String {
    format!("{error:?}").split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

fn refused(stage: &str, error: &impl std::fmt::Debug) -> Found {
    Found::Refused(format!("{stage}{}", kind(error)))
}

/// Whether to ask again: another thread starts a process just now, which has all our descriptors, that of the lock too, until
/// it is a program of its own.
fn is_passing(error: &OpenError, since: Instant) -> bool {
    std::thread::yield_now();
    matches!(error, OpenError::InUse { .. }) && since.elapsed() < Duration::from_secs(5)
}

fn open(journal: &mut RocksJournal) -> Result<Opened, OpenError> {
    let since = Instant::now();
    loop {
        match journal.open() {
            Err(error) if is_passing(&error, since) => {}
            answer => return answer,
        }
    }
}

/// Opens the journal of an image, alone.
///
/// # Errors
/// [`Offence`].
pub fn alone(image: &Path, facts: &mut Facts, batches: &Batches, loss: Loss) -> Result<Found, Offence> {
    let mut journal = work::journal(image);
    let recovered = match open(&mut journal) {
        Ok(opened) => opened.recovered,
        Err(refusal) => return Ok(refused("", &refusal)),
    };
    let floor = if loss == Loss::Anything { facts.marked } else { facts.synced };
    let Some(state) = batches.state(recovered) else {
        return Err(offence(format!("it ends at commit {recovered}, which never was")));
    };
    let mut streamed = BTreeSet::new();
    let mut quarantined = 0;
    let loaded = journal.load(&mut |loaded| {
        match loaded {
            Loaded::Record(record) => _ = streamed.insert(record.key()),
            Loaded::Quarantined(_) => quarantined += 1,
        }
        None
    });
    match loaded {
        Ok(()) => {}
        Err(LoadError::Unreadable(error)) => return Ok(refused("load: ", &error)),
        Err(error) => return Ok(refused("load: ", &error)),
    }
    if let Some(found) = compare(&journal, &state, &streamed, batches, quarantined)? {
        return Ok(found);
    }
    let absent: Vec<&No> = facts.accepted.iter().filter(|no| !state.contains_key(&Key::Job(no.id()))).collect();
    if recovered < floor {
        let what = format!(
            "it ends at commit {recovered}, and {floor} was synced; of {} acknowledged jobs are missing: {absent:?}",
            facts.accepted.len()
        );
        return Err(Offence { what, missing: absent.len() });
    }
    let is_behind = recovered < facts.synced;
    if !is_behind && !absent.is_empty() {
        return Err(Offence { what: format!("acknowledged jobs are missing: {absent:?}"), missing: absent.len() });
    }
    let ended = ends(&state);
    let undone = facts.ended.iter().find(|(no, well)| ended.get(&no.id()) != Some(well));
    if let (false, Some((no, well))) = (is_behind, undone) {
        return Err(offence(format!(
            "{no:?} was told to have ended ({well}), and stands as {:?}",
            ended.get(&no.id())
        )));
    }
    let stray = state.keys().find(|key| matches!(key, Key::Job(id) if !facts.handed_in.contains(&No::of(*id))));
    if let Some(stray) = stray {
        return Err(offence(format!("nobody handed in {stray:?}")));
    }
    if loss != Loss::Anything {
        shared(&mut facts.history, &state, loss == Loss::Power)?;
    }
    Ok(if is_behind { Found::Behind } else { Found::Whole })
}

/// Whether what is read is what has to stand there, key by key; and what is streamed is what a load owes.
fn compare(
    journal: &RocksJournal,
    state: &State,
    streamed: &BTreeSet<Key>,
    batches: &Batches,
    quarantined: usize,
) -> Result<Option<Found>, Offence> {
    let reader = journal.reader().map_err(|error| offence(format!("an open journal has no reader: {error}")))?;
    let mut absent = BTreeSet::new();
    for key in batches.keys() {
        match reader.get(&key) {
            Ok(found) if found.as_ref() == state.get(&key) => {}
            Ok(None) if quarantined > 0 => _ = absent.insert(key),
            Ok(found) => {
                return Err(offence(format!("under {key:?} stands {found:?} instead of {:?}", state.get(&key))));
            }
            Err(error @ StorageError::Closed) => return Err(offence(format!("reading {key:?}: {error}"))),
            Err(error) => return Ok(Some(refused("read: ", &error))),
        }
    }
    let ended: BTreeSet<JobId> = ends(state).into_keys().collect();
    let is_owed = |key: &Key| match key {
        Key::Job(id) => !ended.contains(id),
        Key::Head(_) | Key::Attempt(..) | Key::Result(_) | Key::Checkpoint(_) => false,
        _ => true,
    };
    let owed: BTreeSet<Key> = state.keys().filter(|key| is_owed(key) && !absent.contains(key)).cloned().collect();
    let given: BTreeSet<Key> = streamed.iter().filter(|key| is_owed(key)).cloned().collect();
    if owed != given {
        let differ: Vec<_> = owed.symmetric_difference(&given).take(5).collect();
        return Err(offence(format!("a load streams {} records and owes {}: {differ:?}", given.len(), owed.len())));
    }
    if quarantined > 0 {
        let kept = journal.quarantine(usize::MAX).map_err(|error| offence(format!("the quarantine: {error}")))?.len();
        if kept < absent.len() {
            return Err(offence(format!("{kept} records are in quarantine, and {} are missing", absent.len())));
        }
        return Ok(Some(Found::Quarantined(kept)));
    }
    Ok(None)
}

/// What the judge that all layers share says to what an honest device has kept.
fn shared(history: &mut History, state: &State, power_lost: bool) -> Result<(), Offence> {
    let is_unreadable = |record: &&Record| {
        let Record::Ended(ended) = record else { return false };
        ended.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::Decode)
    };
    if let Some(record) = state.values().find(is_unreadable) {
        return Err(offence(format!("whatever was handed in can be read: {record:?}")));
    }
    history.died(power_lost);
    history.found(Dump::of(state.values()));
    let missing = usize::try_from(history.seen().missing).unwrap_or(usize::MAX);
    match history.violations().first() {
        Some(violation) => Err(Offence { what: violation.to_string(), missing }),
        None => Ok(()),
    }
}

/// The jobs that have ended, and whether well.
fn ends(state: &State) -> BTreeMap<JobId, bool> {
    let ends = state.values().filter_map(|record| match record {
        Record::Ended(end) => Some((end.id, end.key.state == EndState::Done)),
        _ => None,
    });
    ends.collect()
}

/// Starts an engine on an image that the first judge let pass, and lets everything come to its end.
///
/// # Errors
/// [`Offence`].
///
/// # Panics
/// The engine does not work.
pub fn drained(image: &Path, facts: &Facts) -> Result<Found, Offence> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let (runtime, since) = (runtime.expect("a runtime starts"), Instant::now());
    let started = loop {
        match runtime.block_on(work::drain(image)) {
            Err(StartError::Open(error)) if is_passing(&error, since) => {}
            answer => break answer,
        }
    };
    let started = match started {
        Ok(started) => started,
        Err(StartError::Open(error)) => return Ok(refused("engine: ", &error)),
        Err(StartError::Load(error)) => return Ok(refused("engine: ", &error)),
        Err(error) => return Err(offence(format!("the engine does not start: {error}"))),
    };
    if let Some(no) = started.iter().find(|no| facts.ended.contains_key(no)) {
        return Err(offence(format!("{no:?} was told to have ended and ran again")));
    }
    if let Some(no) = started.difference(&facts.handed_in).next() {
        return Err(offence(format!("{no:?} ran, and nobody handed it in")));
    }
    let mut journal = work::journal(image);
    open(&mut journal).map_err(|error| offence(format!("what was drained does not open: {error}")))?;
    let mut ended = BTreeMap::new();
    let mut live = 0;
    let loaded = journal.load(&mut |loaded| {
        match loaded {
            Loaded::Record(Record::Ended(end)) => _ = ended.insert(No::of(end.id), end.key.state),
            Loaded::Record(Record::Job(_)) => live += 1,
            _ => {}
        }
        None
    });
    loaded.map_err(|error| offence(format!("what was drained does not load: {error}")))?;
    let expected = |no: &No| {
        let dies = matches!(no.script(), Script::Doomed | Script::Poison);
        if dies { EndState::Dead } else { EndState::Done }
    };
    let missing: Vec<&No> = facts.accepted.iter().filter(|no| !ended.contains_key(no)).collect();
    if live > 0 || !missing.is_empty() {
        let what =
            format!("after the drain {live} jobs live and of those that were acknowledged have no end: {missing:?}");
        return Err(Offence { what, missing: missing.len() });
    }
    match ended.iter().find(|(no, state)| no.queue() == Queue::Fast && **state != expected(no) && !is_lenient(no)) {
        Some((no, state)) => Err(offence(format!("{no:?} ended as {state:?}"))),
        None => Ok(Found::Whole),
    }
}

/// Its failures depend on how often it ran.
fn is_lenient(no: &No) -> bool {
    matches!(no.script(), Script::Flaky(_))
}
