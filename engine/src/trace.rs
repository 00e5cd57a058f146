//! The seam to whatever traces: a job carries the trace that it was enqueued in, and its attempts go on in it.
//!
//! Owns the form that W3C gives a `traceparent`, and who is asked when. Never traces anything itself, and knows no OpenTelemetry: a
//! service has its own.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tracing::{Span, error};
use windlass_scheduler::job::Body;

use crate::builder::EngineBuilder;
use crate::error::panic_text;

/// What connects jobs to the traces of a service. Its methods run in the middle of calls and of starts: they have to be quick. A panic in one
/// is logged, and costs the connection.
pub trait Propagation: Send + Sync + 'static {
    /// The `traceparent` of what goes on in this moment on this thread, for a job that is being enqueued and brings none; also for the
    /// follow-ups of an attempt. What is no well-formed one is left out.
    fn current(&self) -> Option<String>;

    /// An attempt is about to begin, and this is its span: what is to come happened because of what this `traceparent` names. The span has not
    /// been entered yet, also where the payload had to be read from the disk first. Only called with a well-formed one.
    fn follow(&self, span: &Span, parent: &str);
}

/// Who connects, if anybody does.
#[derive(Clone, Default)]
pub(crate) struct Propagator(Option<Arc<dyn Propagation>>);

impl Propagator {
    pub(crate) fn current(&self) -> Option<String> {
        let propagation = self.0.as_ref()?;
        contained(|| propagation.current()).flatten().filter(|parent| is_parent(parent))
    }

    /// The span is one of an attempt of a job with this body.
    pub(crate) fn follow(&self, span: &Span, body: &Body) {
        let Some(propagation) = &self.0 else { return };
        if let Some(parent) = parent_of(body) {
            let _ = contained(|| propagation.follow(span, parent));
        }
    }
}

fn contained<T>(call: impl FnOnce() -> T) -> Option<T> {
    let called = catch_unwind(AssertUnwindSafe(call));
    called.inspect_err(|panic| error!(panic = panic_text(panic.as_ref()), "the propagation of traces panicked")).ok()
}

impl fmt::Debug for Propagator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Propagator").field(&self.0.is_some()).finish()
    }
}

impl<A: Send + Sync + 'static> EngineBuilder<A> {
    /// Connects jobs to the traces of the service: what is enqueued carries the trace that it is enqueued in, unless it brings a
    /// [`trace_context`](crate::Enqueue::trace_context), and the span of each attempt goes on in it.
    ///
    /// ```
    /// use windlass::Propagation;
    ///
    /// struct Mine;
    ///
    /// impl Propagation for Mine {
    ///     fn current(&self) -> Option<String> {
    ///         // Of OpenTelemetry: inject `Span::current().context()` into a map, and take `traceparent` out of it.
    ///         Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned())
    ///     }
    ///
    ///     fn follow(&self, span: &tracing::Span, parent: &str) {
    ///         // Of OpenTelemetry: extract a context from a map with that `traceparent`, and `span.set_parent(context)`.
    ///         let _ = (span, parent);
    ///     }
    /// }
    ///
    /// let builder = windlass::Engine::builder().propagation(Mine);
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn propagation(mut self, propagation: impl Propagation) -> Self {
        self.propagator = Propagator(Some(Arc::new(propagation)));
        self
    }
}

/// The `traceparent` that came with the job, if it is one: whatever else came is carried, and is nobody's parent.
pub(crate) fn parent_of(body: &Body) -> Option<&str> {
    body.labels.trace().filter(|context| is_parent(context))
}

/// Whether this is a `traceparent` of version 00.
fn is_parent(text: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |text: &str| is_hex(text) && text.bytes().any(|b| b != b'0');
    let mut parts = text.split('-');
    let mut next = |bytes: usize| parts.next().filter(|part| part.len() == bytes);
    next(2) == Some("00")
        && next(32).is_some_and(is_id)
        && next(16).is_some_and(is_id)
        && next(2).is_some_and(is_hex)
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_has_four_parts_of_their_length_in_lower_case_and_no_id_of_zeros() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_parent(parent));
        let zeros = |from: usize, to: usize| format!("{}{}{}", &parent[..from], "0".repeat(to - from), &parent[to..]);
        let others = [
            String::new(),
            parent.to_uppercase(),
            parent[..54].to_owned(),
            parent[1..].to_owned(),
            format!("{parent}0"),
            format!("{parent}-01"),
            parent.replacen("00", "01", 1),
            parent.replace('-', "_"),
            parent.replace('f', "g"),
            zeros(3, 35),
            zeros(36, 52),
        ];
        for other in others {
            assert!(!is_parent(&other), "{other}");
        }
    }
}
