//! Code of a service around every attempt: before it, after it, or all around it.
//!
//! Owns the chain and the order of nesting: the first that was registered is the outermost. A kind with no middleware runs
//! as if there were none anywhere: its handler is not touched. Never lets a panic out: one is a failure of the attempt, and
//! those further out see it as such.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;
use windlass_scheduler::attempt::Outcome;

use crate::attempt::judged;
use crate::builder::EngineBuilder;
use crate::context::AttemptCore;
use crate::error::ConfigError;
use crate::handler::{AttemptFuture, Handler, Registry, RetryRule, Runner, kept, panicked};
use crate::job::Job;

mod seen;
#[cfg(feature = "tower")]
mod tower;

pub use seen::{Attempt, AttemptOutcome, OutcomeView};
#[cfg(feature = "tower")]
pub use tower::{AttemptRequest, AttemptService, TowerMiddleware};

/// Something around every attempt. Several nest: the first that was registered is the outermost.
///
/// It may look ([`Attempt`], [`AttemptOutcome`]), may end the attempt without its handler (by returning an outcome instead of
/// running `next`), may wrap the handler's future (a task-local, a span, a timeout, a semaphore), and may change what came of
/// it. A panic in it is a failure of the attempt, as in a handler. An attempt that is dropped (its grace after a
/// cancellation was over) drops the middleware's future together with the handler's in it: what has to happen even then
/// belongs into a destructor.
///
/// Async and blocking handlers differ in what can be done around them, so each has its own method, and both have to be
/// written: what a middleware does not do for blocking handlers, it says there. [`before`] and [`after`] make a middleware of
/// a closure, for both.
///
/// ```
/// use windlass::middleware::{Attempt, AttemptOutcome, BlockingNext, Middleware, Next};
///
/// tokio::task_local! {
///     static STORY: Option<String>;
/// }
///
/// /// Makes the correlation id known to everything that the handler calls.
/// struct Story;
///
/// impl Middleware for Story {
///     async fn around(&self, attempt: &Attempt, next: Next) -> AttemptOutcome {
///         STORY.scope(attempt.correlation_id().map(str::to_owned), next.run()).await
///     }
///
///     fn around_blocking(&self, attempt: &Attempt, next: BlockingNext<'_>) -> AttemptOutcome {
///         STORY.sync_scope(attempt.correlation_id().map(str::to_owned), || next.run())
///     }
/// }
///
/// let builder = windlass::Engine::builder().middleware(Story);
/// # let _ = builder;
/// ```
pub trait Middleware: Send + Sync + 'static {
    /// Around an attempt of an async handler, on the handlers' runtime.
    fn around(&self, attempt: &Attempt, next: Next) -> impl Future<Output = AttemptOutcome> + Send;

    /// Around an attempt of a blocking handler, on its thread. The handler cannot be interrupted from here.
    fn around_blocking(&self, attempt: &Attempt, next: BlockingNext<'_>) -> AttemptOutcome;

    /// Whether it can be around blocking handlers. Where it says no, an engine with a blocking handler under it refuses to
    /// start, instead of running that handler without it.
    fn wraps_blocking(&self) -> bool {
        true
    }
}

type Ending<'a> = Pin<Box<dyn Future<Output = AttemptOutcome> + Send + 'a>>;

/// [`Middleware`] as an object.
pub(crate) trait Layer: Send + Sync {
    fn around<'a>(&'a self, attempt: &'a Attempt, next: Next) -> Ending<'a>;
    fn around_blocking(&self, attempt: &Attempt, next: BlockingNext<'_>) -> AttemptOutcome;
    fn wraps_blocking(&self) -> bool;
}

impl<M: Middleware> Layer for M {
    fn around<'a>(&'a self, attempt: &'a Attempt, next: Next) -> Ending<'a> {
        Box::pin(Middleware::around(self, attempt, next))
    }

    fn around_blocking(&self, attempt: &Attempt, next: BlockingNext<'_>) -> AttemptOutcome {
        Middleware::around_blocking(self, attempt, next)
    }

