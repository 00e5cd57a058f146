//! A child process: this test program again, with a role in an environment variable. It tells what it does in lines, and is
//! told in lines what to do.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

const ROLE: &str = "WINDLASS_FAULTS_CHILD";

/// A guard against hanging, never a way to wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a child is to be.
pub(crate) struct Orders {
    pub(crate) role: String,
    pub(crate) directory: PathBuf,
}

impl Orders {
    /// Those of this process; `None` in the parent.
    pub(crate) fn given() -> Option<Self> {
        let text = std::env::var(ROLE).ok()?;
        let (role, directory) = text.split_once('|').expect("a role and a directory");
        Some(Self { role: role.to_owned(), directory: directory.into() })
    }
}

/// Tells the parent.
pub(crate) fn tell(text: &str) {
    let line = format!("~{}\n", text.replace('\n', " "));
    if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
        // The parent is gone.
        std::process::abort();
    }
}

/// The lines that the parent says, on a thread of their own.
pub(crate) fn listen() -> tokio::sync::mpsc::UnboundedReceiver<String> {
    let (send, lines) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).for_each(|line| _ = send.send(line));
    });
    lines
}

/// Tells of any panic but those that are part of the play.
pub(crate) fn tell_panics(but: &'static [&'static str]) {
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.to_string();
        if !but.iter().any(|words| text.contains(words)) {
            tell(&format!("wrong {text}"));
        }
    }));
}

/// A child. Dropped, it is killed.
pub(crate) struct Life {
    pub(crate) child: Child,
    lines: Receiver<String>,
}

impl Life {
    pub(crate) fn begin(role: &str, directory: &Path, variables: &[(&str, &Path)]) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(program);
        command.args(["--exact", "child", "--nocapture", "--test-threads", "1"]);
        command.env(ROLE, format!("{role}|{}", directory.display())).envs(variables.iter().copied());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this program runs");
        let pipe = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let (send, lines) = channel();
        // Ends with the pipe, which ends with the child.
        std::thread::spawn(move || {
            for line in pipe.lines().map_while(Result::ok) {
                if let Some(line) = line.strip_prefix('~') {
                    let _ = send.send(line.to_owned());
                }
            }
        });
        Self { child, lines }
    }

    /// The next line, if there is one by then and the child lives.
    pub(crate) fn hear(&self, until: Instant) -> Option<String> {
        self.lines.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
    }

    /// The next line that there has to be.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|end| panic!("the child says nothing more: {end}"));
        assert!(!line.starts_with("wrong"), "{line}");
        line
    }

    /// The rest of the next line that begins so; those before it are passed by.
    #[track_caller]
    pub(crate) fn until(&self, word: &str) -> String {
        loop {
            let line = self.line();
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }

    pub(crate) fn say(&mut self, word: &str) {
        let pipe = self.child.stdin.as_mut().expect("its input is a pipe");
        writeln!(pipe, "{word}").expect("the child listens");
    }

    /// All that it said and nobody has heard yet, and how it ended.
    #[track_caller]
    pub(crate) fn bury(mut self) -> (Vec<String>, ExitStatus) {
        let mut heard = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => heard.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("a child did not end within {PATIENCE:?}: {heard:?}"),
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
