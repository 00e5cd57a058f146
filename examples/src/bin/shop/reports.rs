//! Reports: what the database knows, counted, as a file.

use std::fmt::Write;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use windlass::{Context, Job, JobError, MIN, Schedule, Unique};

use crate::app::{App, Shop};
use crate::problem::Problem;
use crate::queues::REPORTS;

/// Counts the sign-ups of each day.
#[derive(Serialize, Deserialize)]
pub(crate) struct SignUpsPerDay {}

impl Job for SignUpsPerDay {
    const KIND: &'static str = "sign-ups-per-day";
    const QUEUE: &'static str = REPORTS;
    /// The report's file.
    type Output = String;

    /// One that waits is enough, however many ask: it will see what the database has when it starts.
    fn unique(&self) -> Option<Unique> {
        Some(Unique::key("all").until_started())
    }
}

/// Blocks: asks, counts, writes. Running twice writes the same file twice, each time whole.
// Handlers own what they are given.
#[allow(clippy::needless_pass_by_value)]
pub(crate) fn sign_ups_per_day(_job: SignUpsPerDay, cx: Context<Arc<App>>) -> Result<String, JobError> {
    let app = cx.app();
    let days = app.database.sign_ups_per_day_blocking()?;
    // Nobody can stop a thread from outside, so it asks.
    if cx.is_cancelled() {
        return Err("stopped before the report was written".into());
    }
    let mut csv = "day,sign_ups\n".to_owned();
    for (day, sign_ups) in days {
        writeln!(csv, "{day},{sign_ups}")?;
    }
    let name = file_of(&cx.id().to_string());
    app.reports.write(&name, csv.as_bytes())?;
    Ok(name)
}

/// A report is called after its job.
fn file_of(job_id: &str) -> String {
    format!("{job_id}.csv")
}

/// One every night, some minutes after three where the shop is.
pub(crate) fn nightly() -> Schedule {
    Schedule::cron("nightly-report", "0 3 * * *", &SignUpsPerDay {}).zone("Europe/Berlin").jitter(MIN * 10)
}

/// `POST /reports`: the file will be in the folder `reports` once the job is done. Whoever asks while one waits gets that one.
pub(crate) async fn accept(State(shop): State<Shop>) -> Result<(StatusCode, Json<Value>), Problem> {
    let id = shop.engine.enqueue(SignUpsPerDay {}).await?.id().to_string();
    Ok((StatusCode::ACCEPTED, Json(json!({ "file": file_of(&id), "job_id": id }))))
}
