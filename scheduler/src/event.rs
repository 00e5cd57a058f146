//! What happened: the only thing that moves a shard's state. Past tense, decided before, impossible to refuse.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::attempt::{AttemptLog, Failure, Logged, Output};
use crate::batch::{BatchRecord, CalledOff};
use crate::breaker::Heard;
use crate::change::{Claims, ClaimsNo, Counters, EndedRecord, JobRecord, PolicyNo, Setting};
use crate::command::{QueueNo, Request};
use crate::flow::{FlowId, FlowRecord, StepEnd, StepOf, StepRecord};
use crate::job::{Body, JobId, Name, NewJob, Priority, When};
use crate::lease::LeaseToken;
use crate::limit::{LimitOf, Override};
use crate::order::{Order, OrderId};
use crate::recurrence::Schedule;
use crate::retry::RetryPolicy;
use crate::settings::Level;
use crate::shard::flows::StepAt;
use crate::shard::lines::Aside;
use crate::shard::slab::Slot;
use crate::state::EndState;
use crate::time::{Mono, Now, Timestamp};
use crate::unique::{Held, UniqueKey, Until};
use crate::verb::Retained;

/// Something that happened to a shard.
#[derive(Debug)]
pub(crate) enum Event {
    /// A job was accepted.
    Enqueued { job: NewJob, queue: QueueNo, arrival: i64, now: Now, turn: Turn },
    /// A delay was over: the job stands in line (or is parked).
    FellDue { slot: Slot, arrival: i64, now: Now },
    /// An attempt was handed out.
    Claimed { slot: Slot, token: LeaseToken, no: ClaimsNo, deadline: Option<Mono>, now: Now },
    /// What was handed out, or taken over, stands in a record of claims.
    ClaimsMade(Claims, Level),
    /// A tenant may start nothing for now.
    SteppedAside { tenant: Slot, aside: Aside },
    /// It may start something again.
    CameBack { tenant: Slot },
    /// A live attempt ended without success; where it went comes next.
    AttemptFailed {
        slot: Slot,
        failure: Failure,
        now: Now,
        counts: bool,
        heard: Option<Heard>,
        log: Option<Arc<AttemptLog>>,
    },
    /// A live attempt ended, and it was no failure; where it went comes next.
    AttemptEnded { slot: Slot, now: Now, heard: Option<Heard>, logged: Option<Box<Logged>> },
    /// After an attempt: waits for its time.
    Delayed { slot: Slot, delay_ms: u64, now: Now, is_retry: bool },
    /// After an attempt: stands in line again.
    Returned { slot: Slot, arrival: i64, now: Now },
    /// A job ended.
    Ended { slot: Slot, state: EndState, now: Now, output: Output, failure: Option<Failure>, keep: bool },
    /// A lease's time was over; its code still runs.
    Overdue { slot: Slot },
    /// A lease got another end.
    Extended { slot: Slot, deadline: Mono },
    /// A live attempt left word for the next one.
    Checkpointed { slot: Slot, bytes: Bytes },
    /// A running job was called off.
    CancelRequested { slot: Slot },
    /// A retained job was forgotten.
    Purged { stub: Slot },
    /// A retained job came back.
    Requeued { stub: Slot, read: Box<Retained>, arrival: i64, now: Now, turn: Turn },
    /// A job got another priority; where it stands in line, another place, too.
    Reprioritised { slot: Slot, priority: Priority, arrival: i64, now: Now },
    /// A job that waits got another time.
    Rescheduled { slot: Slot, when: When, arrival: i64, now: Now },
    /// A job that waits went to another queue.
    Moved { slot: Slot, queue: QueueNo, arrival: i64, now: Now },
    /// A job that waits got another body.
    Edited { slot: Slot, body: Arc<Body> },
    /// A retained job got another body.
    RetainedEdited { stub: Slot, read: Box<Retained> },
    /// An order was placed, came on, or ended.
    OrderMoved(Box<Order>),
    /// An order that ended long ago was forgotten.
    OrderForgotten(OrderId),
    /// A schedule was defined, paused, or came on; it fires next then.
    ScheduleMoved { schedule: Box<Schedule>, next: Option<Timestamp> },
    /// A schedule was forgotten.
    ScheduleRemoved(Name),
    /// When a schedule that was loaded fires next is known.
    ScheduleArmed { name: Name, next: Option<Timestamp> },
    /// A job that has not begun got another one's payload, labels and times.
    Replaced { slot: Slot, job: Box<NewJob>, arrival: i64, now: Now },
    /// A flow was accepted.
    FlowEntered(Box<FlowRecord>),
    /// A step's turn has come.
    StepOpened { at: StepAt, now: Now },
    /// A step is over; its job has ended, or had before. What it left may stand there already.
    StepEnded { at: StepAt, end: Box<StepEnd>, is_stored: bool },
    /// A step's signal came before its turn.
    StepSignalled { at: StepAt, payload: Bytes, now: Now },
    /// A step failed, and those that need it wait for somebody to do something about it.
    StepHolds { at: StepAt },
    /// Something happened to a batch.
    OfBatch(StepAt, BatchEvent),
    /// All steps of a flow are over.
    FlowEnded { flow: Slot, at: Timestamp },
    /// A flow that had ended was forgotten.
    FlowForgotten { flow: Slot },
    /// Someone waits for the end of a flow.
    FlowWatched { id: FlowId, request: Request },
    /// Someone no longer does.
    FlowUnwatched { id: FlowId, request: Request },
    /// A key is free: whoever waited for it has it now.
    KeyMoved { store: usize, key: Arc<UniqueKey>, to: Option<Slot>, arrival: i64, now: Now },
    /// Whoever waited for a key does so no longer.
    KeyUnwaited { store: usize, key: Arc<UniqueKey> },
    /// A queue was paused or resumed.
    Paused { queue: QueueNo, paused: bool },
    /// A limit is another one from now on, or as the code says.
    Overridden { of: LimitOf, change: Option<Override>, now: Now },
    /// A worker said how much it can run at once.
    SlotsSet { queue: QueueNo, slots: u32 },
    /// How many suspects may run at once changed.
    SuspectsMaxSet { max: u32 },
    /// No more is handed out or accepted.
    Drained,
    /// Someone waits for the end of a job.
    Watched { id: JobId, request: Request },
    /// Someone no longer does.
    Unwatched { id: JobId, request: Request },
    /// An acknowledgement came with a token that was not current.
    StaleAck,
    /// The bodies of these jobs left memory: the journal has them.
    PagedOut { slots: Vec<Slot> },
    /// The disk was asked for the bodies of these jobs.
    Asked { no: u64, slots: Vec<Slot> },
    /// The disk's answer to a question about these jobs came; these bodies of it are back in memory.
    Answered { ids: Vec<JobId>, bodies: Vec<(Slot, Arc<Body>)> },
    /// A live job of the journal's had ended and been forgotten before the core fell, and the write of that was lost: another job of a
    /// `Memory` queue has its id.
    Superseded { slot: Slot },
    /// A record was loaded.
    Loaded(Box<LoadedRecord>),
    /// All records are there: every job takes its place.
    AllLoaded { now: Now },
    /// An attempt that still runs in this process was taken over.
    Adopted { slot: Slot, token: LeaseToken, no: ClaimsNo, now: Now },
    /// An attempt's process died under it; where the job went comes next.
    Lost { slot: Slot, started: Timestamp, now: Now },
    /// The records of claims of earlier terms were judged and mean nothing any more.
    ClaimsSettled,
}

