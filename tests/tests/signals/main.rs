//! Signals: a real child process that gets a real SIGTERM or SIGINT, and stops as it promised.
//!
//! The child is this test program again. It tells what it does in lines, and waits for a line where a test has to decide
//! what comes first.

#![cfg(unix)]
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use windlass::{Engine, EnqueueError, HOUR, MemoryJournal, Refusal, ShutdownError, StopSignals, stop_signal};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{builder, work};

/// A guard against hanging, never a way to wait.
const PATIENCE: Duration = Duration::from_secs(60);
const ROLE: &str = "WINDLASS_SIGNALS_CHILD";

/// Tells the parent.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(format!("~{text}\n").as_bytes()).is_err() {
        std::process::abort();
    }
}

/// Waits for a line from the parent, on a thread of its own.
async fn told() {
    let read = tokio::task::spawn_blocking(|| std::io::stdin().lock().read_line(&mut String::new()));
    assert_ne!(read.await.unwrap().unwrap(), 0, "the parent is gone");
}

/// Not a test by itself: the body of every child process. It returns at once in the parent.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    // What the harness has printed so far is no whole line.
    println!();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        match role.as_str() {
            "one call" => one_call().await,
            "early" => early().await,
            "server" => server().await,
            role => panic!("nobody knows the role {role}"),
        }
    });
}

/// An engine with an attempt that runs until it is told or cancelled.
async fn busy() -> (Engine, Script) {
    let script = Script::new();
    let until_told = |cx: windlass::Context<Script>| async move {
        tokio::select! {
            () = told() => {
                say("finished");
                Ok(String::new())
            }
            () = cx.cancellation().cancelled() => Err("cancelled".into()),
        }
    };
    script.plan("busy", [Play::run(until_told)]);
    let engine = builder(&script, MemoryJournal::new()).queue(work()).start().await.unwrap();
    engine.enqueue(step("busy")).await.unwrap();
    script.started("busy", 1).await;
    (engine, script)
}

/// Says when the engine has begun to drain.
fn watch(engine: &Engine) {
    let engine = engine.clone();
    tokio::spawn(async move {
        loop {
            let refused = engine.enqueue(step("one more")).await;
            if matches!(refused, Err(EnqueueError::Refused(Refusal::Stopping))) {
                return say("draining");
            }
            tokio::task::yield_now().await;
        }
    });
}

async fn one_call() {
    let (engine, _script) = busy().await;
    watch(&engine);
    let stop = engine.shutdown_on_signal(HOUR);
    tokio::pin!(stop);
    // From its first poll on it listens.
    assert!(futures_util::poll!(&mut stop).is_pending());
    say("ready");
    let stop = stop.await.unwrap();
    let result = match stop.result {
        Ok(()) => "clean".to_owned(),
        Err(ShutdownError::Unfinished { ids }) => format!("{} unfinished", ids.len()),
        Err(error) => error.to_string(),
    };
    say(&format!("stopped by {}, hurried: {}, {result}", stop.signal, stop.was_hurried));
}

async fn early() {
    let stop = stop_signal();
    say("ready");
    // The signal is there before anybody polls for it.
    told().await;
    let signal = stop.await.unwrap();
    say(&format!("heard {signal}"));
}

/// As a service with a web server does it: callers first, then the engine.
async fn server() {
    let mut signals = StopSignals::listen().unwrap();
    let (engine, _script) = busy().await;
    let stop = stop_signal();
    say("ready");
    let signal = stop.await.unwrap();
    say("the server drains");
    assert_eq!(signals.next().await, signal, "each listener hears it");
    watch(&engine);
    let stopped = signals.shutdown(&engine, HOUR).await;
    say(&format!("stopped by {signal}, {}", if stopped.is_ok() { "clean" } else { "not clean" }));
}

struct Life {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Life {
    fn of(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture", "--test-threads", "1"]).env(ROLE, role);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (send, lines) = channel();
        let pipe = BufReader::new(child.stdout.take().unwrap());
        // Ends with the pipe, which ends with the child.
        std::thread::spawn(move || {
            for line in pipe.lines().map_while(Result::ok) {
                if let Some(line) = line.strip_prefix('~') {
                    let _ = send.send(line.to_owned());
                }
            }
        });
        let stdin = child.stdin.take();
        let life = Self { child, stdin, lines };
        life.says("ready");
        life
    }

    #[track_caller]
    fn says(&self, expected: &str) {
        assert_eq!(self.lines.recv_timeout(PATIENCE).as_deref(), Ok(expected));
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn tell(&mut self) {
        self.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    /// It has to say no more, and end.
    fn ends(mut self) -> ExitStatus {
        // Whoever still reads there, reads the end.
        drop(self.stdin.take());
        assert_eq!(self.lines.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected), "it has said all");
        self.child.wait().unwrap()
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn drains_on(signal: Signal, name: &str) {
    let mut life = Life::of("one call");
    life.signal(signal);
    life.says("draining");
    // What runs may end.
    life.tell();
    life.says("finished");
    life.says(&format!("stopped by {name}, hurried: false, clean"));
    assert!(life.ends().success());
}

#[test]
fn sigterm_lets_what_runs_end_and_the_process_ends_cleanly() {
    drains_on(Signal::TERM, "SIGTERM");
}

#[test]
fn sigint_lets_what_runs_end_and_the_process_ends_cleanly() {
    drains_on(Signal::INT, "SIGINT");
}

#[test]
fn a_second_signal_cancels_what_runs_at_once() {
    for (first, second, name) in [(Signal::TERM, Signal::INT, "SIGTERM"), (Signal::INT, Signal::INT, "SIGINT")] {
        let life = Life::of("one call");
        life.signal(first);
        life.says("draining");
        life.signal(second);
        // Nobody tells it to end: it was cancelled, long before the hour that it had.
        life.says(&format!("stopped by {name}, hurried: true, clean"));
        assert!(life.ends().success());
    }
}

#[test]
fn a_signal_that_comes_before_anybody_waits_for_it_is_heard() {
    let mut life = Life::of("early");
    life.signal(Signal::TERM);
    life.tell();
    life.says("heard SIGTERM");
    assert!(life.ends().success());
}

#[test]
fn a_server_stops_first_and_a_signal_meanwhile_hurries_the_engine() {
    let mut life = Life::of("server");
    life.signal(Signal::INT);
    life.says("the server drains");
    life.says("draining");
    life.tell();
    life.says("finished");
    life.says("stopped by SIGINT, clean");
    assert!(life.ends().success());

    let life = Life::of("server");
    life.signal(Signal::TERM);
    life.says("the server drains");
    life.says("draining");
    life.signal(Signal::TERM);
    life.says("stopped by SIGTERM, clean");
    assert!(life.ends().success());
}
