//! Every span and its fields, what breakers say, and every metric.
//!
//! Owns their names. What is counted is counted by the recorder that the service installed, or by nobody.

#[cfg(feature = "metrics")]
mod meters;
#[cfg(feature = "metrics")]
mod names;
#[cfg(feature = "metrics")]
mod publish;
#[cfg(not(feature = "metrics"))]
mod silent;

use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Span, info, warn};
use windlass_scheduler::attempt::{FailureKind, Outcome};
use windlass_scheduler::breaker::Circuit;
use windlass_scheduler::job::Body;
use windlass_scheduler::lease::Lease;
use windlass_scheduler::limit::LimitOf;

use crate::config::ms;
use crate::trace::Propagator;

#[cfg(feature = "metrics")]
pub(crate) use self::meters::{Meters, Stopwatch, WorkerMeters};
#[cfg(not(feature = "metrics"))]
pub(crate) use self::silent::{Meters, Stopwatch, WorkerMeters};

/// The span around one attempt: log lines of the handler stand in it. How it ended is added at the end.
pub(crate) fn attempt_span(lease: &Lease, propagator: &Propagator) -> Span {
    let span = tracing::info_span!(
        "windlass.attempt",
        job.id = %lease.id,
        job.kind = %lease.kind,
        job.queue = %lease.queue,
        job.attempt = lease.attempt,
        job.outcome = Empty,
        job.duration_ms = Empty,
        correlation_id = lease.body.as_ref().and_then(|body| body.labels.correlation_id()),
    );
    if let Some(body) = lease.body.as_ref().filter(|_| !span.is_disabled()) {
        propagator.follow(&span, body);
    }
    span
}

/// An attempt's span until its end, where somebody listens.
pub(crate) struct Traced(Option<(Span, Instant)>);

impl Traced {
    pub(crate) fn new(span: &Span) -> Self {
        Self((!span.is_disabled()).then(|| (span.clone(), Instant::now())))
    }

    /// Its code has ended.
    pub(crate) fn ended(&self, outcome: &Outcome) {
        if let Some((span, began)) = &self.0 {
            span.record("job.outcome", OUTCOMES[place_of(outcome)]);
            span.record("job.duration_ms", ms(began.elapsed()));
        }
    }
}

/// How an attempt ends, in the order of [`place_of`].
const OUTCOMES: [&str; 7] = ["succeeded", "failed", "timed_out", "panicked", "snoozed", "cancelled", "released"];

fn place_of(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Done { .. } => 0,
        Outcome::Failed { failure, .. } => match failure.kind {
            FailureKind::TimedOut => 2,
            FailureKind::Panic => 3,
            FailureKind::Error | FailureKind::Permanent | FailureKind::Decode | FailureKind::Lost => 1,
        },
        Outcome::Snoozed { .. } => 4,
        Outcome::Cancelled { .. } => 5,
        Outcome::Released => 6,
    }
}

/// What the span could not say of a body that was on disk only.
pub(crate) fn record_body(span: &Span, body: &Body, propagator: &Propagator) {
    if !span.is_disabled() {
        propagator.follow(span, body);
    }
    if let Some(correlation_id) = body.labels.correlation_id() {
        span.record("correlation_id", correlation_id);
    }
}

/// A breaker has moved.
pub(crate) fn tripped(meters: &Meters, of: &LimitOf, circuit: Circuit) {
    match circuit {
        Circuit::Open { left_ms } => {
            meters.opened(of);
            warn!(%of, left_ms, "a circuit breaker opened: most attempts fail, none starts for now");
        }
        Circuit::Closed { .. } => info!(%of, "a circuit breaker closed: attempts succeed again"),
        Circuit::HalfOpen { .. } => {}
    }
}
