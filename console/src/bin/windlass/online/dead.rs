//! Dead letters: what they died of, brought back, forgotten.

use std::thread::sleep;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ask::confirmed;
use super::client::{Answer, Client};
use super::filter::Filter;
use super::jobs::{self, Page};
use super::shown::{Shown, count};
use super::{Place, one_line};
use crate::failure::{Failure, Verdict};
use crate::output::{Out, right, table};

/// How often an order is asked for how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What to do with dead letters.
#[derive(Args, Debug)]
pub(crate) struct Dead {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Tell what the latest of them died of, those with the same cause together
    List(List),
    /// Bring dead letters back, with all their retries before them
    Requeue(Many),
    /// Forget dead letters, payload and all
    Discard(Many),
}

#[derive(Args, Debug)]
struct List {
    #[command(flatten)]
    filter: Filter,
    /// Each for itself, and not by what they died of
    #[arg(long)]
    plain: bool,
    #[command(flatten)]
    page: Page,
}

/// Which of them: by their ids, by a filter, or all.
#[derive(Args, Debug)]
// Each is a word of its own on the command line.
#[allow(clippy::struct_excessive_bools)]
struct Many {
    /// The ids of these
    #[arg(value_name = "ID", conflicts_with_all = ["all", "dry_run", "rate", "no_wait"])]
    ids: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// All dead letters there are
    #[arg(long)]
    all: bool,
    /// Only tell how many are meant, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// So many a second at most
    #[arg(long, value_name = "JOBS")]
    rate: Option<u32>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Do not wait for the end: the order goes on by itself
    #[arg(long)]
    no_wait: bool,
}

/// One of the two.
#[derive(Clone, Copy, Debug)]
enum Verb {
    Requeue,
    Discard,
}

impl Verb {
    const fn word(self) -> &'static str {
        match self {
            Self::Requeue => "requeue",
            Self::Discard => "discard",
        }
    }

    const fn past(self) -> &'static str {
        match self {
            Self::Requeue => "requeued",
            Self::Discard => "discarded",
        }
    }

    fn question(self, jobs: u64) -> String {
        match self {
            Self::Requeue => format!("Requeue {}", count(jobs, "dead letter", "dead letters")),
            Self::Discard => format!("Forget {}, payload and all", count(jobs, "dead letter", "dead letters")),
        }
    }
}

impl Dead {
    pub(crate) fn run(&self, out: &mut Out) -> Result<Verdict, Failure> {
        let client = self.place.client()?;
        match &self.what {
            What::List(list) => list.run(&client, out).map(|()| Verdict::Sound),
            What::Requeue(many) => many.run(&client, Verb::Requeue, out),
            What::Discard(many) => many.run(&client, Verb::Discard, out),
        }
    }
}

impl List {
    fn run(&self, client: &Client, out: &mut Out) -> Result<(), Failure> {
        let mut parts = self.filter.parts();
        if self.plain {
            parts.push(("state", "dead".to_owned()));
            return jobs::list(client, parts, &self.page, out);
        }
        let answer = client.get(&["dead"], &parts)?;
        if out.json {
            return out.answer(&answer.text);
        }
        let shown = answer.shown();
        let mut rows = table(&["jobs", "kind", "queues", "how", "what the latest said", "latest", "its id", "group"]);
        for group in shown.at("groups").each().take(usize::try_from(self.page.limit).unwrap_or(usize::MAX)) {
            rows.add_row(group_row(group));
        }
        if rows.is_empty() {
            return out.line("no dead letter is like that");
        }
        out.table(rows)?;
        let (seen, retained) = (shown.at("looked_at").number(), shown.at("retained").number());
        out.line(format_args!("{seen} looked at, the latest; {retained} are retained in all"))
    }
}

fn group_row(group: Shown<'_>) -> Vec<comfy_table::Cell> {
    vec![
        right(group.at("count").text()),
        group.at("kind").text().into(),
        group.at("queues").list().into(),
        group.at("failure").text().into(),
        group.at("sample").message().into(),
        group.at("last").relative().into(),
        group.at("latest_job").text().into(),
        group.at("fingerprint").text().into(),
    ]
}

