//! The command line in a real terminal: what it shows to somebody who sits there, and how it leaves the terminal.

mod screen;

use std::time::Duration;

use vt100::Color;

use self::screen::Screen;
use crate::served::{HOSTILE, OPERATOR, READER, Service};
use crate::world::{copy, world};

/// Whether some cell of the screen is in this colour.
fn has(screen: &vt100::Screen, colour: u8) -> bool {
    let cells = (0..40).flat_map(|row| (0..120).map(move |column| (row, column)));
    cells.filter_map(|(row, column)| screen.cell(row, column)).any(|cell| cell.fgcolor() == Color::Idx(colour))
}

const RED: u8 = 1;
const GREEN: u8 = 2;

#[test]
fn people_at_a_terminal_get_colours_and_bars_and_others_do_not() {
    let (_folder, dir) = copy();
    let dir = dir.to_str().unwrap();
    let mut seen = Screen::run(&["verify", dir], &[]);
    assert_eq!(seen.wait(), 0);
    assert!(seen.now(|screen| has(screen, GREEN)), "{}", seen.text());
    assert!(seen.raw().contains(" of about "), "a bar was there: {:?}", seen.raw());
    assert!(!seen.text().contains(" of about "), "and is gone: {}", seen.text());
    let mut plain = Screen::run(&["verify", dir], &[("NO_COLOR", "1")]);
    assert_eq!(plain.wait(), 0);
    assert!(!plain.now(|screen| has(screen, GREEN)) && plain.text().contains("sound"), "{}", plain.text());
    let mut quiet = Screen::run(&["verify", dir, "--quiet"], &[]);
    assert_eq!((quiet.wait(), quiet.raw()), (0, String::new()));
    // The same into a pipe.
    let piped = crate::world::windlass("verify", &world().dir, &[]);
    assert!(!piped.out.contains('\u{1b}') && piped.err.is_empty(), "{piped:?}");
}

#[test]
fn a_table_is_as_wide_as_the_terminal() {
    let service = Service::new();
    service.dead(&format!("nobody {}", "with a long name ".repeat(12)));
    let mut seen = service.screen(OPERATOR, &["jobs"]);
    assert_eq!(seen.wait(), 0);
    assert!(seen.text().contains("with a long name"), "{}", seen.text());
    assert!(seen.now(|screen| (0..40).all(|row| !screen.row_wrapped(row))), "{}", seen.text());
    let mut seen = service.screen(OPERATOR, &["stats"]);
    assert_eq!(seen.wait(), 0);
    assert!(seen.now(|screen| has(screen, GREEN)), "{}", seen.text());
}

#[test]
fn what_cannot_be_taken_back_is_asked_before() {
    let service = Service::new();
    let dead = || service.run(service.engine.stats()).unwrap().iter().map(|stats| stats.dead).sum::<u64>();
    service.dead("nobody-1");
    service.dead("nobody-2");
    for (answer, code, says, left) in
        [("n", 1, "nothing was changed", 2), ("", 1, "nothing was changed", 2), ("y", 0, "2 jobs discarded", 0)]
    {
        let mut seen = service.screen(OPERATOR, &["dead", "discard", "--all"]);
        seen.until("Forget 2 dead letters, payload and all? [y/N]");
        assert_eq!(dead(), 2, "it is asked before");
        seen.keys(&format!("{answer}\r"));
        assert_eq!(seen.wait(), code, "{answer}: {}", seen.text());
        assert!(seen.text().contains(says), "{answer}: {}", seen.text());
        assert_eq!(dead(), left, "{answer}");
    }
    let id = service.dead("nobody-3").to_string();
    let mut seen = service.screen(OPERATOR, &["job", &id, "discard"]);
    seen.until(&format!("Forget job {id}, payload and all? [y/N]"));
    seen.keys("yes\r");
    assert_eq!(seen.wait(), 0);
    assert!(seen.text().contains("is forgotten"), "{}", seen.text());
}

#[test]
fn top_draws_what_is_and_what_becomes_and_leaves_the_terminal_as_it_was() {
    let service = Service::new();
    let mut seen = service.screen(OPERATOR, &["top", "--every", "1"]);
    seen.until("queues, by name");
    assert!(seen.now(vt100::Screen::alternate_screen));
    for words in ["test", "bulk", "mail", "0 / 4", "q leave", "what runs of bulk", "running 0 of 8"] {
        seen.until(words);
    }
    service.dead("nobody");
    seen.until("dead 1;");
    // Down to the second one: what runs of it comes.
    let running = service.running().to_string();
    seen.keys("\u{1b}[B");
    seen.until("what runs of mail");
    seen.until(&running);
    seen.until("\\u{1b}[2J");
    seen.keys("s");
    seen.until("queues, by running");
    seen.keys("p");
    seen.until("Pause queue mail? [y/N]");
    seen.keys("n");
    seen.until("q leave");
    seen.keys("p");
    seen.until("Pause queue mail? [y/N]");
    seen.keys("y");
    seen.until("queue mail is paused");
    seen.until_row("mail", "paused");
    let is_paused = || service.run(service.engine.stats()).unwrap().iter().any(|stats| stats.paused);
    assert!(is_paused());
    seen.keys("p");
    seen.until("Resume queue mail? [y/N]");
    seen.keys("y");
    seen.until("queue mail goes on");
    assert!(!is_paused());
    seen.keys("q");
    assert_eq!(seen.wait(), 0, "{}", seen.text());
    seen.is_as_it_was();
    assert!(!seen.raw().contains("\u{1b}]0;"), "what a job says of how far it is steers nothing");
    assert!(HOSTILE.contains("\u{1b}]0;"));
}

#[test]
fn top_leaves_the_terminal_as_it_was_whatever_ends_it() {
    let service = Service::new();
    for how in ["ctrl-c", "escape", "TERM", "INT"] {
        let mut seen = service.screen(OPERATOR, &["top"]);
        seen.until("queues, by name");
        match how {
            "ctrl-c" => seen.keys("\u{3}"),
            "escape" => seen.keys("\u{1b}"),
            signal => seen.signal(signal),
        }
        assert_eq!(seen.wait(), 0, "{how}: {}", seen.text());
        seen.is_as_it_was();
    }
}

#[test]
fn top_tells_what_the_console_refuses_and_goes_on() {
    let service = Service::new();
    let mut seen = service.screen(READER, &["top", "--every", "1"]);
    seen.until("queues, by name");
    seen.keys("p");
    seen.until("Pause queue bulk? [y/N]");
    seen.keys("y");
    seen.until("`wallboard` may not do this");
    service.run(service.engine.shutdown(Duration::from_secs(1))).unwrap();
    seen.until("does not answer");
    assert!(seen.now(|screen| has(screen, RED)), "{}", seen.text());
    seen.keys("q");
    assert_eq!(seen.wait(), 0);
}

#[test]
fn top_wants_a_terminal_and_a_console() {
    let service = Service::new();
    for words in [&["top"][..], &["top", "--json"]] {
        let ran = service.windlass(words);
        assert!(ran.code == 2 && ran.err.contains("windlass stats"), "{ran:?}");
    }
    let mut seen = Screen::run(&["top", "--at", "http://127.0.0.1:1"], &[]);
    assert_eq!(seen.wait(), 2);
    assert!(seen.text().contains("can be reached") && !seen.now(vt100::Screen::alternate_screen), "{}", seen.text());
}

impl Service {
    fn screen(&self, token: &str, words: &[&str]) -> Screen {
        Screen::run(words, &[("WINDLASS_URL", &self.url), ("WINDLASS_TOKEN", token)])
    }
}
