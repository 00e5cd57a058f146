//! What attempts log, as far as it is kept with their jobs.
//!
//! Owns the bounds of it, and how it comes from a service's subscriber of `tracing` to the attempt. Never logs anything itself, and keeps
//! nothing where no [`AttemptLogLayer`] is there.

#[cfg(feature = "logs")]
mod layer;

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(any(test, feature = "logs"))]
use windlass_scheduler::attempt::cut;
use windlass_scheduler::attempt::{AttemptLog, LogLine};

#[cfg(feature = "logs")]
pub use self::layer::AttemptLogLayer;
#[cfg(feature = "logs")]
pub(crate) use self::layer::{are_kept, offered};

/// Lines that are kept of an attempt: the last ones, which tell how it ended.
#[cfg(any(test, feature = "logs"))]
const LINES_MAX: usize = 200;
/// Bytes of texts that are kept of an attempt: what each of thousands of retained jobs may cost.
#[cfg(any(test, feature = "logs"))]
const LOG_BYTES_MAX: usize = 16 * 1024;
/// Bytes of one line; a longer one is cut. So a single one never drives all others out.
#[cfg(any(test, feature = "logs"))]
const LINE_BYTES_MAX: usize = 2 * 1024;

/// The log of one attempt, while it runs and until its end is written.
#[derive(Debug, Default)]
pub(crate) struct LogBuffer(Mutex<State>);

#[derive(Debug)]
enum State {
    Open(Lines),
    /// The attempt has ended: what comes later is not of it.
    Sealed(Option<Arc<AttemptLog>>),
}

#[derive(Clone, Debug, Default)]
struct Lines {
    kept: VecDeque<LogLine>,
    #[cfg(any(test, feature = "logs"))]
    bytes: usize,
    dropped: u64,
}

impl Default for State {
    fn default() -> Self {
        Self::Open(Lines::default())
    }
}

impl LogBuffer {
    #[cfg(any(test, feature = "logs"))]
    pub(crate) fn push(&self, mut line: LogLine) {
        cut(&mut line.target, LINE_BYTES_MAX / 4);
        cut(&mut line.text, LINE_BYTES_MAX);
        if let State::Open(lines) = &mut *self.lock() {
            lines.push(line);
        }
    }

    /// From now on it stays as it is.
    pub(crate) fn seal(&self) {
        let mut state = self.lock();
        if let State::Open(lines) = &mut *state {
            let log = mem::take(lines).into_log();
            *state = State::Sealed(log.map(Arc::new));
        }
    }

    /// What stands in it; `None`: nothing.
    pub(crate) fn log(&self) -> Option<Arc<AttemptLog>> {
        match &*self.lock() {
            State::Open(lines) => lines.clone().into_log().map(Arc::new),
            State::Sealed(log) => log.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    #[cfg(any(test, feature = "logs"))]
    fn push(&mut self, line: LogLine) {
        self.bytes += line.bytes();
        self.kept.push_back(line);
        while self.kept.len() > LINES_MAX || self.bytes > LOG_BYTES_MAX {
            let Some(first) = self.kept.pop_front() else { break };
            self.bytes -= first.bytes();
            self.dropped += 1;
        }
    }

    fn into_log(self) -> Option<AttemptLog> {
        let Self { kept, dropped, .. } = self;
        (!kept.is_empty()).then(|| AttemptLog { lines: kept.into(), dropped })
    }
}

/// Without a layer nobody takes a log.
#[cfg(not(feature = "logs"))]
pub(crate) const fn are_kept() -> bool {
    false
}

#[cfg(not(feature = "logs"))]
pub(crate) fn offered<T>(_: &Arc<crate::live::Signals>, span: impl FnOnce() -> T) -> T {
    span()
}

#[cfg(test)]
mod tests {
    use windlass_scheduler::attempt::LogLevel;
    use windlass_scheduler::time::Timestamp;

    use super::*;

    fn line(text: String) -> LogLine {
        LogLine { at: Timestamp(0), level: LogLevel::Info, target: "t".into(), text }
    }

    #[test]
    fn the_last_lines_are_kept_and_the_others_counted() {
        let log = LogBuffer::default();
        assert_eq!(log.log(), None);
        (0..LINES_MAX + 5).for_each(|n| log.push(line(n.to_string())));
        let kept = log.log().unwrap();
        assert_eq!((kept.lines.len(), kept.dropped, kept.lines[0].text.as_str()), (LINES_MAX, 5, "5"));

        let log = LogBuffer::default();
        (0..20).for_each(|_| log.push(line("ä".repeat(5_000))));
        let kept = log.log().unwrap();
        assert!(
            kept.bytes() <= LOG_BYTES_MAX && kept.bytes() > LOG_BYTES_MAX - LINE_BYTES_MAX - 10,
            "{}",
            kept.bytes()
        );
        assert_eq!(kept.dropped + kept.lines.len() as u64, 20);
        assert!(kept.lines.iter().all(|line| line.text.len() <= LINE_BYTES_MAX && line.text.ends_with('ä')));
    }

    #[test]
    fn what_comes_after_the_end_is_not_of_the_attempt() {
        let log = LogBuffer::default();
        log.push(line("in time".into()));
        log.seal();
        log.push(line("late".into()));
        log.seal();
        assert_eq!(log.log().unwrap().lines.len(), 1);
    }
}
