//! Kills while the process comes back from a kill.

use std::time::{Duration, Instant};

use windlass_tests::chance::Chance;
use windlass_tests::kill::image::Image;
use windlass_tests::kill::oracle::Oracle;
use windlass_tests::kill::pipe::Line;
use windlass_tests::kill::process::{Heard, Orders, PATIENCE};
use windlass_tests::kill::say;
use windlass_tests::kill::trap::Trap;

/// Kills at random moments, one after the other.
const KILLS: u16 = 8;
/// Places at which a process dies that comes back: in order, from opening to the first thing that it writes.
const PLACES: [&str; 5] = ["open-after", "load-during", "load-after", "first-append-before", "first-append-after"];

/// Lets a process come back and kills it after so long, or, where the orders say so, at a place. Tells whether it was ready.
fn interrupted(oracle: &mut Oracle, orders: &Orders, after: Option<Duration>) -> bool {
    let mut life = orders.spawn();
    let until = Instant::now() + after.unwrap_or(PATIENCE);
    let mut was_ready = false;
    while let Heard::Line(line) = life.hear(until) {
        was_ready |= line == Line::Ready;
        oracle.hear(&line);
    }
    if after.is_some() {
        life.kill();
    }
    let (lines, _) = life.bury();
    oracle.hear_all(&lines);
    was_ready || lines.contains(&Line::Ready)
}

#[test]
fn kills_during_recovery_lose_nothing_and_count_no_attempt_that_was_not_handed_out() {
    let seed = Chance::seed(5);
    say(&format!("kills during recovery: seed {seed}"));
    let mut chance = Chance::new(seed);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut oracle = Oracle::default();
    oracle.life = 1;
    let mut life = Orders::new("work", 1, directory.path()).spawn();
    let mut starts = 0;
    while starts < 150 || !oracle.is_busy() {
        let Heard::Line(line) = life.hear(Instant::now() + PATIENCE) else { panic!("the child does not work") };
        oracle.hear(&line);
        starts += usize::from(matches!(line, Line::Start(..)));
    }
    life.kill();
    oracle.hear_all(&life.bury().0);
    oracle.judge(&Image::of(directory.path(), |_| true));

    let mut ready = 0;
    for place in PLACES.into_iter().map(Some).chain((0..KILLS).map(|_| None)) {
        oracle.life += 1;
        let mut orders = Orders::new("idle", oracle.life, directory.path());
        orders.trap = place.and_then(|place| Trap::at(place, 3));
        let after = place.is_none().then(|| Duration::from_millis(5 + chance.below(60)));
        let (hidden, lost) = (oracle.seen.hidden, oracle.seen.lost);
        ready += u32::from(interrupted(&mut oracle, &orders, after));
        oracle.judge(&Image::of(directory.path(), |_| false));
        let is_same = (oracle.seen.hidden, oracle.seen.lost) == (hidden, lost);
        match place {
            Some("first-append-after") => assert!(!is_same, "what it wrote first handed out attempts"),
            Some(place) => assert!(is_same, "{place}: an attempt was counted that was not handed out"),
            None => {}
        }
    }
    oracle.life += 1;
    let (lines, status) = Orders::new("drain", oracle.life, directory.path()).spawn().bury();
    oracle.hear_all(&lines);
    assert!(lines.contains(&Line::Bye), "the last life ended with {status}");
    let image = Image::of(directory.path(), |_| true);
    oracle.judge(&image);
    let (done, dead) = oracle.verdict(&image);
    let places = PLACES.len();
    say(&format!("{places} kills at places of the recovery, {KILLS} at random ({ready} of them when it was over)"));
    say(&format!("then {done} jobs done and {dead} dead: {:?}", oracle.seen));
}
