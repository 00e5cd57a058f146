//! A no, with its numbers. A refusal changes nothing and loses nothing; a break of the storage is another thing.

use alloc::sync::Arc;
use core::fmt;

use crate::flow::FlowId;
use crate::job::{JobId, Name};
use crate::order::{OrderEnd, OrderId};
use crate::state::State;
use crate::time::Timestamp;
use crate::unique::UniqueKey;
use crate::verb::Edition;

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no queue of this name.
    NoQueue {
        /// The name.
        queue: Name,
    },
    /// No handler is registered for this kind.
    NoHandler {
        /// The kind.
        kind: Name,
    },
    /// The queue holds as many waiting jobs as it may.
    QueueFull {
        /// The queue.
        queue: Name,
        /// Jobs that wait in it.
        depth: u64,
        /// Jobs that may wait in it.
        depth_max: u64,
        /// New jobs for it in the refused call.
        jobs: u64,
    },
    /// The queue is full, and as many callers as may wait for room already do.
    TooManyWaiters {
        /// The queue.
        queue: Name,
        /// Callers that may wait.
        waiters_max: usize,
    },
    /// The payload is over the queue's limit.
    PayloadTooLarge {
        /// The queue.
        queue: Name,
        /// Bytes of the payload.
        bytes: usize,
        /// Bytes that the queue allows.
        bytes_max: usize,
    },
    /// Too many jobs or bytes in one call.
    BulkTooLarge {
        /// Jobs in the call.
        jobs: usize,
        /// Jobs that one call takes.
        jobs_max: usize,
        /// Bytes of their bodies.
        bytes: usize,
        /// Bytes that one call takes.
        bytes_max: usize,
    },
    /// Another job, of another kind, has this id.
    IdTaken {
        /// The id.
        id: JobId,
        /// The kind of the job that has it.
        kind: Name,
    },
    /// A job of another kind has this key.
    KeyTaken {
        /// The key, and whose it is.
        key: UniqueKey,
        /// The job that has it, or had it last and the key's window is not over.
        id: JobId,
        /// The kind of that job.
        kind: Name,
    },
    /// As many keys as may be are taken.
    TooManyKeys {
        /// How many may be.
        keys_max: usize,
    },
    /// As many limit keys as may be are in use.
    TooManyLimitKeys {
        /// How many may be.
        keys_max: usize,
    },
    /// No limit of this name is shared.
    NoSharedLimit {
        /// The name.
        limit: Name,
    },
    /// As many limits as may be are not as the code says.
    TooManyOverrides {
        /// How many may be.
        overrides_max: usize,
    },
    /// Too many different retry policies are in use.
    TooManyPolicies {
        /// How many may be.
        policies_max: usize,
    },
    /// No live or retained job has this id.
    Forgotten {
        /// The id.
        id: JobId,
    },
    /// A job in this state does not allow that.
    Forbidden {
        /// The job.
        id: JobId,
        /// What it is.
        state: State,
        /// What was asked, as a participle: "it cannot be *requeued*".
        verb: &'static str,
    },
    /// One of the two queues is at level `Memory`, and no job moves between memory and journal.
    OtherStore {
        /// The queue that the job is in.
        from: Name,
        /// The queue that it was to move to.
        to: Name,
    },
    /// The job's labels are on disk only, and are needed: read its body once this has been said, and come again with both.
    OnDisk {
        /// The job.
        id: JobId,
        /// The body that is meant.
        edition: Edition,
    },
    /// The job moved between the reading of its record and the command.
    Changed {
        /// The job.
        id: JobId,
    },
    /// Too many orders are under way.
    TooManyOrders {
        /// How many may be.
        orders_max: usize,
    },
    /// No order has this id, or it ended long ago.
    NoOrder {
        /// The id.
        id: OrderId,
    },
    /// The order has ended.
    OrderEnded {
        /// The order.
        id: OrderId,
        /// How.
        end: OrderEnd,
    },
    /// No schedule has this name.
    NoSchedule {
        /// The name.
        name: Name,
    },
    /// A schedule has nothing to run for that moment.
    NoInstant {
        /// The schedule.
        name: Name,
        /// The moment.
        at: Timestamp,
        /// What it is, as the rest of a sentence: "that moment is *still to come*".
        is: &'static str,
    },
    /// There are as many schedules as may be.
    TooManySchedules {
        /// How many may be.
        schedules_max: usize,
    },
    /// Another flow, of another sort, has this id.
    FlowTaken {
        /// The id.
        id: FlowId,
        /// What sort of flow has it.
        name: Name,
    },
    /// A flow without steps, or with too many.
    FlowSize {
        /// The flow.
        flow: FlowId,
        /// Steps that it has.
        steps: usize,
        /// Steps that one may have.
        steps_max: usize,
    },
    /// A flow whose steps need too many others, all counted together.
    FlowNeeds {
        /// The flow.
        flow: FlowId,
        /// Needs that its steps have.
        needs: usize,
        /// Needs that they may have.
        needs_max: usize,
    },
    /// A step that cannot be.
    BadStep {
        /// The flow.
        flow: FlowId,
        /// The step's number.
        step: u32,
        /// Its name. None where there is no such step.
        name: Option<Arc<str>>,
        /// What is wrong with it, as the rest of a sentence: "the step *needs itself*".
        what: &'static str,
    },
    /// Some queues of a flow are at level `Memory`, and some are not: no commit holds both.
    FlowInTwoStores {
        /// The flow.
        flow: FlowId,
        /// A queue of it.
        one: Name,
        /// A queue of it that is kept otherwise.
        other: Name,
    },
    /// No flow has this id, or it ended long ago.
    NoFlow {
        /// The id.
        id: FlowId,
    },
    /// The flow has no step of this name.
    NoStep {
        /// The flow.
        flow: FlowId,
        /// The name.
        step: Arc<str>,
    },
    /// The step does not allow that.
    StepForbidden {
        /// The flow.
        flow: FlowId,
        /// The step.
        step: Arc<str>,
        /// What it is, as the rest of a sentence: "the step is *over*".
        is: &'static str,
        /// What was asked, as a participle.
        verb: &'static str,
    },
    /// The step's job is no longer retained: it cannot run again.
    StepForgotten {
        /// The flow.
        flow: FlowId,
        /// The step.
        step: Arc<str>,
        /// The queue that retained the job.
        queue: Name,
    },
    /// The lease is not, or no longer, the job's current one.
    StaleLease {
        /// The job.
        id: JobId,
    },
    /// The checkpoint is over the limit.
    CheckpointTooLarge {
        /// The job.
        id: JobId,
        /// Bytes of the checkpoint.
        bytes: usize,
        /// Bytes that one may have.
        bytes_max: usize,
    },
    /// The engine is stopping.
    Stopping,
}

