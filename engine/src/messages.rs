//! Every message between the parts, on one page. All are casts: nobody waits for an answer inside an actor (I8), but
//! for the supervisor while the writer, which is none, opens the journal.
//!
//! | from | message | to |
//! |---|---|---|
//! | callers | `Submit`, `Withdraw`, `Ask`, `Unwatch`, `Checkpoint`, `Listen` | queue |
//! | worker | `Ends`, `Slots` | queue |
//! | scheduler | `Due` | queue |
//! | reads ahead | `Fetched` | queue |
//! | writer | `Written`, `Synced` | queue |
//! | queue | `Seal` (to itself, behind all that already waits) | queue |
//! | supervisor | `Rearm`, `Adopt`, `Listen`, `Collect`, `Drain`, `StopAttempts`, `Finish`, `Halt` | queue |
//! | queue | `Run`, `Stop` | worker |
//! | attempts | `Ended` | worker |
//! | queue | `Arm` | scheduler |
//! | scheduler | `Look` (to itself, after a sleep) | scheduler |
//! | queue | `Wave` | writer |
//! | supervisor | `Open`, `Attach`, `Backup`, `Close` | writer |
//! | writer, attempts, callers | `JournalBroken`, `RuntimeGone`, `Shutdown`, `Order`, `Backup` | supervisor |
//! | queue | `JournalBroken`, `Idle`, `Sealed`, `Halted` | supervisor |
//! | supervisor | `Rebuild`, `DeadlineOver`, `GraceOver`, `Closed` (to itself) | supervisor |

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use windlass_scheduler::attempt::Outcome;
use windlass_scheduler::command::{Command, QueueNo, Request, TimerClass};
use windlass_scheduler::effect::{Answer, Deadline, Wave};
use windlass_scheduler::filter::Filter;
use windlass_scheduler::flow::{FlowCommand, FlowId, FlowPlan};
use windlass_scheduler::job::{Body, JobId, Name, NewJob};
use windlass_scheduler::lease::{Lease, LeaseToken, StopReason};
use windlass_scheduler::limit::{LimitOf, Override};
use windlass_scheduler::order::{OrderCommand, OrderId};
use windlass_scheduler::recurrence::ScheduleCommand;
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::settings::ShardSettings;
use windlass_scheduler::shard::Shard;
use windlass_scheduler::verb::{Known, Read, Verb};
use windlass_storage::{BackupError, LoadError, OpenError, PendingBackup, Reader, StorageError};

use crate::error::ShutdownError;

/// Where an answer goes. Dropped unanswered, it means: interrupted, outcome unknown.
pub(crate) type ReplyTo = oneshot::Sender<Result<Answer, Refusal>>;

/// Where a backup goes that was begun.
pub(crate) type BackupReply = oneshot::Sender<Result<PendingBackup, BackupError>>;

/// What bounds the door: held from the call until its answer, so that the queue's mailbox cannot grow without end.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) _call: Option<OwnedSemaphorePermit>,
    pub(crate) _jobs: Option<OwnedSemaphorePermit>,
    pub(crate) _bytes: OwnedSemaphorePermit,
}

/// What somebody waits for the end of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Awaited {
    Job(JobId),
    Flow(FlowId),
}

impl Awaited {
    pub(crate) const fn question(self) -> Question {
        match self {
            Self::Job(id) => Question::Watch(id),
            Self::Flow(id) => Question::Flow(FlowCommand::Watch { id }),
        }
    }

    pub(crate) const fn no_longer(self, request: Request) -> Command {
        match self {
            Self::Job(id) => Command::Unwatch { request, id },
            Self::Flow(id) => Command::UnwatchFlow { request, id },
        }
    }
}

