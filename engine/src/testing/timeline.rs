//! One job's life, attempt by attempt, without running anything.
//!
//! Owns the sum of the times, and how it is printed. What comes of each attempt is asked of the code that engines ask.

use std::fmt;
use std::time::Duration;

use windlass_scheduler::attempt::Failure;
use windlass_scheduler::job::JobId;

use super::retries::{Before, End, Retries, whole_ms};
use super::script::{Play, Script};
use super::words::{Time, count};
use crate::config::RetryPolicy;
use crate::job::Job;

/// Attempts that are followed: a job that still goes on after so many is [`End::Open`].
pub const ATTEMPTS_MAX: u32 = 10_000;
/// Rows of a table that are printed at its beginning, and as many at its end.
const ROWS: usize = 20;

/// One attempt of a [`Timeline`]. Times count from when the job was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptAt {
    /// Its number, from 1: every start counts.
    pub number: u32,
    /// When it begins.
    pub at: Duration,
    /// When it begins at the earliest, whatever the job's id: jitter comes from that.
    pub earliest: Duration,
    /// When it begins at the latest, whatever the job's id.
    pub latest: Duration,
    /// How it went.
    pub play: Play,
    /// Why it failed, as the kind's rule sees it.
    pub failure: Option<Failure>,
    /// Failures that count, this one included.
    pub failures: u32,
    /// How long after its end the next one begins; `None`: there is none.
    pub delay: Option<Duration>,
    /// The same before jitter.
    pub(super) base: Option<Duration>,
}

/// One job's life, attempt by attempt. Printed, it is a table.
///
/// What it says is what an engine does: both ask the same code. A test of Windlass's own compares them, over random policies,
/// rules and scripts.
///
/// ```
/// use windlass::testing::{Play, timeline};
/// use windlass::{RetryPolicy, SEC};
///
/// let policy = RetryPolicy::exponential(SEC * 2).attempts(8).jitter_percent(0);
/// let life = timeline(&policy, [Play::Fail, Play::Snooze(SEC * 60), Play::TimeOut]);
/// assert_eq!(life.starts(), [0, 2, 62, 66].map(|s| SEC * s));
/// println!("{life}");
/// ```
#[derive(Clone, Debug)]
pub struct Timeline {
    retries: Retries,
    attempts: Vec<AttemptAt>,
    end: End,
}

/// What becomes of a job that goes by this policy (or these [`Retries`]), if its attempts go by this script, a number of
/// failures, or a list of [`Play`]s. Nothing runs, and no time passes. It is the life of one job: jitter comes from
/// [its id](Retries::id), and [`AttemptAt`] says how early and how late others may be.
///
/// ```
/// use windlass::testing::{End, Script, Play, timeline};
/// use windlass::{MIN, RetryPolicy, SEC};
///
/// let policy = RetryPolicy::list(&[SEC * 30, MIN * 2, MIN * 10]).jitter_percent(0);
/// let back_in_time = timeline(&policy, 2);
/// assert_eq!((back_in_time.end(), back_in_time.window()), (&End::Done, MIN * 2 + SEC * 30));
/// assert!(timeline(&policy, Script::always(Play::TimeOut)).is_dead());
/// ```
///
/// # Panics
/// Where no engine would take the policy (see the guide's page on [limits](crate::guide::limits)).
#[must_use]
pub fn timeline(retries: impl Into<Retries>, script: impl Into<Script>) -> Timeline {
    retries.into().timeline(script)
}

/// As [`timeline`], with the kind's own rule ([`Job::retry`]).
///
/// ```
/// # use windlass::{Failure, FailureKind, Job, RetryDecision, RetryPolicy, SEC};
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Push;
/// # impl Job for Push {
/// #     const KIND: &'static str = "push";
/// #     const QUEUE: &'static str = "sync";
/// #     type Output = ();
/// #     fn retry(_: u32, failure: &Failure) -> RetryDecision {
/// #         if failure.kind == FailureKind::Panic { RetryDecision::Never } else { RetryDecision::ByPolicy }
/// #     }
/// # }
/// use windlass::testing::{Play, timeline_of};
///
/// // `Push::retry` says `Never` of a panic.
/// let life = timeline_of::<Push>(&RetryPolicy::fixed(SEC), [Play::Fail, Play::Panic]);
/// assert!(life.is_dead() && life.attempts().len() == 2, "{life}");
/// ```
///
/// # Panics
/// As [`timeline`].
#[must_use]
pub fn timeline_of<J: Job>(policy: &RetryPolicy, script: impl Into<Script>) -> Timeline {
    Retries::of::<J>(policy).timeline(script)
}

