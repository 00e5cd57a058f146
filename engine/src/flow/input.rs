//! What a step gets from those before it: read where they left it, put together as its type wants it.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use windlass_scheduler::attempt::Output;
use windlass_scheduler::batch::BatchCounts;
use windlass_scheduler::change::{Key, Record};
use windlass_scheduler::effect::Answer;
use windlass_scheduler::flow::{FlowCommand, FlowId, StepInput, StepInputs, StepOf, StepPlan};
use windlass_storage::{Reader, StorageError};

use super::{BatchReport, FlowStep};
use crate::context::{AttemptCore, Context};
use crate::error::{ControlError, InputError, JobError};
use crate::messages::Question;

/// How often a question is asked again whose answer was lost with its core.
pub(super) const TRIES_MAX: u32 = 5;

impl<A> Context<A> {
    /// The flow that the job is a step of, or a job of a batch of.
    #[must_use]
    pub fn flow(&self) -> Option<FlowId> {
        self.attempt.flow()
    }

    /// The name of the step that the job is in its flow. It is the same in every attempt: what is left outside may be called by flow and
    /// step.
    #[must_use]
    pub fn step_name(&self) -> Option<&str> {
        self.attempt.lease.step.as_deref()
    }

    /// What the steps left that this one needs. It is read anew at every call.
    ///
    /// # Errors
    /// [`InputError`] as a failure: of the policy where reading broke, for good where there is no such input.
    pub async fn input<J: FlowStep>(&self) -> Result<J::Input, JobError> {
        self.attempt.input(false).await.map_err(JobError::from)
    }

    /// As [`input`](Self::input), for blocking handlers: it blocks their thread. Never call it from async code.
    ///
    /// # Errors
    /// As of [`input`](Self::input).
    pub fn input_blocking<J: FlowStep>(&self) -> Result<J::Input, JobError> {
        futures_executor::block_on(self.attempt.input(true)).map_err(JobError::from)
    }

    /// What the step of this name left, which this one [needs](crate::Flow::after) or [undoes](crate::Flow::undo), with or without a typed
    /// [`input`](Self::input): the way to it in a [`FlowGraph`](crate::FlowGraph). `None` where it did not succeed, or left nothing (`()`). Of a
    /// [`batch`](crate::Flow::batch) it is a [`BatchReport`], of a [`spread`](crate::Flow::spread) the list. It is read anew at every call.
    ///
    /// # Errors
    /// [`InputError`]: `NotNeeded`, which says what names there are; others where it cannot be read. With `?` it is a failure of the policy
    /// where reading broke, and one for good otherwise.
    pub async fn left_by<T: DeserializeOwned>(&self, step: &str) -> Result<Option<T>, InputError> {
        self.attempt.left_by(step, false).await
    }

    /// As [`left_by`](Self::left_by), for blocking handlers: it blocks their thread. Never call it from async code.
    ///
    /// # Errors
    /// As of [`left_by`](Self::left_by).
    pub fn left_by_blocking<T: DeserializeOwned>(&self, step: &str) -> Result<Option<T>, InputError> {
        futures_executor::block_on(self.attempt.left_by(step, true))
    }
}

/// Whether to ask anew: the core fell, or its journal was closed for a rebuild, and whoever answers next comes after it.
pub(super) fn asks_again<T>(answered: &Result<T, InputError>, tries_left: &mut u32) -> bool {
    let is_between = matches!(
        answered,
        Err(InputError::Control(ControlError::Interrupted | ControlError::Storage(StorageError::Closed)))
    );
    is_between && core::mem::replace(tries_left, tries_left.saturating_sub(1)) > 0
}

impl AttemptCore {
    async fn input<T: DeserializeOwned>(&self, may_block: bool) -> Result<T, InputError> {
        decoded(&self.read_inputs(may_block, put_together).await?)
    }

    async fn left_by<T: DeserializeOwned>(&self, step: &str, may_block: bool) -> Result<Option<T>, InputError> {
        let step: Arc<str> = step.into();
        let read = self.read_inputs(may_block, move |inputs, reader| named(inputs, &step, reader)).await?;
        read.map(|json| decoded(&json)).transpose()
    }

    /// Reads some of what this step gets.
    async fn read_inputs<R, F>(&self, may_block: bool, read: F) -> Result<R, InputError>
    where
        R: Send + 'static,
        F: Fn(&StepInputs, &dyn Reader) -> Result<R, InputError> + Clone + Send + 'static,
    {
        let of = self.body.labels.step().ok_or(InputError::NoFlow { id: self.lease.id })?;
        let mut tries_left = TRIES_MAX;
        loop {
            let read = self.read_once(of, may_block, read.clone()).await;
            if !asks_again(&read, &mut tries_left) {
                return read;
            }
        }
    }

