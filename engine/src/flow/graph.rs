//! Flows whose shape is only known at run time: steps by name, and which needs which.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use windlass_scheduler::batch::BatchPlan;
use windlass_scheduler::flow::{IfFailed, Need, StepPlan};
use windlass_scheduler::job::{Name, When};

use super::{Doing, Flow, StepRef};
use crate::config::ms;
use crate::error::FlowError;
use crate::job::{Draft, Job, at};

/// A flow of named steps in any order, as a file or a user describes one. Whether all is as it must be is found out by
/// [`build`](Self::build), before anything is stored. A step asks for what another one left by that one's name:
/// [`Context::left_by`](crate::Context::left_by).
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use windlass::{Context, Draft, FlowError, FlowGraph, Job, JobError};
/// # #[derive(Serialize, Deserialize)] struct Task { rows: u64 }
/// # #[derive(Serialize, Deserialize)] struct Report { of: Vec<String> }
/// # impl Job for Task { const KIND: &'static str = "task"; const QUEUE: &'static str = "q"; type Output = u64; }
/// # impl Job for Report { const KIND: &'static str = "report"; const QUEUE: &'static str = "q"; type Output = u64; }
/// async fn report(job: Report, cx: Context<()>) -> Result<u64, JobError> {
///     let mut rows = 0;
///     for step in &job.of {
///         rows += cx.left_by::<u64>(step).await?.unwrap_or(0);   // `None`: it failed
///     }
///     Ok(rows)
/// }
///
/// let task = |rows| Draft::new(&Task { rows });
/// let mut graph = FlowGraph::new("nightly");
/// graph.step("report", Draft::new(&Report { of: vec!["load".into(), "clean".into()] }));
/// graph.needs("report", "load").needs("report", "clean");
/// graph.step("clean", task(20)).needs("clean", "load").step("load", task(300));
/// let flow = graph.output::<u64>("report").build()?;   // engine.submit(flow).await?.wait().await? is 320
///
/// let mut circle = FlowGraph::new("nightly");
/// circle.step("a", task(1)).step("b", task(2)).needs("a", "b").needs("b", "a");
/// assert!(matches!(circle.build(), Err(FlowError::Circle { .. })));
/// # let _ = (flow, windlass::Engine::builder().handler(report));
/// # Ok::<(), FlowError>(())
/// ```
#[must_use = "a graph is nothing until it is built and submitted"]
#[derive(Debug)]
pub struct FlowGraph<O = ()> {
    name: String,
    steps: Vec<(String, Doing)>,
    needs: Vec<(String, String, IfFailed)>,
    /// Steps, and what each undoes.
    undoes: Vec<(String, String)>,
    optional: Vec<String>,
    /// Batches, and jobs of them.
    members: Vec<(String, Draft)>,
    output: Option<String>,
    of: PhantomData<fn() -> O>,
}

/// What has to be before a step: its needs, by name; or `None` the one that it undoes.
type Before<'a> = BTreeMap<&'a str, Option<IfFailed>>;

impl FlowGraph {
    /// A flow of this sort with no steps yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            steps: Vec::new(),
            needs: Vec::new(),
            undoes: Vec::new(),
            optional: Vec::new(),
            members: Vec::new(),
            output: None,
            of: PhantomData,
        }
    }
}

impl<O> FlowGraph<O> {
    /// Adds a step.
    pub fn step(&mut self, name: impl Into<String>, job: Draft) -> &mut Self {
        self.plan(name, Doing::Job(Box::new(job)))
    }

    /// Adds a step that is a [`batch`](Flow::batch): its jobs come while the flow runs, or are [added](Self::add_to) here.
    pub fn batch(&mut self, name: impl Into<String>) -> &mut Self {
        self.plan(name, Doing::Batch(BatchPlan::default()))
    }

    /// Adds a step that is an [`open_batch`](Flow::open_batch).
    pub fn open_batch(&mut self, name: impl Into<String>) -> &mut Self {
        self.plan(name, Doing::Batch(BatchPlan { stays_open: true, collects: None }))
    }

