//! The judge itself: a lawful history breaks nothing, and each law has a history that breaks it and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/mod.rs"]
mod common;
mod flows;
mod tale;

use std::collections::BTreeSet;

use windlass_scheduler::history::{
    Alone, Answer, Call, Checker, Commit, Count, Dump, Finish, Intent, Kept, Law, Rules, What,
};
use windlass_scheduler::job::{Name, Priority};
use windlass_scheduler::limit::LimitOf;
use windlass_scheduler::settings::Level;
use windlass_scheduler::state::{EndState, State};

use self::common::id;
use self::tale::{FAILED, Tale, bound, durable, holds, intent, live, of_key, one_of, over, process, rate_of, rules};

/// Jobs that end in all ways, a kill, a power cut, a break of the store, verbs, an outcome that nobody knows.
#[test]
fn a_lawful_history_breaks_no_law() {
    let mut tale = durable();
    tale.add(What::StoreOpened { term: 1, recovered: None }).add(What::Committed(Commit { term: 1, n: 1 }));
    tale.enqueue(1).enqueue(2).run(1, 1, Finish::Ok).run(2, 1, FAILED).pass(100).run(2, 2, Finish::Permanent);
    tale.asked(Call::Wait(id(1)), Answer::Is(State::Done)).asked(Call::Look(id(2)), Answer::Is(State::Dead));
    let pair = Call::Enqueue(vec![intent(3), Intent { priority: Priority::URGENT, ..intent(4) }]);
    tale.asked(pair, Answer::Ok).start(4, 1).start(3, 1);
    let unknown = tale.ask(Call::Enqueue(vec![intent(5)]));
    tale.add(What::StoreBroke).answer(unknown, Answer::Unknown);
    tale.add(What::StoreOpened { term: 2, recovered: Some(Commit { term: 1, n: 1 }) });
    tale.asked(Call::Cancel(id(3)), Answer::Ok).end(3, 1, Finish::Dropped);
    tale.add(What::Synced(Commit { term: 1, n: 1 })).add(What::Killed);
    let done = [over(1, EndState::Done, 1, 0), over(2, EndState::Dead, 2, 2)];
    let cancelled = over(3, EndState::Cancelled, 1, 0);
    let [first, second] = done.clone();
    tale.dump(&[first, second, cancelled.clone(), live(4, 0, Some(1))]);
    tale.add(What::Began).start(4, 2).add(What::PowerLost);
    let [first, second] = done.clone();
    tale.dump(&[first, second, cancelled.clone(), live(4, 1, None)]);
    // The start was not synced: its number is used again.
    tale.add(What::Began).run(4, 2, Finish::Ok);
    tale.asked(Call::Requeue(id(2)), Answer::Ok).run(2, 3, Finish::Ok);
    tale.asked(Call::Shutdown { within_ms: 10 }, Answer::Ok).add(What::Drained);
    let [first, _] = done;
    tale.dump(&[first, over(2, EndState::Done, 3, 0), cancelled, over(4, EndState::Done, 2, 0)]);
    let violations = Checker::judge(&tale.events);
    assert!(violations.is_empty(), "{}", violations[0]);
}

/// For each law a history that breaks it.
fn breach(law: Law) -> Tale {
    breach_of_the_store(law)
        .or_else(|| breach_by_an_attempt(law))
        .or_else(|| breach_by_the_engine(law))
        .or_else(|| flows::breach(law))
        .expect("a history")
}

fn breach_of_the_store(law: Law) -> Option<Tale> {
    let mut tale = durable();
    match law {
        Law::NothingLost => tale.enqueue(1).enqueue(2).add(What::Killed).dump(&[live(2, 0, None)]),
        Law::NothingInvented => tale.asked(Call::Enqueue(vec![intent(1)]), Answer::Refused).start(1, 1),
        Law::WholeOrNot => {
            tale.ask(Call::Enqueue(vec![intent(1), intent(2)]));
            tale.add(What::Killed).dump(&[live(1, 0, None)])
        }
        Law::NoHole => {
            tale = process();
            tale.enqueue(1).enqueue(2).add(What::PowerLost).dump(&[live(2, 0, None)])
        }
        Law::WindowKept => {
            tale = process();
            tale.enqueue(1).pass(1_001).add(What::PowerLost).dump(&[])
        }
        Law::OnePlace => {
            let mut twice = holds(&[live(1, 0, None)]);
            twice.jobs.push(live(1, 0, None));
            tale.enqueue(1).add(What::Killed).add(What::Dump(twice))
        }
        Law::Conservation => {
            let mut dump = holds(&[live(1, 0, None)]);
            dump.counters[0].purged = 1;
            tale.enqueue(1).add(What::Killed).add(What::Dump(dump))
        }
        Law::CountersCount => {
            let mut dump = holds(&[over(1, EndState::Done, 1, 0)]);
            dump.counters[0].done_total = 0;
            tale.enqueue(1).run(1, 1, Finish::Ok).add(What::Killed).add(What::Dump(dump))
        }
        Law::SameAgain => {
            let done = over(1, EndState::Dead, 0, 0);
            let dead = Kept { is_condemned: true, ..done };
            tale.enqueue(1).add(What::Killed).dump(&[live(1, 0, None)]).dump(&[dead])
        }
        _ => return None,
    };
    Some(tale)
}

