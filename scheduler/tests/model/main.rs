//! The model test: random moves, clocks, progress and crashes, on a shard and on a naive oracle, compared after each.
//!
//! Guards I1, I2, I3, I4, I5, I6 and I11: see the parts. `settings` is what it is played with, `world` the oracle, `reload`
//! what a crash leaves of it and all comparisons, `play`, `verbs` and `steer` the moves. Every second game is `told` to the
//! judge of histories as well, which knows nothing of the oracle.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// Small numbers all over: ids, milliseconds from a small origin, counts.
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

mod breaker;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/games.rs"]
mod games;
mod play;
mod rate;
mod recur;
mod reload;
mod settings;
mod steer;
mod told;
mod turns;
mod unique;
mod verbs;
mod world;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use windlass_scheduler::attempt::{Failure, FailureKind, Outcome, Output, Retry};
use windlass_scheduler::change::Key;
use windlass_scheduler::command::TimerClass;
use windlass_scheduler::effect::Deadline;
use windlass_scheduler::job::{Body, JobId, Labels, Name, NewJob, Priority, When};
use windlass_scheduler::retry::{Backoff, RetryPolicy};
use windlass_scheduler::state::State;
use windlass_scheduler::time::{Now, Timestamp};
use windlass_scheduler::verb::Verb;

use self::common::id;
use self::games::games;
use self::play::Play;
use self::rate::{Change, SHARES, change, share};
use self::recur::{Plan, plan};
use self::reload::Death;
use self::settings::{memory, settings, start};
use self::steer::Do;
use self::unique::{KeySpec, key_spec};

const QUEUES: [&str; 3] = ["ram", "tiny", "safe"];
const KINDS: [&str; 3] = ["mail", "print", "unknown"];
/// Jobs of a queue: few, so that ids meet again.
const IDS: u8 = 6;

/// One move.
#[derive(Clone, Debug)]
enum Move {
    Submit {
        jobs: Vec<Spec>,
        watch: bool,
    },
    End {
        pick: u8,
        how: How,
    },
    EndStale {
        pick: u8,
        how: How,
    },
    Extend {
        pick: u8,
        ms: u64,
    },
    Checkpoint {
        pick: u8,
        n: u8,
        is_stale: bool,
    },
    Steer(usize, u8, Do),
    Edit(usize, u8, u8),
    PlaceOrder(u8, Do),
    CancelOrder(u8),
    OrderStep(u8, Vec<(usize, u8)>, bool),
    Watch(usize, u8),
    Unwatch(usize, u8),
    Look(usize, u8),
    List(bool),
    Schedule(u8, Plan),
    Pause(usize, bool),
    Slots(usize, u32),
    Override(Change),
    Advance(u64),
    SetWall(i64),
    Due(usize, TimerClass),
    Fire,
    Rearm,
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
    Drain,
}

/// How an attempt ends.
#[derive(Clone, Debug)]
enum How {
    Ok(u8),
    OkAnd(Vec<Spec>),
    Fail,
    FailAfter(u64),
    Permanent,
    Snooze(u64),
    Cancel,
    Release,
}

/// A job to be.
#[derive(Clone, Debug)]
struct Spec {
    queue: usize,
    n: u8,
    kind: usize,
    priority: Option<u8>,
    due: Option<(bool, u64)>,
    expires: Option<(bool, u64)>,
    deadline: Option<(bool, u64)>,
    timeout_ms: Option<u64>,
    retry: Option<u64>,
    is_big: bool,
    tag: bool,
    key: Option<KeySpec>,
    share: usize,
}

fn job_of(queue: usize, n: u8) -> JobId {
    id(queue as u64 * 100 + u64::from(n))
}

/// What a job of this id carries, always.
fn payload(id: JobId) -> Bytes {
    let n = id.0.as_u128() as u8;
    Bytes::from(vec![n; usize::from(n % 7) * 4])
}

/// The one tag that a job has, through all its edits, and its bytes.
fn tag(which: bool) -> String {
    String::from(if which { "a" } else { "b" })
}
const TAG_BYTES: usize = 1;

/// By the wall clock, where it may be past, or after a time.
fn moment((at, ms): (bool, u64), now: Now) -> When {
    if at { When::At(Timestamp(now.wall.0 + ms - 20)) } else { When::After(ms) }
}

