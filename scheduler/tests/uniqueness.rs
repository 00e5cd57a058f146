//! Keys, where the model's random games seldom go: limits, refusals, the order within one step, and what a load finds.
//!
//! Guards I12 (one job a key, decided with the enqueue and given back with the end), I1 (a load leaves no key without its holder)
//! and I6 (keys have a limit).
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use windlass_scheduler::attempt::{Outcome, Output};
use windlass_scheduler::change::Key;
use windlass_scheduler::command::{Command, Request, Submit};
use windlass_scheduler::effect::{Answer, Effect};
use windlass_scheduler::job::{Body, JobId, Labels, Name, NewJob, Priority, When};
use windlass_scheduler::limit::Share;
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::settings::{Level, QueueSettings, ShardSettings};
use windlass_scheduler::time::{Mono, Now, Timestamp};
use windlass_scheduler::unique::{KeyOf, OnConflict, Unique, UniqueKey, Until};
use windlass_scheduler::verb::{Retained, Verb};
use windlass_scheduler::view::Why;

use self::common::{Driver, bare, id};

const EXISTING: OnConflict = OnConflict::Existing;

fn settings() -> ShardSettings {
    let queue = |name: &str, level, slots| QueueSettings { level, slots, ..QueueSettings::new(Name::from(name)) };
    let queues =
        vec![queue("mail", Level::Durable, 1), queue("bulk", Level::Durable, 1), queue("ram", Level::Memory, 1)];
    let mut settings = ShardSettings::new(1, 7, queues, vec!["work".into(), "other".into()]);
    settings.first_term = 2;
    settings
}

fn start(settings: ShardSettings) -> Driver {
    let mut driver = Driver::new(settings, Now { mono: Mono(0), wall: Timestamp(1_000_000) });
    driver.settle();
    driver
}

fn key(of: KeyOf) -> Arc<UniqueKey> {
    Arc::new(UniqueKey { of, text: "k".into() })
}

/// A job with a key that all jobs share.
fn job(n: u64, queue: &str, until: Until, on_conflict: OnConflict) -> NewJob {
    let unique = Unique { key: key(KeyOf::Engine), until, on_conflict };
    NewJob {
        body: Arc::new(Body {
            labels: Labels::new(Vec::new(), None, None, Some(unique), Share::NONE),
            ..Body::default()
        }),
        ..bare(n, queue)
    }
}

fn submit(driver: &mut Driver, jobs: Vec<NewJob>) -> Result<Vec<(JobId, bool)>, Refusal> {
    driver.handle(Command::Submit(Submit { request: Request(1), watch: None, jobs, flow: None }));
    driver.settle();
    let answer = driver.effects.drain(..).find_map(|effect| match effect {
        Effect::Reply { request: Request(1), answer } => Some(answer),
        _ => None,
    });
    answer.unwrap().map(|answer| match answer {
        Answer::Enqueued(receipts) => receipts.iter().map(|one| (one.id, one.fresh)).collect(),
        other => panic!("{other:?}"),
    })
}

fn started(driver: &Driver) -> Vec<JobId> {
    driver.tokens.iter().map(|(_, id, _)| *id).collect()
}

fn end_first(driver: &mut Driver, follow_ups: Vec<NewJob>) {
    let token = *driver.live.keys().next().unwrap();
    driver.end(token, Outcome::Done { output: Output::None, follow_ups });
    driver.settle();
}

#[test]
fn the_jobs_of_one_call_meet_one_another() {
    let mut driver = start(settings());
    let jobs = vec![
        job(1, "mail", Until::Done, EXISTING),
        job(2, "mail", Until::Done, EXISTING),
        job(3, "mail", Until::Done, OnConflict::KeepLast),
        job(4, "mail", Until::Done, OnConflict::KeepLast),
        bare(5, "mail"),
    ];
    let receipts = submit(&mut driver, jobs).unwrap();
    assert_eq!(receipts, [(id(1), true), (id(1), false), (id(3), true), (id(3), false), (id(5), true)]);
    for _ in 0..3 {
        end_first(&mut driver, Vec::new());
    }
    assert_eq!(started(&driver), [1, 5, 3].map(id), "whoever waited joins the line when the key is free");
}

