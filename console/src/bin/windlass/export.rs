//! The jobs of a data directory as lines of JSON.
//!
//! Owns which are told and in which order: retained jobs first, by queue, end and number; then live ones, by id. Keeps nothing of
//! a job that it has told.

mod line;
mod others;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use windlass::storage::{Content, Family, LoadError, Loaded, RocksJournal, RocksLook};
use windlass_scheduler::change::Record;
use windlass_scheduler::job::Name;
use windlass_scheduler::state::State;

use self::line::Lines;
use crate::failure::{Failure, Verdict};
use crate::output::Out;
use crate::survey::Survey;

/// What to print.
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// The data directory
    dir: PathBuf,
    /// Print jobs alone; so it is where nothing is said
    #[arg(long, conflicts_with = "all")]
    jobs: bool,
    /// Print queues' counters, settings, schedules, unique keys and flows as well, before the jobs
    #[arg(long)]
    all: bool,
    /// Only jobs in this queue; may be given several times
    #[arg(long = "queue", value_name = "NAME")]
    queues: Vec<String>,
    /// Only jobs in this state; may be given several times
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',')]
    states: Vec<StateWord>,
    /// Only jobs of this kind; may be given several times
    #[arg(long = "kind", value_name = "NAME")]
    kinds: Vec<String>,
}

/// States as a directory tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StateWord {
    Waiting,
    Delayed,
    Ready,
    Running,
    Done,
    Dead,
    Cancelled,
    Expired,
}

impl StateWord {
    const fn state(self) -> State {
        match self {
            Self::Waiting => State::Waiting,
            Self::Delayed => State::Delayed,
            Self::Ready => State::Ready,
            Self::Running => State::Running,
            Self::Done => State::Done,
            Self::Dead => State::Dead,
            Self::Cancelled => State::Cancelled,
            Self::Expired => State::Expired,
        }
    }
}

impl Export {
    pub(crate) fn run(&self, out: &mut Out) -> Result<Verdict, Failure> {
        debug_assert!(!(self.jobs && self.all));
        let look = RocksJournal::look(&self.dir).map_err(|error| Failure::opening(&self.dir, error))?;
        let refusals = look.refusals();
        for refusal in refusals {
            out.note(format_args!("what is printed may not be all: {refusal}"));
        }
        let survey = self.small_ones(&look, out)?;
        let unreadable = self.all_jobs(&look, &survey, out)?;
        if unreadable > 0 {
            out.note(format_args!("{unreadable} records cannot be read: `windlass verify` names them"));
        }
        Ok(Verdict::of(refusals.is_empty() && unreadable == 0))
    }

    /// What tells the states of live jobs; printed where it was asked for.
    fn small_ones(&self, look: &RocksLook, out: &mut Out) -> Result<Survey, Failure> {
        let mut survey = Survey::default();
        let mut written = Ok(());
        look.entries(Family::Meta, &mut |entry| {
            if let Ok(Content::Record(record)) = &entry.content {
                survey.note(record);
                if let (true, Some(line)) = (self.all, others::line(record)) {
                    keep(&mut written, out.json_line(&line));
                }
            }
        })?;
        written.map(|()| survey)
    }

    fn all_jobs(&self, look: &RocksLook, survey: &Survey, out: &mut Out) -> Result<u64, Failure> {
        let lines = Lines::new(look);
        let bar = out.progress(look.entries_estimate(), "exporting");
        let (mut unreadable, mut written) = (0, Ok(()));
        let loaded = look.load(&mut |loaded| {
            bar.inc(1);
            let line = match &loaded {
                Loaded::Record(Record::Ended(end)) if self.wants(&end.key.queue, &end.kind, end.key.state.into()) => {
                    lines.retained(end)
                }
                Loaded::Record(Record::Job(job)) => {
                    let state = survey.state_of(job);
                    if !self.wants(&job.head.queue, &job.kind, state) {
                        return;
                    }
                    lines.live(job, state, survey.started(job))
                }
                Loaded::Record(_) => return,
                Loaded::Quarantined(_) => return unreadable += 1,
            };
            unreadable += u64::from(line.is_incomplete());
            keep(&mut written, out.json_line(&line));
        });
        bar.finish_and_clear();
        match loaded {
            Ok(()) => written.map(|()| unreadable),
            Err(LoadError::Unreadable(error)) => Err(Failure::Other(format!(
                "{error}: what was printed ends there. Salvage the directory, and export what is left of it"
            ))),
            Err(error) => Err(error.into()),
        }
    }

    fn wants(&self, queue: &Name, kind: &Name, state: State) -> bool {
        let named =
            |names: &[String], name: &Name| names.is_empty() || names.iter().any(|known| known == name.as_str());
        let in_state = self.states.is_empty() || self.states.iter().any(|word| word.state() == state);
        in_state && named(&self.queues, queue) && named(&self.kinds, kind)
    }
}

/// Keeps the first failure to write. A reader that has gone ends the process: a walk over millions of records cannot be told to
/// stop, and nothing waits for its end.
fn keep(written: &mut Result<(), Failure>, now: Result<(), Failure>) {
    if let Err(Failure::Gone) = now {
        std::process::exit(0);
    }
    if written.is_ok() {
        *written = now;
    }
}
