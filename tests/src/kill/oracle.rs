//! What must be true, told from the pipe alone; and the judgement of what a kill left.
//!
//! Owns one story a job, over all lives. The rules, each with the place that checks it:
//!
//! 1. Accepted means found: live, ended, or, where the queue keeps no success, purged after a success that was told.
//!    The bytes are the same, the queue is the same, and what was refused or never handed in is nowhere (`judge`).
//! 2. All laws of the judge that every layer shares ([`History`]): among them that a call with many jobs is there whole or not
//!    at all, also where its outcome was never told, and that follow-ups are there if, and only if, their parent is done.
//! 3. Attempts of a job are numbered without a gap, and started once each. A start is told before the handler goes on and
//!    claimed in the journal before it is told, so after a kill the journal knows every start that was told, and at most
//!    one more a job: claimed, and its process killed before the handler could tell. Only such an attempt may be missing
//!    among the starts, it must stand in the journal as an open claim, and the next number comes after it (`start`,
//!    `number`).
//! 4. An end stands in the journal only if it was told; so do the failures, exactly as many (`number`).
//! 5. Never two attempts of a job at a time in one life (`start`), never one after `wait()` said that it has ended
//!    (`start`, `judge`), after its last end was told in the same life, or after the journal had its end.
//! 6. A job is dead only as its script says, or as the one that kills the process: lost three times in a row, the last
//!    time as the only suspect that ran; then it is dead and not started again (`condemn`, `dead`).
//! 7. A pause that was told stands in the journal, and so does a resume; one whose outcome was never told may or may not
//!    (`judge`).
//! 8. The counters are the counts: accepted = jobs that are there = live + retained + purged, nothing quarantined, attempts
//!    = all numbers used, done and dead as judged (`counters`).

use std::collections::{BTreeMap, BTreeSet};

use windlass::FailureKind;
use windlass_scheduler::state::EndState;

use crate::kill::child;
use crate::kill::history::{self, History};
use crate::kill::image::{Ended, Image, Live};
use crate::kill::jobs::{DOOMED_ATTEMPTS, FAST_KEPT_MAX, No, Queue, Script};
use crate::kill::pipe::{End, Line};

/// How a job's story ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// It succeeded.
    Done,
    /// It is a dead letter.
    Dead,
    /// It was refused, or its process died before it was stored.
    Never,
}

/// What is known of a job.
#[derive(Debug, Default)]
struct Story {
    refused: bool,
    exists: bool,
    /// The last attempt that is known: told, or found claimed.
    known: u32,
    /// The attempt that runs.
    running: Option<u32>,
    /// The last end that was told, and in which life.
    end: Option<(u32, End, u16)>,
    /// Failures at the beginning of this life, and the attempts that failed in it.
    failures: u32,
    failed: Vec<u32>,
    /// The last attempts that were open when their process died.
    lost: Vec<u32>,
    /// `wait()` has told its end.
    told: Option<Over>,
    condemned: bool,
    over: Option<Over>,
}

/// What was seen, for the report.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Attempts whose start was told.
    pub starts: u64,
    /// Attempts that were claimed and whose start was not told.
    pub hidden: u64,
    /// Attempts that were open when their process died.
    pub lost: u64,
    /// Ends that `wait()` told.
    pub waits: u64,
    /// Jobs whose call was never answered, and that are there.
    pub unknown_stored: u64,
    /// Jobs whose call was never answered, and that are nowhere.
    pub unknown_absent: u64,
    /// Jobs that were found to kill their process.
    pub condemned: u64,
    /// Calls that were made and attempts that were started.
    pub operations: u64,
    /// Jobs whose enqueue was told to be Ok.
    pub acknowledged: u64,
    /// Jobs of which it was told, and that are nowhere.
    pub missing: u64,
    /// Attempts of jobs that had run before, and had neither failed nor asked for it.
    pub run_again: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Oracle {
    history: History,
    stories: BTreeMap<No, Story>,
    /// Those that are not over.
    open: BTreeSet<No>,
    running: BTreeSet<No>,
    /// Accepted and never started.
    waiting: BTreeSet<No>,
    /// What may stand in the journal of the queue that is paused and resumed; none: as it is found.
    pauses: Vec<bool>,
    /// The number of the life that is heard.
    pub life: u16,
    /// What was seen.
    pub seen: Seen,
}

impl Seen {
    /// What another oracle has seen, too.
    pub fn add(&mut self, other: &Self) {
        self.starts += other.starts;
        self.hidden += other.hidden;
        self.lost += other.lost;
        self.waits += other.waits;
        self.unknown_stored += other.unknown_stored;
        self.unknown_absent += other.unknown_absent;
        self.condemned += other.condemned;
        self.operations += other.operations;
        self.acknowledged += other.acknowledged;
        self.missing += other.missing;
        self.run_again += other.run_again;
    }
}

