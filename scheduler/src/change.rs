//! What is remembered, as the domain says it: records, their keys, and the changes of a wave.
//!
//! The journal keeps records of what is alive and what is retained, not a history. These types say *what* stands there;
//! how it looks in bytes is the storage crate's own affair, with types of its own.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::attempt::{AttemptLog, AttemptResult, Failure, Output};
use crate::batch::{BatchRecord, MemberRecord};
use crate::flow::{FlowId, FlowRecord, StepOf, StepRecord};
use crate::job::{Body, JobId, Name, Priority};
use crate::lease::LeaseToken;
use crate::limit::{LimitOf, Override};
use crate::order::{Order, OrderId};
use crate::recurrence::Schedule;
use crate::retry::RetryPolicy;
use crate::state::EndState;
use crate::time::Timestamp;
use crate::unique::{Held, UniqueKey};

/// A number that stands for a retry policy: 4,096 distinct ones at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyNo(pub u16);

/// One change of what is remembered. The changes of a wave are applied in order, all or none.
// Moved once, from the core to the journal: a box would cost an allocation for every job.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This record now stands under its key.
    Put(Record),
    /// Nothing stands under this key any more; that nothing stood there before is no error.
    Delete(Key),
}

/// Where a record stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// An operator's or the engine's own setting.
    Setting(SettingKey),
    /// An interned retry policy.
    Policy(PolicyNo),
    /// The counters of a queue.
    Counters(Name),
    /// A job that ended and is retained.
    Ended(EndedKey),
    /// A job's body and first head.
    Job(JobId),
    /// A job's head since its first move.
    Head(JobId),
    /// What one wave of claims handed out.
    Claims(ClaimsNo),
    /// An order of an operator.
    Order(OrderId),
    /// A schedule.
    Schedule(Name),
    /// Who has a key.
    Unique(UniqueKey),
    /// A flow.
    Flow(FlowId),
    /// How a step of a flow ended.
    Step(StepOf),
    /// The numbers of a batch.
    Batch(StepOf),
    /// How one attempt of a job ended.
    Attempt(JobId, u32),
    /// What a job's success left.
    Result(JobId),
    /// What an attempt of a job left for the next one.
    Checkpoint(JobId),
    /// What a step left for those that need it.
    StepOutput(StepOf),
    /// How the job ended that has this place in a batch.
    Member(StepOf, u32),
}

/// A record, as the domain says it. [`Record::key`] tells where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// See [`Key::Setting`].
    Setting(Setting),
    /// See [`Key::Policy`].
    Policy(PolicyNo, RetryPolicy),
    /// See [`Key::Counters`].
    Counters(Counters),
    /// See [`Key::Ended`].
    // In a box, like orders: it is twice as large as any other, and most changes are small.
    Ended(Box<EndedRecord>),
    /// See [`Key::Job`].
    Job(JobRecord),
    /// See [`Key::Head`].
    Head(JobId, Head),
    /// See [`Key::Claims`].
    Claims(Claims),
    /// See [`Key::Order`].
    Order(Box<Order>),
    /// See [`Key::Schedule`].
    Schedule(Box<Schedule>),
    /// See [`Key::Unique`].
    Unique(Box<Held>),
    /// See [`Key::Flow`].
    Flow(Box<FlowRecord>),
    /// See [`Key::Step`].
    Step(Box<StepRecord>),
    /// See [`Key::Batch`].
    Batch(Box<BatchRecord>),
    /// See [`Key::Attempt`].
    Attempt(AttemptRecord),
    /// See [`Key::Result`].
    Result(JobId, bytes::Bytes),
    /// See [`Key::Checkpoint`].
    Checkpoint(JobId, bytes::Bytes),
    /// See [`Key::StepOutput`].
    StepOutput(StepOf, bytes::Bytes),
    /// See [`Key::Member`].
    Member(Box<MemberRecord>),
}

