//! Flows: a list, and one with its steps.

use clap::Args;

use super::Place;
use super::client::Client;
use super::jobs::{Page, more, next};
use super::shown::{Shown, pairs, span};
use crate::failure::{Failure, Verdict};
use crate::output::{Out, right, table};

/// Which flows.
#[derive(Args, Debug)]
pub(crate) struct Flows {
    #[command(flatten)]
    place: Place,
    /// One of them, by its id: where it stands, step by step
    #[arg(conflicts_with_all = ["state", "limit", "after"])]
    id: Option<String>,
    /// In this state: running, held, undoing, done, failed, cancelled
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    #[command(flatten)]
    page: Page,
}

impl Flows {
    pub(crate) fn run(&self, out: &mut Out) -> Result<Verdict, Failure> {
        let client = self.place.client()?;
        match &self.id {
            Some(id) => one(&client, id, out)?,
            None => self.list(&client, out)?,
        }
        Ok(Verdict::Sound)
    }

    fn list(&self, client: &Client, out: &mut Out) -> Result<(), Failure> {
        let parts = [
            ("state", self.state.clone().unwrap_or_default()),
            ("limit", self.page.limit.to_string()),
            ("after", self.page.after.clone().unwrap_or_default()),
        ];
        let answer = client.get(&["flows"], &parts)?;
        if out.json {
            return out.answer(&answer.text);
        }
        let mut rows = table(&["id", "flow", "state", "steps", "submitted", "ended"]);
        for flow in answer.shown().at("flows").each() {
            rows.add_row(vec![
                flow.at("id").text().into(),
                flow.at("name").text().into(),
                flow.at("state").text().into(),
                right(steps(flow)),
                flow.at("created").relative().into(),
                flow.at("ended").relative().into(),
            ]);
        }
        if rows.is_empty() {
            return out.line("no flow is like that");
        }
        out.table(rows)?;
        more(next(&answer).as_deref(), out)
    }
}

fn steps(flow: Shown<'_>) -> String {
    format!("{} of {}", flow.at("ended_count").number(), flow.at("step_count").number())
}

fn one(client: &Client, id: &str, out: &mut Out) -> Result<(), Failure> {
    let answer = client.get(&["flows", id], &[])?;
    if out.json {
        return out.answer(&answer.text);
    }
    let flow = answer.shown();
    let state = flow.at("state").text();
    let is_well = !matches!(state.as_str(), "failed" | "undoing" | "held");
    out.line(format_args!(
        "flow {}, {}: {}",
        flow.at("id").text(),
        flow.at("name").text(),
        out.verdict(is_well, &state)
    ))?;
    let path = flow.at("critical_path").each();
    let path: Vec<_> =
        path.map(|step| format!("{} {}", step.at("step").text(), span(step.at("took_ms").number()))).collect();
    out.line(pairs([
        ("submitted", flow.at("created").when()),
        ("ended", flow.at("ended").when()),
        ("failed at", flow.at("failed").text()),
        ("longest way", path.join(", ")),
    ]))?;
    let mut rows = table(&["step", "state", "job", "attempts", "needs", "waits for", "why"]);
    for step in flow.at("steps").each() {
        rows.add_row(vec![
            step.at("name").text().into(),
            step.at("state").text().into(),
            step.at("job").text().into(),
            right(step.at("attempts").text()),
            step.at("needs").list().into(),
            step.at("blocked_by").list().into(),
            why(step).into(),
        ]);
    }
    out.table(rows)
}

fn why(step: Shown<'_>) -> String {
    let (batch, off) = (step.at("batch"), step.at("called_off_by"));
    let work = step.at("work");
    let mut words = Vec::new();
    if work.raw().is_some_and(|work| work != "job") {
        words.push(work.text());
    }
    if batch.is_there() {
        words.push(format!(
            "{} of {} jobs done, {} dead",
            batch.at("done").number(),
            batch.at("jobs").number(),
            batch.at("dead").number()
        ));
    }
    if step.at("is_holding").is() {
        words.push("waits for somebody to retry or skip it".to_owned());
    }
    if off.is_there() {
        words.push(format!("called off by {}", off.text()));
    }
    if step.at("failure").is_there() {
        words.push(step.at("failure").failure());
    }
    words.join("; ")
}
