//! Uniqueness as callers say it: a key, for how long, and what becomes of a second job with it.
//!
//! Owns how a key is made of a payload's fields. Never decides anything: whether a key is free is known in the commit alone.

use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};
use windlass_scheduler::job::Name;
use windlass_scheduler::unique::{KeyOf, OnConflict, Unique as CoreUnique, UniqueKey, Until};

use crate::config::ms;
use crate::error::{EnqueueError, OutOfRange};
use crate::range;

/// Of which jobs there is one for a key. Queues at level `Memory` have keys of their own: what a crash takes holds up nothing that
/// is journaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UniqueScope {
    /// Of those of the job's kind, in all queues.
    #[default]
    Kind,
    /// Of those that are handed in for the job's queue, of all kinds.
    Queue,
    /// Of all.
    Engine,
}

/// What a key is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Text {
    Given(String),
    Payload,
    Fields(Vec<String>),
}

/// A key under which there is one job at a time: decided in the same commit as the enqueue, also among the jobs of one
/// [`enqueue_all`](crate::Engine::enqueue_all), and given back in the commit that ends the job. No crash leaves a key behind.
///
/// Without more, the second job is dropped and its caller gets a handle of the first one
/// ([`is_fresh`](crate::JobHandle::is_fresh) tells), until the first one has ended:
///
/// ```
/// # use windlass::Unique;
/// let one_report_at_a_time = Unique::key("report/2026-11");
/// let by_what_it_is_about = Unique::fields(["customer", "month"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it has to be given to a job"]
pub struct Unique {
    text: Text,
    scope: UniqueScope,
    until: Until,
    on_conflict: OnConflict,
    delay: Option<Duration>,
}

impl Unique {
    const fn new(text: Text) -> Self {
        Self { text, scope: UniqueScope::Kind, until: Until::Done, on_conflict: OnConflict::Existing, delay: None }
    }

    /// This key: 1 to 256 bytes.
    pub fn key(text: impl Into<String>) -> Self {
        Self::new(Text::Given(text.into()))
    }

    /// The whole payload is the key: the same JSON, however its fields are ordered.
    pub const fn payload() -> Self {
        Self::new(Text::Payload)
    }

    /// These fields of the payload are the key: names of fields on top, or JSON pointers (`/customer/id`). The payload has to be JSON,
    /// and to have them.
    pub fn fields<S: Into<String>>(fields: impl IntoIterator<Item = S>) -> Self {
        Self::new(Text::Fields(fields.into_iter().map(Into::into).collect()))
    }

    /// Of which jobs there is one; of those of the job's kind unless said.
    pub const fn scope(mut self, scope: UniqueScope) -> Self {
        self.scope = scope;
        self
    }

    /// A job has the key until it is started for the first time, instead of until it has ended: while one runs, another may wait.
    pub const fn until_started(mut self) -> Self {
        self.until = Until::Started;
        self
    }

    /// A job has the key for this long from its acceptance, whether it has ended or not: 1 ms to 365 days, by the wall clock.
    pub fn for_window(mut self, window: Duration) -> Self {
        self.until = Until::Window { ms: ms(window) };
        self
    }

    /// A second job's payload, labels, priority (where it says one) and times become the first one's, if that has not begun; the
    /// caller gets a handle of the first one. If it has begun, as with [`keep_last`](Self::keep_last).
    pub const fn replace(mut self) -> Self {
        self.on_conflict = OnConflict::Replace { within_ms: None };
        self
    }

    /// A second job waits until the key is free, and has it then. Only the last one waits: a third one's payload, labels, priority
    /// (where it says one) and times become the second one's.
    pub const fn keep_last(mut self) -> Self {
        self.on_conflict = OnConflict::KeepLast;
        self
    }

    /// A burst of jobs becomes one, which starts when there was none for this long: the last one's payload counts. Short for
    /// [`until_started`](Self::until_started), [`replace`](Self::replace), and a delay of `quiet` for a job that has none of its own.
    pub const fn debounce(mut self, quiet: Duration) -> Self {
        (self.until, self.on_conflict) = (Until::Started, OnConflict::Replace { within_ms: None });
        self.delay = Some(quiet);
        self
    }

    /// However often a job is put off by [`replace`](Self::replace) or [`debounce`](Self::debounce), it is due this long after the
    /// first one was accepted, at the latest. Says [`replace`](Self::replace) where nobody has.
    pub fn at_most(mut self, time: Duration) -> Self {
        self.on_conflict = OnConflict::Replace { within_ms: Some(ms(time)) };
        self
    }

