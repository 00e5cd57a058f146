//! What stands for the meters in a build without the feature `metrics`: nothing, at no cost.

use windlass_scheduler::attempt::Outcome;
use windlass_scheduler::limit::LimitOf;

use crate::admin::Desk;
use crate::config::EngineConfig;

#[derive(Clone, Default)]
pub(crate) struct Meters(());

#[derive(Clone)]
pub(crate) struct WorkerMeters(());

/// There is none.
pub(crate) enum Stopwatch {}

/// A moment that nobody wants to know.
#[derive(Clone, Copy)]
pub(crate) struct Never;

#[allow(clippy::unused_self)]
impl Meters {
    pub(crate) const fn new(_: &EngineConfig) -> Self {
        Self(())
    }

    pub(crate) const fn of_worker(&self, _: &str, _: usize) -> WorkerMeters {
        WorkerMeters(())
    }

    pub(crate) fn publish(&self, _: Desk) {}

    pub(crate) const fn begin(&self) -> Never {
        Never
    }

    pub(crate) const fn written(&self, _: Never, _: usize, _: usize) {}

    pub(crate) const fn synced(&self, _: Never) {}

    pub(crate) const fn loaded(&self, _: Never, _: usize) {}

    pub(crate) const fn opened(&self, _: &LimitOf) {}
}

#[allow(clippy::unused_self)]
impl WorkerMeters {
    pub(crate) const fn started(&self, _: Option<usize>, _: &str, _: u64) -> Option<Stopwatch> {
        None
    }
}

impl Stopwatch {
    pub(crate) const fn ended(&self, _: &Outcome) {
        match *self {}
    }
}
