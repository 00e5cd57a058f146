//! How many jobs there were, and how many ended, over time: sampled, bounded, and kept across restarts where there is a file for it.
//!
//! Owns the samples and the task that takes them; `file` has what is kept of them. The task holds no console: it ends with the last one, or with the engine.

mod file;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;
use windlass::{Engine, HealthState};

use crate::pace::{Shot, Shots};
use crate::view::overview::{Numbers, QueueView};
use crate::view::{millis, since_1970};

/// How often a sample is taken.
const EVERY: Duration = Duration::from_secs(10);
/// How many samples lie between two writes of the file: a minute's.
const WRITTEN_EVERY: u32 = 6;
/// The file's format. A later one is not read.
const FORMAT: u32 = 2;
/// Queues that have a history of their own, the first ones that come.
const QUEUES_MAX: usize = 32;
/// How far samples are apart at least, in milliseconds: those of the hour, and those of the week. A tick that is a little early counts.
const ALL_APART_MS: [u64; 2] = [0, 600_000];
const QUEUE_APART_MS: [u64; 2] = [28_000, 1_800_000];
/// Starts that are kept, of a week.
const STARTS_MAX: usize = 100;
/// Characters of a version.
const VERSION_CHARS_MAX: usize = 40;

/// How far back a chart looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// At each 10 s.
    Hour,
    /// At each 10 min.
    Week,
}

impl Span {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Week => "week",
        }
    }

    pub(crate) const fn ms(self) -> u64 {
        match self {
            Self::Hour => 3_600_000,
            Self::Week => 7 * 24 * 3_600_000,
        }
    }

    /// Points of a chart: each has room for some samples, so that one which comes late leaves no gap.
    const fn points(self, of: &Of) -> u64 {
        match (self, of) {
            (Self::Hour, Of::All) => 120,
            (Self::Hour, Of::Queue(_)) => 60,
            (Self::Week, Of::All) => 336,
            (Self::Week, Of::Queue(_)) => 168,
        }
    }
}

/// Whose history it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// That of all queues together.
    All,
    /// That of one.
    Queue(String),
}

/// The numbers of one moment: of all queues together, or of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 8]", into = "[u64; 8]")]
pub(crate) struct Sample {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) waiting: u64,
    pub(crate) delayed: u64,
    pub(crate) ready: u64,
    pub(crate) running: u64,
    pub(crate) dead: u64,
    pub(crate) done_total: u64,
    pub(crate) failures_total: u64,
}

impl From<[u64; 8]> for Sample {
    fn from([at, waiting, delayed, ready, running, dead, done_total, failures_total]: [u64; 8]) -> Self {
        Self { at, waiting, delayed, ready, running, dead, done_total, failures_total }
    }
}

impl From<Sample> for [u64; 8] {
    fn from(sample: Sample) -> Self {
        let Sample { at, waiting, delayed, ready, running, dead, done_total, failures_total } = sample;
        [at, waiting, delayed, ready, running, dead, done_total, failures_total]
    }
}

impl Sample {
    fn of(at: u64, numbers: &Numbers) -> Self {
        let Numbers { waiting, delayed, ready, running, dead, done_total, failures_total, .. } = *numbers;
        Self { at, waiting, delayed, ready, running, dead, done_total, failures_total }
    }
}

/// The service has started: with it, the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Start {
    /// Milliseconds since 1970.
    at: u64,
    version: Option<String>,
}

/// A start in a chart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mark {
    /// Where: 0 is the chart's begin, 1 its end.
    pub(crate) part: f64,
    /// What was started, where the service says so.
    pub(crate) version: Option<String>,
}

/// The samples of all queues together or of one, the oldest first.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    hour: VecDeque<Sample>,
    week: VecDeque<Sample>,
}

/// All that is kept.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Rings {
    format: u32,
    #[serde(flatten)]
    all: Row,
    // The first format had none of these.
    #[serde(default)]
    queues: BTreeMap<String, Row>,
    #[serde(default)]
    starts: VecDeque<Start>,
}

impl Row {
    /// One more. The times are how far those of the hour and of the week are apart at least, in milliseconds.
    fn push(&mut self, sample: Sample, apart: [u64; 2]) {
        let Self { hour, week } = self;
        for (ring, span, apart) in [(hour, Span::Hour, apart[0]), (week, Span::Week, apart[1])] {
            // A clock that was set back: what it had said before is of a future that did not come.
            while ring.back().is_some_and(|last| last.at >= sample.at) {
                ring.pop_back();
            }
            if ring.back().is_none_or(|last| sample.at - last.at >= apart) {
                ring.push_back(sample);
            }
            // Of those that are taken at each tick there are no more than ticks.
            let max = span.ms() / apart.max(millis(EVERY));
            while ring.len() as u64 > max || ring.front().is_some_and(|at| at.at + span.ms() < sample.at) {
                ring.pop_front();
            }
        }
    }

    const fn ring(&self, span: Span) -> &VecDeque<Sample> {
        match span {
            Span::Hour => &self.hour,
            Span::Week => &self.week,
        }
    }
}

