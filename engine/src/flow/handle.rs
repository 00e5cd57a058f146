//! A typed handle on one flow, and what operators ask of flows.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use windlass_scheduler::effect::{Answer, Found};
use windlass_scheduler::flow::{FlowCommand, FlowEnding, FlowId, FlowState, FlowView, may_run_again};
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::verb::Retained;
use windlass_storage::{Reader, StorageError};

use super::Flow;
use super::input::output;
use super::status::{FlowStatus, FlowSummary, StepStatus};
use crate::engine::Engine;
use crate::error::{ControlError, FlowError, FlowWaitError, InputError};
use crate::messages::{Awaited, Question};
use crate::range;

/// How often a wait reads an output anew, where the journal was closed meanwhile.
const READS_MAX: u32 = 5;

/// A flow that was accepted, with the type of its output.
pub struct FlowHandle<O = ()> {
    pub(crate) engine: Engine,
    id: FlowId,
    is_fresh: bool,
    of: PhantomData<fn() -> O>,
}

impl Engine {
    /// Hands in a flow, whole or not at all: all its jobs are stored in one commit, and each begins when its turn comes. `Ok` means that
    /// it has reached the strongest durability of its queues. Up to 10,000 steps with 100,000 needs together, and 64 MiB. Its queues are all at level `Memory`, or none
    /// of them; and its steps have no unique keys, for another job would stand for them: the flow's own id says what there is to be once.
    ///
    /// A flow goes on where it stands after a crash or a deploy: the end of a step, what it left, and what becomes of those that need it
    /// are one commit. So a join runs once, whatever happens when.
    ///
    /// # Errors
    /// [`FlowError`], and nothing of it is stored, but for [`EnqueueError::Interrupted`](crate::EnqueueError::Interrupted).
    pub async fn submit<O>(&self, flow: Flow<O>) -> Result<FlowHandle<O>, FlowError> {
        let (plan, jobs) = flow.into_plan(self.door())?;
        let id = plan.id;
        let turn = self.door().turn(&jobs, plan.steps.len()).await?;
        let answer = Box::pin(self.door().submit(turn, jobs, Some(Box::new(plan)), None)).await?;
        let Answer::Enqueued(receipts) = answer else { unreachable!("a flow was answered with {answer:?}") };
        let is_fresh = receipts.iter().any(|receipt| receipt.fresh);
        Ok(FlowHandle { engine: self.clone(), id, is_fresh, of: PhantomData })
    }

    /// A handle on a flow that was submitted before, by this process or an earlier one. `O` is not checked before an output is read.
    #[must_use]
    pub fn flow<O>(&self, id: FlowId) -> FlowHandle<O> {
        FlowHandle { engine: self.clone(), id, is_fresh: false, of: PhantomData }
    }

    /// The flows that are remembered, by id, which for those that the engine named is by age: those after `after`, and of this state, if
    /// one is given; 1 to 1,000 of them.
    ///
    /// # Errors
    /// [`ControlError::Range`], [`ControlError::Unavailable`] or [`ControlError::Interrupted`].
    pub async fn flows(
        &self,
        after: Option<FlowId>,
        state: Option<FlowState>,
        limit: usize,
    ) -> Result<Vec<FlowSummary>, ControlError> {
        range::PAGE.check(limit as u64)?;
        match self.ask_flow(FlowCommand::List { after, state, limit }).await? {
            Answer::Flows(flows) => Ok(flows.into_iter().map(FlowSummary::from).collect()),
            other => unreachable!("flows were answered with {other:?}"),
        }
    }

    /// Brings a flow the signal that its step of this name waits for, or is going to. Tells whether it counts: a second one changes
    /// nothing, so that whoever is not sure may send it again, and so does one that comes when the step has ended otherwise.
    ///
    /// # Errors
    /// [`ControlError::Encode`], or [`ControlError::Refused`] with `NoFlow`, `NoStep`, `StepForbidden` or `PayloadTooLarge`.
    pub async fn signal<T: Serialize>(&self, flow: FlowId, name: &str, payload: &T) -> Result<bool, ControlError> {
        let payload = encode(payload)?;
        match self.ask_flow(FlowCommand::Signal { id: flow, step: name.into(), payload }).await? {
            Answer::Signalled { is_first } => Ok(is_first),
            other => unreachable!("a signal was answered with {other:?}"),
        }
    }

