//! Handing out: what may run now goes to the workers, queue by queue, and makes room for calls that wait.
//!
//! Owns the loop. Each start is decided on what the starts before it left, so that no limit is ever a start over; what they leave to be
//! remembered is one record for all of a visit, and one message for the worker.

use alloc::vec::Vec;

use super::decide::claim::{self, Next};
use super::decide::{Decision, end_job, unique};
use super::outbox::Mark;
use super::slab::Slot;
use super::{LATE_PER_WAVE_MAX, LET_IN_BYTES_PER_WAVE_MAX, Shard};
use crate::attempt::Output;
use crate::change::{Claim, Claims};
use crate::command::QueueNo;
use crate::effect::Effect;
use crate::event::Event;
use crate::job::{Names, NewJob};
use crate::lease::{Lease, LeaseToken};
use crate::limit::Draw;
use crate::state::EndState;
use crate::time::Now;

/// The most starts that room is kept for before they are found.
const ROOM_MAX: u64 = 4_096;

/// The order in which queues are looked at, and how many starts each turn of one that shares a limit has left. Soft: a queue that has
/// had its turn goes behind the others.
#[derive(Debug, Default)]
pub(super) struct Visits(Vec<(QueueNo, u32)>);

/// What a visit starts.
#[derive(Default)]
struct Batch {
    entries: Vec<Claim>,
    leases: Vec<Lease>,
    names: Names,
}

impl Shard {
    /// Claims, lets waiting calls in where that made room, and claims what they brought. Returns the bytes that came in.
    /// Stops early where a wave has enough: the rest is the next one's.
    pub(super) fn hand_out(&mut self, now: Now) -> usize {
        let (mut late_left, mut bytes) = (LATE_PER_WAVE_MAX, 0);
        self.is_unfinished = true;
        loop {
            // What went may have let another one come, in a queue that was looked at before.
            while self.visit_all(now, &mut late_left) {}
            if late_left == 0 || bytes >= LET_IN_BYTES_PER_WAVE_MAX {
                return bytes;
            }
            if !self.let_in(now, &mut bytes) {
                self.is_unfinished = false;
                return bytes;
            }
        }
    }

    /// One visit to every queue, in order. Tells whether anything went.
    fn visit_all(&mut self, now: Now, late_left: &mut usize) -> bool {
        for no in self.visits.0.len()..self.state.queues.len() {
            self.visits.0.push((QueueNo(no as u32), self.turn_of(QueueNo(no as u32))));
        }
        let (mut went, mut place) = (false, 0);
        for _ in 0..self.visits.0.len() {
            let (no, left) = self.visits.0[place];
            // Where nobody else waits for what it takes, it is nobody else's turn.
            let starts_max = if self.has_rivals(no) { left } else { u32::MAX };
            let (did_any, starts) = self.claim(no, now, starts_max, late_left);
            went |= did_any;
            match left.checked_sub(starts) {
                _ if starts_max == u32::MAX => place += 1,
                Some(0) | None => {
                    self.visits.0.remove(place);
                    self.visits.0.push((no, self.turn_of(no)));
                }
                Some(left) => {
                    self.visits.0[place].1 = left;
                    place += 1;
                }
            }
        }
        went
    }

    /// Whether another queue has something in line that shares a limit with this one.
    fn has_rivals(&self, no: QueueNo) -> bool {
        let shares = &self.state.queue(no).shares;
        let mut others = (0..).map(QueueNo).zip(&self.state.queues);
        let is_rival = |place: &usize| shares.contains(place);
        !shares.is_empty()
            && others.any(|(other, queue)| other != no && queue.ready > 0 && queue.shares.iter().any(is_rival))
    }

    /// How many starts a turn of this queue has: any number, unless others wait for what it takes.
    fn turn_of(&self, no: QueueNo) -> u32 {
        let mut shared = self.state.queue(no).shares.iter().map(|place| &self.state.limits.shared[*place].settings);
        if shared.any(|shared| shared.draw == Draw::Weighted) { self.state.share_weight(no) } else { u32::MAX }
    }

