//! Jobs that come back: one job an instant whatever dies, what is caught up with, what waits for what, and who has the word.
//!
//! Guards I1 (a schedule comes back as it stood), I5 (instants go by the wall clock, which may jump) and I6 (what a step does, and
//! what waits, has a limit).
#![allow(clippy::unwrap_used)]
#![allow(clippy::cast_possible_truncation)]

#[path = "schedules/bed.rs"]
mod bed;
mod common;

use std::collections::{BTreeMap, BTreeSet};

use windlass_scheduler::attempt::{Outcome, Output};
use windlass_scheduler::change::{Change, Key, Record};
use windlass_scheduler::command::{Command, TimerClass};
use windlass_scheduler::effect::Answer;
use windlass_scheduler::job::{InstantOf, Name};
use windlass_scheduler::recurrence::{CatchUp, Origin, Overlap, Rule, Schedule, ScheduleCommand};
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::settings::Level;
use windlass_scheduler::time::Timestamp;

use self::bed::{
    MAIL, START, ask, define, driver, end_all, fire, minutely, minutes, one, pass, pause, restart, settings, start,
    started,
};
use self::common::{Driver, id};

#[test]
fn an_instant_s_job_and_the_cursor_are_one_wave() {
    let mut driver = driver();
    let schedule = minutely("a");
    define(&mut driver, schedule.clone());
    driver.advance(60_000);
    driver.due(MAIL, TimerClass::Schedule);
    assert!(driver.seal());
    let wave = driver.sealed.back().unwrap();
    let job = wave.changes.iter().find_map(|change| match change {
        Change::Put(Record::Job(job)) => Some(job.id),
        _ => None,
    });
    let cursor = wave.changes.iter().find_map(|change| match change {
        Change::Put(Record::Schedule(schedule)) => Some((schedule.cursor, schedule.fired)),
        _ => None,
    });
    assert_eq!(job, minutes(&schedule, [0]).first().copied());
    assert_eq!(cursor, Some((driver.now.wall, 1)));
}

#[test]
fn each_instant_has_one_job_wherever_the_process_dies() {
    let schedule = minutely("a");
    for is_written in [false, true] {
        let mut driver = driver();
        define(&mut driver, schedule.clone());
        driver.advance(60_000);
        driver.due(MAIL, TimerClass::Schedule);
        driver.seal();
        if is_written {
            driver.finish_writes();
        }
        restart(&mut driver, 1_000);
        let jobs: BTreeSet<_> = started(&driver).into_iter().collect();
        assert_eq!(jobs, minutes(&schedule, [0]).into_iter().collect(), "written: {is_written}");
        assert_eq!(one(&mut driver, "a").schedule.fired, 1, "written: {is_written}");
        pass(&mut driver, 60_000);
        assert_eq!(one(&mut driver, "a").schedule.fired, 2);
    }
}

#[test]
fn a_schedule_comes_back_as_it_stood() {
    let mut driver = driver();
    define(&mut driver, Schedule { overlap: Overlap::Queue, ..minutely("a") });
    define(&mut driver, Schedule { rule: Rule::Cron { pattern: "90".into(), zone: "UTC".into() }, ..minutely("b") });
    pass(&mut driver, 60_000);
    pass(&mut driver, 60_000);
    pause(&mut driver, "b", true);
    assert_eq!(driver.copy().portrait(), driver.shard.portrait());
}

