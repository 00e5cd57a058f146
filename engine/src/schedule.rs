//! Jobs that come back: what a schedule is, and what can be seen of one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use windlass_scheduler::job::{JobId, Name, Names, NewJob, When};
use windlass_scheduler::recurrence::{
    CatchUp, Origin, Overlap, Rule, Schedule as CoreSchedule, ScheduleView, Template,
};
use windlass_scheduler::time::Timestamp;

use crate::calendar::{Meaningless, Pattern, Patterns};
use crate::clock::timestamp;
use crate::config::ms;
use crate::error::ScheduleError;
use crate::job::{Draft, Job};
use crate::range;
use crate::status::time;

/// When a schedule fires.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScheduleRule {
    /// At the multiples of this time since 1970-01-01T00:00:00Z.
    Every(Duration),
    /// By a cron pattern.
    Cron {
        /// The pattern.
        pattern: String,
        /// The time zone that it is meant in.
        zone: String,
    },
}

impl ScheduleRule {
    /// When it fires, as one would say it: "every 30s", "At 03:00 (Europe/Berlin)". For people: the words may change.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::Every(period) => format!("every {period:?}"),
            Self::Cron { pattern, zone } => {
                let words = pattern.parse::<croner::Cron>().map_or_else(|_| pattern.clone(), |cron| cron.describe());
                format!("{words} ({zone})")
            }
        }
    }
}

/// A job that comes back: by a cron pattern in a time zone, or at fixed intervals.
///
/// Each instant has exactly one job, through crashes and restarts: the job and how far the schedule came are one commit.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use windlass::{CatchUp, Draft, Job, MIN, Overlap, Priority, Schedule, SEC};
///
/// # #[derive(Serialize, Deserialize)]
/// # struct CleanUp { days: u32 }
/// # impl Job for CleanUp { const KIND: &'static str = "clean-up"; const QUEUE: &'static str = "bulk"; type Output = (); }
/// let nightly = Schedule::cron("clean-up", "0 3 * * *", &CleanUp { days: 30 }).zone("Europe/Berlin").jitter(5 * MIN);
/// let often = Schedule::every("sweep", 30 * SEC, Draft::new(&CleanUp { days: 1 }).priority(Priority::LOW))
///     .catch_up(CatchUp::Skip)
///     .overlap(Overlap::Skip);
/// for fire in nightly.upcoming(std::time::SystemTime::now(), 3)? {
///     println!("{}{}", fire.local, if fire.is_clock_change { " (clocks are changed that day)" } else { "" });
/// }
/// # Ok::<_, windlass::ScheduleError>(())
/// ```
#[must_use = "a schedule is given to the builder, or to `define_schedule`"]
#[derive(Debug)]
pub struct Schedule {
    name: String,
    rule: ScheduleRule,
    draft: Draft,
    catch_up: CatchUp,
    overlap: Overlap,
    jitter: Duration,
}

impl<J: Job> From<&J> for Draft {
    fn from(job: &J) -> Self {
        Self::new(job)
    }
}

impl Schedule {
    /// By a cron pattern of five fields (minute, hour, day of month, month, day of week) or six (seconds first), in UTC unless
    /// [`zone`](Self::zone) says otherwise. `job`: what is enqueued each time, or a [`Draft`] of it with options.
    ///
    /// `@daily` and its like are known, and `L`, `W` and `#` in days. On days on which clocks are changed, the rule is that of
    /// Vixie cron: a fixed time that does not exist comes at the end of the gap, and one that exists twice comes once, the first
    /// time; a pattern with `*` or `/` in hours, minutes or seconds goes by what clocks show, so that nothing comes in a gap, and
    /// everything in both of two like hours.
    pub fn cron(name: &str, pattern: &str, job: impl Into<Draft>) -> Self {
        let rule = ScheduleRule::Cron { pattern: pattern.to_owned(), zone: "UTC".to_owned() };
        Self::new(name, rule, job.into())
    }

    /// At fixed intervals: the multiples of `period` since 1970, so that neither a restart nor another engine shifts it. 1 ms at
    /// least.
    pub fn every(name: &str, period: Duration, job: impl Into<Draft>) -> Self {
        Self::new(name, ScheduleRule::Every(period), job.into())
    }

    fn new(name: &str, rule: ScheduleRule, draft: Draft) -> Self {
        let (catch_up, overlap) = (CatchUp::default(), Overlap::default());
        Self { name: name.to_owned(), rule, draft, catch_up, overlap, jitter: Duration::ZERO }
    }