    async fn ask_flow(&self, command: FlowCommand) -> Result<Answer, ControlError> {
        self.door().ask(Question::Flow(command)).await
    }

    async fn flow_view(&self, id: FlowId) -> Result<FlowView, ControlError> {
        match self.ask_flow(FlowCommand::Look { id }).await? {
            Answer::Flow(view) => Ok(*view),
            other => unreachable!("a look at a flow was answered with {other:?}"),
        }
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Bytes, ControlError> {
    let json = serde_json::to_vec(value);
    Ok(json.map_err(|error| ControlError::Encode { kind: "flow", reason: error.to_string() })?.into())
}

impl<O> FlowHandle<O> {
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The flow's id. Keep it: [`Engine::flow`] makes a handle of it again, after a restart too.
    #[must_use]
    pub fn id(&self) -> FlowId {
        self.id
    }

    /// Whether the call that gave this handle stored a new flow; otherwise one with this id was there already.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// What is known of the flow now.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoFlow`.
    pub async fn status(&self) -> Result<FlowStatus, ControlError> {
        Ok(FlowStatus::new(self.engine.flow_view(self.id).await?))
    }

    /// Calls off every step that has not ended: at once where it waits, by asking its attempt where it runs. Then what succeeded is
    /// [undone](Flow::undo). A flow that has ended stays as it is.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoFlow`.
    pub async fn cancel(&self) -> Result<(), ControlError> {
        self.engine.ask_flow(FlowCommand::Cancel { id: self.id }).await.map(|_| ())
    }

    /// Has the flow go on without this step: one that has not begun does not, and for one that others [wait for](crate::StepRef::hold) they
    /// wait no longer. Those that need it get nothing of it, which has to be a value of their input.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoFlow`, `NoStep` or `StepForbidden`.
    pub async fn skip(&self, step: &str) -> Result<(), ControlError> {
        let command = FlowCommand::Skip { id: self.id, step: step.into(), output: None };
        self.engine.ask_flow(command).await.map(|_| ())
    }

    /// As [`skip`](Self::skip), and those that need the step get this as if it had left it.
    ///
    /// # Errors
    /// [`ControlError::Encode`], or as of [`skip`](Self::skip), and `PayloadTooLarge`.
    pub async fn skip_with<T: Serialize>(&self, step: &str, output: &T) -> Result<(), ControlError> {
        let output = Some(encode(output)?);
        self.engine.ask_flow(FlowCommand::Skip { id: self.id, step: step.into(), output }).await.map(|_| ())
    }

    /// Runs a step that failed once more, and after it all that was called off for want of it. The flow goes on, also where it had ended;
    /// steps that [undo](Flow::undo) wait again, where they were skipped because nothing had succeeded that they undo. For that the jobs of
    /// all these have to be retained: those that were skipped or called off as [cancelled](crate::Retention::dropped) ones.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoFlow`, `NoStep`, `StepForbidden` (it did not fail; or the flow has steps that undo, and
    /// one of them has begun or was called off, or it went well without them),
    /// `StepForgotten` (a job of these is no longer retained), `Changed` (look again), `QueueFull` or `Stopping`.
    pub async fn retry(&self, step: &str) -> Result<(), ControlError> {
        let view = self.engine.flow_view(self.id).await?;
        let no = (0..).zip(&view.steps).find(|(_, one)| &*one.plan.name == step).map(|(no, _)| no);
        let no = no.ok_or_else(|| Refusal::NoStep { flow: self.id, step: step.into() })?;
        let mut read = Vec::new();
        for no in may_run_again(no, view.steps.iter().map(|step| (&step.plan, step.end.as_ref()))) {
            let id = view.steps[no as usize].plan.job;
            match self.engine.look(id).await {
                Ok(Found::Ended(key)) => read.push(self.engine.read_ended(id, key).await?),
                // The core says why not.
                Ok(Found::Live(_)) | Err(ControlError::Refused(Refusal::Forgotten { .. })) => {}
                Err(error) => return Err(error),
            }
        }
        self.send_retry(step, read).await
    }

    async fn send_retry(&self, step: &str, read: Vec<Retained>) -> Result<(), ControlError> {
        self.engine.ask_flow(FlowCommand::Retry { id: self.id, step: step.into(), read }).await.map(|_| ())
    }

    /// Waits until the step of this name has ended, and tells how: its state, and why where it did not succeed. It may be retried after
    /// that. Survives rebuilds of the storage.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoFlow` or `NoStep`.
    pub async fn wait_step(&self, step: &str) -> Result<StepStatus, ControlError> {
        let mut is_durable = false;
        loop {
            let status = match self.status().await {
                Err(ControlError::Interrupted) => continue,
                status => status?,
            };
            let found = status.steps.into_iter().find(|one| one.name == step);
            let found = found.ok_or_else(|| Refusal::NoStep { flow: self.id, step: step.into() })?;
            // A dead letter that somebody requeued to run by itself is live again, and its step is over all the same.
            let is_over = found.state.is_ended()
                && (is_durable || matches!(self.engine.look(found.job).await, Ok(Found::Live(_))));
            if is_over {
                return Ok(found);
            }
            // A look shows what may be lost yet. That its job has ended, or is forgotten, is only said when it stands.
            match self.engine.watch(Awaited::Job(found.job)).await {
                Ok(_) | Err(ControlError::Refused(Refusal::Forgotten { .. })) => is_durable = true,
                Err(error) => return Err(error),
            }
        }
    }

    async fn ending(&self) -> Result<FlowEnding, ControlError> {
        match self.engine.watch(Awaited::Flow(self.id)).await? {
            Answer::FlowEnding(ending) => Ok(*ending),
            other => unreachable!("a wait for a flow was answered with {other:?}"),
        }
    }
}

impl<O: DeserializeOwned> FlowHandle<O> {
    /// Waits for the flow's end and gives its [output](Flow::output). Survives rebuilds of the storage.
    ///
    /// # Errors
    /// [`FlowWaitError`], where it failed, was called off, or is not known any more.
    pub async fn wait(&self) -> Result<O, FlowWaitError> {
        let mut reads_left = READS_MAX;
        loop {
            let ending = self.ending().await?;
            let (flow, name) = (self.id, ending.summary.name.to_string());
            let (step, failure) = ending.failed.clone().unwrap_or_else(|| ("".into(), None));
            let step = step.to_string();
            let not_undone = ending.not_undone.iter().map(ToString::to_string).collect();
            match ending.summary.state {
                FlowState::Done => {}
                FlowState::Cancelled => return Err(FlowWaitError::Cancelled { flow, name, step, failure, not_undone }),
                _ => return Err(FlowWaitError::Failed { flow, name, step, failure, not_undone }),
            }
            match self.output(&ending).await {
                // It was closed for a rebuild between the answer and the reading.
                Err(InputError::Control(ControlError::Storage(StorageError::Closed))) if reads_left > 0 => {
                    reads_left -= 1;
                }
                output => return output.map_err(|error| FlowWaitError::Output { flow, name, error }),
            }
        }
    }

    async fn output(&self, ending: &FlowEnding) -> Result<O, InputError> {
        let decode =
            |json: &str| serde_json::from_str(json).map_err(|error| InputError::Decode { reason: error.to_string() });
        let Some(left) = ending.output.clone() else { return decode("null") };
        let read = move |reader: &dyn Reader| Ok(output(&left, reader));
        decode(self.engine.desk().read(ending.queue.clone(), read).await??.get())
    }
}

impl<O> Clone for FlowHandle<O> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), id: self.id, is_fresh: self.is_fresh, of: PhantomData }
    }
}

impl<O> fmt::Debug for FlowHandle<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlowHandle").field("id", &self.id).finish_non_exhaustive()
    }
}
