//! Which events a subscriber gets.

use windlass_scheduler::flow::FlowId;
use windlass_scheduler::job::{JobId, Name};
use windlass_scheduler::news::{News, NewsOf};

use super::what::EventKind;

/// Which events: all that fit every part that was said. A part that was said several times fits any of its values. It is looked at on the
/// subscriber's own task, so that a long one costs nobody else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    queues: Vec<String>,
    kinds: Vec<String>,
    jobs: Vec<JobId>,
    flows: Vec<FlowId>,
    correlation_ids: Vec<String>,
    what: Vec<EventKind>,
}

impl EventFilter {
    /// All events.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Of this queue: of its jobs, also of those that leave it for another one, and its pauses.
    #[must_use]
    pub fn queue(mut self, queue: &str) -> Self {
        self.queues.push(queue.to_owned());
        self
    }

    /// Of jobs of this kind.
    #[must_use]
    pub fn kind(mut self, kind: &str) -> Self {
        self.kinds.push(kind.to_owned());
        self
    }

    /// Of this job.
    #[must_use]
    pub fn job(mut self, id: JobId) -> Self {
        self.jobs.push(id);
        self
    }

    /// Of this flow, and of its jobs while they live.
    #[must_use]
    pub fn flow(mut self, id: FlowId) -> Self {
        self.flows.push(id);
        self
    }

    /// Of jobs with this correlation id, where events have it: see [`Event::correlation_id`](crate::Event::correlation_id).
    #[must_use]
    pub fn correlation_id(mut self, id: &str) -> Self {
        self.correlation_ids.push(id.to_owned());
        self
    }

    /// Of these sorts.
    #[must_use]
    pub fn what(mut self, what: impl IntoIterator<Item = EventKind>) -> Self {
        self.what.extend(what);
        self
    }

    pub(super) fn wants(&self, news: &News) -> bool {
        let text = |name: &Option<Name>, values: &[String]| {
            values.is_empty() || name.as_ref().is_some_and(|name| values.iter().any(|value| value == name.as_str()))
        };
        // One that leaves a queue is the last that is heard of it there.
        let leaves = |from: &Name| self.queues.iter().any(|queue| queue == from.as_str());
        let is_of_queue =
            text(&news.queue, &self.queues) || matches!(&news.what, NewsOf::Moved { from } if leaves(from));
        (self.what.is_empty() || self.what.contains(&EventKind::of(&news.what)))
            && is_of_queue
            && text(&news.kind, &self.kinds)
            && (self.jobs.is_empty() || news.job.is_some_and(|job| self.jobs.contains(&job)))
            && (self.flows.is_empty() || news.flow.is_some_and(|flow| self.flows.contains(&flow)))
            && (self.correlation_ids.is_empty()
                || news.correlation_id.as_ref().is_some_and(|id| self.correlation_ids.iter().any(|one| **one == **id)))
    }
}
