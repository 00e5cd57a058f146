//! One job, with all that is kept of it, and what may be done to it.

use askama::Template;
use axum::extract::Path;
use windlass::{JobState, Priority, Verb, When as CoreWhen};

use super::orders::{participle, verb_of};
use super::shell::Shell;
use super::submitted::{Ask, Fields, Submitted};
use super::{Answer, page, text};
use crate::action::Action;
use crate::api::steer::{Edit, edit_one, steer_one};
use crate::api::{Problem, look};
use crate::view::When;
use crate::view::jobs::{AttemptView, JobWhole, LineView, LogView};

/// What may be done to a job by somebody: by its state, and by their permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each button")]
struct Can {
    run_now: bool,
    requeue: bool,
    cancel: bool,
    discard: bool,
    reprioritise: bool,
    reschedule: bool,
    move_it: bool,
    edit: bool,
}

impl Can {
    fn of(whole: &JobWhole, shell: &Shell) -> Self {
        let state = JobState::ALL.into_iter().find(|state| state.as_str() == whole.job.state);
        let may = |verb: &Verb, action| shell.may(action) && state.is_some_and(|state| verb.acts_on(state));
        let is_held = matches!(whole.job.state, "running" | "done");
        Self {
            // Of one that is ready or runs it changes nothing.
            run_now: whole.job.state == "delayed" && may(&Verb::RunNow, Action::RunNow),
            requeue: may(&Verb::Requeue, Action::Requeue),
            cancel: may(&Verb::Cancel, Action::Cancel) && !whole.job.cancel_requested,
            discard: may(&Verb::Discard, Action::Discard),
            reprioritise: may(&Verb::Reprioritise(Priority(0)), Action::Reprioritise),
            reschedule: may(&Verb::Reschedule(CoreWhen::After(0)), Action::Reschedule),
            move_it: may(&Verb::move_to("x"), Action::Move),
            edit: shell.may(Action::Edit) && !is_held && !whole.is_redacted,
        }
    }

    fn anything(self) -> bool {
        let nothing = Self {
            run_now: false,
            requeue: false,
            cancel: false,
            discard: false,
            reprioritise: false,
            reschedule: false,
            move_it: false,
            edit: false,
        };
        self != nothing
    }
}

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage {
    shell: Shell,
    whole: JobWhole,
    can: Can,
    queues: Vec<String>,
    /// Attempts of which nothing is kept: those between the first and the last ones that failed.
    gap_after: Option<(u32, u32)>,
}

pub(super) async fn show(Path(id): Path<String>, ask: Ask) -> Answer {
    let job = look::job_id(&id)?;
    let whole = ask.shared(format!("job {job}"), look::job_whole(&ask.console, job)).await?;
    let shell = ask.shell("/jobs", format!("{} {}", whole.job.kind, text::short(&whole.job.id)));
    let can = Can::of(&whole, &shell);
    let queues = if can.move_it { look::queues(&ask.console).await? } else { Vec::new() };
    let queues = queues.into_iter().map(|queue| queue.name).filter(|queue| *queue != whole.job.queue).collect();
    let gap_after = gap(&whole.attempts_kept);
    page(&JobPage { shell, whole, can, queues, gap_after })
}

/// Where attempts are missing in the list: after which one, and how many.
fn gap(attempts: &[AttemptView]) -> Option<(u32, u32)> {
    attempts.windows(2).find_map(|pair| {
        let [one, next] = pair else { return None };
        let missing = next.attempt.saturating_sub(one.attempt + 1);
        (missing > 0).then_some((one.attempt, missing))
    })
}

pub(super) async fn steer(Path(id): Path<String>, form: Submitted) -> Answer {
    let job = look::job_id(&id)?;
    let (console, visitor) = (&form.console, &form.visitor);
    let said = if form.fields.need("verb")? == "edit" {
        let edit = edit_of(&form.fields)?;
        let is_requeued = edit.requeue;
        edit_one(console, visitor, job, edit).await?;
        format!("The job has another payload{}.", if is_requeued { ", and is requeued" } else { "" })
    } else {
        let verb = verb_of(&form.fields)?;
        let steered = steer_one(console, visitor, job, &verb).await?;
        let said = participle(&verb);
        let Some(state) = steered.state else {
            return Ok(form.done("/jobs", &format!("Job {job} is {said}, payload and all.")));
        };
        if state == "running" && said == "cancelled" {
            "The running attempt is asked to end.".to_owned()
        } else {
            format!("The job is {said}: it is {state} now.")
        }
    };
    Ok(form.done(&format!("/jobs/{job}"), &said))
}

fn edit_of(fields: &Fields) -> Result<Edit, Problem> {
    let payload = serde_json::from_str(fields.need("payload")?)
        .map_err(|error| Problem::bad(format!("the payload is no JSON: {error}")))?;
    Ok(Edit { payload, version: fields.number("version")?, requeue: fields.is("requeue") })
}

impl AttemptView {
    /// Its class, its sign and its word.
    fn look(&self) -> (&'static str, &'static str, &'static str) {
        let (like, word) = match self.result {
            "succeeded" => ("done", "succeeded"),
            "failed" => ("failed", "failed"),
            "snoozed" => ("delayed", "asked to run again later"),
            "cancelled" => ("cancelled", "called its job off"),
            _ => ("skipped", "was taken back as the service stopped"),
        };
        let (class, sign) = text::look_of(like);
        (class, sign, word)
    }
}

impl LogView {
    fn title(&self) -> String {
        match self.lines.len() {
            1 => "1 line of log".to_owned(),
            lines => format!("{lines} lines of log"),
        }
    }
}

impl LineView {
    /// The time of day, in UTC, to the millisecond.
    fn clock(&self) -> String {
        jiff::Timestamp::try_from(self.at.0)
            .map_or_else(|_| String::new(), |at| at.strftime("%H:%M:%S%.3f").to_string())
    }
}

impl JobWhole {
    /// Whether an attempt in its list says why it failed.
    fn says_failure(&self) -> bool {
        self.attempts_kept.iter().any(|attempt| attempt.failure.is_some())
    }

    /// The trace's id out of its W3C context, which is `version-trace-span-flags`.
    fn trace_id(&self) -> Option<&str> {
        self.trace_context.as_deref().and_then(|context| context.split('-').nth(1))
    }

    /// Why it does not run, or how it ended: one sentence.
    fn sentence(&self) -> String {
        let job = &self.job;
        match (&job.why, job.state) {
            (Some(_), "running") if job.cancel_requested => "Its attempt runs, and was asked to end.".to_owned(),
            (Some(why), "running") => format!("It runs: {why}."),
            (Some(why), _) => format!("It does not run: {why}."),
            (None, "done") => "It succeeded.".to_owned(),
            (None, "dead") => "It gave up: nothing happens to it unless you requeue it.".to_owned(),
            (None, "cancelled") => "It was called off.".to_owned(),
            (None, _) => "It was not started in time.".to_owned(),
        }
    }

    fn ended(&self) -> Option<(When, u64)> {
        let ended = self.job.ended?;
        Some((ended, crate::view::millis(ended.0.duration_since(self.job.created.0).unwrap_or_default())))
    }
}
