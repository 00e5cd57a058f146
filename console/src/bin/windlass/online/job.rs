//! One job.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Place;
use super::ask::confirmed;
use super::client::Client;
use super::shown::{Shown, pairs, span};
use crate::failure::{Failure, Verdict};
use crate::output::{Out, right, table};

/// Which job.
#[derive(Args, Debug)]
pub(crate) struct Job {
    #[command(flatten)]
    place: Place,
    /// The job's id
    id: String,
    /// What to do to it; nothing unless said
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What is done to a job.
#[derive(Clone, Copy, Debug, Subcommand)]
enum Verb {
    /// End its delay
    RunNow,
    /// Bring it back, with all its retries before it
    #[command(visible_alias = "requeue")]
    Retry,
    /// Call it off: at once where it waits, by asking its attempt where it runs
    Cancel,
    /// Forget it, payload and all
    Discard {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

impl Job {
    pub(crate) fn run(&self, out: &mut Out) -> Result<Verdict, Failure> {
        let client = self.place.client()?;
        match self.verb {
            None => self.tell(&client, out).map(|()| Verdict::Sound),
            Some(verb) => self.steer(&client, verb, out),
        }
    }

    fn steer(&self, client: &Client, verb: Verb, out: &mut Out) -> Result<Verdict, Failure> {
        let word = match verb {
            Verb::RunNow => "run_now",
            Verb::Retry => "requeue",
            Verb::Cancel => "cancel",
            Verb::Discard { yes } => {
                if !confirmed(format_args!("Forget job {}, payload and all", super::one_line(&self.id)), yes)? {
                    out.note("nothing was changed");
                    return Ok(Verdict::Wrong);
                }
                "discard"
            }
        };
        let answer = client.post(&["jobs", &self.id, "steer"], &json!({ "verb": word }))?;
        if out.json {
            out.answer(&answer.text)?;
        } else {
            let state = answer.shown().at("state");
            let now = if state.is_there() { format!("is {} now", state.text()) } else { "is forgotten".to_owned() };
            out.line(format_args!("job {} {now}", super::one_line(&self.id)))?;
        }
        Ok(Verdict::Sound)
    }

    fn tell(&self, client: &Client, out: &mut Out) -> Result<(), Failure> {
        let answer = client.get(&["jobs", &self.id], &[])?;
        if out.json {
            return out.answer(&answer.text);
        }
        tell(answer.shown(), out)
    }
}

fn tell(job: Shown<'_>, out: &mut Out) -> Result<(), Failure> {
    let state = job.at("state").text();
    let is_well = !matches!(state.as_str(), "dead" | "expired");
    out.line(format_args!("job {}: {}", job.at("id").text(), out.verdict(is_well, &state)))?;
    let counts = [("failures", "that count"), ("lost", "lost with their process")];
    let counts = counts.into_iter().filter(|(name, _)| job.at(name).number() > 0);
    let counts =
        counts.fold(job.at("attempts").text(), |all, (name, word)| format!("{all}, {} {word}", job.at(name).number()));
    let asked = if job.at("cancel_requested").is() { "asked for" } else { "" };
    out.line(pairs([
        ("why", job.at("why").text()),
        ("failure", job.at("failure").failure()),
        ("kind", format!("{}, version {}", job.at("kind").text(), job.at("version").number())),
        ("queue", job.at("queue").text()),
        ("priority", job.at("priority").text()),
        ("attempts", counts),
        ("cancel", asked.to_owned()),
        ("accepted", job.at("created").when()),
        ("due", job.at("due").when()),
        ("expires", job.at("expires").when()),
        ("deadline", job.at("deadline").when()),
        ("ended", job.at("ended").when()),
        ("progress", job.at("progress").text()),
        ("tags", job.at("tags").list()),
        ("correlation", job.at("correlation_id").text()),
        ("trace", job.at("trace_context").text()),
        ("flow", flow_of(job.at("part_of"))),
        ("schedule", job.at("schedule").text()),
        ("scheduled for", job.at("scheduled_for").when()),
        ("unique key", job.at("unique_key").text()),
        ("key holder", job.at("key_holder").text()),
        ("limit key", job.at("limit_key").text()),
    ]))?;
    let hidden = if job.at("is_redacted").is() { " (the service may hide parts of it)" } else { "" };
    block(&format!("payload{hidden}"), job.at("payload"), out)?;
    block("output", job.at("output"), out)?;
    attempts(job, out)?;
    log("log of the attempt that runs", job.at("running_log"), out)
}

/// Which step of which flow it is, or of which batch of it.
fn flow_of(part: Shown<'_>) -> String {
    if !part.is_there() {
        return String::new();
    }
    let what = if part.at("is_of_batch").is() { "of the batch" } else { "step" };
    let step = if part.at("step").is_there() { part.at("step").text() } else { part.at("step_no").text() };
    format!("{what} {step} of {}", part.at("flow").text())
}

fn attempts(job: Shown<'_>, out: &mut Out) -> Result<(), Failure> {
    if job.at("attempts_kept").each().next().is_none() {
        return Ok(());
    }
    let mut rows = table(&["attempt", "started", "ran", "result", "how", "what it said"]);
    for attempt in job.at("attempts_kept").each() {
        let failure = attempt.at("failure");
        rows.add_row(vec![
            right(attempt.at("attempt").text()),
            attempt.at("started").when().into(),
            right(span(attempt.at("ran_ms").number())),
            attempt.at("result").text().into(),
            failure.at("kind").text().into(),
            failure.at("message").text().into(),
        ]);
    }
    out.line("attempts that failed or left a log:")?;
    out.table(rows)?;
    for attempt in job.at("attempts_kept").each() {
        log(&format!("log of attempt {}", attempt.at("attempt").text()), attempt.at("log"), out)?;
    }
    Ok(())
}

fn log(name: &str, log: Shown<'_>, out: &mut Out) -> Result<(), Failure> {
    if !log.is_there() {
        return Ok(());
    }
    out.line(format_args!("{name}:"))?;
    if log.at("dropped").number() > 0 {
        out.line(format_args!("  ({} lines before these are not kept)", log.at("dropped").text()))?;
    }
    for line in log.at("lines").each() {
        let [at, level, target, text] = ["at", "level", "target", "text"].map(|part| line.at(part).text());
        out.line(format_args!("  {at} {level:5} {target}: {text}"))?;
    }
    Ok(())
}

fn block(name: &str, value: Shown<'_>, out: &mut Out) -> Result<(), Failure> {
    if !value.is_there() {
        return Ok(());
    }
    out.line(format_args!("{name}:"))?;
    for line in value.lines() {
        out.line(format_args!("  {line}"))?;
    }
    Ok(())
}