/// What may happen to a batch, but for what happens to any step. That a job came in, or back, is said by its own event.
#[derive(Debug)]
pub(crate) enum BatchEvent {
    /// A job of it ended, or will have by the next event.
    MemberEnded { slot: Slot, end: EndState, output: Output, failure: Option<Failure> },
    /// It ends as soon as its jobs have, and they are called off.
    CalledOff(Box<CalledOff>),
    /// All of them have been.
    AllAsked,
    /// Somebody closed it.
    Closed,
    /// So many of its jobs are not there any more, and nobody knows how they ended.
    MembersLost(u32),
    /// What is remembered of the jobs with places below this one is forgotten.
    NotesGone(u32),
}

/// How a job stands with its key, or its flow, when it comes in.
#[derive(Clone, Debug)]
pub(crate) enum Turn {
    /// It has none.
    Free,
    /// It has it, until then.
    Holds(Arc<UniqueKey>, Until),
    /// It has it next, and until then.
    Waits(Arc<UniqueKey>, Until),
    /// It is this step.
    Step(StepOf),
    /// It runs by itself, and was this step of a flow that it can bring back no more, if that is still remembered.
    Alone(Option<StepAt>),
}

/// A record that was found to make sense.
#[derive(Debug)]
pub(crate) enum LoadedRecord {
    Setting(Setting),
    Policy(PolicyNo, RetryPolicy),
    Counters(Counters),
    Ended(Box<EndedRecord>),
    /// And whether its body stays in memory.
    Job(JobRecord, bool),
    Claims(Claims),
    /// Bytes that one has in memory: only the twin tells of it.
    Checkpoint(JobId, u32),
    Order(Box<Order>),
    Schedule(Box<Schedule>),
    Unique(Box<Held>),
    Flow(Box<FlowRecord>),
    Step(Box<StepRecord>),
    Batch(Box<BatchRecord>),
}
