//! Orders: what is done to all that a filter means. First counted, then confirmed, then followed.

use askama::Template;

use super::jobs::{FIELDS, Filled, query_of};
use super::shell::Shell;
use super::submitted::{Ask, Fields, Submitted};
use super::{Answer, page, text};
use crate::action::Action;
use crate::api::Problem;
use crate::api::orders::{OrderWords, cancel_order, steer_many};
use crate::api::steer::VerbWords;
use crate::console::Console;
use crate::view::jobs::OrderView;

/// From so many jobs on, a number has to be typed.
const TYPED_FROM: u64 = 100;

#[derive(Template)]
#[template(path = "orders.html")]
struct Orders {
    shell: Shell,
    orders: Vec<OrderView>,
}

pub(super) async fn all(console: &Console) -> Result<Vec<OrderView>, Problem> {
    let mut orders: Vec<_> = console.engine().orders().await?.iter().map(OrderView::from).collect();
    orders.sort_by_key(|order| std::cmp::Reverse((order.ended.is_none(), order.placed)));
    Ok(orders)
}

pub(super) async fn list(ask: Ask) -> Answer {
    let orders = ask.shared("orders", all(&ask.console)).await?;
    page(&Orders { shell: ask.shell("/orders", "Orders"), orders })
}

pub(super) async fn cancel(form: Submitted) -> Answer {
    let order = cancel_order(&form.console, &form.visitor, form.fields.need("order")?).await?;
    Ok(form.done("/orders", &format!("The order is called off: {} jobs were {} before.", order.changed, order.verb)))
}

/// Says what an order would come to, and asks whether it is meant.
#[derive(Template)]
#[template(path = "confirm.html")]
struct Confirm {
    shell: Shell,
    verb: &'static str,
    jobs: u64,
    filled: Filled,
    /// Filter and verb, to be sent again.
    fields: Vec<(&'static str, String)>,
    has_to_be_typed: bool,
}

const VERB_FIELDS: [&str; 5] = ["verb", "priority", "in_s", "queue_to", "rate"];

pub(super) async fn place(form: Submitted) -> Answer {
    let verb = verb_of(&form.fields)?;
    let is_meant = form.fields.is("meant");
    let filter = query_of(&form.fields);
    let is_open = filter.is_open();
    let jobs = if is_meant { form.fields.number("jobs")?.unwrap_or_default() } else { 0 };
    if is_meant && jobs >= TYPED_FROM && form.fields.number::<u64>("typed")? != Some(jobs) {
        return Err(Problem::bad(format!("to do this to {jobs} jobs, their number has to be typed")));
    }
    let words = OrderWords {
        verb: verb.clone(),
        filter,
        rate_per_s: form.fields.number("rate")?,
        dry_run: !is_meant,
        // The confirmation says that it means all jobs there are.
        all_jobs: is_open,
    };
    let placed = steer_many(&form.console, &form.visitor, words).await?;
    if placed.order.is_some() {
        let said = format!("An order is under way: jobs are being {}.", participle(&verb));
        return Ok(form.done(&format!("/jobs{}", form.fields.query(&FIELDS)), &said));
    }
    let jobs = placed.jobs.unwrap_or_default();
    let names = FIELDS.iter().chain(&VERB_FIELDS);
    let fields = names.filter_map(|name| Some((*name, form.fields.owned(name)?))).collect();
    page(&Confirm {
        shell: form.shell("/jobs", "Are you sure?"),
        verb: participle(&verb),
        jobs,
        filled: Filled::new(&form.fields),
        fields,
        has_to_be_typed: jobs >= TYPED_FROM,
    })
}

/// What a form says is to be done.
pub(super) fn verb_of(fields: &Fields) -> Result<VerbWords, Problem> {
    Ok(match fields.need("verb")? {
        "cancel" => VerbWords::Cancel {},
        "discard" => VerbWords::Discard {},
        "run_now" => VerbWords::RunNow {},
        "requeue" => VerbWords::Requeue {},
        "reprioritise" => {
            let priority = fields.number("priority")?;
            let priority =
                priority.ok_or_else(|| Problem::bad("say a priority: 0 is the most urgent, 255 the least"))?;
            VerbWords::Reprioritise { priority }
        }
        "reschedule" => {
            let seconds = fields.number::<u64>("in_s")?.ok_or_else(|| Problem::bad("say in how many seconds"))?;
            VerbWords::Reschedule { at: None, in_ms: Some(seconds.saturating_mul(1_000)) }
        }
        "move" => VerbWords::Move { queue: fields.need("queue_to")?.to_owned() },
        _ => return Err(Problem::bad("there is no such verb")),
    })
}

pub(super) const fn participle(verb: &VerbWords) -> &'static str {
    match verb {
        VerbWords::Cancel {} => "cancelled",
        VerbWords::Discard {} => "discarded",
        VerbWords::RunNow {} => "run now",
        VerbWords::Requeue {} => "requeued",
        VerbWords::Reprioritise { .. } => "reprioritised",
        VerbWords::Reschedule { .. } => "rescheduled",
        VerbWords::Move { .. } => "moved",
    }
}
