//! The bodies of the records of flows and their steps.

use bincode::{BorrowDecode as BorrowDecodeDerive, Encode};
use uuid::Uuid;
use windlass_scheduler::attempt::Output;
use windlass_scheduler::flow::{
    FlowId, FlowPlan, FlowRecord, IfFailed, Need, StepEnd, StepHow, StepOf, StepPlan, StepRecord, Times, Work,
};
use windlass_scheduler::job::{JobId, Name, When};
use windlass_scheduler::time::Timestamp;

use super::batch::BatchPlanV1;
use super::{FailureV1, List, OutputV1};
use crate::keys;

/// The step that a job is: part of its body.
#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct StepOfV1 {
    flow: [u8; 16],
    no: u32,
}

impl StepOfV1 {
    pub(crate) fn new(of: StepOf) -> Self {
        Self { flow: *of.flow.0.as_bytes(), no: of.no }
    }

    pub(crate) fn domain(&self) -> StepOf {
        StepOf { flow: FlowId(Uuid::from_bytes(self.flow)), no: self.no }
    }
}

#[derive(Encode, BorrowDecodeDerive)]
enum IfFailedV1 {
    Cancel,
    GoOn,
    Hold,
}

#[derive(Encode, BorrowDecodeDerive)]
struct NeedV1 {
    step: u32,
    if_failed: IfFailedV1,
}

#[derive(Encode, BorrowDecodeDerive)]
enum WorkV1 {
    Job,
    Timer,
    Signal,
    Batch,
}

#[derive(Encode, BorrowDecodeDerive)]
enum WhenV1 {
    After(u64),
    At(u64),
}

#[derive(Encode, BorrowDecodeDerive)]
struct TimesV1 {
    due: Option<WhenV1>,
    expires: Option<WhenV1>,
    deadline: Option<WhenV1>,
}

#[derive(Encode, BorrowDecodeDerive)]
struct StepPlanV1<'a> {
    name: &'a str,
    job: [u8; 16],
    kind: &'a str,
    queue: &'a str,
    work: WorkV1,
    needs: List<NeedV1>,
    input: List<u32>,
    undoes: Option<u32>,
    is_optional: bool,
    times: Option<TimesV1>,
    batch: Option<BatchPlanV1<'a>>,
}

/// The steps are a list that is read item by item, like a [`List`] of what borrows.
struct StepPlans<'a>(Vec<StepPlanV1<'a>>);

impl Encode for StepPlans<'_> {
    fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
        (self.0.len() as u64).encode(encoder)?;
        self.0.iter().try_for_each(|step| step.encode(encoder))
    }
}

impl<'de: 'a, 'a, Context> bincode::BorrowDecode<'de, Context> for StepPlans<'a> {
    fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = Context>>(
        decoder: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        let length = <u64 as bincode::Decode<Context>>::decode(decoder)?;
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(StepPlanV1::borrow_decode(decoder)?);
        }
        Ok(Self(items))
    }
}

/// Its id stands in the key.
#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct FlowV1<'a> {
    created: u64,
    name: &'a str,
    keep_ms: u64,
    keep_failed_ms: u64,
    fail_fast: bool,
    output: Option<u32>,
    steps: StepPlans<'a>,
}

/// Flow and number stand in the key.
#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct StepV1<'a> {
    how: u8,
    at: u64,
    started: Option<u64>,
    attempts: u32,
    failure: Option<FailureV1<'a>>,
    cause: Option<u32>,
    output: OutputV1<'a>,
    is_alone: bool,
}

impl From<When> for WhenV1 {
    fn from(when: When) -> Self {
        match when {
            When::After(ms) => Self::After(ms),
            When::At(at) => Self::At(at.0),
        }
    }
}

impl From<&WhenV1> for When {
    fn from(when: &WhenV1) -> Self {
        match *when {
            WhenV1::After(ms) => Self::After(ms),
            WhenV1::At(at) => Self::At(Timestamp(at)),
        }
    }
}

