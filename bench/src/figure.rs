//! What was measured: runs become figures, figures become a table and JSON.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::Failure;
use crate::counting::{Tally, Written};

/// One run of a workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) value: f64,
    pub(crate) cpu_s_per_100k: Option<f64>,
    /// Whether each job's id was seen exactly once by the handler; `None` where no job runs.
    pub(crate) exact: Option<bool>,
    /// What the journal got, where that was counted.
    pub(crate) written: Option<Written>,
}

impl Run {
    /// A run of something that is no job.
    pub(crate) const fn bare(value: f64) -> Self {
        Self { value, cpu_s_per_100k: None, exact: None, written: None }
    }
}

/// One line of the table; the fields of the JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) group: &'static str,
    #[serde(rename = "figure")]
    pub(crate) what: String,
    pub(crate) level: String,
    pub(crate) unit: &'static str,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) runs: usize,
    pub(crate) ceiling: Option<f64>,
    pub(crate) ceiling_is: Option<String>,
    pub(crate) share: Option<f64>,
    pub(crate) cpu_s_per_100k: Option<f64>,
    pub(crate) exact: Option<bool>,
    pub(crate) operations_per_job: Option<f64>,
    pub(crate) bytes_per_job: Option<f64>,
}

impl Figure {
    /// The median of some runs and their range.
    pub(crate) fn of(group: &'static str, what: &str, level: &str, unit: &'static str, runs: &[Run]) -> Self {
        let mut values: Vec<f64> = runs.iter().map(|run| run.value).collect();
        values.sort_by(f64::total_cmp);
        let mut cpu: Vec<f64> = runs.iter().filter_map(|run| run.cpu_s_per_100k).collect();
        cpu.sort_by(f64::total_cmp);
        let exact = runs.iter().map(|run| run.exact).collect::<Option<Vec<_>>>();
        Self {
            group,
            what: what.to_owned(),
            level: level.to_owned(),
            unit,
            median: median(&values).unwrap_or(f64::NAN),
            min: values.first().copied().unwrap_or(f64::NAN),
            max: values.last().copied().unwrap_or(f64::NAN),
            runs: runs.len(),
            ceiling: None,
            ceiling_is: None,
            share: None,
            cpu_s_per_100k: median(&cpu),
            exact: exact.map(|runs| runs.into_iter().all(|exact| exact)),
            operations_per_job: None,
            bytes_per_job: None,
        }
    }

    /// Timed runs, and after them one in which the journal's work is counted, which slows it down.
    pub(crate) fn counted(
        group: &'static str,
        what: &str,
        level: &str,
        runs: usize,
        run: impl Fn(Option<Arc<Tally>>) -> Result<Run, Failure>,
    ) -> Result<Self, Failure> {
        let timed = (0..runs).map(|_| run(None)).collect::<Result<Vec<_>, _>>()?;
        let mut figure = Self::of(group, what, level, "jobs/s", &timed);
        let Run { exact, written, .. } = run(Some(Arc::default()))?;
        let written = written.ok_or("the journal's log could not be counted")?;
        figure.exact = figure.exact.zip(exact).map(|(timed, counted)| timed && counted);
        figure.operations_per_job = Some(written.operations_per_job);
        figure.bytes_per_job = Some(written.bytes_per_job);
        Ok(figure)
    }

    /// Beside what this machine can do of the kind in the same run: more is better.
    pub(crate) fn under(mut self, ceiling: f64, is: &str) -> Self {
        (self.ceiling, self.ceiling_is, self.share) = (Some(ceiling), Some(is.to_owned()), Some(self.median / ceiling));
        self
    }

    /// Beside what this machine can do of the kind in the same run: less is better.
    pub(crate) fn over(mut self, floor: f64, is: &str) -> Self {
        (self.ceiling, self.ceiling_is, self.share) = (Some(floor), Some(is.to_owned()), Some(floor / self.median));
        self
    }

    pub(crate) fn is_void(&self) -> bool {
        self.exact == Some(false)
    }

