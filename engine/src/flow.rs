//! Flows as callers build them: steps that wait for one another, and get what the others left.
//!
//! Owns the typed builder. `then` does not compile where nobody gives a step its input, and a circle cannot be written: a handle
//! on a step is only there once the step is. Never decides when a step begins: that is the core's.

mod batch;
mod graph;
mod handle;
mod input;
mod needs;
mod plan;
mod status;

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use windlass_scheduler::batch::BatchPlan;
use windlass_scheduler::flow::{FlowId, IfFailed, Need, StepPlan};
use windlass_scheduler::job::{JobId, Priority, When};
use windlass_scheduler::settings::ShardSettings;

pub use self::batch::{Batch, BatchFailure, BatchHandle, BatchReport};
pub use self::graph::FlowGraph;
pub use self::handle::FlowHandle;
pub use self::needs::{GoOn, Hold, Needs, StepRef};
pub use self::status::{CriticalStep, FlowStatus, FlowSummary, StepStatus};
use crate::config::{RetryPolicy, ms};
use crate::error::FlowError;
use crate::job::{Draft, Job, Options, at};
use crate::range;
use crate::unique::Unique;

/// How long a flow that went well is remembered after its end, unless it says otherwise.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);
/// And another one: as long as dead letters, unless their queue says otherwise.
const KEEP_FAILED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Numbers of builders: a handle on a step means nothing to another one.
static BUILDERS: AtomicU64 = AtomicU64::new(1);

/// A job type that gets something from the steps before it.
///
/// The input of a step after one other is that one's [`Output`](Job::Output); after a list of steps a `Vec` of theirs, after a tuple of
/// steps a tuple; and an `Option` of it where the step [goes on without](StepRef::go_on). Its handler asks for it with
/// [`Context::input`](crate::Context::input).
pub trait FlowStep: Job {
    /// What it gets.
    type Input: serde::de::DeserializeOwned;
}

/// A job on its way into a flow, with its options. Every [`Job`] is one without.
#[must_use = "a step is nothing until it is part of a flow"]
#[derive(Debug)]
pub struct StepDraft<J> {
    draft: Draft,
    name: Option<String>,
    is_optional: bool,
    job: PhantomData<fn() -> J>,
}

impl<J: Job> From<J> for StepDraft<J> {
    fn from(job: J) -> Self {
        Self::new(&job)
    }
}

impl<J: Job> StepDraft<J> {
    crate::job::options!();

    /// A step with no options yet.
    pub fn new(job: &J) -> Self {
        Self { draft: Draft::new(job), name: None, is_optional: false, job: PhantomData }
    }

    /// Its name, which no other step of the flow has; 1 to 128 bytes. Unless said it is the job's kind, with a number behind where
    /// the flow has several.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The flow does not fail with it. To be said where nobody needs it, or somebody who does not [go on](StepRef::go_on) without it.
    pub fn optional(mut self) -> Self {
        self.is_optional = true;
        self
    }

    fn options_mut(&mut self) -> &mut Options {
        &mut self.draft.options
    }
}

/// What a step does.
#[derive(Debug)]
enum Doing {
    Job(Box<Draft>),
    Timer(When),
    Signal(Option<Duration>),
    Batch(BatchPlan),
}

#[derive(Debug)]
struct Planned {
    name: String,
    doing: Doing,
    needs: Vec<Need>,
    input: Vec<u32>,
    undoes: Option<u32>,
    is_optional: bool,
}

/// A flow on its way in. `O` is what it gives: see [`output`](Self::output).
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use windlass::{Context, Flow, Job, JobError, FlowStep};
/// # #[derive(Serialize, Deserialize)] struct Split { text: String }
/// # #[derive(Serialize, Deserialize)] struct Count { part: usize }
/// # #[derive(Serialize, Deserialize)] struct Sum;
/// # impl Job for Split { const KIND: &'static str = "split"; const QUEUE: &'static str = "q"; type Output = Vec<String>; }
/// # impl Job for Count { const KIND: &'static str = "count"; const QUEUE: &'static str = "q"; type Output = usize; }
/// # impl Job for Sum { const KIND: &'static str = "sum"; const QUEUE: &'static str = "q"; type Output = usize; }
/// impl FlowStep for Count { type Input = Vec<String>; }
/// impl FlowStep for Sum { type Input = Vec<usize>; }
///
/// async fn sum(_: Sum, cx: Context<()>) -> Result<usize, JobError> {
///     Ok(cx.input::<Sum>().await?.into_iter().sum())
/// }
///
/// let mut flow = Flow::new("letters");
/// let split = flow.first(Split { text: "a bc def".into() });
/// let counts: Vec<_> = (0..3).map(|part| flow.then(&split, Count { part })).collect();
/// let sum_of_all = flow.then(&counts, Sum);
/// let flow = flow.output(&sum_of_all); // engine.submit(flow).await?.wait().await? is a usize
/// # let _ = (flow, windlass::Engine::builder().handler(sum));
/// ```
#[must_use = "a flow is nothing until it is submitted"]
#[derive(Debug)]
pub struct Flow<O = ()> {
    id: Option<FlowId>,
    /// Which builder handles on steps are of.
    builder: u64,
    name: String,
    keep: Duration,
    keep_failed: Duration,
    fail_fast: bool,
    output: Option<u32>,
    steps: Vec<Planned>,
    /// How many needs these have together; those beyond what may be are counted only.
    needs: usize,
    /// Jobs of batches, each with its batch's number.
    members: Vec<(u32, Draft)>,
    names: HashMap<String, u32>,
    /// How many steps of a kind, in a scope, have got their names of it.
    kinds: HashMap<String, u32>,
    /// Before every name.
    scope: String,
    /// What was wrong first: told when it is submitted.
    wrong: Option<FlowError>,
    of: PhantomData<fn() -> O>,
}