fn breach_by_an_attempt(law: Law) -> Option<Tale> {
    let mut tale = durable();
    match law {
        Law::OneLiveAttempt => tale.enqueue(1).start(1, 1).start(1, 2),
        Law::AttemptsInOrder => tale.enqueue(1).start(1, 2),
        Law::ClaimedFirst => tale.enqueue(1).start(1, 1).add(What::Killed).dump(&[live(1, 0, None)]),
        Law::EndsAreTold => tale.enqueue(1).start(1, 1).add(What::Killed).dump(&[live(1, 1, None)]),
        Law::EndIsFinal => {
            tale.enqueue(1).run(1, 1, Finish::Ok).asked(Call::Wait(id(1)), Answer::Is(State::Done));
            tale.add(What::PowerLost).dump(&[live(1, 1, None)])
        }
        Law::RetriesBounded => {
            (1..=3).for_each(|attempt| {
                if attempt == 1 {
                    tale.enqueue(1);
                }
                tale.run(1, attempt, FAILED).pass(100);
            });
            tale.start(1, 4)
        }
        Law::NotEarly => tale.enqueue(1).run(1, 1, FAILED).pass(99).start(1, 2),
        Law::NotLate => {
            let job = Intent { expires_ms: Some(5), ..intent(1) };
            tale.asked(Call::Enqueue(vec![job]), Answer::Ok).pass(6).start(1, 1)
        }
        Law::InOrder => {
            let urgent = Intent { priority: Priority::URGENT, ..intent(9) };
            tale.add(What::Queue(rules("work", Level::Durable, 1)));
            tale.enqueue(1).enqueue(2).asked(Call::Enqueue(vec![urgent]), Answer::Ok);
            tale.run(1, 1, Finish::Ok).run(2, 1, Finish::Ok)
        }
        Law::OneAKey => {
            let call = Call::Enqueue(vec![alone(1), alone(2)]);
            tale.asked(call, Answer::Ok).start(1, 1).start(2, 1)
        }
        Law::RateKept => {
            tale.add(rate_of(LimitOf::queue("work")));
            tale.enqueue(1).run(1, 1, Finish::Ok).pass(99).enqueue(2).run(2, 1, Finish::Ok)
        }
        Law::LimitKept => {
            tale.add(one_of(LimitOf::each_key("work")));
            tale.asked(Call::Enqueue(vec![of_key(1), of_key(2)]), Answer::Ok).start(1, 1).start(2, 1)
        }
        Law::SlotsKept => tale.enqueue(1).enqueue(2).enqueue(3).start(1, 1).start(2, 1).start(3, 1),
        Law::PausedRestsStill => tale.asked(Call::Pause(Name::from("work")), Answer::Ok).enqueue(1).pass(1).start(1, 1),
        Law::CancelSticks => tale.enqueue(1).asked(Call::Cancel(id(1)), Answer::Ok).pass(1).start(1, 1),
        Law::SamePayload => tale.enqueue(1).add(What::Started { id: id(1), attempt: 1, payload: 2 }),
        Law::LeaseOnly => tale.enqueue(1).run(1, 1, FAILED).asked(Call::UseLease { id: id(1), attempt: 1 }, Answer::Ok),
        _ => return None,
    };
    Some(tale)
}