/// What may be asked about one job or queue.
#[derive(Debug)]
pub(crate) enum Question {
    Extend {
        id: JobId,
        token: LeaseToken,
        by_ms: u64,
    },
    Steer {
        id: JobId,
        verb: Verb,
        read: Read,
    },
    Edit {
        id: JobId,
        payload: Bytes,
        version: u32,
        known: Known,
    },
    Pause(Name),
    Resume(Name),
    Override {
        of: LimitOf,
        change: Option<Override>,
    },
    Limits,
    Watch(JobId),
    Look(JobId),
    List {
        filter: Box<Filter>,
        from: u32,
        limit: usize,
        scan_max: usize,
    },
    Order(OrderCommand),
    Schedule(ScheduleCommand),
    Flow(FlowCommand),
    Stats,
    Memory,
    #[cfg(feature = "metrics")]
    Measure,
}

impl Question {
    /// As the core is asked.
    pub(crate) fn into_command(self, request: Request) -> Command {
        match self {
            Self::Extend { id, token, by_ms } => Command::Extend { request, id, token, by_ms },
            Self::Steer { id, verb, read } => Command::Steer { request, id, verb, read },
            Self::Edit { id, payload, version, known } => Command::Edit { request, id, payload, version, known },
            Self::Pause(queue) => Command::Pause { request, queue },
            Self::Resume(queue) => Command::Resume { request, queue },
            Self::Override { of, change } => Command::Override { request, of, change },
            Self::Limits => Command::Limits { request },
            Self::Watch(id) => Command::Watch { request, id },
            Self::Look(id) => Command::Look { request, id },
            Self::List { filter, from, limit, scan_max } => Command::List { request, filter, from, limit, scan_max },
            Self::Order(command) => Command::Order { request, command },
            Self::Schedule(command) => Command::Schedule { request, command },
            Self::Flow(command) => Command::Flow { request, command },
            Self::Stats => Command::Stats { request },
            Self::Memory => Command::Memory { request },
            #[cfg(feature = "metrics")]
            Self::Measure => Command::Measure { request },
        }
    }
}

/// To the queue actor, the body of [`Shard`].
#[derive(Debug)]
pub(crate) enum QueueMsg {
    /// Accept these jobs; `ending` is answered when the (only) job has ended.
    Submit {
        request: Request,
        jobs: Vec<NewJob>,
        /// Of which they are the steps.
        flow: Option<Box<FlowPlan>>,
        reply: ReplyTo,
        ending: Option<(Request, ReplyTo)>,
        ticket: Ticket,
    },
    /// Whoever made this call has left: it no longer waits for room.
    Withdraw(Request),
    /// Answer this.
    Ask { request: Request, question: Question, reply: ReplyTo },
    /// Whoever waited for this end no longer does.
    Unwatch { request: Request, of: Awaited },
    /// Remember this for the job's next attempt.
    Checkpoint { request: Request, id: JobId, token: LeaseToken, bytes: Bytes, reply: ReplyTo, ticket: Ticket },
    /// Somebody may want to hear what happens: from now on it is told.
    Listen,
    /// These attempts' code has ended.
    Ends(Vec<(JobId, LeaseToken, Outcome)>),
    /// The worker of this queue runs so many at once.
    Slots { queue: QueueNo, slots: u32 },
    /// A timer fired.
    Due { queue: QueueNo, class: TimerClass },
    /// What the disk answered to this question of the core's: bodies that it gave, and those that it could not.
    Fetched { no: u64, bodies: Vec<(JobId, Option<Arc<Body>>)> },
    /// This scheduler is a new one: all timers have to be armed there.
    Rearm(ractor::ActorRef<SchedulerMsg>),
    /// The journal has everything up to this step.
    Written(u64),
    /// The journal has synced everything up to this step.
    Synced(u64),
    /// Everything that waited when the wave began has been handled: close it.
    Seal,
    /// Begin: these attempts still run in this process.
    Adopt,
    /// Look once more through the table of live attempts for outcomes that were told to nobody.
    Collect,
    /// Hand out and accept nothing more; say `Idle` when nothing runs.
    Drain,
    /// Ask all attempts to end.
    StopAttempts,
    /// Give back what still runs, hand the last wave to the writer, and say `Sealed`.
    Finish,
    /// The journal is closed: say `Halted` and stop. Whoever still waits is told that it was interrupted.
    Halt,
}

