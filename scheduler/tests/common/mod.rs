//! What the tests of the core share: a naive store of records, and a driver that plays the engine's part.
//!
//! The driver knows nothing that an engine would not know: it keeps waves until it is told to write and sync them, a
//! table of attempts whose code runs, and the timers that were armed. It asserts what must hold of every effect,
//! whatever the test: I2 (no `Run` before its claim stands where a crash finds it), I4 (tokens rise, one live attempt a
//! job).
// Each test crate uses its own part of this.
#![allow(dead_code)]
// Queues are few.
#![allow(clippy::cast_possible_truncation)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use uuid::Uuid;
use windlass_scheduler::attempt::{AttemptLog, LogLevel, LogLine, Outcome};
use windlass_scheduler::change::{Change, Claim, EndedRecord, JobRecord, Key, Record};
use windlass_scheduler::command::{Command, QueueNo, TimerClass};
use windlass_scheduler::effect::{Deadline, Effect, Wave};
use windlass_scheduler::job::{JobId, Name, NewJob};
use windlass_scheduler::lease::{Lease, LeaseToken, StopReason};
use windlass_scheduler::settings::{Level, ShardSettings};
use windlass_scheduler::shard::{Misfit, Shard};
use windlass_scheduler::time::{Mono, Now, Timestamp};

/// A job's id from a small number.
pub(crate) fn id(n: u64) -> JobId {
    JobId(Uuid::from_u128(u128::from(n)))
}

/// A job of kind `work` with nothing to it.
pub(crate) fn bare(n: u64, queue: &str) -> NewJob {
    NewJob {
        id: id(n),
        queue: Name::from(queue),
        kind: Name::from("work"),
        priority: None,
        due: None,
        expires: None,
        deadline: None,
        timeout_ms: None,
        retry: None,
        body: Arc::default(),
    }
}

/// What an attempt logs here: every other one a line that is no other's.
pub(crate) fn log_of(id: JobId, attempt: u32) -> Option<Arc<AttemptLog>> {
    let is_logged = (u32::from(id.0.as_bytes()[15]) + attempt).is_multiple_of(2);
    let text = format!("attempt {attempt} of {id}");
    let line = LogLine { at: Timestamp(0), level: LogLevel::Info, target: String::new(), text };
    is_logged.then(|| Arc::new(AttemptLog { lines: vec![line], dropped: 0 }))
}

/// The records that stand, and nothing else: what a journal is, said in five lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Store(pub(crate) BTreeMap<Key, Record>);

impl Store {
    pub(crate) fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Put(record) => drop(self.0.insert(record.key(), record.clone())),
                Change::Delete(key) => drop(self.0.remove(key)),
            }
        }
    }

    /// What a load streams: every job joined with its head, no attempts, no results, no checkpoints.
    pub(crate) fn stream(&self) -> impl Iterator<Item = Record> + '_ {
        self.0.values().filter_map(|record| match record {
            Record::Job(job) => self.joined(job.id).map(Record::Job),
            Record::Head(..)
            | Record::Attempt(_)
            | Record::Result(..)
            | Record::Checkpoint(..)
            | Record::StepOutput(..)
            | Record::Member(_) => None,
            other => Some(other.clone()),
        })
    }

    pub(crate) fn ended(&self, id: JobId) -> Option<&EndedRecord> {
        self.0.values().find_map(|record| match record {
            Record::Ended(ended) if ended.id == id => Some(ended.as_ref()),
            _ => None,
        })
    }

    pub(crate) fn job(&self, id: JobId) -> Option<&JobRecord> {
        match self.0.get(&Key::Job(id)) {
            Some(Record::Job(job)) => Some(job),
            _ => None,
        }
    }

    /// A job with its latest head in it.
    pub(crate) fn joined(&self, id: JobId) -> Option<JobRecord> {
        let job = self.job(id)?;
        Some(match self.0.get(&Key::Head(id)) {
            Some(Record::Head(_, head)) => JobRecord { head: head.clone(), ..job.clone() },
            _ => job.clone(),
        })
    }

    pub(crate) fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.0.values().flat_map(|record| match record {
            Record::Claims(claims) => claims.entries.as_slice(),
            _ => &[],
        })
    }
}

/// An attempt in the supervisor's table: it stays until its end is written.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) claim: Claim,
    pub(crate) queue: QueueNo,
    /// How it ended, and the step that took note of it.
    pub(crate) end: Option<(Outcome, u64)>,
}

