//! What the verbs of operators do to the state.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::super::slab::Slot;
use super::super::state::{Spot, State};
use super::super::tape::Tape;
use super::as_key;
use crate::change::{JobRecord, Key, Record};
use crate::command::QueueNo;
use crate::job::{Body, Priority, When};
use crate::order::{Order, OrderId};
use crate::settings::Level;
use crate::time::{Now, Timestamp};
use crate::verb::Retained;

/// A moment that a caller chose: when (`None`: now, or past), whether by the wall clock, and its key in the timers.
pub(super) fn moment(when: Option<When>, now: Now) -> (Option<Timestamp>, bool, i64) {
    let (due, by_wall, clock_ms) = match when {
        None => return (None, false, 0),
        Some(When::After(ms)) => (now.wall.plus_ms(ms), false, as_key(now.mono.plus_ms(ms).0)),
        Some(When::At(at)) => (at, true, as_key(at.0)),
    };
    (Some(due).filter(|due| *due > now.wall), by_wall, clock_ms)
}

/// From when on a job is not started, and from when on it does not run, by the wall clock: the first is no later.
pub(super) fn ends(expires: Option<When>, deadline: Option<When>, now: Now) -> (Option<Timestamp>, Option<Timestamp>) {
    let by_wall = |when: When| match when {
        When::After(ms) => now.wall.plus_ms(ms),
        When::At(at) => at,
    };
    let deadline = deadline.map(by_wall);
    (expires.map(by_wall).into_iter().chain(deadline).min(), deadline)
}

impl State {
    pub(super) fn reprioritised(&mut self, slot: Slot, priority: Priority, arrival: i64, now: Now, tape: &mut Tape) {
        if self.jobs[slot].spot == Spot::Line {
            let since = self.jobs[slot].clock_ms;
            self.unplace(slot);
            self.jobs[slot].priority = priority;
            self.arrive(slot, arrival);
            self.place_ready(slot, now);
            // It has been ready for as long as before.
            let live = &mut self.jobs[slot];
            let elders = &mut self.queues[live.queue.0 as usize].elders;
            if elders.remove(&(live.clock_ms, live.arrival, slot)) {
                elders.insert((since, live.arrival, slot));
            }
            live.clock_ms = since;
        } else {
            self.jobs[slot].priority = priority;
        }
        tape.touch_job(self, slot);
    }

    pub(super) fn rescheduled(&mut self, slot: Slot, when: When, arrival: i64, now: Now, tape: &mut Tape) {
        self.unplace(slot);
        let live = &mut self.jobs[slot];
        let (due, due_by_wall, clock_ms) = moment(Some(when), now);
        (live.due, live.due_by_wall, live.clock_ms) = (due.into(), due_by_wall, clock_ms);
        self.arrive(slot, arrival);
        self.place(slot, now);
        tape.touch_job(self, slot);
    }

    pub(super) fn moved(&mut self, slot: Slot, queue: QueueNo, arrival: i64, now: Now, tape: &mut Tape) {
        let from = self.jobs[slot].queue;
        self.unplace(slot);
        self.jobs[slot].queue = queue;
        let key = self.lines.tenants[self.jobs[slot].tenant].key.clone();
        self.enter_anew(slot, key.as_ref(), now);
        self.arrive(slot, arrival);
        self.place(slot, now);
        self.queues[from.0 as usize].counters.moved_out += 1;
        self.queues[queue.0 as usize].counters.moved_in += 1;
        tape.touch_counters(from);
        tape.touch_counters(queue);
        tape.touch_job(self, slot);
    }

    pub(super) fn arrive(&mut self, slot: Slot, arrival: i64) {
        self.jobs[slot].arrival = arrival;
        self.next_arrival = self.next_arrival.max(arrival + 1);
    }

    pub(super) fn edited(&mut self, slot: Slot, body: Arc<Body>, tape: &mut Tape) {
        self.replace_body(slot, body);
        let live = &self.jobs[slot];
        if !live.is_new {
            let level = self.queue(live.queue).level();
            let record = tape.job_record(self, slot);
            tape.put(level, record);
        }
        tape.touch_job(self, slot);
    }

    pub(super) fn retained_edited(&mut self, stub: Slot, read: Retained, tape: &mut Tape) {
        let Retained { ended, body } = read;
        let stub = &mut self.stubs[stub];
        let queue = &mut self.queues[stub.queue.0 as usize];
        let list = &mut queue.ended[stub.state.index()];
        list.bytes = list.bytes - stub.bytes + ended.bytes;
        (stub.bytes, stub.edits) = (ended.bytes, ended.edits);
        let level = queue.level();
        let job = JobRecord { id: ended.id, kind: ended.kind.clone(), body, head: ended.head.clone() };
        tape.put(level, Record::Job(job));
        tape.put(level, Record::Ended(Box::new(ended)));
    }

    pub(super) fn order_moved(&mut self, order: Box<Order>, tape: &mut Tape) {
        self.orders.insert(order.id, (*order).clone());
        tape.put(Level::Durable, Record::Order(order));
    }

    pub(super) fn order_forgotten(&mut self, id: OrderId, tape: &mut Tape) {
        self.orders.remove(&id);
        tape.delete(Level::Durable, Key::Order(id));
    }
}
