//! Which jobs are meant, as a user says it, and how far a list came.
//!
//! Owns the words; what it means that a job meets a filter is the core's.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use windlass_scheduler::filter::{Filter as CoreFilter, Span};
use windlass_scheduler::job::Name;
use windlass_scheduler::state::{EndState, State};
use windlass_scheduler::time::Timestamp;

use crate::clock::timestamp;
use crate::error::ControlError;
use crate::flow::BatchHandle;
use crate::range;

/// As much of a text that is no cursor is quoted, in characters.
const QUOTED_MAX: usize = 256;

/// Which jobs are meant: all that meet every part that was said. Parts that take several values (queues, kinds, states) are
/// met by any of them.
///
/// ```
/// use windlass::{Filter, JobState};
/// let refused = Filter::new().queue("payments").state(JobState::Dead).error("connection refused");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub(crate) core: CoreFilter,
}

impl Filter {
    /// All jobs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// In this queue, or in another one that is named. It need not be configured any more.
    #[must_use]
    pub fn queue(mut self, queue: &str) -> Self {
        self.core.queues.push(Name::from(queue));
        self
    }

    /// Of this kind, or of another one that is named.
    #[must_use]
    pub fn kind(mut self, kind: &str) -> Self {
        self.core.kinds.push(Name::from(kind));
        self
    }

    /// In this state, or in another one that is named.
    #[must_use]
    pub fn state(mut self, state: State) -> Self {
        self.core.states.push(state);
        self
    }

    /// In one of the states of jobs that wait: for a key, delayed, ready, parked.
    #[must_use]
    pub fn waiting(self) -> Self {
        self.state(State::Waiting).state(State::Delayed).state(State::Ready).state(State::Parked)
    }

    /// With this tag.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        self.core.tag = Some(tag.to_owned());
        self
    }

    /// With this correlation id.
    #[must_use]
    pub fn correlation_id(mut self, id: &str) -> Self {
        self.core.correlation_id = Some(id.to_owned());
        self
    }

    /// Of this [limit key](crate::Enqueue::limit_key).
    #[must_use]
    pub fn limit_key(mut self, key: &str) -> Self {
        self.core.limit_key = Some(key.to_owned());
        self
    }

    /// Of this batch.
    #[must_use]
    pub fn batch(mut self, batch: &BatchHandle) -> Self {
        self.core.batch = Some(batch.step());
        self
    }

    /// With this text in the message of the last failure, upper and lower case told apart.
    #[must_use]
    pub fn error(mut self, text: &str) -> Self {
        self.core.error = Some(text.to_owned());
        self
    }

    /// Accepted at this time or later.
    #[must_use]
    pub fn created_from(mut self, time: SystemTime) -> Self {
        self.core.created.from = Some(timestamp(time));
        self
    }

    /// Accepted before this time.
    #[must_use]
    pub fn created_until(mut self, time: SystemTime) -> Self {
        self.core.created.until = Some(timestamp(time));
        self
    }

    /// Delayed until this time or later.
    #[must_use]
    pub fn due_from(mut self, time: SystemTime) -> Self {
        self.core.due.from = Some(timestamp(time));
        self
    }

    /// Delayed until some time before this one.
    #[must_use]
    pub fn due_until(mut self, time: SystemTime) -> Self {
        self.core.due.until = Some(timestamp(time));
        self
    }

    /// Ended at this time or later.
    #[must_use]
    pub fn ended_from(mut self, time: SystemTime) -> Self {
        self.core.ended.from = Some(timestamp(time));
        self
    }

    /// Ended before this time.
    #[must_use]
    pub fn ended_until(mut self, time: SystemTime) -> Self {
        self.core.ended.until = Some(timestamp(time));
        self
    }

    pub(crate) fn from_core(core: CoreFilter) -> Self {
        Self { core }
    }

    pub(crate) fn check(&self) -> Result<(), ControlError> {
        let core = &self.core;
        let names = || core.queues.iter().chain(&core.kinds).map(|name| name.as_str().len());
        let texts = [&core.tag, &core.correlation_id, &core.limit_key, &core.error];
        let longest = texts.into_iter().flatten().map(String::len).chain(names()).max().unwrap_or(0);
        let items = core.queues.len().max(core.kinds.len()).max(core.states.len());
        range::FILTER_VALUES.check(items as u64)?;
        range::FILTER_TEXT.check(longest as u64)?;
        Ok(())
    }

    /// Whether live jobs can meet it at all.
    pub(crate) fn asks_live(&self) -> bool {
        let mut live = State::ALL.into_iter().filter(|state| !state.is_ended());
        self.core.ended.is_open() && live.any(|state| self.core.has_state(state))
    }

    /// The ends that it asks for.
    pub(crate) fn ends(&self) -> impl Iterator<Item = EndState> + '_ {
        let ends = EndState::ALL.into_iter().filter(|end| self.core.has_state(State::from(*end)));
        ends.filter(|_| self.core.due == Span::default())
    }
}

