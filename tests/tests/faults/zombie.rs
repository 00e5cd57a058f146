//! A process that stands still for twice a lease, and goes on: it is the only owner, so what ran is its own to judge.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use windlass::{Context, Engine, Job, JobError, MIN, QueueConfig, RetryPolicy};

use crate::process::{Life, Orders, listen, tell};
use crate::serve::small;

const LEASE: Duration = Duration::from_millis(500);

/// How a job's first attempt goes on once its process does. Later ones succeed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Sort {
    /// It looks whether it should end, and fails.
    Listens,
    /// It does not look, and has to be dropped.
    Deaf,
    /// It blocks a thread until the parent says so, and succeeds.
    Blocks,
}

#[derive(Serialize, Deserialize)]
struct Waits(Sort);

#[derive(Serialize, Deserialize)]
struct Blocks(Sort);

macro_rules! kinds {
    ($($name:ident $kind:literal)*) => {$(
        impl Job for $name {
            const KIND: &'static str = $kind;
            const QUEUE: &'static str = "work";
            type Output = ();
        }
    )*};
}

kinds!(Waits "waits" Blocks "blocks");

/// Tells when the code is gone, however.
struct Runs(Sort, u32);

impl Runs {
    fn begin(sort: Sort, attempt: u32) -> Self {
        tell(&format!("start {sort:?} {attempt}"));
        Self(sort, attempt)
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        tell(&format!("end {:?} {}", self.0, self.1));
    }
}

type App = std::sync::Arc<std::sync::Mutex<std::sync::mpsc::Receiver<()>>>;

async fn wait(job: Waits, cx: Context<App>) -> Result<(), JobError> {
    let _runs = Runs::begin(job.0, cx.attempt());
    match job.0 {
        _ if cx.attempt() > 1 => Ok(()),
        Sort::Listens => {
            cx.cancellation().cancelled().await;
            Err("its time was over".into())
        }
        _ => std::future::pending().await,
    }
}

// As every handler is: by value, and with a result.
#[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
fn block(job: Blocks, cx: Context<App>) -> Result<(), JobError> {
    let _runs = Runs::begin(job.0, cx.attempt());
    let _ = cx.app().lock().map(|told| told.recv());
    Ok(())
}

/// The child.
pub(crate) async fn stand_still(orders: &Orders) {
    let mut told = listen();
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    let app: App = std::sync::Arc::new(std::sync::Mutex::new(may_go_on));
    let retry = RetryPolicy::fixed(Duration::from_millis(10));
    let queue = QueueConfig::new("work").attempt_timeout(LEASE).abort_after(LEASE).retry(retry);
    let builder = Engine::builder().journal(small(&orders.directory)).disk_free_bytes_min(1 << 20);
    let builder = builder.app(app).handler(wait).blocking_handler(block);
    let engine = builder.queue(queue).start().await.expect("the engine starts");
    let listens = engine.enqueue(Waits(Sort::Listens)).await.expect("it is accepted");
    let deaf = engine.enqueue(Waits(Sort::Deaf)).await.expect("it is accepted");
    let blocks = engine.enqueue(Blocks(Sort::Blocks)).await.expect("it is accepted");
    listens.wait().await.expect("it succeeds the second time");
    deaf.wait().await.expect("it succeeds the second time");
    tell("both");
    told.recv().await;
    go_on.send(()).expect("somebody waits for it");
    blocks.wait().await.expect("a late success is one");
    for (name, id) in [("Listens", listens.id()), ("Deaf", deaf.id()), ("Blocks", blocks.id())] {
        let status = engine.job(id).await.expect("it is retained");
        tell(&format!("{name}: {:?} {} {} {}", status.state, status.attempts, status.failures, status.lost));
    }
    engine.shutdown(MIN).await.expect("the engine stops");
    tell("bye");
}

/// I4: one live attempt a job, also where its lease ended while nobody could look.
#[test]
fn a_process_that_stands_still_for_two_leases_runs_nothing_twice_at_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut life = Life::begin("zombie", directory.path(), &[]);
    let signal = |life: &Life, signal| {
        let pid = Pid::from_raw(i32::try_from(life.child.id()).expect("a small number")).expect("no zero");
        kill_process(pid, signal).expect("a child can be stopped");
    };
    let mut running = BTreeMap::new();
    let mut lines = Vec::new();
    let mut hear = |line: String| {
        let words: Vec<&str> = line.split(' ').collect();
        match *words.as_slice() {
            ["start", sort, attempt] => {
                let before = running.insert(sort.to_owned(), attempt.to_owned());
                assert_eq!(before, None, "two attempts of {sort} at once: {lines:?}");
            }
            ["end", sort, attempt] => assert_eq!(running.remove(sort).as_deref(), Some(attempt)),
            _ => {}
        }
        lines.push(line);
        running.len()
    };
    while hear(life.line()) < 3 {}
    signal(&life, Signal::STOP);
    // What it said before it stood still; then, for two leases, nothing.
    let until = Instant::now() + LEASE * 2;
    while let Some(line) = life.hear(until) {
        hear(line);
    }
    signal(&life, Signal::CONT);
    loop {
        let line = life.line();
        let is_over = line == "bye";
        if line == "both" {
            life.say("go on");
        }
        hear(line);
        if is_over {
            break;
        }
    }
    for end in ["Listens: Done 2 1 0", "Deaf: Done 2 1 0", "Blocks: Done 1 0 0"] {
        assert!(lines.iter().any(|line| line == end), "{end}: {lines:?}");
    }
}
