//! Which jobs are meant: the question that lists, counts and orders share.
//!
//! Owns what it means that a job meets a filter. Never walks over jobs, and never reads: what only the disk knows is
//! brought by whoever asks.

use alloc::string::String;
use alloc::vec::Vec;

use crate::attempt::Failure;
use crate::flow::StepOf;
use crate::job::{Body, Name};
use crate::state::State;
use crate::time::Timestamp;

/// A part of time: from the first moment on, and before the second. An open end is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first moment in it.
    pub from: Option<Timestamp>,
    /// The first moment after it.
    pub until: Option<Timestamp>,
}

impl Span {
    /// Whether it is no limit at all.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.from.is_none() && self.until.is_none()
    }

    /// Whether this moment is in it. No moment is in an open span only.
    #[must_use]
    pub fn has(&self, at: Option<Timestamp>) -> bool {
        match at {
            None => self.is_open(),
            Some(at) => self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until),
        }
    }
}

/// Which jobs are meant: all that meet every one of its parts. An empty part is met by all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In one of these queues.
    pub queues: Vec<Name>,
    /// Of one of these kinds.
    pub kinds: Vec<Name>,
    /// In one of these states.
    pub states: Vec<State>,
    /// With this tag.
    pub tag: Option<String>,
    /// With this correlation id.
    pub correlation_id: Option<String>,
    /// Of this limit key.
    pub limit_key: Option<String>,
    /// Of this batch.
    pub batch: Option<StepOf>,
    /// With this text in the last failure.
    pub error: Option<String>,
    /// Accepted then.
    pub created: Span,
    /// Delayed until then.
    pub due: Span,
    /// Ended then.
    pub ended: Span,
}

/// The small facts of a job that a filter asks for.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its queue.
    pub queue: &'a Name,
    /// Its kind.
    pub kind: &'a Name,
    /// Its state.
    pub state: State,
    /// When it was accepted.
    pub created: Timestamp,
    /// Until when it is delayed.
    pub due: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

impl Filter {
    /// Whether these facts meet it; labels and error are another question.
    #[must_use]
    pub fn is_met_by(&self, job: &Facts<'_>) -> bool {
        let is_among = |names: &[Name], name: &Name| names.is_empty() || names.contains(name);
        self.has_state(job.state)
            && is_among(&self.queues, job.queue)
            && is_among(&self.kinds, job.kind)
            && self.created.has(Some(job.created))
            && self.due.has(job.due)
            && self.ended.has(job.ended)
    }

    /// Whether it asks for jobs in this state.
    #[must_use]
    pub fn has_state(&self, state: State) -> bool {
        self.states.is_empty() || self.states.contains(&state)
    }

    /// Whether it asks for something that stands in a job's body.
    #[must_use]
    pub const fn asks_labels(&self) -> bool {
        self.tag.is_some() || self.correlation_id.is_some() || self.limit_key.is_some() || self.batch.is_some()
    }

    /// Whether these labels meet it.
    #[must_use]
    pub fn is_met_by_labels(&self, body: &Body) -> bool {
        self.tag.as_ref().is_none_or(|tag| body.labels.tags().contains(tag))
            && self.correlation_id.as_ref().is_none_or(|id| body.labels.correlation_id() == Some(id.as_str()))
            && self.batch.is_none_or(|of| body.labels.member().is_some_and(|member| member.of == of))
            && self.limit_key.as_ref().is_none_or(|key| body.labels.share().key.as_deref() == Some(key.as_str()))
    }

    /// Whether this last failure meets it.
    #[must_use]
    pub fn is_met_by_failure(&self, failure: Option<&Failure>) -> bool {
        let has = |text: &String| failure.is_some_and(|failure| failure.message.contains(text.as_str()));
        self.error.as_ref().is_none_or(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_begins_with_its_first_moment_and_ends_before_its_last() {
        let span = Span { from: Some(Timestamp(10)), until: Some(Timestamp(20)) };
        let has = |at: u64| span.has(Some(Timestamp(at)));
        assert_eq!([has(9), has(10), has(19), has(20)], [false, true, true, false]);
        assert!(!span.has(None) && Span::default().has(None));
    }
}
