//! Bodies that are on disk only: read ahead of their turn for the core, and for attempts that began without.
//!
//! Owns the reads, and what it means for an attempt that its payload cannot be read. Every read is on a thread where blocking
//! is allowed: never on the engine's own, and never before a lease goes out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ractor::ActorRef;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::{error, warn};
use windlass_scheduler::attempt::{Failure, FailureKind, Outcome, Retry};
use windlass_scheduler::effect::Notice;
use windlass_scheduler::job::{Body, JobId, Name};
use windlass_scheduler::lease::LeaseToken;
use windlass_storage::{Reader, StorageError};

use crate::door::Door;
use crate::error::panic_text;
use crate::messages::QueueMsg;

/// So many attempts' bodies are read one after the other; more of them are read beside each other.
const READS_IN_A_ROW: usize = 64;
/// An attempt whose payload a disk could not give comes back after this, uncounted.
const AGAIN_AFTER_MS: u64 = 1_000;

/// A body that an attempt waits for, or how the attempt ends without.
pub(crate) type Awaited = Result<Arc<Body>, Outcome>;

/// A read for an attempt that began without its body.
pub(crate) struct Wanted {
    pub(crate) id: JobId,
    pub(crate) token: LeaseToken,
    pub(crate) queue: Name,
    pub(crate) answer: oneshot::Sender<Awaited>,
}

/// Reads what these attempts wait for, the first ones first.
pub(crate) fn read_all(handlers: &Handle, door: &Arc<Door>, wanted: Vec<Wanted>) {
    let mut wanted = wanted.into_iter().peekable();
    while wanted.peek().is_some() {
        let (of, row) = (door.clone(), wanted.by_ref().take(READS_IN_A_ROW).collect::<Vec<_>>());
        door.read_on(handlers, move || {
            for Wanted { id, token, queue, answer } in row {
                // Whoever was dropped meanwhile needs none.
                if !answer.is_closed() {
                    let _ = answer.send(read(&of, &queue, id, token));
                }
            }
        });
    }
}

/// Reads the body of a job whose attempt has begun. Blocks.
pub(crate) fn read(door: &Door, queue: &Name, id: JobId, token: LeaseToken) -> Awaited {
    let read = || door.reader(queue)?.body(id);
    let read = catch_unwind(AssertUnwindSafe(read));
    let reason = match read {
        Ok(Ok(Some(body))) => {
            if door.hooks.are_there() {
                door.live.has_read(id, token, &body);
            }
            return Ok(body);
        }
        Ok(Ok(None)) => "its record is not in the journal".to_owned(),
        // The shard is being rebuilt, or stops: the attempt never began, and its job keeps its turn.
        Ok(Err(StorageError::Closed)) => return Err(Outcome::Released),
        Ok(Err(damaged @ StorageError::Damaged { .. })) => damaged.to_string(),
        Ok(Err(error)) => return Err(later(id, &error.to_string())),
        Err(panic) => return Err(later(id, panic_text(panic.as_ref()).as_str())),
    };
    error!(%id, reason, "a payload cannot be read: its job is a dead letter");
    let failure = Failure::new(FailureKind::Decode, format!("the payload could not be read: {reason}"));
    Err(Outcome::Failed { failure, retry: Retry::Never })
}

/// Nothing is wrong with the job: a disk that fails now may be well again soon.
pub(crate) fn later(id: JobId, reason: &str) -> Outcome {
    error!(%id, reason, "a payload could not be read: its attempt is put off, uncounted");
    Outcome::Snoozed { delay_ms: AGAIN_AFTER_MS }
}

/// Reads ahead for the core, and answers whatever comes of it.
pub(crate) fn read_ahead(
    (door, handlers): (&Door, &Handle),
    reader: Arc<dyn Reader>,
    queue: ActorRef<QueueMsg>,
    no: u64,
    ids: Vec<JobId>,
) {
    door.read_on(handlers, move || {
        let read = |id| (id, read_now(reader.as_ref(), id, "ahead of its turn"));
        let bodies = ids.into_iter().map(read).collect();
        // A queue actor that has fallen needs no answer.
        let _ = queue.send_message(QueueMsg::Fetched { no, bodies });
    });
}

/// Tells hooks, with the body from the journal: the attempt failed before it had it. Where it cannot be read, or its job is
/// not kept, they are told without.
pub(crate) fn tell_with_body(door: &Door, handlers: &Handle, reader: Arc<dyn Reader>, mut notice: Box<Notice>) {
    let hooks = door.hooks.clone();
    door.read_on(handlers, move || {
        notice.body = read_now(reader.as_ref(), notice.id, "for a hook");
        hooks.tell(notice);
    });
}

/// Its attempt will meet what is wrong again, and says what that means.
fn read_now(reader: &dyn Reader, id: JobId, why: &'static str) -> Option<Arc<Body>> {
    match catch_unwind(AssertUnwindSafe(|| reader.body(id))) {
        Ok(Ok(body)) => body,
        Ok(Err(StorageError::Closed)) => None,
        Ok(Err(error)) => {
            warn!(%id, %error, why, "a payload could not be read");
            None
        }
        Err(panic) => {
            warn!(%id, panic = panic_text(panic.as_ref()), why, "a payload could not be read");
            None
        }
    }
}
