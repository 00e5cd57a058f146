//! How many jobs there were, and how many ended, over time: sampled, bounded, and kept across restarts where there is a file for it.
//!
//! Owns the samples, the task that takes them, and the file. The task holds no console: it ends with the last one, or with the engine.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;
use windlass::{Engine, HealthState};

use crate::view::millis;
use crate::view::overview::{Numbers, QueueView};

/// How often a sample is taken.
const EVERY: Duration = Duration::from_secs(10);
/// How many samples lie between two writes of the file: a minute's.
const WRITTEN_EVERY: u32 = 6;
/// The file's format. Another one is not read.
const FORMAT: u32 = 1;

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
    pub(crate) const fn points(self) -> u64 {
        match self {
            Self::Hour => 120,
            Self::Week => 336,
        }
    }

    const fn samples_max(self) -> usize {
        match self {
            Self::Hour => 360,
            Self::Week => 1_008,
        }
    }
}

/// The numbers of one moment: of all queues together.
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

/// The samples, the oldest first.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Rings {
    format: u32,
    hour: VecDeque<Sample>,
    week: VecDeque<Sample>,
}

impl Rings {
    fn push(&mut self, sample: Sample) {
        let Self { hour, week, .. } = self;
        for (ring, span, apart) in [(hour, Span::Hour, 0), (week, Span::Week, 600_000)] {
            // A clock that was set back: what it had said before is of a future that did not come.
            while ring.back().is_some_and(|last| last.at >= sample.at) {
                ring.pop_back();
            }
            if ring.back().is_none_or(|last| sample.at - last.at >= apart) {
                ring.push_back(sample);
            }
            while ring.len() > span.samples_max() || ring.front().is_some_and(|at| at.at + span.ms() < sample.at) {
                ring.pop_front();
            }
        }
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
    path: Option<PathBuf>,
    rings: Mutex<Rings>,
    is_started: AtomicBool,
    is_written: AtomicBool,
}

impl History {
    /// With what the file has, if there is one.
    pub(crate) fn new(engine: Engine, path: Option<PathBuf>) -> Self {
        let rings = path.as_deref().map(read).unwrap_or_default();
        let (is_started, is_written) = (AtomicBool::new(false), AtomicBool::new(true));
        Self { engine, path, rings: Mutex::new(rings), is_started, is_written }
    }

    /// Begins to sample, unless it has begun. Outside of a runtime nothing begins.
    pub(crate) fn start(self: &Arc<Self>) {
        if let Ok(runtime) = Handle::try_current()
            && !self.is_started.swap(true, Ordering::Relaxed)
        {
            runtime.spawn(follow(Arc::downgrade(self)));
        }
    }

    pub(crate) const fn is_kept(&self) -> bool {
        self.path.is_some()
    }

    /// When the oldest sample of this span was taken.
    pub(crate) fn since(&self, span: Span) -> Option<SystemTime> {
        let rings = self.rings();
        let ring = if span == Span::Hour { &rings.hour } else { &rings.week };
        ring.front().map(|sample| UNIX_EPOCH + Duration::from_millis(sample.at))
    }

    /// The time of the last sample, which tells one drawing from the next.
    pub(crate) fn latest(&self) -> u64 {
        self.rings().hour.back().map_or(0, |sample| sample.at)
    }

