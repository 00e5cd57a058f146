//! An id that is forgotten in one store, and taken at once in the other one, while the core falls between the two.
//!
//! Guards I1 (what two stores say of one id is read as what came last) and I4 (an entry of claims is about a job of its own store).
//! What is in memory is never behind the journal, so that where both have an id the journal's is the stale one.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use windlass_scheduler::attempt::{Outcome, Output};
use windlass_scheduler::change::Key;
use windlass_scheduler::command::{Command, QueueNo, Request, Submit};
use windlass_scheduler::effect::{Answer, Effect};
use windlass_scheduler::job::{Body, JobId, Labels, Name, NewJob};
use windlass_scheduler::lease::LeaseToken;
use windlass_scheduler::limit::Share;
use windlass_scheduler::settings::{KeepDone, Level, QueueSettings, ShardSettings};
use windlass_scheduler::time::{Mono, Now, Timestamp};
use windlass_scheduler::unique::{KeyOf, OnConflict, Unique, UniqueKey, Until};
use windlass_scheduler::verb::Verb;

use self::common::{Driver, bare, id};

const QUEUES: [&str; 3] = ["mail", "lean", "ram"];

/// `lean` and `ram` keep nothing of what is done.
fn start() -> Driver {
    let queue = |name: &str, level, keep_done| {
        let mut queue = QueueSettings { level, slots: 2, ..QueueSettings::new(Name::from(name)) };
        queue.retention.keep_done = keep_done;
        queue
    };
    let queues = vec![
        queue("mail", Level::Durable, KeepDone::All),
        queue("lean", Level::Durable, KeepDone::None),
        queue("ram", Level::Memory, KeepDone::None),
    ];
    let settings = ShardSettings::new(1, 7, queues, vec!["work".into()]);
    let mut driver = Driver::new(settings, Now { mono: Mono(0), wall: Timestamp(1_000_000) });
    driver.settle();
    driver
}

fn submit(driver: &mut Driver, jobs: Vec<NewJob>) {
    driver.handle(Command::Submit(Submit { request: Request(1), watch: None, jobs, flow: None }));
}

fn keyed(n: u64, queue: &str) -> NewJob {
    let key = Arc::new(UniqueKey { of: KeyOf::Engine, text: "k".into() });
    let unique = Unique { key, until: Until::Done, on_conflict: OnConflict::Existing };
    let labels = Labels::new(Vec::new(), None, None, Some(unique), Share::NONE);
    NewJob { body: Arc::new(Body { labels, ..Body::default() }), ..bare(n, queue) }
}

/// The last attempt of this job that was started.
fn token(driver: &Driver, n: u64) -> LeaseToken {
    driver.tokens.iter().rev().find(|(_, one, _)| *one == id(n)).unwrap().0
}

fn done(driver: &mut Driver, n: u64, follow_ups: Vec<NewJob>) {
    driver.end(token(driver, n), Outcome::Done { output: Output::None, follow_ups });
}

fn place_of(driver: &Driver, n: u64) -> Option<QueueNo> {
    driver.live.values().find(|one| one.claim.id == id(n) && one.end.is_none()).map(|one| one.queue)
}

fn ids(store: &common::Store) -> Vec<JobId> {
    store.0.keys().filter_map(|key| if let Key::Job(id) = key { Some(*id) } else { None }).collect()
}

/// Nothing was lost to a record that could not be used.
fn assert_nothing_is_missing(driver: &mut Driver) {
    driver.handle(Command::Stats { request: Request(9) });
    driver.settle();
    let is_it = |effect: &Effect| match effect {
        Effect::Reply { request: Request(9), answer: Ok(Answer::Stats(stats)) } => Some(stats.clone()),
        _ => None,
    };
    let stats = driver.effects.iter().find_map(is_it).unwrap();
    for queue in &stats {
        assert_eq!(queue.totals.quarantined, 0, "{queue:?}");
    }
    driver.effects.clear();
}