/// In words: ``queue `mail` or `bulk`, dead, tag `vip` ``; `all jobs`, where nothing is said.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = &self.core;
        let any = |names: &[Name]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
        let names = [("queue", &core.queues), ("kind", &core.kinds)];
        let names = names.into_iter().filter(|(_, names)| !names.is_empty());
        let mut parts: Vec<_> = names.map(|(part, names)| format!("{part} {}", any(names))).collect();
        if !core.states.is_empty() {
            parts.push(core.states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(" or "));
        }
        let texts = [
            ("tag", &core.tag),
            ("correlation id", &core.correlation_id),
            ("limit key", &core.limit_key),
            ("error with", &core.error),
        ];
        parts.extend(texts.into_iter().filter_map(|(part, text)| Some(format!("{part} `{}`", text.as_ref()?))));
        parts.extend(core.batch.map(|step| format!("batch {} of flow {}", step.no, step.flow)));
        let spans = [("accepted", core.created), ("due", core.due), ("ended", core.ended)];
        for (part, span) in spans.into_iter().filter(|(_, span)| !span.is_open()) {
            let ends = [("from", span.from), ("before", span.until)];
            let ends = ends.into_iter().filter_map(|(word, at)| Some(format!(" {word} {}", moment(at?))));
            parts.push(format!("{part}{}", ends.collect::<String>()));
        }
        if parts.is_empty() { f.write_str("all jobs") } else { f.write_str(&parts.join(", ")) }
    }
}

/// As RFC 3339 has it; what that does not reach, in milliseconds.
fn moment(at: Timestamp) -> String {
    let ms = i64::try_from(at.0).ok();
    let moment = ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    moment.map_or_else(|| format!("{} ms after 1970", at.0), |moment| moment.to_string())
}

/// Where a list goes on. It stays valid while jobs move; one in the middle of the live jobs ends with the process.
///
/// As text it fits into a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub(crate) Place);

/// A place in the row of all jobs: first the live ones, then the retained ones by queue and end, the latest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Among the live ones, of the core of this term (`None`: whichever it is).
    Live { term: Option<u64>, slot: u32 },
    /// Among the ones that are retained.
    Retained { queue: Name, state: EndState, before: Option<u64> },
}

impl Place {
    pub(crate) const START: Self = Self::Live { term: None, slot: 0 };
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Live { term, slot } => write!(f, "live.{}.{slot}", term.unwrap_or(0)),
            Place::Retained { queue, state, before } => {
                write!(f, "{}.{}.{queue}", State::from(*state), before.unwrap_or(u64::MAX))
            }
        }
    }
}

/// A text that is no cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no cursor: pass on what the page before gave as its next one")]
pub struct NoCursor(String);

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let no = || NoCursor(text.chars().take(QUOTED_MAX).collect());
        let mut parts = text.splitn(3, '.');
        let (Some(word), Some(number), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(no());
        };
        let number: u64 = number.parse().map_err(|_| no())?;
        if word == "live" {
            let slot = rest.parse().map_err(|_| no())?;
            return Ok(Self(Place::Live { term: Some(number), slot }));
        }
        let state = EndState::ALL.into_iter().find(|end| State::from(*end).as_str() == word).ok_or_else(no)?;
        if !Name::is_valid(rest) {
            return Err(no());
        }
        let before = Some(number).filter(|before| *before != u64::MAX);
        Ok(Self(Place::Retained { queue: Name::from(rest), state, before }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_cursor_comes_back_from_its_text_and_nothing_else_is_one() {
        let retained = |before| Place::Retained { queue: Name::from("bulk.eu-1/x:y"), state: EndState::Dead, before };
        for place in [Place::Live { term: Some(7), slot: 9 }, retained(None), retained(Some(12))] {
            let cursor = Cursor(place);
            assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        }
        for text in
            ["", "live", "live.1", "live.x.1", "dead.1.", "ready.1.q", "dead.-1.q", "dead.1.q q", "live.1.4294967296"]
        {
            assert_eq!(text.parse::<Cursor>(), Err(NoCursor(text.to_owned())));
        }
    }

    #[test]
    fn a_filter_reads_as_what_it_means() {
        let at = |s: u64| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(s);
        let some = Filter::new().queue("mail").queue("bulk").kind("mail.send").state(State::Dead).state(State::Expired);
        for (filter, words) in [
            (Filter::new(), "all jobs"),
            (some, "queue `mail` or `bulk`, kind `mail.send`, dead or expired"),
            (
                Filter::new().tag("vip").correlation_id("c1").limit_key("acme"),
                "tag `vip`, correlation id `c1`, limit key `acme`",
            ),
            (
                Filter::new().error("no mailbox").created_from(at(0)).created_until(at(60)).ended_until(at(1)),
                "error with `no mailbox`, accepted from 1970-01-01T00:00:00Z before 1970-01-01T00:01:00Z, \
                 ended before 1970-01-01T00:00:01Z",
            ),
        ] {
            assert_eq!(filter.to_string(), words);
        }
        assert_eq!(moment(Timestamp(u64::MAX)), "18446744073709551615 ms after 1970");
    }

    #[test]
    fn what_a_filter_holds_has_limits() {
        let many = |n: usize| (0..n).fold(Filter::new(), |filter, n| filter.queue(&n.to_string()));
        assert!(many(100).check().is_ok());
        let refused = many(101).check().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "values of one part of a filter: 101 given, 0 to 100 allowed; nothing has changed: keep to that range"
        );
        assert!(Filter::new().error(&"x".repeat(256)).check().is_ok());
        let refused = Filter::new().tag(&"x".repeat(257)).check().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "bytes of a text in a filter: 257 given, 0 to 256 allowed; nothing has changed: keep to that range"
        );
    }
}