    /// The points of a span that ends now, the oldest first.
    pub(crate) fn points(&self, span: Span, now: SystemTime) -> Vec<Point> {
        let rings = self.rings();
        let ring = if span == Span::Hour { &rings.hour } else { &rings.week };
        points(ring, span, millis(now.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }

    pub(crate) fn push(&self, sample: Sample) {
        self.rings().push(sample);
        self.is_written.store(false, Ordering::Relaxed);
    }

    fn rings(&self) -> MutexGuard<'_, Rings> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sample(&self) {
        // While the engine does not answer there is nothing to see: the charts have a gap there.
        let Ok(stats) = self.engine.stats().await else { return };
        let queues: Vec<_> = stats.iter().map(QueueView::from).collect();
        let Numbers { waiting, delayed, ready, running, dead, done_total, failures_total, .. } = Numbers::sum(&queues);
        let at = millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        self.push(Sample { at, waiting, delayed, ready, running, dead, done_total, failures_total });
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
        if let Err(error) = write(path, &text) {
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

fn points(ring: &VecDeque<Sample>, span: Span, now: u64) -> Vec<Point> {
    let (count, width) = (span.points(), span.ms() / span.points());
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

fn read(path: &Path) -> Rings {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Rings::default(),
        Err(error) => {
            warn!(path = %path.display(), %error, "the console's history cannot be read, and begins anew");
            return Rings::default();
        }
    };
    let reason = match serde_json::from_slice::<Rings>(&text) {
        Ok(rings) if rings.format == FORMAT => return rings,
        Ok(rings) => format!("its format is {}, and this build reads {FORMAT}", rings.format),
        Err(error) => error.to_string(),
    };
    let aside = beside(path, "damaged");
    let moved = fs::rename(path, &aside);
    let (path, aside) = (path.display(), aside.display());
    match moved {
        Ok(()) => {
            warn!(%path, %aside, reason, "the console's history makes no sense: it is moved aside, and begins anew");
        }
        Err(error) => warn!(%path, reason, %error, "the console's history makes no sense, and begins anew"),
    }
    Rings::default()
}

/// The whole new file, or the whole old one.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let draft = beside(path, "new");
    let mut file = File::create(&draft)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
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
        assert_eq!(rings.hour.len(), 360);
        assert_eq!(rings.week.len(), 1_008);
        assert!(rings.week.iter().zip(rings.week.iter().skip(1)).all(|(one, next)| next.at - one.at == 600_000));
        assert_eq!(rings.hour.back(), Some(&at(1_999_990_000, 199_999)));
    }

    #[test]
    fn what_is_older_than_the_span_goes_though_there_is_room() {
        let mut rings = Rings::default();
        rings.push(at(0, 0));
        rings.push(at(3_600_001, 1));
        assert_eq!(rings.hour, [at(3_600_001, 1)]);
        assert_eq!(rings.week.len(), 2);
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_the_samples_in_order() {
        let mut rings = Rings::default();
        for ms in [10_000, 20_000, 30_000, 15_000] {
            rings.push(at(ms, 0));
        }
        assert_eq!(rings.hour, [at(10_000, 0), at(15_000, 0)]);
    }

    #[test]
    fn rates_are_of_a_minute_and_gaps_stay_gaps() {
        let now = 100_000_000;
        let ring = VecDeque::from([at(now - 3_000_000, 0), at(now - 80_000, 10), at(now - 50_000, 25), at(now, 5)]);
        let points = points(&ring, Span::Hour, now);
        let rates: Vec<_> = points.iter().filter_map(|point| point.per_minute.map(|(done, _)| done)).collect();
        // 15 in 30 s, and nothing of what came before the gap, or after the journal was another one.
        assert_eq!(rates, [30]);
        assert_eq!(points.iter().filter(|point| point.sample.is_some()).count(), 4);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.json");
        for nonsense in ["{", r#"{"format":99,"hour":[],"week":[]}"#, r#"{"format":1,"hour":[[1]],"week":[]}"#] {
            fs::write(&path, nonsense).unwrap();
            assert_eq!(read(&path), Rings::default());
            assert!(!path.exists());
            assert_eq!(fs::read_to_string(dir.path().join("history.json.damaged")).unwrap(), nonsense);
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.json");
        let mut rings = Rings { format: FORMAT, ..Rings::default() };
        rings.push([1, 2, 3, 4, 5, 6, 7, 8].into());
        write(&path, &serde_json::to_vec(&rings).unwrap()).unwrap();
        assert_eq!(read(&path), rings);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
