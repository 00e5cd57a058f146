//! Orders and lists, where their limits are: one commit a step, bounded walks, and nothing that grows for ever.
//!
//! Guards I6 (orders that are open, and that are remembered, have a limit) and I1 (an order comes back as it stood).
#![allow(clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::cast_possible_truncation)]

mod common;

use std::sync::Arc;

use windlass_scheduler::change::{Change, Key, Record};
use windlass_scheduler::command::{Command, Request, Submit};
use windlass_scheduler::effect::{Answer, Effect};
use windlass_scheduler::filter::Filter;
use windlass_scheduler::job::{Body, JobId, Labels, Name, NewJob, Priority};
use windlass_scheduler::order::{Order, OrderCommand, OrderEnd, OrderId, OrderPlace, OrderStep};
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::settings::{QueueSettings, ShardSettings};
use windlass_scheduler::state::State;
use windlass_scheduler::time::{Mono, Now, Timestamp};
use windlass_scheduler::verb::Verb;
use windlass_scheduler::view::Page;

use self::common::{Driver, bare, id};

fn driver(depth_max: u64) -> Driver {
    let queue = |name: &str| {
        let mut queue = QueueSettings::new(Name::from(name));
        (queue.slots, queue.depth_max) = (0, depth_max);
        queue
    };
    let settings = ShardSettings::new(1, 7, vec![queue("mail"), queue("bulk")], vec!["work".into()]);
    Driver::new(settings, Now { mono: Mono(0), wall: Timestamp(1_000_000) })
}

fn job(n: u64, tag: &str) -> NewJob {
    NewJob {
        body: Arc::new(Body { labels: Labels::tagged(vec![tag.to_owned()]), ..Body::default() }),
        ..bare(n, "mail")
    }
}

fn enqueue(driver: &mut Driver, jobs: impl Iterator<Item = NewJob>) {
    let submit = Submit { request: Request(0), watch: None, jobs: jobs.collect(), flow: None };
    driver.handle(Command::Submit(submit));
    driver.settle();
    driver.effects.clear();
}

fn ask(driver: &mut Driver, command: OrderCommand) -> Result<Answer, Refusal> {
    driver.handle(Command::Order { request: Request(1), command });
    driver.settle();
    let answer = driver.effects.drain(..).find_map(|effect| match effect {
        Effect::Reply { request: Request(1), answer } => Some(answer),
        _ => None,
    });
    answer.unwrap()
}

fn order_id(n: u64) -> OrderId {
    OrderId(id(n).0)
}

fn place(driver: &mut Driver, n: u64, verb: Verb) -> Result<Answer, Refusal> {
    ask(driver, OrderCommand::Place(Box::new(Order::new(order_id(n), verb, Filter::default(), None))))
}

fn step(n: u64, ids: impl IntoIterator<Item = JobId>, is_last: bool) -> OrderCommand {
    let jobs = ids.into_iter().map(|id| (id, None, OrderPlace::Live)).collect();
    OrderCommand::Step(Box::new(OrderStep { id: order_id(n), jobs, place: OrderPlace::Live, is_last }))
}

#[test]
fn what_a_step_does_and_how_far_it_came_are_one_wave() {
    let mut driver = driver(10);
    enqueue(&mut driver, (1..=3).map(|n| job(n, "a")));
    place(&mut driver, 1, Verb::Cancel).unwrap();
    driver.handle(Command::Order { request: Request(1), command: step(1, [id(1), id(2), id(9)], true) });
    assert!(driver.seal());
    let wave = driver.sealed.back().unwrap();
    let ended = wave.changes.iter().filter(|one| matches!(one, Change::Put(Record::Ended(_)))).count();
    let orders = wave.changes.iter().filter_map(|one| match one {
        Change::Put(Record::Order(order)) => Some((order.changed, order.skipped, order.ended.is_some())),
        _ => None,
    });
    assert_eq!((ended, orders.collect::<Vec<_>>()), (2, vec![(2, 1, true)]));
}