    fn wraps_blocking(&self) -> bool {
        Middleware::wraps_blocking(self)
    }
}

type Chain = Arc<[Arc<dyn Layer>]>;

/// The rest of the way to an async handler: the middleware further in, then the handler itself. Dropped, the handler does
/// not run.
#[must_use = "the handler runs in `next.run()`"]
pub struct Next {
    chain: Chain,
    at: usize,
    attempt: Attempt,
    run: Arc<dyn Fn(Arc<AttemptCore>) -> AttemptFuture + Send + Sync>,
    rule: RetryRule,
}

impl Next {
    /// Runs it. What comes of it is as the engine sees it: a failure after the attempt's time was over is a time-out, and
    /// one of an attempt that the stopping engine asked to end is a release. Never panics.
    pub async fn run(self) -> AttemptOutcome {
        let Some(layer) = self.chain.get(self.at).cloned() else {
            let outcome = (self.run)(self.attempt.core.clone()).await;
            return seen_by(&self.attempt, self.rule, outcome);
        };
        let attempt = self.attempt.clone();
        let next = Self { at: self.at + 1, ..self };
        // Awaited and dropped inside, so that a panic in a destructor is contained too.
        let code = async { layer.around(&attempt, next).await };
        AssertUnwindSafe(code).catch_unwind().await.unwrap_or_else(|panic| AttemptOutcome { outcome: panicked(panic) })
    }
}

/// The rest of the way to a blocking handler. Dropped, the handler does not run.
#[must_use = "the handler runs in `next.run()`"]
pub struct BlockingNext<'a> {
    chain: &'a [Arc<dyn Layer>],
    attempt: &'a Attempt,
    run: &'a (dyn Fn(Arc<AttemptCore>) -> Outcome + Send + Sync),
    rule: RetryRule,
}

impl BlockingNext<'_> {
    /// Runs it; see [`Next::run`]. Never panics.
    #[must_use]
    pub fn run(self) -> AttemptOutcome {
        let Some((layer, chain)) = self.chain.split_first() else {
            let outcome = (self.run)(self.attempt.core.clone());
            return seen_by(self.attempt, self.rule, outcome);
        };
        let attempt = self.attempt;
        let next = BlockingNext { chain, ..self };
        catch_unwind(AssertUnwindSafe(|| layer.around_blocking(attempt, next)))
            .unwrap_or_else(|panic| AttemptOutcome { outcome: panicked(panic) })
    }
}

fn seen_by(attempt: &Attempt, rule: RetryRule, outcome: Outcome) -> AttemptOutcome {
    let core = &attempt.core;
    let outcome = judged(core.signals.reason(), Some(rule), core.lease.failures + 1, core.lease.id, outcome);
    AttemptOutcome { outcome }
}

