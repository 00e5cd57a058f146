//! How an engine is.

use super::client::Client;
use super::shown::{Shown, span, unless_zero};
use crate::failure::{Failure, Verdict};
use crate::output::{Out, bytes, right, table};

pub(crate) fn run(client: &Client, out: &mut Out) -> Result<Verdict, Failure> {
    let answer = client.get(&["overview"], &[])?;
    let overview = answer.shown();
    if out.json {
        out.answer(&answer.text)?;
    } else {
        tell(overview, out)?;
    }
    Ok(Verdict::of(overview.at("health").at("is_serving").is()))
}

fn tell(overview: Shown<'_>, out: &mut Out) -> Result<(), Failure> {
    let (health, memory) = (overview.at("health"), overview.at("memory"));
    let name = overview.at("environment");
    let name = if name.is_there() { format!("{}: ", name.text()) } else { String::new() };
    let state = out.verdict(health.at("is_serving").is(), &health.at("state").text());
    out.line(format_args!("{name}{state}, since {}", health.at("since").when()))?;
    if !health.at("is_serving").is() || !health.at("accepts_jobs").is() {
        out.line(format_args!("  {}", health.at("what_to_do").text()))?;
    }
    for warning in health.at("warnings").each() {
        let text = out.verdict(false, &warning.at("text").text());
        out.line(format_args!("{text} ({}): {}", warning.at("since").relative(), warning.at("what_to_do").text()))?;
    }
    if memory.is_there() {
        let (used, of) = (bytes(memory.at("used_bytes").number()), bytes(memory.at("bytes_max").number()));
        out.line(format_args!("memory: {used} of {of}; {} payloads on disk only", memory.at("paged_out").number()))?;
    }
    let columns =
        ["queue", "running", "ready", "oldest", "delayed", "waiting", "parked", "dead", "done/min", "failed/min", ""];
    let mut rows = table(&columns);
    for queue in overview.at("queues").each() {
        rows.add_row(row(queue.at("name").text(), queue));
    }
    if overview.at("queues").each().count() > 1 {
        rows.add_row(row("all".to_owned(), overview.at("all")));
    }
    out.table(rows)
}

fn row(name: String, numbers: Shown<'_>) -> Vec<comfy_table::Cell> {
    let number = |name: &str| right(unless_zero(numbers.at(name).number()));
    let slots = format!("{} / {}", numbers.at("running").number(), numbers.at("slots").number());
    let oldest = numbers.at("oldest_ready_ms").number();
    vec![
        name.into(),
        right(slots),
        number("ready"),
        right(if oldest == 0 { String::new() } else { span(oldest) }),
        number("delayed"),
        number("waiting"),
        number("parked"),
        number("dead"),
        number("done_last_minute"),
        number("failed_last_minute"),
        remarks(numbers).into(),
    ]
}

/// What is out of the ordinary about a queue.
pub(crate) fn remarks(queue: Shown<'_>) -> String {
    let breaker = match queue.at("breaker").raw() {
        Some("open") => "breaker open",
        Some("half_open") => "breaker probing",
        _ => "",
    };
    let is = |name: &str, word: &'static str| if queue.at(name).is() { word } else { "" };
    let words = [is("is_paused", "paused"), is("is_late", "late"), breaker];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ")
}
