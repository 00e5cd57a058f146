//! A console that is served, and the command line that asks it.

use std::process::Command;
use std::sync::{Arc, Once};

use axum::Router;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tracing_subscriber::prelude::*;
use windlass::{
    AttemptLogLayer, Context, Engine, Flow, FlowStep, HOUR, Job, JobError, JobId, MIN, MemoryJournal, QueueConfig,
    RetryPolicy, SEC, Schedule, StepDraft,
};
use windlass_console::{Access, Console, Token};

use crate::world::{Ran, program, ran, runtime};

pub(crate) const OPERATOR: &str = "operator-operator-operator-operator";
pub(crate) const READER: &str = "reader-reader-reader-reader-reader";
/// What no terminal should be given: it clears the screen, names the window, and goes on over the line. As C0, and as C1.
pub(crate) const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}over\rit";

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Mail {
    pub(crate) to: String,
}

impl Job for Mail {
    const KIND: &'static str = "mail";
    const QUEUE: &'static str = "mail";
    type Output = String;
}

impl FlowStep for Mail {
    type Input = ();
}

pub(crate) fn to(name: &str) -> Mail {
    Mail { to: name.to_owned() }
}

async fn mail(mail: Mail, cx: Context<Arc<Notify>>) -> Result<String, JobError> {
    tracing::info!("mail to {}", mail.to);
    match mail.to.as_str() {
        "held" => {
            cx.progress(&HOSTILE)?;
            cx.app().notified().await;
            Ok("let go".to_owned())
        }
        to if to.starts_with("nobody") => Err(JobError::permanent(format!("no mailbox `{to}`"))),
        to if to.contains('\u{1b}') => Err(JobError::permanent(format!("cannot send to {to}"))),
        to => Ok(format!("sent to {to}")),
    }
}

/// A service with two queues, served on a port of this machine below `/console`.
pub(crate) struct Service {
    runtime: Runtime,
    pub(crate) engine: Engine,
    pub(crate) console: Console,
    pub(crate) url: String,
    /// Lets attempts go that are held.
    pub(crate) let_go: Arc<Notify>,
}

impl Service {
    pub(crate) fn new() -> Self {
        let runtime = runtime();
        let let_go = Arc::new(Notify::new());
        let engine = runtime.block_on(start(let_go.clone()));
        let access =
            Access::tokens([Token::operator("ada", OPERATOR).unwrap(), Token::reader("wallboard", READER).unwrap()]);
        let console = Console::new(engine.clone(), access).environment("test");
        let url = serve(&runtime, Router::new().nest("/console", console.router())) + "/console";
        Self { runtime, engine, console, url, let_go }
    }

    /// The command line, as the operator.
    pub(crate) fn windlass(&self, words: &[&str]) -> Ran {
        ran(&self.command(OPERATOR).args(words).output().unwrap())
    }

    /// What it printed, where all went well.
    pub(crate) fn table(&self, words: &[&str]) -> String {
        let ran = self.windlass(words);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{words:?}: {ran:?}");
        ran.out
    }

    /// The same as JSON.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let ran = self.windlass(&[words, &["--json"]].concat());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{words:?}: {ran:?}");
        ran.json()
    }

    pub(crate) fn command(&self, token: &str) -> Command {
        asking(&self.url, token)
    }

    pub(crate) fn run<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }

    /// A dead letter.
    pub(crate) fn dead(&self, name: &str) -> JobId {
        self.run(async {
            let job = self.engine.enqueue(to(name)).tag("tenant:7").correlation_id("story").await.unwrap();
            job.wait().await.unwrap_err();
            job.id()
        })
    }

    pub(crate) fn done(&self) -> JobId {
        self.run(async {
            let job = self.engine.enqueue(to("ada")).await.unwrap();
            job.wait().await.unwrap();
            job.id()
        })
    }

    pub(crate) fn delayed(&self) -> JobId {
        self.run(async { self.engine.enqueue(to("later")).delay(HOUR).await.unwrap().id() })
    }

    /// One that runs until it is let go.
    pub(crate) fn running(&self) -> JobId {
        self.run(async {
            let mut events = self.engine.events(windlass::EventFilter::new().what([windlass::EventKind::Started]));
            let job = self.engine.enqueue(to("held")).await.unwrap();
            loop {
                let event = futures_util::StreamExt::next(&mut events).await.unwrap().unwrap();
                if event.job() == Some(job.id()) {
                    return job.id();
                }
            }
        })
    }

    /// A flow whose second step waits for a signal.
    pub(crate) fn flow(&self) -> String {
        self.run(async {
            let mut flow = Flow::new("sign-up");
            let first = flow.first(StepDraft::new(&to("ada")).named("welcome"));
            flow.signal::<Value>("confirm", &first, None);
            let handle = self.engine.submit(flow).await.unwrap();
            handle.wait_step("welcome").await.unwrap();
            handle.id().to_string()
        })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.let_go.notify_waiters();
        let _ = self.runtime.block_on(self.engine.shutdown(SEC));
    }
}

/// The program, told where to ask and with which token, and nothing else of this process's environment about it.
pub(crate) fn asking(url: &str, token: &str) -> Command {
    let mut command = program();
    command.env("WINDLASS_URL", url).env("WINDLASS_TOKEN", token).env_remove("WINDLASS_TOKEN_FILE");
    command
}

/// Serves routes on a port of this machine for as long as the runtime lives.
pub(crate) fn serve(runtime: &Runtime, routes: Router) -> String {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move { axum::serve(listener, routes).await });
    format!("http://{address}")
}

async fn start(let_go: Arc<Notify>) -> Engine {
    static LOGS: Once = Once::new();
    LOGS.call_once(|| tracing_subscriber::registry().with(AttemptLogLayer::new()).init());
    let queue = |name: &str| QueueConfig::new(name).concurrency(4).retry(RetryPolicy::fixed(MIN).attempts(2));
    let schedule = Schedule::cron("nightly", "0 3 * * *", &to("nightly")).zone("Europe/Berlin");
    let builder = Engine::builder().app(let_go).journal(MemoryJournal::new()).queue(queue("mail")).queue(queue("bulk"));
    builder.handler(mail).schedule(schedule).start().await.unwrap()
}
