//! Flows: steps that belong together, each waiting for those that it needs.
//!
//! Owns the words and the tables of a flow: what one is handed in as, what is remembered of it, how its steps end. Never decides when
//! a step begins: that is [`decide::flow`](crate::shard)'s. A flow is a graph without circles because a step can only need steps with
//! lower numbers than its own.

mod views;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use uuid::Uuid;

use crate::attempt::{Failure, Output};
use crate::batch::BatchPlan;
use crate::job::{JobId, Name, When};
use crate::state::{EndState, State};
use crate::time::Timestamp;
use crate::verb::Retained;

pub use self::views::{FlowEnding, FlowSummary, FlowView, StepInput, StepInputs, StepView};

/// The identity of a flow. Chosen by the caller or made by the engine (UUID v7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub Uuid);

impl FlowId {
    /// An id of the caller's own, in constants too.
    #[must_use]
    pub const fn from_u128(id: u128) -> Self {
        Self(Uuid::from_u128(id))
    }
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl core::str::FromStr for FlowId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// The step of a flow that a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepOf {
    /// The flow.
    pub flow: FlowId,
    /// The step's number in it, from 0.
    pub no: u32,
}

/// What becomes of a step when one that it needs ends without success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IfFailed {
    /// It is called off, and so are those that need it.
    #[default]
    Cancel,
    /// It goes on without.
    GoOn,
    /// It waits until somebody requeues, skips or gives up what failed.
    Hold,
}

/// That a step needs another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The other one's number: lower than its own.
    pub step: u32,
    /// What if that fails.
    pub if_failed: IfFailed,
}

/// What a step does when its turn has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Work {
    /// Its job runs.
    #[default]
    Job,
    /// Time passes: it is done when its job is due. No worker has anything to do with it.
    Timer,
    /// Someone has to send a signal of its name. No worker has anything to do with it.
    Signal,
    /// Other jobs run: it is over when they are. See [`BatchPlan`].
    Batch,
}

impl Work {
    /// Those that no worker has anything to do with.
    pub const IDLE: [Self; 3] = [Self::Timer, Self::Signal, Self::Batch];

    /// The kind of the jobs of such steps; those of [`Work::Job`] have their own.
    #[must_use]
    pub const fn kind(self) -> Option<&'static str> {
        match self {
            Self::Job => None,
            Self::Timer => Some("windlass:timer"),
            Self::Signal => Some("windlass:signal"),
            Self::Batch => Some("windlass:batch"),
        }
    }
}

/// The times that a caller chose for a step. Where it needs others, they begin when those have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Not before then.
    pub due: Option<When>,
    /// Not started from then on.
    pub expires: Option<When>,
    /// Over from then on.
    pub deadline: Option<When>,
}

impl Times {
    /// In a box, if there is anything to put into it.
    #[must_use]
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

/// A step, as it was planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepPlan {
    /// Its name, which no other step of the flow has.
    pub name: Arc<str>,
    /// Its job.
    pub job: JobId,
    /// The job's kind.
    pub kind: Name,
    /// The queue that it came in by.
    pub queue: Name,
    /// What it does.
    pub work: Work,
    /// The steps that have to end before.
    pub needs: Vec<Need>,
    /// How what those left is put together as its input, in groups: as many as it says are a list, [`StepPlan::ALONE`] is one that is
    /// none. One group is the input itself, several are a tuple; needs behind the last group give no input. The core never looks at it.
    pub input: Vec<u32>,
    /// It runs only if the flow fails after this step succeeded, to undo it.
    pub undoes: Option<u32>,
    /// The flow does not fail with it.
    pub is_optional: bool,
    /// The job's times, where it needs others; the job itself has none then.
    pub times: Option<Box<Times>>,
    /// What a batch is to be; no other step has it.
    pub batch: Option<Box<BatchPlan>>,
}

impl StepPlan {
    /// A group of [`input`](Self::input) that is no list.
    pub const ALONE: u32 = u32::MAX;
}

/// A flow, as it was planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowPlan {
    /// Its id; a second flow with the same id is the same flow, if it is of the same sort.
    pub id: FlowId,
    /// What sort of flow it is.
    pub name: Name,
    /// How long it is remembered after its end, in milliseconds, if it went well.
    pub keep_ms: u64,
    /// And how long if it failed or was called off.
    pub keep_failed_ms: u64,
    /// The first failure calls off everything that has not ended, and not only what needs the step that failed.
    pub fail_fast: bool,
    /// The step whose output is the flow's.
    pub output: Option<u32>,
    /// Its steps.
    pub steps: Vec<StepPlan>,
}

/// A flow, as it is remembered from its acceptance on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// When it was accepted.
    pub created: Timestamp,
    /// What was planned.
    pub plan: FlowPlan,
}

/// How a step ended, or that the signal came which it is going to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepHow {
    /// Its job did.
    Job(EndState),
    /// Somebody skipped it: those that need it go on.
    Skipped,
    /// It has not ended, but its signal is there.
    Signalled,
}

