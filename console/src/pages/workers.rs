//! What runs now, on which slots, and what nobody runs.

use std::collections::BTreeMap;

use askama::Template;

use super::shell::Shell;
use super::submitted::Ask;
use super::{Answer, page, text};
use crate::api::look;
use crate::api::query::JobQuery;
use crate::view::jobs::JobView;
use crate::view::millis;
use crate::view::overview::QueueView;

/// Parked jobs that are looked at for their kinds.
const PARKED_LOOKED_AT: usize = 500;

/// A kind that nobody serves, in a queue, and why.
#[derive(Clone)]
struct Unserved {
    kind: String,
    queue: String,
    why: String,
    count: u64,
}

#[derive(Template)]
#[template(path = "workers.html")]
struct Workers {
    shell: Shell,
    running: Vec<JobView>,
    queues: Vec<QueueView>,
    unserved: Vec<Unserved>,
    parked: u64,
}

pub(super) async fn list(ask: Ask) -> Answer {
    let queues = look::seen(&ask.console, ask.fresh()).await?.queues.clone();
    let parked = queues.iter().map(|queue| queue.numbers.parked).sum();
    let unserved = if parked > 0 { ask.shared("unserved", unserved(&ask)).await? } else { Vec::new() };
    let running = ask.shared("running", look::workers(&ask.console)).await?;
    page(&Workers { shell: ask.shell("/workers", "Workers"), running, queues, unserved, parked })
}

async fn unserved(ask: &Ask) -> Result<Vec<Unserved>, crate::api::Problem> {
    let query = JobQuery { state: Some("parked".to_owned()), limit: Some(PARKED_LOOKED_AT), ..JobQuery::default() };
    let mut groups = BTreeMap::<_, u64>::new();
    for job in look::jobs_page(&ask.console, &query).await?.jobs {
        *groups.entry((job.kind, job.queue, job.why.unwrap_or_default())).or_default() += 1;
    }
    Ok(groups.into_iter().map(|((kind, queue, why), count)| Unserved { kind, queue, why, count }).collect())
}

impl JobView {
    /// For how long its attempt has run, in milliseconds.
    pub(super) fn runs_ms(&self) -> Option<u64> {
        self.started.map(|started| millis(started.0.elapsed().unwrap_or_default()))
    }

    /// How far it says that it is, where it says so as a part of a whole: a number up to 1, or one up to 100.
    pub(super) fn part_done(&self) -> Option<(f64, f64)> {
        let progress = self.progress.as_ref()?;
        let number = |name: &str| progress.get(name).and_then(serde_json::Value::as_f64);
        let whole = ["total", "of", "max", "count"].into_iter().find_map(number);
        let done = ["done", "current", "at", "processed", "step"].into_iter().find_map(number);
        match (progress.as_f64(), done, whole) {
            (Some(part), ..) if (0.0..=1.0).contains(&part) => Some((part, 1.0)),
            (Some(percent), ..) if (0.0..=100.0).contains(&percent) => Some((percent, 100.0)),
            (_, Some(done), Some(whole)) if whole > 0.0 && (0.0..=whole).contains(&done) => Some((done, whole)),
            _ => None,
        }
    }
}
