//! A driver with a queue, and schedules that fire each minute.

use std::sync::Arc;

use windlass_scheduler::attempt::{Outcome, Output};
use windlass_scheduler::command::{Command, QueueNo, Request};
use windlass_scheduler::effect::{Answer, Effect};
use windlass_scheduler::job::{Body, JobId, Name};
use windlass_scheduler::recurrence::{
    Calendar, CatchUp, Origin, Overlap, Rule, Schedule, ScheduleCommand, ScheduleView, SharedCalendar, Template,
};
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::settings::{Level, QueueSettings, ShardSettings};
use windlass_scheduler::time::{Mono, Now, Timestamp};

use super::common::Driver;

pub(crate) const MAIL: QueueNo = QueueNo(0);
pub(crate) const START: u64 = 1_000_000_000;

/// A calendar that one can see through: its only pattern is a number of seconds.
#[derive(Debug)]
struct Seconds;

impl Calendar for Seconds {
    fn next(&self, pattern: &str, _: &str, after: Timestamp) -> Option<Timestamp> {
        Rule::multiple_after(pattern.parse::<u64>().ok()? * 1_000, after)
    }

    fn last(&self, pattern: &str, _: &str, until: Timestamp) -> Option<Timestamp> {
        Some(Timestamp(until.0 - until.0 % (pattern.parse::<u64>().ok()? * 1_000)))
    }
}

pub(crate) fn settings(level: Level) -> ShardSettings {
    let mut mail = QueueSettings::new(Name::from("mail"));
    // What has ended is forgotten at once: no id tells any more that an instant had its job.
    (mail.level, mail.slots, mail.retention.done.count_max) = (level, 200, 0);
    let mut settings = ShardSettings::new(1, 7, vec![mail], vec!["work".into()]);
    settings.first_term = 2;
    settings.calendar = SharedCalendar(Arc::new(Seconds));
    settings
}

pub(crate) fn start(settings: ShardSettings) -> Driver {
    let mut driver = Driver::new(settings, Now { mono: Mono(0), wall: Timestamp(START) });
    driver.settle();
    driver
}

pub(crate) fn driver() -> Driver {
    start(settings(Level::Durable))
}

pub(crate) fn minutely(name: &str) -> Schedule {
    Schedule {
        name: Name::from(name),
        rule: Rule::Every { period_ms: 60_000 },
        template: Template {
            queue: Name::from("mail"),
            kind: Name::from("work"),
            priority: None,
            expires_ms: None,
            deadline_ms: None,
            timeout_ms: None,
            retry: None,
            body: Arc::new(Body::default()),
        },
        catch_up: CatchUp::Latest,
        overlap: Overlap::Allow,
        jitter_ms: 0,
        origin: Origin::Runtime,
        is_paused: false,
        cursor: Timestamp(0),
        last: None,
        held: Vec::new(),
        fired: 0,
        overlapped: 0,
    }
}

pub(crate) fn ask(driver: &mut Driver, command: ScheduleCommand) -> Result<Answer, Refusal> {
    driver.handle(Command::Schedule { request: Request(1), command });
    driver.settle();
    let answer = driver.effects.drain(..).find_map(|effect| match effect {
        Effect::Reply { request: Request(1), answer } => Some(answer),
        _ => None,
    });
    answer.unwrap()
}

pub(crate) fn define(driver: &mut Driver, schedule: Schedule) -> ScheduleView {
    let Ok(Answer::Schedules(mut views)) = ask(driver, ScheduleCommand::Define(Box::new(schedule))) else { panic!() };
    views.remove(0)
}

pub(crate) fn one(driver: &mut Driver, name: &str) -> ScheduleView {
    let Ok(Answer::Schedules(mut views)) = ask(driver, ScheduleCommand::One(Name::from(name))) else { panic!() };
    views.remove(0)
}

pub(crate) fn pause(driver: &mut Driver, name: &str, paused: bool) {
    ask(driver, ScheduleCommand::Pause { name: Name::from(name), paused }).unwrap();
}

/// Time passes, and the timers fire that have to.
pub(crate) fn pass(driver: &mut Driver, ms: u64) {
    driver.advance(ms);
    fire(driver);
}

pub(crate) fn fire(driver: &mut Driver) {
    while let Some((queue, class)) = driver.fired().first().copied() {
        driver.due(queue, class);
        driver.settle();
    }
}

/// All jobs that ever started, in that order.
pub(crate) fn started(driver: &Driver) -> Vec<JobId> {
    driver.tokens.iter().map(|(_, id, _)| *id).collect()
}

pub(crate) fn minutes(schedule: &Schedule, numbers: impl IntoIterator<Item = u64>) -> Vec<JobId> {
    let first = START.next_multiple_of(60_000);
    numbers.into_iter().map(|n| schedule.id_at(Timestamp(first + n * 60_000))).collect()
}

pub(crate) fn end_all(driver: &mut Driver) {
    for token in driver.live.keys().copied().collect::<Vec<_>>() {
        driver.end(token, Outcome::Done { output: Output::None, follow_ups: Vec::new() });
    }
    driver.settle();
}

/// The process dies with what was sealed unwritten, and another one starts so much later.
pub(crate) fn restart(driver: &mut Driver, later_ms: u64) {
    driver.crash(None);
    driver.advance(later_ms);
    assert_eq!(driver.load(), []);
    driver.settle();
    fire(driver);
}