#[test]
fn a_job_that_is_replaced_within_its_call_stands_where_it_would_have_come_with_another() {
    let mut driver = start(settings());
    submit(&mut driver, vec![bare(9, "mail")]).unwrap();
    let replace =
        |n: u64, due| NewJob { due, ..job(n, "mail", Until::Started, OnConflict::Replace { within_ms: None }) };
    // It was delayed, and joins the line behind the one between.
    submit(&mut driver, vec![replace(1, Some(When::After(50))), bare(2, "mail"), replace(3, None)]).unwrap();
    for _ in 0..3 {
        end_first(&mut driver, Vec::new());
    }
    assert_eq!(started(&driver), [9, 2, 1].map(id));
    // It was in line, and keeps its place.
    submit(&mut driver, vec![bare(8, "mail")]).unwrap();
    submit(&mut driver, vec![replace(4, None), bare(5, "mail"), replace(6, None)]).unwrap();
    for _ in 0..2 {
        end_first(&mut driver, Vec::new());
    }
    assert_eq!(started(&driver), [9, 2, 1, 8, 4, 5].map(id));
}

#[test]
fn a_call_that_is_refused_takes_no_key() {
    let mut driver = start(settings());
    let unknown = NewJob { queue: Name::from("nobody"), ..bare(2, "mail") };
    submit(&mut driver, vec![job(1, "mail", Until::Done, EXISTING), unknown]).unwrap_err();
    assert_eq!(submit(&mut driver, vec![job(3, "mail", Until::Done, EXISTING)]), Ok(vec![(id(3), true)]));
}

#[test]
fn another_kind_is_refused_and_told_who_has_the_key() {
    let mut driver = start(settings());
    submit(&mut driver, vec![job(1, "mail", Until::Done, EXISTING)]).unwrap();
    let other = NewJob { kind: Name::from("other"), ..job(2, "mail", Until::Done, EXISTING) };
    let refused = submit(&mut driver, vec![other]).unwrap_err();
    assert_eq!(refused, Refusal::KeyTaken { key: (*key(KeyOf::Engine)).clone(), id: id(1), kind: Name::from("work") });
}

#[test]
fn so_many_keys_are_taken_and_no_more() {
    let mut driver = start(ShardSettings { unique_keys_max: 2, ..settings() });
    let with_key = |n: u64, until| {
        let key = Arc::new(UniqueKey { of: KeyOf::Engine, text: format!("{n}").into() });
        let unique = Unique { key, until, on_conflict: EXISTING };
        let labels = Labels::new(Vec::new(), None, None, Some(unique), Share::NONE);
        NewJob { body: Arc::new(Body { labels, ..Body::default() }), ..bare(n, "mail") }
    };
    let refused = Err(Refusal::TooManyKeys { keys_max: 2 });
    let window = Until::Window { ms: 1_000 };
    assert_eq!(submit(&mut driver, (1..4).map(|n| with_key(n, Until::Done)).collect()), refused);
    submit(&mut driver, vec![with_key(1, Until::Done), with_key(2, window)]).unwrap();
    assert_eq!(submit(&mut driver, vec![with_key(3, Until::Done)]), refused);
    // One is given back by its end, and one by the clock.
    end_first(&mut driver, Vec::new());
    end_first(&mut driver, Vec::new());
    submit(&mut driver, vec![with_key(4, Until::Done)]).unwrap();
    assert_eq!(submit(&mut driver, vec![with_key(5, Until::Done)]), refused);
    driver.advance(1_000);
    for (queue, class) in driver.fired() {
        driver.due(queue, class);
    }
    submit(&mut driver, vec![with_key(5, Until::Done)]).unwrap();
}