    /// The time zone of a cron pattern, by its IANA name, like `Europe/Berlin`: as the system knows it, or, where it knows none, as
    /// it was when this crate was built. Fixed intervals have no zone.
    pub fn zone(mut self, name: &str) -> Self {
        if let ScheduleRule::Cron { zone, .. } = &mut self.rule {
            name.clone_into(zone);
        }
        self
    }

    /// What becomes of instants that passed while no engine ran; [`CatchUp::Latest`] unless said.
    pub const fn catch_up(mut self, catch_up: CatchUp) -> Self {
        self.catch_up = catch_up;
        self
    }

    /// What becomes of an instant while the job of an earlier one lives; [`Overlap::Allow`] unless said.
    pub const fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    /// Each job is due up to this much after its instant, so that a thousand schedules on the hour do not start at once. How much
    /// follows from the name and the instant.
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// When it fires after this time, the first `n` of it.
    ///
    /// # Errors
    /// [`ScheduleError`], where its rule means nothing.
    pub fn upcoming(&self, after: SystemTime, n: usize) -> Result<Vec<Fire>, ScheduleError> {
        let pattern = self.pattern(&Patterns::default())?;
        Ok(fires(&self.core_rule(), pattern.as_deref(), timestamp(after), n))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn core_rule(&self) -> Rule {
        match &self.rule {
            ScheduleRule::Every(period) => Rule::Every { period_ms: ms(*period) },
            ScheduleRule::Cron { pattern, zone } => {
                Rule::Cron { pattern: pattern.as_str().into(), zone: zone.as_str().into() }
            }
        }
    }

    fn pattern(&self, patterns: &Patterns) -> Result<Option<Arc<Pattern>>, ScheduleError> {
        let ScheduleRule::Cron { pattern, zone } = &self.rule else { return Ok(None) };
        let schedule = self.name.clone();
        patterns.get(pattern, zone).map(Some).map_err(|meaningless| match meaningless {
            Meaningless::Pattern(reason) => ScheduleError::Pattern { schedule, pattern: pattern.clone(), reason },
            Meaningless::Zone => ScheduleError::Zone { schedule, zone: zone.clone() },
        })
    }

    /// The schedule as the core knows it. `queue_of`: where jobs of a kind go, by its name and its own word.
    pub(crate) fn into_core(
        self,
        origin: Origin,
        now: Timestamp,
        patterns: &Patterns,
        queue_of: impl FnOnce(&str, &'static str) -> String,
    ) -> Result<CoreSchedule, ScheduleError> {
        if !Name::is_valid(&self.name) {
            return Err(ScheduleError::Name { name: self.name, bytes_max: Name::BYTES_MAX });
        }
        let schedule = || self.name.clone();
        let range = |error| ScheduleError::Range { schedule: schedule(), error };
        if let ScheduleRule::Every(period) = &self.rule {
            range::PERIOD.check(ms(*period)).map_err(range)?;
        }
        range::START_JITTER.check(ms(self.jitter)).map_err(range)?;
        if let CatchUp::All { max } = self.catch_up {
            range::CATCH_UP.check(u64::from(max)).map_err(range)?;
        }
        if let (Some(pattern), ScheduleRule::Cron { pattern: words, zone }) = (self.pattern(patterns)?, &self.rule)
            && pattern.next(now).is_none()
        {
            return Err(ScheduleError::Never { schedule: schedule(), pattern: words.clone(), zone: zone.clone() });
        }
        let rule = self.core_rule();
        let queue = queue_of(self.draft.kind, self.draft.default_queue);
        let template = template(&self.name, self.draft, &queue)?;
        Ok(CoreSchedule {
            name: Name::from(self.name.as_str()),
            rule,
            template,
            catch_up: self.catch_up,
            overlap: self.overlap,
            jitter_ms: ms(self.jitter),
            origin,
            is_paused: false,
            cursor: now,
            last: None,
            held: Vec::new(),
            fired: 0,
            overlapped: 0,
        })
    }
}

fn template(schedule: &str, draft: Draft, queue: &str) -> Result<Template, ScheduleError> {
    let misplaced = |option| ScheduleError::Option { schedule: schedule.to_owned(), option };
    if draft.options.id.is_some() {
        return Err(misplaced("id"));
    }
    let nobody = JobId(uuid::Uuid::nil());
    let job = draft.into_job(nobody, queue, &mut Names::default());
    let job = job.map_err(|error| ScheduleError::Job { schedule: schedule.to_owned(), error: Arc::new(error) })?;
    let NewJob { queue, kind, priority, due, expires, deadline, timeout_ms, retry, body, id: _ } = job;
    if due.is_some() {
        return Err(misplaced("delay or time"));
    }
    let after = |when, option| match when {
        None => Ok(None),
        Some(When::After(ms)) => Ok(Some(ms)),
        Some(When::At(_)) => Err(misplaced(option)),
    };
    let (expires_ms, deadline_ms) = (after(expires, "time of expiry")?, after(deadline, "time of its deadline")?);
    Ok(Template { queue, kind, priority, expires_ms, deadline_ms, timeout_ms, retry, body })
}

/// One time at which a schedule fires.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fire {
    /// When.
    pub at: SystemTime,
    /// When, as clocks of its zone show it: like `2027-03-28T03:00:00+02:00[Europe/Berlin]`, or `2027-03-28T01:00:00Z`.
    pub local: String,
    /// Whether they are changed on that day.
    pub is_clock_change: bool,
}

fn fires(rule: &Rule, pattern: Option<&Pattern>, after: Timestamp, n: usize) -> Vec<Fire> {
    let next = |at: &Timestamp| match (rule, pattern) {
        (Rule::Every { period_ms }, _) => Rule::multiple_after(*period_ms, *at),
        (Rule::Cron { .. }, pattern) => pattern?.next(*at),
    };
    let local = |at: Timestamp| pattern.map_or_else(|| in_utc(at), |pattern| pattern.local(at));
    let instants = std::iter::successors(next(&after), next).take(n);
    let fire = |at| {
        let (local, is_clock_change) = local(at)?;
        Some(Fire { at: time(at), local, is_clock_change })
    };
    instants.map_while(fire).collect()
}

/// Fixed intervals know no zone, and no changes of clocks.
fn in_utc(at: Timestamp) -> Option<(String, bool)> {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()?;
    Some((at.to_string(), false))
}

/// A schedule, as it is now. It may show what is not yet durable.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScheduleStatus {
    /// Its name.
    pub name: String,
    /// When it fires.
    pub rule: ScheduleRule,
    /// The queue that its jobs go to.
    pub queue: String,
    /// Their kind.
    pub kind: String,
    /// What becomes of instants that it missed.
    pub catch_up: CatchUp,
    /// What becomes of an instant while an earlier job lives.
    pub overlap: Overlap,
    /// How much later a job may be due.
    pub jitter: Duration,
    /// Whether somebody has stopped it. Remembered, also of a schedule that the code defines.
    pub is_paused: bool,
    /// Whether the code defined it, and not somebody at run time.
    pub is_of_code: bool,
    /// The code defined it, and no longer does: it goes on until it is removed.
    pub is_orphan: bool,
    /// When it fires next; `None`: it is paused, or never does again.
    pub next: Option<SystemTime>,
    /// Its last instant that had a job, and the job.
    pub last: Option<(SystemTime, JobId)>,
    /// Instants that wait for that job's end.
    pub held: usize,
    /// Jobs that it ever enqueued.
    pub fired: u64,
    /// Instants that were left out since an earlier job lived.
    pub overlapped: u64,
}

