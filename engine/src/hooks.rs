//! Hooks: a service's own code that is told when a job has died, or will be retried.
//!
//! Owns the row of what was not told yet, and the task that tells it, on the handlers' runtime. Never keeps a job waiting: what
//! does not fit is dropped, counted and warned of. Hooks are notices and not the truth: that stands in the journal.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracing::{error, warn};
use windlass_scheduler::attempt::Failure;
use windlass_scheduler::effect::{Notice, NoticeOf};
use windlass_scheduler::job::JobId;
use windlass_scheduler::settings::Notices;

use crate::builder::EngineBuilder;
use crate::engine::Engine;
use crate::handler::panicked;

/// Events that wait for their hooks. Each holds its job's payload: with payloads at the default limit, 64 MiB.
const EVENTS_WAITING_MAX: usize = 256;

static NO_PAYLOAD: Bytes = Bytes::new();

macro_rules! event {
    ($event:ident) => {
        impl $event {
            /// The job.
            #[must_use]
            pub fn id(&self) -> JobId {
                self.notice.id
            }

            /// Its kind.
            #[must_use]
            pub fn kind(&self) -> &str {
                self.notice.kind.as_str()
            }

            /// Its queue.
            #[must_use]
            pub fn queue(&self) -> &str {
                self.notice.queue.as_str()
            }

            /// The number of the attempt that ended, from 1. Every start counts, also one whose process died.
            #[must_use]
            pub fn attempt(&self) -> u32 {
                self.notice.attempt
            }

            /// Failures that count for the retry policy, this one included; an attempt whose process died is none.
            #[must_use]
            pub fn failures(&self) -> u32 {
                self.notice.failures
            }

            /// Why the attempt failed.
            #[must_use]
            pub fn failure(&self) -> &Failure {
                &self.notice.failure
            }

            /// When the job was accepted.
            #[must_use]
            pub fn created(&self) -> SystemTime {
                UNIX_EPOCH + Duration::from_millis(self.notice.created.0)
            }

            /// The payload, as it was encoded. Empty, as are tags and correlation id, where it is not to be had: its record is
            /// damaged, the journal is just being opened again, or the attempt failed before it had read it and the job is
            /// not kept.
            #[must_use]
            pub fn payload(&self) -> &Bytes {
                self.notice.body.as_ref().map_or(&NO_PAYLOAD, |body| &body.payload)
            }

            /// The job's tags.
            #[must_use]
            pub fn tags(&self) -> &[String] {
                self.notice.body.as_ref().map_or(&[], |body| body.labels.tags())
            }

            /// The caller's id of the story that the job is part of.
            #[must_use]
            pub fn correlation_id(&self) -> Option<&str> {
                self.notice.body.as_ref()?.labels.correlation_id()
            }
        }

        impl fmt::Debug for $event {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($event))
                    .field("id", &self.id())
                    .field("kind", &self.kind())
                    .field("attempt", &self.attempt())
                    .field("failure", self.failure())
                    .finish_non_exhaustive()
            }
        }
    };
}

/// A job has become a dead letter. Cheap to clone.
#[derive(Clone)]
pub struct DeadEvent {
    notice: Arc<Notice>,
}

/// An attempt has failed, and its job will run again. Cheap to clone.
#[derive(Clone)]
pub struct RetryEvent {
    notice: Arc<Notice>,
    delay: Duration,
}

event!(DeadEvent);
event!(RetryEvent);

impl RetryEvent {
    /// How long after the failure it runs again, at the earliest.
    #[must_use]
    pub const fn delay(&self) -> Duration {
        self.delay
    }
}

type Hook<E> = Arc<dyn Fn(E) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The hooks of an engine, in the order of their registration.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    dead: Vec<Hook<DeadEvent>>,
    retry: Vec<Hook<RetryEvent>>,
}

impl Hooks {
    /// What the core has to tell.
    pub(crate) fn notices(&self) -> Notices {
        Notices { dead: !self.dead.is_empty(), retry: !self.retry.is_empty(), ticks: false }
    }

    /// Starts the task that calls them, where there are any. It ends when nobody is left who could tell it anything.
    pub(crate) fn start(self, handlers: &Handle) -> Teller {
        if self.notices() == Notices::default() {
            return Teller::default();
        }
        let (row, told) = channel(EVENTS_WAITING_MAX);
        handlers.spawn(self.call_all(told));
        Teller { row: Some(row), dropped: AtomicU64::new(0) }
    }

