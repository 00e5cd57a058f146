//! Large calls and the ends of ranges: what has a limit meets it with a refusal, and what is large is not slow.
//!
//! Guards I9 (over a limit nothing of a call comes in) and I1 (no decision lets in what `apply` could not hold).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use windlass_scheduler::change::{Change, Key, Record};
use windlass_scheduler::command::{Command, QueueNo, Request, Submit};
use windlass_scheduler::effect::{Answer, Effect};
use windlass_scheduler::job::{Body, Labels, Name, NewJob, When};
use windlass_scheduler::limit::{Limit, LimitOf, Override, Share};
use windlass_scheduler::rate::Rate;
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::retry::{Backoff, RetryPolicy};
use windlass_scheduler::settings::{QueueSettings, ShardSettings};
use windlass_scheduler::time::{Mono, Now, Timestamp};
use windlass_scheduler::verb::Verb;

use self::common::{Driver, bare, id};

fn driver() -> Driver {
    driver_keeping(10_000)
}

/// A driver whose only queue runs nothing and retains so many of those that were called off.
fn driver_keeping(count_max: u64) -> Driver {
    let mut queue = QueueSettings::new(Name::from("mail"));
    queue.slots = 0;
    queue.retention.dropped.count_max = count_max;
    let settings = ShardSettings::new(1, 7, vec![queue], vec!["work".into()]);
    Driver::new(settings, Now { mono: Mono(0), wall: Timestamp(1_000_000) })
}

fn cancel(n: u64) -> Command {
    Command::Steer { request: Request(n), id: id(n), verb: Verb::Cancel, read: None }
}

fn job(n: u64, policy: Option<u64>) -> NewJob {
    NewJob {
        retry: policy.map(|delay_ms| RetryPolicy { backoff: Backoff::Fixed { delay_ms }, ..RetryPolicy::default() }),
        ..bare(n, "mail")
    }
}

fn submit(driver: &mut Driver, jobs: Vec<NewJob>) -> Result<Answer, Refusal> {
    driver.handle(Command::Submit(Submit { request: Request(1), watch: None, jobs, flow: None }));
    driver.settle();
    let replies = driver.effects.drain(..).filter_map(|effect| match effect {
        Effect::Reply { answer, .. } => Some(answer),
        _ => None,
    });
    replies.last().unwrap()
}

#[test]
fn a_call_of_a_hundred_thousand_jobs_with_as_many_policies_as_may_be_comes_in_at_once() {
    let mut driver = driver();
    let jobs = (1..=100_000).map(|n| job(n, Some(n % 4_096))).collect();
    assert!(matches!(submit(&mut driver, jobs), Ok(Answer::Enqueued(receipts)) if receipts.len() == 100_000));
    assert_eq!(driver.copy().portrait(), driver.shard.portrait(), "I1");
}

#[test]
fn one_policy_too_many_is_refused_and_those_that_are_known_are_not() {
    let mut driver = driver();
    submit(&mut driver, (1..=4_096).map(|n| job(n, Some(n))).collect()).unwrap();
    let refusal = Refusal::TooManyPolicies { policies_max: Refusal::POLICIES_MAX };
    assert_eq!(submit(&mut driver, vec![job(5_000, Some(5_000))]), Err(refusal));
    assert!(submit(&mut driver, vec![job(5_000, Some(7)), job(5_001, None)]).is_ok());
    driver.crash(None);
    assert_eq!(driver.load(), []);
    assert!(submit(&mut driver, vec![job(5_002, Some(5_000))]).is_err(), "they are remembered");
}

#[test]
fn a_policy_that_no_job_has_any_more_makes_room_at_the_next_start() {
    let mut driver = driver_keeping(0);
    submit(&mut driver, (1..=4_096).map(|n| job(n, Some(n))).collect()).unwrap();
    for n in (1..=4_096).filter(|n| *n != 7) {
        driver.handle(cancel(n));
    }
    driver.settle();
    assert!(submit(&mut driver, vec![job(5_000, Some(5_000))]).is_err(), "what a number means changes at a start only");
    driver.crash(None);
    assert_eq!(driver.load(), []);
    submit(&mut driver, (10_001..=14_095).map(|n| job(n, Some(n))).collect()).unwrap();
    assert!(submit(&mut driver, vec![job(5_000, Some(5_000))]).is_err());
    assert!(submit(&mut driver, vec![job(5_001, Some(7))]).is_ok(), "job 7 has it still");
    driver.crash(None);
    assert_eq!(driver.load(), []);
    assert!(submit(&mut driver, vec![job(5_002, Some(5_000))]).is_err());
    assert!(submit(&mut driver, vec![job(5_003, Some(14_095)), job(5_004, Some(7))]).is_ok());
    assert_eq!(driver.copy().portrait(), driver.shard.portrait(), "I1");
}

#[test]
fn a_policy_of_a_retained_job_is_kept_for_its_requeue() {
    let mut driver = driver_keeping(10);
    submit(&mut driver, (1..=4_096).map(|n| job(n, Some(n))).collect()).unwrap();
    for n in 1..=4_096 {
        driver.handle(cancel(n));
    }
    driver.settle();
    driver.crash(None);
    assert_eq!(driver.load(), []);
    assert!(submit(&mut driver, (10_001..=14_086).map(|n| job(n, Some(n))).collect()).is_ok());
    assert!(submit(&mut driver, vec![job(5_000, Some(5_000))]).is_err(), "ten are retained");
}

#[test]
fn a_call_over_the_bulk_limit_is_refused_whole() {
    let mut driver = driver();
    let jobs: Vec<_> = (1..=100_001).map(|n| job(n, None)).collect();
    assert!(matches!(submit(&mut driver, jobs), Err(Refusal::BulkTooLarge { jobs: 100_001, jobs_max: 100_000, .. })));
    assert_eq!(driver.shard.sizes(), (0, 0, 0));
}

