//! What may be asked of a shard. Every command is one step.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::attempt::{AttemptLog, Outcome};
use crate::change::Claim;
use crate::filter::Filter;
use crate::flow::{FlowCommand, FlowId, FlowPlan};
use crate::job::{Body, JobId, Name, NewJob};
use crate::lease::LeaseToken;
use crate::limit::{LimitOf, Override};
use crate::order::OrderCommand;
use crate::recurrence::ScheduleCommand;
use crate::verb::{Known, Read, Verb};

/// The driver's own number for someone who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request(pub u64);

/// The place of a queue in [`ShardSettings::queues`](crate::settings::ShardSettings::queues); later numbers stand for
/// queues that only the journal knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueNo(pub u32);

/// The kinds of timers; the driver keeps one instant for each, per queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimerClass {
    /// Relative delays, retries, snoozes: the monotonic clock.
    Delay,
    /// Delays until a wall time.
    At,
    /// Ends of leases: the monotonic clock.
    Lease,
    /// Expiry of jobs that were not started: the wall clock.
    Expiry,
    /// Retention of jobs that ended: the wall clock.
    Retention,
    /// Instants of schedules whose jobs go to the queue: the wall clock.
    Schedule,
    /// Ends of the windows of keys: the wall clock.
    Window,
    /// The next start that a queue's rate allows: the monotonic clock.
    Rate,
}

impl TimerClass {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Delay, Self::At, Self::Lease, Self::Expiry, Self::Retention, Self::Schedule, Self::Window, Self::Rate];
}

/// One call of a caller: some jobs, all or none.
#[derive(Clone, Debug)]
pub struct Submit {
    /// Who waits for the receipts.
    pub request: Request,
    /// Who waits for the end of the (only) job, registered in the same step.
    pub watch: Option<Request>,
    /// The jobs.
    pub jobs: Vec<NewJob>,
    /// The flow whose steps they are, in the order of the steps.
    pub flow: Option<Box<FlowPlan>>,
}

/// Something that is asked of a shard.
#[derive(Clone, Debug)]
pub enum Command {
    /// Accept these jobs.
    Submit(Submit),
    /// Whoever made this call has left: it no longer waits for room. Does nothing where it was let in already.
    Withdraw {
        /// Who waited.
        request: Request,
    },
    /// Follow-ups of a success that is remembered: those that had to wait until it was, and those of which nobody knows
    /// whether they are remembered as well.
    FollowUps(Vec<NewJob>),
    /// An attempt's code has ended.
    End {
        /// Its lease's token.
        token: LeaseToken,
        /// How.
        outcome: Outcome,
        /// The job's body, where notices may tell of it: it goes into them if it is on disk only.
        body: Option<Arc<Body>>,
        /// What it logged, if that is to be kept.
        log: Option<Arc<AttemptLog>>,
    },
    /// Let this attempt run until this long from now.
    Extend {
        /// Who waits.
        request: Request,
        /// The job, for the refusal.
        id: JobId,
        /// The lease's token.
        token: LeaseToken,
        /// Milliseconds from now.
        by_ms: u64,
    },
    /// Remember this for the job's next attempt, instead of what was remembered before.
    Checkpoint {
        /// Who waits.
        request: Request,
        /// The job, for the refusal.
        id: JobId,
        /// The lease's token.
        token: LeaseToken,
        /// What to remember, of at most [`CHECKPOINT_BYTES_MAX`](crate::attempt::CHECKPOINT_BYTES_MAX).
        bytes: Bytes,
    },
    /// This queue's worker can run so many attempts at once, from now on.
    Slots {
        /// The queue.
        queue: QueueNo,
        /// The number; 0 while there is no worker.
        slots: u32,
    },
    /// A timer of this class has fired, or might as well have.
    Due {
        /// The queue.
        queue: QueueNo,
        /// The class.
        class: TimerClass,
    },
    /// The driver has forgotten its timers, or the clock jumped: arm everything again.
    Rearm,
    /// Do this to a job.
    Steer {
        /// Who waits.
        request: Request,
        /// The job.
        id: JobId,
        /// What.
        verb: Verb,
        /// What [`Verb::Requeue`] needs; the others need nothing.
        read: Read,
    },
    /// Give this job, which waits or is retained, another payload.
    Edit {
        /// Who waits.
        request: Request,
        /// The job.
        id: JobId,
        /// The payload.
        payload: Bytes,
        /// Its schema version.
        version: u32,
        /// The job as read, where it is retained, or its body is on disk only.
        known: Known,
    },
    /// Hand out nothing of this queue, until resumed.
    Pause {
        /// Who waits.
        request: Request,
        /// The queue.
        queue: Name,
    },
    /// Hand out again.
    Resume {
        /// Who waits.
        request: Request,
        /// The queue.
        queue: Name,
    },
    /// Set this over a limit from now on, across restarts; `None`: as the code says.
    Override {
        /// Who waits.
        request: Request,
        /// Which.
        of: LimitOf,
        /// What.
        change: Option<Override>,
    },
    /// Tell all limits.
    Limits {
        /// Who waits.
        request: Request,
    },
    /// Answer when this job has ended.
    Watch {
        /// Who waits.
        request: Request,
        /// The job.
        id: JobId,
    },
    /// This caller no longer waits.
    Unwatch {
        /// Who.
        request: Request,
        /// For which job.
        id: JobId,
    },
    /// Tell what is known of this job.
    Look {
        /// Who waits.
        request: Request,
        /// The job.
        id: JobId,
    },
    /// Tell of the live jobs that this filter means, from this place on. It stands while the process and its core live: a
    /// job keeps its place through all its moves.
    List {
        /// Who waits.
        request: Request,
        /// Which jobs. What of it the core cannot know is not looked at.
        filter: Box<Filter>,
        /// The place of the first one to look at.
        from: u32,
        /// Jobs that the answer has at most.
        limit: usize,
        /// Jobs that are looked at, at most.
        scan_max: usize,
    },
    /// About orders.
    Order {
        /// Who waits.
        request: Request,
        /// What.
        command: OrderCommand,
    },
    /// About schedules.
    Schedule {
        /// Who waits.
        request: Request,
        /// What.
        command: ScheduleCommand,
    },
    /// About flows.
    Flow {
        /// Who waits.
        request: Request,
        /// What.
        command: FlowCommand,
    },
    /// This caller no longer waits for the end of a flow.
    UnwatchFlow {
        /// Who.
        request: Request,
        /// For which flow.
        id: FlowId,
    },
    /// Tell the numbers of all queues.
    Stats {
        /// Who waits.
        request: Request,
    },
    /// Tell what the memory is used for.
    Memory {
        /// Who waits.
        request: Request,
    },
    /// Tell all numbers of the shard, for whoever publishes them.
    Measure {
        /// Who waits.
        request: Request,
    },
    /// What came of an [`Effect::Fetch`](crate::effect::Effect::Fetch).
    Fetched {
        /// The question's number.
        no: u64,
        /// Every job that was asked for, with its body where that could be read.
        bodies: Vec<(JobId, Option<Arc<Body>>)>,
    },
    /// Hand out nothing and accept nothing from now on; what runs may end.
    Drain,
    /// Ask all live attempts to end.
    StopAttempts,
    /// All records have been admitted. These attempts still run in this process, or have ended and their end may not be
    /// written. One that has ended and that [`has_claim`](crate::shard::Shard::has_claim) denies is left out: its end
    /// was written, and a job with its id may be another one by now.
    LoadEnd {
        /// Them.
        live: Vec<Claim>,
    },
}
