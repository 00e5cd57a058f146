//! The flows that are played: random graphs of a few steps, small limits, short times.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;
use windlass_scheduler::batch::{BatchPlan, MemberOf};
use windlass_scheduler::flow::{FlowId, FlowPlan, IfFailed, Need, StepOf, StepPlan, Work};
use windlass_scheduler::job::{Body, JobId, Labels, Name, NewJob, When};
use windlass_scheduler::retry::{Backoff, RetryPolicy};
use windlass_scheduler::settings::{Keep, KeepDone, Level, QueueSettings, Retention, ShardSettings};
use windlass_scheduler::time::{Mono, Now, Timestamp};

use super::common::bare;

pub(crate) const QUEUES: [&str; 3] = ["fast", "safe", "ram"];
pub(crate) const LEVELS: [Level; 3] = [Level::Process, Level::Durable, Level::Memory];
/// The flow that is in memory: always the same one, as a job of one id always is in one queue.
pub(crate) const IN_MEMORY: u8 = 2;
/// How long a flow that went well is remembered.
pub(crate) const KEEP_MS: u64 = 1_500;
/// And one that did not.
pub(crate) const KEEP_FAILED_MS: u64 = 1_800;
/// Steps of ended flows.
pub(crate) const KEPT_MAX: usize = 8;
pub(crate) const RETRY_MS: u64 = 30;
pub(crate) const ATTEMPTS_MAX: u32 = 2;

fn queue(no: usize, keep_done: KeepDone, dead: u64, dropped: u64) -> QueueSettings {
    let keep = |count_max| Keep { age_ms: 2_000, count_max, bytes_max: 10_000 };
    QueueSettings {
        slots: 2,
        level: LEVELS[no],
        retry: RetryPolicy {
            backoff: Backoff::Fixed { delay_ms: RETRY_MS },
            attempts_max: ATTEMPTS_MAX,
            jitter_percent: 0,
        },
        retention: Retention { keep_done, done: keep(4), dead: keep(dead), dropped: keep(dropped) },
        ..QueueSettings::new(Name::from(QUEUES[no]))
    }
}

/// Few jobs are retained, so that what holds a flow is forgotten at times. Attempts that are lost never end a job.
pub(crate) fn settings(memory_bytes_max: u64) -> ShardSettings {
    let queues =
        vec![queue(0, KeepDone::None, 1, 2), queue(1, KeepDone::All, 3, 3), queue(2, KeepDone::WithOutput, 2, 2)];
    let settings = ShardSettings::new(1, 7, queues, vec!["work".into()]);
    ShardSettings { flow_steps_kept_max: KEPT_MAX, memory_bytes_max, lost_max: u32::MAX, ..settings }
}

pub(crate) fn start() -> Now {
    Now { mono: Mono(50), wall: Timestamp(1_000_000) }
}

pub(crate) fn flow_id(n: u8) -> FlowId {
    FlowId(Uuid::from_u128(0xF10 + u128::from(n)))
}

/// By the wall clock, where it may be past, or after a time.
type Moment = Option<(bool, u64)>;

pub(crate) fn moment(at: bool, ms: u64, now: Now) -> When {
    if at { When::At(Timestamp(now.wall.0 + ms - 20)) } else { When::After(ms) }
}

/// A step, as it is drawn: numbers that may be too high, and are made to fit.
#[derive(Clone, Debug)]
struct Drawn {
    queue: usize,
    needs: Vec<(u8, IfFailed)>,
    work: Work,
    batch: BatchSpec,
    undoes: Option<u8>,
    is_optional: bool,
    due: Moment,
    expires: Moment,
    deadline: Moment,
}

/// What a batch is to be, where a step is one, and the jobs that come in with it.
#[derive(Clone, Debug)]
pub(crate) struct BatchSpec {
    pub(crate) stays_open: bool,
    pub(crate) collects: bool,
    pub(crate) members: Vec<MemberSpec>,
}

/// A job of a batch, as it is drawn.
#[derive(Clone, Debug)]
pub(crate) struct MemberSpec {
    queue: usize,
    due: Moment,
    expires: Moment,
}

impl MemberSpec {
    /// What a caller hands in for it.
    pub(crate) fn job(&self, n: u64, is_volatile: bool, member: MemberOf, now: Now) -> NewJob {
        let when = |when: Moment| when.map(|(at, ms)| moment(at, ms, now));
        let labels = Labels::default().of_batch(Some(member));
        NewJob {
            due: when(self.due),
            expires: when(self.expires),
            body: Arc::new(Body { labels, ..Body::default() }),
            ..bare(n, QUEUES[if is_volatile { 2 } else { self.queue }])
        }
    }
}

/// A flow to be.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) flow: u8,
    pub(crate) fail_fast: bool,
    steps: Vec<Drawn>,
}

/// A step of a flow, as the oracle knows it.
#[derive(Clone, Debug)]
pub(crate) struct StepSpec {
    pub(crate) queue: usize,
    pub(crate) needs: Vec<(usize, IfFailed)>,
    pub(crate) work: Work,
    /// Of no step that is none.
    pub(crate) batch: Option<BatchSpec>,
    pub(crate) undoes: Option<usize>,
    pub(crate) is_optional: bool,
    pub(crate) times: Times,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) due: Option<When>,
    pub(crate) expires: Option<When>,
    pub(crate) deadline: Option<When>,
}

impl BatchSpec {
    pub(crate) fn plan(&self) -> BatchPlan {
        BatchPlan { stays_open: self.stays_open, collects: self.collects.then(|| Name::from("work")) }
    }
}