#[test]
fn what_was_missed_is_caught_up_with_as_it_says() {
    let later = |catch_up, ms| {
        let mut driver = driver();
        let schedule = Schedule { catch_up, ..minutely("a") };
        define(&mut driver, schedule.clone());
        restart(&mut driver, ms);
        let started = started(&driver);
        (0..10).filter(|n| started.contains(&minutes(&schedule, [*n])[0])).collect::<Vec<_>>()
    };
    // 20 s after START is the first minute.
    assert_eq!(later(CatchUp::Skip, 5 * 60_000), [4], "the one of 40 s ago was not missed");
    assert_eq!(later(CatchUp::Latest, 5 * 60_000), [4]);
    assert_eq!(later(CatchUp::All { max: 3 }, 5 * 60_000), [2, 3, 4]);
    assert_eq!(later(CatchUp::All { max: 9 }, 5 * 60_000), [0, 1, 2, 3, 4]);
    assert_eq!(later(CatchUp::All { max: 9 }, 10_000), Vec::<u64>::new());
    let mut driver = driver();
    define(
        &mut driver,
        Schedule { catch_up: CatchUp::Skip, rule: Rule::Every { period_ms: 3_600_000 }, ..minutely("a") },
    );
    let hour = START.next_multiple_of(3_600_000) - START;
    restart(&mut driver, hour + Schedule::LATE_MS_MAX + 1);
    assert_eq!(started(&driver), [], "a minute and a millisecond is late");
    restart(&mut driver, 3_600_000 - 1);
    assert_eq!(started(&driver).len(), 1);
}

#[test]
fn an_instant_stands_beside_an_earlier_job_or_is_left_out_or_waits_for_it() {
    for overlap in [Overlap::Allow, Overlap::Skip, Overlap::Queue] {
        let mut driver = driver();
        let schedule = Schedule { overlap, ..minutely("a") };
        define(&mut driver, schedule.clone());
        for _ in 0..3 {
            pass(&mut driver, 60_000);
        }
        let before = if overlap == Overlap::Allow { 3 } else { 1 };
        assert_eq!(started(&driver), minutes(&schedule, 0..before), "{overlap:?}");
        end_all(&mut driver);
        end_all(&mut driver);
        let after = if overlap == Overlap::Skip { 1 } else { 3 };
        assert_eq!(started(&driver), minutes(&schedule, 0..after), "{overlap:?}");
        end_all(&mut driver);
        pass(&mut driver, 60_000);
        let view = one(&mut driver, "a");
        assert_eq!((view.schedule.fired, view.schedule.held.len()), (after + 1, 0), "{overlap:?}");
        assert_eq!(view.schedule.overlapped, if overlap == Overlap::Skip { 2 } else { 0 });
    }
}

#[test]
fn what_waits_for_a_job_goes_on_when_that_ended_while_nobody_was_there() {
    let mut driver = driver();
    let schedule = Schedule { overlap: Overlap::Queue, ..minutely("a") };
    define(&mut driver, schedule.clone());
    pass(&mut driver, 60_000);
    pass(&mut driver, 60_000);
    // The end is written, and what it frees is of the same step.
    let token = *driver.live.keys().next().unwrap();
    driver.end(token, Outcome::Done { output: Output::None, follow_ups: Vec::new() });
    driver.seal();
    driver.finish_writes();
    restart(&mut driver, 1);
    assert_eq!(BTreeSet::from_iter(started(&driver)), BTreeSet::from_iter(minutes(&schedule, [0, 1])));
}

#[test]
fn two_schedules_may_wait_for_the_same_job() {
    let mut driver = driver();
    for name in ["a", "b"] {
        define(&mut driver, Schedule { overlap: Overlap::Queue, ..minutely(name) });
        ask(&mut driver, ScheduleCommand::RunNow { name: Name::from(name), id: id(9) }).unwrap();
        if name == "a" {
            end_all(&mut driver);
        }
    }
    pass(&mut driver, 60_000);
    assert_eq!(started(&driver).len(), 2, "both instants wait");
    end_all(&mut driver);
    assert_eq!(started(&driver).len(), 4);
}

#[test]
fn so_many_instants_wait_and_no_more() {
    let mut driver = driver();
    define(&mut driver, Schedule { overlap: Overlap::Queue, ..minutely("a") });
    for _ in 0..Schedule::HELD_MAX + 4 {
        pass(&mut driver, 60_000);
    }
    let schedule = one(&mut driver, "a").schedule;
    assert_eq!((schedule.held.len(), schedule.overlapped), (Schedule::HELD_MAX, 3));
}

