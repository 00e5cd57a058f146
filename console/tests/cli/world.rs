//! Directories to look into, and the program to look with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Notify;
use windlass::storage::Journal as _;
use windlass::{
    Context, Engine, Flow, FlowStep, HOUR, Job, JobError, JobId, QueueConfig, RocksJournal, SEC, Schedule, StepDraft,
    Unique,
};

/// A word in the payload of one job, so that its bytes can be found in files.
pub(crate) const NEEDLE: &str = "a-needle-in-the-log";

#[derive(Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) what: String,
}

impl Job for Work {
    const KIND: &'static str = "work";
    const QUEUE: &'static str = "open";
    type Output = String;
}

impl FlowStep for Work {
    type Input = ();
}

pub(crate) fn work(what: &str) -> Work {
    Work { what: what.to_owned() }
}

/// Ends an engine, and lets go of an attempt that is held, or is going to be.
pub(crate) async fn stop(engine: &Engine, gate: &Gate) {
    gate.let_go.notify_one();
    engine.shutdown(SEC * 30).await.unwrap();
}

/// How attempts are held, and let go.
#[derive(Default)]
pub(crate) struct Gate {
    began: Notify,
    let_go: Notify,
}

async fn run(job: Work, cx: Context<Arc<Gate>>) -> Result<String, JobError> {
    match job.what.as_str() {
        "fail" => Err(JobError::permanent("it was to fail")),
        "hold" => {
            cx.app().began.notify_one();
            cx.app().let_go.notified().await;
            Ok(job.what)
        }
        _ => Ok(job.what),
    }
}

pub(crate) async fn start(dir: &Path, gate: &Arc<Gate>) -> Engine {
    let builder = Engine::builder().journal(RocksJournal::at(dir)).disk_free_bytes_min(1 << 20).app(Arc::clone(gate));
    let queues = builder.queue(QueueConfig::new("open")).queue(QueueConfig::new("shut"));
    queues.handler(run).start().await.unwrap()
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A directory with jobs in every state that a directory has, and one of each of the other things.
pub(crate) struct World {
    _folder: TempDir,
    /// As it was while an attempt ran: all of it stands in the log.
    pub(crate) dir: PathBuf,
    /// One job for each state.
    pub(crate) jobs: BTreeMap<&'static str, JobId>,
}

/// Made once: tests copy it.
pub(crate) fn world() -> &'static World {
    static WORLD: LazyLock<World> = LazyLock::new(|| runtime().block_on(make()));
    &WORLD
}

async fn make() -> World {
    let folder = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate::default());
    let engine = start(&folder.path().join("live"), &gate).await;
    engine.pause("shut").await.unwrap();
    let mut jobs = BTreeMap::new();

    let done = engine.enqueue(work("done")).tag("tenant:1").correlation_id("story").await.unwrap();
    assert_eq!(done.wait().await.unwrap(), "done");
    jobs.insert("done", done.id());
    let dead = engine.enqueue(work("fail")).await.unwrap();
    dead.wait().await.unwrap_err();
    jobs.insert("dead", dead.id());
    let expired = engine.enqueue(work("late")).queue("shut").expires_in(SEC / 1_000).await.unwrap();
    expired.wait().await.unwrap_err();
    jobs.insert("expired", expired.id());
    let cancelled = engine.enqueue(work("not")).queue("shut").await.unwrap();
    cancelled.cancel().await.unwrap();
    jobs.insert("cancelled", cancelled.id());
    let delayed = engine.enqueue(work("later")).delay(HOUR).await.unwrap();
    jobs.insert("delayed", delayed.id());
    let key = || Unique::key("k").keep_last();
    let ready = engine.enqueue(work("held")).queue("shut").unique(key()).limit_key("tenant").await.unwrap();
    engine.edit_payload(ready.id(), Bytes::from_static(b"\xffraw"), 3).await.unwrap();
    jobs.insert("ready", ready.id());
    let waiting = engine.enqueue(work("held")).queue("shut").unique(key()).await.unwrap();
    jobs.insert("waiting", waiting.id());
    engine.enqueue(work(NEEDLE)).queue("shut").await.unwrap();
    // Enough of them that a table has many blocks, and a pipe is full before all are written.
    for n in 0..40 {
        engine.enqueue(work(&format!("{n} {}", "filler ".repeat(700)))).queue("shut").await.unwrap();
    }
    engine.define_schedule(Schedule::every("daily", HOUR * 24, &work("tick"))).await.unwrap();

    let mut flow = Flow::new("pair");
    let first = flow.first(StepDraft::new(&work("hold")));
    flow.after(&first, StepDraft::new(&work("after")).named("second"));
    engine.submit(flow).await.unwrap();
    gate.began.notified().await;
    engine.backup(folder.path().join("data")).await.unwrap();
    stop(&engine, &gate).await;
    World { dir: folder.path().join("data"), _folder: folder, jobs }
}

/// A copy of the directory that a test may spoil, with the folder that it lies in.
pub(crate) fn copy() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    copy_all(&world().dir, &dir);
    (folder, dir)
}

/// The same, with everything in tables.
pub(crate) fn copy_in_tables() -> (TempDir, PathBuf) {
    let (folder, dir) = copy();
    // An opening writes into tables what it replays.
    let mut journal = RocksJournal::at(&dir);
    journal.open().unwrap();
    journal.close().unwrap();
    (folder, dir)
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// All files below a directory, with their bytes.
pub(crate) fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

/// The files of the database with this ending.
pub(crate) fn database_files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let all = files(&dir.join("db")).into_keys();
    all.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
}

/// Flips a bit of the needle in the files with this ending.
pub(crate) fn flip_needle(dir: &Path, ending: &str) {
    let needle = NEEDLE.as_bytes();
    let mut flipped = 0;
    for path in database_files(dir, ending) {
        let mut bytes = fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle) {
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1, "one file has the needle");
}

/// What the program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_windlass"))
}

pub(crate) fn windlass(command: &str, dir: &Path, more: &[&str]) -> Ran {
    ran(&program().arg(command).arg(dir).args(more).output().unwrap())
}

pub(crate) fn ran(output: &Output) -> Ran {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
}

impl Ran {
    /// Its whole output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Each line of it.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
