//! The seam to whatever traces: a job carries the trace that it was enqueued in, and its attempts go on in it.
//!
//! Owns the form that W3C gives a `traceparent` and its `tracestate`, and who is asked when. Never traces anything itself, and knows no OpenTelemetry: a
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
    /// What goes on in this moment on this thread, for a job that is being enqueued and brings none; also for the follow-ups of an attempt.
    /// What is not well-formed is left out.
    fn current(&self) -> Option<TraceContext>;

    /// An attempt is about to begin, and this is its span: what is to come happened because of what this context names. The span has not
    /// been entered yet, also where the payload had to be read from the disk first. Only called with a well-formed one.
    fn follow(&self, span: &Span, context: &TraceContext);
}

/// Where a trace goes on: the two headers of [W3C's Trace Context](https://www.w3.org/TR/trace-context/).
///
/// A job carries it as one text, [`trace_context`](crate::Enqueue::trace_context): the first, and behind a blank the second, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace, the span in it, and its flags.
    pub traceparent: String,
    /// What systems on the way have to say of it, of 512 bytes at most; longer ones are left out.
    pub tracestate: Option<String>,
}

impl TraceContext {
    /// A context without state.
    #[must_use]
    pub fn new(traceparent: impl Into<String>) -> Self {
        Self { traceparent: traceparent.into(), tracestate: None }
    }

    /// As a job carries it, if it is well-formed.
    fn into_text(self) -> Option<String> {
        let Self { traceparent: mut text, tracestate } = self;
        if !is_parent(&text) {
            return None;
        }
        if let Some(state) = tracestate.filter(|state| is_state(state)) {
            text.push(' ');
            text.push_str(&state);
        }
        Some(text)
    }
}

/// Who connects, if anybody does.
#[derive(Clone, Default)]
pub(crate) struct Propagator(Option<Arc<dyn Propagation>>);

impl Propagator {
    pub(crate) fn current(&self) -> Option<String> {
        let propagation = self.0.as_ref()?;
        contained(|| propagation.current()).flatten()?.into_text()
    }

    /// The span is one of an attempt of a job with this body.
    pub(crate) fn follow(&self, span: &Span, body: &Body) {
        let Some(propagation) = &self.0 else { return };
        if let Some((parent, state)) = parts_of(body) {
            let context = TraceContext { traceparent: parent.to_owned(), tracestate: state.map(str::to_owned) };
            let _ = contained(|| propagation.follow(span, &context));
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
    /// use windlass::{Propagation, TraceContext};
    ///
    /// struct Mine;
    ///
    /// impl Propagation for Mine {
    ///     fn current(&self) -> Option<TraceContext> {
    ///         // Of OpenTelemetry: inject `Span::current().context()` into a map, and take both out of it.
    ///         Some(TraceContext::new("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
    ///     }
    ///
    ///     fn follow(&self, span: &tracing::Span, context: &TraceContext) {
    ///         // Of OpenTelemetry: extract a context from a map with both, and give it to `span.set_parent`.
    ///         let _ = (span, context);
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

/// The `traceparent` that came with the job, if it is one, and its `tracestate`: whatever else came is carried, and is nobody's parent.
pub(crate) fn parts_of(body: &Body) -> Option<(&str, Option<&str>)> {
    let text = body.labels.trace()?;
    let (parent, state) = text.split_once(' ').map_or((text, None), |(parent, state)| (parent, Some(state)));
    is_parent(parent).then_some((parent, state.filter(|state| is_state(state))))
}

/// The longest `tracestate` that W3C asks to be carried along.
const STATE_BYTES_MAX: usize = 512;

/// The longest text of a context: `traceparent` of version 00 has 55 bytes.
pub(crate) const CONTEXT_BYTES_MAX: usize = 55 + 1 + STATE_BYTES_MAX;

/// Whether this may be a `tracestate`: a header's text, of which only whose systems are in it know more.
fn is_state(text: &str) -> bool {
    (1..=STATE_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| matches!(b, b' '..=b'~'))
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
