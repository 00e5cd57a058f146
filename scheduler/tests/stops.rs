//! Asking attempts to end, while the disk stands still.
//!
//! Guards I2: a stop leaves when the start that it follows has left, and a cancel when it is recorded.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use windlass_scheduler::command::{Command, QueueNo, Request, Submit, TimerClass};
use windlass_scheduler::effect::Effect;
use windlass_scheduler::job::Name;
use windlass_scheduler::lease::StopReason;
use windlass_scheduler::settings::{QueueSettings, ShardSettings};
use windlass_scheduler::time::{Mono, Now, Timestamp};
use windlass_scheduler::verb::Verb;

use self::common::{Driver, bare, id};

const QUEUE: QueueNo = QueueNo(0);

/// One job was handed in, and nothing of it is written.
fn driver() -> Driver {
    let queue = QueueSettings { slots: 1, timeout_ms: Some(1_000), ..QueueSettings::new(Name::from("mail")) };
    let settings = ShardSettings::new(1, 7, vec![queue], vec!["work".into()]);
    let mut driver = Driver::new(settings, Now { mono: Mono(0), wall: Timestamp(1_000_000) });
    driver.handle(Command::Slots { queue: QUEUE, slots: 1 });
    let job = bare(1, "mail");
    driver.handle(Command::Submit(Submit { request: Request(1), watch: None, jobs: vec![job], flow: None }));
    driver.seal();
    driver
}

fn stops(driver: &mut Driver) -> Vec<StopReason> {
    let effects = driver.effects.drain(..);
    effects.filter_map(|effect| if let Effect::Stop { reason, .. } = effect { Some(reason) } else { None }).collect()
}

fn time_out(driver: &mut Driver) -> Vec<StopReason> {
    driver.advance(1_000);
    driver.due(QUEUE, TimerClass::Lease);
    driver.seal();
    stops(driver)
}

#[test]
fn an_attempt_whose_time_is_over_is_asked_to_end_though_nothing_more_is_written() {
    let mut driver = driver();
    driver.settle();
    assert_eq!(time_out(&mut driver), [StopReason::TimedOut]);
    driver.handle(Command::StopAttempts);
    driver.seal();
    assert_eq!(stops(&mut driver), [StopReason::Stopping]);
}

#[test]
fn a_stop_does_not_overtake_the_start_that_waits_for_the_disk() {
    let mut driver = driver();
    assert_eq!(time_out(&mut driver), []);
    driver.settle();
    let order = driver.effects.iter().filter(|effect| matches!(effect, Effect::Run { .. } | Effect::Stop { .. }));
    let order: Vec<bool> = order.map(|effect| matches!(effect, Effect::Run { .. })).collect();
    assert_eq!(order, [true, false], "the start, then the stop");
}

#[test]
fn a_cancel_asks_an_attempt_to_end_once_it_is_recorded() {
    let mut driver = driver();
    driver.settle();
    driver.effects.clear();
    driver.handle(Command::Steer { request: Request(2), id: id(1), verb: Verb::Cancel, read: None });
    driver.seal();
    assert_eq!(stops(&mut driver), []);
    driver.settle();
    assert_eq!(stops(&mut driver), [StopReason::Cancelled]);
}