impl Rings {
    fn push(&mut self, sample: Sample) {
        self.all.push(sample, ALL_APART_MS);
    }

    fn push_of(&mut self, queue: &str, sample: Sample) {
        if !self.queues.contains_key(queue) {
            // One that is no more makes room when its week is over.
            self.queues.retain(|_, row| row.week.back().is_some_and(|last| last.at + Span::Week.ms() >= sample.at));
            if self.queues.len() >= QUEUES_MAX {
                return;
            }
        }
        self.queues.entry(queue.to_owned()).or_default().push(sample, QUEUE_APART_MS);
    }

    fn push_start(&mut self, start: Start) {
        let is_old = |one: &Start| one.at + Span::Week.ms() < start.at;
        while self.starts.len() >= STARTS_MAX || self.starts.front().is_some_and(is_old) {
            self.starts.pop_front();
        }
        self.starts.push_back(start);
    }
}

/// A point of a chart: the last sample of its time, and what ended since the point before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Point {
    pub(crate) sample: Option<Sample>,
    /// Successes and failed attempts in a minute.
    pub(crate) per_minute: Option<(u64, u64)>,
}

/// What an engine's numbers were.
#[derive(Debug)]
pub(crate) struct History {
    engine: Engine,
    shots: Arc<Shots>,
    path: Option<PathBuf>,
    rings: Mutex<Rings>,
    is_started: AtomicBool,
    is_written: AtomicBool,
}

impl History {
    /// With what the file has, if there is one.
    pub(crate) fn new(engine: Engine, shots: Arc<Shots>, path: Option<PathBuf>) -> Self {
        let rings = path.as_deref().map(file::read).unwrap_or_default();
        let (is_started, is_written) = (AtomicBool::new(false), AtomicBool::new(true));
        Self { engine, shots, path, rings: Mutex::new(rings), is_started, is_written }
    }

    /// Begins to sample, unless it has begun. Outside of a runtime nothing begins.
    pub(crate) fn start(self: &Arc<Self>, version: Option<&str>) {
        if self.shots.is_empty() {
            // What is counted from now on is told of.
            self.shots.push(Shot::new(self.engine.attempt_times(), None));
        }
        if let Ok(runtime) = Handle::try_current()
            && !self.is_started.swap(true, Ordering::Relaxed)
        {
            let version =
                version.map(|text| text.chars().filter(|char| !char.is_control()).take(VERSION_CHARS_MAX).collect());
            self.rings().push_start(Start { at: since_1970(SystemTime::now()), version });
            runtime.spawn(follow(Arc::downgrade(self)));
        }
    }

    pub(crate) const fn is_kept(&self) -> bool {
        self.path.is_some()
    }

    /// When the oldest sample of this span was taken.
    pub(crate) fn since(&self, span: Span) -> Option<SystemTime> {
        self.rings().all.ring(span).front().map(|sample| UNIX_EPOCH + Duration::from_millis(sample.at))
    }

    /// The time of the last sample, which tells one drawing from the next.
    pub(crate) fn latest(&self) -> u64 {
        self.rings().all.hour.back().map_or(0, |sample| sample.at)
    }

    /// The points of a span that ends now, the oldest first.
    pub(crate) fn points(&self, of: &Of, span: Span, now: SystemTime) -> Vec<Point> {
        let (rings, none) = (self.rings(), Row::default());
        let row = match of {
            Of::All => &rings.all,
            Of::Queue(queue) => rings.queues.get(queue).unwrap_or(&none),
        };
        points(row.ring(span), (span, span.points(of)), since_1970(now))
    }

    /// When the service started, within a span that ends now.
    pub(crate) fn marks(&self, span: Span, now: SystemTime) -> Vec<Mark> {
        let (rings, now) = (self.rings(), since_1970(now));
        let begin = now.saturating_sub(span.ms());
        let within = rings.starts.iter().filter(|start| (begin..=now).contains(&start.at));
        #[expect(clippy::cast_precision_loss, reason = "a place among some hundred pixels")]
        let mark =
            |start: &Start| Mark { part: (start.at - begin) as f64 / span.ms() as f64, version: start.version.clone() };
        within.map(mark).collect()
    }

    fn rings(&self) -> MutexGuard<'_, Rings> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sample(&self) {
        // While the engine does not answer there is nothing to see: the charts have a gap there.
        let Ok(stats) = self.engine.stats().await else { return };
        self.shots.push(Shot::new(self.engine.attempt_times(), self.engine.journal_stats().await.ok()));
        let queues: Vec<_> = stats.iter().map(QueueView::from).collect();
        let at = since_1970(SystemTime::now());
        let mut rings = self.rings();
        rings.push(Sample::of(at, &Numbers::sum(&queues)));
        for queue in &queues {
            rings.push_of(&queue.name, Sample::of(at, &queue.numbers));
        }
        drop(rings);
        self.is_written.store(false, Ordering::Relaxed);
    }

    fn has_ended(&self) -> bool {
        matches!(self.engine.health().state, HealthState::Stopped(_) | HealthState::RuntimeGone)
    }

    /// Writes what was not written yet.
    fn write(&self) {
        let Some(path) = &self.path else { return };
        if self.is_written.swap(true, Ordering::Relaxed) {
            return;
        }
        let text = {
            let mut rings = self.rings();
            rings.format = FORMAT;
            serde_json::to_vec(&*rings).unwrap_or_default()
        };
        if let Err(error) = file::write(path, &text) {
            warn!(path = %path.display(), %error, "the console's history was not written");
        }
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.write();
    }
}

