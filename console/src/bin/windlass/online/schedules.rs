//! Schedules.

use super::client::Client;
use super::shown::Shown;
use crate::failure::{Failure, Verdict};
use crate::output::{Out, right, table};

pub(crate) fn run(client: &Client, out: &mut Out) -> Result<Verdict, Failure> {
    let answer = client.get(&["schedules"], &[])?;
    if out.json {
        out.answer(&answer.text)?;
        return Ok(Verdict::Sound);
    }
    let mut rows = table(&["schedule", "when", "kind", "queue", "next", "last", "jobs so far", ""]);
    for schedule in answer.shown().each() {
        rows.add_row(vec![
            schedule.at("name").text().into(),
            schedule.at("rule").text().into(),
            schedule.at("kind").text().into(),
            schedule.at("queue").text().into(),
            schedule.at("next").relative().into(),
            schedule.at("last").relative().into(),
            right(schedule.at("fired_total").text()),
            remarks(schedule).into(),
        ]);
    }
    if rows.is_empty() {
        out.line("there are no schedules")?;
    } else {
        out.table(rows)?;
    }
    Ok(Verdict::Sound)
}

fn remarks(schedule: Shown<'_>) -> String {
    let is = |name: &str, word: &str| if schedule.at(name).is() { word.to_owned() } else { String::new() };
    let held = schedule.at("held").number();
    let held = if held > 0 { format!("{held} held") } else { String::new() };
    let words = [is("is_paused", "paused"), is("is_orphan", "no longer in the code"), held];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ")
}
