//! The system's wish that this process ends: SIGTERM and SIGINT, or their likes on Windows.
//!
//! Owns the listening, and the one call that turns a signal into a graceful stop. Never ends the process by itself.

use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use tracing::{info, warn};

use crate::engine::Engine;
use crate::error::ShutdownError;

/// What asked the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopSignal {
    /// SIGTERM: a service manager or a container's runtime. On Windows: the console closes, or the system shuts down.
    Terminate,
    /// SIGINT: Ctrl-C at a terminal. On Windows: Ctrl-C or Ctrl-Break.
    Interrupt,
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}

/// Hears the signals that ask this process to end, from [`listen`](Self::listen) on, one after the other. Any number of
/// these may listen: each hears every signal (two of a kind that come at once may be heard as one).
///
/// From the first one on the process no longer dies of these signals by itself, and that does not change when it is
/// dropped: whoever listens has to see that it ends.
#[derive(Debug)]
pub struct StopSignals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(windows)]
    close: tokio::signal::windows::CtrlClose,
    #[cfg(windows)]
    shutdown: tokio::signal::windows::CtrlShutdown,
    #[cfg(windows)]
    c: tokio::signal::windows::CtrlC,
    #[cfg(windows)]
    r#break: tokio::signal::windows::CtrlBreak,
}

impl StopSignals {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system's, where it lets this process listen to none.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or in one without an I/O driver (`enable_io()` or `enable_all()` of its builder;
    /// `#[tokio::main]` has it).
    pub fn listen() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
        }
        #[cfg(windows)]
        {
            use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};
            Ok(Self { close: ctrl_close()?, shutdown: ctrl_shutdown()?, c: ctrl_c()?, r#break: ctrl_break()? })
        }
    }

    /// The next signal. Dropping the future loses none.
    pub async fn next(&mut self) -> StopSignal {
        #[cfg(unix)]
        let signal = tokio::select! {
            Some(()) = self.terminate.recv() => StopSignal::Terminate,
            Some(()) = self.interrupt.recv() => StopSignal::Interrupt,
            else => std::future::pending().await,
        };
        #[cfg(windows)]
        let signal = tokio::select! {
            Some(()) = self.close.recv() => StopSignal::Terminate,
            Some(()) = self.shutdown.recv() => StopSignal::Terminate,
            Some(()) = self.c.recv() => StopSignal::Interrupt,
            Some(()) = self.r#break.recv() => StopSignal::Interrupt,
            else => std::future::pending().await,
        };
        signal
    }

    /// Shuts this engine down as [`Engine::shutdown`] does; another signal meanwhile shortens the deadline to zero. For
    /// services that have something else to stop before, a web server for example.
    ///
    /// # Errors
    /// As of [`Engine::shutdown`].
    pub async fn shutdown(&mut self, engine: &Engine, deadline: Duration) -> Result<(), ShutdownError> {
        self.hurried(engine, deadline).await.1
    }

    async fn hurried(&mut self, engine: &Engine, deadline: Duration) -> (bool, Result<(), ShutdownError>) {
        let stop = engine.shutdown(deadline);
        tokio::pin!(stop);
        tokio::select! {
            result = &mut stop => (false, result),
            signal = self.next() => {
                warn!(%signal, "another signal: what still runs is cancelled now");
                let (result, _) = tokio::join!(stop, engine.shutdown(Duration::ZERO));
                (true, result)
            }
        }
    }
}

/// A future that is ready when this process is asked to end. It listens from this call on, before it is polled, so that
/// a signal that comes early is heard. Made for a web server's own graceful shutdown:
///
/// ```no_run
/// # async fn serve(_: impl Future<Output = ()>) {}
/// # async fn example(engine: windlass::Engine) -> Result<(), Box<dyn std::error::Error>> {
/// let mut signals = windlass::StopSignals::listen()?;
/// let stop = windlass::stop_signal();
/// serve(async { _ = stop.await }).await; // .with_graceful_shutdown(..)
/// signals.next().await; // the same one, heard here too: what comes after it is in a hurry
/// signals.shutdown(&engine, windlass::SEC * 30).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Of the future: the system's, where it lets this process listen to none.
///
/// # Panics
/// As [`StopSignals::listen`].
pub fn stop_signal() -> impl Future<Output = io::Result<StopSignal>> + Send + 'static {
    let signals = StopSignals::listen();
    async move { Ok(signals?.next().await) }
}

/// What came of [`Engine::shutdown_on_signal`].
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "the engine may not have stopped cleanly: look at `result`"]
pub struct SignalStop {
    /// The signal that began it.
    pub signal: StopSignal,
    /// Another signal came before it was over, and shortened the deadline to zero.
    pub was_hurried: bool,
    /// How the engine stopped.
    pub result: Result<(), ShutdownError>,
}

impl Engine {
    /// Waits until this process is asked to end (SIGTERM, SIGINT), then [shuts down](Self::shutdown) with this deadline.
    /// Another signal meanwhile shortens the deadline to zero: what runs is cancelled at once. It listens from the first
    /// poll on; from then on these signals no longer end the process, so return from `main` afterwards.
    ///
    /// # Errors
    /// The system's, where it lets this process listen to no signals; the engine goes on then.
    ///
    /// # Panics
    /// As [`StopSignals::listen`].
    pub async fn shutdown_on_signal(&self, deadline: Duration) -> io::Result<SignalStop> {
        let mut signals = StopSignals::listen()?;
        let signal = signals.next().await;
        info!(%signal, deadline_ms = deadline.as_millis(), "asked to end: the engine drains");
        let (was_hurried, result) = signals.hurried(self, deadline).await;
        Ok(SignalStop { signal, was_hurried, result })
    }
}
