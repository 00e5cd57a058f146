//! Jobs that come back, with the engine around them: on time, once each, through restarts, as the code and the operator say.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use windlass::{
    CatchUp, ConfigError, ControlError, Draft, Engine, EngineBuilder, HOUR, MIN, MemoryJournal, Overlap, Priority,
    Refusal, SEC, Schedule, ScheduleError, StartError, new_job_id,
};
use windlass_tests::script::{Play, step};
use windlass_tests::world::{Life, World, builder, wall, work};

async fn start(life: &Life, schedules: impl IntoIterator<Item = Schedule>) -> Engine {
    let builder = life.builder().queue(work());
    schedules.into_iter().fold(builder, EngineBuilder::schedule).start().await.unwrap()
}

/// Time passes, by a job that waits for it: nothing else says so to everybody.
async fn pass(engine: &Engine, time: Duration) {
    engine.enqueue(step("time")).delay(time).and_wait().await.unwrap();
}

fn minutely(name: &str) -> Schedule {
    Schedule::every(name, MIN, &step(name))
}

#[test]
fn each_instant_has_its_job_on_time_and_once() {
    World::new().life(async |life| {
        let engine = start(life, [minutely("a"), Schedule::cron("b", "*/5 * * * *", &step("b"))]).await;
        pass(&engine, HOUR + SEC * 30).await;
        assert_eq!((life.script.starts("a").len(), life.script.starts("b").len()), (60, 12));
        let gaps = life.script.starts("a").windows(2).map(|two| two[1] - two[0]).collect::<Vec<_>>();
        assert!(gaps.iter().all(|gap| (SEC * 59..SEC * 61).contains(gap)), "{gaps:?}");
        let status = engine.schedule("a").await.unwrap();
        assert_eq!((status.fired, status.overlapped, status.is_of_code, status.is_orphan), (60, 0, true, false));
        let (at, id) = status.last.unwrap();
        assert_eq!(engine.job(id).await.unwrap().kind, "step");
        assert!(at <= wall(HOUR + MIN) && status.next.unwrap() > at);
    });
}

#[test]
fn through_restarts_each_instant_still_has_one_job() {
    let mut world = World::new();
    for _ in 0..20 {
        world.life(async |life| {
            let engine = start(life, [minutely("a").catch_up(CatchUp::All { max: 100 })]).await;
            pass(&engine, SEC * 130).await;
        });
        world.pass(SEC * 45);
    }
    world.life(async |life| {
        let engine = start(life, [minutely("a").catch_up(CatchUp::All { max: 100 })]).await;
        pass(&engine, SEC).await;
        let fired = engine.schedule("a").await.unwrap().fired;
        let stats = engine.stats().await.unwrap();
        assert_eq!((fired, stats[0].totals.enqueued), (58, 58 + 21), "20 times 175 s");
    });
}

#[test]
fn what_passed_while_nobody_ran_is_caught_up_with_as_it_says() {
    let mut world = World::new();
    let schedules = || {
        [
            minutely("skip").catch_up(CatchUp::Skip),
            minutely("latest"),
            minutely("all").catch_up(CatchUp::All { max: 7 }),
            Schedule::every("hourly", HOUR, &step("hourly")).catch_up(CatchUp::Skip),
        ]
    };
    world.life(async |life| pass(&start(life, schedules()).await, SEC).await);
    world.pass(MIN * 90);
    world.life(async |life| {
        let engine = start(life, schedules()).await;
        pass(&engine, SEC).await;
        let starts = ["skip", "latest", "all", "hourly"].map(|name| life.script.starts(name).len());
        assert_eq!(starts, [1, 1, 7, 0]);
    });
}

#[test]
fn one_that_overlaps_itself_stands_beside_or_is_left_out_or_waits() {
    World::new().life(async |life| {
        let overlap = |name, overlap| minutely(name).overlap(overlap);
        let schedules =
            [overlap("beside", Overlap::Allow), overlap("out", Overlap::Skip), overlap("waits", Overlap::Queue)];
        let engine = start(life, schedules).await;
        let names = ["beside", "out", "waits"];
        for name in names {
            life.script.plan(name, [Play::Hold]);
        }
        pass(&engine, MIN * 3 + SEC).await;
        assert_eq!(names.map(|name| life.script.starts(name).len()), [3, 1, 1]);
        for name in names {
            life.script.tell(name, Play::Succeed);
        }
        pass(&engine, SEC).await;
        assert_eq!(names.map(|name| life.script.starts(name).len()), [3, 1, 2]);
        life.script.tell("waits", Play::Succeed);
        pass(&engine, SEC).await;
        assert_eq!(names.map(|name| life.script.starts(name).len()), [3, 1, 3]);
        assert_eq!(engine.schedule("out").await.unwrap().overlapped, 2);
    });
}

