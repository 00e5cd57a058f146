//! Lists of jobs.

use clap::Args;

use super::Place;
use super::client::{Answer, Client};
use super::filter::Filter;
use super::shown::Shown;
use crate::failure::{Failure, Verdict};
use crate::output::{Out, right, table};

/// Which jobs to list.
#[derive(Args, Debug)]
pub(crate) struct Jobs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    filter: Filter,
    /// In this state: waiting, delayed, ready, running, parked, done, dead, cancelled, expired; several as for queues
    #[arg(long = "state", value_name = "STATE", value_delimiter = ',')]
    states: Vec<String>,
    /// With this field in the payload, as far as that may be seen: customer.id=42, or /customer/id=42 where names have dots in them.
    /// Payloads are read one by one: say what else is known of the jobs
    #[arg(long, value_name = "FIELD=VALUE")]
    payload: Option<String>,
    #[command(flatten)]
    page: Page,
    /// Tell how many there are, and not which: it walks over all of them
    #[arg(long, conflicts_with_all = ["limit", "after", "payload"])]
    count: bool,
}

/// Which part of a list.
#[derive(Args, Clone, Debug)]
pub(crate) struct Page {
    /// So many at most: 1 to 1,000
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub(crate) limit: u64,
    /// Go on after the page that gave this as its `next`
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
}

impl Jobs {
    pub(crate) fn run(&self, out: &mut Out) -> Result<Verdict, Failure> {
        let client = self.place.client()?;
        let mut parts = self.filter.parts();
        parts.push(("state", self.states.join(",")));
        parts.push(("payload", self.payload.clone().unwrap_or_default()));
        if self.count {
            let answer = client.get(&["jobs", "count"], &parts)?;
            if out.json {
                out.answer(&answer.text)?;
            } else {
                out.line(answer.shown().at("count").number())?;
            }
            return Ok(Verdict::Sound);
        }
        list(&client, parts, &self.page, out)?;
        Ok(Verdict::Sound)
    }
}

/// As JSON a page as it is; for people as many as they asked for, since a page may be short and have a next one.
pub(crate) fn list(
    client: &Client,
    mut parts: Vec<(&'static str, String)>,
    page: &Page,
    out: &mut Out,
) -> Result<(), Failure> {
    let mut rows = table(&["id", "kind", "queue", "state", "attempts", "since", "why"]);
    let (mut after, mut left) = (page.after.clone(), page.limit);
    let at = parts.len();
    loop {
        parts.truncate(at);
        parts.extend([("limit", left.to_string()), ("after", after.clone().unwrap_or_default())]);
        let answer = client.get(&["jobs"], &parts)?;
        if out.json {
            return out.answer(&answer.text);
        }
        for job in answer.shown().at("jobs").each() {
            rows.add_row(row(job));
            left = left.saturating_sub(1);
        }
        after = next(&answer);
        if after.is_none() || left == 0 {
            break;
        }
    }
    if rows.is_empty() {
        return out.line("no job is like that");
    }
    out.table(rows)?;
    more(after.as_deref(), out)
}

/// Where the list goes on.
pub(crate) fn next(answer: &Answer) -> Option<String> {
    answer.shown().at("next").raw().map(str::to_owned)
}

/// Says so where there are more.
pub(crate) fn more(after: Option<&str>, out: &mut Out) -> Result<(), Failure> {
    match after {
        Some(cursor) => out.line(format_args!("There are more: --after {}", super::one_line(cursor))),
        None => Ok(()),
    }
}

fn row(job: Shown<'_>) -> Vec<comfy_table::Cell> {
    let ended = job.at("ended");
    let since = if ended.is_there() { ended } else { job.at("created") };
    let failure = job.at("failure");
    let why = if failure.is_there() { failure.at("message") } else { job.at("why") };
    let attempts = job.at("attempts").number();
    vec![
        job.at("id").text().into(),
        job.at("kind").text().into(),
        job.at("queue").text().into(),
        job.at("state").text().into(),
        right(attempts.to_string()),
        since.relative().into(),
        why.message().into(),
    ]
}
