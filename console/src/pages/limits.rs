//! Limits: what the code says, what is set over it, and the form for that.

use std::time::Duration;

use askama::Template;

use super::shell::Shell;
use super::submitted::{Ask, Fields, Submitted};
use super::{Answer, page, text};
use crate::action::Action;
use crate::api::Problem;
use crate::api::limits::set_limit;
use crate::console::Console;
use crate::view::limits::{LimitNumbers, LimitRef, LimitView, RateNumbers};
use crate::view::millis;

#[derive(Template)]
#[template(path = "limits.html")]
struct LimitsPage {
    shell: Shell,
    limits: Vec<LimitView>,
    back: &'static str,
}

pub(super) async fn all(console: &Console) -> Result<Vec<LimitView>, Problem> {
    Ok(console.engine().limits().await?.iter().map(LimitView::from).collect())
}

pub(super) async fn list(ask: Ask) -> Answer {
    let limits = ask.shared("limits", all(&ask.console)).await?;
    page(&LimitsPage { shell: ask.shell("/limits", "Limits"), limits, back: "limits" })
}

pub(super) async fn set(form: Submitted) -> Answer {
    let of = limit_of(&form.fields)?;
    let numbers = match form.fields.need("verb")? {
        "set" => Some(numbers(&form.fields)?),
        "reset" => None,
        _ => return Err(Problem::bad("a limit can be told to `set` or `reset`")),
    };
    set_limit(&form.console, &form.visitor, &of, numbers).await?;
    let what = if numbers.is_some() { "is as you set it" } else { "is as the code says" };
    let said = format!("The limit of {} {what}.", of.to_core());
    match (&of, form.fields.text("back")) {
        (LimitRef::Queue { name } | LimitRef::EachKey { name } | LimitRef::Key { name, .. }, Some("queue")) => {
            Ok(form.done(&format!("/queue?name={}", text::encode(name)), &said))
        }
        _ => Ok(form.done("/limits", &said)),
    }
}

fn limit_of(fields: &Fields) -> Result<LimitRef, Problem> {
    let name = fields.need("name")?.to_owned();
    let key = || fields.need("key").map(str::to_owned);
    Ok(match fields.need("scope")? {
        "queue" => LimitRef::Queue { name },
        "each_key" => LimitRef::EachKey { name },
        "key" => LimitRef::Key { name, key: key()? },
        "shared" => LimitRef::Shared { name },
        "shared_each_key" => LimitRef::SharedEachKey { name },
        "shared_key" => LimitRef::SharedKey { name, key: key()? },
        _ => return Err(Problem::bad("there is no such scope of a limit")),
    })
}

fn numbers(fields: &Fields) -> Result<LimitNumbers, Problem> {
    let rate = match (fields.number("jobs")?, fields.number::<f64>("per_s")?) {
        (None, None) => None,
        (Some(jobs), Some(s)) => {
            let period = Duration::try_from_secs_f64(s).map_err(|error| Problem::bad(format!("`per_s`: {error}")))?;
            Some(RateNumbers { jobs, period_ms: millis(period), burst: fields.number("burst")? })
        }
        _ => return Err(Problem::bad("a rate is so many starts in so many seconds: say both, or neither")),
    };
    let numbers = LimitNumbers { slots: fields.number("slots")?, rate, weight: fields.number("weight")? };
    if numbers == LimitNumbers::default() {
        return Err(Problem::bad("nothing is to be set: say slots, a rate or a weight"));
    }
    Ok(numbers)
}

impl LimitView {
    /// What fields of a form name it by: scope, name, key.
    fn fields(&self) -> (&'static str, &str, &str) {
        match &self.of {
            LimitRef::Queue { name } => ("queue", name, ""),
            LimitRef::EachKey { name } => ("each_key", name, ""),
            LimitRef::Key { name, key } => ("key", name, key),
            LimitRef::Shared { name } => ("shared", name, ""),
            LimitRef::SharedEachKey { name } => ("shared_each_key", name, ""),
            LimitRef::SharedKey { name, key } => ("shared_key", name, key),
        }
    }
}

impl LimitNumbers {
    /// As one says it.
    fn in_words(&self) -> String {
        let mut parts = Vec::new();
        if let Some(slots) = self.slots {
            parts.push(format!("{slots} {}", if slots == 1 { "slot" } else { "slots" }));
        }
        if let Some(RateNumbers { jobs, period_ms, burst }) = self.rate {
            let burst = burst.filter(|burst| *burst > 1).map(|burst| format!(", {burst} at once")).unwrap_or_default();
            parts.push(format!("{jobs} per {}{burst}", text::age(period_ms)));
        }
        if let Some(weight) = self.weight {
            parts.push(format!("weight {weight}"));
        }
        if parts.is_empty() { "no limit".to_owned() } else { parts.join(" · ") }
    }

    /// The field of this name in the form that sets it.
    fn field(&self, name: &str) -> String {
        let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
        let rate = self.rate.as_ref();
        match name {
            "slots" => number(self.slots),
            "weight" => number(self.weight),
            "jobs" => number(rate.map(|rate| rate.jobs)),
            "burst" => number(rate.and_then(|rate| rate.burst)),
            _ => rate.map(|rate| Duration::from_millis(rate.period_ms).as_secs_f64().to_string()).unwrap_or_default(),
        }
    }
}

/// The form of one limit.
#[derive(Template)]
#[template(path = "limit_form.html")]
pub(super) struct LimitForm<'a> {
    shell: &'a Shell,
    limit: &'a LimitView,
    back: &'static str,
}

/// Its template escapes what it shows.
impl askama::filters::HtmlSafe for LimitForm<'_> {}

impl Shell {
    pub(super) fn limit_form<'a>(&'a self, limit: &'a LimitView, back: &'static str) -> LimitForm<'a> {
        LimitForm { shell: self, limit, back }
    }
}
