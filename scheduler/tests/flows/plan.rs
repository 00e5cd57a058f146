//! The flows that are played: random graphs of a few steps, small limits, short times.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use uuid::Uuid;
use windlass_scheduler::flow::{FlowId, FlowPlan, IfFailed, Need, StepOf, StepPlan, Work};
use windlass_scheduler::job::{Body, JobId, Labels, Name, NewJob, When};
use windlass_scheduler::retry::{Backoff, RetryPolicy};
use windlass_scheduler::settings::{Keep, KeepDone, Level, QueueSettings, Retention, ShardSettings};
use windlass_scheduler::time::{Mono, Now, Timestamp};

use super::common::bare;

pub(crate) const QUEUES: [&str; 3] = ["fast", "safe", "ram"];
pub(crate) const LEVELS: [Level; 3] = [Level::Process, Level::Durable, Level::Memory];
/// The flow that is in memory: always the same one, as a job of one id always is in one queue.
const IN_MEMORY: u8 = 2;
/// How long an ended flow is remembered.
pub(crate) const KEEP_MS: u64 = 1_500;
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
    undoes: Option<u8>,
    is_optional: bool,
    due: Moment,
    expires: Moment,
    deadline: Moment,
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
            steps.push(StepSpec {
                queue: if self.flow == IN_MEMORY { 2 } else { drawn.queue },
                needs,
                work: if undoes.is_some() { Work::Job } else { drawn.work },
                undoes,
                is_optional: drawn.is_optional,
                times: Times { due: when(drawn.due), expires: when(drawn.expires), deadline: when(drawn.deadline) },
            });
        }
        steps
    }
}

/// What a caller hands in for these steps.
pub(crate) fn hand_in(flow: u8, fail_fast: bool, steps: &[StepSpec], first_job: u64) -> (FlowPlan, Vec<NewJob>) {
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
            batch: None,
        });
        jobs.push(job);
    }
    let (id, name) = (flow_id(flow), Name::from("flow"));
    (FlowPlan { id, name, keep_ms: KEEP_MS, fail_fast, output: None, steps: plans }, jobs)
}

pub(crate) fn name(no: usize) -> Arc<str> {
    format!("s{no}").into()
}

pub(crate) fn job_ids(jobs: &[NewJob]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let when = |weight| prop::option::weighted(weight, (any::<bool>(), 0..120_u64));
    let if_failed = || select(vec![IfFailed::Cancel, IfFailed::Cancel, IfFailed::GoOn, IfFailed::Hold]);
    let needs = prop::collection::vec((0..6_u8, if_failed()), 0..4);
    let work = prop_oneof![6 => Just(Work::Job), 1 => Just(Work::Timer), 1 => Just(Work::Signal)];
    let undoes = prop::option::weighted(0.15, 0..6_u8);
    let times = (when(0.2), when(0.15), when(0.07));
    (0..2_usize, needs, work, undoes, prop::bool::weighted(0.2), times).prop_map(
        |(queue, needs, work, undoes, is_optional, (due, expires, deadline))| Drawn {
            queue,
            needs,
            work,
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