/// The engine's part around one shard.
pub(crate) struct Driver {
    pub(crate) shard: Shard,
    pub(crate) settings: ShardSettings,
    pub(crate) now: Now,
    pub(crate) slots: Vec<u32>,
    /// As written.
    pub(crate) journal: Store,
    /// As synced.
    pub(crate) safe: Store,
    /// The volatile twin.
    pub(crate) twin: Store,
    /// Sealed and not written.
    pub(crate) sealed: VecDeque<Wave>,
    /// Written and not synced.
    pub(crate) unsynced: VecDeque<Wave>,
    /// Up to which step someone asked for a sync.
    pub(crate) sync_asked: u64,
    pub(crate) marks: [u64; 3],
    pub(crate) live: BTreeMap<LeaseToken, Attempt>,
    pub(crate) armed: BTreeMap<(QueueNo, TimerClass), Deadline>,
    /// Effects that left and were not yet looked at.
    pub(crate) effects: Vec<Effect>,
    /// Every lease that was ever started.
    pub(crate) tokens: Vec<(LeaseToken, JobId, QueueNo)>,
    /// Questions to the disk that it has not answered.
    pub(crate) fetches: VecDeque<(u64, Vec<JobId>)>,
    /// Everything that left, as text, where someone wants to compare it.
    pub(crate) trace: Option<String>,
    /// Attempts leave what [`log_of`] says.
    pub(crate) logs: bool,
    /// What was retained before each end that the last load brought.
    pub(crate) retained_before_ends: BTreeMap<LeaseToken, BTreeSet<JobId>>,
}

impl Driver {
    /// A driver with an empty journal, loaded.
    pub(crate) fn new(settings: ShardSettings, now: Now) -> Self {
        let slots = settings.queues.iter().map(|queue| queue.slots).collect();
        let mut driver = Self {
            shard: Shard::new(settings.clone()),
            settings,
            now,
            slots,
            journal: Store::default(),
            safe: Store::default(),
            twin: Store::default(),
            sealed: VecDeque::new(),
            unsynced: VecDeque::new(),
            sync_asked: 0,
            marks: [0; 3],
            live: BTreeMap::new(),
            armed: BTreeMap::new(),
            effects: Vec::new(),
            tokens: Vec::new(),
            fetches: VecDeque::new(),
            trace: None,
            logs: false,
            retained_before_ends: BTreeMap::new(),
        };
        assert_eq!(driver.load(), []);
        driver
    }

    pub(crate) fn level(&self, queue: QueueNo) -> Level {
        self.settings.queues.get(queue.0 as usize).map_or(Level::Durable, |queue| queue.level)
    }

    /// One step, and the whole-state audit after it.
    pub(crate) fn handle(&mut self, command: Command) {
        let shown = format!("{command:?}");
        self.shard.handle(command, self.now);
        self.shard.audit().unwrap_or_else(|wrong| panic!("after {shown}: {wrong}"));
    }

    fn log_of(&self, claim: &Claim) -> Option<Arc<AttemptLog>> {
        if self.logs { log_of(claim.id, claim.attempt) } else { None }
    }

    /// An attempt's code ends.
    pub(crate) fn end(&mut self, token: LeaseToken, outcome: Outcome) {
        let log = self.live.get(&token).and_then(|attempt| self.log_of(&attempt.claim));
        self.handle(Command::End { token, outcome: outcome.clone(), body: None, log });
        let step = self.shard.step();
        if let Some(attempt) = self.live.get_mut(&token) {
            attempt.end.get_or_insert((outcome, step));
        }
    }

    /// A timer fires, or is said to: the driver has it no longer.
    pub(crate) fn due(&mut self, queue: QueueNo, class: TimerClass) {
        self.armed.remove(&(queue, class));
        self.handle(Command::Due { queue, class });
    }

    /// The armed timers whose moment has come.
    pub(crate) fn fired(&self) -> Vec<(QueueNo, TimerClass)> {
        let is_over = |at: &Deadline| match at {
            Deadline::Mono(at) => *at <= self.now.mono,
            Deadline::Wall(at) => *at <= self.now.wall,
        };
        self.armed.iter().filter(|(_, at)| is_over(at)).map(|(key, _)| *key).collect()
    }

    /// Seals a wave: it waits to be written then. Whether there was one.
    pub(crate) fn seal(&mut self) -> bool {
        let wave = self.shard.seal(self.now);
        self.shard.audit().unwrap_or_else(|wrong| panic!("after a seal: {wrong}"));
        if let Some(wave) = &wave {
            self.note(&format!("{wave:?}"));
            self.twin.apply(&wave.volatile);
            if wave.sync {
                self.sync_asked = wave.last;
            }
            self.marks[0] = wave.last;
            self.sealed.push_back(wave.clone());
        }
        self.pump();
        wave.is_some()
    }

