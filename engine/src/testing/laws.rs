//! What should hold for retries, as ready-made checks: for plain tests (`laws::all(&policy)?`) and inside `proptest!`.
//!
//! Owns the laws. None takes chances with jitter: each looks at the shortest and longest delay that any job's id can bring, but
//! for [`jitter_within`], which also measures 256 ids. Policies are followed for [10,000 attempts](super::ATTEMPTS_MAX).
//! What a handler says itself (`retry_after`, `snooze`) is bounded by no policy: for that, check
//! [timelines](super::timeline()) of scripts.
//!
//! ```
//! use windlass::testing::laws;
//! use windlass::{HOUR, MIN, RetryPolicy, SEC};
//!
//! # fn main() -> Result<(), laws::Broken> {
//! let policy = RetryPolicy::exponential(SEC * 10).cap(HOUR).attempts(16);
//! laws::all(&policy)?; // what should hold for each policy
//! laws::outlasts(&policy, HOUR * 4)?; // an outage of four hours loses nothing
//! laws::gives_up_within(&policy, HOUR * 24)?; // and nobody hears of a job a day later
//! let broken = laws::attempts_at_most(&policy, 10).unwrap_err();
//! assert!(broken.to_string().contains("16 attempts, 10 are allowed"), "{broken}");
//! # Ok(())
//! # }
//! ```

use std::error::Error;
use std::fmt;
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use windlass_scheduler::job::JobId;

use super::retries::{Before, Delays, End, Retries};
use super::script::Play;
use super::timeline::{ATTEMPTS_MAX, Timeline};
use super::words::Time;
use crate::config::RetryDecision;

/// Ids at which jitter is measured.
const IDS: u128 = 256;
/// Failures at which laws look that are about single failures, and each way of failing at each of them.
const FAILURES: u32 = 100;
/// Ways in which an attempt fails, where nothing else is said.
const WAYS: [Play; 3] = [Play::Fail, Play::Panic, Play::TimeOut];
/// Ways in which it does while what it needs is out of order.
const OUTAGE: [Play; 2] = [Play::Fail, Play::TimeOut];

/// A law that does not hold: which, by what numbers, and the life of a job that shows it. `Debug` says it as readably as
/// `Display`, since that is what a test prints that returns it.
#[derive(Clone)]
pub struct Broken {
    law: &'static str,
    what: String,
    timeline: Option<Box<Timeline>>,
}

impl Broken {
    fn new(law: &'static str, what: String, timeline: impl Into<Option<Timeline>>) -> Self {
        Self { law, what, timeline: timeline.into().map(Box::new) }
    }

