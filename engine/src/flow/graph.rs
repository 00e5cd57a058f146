//! Flows whose shape is only known at run time: steps by name, and which needs which.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use windlass_scheduler::batch::BatchPlan;
use windlass_scheduler::flow::{IfFailed, Need};

use super::{Doing, Flow, StepRef};
use crate::error::FlowError;
use crate::job::Draft;

/// A flow of named steps in any order, as a file or a user describes one. Its steps get no typed input; whether all is as it must be is
/// found out by [`build`](Self::build), before anything is stored.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use windlass::{Draft, FlowError, FlowGraph, Job};
/// # #[derive(Serialize, Deserialize)] struct Task(String);
/// # impl Job for Task { const KIND: &'static str = "task"; const QUEUE: &'static str = "q"; type Output = (); }
/// let task = |name: &str| Draft::new(&Task(name.to_owned()));
/// let mut graph = FlowGraph::new("nightly");
/// graph.step("report", task("report")).needs("report", "load").needs("report", "clean");
/// graph.step("clean", task("clean")).needs("clean", "load").step("load", task("load"));
/// let flow = graph.build().unwrap();
///
/// let mut circle = FlowGraph::new("nightly");
/// circle.step("a", task("a")).step("b", task("b")).needs("a", "b").needs("b", "a");
/// assert!(matches!(circle.build(), Err(FlowError::Circle { .. })));
/// # let _ = flow;
/// ```
#[must_use = "a graph is nothing until it is built and submitted"]
#[derive(Debug)]
pub struct FlowGraph {
    name: String,
    steps: Vec<(String, Doing)>,
    needs: Vec<(String, String, IfFailed)>,
}

impl FlowGraph {
    /// A flow of this sort with no steps yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), steps: Vec::new(), needs: Vec::new() }
    }

    /// Adds a step.
    pub fn step(&mut self, name: impl Into<String>, job: Draft) -> &mut Self {
        self.steps.push((name.into(), Doing::Job(Box::new(job))));
        self
    }

    /// Adds a step that is a [`batch`](Flow::batch): its jobs come while the flow runs.
    pub fn batch(&mut self, name: impl Into<String>) -> &mut Self {
        self.steps.push((name.into(), Doing::Batch(BatchPlan::default())));
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

    /// The flow.
    ///
    /// # Errors
    /// [`FlowError::UnknownStep`], [`FlowError::NameTwice`] or [`FlowError::Circle`].
    pub fn build(self) -> Result<Flow, FlowError> {
        let mut open: BTreeMap<&str, BTreeMap<&str, IfFailed>> = BTreeMap::new();
        for (name, _) in &self.steps {
            if open.insert(name, BTreeMap::new()).is_some() {
                return Err(FlowError::NameTwice { name: name.clone() });
            }
        }
        for (step, needs, if_failed) in &self.needs {
            let unknown = || FlowError::UnknownStep { step: step.clone(), needs: needs.clone() };
            if !open.contains_key(needs.as_str()) {
                return Err(unknown());
            }
            open.get_mut(step.as_str()).ok_or_else(unknown)?.insert(needs, *if_failed);
        }
        let order = in_order(&open)?;
        let numbers: HashMap<&str, u32> = order.iter().copied().zip(0..).collect();
        let need = |(needs, if_failed): (&&str, &IfFailed)| Need { step: numbers[*needs], if_failed: *if_failed };
        let needs = |name: &str| open[name].iter().map(need).collect::<Vec<_>>();
        let planned: Vec<_> = order.iter().map(|name| ((*name).to_owned(), needs(name))).collect();
        let mut steps: HashMap<String, Doing> = self.steps.into_iter().collect();
        let mut flow = Flow::new(self.name);
        for (name, needs) in planned {
            if let Some(doing) = steps.remove(&name) {
                flow.needs += needs.len();
                let _: StepRef<()> = flow.plan_with(&name, doing, needs, Vec::new(), false);
            }
        }
        Ok(flow)
    }
}

/// The names so that each stands behind all that it needs (Kahn, "Topological sorting of large networks", 1962).
fn in_order<'a>(needs: &BTreeMap<&'a str, BTreeMap<&'a str, IfFailed>>) -> Result<Vec<&'a str>, FlowError> {
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
