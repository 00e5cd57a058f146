//! The model test of flows: random graphs, moves, clocks, progress and crashes, on a shard and on a naive oracle, compared after each.
//!
//! Guards I16 (a flow goes on, or says what holds it: a step begins once all its needs are met and not before, in the commit that meets
//! the last one), I1, I2, I3 and I4 as far as flows go: see the parts. `plan` is what is played, `world` and `settle` the oracle, `reload`
//! what a crash leaves of it and all comparisons, `play` and `verbs` the moves; `batches` has both of batches.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// Small numbers all over: ids, milliseconds from a small origin, counts.
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

mod batches;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/games.rs"]
mod games;
mod plan;
mod play;
mod reload;
mod settle;
mod verbs;
mod world;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use windlass_scheduler::attempt::{Failure, FailureKind, Outcome, Output, Retry};
use windlass_scheduler::change::Key;
use windlass_scheduler::command::TimerClass;
use windlass_scheduler::effect::Deadline;
use windlass_scheduler::flow::FlowState;
use windlass_scheduler::job::Priority;
use windlass_scheduler::verb::Verb;

use self::games::games;
use self::plan::{MemberSpec, Spec, members, spec};
use self::play::Play;
use self::reload::Death;

/// One move.
#[derive(Clone, Debug)]
enum Move {
    Submit(Spec),
    SubmitPlain(usize),
    End(u8, How),
    Steer(u8, Do),
    Look(u8),
    Watch(u8),
    Unwatch(u8),
    Cancel(u8),
    Skip(u8, u8, bool),
    Signal(u8, u8),
    Retry(u8, u8),
    /// Jobs come into a batch from outside.
    Add(u8, Vec<MemberSpec>),
    Close(u8),
    LookAtBatch(u8),
    Pause(usize, bool),
    Advance(u64),
    SetWall(i64),
    Due(usize, TimerClass),
    Fire,
    Seal,
    Write(usize),
    Sync,
    Settle,
    /// The disk answers, or cannot.
    Fetched(bool),
    Law,
    Kill,
    PowerLoss(usize),
    Rebuild {
        finish: bool,
    },
}

/// How an attempt ends.
#[derive(Clone, Debug)]
enum How {
    Ok(u8),
    /// It succeeds, and jobs for a batch follow.
    Bring(u8, Vec<MemberSpec>),
    Fail,
    Permanent,
    Snooze(u64),
    Cancel,
    Release,
}

/// What an operator does to a job.
#[derive(Clone, Debug)]
enum Do {
    Verb(Verb),
    Reschedule(bool, u64),
    MoveTo(usize),
}

impl How {
    fn outcome(&self) -> Outcome {
        let failed = |kind, retry| Outcome::Failed { failure: Failure::new(kind, "no luck".into()), retry };
        match self {
            Self::Ok(0) | Self::Bring(..) => Outcome::Done { output: Output::None, follow_ups: Vec::new() },
            Self::Ok(bytes) => {
                Outcome::Done { output: Output::Bytes(vec![1; (*bytes).into()].into()), follow_ups: Vec::new() }
            }
            Self::Fail => failed(FailureKind::Error, Retry::ByPolicy),
            Self::Permanent => failed(FailureKind::Permanent, Retry::Never),
            Self::Snooze(delay_ms) => Outcome::Snoozed { delay_ms: *delay_ms },
            Self::Cancel => Outcome::Cancelled { reason: "enough".into() },
            Self::Release => Outcome::Released,
        }
    }
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        8 => (0..3_u8).prop_map(How::Ok),
        3 => (any::<u8>(), members(1..4)).prop_map(|(pick, members)| How::Bring(pick, members)),
        2 => Just(How::Fail),
        5 => Just(How::Permanent),
        1 => (0..60_u64).prop_map(|ms| How::Snooze(ms.saturating_sub(20))),
        1 => Just(How::Cancel),
        1 => Just(How::Release),
    ]
}