/// The key of a [`Setting`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SettingKey {
    /// Whether this queue is paused.
    Paused(Name),
    /// How many suspects may run at once.
    SuspectsMax,
    /// What is set over the limit of this.
    Limit(LimitOf),
}

/// Something that an operator or the engine itself set at run time, and that a restart keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// This queue hands out nothing. Only `true` is stored; resuming deletes the record.
    Paused(Name),
    /// How many suspects (jobs lost twice or more) may run at once. Deleted when it is back at all slots.
    SuspectsMax(u32),
    /// A limit that is not as the code says. Deleted when it is reset.
    Limit(LimitOf, Override),
}

/// The mutable part of a live job, all that deciding needs. Small: it is written at every move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The queue that it is in.
    pub queue: Name,
    /// How urgent it is.
    pub priority: Priority,
    /// Its place in line among jobs of one priority: smaller is sooner. A job that is released or lost keeps it.
    pub arrival: i64,
    /// When it was accepted.
    pub created: Timestamp,
    /// Until when it is delayed; `None` where it stands in line.
    pub due: Option<Timestamp>,
    /// Whether `due` was a wall time from the start: then it stays one, and a clock that is set moves it.
    pub due_by_wall: bool,
    /// From when on it is no longer started.
    pub expires: Option<Timestamp>,
    /// From when on no attempt goes on; `expires` is no later.
    pub deadline: Option<Timestamp>,
    /// How long one attempt may run in milliseconds; `None`: the queue's to say.
    pub timeout_ms: Option<u64>,
    /// Its own retry policy; `None`: the queue's.
    pub policy: Option<PolicyNo>,
    /// The number of the last attempt that ended; 0 before the first. A claim of a later one is a live one.
    pub attempts_ended: u32,
    /// Failures that count for the retry policy.
    pub failures: u32,
    /// Attempts whose process died, since the last that ended.
    pub lost: u32,
    /// Someone cancelled it while it ran.
    pub cancel_requested: bool,
}

/// A job's immutable body with its first head, written once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// The handler that it is for.
    pub kind: Name,
    /// Payload and labels.
    pub body: Arc<Body>,
    /// Its head when it was accepted; a [`Record::Head`] replaces it, and so does a [`Record::Ended`].
    pub head: Head,
}

/// The key of a wave of claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimsNo {
    /// The term in which it was written.
    pub term: u64,
    /// Its number in that term.
    pub n: u64,
}

/// What one wave of claims handed out. It goes with its last open attempt; an entry whose job is gone, or has ended
/// that attempt, is stale and means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Its key.
    pub no: ClaimsNo,
    /// When they were handed out.
    pub at: Timestamp,
    /// What was handed out.
    pub entries: Vec<Claim>,
}

/// One attempt that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The job.
    pub id: JobId,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// The lease's token.
    pub token: LeaseToken,
}

/// How one attempt ended. Kept for the first and the last 20 attempts that failed or left a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// The job.
    pub id: JobId,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// When it was handed out.
    pub started: Timestamp,
    /// When its end was known.
    pub ended: Timestamp,
    /// How it ended.
    pub result: AttemptResult,
    /// What it logged, if anything is kept of that.
    pub log: Option<Arc<AttemptLog>>,
}

/// The key of a retained job: readers page along the number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndedKey {
    /// The queue in which it ended.
    pub queue: Name,
    /// How it ended.
    pub state: EndState,
    /// The how-manieth end of that queue it was; never used twice.
    pub end_no: u64,
}

/// A job that ended and is retained, with all that a list shows. Its body stays under [`Key::Job`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedRecord {
    /// Where it stands.
    pub key: EndedKey,
    /// The job.
    pub id: JobId,
    /// The handler that it was for.
    pub kind: Name,
    /// Its last head.
    pub head: Head,
    /// When it ended.
    pub at: Timestamp,
    /// When its last attempt was handed out, if any was.
    pub started: Option<Timestamp>,
    /// The number of the last attempt that has a [`Record::Attempt`]; 0 where none has.
    pub attempt_recorded: u32,
    /// Bytes that it takes: body, output and error.
    pub bytes: u64,
    /// How often its body was edited since its end: what was read before that is no longer it.
    pub edits: u32,
    /// What its success left; the bytes of [`Output::Bytes`] stand under [`Key::Result`] and are empty here.
    pub output: Output,
    /// Why it is dead, cancelled or expired.
    pub failure: Option<Failure>,
}