async fn follow(history: Weak<History>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut taken = 0_u32;
    loop {
        ticks.tick().await;
        let Some(history) = history.upgrade() else { return };
        let has_ended = history.has_ended();
        if !has_ended {
            history.sample().await;
            taken = taken.wrapping_add(1);
        }
        if has_ended || taken.is_multiple_of(WRITTEN_EVERY) {
            let _ = tokio::task::spawn_blocking(move || history.write()).await;
        }
        if has_ended {
            return;
        }
    }
}

fn points(ring: &VecDeque<Sample>, (span, count): (Span, u64), now: u64) -> Vec<Point> {
    let width = span.ms() / count;
    let begin = now.saturating_sub(span.ms());
    let mut points = vec![Point::default(); usize::try_from(count).unwrap_or_default()];
    for sample in ring.iter().filter(|sample| sample.at >= begin) {
        let place = ((sample.at - begin) / width).min(count - 1);
        if let Some(point) = usize::try_from(place).ok().and_then(|place| points.get_mut(place)) {
            point.sample = Some(*sample);
        }
    }
    let mut before: Option<Sample> = None;
    for point in &mut points {
        let Some(sample) = point.sample else { continue };
        // Over a longer time nobody knows when it was; and totals that fell are another journal's.
        let follows = |before: &Sample| {
            let has_fallen = before.done_total > sample.done_total || before.failures_total > sample.failures_total;
            sample.at > before.at && sample.at - before.at <= 3 * width && !has_fallen
        };
        if let Some(before) = before.filter(follows) {
            let rate = |then: u64, now: u64| (now - then) * 60_000 / (sample.at - before.at);
            let done = rate(before.done_total, sample.done_total);
            point.per_minute = Some((done, rate(before.failures_total, sample.failures_total)));
        }
        before = Some(sample);
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64, done_total: u64) -> Sample {
        Sample { at: ms, done_total, ..Sample::default() }
    }

    #[test]
    fn rings_keep_to_their_span_and_their_size() {
        let mut rings = Rings::default();
        for tick in 0..2_000_000 / 10 {
            rings.push(at(tick * 10_000, tick));
        }
        assert_eq!(rings.all.hour.len(), 360);
        assert_eq!(rings.all.week.len(), 1_008);
        assert!(
            rings.all.week.iter().zip(rings.all.week.iter().skip(1)).all(|(one, next)| next.at - one.at == 600_000)
        );
        assert_eq!(rings.all.hour.back(), Some(&at(1_999_990_000, 199_999)));
    }

    #[test]
    fn what_is_older_than_the_span_goes_though_there_is_room() {
        let mut rings = Rings::default();
        rings.push(at(0, 0));
        rings.push(at(3_600_001, 1));
        assert_eq!(rings.all.hour, [at(3_600_001, 1)]);
        assert_eq!(rings.all.week.len(), 2);
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_the_samples_in_order() {
        let mut rings = Rings::default();
        for ms in [10_000, 20_000, 30_000, 15_000] {
            rings.push(at(ms, 0));
        }
        assert_eq!(rings.all.hour, [at(10_000, 0), at(15_000, 0)]);
    }

    #[test]
    fn rates_are_of_a_minute_and_gaps_stay_gaps() {
        let now = 100_000_000;
        let ring = VecDeque::from([at(now - 3_000_000, 0), at(now - 80_000, 10), at(now - 50_000, 25), at(now, 5)]);
        let points = points(&ring, (Span::Hour, 120), now);
        let rates: Vec<_> = points.iter().filter_map(|point| point.per_minute.map(|(done, _)| done)).collect();
        // 15 in 30 s, and nothing of what came before the gap, or after the journal was another one.
        assert_eq!(rates, [30]);
        assert_eq!(points.iter().filter(|point| point.sample.is_some()).count(), 4);
    }

    #[test]
    fn queues_starts_and_what_is_kept_of_each_are_bounded() {
        let mut rings = Rings::default();
        for tick in 0..70_000 {
            rings.push_of("mail", at(tick * 10_000, tick));
            rings.push_start(Start { at: tick * 10_000, version: None });
        }
        let row = &rings.queues["mail"];
        assert_eq!((row.hour.len(), row.week.len(), rings.starts.len()), (121, 336, STARTS_MAX));
        for no in 0..2 * QUEUES_MAX {
            rings.push_of(&format!("queue {no}"), at(700_000_000, 0));
        }
        assert_eq!(rings.queues.len(), QUEUES_MAX);
        rings.push_of("later", at(700_000_000 + Span::Week.ms() + 1, 0));
        assert_eq!(rings.queues.len(), 1, "those that are no more make room");
    }
}
