//! What a shard asks of its driver, once the step it depends on is durable enough, and the waves that make it so.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::attempt::{Failure, Output};
use crate::batch::BatchView;
use crate::breaker::Circuit;
use crate::change::{Change, EndedKey};
use crate::command::{QueueNo, Request, TimerClass};
use crate::flow::{FlowEnding, FlowSummary, FlowView, StepInputs};
use crate::job::{Body, JobId, Name, NewJob};
use crate::lease::{Lease, LeaseToken, StopReason};
use crate::limit::{LimitOf, LimitView};
use crate::news::Told;
use crate::order::{Order, OrderProgress};
use crate::recurrence::ScheduleView;
use crate::refusal::Refusal;
use crate::state::{EndState, State};
use crate::time::{Mono, Timestamp};
use crate::view::{JobView, Measures, MemoryUse, Page, QueueStats};

/// The changes of some steps in a row, written together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Wave {
    /// The first step.
    pub first: u64,
    /// The last step.
    pub last: u64,
    /// What changes in the journal.
    pub changes: Vec<Change>,
    /// What changes in the volatile twin, where `Memory` queues live.
    pub volatile: Vec<Change>,
    /// Whether someone waits for these steps, or earlier ones, to be synced.
    pub sync: bool,
    /// Bytes of bodies of jobs whose calls had waited for room and were let in by this wave.
    pub let_in_bytes: usize,
}

/// A moment for a timer, on the clock that its class goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// The monotonic clock.
    Mono(Mono),
    /// The wall clock.
    Wall(Timestamp),
}

/// Something for the driver to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer this request.
    Reply {
        /// Who waits.
        request: Request,
        /// The answer.
        answer: Result<Answer, Refusal>,
    },
    /// Start these attempts.
    Run {
        /// The queue.
        queue: QueueNo,
        /// What to start.
        leases: Vec<Lease>,
    },
    /// A success is written that these follow, of which only memory is to know: they come in with
    /// [`Command::FollowUps`](crate::command::Command::FollowUps) now, so that none begins before it stands.
    FollowUps(Vec<NewJob>),
    /// Read the bodies of these jobs from the journal, and answer with
    /// [`Command::Fetched`](crate::command::Command::Fetched) whatever comes of it.
    Fetch {
        /// The question's number.
        no: u64,
        /// The jobs.
        ids: Vec<JobId>,
    },
    /// Ask this attempt to end.
    Stop {
        /// The queue.
        queue: QueueNo,
        /// The job.
        id: JobId,
        /// The attempt.
        token: LeaseToken,
        /// Why.
        reason: StopReason,
    },
    /// Tell those who want to know. Only made where [`notices`](crate::settings::ShardSettings::notices) ask for it.
    Notice(Box<Notice>),
    /// This happened, of one step. Only made after [`listen`](crate::shard::Shard::listen), and in the order of steps: what waits for a
    /// stronger mark holds up what comes after it.
    Told(Told),
    /// A job of a schedule has come in, of which no caller told. Only made where [`notices`](crate::settings::ShardSettings::notices) ask
    /// for it.
    Ticked(Box<NewJob>),
    /// A breaker has opened or closed.
    Tripped {
        /// Of what.
        of: LimitOf,
        /// Where it stands now.
        circuit: Circuit,
    },
    /// Fire this queue's timer of this class then; it replaces the one before. `None`: not at all.
    Arm {
        /// The queue.
        queue: QueueNo,
        /// The class.
        class: TimerClass,
        /// When.
        at: Option<Deadline>,
    },
}

/// Something that happened to a job, and is remembered at its queue's level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What happened.
    pub what: NoticeOf,
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: Name,
    /// Its queue.
    pub queue: Name,
    /// The number of the attempt that ended, from 1.
    pub attempt: u32,
    /// Failures that count for the retry policy, this one included.
    pub failures: u32,
    /// Why it failed.
    pub failure: Failure,
    /// When the job was accepted.
    pub created: Timestamp,
    /// Payload and labels; `None`: neither memory nor the end of the attempt had them. The journal has, while the job is kept.
    pub body: Option<Arc<Body>>,
}

/// What a [`Notice`] is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeOf {
    /// The job is dead.
    Dead,
    /// The attempt failed, and the job runs again after this many milliseconds.
    Retry {
        /// The delay.
        delay_ms: u64,
    },
}

/// What came of one job of an enqueue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The job.
    pub id: JobId,
    /// Whether it is new; otherwise a job with this id was there already, and that is it.
    pub fresh: bool,
}

/// How a job ended, for those who waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The job.
    pub id: JobId,
    /// How it ended.
    pub state: EndState,
    /// What it left.
    pub output: Output,
    /// Why it is dead, cancelled or expired.
    pub failure: Option<Failure>,
}

/// Where a job stands that someone looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// In memory.
    Live(JobView),
    /// In the journal, under this key: the driver reads it there.
    Ended(EndedKey),
}

/// A yes, with what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Submit`](crate::command::Submit): in the order of its jobs.
    Enqueued(Vec<Receipt>),
    /// To Steer and Edit. A cancelled job that runs will be cancelled when its attempt has ended.
    Steered {
        /// The state it is in now; a discarded one, the state it was in last.
        state: State,
    },
    /// To Watch: it ended while someone waited.
    Ending(Ending),
    /// To Look, and to Watch where the job had ended before.
    Found(Found),
    /// To List.
    Page(Page),
    /// To `Order`: the one that is placed or called off, or all.
    Orders(Vec<Order>),
    /// To `Schedule`: the one that it was about, or those that were asked for.
    Schedules(Vec<ScheduleView>),
    /// To a look at a flow.
    Flow(Box<FlowView>),
    /// To a question about the input of a step.
    Inputs(Box<StepInputs>),
    /// To a look at a batch.
    Batch(Box<BatchView>),
    /// To a list of flows.
    Flows(Vec<FlowSummary>),
    /// To a watch of a flow: it has ended.
    FlowEnding(Box<FlowEnding>),
    /// To a signal.
    Signalled {
        /// Whether it was the first one of its name: later ones change nothing.
        is_first: bool,
    },
    /// To a step of an order.
    OrderProgress(Box<OrderProgress>),
    /// To Stats.
    Stats(Vec<QueueStats>),
    /// To Limits.
    Limits(Vec<LimitView>),
    /// To Memory.
    Memory(MemoryUse),
    /// To Measure.
    Measures(Box<Measures>),
    /// To everything else: it is so.
    Ok,
}
