//! A child process: this test program again, with orders in an environment variable, and a pipe to its parent.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::kill::pipe::Line;
use crate::kill::trap::Trap;

const ORDERS: &str = "WINDLASS_KILL_CHILD";

/// The longest that a parent waits for anything: a guard, not a measure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a child is to do.
#[derive(Clone, Debug)]
pub struct Orders {
    /// The part that it plays.
    pub role: String,
    /// The number of its life.
    pub life: u16,
    /// Where its chance begins.
    pub seed: u64,
    /// Where it dies by itself.
    pub trap: Option<Trap>,
    /// The directory of its journal.
    pub directory: PathBuf,
}

impl Orders {
    /// Without a trap, with a seed of its own.
    pub fn new(role: &str, life: u16, directory: &Path) -> Self {
        Self { role: role.to_owned(), life, seed: u64::from(life), trap: None, directory: directory.to_owned() }
    }

    /// Those of this process; `None` in the parent.
    pub fn given() -> Option<Self> {
        let text = std::env::var(ORDERS).ok()?;
        let words: Vec<&str> = text.splitn(6, ' ').collect();
        Some(Self {
            role: words[0].to_owned(),
            life: words[1].parse().expect("a life"),
            seed: words[2].parse().expect("a seed"),
            trap: Trap::at(words[3], words[4].parse().expect("a number")),
            directory: words[5].into(),
        })
    }

    fn text(&self) -> String {
        let (place, nth) = self.trap.map_or(("none", 0), |trap| (trap.place(), trap.nth));
        format!("{} {} {} {place} {nth} {}", self.role, self.life, self.seed, self.directory.display())
    }

    /// Starts the child.
    pub fn spawn(&self) -> Life {
        self.spawn_with(&[])
    }

    /// With more variables in its environment.
    pub fn spawn_with(&self, variables: &[(&str, &Path)]) -> Life {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(program);
        command.args(["--exact", "child", "--nocapture", "--test-threads", "1"]).env(ORDERS, self.text());
        // A group of its own: an interrupt at the terminal is for the parent, who judges what it has and stops.
        command.process_group(0).envs(variables.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program runs");
        let pipe = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let (send, lines) = channel();
        // Ends with the pipe, which ends with the child.
        std::thread::spawn(move || {
            let heard = pipe.lines().map_while(Result::ok).filter_map(|text| Line::parse(&text));
            heard.for_each(|line| _ = send.send(line));
        });
        Life { child, lines }
    }
}

/// What a parent heard.
pub enum Heard {
    /// A line.
    Line(Line),
    /// Nothing until then.
    Nothing,
    /// The child has ended, and all that it said was heard.
    TheEnd,
}

/// A child. Dropped, it is killed.
pub struct Life {
    /// The process.
    pub child: Child,
    lines: Receiver<Line>,
}

impl Life {
    /// The next line, if there is one until then.
    pub fn hear(&self, until: Instant) -> Heard {
        match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => Heard::Line(line),
            Err(RecvTimeoutError::Timeout) => Heard::Nothing,
            Err(RecvTimeoutError::Disconnected) => Heard::TheEnd,
        }
    }

    /// The next line that there has to be.
    pub fn line(&self) -> Line {
        match self.hear(Instant::now() + PATIENCE) {
            Heard::Line(line) => line,
            Heard::Nothing => panic!("a child said nothing for {PATIENCE:?}"),
            Heard::TheEnd => panic!("a child ended too early"),
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
    }

    /// All that it said and nobody has heard yet, and how it ended.
    pub fn bury(mut self) -> (Vec<Line>, ExitStatus) {
        let mut heard = Vec::new();
        loop {
            match self.hear(Instant::now() + PATIENCE) {
                Heard::Line(line) => heard.push(line),
                Heard::TheEnd => break,
                Heard::Nothing => panic!("a child did not end within {PATIENCE:?}"),
            }
        }
        (heard, self.child.wait().expect("a child can be waited for"))
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
