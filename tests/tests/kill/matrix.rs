//! A process that dies at each place of the journal and of each change of state.

use std::time::Instant;

use windlass_tests::chance::Chance;
use windlass_tests::kill::lives::drained;
use windlass_tests::kill::matrix::{REOPENINGS, Tally, die_at, places};
use windlass_tests::kill::oracle::Oracle;
use windlass_tests::kill::say;

/// I10, I11: whatever the step that a death cuts, what was told is there, and what is there was claimed before it ran.
#[test]
fn a_death_before_or_after_any_call_or_change_loses_nothing_through_three_reopenings() {
    let seed = Chance::seed(20_261_127);
    say(&format!("deaths at each place: seed {seed}"));
    let mut chance = Chance::new(seed);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut oracle, mut tally, mut kills) = (Oracle::default(), Tally::new(), 0);
    let began = Instant::now();
    // Those that die while they come back find a backlog.
    let (coming, working): (Vec<_>, Vec<_>) =
        places().partition(|place| ["open", "load", "first", "close"].iter().any(|call| place.starts_with(call)));
    for place in working.iter().chain(&coming) {
        kills += die_at(&mut oracle, directory.path(), place, &mut chance, &mut tally);
    }
    let (done, dead) = drained(&mut oracle, directory.path());
    say(&format!(
        "{} places, {REOPENINGS} reopenings each: {kills} kills in {:.1?}: {tally:?}",
        places().count(),
        began.elapsed()
    ));
    say(&format!("then {done} jobs done and {dead} dead: {:?}", oracle.seen));
    let unreached: Vec<_> = places().filter(|place| !tally.contains_key(place)).collect();
    assert!(unreached.is_empty(), "no process died there: {unreached:?}");
}
