//! What a request says: which jobs are meant, and how many are wanted.

use std::str::FromStr;
use std::time::SystemTime;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use windlass::{Cursor, Filter, JobState};

use super::problem::Problem;
use crate::payload::FieldFilter;

/// Which jobs are meant: all that meet every part that is said. Parts that take several values (queues, kinds, states) have them with
/// commas between, and are met by any of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobQuery {
    /// In these queues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queue: Option<String>,
    /// Of these kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// In these states: `waiting`, `delayed`, `ready`, `running`, `parked`, `done`, `dead`, `cancelled`, `expired`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<String>,
    /// With this tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    /// With this correlation id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) correlation_id: Option<String>,
    /// Of this limit key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit_key: Option<String>,
    /// With this text in the message of the last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Accepted at this time or later: RFC 3339, like `2026-11-28T09:30:00Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created_from: Option<String>,
    /// Accepted before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created_until: Option<String>,
    /// Delayed until this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) due_from: Option<String>,
    /// Delayed until some time before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) due_until: Option<String>,
    /// Ended at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_from: Option<String>,
    /// Ended before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_until: Option<String>,
    /// With this field in the payload, as far as that may be seen: `customer.id=42`, or, where names have dots in them, as a JSON pointer,
    /// `/customer/id=42`. The value is JSON, or a text without quotes. Only for lists: so many jobs are looked at for a page, which says how
    /// many and may be short, or empty, and have a next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<String>,
    /// Jobs on a page: 1 to 1,000, and 50 unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<usize>,
    /// Goes on after the page that gave this as its `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<String>,
}

/// What a text adds to a filter.
type WithText = fn(Filter, &str) -> Filter;
/// What a time adds to a filter.
type WithTime = fn(Filter, SystemTime) -> Filter;

/// Jobs on a page, unless asked otherwise: what fits on a screen or two.
const PAGE: usize = 50;

impl JobQuery {
    /// What the engine can tell by itself: all, or it is refused.
    pub(crate) fn filter(&self) -> Result<Filter, Problem> {
        if self.payload_filter()?.is_some() {
            let detail = "what payloads have in them is looked at for lists of jobs alone: to count jobs, group them or do something to many, \
                          leave `payload` out, and use a tag, a limit key or a correlation id";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "only for lists", detail));
        }
        self.filter_but_payload()
    }

    /// What has to stand in the payload.
    pub(crate) fn payload_filter(&self) -> Result<Option<FieldFilter>, Problem> {
        self.payload.as_deref().filter(|text| !text.is_empty()).map(FieldFilter::parse).transpose()
    }

    /// What is asked of the engine where payloads are looked at afterwards.
    pub(crate) fn filter_but_payload(&self) -> Result<Filter, Problem> {
        let mut filter = Filter::new();
        for queue in values(self.queue.as_deref()) {
            filter = filter.queue(queue);
        }
        for kind in values(self.kind.as_deref()) {
            filter = filter.kind(kind);
        }
        for state in values(self.state.as_deref()) {
            filter = filter.state(state_of(state)?);
        }
        let texts: [(&Option<String>, WithText); 4] = [
            (&self.tag, Filter::tag),
            (&self.correlation_id, Filter::correlation_id),
            (&self.limit_key, Filter::limit_key),
            (&self.error, Filter::error),
        ];
        for (text, with) in texts {
            if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
                filter = with(filter, text);
            }
        }
        let times: [(&str, &Option<String>, WithTime); 6] = [
            ("created_from", &self.created_from, Filter::created_from),
            ("created_until", &self.created_until, Filter::created_until),
            ("due_from", &self.due_from, Filter::due_from),
            ("due_until", &self.due_until, Filter::due_until),
            ("ended_from", &self.ended_from, Filter::ended_from),
            ("ended_until", &self.ended_until, Filter::ended_until),
        ];
        for (name, text, with) in times {
            if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
                filter = with(filter, moment(name, text)?);
            }
        }
        Ok(filter)
    }

    pub(crate) fn page_size(&self) -> usize {
        self.limit.unwrap_or(PAGE)
    }

    pub(crate) fn cursor(&self) -> Result<Option<Cursor>, Problem> {
        let text = self.after.as_deref().filter(|text| !text.is_empty());
        text.map(Cursor::from_str).transpose().map_err(|error| Problem::bad(error.to_string()))
    }

    /// Whether it means all jobs there are.
    pub(crate) fn is_open(&self) -> bool {
        self.filter().is_ok_and(|filter| filter == Filter::new())
    }
}

pub(crate) fn values(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.into_iter().flat_map(|text| text.split(',')).map(str::trim).filter(|value| !value.is_empty())
}

fn state_of(word: &str) -> Result<JobState, Problem> {
    let state = JobState::ALL.into_iter().find(|state| state.as_str() == word);
    state.ok_or_else(|| {
        let known: Vec<_> = JobState::ALL.iter().map(|state| state.as_str()).collect();
        let shown: String = word.chars().take(50).collect();
        Problem::bad(format!("`{shown}` is no state: there are {}", known.join(", ")))
    })
}

pub(crate) fn moment(name: &str, text: &str) -> Result<SystemTime, Problem> {
    let time = text.parse::<jiff::Timestamp>();
    time.map(SystemTime::from).map_err(|error| {
        let shown: String = text.chars().take(50).collect();
        Problem::bad(format!("`{name}`: `{shown}` is no time like `2026-11-28T09:30:00Z`: {error}"))
    })
}