#[test]
fn a_job_that_comes_back_needs_room_for_its_key() {
    let mut driver = start(ShardSettings { unique_keys_max: 1, ..settings() });
    submit(&mut driver, vec![job(1, "mail", Until::Done, EXISTING)]).unwrap();
    let token = *driver.live.keys().next().unwrap();
    driver.end(token, Outcome::Cancelled { reason: "enough".into() });
    driver.settle();
    let mut other = job(2, "mail", Until::Done, EXISTING);
    let key = Arc::new(UniqueKey { of: KeyOf::Engine, text: "another".into() });
    let unique = Unique { key, until: Until::Done, on_conflict: EXISTING };
    other.body =
        Arc::new(Body { labels: Labels::new(Vec::new(), None, None, Some(unique), Share::NONE), ..Body::default() });
    submit(&mut driver, vec![other]).unwrap();
    let (ended, body) = (driver.journal.ended(id(1)).unwrap().clone(), driver.journal.job(id(1)).unwrap().body.clone());
    let read = Some(Box::new(Retained { ended, body }));
    let requeue = |driver: &mut Driver| {
        driver.handle(Command::Steer { request: Request(7), id: id(1), verb: Verb::Requeue, read: read.clone() });
        driver.settle();
        driver.effects.drain(..).find_map(|effect| match effect {
            Effect::Reply { request: Request(7), answer } => Some(answer),
            _ => None,
        })
    };
    assert_eq!(requeue(&mut driver), Some(Err(Refusal::TooManyKeys { keys_max: 1 })));
    end_first(&mut driver, Vec::new());
    assert!(requeue(&mut driver).unwrap().is_ok());
    assert_eq!(started(&driver), [1, 2, 1].map(id));
}

#[test]
fn a_job_that_follows_its_own_success_finds_the_key_free() {
    let mut driver = start(settings());
    submit(&mut driver, vec![job(1, "mail", Until::Done, EXISTING)]).unwrap();
    end_first(&mut driver, vec![job(2, "mail", Until::Done, EXISTING), job(3, "mail", Until::Done, EXISTING)]);
    assert_eq!(started(&driver), [1, 2].map(id), "the second one of them finds it taken");
    // Where one waits already, it goes first.
    submit(&mut driver, vec![job(4, "mail", Until::Done, OnConflict::KeepLast)]).unwrap();
    end_first(&mut driver, vec![job(5, "mail", Until::Done, EXISTING)]);
    assert_eq!(started(&driver), [1, 2, 4].map(id));
}

#[test]
fn whoever_gets_a_key_in_a_queue_that_was_looked_at_before_starts_in_the_same_wave() {
    let mut driver = start(settings());
    submit(&mut driver, vec![bare(1, "bulk")]).unwrap();
    submit(&mut driver, vec![job(2, "bulk", Until::Started, EXISTING)]).unwrap();
    submit(&mut driver, vec![job(3, "mail", Until::Done, OnConflict::KeepLast)]).unwrap();
    assert_eq!(started(&driver), [id(1)]);
    let token = *driver.live.keys().next().unwrap();
    driver.end(token, Outcome::Done { output: Output::None, follow_ups: Vec::new() });
    assert!(driver.seal());
    driver.settle();
    assert_eq!(started(&driver), [1, 2, 3].map(id));
    assert!(!driver.seal());
}

#[test]
fn memory_and_the_journal_have_keys_of_their_own() {
    let mut driver = start(settings());
    submit(&mut driver, vec![job(1, "ram", Until::Done, EXISTING)]).unwrap();
    assert_eq!(submit(&mut driver, vec![job(2, "mail", Until::Done, EXISTING)]), Ok(vec![(id(2), true)]));
    assert_eq!(submit(&mut driver, vec![job(3, "ram", Until::Done, EXISTING)]), Ok(vec![(id(1), false)]));
    driver.crash(None);
    assert_eq!(driver.load(), []);
    driver.settle();
    assert_eq!(submit(&mut driver, vec![job(4, "ram", Until::Done, EXISTING)]), Ok(vec![(id(4), true)]));
    assert_eq!(submit(&mut driver, vec![job(5, "mail", Until::Done, EXISTING)]), Ok(vec![(id(2), false)]));
}

