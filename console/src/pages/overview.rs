//! The engine at a glance.

use std::time::Duration;

use askama::Template;
use tokio::time::timeout;

use super::charts::span_of;
use super::shell::Shell;
use super::submitted::Ask;
use super::{Answer, page, text};
use crate::api::query::JobQuery;
use crate::api::{Problem, look};
use crate::history::Span;
use crate::view::When;
use crate::view::dead::DeadGroup;
use crate::view::overview::{HealthView, Numbers, Overview as Glance};

/// For how long the engine is waited for: its health is known without, and is the more wanted then.
const PATIENCE: Duration = Duration::from_secs(2);
/// Groups of dead letters that are shown.
const GROUPS_SHOWN: usize = 5;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    shell: Shell,
    glance: Glance,
    /// Why there are no numbers.
    silent: Option<String>,
    groups: Vec<DeadGroup>,
    span: Span,
    since: Option<When>,
    latest: u64,
    chart_queue: Option<String>,
    is_history_kept: bool,
}

pub(super) async fn show(ask: Ask) -> Answer {
    let (console, history) = (&ask.console, ask.console.history());
    console.begin_history();
    let asked = timeout(PATIENCE, look::overview(console, ask.fresh())).await;
    let (glance, silent) = match asked {
        Ok(Ok(glance)) => (glance, None),
        Ok(Err(problem)) => (health_only(&ask), Some(problem.detail().to_owned())),
        Err(_) => (health_only(&ask), Some(format!("the engine did not answer within {} s", PATIENCE.as_secs()))),
    };
    // The list of causes takes a walk over records: not every two seconds.
    let mut groups = if ask.is_live || silent.is_some() { Vec::new() } else { groups(&ask).await? };
    groups.truncate(GROUPS_SHOWN);
    let span = span_of(&ask);
    page(&Overview {
        shell: ask.shell("/", "Overview"),
        glance,
        silent,
        groups,
        span,
        since: history.since(span).map(When),
        latest: history.latest(),
        chart_queue: None,
        is_history_kept: history.is_kept(),
    })
}

async fn groups(ask: &Ask) -> Result<Vec<DeadGroup>, Problem> {
    Ok(look::dead_groups(&ask.console, &JobQuery::default()).await?.groups)
}

fn health_only(ask: &Ask) -> Glance {
    Glance {
        environment: None,
        health: HealthView::from(&ask.console.engine().health()),
        all: Numbers::default(),
        queues: Vec::new(),
        kinds: Vec::new(),
        memory: None,
        journal: None,
    }
}