impl<'a> StepPlanV1<'a> {
    fn new(step: &'a StepPlan) -> Self {
        let need = |need: &Need| NeedV1 {
            step: need.step,
            if_failed: match need.if_failed {
                IfFailed::Cancel => IfFailedV1::Cancel,
                IfFailed::GoOn => IfFailedV1::GoOn,
                IfFailed::Hold => IfFailedV1::Hold,
            },
        };
        let times = |times: &Times| TimesV1 {
            due: times.due.map(WhenV1::from),
            expires: times.expires.map(WhenV1::from),
            deadline: times.deadline.map(WhenV1::from),
        };
        Self {
            name: &step.name,
            job: *step.job.0.as_bytes(),
            kind: step.kind.as_str(),
            queue: step.queue.as_str(),
            work: match step.work {
                Work::Job => WorkV1::Job,
                Work::Timer => WorkV1::Timer,
                Work::Signal => WorkV1::Signal,
                Work::Batch => WorkV1::Batch,
            },
            needs: List(step.needs.iter().map(need).collect()),
            input: List(step.input.clone()),
            undoes: step.undoes,
            is_optional: step.is_optional,
            times: step.times.as_deref().map(times),
            batch: step.batch.as_deref().map(BatchPlanV1::new),
        }
    }

    fn domain(&self, intern: &mut dyn FnMut(&str) -> Name) -> StepPlan {
        let need = |need: &NeedV1| Need {
            step: need.step,
            if_failed: match need.if_failed {
                IfFailedV1::Cancel => IfFailed::Cancel,
                IfFailedV1::GoOn => IfFailed::GoOn,
                IfFailedV1::Hold => IfFailed::Hold,
            },
        };
        let times = |times: &TimesV1| Times {
            due: times.due.as_ref().map(When::from),
            expires: times.expires.as_ref().map(When::from),
            deadline: times.deadline.as_ref().map(When::from),
        };
        StepPlan {
            name: self.name.into(),
            job: JobId(Uuid::from_bytes(self.job)),
            kind: intern(self.kind),
            queue: intern(self.queue),
            work: match self.work {
                WorkV1::Job => Work::Job,
                WorkV1::Timer => Work::Timer,
                WorkV1::Signal => Work::Signal,
                WorkV1::Batch => Work::Batch,
            },
            needs: self.needs.0.iter().map(need).collect(),
            input: self.input.0.clone(),
            undoes: self.undoes,
            is_optional: self.is_optional,
            times: self.times.as_ref().map(times).map(Box::new),
            batch: self.batch.as_ref().map(|batch| Box::new(batch.domain(intern))),
        }
    }
}

impl<'a> FlowV1<'a> {
    pub(crate) fn new(flow: &'a FlowRecord) -> Self {
        let plan = &flow.plan;
        Self {
            created: flow.created.0,
            name: plan.name.as_str(),
            keep_ms: plan.keep_ms,
            keep_failed_ms: plan.keep_failed_ms,
            fail_fast: plan.fail_fast,
            output: plan.output,
            steps: StepPlans(plan.steps.iter().map(StepPlanV1::new).collect()),
        }
    }

    pub(crate) fn domain(&self, id: FlowId, intern: &mut dyn FnMut(&str) -> Name) -> FlowRecord {
        let plan = FlowPlan {
            id,
            name: intern(self.name),
            keep_ms: self.keep_ms,
            keep_failed_ms: self.keep_failed_ms,
            fail_fast: self.fail_fast,
            output: self.output,
            steps: self.steps.0.iter().map(|step| step.domain(intern)).collect(),
        };
        FlowRecord { created: Timestamp(self.created), plan }
    }
}

const SKIPPED: u8 = 5;
const SIGNALLED: u8 = 6;

impl<'a> StepV1<'a> {
    pub(crate) fn new(step: &'a StepRecord) -> Self {
        let end = &step.end;
        Self {
            how: match end.how {
                StepHow::Job(state) => keys::state_no(state),
                StepHow::Skipped => SKIPPED,
                StepHow::Signalled => SIGNALLED,
            },
            at: end.at.0,
            started: end.started.map(|at| at.0),
            attempts: end.attempts,
            failure: end.failure.as_ref().map(FailureV1::new),
            cause: end.cause,
            output: OutputV1::new(&end.output),
            is_alone: end.is_alone,
        }
    }

    /// `None` where a number stands for nothing.
    pub(crate) fn domain(&self, of: StepOf) -> Option<StepRecord> {
        let how = match self.how {
            SKIPPED => StepHow::Skipped,
            SIGNALLED => StepHow::Signalled,
            no => StepHow::Job(keys::state_of(no)?),
        };
        let failure = match &self.failure {
            Some(failure) => Some(failure.domain()?),
            None => None,
        };
        let output: Output = self.output.domain();
        let (at, started) = (Timestamp(self.at), self.started.map(Timestamp));
        let Self { attempts, cause, is_alone, .. } = *self;
        Some(StepRecord { of, end: StepEnd { how, at, started, attempts, failure, cause, output, is_alone } })
    }
}