impl Timeline {
    /// Follows a job, whose next attempt goes as `play` says.
    pub(super) fn walk(retries: &Retries, play: impl Fn(Before) -> Play) -> Self {
        let (mut before, mut attempts, mut end) = (Before::default(), Vec::new(), End::Open);
        let takes = whole_ms(retries.takes());
        let [mut at, mut earliest, mut latest] = [Duration::ZERO; 3];
        while before.attempts < ATTEMPTS_MAX {
            let play = play(before);
            let step = retries.step(before, &play);
            before = step.after;
            attempts.push(AttemptAt {
                number: before.attempts,
                at,
                earliest,
                latest,
                play,
                failure: step.failure,
                failures: before.failures,
                delay: step.delays.map(|delays| delays.own),
                base: step.delays.map(|delays| delays.base),
            });
            let Some(delays) = step.delays else {
                end = step.end.unwrap_or(End::Open);
                break;
            };
            at = at.saturating_add(takes).saturating_add(delays.own);
            earliest = earliest.saturating_add(takes).saturating_add(delays.shortest);
            latest = latest.saturating_add(takes).saturating_add(delays.longest);
        }
        Self { retries: retries.clone(), attempts, end }
    }

    /// The job.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.retries.id
    }

    /// All attempts, in order; up to [`ATTEMPTS_MAX`].
    #[must_use]
    pub fn attempts(&self) -> &[AttemptAt] {
        &self.attempts
    }

    /// How it ends.
    #[must_use]
    pub const fn end(&self) -> &End {
        &self.end
    }

    /// Whether it ends as a dead letter.
    #[must_use]
    pub const fn is_dead(&self) -> bool {
        matches!(self.end, End::Dead(_))
    }

    /// Whether it ends with a success.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.end, End::Done)
    }

    /// When each attempt begins.
    #[must_use]
    pub fn starts(&self) -> Vec<Duration> {
        self.attempts.iter().map(|attempt| attempt.at).collect()
    }

    /// How long after each attempt the next one begins.
    #[must_use]
    pub fn delays(&self) -> Vec<Duration> {
        self.attempts.iter().filter_map(|attempt| attempt.delay).collect()
    }

    /// Failures that count.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.attempts.last().map_or(0, |attempt| attempt.failures)
    }

    /// From the job's acceptance to its end.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.until_end(|attempt| attempt.at)
    }

    /// The same, of the job whose id brings the shortest delays.
    #[must_use]
    pub fn window_min(&self) -> Duration {
        self.until_end(|attempt| attempt.earliest)
    }

    /// The same, of the job whose id brings the longest delays.
    #[must_use]
    pub fn window_max(&self) -> Duration {
        self.until_end(|attempt| attempt.latest)
    }

    fn until_end(&self, at: impl Fn(&AttemptAt) -> Duration) -> Duration {
        self.attempts.last().map_or(Duration::ZERO, |last| at(last).saturating_add(whole_ms(self.retries.takes())))
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.retries.id;
        writeln!(f, "{}", self.retries)?;
        writeln!(f, "job {id}")?;
        writeln!(f, "  attempt  begins after     other jobs between               failures  next after")?;
        let hidden = self.attempts.len().saturating_sub(2 * ROWS);
        for (at, attempt) in self.attempts.iter().enumerate() {
            if hidden > 0 && at == ROWS {
                writeln!(f, "      ...  and {hidden} more ...")?;
            }
            if hidden > 0 && (ROWS..ROWS + hidden).contains(&at) {
                continue;
            }
            attempt.row(f)?;
        }
        let tried = format!(
            "{} of which {} as failures",
            count(self.attempts.len() as u64, "attempt"),
            if self.failures() == 1 { "1 counts".to_owned() } else { format!("{} count", self.failures()) }
        );
        let window = Time(self.window());
        match &self.end {
            End::Done => write!(f, "done after {window}: {tried}"),
            End::Dead(failure) => write!(f, "dead after {window}: {tried}; {failure}"),
            End::Cancelled => write!(f, "called off after {window}: {tried}"),
            End::Open => write!(f, "goes on after {window}: {tried}; it was followed no further"),
        }
    }
}

impl AttemptAt {
    fn row(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = if self.earliest == self.latest {
            String::new()
        } else {
            format!("{} and {}", Time(self.earliest), Time(self.latest))
        };
        let next = self.delay.map_or_else(|| "-".to_owned(), |delay| Time(delay).to_string());
        let (number, at, failures, play) = (self.number, Time(self.at), self.failures, &self.play);
        writeln!(f, "  {number:>7}  {at:<15}  {between:<31}  {failures:>8}  {next:<15}  {play}")
    }
}