#[test]
fn a_full_queue_holds_an_order_up_and_nothing_is_skipped() {
    let mut driver = driver(3);
    enqueue(&mut driver, (1..=3).map(|n| job(n, "a")));
    enqueue(&mut driver, (4..=5).map(|n| NewJob { queue: Name::from("bulk"), ..job(n, "a") }));
    place(&mut driver, 1, Verb::move_to("bulk")).unwrap();
    let Ok(Answer::OrderProgress(come)) = ask(&mut driver, step(1, [id(1), id(2), id(3)], true)) else { panic!() };
    assert_eq!((come.met, come.order.changed, come.order.ended), (1, 1, None));
    assert!(matches!(come.held_up, Some(Refusal::QueueFull { depth: 3, depth_max: 3, .. })), "{come:?}");
}

#[test]
fn so_many_orders_may_be_open_and_no_more() {
    let mut driver = driver(10);
    for n in 0..Order::OPEN_MAX as u64 {
        place(&mut driver, n, Verb::Cancel).unwrap();
    }
    let refused = place(&mut driver, 99, Verb::Cancel);
    assert_eq!(refused, Err(Refusal::TooManyOrders { orders_max: Order::OPEN_MAX }));
    place(&mut driver, 3, Verb::Cancel).expect("one that is there already is no new one");
    ask(&mut driver, OrderCommand::Cancel(order_id(3))).unwrap();
    place(&mut driver, 99, Verb::Cancel).unwrap();
    let again = ask(&mut driver, OrderCommand::Cancel(order_id(3)));
    assert_eq!(again, Err(Refusal::OrderEnded { id: order_id(3), end: OrderEnd::Cancelled }));
    let nowhere = place(&mut driver, 100, Verb::move_to("nowhere"));
    assert_eq!(nowhere, Err(Refusal::NoQueue { queue: Name::from("nowhere") }));
}

#[test]
fn of_the_orders_that_ended_the_latest_are_remembered() {
    let mut driver = driver(10);
    for n in 0..Order::ENDED_MAX as u64 + 5 {
        driver.advance(1);
        place(&mut driver, n, Verb::Cancel).unwrap();
        ask(&mut driver, step(n, [], true)).unwrap();
    }
    let Ok(Answer::Orders(orders)) = ask(&mut driver, OrderCommand::All) else { panic!() };
    let ids: Vec<_> = orders.iter().map(|order| order.id).collect();
    assert_eq!(ids, (5..Order::ENDED_MAX as u64 + 5).map(order_id).collect::<Vec<_>>());
    let stored = driver.journal.0.keys().filter(|key| matches!(key, Key::Order(_))).count();
    assert_eq!(stored, Order::ENDED_MAX);
}

fn list(driver: &mut Driver, filter: &Filter, from: u32, limit: usize, scan_max: usize) -> Page {
    let filter = Box::new(filter.clone());
    driver.handle(Command::List { request: Request(2), filter, from, limit, scan_max });
    driver.settle();
    let page = driver.effects.drain(..).find_map(|effect| match effect {
        Effect::Reply { request: Request(2), answer: Ok(Answer::Page(page)) } => Some(page),
        _ => None,
    });
    page.unwrap()
}

#[test]
fn a_list_goes_on_where_it_stopped_while_jobs_move() {
    let mut driver = driver(5_000);
    enqueue(&mut driver, (0..3_000).map(|n| job(n, if n % 3 == 0 { "red" } else { "blue" })));
    let filter = Filter { tag: Some("red".to_owned()), states: vec![State::Ready], ..Filter::default() };
    let (mut seen, mut from) = (Vec::new(), 0);
    loop {
        let page = list(&mut driver, &filter, from, 100, 250);
        assert!(page.jobs.len() <= 84, "250 places hold 84 red jobs at most, not {}", page.jobs.len());
        seen.extend(page.jobs.iter().map(|(view, _)| view.id));
        // Every move that leaves a job in the list, on jobs before and behind the place.
        for n in [0, 3, 600, 2_997] {
            let verb = Verb::Reprioritise(Priority((seen.len() % 200) as u8));
            driver.handle(Command::Steer { request: Request(3), id: id(n), verb, read: None });
        }
        driver.settle();
        driver.effects.clear();
        let Some(next) = page.next else { break };
        from = next;
    }
    let before = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((seen.len(), before), (1_000, 1_000));
}
