//! The steps of orders: many jobs in one step of the shard, so that what was done and how far it came are one commit.

use alloc::boxed::Box;

use super::Shard;
use super::decide::Decision;
use super::decide::orders::{self, Come, Met};
use super::outbox::Mark;
use crate::command::Request;
use crate::effect::Answer;
use crate::event::Event;
use crate::order::{OrderCommand, OrderProgress, OrderStep};
use crate::time::Now;

impl Shard {
    pub(super) fn order(&mut self, request: Request, command: OrderCommand, now: Now) {
        let state = &self.state;
        match command {
            OrderCommand::Place(order) => self.answer(request, orders::place(state, request, *order, now)),
            OrderCommand::Step(step) => self.order_step(request, *step, now),
            OrderCommand::Cancel(id) => self.answer(request, orders::cancel(state, request, id, now)),
            OrderCommand::All => self.take(orders::all(state, request)),
        }
    }

    /// Does an order's verb to the jobs of a step, one after the other: each sees what came of those before it.
    fn order_step(&mut self, request: Request, step: OrderStep, now: Now) {
        let order = match orders::open(&self.state, step.id) {
            Ok(order) => order.clone(),
            Err(refusal) => return self.answer(request, Err(refusal)),
        };
        let mut come = Come { place: order.place.clone(), met: 0, changed: 0, held_up: None };
        for (id, read, place) in step.jobs {
            match orders::meet(&self.state, &order.verb, id, read, now) {
                Met::Changed(decision) => {
                    self.take(decision);
                    come.changed += 1;
                }
                Met::Skipped => {}
                Met::HeldUp(refusal) => {
                    come.held_up = Some(refusal);
                    break;
                }
            }
            come.met += 1;
            come.place = place;
        }
        if come.held_up.is_none() {
            come.place = step.place;
        }
        let order = orders::after_step(&order, &come, step.is_last, now);
        self.take(Decision::default().event(Event::OrderMoved(Box::new(order.clone()))));
        let progress = OrderProgress { order, met: come.met, held_up: come.held_up };
        // Written, so that an order can never run away from the journal.
        self.reply(request, Mark::Written, Ok(Answer::OrderProgress(Box::new(progress))));
    }
}
