//! The console of a data directory whose service is stopped.
//!
//! Owns how a directory is opened so that nothing in it goes on by itself: no kind has a handler, the clock stands at the moment at which the
//! service was last there, and whatever is retained stays retained. What people do there is done.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use windlass::storage::{Loaded, RocksJournal};
use windlass::{Clock, Engine, QueueConfig, Retention, StartError, StopSignals};
use windlass_console::{Access, Bounds, Console, Identity, Token};
use windlass_scheduler::change::{Record, Setting};

use crate::failure::{Failure, Verdict};
use crate::output::Out;
use crate::token;

/// What the engine writes about once a second while it has the directory, and at its end.
const WATERMARK: &str = "WATERMARK";
/// As much as a queue may be told to keep: nothing is forgotten here that the service would have kept.
const COUNT_MAX: u64 = u32::MAX as u64;
const BYTES_MAX: u64 = 1 << 60;
const AGE_MAX: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);
/// The largest payload that any queue may take: which one this queue takes, the directory does not say.
const PAYLOAD_BYTES_MAX: usize = 16 << 20;
/// For how long what is under way is waited for at the end: no attempt is among it.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What to open, and where to show it.
#[derive(Args, Debug)]
pub(crate) struct Alone {
    /// The data directory of a service that is stopped
    dir: PathBuf,
    /// Where to listen; beyond this machine only with a token
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// A file with the token that visitors need; without it, all who work on this machine come in
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// The clock of a service that is stopped.
struct Stopped(SystemTime);

impl Clock for Stopped {
    fn wall_ms(&self) -> u64 {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Alone {
    pub(crate) fn run(&self, out: &mut Out) -> Result<Verdict, Failure> {
        let access = self.access()?;
        let queues = queues_of(&self.dir, out)?;
        let seen = fs::metadata(self.dir.join(WATERMARK)).and_then(|file| file.modified());
        let seen = seen.map_err(|error| system(&format!("when the service was last there: {WATERMARK}"), &error))?;
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(|error| system("a runtime", &error))?;
        log_to_stderr();
        let served = runtime.block_on(self.serve(access, &queues, seen, out));
        // The next look at it begins at the same moment, and not at this one.
        let restored =
            File::options().write(true).open(self.dir.join(WATERMARK)).and_then(|file| file.set_modified(seen));
        if let (Ok(()), Err(error)) = (&served, restored) {
            out.note(format_args!("the time of {WATERMARK} could not be put back: {error}"));
        }
        served.map(|()| Verdict::Sound)
    }

    fn access(&self) -> Result<Access, Failure> {
        match &self.token_file {
            Some(file) => {
                let token = Token::operator("operator", token::of_file(file)?);
                Ok(Access::tokens([token.map_err(|error| Failure::Other(error.to_string()))?]))
            }
            None if !self.listen.ip().to_canonical().is_loopback() => Err(Failure::Other(format!(
                "{} can be reached from other machines: that takes a token (`--token-file`), or listen on 127.0.0.1",
                self.listen
            ))),
            None => Ok(Access::loopback(Identity::operator("operator"))),
        }
    }

    async fn serve(
        &self,
        access: Access,
        queues: &BTreeSet<String>,
        seen: SystemTime,
        out: &mut Out,
    ) -> Result<(), Failure> {
        let mut signals = StopSignals::listen().map_err(|error| system("signals", &error))?;
        // Before the directory changes: who cannot be shown anything has no use for an engine.
        let listener = TcpListener::bind(self.listen)
            .await
            .map_err(|error| system(&format!("{}: `--listen` says another place", self.listen), &error))?;
        let address = listener.local_addr().map_err(|error| system("the listener", &error))?;
        let engine = start(&self.dir, queues, seen).await.map_err(|error| self.not_started(error))?;
        let console = Console::new(engine.clone(), access).environment(format!("{}, stopped", self.dir.display()));
        let served = match self.tell(address, queues, out) {
            Ok(()) => {
                let stop = async { _ = signals.next().await };
                let served = console.serve(listener, Bounds::default(), stop).await;
                served.map_err(|error| Failure::Other(error.to_string()))
            }
            Err(failure) => Err(failure),
        };
        let stopped = engine.shutdown(STOP_WITHIN).await.map_err(|error| Failure::Other(error.to_string()));
        served.and(stopped)
    }

    fn tell(&self, address: SocketAddr, queues: &BTreeSet<String>, out: &mut Out) -> Result<(), Failure> {
        let url = format!("http://{address}");
        if out.json {
            out.json_line(&json!({ "url": url, "path": self.dir.display().to_string(), "queues": queues }))?;
        } else {
            out.line(format_args!("The console of {} is at {url}", self.dir.display()))?;
            out.line(format_args!("The command line asks it with --at {url}; ctrl-c ends it."))?;
        }
        out.flush()
    }

    fn not_started(&self, error: StartError) -> Failure {
        match error {
            StartError::Open(error) => Failure::opening(&self.dir, error),
            error => Failure::Other(error.to_string()),
        }
    }
}

/// All queues that anything in the directory speaks of. It is read whole for that: jobs of a queue that were overlooked would be kept by
/// the engine's defaults, and not by the service's.
fn queues_of(dir: &Path, out: &Out) -> Result<BTreeSet<String>, Failure> {
    let look = RocksJournal::look(dir).map_err(|error| Failure::opening(dir, error))?;
    let bar = out.progress(look.entries_estimate(), "reading");
    let mut queues = BTreeSet::new();
    look.load(&mut |loaded| {
        bar.inc(1);
        let Loaded::Record(record) = loaded else { return };
        let mut add = |name: &windlass::Name| {
            if !queues.contains(name.as_str()) {
                queues.insert(name.to_string());
            }
        };
        match &record {
            Record::Counters(counters) => add(&counters.queue),
            Record::Setting(Setting::Paused(queue)) => add(queue),
            Record::Schedule(schedule) => add(&schedule.template.queue),
            Record::Ended(end) => add(&end.key.queue),
            Record::Job(job) => add(&job.head.queue),
            Record::Flow(flow) => flow.plan.steps.iter().for_each(|step| add(&step.queue)),
            _ => {}
        }
    })?;
    bar.finish_and_clear();
    if queues.is_empty() {
        let what = "nothing in it speaks of a queue or a job, so that there is nothing to show";
        return Err(Failure::Other(format!("{}: {what}", dir.display())));
    }
    Ok(queues)
}

async fn start(dir: &Path, queues: &BTreeSet<String>, seen: SystemTime) -> Result<Engine, StartError> {
    let keep = Retention::default()
        .done(AGE_MAX, COUNT_MAX, BYTES_MAX)
        .dead(AGE_MAX, COUNT_MAX, BYTES_MAX)
        .dropped(AGE_MAX, COUNT_MAX, BYTES_MAX);
    let builder = Engine::builder()
        .journal(RocksJournal::at(dir))
        .clock(Stopped(seen))
        // A schedule that is told to run leaves its job for the service.
        .allow_unknown_kinds()
        // What kills the service's process did not kill this one: nothing is judged by an opening here.
        .lost_max(u32::MAX)
        .disk_free_bytes_min(1 << 20);
    let queue = |name: &String| {
        QueueConfig::new(name).retention(keep).depth_max(COUNT_MAX).payload_bytes_max(PAYLOAD_BYTES_MAX)
    };
    queues.iter().map(queue).fold(builder, windlass::EngineBuilder::queue).start().await
}

/// Warnings, and what people did. That the clock stands is no news.
fn log_to_stderr() {
    let targets = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("windlass_console::audit", LevelFilter::INFO)
        .with_target("windlass::actors::scheduler", LevelFilter::ERROR);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    let _ = tracing_subscriber::registry().with(lines).with(targets).try_init();
}

fn system(what: &str, error: &io::Error) -> Failure {
    Failure::Other(format!("{what}: {error}"))
}
