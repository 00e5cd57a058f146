//! A service on the screen of a terminal, for as long as somebody looks.
//!
//! Owns who does what: one thread asks the console, this one draws and listens to keys, so that neither a slow console nor a slow
//! terminal holds up the other. The terminal is left as it was, whatever ends it.

mod screen;
mod state;

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use serde_json::{Value, json};
use tokio::runtime::Builder;
use windlass::StopSignals;

use self::state::{State, Wish};
use super::Place;
use super::client::Client;
use super::shown::Shown;
use crate::failure::{Failure, Verdict};
use crate::output::Out;

/// How often what the other thread says is looked at, where no key is pressed.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Running jobs that are asked for: as many as a tall screen has lines.
const RUNNING_MAX: usize = 50;

/// How to look.
#[derive(Args, Debug)]
pub(crate) struct Top {
    #[command(flatten)]
    place: Place,
    /// How often to look, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    every: u64,
}

/// What the console said.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) overview: Value,
    /// What runs of the queue that is picked.
    pub(crate) running: Value,
}

/// What comes from the thread that asks.
#[derive(Debug)]
enum Told {
    Seen(Box<Seen>),
    /// Something was done, or could not be.
    Note(String),
    Trouble(String),
}

impl Top {
    pub(crate) fn run(&self, out: &Out) -> Result<Verdict, Failure> {
        if out.json || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            let instead = "`windlass stats` tells the same once, and with `--json` to programs";
            return Err(Failure::Other(format!("top draws on a terminal for somebody who looks: {instead}")));
        }
        let client = self.place.client()?;
        // What is wrong from the start is said as by any other command.
        let first = look(&client, None)?;
        let mut state = State::new(client.place(), first);
        let (wishes, wished) = channel();
        let (tell, told) = channel();
        let every = Duration::from_secs(self.every);
        thread::spawn(move || ask(&client, every, &wished, &tell));
        let is_over = stop_signal()?;
        let mut screen = Screen::new()?;
        screen.show(&mut state, &wishes, &told, &is_over)?;
        Ok(Verdict::Sound)
    }
}

/// The terminal while it is ours.
struct Screen(DefaultTerminal);

impl Screen {
    fn new() -> Result<Self, Failure> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                // It may be half ours.
                let _ = ratatui::try_restore();
                Err(Failure::Output(error))
            }
        }
    }

    fn show(
        &mut self,
        state: &mut State,
        wishes: &Sender<Wish>,
        told: &Receiver<Told>,
        is_over: &AtomicBool,
    ) -> Result<(), Failure> {
        while !state.is_over() && !is_over.load(Ordering::Relaxed) {
            self.0.draw(|frame| screen::draw(frame, state)).map_err(Failure::Output)?;
            if event::poll(LOOK_EVERY).map_err(Failure::Output)?
                && let Event::Key(key) = event::read().map_err(Failure::Output)?
                && let Some(wish) = state.pressed(key)
            {
                // Where nobody takes it, the program is at its end.
                let _ = wishes.send(wish);
            }
            for told in told.try_iter() {
                match told {
                    Told::Seen(seen) => state.seen(*seen),
                    Told::Note(note) => state.note(note),
                    Told::Trouble(trouble) => state.trouble(trouble),
                }
            }
        }
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.0.show_cursor();
        let _ = ratatui::try_restore();
    }
}

/// Asks until nobody listens any more.
fn ask(client: &Client, every: Duration, wished: &Receiver<Wish>, tell: &Sender<Told>) {
    let mut picked = None;
    let mut next = Instant::now() + every;
    loop {
        let wish = match wished.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(wish) => Some(wish),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let note = match wish {
            Some(Wish::Pick(queue)) => {
                picked = Some(queue);
                None
            }
            Some(Wish::Set { queue, pause }) => Some(set(client, &queue, pause)),
            Some(Wish::Look) | None => None,
        };
        let seen = match look(client, picked.as_deref()) {
            Ok(seen) => Told::Seen(Box::new(seen)),
            Err(trouble) => Told::Trouble(trouble.to_string()),
        };
        if note.into_iter().chain([seen]).any(|told| tell.send(told).is_err()) {
            return;
        }
        next = Instant::now() + every;
    }
}

fn set(client: &Client, queue: &str, pause: bool) -> Told {
    let (verb, word) = if pause { ("pause", "is paused") } else { ("resume", "goes on") };
    match client.post(&["queues", queue, verb], &json!({})) {
        Ok(_) => Told::Note(format!("queue {} {word}", super::one_line(queue))),
        Err(trouble) => Told::Note(trouble.to_string()),
    }
}

/// Without a queue that is picked: of the first one by name, as they are sorted at the beginning.
fn look(client: &Client, picked: Option<&str>) -> Result<Seen, super::Trouble> {
    let overview = client.get(&["overview"], &[])?.into_value();
    let names = Shown::of(&overview).at("queues").each().filter_map(|queue| queue.at("name").raw());
    let queue = picked.or(names.min()).unwrap_or_default().to_owned();
    let parts = [("queue", queue), ("state", "running".to_owned()), ("limit", RUNNING_MAX.to_string())];
    let running = client.get(&["jobs"], &parts)?.into_value();
    Ok(Seen { overview, running })
}

/// Set when the system asks this process to end: a terminal that nobody puts back is of no use to anybody.
fn stop_signal() -> Result<Arc<AtomicBool>, Failure> {
    let failed = |error: io::Error| Failure::Other(format!("signals cannot be heard: {error}"));
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let mut signals = runtime.block_on(async { StopSignals::listen() }).map_err(failed)?;
    let is_over = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_over);
    thread::spawn(move || {
        runtime.block_on(signals.next());
        flag.store(true, Ordering::Relaxed);
    });
    Ok(is_over)
}
