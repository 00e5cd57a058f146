//! What a child tells its parent: one line each, written whole before the child goes on.

use std::io::Write as _;

use crate::kill::jobs::No;

/// How an attempt's code ended, as the handler itself saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It succeeded.
    Ok,
    /// It failed.
    Error,
    /// It panicked.
    Panic,
    /// It failed for good.
    Permanent,
    /// It asked to be called later.
    Snooze,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The engine is open.
    Ready,
    /// A job is about to be handed in, or (with a parent) to be added to its parent's success.
    Intent(No),
    /// Its enqueue was Ok.
    Accepted(No),
    /// Its enqueue was refused.
    Refused(No),
    /// An attempt began: job, attempt, failures so far, hash of what it was given.
    Start(No, u32, u32, u64),
    /// Its code is about to end.
    End(No, u32, End),
    /// `wait()` was Ok, with this output.
    Done(No, u64),
    /// `wait()` said that it is dead.
    Dead(No),
    /// Of one queue: accepted ever, live, retained, purged, quarantined.
    Stats([u64; 5]),
    /// The trap has closed: the process is about to die inside the journal, or is to be killed there.
    Trap(String),
    /// All is done, and the engine was shut down.
    Bye,
    /// Something that must not be.
    Wrong(String),
    /// For a test of its own.
    Note(String),
}

impl Line {
    /// Writes it to the parent, in one call of the system.
    pub fn tell(&self) {
        let text = match self {
            Self::Ready => "ready".to_owned(),
            Self::Intent(no) => format!("intent {no}"),
            Self::Accepted(no) => format!("ok {no}"),
            Self::Refused(no) => format!("refused {no}"),
            Self::Start(no, attempt, failures, hash) => format!("start {no} {attempt} {failures} {hash}"),
            Self::End(no, attempt, end) => format!("end {no} {attempt} {end:?}"),
            Self::Done(no, output) => format!("done {no} {output}"),
            Self::Dead(no) => format!("dead {no}"),
            Self::Stats([enqueued, live, retained, purged, quarantined]) => {
                format!("stats {enqueued} {live} {retained} {purged} {quarantined}")
            }
            Self::Trap(place) => format!("trap {place}"),
            Self::Bye => "bye".to_owned(),
            Self::Wrong(what) => format!("wrong {}", what.replace('\n', " ")),
            Self::Note(text) => format!("note {text}"),
        };
        let mut out = std::io::stdout().lock();
        // A parent that is gone does not listen, and a child alone has nothing to do.
        if out.write_all(format!("~{text}\n").as_bytes()).is_err() {
            std::process::abort();
        }
    }

    /// `None` for what the test harness prints.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('~')?;
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let words: Vec<&str> = rest.split(' ').collect();
        let no = || words[0].parse::<No>().expect("a job's number");
        let number = |at: usize| words[at].parse::<u64>().expect("a number");
        let small = |at: usize| words[at].parse::<u32>().expect("a small number");
        Some(match word {
            "ready" => Self::Ready,
            "intent" => Self::Intent(no()),
            "ok" => Self::Accepted(no()),
            "refused" => Self::Refused(no()),
            "start" => Self::Start(no(), small(1), small(2), number(3)),
            "end" => Self::End(no(), small(1), end(words[2])),
            "done" => Self::Done(no(), number(1)),
            "dead" => Self::Dead(no()),
            "stats" => Self::Stats([0, 1, 2, 3, 4].map(number)),
            "trap" => Self::Trap(rest.to_owned()),
            "bye" => Self::Bye,
            "note" => Self::Note(rest.to_owned()),
            _ => Self::Wrong(text.to_owned()),
        })
    }
}

fn end(word: &str) -> End {
    let ends = [End::Ok, End::Error, End::Panic, End::Permanent, End::Snooze];
    ends.into_iter().find(|end| format!("{end:?}") == word).expect("an end")
}