/// The end of a step, as it is remembered while its flow is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepEnd {
    /// How.
    pub how: StepHow,
    /// When.
    pub at: Timestamp,
    /// When its last attempt was handed out, if any was.
    pub started: Option<Timestamp>,
    /// How many attempts its job had.
    pub attempts: u32,
    /// Why it did not succeed.
    pub failure: Option<Failure>,
    /// The step whose failure called it off.
    pub cause: Option<u32>,
    /// What it left; the bytes stand in a record of their own, and are empty here.
    pub output: Output,
    /// Its job came back since then to run by itself: nobody can bring the step back by it any more.
    pub is_alone: bool,
}

impl StepEnd {
    /// Whether those that need it go on whatever their edges say.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        matches!(self.how, StepHow::Job(EndState::Done) | StepHow::Skipped)
    }

    /// Whether it is an end.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        !matches!(self.how, StepHow::Signalled)
    }
}

/// The end of a step under its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRecord {
    /// The step.
    pub of: StepOf,
    /// Its end.
    pub end: StepEnd,
}

/// How it stands with a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowState {
    /// Steps of it run, or may.
    Running,
    /// Nothing of it goes on before somebody requeues, skips or gives up what failed.
    Held,
    /// It failed or was called off, and what succeeded is being undone.
    Undoing,
    /// All that it takes to call it a success succeeded.
    Done,
    /// Some step is dead or expired.
    Failed,
    /// It was called off, or a step of it was.
    Cancelled,
}

impl FlowState {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Running, Self::Held, Self::Undoing, Self::Done, Self::Failed, Self::Cancelled];

    /// The word for it, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Held => "held",
            Self::Undoing => "undoing",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing of it goes on by itself or by waiting.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for FlowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How it stands with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepState {
    /// Its job is that.
    Job(State),
    /// Somebody skipped it, or a flow that went well had no need to undo anything.
    Skipped,
}

impl StepState {
    /// The word for it, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Job(state) => state.as_str(),
            Self::Skipped => "skipped",
        }
    }

    /// Whether it is over.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        match self {
            Self::Job(state) => state.is_ended(),
            Self::Skipped => true,
        }
    }
}

impl fmt::Display for StepState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The steps that may come back with this one: all that need it, directly or not, and failed; and those that undo others, if they were
/// skipped. What the driver has to read of them.
#[must_use]
pub fn may_run_again<'a>(no: u32, steps: impl Iterator<Item = (&'a StepPlan, Option<&'a StepEnd>)>) -> Vec<u32> {
    let mut again = Vec::new();
    let mut runs: Vec<bool> = Vec::new();
    for (at, (plan, end)) in (0..).zip(steps) {
        let has_failed = end.is_some_and(|end| end.is_end() && !end.is_good());
        let is_for_want = plan.needs.iter().any(|need| runs[need.step as usize]);
        let was_spared = plan.undoes.is_some() && end.is_some_and(|end| end.how == StepHow::Skipped);
        let runs_again = at == no || (has_failed && is_for_want);
        runs.push(runs_again);
        again.extend((runs_again || was_spared).then_some(at));
    }
    again
}

/// What may be asked about flows.
#[derive(Clone, Debug)]
pub enum FlowCommand {
    /// Tell how this flow stands.
    Look {
        /// Which.
        id: FlowId,
    },
    /// Tell what a step gets from those that it needs.
    Inputs {
        /// Which step.
        of: StepOf,
    },
    /// Answer when this flow has ended.
    Watch {
        /// Which.
        id: FlowId,
    },
    /// Tell of the flows with ids from this one on, of this state if one is given.
    List {
        /// Flows before this one are left out, and so is this one.
        after: Option<FlowId>,
        /// Only those that stand so.
        state: Option<FlowState>,
        /// At most so many.
        limit: usize,
    },
    /// Call off every step that has not ended.
    Cancel {
        /// Which.
        id: FlowId,
    },
    /// Have those that need this step go on, as if it had succeeded and left this.
    Skip {
        /// Which flow.
        id: FlowId,
        /// The step's name.
        step: Arc<str>,
        /// What it is to have left.
        output: Option<Bytes>,
    },
    /// The signal that a step of this name waits for.
    Signal {
        /// Which flow.
        id: FlowId,
        /// The step's name.
        step: Arc<str>,
        /// What the sender has to say.
        payload: Bytes,
    },
    /// Tell how it stands with a batch.
    Batch {
        /// Which flow.
        id: FlowId,
        /// The step's name.
        step: Arc<str>,
    },
    /// Let a batch end when its jobs have.
    Close {
        /// Which flow.
        id: FlowId,
        /// The step's name.
        step: Arc<str>,
    },
    /// Run this step again, and after it everything that needs it.
    Retry {
        /// Which flow.
        id: FlowId,
        /// The step's name.
        step: Arc<str>,
        /// The jobs of the steps that run again, as the driver read them.
        read: Vec<Retained>,
    },
}