impl Refusal {
    /// Limits that may be set over the code's at a time: somebody did each by hand.
    pub const OVERRIDES_MAX: usize = 10_000;
    /// Distinct retry policies that jobs may bring along; what no job has any more is forgotten at the next start.
    pub const POLICIES_MAX: usize = 4_096;
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSharedLimit { .. } | Self::NoQueue { .. } | Self::NoHandler { .. } => self.not_there(f),
            Self::QueueFull { queue, depth, depth_max, jobs } => {
                write!(
                    f,
                    "queue `{queue}` is full: {depth} jobs wait, {jobs} more asked in, {depth_max} allowed; come again later, \
                     raise its depth_max, or let callers wait for room"
                )
            }
            Self::TooManyWaiters { queue, waiters_max } => {
                write!(f, "queue `{queue}` is full, and {waiters_max} callers wait already, as many as may: come later")
            }
            Self::PayloadTooLarge { .. } | Self::BulkTooLarge { .. } | Self::CheckpointTooLarge { .. } => {
                self.too_large(f)
            }
            Self::IdTaken { .. } | Self::KeyTaken { .. } => self.taken(f),
            Self::Forgotten { id } => write!(
                f,
                "no live or retained job has the id {id}: it never was one, or its queue's retention has let it go"
            ),
            Self::Forbidden { id, state, verb } => {
                write!(f, "job {id} is {state} and cannot be {verb}: {}", what_to_do(*state))
            }
            Self::OtherStore { from, to } => write!(
                f,
                "only one of the queues `{from}` and `{to}` is at level `Memory`, and no job moves between memory and \
                 journal: cancel it and enqueue it anew"
            ),
            Self::OnDisk { id, .. } => write!(f, "the labels of job {id} are on disk only: read them, and come again"),
            Self::Changed { id } => write!(f, "job {id} moved meanwhile: look again"),
            Self::NoOrder { id } => write!(f, "no order has the id {id}, or it ended long ago"),
            Self::OrderEnded { id, end } => write!(f, "order {id} {}", how_ended(*end)),
            Self::NoSchedule { name } => write!(f, "there is no schedule `{name}`: define it, or list them all"),
            Self::NoInstant { name, at, is } => {
                write!(f, "schedule `{name}` has no job for {} (milliseconds since 1970): that is {is}", at.0)
            }
            Self::StaleLease { id } => write!(
                f,
                "the lease on job {id} is not its current one: its attempt has ended, and what it says is too late"
            ),
            Self::FlowTaken { .. }
            | Self::FlowSize { .. }
            | Self::FlowNeeds { .. }
            | Self::BadStep { .. }
            | Self::FlowInTwoStores { .. }
            | Self::NoFlow { .. }
            | Self::NoStep { .. }
            | Self::StepForbidden { .. }
            | Self::StepForgotten { .. } => self.of_flow(f),
            Self::TooManyKeys { .. }
            | Self::TooManyLimitKeys { .. }
            | Self::TooManyOverrides { .. }
            | Self::TooManyPolicies { .. }
            | Self::TooManyOrders { .. }
            | Self::TooManySchedules { .. } => self.too_many(f),
            Self::Stopping => f.write_str("the engine is stopping: hand it in again when the service is back"),
        }
    }
}