impl Default for Oracle {
    fn default() -> Self {
        Self {
            history: History::new(child::rules()),
            stories: BTreeMap::new(),
            open: BTreeSet::new(),
            running: BTreeSet::new(),
            waiting: BTreeSet::new(),
            pauses: Vec::new(),
            life: 0,
            seen: Seen::default(),
        }
    }
}

impl Oracle {
    /// How many jobs it knows.
    pub fn stories(&self) -> usize {
        self.stories.len()
    }

    /// Whether attempts run and jobs wait, as far as was told.
    pub fn is_busy(&self) -> bool {
        !self.running.is_empty() && !self.waiting.is_empty()
    }

    fn story(&mut self, no: No) -> &mut Story {
        let life = self.life;
        self.stories.get_mut(&no).unwrap_or_else(|| panic!("life {life}: nobody handed in {no:?}"))
    }

    /// Hears lines, in order.
    pub fn hear_all(&mut self, lines: &[Line]) {
        for line in lines {
            self.hear(line);
        }
    }

    /// Hears a line.
    pub fn hear(&mut self, line: &Line) {
        self.history.hear(line);
        self.seen.operations += u64::from(matches!(line, Line::Intent(_) | Line::Start(..) | Line::Stats(_)));
        match line {
            Line::Intent(no) => {
                let is_new = !self.stories.contains_key(no);
                assert!(is_new || no.parent().is_some(), "life {}: {no:?} was handed in twice", self.life);
                self.stories.entry(*no).or_default();
                self.open.insert(*no);
            }
            Line::Accepted(no) => {
                self.seen.acknowledged += 1;
                let story = self.story(*no);
                story.exists = true;
                if story.known == 0 {
                    self.waiting.insert(*no);
                }
            }
            Line::Refused(no) => self.story(*no).refused = true,
            Line::Start(no, attempt, failures, hash) => self.start(*no, *attempt, *failures, *hash),
            Line::End(no, attempt, end) => self.end(*no, *attempt, *end),
            Line::Done(no, output) => {
                assert_eq!(*output, no.output(), "life {}: the output of {no:?}", self.life);
                self.told(*no, Over::Done);
            }
            Line::Dead(no) => self.told(*no, Over::Dead),
            Line::Stats([enqueued, live, retained, purged, quarantined]) => {
                assert_eq!(*enqueued, live + retained + purged, "life {}: conservation, {line:?}", self.life);
                assert_eq!(*quarantined, 0, "life {}", self.life);
            }
            Line::Wrong(what) => panic!("life {}: {what}", self.life),
            Line::Note(note) => match note.as_str() {
                "pausing" => self.pauses.push(true),
                "resuming" => self.pauses.push(false),
                "paused" => self.pauses = vec![true],
                "resumed" => self.pauses = vec![false],
                _ => {}
            },
            Line::Ready | Line::Trap(_) | Line::Bye => {}
        }
    }

    fn start(&mut self, no: No, attempt: u32, failures: u32, hash: u64) {
        let life = self.life;
        assert_eq!(hash, no.output(), "life {life}: {no:?} was given other bytes than were handed in");
        let story = self.story(no);
        let context = format!("life {life}: attempt {attempt} of {no:?} was started: {story:?}");
        assert!(story.told.is_none() && story.over.is_none(), "{context}, after its end");
        assert!(!story.condemned && !story.refused, "{context}, which must not be");
        assert_eq!(story.running, None, "{context}, while another one runs");
        assert_eq!(attempt, story.known + 1, "{context}, out of turn");
        let is_final = |end: &(u32, End, u16)| matches!(end.1, End::Ok | End::Permanent) && end.2 == life;
        assert!(!story.end.as_ref().is_some_and(is_final), "{context}, after its last end");
        assert_eq!(failures as usize, story.failures as usize + story.failed.len(), "{context}, failures");
        (story.known, story.running, story.exists) = (attempt, Some(attempt), true);
        self.running.insert(no);
        self.waiting.remove(&no);
        self.seen.starts += 1;
    }

    fn end(&mut self, no: No, attempt: u32, end: End) {
        let life = self.life;
        let story = self.story(no);
        assert_eq!(story.running.take(), Some(attempt), "life {life}: an attempt of {no:?} ended that did not run");
        story.end = Some((attempt, end, life));
        if matches!(end, End::Error | End::Panic | End::Permanent) {
            story.failed.push(attempt);
        }
        self.running.remove(&no);
    }