impl Many {
    fn run(&self, client: &Client, verb: Verb, out: &mut Out) -> Result<Verdict, Failure> {
        let filter = self.filter.body();
        match (self.ids.is_empty(), filter.is_empty(), self.all) {
            (false, true, _) => self.by_id(client, verb, out),
            (true, false, false) | (true, true, true) => self.by_filter(client, verb, filter, out),
            (true, true, false) => {
                Err(Failure::Other("say which: ids, a filter such as `--queue` or `--error`, or `--all`".to_owned()))
            }
            _ => Err(Failure::Other("say one of ids, a filter or `--all`, and not two".to_owned())),
        }
    }

    /// All are looked at before the first is touched.
    fn by_id(&self, client: &Client, verb: Verb, out: &mut Out) -> Result<Verdict, Failure> {
        for id in &self.ids {
            let state = client.get(&["jobs", id], &[])?.shown().at("state").text();
            if state != "dead" {
                let id = one_line(id);
                return Err(Failure::Other(format!(
                    "job {id} is no dead letter but {state}: see `windlass job {id}`. Nothing was changed"
                )));
            }
        }
        let jobs = self.ids.len() as u64;
        if matches!(verb, Verb::Discard) && !confirmed(verb.question(jobs), self.yes)? {
            out.note("nothing was changed");
            return Ok(Verdict::Wrong);
        }
        for id in &self.ids {
            let answer = client.post(&["jobs", id, "steer"], &json!({ "verb": verb.word() }))?;
            if out.json {
                out.json_line(&json!({ "id": id, "state": answer.value()["state"] }))?;
            } else {
                out.line(format_args!("job {} is {}", one_line(id), verb.past()))?;
            }
        }
        Ok(Verdict::Sound)
    }

    fn by_filter(
        &self,
        client: &Client,
        verb: Verb,
        mut filter: serde_json::Map<String, Value>,
        out: &mut Out,
    ) -> Result<Verdict, Failure> {
        filter.insert("state".to_owned(), "dead".into());
        let order = |dry_run: bool| json!({ "do": { "verb": verb.word() }, "filter": filter, "dry_run": dry_run, "rate_per_s": self.rate });
        let counted = client.post(&["jobs", "steer"], &order(true))?;
        let jobs = counted.shown().at("jobs").number();
        if self.dry_run {
            return tell_count(&counted, jobs, verb, out);
        }
        if !confirmed(verb.question(jobs), self.yes)? {
            out.note("nothing was changed");
            return Ok(Verdict::Wrong);
        }
        let placed = client.post(&["jobs", "steer"], &order(false))?;
        let order =
            if self.no_wait { placed.value()["order"].clone() } else { ended(client, &placed, jobs, verb, out)? };
        let shown = Shown::of(&order);
        let (changed, skipped) = (shown.at("changed").number(), shown.at("skipped").number());
        if out.json {
            out.report(&json!({ "order": order, "jobs": jobs }))?;
        } else if self.no_wait {
            out.line(format_args!(
                "order {} is placed: {} are meant",
                shown.at("id").text(),
                count(jobs, "job", "jobs")
            ))?;
        } else {
            let skipped = if skipped > 0 { format!(", {skipped} could not be") } else { String::new() };
            let off = if shown.at("is_cancelled").is() { "; somebody called it off" } else { "" };
            out.line(format_args!("{} {}{skipped}{off}", count(changed, "job", "jobs"), verb.past()))?;
        }
        Ok(Verdict::of(skipped == 0 && !shown.at("is_cancelled").is()))
    }
}

/// Waits for the order's end, and answers how it stands then. Whoever breaks that off breaks off the waiting alone.
fn ended(client: &Client, placed: &Answer, jobs: u64, verb: Verb, out: &Out) -> Result<Value, Failure> {
    let mut order = placed.value()["order"].clone();
    let bar = out.progress(jobs, verb.past());
    while order["ended"].is_null() {
        sleep(LOOK_EVERY);
        let orders = client.get(&["orders"], &[])?;
        let found = orders.value().as_array().into_iter().flatten().find(|one| one["id"] == order["id"]);
        let Some(found) = found else { break };
        order = found.clone();
        let shown = Shown::of(&order);
        bar.set_position(shown.at("changed").number() + shown.at("skipped").number());
    }
    bar.finish_and_clear();
    Ok(order)
}

fn tell_count(counted: &Answer, jobs: u64, verb: Verb, out: &mut Out) -> Result<Verdict, Failure> {
    if out.json {
        out.answer(&counted.text)?;
    } else {
        out.line(format_args!("{} would be {}", count(jobs, "dead letter", "dead letters"), verb.past()))?;
    }
    Ok(Verdict::Sound)
}