#[test]
fn schedules_are_added_changed_paused_run_and_removed_at_run_time_and_remembered() {
    let mut world = World::new();
    world.life(async |life| {
        let engine = start(life, []).await;
        let status = engine.define_schedule(minutely("a").jitter(SEC * 5)).await.unwrap();
        assert_eq!((status.is_of_code, status.jitter, status.queue.as_str()), (false, SEC * 5, "work"));
        engine.define_schedule(minutely("b")).await.unwrap();
        assert!(engine.pause_schedule("b").await.unwrap().is_paused);
        let id = engine.run_schedule("b").await.unwrap();
        engine.handle::<windlass_tests::script::Step>(id).wait().await.unwrap();
        assert_eq!(life.script.starts("b").len(), 1);
    });
    world.life(async |life| {
        let engine = start(life, []).await;
        let names: Vec<_> =
            engine.schedules().await.unwrap().into_iter().map(|one| (one.name, one.is_paused)).collect();
        assert_eq!(names, [("a".to_owned(), false), ("b".to_owned(), true)]);
        pass(&engine, MIN * 2 + SEC * 10).await;
        assert_eq!((life.script.starts("a").len(), life.script.starts("b").len()), (2, 1));
        assert!(engine.resume_schedule("b").await.unwrap().next.is_some());
        engine.remove_schedule("a").await.unwrap();
        pass(&engine, MIN).await;
        assert_eq!((life.script.starts("a").len(), life.script.starts("b").len()), (2, 2));
        let gone = engine.schedule("a").await.unwrap_err();
        assert!(matches!(&gone, ControlError::Refused(Refusal::NoSchedule { name }) if name.as_str() == "a"), "{gone}");
    });
}

#[test]
fn one_that_the_code_has_no_more_goes_on_and_is_told_of() {
    let mut world = World::new();
    world.life(async |life| pass(&start(life, [minutely("gone"), minutely("stays")]).await, SEC).await);
    world.life(async |life| {
        let engine = start(life, [minutely("stays")]).await;
        pass(&engine, MIN + SEC).await;
        assert_eq!(life.script.starts("gone").len(), 1);
        assert!(engine.schedule("gone").await.unwrap().is_orphan && !engine.schedule("stays").await.unwrap().is_orphan);
    });
}

/// Leaves the schedule and the instant that it sees.
fn says_what_for() -> Play {
    Play::run(|cx| async move {
        let since_1970 = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        Ok(format!("{:?} {:?}", cx.schedule(), cx.scheduled_for().map(since_1970)))
    })
}