    fn told(&mut self, no: No, over: Over) {
        let life = self.life;
        let story = self.story(no);
        let end = story.end.map(|(attempt, end, _)| (attempt, end));
        let fits = match over {
            Over::Done => end == Some((story.known, End::Ok)),
            Over::Dead => {
                story.condemned || matches!(end, Some((at, End::Error | End::Permanent)) if at == story.known)
            }
            Over::Never => false,
        };
        assert!(fits && story.running.is_none(), "life {life}: {no:?} was told to be {over:?}: {story:?}");
        story.told = Some(over);
        self.seen.waits += 1;
    }

    /// Whether this job's end has already been found in the journal.
    pub fn is_over(&self, no: No) -> bool {
        self.stories.get(&no).is_some_and(|story| story.over.is_some())
    }

    /// Judges what the life that has just ended left. See the rules.
    pub fn judge(&mut self, image: &Image) {
        let life = self.life;
        self.history.died(false);
        self.history.found(history::of_image(image));
        let shared = self.history.seen();
        (self.seen.missing, self.seen.run_again) = (shared.missing, shared.run_again);
        let first = self.history.violations().first().map(ToString::to_string);
        assert!(first.is_none(), "life {life}: {}", first.unwrap_or_default());
        for no in image.live.keys().chain(image.ended.keys()) {
            assert!(self.stories.contains_key(no), "life {life}: nobody handed in {no:?}");
        }
        for no in image.live.keys() {
            assert!(!self.is_over(*no), "life {life}: {no:?} lives again: {:?}", self.stories[no]);
        }
        for no in self.open.clone() {
            self.judge_one(no, image);
        }
        let is_known = self.pauses.is_empty() || self.pauses.contains(&image.is_paused);
        assert!(is_known, "life {life}: paused is {}, and was told to be {:?}", image.is_paused, self.pauses);
        self.pauses = vec![image.is_paused];
        self.counters(image);
        self.condemn(image);
        for no in self.open.clone() {
            let story = self.story(no);
            story.running = None;
            story.failed.clear();
        }
        self.open.retain(|no| self.stories[no].over.is_none());
        self.running.clear();
        self.waiting.retain(|no| self.stories[no].over.is_none());
    }

    fn judge_one(&mut self, no: No, image: &Image) {
        let life = self.life;
        let story = self.stories.get_mut(&no).expect("it is open");
        let was_known = story.exists;
        if let Some(live) = image.live.get(&no) {
            assert!(!story.refused && story.told.is_none(), "life {life}: {no:?} is live: {story:?}");
            assert_eq!(live.queue, no.queue().name(), "life {life}: the queue of {no:?}");
            story.exists = true;
            let hidden = number(story, live, life, no);
            self.seen.hidden += u64::from(hidden);
            self.seen.lost += u64::from(live.open.is_some_and(|open| story.lost.last() != Some(&open)));
            if let Some(open) = live.open.filter(|open| story.lost.last() != Some(open)) {
                story.lost.push(open);
            }
        } else if let Some(ended) = image.ended.get(&no) {
            assert!(!story.refused, "life {life}: {no:?} was refused and has ended");
            assert_eq!(ended.queue, no.queue().name(), "life {life}: the queue of {no:?}");
            story.exists = true;
            story.over = Some(judge_end(story, ended, life, no));
        } else if story.exists {
            let is_done = story.end == Some((story.known, End::Ok, life)) && no.queue() != Queue::Heavy;
            assert!(is_done, "life {life}: {no:?} is LOST: {story:?}");
            story.over = Some(Over::Done);
        } else if no.parent().is_none() {
            story.over = Some(Over::Never);
        }
        if let Some(told) = story.told {
            assert_eq!(story.over, Some(told), "life {life}: {no:?}, {story:?}");
        }
        if !was_known && !story.refused && no.parent().is_none() {
            if story.exists {
                self.seen.unknown_stored += 1;
            } else {
                self.seen.unknown_absent += 1;
            }
        }
    }