/// What an engine has around its attempts, in the order of nesting.
#[derive(Clone, Default)]
pub(crate) struct Layers(Vec<(Option<&'static str>, Arc<dyn Layer>)>);

impl Layers {
    /// Refuses what would be ignored.
    pub(crate) fn check(&self, registry: &Registry) -> Result<(), ConfigError> {
        for (of, layer) in &self.0 {
            let kinds = || registry.handlers.iter().filter(|(kind, _)| of.is_none_or(|of| kind.as_str() == of));
            if let Some(kind) = of.filter(|_| kinds().next().is_none()) {
                return Err(ConfigError::KindWithoutHandler(kind.to_owned()));
            }
            let mut blocking = kinds().filter(|(_, handler)| matches!(handler.runner, Runner::Blocking(_)));
            if let Some((kind, _)) = blocking.next().filter(|_| !layer.wraps_blocking()) {
                return Err(ConfigError::BlockingUnderAsync(kind.to_string()));
            }
        }
        Ok(())
    }

    /// The handlers with what belongs around them; those that have nothing are as they were.
    pub(crate) fn around(self, mut registry: Registry) -> Registry {
        for (kind, handler) in &mut registry.handlers {
            let mine = self.0.iter().filter(|(of, _)| of.is_none_or(|of| kind.as_str() == of));
            let chain: Chain = mine.map(|(_, layer)| layer.clone()).collect();
            if !chain.is_empty() {
                wrap(handler, chain);
            }
        }
        registry
    }
}

fn wrap(handler: &mut Handler, chain: Chain) {
    let rule = handler.retry;
    handler.runner = match handler.runner.clone() {
        Runner::Async(run) => Runner::Async(Arc::new(move |core: Arc<AttemptCore>| {
            let attempt = Attempt { core: core.clone() };
            let next = Next { chain: chain.clone(), at: 0, attempt, run: run.clone(), rule };
            Box::pin(async move { kept(&core, next.run().await.outcome) })
        })),
        Runner::Blocking(run) => Runner::Blocking(Arc::new(move |core: Arc<AttemptCore>| {
            let attempt = Attempt { core: core.clone() };
            let next = BlockingNext { chain: &chain, attempt: &attempt, run: run.as_ref(), rule };
            kept(&core, next.run().outcome)
        })),
    };
}

impl<A: Send + Sync + 'static> EngineBuilder<A> {
    /// Puts this around the attempts of all kinds: inside of what was registered before, outside of what comes later. See
    /// [`Middleware`], [`before`] and [`after`].
    ///
    /// ```
    /// use windlass::middleware::{after, before};
    ///
    /// let builder = windlass::Engine::builder()
    ///     .middleware(before(|attempt| println!("{} begins attempt {}", attempt.id(), attempt.attempt())))
    ///     .middleware(after(|attempt, outcome, took| println!("{}: {outcome:?} after {took:?}", attempt.id())));
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.layers.0.push((None, Arc::new(middleware)));
        self
    }

    /// As [`middleware`](Self::middleware), around the attempts of one kind alone. [`start`](Self::start) refuses a kind
    /// that has no handler here.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Import;
    /// # impl windlass::Job for Import {
    /// #     const KIND: &'static str = "import";
    /// #     const QUEUE: &'static str = "bulk";
    /// #     type Output = ();
    /// # }
    /// let slow = windlass::middleware::after(|attempt, _, took| {
    ///     if took > windlass::MIN { eprintln!("{} took {took:?}", attempt.id()) }
    /// });
    /// let builder = windlass::Engine::builder().middleware_for::<Import>(slow);
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn middleware_for<J: Job>(mut self, middleware: impl Middleware) -> Self {
        self.layers.0.push((Some(J::KIND), Arc::new(middleware)));
        self
    }
}

/// A middleware that calls this before each attempt.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// static BEGUN: AtomicU64 = AtomicU64::new(0);
///
/// let count = windlass::middleware::before(|_attempt| { BEGUN.fetch_add(1, Ordering::Relaxed); });
/// let builder = windlass::Engine::builder().middleware(count);
/// # let _ = builder;
/// ```
pub fn before<F>(call: F) -> impl Middleware
where
    F: Fn(&Attempt) + Send + Sync + 'static,
{
    Before(call)
}

/// A middleware that calls this after each attempt, with what came of it and how long it took (by tokio's clock). It is not
/// called for an attempt that was dropped.
///
/// ```
/// let log = windlass::middleware::after(|attempt, outcome, took| {
///     if let Some(failure) = outcome.failure() {
///         eprintln!("{} {} failed after {took:?}: {failure}", attempt.kind(), attempt.id());
///     }
/// });
/// let builder = windlass::Engine::builder().middleware(log);
/// # let _ = builder;
/// ```
pub fn after<F>(call: F) -> impl Middleware
where
    F: Fn(&Attempt, &AttemptOutcome, Duration) + Send + Sync + 'static,
{
    After(call)
}

struct Before<F>(F);

impl<F: Fn(&Attempt) + Send + Sync + 'static> Middleware for Before<F> {
    async fn around(&self, attempt: &Attempt, next: Next) -> AttemptOutcome {
        (self.0)(attempt);
        next.run().await
    }

    fn around_blocking(&self, attempt: &Attempt, next: BlockingNext<'_>) -> AttemptOutcome {
        (self.0)(attempt);
        next.run()
    }
}

struct After<F>(F);

impl<F: Fn(&Attempt, &AttemptOutcome, Duration) + Send + Sync + 'static> Middleware for After<F> {
    async fn around(&self, attempt: &Attempt, next: Next) -> AttemptOutcome {
        let since = Instant::now();
        let outcome = next.run().await;
        (self.0)(attempt, &outcome, since.elapsed());
        outcome
    }

    fn around_blocking(&self, attempt: &Attempt, next: BlockingNext<'_>) -> AttemptOutcome {
        let since = Instant::now();
        let outcome = next.run();
        (self.0)(attempt, &outcome, since.elapsed());
        outcome
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

impl fmt::Debug for BlockingNext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingNext").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}