    /// One job in this time, the first one: those that come meanwhile are dropped. Short for [`for_window`](Self::for_window) and the
    /// first one's right; with [`keep_last`](Self::keep_last) after it, the last one of them comes when the time is over.
    pub fn throttle(self, window: Duration) -> Self {
        self.for_window(window)
    }

    /// How long a job with it waits that says nothing itself.
    pub(crate) const fn delay(&self) -> Option<Duration> {
        self.delay
    }

    fn check_times(&self) -> Result<(), OutOfRange> {
        if let Until::Window { ms } = self.until {
            range::UNIQUE_WINDOW.check(ms)?;
        }
        if let OnConflict::Replace { within_ms: Some(ms) } = self.on_conflict {
            range::JOB_DELAY.check(ms)?;
        }
        self.delay.map_or(Ok(()), |delay| range::JOB_DELAY.check(ms(delay)))
    }

    /// As the core knows it, for a job of this kind with this payload that goes to this queue.
    pub(crate) fn into_core(
        self,
        kind: &'static str,
        names: (Name, Name),
        payload: &[u8],
    ) -> Result<CoreUnique, EnqueueError> {
        self.check_times()?;
        let text = match self.text {
            Text::Given(text) => text,
            Text::Payload => shortened(canonical(&json(kind, payload, "")?)),
            Text::Fields(fields) => shortened(of_fields(kind, &json(kind, payload, "")?, &fields)?),
        };
        range::UNIQUE_KEY.check(text.len() as u64)?;
        let of = match self.scope {
            UniqueScope::Kind => KeyOf::Kind(names.0),
            UniqueScope::Queue => KeyOf::Queue(names.1),
            UniqueScope::Engine => KeyOf::Engine,
        };
        let key = UniqueKey { of, text: text.into_boxed_str() };
        Ok(CoreUnique { key: key.into(), until: self.until, on_conflict: self.on_conflict })
    }
}

fn json(kind: &'static str, payload: &[u8], field: &str) -> Result<Value, EnqueueError> {
    serde_json::from_slice(payload).map_err(|_| EnqueueError::UniqueField { kind, field: field.to_owned() })
}

/// `name=value`, in the order in which they are named.
fn of_fields(kind: &'static str, payload: &Value, fields: &[String]) -> Result<String, EnqueueError> {
    let parts = fields.iter().map(|field| {
        let value = if field.starts_with('/') { payload.pointer(field) } else { payload.get(field) };
        let value = value.ok_or_else(|| EnqueueError::UniqueField { kind, field: field.clone() })?;
        Ok(format!("{field}={}", canonical(value)))
    });
    Ok(parts.collect::<Result<Vec<_>, EnqueueError>>()?.join("&"))
}

/// The same text for the same value: the fields of every object in the order of their names.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| name.as_str());
            let fields =
                fields.iter().map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// What is longer than a key may be becomes its SHA-256: no two payloads that anybody can find have the same.
fn shortened(text: String) -> String {
    if text.len() <= UniqueKey::BYTES_MAX {
        return text;
    }
    Sha256::digest(text.as_bytes()).iter().fold(String::from("sha256:"), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_fields_makes_no_other_key() {
        let (one, other) = (json!({"b": [1, {"d": 1, "c": "x"}], "a": null}), r#"{"a":null,"b":[1,{"c":"x","d":1}]}"#);
        assert_eq!(canonical(&one), other);
        assert_eq!(canonical(&serde_json::from_str(other).unwrap_or_default()), other);
    }

    #[test]
    fn a_long_key_is_a_short_one_that_differs_where_it_does() {
        let [a, b] = ["a", "b"].map(|end| shortened("x".repeat(300) + end));
        assert!(a.len() == 71 && b.len() == 71 && a != b);
        assert_eq!(shortened("short".to_owned()), "short");
    }

    #[test]
    fn fields_are_found_by_name_and_by_pointer() {
        let payload = json!({"user": {"id": 7}, "list": "news"});
        let key = |fields: &[&str]| {
            of_fields("k", &payload, &fields.iter().map(|&field| field.to_owned()).collect::<Vec<_>>()).ok()
        };
        assert_eq!(key(&["/user/id", "list"]).as_deref(), Some("/user/id=7&list=\"news\""));
        assert_eq!(key(&["nobody"]), None);
    }
}