    fn row(&self) -> String {
        let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), short);
        let share = self.share.map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", share * 100.0));
        let two_digits = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"));
        let (cpu, operations) = (two_digits(self.cpu_s_per_100k), two_digits(self.operations_per_job));
        let bytes = self.bytes_per_job.map_or_else(|| "–".to_owned(), |bytes| format!("{bytes:.0}"));
        let exact = match self.exact {
            None => "–",
            Some(true) => "yes",
            Some(false) => "NO",
        };
        let value = if self.is_void() {
            "void".to_owned()
        } else {
            format!("**{}** ({}–{})", short(self.median), short(self.min), short(self.max))
        };
        let Self { group, what, level, unit, ceiling_is, .. } = self;
        let ceiling =
            ceiling_is.as_ref().map_or_else(|| "–".to_owned(), |is| format!("{} ({is})", number(self.ceiling)));
        let costs = format!("{cpu} | {operations} | {bytes}");
        format!("| {group} | {what} | {level} | {value} {unit} | {ceiling} | {share} | {costs} | {exact} |")
    }
}

/// The table, in Markdown.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut lines = vec![
        "| group | figure | level | median (min–max) | ceiling of the same run | share | CPU s / 100k \
         | operations / job | bytes / job | exact |"
            .to_owned(),
        "|---|---|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    lines.extend(figures.iter().map(Figure::row));
    lines.join("\n")
}

fn median(sorted: &[f64]) -> Option<f64> {
    let (low, high) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some(low.midpoint(*high))
}

/// The value that this share of all is not above.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn at(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Three digits that matter, and no more.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{:.2}M", value / 1e6),
        v if v >= 1e4 => format!("{:.1}k", value / 1e3),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Time and CPU time since its start, and what was written since, where that is counted.
pub(crate) struct Stopwatch {
    started: Instant,
    cpu: Duration,
    tally: Option<Arc<Tally>>,
    written: Option<(u64, u64)>,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self::counting(None)
    }

    pub(crate) fn counting(tally: Option<Arc<Tally>>) -> Self {
        let written = tally.as_ref().and_then(|tally| tally.now());
        Self { started: Instant::now(), cpu: process_cpu(), tally, written }
    }

    /// A run of so many jobs a second, up to now.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn rate(&self, jobs: u64) -> Run {
        let (elapsed, cpu) = (self.started.elapsed(), process_cpu().saturating_sub(self.cpu));
        let jobs = jobs as f64;
        let cpu_s_per_100k = Some(cpu.as_secs_f64() * 100_000.0 / jobs);
        Run { cpu_s_per_100k, ..Run::bare(jobs / elapsed.as_secs_f64()) }
    }

    /// A run that took so many seconds for so many jobs, up to now.
    pub(crate) fn seconds(&self, jobs: u64) -> Run {
        Run { value: self.started.elapsed().as_secs_f64(), ..self.rate(jobs) }
    }

    /// What was written of so many jobs, up to now.
    pub(crate) fn written(&self, jobs: u64) -> Option<Written> {
        Some(Written::between(self.written?, self.tally.as_ref()?.now()?, jobs))
    }
}

/// Waits until this process has little to do: what RocksDB has left of a filling is no part of what comes next.
pub(crate) async fn quiet() {
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    for _ in 0..100 {
        let before = process_cpu();
        tokio::time::sleep(LOOK_EVERY).await;
        if process_cpu().saturating_sub(before) < LOOK_EVERY / 10 {
            return;
        }
    }
}

/// User and system time of all threads of this process.
fn process_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_inexact_run_voids_a_figure() {
        let run = |exact| Run { exact: Some(exact), ..Run::bare(1.0) };
        assert!(!Figure::of("g", "f", "l", "u", &[run(true), run(true)]).is_void());
        let void = Figure::of("g", "f", "l", "u", &[run(true), run(false)]);
        assert!(void.is_void() && void.row().contains("| void u |") && void.row().ends_with("| NO |"));
    }

    #[test]
    fn a_median_is_the_middle_or_between_the_two_in_it() {
        let of =
            |values: &[f64]| Figure::of("g", "f", "l", "u", &values.iter().map(|v| Run::bare(*v)).collect::<Vec<_>>());
        assert!((of(&[3.0, 1.0, 2.0]).median - 2.0).abs() < 1e-9);
        assert!((of(&[4.0, 1.0, 2.0, 3.0]).median - 2.5).abs() < 1e-9);
        assert!(of(&[]).median.is_nan());
    }
}