fn breach_by_the_engine(law: Law) -> Option<Tale> {
    let mut tale = durable();
    match law {
        Law::DoneIsOneCommit => {
            tale.enqueue(1).start(1, 1).ask(Call::FollowUps { parent: id(1), attempt: 1, jobs: vec![intent(2)] });
            tale.end(1, 1, Finish::Ok).add(What::Killed).dump(&[over(1, EndState::Done, 1, 0)])
        }
        Law::CommitsRise => {
            tale.add(What::Committed(Commit { term: 1, n: 2 })).add(What::Committed(Commit { term: 1, n: 2 }))
        }
        Law::SyncedIsRecovered => {
            tale.add(What::Synced(Commit { term: 1, n: 2 })).add(What::PowerLost);
            tale.add(What::StoreOpened { term: 2, recovered: Some(Commit { term: 1, n: 1 }) })
        }
        Law::NoOkAfterBreak => tale.add(What::StoreBroke).enqueue(1),
        Law::MemoryBounded => tale.add(What::Memory { used_bytes: 2, bytes_max: 1 }),
        Law::EveryJobEnds => tale.enqueue(1).add(What::Drained).dump(&[live(1, 0, None)]),
        Law::NoSlotStuck => tale.enqueue(1).start(1, 1).add(What::Drained),
        Law::TimeoutKept => tale.enqueue(1).start(1, 1).pass(1_001).end(1, 1, Finish::Dropped),
        Law::ShutdownInTime => {
            let call = tale.ask(Call::Shutdown { within_ms: 10 });
            tale.pass(11).answer(call, Answer::Ok)
        }
        Law::OpensInTime => {
            let call = tale.ask(Call::Open { within_ms: 10 });
            tale.pass(11).answer(call, Answer::Ok)
        }
        _ => return None,
    };
    Some(tale)
}

#[test]
fn every_law_has_a_history_that_breaks_it_and_no_other() {
    for law in Law::ALL {
        let tale = breach(*law);
        assert_eq!(tale.broken(), BTreeSet::from([*law]), "{:#?}", Checker::judge(&tale.events));
    }
}

/// A job that shares a key with all others that are made so.
fn alone(n: u64) -> Intent {
    Intent { alone: Some(Alone { key: 7, until_end: true }), ..intent(n) }
}

#[test]
fn a_job_has_its_key_no_longer_than_the_words_say_that_it_may_have_taken_over() {
    let sooner = Intent { alone: Some(Alone { key: 7, until_end: false }), ..intent(2) };
    let beside = |is_known: bool| {
        let mut tale = durable();
        tale.asked(Call::Enqueue(vec![alone(1)]), Answer::Ok);
        let second = tale.ask(Call::Enqueue(vec![sooner.clone()]));
        if is_known {
            tale.add(What::StandsFor { id: id(2), other: id(1) }).answer(second, Answer::Ok);
        }
        tale.run(1, 1, Finish::Permanent).asked(Call::Enqueue(vec![alone(3)]), Answer::Ok).start(3, 1);
        tale.ask(Call::Requeue(id(1)));
        tale.start(1, 2);
        tale
    };
    assert_eq!(beside(true).broken(), BTreeSet::new());
    assert_eq!(beside(false).broken(), BTreeSet::new(), "nobody knows what became of the second call");
}

#[test]
fn a_job_for_which_another_one_stands_is_none_and_may_give_it_its_bytes() {
    let mut tale = durable();
    tale.asked(Call::Enqueue(vec![alone(1)]), Answer::Ok);
    let second = tale.ask(Call::Enqueue(vec![alone(2)]));
    tale.add(What::StandsFor { id: id(2), other: id(1) }).answer(second, Answer::Ok);
    tale.add(What::Started { id: id(1), attempt: 1, payload: 2 }).end(1, 1, Finish::Ok);
    tale.add(What::Killed).dump(&[over(1, EndState::Done, 1, 0)]);
    assert_eq!(tale.broken(), BTreeSet::new(), "{:#?}", Checker::judge(&tale.events));
    // It must not run, and none stands for it that has not its key.
    tell(Law::NothingInvented, &|tale| {
        tale.asked(Call::Enqueue(vec![alone(1)]), Answer::Ok);
        let second = tale.ask(Call::Enqueue(vec![alone(2)]));
        tale.add(What::StandsFor { id: id(2), other: id(1) }).answer(second, Answer::Ok).start(2, 1);
    });
    tell(Law::NothingInvented, &|tale| {
        tale.enqueue(1).ask(Call::Enqueue(vec![alone(2)]));
        tale.add(What::StandsFor { id: id(2), other: id(1) });
    });
}

/// This tale breaks this law, and no other.
fn tell(law: Law, tell: &dyn Fn(&mut Tale)) {
    let mut tale = durable();
    tell(&mut tale);
    assert_eq!(tale.broken(), BTreeSet::from([law]), "{:#?}", Checker::judge(&tale.events));
}

