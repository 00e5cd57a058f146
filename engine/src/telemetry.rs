//! Every span and its fields, in one file.

use tracing::Span;
use windlass_scheduler::job::Body;
use windlass_scheduler::lease::Lease;

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
