//! The list of jobs: a filter with an address of its own, a page at a time.

use askama::Template;
use windlass::JobState;

use super::shell::Shell;
use super::submitted::{Ask, Fields};
use super::{Answer, page, text};
use crate::action::Action;
use crate::api::look;
use crate::api::query::{JobQuery, values};
use crate::view::jobs::{JobList, JobView, OrderView};
use crate::view::overview::QueueView;

/// What a filter may say.
pub(super) const FIELDS: [&str; 14] = [
    "state",
    "kind",
    "queue",
    "tag",
    "limit_key",
    "correlation_id",
    "error",
    "created_from",
    "created_until",
    "due_from",
    "due_until",
    "ended_from",
    "ended_until",
    "payload",
];

/// What can be done to many, with the action that it takes.
const VERBS: [(&str, &str, Action); 7] = [
    ("requeue", "Requeue", Action::Requeue),
    ("run_now", "Run now", Action::RunNow),
    ("cancel", "Cancel", Action::Cancel),
    ("discard", "Discard", Action::Discard),
    ("reprioritise", "Reprioritise", Action::Reprioritise),
    ("reschedule", "Reschedule", Action::Reschedule),
    ("move", "Move", Action::Move),
];

/// What a filter says, for its form.
#[derive(Clone, Debug, Default)]
pub(super) struct Filled(Fields);

impl Filled {
    pub(super) fn new(fields: &Fields) -> Self {
        Self(fields.clone())
    }

    /// What the field of this name says.
    pub(super) fn of(&self, name: &str) -> String {
        self.0.owned(name).unwrap_or_default()
    }

    /// What the field of this name says, as fields for dates and times have it.
    pub(super) fn time(&self, name: &str) -> String {
        self.of(name).trim_end_matches('Z').to_owned()
    }

    pub(super) fn has_state(&self, state: &str) -> bool {
        self.of("state").split(',').any(|one| one.trim() == state)
    }

    /// Whether anything beyond what always stands there is said.
    pub(super) fn has_more(&self) -> bool {
        FIELDS[4..].iter().any(|name| self.0.is(name))
    }

    pub(super) fn is_open(&self) -> bool {
        !FIELDS.iter().any(|name| self.0.is(name))
    }

    /// What it says, in words.
    pub(super) fn said(&self) -> impl Iterator<Item = (String, &str)> {
        FIELDS.iter().filter_map(|name| self.0.text(name).map(|text| (name.replace('_', " "), text)))
    }

    pub(super) fn query(&self) -> String {
        self.0.query(&FIELDS)
    }

    /// The same but for the state.
    fn query_in(&self, state: Option<&str>) -> String {
        self.0.with("state", state).query(&FIELDS)
    }

    /// Whether nothing but queues and states is said: how many jobs that is, counters know.
    fn is_counted(&self) -> bool {
        FIELDS.iter().all(|name| ["state", "queue"].contains(name) || !self.0.is(name))
    }
}

pub(super) fn query_of(fields: &Fields) -> JobQuery {
    // A browser's field for a date and a time knows no zone: it is labelled UTC.
    let time = |name| {
        fields.owned(name).map(|text| {
            let has_zone = text.ends_with(['Z', 'z']) || text.get(11..).is_some_and(|time| time.contains(['+', '-']));
            if has_zone { text } else { format!("{text}Z") }
        })
    };
    JobQuery {
        queue: fields.owned("queue"),
        kind: fields.owned("kind"),
        state: fields.owned("state"),
        tag: fields.owned("tag"),
        correlation_id: fields.owned("correlation_id"),
        limit_key: fields.owned("limit_key"),
        error: fields.owned("error"),
        created_from: time("created_from"),
        created_until: time("created_until"),
        due_from: time("due_from"),
        due_until: time("due_until"),
        ended_from: time("ended_from"),
        ended_until: time("ended_until"),
        payload: fields.owned("payload"),
        limit: None,
        after: fields.owned("after"),
    }
}

/// A state to list the jobs of, or any.
struct Choice {
    name: &'static str,
    query: String,
    /// Where counters know it.
    jobs: Option<u64>,
    is_here: bool,
}

/// All states, as far as what else the filter says goes.
fn choices(filled: &Filled, query: &JobQuery, queues: &[QueueView]) -> Vec<Choice> {
    let meant: Vec<_> = values(query.queue.as_deref()).collect();
    let meant = || queues.iter().filter(|queue| meant.is_empty() || meant.contains(&queue.name.as_str()));
    let jobs = |state| meant().map(|queue| queue.numbers.in_state(state)).sum::<u64>();
    let said: Vec<_> = values(query.state.as_deref()).collect();
    let choice = |name, state, jobs, is_here| Choice {
        name,
        query: filled.query_in(state),
        jobs: filled.is_counted().then_some(jobs),
        is_here,
    };
    let all = JobState::ALL.into_iter().map(jobs).sum();
    let each = JobState::ALL.into_iter().map(|state| {
        let name = state.as_str();
        choice(name, Some(name), jobs(state), said == [name])
    });
    core::iter::once(choice("all", None, all, said.is_empty())).chain(each).collect()
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct Jobs {
    shell: Shell,
    list: JobList,
    filled: Filled,
    queues: Vec<String>,
    states: Vec<&'static str>,
    choices: Vec<Choice>,
    verbs: Vec<(&'static str, &'static str)>,
    orders: Vec<OrderView>,
    is_first: bool,
}

pub(super) async fn list(ask: Ask) -> Answer {
    let query = query_of(&ask.fields);
    let of = format!("jobs {query:?}");
    let list = ask.shared(of, look::jobs_page(&ask.console, &query)).await?;
    let mut orders = ask.shared("orders", super::orders::all(&ask.console)).await?;
    orders.retain(|order| order.ended.is_none());
    let shell = ask.shell("/jobs", "Jobs");
    let verbs = VERBS.iter().filter(|(_, _, action)| shell.may(*action)).map(|(verb, name, _)| (*verb, *name));
    let (filled, queues) = (Filled::new(&ask.fields), look::queues(&ask.console).await?);
    page(&Jobs {
        list,
        choices: choices(&filled, &query, &queues),
        filled,
        queues: queues.into_iter().map(|queue| queue.name).collect(),
        states: JobState::ALL.iter().map(|state| state.as_str()).collect(),
        verbs: verbs.collect(),
        orders,
        is_first: query.after.is_none(),
        shell,
    })
}

impl JobView {
    /// Where it is in its life, in a few words: what matters of it in a list.
    pub(super) fn note(&self) -> String {
        match (&self.failure, &self.why) {
            (Some(failure), _) => text::cut(&failure.message, 160),
            (None, Some(_)) if self.state == "running" => {
                let progress = self.progress.as_ref().map(ToString::to_string).unwrap_or_default();
                if self.cancel_requested { "asked to end".to_owned() } else { text::cut(progress, 160) }
            }
            (None, Some(why)) => text::cut(why, 160),
            (None, None) => String::new(),
        }
    }
}