#[test]
fn a_key_whose_holder_cannot_be_read_goes_to_whoever_waits() {
    let mut driver = start(settings());
    submit(&mut driver, vec![job(1, "mail", Until::Done, EXISTING)]).unwrap();
    submit(&mut driver, vec![job(2, "mail", Until::Done, OnConflict::KeepLast)]).unwrap();
    driver.crash(None);
    // The journal has set its record aside.
    for key in [Key::Job(id(1)), Key::Head(id(1))] {
        driver.journal.0.remove(&key);
    }
    assert_eq!(driver.load(), []);
    driver.settle();
    assert_eq!(started(&driver), [1, 2].map(id));
    end_first(&mut driver, Vec::new());
    assert!(!driver.journal.0.contains_key(&Key::Unique((*key(KeyOf::Engine)).clone())), "no key is left behind");
}

#[test]
fn a_window_that_a_wrong_clock_began_does_not_stand_for_years() {
    let mut driver = start(settings());
    driver.set_wall(900_000_000);
    let window = Until::Window { ms: 60_000 };
    submit(&mut driver, vec![job(1, "mail", window, EXISTING)]).unwrap();
    driver.set_wall(1_000_000);
    assert_eq!(submit(&mut driver, vec![job(2, "mail", window, EXISTING)]), Ok(vec![(id(1), false)]));
    driver.handle(Command::Rearm);
    driver.settle();
    assert_eq!(submit(&mut driver, vec![job(3, "mail", window, EXISTING)]), Ok(vec![(id(3), true)]));
}

#[test]
fn a_replaced_job_keeps_its_place_and_is_due_in_the_end() {
    let mut driver = start(settings());
    submit(&mut driver, vec![bare(1, "mail")]).unwrap();
    let replace = |n: u64, within_ms, due, priority: Option<Priority>| NewJob {
        due,
        priority,
        ..job(n, "mail", Until::Started, OnConflict::Replace { within_ms })
    };
    submit(&mut driver, vec![replace(2, None, None, None), bare(3, "mail")]).unwrap();
    let same = Ok(vec![(id(2), false)]);
    assert_eq!(submit(&mut driver, vec![replace(4, None, None, None)]), same);
    end_first(&mut driver, Vec::new());
    assert_eq!(started(&driver), [1, 2].map(id), "it was before the other one, and still is");
    // Put off again and again, it is due at last.
    submit(&mut driver, vec![replace(5, Some(100), Some(When::After(80)), None)]).unwrap();
    for _ in 0..3 {
        driver.advance(30);
        submit(&mut driver, vec![replace(6, Some(100), Some(When::After(80)), None)]).unwrap();
    }
    let found = look(&mut driver, 5);
    assert_eq!(found.due, Some(Timestamp(1_000_100)));
}

#[test]
fn whoever_waits_is_told_for_whom() {
    let mut driver = start(settings());
    submit(&mut driver, vec![job(1, "mail", Until::Done, EXISTING)]).unwrap();
    submit(&mut driver, vec![job(2, "bulk", Until::Done, OnConflict::KeepLast)]).unwrap();
    assert_eq!(look(&mut driver, 2).why, Why::Key { holder: id(1) });
}

fn look(driver: &mut Driver, n: u64) -> windlass_scheduler::view::JobView {
    driver.handle(Command::Look { request: Request(9), id: id(n) });
    driver.settle();
    let found = driver.effects.drain(..).find_map(|effect| match effect {
        Effect::Reply { answer: Ok(Answer::Found(windlass_scheduler::effect::Found::Live(view))), .. } => Some(view),
        _ => None,
    });
    found.unwrap()
}