/// The counters of a queue: absolute numbers, written in the batch that moves them, so that they cannot drift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// The queue.
    pub queue: Name,
    /// Jobs ever accepted.
    pub enqueued: u64,
    /// Ends ever numbered: the last [`EndedKey::end_no`].
    pub ends: u64,
    /// Jobs that ever succeeded.
    pub done_total: u64,
    /// Jobs that ever died.
    pub dead_total: u64,
    /// Jobs ever cancelled.
    pub cancelled_total: u64,
    /// Jobs that ever expired.
    pub expired_total: u64,
    /// Ended jobs ever forgotten.
    pub purged: u64,
    /// Jobs ever lost to a record that could not be read.
    pub quarantined: u64,
    /// Retained jobs ever brought back.
    pub requeued: u64,
    /// Jobs that ever came from other queues.
    pub moved_in: u64,
    /// Jobs that ever went to other queues.
    pub moved_out: u64,
    /// Attempts ever started.
    pub attempts: u64,
    /// Failures ever, of all kinds but lost.
    pub failures: u64,
    /// Retries ever scheduled.
    pub retries: u64,
    /// Attempts ever lost with their process.
    pub lost: u64,
}

impl Counters {
    /// All at zero.
    #[must_use]
    pub const fn new(queue: Name) -> Self {
        Self {
            queue,
            enqueued: 0,
            ends: 0,
            done_total: 0,
            dead_total: 0,
            cancelled_total: 0,
            expired_total: 0,
            purged: 0,
            quarantined: 0,
            requeued: 0,
            moved_in: 0,
            moved_out: 0,
            attempts: 0,
            failures: 0,
            retries: 0,
            lost: 0,
        }
    }

    /// Jobs that ever came into the queue.
    #[must_use]
    pub const fn came(&self) -> u64 {
        self.enqueued.saturating_add(self.moved_in)
    }

    /// Jobs that were in the queue and are not any more.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.purged.saturating_add(self.quarantined).saturating_add(self.moved_out)
    }
}

impl Setting {
    /// Where it stands.
    #[must_use]
    pub fn key(&self) -> SettingKey {
        match self {
            Self::Paused(queue) => SettingKey::Paused(queue.clone()),
            Self::SuspectsMax(_) => SettingKey::SuspectsMax,
            Self::Limit(of, _) => SettingKey::Limit(of.clone()),
        }
    }
}

impl Record {
    /// Where it stands.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Setting(setting) => Key::Setting(setting.key()),
            Self::Policy(no, _) => Key::Policy(*no),
            Self::Counters(counters) => Key::Counters(counters.queue.clone()),
            Self::Ended(ended) => Key::Ended(ended.key.clone()),
            Self::Job(job) => Key::Job(job.id),
            Self::Head(id, _) => Key::Head(*id),
            Self::Claims(claims) => Key::Claims(claims.no),
            Self::Order(order) => Key::Order(order.id),
            Self::Schedule(schedule) => Key::Schedule(schedule.name.clone()),
            Self::Unique(held) => Key::Unique((*held.key).clone()),
            Self::Flow(flow) => Key::Flow(flow.plan.id),
            Self::Step(step) => Key::Step(step.of),
            Self::Batch(batch) => Key::Batch(batch.of),
            Self::Attempt(attempt) => Key::Attempt(attempt.id, attempt.attempt),
            Self::Result(id, _) => Key::Result(*id),
            Self::Checkpoint(id, _) => Key::Checkpoint(*id),
            Self::StepOutput(of, _) => Key::StepOutput(*of),
            Self::Member(member) => Key::Member(member.of, member.place),
        }
    }
}