    /// Hands out what may run now of a queue, up to so many starts, and expires what is late and in the way. Tells whether it did
    /// anything, and how many started.
    fn claim(&mut self, no: QueueNo, now: Now, starts_max: u32, late_left: &mut usize) -> (bool, u32) {
        let (mut after, mut batch, mut is_step) = (Decision::default(), Batch::default(), false);
        loop {
            match claim::next(&self.state, no, now) {
                Next::Aside(tenant, aside) => self.state.apply(Event::SteppedAside { tenant, aside }, &mut self.tape),
                Next::Back(tenant) => self.state.apply(Event::CameBack { tenant }, &mut self.tape),
                Next::Late(slot) if *late_left > 0 => {
                    is_step = true;
                    *late_left -= 1;
                    end_job(&self.state, slot, EndState::Expired, now, Output::None, None, &mut after);
                    self.apply_all(&mut after);
                }
                Next::Start(slot) if (batch.entries.len() as u64) < u64::from(starts_max) => {
                    is_step = true;
                    self.start(slot, now, &mut batch, &mut after);
                }
                Next::Nothing | Next::Late(_) | Next::Start(_) => break,
            }
        }
        self.step += u64::from(is_step);
        let starts = batch.entries.len() as u32;
        if starts > 0 {
            let level = self.state.queue(no).level();
            let claims =
                Claims { no: claim::claims_no(&self.state, self.step, level), at: now.wall, entries: batch.entries };
            after.events.push(Event::ClaimsMade(claims, level));
            after.effects.insert(0, (Mark::to_run(level), Effect::Run { queue: no, leases: batch.leases }));
        }
        if is_step {
            self.take(after);
        }
        (is_step, starts)
    }

    fn start(&mut self, slot: Slot, now: Now, batch: &mut Batch, after: &mut Decision) {
        let state = &self.state;
        let live = &state.jobs[slot];
        let queue = state.queue(live.queue);
        if batch.entries.is_empty() {
            let room = u64::from(queue.slots).saturating_sub(queue.running).min(queue.ready).min(ROOM_MAX) as usize;
            batch.entries.reserve(room);
            batch.leases.reserve(room);
        }
        let token = LeaseToken { term: state.settings.term, n: state.next_token };
        // The step that this is of is counted when the visit is over.
        let claims = claim::claims_no(state, self.step + 1, queue.level());
        let (deadline, lease) = claim::lease(state, live, token, &mut batch.names, now);
        unique::let_go(state, live, now, after);
        batch.entries.push(Claim { id: live.id, attempt: live.attempt(), token });
        batch.leases.push(lease);
        self.happen(Event::Claimed { slot, token, no: claims, deadline, now });
    }

    /// Applies what was decided so far; what comes of it waits for the rest.
    fn apply_all(&mut self, decision: &mut Decision) {
        for event in decision.events.drain(..) {
            self.happen(event);
        }
    }

    fn let_in(&mut self, now: Now, bytes: &mut usize) -> bool {
        let mut came_in = false;
        for no in 0..self.state.queues.len() {
            while *bytes < LET_IN_BYTES_PER_WAVE_MAX && self.door.front(no).is_some() {
                let queue = self.state.queue(QueueNo(no as u32));
                if queue.depth() >= queue.settings.depth_max {
                    break;
                }
                let Some(submit) = self.door.pop(no) else { break };
                self.step += 1;
                let submit_bytes = NewJob::bytes_of(&submit.jobs);
                let Some((queue, submit)) = self.submit(submit, now) else {
                    came_in = true;
                    *bytes += submit_bytes;
                    continue;
                };
                // Nothing happened, so it was no step: a seal that only looks would never come to an end.
                self.step -= 1;
                if queue.0 as usize == no {
                    self.door.push_front(queue, submit);
                    break;
                }
                // It found room here and none there: it waits there now, behind those who came before.
                self.door.push_back(queue, submit);
            }
        }
        came_in
    }
}