/// I1: a wave is a bounded step, whatever went stale while nobody was there to look.
#[test]
fn a_wave_expires_a_bounded_number_of_late_jobs_and_the_next_ones_the_rest() {
    let mut driver = driver();
    let late = |n| NewJob { expires: Some(When::After(10)), ..job(n, None) };
    submit(&mut driver, (1..=2_500).map(late).chain([job(9_000, None)]).collect()).unwrap();
    driver.advance(20);
    driver.handle(Command::Slots { queue: QueueNo(0), slots: 1 });
    let mut waves = Vec::new();
    while driver.seal() {
        let changes = driver.sealed.back().unwrap().changes.iter();
        waves.push(changes.filter(|change| matches!(change, Change::Put(Record::Ended(_)))).count());
    }
    assert_eq!((waves, driver.shard.is_unfinished()), (vec![1_000, 1_000, 500], false));
    driver.settle();
    assert!(matches!(driver.shard.running_leases()[..], [(last, _)] if last == id(9_000)));
}

/// I1: forgetting is done in bounded steps, and what is ready does not wait for the last of them.
#[test]
fn a_wave_forgets_a_bounded_number_of_old_jobs_and_a_claim_waits_for_none_of_them() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    let mut driver = driver_keeping(10_000);
    submit(&mut driver, (1..=2_500).map(|n| job(n, None)).collect()).unwrap();
    for n in 1..=2_500 {
        driver.handle(cancel(n));
    }
    driver.settle();
    driver.handle(Command::Slots { queue: QueueNo(0), slots: 1 });
    driver.advance(DAY_MS);
    let (mut forgotten, mut claimed_in) = (Vec::new(), None);
    while let [(queue, class)] = driver.fired()[..] {
        driver.due(queue, class);
        if forgotten.is_empty() {
            let new = Submit { request: Request(9), watch: None, jobs: vec![job(9_000, None)], flow: None };
            driver.handle(Command::Submit(new));
        }
        assert!(driver.seal());
        let changes = &driver.sealed.back().unwrap().changes;
        let is_claim = |change: &Change| matches!(change, Change::Put(Record::Claims(..)));
        claimed_in = claimed_in.or_else(|| changes.iter().any(is_claim).then_some(forgotten.len()));
        forgotten.push(changes.iter().filter(|change| matches!(change, Change::Delete(Key::Ended(_)))).count());
        driver.settle();
    }
    assert_eq!((forgotten, claimed_in), (vec![1_000, 1_000, 500], Some(0)));
}

#[test]
fn so_many_limit_keys_are_in_use_and_no_more() {
    let mut queue = QueueSettings::new(Name::from("mail"));
    queue.slots = 0;
    queue.retention.dropped.count_max = 0;
    let rate = Some(Rate { jobs: 1, period_ms: 1_000, burst: 1 });
    queue.keys.of.insert("c".into(), Limit { rate, ..Limit::NONE });
    let settings = ShardSettings::new(1, 7, vec![queue], vec!["work".into()]);
    let settings = ShardSettings { limit_keys_max: 2, ..settings };
    let mut driver = Driver::new(settings, Now { mono: Mono(0), wall: Timestamp(1_000_000) });
    let of_key = |n: u64, key: &str| {
        let share = Share { key: Some(key.into()), weight: 1 };
        let labels = Labels::new(Vec::new(), None, None, None, share);
        NewJob { body: Body { labels, ..Body::default() }.into(), ..bare(n, "mail") }
    };
    let refused = || Err(Refusal::TooManyLimitKeys { keys_max: 2 });
    assert!(submit(&mut driver, vec![of_key(1, "a"), of_key(2, "a"), of_key(3, "c")]).is_ok());
    assert_eq!(submit(&mut driver, vec![of_key(4, "d")]), refused());
    assert!(submit(&mut driver, vec![of_key(4, "a"), bare(5, "mail")]).is_ok(), "those that are known");
    // A key goes with its last job; one with a rate stays until that is as good as new.
    driver.handle(cancel(3));
    driver.settle();
    assert_eq!(submit(&mut driver, vec![of_key(6, "d")]), refused());
    driver.advance(1_000);
    for n in [1, 2, 4] {
        driver.handle(cancel(n));
    }
    driver.settle();
    assert!(submit(&mut driver, vec![of_key(7, "c")]).is_ok());
    driver.shard.audit().unwrap();
}

#[test]
fn so_many_limits_are_set_by_hand_and_no_more() {
    let mut driver = driver();
    let over = Override { slots: Some(1), ..Override::default() };
    let max = Refusal::OVERRIDES_MAX as u64;
    let changed = Override { slots: Some(2), ..over };
    // One that is known is changed, and one that is reset makes room.
    let more = [(max, Some(over)), (0, Some(changed)), (0, None), (max, Some(over))];
    for (no, (n, change)) in (0..).zip((0..max).map(|n| (n, Some(over))).chain(more)) {
        let of = LimitOf::key("mail", &n.to_string());
        driver.handle(Command::Override { request: Request(no), of, change });
    }
    driver.settle();
    let answers = driver.effects.drain(..).filter_map(|effect| match effect {
        Effect::Reply { request: Request(no), answer } => Some((no, answer.map(|_| ()))),
        _ => None,
    });
    let refused: Vec<_> = answers.filter(|(_, answer)| answer.is_err()).collect();
    let overrides_max = Refusal::OVERRIDES_MAX;
    assert_eq!(refused, [(max, Err(Refusal::TooManyOverrides { overrides_max }))]);
    assert_eq!(driver.copy().portrait(), driver.shard.portrait(), "I1");
}