impl Flow<()> {
    /// A flow of this sort (`"upload"`, say: a name like a queue's) with no steps yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            id: None,
            builder: BUILDERS.fetch_add(1, Ordering::Relaxed),
            name: name.into(),
            keep: KEEP,
            keep_failed: KEEP_FAILED,
            fail_fast: false,
            output: None,
            steps: Vec::new(),
            needs: 0,
            members: Vec::new(),
            names: HashMap::new(),
            kinds: HashMap::new(),
            scope: String::new(),
            wrong: None,
            of: PhantomData,
        }
    }
}

impl<O> Flow<O> {
    /// Chooses the id: a second flow of this sort with the same id, while the first is remembered, is the same flow, whatever it is made
    /// of, and one of another sort is refused. One whose shape changes with a deploy needs another id.
    pub fn id(mut self, id: FlowId) -> Self {
        self.id = Some(id);
        self
    }

    /// How long it is remembered after its end, with what its steps left, if it went well; a day unless said, a minute to 36,500 days:
    /// whoever waits for its end reads the output after it. The engine forgets those that ended first sooner where they have more than
    /// 200,000 steps together; those that went well before those that did not, as long as these have no more than half of that.
    pub fn keep_for(mut self, time: Duration) -> Self {
        self.keep = time;
        self
    }

    /// As [`keep_for`](Self::keep_for), if it failed or was called off: 30 days unless said, as dead letters are
    /// [retained](crate::Retention::dead). What it takes to [`retry`](FlowHandle::retry) it, the jobs of its steps, is retained as their queues
    /// say: a dead letter as long as that, and what was called off for want of it a day.
    pub fn keep_failed_for(mut self, time: Duration) -> Self {
        self.keep_failed = time;
        self
    }

    /// With the first step that fails, everything is called off that has not ended. Unless said that is only what needs the step.
    pub fn fail_fast(mut self) -> Self {
        self.fail_fast = true;
        self
    }

    /// A step that needs no other.
    pub fn first<J: Job>(&mut self, step: impl Into<StepDraft<J>>) -> StepRef<J::Output> {
        self.after((), step)
    }

    /// A step that begins when those before it have ended, and gets what they left. See [`FlowStep`] and [`Needs`].
    ///
    /// One that gets something else does not compile:
    ///
    /// ```compile_fail,E0271
    /// # use serde::{Deserialize, Serialize};
    /// # use windlass::{Flow, FlowStep, Job};
    /// # #[derive(Serialize, Deserialize)] struct Count;
    /// # #[derive(Serialize, Deserialize)] struct Sum;
    /// # impl Job for Count { const KIND: &'static str = "count"; const QUEUE: &'static str = "q"; type Output = usize; }
    /// # impl Job for Sum { const KIND: &'static str = "sum"; const QUEUE: &'static str = "q"; type Output = usize; }
    /// impl FlowStep for Sum { type Input = Vec<usize>; }
    ///
    /// let mut flow = Flow::new("letters");
    /// let count = flow.first(Count);
    /// flow.then([&count], Sum); // a list of one
    /// flow.then(&count, Sum); // a number
    /// ```
    pub fn then<J, N>(&mut self, needs: N, step: impl Into<StepDraft<J>>) -> StepRef<J::Output>
    where
        J: FlowStep,
        N: Needs<Input = J::Input>,
    {
        let input = needs.groups();
        self.add(needs, input, step.into())
    }

    /// A step that begins when those before it have ended, and gets nothing of them.
    pub fn after<J: Job>(&mut self, needs: impl Needs, step: impl Into<StepDraft<J>>) -> StepRef<J::Output> {
        self.add(needs, Vec::new(), step.into())
    }

    /// A step that runs only if the flow fails, or is called off, after `of` has succeeded: to undo that. It gets what `of` left. Such
    /// steps run one after another once all else has ended, the last success first. What a step that failed has left behind is nobody's to
    /// undo: let that be done by what undoes the step before it.
    pub fn undo<J: FlowStep>(&mut self, of: &StepRef<J::Input>, step: impl Into<StepDraft<J>>) -> StepRef<J::Output> {
        self.add_undo(of, vec![StepPlan::ALONE], step.into())
    }

