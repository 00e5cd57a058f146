//! Jobs that come back: when a schedule fires, and what is made of what it missed.
//!
//! Owns what is remembered of a schedule. Its *cursor* is the instant up to which everything is settled, and moves in the commit
//! that enqueues the job: so each instant has one job, whatever dies in between. Never knows a calendar: cron and zones are
//! the driver's, behind [`Calendar`].

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::job::{Body, InstantOf, JobId, Name, NewJob, Priority, When};
use crate::retry::RetryPolicy;
use crate::time::Timestamp;

/// When a schedule fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// At every multiple of so many milliseconds since the Unix epoch: neither a restart nor a new definition shifts it.
    Every {
        /// Milliseconds; at least 1.
        period_ms: u64,
    },
    /// At the instants that a [`Calendar`] has for these words.
    Cron {
        /// The pattern.
        pattern: Box<str>,
        /// The name of the time zone that it is meant in.
        zone: Box<str>,
    },
}

impl Rule {
    /// The first multiple of so many milliseconds after that moment.
    #[must_use]
    pub fn multiple_after(period_ms: u64, after: Timestamp) -> Option<Timestamp> {
        let period_ms = period_ms.max(1);
        (after.0 / period_ms).checked_add(1)?.checked_mul(period_ms).map(Timestamp)
    }
}

/// Knows cron patterns and time zones. The same question has the same answer, or a replay is none.
pub trait Calendar: fmt::Debug + Send + Sync {
    /// The first instant of this pattern after that moment; `None`: there is none, or the words mean nothing here.
    fn next(&self, pattern: &str, zone: &str, after: Timestamp) -> Option<Timestamp>;
    /// The last instant of this pattern at that moment or before.
    fn last(&self, pattern: &str, zone: &str, until: Timestamp) -> Option<Timestamp>;
}

/// A calendar that all parts share.
#[derive(Clone, Debug)]
pub struct SharedCalendar(pub Arc<dyn Calendar>);

impl PartialEq for SharedCalendar {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SharedCalendar {}

/// A calendar without cron: its schedules never fire.
#[derive(Debug)]
pub struct NoCalendar;

impl Calendar for NoCalendar {
    fn next(&self, _: &str, _: &str, _: Timestamp) -> Option<Timestamp> {
        None
    }

    fn last(&self, _: &str, _: &str, _: Timestamp) -> Option<Timestamp> {
        None
    }
}

/// What becomes of instants that passed while nobody was there. (Those that pass while a schedule is paused are left out.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatchUp {
    /// Nothing: an instant that is more than [`Schedule::LATE_MS_MAX`] ago is left out.
    Skip,
    /// The latest of them has its job, those before are left out.
    #[default]
    Latest,
    /// Each has its job, the latest so many at most.
    All {
        /// From 1 to [`Schedule::CATCH_UP_MAX`].
        max: u16,
    },
}

/// What becomes of an instant while the job of an earlier one lives: waits, runs, or is to be retried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// Its job is enqueued beside it.
    #[default]
    Allow,
    /// It is left out.
    Skip,
    /// Its job is enqueued when the other one has ended. Up to [`Schedule::HELD_MAX`] wait so; further ones are left out.
    Queue,
}

/// Who a schedule is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The code: its word counts anew at every start.
    Code,
    /// Somebody, at run time.
    Runtime,
}

/// What each job of a schedule is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The queue that they go to.
    pub queue: Name,
    /// The handler that they are for.
    pub kind: Name,
    /// How urgent they are.
    pub priority: Option<Priority>,
    /// Not started from so many milliseconds after they were enqueued: they expire instead.
    pub expires_ms: Option<u64>,
    /// How long after its instant no attempt of it goes on, in milliseconds.
    pub deadline_ms: Option<u64>,
    /// How long one attempt may run, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Their own retry policy.
    pub retry: Option<RetryPolicy>,
    /// Payload and labels.
    pub body: Arc<Body>,
}

/// A schedule, with how far it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Its name, which nothing else has.
    pub name: Name,
    /// When it fires.
    pub rule: Rule,
    /// What is enqueued then.
    pub template: Template,
    /// What becomes of what it missed.
    pub catch_up: CatchUp,
    /// What becomes of an instant while an earlier job lives.
    pub overlap: Overlap,
    /// A job is due up to so many milliseconds after its instant: by the name and the instant, the same each time.
    pub jitter_ms: u64,
    /// Who it is from.
    pub origin: Origin,
    /// Whether it fires at all.
    pub is_paused: bool,
    /// Up to here all instants are settled.
    pub cursor: Timestamp,
    /// The last instant that had a job, and the job.
    pub last: Option<(Timestamp, JobId)>,
    /// Instants that wait for that job's end, the earliest first.
    pub held: Vec<Timestamp>,
    /// Jobs that it ever enqueued.
    pub fired: u64,
    /// Instants that were left out since an earlier job lived.
    pub overlapped: u64,
}

impl Schedule {
    /// Schedules at most: each is in memory.
    pub const COUNT_MAX: usize = 1_000_000;
    /// Instants that wait for an earlier job's end at most, for each schedule.
    pub const HELD_MAX: usize = 100;
    /// Missed instants that are caught up with at most.
    pub const CATCH_UP_MAX: u16 = 1_000;
    /// An instant that is no longer ago was not missed: a timer is late by moments, a deploy takes seconds.
    pub const LATE_MS_MAX: u64 = 60_000;
    /// A cursor so far ahead of the clock was set by one that was wrong, and starts anew. One that is less far ahead stays: then
    /// the clock went back, and those instants had their jobs.
    pub const AHEAD_MS_MAX: u64 = 24 * 60 * 60 * 1_000;