    /// Adds a step that is a [`spread`](Flow::spread) of such jobs: what is left by it is a list of what they left.
    pub fn spread<J: Job>(&mut self, name: impl Into<String>) -> &mut Self {
        self.plan(name, Doing::Batch(BatchPlan { stays_open: false, collects: Some(Name::from(J::KIND)) }))
    }

    /// A job that the batch of this name has from the beginning: see [`Flow::add_to`].
    pub fn add_to(&mut self, batch: impl Into<String>, job: Draft) -> &mut Self {
        self.members.push((batch.into(), job));
        self
    }

    /// Adds a step that is done so long after those that it needs: see [`Flow::wait`].
    pub fn wait(&mut self, name: impl Into<String>, time: Duration) -> &mut Self {
        self.plan(name, Doing::Timer(When::After(ms(time))))
    }

    /// Adds a step that is done at this time of the wall clock, or when those are that it needs: see [`Flow::wait_until`].
    pub fn wait_until(&mut self, name: impl Into<String>, time: SystemTime) -> &mut Self {
        self.plan(name, Doing::Timer(at(time)))
    }

    /// Adds a step that is done when a [signal](crate::Engine::signal) comes for its name: see [`Flow::signal`].
    pub fn signal(&mut self, name: impl Into<String>, timeout: Option<Duration>) -> &mut Self {
        self.plan(name, Doing::Signal(timeout))
    }

    /// Adds a step that runs only if the flow fails, or is called off, after the step `of` has succeeded: see [`Flow::undo`]. It can ask
    /// for what `of` left, and needs nothing else.
    pub fn undo(&mut self, name: impl Into<String>, of: impl Into<String>, job: Draft) -> &mut Self {
        let name = name.into();
        self.undoes.push((name.clone(), of.into()));
        self.step(name, job)
    }

    /// The flow does not fail with the step of this name: see [`StepDraft::optional`](crate::StepDraft::optional).
    pub fn optional(&mut self, step: impl Into<String>) -> &mut Self {
        self.optional.push(step.into());
        self
    }

    /// The first step begins when the second one has succeeded, and is called off if that fails.
    pub fn needs(&mut self, step: impl Into<String>, needs: impl Into<String>) -> &mut Self {
        self.needs_or(step, needs, IfFailed::Cancel)
    }

    /// As [`needs`](Self::needs), with what becomes of the first step if the second one fails.
    pub fn needs_or(&mut self, step: impl Into<String>, needs: impl Into<String>, if_failed: IfFailed) -> &mut Self {
        self.needs.push((step.into(), needs.into(), if_failed));
        self
    }

    /// What the step of this name leaves is what the flow gives, as a `P`: nobody knows that before it is read, and
    /// `serde_json::Value` reads all.
    pub fn output<P>(self, step: impl Into<String>) -> FlowGraph<P> {
        FlowGraph {
            name: self.name,
            steps: self.steps,
            needs: self.needs,
            undoes: self.undoes,
            optional: self.optional,
            members: self.members,
            output: Some(step.into()),
            of: PhantomData,
        }
    }

    /// The flow.
    ///
    /// # Errors
    /// [`FlowError::UnknownStep`], [`FlowError::NameTwice`], [`FlowError::NeedTwice`] or [`FlowError::Circle`].
    pub fn build(self) -> Result<Flow<O>, FlowError> {
        let before = self.before()?;
        let order = in_order(&before)?;
        let numbers: HashMap<String, u32> = order.iter().map(|name| (*name).to_owned()).zip(0..).collect();
        let number = |step: &str, why: &str| {
            numbers
                .get(step)
                .copied()
                .ok_or_else(|| FlowError::UnknownStep { step: step.to_owned(), why: why.to_owned() })
        };
        let mut plans: Vec<_> = order.iter().map(|name| planned(&before[name], &numbers)).collect();
        for name in &self.optional {
            plans[number(name, "it is to be optional")? as usize].is_optional = true;
        }
        let mut flow = Flow::new(self.name);
        for (batch, job) in self.members {
            flow.members.push((number(&batch, "jobs are added to it")?, job));
        }
        let output = self.output.map(|step| number(&step, "what it leaves is what the flow gives")).transpose()?;
        let mut steps: Vec<_> = self.steps.into_iter().map(|(name, doing)| (numbers[&name], name, doing)).collect();
        steps.sort_unstable_by_key(|(no, ..)| *no);
        for ((_, name, doing), Plan { needs, undoes, is_optional }) in steps.into_iter().zip(plans) {
            flow.needs += needs.len();
            let input = undoes.map(|_| StepPlan::ALONE).into_iter().collect();
            let _: StepRef<()> = flow.plan_with(&name, doing, needs, input, is_optional);
            if let Some(planned) = flow.steps.last_mut() {
                planned.undoes = undoes;
            }
        }
        Ok(flow.gives(output))
    }

