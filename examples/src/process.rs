//! The shop as a child process, to be started, killed and asked to stop.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How long a start may take, and how long a stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to start it.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its folder. Its log is written beside it, as `<folder>.log`.
    pub data: PathBuf,
    /// Where its mail server is.
    pub smtp: SocketAddr,
    /// More arguments.
    pub arguments: Vec<String>,
}

/// One run of it. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    address: SocketAddr,
    // Kept open, so that it can go on writing.
    _stdout: Lines<BufReader<ChildStdout>>,
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} took more than {} s", PATIENCE.as_secs()))
}

impl Launch {
    /// Where it logs to.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        let mut name = self.data.clone().into_os_string();
        name.push(".log");
        name.into()
    }

    /// Starts it, and waits until it serves.
    ///
    /// # Errors
    /// It cannot be started, ends before it serves, or takes too long.
    pub async fn start(&self) -> io::Result<Process> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut child = Command::new(&self.program)
            .arg("--data")
            .arg(&self.data)
            .args(["--listen", "127.0.0.1:0", "--smtp", &self.smtp.to_string()])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("the shop has no stdout"))?;
        let mut lines = BufReader::new(stdout).lines();
        let announced = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(address) = line.strip_prefix("listening on ") {
                    return address.parse().map_err(io::Error::other);
                }
            }
            Err(io::Error::other(format!("the shop ended before it served; see {}", self.log().display())))
        };
        let address = tokio::time::timeout(PATIENCE, announced).await.map_err(|_| timed_out("the start"))??;
        Ok(Process { child, address, _stdout: lines })
    }
}

impl Process {
    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// SIGKILL: it gets no chance to say goodbye. Returns when it is gone.
    ///
    /// # Errors
    /// The system's.
    pub async fn kill(mut self) -> io::Result<()> {
        self.child.start_kill()?;
        self.child.wait().await.map(drop)
    }

    /// SIGTERM: it drains, and tells how it ended.
    ///
    /// # Errors
    /// The system's, or it takes too long.
    pub async fn terminate(mut self) -> io::Result<ExitStatus> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pid = pid.ok_or_else(|| io::Error::other("the shop has ended before"))?;
        kill_process(pid, Signal::TERM)?;
        tokio::time::timeout(PATIENCE, self.child.wait()).await.map_err(|_| timed_out("the stop"))?
    }
}

/// The program of this name beside the one that runs now.
///
/// # Errors
/// It is not there.
pub fn beside_me(name: &str) -> io::Result<PathBuf> {
    let me = std::env::current_exe()?;
    let program = me.parent().unwrap_or(Path::new(".")).join(name);
    if program.is_file() {
        return Ok(program);
    }
    let message = format!("{} is missing: cargo build --package windlass-examples --bins", program.display());
    Err(io::Error::new(io::ErrorKind::NotFound, message))
}
