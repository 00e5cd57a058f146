//! Stands in for the queue where a handler runs with no engine: it answers what a context asks.
//!
//! Owns what one attempt left: its checkpoint, and how long it asked to run on. Holds to what the core holds to: who speaks after
//! the attempt has ended, or asks for more time when that is over, is refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use windlass_scheduler::attempt::{CHECKPOINT_BYTES_MAX, Output};
use windlass_scheduler::batch::{BatchCounts, BatchPlan, BatchView, MemberOf};
use windlass_scheduler::change::{EndedRecord, Key, Record};
use windlass_scheduler::effect::Answer;
use windlass_scheduler::flow::{FlowCommand, FlowId, StepInput, StepInputs, StepOf, StepPlan, StepState};
use windlass_scheduler::job::{JobId, Name};
use windlass_scheduler::lease::StopReason;
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::settings::ShardSettings;
use windlass_scheduler::state::{EndState, State};
use windlass_storage::{Reader, StorageError};

use crate::live::Signals;
use crate::messages::{Question, QueueMsg};

/// The step with this number is the first one that left something by name; the one of the attempt comes before it.
const FIRST_NAMED: u32 = 2;

/// The queues and kinds that an attempt can speak of.
pub(crate) struct Settled {
    pub(crate) shard: ShardSettings,
    /// Where a kind's jobs go instead of its own default.
    pub(crate) kind_queues: BTreeMap<Name, String>,
}

impl Default for Settled {
    fn default() -> Self {
        Self { shard: ShardSettings::new(0, 0, Vec::new(), Vec::new()), kind_queues: BTreeMap::new() }
    }
}

/// In the queue's place.
pub(crate) struct StandIn {
    id: JobId,
    signals: Arc<Signals>,
    left: Mutex<Left>,
    /// What the steps before it left.
    input: Option<Bytes>,
    /// The same by name, as far as it was given so; `None`: that one failed.
    left_by: Vec<(String, Option<Bytes>)>,
    /// The batches of its flow.
    batches: Vec<String>,
}

/// What the attempt left.
#[derive(Clone, Debug, Default)]
pub(super) struct Left {
    pub(super) checkpoint: Option<Bytes>,
    pub(super) extensions: Vec<Duration>,
    has_ended: bool,
}

impl StandIn {
    pub(super) fn new(
        id: JobId,
        signals: Arc<Signals>,
        checkpoint: Option<Bytes>,
        (input, left_by): (Option<Bytes>, Vec<(String, Option<Bytes>)>),
        batches: Vec<String>,
    ) -> Self {
        Self { id, signals, left: Mutex::new(Left { checkpoint, ..Left::default() }), input, left_by, batches }
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The attempt has ended: what it left. Whoever kept its context is refused from here on.
    pub(super) fn end(&self) -> Left {
        let mut left = self.lock();
        left.has_ended = true;
        left.clone()
    }

    pub(crate) fn receive(&self, message: QueueMsg) {
        match message {
            QueueMsg::Ask { question: Question::Extend { by_ms, .. }, reply, .. } => {
                // Who asked may have left.
                let _ = reply.send(self.extend(by_ms));
            }
            QueueMsg::Checkpoint { bytes, reply, .. } => {
                let _ = reply.send(self.checkpoint(bytes));
            }
            QueueMsg::Ask { question: Question::Flow(FlowCommand::Inputs { of }), reply, .. } => {
                let inputs = self.inputs(of);
                let _ = reply.send(Ok(Answer::Inputs(Box::new(inputs))));
            }
            QueueMsg::Ask { question: Question::Flow(FlowCommand::Batch { id, step }), reply, .. } => {
                let _ = reply.send(self.batch(id, &step));
            }
            other => unreachable!("a context asks for nothing else than this: {other:?}"),
        }
    }

    /// Without an input it is as if it had asked for none.
    fn inputs(&self, of: StepOf) -> StepInputs {
        let need = |no: u32, name: &str, left: &Option<Bytes>| StepInput {
            of: StepOf { no, ..of },
            name: name.into(),
            output: left.as_ref().map(|_| Output::Bytes(Bytes::new())),
            batch: None,
        };
        let given = self.input.as_ref().map(|_| need(of.no, "the input", &self.input));
        let input = given.iter().map(|_| StepPlan::ALONE).collect();
        let named = (FIRST_NAMED..).zip(&self.left_by).map(|(no, (name, left))| need(no, name, left));
        StepInputs { queue: Name::from("given"), input, needs: given.into_iter().chain(named).collect() }
    }

    fn batch(&self, flow: FlowId, name: &Arc<str>) -> Result<Answer, Refusal> {
        let no = (2..).zip(&self.batches).find(|(_, batch)| batch.as_str() == &**name).map(|(no, _)| no);
        let no = no.ok_or_else(|| Refusal::NoStep { flow, step: name.clone() })?;
        let member = MemberOf { of: StepOf { flow, no }, batch: JobId(flow.0), place: 0 };
        Ok(Answer::Batch(Box::new(BatchView {
            member,
            plan: BatchPlan::default(),
            state: StepState::Job(State::Waiting),
            counts: BatchCounts::NONE,
            queue: Name::from("given"),
        })))
    }

    fn extend(&self, by_ms: u64) -> Result<Answer, Refusal> {
        let mut left = self.lock();
        if left.has_ended || self.signals.reason() == Some(StopReason::TimedOut) {
            return Err(Refusal::StaleLease { id: self.id });
        }
        left.extensions.push(Duration::from_millis(by_ms));
        Ok(Answer::Ok)
    }

    fn checkpoint(&self, bytes: Bytes) -> Result<Answer, Refusal> {
        let (id, bytes_max) = (self.id, CHECKPOINT_BYTES_MAX);
        let mut left = self.lock();
        if left.has_ended {
            return Err(Refusal::StaleLease { id });
        }
        if bytes.len() > bytes_max {
            return Err(Refusal::CheckpointTooLarge { id, bytes: bytes.len(), bytes_max });
        }
        left.checkpoint = Some(bytes);
        Ok(Answer::Ok)
    }
}

impl Reader for StandIn {
    fn get(&self, key: &Key) -> Result<Option<Record>, StorageError> {
        if let Key::StepOutput(of) = key {
            let left = match of.no.checked_sub(FIRST_NAMED) {
                Some(place) => self.left_by.get(place as usize).and_then(|(_, left)| left.clone()),
                None => self.input.clone(),
            };
            return Ok(left.map(|json| Record::StepOutput(*of, json)));
        }
        let checkpoint = self.lock().checkpoint.clone().filter(|_| *key == Key::Checkpoint(self.id));
        Ok(checkpoint.map(|json| Record::Checkpoint(self.id, json)))
    }

    fn ended(
        &self,
        _queue: &Name,
        _state: EndState,
        _before: Option<u64>,
        _limit: usize,
    ) -> Result<Vec<EndedRecord>, StorageError> {
        Ok(Vec::new())
    }
}
