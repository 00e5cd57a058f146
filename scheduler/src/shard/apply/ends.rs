//! What events about ended jobs do to the state: retained, forgotten, brought back.

use alloc::boxed::Box;

use super::super::decide::retain;
use super::super::ended::Stub;
use super::super::maybe::Maybe;
use super::super::slab::{NONE, Slot};
use super::super::state::{Live, More, Place, Queue, Spot, State};
use super::super::tape::Tape;
use super::attempts::recorded;
use crate::attempt::{Failure, Output};
use crate::bug;
use crate::change::{EndedKey, EndedRecord, Key, Record};
use crate::event::Turn;
use crate::job::JobId;
use crate::settings::Level;
use crate::state::{EndState, State as JobState};
use crate::time::{Now, Timestamp};
use crate::verb::Retained;

/// What an ended job leaves.
pub(super) struct Left {
    pub(super) output: Output,
    pub(super) failure: Option<Failure>,
    /// Whether it is retained.
    pub(super) keep: bool,
}

/// What may stand beside a retained job.
#[derive(Clone, Copy)]
pub(super) struct Beside {
    pub(super) result: bool,
    pub(super) checkpoint: bool,
}

impl State {
    pub(super) fn ended(&mut self, slot: Slot, state: EndState, now: Now, left: Left, tape: &mut Tape) {
        let from = State::state_of(&self.jobs[slot]);
        // An attempt's end leaves its job between two places, and that one was running.
        let from = if self.jobs[slot].spot == Spot::Loading { JobState::Running } else { from };
        debug_assert!(from.may_become(state.into()), "{from} became {state:?}");
        self.unplace(slot);
        self.watchers.remove(&self.jobs[slot].id);
        let queue = self.jobs[slot].queue;
        let level = self.queue(queue).level();
        let Queue { counters, done, .. } = &mut self.queues[queue.0 as usize];
        match state {
            EndState::Done => {
                counters.done_total += 1;
                done.add(now.mono);
            }
            EndState::Dead => counters.dead_total += 1,
            EndState::Cancelled => counters.cancelled_total += 1,
            EndState::Expired => counters.expired_total += 1,
        }
        tape.touch_counters(queue);
        if left.keep {
            self.retain(slot, state, now.wall, left, level, tape);
        } else {
            self.forget(slot, level, tape);
        }
        self.drop_job(slot);
    }

    fn retain(&mut self, slot: Slot, state: EndState, at: Timestamp, left: Left, level: Level, tape: &mut Tape) {
        if self.jobs[slot].is_new {
            let record = tape.job_record(self, slot);
            tape.put(level, record);
        }
        let queue_no = self.jobs[slot].queue;
        let queue = &mut self.queues[queue_no.0 as usize];
        queue.counters.ends += 1;
        let name = tape.names.of(queue.level(), &queue.settings.name);
        let key = EndedKey { queue: name, state, end_no: queue.counters.ends };
        let live = &self.jobs[slot];
        let bytes = retain::bytes(live, &left.output, left.failure.as_ref());
        let (output, result) = match left.output {
            Output::Bytes(bytes) => (Output::Bytes(bytes::Bytes::new()), Some(bytes)),
            other => (other, None),
        };
        let record = EndedRecord {
            key,
            id: live.id,
            kind: tape.names.of(level, &self.kinds[live.kind as usize].name),
            head: self.head_of(live, &mut tape.names),
            at,
            started: live.more().started.time(),
            attempt_recorded: live.more().attempt_recorded,
            bytes,
            edits: 0,
            output,
            failure: left.failure,
        };
        if live.has_head && !bug!(DeadLetterCopied) {
            tape.delete(level, Key::Head(live.id));
        }
        // All but a success may be brought back.
        let has_checkpoint = live.has_checkpoint && state != EndState::Done;
        if live.has_checkpoint && !has_checkpoint {
            Self::drop_checkpoint(&mut self.pages, live.id, level, tape);
        }
        let (id, kind) = (live.id, live.kind);
        let stub = self.hold(&record, queue_no, kind, Beside { result: result.is_some(), checkpoint: has_checkpoint });
        self.index.replace(id, Place::Live(slot), Place::Ended(stub));
        tape.put(level, Record::Ended(Box::new(record)));
        if let Some(bytes) = result {
            tape.put(level, Record::Result(id, bytes));
        }
    }

    /// Links a retained job's stub. Loading takes the same road.
    pub(super) fn hold(
        &mut self,
        record: &EndedRecord,
        queue: crate::command::QueueNo,
        kind: u32,
        beside: Beside,
    ) -> Slot {
        let stub = Stub {
            id: record.id,
            queue,
            kind,
            state: record.key.state,
            end_no: record.key.end_no,
            at: record.at,
            bytes: record.bytes,
            edits: record.edits,
            attempt_recorded: record.attempt_recorded,
            has_result: beside.result,
            has_checkpoint: beside.checkpoint,
            prev: NONE,
            next: NONE,
        };
        self.queues[queue.0 as usize].ended[record.key.state.index()].push(&mut self.stubs, stub)
    }