    fn plan(&mut self, name: impl Into<String>, doing: Doing) -> &mut Self {
        self.steps.push((name.into(), doing));
        self
    }

    /// What has to be before each step.
    fn before(&self) -> Result<BTreeMap<&str, Before<'_>>, FlowError> {
        let mut before: BTreeMap<&str, Before<'_>> = BTreeMap::new();
        for (name, _) in &self.steps {
            if before.insert(name, BTreeMap::new()).is_some() {
                return Err(FlowError::NameTwice { name: name.clone() });
            }
        }
        for (step, needs, if_failed) in &self.needs {
            if !before.contains_key(needs.as_str()) {
                return Err(FlowError::UnknownStep { step: needs.clone(), why: format!("`{step}` needs it") });
            }
            let Some(all) = before.get_mut(step.as_str()) else {
                return Err(FlowError::UnknownStep { step: step.clone(), why: format!("it is to need `{needs}`") });
            };
            if all.insert(needs, Some(*if_failed)).is_some() {
                return Err(FlowError::NeedTwice { step: step.clone(), needs: needs.clone() });
            }
        }
        for (step, of) in &self.undoes {
            if !before.contains_key(of.as_str()) {
                return Err(FlowError::UnknownStep { step: of.clone(), why: format!("`{step}` undoes it") });
            }
            if before.entry(step).or_default().insert(of, None).is_some() {
                return Err(FlowError::NeedTwice { step: step.clone(), needs: of.clone() });
            }
        }
        Ok(before)
    }
}

/// What a graph says of a step beside what it does.
struct Plan {
    needs: Vec<Need>,
    undoes: Option<u32>,
    is_optional: bool,
}

fn planned(before: &Before<'_>, numbers: &HashMap<String, u32>) -> Plan {
    let mut plan = Plan { needs: Vec::new(), undoes: None, is_optional: false };
    for (name, if_failed) in before {
        match *if_failed {
            Some(if_failed) => plan.needs.push(Need { step: numbers[*name], if_failed }),
            None => plan.undoes = Some(numbers[*name]),
        }
    }
    plan
}

/// The names so that each stands behind all that it needs (Kahn, "Topological sorting of large networks", 1962).
fn in_order<'a>(needs: &BTreeMap<&'a str, Before<'a>>) -> Result<Vec<&'a str>, FlowError> {
    let mut left: BTreeMap<&str, usize> = needs.iter().map(|(name, needs)| (*name, needs.len())).collect();
    let mut then: HashMap<&str, Vec<&'a str>> = HashMap::new();
    for (name, needs) in needs {
        for need in needs.keys() {
            then.entry(*need).or_default().push(*name);
        }
    }
    let mut free: BTreeSet<&'a str> =
        needs.iter().filter(|(_, needs)| needs.is_empty()).map(|(name, _)| *name).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(name) = free.pop_first() {
        left.remove(name);
        order.push(name);
        for next in then.get(name).into_iter().flatten() {
            if let Some(open) = left.get_mut(next) {
                *open -= 1;
                if *open == 0 {
                    free.insert(next);
                }
            }
        }
    }
    if left.is_empty() {
        Ok(order)
    } else {
        Err(FlowError::Circle { steps: left.keys().map(|name| (*name).to_owned()).collect() })
    }
}