#[test]
fn a_paused_schedule_leaves_out_what_passes() {
    let mut driver = driver();
    let schedule = Schedule { catch_up: CatchUp::All { max: 9 }, ..minutely("a") };
    define(&mut driver, schedule.clone());
    pause(&mut driver, "a", true);
    assert_eq!(one(&mut driver, "a").next, None);
    pass(&mut driver, 150_000);
    restart(&mut driver, 1);
    assert!(one(&mut driver, "a").schedule.is_paused, "through a restart, too");
    pause(&mut driver, "a", false);
    assert_eq!(started(&driver), []);
    pass(&mut driver, 60_000);
    assert_eq!(started(&driver), minutes(&schedule, [3]));
}

#[test]
fn one_that_is_run_now_has_a_job_beside_its_instants() {
    let mut driver = driver();
    let schedule = Schedule { overlap: Overlap::Skip, ..minutely("a") };
    define(&mut driver, schedule.clone());
    pause(&mut driver, "a", true);
    let run = |driver: &mut Driver, n| ask(driver, ScheduleCommand::RunNow { name: Name::from("a"), id: id(n) });
    run(&mut driver, 5).unwrap();
    run(&mut driver, 5).unwrap();
    assert_eq!(started(&driver), [id(5)], "the same id twice is the same run");
    pause(&mut driver, "a", false);
    pass(&mut driver, 60_000);
    assert_eq!(started(&driver), [id(5)], "the instant is left out while that job lives");
    end_all(&mut driver);
    pass(&mut driver, 60_000);
    assert_eq!(started(&driver), [vec![id(5)], minutes(&schedule, [1])].concat());
}