    fn forget(&mut self, slot: Slot, level: Level, tape: &mut Tape) {
        let live = &self.jobs[slot];
        self.queues[live.queue.0 as usize].counters.purged += 1;
        if !live.is_new {
            tape.delete(level, Key::Job(live.id));
            if live.has_head {
                tape.delete(level, Key::Head(live.id));
            }
        }
        if live.has_checkpoint {
            Self::drop_checkpoint(&mut self.pages, live.id, level, tape);
        }
        delete_attempts(live.id, live.more().attempt_recorded, level, tape);
        self.index.remove(live.id, Place::Live(slot));
    }

    /// As if it had been forgotten in time. Of how it ended only this process knows, if anybody does: what followed its success has
    /// to come in again.
    pub(super) fn superseded(&mut self, slot: Slot, tape: &mut Tape) {
        let live = &mut self.jobs[slot];
        // A lease that still ran may have left one.
        live.has_checkpoint = true;
        let (id, queue, ended) = (live.id, live.queue, live.more().attempts_ended);
        let claims = self.loaded_claims.iter().flat_map(|claims| &claims.entries);
        self.ends_lost.extend(claims.filter(|claim| claim.id == id && claim.attempt > ended));
        self.flows.loaded.retain(|(loaded, _)| *loaded != slot);
        self.flows.loaded_members.retain(|(loaded, _)| *loaded != slot);
        tape.touch_counters(queue);
        self.forget(slot, self.queue(queue).level(), tape);
        self.drop_job(slot);
    }

    pub(super) fn purged(&mut self, slot: Slot, tape: &mut Tape) {
        let stub = self.unhold(slot, tape);
        self.index.remove(stub.id, Place::Ended(slot));
        if !self.flows.holding.is_empty() {
            self.flows.holding.remove(&stub.id);
        }
        let queue = &mut self.queues[stub.queue.0 as usize];
        queue.counters.purged += u64::from(!bug!(PurgeUncounted));
        let level = queue.settings.level;
        tape.touch_counters(stub.queue);
        tape.delete(level, Key::Job(stub.id));
        delete_attempts(stub.id, stub.attempt_recorded, level, tape);
        if stub.has_result {
            tape.delete(level, Key::Result(stub.id));
        }
        if stub.has_checkpoint {
            Self::drop_checkpoint(&mut self.pages, stub.id, level, tape);
        }
    }

    fn unhold(&mut self, slot: Slot, tape: &mut Tape) -> Stub {
        let (queue, state) = (self.stubs[slot].queue, self.stubs[slot].state);
        let queue = &mut self.queues[queue.0 as usize];
        let stub = queue.ended[state.index()].remove(&mut self.stubs, slot);
        let name = tape.names.of(queue.level(), &queue.settings.name);
        let key = EndedKey { queue: name, state, end_no: stub.end_no };
        if !bug!(IndexNotDeleted) {
            tape.delete(queue.settings.level, Key::Ended(key));
        }
        stub
    }

    pub(super) fn requeued(
        &mut self,
        stub_slot: Slot,
        read: Retained,
        arrival: i64,
        now: Now,
        turn: Turn,
        tape: &mut Tape,
    ) {
        let Retained { ended, body } = read;
        let stub = self.unhold(stub_slot, tape);
        if bug!(RequeuedIsPurged) {
            tape.delete(self.queue(stub.queue).level(), Key::Job(stub.id));
        }
        let head = &ended.head;
        // Its window may not be over.
        let key = body.labels.unique().map(|unique| unique.key.clone());
        let member = body.labels.member();
        let (tenant, extra_starts) = self.enter_as(stub.queue, body.labels.share(), now.mono);
        let slot = self.add_job(Live {
            id: stub.id,
            tenant,
            body_bytes: body.bytes() as u32,
            body: Some(body),
            queue: stub.queue,
            kind: stub.kind,
            priority: head.priority,
            spot: Spot::Loading,
            arrival,
            created: head.created,
            due: Maybe::NONE,
            due_by_wall: false,
            clock_ms: 0,
            // It expires no more, and no failure counts: whoever brings it back wants it to run.
            more: More {
                timeout_ms: head.timeout_ms.into(),
                policy: head.policy,
                extra_starts,
                attempts_ended: head.attempts_ended,
                attempt_recorded: stub.attempt_recorded,
                started: ended.started.into(),
                key,
                ..More::NONE
            }
            .boxed(),
            cancel_requested: false,
            prev: NONE,
            next: NONE,
            is_new: false,
            has_head: false,
            has_checkpoint: stub.has_checkpoint,
            is_dirty: false,
        });
        self.index.replace(stub.id, Place::Ended(stub_slot), Place::Live(slot));
        self.next_arrival = self.next_arrival.max(arrival + 1);
        self.queues[stub.queue.0 as usize].counters.requeued += 1;
        self.flows.holding.remove(&stub.id);
        if let Turn::Alone(was) = turn {
            self.runs_alone(slot, was, tape);
        }
        self.turned(slot, turn, now, tape);
        self.rejoined(slot, member, stub.state, tape);
        self.unlink_key(slot);
        self.place(slot, now);
        tape.touch_job(self, slot);
        tape.touch_counters(stub.queue);
    }
}

fn delete_attempts(id: JobId, last: u32, level: Level, tape: &mut Tape) {
    for attempt in recorded(last) {
        tape.delete(level, Key::Attempt(id, attempt));
    }
}
