//! The table of moves, whole: a new arrow is a decision, and this test is where it is taken.
//!
//! Guards I1. The model's oracle makes no move that this table forbids, and holds the core to its moves; the core asks
//! the table itself in debug assertions, where a job ends and where it is delayed. A release does not ask it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write;

use windlass_scheduler::state::{EndState, State};

const MATRIX: &str = "
             waiting   delayed   ready     running   parked    done      dead      cancelled expired
waiting      .         x         x         .         x         x         x         x         x
delayed      .         .         x         .         x         x         .         x         x
ready        .         x         .         x         .         .         .         x         x
running      .         x         x         .         x         x         x         x         .
parked       .         x         x         .         .         .         .         x         x
done         .         .         .         .         .         .         .         .         .
dead         x         .         x         .         x         .         .         .         .
cancelled    x         .         x         .         x         .         .         .         .
expired      x         .         x         .         x         .         .         .         .
";

#[test]
fn the_whole_matrix_of_moves_is_as_it_was_decided() {
    let mut shown = format!("\n{:13}", "");
    for next in State::ALL {
        write!(shown, "{:10}", next.as_str()).unwrap();
    }
    for from in State::ALL {
        shown = format!("{}\n{:13}", shown.trim_end(), from.as_str());
        for next in State::ALL {
            write!(shown, "{:10}", if from.may_become(next) { "x" } else { "." }).unwrap();
        }
    }
    let shown = format!("{}\n", shown.trim_end());
    assert_eq!(shown, MATRIX, "the table has become:\n{shown}");
}

#[test]
fn only_a_success_is_an_end_for_good() {
    for from in State::ALL {
        let leads_on = State::ALL.into_iter().any(|next| from.may_become(next));
        assert_eq!(leads_on, from != State::Done, "{from}");
        assert!(!from.may_become(from), "{from} to itself is no move");
    }
}

#[test]
fn every_end_state_is_the_state_of_its_name_and_knows_its_place() {
    for (place, end) in EndState::ALL.into_iter().enumerate() {
        assert_eq!(end.index(), place);
        assert!(State::from(end).is_ended());
    }
}