    /// Rule 8.
    fn counters(&self, image: &Image) {
        for queue in Queue::ALL {
            let mine: Vec<_> = self.stories.iter().filter(|(no, story)| no.queue() == queue && story.exists).collect();
            let over = |over: Over| mine.iter().filter(|(_, story)| story.over == Some(over)).count() as u64;
            let attempts: u64 = mine.iter().map(|(_, story)| u64::from(story.known)).sum();
            let live = image.live.values().filter(|live| live.queue == queue.name()).count() as u64;
            let retained = |state| {
                let here = |ended: &&Ended| ended.queue == queue.name() && ended.state == state;
                image.ended.values().filter(here).count() as u64
            };
            let (done_kept, dead_kept) = (retained(EndState::Done), retained(EndState::Dead));
            let life = self.life;
            let Some(counters) = image.counters.get(queue.name()) else {
                assert!(mine.is_empty(), "life {life}: no counters");
                continue;
            };
            let found = [
                counters.enqueued,
                counters.done_total,
                counters.dead_total,
                counters.purged,
                counters.attempts,
                counters.cancelled_total + counters.expired_total + counters.quarantined + counters.requeued,
                live,
                dead_kept,
            ];
            let (all, done, dead) = (mine.len() as u64, over(Over::Done), over(Over::Dead));
            let expected = [all, done, dead, done - done_kept, attempts, 0, all - done - dead, dead];
            assert_eq!(found, expected, "life {life}: counters of {}: {counters:?}", queue.name());
            let kept = match queue {
                Queue::Fast => done.min(FAST_KEPT_MAX),
                Queue::Light => 0,
                Queue::Heavy => done,
            };
            assert_eq!(done_kept, kept, "life {life}: successes that {} retains", queue.name());
        }
    }

    /// Rule 6: who dies at the next opening.
    fn condemn(&mut self, image: &Image) {
        let suspects: Vec<No> = image.open().filter(|(_, live)| live.lost >= 2).map(|(no, _)| no).collect();
        if let [only] = *suspects {
            let story = self.story(only);
            let was_condemned = std::mem::replace(&mut story.condemned, true);
            assert!(lost_in_a_row(story) >= 3, "{only:?} is condemned too early: {story:?}");
            self.seen.condemned += u64::from(!was_condemned);
        }
    }

    /// Everything is over: how many jobs are done and dead. Of a directory that was drained.
    pub fn verdict(&self, image: &Image) -> (usize, usize) {
        let lost: u64 = image.counters.values().map(|counters| counters.lost).sum();
        assert_eq!(lost, self.seen.lost, "attempts that were counted as lost, and those that were open after a kill");
        let left = self.open.iter().find(|no| self.stories[*no].exists);
        assert_eq!(left, None, "it has not ended: {:?}", left.map(|no| &self.stories[no]));
        let count = |over| self.stories.values().filter(|story| story.over == Some(over)).count();
        (count(Over::Done), count(Over::Dead))
    }
}

/// Attempts that were lost one after the other, up to the last one that is known.
fn lost_in_a_row(story: &Story) -> usize {
    let numbers = (1..=story.known).rev();
    numbers.zip(story.lost.iter().rev()).take_while(|(number, lost)| number == *lost).count()
}

/// Rules 3 and 4. Whether an attempt was claimed whose start was never told.
fn number(story: &mut Story, live: &Live, life: u16, no: No) -> bool {
    let claimed = live.attempts_ended + u32::from(live.open.is_some());
    let context =
        format!("life {life}: {no:?} has {} attempts ended, {:?} open: {story:?}", live.attempts_ended, live.open);
    assert!(claimed >= story.known, "{context}: a start is not in the journal");
    assert!(live.attempts_ended <= story.known && claimed <= story.known + 1, "{context}: more than ever ran");
    if let Some(running) = story.running {
        assert!(live.attempts_ended < running, "{context}: an end that never was");
    }
    let journaled = story.failed.iter().filter(|attempt| **attempt <= live.attempts_ended).count();
    assert_eq!(live.failures as usize, story.failures as usize + journaled, "{context}: failures {}", live.failures);
    story.failures = live.failures;
    let hidden = claimed > story.known;
    story.known = claimed;
    hidden
}

/// A job that ended in this life, and how.
fn judge_end(story: &Story, ended: &Ended, life: u16, no: No) -> Over {
    let context = format!("life {life}: {no:?} has ended {:?} ({:?}): {story:?}", ended.state, ended.failure);
    assert_eq!(ended.attempts, story.known, "{context}: attempts");
    let last = story.end.filter(|(attempt, _, in_life)| (*attempt, *in_life) == (story.known, life));
    let end = last.map(|(_, end, _)| end);
    if ended.state == EndState::Done {
        assert_eq!(end, Some(End::Ok), "{context}");
        return Over::Done;
    }
    assert_eq!(ended.state, EndState::Dead, "{context}");
    let failures = story.failures as usize + story.failed.len();
    assert_eq!(ended.failures as usize, failures, "{context}: failures");
    let is_as_scripted = match ended.failure.as_ref().map(|failure| failure.kind) {
        Some(FailureKind::Permanent) => no.script() == Script::Poison && end == Some(End::Permanent),
        Some(FailureKind::Error) => {
            no.script() == Script::Doomed && ended.failures == DOOMED_ATTEMPTS && end == Some(End::Error)
        }
        Some(FailureKind::Lost) => story.condemned && end.is_none(),
        _ => false,
    };
    assert!(is_as_scripted, "{context}");
    Over::Dead
}