    async fn read_once<R, F>(&self, of: StepOf, may_block: bool, read: F) -> Result<R, InputError>
    where
        R: Send + 'static,
        F: FnOnce(&StepInputs, &dyn Reader) -> Result<R, InputError> + Send + 'static,
    {
        let answer = self.door.ask(Question::Flow(FlowCommand::Inputs { of })).await?;
        let Answer::Inputs(inputs) = answer else { unreachable!("inputs were answered with {answer:?}") };
        let door = self.door.clone();
        let read = move || {
            let reader = door.reader(&inputs.queue).map_err(ControlError::from)?;
            read(&inputs, reader.as_ref())
        };
        match Handle::try_current() {
            Ok(runtime) if !may_block => {
                let task = self.door.read_on(&runtime, read);
                task.await.map_err(|_| ControlError::Unavailable("the handlers' runtime is gone".to_owned()))?
            }
            // A blocking handler's thread.
            _ => read(),
        }
    }
}

fn decoded<T: DeserializeOwned>(json: &[u8]) -> Result<T, InputError> {
    serde_json::from_slice(json).map_err(|error| InputError::Decode { reason: error.to_string() })
}

/// What the one of this name left, as JSON.
fn named(inputs: &StepInputs, name: &str, reader: &dyn Reader) -> Result<Option<Vec<u8>>, InputError> {
    let Some(need) = inputs.needs.iter().find(|need| &*need.name == name) else {
        let needs = inputs.needs.iter().map(|need| need.name.to_string()).collect();
        return Err(InputError::NotNeeded { step: name.to_owned(), needs });
    };
    // A batch has no output of its own.
    if need.batch.is_none() && matches!(need.output, None | Some(Output::None)) {
        return Ok(None);
    }
    Ok(Some(output(need, reader)?.get().as_bytes().to_vec()))
}

/// The input as JSON.
fn put_together(inputs: &StepInputs, reader: &dyn Reader) -> Result<Vec<u8>, InputError> {
    let mut left = inputs.needs.iter();
    let mut groups: Vec<Box<RawValue>> = Vec::with_capacity(inputs.input.len());
    for group in &inputs.input {
        if *group == StepPlan::ALONE {
            groups.extend(left.next().map(|need| output(need, reader)).transpose()?);
            continue;
        }
        let items = left.by_ref().take(*group as usize).map(|need| output(need, reader));
        let items = items.collect::<Result<Vec<_>, _>>()?;
        groups.push(raw(&items)?);
    }
    let json = match groups.as_slice() {
        [] => raw(&())?,
        [one] => one.clone(),
        several => raw(&several)?,
    };
    Ok(json.get().as_bytes().to_vec())
}

fn raw<T: serde::Serialize>(value: &T) -> Result<Box<RawValue>, InputError> {
    serde_json::value::to_raw_value(value).map_err(|error| InputError::Decode { reason: error.to_string() })
}

/// What a step left; nothing of one that failed.
pub(super) fn output(need: &StepInput, reader: &dyn Reader) -> Result<Box<RawValue>, InputError> {
    match (&need.output, need.batch) {
        (Some(_), Some((counts, true))) => return collected(need, counts, reader),
        (Some(_), Some((counts, false))) => return raw(&BatchReport::from(counts)),
        _ => {}
    }
    let bytes = match &need.output {
        None | Some(Output::None) => return raw(&()),
        Some(Output::TooLarge { bytes, bytes_max }) => {
            let step = need.name.to_string();
            return Err(InputError::TooLarge { step, bytes: *bytes, bytes_max: *bytes_max });
        }
        Some(Output::Bytes(_)) => read_output(need, reader)?,
    };
    raw_of(&bytes)
}

fn raw_of(bytes: &[u8]) -> Result<Box<RawValue>, InputError> {
    serde_json::from_slice(bytes).map_err(|error| InputError::Decode { reason: error.to_string() })
}

/// What the jobs of a batch left, in the order of their places.
fn collected(need: &StepInput, counts: BatchCounts, reader: &dyn Reader) -> Result<Box<RawValue>, InputError> {
    let mut items = Vec::new();
    for place in 0..counts.jobs {
        let step = || need.name.to_string();
        let read = reader.get(&Key::Member(need.of, place)).map_err(ControlError::from)?;
        let Some(Record::Member(member)) = read else { return Err(InputError::Gone { step: step() }) };
        items.push(match &member.output {
            Output::None => raw(&())?,
            Output::Bytes(bytes) => raw_of(bytes)?,
            Output::TooLarge { bytes, bytes_max } => {
                return Err(InputError::TooLarge { step: step(), bytes: *bytes, bytes_max: *bytes_max });
            }
        });
    }
    raw(&items)
}

fn read_output(need: &StepInput, reader: &dyn Reader) -> Result<Bytes, InputError> {
    match reader.get(&Key::StepOutput(need.of)).map_err(ControlError::from)? {
        Some(Record::StepOutput(_, bytes)) => Ok(bytes),
        _ => Err(InputError::Gone { step: need.name.to_string() }),
    }
}
