//! What happened in a simulation: to be asked, and to be judged.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use windlass_scheduler::history::{Answer, Call, Checker, Dump, Event, Finish, Law, Violation, What, fingerprint};
use windlass_scheduler::job::JobId;
use windlass_scheduler::state::EndState;
use windlass_storage::{Journal, LoadError, Loaded};

use super::simulation::Facts;
use crate::job::Job;

/// Everything that an opened journal holds, as a [`Checker`] wants to see it: for those who judge what a crash left.
///
/// # Errors
/// What loading it says.
pub fn dump(journal: &mut dyn Journal) -> Result<Dump, LoadError> {
    let (mut records, mut quarantined) = (Vec::new(), 0);
    journal.load(&mut |loaded| {
        match loaded {
            Loaded::Record(record) => records.push(record),
            Loaded::Quarantined(_) => quarantined += 1,
        }
        None
    })?;
    let mut dump = Dump { quarantined, ..Dump::of(&records) };
    let reader = journal.reader().map_err(LoadError::Unreadable)?;
    for kept in dump.jobs.iter_mut().filter(|kept| kept.ended.is_some()) {
        kept.payload = reader.body(kept.id).map_err(LoadError::Unreadable)?.map(|body| fingerprint(&body.payload));
    }
    Ok(dump)
}

/// What happened in a simulation, from its beginning until everything had ended.
#[derive(Debug)]
pub struct History {
    seed: u64,
    events: Vec<Event>,
    jobs: Vec<JobStory>,
    violations: Vec<Violation>,
    more_violations: u64,
    seen: windlass_scheduler::history::Seen,
}

/// One job's life.
#[derive(Clone, Debug)]
pub struct JobStory {
    /// Its id.
    pub id: JobId,
    /// Its kind.
    pub kind: String,
    /// The queue that it was handed in to.
    pub queue: String,
    /// When it was handed in, in simulated time since the beginning.
    pub enqueued: Duration,
    /// How its enqueue was answered; `None`: it was not (its caller died, or it was a follow-up).
    pub answer: Option<Answer>,
    /// Its attempts, in the order of their starts.
    pub attempts: Vec<AttemptStory>,
    /// How it ended, and when; `None`: it did not, or a queue that keeps nothing of it does not say.
    pub end: Option<(EndState, Duration)>,
    payload: bytes::Bytes,
    version: u32,
    life: Vec<String>,
}

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptStory {
    /// Its number, from 1.
    pub number: u32,
    /// When it started, in simulated time since the beginning.
    pub started: Duration,
    /// When and how its code ended; `None`: it died with its process.
    pub ended: Option<(Duration, Finish)>,
}

/// A history that breaks a law, or a rule of yours. It tells the seed first.
#[derive(Clone, Debug)]
pub struct Unlawful {
    seed: u64,
    found: Vec<String>,
    more: u64,
}

impl JobStory {
    /// Whether an attempt of it succeeded.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.successes() > 0
    }

    /// Attempts that succeeded: more than one where the process died before a success was stored.
    #[must_use]
    pub fn successes(&self) -> usize {
        self.attempts.iter().filter(|attempt| matches!(attempt.ended, Some((_, Finish::Ok)))).count()
    }

    /// Attempts that failed.
    #[must_use]
    pub fn failures(&self) -> usize {
        let failed = |attempt: &&AttemptStory| {
            matches!(attempt.ended, Some((_, Finish::Failed { .. } | Finish::Permanent | Finish::Dropped)))
        };
        self.attempts.iter().filter(failed).count()
    }

    /// From its enqueue to its end, if it ended.
    #[must_use]
    pub fn lasted(&self) -> Option<Duration> {
        self.end.map(|(_, at)| at.saturating_sub(self.enqueued))
    }

    /// Whether it was certainly accepted.
    #[must_use]
    pub fn was_accepted(&self) -> bool {
        self.answer == Some(Answer::Ok) || !self.attempts.is_empty()
    }

    /// Its payload, decoded.
    ///
    /// # Errors
    /// What [`Job::decode`] says.
    pub fn payload<J: Job>(&self) -> Result<J, Box<dyn std::error::Error + Send + Sync>> {
        J::decode(&self.payload, self.version)
    }
}

impl fmt::Display for JobStory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} in `{}`", self.kind, self.id, self.queue)?;
        self.life.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

impl History {
    pub(crate) fn new(seed: u64, events: Vec<Event>, facts: &BTreeMap<JobId, Facts>) -> Self {
        let mut checker = Checker::new();
        for event in &events {
            checker.hear(event);
        }
        let jobs = stories(&events, facts, &checker);
        Self {
            seed,
            jobs,
            violations: checker.violations().to_vec(),
            more_violations: checker.more_violations(),
            seen: checker.seen(),
            events,
        }
    }

