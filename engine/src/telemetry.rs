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

use tracing::{Span, info, warn};
use windlass_scheduler::breaker::Circuit;
use windlass_scheduler::job::Body;
use windlass_scheduler::lease::Lease;
use windlass_scheduler::limit::LimitOf;

#[cfg(feature = "metrics")]
pub(crate) use self::meters::{Meters, Stopwatch, WorkerMeters};
#[cfg(not(feature = "metrics"))]
pub(crate) use self::silent::{Meters, Stopwatch, WorkerMeters};

/// The span around one attempt: log lines of the handler stand in it.
pub(crate) fn attempt_span(lease: &Lease) -> Span {
    tracing::info_span!(
        "windlass.attempt",
        job.id = %lease.id,
        job.kind = %lease.kind,
        job.queue = %lease.queue,
        job.attempt = lease.attempt,
        correlation_id = lease.body.as_ref().and_then(|body| body.labels.correlation_id()),
    )
}

/// What the span could not say of a body that was on disk only.
pub(crate) fn record_body(span: &Span, body: &Body) {
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
