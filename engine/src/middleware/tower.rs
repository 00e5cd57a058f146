//! Layers of tower around attempts.
//!
//! Owns the translation both ways: an attempt is a request, what came of it a response. Never an error of ours: only those of
//! the layers are errors there, and failures of the attempt here.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::Mutex;
use tower_layer::Layer;
use tower_service::Service;

use super::{Attempt, AttemptOutcome, BlockingNext, Middleware, Next};
use crate::builder::EngineBuilder;
use crate::error::JobError;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An attempt on its way to its handler, as a request. It cannot be cloned: an attempt runs its handler once, and a retry is
/// the queue's.
#[derive(Debug)]
pub struct AttemptRequest {
    attempt: Attempt,
    next: Next,
}

impl AttemptRequest {
    /// The attempt.
    #[must_use]
    pub const fn attempt(&self) -> &Attempt {
        &self.attempt
    }
}

/// The service that runs handlers: what layers are put around. Always ready, and never in error: a handler that fails
/// answers with an outcome that says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttemptService(());

impl Service<AttemptRequest> for AttemptService {
    type Response = AttemptOutcome;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<AttemptOutcome, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: AttemptRequest) -> Self::Future {
        Box::pin(async move { Ok(request.next.run().await) })
    }
}

/// A layer of tower (or a `ServiceBuilder` of many) as a [`Middleware`]: time-outs, limits of concurrency and rate, load
/// shedding. All attempts share one service, so a limit is one over all of them; it need not be `Clone`. An error of the
/// service is a failure of the attempt, and retried by the policy.
///
/// An attempt that waits until the service is ready runs already, as far as its queue is concerned: it has a slot, and its
/// time passes. Around blocking handlers it cannot be: [`start`](EngineBuilder::start) refuses that.
#[derive(Debug)]
pub struct TowerMiddleware<S> {
    service: Mutex<S>,
}

impl<S> TowerMiddleware<S> {
    /// This layer around the handlers.
    ///
    /// ```
    /// use windlass::SEC;
    /// use windlass::middleware::TowerMiddleware;
    ///
    /// let layers = tower::ServiceBuilder::new().concurrency_limit(4).timeout(SEC * 30);
    /// let builder = windlass::Engine::builder().middleware(TowerMiddleware::new(layers));
    /// # let _ = builder;
    /// ```
    pub fn new<L: Layer<AttemptService, Service = S>>(layer: L) -> Self {
        Self { service: Mutex::new(layer.layer(AttemptService::default())) }
    }
}

impl<S> Middleware for TowerMiddleware<S>
where
    S: Service<AttemptRequest, Response = AttemptOutcome, Error: Into<BoxError>, Future: Send> + Send + 'static,
{
    async fn around(&self, attempt: &Attempt, next: Next) -> AttemptOutcome {
        let request = AttemptRequest { attempt: attempt.clone(), next };
        let response = {
            // First come, first served: who waits for the service to be ready waits for those before.
            let mut service = self.service.lock().await;
            let ready = poll_fn(|cx| service.poll_ready(cx)).await;
            ready.map(|()| service.call(request)).map_err(Into::into)
        };
        let outcome = match response {
            Ok(response) => response.await.map_err(Into::into),
            Err(error) => Err(error),
        };
        outcome.unwrap_or_else(|error: BoxError| JobError::from(error).into())
    }

    /// Never called: no engine starts with a blocking handler under it.
    fn around_blocking(&self, _attempt: &Attempt, next: BlockingNext<'_>) -> AttemptOutcome {
        next.run()
    }

    fn wraps_blocking(&self) -> bool {
        false
    }
}

impl<A: Send + Sync + 'static> EngineBuilder<A> {
    /// Puts a layer of tower around the attempts of all kinds; see [`TowerMiddleware`]. Inside of what was registered before,
    /// outside of what comes later.
    ///
    /// ```
    /// let layers = tower::ServiceBuilder::new().concurrency_limit(4).timeout(windlass::SEC * 30);
    /// let builder = windlass::Engine::builder().tower_layer(layers);
    /// # let _ = builder;
    /// ```
    #[must_use]
    pub fn tower_layer<L>(self, layer: L) -> Self
    where
        L: Layer<AttemptService>,
        L::Service:
            Service<AttemptRequest, Response = AttemptOutcome, Error: Into<BoxError>, Future: Send> + Send + 'static,
    {
        self.middleware(TowerMiddleware::new(layer))
    }
}