fn verb() -> impl Strategy<Value = Do> {
    prop_oneof![
        4 => Just(Do::Verb(Verb::Cancel)),
        10 => Just(Do::Verb(Verb::Requeue)),
        3 => Just(Do::Verb(Verb::Discard)),
        3 => Just(Do::Verb(Verb::RunNow)),
        1 => select(vec![0_u8, 255]).prop_map(|to| Do::Verb(Verb::Reprioritise(Priority(to)))),
        3 => (any::<bool>(), 0..120_u64).prop_map(|(at, ms)| Do::Reschedule(at, ms)),
        2 => (0..3_usize).prop_map(Do::MoveTo),
    ]
}

fn one_move() -> impl Strategy<Value = Move> {
    let step = || (0..3_u8, 0..7_u8);
    let progress = prop_oneof![
        14 => Just(Move::Seal),
        6 => (1..4_usize).prop_map(Move::Write),
        3 => Just(Move::Sync),
        14 => Just(Move::Settle),
        4 => prop::bool::weighted(0.8).prop_map(Move::Fetched),
        3 => Just(Move::Law),
        2 => Just(Move::Kill),
        1 => (0..6_usize).prop_map(Move::PowerLoss),
        2 => any::<bool>().prop_map(|finish| Move::Rebuild { finish }),
    ];
    let time = prop_oneof![
        8 => (0..60_u64).prop_map(Move::Advance),
        1 => (0..2_500_u64).prop_map(Move::Advance),
        2 => (-2_000..2_000_i64).prop_map(Move::SetWall),
        3 => (0..3_usize, select(TimerClass::ALL.to_vec())).prop_map(|(queue, class)| Move::Due(queue, class)),
        10 => Just(Move::Fire),
    ];
    let asked = prop_oneof![
        14 => (any::<u8>(), verb()).prop_map(|(pick, verb)| Move::Steer(pick, verb)),
        3 => (0..3_u8).prop_map(Move::Look),
        3 => (0..3_u8).prop_map(Move::Watch),
        1 => (0..3_u8).prop_map(Move::Unwatch),
        1 => (0..3_u8).prop_map(Move::Cancel),
        4 => (step(), any::<bool>()).prop_map(|((flow, no), output)| Move::Skip(flow, no, output)),
        5 => step().prop_map(|(flow, no)| Move::Signal(flow, no)),
        5 => step().prop_map(|(flow, no)| Move::Retry(flow, no)),
        4 => (any::<u8>(), members(1..4)).prop_map(|(pick, members)| Move::Add(pick, members)),
        3 => any::<u8>().prop_map(Move::Close),
        1 => any::<u8>().prop_map(Move::LookAtBatch),
        1 => (0..3_usize, prop::bool::weighted(0.3)).prop_map(|(queue, paused)| Move::Pause(queue, paused)),
    ];
    prop_oneof![
        10 => spec().prop_map(Move::Submit),
        4 => (0..3_usize).prop_map(Move::SubmitPlain),
        40 => (any::<u8>(), how()).prop_map(|(pick, how)| Move::End(pick, how)),
        36 => progress,
        18 => time,
        26 => asked,
    ]
}

fn make(play: &mut Play, one: &Move) {
    let now = play.driver.now;
    match one {
        Move::Submit(spec) => play.submit(spec),
        Move::SubmitPlain(queue) => play.submit_plain(*queue),
        Move::End(pick, how) => drop(play.end(*pick, how)),
        Move::Steer(pick, verb) => {
            let verb = match verb {
                Do::Verb(verb) => verb.clone(),
                Do::Reschedule(at, ms) => Verb::Reschedule(plan::moment(*at, *ms, now)),
                Do::MoveTo(queue) => Verb::move_to(plan::QUEUES[*queue]),
            };
            if let Some(id) = play.pick(*pick) {
                play.steer(id, &verb);
            }
        }
        Move::Look(flow) => play.look(*flow),
        Move::Watch(flow) => play.watch(*flow),
        Move::Unwatch(flow) => play.unwatch(*flow),
        Move::Cancel(flow) => play.cancel(*flow),
        Move::Skip(flow, no, output) => play.skip(*flow, *no, output.then(|| Bytes::from_static(b"by hand"))),
        Move::Signal(flow, no) => play.signal(*flow, *no),
        Move::Retry(flow, no) => play.retry(*flow, *no),
        Move::Add(pick, members) => play.add(*pick, members),
        Move::Close(pick) => {
            let (flow, no) = play.pick_batch(*pick);
            play.close(flow, no);
        }
        Move::LookAtBatch(pick) => play.look_at_batch(*pick),
        Move::Pause(queue, paused) => play.pause(*queue, *paused),
        Move::Advance(ms) => play.driver.advance(*ms),
        Move::SetWall(by) => play.driver.set_wall(now.wall.0.saturating_add_signed(*by)),
        Move::Due(queue, class) => play.due(*queue, *class),
        Move::Fire => play.driver.fired().into_iter().for_each(|(queue, class)| play.due(queue.0 as usize, class)),
        Move::Seal => play.seal(),
        Move::Write(waves) => play.write(*waves),
        Move::Sync => play.sync(),
        Move::Settle => play.settle(),
        Move::Fetched(is_readable) => drop(play.driver.fetch_one(*is_readable)),
        Move::Law => play.law(),
        Move::Kill => play.restart(Death::OfProcess),
        Move::PowerLoss(surviving) => play.restart(Death::OfPower { surviving: *surviving }),
        Move::Rebuild { finish } => {
            if *finish {
                play.finish_writes();
            }
            play.restart(Death::None);
        }
    }
    play.settled();
    play.collect();
}

