//! A job's life in lines that a person reads: kept small, since there may be many jobs.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Answer, Finish};
use crate::state::EndState;

/// Lines of a job that are kept: the last ones.
const LINES_MAX: usize = 48;

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Called(&'static str),
    Answered(&'static str, Answer),
    Started(u32),
    Ended(u32, Finish),
    Lost(u32),
    Found { ended: Option<EndState>, attempts_ended: u32, open: Option<u32>, failures: u32 },
    Missing,
}

/// The last lines of a life.
#[derive(Clone, Debug, Default)]
pub(super) struct Life(VecDeque<(u64, Line)>);

impl Life {
    pub(super) fn push(&mut self, at_ms: u64, line: Line) {
        // A store that is looked at again and again says the same.
        if self.0.back().is_some_and(|(_, last)| *last == line) {
            return;
        }
        if self.0.len() == LINES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((at_ms, line));
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(at_ms, line)| format!("{at_ms:>10} ms  {}", line.text())).collect()
    }
}

impl Line {
    fn text(self) -> String {
        match self {
            Self::Called(what) => format!("{what}?"),
            Self::Answered(what, answer) => match answer {
                Answer::Is(state) => format!("{what}: it is {state}"),
                answer => format!("{what}: {answer:?}"),
            },
            Self::Started(attempt) => format!("attempt {attempt} starts"),
            Self::Ended(attempt, how) => format!("attempt {attempt} ends: {how:?}"),
            Self::Lost(attempt) => format!("attempt {attempt} dies with its process"),
            Self::Found { ended, attempts_ended, open, failures } => {
                let state = ended.map_or_else(|| String::from("live"), |ended| format!("{ended:?}"));
                let open = open.map_or_else(String::new, |open| format!(", attempt {open} open"));
                format!("in the store: {state}, {attempts_ended} attempts ended{open}, {failures} failures")
            }
            Self::Missing => String::from("not in the store"),
        }
    }
}
