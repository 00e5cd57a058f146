//! Queues: how they stand, and what is done to one.

use askama::Template;

use super::charts::span_of;
use super::shell::Shell;
use super::submitted::{Ask, Submitted};
use super::{Answer, page, text};
use crate::action::Action;
use crate::api::queues::{pause_queue, purge_queue, resume_queue};
use crate::api::{Problem, look};
use crate::history::Span;
use crate::view::limits::{LimitRef, LimitView};
use crate::view::overview::QueueView;
use crate::view::pace::KindView;

#[derive(Template)]
#[template(path = "queues.html")]
struct QueuesPage {
    shell: Shell,
    queues: Vec<QueueView>,
}

pub(super) async fn list(ask: Ask) -> Answer {
    let queues = look::seen(&ask.console, ask.fresh()).await?.queues.clone();
    page(&QueuesPage { shell: ask.shell("/queues", "Queues"), queues })
}

#[derive(Template)]
#[template(path = "queue.html")]
struct QueuePage {
    shell: Shell,
    queue: QueueView,
    kinds: Vec<KindView>,
    span: Span,
    latest: u64,
    chart_queue: Option<String>,
    /// Its own one first, and those of its keys.
    limits: Vec<LimitView>,
    back: &'static str,
}

pub(super) async fn one(ask: Ask) -> Answer {
    let name = ask.fields.need("name")?;
    let seen = look::seen(&ask.console, ask.fresh()).await?;
    let Some(queue) = seen.queues.iter().find(|queue| queue.name == name).cloned() else {
        return Err(look::no_queue(name));
    };
    let kinds = seen.paces.kinds.iter().filter(|kind| kind.queue == name).cloned().collect();
    let mut limits = ask.shared("limits", super::limits::all(&ask.console)).await?;
    limits.retain(|limit| match &limit.of {
        LimitRef::Queue { name: of } | LimitRef::EachKey { name: of } | LimitRef::Key { name: of, .. } => of == name,
        _ => false,
    });
    limits.sort_by_key(|limit| !matches!(limit.of, LimitRef::Queue { .. }));
    let title = format!("Queue {name}");
    page(&QueuePage {
        shell: ask.shell("/queues", title),
        kinds,
        span: span_of(&ask),
        latest: ask.console.history().latest(),
        chart_queue: Some(queue.name.clone()),
        queue,
        limits,
        back: "queue",
    })
}

impl QueueView {
    /// Slots that nothing runs on.
    pub(super) const fn free(&self) -> u64 {
        self.numbers.slots.saturating_sub(self.numbers.running)
    }

    /// How many jobs are in each state.
    const fn states(&self) -> [(&'static str, u64); 9] {
        let numbers = &self.numbers;
        [
            ("ready", numbers.ready),
            ("running", numbers.running),
            ("delayed", numbers.delayed),
            ("waiting", numbers.waiting),
            ("parked", numbers.parked),
            ("done", numbers.done),
            ("dead", numbers.dead),
            ("cancelled", numbers.cancelled),
            ("expired", numbers.expired),
        ]
    }

    /// What its switch does.
    const fn switch(&self) -> Action {
        if self.is_paused { Action::ResumeQueue } else { Action::PauseQueue }
    }
}

pub(super) async fn steer(form: Submitted) -> Answer {
    let (console, visitor, queue) = (&form.console, &form.visitor, form.fields.need("queue")?);
    let said = match form.fields.need("verb")? {
        "pause" => {
            pause_queue(console, visitor, queue).await?;
            format!("Queue {queue} is paused. What runs goes on.")
        }
        "resume" => {
            resume_queue(console, visitor, queue).await?;
            format!("Queue {queue} hands out jobs again.")
        }
        "purge" => {
            let confirm = form.fields.text("confirm").unwrap_or_default();
            purge_queue(console, visitor, queue, confirm).await?;
            format!("An order is emptying queue {queue}.")
        }
        _ => return Err(Problem::bad("a queue can be told to `pause`, `resume` or `purge`")),
    };
    let to = if form.fields.text("back") == Some("queue") {
        format!("/queue?name={}", text::encode(queue))
    } else {
        "/queues".to_owned()
    };
    Ok(form.done(&to, &said))
}
