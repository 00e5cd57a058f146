//! Where events stand among all others.

use std::fmt;
use std::str::FromStr;

/// The most of a text that an error quotes.
const QUOTED_MAX: usize = 64;

/// The place of an event: the term of the journal, the step of the engine in it, and the how-manieth event of that step.
///
/// It rises with every event, over rebuilds and restarts too. Everything of one step is in the journal, or nothing: in the first commit
/// whose number, `(term, step)` as well, is not lower. As text it can be stored and handed out (`Last-Event-ID`), and comes back with
/// [`str::parse`]; it means something to the process that it came from, and to any other engine it is a [`Gap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventNo {
    term: u64,
    step: u64,
    place: u32,
    /// Of the process: a journal that keeps nothing begins with the same terms each time.
    origin: u64,
}

impl EventNo {
    pub(super) const fn new(term: u64, step: u64, place: u32, origin: u64) -> Self {
        Self { term, step, place, origin }
    }

    /// The term: it rises with each opening of the journal.
    #[must_use]
    pub const fn term(self) -> u64 {
        self.term
    }

    /// The step within the term.
    #[must_use]
    pub const fn step(self) -> u64 {
        self.step
    }

    pub(super) const fn place(self) -> usize {
        self.place as usize
    }

    /// This event of the same step, from 1; 0: before them all.
    pub(super) fn with_place(self, place: usize) -> Self {
        Self { place: u32::try_from(place).unwrap_or(u32::MAX), ..self }
    }

    /// Whether they are of one step.
    pub(super) const fn is_of(self, other: Self) -> bool {
        self.term == other.term && self.step == other.step && self.origin == other.origin
    }

    pub(super) const fn has_origin(self, origin: u64) -> bool {
        self.origin == origin
    }
}

impl fmt::Display for EventNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { term, step, place, origin } = self;
        write!(f, "{term}.{step}.{place}.{origin:x}")
    }
}

/// A text that is no [`EventNo`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no number of an event: pass on what an event gave")]
pub struct NoEventNo(String);

impl FromStr for EventNo {
    type Err = NoEventNo;

    fn from_str(text: &str) -> Result<Self, NoEventNo> {
        let read = || {
            let mut parts = text.splitn(4, '.');
            let (term, step) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            let (place, origin) = (parts.next()?.parse().ok()?, u64::from_str_radix(parts.next()?, 16).ok()?);
            Some(Self { term, step, place, origin })
        };
        // Whatever parses in another way than it is written is none either.
        let no = read().filter(|no: &Self| no.to_string() == text);
        no.ok_or_else(|| NoEventNo(text.chars().take(QUOTED_MAX).collect()))
    }
}

/// Events that nobody can tell any more. What stands is not touched by it: jobs, queues and flows can be asked for, and a view that is
/// made of events is to be made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "events after {from} and up to {to} are missing: they are not in memory any more, or the core was rebuilt meanwhile"
)]
pub struct Gap {
    /// The last one that was told, or what it was to go on from.
    pub from: EventNo,
    /// Whatever came after this is told.
    pub to: EventNo,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_comes_back_from_its_text_and_nothing_else_is_one() {
        let no = EventNo::new(3, 77, 2, 0xBEEF);
        assert_eq!(no.to_string(), "3.77.2.beef");
        assert_eq!("3.77.2.beef".parse(), Ok(no));
        for text in
            ["", "3", "3.77", "3.77.2", "3.77.2.", "3.77.2.BEEF", "+3.77.2.beef", "3.77.2.beef.1", "3.77.-2.beef"]
        {
            assert_eq!(text.parse::<EventNo>(), Err(NoEventNo(text.to_owned())), "{text}");
        }
        let long = "x".repeat(1_000);
        assert_eq!(long.parse::<EventNo>(), Err(NoEventNo("x".repeat(QUOTED_MAX))));
    }

    #[test]
    fn it_rises_with_terms_then_steps_then_places() {
        let no = |term, step, place| EventNo::new(term, step, place, 9);
        let rising = [no(1, 1, 0), no(1, 1, 1), no(1, 1, 2), no(1, 2, 0), no(2, 1, 0)];
        assert!(rising.is_sorted_by(|one, next| one < next));
    }
}