impl From<ScheduleView> for ScheduleStatus {
    fn from(view: ScheduleView) -> Self {
        let ScheduleView { schedule, next, is_orphan } = view;
        Self {
            name: schedule.name.to_string(),
            rule: match schedule.rule {
                Rule::Every { period_ms } => ScheduleRule::Every(Duration::from_millis(period_ms)),
                Rule::Cron { pattern, zone } => ScheduleRule::Cron { pattern: pattern.into(), zone: zone.into() },
            },
            queue: schedule.template.queue.to_string(),
            kind: schedule.template.kind.to_string(),
            catch_up: schedule.catch_up,
            overlap: schedule.overlap,
            jitter: Duration::from_millis(schedule.jitter_ms),
            is_paused: schedule.is_paused,
            is_of_code: schedule.origin == Origin::Code,
            is_orphan,
            next: next.map(time),
            last: schedule.last.map(|(at, id)| (time(at), id)),
            held: schedule.held.len(),
            fired: schedule.fired,
            overlapped: schedule.overlapped,
        }
    }
}

impl ScheduleStatus {
    /// When it fires from its next instant on, the first `n` of it; nothing where it is paused.
    #[must_use]
    pub fn upcoming(&self, n: usize) -> Vec<Fire> {
        let Some(next) = self.next else { return Vec::new() };
        let before = Timestamp(timestamp(next).0.saturating_sub(1));
        match &self.rule {
            ScheduleRule::Every(period) => fires(&Rule::Every { period_ms: ms(*period) }, None, before, n),
            ScheduleRule::Cron { pattern: words, zone } => {
                let rule = Rule::Cron { pattern: words.as_str().into(), zone: zone.as_str().into() };
                Pattern::new(words, zone).map_or_else(|_| Vec::new(), |pattern| fires(&rule, Some(&pattern), before, n))
            }
        }
    }
}