impl Spec {
    fn job(&self, play: &mut Play) -> NewJob {
        let id = play.names.fresh(job_of(self.queue, self.n));
        let now = play.driver.now;
        let when = |when| moment(when, now);
        // The judge would take every job for one that comes in.
        let key = self.key.as_ref().filter(|_| play.told.is_none());
        let unique = key.map(|key| key.unique(self.queue, self.kind));
        let payload = if self.is_big { Bytes::from(vec![0; 100]) } else { payload(id) };
        NewJob {
            id,
            queue: Name::from(QUEUES[self.queue]),
            kind: Name::from(KINDS[self.kind]),
            priority: self.priority.map(Priority),
            due: self.due.map(when),
            expires: self.expires.map(when),
            deadline: self.deadline.map(when),
            timeout_ms: self.timeout_ms,
            retry: self.retry.map(|delay_ms| RetryPolicy {
                backoff: Backoff::Fixed { delay_ms },
                attempts_max: 2,
                jitter_percent: 0,
            }),
            body: Arc::new(Body {
                payload,
                labels: Labels::new(vec![tag(self.tag)], None, None, unique, share(self.share)),
                ..Body::default()
            }),
        }
    }
}

impl How {
    fn outcome(&self, play: &mut Play) -> Outcome {
        let failed = |kind, retry| Outcome::Failed { failure: Failure::new(kind, "no luck".into()), retry };
        match self {
            Self::Ok(bytes) => {
                let output =
                    if *bytes == 0 { Output::None } else { Output::Bytes(vec![1; usize::from(*bytes)].into()) };
                Outcome::Done { output, follow_ups: Vec::new() }
            }
            Self::OkAnd(specs) => {
                // Checked when they were added (I9): neither big ones nor the same id twice come this far.
                let mut jobs: Vec<NewJob> = Vec::new();
                for job in specs.iter().filter(|spec| !spec.is_big).map(|spec| spec.job(play)) {
                    if jobs.iter().all(|one| one.id != job.id) {
                        jobs.push(job);
                    }
                }
                Outcome::Done { output: Output::None, follow_ups: jobs }
            }
            Self::Fail => failed(FailureKind::Error, Retry::ByPolicy),
            Self::FailAfter(ms) => failed(FailureKind::Panic, Retry::After(*ms)),
            Self::Permanent => failed(FailureKind::Permanent, Retry::Never),
            Self::Snooze(delay_ms) => Outcome::Snoozed { delay_ms: *delay_ms },
            Self::Cancel => Outcome::Cancelled { reason: "enough".into() },
            Self::Release => Outcome::Released,
        }
    }
}

fn spec() -> impl Strategy<Value = Spec> {
    let when = || prop::option::weighted(0.2, (any::<bool>(), 0..150_u64));
    let place = (0..3_usize, 0..IDS, prop_oneof![12 => Just(0_usize), 2 => Just(1), 1 => Just(2)]);
    let options = (
        prop::option::of(select(vec![0_u8, 128, 255])),
        when(),
        (when(), when()),
        prop::option::weighted(0.2, 1..100_u64),
        prop::option::weighted(0.2, 0..60_u64),
        (prop::bool::weighted(0.02), any::<bool>(), prop::option::weighted(0.25, key_spec()), 0..SHARES.len()),
    );
    (place, options).prop_map(
        |((queue, n, kind), (priority, due, (expires, deadline), timeout_ms, retry, (is_big, tag, key, share)))| Spec {
            queue,
            n,
            kind,
            priority,
            due,
            expires,
            deadline,
            timeout_ms,
            retry,
            is_big,
            tag,
            key,
            share,
        },
    )
}

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        6 => (0..30_u8).prop_map(How::Ok),
        2 => prop::collection::vec(spec(), 1..3).prop_map(How::OkAnd),
        4 => Just(How::Fail),
        1 => (0..60_u64).prop_map(How::FailAfter),
        2 => Just(How::Permanent),
        2 => (0..60_u64).prop_map(|ms| How::Snooze(ms.saturating_sub(20))),
        1 => Just(How::Cancel),
        2 => Just(How::Release),
    ]
}

fn submit(jobs: Range<usize>) -> impl Strategy<Value = Move> {
    (prop::collection::vec(spec(), jobs), any::<bool>()).prop_map(|(jobs, watch)| Move::Submit { jobs, watch })
}

fn verb() -> impl Strategy<Value = Do> {
    prop_oneof![
        6 => Just(Do::Verb(Verb::Cancel)),
        6 => Just(Do::Verb(Verb::Requeue)),
        2 => Just(Do::Verb(Verb::Discard)),
        3 => Just(Do::Verb(Verb::RunNow)),
        3 => select(vec![0_u8, 128, 255]).prop_map(|to| Do::Verb(Verb::Reprioritise(Priority(to)))),
        3 => (any::<bool>(), 0..150_u64).prop_map(Do::Reschedule),
        4 => (0..3_usize).prop_map(Do::MoveTo),
    ]
}

