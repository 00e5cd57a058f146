//! Schedules: when they fire, and what is done to one.

use askama::Template;

use super::shell::Shell;
use super::submitted::{Ask, Submitted};
use super::{Answer, page, text};
use crate::action::Action;
use crate::api::Problem;
use crate::api::schedules::steer_schedule;
use crate::console::Console;
use crate::view::schedules::ScheduleView;

#[derive(Template)]
#[template(path = "schedules.html")]
struct Schedules {
    shell: Shell,
    schedules: Vec<ScheduleView>,
}

pub(super) async fn list(ask: Ask) -> Answer {
    let schedules = ask.shared("schedules", all(&ask.console)).await?;
    page(&Schedules { shell: ask.shell("/schedules", "Schedules"), schedules })
}

async fn all(console: &Console) -> Result<Vec<ScheduleView>, Problem> {
    Ok(console.engine().schedules().await?.iter().map(ScheduleView::from).collect())
}

pub(super) async fn steer(form: Submitted) -> Answer {
    let (name, verb) = (form.fields.need("schedule")?, form.fields.need("verb")?);
    let steered = steer_schedule(&form.console, &form.visitor, name, verb, None).await?;
    if let Some(job) = steered.job {
        return Ok(form.done(&format!("/jobs/{job}"), &format!("Schedule {name} has enqueued this job just now.")));
    }
    let said = match verb {
        "pause" => format!("Schedule {name} is paused. Its jobs that wait go on."),
        "resume" => format!("Schedule {name} fires again. What passed meanwhile is left out."),
        _ => format!("Schedule {name} is removed."),
    };
    Ok(form.done("/schedules", &said))
}