    /// The oldest sealed wave is written.
    pub(crate) fn write_one(&mut self) -> bool {
        let Some(wave) = self.sealed.pop_front() else { return false };
        self.journal.apply(&wave.changes);
        self.marks[1] = wave.last;
        let last = wave.last;
        self.shard.written(last);
        self.unsynced.push_back(wave);
        if self.pump() {
            self.seal();
        }
        self.live.retain(|_, attempt| attempt.end.as_ref().is_none_or(|(_, step)| *step > last));
        true
    }

    /// The writer finishes what it holds, and the core falls before it hears of it.
    pub(crate) fn finish_writes(&mut self) {
        for wave in std::mem::take(&mut self.sealed) {
            self.journal.apply(&wave.changes);
        }
    }

    /// Everything that is written is synced.
    pub(crate) fn sync(&mut self) {
        self.marks[2] = self.marks[1];
        self.safe = self.journal.clone();
        self.unsynced.clear();
        self.shard.synced(self.marks[2]);
        self.pump();
    }

    /// The disk answers the oldest question with what stands there now, or it cannot.
    pub(crate) fn fetch_one(&mut self, is_readable: bool) -> bool {
        let Some((no, ids)) = self.fetches.pop_front() else { return false };
        let body = |id: JobId| self.journal.job(id).filter(|_| is_readable).map(|job| job.body.clone());
        let bodies = ids.into_iter().map(|id| (id, body(id))).collect();
        self.handle(Command::Fetched { no, bodies });
        true
    }

    /// What a calm driver does: everything is sealed and written, and synced where someone asked for it.
    pub(crate) fn settle(&mut self) {
        loop {
            let was_sealed = self.seal();
            while self.write_one() {}
            if self.sync_asked > self.marks[2] {
                self.sync();
            }
            if !was_sealed {
                return;
            }
        }
    }

    /// The process dies. Of what was written and not synced, only the first waves survive a loss of power.
    pub(crate) fn crash(&mut self, surviving: Option<usize>) {
        if let Some(count) = surviving {
            self.journal = self.safe.clone();
            for wave in self.unsynced.iter().take(count) {
                self.journal.apply(&wave.changes);
            }
        }
        self.twin = Store::default();
        self.live.clear();
        self.settings.first_term = self.settings.term + 1;
        self.now.mono = Mono(self.now.mono.0 % 1_000);
    }

    /// A new shard takes over what stands, and the attempts whose code still runs. An end that came meanwhile is
    /// applied.
    pub(crate) fn load(&mut self) -> Vec<Misfit> {
        self.settings.term += 1;
        self.shard = Shard::new(self.settings.clone());
        self.safe = self.journal.clone();
        self.sealed.clear();
        self.unsynced.clear();
        self.armed.clear();
        self.effects.clear();
        self.fetches.clear();
        (self.sync_asked, self.marks) = (0, [0; 3]);
        let records = self.journal.stream().chain(self.twin.stream());
        let checkpoints = self.twin.0.values().filter(|record| matches!(record, Record::Checkpoint(..))).cloned();
        let misfits = records.chain(checkpoints).filter_map(|record| self.shard.admit(record).err()).collect();
        // Whose end was written, and who does not know it yet.
        let is_settled = |attempt: &Attempt| attempt.end.is_some() && !self.shard.has_claim(&attempt.claim);
        let settled: Vec<_> = self.live.values().filter(|attempt| is_settled(attempt)).cloned().collect();
        self.live.retain(|token, _| settled.iter().all(|attempt| attempt.claim.token != *token));
        let live: Vec<Claim> = self.live.values().map(|attempt| attempt.claim).collect();
        self.handle(Command::LoadEnd { live });
        for attempt in settled {
            self.follow_again(attempt);
        }
        for queue in 0..self.slots.len() {
            let (queue, slots) = (QueueNo(queue as u32), self.slots[queue]);
            self.handle(Command::Slots { queue, slots });
        }
        self.retained_before_ends.clear();
        for attempt in self.live.clone().into_values() {
            if let Some((outcome, _)) = attempt.end {
                let token = attempt.claim.token;
                self.retained_before_ends.insert(token, self.shard.portrait().retained.into_keys().collect());
                let log = self.log_of(&attempt.claim);
                self.handle(Command::End { token, outcome: outcome.clone(), body: None, log });
                let step = self.shard.step();
                if let Some(attempt) = self.live.get_mut(&attempt.claim.token) {
                    attempt.end = Some((outcome, step));
                }
            }
        }
        misfits
    }

