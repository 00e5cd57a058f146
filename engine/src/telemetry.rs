//! Every span and its fields, in one file.

use tracing::Span;
use windlass_scheduler::lease::Lease;

/// The span around one attempt: log lines of the handler stand in it.
pub(crate) fn attempt_span(lease: &Lease) -> Span {
    tracing::info_span!(
        "windlass.attempt",
        job.id = %lease.id,
        job.kind = %lease.kind,
        job.queue = %lease.queue,
        job.attempt = lease.attempt,
        correlation_id = lease.body.correlation_id.as_deref(),
    )
}