#[test]
fn there_are_other_ways_to_break_what_attempts_and_ends_keep() {
    tell(Law::NothingInvented, &|tale| {
        let mut dump = holds(&[live(7, 0, None)]);
        (dump.counters[0].enqueued, dump.counters[0].moved_in) = (0, 1);
        tale.add(What::Killed).add(What::Dump(dump));
    });
    tell(Law::NothingInvented, &|tale| _ = tale.start(7, 1));
    tell(Law::NothingInvented, &|tale| {
        // Missing once, it must not turn up again.
        tale.ask(Call::Enqueue(vec![intent(1)]));
        tale.add(What::Killed).dump(&[]).add(What::Began).start(1, 1);
    });
    tell(Law::EndIsFinal, &|tale| _ = tale.enqueue(1).run(1, 1, Finish::Ok).start(1, 2));
    tell(Law::EndIsFinal, &|tale| {
        let dead = over(1, EndState::Dead, 1, 1);
        tale.enqueue(1).run(1, 1, Finish::Permanent).add(What::Killed).dump(&[dead]).add(What::Began);
        tale.asked(Call::Look(id(1)), Answer::Is(State::Ready));
    });
    tell(Law::EndsAreTold, &|tale| {
        tale.enqueue(1).run(1, 1, FAILED).add(What::Killed).dump(&[over(1, EndState::Done, 1, 1)]);
    });
    tell(Law::EndsAreTold, &|tale| _ = tale.enqueue(1).run(1, 1, FAILED).add(What::Killed).dump(&[live(1, 1, None)]));
    tell(Law::EndsAreTold, &|tale| _ = tale.enqueue(1).asked(Call::Wait(id(1)), Answer::Is(State::Done)));
    tell(Law::EndsAreTold, &|tale| {
        tale.enqueue(1).add(What::Killed).dump(&[over(1, EndState::Cancelled, 0, 0)]);
    });
    tell(Law::AttemptsInOrder, &|tale| {
        tale.enqueue(1).run(1, 1, FAILED).pass(100).run(1, 1, Finish::Ok);
    });
    tell(Law::AttemptsInOrder, &|tale| _ = tale.enqueue(1).add(What::Killed).dump(&[live(1, 2, Some(3))]));
}

#[test]
fn there_are_other_ways_to_break_what_the_store_keeps() {
    tell(Law::SamePayload, &|tale| {
        tale.enqueue(1).add(What::Killed).dump(&[Kept { payload: Some(3), ..live(1, 0, None) }]);
    });
    tell(Law::CancelSticks, &|tale| {
        tale.enqueue(1).start(1, 1).asked(Call::Cancel(id(1)), Answer::Ok).end(1, 1, FAILED).add(What::Killed);
        tale.dump(&[over(1, EndState::Dead, 1, 1)]);
    });
    tell(Law::CountersCount, &|tale| {
        let count = Count { queue: Name::from("work"), live: 0, ended: [0; 4] };
        tale.enqueue(1).add(What::Counted(vec![count])).dump(&[live(1, 0, None)]);
    });
    tell(Law::CountersCount, &|tale| {
        let mut dump = holds(&[live(1, 0, None)]);
        (dump.counters[0].enqueued, dump.counters[0].purged) = (2, 1);
        tale.enqueue(1).add(What::Killed).add(What::Dump(dump));
    });
    tell(Law::DoneIsOneCommit, &|tale| {
        tale.enqueue(1).start(1, 1).ask(Call::FollowUps { parent: id(1), attempt: 1, jobs: vec![intent(2)] });
        tale.add(What::Killed).dump(&[live(1, 0, Some(1)), live(2, 0, None)]);
    });
    tell(Law::DoneIsOneCommit, &|tale| {
        // The first attempt failed, and what it had added is there all the same.
        tale.enqueue(1).start(1, 1).ask(Call::FollowUps { parent: id(1), attempt: 1, jobs: vec![intent(2)] });
        let failed = Kept { failures: 1, ..live(1, 1, None) };
        tale.end(1, 1, FAILED).add(What::Killed).dump(&[failed, live(2, 0, None)]);
    });
    tell(Law::NotEarly, &|tale| {
        tale.asked(Call::Enqueue(vec![Intent { due_ms: 5, ..intent(1) }]), Answer::Ok).pass(4).start(1, 1);
    });
    tell(Law::CommitsRise, &|tale| {
        tale.add(What::StoreOpened { term: 1, recovered: None }).add(What::StoreOpened { term: 1, recovered: None });
    });
}