    /// A success stands, in the journal or the twin; what follows it in the other one may not. That is all in the twin when
    /// this wave is sealed, and in the journal when it is written. Or neither stands, and nothing that follows it.
    fn follow_again(&mut self, attempt: Attempt) {
        let Some((outcome @ Outcome::Done { .. }, _)) = attempt.end else { return };
        let has_lost_end = self.shard.has_lost_end(&attempt.claim);
        let jobs = match &outcome {
            Outcome::Done { follow_ups, .. } if has_lost_end => follow_ups.clone(),
            outcome => self.elsewhere(attempt.queue, outcome),
        };
        if !jobs.is_empty() {
            self.handle(Command::FollowUps(jobs));
            if has_lost_end || self.level(attempt.queue) == Level::Memory {
                let end = Some((outcome, self.shard.step()));
                self.live.insert(attempt.claim.token, Attempt { end, ..attempt });
            }
        }
    }

    /// What follows a success in the journal, of a job that memory alone knows, or the other way round.
    pub(crate) fn elsewhere(&self, parent: QueueNo, outcome: &Outcome) -> Vec<NewJob> {
        let Outcome::Done { follow_ups, .. } = outcome else { return Vec::new() };
        let is_volatile = |queue: QueueNo| self.level(queue) == Level::Memory;
        let queue = |job: &NewJob| self.shard.queue_no(&job.queue);
        let is_elsewhere = |job: &&NewJob| queue(job).is_some_and(|no| is_volatile(no) != is_volatile(parent));
        follow_ups.iter().filter(is_elsewhere).cloned().collect()
    }

    /// A shard loaded from what stands, beside this one, with every claim adopted.
    pub(crate) fn copy(&self) -> Shard {
        let mut shard = Shard::new(ShardSettings { term: self.settings.term + 1, ..self.settings.clone() });
        for record in self.journal.stream().chain(self.twin.stream()) {
            shard.admit(record).unwrap_or_else(|misfit| panic!("{misfit}"));
        }
        let live = self.journal.claims().chain(self.twin.claims()).copied().collect();
        shard.handle(Command::LoadEnd { live }, self.now);
        shard
    }

    pub(crate) fn advance(&mut self, ms: u64) {
        self.now = Now { mono: self.now.mono.plus_ms(ms), wall: self.now.wall.plus_ms(ms) };
    }

    pub(crate) fn set_wall(&mut self, wall: u64) {
        self.now.wall = Timestamp(wall);
    }

    /// Whether follow-ups came in that had waited for the success they follow.
    fn pump(&mut self) -> bool {
        let mut has_followed = false;
        while let Some(effect) = self.shard.poll_effect() {
            self.note(&format!("{effect:?}"));
            match &effect {
                Effect::Run { queue, leases } => leases.iter().for_each(|lease| self.start(*queue, lease)),
                Effect::Fetch { no, ids } => {
                    self.fetches.push_back((*no, ids.clone()));
                }
                Effect::FollowUps(jobs) => {
                    self.handle(Command::FollowUps(jobs.clone()));
                    has_followed = true;
                }
                Effect::Stop { token, reason: StopReason::Gone, .. } => drop(self.live.remove(token)),
                Effect::Arm { queue, class, at: Some(at) } => drop(self.armed.insert((*queue, *class), *at)),
                Effect::Arm { queue, class, at: None } => drop(self.armed.remove(&(*queue, *class))),
                _ => {}
            }
            self.effects.push(effect);
        }
        has_followed
    }

    fn start(&mut self, queue: QueueNo, lease: &Lease) {
        let claim = Claim { id: lease.id, attempt: lease.attempt, token: lease.token };
        let store = if self.level(queue) == Level::Memory { &self.twin } else { &self.journal };
        assert!(store.claims().any(|one| *one == claim), "I2: {claim:?} starts before its claim is written");
        // What is volatile starts sooner, so the order is one of its own.
        let is_volatile = |queue: QueueNo| self.level(queue) == Level::Memory;
        let before = self.tokens.iter().rev().find(|(_, _, of)| is_volatile(*of) == is_volatile(queue));
        assert!(before.is_none_or(|(last, ..)| *last < lease.token), "I4: {} does not rise", lease.token);
        assert!(self.tokens.iter().all(|(token, ..)| *token != lease.token), "I4: {} was given twice", lease.token);
        let twice = self.live.values().find(|one| one.claim.id == lease.id && one.end.is_none());
        assert!(twice.is_none(), "I4: {claim:?} starts beside {twice:?}");
        if lease.body.is_none() {
            assert!(self.journal.job(lease.id).is_some(), "I2: {claim:?} starts, and nobody has its body");
        }
        self.tokens.push((lease.token, lease.id, queue));
        self.live.insert(lease.token, Attempt { claim, queue, end: None });
    }

    fn note(&mut self, line: &str) {
        if let Some(trace) = &mut self.trace {
            trace.push_str(line);
            trace.push('\n');
        }
    }
}