    /// The law's name.
    #[must_use]
    pub const fn law(&self) -> &'static str {
        self.law
    }

    /// The life of a job that shows it, if there is one.
    #[must_use]
    pub fn timeline(&self) -> Option<&Timeline> {
        self.timeline.as_deref()
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the law `{}` is broken: {}", self.law, self.what)?;
        self.timeline.as_ref().map_or(Ok(()), |timeline| write!(f, "\n{timeline}"))
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Broken {}

type Law = Result<(), Broken>;

/// All that should hold whatever the service is: an engine takes the policy, a job that never succeeds is given up, jitter stays
/// within its share, permanent errors are final, snoozes are not counted, and the kind's rule is a pure function.
///
/// # Errors
/// [`Broken`].
pub fn all(retries: impl Into<Retries>) -> Law {
    let retries = retries.into();
    is_valid("all", &retries)?;
    attempts_at_most(&retries, ATTEMPTS_MAX - 1)?;
    jitter_within(&retries, 0..=retries.policy.core().jitter_percent)?;
    permanent_is_final(&retries)?;
    snooze_is_not_counted(&retries)?;
    rule_is_pure(&retries)
}

/// Whatever the job and however it fails: each delay, jitter included, is within this. (An outlier may be jitter's: at 10 %,
/// a cap of an hour lets 66 minutes pass.)
///
/// # Errors
/// [`Broken`], with the life that leads to the delay.
pub fn delays_within(retries: impl Into<Retries>, allowed: RangeInclusive<Duration>) -> Law {
    const LAW: &str = "delays_within";
    let retries = retries.into();
    is_valid(LAW, &retries)?;
    let ways = retries.ways_or(&WAYS);
    for before in alive(&retries) {
        for way in &ways {
            let Some(delays) = retries.step(before, way).delays else { continue };
            if allowed.contains(&delays.shortest) && allowed.contains(&delays.longest) {
                continue;
            }
            let Delays { shortest, longest, .. } = delays;
            let what = format!(
                "after failure {}, as {way}, a job waits for {}, and {} is allowed",
                before.failures + 1,
                span(&(shortest..=longest)),
                span(&allowed)
            );
            return Err(Broken::new(LAW, what, leading_to(&retries, before, way)));
        }
    }
    Ok(())
}

/// No job is tried more often than so, however it fails. (Snoozed, lost and released attempts come on top.)
///
/// # Errors
/// [`Broken`], with the life of most attempts.
pub fn attempts_at_most(retries: impl Into<Retries>, attempts_max: u32) -> Law {
    const LAW: &str = "attempts_at_most";
    let retries = retries.into();
    is_valid(LAW, &retries)?;
    let life = longest(&retries);
    let (attempts, is_open) = (life.attempts().len(), *life.end() == End::Open);
    if attempts <= attempts_max as usize && !is_open {
        return Ok(());
    }
    let more = if is_open { " and more" } else { "" };
    let what = format!("a job may have {attempts}{more} attempts, {attempts_max} are allowed");
    Err(Broken::new(LAW, what, life))
}

/// A job that never succeeds is dead within this time of its acceptance, however it fails and whatever its id.
///
/// # Errors
/// [`Broken`], with the longest life.
pub fn gives_up_within(retries: impl Into<Retries>, allowed: Duration) -> Law {
    const LAW: &str = "gives_up_within";
    let retries = retries.into();
    is_valid(LAW, &retries)?;
    let life = longest(&retries);
    let (window, is_open) = (life.window_max(), *life.end() == End::Open);
    if window <= allowed && !is_open {
        return Ok(());
    }
    let more = if is_open { " and longer" } else { "" };
    let what = format!("a job may go on for {}{more}, {} is allowed", Time(window), Time(allowed));
    Err(Broken::new(LAW, what, life))
}

/// A job that was accepted when an outage began, and fails with an error or times out all the while, still has an attempt
/// left when the outage is over, whatever its id. (Each attempt may fail at once: how long they
/// [take](Retries::attempts_take) does not help.)
///
/// # Errors
/// [`Broken`], with the shortest life.
pub fn outlasts(retries: impl Into<Retries>, outage: Duration) -> Law {
    const LAW: &str = "outlasts";
    let retries = retries.into();
    is_valid(LAW, &retries)?;
    let life = shortest(&retries);
    let last = life.attempts().last().map_or(Duration::ZERO, |last| last.earliest);
    if last >= outage || *life.end() == End::Open {
        return Ok(());
    }
    let what =
        format!("a job may have its last attempt {} after its acceptance, {} is wanted", Time(last), Time(outage));
    Err(Broken::new(LAW, what, life))
}

/// Jitter varies delays by at most the upper percentage, and by at least the lower one, so that jobs which failed together do not
/// come back together. The policy's number says it, and 256 ids at up to 100 failures are measured.
///
/// # Errors
/// [`Broken`].
pub fn jitter_within(retries: impl Into<Retries>, percent: RangeInclusive<u8>) -> Law {
    const LAW: &str = "jitter_within";
    let retries = retries.into();
    is_valid(LAW, &retries)?;
    let core = retries.policy.core();
    if !percent.contains(&core.jitter_percent) {
        let (is, min, max) = (core.jitter_percent, percent.start(), percent.end());
        let what = format!("the policy varies delays by up to {is} %, {min} to {max} % are allowed");
        return Err(Broken::new(LAW, what, None));
    }
    for failures in 1..core.attempts_max.min(FAILURES) {
        let base = core.backoff.delay_ms(failures);
        for id in (0..IDS).map(|n| JobId(uuid::Uuid::from_u128(n))) {
            let own = core.delay_ms(failures, id).unwrap_or(base);
            if u128::from(own.abs_diff(base)) * 100 > u128::from(base) * u128::from(*percent.end()) {
                let [own, base] = [own, base].map(|ms| Time(Duration::from_millis(ms)));
                let what = format!("after failure {failures} job {id} waits for {own}, which was {base} before jitter");
                return Err(Broken::new(LAW, what, retries.clone().id(id).timeline(failures)));
            }
        }
    }
    Ok(())
}

/// However often a job has failed, it waits at least as long as after the failure before, jitter aside: a list in a wrong order is
/// found so. Each way of failing is looked at by itself.
///
/// # Errors
/// [`Broken`], with the life up to the delay that is shorter.
pub fn delays_never_shrink(retries: impl Into<Retries>) -> Law {
    const LAW: &str = "delays_never_shrink";
    let retries = retries.into();
    is_valid(LAW, &retries)?;
    for way in retries.ways_or(&WAYS) {
        let life = Timeline::walk(&retries, |_| way.clone());
        let rows = life.attempts();
        for (earlier, later) in rows.iter().zip(rows.iter().skip(1)) {
            let (Some(before), Some(after)) = (earlier.base, later.base) else { continue };
            if after < before {
                let number = later.failures;
                let what =
                    format!("after failure {number} a job waits for {}, and for {} before", Time(after), Time(before));
                return Err(Broken::new(LAW, what, Timeline::walk(&retries, up_to(number, &way))));
            }
        }
    }
    Ok(())
}

/// An error that the handler calls permanent is the end, after any number of failures.
///
/// # Errors
/// [`Broken`], with the life of a job that was tried again.
pub fn permanent_is_final(retries: impl Into<Retries>) -> Law {
    const LAW: &str = "permanent_is_final";
    let retries = retries.into();
    is_valid(LAW, &retries)?;
    for before in alive(&retries).take(FAILURES as usize) {
        if !matches!(retries.step(before, &Play::Permanent).end, Some(End::Dead(_))) {
            let what = format!("a job with {} failures was tried again after a permanent error", before.failures);
            return Err(Broken::new(LAW, what, leading_to(&retries, before, &Play::Permanent)));
        }
    }
    Ok(())
}

/// Snoozes between failures change neither how many failures a job may have, nor the delays after them.
///
/// # Errors
/// [`Broken`], with the life of the job that snoozed.
pub fn snooze_is_not_counted(retries: impl Into<Retries>) -> Law {
    const LAW: &str = "snooze_is_not_counted";
    let retries = retries.into();
    is_valid(LAW, &retries)?;
    let snooze = Play::Snooze(Duration::from_secs(1));
    for way in retries.ways_or(&WAYS) {
        let plain = Timeline::walk(&retries, up_to(FAILURES, &way));
        let snoozing = Timeline::walk(&retries, |before| {
            if before.attempts.is_multiple_of(2) { snooze.clone() } else { up_to(FAILURES, &way)(before) }
        });
        let delays = |life: &Timeline| -> Vec<_> {
            let counted = life.attempts().iter().filter(|attempt| attempt.play == way);
            counted.map(|attempt| (attempt.failures, attempt.delay)).collect()
        };
        if delays(&plain) != delays(&snoozing) || plain.end() != snoozing.end() {
            let (with, without) = (snoozing.failures(), plain.failures());
            let what =
                format!("a job that snoozes before each attempt has {with} failures, one that does not {without}");
            return Err(Broken::new(LAW, what, snoozing));
        }
    }
    Ok(())
}

/// The kind's own rule ([`Job::retry`](crate::Job::retry)) says the same when it is asked again, and does not panic: an engine would
/// go by the policy then. It is asked for 100 failures of each way.
///
/// # Errors
/// [`Broken`].
pub fn rule_is_pure(retries: impl Into<Retries>) -> Law {
    const LAW: &str = "rule_is_pure";
    let retries = retries.into();
    is_valid(LAW, &retries)?;
    let Some(rule) = retries.rule else { return Ok(()) };
    for way in retries.ways_or(&WAYS) {
        // As the rule sees it.
        let Some(failure) = retries.step(Before::default(), &way).failure else { continue };
        for failures in 1..=FAILURES {
            let ask = || catch_unwind(AssertUnwindSafe(|| rule(failures, &failure))).ok();
            let said: [Option<RetryDecision>; 2] = [ask(), ask()];
            let what = match said {
                [Some(first), Some(second)] if first == second => continue,
                [Some(first), Some(second)] => format!("it said {first:?}, and asked again {second:?}"),
                _ => "it panicked".to_owned(),
            };
            let what = format!("asked about failure {failures}, `{failure}`: {what}");
            return Err(Broken::new(LAW, what, None));
        }
    }
    Ok(())
}

fn is_valid(law: &'static str, retries: &Retries) -> Law {
    retries.check().map_err(|refused| Broken::new(law, format!("no engine would take the policy: {refused}"), None))
}

/// What a job may have behind it that is still tried: so many failures, each of a way after which it is.
fn alive(retries: &Retries) -> impl Iterator<Item = Before> {
    let ways = retries.ways_or(&WAYS);
    let next = move |before: &Before| {
        let steps = ways.iter().map(|way| retries.step(*before, way));
        let after = steps.filter(|step| step.delays.is_some()).map(|step| step.after).next();
        after.filter(|after| after.attempts < ATTEMPTS_MAX)
    };
    std::iter::successors(Some(Before::default()), next)
}

/// The longest life that failures can lead to. A rule knows a job by the number of its failures and the last one alone: so the
/// way that waits longest at each of them is the longest of all.
fn longest(retries: &Retries) -> Timeline {
    let ways = retries.ways_or(&WAYS);
    Timeline::walk(retries, |before| {
        let waits = |way: &&Play| retries.step(before, way).delays.map(|delays| delays.longest);
        // Of equals the first that was named.
        ways.iter().rev().max_by_key(waits).cloned().unwrap_or(Play::Fail)
    })
}

/// The shortest life that an outage can lead to.
fn shortest(retries: &Retries) -> Timeline {
    let (ways, retries) = (retries.ways_or(&OUTAGE), retries.clone().attempts_take(Duration::ZERO));
    Timeline::walk(&retries, |before| {
        let waits = |way: &&Play| retries.step(before, way).delays.map(|delays| delays.shortest);
        ways.iter().min_by_key(waits).cloned().unwrap_or(Play::Fail)
    })
}

/// Fails so, so many times, and then succeeds.
fn up_to(failures: u32, way: &Play) -> impl Fn(Before) -> Play {
    move |before| if before.failures < failures { way.clone() } else { Play::Succeed }
}

/// The life of a job that came so far, and then fails so.
fn leading_to(retries: &Retries, last: Before, way: &Play) -> Timeline {
    let ways = retries.ways_or(&WAYS);
    Timeline::walk(retries, |before| {
        if before.failures > last.failures {
            return Play::Succeed;
        }
        if before.failures == last.failures {
            return way.clone();
        }
        let goes_on = ways.iter().find(|way| retries.step(before, way).delays.is_some());
        goes_on.cloned().unwrap_or(Play::Fail)
    })
}

fn span(range: &RangeInclusive<Duration>) -> String {
    if range.start() == range.end() {
        return Time(*range.start()).to_string();
    }
    format!("{} to {}", Time(*range.start()), Time(*range.end()))
}