/// What looks like a breach and is none: outcomes that nobody knows, what a level does not promise, what a death hides.
#[test]
fn what_nobody_promised_is_no_breach() {
    let mut tale = process();
    tale.enqueue(1).pass(10).enqueue(2).start(1, 1).add(What::PowerLost).dump(&[live(1, 0, None)]);
    tale.add(What::Began).start(1, 1).add(What::Killed);
    // Claimed, and killed before the handler could tell; so the next one has the number after.
    tale.dump(&[live(1, 0, Some(1))]).add(What::Began).add(What::Killed).dump(&[live(1, 1, Some(2))]);
    tale.add(What::Began).run(1, 3, Finish::Ok);
    let mut memory = Tale::new(Level::Memory);
    memory.enqueue(1).run(1, 1, Finish::Ok).enqueue(2).add(What::Killed).dump(&[]);
    let mut unread = durable();
    unread.enqueue(1).add(What::Killed).add(What::Dump(Dump { quarantined: 1, ..Dump::default() }));
    // At the level `Process` power takes a cancel and a pause, too.
    let mut forgotten = process();
    forgotten.enqueue(2).asked(Call::Pause(Name::from("work")), Answer::Ok).asked(Call::Cancel(id(2)), Answer::Ok);
    forgotten.add(What::PowerLost).dump(&[live(2, 0, None)]).pass(10).add(What::Began).run(2, 1, Finish::Ok);
    // What follows a success that memory alone knows was called off, unheard, and comes again with the next core.
    let mut again = durable();
    again.add(What::Queue(Rules { keeps: [false; 4], ..rules("ram", Level::Memory, 2) }));
    again.asked(Call::Enqueue(vec![Intent { queue: Name::from("ram"), ..intent(1) }]), Answer::Ok).start(1, 1);
    again.ask(Call::FollowUps { parent: id(1), attempt: 1, jobs: vec![intent(2)] });
    let discarded = again.end(1, 1, Finish::Ok).ask(Call::Discard(id(2)));
    again.add(What::StoreBroke).answer(discarded, Answer::Unknown);
    let mut dump = holds(&[live(2, 0, None)]);
    (dump.counters[0].enqueued, dump.counters[0].purged) = (2, 1);
    again.add(What::Dump(dump));
    for tale in [tale, memory, unread, forgotten, again] {
        let violations = Checker::judge(&tale.events);
        assert!(violations.is_empty(), "{}", violations[0]);
    }
}

/// Who reads a violation sees the law, the numbers, and the job's life.
#[test]
fn a_violation_tells_the_jobs_life() {
    let tale = breach(Law::NotEarly);
    let violation = Checker::judge(&tale.events).remove(0).to_string();
    for part in ["NotEarly at 99 ms", "1 ms early", "attempt 1 ends: Failed", "enqueue: Ok", Law::NotEarly.says()] {
        assert!(violation.contains(part), "`{part}` is missing in:\n{violation}");
    }
}

/// A job with a key, and this one in another queue, that start at once.
fn two_start(second: &Intent, limit: What) -> Vec<Law> {
    let mut tale = durable();
    tale.add(What::Queue(rules("more", Level::Durable, 2))).add(limit);
    let second = Intent { queue: Name::from("more"), ..second.clone() };
    tale.asked(Call::Enqueue(vec![of_key(1), second]), Answer::Ok).start(1, 1).start(2, 1);
    Checker::judge(&tale.events).into_iter().map(|violation| violation.law).collect()
}

#[test]
fn limits_of_keys_and_of_what_queues_share_are_judged_over_all_their_queues() {
    for of in [LimitOf::shared("api"), LimitOf::shared_each_key("api")] {
        assert_eq!(two_start(&of_key(2), one_of(of.clone())), [Law::LimitKept], "{of}");
        assert_eq!(two_start(&of_key(2), rate_of(of.clone())), [Law::RateKept], "{of}");
    }
    let another = Intent { limit_key: Some(8), ..intent(2) };
    for of in [LimitOf::each_key("work"), LimitOf::shared_each_key("api")] {
        assert_eq!(two_start(&another, one_of(of.clone())), [], "{of}");
        assert_eq!(two_start(&intent(2), rate_of(of.clone())), [], "{of}");
    }
    let unlimited = What::Limit(bound(LimitOf::shared("api")));
    assert_eq!(two_start(&of_key(2), unlimited), []);
}
