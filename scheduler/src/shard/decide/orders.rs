//! Orders: placed, carried out a step at a time, called off.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::super::outbox::Mark;
use super::super::state::State;
use super::{Decision, steer};
use crate::command::Request;
use crate::effect::Answer;
use crate::event::Event;
use crate::job::JobId;
use crate::order::{Order, OrderEnd, OrderId, OrderPlace};
use crate::refusal::Refusal;
use crate::settings::Level;
use crate::time::Now;
use crate::verb::{Read, Verb};

/// What is remembered of orders is journaled, whatever queues they are about.
const LEVEL: Level = Level::Durable;

/// Places an order. The same id twice is the same order.
pub(crate) fn place(state: &State, request: Request, mut order: Order, now: Now) -> Result<Decision, Refusal> {
    if let Some(same) = state.orders.get(&order.id) {
        let answer = Answer::Orders(alloc::vec![same.clone()]);
        return Ok(Decision::default().reply(Mark::from(LEVEL), request, Ok(answer)));
    }
    if state.draining {
        return Err(Refusal::Stopping);
    }
    if let Verb::Move(queue) = &order.verb
        && !state.queue_no(queue).is_some_and(|no| state.queue(no).is_configured)
    {
        return Err(Refusal::NoQueue { queue: queue.clone() });
    }
    let open = state.orders.values().filter(|order| order.ended.is_none()).count();
    if open >= Order::OPEN_MAX {
        return Err(Refusal::TooManyOrders { orders_max: Order::OPEN_MAX });
    }
    order.placed = now.wall;
    let answer = Answer::Orders(alloc::vec![order.clone()]);
    let mut decision = Decision::default().event(Event::OrderMoved(Box::new(order)));
    forget_old(state, &mut decision);
    Ok(decision.reply(Mark::from(LEVEL), request, Ok(answer)))
}

/// The oldest of those that ended make room.
fn forget_old(state: &State, decision: &mut Decision) {
    let ended = state.orders.values().filter_map(|order| Some((order.ended?.0, order.id)));
    let mut ended: Vec<_> = ended.collect();
    ended.sort_unstable();
    let too_many = (ended.len() + 1).saturating_sub(Order::ENDED_MAX);
    decision.events.extend(ended.into_iter().take(too_many).map(|(_, id)| Event::OrderForgotten(id)));
}

/// The order, if there is still something to do for it.
pub(crate) fn open(state: &State, id: OrderId) -> Result<&Order, Refusal> {
    let order = state.orders.get(&id).ok_or(Refusal::NoOrder { id })?;
    match order.ended {
        None if state.draining => Err(Refusal::Stopping),
        None => Ok(order),
        Some((_, end)) => Err(Refusal::OrderEnded { id, end }),
    }
}

/// What an order's verb does to one of its jobs.
pub(crate) enum Met {
    /// This.
    Changed(Decision),
    /// Nothing: the job is so already, or does not allow it any more.
    Skipped,
    /// Nothing yet: its queue is full.
    HeldUp(Refusal),
}

pub(crate) fn meet(state: &State, verb: &Verb, id: JobId, read: Read, now: Now) -> Met {
    match steer::steer(state, id, verb, read, now) {
        Ok(steered) if steered.decision.events.is_empty() && steered.decision.effects.is_empty() => Met::Skipped,
        Ok(steered) => Met::Changed(steered.decision),
        Err(refusal @ Refusal::QueueFull { .. }) => Met::HeldUp(refusal),
        Err(_) => Met::Skipped,
    }
}

/// How far a step came.
#[derive(Debug)]
pub(crate) struct Come {
    pub(crate) place: OrderPlace,
    pub(crate) met: usize,
    pub(crate) changed: u64,
    pub(crate) held_up: Option<Refusal>,
}

/// The order, after a step that came so far.
pub(crate) fn after_step(order: &Order, come: &Come, is_last: bool, now: Now) -> Order {
    Order {
        place: come.place.clone(),
        changed: order.changed + come.changed,
        skipped: order.skipped + come.met as u64 - come.changed,
        ended: (is_last && come.held_up.is_none()).then_some((now.wall, OrderEnd::Finished)),
        ..order.clone()
    }
}

/// Calls an order off.
pub(crate) fn cancel(state: &State, request: Request, id: OrderId, now: Now) -> Result<Decision, Refusal> {
    let order = state.orders.get(&id).ok_or(Refusal::NoOrder { id })?;
    if let Some((_, end)) = order.ended {
        return Err(Refusal::OrderEnded { id, end });
    }
    let order = Order { ended: Some((now.wall, OrderEnd::Cancelled)), ..order.clone() };
    let answer = Answer::Orders(alloc::vec![order.clone()]);
    let decision = Decision::default().event(Event::OrderMoved(Box::new(order)));
    Ok(decision.reply(Mark::from(LEVEL), request, Ok(answer)))
}

/// All orders that are remembered, in the order in which they were placed.
pub(crate) fn all(state: &State, request: Request) -> Decision {
    let mut orders: Vec<_> = state.orders.values().cloned().collect();
    orders.sort_by_key(|order| (order.placed, order.id));
    Decision::default().reply(Mark::Sealed, request, Ok(Answer::Orders(orders)))
}
