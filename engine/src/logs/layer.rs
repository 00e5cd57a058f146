//! A layer for the service's subscriber: lines that come in the span of an attempt go to that attempt.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use windlass_scheduler::attempt::{LogLevel, LogLine};
use windlass_scheduler::time::Timestamp;

use crate::config::ms;
use crate::live::Signals;

/// Keeps the log lines of attempts with their jobs: [`AttemptEnd::log`](crate::AttemptEnd::log), and on the job's page.
///
/// What a handler logs through `tracing` while it runs, in its own span or in spans inside of that, is kept as long as the attempt's record
/// is: those of the first and the last 20 attempts, until the job is forgotten. Of each attempt the last 200 lines, at most 16 KiB of text, a
/// line of at most 2 KiB; how many came before is counted. They are written in the commit of the attempt's end, so that logging costs no
/// write of its own; what an attempt logged that died with its process is lost. Successes are kept only where the queue
/// [retains](crate::Retention) them.
///
/// A filter before this layer has to let `info` spans of `windlass` through, or no line is known to be of an attempt. To keep fewer lines,
/// say [`level_max`](Self::level_max).
///
/// ```
/// use tracing_subscriber::layer::SubscriberExt as _;
/// use windlass::AttemptLogLayer;
///
/// let subscriber = tracing_subscriber::registry().with(AttemptLogLayer::new().level_max(tracing::Level::DEBUG));
/// tracing::subscriber::with_default(subscriber, || { /* the service */ });
/// ```
#[derive(Clone, Debug)]
pub struct AttemptLogLayer {
    level_max: Level,
}

/// Somebody made a layer: attempts offer their logs.
static IS_THERE: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The attempt whose span is being made on this thread.
    static OFFERED: RefCell<Option<Arc<Signals>>> = const { RefCell::new(None) };
}

/// Whether anybody may take a log.
pub(crate) fn are_kept() -> bool {
    IS_THERE.load(Ordering::Relaxed)
}

/// Takes the offer back, also where a subscriber panics.
struct Offer;

impl Drop for Offer {
    fn drop(&mut self) {
        OFFERED.set(None);
    }
}

/// Makes the attempt's span in such a way that a layer knows whose it is.
pub(crate) fn offered<T>(signals: &Arc<Signals>, span: impl FnOnce() -> T) -> T {
    if !are_kept() {
        return span();
    }
    OFFERED.set(Some(signals.clone()));
    let _offer = Offer;
    span()
}

impl AttemptLogLayer {
    /// Keeps what is logged at `info` and above.
    #[must_use]
    pub fn new() -> Self {
        IS_THERE.store(true, Ordering::Relaxed);
        Self { level_max: Level::INFO }
    }

    /// Keeps what is logged at this level and above.
    #[must_use]
    pub const fn level_max(mut self, level: Level) -> Self {
        self.level_max = level;
        self
    }
}

impl Default for AttemptLogLayer {
    fn default() -> Self {
        Self::new()
    }
}

/// In the extensions of an attempt's span.
struct Attempt(Arc<Signals>);

impl<S> Layer<S> for AttemptLogLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        // A second layer of this sort, or a span that another layer makes meanwhile, is offered nothing.
        let Some(signals) = OFFERED.take() else { return };
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(Attempt(signals));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if *event.metadata().level() > self.level_max {
            return;
        }
        let attempt = |span: tracing_subscriber::registry::SpanRef<'_, S>| {
            span.extensions().get::<Attempt>().map(|Attempt(signals)| signals.clone())
        };
        if let Some(signals) = context.event_scope(event).and_then(|mut scope| scope.find_map(attempt)) {
            signals.log.push(line_of(event));
        }
    }
}

fn line_of(event: &Event<'_>) -> LogLine {
    let mut text = Text::default();
    event.record(&mut text);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let level = match *event.metadata().level() {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        Level::DEBUG => LogLevel::Debug,
        Level::TRACE => LogLevel::Trace,
    };
    let target = text.target.unwrap_or_else(|| event.metadata().target().to_owned());
    LogLine { at: Timestamp(ms(now)), level, target, text: text.message + &text.fields }
}

/// The message, and the other fields behind it.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
    /// The module of a line that came through the facade `log`.
    target: Option<String>,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            "log.target" => self.target = Some(value.to_owned()),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name if name.starts_with("log.") => Ok(()),
            name => write!(self.fields, " {}={value:?}", name.trim_start_matches("r#")),
        };
    }
}
