//! What makes log collectors of single tests dependable.
//!
//! `tracing` remembers of each place in the code whether anyone listens. A place that one thread passes for the first time
//! while another sets a collector for itself may be remembered as one that nobody listens to. With this collector for all,
//! which wants nothing and might want everything, every place asks each time.

use std::sync::Once;

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, set_global_default};
use tracing::{Event, Metadata, Subscriber};

struct Indifferent;

impl Subscriber for Indifferent {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// To be called before any engine of the process starts.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A test that brought one of its own for all knows what it does.
        let _ = set_global_default(Indifferent);
    });
}
