//! Where numbers go that are told as they happen: the handles, each registered once and kept.
//!
//! Owns nothing that counts: the recorder that the service installed does. Without one nothing is looked at, not even a clock.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, with_recorder};
use tokio::time::Instant;
use windlass_scheduler::attempt::Outcome;
use windlass_scheduler::limit::LimitOf;

use super::names::{self, Metric, OTHER, Sort};
use super::publish::publish;
use super::{OUTCOMES, place_of};
use crate::admin::Desk;
use crate::config::EngineConfig;

const ABOUT: Metadata<'static> = Metadata::new("windlass", Level::INFO, None);

fn key(metric: &Metric, values: &[&str]) -> Key {
    debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
    let labels = metric.labels.iter().zip(values).map(|(label, value)| Label::new(*label, (*value).to_owned()));
    Key::from_parts(metric.name, labels.collect::<Vec<_>>())
}

pub(super) fn counter(metric: &Metric, values: &[&str]) -> Counter {
    with_recorder(|recorder| recorder.register_counter(&key(metric, values), &ABOUT))
}

pub(super) fn gauge(metric: &Metric, values: &[&str]) -> Gauge {
    with_recorder(|recorder| recorder.register_gauge(&key(metric, values), &ABOUT))
}

fn histogram(metric: &Metric, values: &[&str]) -> Histogram {
    with_recorder(|recorder| recorder.register_histogram(&key(metric, values), &ABOUT))
}

fn describe(recorder: &dyn Recorder) {
    for metric in names::ALL {
        let (name, unit, meaning) = (metric.name.into(), Some(metric.unit), metric.meaning.into());
        match metric.sort {
            Sort::Counter => recorder.describe_counter(name, unit, meaning),
            Sort::Gauge => recorder.describe_gauge(name, unit, meaning),
            Sort::Histogram => recorder.describe_histogram(name, unit, meaning),
        }
    }
}

/// How many there are.
// Exact up to 2^53, as all numbers of a recorder.
#[allow(clippy::cast_precision_loss)]
pub(super) const fn number(count: u64) -> f64 {
    count as f64
}

/// The words for the scope of a limit and for its name. Keys have none of their own.
pub(super) fn words_of(of: &LimitOf) -> [&str; 2] {
    match of {
        LimitOf::Queue(name) => ["queue", name.as_str()],
        LimitOf::EachKey(name) | LimitOf::Key(name, _) => ["queue_keys", name.as_str()],
        LimitOf::Shared(name) => ["shared", name.as_str()],
        LimitOf::SharedEachKey(name) | LimitOf::SharedKey(name, _) => ["shared_keys", name.as_str()],
    }
}

/// The engine's own. Cloning is cheap; the default is one to which nobody listens.
#[derive(Clone, Default)]
pub(crate) struct Meters(Option<Arc<OfEngine>>);

struct OfEngine {
    interval: Duration,
    memory_bytes_max: u64,
    batch_changes: Histogram,
    batch_bytes: Histogram,
    write: Histogram,
    sync: Histogram,
    loads: Counter,
    load: Gauge,
    loaded: Gauge,
}

impl Meters {
    /// For the recorder that is installed now, if one is and the interval is not zero. The facade has no other word for none
    /// than one of size zero.
    pub(crate) fn new(config: &EngineConfig) -> Self {
        let interval = config.metrics_interval();
        let is_listening = with_recorder(|recorder| {
            let is_listening = size_of_val(recorder) > 0 && !interval.is_zero();
            if is_listening {
                describe(recorder);
            }
            is_listening
        });
        Self(is_listening.then(|| {
            Arc::new(OfEngine {
                interval,
                memory_bytes_max: config.memory_bytes_max(),
                batch_changes: histogram(&names::BATCH_CHANGES, &[]),
                batch_bytes: histogram(&names::BATCH_BYTES, &[]),
                write: histogram(&names::WRITE, &[]),
                sync: histogram(&names::SYNC, &[]),
                loads: counter(&names::LOADS, &[]),
                load: gauge(&names::LOAD, &[]),
                loaded: gauge(&names::LOADED, &[]),
            })
        }))
    }