#[test]
fn a_retained_job_that_the_journal_forgot_too_late_gives_way_to_the_one_in_memory() {
    let mut driver = start();
    submit(&mut driver, vec![bare(1, QUEUES[0])]);
    driver.settle();
    done(&mut driver, 1, Vec::new());
    driver.settle();
    driver.handle(Command::Steer { request: Request(2), id: id(1), verb: Verb::Discard, read: None });
    driver.seal();
    submit(&mut driver, vec![bare(1, QUEUES[2])]);
    driver.seal();
    assert_eq!((driver.sealed.len(), place_of(&driver, 1)), (2, Some(QueueNo(2))), "neither wave is written");

    // Once more before the journal has heard of it.
    for _ in 0..2 {
        assert_eq!(driver.load(), []);
        assert_eq!(driver.shard.running_leases(), [(id(1), token(&driver, 1))]);
    }
    driver.settle();
    assert_eq!((ids(&driver.journal), ids(&driver.twin)), (vec![], vec![id(1)]));
    assert_eq!(driver.journal.ended(id(1)), None);
    assert_nothing_is_missing(&mut driver);
    done(&mut driver, 1, Vec::new());
    driver.settle();
    assert_eq!((ids(&driver.twin), driver.shard.stale_acks()), (vec![], 0));
}

#[test]
fn what_follows_a_success_that_the_journal_lost_with_its_job_comes_in_all_the_same() {
    let mut driver = start();
    submit(&mut driver, vec![keyed(1, QUEUES[1]), bare(2, QUEUES[1])]);
    driver.settle();
    done(&mut driver, 1, vec![bare(3, QUEUES[0]), bare(4, QUEUES[2])]);
    driver.seal();
    submit(&mut driver, vec![keyed(1, QUEUES[2])]);
    driver.seal();
    assert_eq!(place_of(&driver, 1), Some(QueueNo(2)));

    for _ in 0..2 {
        assert_eq!(driver.load(), []);
        let running: Vec<_> = driver.shard.running_leases().iter().map(|(id, _)| *id).collect();
        assert_eq!(running, [id(2), id(1)], "the one that runs, by its own token, and what ran beside the other one");
    }
    driver.settle();
    assert_eq!((ids(&driver.journal), ids(&driver.twin)), (vec![id(2), id(3)], vec![id(1), id(4)]));
    assert_nothing_is_missing(&mut driver);
    // The key of the journal's is free, and the other one's is not.
    submit(&mut driver, vec![keyed(5, QUEUES[1]), keyed(6, QUEUES[2])]);
    driver.settle();
    assert_eq!((ids(&driver.journal), ids(&driver.twin)), (vec![id(2), id(3), id(5)], vec![id(1), id(4)]));
    for n in 1..=5 {
        done(&mut driver, n, Vec::new());
        driver.settle();
    }
    let keys = driver.journal.0.keys().chain(driver.twin.0.keys());
    assert_eq!(keys.filter(|key| matches!(key, Key::Unique(_) | Key::Claims(_))).count(), 0);
}

#[test]
fn an_entry_of_claims_is_about_a_job_of_its_own_store() {
    let mut driver = start();
    submit(&mut driver, vec![bare(1, QUEUES[1]), bare(2, QUEUES[1])]);
    driver.settle();
    done(&mut driver, 1, Vec::new());
    driver.seal();
    driver.handle(Command::Pause { request: Request(2), queue: Name::from(QUEUES[2]) });
    submit(&mut driver, vec![bare(1, QUEUES[2])]);
    driver.seal();
    // The end is written, which nobody hears of; that the entry is nobody's is not.
    let wave = driver.sealed.pop_front().unwrap();
    driver.journal.apply(&wave.changes);
    assert!(driver.journal.claims().any(|claim| claim.id == id(1)));

    assert_eq!(driver.load(), []);
    driver.settle();
    assert_eq!((ids(&driver.twin), driver.shard.stale_acks()), (vec![id(1)], 0), "it has not begun, and has not ended");
    done(&mut driver, 2, Vec::new());
    driver.settle();
    assert_nothing_is_missing(&mut driver);
}

#[test]
fn what_the_journal_takes_over_from_memory_is_there_once_or_not_at_all() {
    for is_written in [false, true] {
        let mut driver = start();
        submit(&mut driver, vec![bare(1, QUEUES[2]), bare(2, QUEUES[2])]);
        driver.settle();
        done(&mut driver, 1, Vec::new());
        driver.seal();
        submit(&mut driver, vec![bare(1, QUEUES[0])]);
        driver.seal();
        if is_written {
            driver.finish_writes();
        }
        assert_eq!(driver.load(), []);
        driver.settle();
        let there = if is_written { vec![id(1)] } else { Vec::new() };
        assert_eq!((ids(&driver.journal), ids(&driver.twin)), (there, vec![id(2)]));
        assert_eq!(place_of(&driver, 1), is_written.then_some(QueueNo(0)));
        assert_nothing_is_missing(&mut driver);
    }
}