/// Milliseconds until the next timer that ends a delay.
fn until_next(play: &Play) -> u64 {
    let now = play.driver.now;
    let left = play.driver.armed.iter().filter_map(|((_, class), at)| match (class, at) {
        (TimerClass::Delay, Deadline::Mono(at)) => Some(at.since_ms(now.mono)),
        (TimerClass::At, Deadline::Wall(at)) => Some(at.since_ms(now.wall)),
        _ => None,
    });
    left.min().unwrap_or(0)
}

/// At the end every attempt succeeds, every signal comes and time passes: every flow ends, or somebody has to bring back what holds it.
/// When that is forgotten, too, and all keep times are over, nothing is left of any flow.
fn come_to_rest(play: &mut Play) {
    (0..3).for_each(|queue| play.pause(queue, false));
    for _ in 0..200 {
        make(play, &Move::Settle);
        while play.driver.live.values().any(|one| one.end.is_none()) {
            make(play, &Move::End(0, How::Ok(1)));
        }
        for (flow, no) in (0..3).flat_map(|flow| (0..6).map(move |no| (flow, no))) {
            make(play, &Move::Signal(flow, no));
        }
        play.wind_up_batches();
        if play.is_at_rest() {
            break;
        }
        make(play, &Move::Advance(until_next(play)));
        for (queue, class) in play.driver.fired() {
            if matches!(class, TimerClass::Delay | TimerClass::At) {
                play.due(queue.0 as usize, class);
            }
        }
    }
    make(play, &Move::Law);
    for (no, flow) in &play.world.flows {
        let is_at_rest = flow.ended.is_some() || flow.states().contains(&FlowState::Held);
        assert!(is_at_rest, "I16: flow {no} never comes to its end: {flow:?}");
    }
    for _ in 0..20 {
        make(play, &Move::Advance(10_000));
        make(play, &Move::Fire);
        make(play, &Move::Settle);
        while play.driver.live.values().any(|one| one.end.is_none()) {
            make(play, &Move::End(0, How::Ok(0)));
        }
    }
    make(play, &Move::Law);
    assert!(play.expected.is_empty(), "nobody answers {:?}", play.expected);
    assert!(play.world.flows.is_empty() && play.world.jobs.is_empty(), "{:?}", play.world);
    let is_of_flow = |key: &&Key| {
        matches!(key, Key::Flow(_) | Key::Step(_) | Key::StepOutput(_) | Key::Batch(_) | Key::Member(..) | Key::Job(_))
    };
    let left: Vec<_> = play.driver.journal.0.keys().chain(play.driver.twin.0.keys()).filter(is_of_flow).collect();
    assert!(left.is_empty(), "nobody needs these records any more: {left:?}");
}

proptest! {
    #![proptest_config(games(5_000, 1))]

    #[test]
    fn whatever_happens_flows_are_what_the_oracle_says(
        // Room for all bodies, or for none.
        memory in select(vec![u64::MAX, 0]),
        moves in prop::collection::vec(one_move(), 1..=150),
    ) {
        let mut play = Play::new(memory);
        for one in &moves {
            make(&mut play, one);
        }
        come_to_rest(&mut play);
    }
}
