//! What is done to one job.

use std::time::Duration;

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use windlass::{JobId, JobState, Priority, Timestamp, Verb, When as CoreWhen};

use super::change::Change;
use super::problem::Problem;
use super::query::moment;
use super::{act, look};
use crate::action::Action;
use crate::console::Console;
use crate::guard::Visitor;
use crate::view::since_1970;

/// What is done to a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum VerbWords {
    /// Calls it off: at once where it waits, by asking its attempt where it runs.
    Cancel {},
    /// Forgets it, payload and all.
    Discard {},
    /// Ends its delay.
    RunNow {},
    /// Brings it back, with all its retries before it.
    Requeue {},
    /// Gives it another priority.
    Reprioritise {
        /// 0 is the most urgent, 255 the least.
        #[schema(maximum = 255)]
        priority: u8,
    },
    /// Starts it at another time, and not before.
    Reschedule {
        /// The time, RFC 3339.
        #[serde(default)]
        at: Option<String>,
        /// Or in so many milliseconds.
        #[serde(default)]
        in_ms: Option<u64>,
    },
    /// Moves it to the end of another queue.
    Move {
        /// The queue.
        queue: String,
    },
}

impl VerbWords {
    pub(super) fn to_core(&self) -> Result<(Verb, Action), Problem> {
        Ok(match self {
            Self::Cancel {} => (Verb::Cancel, Action::Cancel),
            Self::Discard {} => (Verb::Discard, Action::Discard),
            Self::RunNow {} => (Verb::RunNow, Action::RunNow),
            Self::Requeue {} => (Verb::Requeue, Action::Requeue),
            Self::Reprioritise { priority } => (Verb::Reprioritise(Priority(*priority)), Action::Reprioritise),
            Self::Reschedule { at: Some(at), in_ms: None } => {
                let at = Timestamp(since_1970(moment("at", at)?));
                (Verb::Reschedule(CoreWhen::At(at)), Action::Reschedule)
            }
            Self::Reschedule { at: None, in_ms: Some(ms) } => {
                (Verb::Reschedule(CoreWhen::After(*ms)), Action::Reschedule)
            }
            Self::Reschedule { .. } => return Err(Problem::bad("say either `at` or `in_ms`")),
            Self::Move { queue } => (Verb::move_to(queue), Action::Move),
        })
    }
}

/// A job that was changed.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Steered {
    /// Its state now; absent where it is forgotten.
    pub(crate) state: Option<&'static str>,
}

/// Does something to a job.
#[utoipa::path(post, path = "/jobs/{id}/steer", params(("id" = String, Path)), request_body = VerbWords,
    responses((status = 200, body = Steered), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn steer(
    Path(id): Path<String>,
    Change { console, visitor, body: words }: Change<VerbWords>,
) -> Result<Json<Steered>, Problem> {
    steer_one(&console, &visitor, look::job_id(&id)?, &words).await.map(Json)
}

pub(crate) async fn steer_one(
    console: &Console,
    visitor: &Visitor,
    id: JobId,
    words: &VerbWords,
) -> Result<Steered, Problem> {
    let (verb, action) = words.to_core()?;
    let engine = console.engine();
    let doing = async {
        Ok::<Option<JobState>, Problem>(Some(match verb {
            Verb::Cancel => engine.cancel(id).await?,
            Verb::RunNow => engine.run_now(id).await?,
            Verb::Requeue => engine.requeue(id).await?,
            Verb::Reprioritise(priority) => engine.reprioritise(id, priority).await?,
            Verb::Reschedule(CoreWhen::After(ms)) => engine.reschedule_in(id, Duration::from_millis(ms)).await?,
            Verb::Reschedule(CoreWhen::At(at)) => {
                let at = std::time::UNIX_EPOCH + Duration::from_millis(at.0);
                engine.reschedule_at(id, at).await?
            }
            Verb::Move(queue) => engine.move_to(id, queue.as_str()).await?,
            Verb::Discard => {
                engine.discard(id).await?;
                return Ok(None);
            }
        }))
    };
    let state = act(console, visitor, action, id, doing).await?;
    Ok(Steered { state: state.map(JobState::as_str) })
}

/// Another payload for a job.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    /// The payload, as its kind has it.
    pub(crate) payload: Value,
    /// Its schema version; as it was unless said.
    #[serde(default)]
    #[schema(maximum = 4_294_967_295_u32)]
    pub(crate) version: Option<u32>,
    /// Brings the job back afterwards, if it has ended.
    #[serde(default)]
    pub(crate) requeue: bool,
}

/// Gives a job another payload, and may bring it back with that.
#[utoipa::path(post, path = "/jobs/{id}/edit", params(("id" = String, Path)), request_body = Edit,
    responses((status = 200, body = Steered), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn edit(
    Path(id): Path<String>,
    Change { console, visitor, body: edit }: Change<Edit>,
) -> Result<Json<Steered>, Problem> {
    edit_one(&console, &visitor, look::job_id(&id)?, edit).await.map(Json)
}

pub(crate) async fn edit_one(console: &Console, visitor: &Visitor, id: JobId, edit: Edit) -> Result<Steered, Problem> {
    let engine = console.engine();
    let doing = async {
        if console.redaction().is_there() {
            let detail = "payloads are redacted here: what is hidden would be lost";
            return Err(Problem::new(StatusCode::CONFLICT, "not editable", detail));
        }
        let version = match edit.version {
            Some(version) => version,
            None => engine.inspect(id).await?.version,
        };
        let payload = serde_json::to_vec(&edit.payload).map_err(|error| Problem::bad(error.to_string()))?;
        Ok(engine.edit_payload(id, Bytes::from(payload), version).await?)
    };
    let mut state = act(console, visitor, Action::Edit, id, doing).await?;
    if edit.requeue {
        state = act(console, visitor, Action::Requeue, id, engine.requeue(id)).await?;
    }
    Ok(Steered { state: Some(state.as_str()) })
}