impl Refusal {
    /// Of something of which there are as many as may be.
    fn not_there(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSharedLimit { limit } => write!(f, "there is no shared limit `{limit}`: add it to the builder"),
            Self::NoQueue { queue } => write!(f, "there is no queue `{queue}`: add it to the builder"),
            Self::NoHandler { kind } => {
                write!(f, "no handler is registered for kind `{kind}`: register one, or allow unknown kinds")
            }
            _ => Ok(()),
        }
    }

    /// Of something that has too many bytes.
    fn too_large(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PayloadTooLarge { queue, bytes, bytes_max } => {
                write!(
                    f,
                    "the payload has {bytes} bytes, queue `{queue}` allows {bytes_max}: keep what is large elsewhere and hand in \
                     where it is, or raise the queue's payload_bytes_max"
                )
            }
            Self::BulkTooLarge { jobs, jobs_max, bytes, bytes_max } => {
                write!(
                    f,
                    "{jobs} jobs of {bytes} bytes in one call, {jobs_max} jobs of {bytes_max} bytes allowed: split it"
                )
            }
            Self::CheckpointTooLarge { id, bytes, bytes_max } => {
                write!(f, "the checkpoint of job {id} has {bytes} bytes, {bytes_max} are allowed: keep where it got to")
            }
            _ => Ok(()),
        }
    }

    /// Of an id, or a key, that is another job's.
    fn taken(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdTaken { id, kind } => {
                write!(f, "job {id} exists already and is of kind `{kind}`: choose another id")
            }
            Self::KeyTaken { key, id, kind } => {
                write!(
                    f,
                    "job {id} of kind `{kind}` has the key {key}: another kind takes it when it is free, or choose another key, \
                     or a scope that they do not share"
                )
            }
            _ => Ok(()),
        }
    }

    fn of_flow(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FlowTaken { id, name } => {
                write!(f, "flow {id} exists already and is a flow `{name}`: choose another id")
            }
            Self::FlowSize { flow, steps, steps_max } => {
                write!(f, "flow {flow} has {steps} steps, 1 to {steps_max} may be: make several flows, or a batch")
            }
            Self::FlowNeeds { flow, needs, needs_max } => write!(
                f,
                "the steps of flow {flow} have {needs} needs together, up to {needs_max} may be: where each of many steps needs each \
                 of many others, put one step between that needs the ones and that the others need"
            ),
            Self::BadStep { flow, name: Some(name), what, .. } => write!(f, "step `{name}` of flow {flow} {what}"),
            Self::BadStep { flow, step, name: None, what } => write!(f, "step {step} of flow {flow} {what}"),
            Self::FlowInTwoStores { flow, one, other } => write!(
                f,
                "only one of the queues `{one}` and `{other}` of flow {flow} is at level `Memory`: no commit holds steps of both"
            ),
            Self::NoFlow { id } => {
                write!(f, "no flow has the id {id}: it never was one, or it ended and was forgotten")
            }
            Self::NoStep { flow, step } => write!(f, "flow {flow} has no step `{step}`"),
            Self::StepForbidden { flow, step, is, verb } => {
                write!(f, "step `{step}` of flow {flow} is {is}, and cannot be {verb}")
            }
            Self::StepForgotten { flow, step, queue } => write!(
                f,
                "the job of step `{step}` of flow {flow} is no longer retained by queue `{queue}`: skip the step, or begin anew"
            ),
            _ => Ok(()),
        }
    }

    fn too_many(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyOverrides { overrides_max } => {
                write!(f, "{overrides_max} limits, as many as may be, are not as the code says: reset some of them")
            }
            Self::TooManyLimitKeys { keys_max } => write!(
                f,
                "{keys_max} limit keys are in use, by jobs that wait or run and by rates that are not yet as good as new, and no \
                 more may be: let some of their jobs end, or give keys to fewer sorts of jobs"
            ),
            Self::TooManyKeys { keys_max } => {
                write!(f, "{keys_max} keys, as many as may be, are taken: wait for some, or take shorter windows")
            }
            Self::TooManyPolicies { policies_max: max } => {
                write!(f, "{max} different retry policies were seen since the start, and no more may be: share some")
            }
            Self::TooManyOrders { orders_max } => {
                write!(f, "{orders_max} orders, as many as may, are under way: wait for one, or call one off")
            }
            Self::TooManySchedules { schedules_max: max } => {
                write!(f, "there are {max} schedules, as many as may be: remove some")
            }
            _ => Ok(()),
        }
    }
}

const fn how_ended(end: OrderEnd) -> &'static str {
    match end {
        OrderEnd::Finished => "is finished",
        OrderEnd::Cancelled => "was called off",
    }
}

/// What makes a job in this state one that more can be done to.
const fn what_to_do(state: State) -> &'static str {
    match state {
        State::Running => "cancel it, or wait for its end",
        State::Parked => "start an engine with its handler, or move it to a queue that there is",
        State::Done => "enqueue it anew",
        State::Dead | State::Cancelled | State::Expired => "requeue it first",
        State::Waiting | State::Delayed | State::Ready => "cancel it first",
    }
}

impl core::error::Error for Refusal {}
