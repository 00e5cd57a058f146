//! `windlass console`: a stopped service's directory is seen and put right, and nothing in it goes on.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use windlass::storage::Journal as _;
use windlass::{Engine, HOUR, ManualClock, QueueConfig, RocksJournal, SEC, Schedule};

use crate::served::asking;
use crate::world::{Gate, Ran, Work, copy, program, ran, runtime, start, stop, windlass, work, world};

/// The program while it serves.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn new(dir: &Path, more: &[&str]) -> Self {
        let words = ["--json", "--listen", "127.0.0.1:0"];
        let mut child = program()
            .arg("console")
            .arg(dir)
            .args(words)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { child, url: told["url"].as_str().unwrap().to_owned() }
    }

    fn ask(&self, words: &[&str]) -> Ran {
        ran(&asking(&self.url, "").args(words).output().unwrap())
    }

    fn json(&self, words: &[&str]) -> Value {
        let ran = self.ask(&[words, &["--json"]].concat());
        assert_eq!(ran.code, 0, "{words:?}: {ran:?}");
        ran.json()
    }

    /// What the command line has no word for.
    fn post(&self, path: &str) -> Value {
        let host = self.url.strip_prefix("http://").unwrap();
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: 2");
        let mut stream = TcpStream::connect(host).unwrap();
        stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n{{}}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1)
            .unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// As ctrl-c does; answers what was logged.
    fn end(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        let mut logged = String::new();
        self.child.stderr.as_mut().unwrap().read_to_string(&mut logged).unwrap();
        assert_eq!(status.code(), Some(0), "{logged}");
        logged
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn inspect(dir: &Path) -> Value {
    windlass("inspect", dir, &["--json"]).json()
}

fn count(report: &Value, state: &str) -> u64 {
    report["queues"].as_array().unwrap().iter().map(|queue| queue[state].as_u64().unwrap()).sum()
}

#[test]
fn everything_is_seen_and_steered_and_no_job_starts() {
    let (_folder, dir) = copy();
    let before = inspect(&dir);
    let served = Served::new(&dir, &[]);
    let seen = served.json(&["stats"]);
    assert!(seen["environment"].as_str().unwrap().ends_with(", stopped"), "{seen}");
    let all = &seen["all"];
    // What ran when the service was killed waits as well.
    assert_eq!((&all["parked"], &all["ready"], &all["running"]), (&43.into(), &0.into(), &0.into()), "{seen}");
    assert_eq!((&all["delayed"], &all["dead"], &all["done"]), (&1.into(), &1.into(), &1.into()), "{seen}");
    let id = |state: &str| world().jobs[state].to_string();
    assert_eq!(served.json(&["job", &id("dead"), "retry"])["state"], "parked");
    assert_eq!(served.json(&["job", &id("delayed"), "cancel"])["state"], "cancelled");
    let whole = served.json(&["job", &id("dead")]);
    assert!(whole["why"].as_str().unwrap().contains("no handler"), "{whole}");
    let flows = served.json(&["flows"]);
    assert_eq!(flows["flows"][0]["state"], "running", "{flows}");
    let logged = served.end();
    assert!(logged.contains("requeue") && logged.contains(&id("dead")), "who did what is told: {logged}");

    let after = inspect(&dir);
    assert_eq!(count(&after, "ready"), count(&before, "ready") + 2, "the one that ran, and the one that was requeued");
    let states = ["waiting", "delayed", "running", "done", "dead", "cancelled", "expired"];
    let were = states.map(|state| count(&before, state));
    assert_eq!(were, [2, 1, 1, 1, 1, 1, 1], "{before}");
    assert_eq!(states.map(|state| count(&after, state)), [2, 0, 0, 1, 0, 2, 1], "{after}");
    let is_paused = |report: &Value| {
        report["queues"].as_array().unwrap().iter().map(|queue| queue["is_paused"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(is_paused(&after), is_paused(&before), "no queue is paused that was not");
    assert_eq!(windlass("verify", &dir, &[]).code, 0);
    // The service goes on with it.
    runtime().block_on(async {
        let gate = Arc::new(Gate::default());
        let engine = start(&dir, &gate).await;
        let error = engine.handle::<Work>(world().jobs["dead"]).wait().await.unwrap_err();
        assert!(error.to_string().contains("it was to fail"), "it ran again: {error}");
        stop(&engine, &gate).await;
    });
}

/// A directory of a service that was stopped 40 days ago, when an hour was left of a delay, of an expiry and until a schedule fires.
async fn long_ago(dir: &Path) -> SystemTime {
    let stopped = SystemTime::now() - Duration::from_secs(40 * 24 * 60 * 60);
    let ms = stopped.duration_since(UNIX_EPOCH).unwrap().as_millis();
    let clock = ManualClock::starting_at_ms(ms.try_into().unwrap());
    let builder = Engine::builder().journal(RocksJournal::at(dir)).disk_free_bytes_min(1 << 20).clock(clock);
    let handler = |job: Work, _: windlass::Context<()>| async move { Ok(job.what) };
    let queues = builder.queue(QueueConfig::new("open")).queue(QueueConfig::new("shut"));
    let engine =
        queues.handler(handler).schedule(Schedule::every("hourly", HOUR, &work("tick"))).start().await.unwrap();
    engine.pause("shut").await.unwrap();
    engine.enqueue(work("done")).await.unwrap().wait().await.unwrap();
    engine.enqueue(work("later")).delay(HOUR).await.unwrap();
    engine.enqueue(work("brief")).queue("shut").expires_in(HOUR).await.unwrap();
    engine.shutdown(SEC).await.unwrap();
    File::options().write(true).open(dir.join("WATERMARK")).unwrap().set_modified(stopped).unwrap();
    stopped
}

#[test]
fn time_stands_still_there_so_that_nothing_falls_due_expires_or_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let dir: PathBuf = folder.path().join("data");
    let stopped = runtime().block_on(long_ago(&dir));
    // The second look is as the first one.
    for _ in 0..2 {
        let served = Served::new(&dir, &[]);
        let all = served.json(&["stats"])["all"].clone();
        assert_eq!((&all["delayed"], &all["parked"]), (&1.into(), &1.into()), "{all}");
        assert_eq!((&all["done"], &all["expired"]), (&1.into(), &0.into()), "{all}");
        assert_eq!(served.json(&["schedules"])[0]["fired_total"], 0);
        served.end();
        assert_eq!(fs::metadata(dir.join("WATERMARK")).unwrap().modified().unwrap(), stopped);
    }
    let served = Served::new(&dir, &[]);
    let job = served.post("/api/v1/schedules/hourly/run")["job"].as_str().unwrap().to_owned();
    assert_eq!(served.json(&["job", &job])["state"], "parked", "it is left for the service");
    served.end();
}

#[test]
fn others_come_in_with_the_token_alone() {
    let (folder, dir) = copy();
    let file = folder.path().join("token");
    let token = "operator-operator-operator-operator";
    fs::write(&file, token).unwrap();
    let file = file.to_str().unwrap();
    let served = Served::new(&dir, &["--token-file", file]);
    let denied = served.ask(&["stats"]);
    assert!(denied.code == 2 && denied.err.contains("a token is needed"), "{denied:?}");
    assert_eq!(served.ask(&["stats", "--token-file", file]).code, 0);
    served.end();
    let exposed = windlass("console", &dir, &["--listen", "0.0.0.0:0"]);
    assert!(exposed.code == 2 && exposed.err.contains("--token-file"), "{exposed:?}");
    fs::write(file, "short").unwrap();
    let short = windlass("console", &dir, &["--token-file", file]);
    assert!(short.code == 2 && short.err.contains("32"), "{short:?}");
}

#[test]
fn what_cannot_be_opened_is_left_as_it_is() {
    let (_folder, dir) = copy();
    runtime().block_on(async {
        let gate = Arc::new(Gate::default());
        let engine = start(&dir, &gate).await;
        let here = dir.clone();
        let held = tokio::task::spawn_blocking(move || windlass("console", &here, &[])).await.unwrap();
        assert!(held.code == 2 && held.err.contains("an engine holds"), "{held:?}");
        stop(&engine, &gate).await;
    });
    let served = Served::new(&dir, &[]);
    let twice = windlass("console", &dir, &[]);
    assert!(twice.code == 2 && twice.err.contains("an engine holds"), "{twice:?}");
    let taken = served.url.strip_prefix("http://").unwrap().to_owned();
    let (_other_folder, other) = copy();
    let busy = windlass("console", &other, &["--listen", &taken]);
    assert!(busy.code == 2 && busy.err.contains(&taken) && busy.err.contains("--listen"), "{busy:?}");
    served.end();
    let empty = tempfile::tempdir().unwrap();
    let none = windlass("console", empty.path(), &[]);
    assert!(none.code == 2 && none.err.contains("not a journal"), "{none:?}");
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
    let mut fresh = RocksJournal::at(empty.path());
    fresh.open().unwrap();
    fresh.close().unwrap();
    let none = windlass("console", empty.path(), &[]);
    assert!(none.code == 2 && none.err.contains("nothing to show"), "{none:?}");
}