    /// As [`undo`](Self::undo), and it gets nothing of what `of` left: so one job type can undo steps of several.
    pub fn undo_after<P, J: Job>(&mut self, of: &StepRef<P>, step: impl Into<StepDraft<J>>) -> StepRef<J::Output> {
        self.add_undo(of, Vec::new(), step.into())
    }

    /// A step that is done so long after those before it: no worker is needed for it. Up to 36,500 days.
    pub fn wait(&mut self, name: &str, needs: impl Needs, time: Duration) -> StepRef<()> {
        self.plan(name, Doing::Timer(When::After(ms(time))), needs, Vec::new(), false)
    }

    /// A step that is done at this time of the wall clock, or when those before it are, whichever is later.
    pub fn wait_until(&mut self, name: &str, needs: impl Needs, time: SystemTime) -> StepRef<()> {
        self.plan(name, Doing::Timer(at(time)), needs, Vec::new(), false)
    }

    /// A step that is done when [`Engine::signal`](crate::Engine::signal) brings a `T` for this name: an approval, a callback. No worker
    /// is needed for it, and the signal may come before its turn. With a timeout, which begins with its turn, it expires when that is over.
    pub fn signal<T>(&mut self, name: &str, needs: impl Needs, timeout: Option<Duration>) -> StepRef<T> {
        self.plan(name, Doing::Signal(timeout), needs, Vec::new(), false)
    }

    /// The steps that are added in there have this name and a `/` before theirs: so one function can build a part of many flows.
    pub fn scope<T>(&mut self, name: &str, build: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.scope.clone();
        self.scope = format!("{outer}{name}/");
        let built = build(self);
        self.scope = outer;
        built
    }

    /// What this step leaves is what the flow gives: [`FlowHandle::wait`] returns it.
    pub fn output<P>(mut self, step: &StepRef<P>) -> Flow<P> {
        self.check_owner(step.flow);
        Flow {
            id: self.id,
            builder: self.builder,
            name: self.name,
            keep: self.keep,
            keep_failed: self.keep_failed,
            fail_fast: self.fail_fast,
            output: Some(step.no),
            steps: self.steps,
            needs: self.needs,
            members: self.members,
            names: self.names,
            kinds: self.kinds,
            scope: self.scope,
            wrong: self.wrong,
            of: PhantomData,
        }
    }

    fn add<J: Job>(&mut self, needs: impl Needs, input: Vec<u32>, step: StepDraft<J>) -> StepRef<J::Output> {
        let StepDraft { draft, name, is_optional, .. } = step;
        let name = name.unwrap_or_else(|| self.free_name(J::KIND));
        self.plan(&name, Doing::Job(Box::new(draft)), needs, input, is_optional)
    }

    fn add_undo<P, J: Job>(&mut self, of: &StepRef<P>, input: Vec<u32>, step: StepDraft<J>) -> StepRef<J::Output> {
        let undo = self.add((), input, step);
        self.check_owner(of.flow);
        if let Some(planned) = self.steps.last_mut() {
            planned.undoes = Some(of.no);
        }
        undo
    }

    /// The kind, or the kind with a number that is free: mostly the how-manieth it is.
    fn free_name(&mut self, kind: &str) -> String {
        let count = self.kinds.entry(format!("{}{kind}", self.scope)).or_default();
        loop {
            *count += 1;
            let name = if *count == 1 { kind.to_owned() } else { format!("{kind}-{count}") };
            if !self.names.contains_key(&format!("{}{name}", self.scope)) {
                return name;
            }
        }
    }

    fn plan<P>(
        &mut self,
        name: &str,
        doing: Doing,
        needs: impl Needs,
        input: Vec<u32>,
        is_optional: bool,
    ) -> StepRef<P> {
        let mut all = Vec::new();
        needs.list(&mut |flow, need| {
            self.needs += 1;
            if flow != self.builder {
                self.wrong.get_or_insert(FlowError::OtherFlow);
            } else if self.needs <= ShardSettings::FLOW_NEEDS_MAX {
                all.push(need);
            }
        });
        self.plan_with(name, doing, all, input, is_optional)
    }

    fn plan_with<P>(
        &mut self,
        name: &str,
        doing: Doing,
        needs: Vec<Need>,
        input: Vec<u32>,
        is_optional: bool,
    ) -> StepRef<P> {
        let name = format!("{}{name}", self.scope);
        let no = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        if let Err(error) = range::STEP_NAME.check(name.len() as u64) {
            self.wrong.get_or_insert(FlowError::Enqueue(error.into()));
        }
        if self.names.insert(name.clone(), no).is_some() {
            self.wrong.get_or_insert(FlowError::NameTwice { name: name.clone() });
        }
        self.steps.push(Planned { name, doing, needs, input, undoes: None, is_optional });
        StepRef { flow: self.builder, no, if_failed: IfFailed::Cancel, of: PhantomData }
    }

    fn check_owner(&mut self, flow: u64) {
        if flow != self.builder {
            self.wrong.get_or_insert(FlowError::OtherFlow);
        }
    }
}
