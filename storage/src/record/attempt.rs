//! How an attempt ended, and what it logged, as they stand on disk.

use std::sync::Arc;

use bincode::Encode;
use bincode::de::{BorrowDecode, BorrowDecoder};
use bincode::error::DecodeError;
use windlass_scheduler::attempt::{AttemptLog, AttemptResult, LogLevel, LogLine};
use windlass_scheduler::change::AttemptRecord;
use windlass_scheduler::job::JobId;
use windlass_scheduler::time::Timestamp;

use super::{BorrowDecodeDerive, FailureV1, read_items};

/// Its job and number stand in the key.
#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct AttemptV1<'a> {
    started: u64,
    ended: u64,
    result: ResultV1<'a>,
    log: Option<LogV1<'a>>,
}

#[derive(Encode, BorrowDecodeDerive)]
enum ResultV1<'a> {
    Failed(FailureV1<'a>),
    Succeeded,
    Snoozed,
    Cancelled,
    Released,
}

#[derive(Encode, BorrowDecodeDerive)]
struct LogV1<'a> {
    dropped: u64,
    lines: LinesV1<'a>,
}

/// Read like a [`List`](super::List), and borrowed.
#[derive(Encode)]
struct LinesV1<'a>(Vec<LineV1<'a>>);

#[derive(Encode, BorrowDecodeDerive)]
struct LineV1<'a> {
    at: u64,
    level: u8,
    target: &'a str,
    text: &'a str,
}

impl<'de: 'a, 'a, Context> BorrowDecode<'de, Context> for LinesV1<'a> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        read_items(decoder).map(Self)
    }
}

impl<'a> AttemptV1<'a> {
    pub(crate) fn new(attempt: &'a AttemptRecord) -> Self {
        let result = match &attempt.result {
            AttemptResult::Failed(failure) => ResultV1::Failed(FailureV1::new(failure)),
            AttemptResult::Succeeded => ResultV1::Succeeded,
            AttemptResult::Snoozed => ResultV1::Snoozed,
            AttemptResult::Cancelled => ResultV1::Cancelled,
            AttemptResult::Released => ResultV1::Released,
        };
        let log = attempt.log.as_deref().map(LogV1::new);
        Self { started: attempt.started.0, ended: attempt.ended.0, result, log }
    }

    /// `None` where the kind of a failure is unknown.
    pub(crate) fn domain(&self, id: JobId, attempt: u32) -> Option<AttemptRecord> {
        let result = match &self.result {
            ResultV1::Failed(failure) => AttemptResult::Failed(failure.domain()?),
            ResultV1::Succeeded => AttemptResult::Succeeded,
            ResultV1::Snoozed => AttemptResult::Snoozed,
            ResultV1::Cancelled => AttemptResult::Cancelled,
            ResultV1::Released => AttemptResult::Released,
        };
        let (started, ended) = (Timestamp(self.started), Timestamp(self.ended));
        let log = self.log.as_ref().map(|log| Arc::new(log.domain()));
        Some(AttemptRecord { id, attempt, started, ended, result, log })
    }
}

impl<'a> LogV1<'a> {
    fn new(log: &'a AttemptLog) -> Self {
        let line = |line: &'a LogLine| LineV1 {
            at: line.at.0,
            level: line.level as u8 + 1,
            target: &line.target,
            text: &line.text,
        };
        Self { dropped: log.dropped, lines: LinesV1(log.lines.iter().map(line).collect()) }
    }

    fn domain(&self) -> AttemptLog {
        let line = |line: &LineV1<'a>| LogLine {
            at: Timestamp(line.at),
            // A level that a later version made up is no reason to lose the line.
            level: LogLevel::ALL.get(usize::from(line.level).wrapping_sub(1)).copied().unwrap_or(LogLevel::Trace),
            target: line.target.to_owned(),
            text: line.text.to_owned(),
        };
        AttemptLog { lines: self.lines.0.iter().map(line).collect(), dropped: self.dropped }
    }
}
