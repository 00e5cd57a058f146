//! What a person sees while waiting: a bar on a terminal, plain lines elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

/// How often the bar shows that time passes.
const TICK: Duration = Duration::from_millis(200);
/// Where there is no bar, every so many finished jobs get a line.
const LINE_EVERY: u64 = 100;

/// The screen. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Screen {
    bar: ProgressBar,
    started: Instant,
    lines: Arc<AtomicU64>,
}

impl Screen {
    pub(crate) fn new(jobs: usize) -> Self {
        let bar = ProgressBar::new(jobs as u64);
        let style = ProgressStyle::with_template("{elapsed:>5} {wide_bar} {pos}/{len} jobs done {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Self { bar, started: Instant::now(), lines: Arc::default() }
    }

    pub(crate) fn say(&self, line: &str) {
        self.bar.suspend(|| println!("{:5.1} s  {line}", self.started.elapsed().as_secs_f32()));
    }

    pub(crate) fn done(&self, jobs: u64) {
        self.bar.set_position(jobs);
        if self.bar.is_hidden() && jobs / LINE_EVERY > self.lines.fetch_max(jobs / LINE_EVERY, Ordering::Relaxed) {
            self.say(&format!("{jobs} jobs are done"));
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
