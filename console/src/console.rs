//! What a service builds: an engine, who may come in, and the router.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use serde_json::Value;
use windlass::Engine;

use crate::access::Access;
use crate::api::Streams;
use crate::audit::Audit;
use crate::guard::{BODY_BYTES_MAX, FormKey, guard};
use crate::history::History;
use crate::pace::Shots;
use crate::redact::Redaction;
use crate::sampler::Sampler;
use crate::{AuditEntry, api, pages};

/// A console of one engine. Cloning is cheap, and every clone is the same console.
#[derive(Clone)]
pub struct Console {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    engine: Engine,
    access: Access,
    hosts: Vec<String>,
    redaction: Redaction,
    environment: Option<String>,
    version: Option<String>,
    form_key: FormKey,
    audit: Arc<Audit>,
    streams: Streams,
    watchers: Streams,
    shots: Arc<Shots>,
    sampler: Arc<Sampler>,
    history: Arc<History>,
}

impl Console {
    /// A console of this engine, into which those come of whom `access` says so.
    #[must_use]
    pub fn new(engine: Engine, access: Access) -> Self {
        let (audit, shots) = (Arc::<Audit>::default(), Arc::<Shots>::default());
        let history = Arc::new(History::new(engine.clone(), shots.clone(), None));
        let sampler = Arc::new(Sampler::new(engine.clone(), shots.clone(), audit.clone()));
        let inner = Inner {
            engine,
            access,
            hosts: Vec::new(),
            redaction: Redaction::default(),
            environment: None,
            version: None,
            form_key: FormKey::new(),
            audit,
            streams: Streams::default(),
            watchers: Streams::default(),
            shots,
            sampler,
            history,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Only requests that name one of these hosts are answered, without their ports. Unless said, any host is, but for
    /// [`Access::loopback`], where it has to be this machine.
    #[must_use]
    pub fn hosts<I: Into<String>>(mut self, hosts: impl IntoIterator<Item = I>) -> Self {
        self.change().hosts = hosts.into_iter().map(Into::into).collect();
        self
    }

    /// What is done to payloads, outputs, progress and the texts of log lines (each a JSON string) of a kind before anybody sees them, here
    /// and in the API. Errors are shown as they are. Bytes that are no JSON are not shown then, and payloads are not edited: what was hidden
    /// would be lost.
    #[must_use]
    pub fn redact(mut self, redact: impl Fn(&str, &mut Value) + Send + Sync + 'static) -> Self {
        self.change().redaction = Redaction(Some(Arc::new(redact)));
        self
    }

    /// What this is the console of, on every page: "production", "staging".
    #[must_use]
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.change().environment = Some(name.into());
        self
    }

    /// Which version of the service this is: it stands in charts where the service started.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.change().version = Some(version.into());
        self
    }

    /// Keeps what the charts show in this file, through restarts: up to 1 MB, with a history of each of the first 32 queues, written each minute and at the end. A file that makes no
    /// sense is moved aside. Of two consoles, each wants a file of its own. Without one, history begins with the process.
    #[must_use]
    pub fn history_at(mut self, path: impl Into<PathBuf>) -> Self {
        let history = History::new(self.engine().clone(), self.inner.shots.clone(), Some(path.into()));
        self.change().history = Arc::new(history);
        self
    }

    /// The routes, to be nested under any prefix: they answer to every path below it. Not to be merged: what they have no page for they answer
    /// themselves, and of two routers that do so axum's `merge` panics. History begins with them, or, outside of a runtime, with
    /// the first look at the overview.
    pub fn router(&self) -> Router {
        self.begin_history();
        api::router()
            .merge(pages::router())
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(from_fn_with_state(self.clone(), guard))
            .with_state(self.clone())
    }

    /// What was done through this console, the latest first: up to 1,000 entries since it was made.
    #[must_use]
    pub fn audit(&self, count: usize) -> Vec<AuditEntry> {
        self.inner.audit.last(count)
    }

    fn change(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.inner)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub(crate) fn access(&self) -> &Access {
        &self.inner.access
    }

    pub(crate) fn known_hosts(&self) -> &[String] {
        &self.inner.hosts
    }

    pub(crate) fn redaction(&self) -> &Redaction {
        &self.inner.redaction
    }

    pub(crate) fn environment_name(&self) -> Option<&str> {
        self.inner.environment.as_deref()
    }

    pub(crate) fn streams(&self) -> &Streams {
        &self.inner.streams
    }

    /// Places for pages that are watched.
    pub(crate) fn watchers(&self) -> &Streams {
        &self.inner.watchers
    }

    pub(crate) fn sampler(&self) -> &Arc<Sampler> {
        &self.inner.sampler
    }

    pub(crate) fn form_key(&self) -> &FormKey {
        &self.inner.form_key
    }

    /// Unless it has begun.
    pub(crate) fn begin_history(&self) {
        self.inner.history.start(self.inner.version.as_deref());
    }

    pub(crate) fn history(&self) -> &Arc<History> {
        &self.inner.history
    }

    pub(crate) fn audit_log(&self) -> &Audit {
        &self.inner.audit
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("access", &self.inner.access).finish_non_exhaustive()
    }
}