#[test]
fn an_instant_that_is_over_has_the_job_that_it_would_have_had_and_none_twice() {
    let mut driver = driver();
    let schedule = minutely("a");
    define(&mut driver, schedule.clone());
    pause(&mut driver, "a", true);
    pass(&mut driver, 180_000);
    let minute = |n: u64| Timestamp(START.next_multiple_of(60_000) + n * 60_000);
    let run = |driver: &mut Driver, at| ask(driver, ScheduleCommand::RunAt { name: Name::from("a"), at });
    assert_eq!(minutes(&schedule, [2]), [schedule.id_at(minute(2))]);
    let is_fresh = |answer| match answer {
        Ok(Answer::Enqueued(receipts)) => {
            receipts.iter().map(|receipt| (receipt.id, receipt.fresh)).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(is_fresh(run(&mut driver, minute(2))), [(schedule.id_at(minute(2)), true)]);
    assert_eq!(is_fresh(run(&mut driver, minute(2))), [(schedule.id_at(minute(2)), false)]);
    restart(&mut driver, 1);
    // An earlier one is not what the schedule ran last.
    run(&mut driver, minute(1)).unwrap();
    assert_eq!(one(&mut driver, "a").schedule.last, Some((minute(2), schedule.id_at(minute(2)))));
    let Some(Record::Job(job)) = driver.journal.0.get(&Key::Job(schedule.id_at(minute(1)))) else { panic!() };
    assert_eq!(job.body.labels.instant(), Some(&InstantOf { schedule: Name::from("a"), at: minute(1) }));
    for (at, what) in [(minute(9), "still to come"), (Timestamp(minute(1).0 + 1), "none of its instants")] {
        assert_eq!(run(&mut driver, at), Err(Refusal::NoInstant { name: Name::from("a"), at, is: what }));
    }
}

#[test]
fn a_new_definition_goes_on_where_it_was_if_its_rule_is_the_same() {
    let mut driver = driver();
    define(&mut driver, minutely("a"));
    pass(&mut driver, 60_000);
    let before = one(&mut driver, "a");
    driver.advance(1_000);
    let same = define(&mut driver, Schedule { jitter_ms: 5, ..minutely("a") });
    assert_eq!((same.schedule.cursor, same.next), (before.schedule.cursor, before.next));
    assert_eq!((same.schedule.fired, same.schedule.last), (1, before.schedule.last));
    let rule = Rule::Every { period_ms: 1_000_000_000 };
    let other = define(&mut driver, Schedule { rule, ..minutely("a") });
    assert_eq!((other.schedule.cursor, other.next), (driver.now.wall, Some(Timestamp(2_000_000_000))));
}

#[test]
fn the_code_s_word_counts_at_a_start_and_not_at_a_rebuild() {
    let mut settings = settings(Level::Durable);
    let of_code = |name| Schedule { origin: Origin::Code, ..minutely(name) };
    settings.schedules = ["a", "b"].map(|name| (Name::from(name), of_code(name))).into();
    let mut driver = start(settings);
    let rule = Rule::Every { period_ms: 5_000 };
    define(&mut driver, Schedule { rule: rule.clone(), ..minutely("a") });
    pause(&mut driver, "b", true);
    assert_eq!(driver.load(), [], "a rebuild");
    driver.settle();
    assert_eq!(one(&mut driver, "a").schedule.rule, rule);
    restart(&mut driver, 1);
    let a = one(&mut driver, "a");
    assert_eq!((a.schedule.rule, a.schedule.origin), (of_code("a").rule, Origin::Code));
    driver.settings.schedules.remove(&Name::from("b"));
    restart(&mut driver, 1);
    let b = one(&mut driver, "b");
    assert!(b.is_orphan && b.schedule.is_paused && !one(&mut driver, "a").is_orphan);
    let Ok(Answer::Schedules(orphans)) = ask(&mut driver, ScheduleCommand::Orphans) else { panic!() };
    assert_eq!(orphans, [b]);
    ask(&mut driver, ScheduleCommand::Remove(Name::from("b"))).unwrap();
    restart(&mut driver, 1);
    let gone = ask(&mut driver, ScheduleCommand::One(Name::from("b")));
    assert_eq!(gone, Err(Refusal::NoSchedule { name: Name::from("b") }));
}

#[test]
fn a_clock_that_goes_back_brings_no_instant_twice_and_one_that_was_wrong_is_forgotten() {
    let mut driver = driver();
    let schedule = minutely("a");
    define(&mut driver, schedule.clone());
    pass(&mut driver, 60_000);
    end_all(&mut driver);
    driver.set_wall(START);
    driver.handle(Command::Rearm);
    driver.settle();
    pass(&mut driver, 60_000);
    assert_eq!(started(&driver), minutes(&schedule, [0]));
    driver.set_wall(START + 40 * 365 * Schedule::AHEAD_MS_MAX);
    driver.handle(Command::Rearm);
    driver.settle();
    fire(&mut driver);
    let far = one(&mut driver, "a").schedule.fired;
    driver.set_wall(START + 600_000);
    driver.handle(Command::Rearm);
    driver.settle();
    pass(&mut driver, 60_000);
    assert_eq!(one(&mut driver, "a").schedule.fired, far + 1, "it goes by the clock again");
}

#[test]
fn what_fires_at_once_comes_in_bounded_steps() {
    let mut settings = settings(Level::Durable);
    let name = |n: u32| Name::from(format!("s{n}").as_str());
    settings.schedules = (0..2_000).map(|n| (name(n), Schedule { name: name(n), ..minutely("") })).collect();
    let mut driver = start(settings);
    driver.advance(60_000);
    let mut steps = 0;
    while let Some((queue, class)) = driver.fired().first().copied() {
        driver.due(queue, class);
        driver.seal();
        let jobs = driver.sealed.back().unwrap().changes.iter();
        let jobs = jobs.filter(|change| matches!(change, Change::Put(Record::Job(_)))).count();
        assert!(jobs <= 250, "{jobs} in one wave");
        steps += 1;
        driver.settle();
    }
    assert_eq!(steps, 8);
    let enqueued: BTreeMap<_, _> = driver.shard.portrait().counters;
    assert_eq!(enqueued[&Name::from("mail")].1.enqueued, 2_000);
}

#[test]
fn a_job_that_memory_alone_knows_is_neither_lost_nor_doubled_when_the_journal_fails() {
    for is_written in [false, true] {
        let mut driver = start(settings(Level::Memory));
        let schedule = minutely("a");
        define(&mut driver, schedule.clone());
        driver.advance(60_000);
        driver.due(MAIL, TimerClass::Schedule);
        driver.seal();
        if is_written {
            driver.finish_writes();
        }
        assert_eq!(driver.load(), [], "a rebuild");
        driver.settle();
        fire(&mut driver);
        let portrait = driver.shard.portrait();
        let jobs: Vec<_> = portrait.jobs.keys().copied().collect();
        assert_eq!((jobs, started(&driver)), (minutes(&schedule, [0]), minutes(&schedule, [0])));
    }
}

#[test]
fn a_job_is_late_by_its_jitter_and_by_the_same_each_time() {
    let schedule = Schedule { jitter_ms: 10_000, ..minutely("a") };
    let due = |n: u64| {
        let instant = Timestamp(60_000 * n);
        let job = schedule.job_at(instant);
        assert_eq!(job, schedule.job_at(instant));
        let Some(windlass_scheduler::job::When::At(due)) = job.due else { return 0 };
        due.since_ms(instant)
    };
    let all: BTreeSet<_> = (1..1_000).map(due).collect();
    assert!(all.iter().all(|ms| *ms <= 10_000) && all.len() > 900, "{} different ones", all.len());
    let ids: BTreeSet<_> = (1..1_000).map(|n| minutely("b").id_at(Timestamp(n))).collect();
    assert_eq!(ids.len(), 999);
    assert_eq!(
        minutely("a").id_at(Timestamp(7)).to_string(),
        "00000000-0007-7779-a85a-bcc446077984",
        "it stands in journals"
    );
}

#[test]
fn while_it_drains_nothing_fires() {
    let mut driver = driver();
    define(&mut driver, minutely("a"));
    driver.handle(Command::Drain);
    driver.settle();
    driver.advance(60_000);
    driver.due(MAIL, TimerClass::Schedule);
    driver.settle();
    assert_eq!((started(&driver), driver.fired()), (Vec::new(), Vec::new()));
    for command in
        [ScheduleCommand::Define(Box::new(minutely("b"))), ScheduleCommand::RunNow { name: Name::from("a"), id: id(1) }]
    {
        assert_eq!(ask(&mut driver, command), Err(Refusal::Stopping));
    }
}

#[test]
fn what_nobody_could_run_is_refused() {
    let mut driver = driver();
    let mut nowhere = minutely("a");
    nowhere.template.queue = Name::from("nowhere");
    let refused = ask(&mut driver, ScheduleCommand::Define(Box::new(nowhere)));
    assert_eq!(refused, Err(Refusal::NoQueue { queue: Name::from("nowhere") }));
    let mut nobody = minutely("a");
    nobody.template.kind = Name::from("nobody");
    let refused = ask(&mut driver, ScheduleCommand::Define(Box::new(nobody)));
    assert_eq!(refused, Err(Refusal::NoHandler { kind: Name::from("nobody") }));
    for command in [
        ScheduleCommand::Remove(Name::from("x")),
        ScheduleCommand::Pause { name: Name::from("x"), paused: true },
        ScheduleCommand::RunNow { name: Name::from("x"), id: id(1) },
    ] {
        assert_eq!(ask(&mut driver, command), Err(Refusal::NoSchedule { name: Name::from("x") }));
    }
}
