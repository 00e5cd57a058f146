//! Sample records of flows.

use bytes::Bytes;
use windlass_scheduler::attempt::{Failure, FailureKind, Output};
use windlass_scheduler::batch::{BatchCounts, BatchPlan, BatchRecord, CalledOff, MemberRecord};
use windlass_scheduler::change::Record;
use windlass_scheduler::flow::{
    FlowId, FlowPlan, FlowRecord, IfFailed, Need, StepEnd, StepHow, StepOf, StepPlan, StepRecord, Times, Work,
};
use windlass_scheduler::job::When;
use windlass_scheduler::state::EndState;
use windlass_scheduler::time::Timestamp;

use super::samples::{job_id, name};

fn flow_id() -> FlowId {
    FlowId(job_id(1_000).0)
}

fn step(no: u64, work: Work, needs: &[(u32, IfFailed)]) -> StepPlan {
    StepPlan {
        name: format!("größe/{no}").into(),
        job: job_id(1_001 + no),
        kind: name(work.kind().unwrap_or("resize")),
        queue: name("q"),
        work,
        needs: needs.iter().map(|(step, if_failed)| Need { step: *step, if_failed: *if_failed }).collect(),
        input: needs.iter().map(|_| StepPlan::ALONE).collect(),
        undoes: None,
        is_optional: no == 1,
        times: None,
        batch: None,
    }
}

/// A flow with a step of every sort.
#[must_use]
pub fn flow() -> Record {
    let times = Times {
        due: Some(When::After(60_000)),
        expires: Some(When::At(Timestamp(1_800_000_000_000))),
        deadline: Some(When::After(u64::MAX)),
    };
    let batch = BatchPlan { stays_open: true, collects: Some(name("resize")) };
    let steps = vec![
        step(0, Work::Job, &[]),
        step(1, Work::Timer, &[(0, IfFailed::GoOn)]),
        StepPlan { times: times.boxed(), ..step(2, Work::Signal, &[(0, IfFailed::Hold), (1, IfFailed::Cancel)]) },
        StepPlan { undoes: Some(0), ..step(3, Work::Job, &[]) },
        StepPlan { batch: Some(Box::new(batch)), ..step(4, Work::Batch, &[(0, IfFailed::Cancel)]) },
    ];
    let plan = FlowPlan {
        id: flow_id(),
        name: name("upload"),
        keep_ms: 86_400_000,
        keep_failed_ms: 2_592_000_000,
        fail_fast: true,
        output: Some(2),
        steps,
    };
    Record::Flow(Box::new(FlowRecord { created: Timestamp(1_700_000_000_000), plan }))
}

/// A flow, and how each of its steps ended: with every end that there is.
#[must_use]
pub fn one_of_each() -> Vec<Record> {
    let end = |no: u32, how, output, cause: Option<u32>| {
        let failure = cause.map(|_| Failure { kind: FailureKind::Error, message: "step `a` is dead".to_owned() });
        let (at, started) = (Timestamp(1_700_000_000_000 + u64::from(no)), cause.map(|_| Timestamp(1_600_000_000_000)));
        let end = StepEnd { how, at, started, attempts: no * 100, failure, cause, output, is_alone: no == 1 };
        Record::Step(Box::new(StepRecord { of: StepOf { flow: flow_id(), no }, end }))
    };
    let bytes = || Output::Bytes(Bytes::new());
    let hows = [
        (StepHow::Job(EndState::Done), bytes(), None),
        (StepHow::Job(EndState::Dead), Output::None, Some(0)),
        (StepHow::Signalled, bytes(), None),
        (StepHow::Skipped, Output::TooLarge { bytes: 70_000, bytes_max: 65_536 }, Some(1)),
    ];
    let mut records = vec![flow()];
    records.extend((0..).zip(hows).map(|(no, (how, output, cause))| end(no, how, output, cause)));
    for no in [0, 2] {
        records.push(Record::StepOutput(StepOf { flow: flow_id(), no }, Bytes::from_static(b"\x00[1,2]")));
    }
    records.extend(batch_and_members());
    records
}

/// The numbers of a batch that was called off, and how jobs of it ended.
fn batch_and_members() -> Vec<Record> {
    let of = StepOf { flow: flow_id(), no: 4 };
    let failure = || Some(Failure { kind: FailureKind::Panic, message: "größer".to_owned() });
    let counts = BatchCounts { jobs: 100_000, done: 2, dead: 1, cancelled: 3, expired: 4, is_closed: true };
    let called_off = Some(CalledOff { cause: Some(0), failure: failure() });
    let member = |place: u32, end, failure, output| {
        Record::Member(Box::new(MemberRecord { of, place, id: job_id(2_000 + u64::from(place)), end, failure, output }))
    };
    vec![
        Record::Batch(Box::new(BatchRecord { of, counts, called_off })),
        member(0, EndState::Done, None, Output::Bytes(Bytes::from_static(b"\x00[1,2]"))),
        member(1, EndState::Dead, failure(), Output::None),
        member(2, EndState::Done, None, Output::TooLarge { bytes: 70_000, bytes_max: 65_536 }),
    ]
}