    /// Those of a queue's attempts, of which so many kinds have a handler.
    pub(crate) fn of_worker(&self, queue: &str, kinds: usize) -> WorkerMeters {
        let of_queue = || {
            let kinds = (0..kinds).map(|_| OnceLock::new()).collect();
            Arc::new(OfQueue { queue: queue.to_owned(), kinds, other: OnceLock::new() })
        };
        WorkerMeters(self.0.as_ref().map(|_| of_queue()))
    }

    /// Tells what the engine's parts tell when they are asked, again and again until its end.
    pub(crate) fn publish(&self, desk: Desk) {
        if let Some(mine) = &self.0 {
            tokio::spawn(publish(desk, mine.interval, mine.memory_bytes_max));
        }
    }

    /// The moment, where somebody wants to know how long something takes.
    pub(crate) fn begin(&self) -> Option<Instant> {
        self.0.as_ref().map(|_| Instant::now())
    }

    /// A batch was written.
    pub(crate) fn written(&self, began: Option<Instant>, changes: usize, bytes: usize) {
        if let (Some(mine), Some(began)) = (&self.0, began) {
            mine.write.record(began.elapsed());
            mine.batch_changes.record(number(changes as u64));
            mine.batch_bytes.record(number(bytes as u64));
        }
    }

    /// All that was written is synced.
    pub(crate) fn synced(&self, began: Option<Instant>) {
        if let (Some(mine), Some(began)) = (&self.0, began) {
            mine.sync.record(began.elapsed());
        }
    }

    /// The journal was opened and loaded, with so many jobs.
    pub(crate) fn loaded(&self, began: Option<Instant>, jobs: usize) {
        if let (Some(mine), Some(began)) = (&self.0, began) {
            mine.load.set(began.elapsed());
            mine.loaded.set(number(jobs as u64));
            mine.loads.increment(1);
        }
    }

    /// A breaker has opened. That is rare: its handle is not kept.
    pub(crate) fn opened(&self, of: &LimitOf) {
        if self.0.is_some() {
            counter(&names::BREAKER_OPENED, &words_of(of)).increment(1);
        }
    }
}

/// Those of one queue's attempts. They outlive its worker.
#[derive(Clone, Default)]
pub(crate) struct WorkerMeters(Option<Arc<OfQueue>>);

struct OfQueue {
    queue: String,
    /// By the numbers of their handlers; made at the first attempt, so that a queue has no series of kinds that never come.
    kinds: Vec<OnceLock<Arc<OfKind>>>,
    other: OnceLock<Arc<OfKind>>,
}

struct OfKind {
    wait: Histogram,
    run: Histogram,
    ended: [Counter; OUTCOMES.len()],
}

impl WorkerMeters {
    /// An attempt starts, of the handler with this number, for a job that had been ready for so long.
    pub(crate) fn started(&self, handler: Option<usize>, kind: &str, waited_ms: u64) -> Option<Stopwatch> {
        let mine = self.0.as_ref()?;
        let own = handler.and_then(|no| mine.kinds.get(no));
        let (place, kind) = own.map_or((&mine.other, OTHER), |own| (own, kind));
        let of = place.get_or_init(|| Arc::new(OfKind::new(&mine.queue, kind))).clone();
        of.wait.record(Duration::from_millis(waited_ms));
        Some(Stopwatch { of, began: Instant::now() })
    }
}

impl OfKind {
    fn new(queue: &str, kind: &str) -> Self {
        Self {
            wait: histogram(&names::WAIT, &[queue, kind]),
            run: histogram(&names::RUN, &[queue, kind]),
            ended: OUTCOMES.map(|outcome| counter(&names::ENDED, &[queue, kind, outcome])),
        }
    }
}

/// Takes the time of one attempt.
pub(crate) struct Stopwatch {
    of: Arc<OfKind>,
    began: Instant,
}

impl Stopwatch {
    /// Its code has ended.
    pub(crate) fn ended(&self, outcome: &Outcome) {
        self.of.run.record(self.began.elapsed());
        self.of.ended[place_of(outcome)].increment(1);
    }
}