    /// The simulation's seed.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Every event, in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// How much was seen.
    #[must_use]
    pub const fn seen(&self) -> windlass_scheduler::history::Seen {
        self.seen
    }

    /// Every job that was handed in, in that order.
    #[must_use]
    pub fn jobs(&self) -> &[JobStory] {
        &self.jobs
    }

    /// The laws that were broken, by the engine or by what the service asked of it.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Whether every [`Law`] was kept: nothing lost, never two live attempts of one job, every job ends, and so on.
    ///
    /// # Errors
    /// Where one was not.
    pub fn check(&self) -> Result<(), Unlawful> {
        self.check_but(&[])
    }

    /// As [`check`](Self::check), without these laws: for a service whose jobs need not end, say.
    ///
    /// # Errors
    /// Where another one was not kept.
    pub fn check_but(&self, laws: &[Law]) -> Result<(), Unlawful> {
        let counted = self.violations.iter().filter(|violation| !laws.contains(&violation.law));
        let found: Vec<String> = counted.map(ToString::to_string).collect();
        if found.is_empty() {
            return Ok(());
        }
        Err(Unlawful { seed: self.seed, found, more: self.more_violations })
    }

    /// Whether a rule of your own holds for every job of this kind that was accepted.
    ///
    /// # Errors
    /// With the lives of the jobs that break it, or of those whose payloads cannot be decoded.
    pub fn each<J: Job>(&self, rule: &str, mut holds: impl FnMut(&J, &JobStory) -> bool) -> Result<(), Unlawful> {
        let mut found = Vec::new();
        for job in self.jobs.iter().filter(|job| job.kind == J::KIND && job.was_accepted()) {
            match job.payload::<J>() {
                Ok(payload) if holds(&payload, job) => {}
                Ok(_) => found.push(format!("{rule}: not so of {job}")),
                Err(error) => found.push(format!("{rule}: the payload cannot be decoded ({error}) of {job}")),
            }
        }
        let more = found.len().saturating_sub(8) as u64;
        found.truncate(8);
        if found.is_empty() { Ok(()) } else { Err(Unlawful { seed: self.seed, found, more }) }
    }
}

fn stories(events: &[Event], facts: &BTreeMap<JobId, Facts>, checker: &Checker) -> Vec<JobStory> {
    let mut stories: BTreeMap<JobId, (usize, JobStory)> = BTreeMap::new();
    let mut calls: BTreeMap<u64, Vec<JobId>> = BTreeMap::new();
    for (no, Event { at_ms, what }) in events.iter().enumerate() {
        let at = Duration::from_millis(*at_ms);
        match what {
            What::Called { call, what: Call::Enqueue(jobs) | Call::FollowUps { jobs, .. } } => {
                calls.insert(*call, jobs.iter().map(|job| job.id).collect());
                for job in jobs {
                    let Some(facts) = facts.get(&job.id) else { continue };
                    let story = JobStory {
                        id: job.id,
                        kind: facts.kind.to_string(),
                        queue: facts.queue.to_string(),
                        enqueued: at,
                        answer: None,
                        attempts: Vec::new(),
                        end: facts.end.map(|(end, at_ms)| (end, Duration::from_millis(at_ms))),
                        payload: facts.payload.clone(),
                        version: facts.version,
                        life: checker.life(job.id),
                    };
                    stories.entry(job.id).or_insert((no, story));
                }
            }
            What::Answered { call, answer } => {
                for id in calls.remove(call).into_iter().flatten() {
                    if let Some((_, story)) = stories.get_mut(&id) {
                        story.answer.get_or_insert(*answer);
                    }
                }
            }
            What::Started { id, attempt, .. } => {
                if let Some((_, story)) = stories.get_mut(id) {
                    story.attempts.push(AttemptStory { number: *attempt, started: at, ended: None });
                }
            }
            What::Ended { id, how, .. } => {
                if let Some(attempt) = stories.get_mut(id).and_then(|(_, story)| story.attempts.last_mut()) {
                    attempt.ended = Some((at, *how));
                }
            }
            _ => {}
        }
    }
    let mut stories: Vec<(usize, JobStory)> = stories.into_values().collect();
    stories.sort_by_key(|(no, _)| *no);
    stories.into_iter().map(|(_, story)| story).collect()
}

impl fmt::Display for Unlawful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: to see it again, Simulation::new({})", self.seed, self.seed)?;
        self.found.iter().try_for_each(|found| write!(f, "\n{found}"))?;
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Unlawful {}