impl StepSpec {
    /// Nothing and nobody has to come before it, and a worker runs it.
    pub(crate) fn is_ordinary(&self) -> bool {
        self.needs.is_empty() && self.undoes.is_none() && self.work == Work::Job
    }
}

impl Spec {
    /// The steps as they fit together.
    pub(crate) fn steps(&self, now: Now) -> Vec<StepSpec> {
        let mut steps: Vec<StepSpec> = Vec::new();
        for drawn in &self.steps {
            // What undoes another can be needed by none, nor undone.
            let others: Vec<_> = (0..steps.len()).filter(|no| steps[*no].undoes.is_none()).collect();
            let other = |n: u8| others.get(usize::from(n) % others.len().max(1)).copied();
            let undoes = drawn.undoes.and_then(other);
            let mut needs: Vec<(usize, IfFailed)> = Vec::new();
            for (step, if_failed) in drawn.needs.iter().filter_map(|(n, how)| Some((other(*n)?, *how))) {
                if undoes.is_none() && needs.iter().all(|(one, _)| *one != step) {
                    needs.push((step, if_failed));
                }
            }
            let when = |when: Moment| when.map(|(at, ms)| moment(at, ms, now));
            let work = if undoes.is_some() { Work::Job } else { drawn.work };
            steps.push(StepSpec {
                queue: if self.flow == IN_MEMORY { 2 } else { drawn.queue },
                needs,
                work,
                batch: (work == Work::Batch).then(|| drawn.batch.clone()),
                undoes,
                is_optional: drawn.is_optional,
                times: Times { due: when(drawn.due), expires: when(drawn.expires), deadline: when(drawn.deadline) },
            });
        }
        steps
    }
}

/// What a caller hands in for these steps; the jobs of batches come last.
pub(crate) fn hand_in(spec: &Spec, steps: &[StepSpec], first_job: u64, now: Now) -> (FlowPlan, Vec<NewJob>) {
    let (flow, fail_fast) = (spec.flow, spec.fail_fast);
    let (mut plans, mut jobs) = (Vec::new(), Vec::new());
    for (no, step) in (0..).zip(steps) {
        let labels = Labels::default().of_step(Some(StepOf { flow: flow_id(flow), no }));
        let job = NewJob {
            kind: Name::from(step.work.kind().unwrap_or("work")),
            due: step.times.due,
            expires: step.times.expires,
            deadline: step.times.deadline,
            body: Arc::new(Body { labels, ..Body::default() }),
            ..bare(first_job + u64::from(no), QUEUES[step.queue])
        };
        let need = |(step, if_failed): &(usize, IfFailed)| Need { step: *step as u32, if_failed: *if_failed };
        plans.push(StepPlan {
            name: name(no as usize),
            job: job.id,
            kind: job.kind.clone(),
            queue: job.queue.clone(),
            work: step.work,
            input: Vec::new(),
            needs: step.needs.iter().map(need).collect(),
            undoes: step.undoes.map(|no| no as u32),
            is_optional: step.is_optional,
            times: None,
            batch: step.batch.as_ref().map(|batch| Box::new(batch.plan())),
        });
        jobs.push(job);
    }
    for (no, step) in (0..).zip(steps) {
        for member in step.batch.iter().flat_map(|batch| &batch.members) {
            let of = StepOf { flow: flow_id(flow), no };
            let seat = MemberOf { of, batch: jobs[no as usize].id, place: 0 };
            jobs.push(member.job(first_job + jobs.len() as u64, flow == IN_MEMORY, seat, now));
        }
    }
    let (id, name) = (flow_id(flow), Name::from("flow"));
    let plan =
        FlowPlan { id, name, keep_ms: KEEP_MS, keep_failed_ms: KEEP_FAILED_MS, fail_fast, output: None, steps: plans };
    (plan, jobs)
}

pub(crate) fn name(no: usize) -> Arc<str> {
    format!("s{no}").into()
}

pub(crate) fn job_ids(jobs: &[NewJob]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

fn when(weight: f64) -> impl Strategy<Value = Moment> {
    prop::option::weighted(weight, (any::<bool>(), 0..120_u64))
}

/// So many jobs of a batch.
pub(crate) fn members(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<MemberSpec>> {
    let member = (0..2_usize, when(0.15), when(0.15));
    prop::collection::vec(member.prop_map(|(queue, due, expires)| MemberSpec { queue, due, expires }), count)
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let if_failed = || select(vec![IfFailed::Cancel, IfFailed::Cancel, IfFailed::GoOn, IfFailed::Hold]);
    let needs = prop::collection::vec((0..6_u8, if_failed()), 0..4);
    let work = prop_oneof![
        6 => Just(Work::Job),
        1 => Just(Work::Timer),
        1 => Just(Work::Signal),
        3 => Just(Work::Batch),
    ];
    let batch = (prop::bool::weighted(0.3), any::<bool>(), members(0..4));
    let batch = batch.prop_map(|(stays_open, collects, members)| BatchSpec { stays_open, collects, members });
    let undoes = prop::option::weighted(0.15, 0..6_u8);
    let times = (when(0.2), when(0.15), when(0.07));
    (0..2_usize, needs, (work, batch), undoes, prop::bool::weighted(0.2), times).prop_map(
        |(queue, needs, (work, batch), undoes, is_optional, (due, expires, deadline))| Drawn {
            queue,
            needs,
            work,
            batch,
            undoes,
            is_optional,
            due,
            expires,
            deadline,
        },
    )
}

pub(crate) fn spec() -> impl Strategy<Value = Spec> {
    let steps = prop::collection::vec(drawn(), 1..=6);
    (0..3_u8, prop::bool::weighted(0.25), steps).prop_map(|(flow, fail_fast, steps)| Spec { flow, fail_fast, steps })
}
