//! What stands on the screen, and what keys make of it.

use std::cmp::Reverse;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde_json::Value;

use super::Seen;
use crate::online::one_line;
use crate::online::shown::Shown;

/// What the keys want of the console.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Look again, now.
    Look,
    /// Show what runs of this queue.
    Pick(String),
    /// Pause it, or resume it.
    Set { queue: String, pause: bool },
}

/// By what queues are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Name,
    Running,
    Ready,
    Oldest,
    Dead,
    Failed,
}

impl Sort {
    const ALL: [Self; 6] = [Self::Name, Self::Running, Self::Ready, Self::Oldest, Self::Dead, Self::Failed];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Running => "running",
            Self::Ready => "ready",
            Self::Oldest => "oldest",
            Self::Dead => "dead",
            Self::Failed => "failed/min",
        }
    }

    const fn field(self) -> Option<&'static str> {
        match self {
            Self::Name => None,
            Self::Running => Some("running"),
            Self::Ready => Some("ready"),
            Self::Oldest => Some("oldest_ready_ms"),
            Self::Dead => Some("dead"),
            Self::Failed => Some("failed_last_minute"),
        }
    }

    fn next(self) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).unwrap_or_default();
        Self::ALL[(at + 1) % Self::ALL.len()]
    }
}

/// What was said last, and whether it is bad.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) is_bad: bool,
}

/// All that is on the screen.
#[derive(Debug)]
pub(super) struct State {
    pub(super) place: String,
    pub(super) seen: Seen,
    pub(super) sort: Sort,
    pub(super) said: Said,
    /// By its name: the place of a queue changes with what it is sorted by.
    picked: Option<String>,
    /// A queue, and whether it is to be paused: somebody is asked whether they mean it.
    asked: Option<(String, bool)>,
    is_over: bool,
}

impl State {
    pub(super) fn new(place: &str, seen: Seen) -> Self {
        let place = one_line(place).into_owned();
        let mut state =
            Self { place, seen, sort: Sort::Name, said: Said::default(), picked: None, asked: None, is_over: false };
        state.picked = state.queues().first().and_then(|queue| queue.at("name").raw()).map(str::to_owned);
        state
    }

    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn seen(&mut self, seen: Seen) {
        self.seen = seen;
        if self.said.is_bad {
            self.said = Said::default();
        }
    }

    pub(super) fn note(&mut self, text: String) {
        self.said = Said { text, is_bad: false };
    }

    pub(super) fn trouble(&mut self, text: String) {
        self.said = Said { text, is_bad: true };
    }

    /// The question that waits for an answer.
    pub(super) fn question(&self) -> Option<String> {
        let (queue, pause) = self.asked.as_ref()?;
        let verb = if *pause { "Pause" } else { "Resume" };
        Some(format!("{verb} queue {}? [y/N]", one_line(queue)))
    }

    /// The queues as they are shown.
    pub(super) fn queues(&self) -> Vec<Shown<'_>> {
        let mut queues: Vec<_> = Shown::of(&self.seen.overview).at("queues").each().collect();
        queues.sort_by_cached_key(|queue| {
            let most = self.sort.field().map_or(0, |field| queue.at(field).number());
            (Reverse(most), queue.at("name").raw().unwrap_or_default().to_owned())
        });
        queues
    }

    /// Where the picked one stands among them.
    pub(super) fn place_of_picked(&self) -> Option<usize> {
        let picked = self.picked.as_deref()?;
        self.queues().iter().position(|queue| queue.at("name").raw() == Some(picked))
    }

    pub(super) fn pressed(&mut self, key: KeyEvent) -> Option<Wish> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        let is_break = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        if is_break {
            self.is_over = true;
            return None;
        }
        if let Some((queue, pause)) = self.asked.take() {
            return matches!(key.code, KeyCode::Char('y' | 'Y')).then_some(Wish::Set { queue, pause });
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => self.is_over = true,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char(' ') => return Some(Wish::Look),
            KeyCode::Char('p') => self.asked = self.picked_state(),
            KeyCode::Down | KeyCode::Char('j') => return self.step(1),
            KeyCode::Up | KeyCode::Char('k') => return self.step(-1),
            _ => {}
        }
        None
    }

    /// The picked queue, and whether it is running and may be paused.
    fn picked_state(&self) -> Option<(String, bool)> {
        let queues = self.queues();
        let queue = queues.get(self.place_of_picked()?)?;
        Some((queue.at("name").raw()?.to_owned(), !queue.at("is_paused").is()))
    }

    fn step(&mut self, by: isize) -> Option<Wish> {
        let queues = self.queues();
        let last = queues.len().checked_sub(1)?;
        let to = self.place_of_picked().map_or(0, |at| at.saturating_add_signed(by).min(last));
        let name = queues[to].at("name").raw()?.to_owned();
        self.picked = Some(name.clone());
        // What runs of the other one is not to be taken for this one's.
        self.seen.running = Value::Null;
        Some(Wish::Pick(name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state() -> State {
        let queue = |name: &str, ready: u64| json!({ "name": name, "ready": ready, "is_paused": name == "b" });
        let overview = json!({ "queues": [queue("a", 1), queue("b", 3), queue("c", 2)] });
        State::new("http://x", Seen { overview, running: Value::Null })
    }

    fn press(state: &mut State, code: KeyCode) -> Option<Wish> {
        state.pressed(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn a_picked_queue_stays_picked_when_it_is_sorted_elsewhere() {
        let mut state = state();
        assert_eq!(press(&mut state, KeyCode::Down), Some(Wish::Pick("b".to_owned())));
        assert_eq!(state.place_of_picked(), Some(1));
        while state.sort != Sort::Ready {
            press(&mut state, KeyCode::Char('s'));
        }
        assert_eq!(state.place_of_picked(), Some(0));
        assert_eq!(press(&mut state, KeyCode::Up), Some(Wish::Pick("b".to_owned())), "it is the first one");
        assert_eq!(press(&mut state, KeyCode::Down), Some(Wish::Pick("c".to_owned())));
    }

    #[test]
    fn nothing_is_paused_before_somebody_says_yes() {
        let mut state = state();
        for no in ['n', 'q', 'p'] {
            assert_eq!(press(&mut state, KeyCode::Char('p')), None);
            assert!(state.question().is_some_and(|question| question.contains("Pause queue a")));
            assert_eq!(press(&mut state, KeyCode::Char(no)), None);
            assert!(state.question().is_none() && !state.is_over());
        }
        press(&mut state, KeyCode::Char('p'));
        let wish = press(&mut state, KeyCode::Char('y'));
        assert_eq!(wish, Some(Wish::Set { queue: "a".to_owned(), pause: true }));
        press(&mut state, KeyCode::Down);
        press(&mut state, KeyCode::Char('p'));
        let wish = press(&mut state, KeyCode::Char('y'));
        assert_eq!(wish, Some(Wish::Set { queue: "b".to_owned(), pause: false }));
    }
}