    async fn call_all(self, mut told: Receiver<Box<Notice>>) {
        while let Some(notice) = told.recv().await {
            let (what, notice) = (notice.what, Arc::<Notice>::from(notice));
            match what {
                NoticeOf::Dead => call(&self.dead, &DeadEvent { notice }).await,
                NoticeOf::Retry { delay_ms } => {
                    let delay = Duration::from_millis(delay_ms);
                    call(&self.retry, &RetryEvent { notice, delay }).await;
                }
            }
        }
    }
}

/// One after the other. A panic ends one call, and nothing else.
async fn call<E: Clone + fmt::Debug>(hooks: &[Hook<E>], event: &E) {
    for hook in hooks {
        let code = async { hook(event.clone()).await };
        if let Err(panic) = AssertUnwindSafe(code).catch_unwind().await {
            let outcome = panicked(panic);
            error!(?event, ?outcome, "a hook panicked");
        }
    }
}

/// Where the queue actor says what hooks are to be told.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    row: Option<Sender<Box<Notice>>>,
    dropped: AtomicU64,
}

impl Teller {
    /// Whether anybody wants to be told.
    pub(crate) const fn are_there(&self) -> bool {
        self.row.is_some()
    }

    pub(crate) fn tell(&self, notice: Box<Notice>) {
        // Where it is closed, the handlers' runtime is gone, and so is everything else.
        let Some(Err(TrySendError::Full(notice))) = self.row.as_ref().map(|row| row.try_send(notice)) else { return };
        let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        // Said again each time that it has doubled: a hook that hangs must not fill the log.
        if dropped.is_power_of_two() {
            let (id, what) = (notice.id, notice.what);
            warn!(
                dropped,
                waiting_max = EVENTS_WAITING_MAX,
                %id,
                ?what,
                "hooks are slower than what there is to tell: what does not fit is dropped"
            );
        }
    }
}

impl<A: Send + Sync + 'static> EngineBuilder<A> {
    /// Calls this when a job has become a dead letter, also one that died without a word of its handler (its payload could
    /// not be decoded, or it kills the process). See [`on_retry`](Self::on_retry) for what all hooks have in common.
    ///
    /// ```
    /// let builder = windlass::Engine::builder().on_dead(|event| async move {
    ///     eprintln!("{} {} is dead after {} attempts: {}", event.kind(), event.id(), event.attempt(), event.failure());
    /// });
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn on_dead<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(DeadEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.hooks.dead.push(Arc::new(move |event| Box::pin(hook(event))));
        self
    }

    /// Calls this when an attempt has failed and its job will be retried.
    ///
    /// A hook is called after what it tells is remembered at the queue's level, never before, and at most once for each
    /// event. It is a notice, not the truth: what is told at the moment in which the process dies, or the storage breaks, is
    /// lost. Work that must happen belongs into a handler, or into its follow-up jobs.
    ///
    /// Hooks run on the handlers' runtime, one after the other, beside the jobs: a slow one delays other hooks and never a
    /// job (one that blocks its thread blocks the runtime, as everywhere), and a panic is logged. Up to 256 events wait; what
    /// does not fit is dropped, counted ([`Engine::hook_events_dropped`]) and warned of. At `Durable` each event asks for a
    /// sync, which otherwise a failure does not.
    ///
    /// ```
    /// let builder = windlass::Engine::builder().on_retry(|event| async move {
    ///     println!("{} {} again in {:?}: {}", event.kind(), event.id(), event.delay(), event.failure());
    /// });
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn on_retry<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(RetryEvent) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.hooks.retry.push(Arc::new(move |event| Box::pin(hook(event))));
        self
    }
}

impl Engine {
    /// Events that no hook was told of since the start, because too many waited.
    ///
    /// ```
    /// # async fn example(engine: windlass::Engine) {
    /// if engine.hook_events_dropped() > 0 {
    ///     eprintln!("the hooks are too slow: the list of dead letters knows what they missed");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn hook_events_dropped(&self) -> u64 {
        self.door().hooks.dropped.load(Ordering::Relaxed)
    }
}