    /// Whether both fire alike and make the same jobs, whoever they are from and however far they came.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let same_rule = self.rule == other.rule && self.template == other.template;
        same_rule && (self.catch_up, self.overlap, self.jitter_ms) == (other.catch_up, other.overlap, other.jitter_ms)
    }

    /// The first instant after that moment.
    #[must_use]
    pub fn next(&self, calendar: &dyn Calendar, after: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Every { period_ms } => Rule::multiple_after(*period_ms, after),
            Rule::Cron { pattern, zone } => calendar.next(pattern, zone, after).filter(|next| *next > after),
        }
    }

    /// The last instant at that moment or before.
    fn last_until(&self, calendar: &dyn Calendar, until: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Every { period_ms } => Some(Timestamp(until.0 - until.0 % (*period_ms).max(1))),
            Rule::Cron { pattern, zone } => calendar.last(pattern, zone, until).filter(|last| *last <= until),
        }
    }

    /// Whether that moment is one of its instants.
    #[must_use]
    pub fn fires_at(&self, calendar: &dyn Calendar, at: Timestamp) -> bool {
        self.last_until(calendar, at) == Some(at)
    }

    /// The instants since the cursor that are to have a job, the earliest first.
    #[must_use]
    pub fn to_run(&self, calendar: &dyn Calendar, now: Timestamp) -> Vec<Timestamp> {
        let max = match self.catch_up {
            CatchUp::Skip | CatchUp::Latest => 1,
            CatchUp::All { max } => usize::from(max.min(Self::CATCH_UP_MAX)),
        };
        let mut instants = Vec::new();
        let mut until = now;
        while instants.len() < max {
            let Some(last) = self.last_until(calendar, until).filter(|last| *last > self.cursor) else { break };
            if self.catch_up == CatchUp::Skip && now.since_ms(last) > Self::LATE_MS_MAX {
                break;
            }
            instants.push(last);
            let Some(before) = last.0.checked_sub(1) else { break };
            until = Timestamp(before);
        }
        instants.reverse();
        instants
    }

    /// The job of this instant. Its id follows from the name and the instant: the same instant never has two.
    #[must_use]
    pub fn job_at(&self, instant: Timestamp) -> NewJob {
        let jitter_ms = if self.jitter_ms == 0 { 0 } else { self.hash(instant) as u64 % (self.jitter_ms + 1) };
        let due = (jitter_ms > 0).then(|| When::At(instant.plus_ms(jitter_ms)));
        self.job(self.id_at(instant), instant, due)
    }

    /// A job of its template, for this instant.
    #[must_use]
    pub fn job(&self, id: JobId, instant: Timestamp, due: Option<When>) -> NewJob {
        let Template { queue, kind, priority, expires_ms, deadline_ms, timeout_ms, retry, body } = &self.template;
        let of = InstantOf { schedule: self.name.clone(), at: instant };
        NewJob {
            id,
            queue: queue.clone(),
            kind: kind.clone(),
            priority: *priority,
            due,
            expires: expires_ms.map(When::After),
            deadline: deadline_ms.map(When::After),
            timeout_ms: *timeout_ms,
            retry: retry.clone(),
            body: Arc::new(Body { labels: body.labels.clone().of_instant(Some(of)), ..(**body).clone() }),
        }
    }

    /// The id of this instant's job: a UUID of version 7, whose time is the instant and whose rest is a hash of both.
    #[must_use]
    pub fn id_at(&self, instant: Timestamp) -> JobId {
        let hash = self.hash(instant).to_be_bytes();
        let mut rest = [0; 10];
        rest.copy_from_slice(&hash[..10]);
        JobId(uuid::Builder::from_unix_timestamp_millis(instant.0 & TIME_MASK, &rest).into_uuid())
    }

    /// FNV-1a of 128 bits: stands in ids, so that it must never change.
    fn hash(&self, instant: Timestamp) -> u128 {
        const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        let bytes = self.name.as_str().bytes().chain([0]).chain(instant.0.to_be_bytes());
        let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
        // The last bytes reach the upper half only by one multiplication each: fold it back, and mix once more.
        (hash ^ (hash >> 64)).wrapping_mul(OFFSET | 1)
    }
}

/// A UUID of version 7 has 48 bits for the time.
const TIME_MASK: u64 = (1 << 48) - 1;

/// What is asked about schedules.
#[derive(Clone, Debug)]
pub enum ScheduleCommand {
    /// Let there be this one. One of the same name becomes it, and keeps its place where it fires alike.
    Define(Box<Schedule>),
    /// Forget this one. Jobs that it enqueued stay.
    Remove(Name),
    /// Whether this one fires.
    Pause {
        /// The schedule.
        name: Name,
        /// Whether it is to stand still.
        paused: bool,
    },
    /// Enqueue a job of this one now, beside its instants.
    RunNow {
        /// The schedule.
        name: Name,
        /// The job's id.
        id: JobId,
    },
    /// Enqueue the job of this instant, which is over, unless one is known.
    RunAt {
        /// The schedule.
        name: Name,
        /// The instant.
        at: Timestamp,
    },
    /// Tell of one.
    One(Name),
    /// Tell of those that the code had and has no more.
    Orphans,
    /// Tell of those after this name, so many at most.
    All {
        /// `None`: from the first one on.
        after: Option<Name>,
        /// How many at most.
        limit: usize,
    },
}

/// A schedule, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleView {
    /// The schedule.
    pub schedule: Schedule,
    /// When it fires next; `None`: never, or it is paused.
    pub next: Option<Timestamp>,
    /// It is from the code, and the code that runs does not have it any more. It goes on until it is removed.
    pub is_orphan: bool,
}