fn one_move() -> impl Strategy<Value = Move> {
    let job = || (0..3_usize, 0..IDS);
    let progress = prop_oneof![
        20 => Just(Move::Seal),
        8 => (1..4_usize).prop_map(Move::Write),
        5 => Just(Move::Sync),
        12 => Just(Move::Settle),
        8 => prop::bool::weighted(0.8).prop_map(Move::Fetched),
        3 => Just(Move::Law),
        2 => Just(Move::Kill),
        1 => (0..6_usize).prop_map(Move::PowerLoss),
        2 => any::<bool>().prop_map(|finish| Move::Rebuild { finish }),
    ];
    let time = prop_oneof![
        8 => (0..80_u64).prop_map(Move::Advance),
        1 => (0..3_000_u64).prop_map(Move::Advance),
        2 => (-3_000..3_000_i64).prop_map(Move::SetWall),
        4 => (0..3_usize, select(TimerClass::ALL.to_vec())).prop_map(|(queue, class)| Move::Due(queue, class)),
        12 => Just(Move::Fire),
        1 => Just(Move::Rearm),
    ];
    let steer = prop_oneof![
        30 => (job(), verb()).prop_map(|((queue, n), verb)| Move::Steer(queue, n, verb)),
        5 => (job(), 0..70_u8).prop_map(|((queue, n), bytes)| Move::Edit(queue, n, bytes)),
        4 => any::<bool>().prop_map(Move::List),
        3 => (0..5_u8, verb()).prop_map(|(n, verb)| Move::PlaceOrder(n, verb)),
        1 => (0..5_u8).prop_map(Move::CancelOrder),
        6 => (0..5_u8, prop::collection::vec(job(), 0..5), prop::bool::weighted(0.2))
            .prop_map(|(n, jobs, is_last)| Move::OrderStep(n, jobs, is_last)),
        5 => job().prop_map(|(queue, n)| Move::Watch(queue, n)),
        1 => job().prop_map(|(queue, n)| Move::Unwatch(queue, n)),
        2 => job().prop_map(|(queue, n)| Move::Look(queue, n)),
        2 => (0..3_usize, prop::bool::weighted(0.4)).prop_map(|(queue, paused)| Move::Pause(queue, paused)),
        2 => (0..3_usize, 0..4_u32).prop_map(|(queue, slots)| Move::Slots(queue, slots)),
        4 => change().prop_map(Move::Override),
    ];
    prop_oneof![
        30 => submit(1..2),
        6 => submit(1..5),
        45 => (any::<u8>(), how()).prop_map(|(pick, how)| Move::End { pick, how }),
        4 => (any::<u8>(), how()).prop_map(|(pick, how)| Move::EndStale { pick, how }),
        4 => (any::<u8>(), 0..100_u64).prop_map(|(pick, ms)| Move::Extend { pick, ms }),
        8 => (any::<u8>(), any::<u8>(), prop::bool::weighted(0.2))
            .prop_map(|(pick, n, is_stale)| Move::Checkpoint { pick, n, is_stale }),
        50 => progress,
        25 => time,
        28 => steer,
        8 => (0..3_u8, plan()).prop_map(|(n, plan)| Move::Schedule(n, plan)),
        1 => prop::bool::weighted(0.3).prop_map(|drain| if drain { Move::Drain } else { Move::Fire }),
    ]
}

fn make(play: &mut Play, one: &Move) {
    let now = play.driver.now;
    play.world.now_ms = now.mono.0;
    match one {
        Move::Submit { jobs, watch } => {
            let jobs = jobs.iter().map(|spec| spec.job(play)).collect();
            play.submit(jobs, *watch);
        }
        Move::End { pick, how } => {
            let outcome = how.outcome(play);
            play.end(*pick, outcome);
        }
        Move::EndStale { pick, how } => {
            let outcome = how.outcome(play);
            play.end_stale(*pick, outcome);
        }
        Move::Extend { pick, ms } => play.extend(*pick, *ms),
        Move::Checkpoint { pick, n, is_stale: false } => play.checkpoint(*pick, Bytes::from(vec![*n])),
        Move::Checkpoint { pick, n, is_stale: true } => play.checkpoint_stale(*pick, Bytes::from(vec![*n])),
        Move::Steer(queue, n, verb) => play.steer(play.meant(*queue, *n), &verb.verb(now)),
        Move::Edit(queue, n, bytes) => play.edit(play.meant(*queue, *n), *bytes),
        Move::PlaceOrder(n, verb) => play.place_order(*n, verb.verb(now)),
        Move::CancelOrder(n) => play.cancel_order(*n),
        Move::OrderStep(n, jobs, is_last) => {
            let ids: Vec<_> = jobs.iter().map(|(queue, n)| play.meant(*queue, *n)).collect();
            play.order_step(*n, &ids, *is_last);
        }
        Move::Watch(queue, n) => play.watch(play.meant(*queue, *n)),
        Move::Unwatch(queue, n) => play.unwatch(play.meant(*queue, *n)),
        Move::Look(queue, n) => play.look(play.meant(*queue, *n)),
        Move::List(which) => play.list(&tag(*which)),
        Move::Schedule(n, plan) => play.schedule(*n, plan),
        Move::Pause(queue, paused) => play.pause(*queue, *paused),
        Move::Slots(queue, slots) => play.slots(*queue, *slots),
        Move::Override(change) => play.override_limit(change.clone()),
        Move::Advance(ms) => play.driver.advance(*ms),
        Move::SetWall(by) => play.driver.set_wall(now.wall.0.saturating_add_signed(*by)),
        Move::Due(queue, class) => play.due(*queue, *class),
        Move::Fire => play.driver.fired().into_iter().for_each(|(queue, class)| play.due(queue.0 as usize, class)),
        Move::Rearm => play.rearm(),
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
        Move::Drain => play.drain(),
    }
    play.collect();
    play.world.note_keys();
    play.world.check(&play.driver.shard);
}