/// To the worker actor of one queue.
#[derive(Debug)]
pub(crate) enum WorkerMsg {
    /// Start these attempts.
    Run(Vec<Lease>),
    /// Ask this attempt to end; drop it after its queue's grace.
    Stop { id: JobId, token: LeaseToken, reason: StopReason },
    /// The code of some attempts has ended: everything that ended before this goes to the queue in one message.
    Ended,
}

/// To the scheduler actor.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SchedulerMsg {
    /// Fire this timer then; it replaces the one before.
    Arm { queue: QueueNo, class: TimerClass, at: Option<Deadline> },
    /// The earliest timer may be due: look.
    Look,
}

/// To the writer.
#[derive(Debug)]
pub(crate) enum WriterMsg {
    /// Close what is open, open again, load into a new core.
    Open { settings: ShardSettings, reply: oneshot::Sender<Result<Opening, OpenFailure>> },
    /// Report to this queue actor from now on.
    Attach(ractor::ActorRef<QueueMsg>),
    /// Write these changes, of about so many bytes.
    Wave { wave: Wave, bytes: usize },
    /// Begin a copy of everything that was written before this.
    Backup { to: PathBuf, reply: BackupReply },
    /// Write and sync what came before, close, and end.
    Close(oneshot::Sender<Result<(), StorageError>>),
}

/// A journal that was opened and loaded.
pub(crate) struct Opening {
    pub(crate) term: u64,
    pub(crate) shard: Box<Shard>,
    pub(crate) reader: Arc<dyn Reader>,
    /// Of the volatile twin.
    pub(crate) twin_reader: Arc<dyn Reader>,
    pub(crate) twin_term: u64,
    pub(crate) quarantined: u64,
}

/// Why a journal could not be opened and loaded.
#[derive(Debug)]
pub(crate) enum OpenFailure {
    Open(OpenError),
    Load(LoadError),
    Storage(StorageError),
    Volatile { queue: String, jobs: u64 },
    Panic(String),
}

/// To the supervisor: control only, never job data.
#[derive(Debug)]
pub(crate) enum SupervisorMsg {
    /// The journal answered anything but Ok, or the writer panicked.
    JournalBroken(String),
    /// The pause before the next try of a rebuild is over.
    Rebuild,
    /// The handlers' runtime is gone.
    RuntimeGone,
    /// Drain, then stop, until this deadline.
    Shutdown { deadline: Duration, reply: Option<oneshot::Sender<Result<(), ShutdownError>>> },
    /// Carry out this order, which was just placed.
    Order(OrderId),
    /// Pass this on to the writer of the day.
    Backup { to: PathBuf, reply: BackupReply },
    /// Nothing runs any more (while draining).
    Idle,
    /// The deadline of the drain is over.
    DeadlineOver,
    /// The grace after the deadline is over, too.
    GraceOver,
    /// The last wave is with the writer; in it, attempts whose code has not ended were given back.
    Sealed { given_back: Vec<JobId> },
    /// The journal is closed, cleanly or not.
    Closed(Result<(), StorageError>),
    /// The queue actor has said all that it had to say.
    Halted,
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opening").field("quarantined", &self.quarantined).finish_non_exhaustive()
    }
}

impl From<OpenFailure> for crate::error::StartError {
    fn from(failure: OpenFailure) -> Self {
        match failure {
            OpenFailure::Open(error) => Self::Open(error),
            OpenFailure::Load(error) => Self::Load(error),
            OpenFailure::Storage(error) => Self::Storage(error),
            OpenFailure::Volatile { queue, jobs } => Self::VolatileQueue { queue, jobs },
            OpenFailure::Panic(text) => Self::Thread(text),
        }
    }
}