#[test]
fn a_job_sees_the_instant_that_it_is_there_for_however_late_it_runs() {
    let mut world = World::new();
    let hourly = || Schedule::cron("reports", "0 * * * *", &step("report")).catch_up(CatchUp::All { max: 2 });
    let first = world.life(async |life| {
        let engine = start(life, [hourly()]).await;
        engine.schedule("reports").await.unwrap().next.unwrap()
    });
    world.pass(HOUR * 2 + MIN * 20);
    world.life(async |life| {
        life.script.plan("report", [Play::Fail, Play::Fail, says_what_for(), says_what_for(), says_what_for()]);
        let engine = start(life, [hourly()]).await;
        pass(&engine, MIN * 5).await;
        let seen = async |id| {
            let job = engine.inspect(id).await.unwrap();
            (job.scheduled_for.unwrap(), String::from_utf8(job.output.unwrap().to_vec()).unwrap())
        };
        let (at, last) = engine.schedule("reports").await.unwrap().last.unwrap();
        assert_eq!(at, first + HOUR);
        let (of, said) = seen(last).await;
        assert_eq!((of.schedule.as_str(), of.instant), ("reports", first + HOUR));
        let since_1970 = (first + HOUR).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(said, format!(r#""Some(\"reports\") Some({since_1970})""#));
        // Beside its instants, it is there for the moment at which it was asked for; and no other job is for any.
        let by_hand = engine.run_schedule("reports").await.unwrap();
        pass(&engine, SEC).await;
        assert_eq!(seen(by_hand).await.0.instant, engine.job(by_hand).await.unwrap().created);
        let plain = engine.enqueue(step("report")).await.unwrap().id();
        pass(&engine, SEC).await;
        assert_eq!(engine.inspect(plain).await.unwrap().scheduled_for, None);
    });
}

#[test]
fn an_instant_that_was_missed_can_have_its_job_later_and_has_it_once() {
    let mut world = World::new();
    let nightly = || Schedule::cron("reports", "0 3 * * *", &step("report")).catch_up(CatchUp::Skip);
    world.life(async |life| drop(start(life, [nightly()]).await));
    world.pass(HOUR * 24 * 4);
    world.life(async |life| {
        let engine = start(life, [nightly()]).await;
        let next = engine.schedule("reports").await.unwrap().next.unwrap();
        let nights: Vec<_> = (1..=3).map(|night| next - HOUR * 24 * night).collect();
        let upcoming = nightly().upcoming(nights[2] - SEC, 3).unwrap();
        assert_eq!(upcoming.iter().map(|fire| fire.at).rev().collect::<Vec<_>>(), nights);
        for night in &nights {
            let id = engine.run_schedule_at("reports", *night).await.unwrap();
            assert_eq!(engine.run_schedule_at("reports", *night).await.unwrap(), id);
            pass(&engine, SEC).await;
            assert_eq!(engine.inspect(id).await.unwrap().scheduled_for.unwrap().instant, *night);
            assert_eq!(engine.run_schedule_at("reports", *night).await.unwrap(), id);
        }
        pass(&engine, SEC).await;
        assert_eq!(life.script.starts("report").len(), 3);
        let status = engine.schedule("reports").await.unwrap();
        assert_eq!((status.fired, status.next, status.last.unwrap().0), (3, Some(next), nights[0]));
        for (at, what) in [(next, "still to come"), (nights[0] + SEC, "none of its instants")] {
            let refused = engine.run_schedule_at("reports", at).await.unwrap_err();
            assert!(matches!(refused, ControlError::Refused(Refusal::NoInstant { is, .. }) if is == what), "{refused}");
        }
        let refused = engine.run_schedule_at("report", nights[0]).await.unwrap_err();
        assert!(matches!(refused, ControlError::Refused(Refusal::NoSchedule { .. })), "{refused}");
    });
}

#[test]
fn a_schedule_has_what_its_draft_says() {
    World::new().life(async |life| {
        let draft = Draft::new(&step("a")).priority(Priority::URGENT).tag("nightly").expires_in(SEC * 20);
        let engine = start(life, [Schedule::every("a", MIN, draft)]).await;
        life.script.plan("a", [Play::Hold]);
        pass(&engine, MIN).await;
        let (at, id) = engine.schedule("a").await.unwrap().last.unwrap();
        let job = engine.job(id).await.unwrap();
        assert_eq!(job.priority, Priority::URGENT);
        assert!(job.expires.unwrap() >= at + SEC * 20 && job.expires.unwrap() < at + SEC * 22);
        assert_eq!(engine.inspect(id).await.unwrap().tags, ["nightly"]);
    });
}

async fn refused(schedules: impl IntoIterator<Item = Schedule>) -> ScheduleError {
    let script = windlass_tests::script::Script::new();
    let builder = builder(&script, MemoryJournal::new()).queue(work());
    let builder = schedules.into_iter().fold(builder, EngineBuilder::schedule);
    match builder.start().await {
        Err(StartError::Config(ConfigError::Schedule(error))) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_schedule_that_cannot_be_is_refused_at_the_start_with_what_is_wrong() {
    let far = Draft::new(&step("a")).delay(SEC);
    let named = Draft::new(&step("a")).id(new_job_id());
    let dated = Draft::new(&step("a")).expires_at(SystemTime::UNIX_EPOCH + HOUR);
    let elsewhere = Draft::new(&step("a")).queue("nowhere");
    let errors = [
        (refused([minutely("a b")]).await, "`a b`"),
        (refused([minutely("a"), minutely("a")]).await, "twice"),
        (refused([Schedule::cron("a", "* * *", &step("a"))]).await, "`* * *`"),
        (refused([Schedule::cron("a", "0 0 * * *", &step("a")).zone("Moon")]).await, "`Moon`"),
        (refused([Schedule::cron("a", "0 0 30 2 *", &step("a"))]).await, "never comes"),
        (refused([Schedule::every("a", Duration::ZERO, &step("a"))]).await, "period in ms: 0 given"),
        (refused([minutely("a").jitter(HOUR * 25)]).await, "jitter in ms: 90000000 given"),
        (refused([minutely("a").catch_up(CatchUp::All { max: 0 })]).await, "missed instants"),
        (refused([Schedule::every("a", MIN, far)]).await, "delay"),
        (refused([Schedule::every("a", MIN, named)]).await, "id"),
        (refused([Schedule::every("a", MIN, dated)]).await, "expiry"),
        (refused([Schedule::every("a", MIN, elsewhere)]).await, "`nowhere`"),
    ];
    for (error, part) in errors {
        assert!(error.to_string().contains(part), "{error} should say {part}");
    }
}

#[test]
fn a_hundred_thousand_schedules_on_one_minute_fire_once_each() {
    World::new().life(async |life| {
        let engine = start(life, (0..100_000).map(|n| minutely(&format!("tenant-{n}")))).await;
        pass(&engine, MIN).await;
        // The job that waits for the minute is one more.
        while engine.stats().await.unwrap()[0].totals.done_total < 100_001 {
            tokio::task::yield_now().await;
        }
        assert_eq!(engine.stats().await.unwrap()[0].totals.enqueued, 100_001);
        assert!(engine.schedules().await.unwrap().iter().all(|schedule| schedule.fired == 1));
    });
}

#[test]
fn ids_of_instants_are_the_same_in_every_process_and_no_two_alike() {
    let mut ids = BTreeSet::new();
    for _ in 0..2 {
        World::new().life(async |life| {
            let engine = start(life, [minutely("a"), minutely("b")]).await;
            pass(&engine, MIN + SEC).await;
            for name in ["a", "b"] {
                ids.insert(engine.schedule(name).await.unwrap().last.unwrap().1);
            }
        });
    }
    assert_eq!(ids.len(), 2);
}