/// Milliseconds until the next timer that brings a job back: only what is armed is waited for.
fn until_next(play: &Play) -> u64 {
    let now = play.driver.now;
    let left = play.driver.armed.iter().filter_map(|((_, class), at)| match (class, at) {
        (TimerClass::Delay | TimerClass::Rate, Deadline::Mono(at)) => Some(at.since_ms(now.mono)),
        (TimerClass::At | TimerClass::Window, Deadline::Wall(at)) => Some(at.since_ms(now.wall)),
        _ => None,
    });
    left.min().unwrap_or(0)
}

/// At the end time passes, every attempt succeeds, and nobody holds anything back: every job ends, everybody has an
/// answer, and of what is no longer retained not one record is left.
fn come_to_rest(play: &mut Play) {
    if play.world.draining {
        play.restart(Death::OfProcess);
    }
    play.remove_schedules();
    play.reset_limits();
    for queue in 0..3 {
        play.pause(queue, false);
        play.slots(queue, 2);
    }
    for _ in 0..200 {
        make(play, &Move::Settle);
        if play.world.jobs.is_empty() && play.row.is_empty() {
            break;
        }
        while play.started(0).is_some() {
            make(play, &Move::End { pick: 0, how: How::Ok(3) });
        }
        // No timer brings a parked job back, but a caller can call it off.
        let parked = play.world.jobs.iter().find(|(_, job)| job.state == State::Parked).map(|(id, _)| *id);
        if let Some(id) = parked {
            play.steer(id, &Verb::Cancel);
        }
        make(play, &Move::Advance(until_next(play)));
        make(play, &Move::Fire);
    }
    assert!(play.world.jobs.is_empty(), "these jobs never came to their end: {:?}", play.world.jobs);
    make(play, &Move::Law);
    assert!(play.expected.is_empty(), "nobody answers {:?}", play.expected);
    if let Some(told) = &mut play.told {
        told.drained(&play.driver.journal);
    }
    make(play, &Move::Advance(10_000_000));
    make(play, &Move::Fire);
    make(play, &Move::Law);
    let stays = |key: &&Key| !matches!(key, Key::Setting(_) | Key::Policy(_) | Key::Counters(_) | Key::Order(_));
    let left: Vec<_> = play.driver.journal.0.keys().chain(play.driver.twin.0.keys()).filter(stays).collect();
    assert!(left.is_empty(), "nobody needs these records any more: {left:?}");
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    prop::collection::vec(one_move(), 1..=200)
}

fn game(memory: u64, moves: &[Move], is_judged: bool) {
    let mut play = Play::new(settings(memory), start(), is_judged);
    for one in moves {
        make(&mut play, one);
    }
    come_to_rest(&mut play);
}

proptest! {
    #![proptest_config(games(10_000, 1))]

    #[test]
    fn whatever_happens_the_shard_is_what_the_oracle_says(memory in memory(), moves in moves()) {
        game(memory, &moves, false);
    }
}

proptest! {
    #![proptest_config(games(10_000, 2))]

    #[test]
    fn whatever_happens_no_law_is_broken(memory in memory(), moves in moves()) {
        game(memory, &moves, true);
    }
}

proptest! {
    #![proptest_config(games(100, 3))]

    #[test]
    fn the_same_commands_and_times_give_the_same_waves_and_effects(memory in memory(), moves in moves()) {
        let trace = || {
            let mut play = Play::new(settings(memory), start(), false);
            play.driver.trace = Some(String::new());
            for one in &moves {
                make(&mut play, one);
            }
            play.driver.trace
        };
        prop_assert_eq!(trace(), trace());
    }
}
