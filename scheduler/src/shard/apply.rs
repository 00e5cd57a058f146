//! The only mutation (I1): events move the state, live and while loading alike. Nothing here can refuse or fail; an
//! event that makes no sense is a bug of a decision, and asserts.

mod attempts;
mod batch;
mod ends;
mod flow;
mod limits;
mod load;
mod page;
mod recur;
mod steered;
mod unique;

use super::maybe::Maybe;
use super::slab::{NONE, Slot};
use super::state::{KindEntry, Live, More, Place, Queue, Spot, State};
use super::tape::Tape;
use crate::bug;
use crate::change::{Change, PolicyNo, Record, Setting};
use crate::command::QueueNo;
use crate::event::{Event, Turn};
use crate::job::{Name, NewJob};
use crate::refusal::Refusal;
use crate::retry::RetryPolicy;
use crate::settings::{Level, QueueSettings};
use crate::state::State as JobState;
use crate::time::Now;

impl State {
    /// Moves the state by one event, and writes down what has to be remembered of it.
    pub(crate) fn apply(&mut self, event: Event, tape: &mut Tape) {
        match event {
            Event::Enqueued { job, queue, arrival, now, turn } => self.enqueued(job, queue, arrival, now, turn, tape),
            Event::FellDue { slot, arrival, now } | Event::Returned { slot, arrival, now } => {
                self.stand_in_line(slot, arrival, now, tape);
            }
            Event::Claimed { slot, token, no, deadline, now } => self.claimed(slot, token, no, deadline, now, tape),
            Event::ClaimsMade(claims, level) => self.remember_claims(claims, level, tape),
            Event::SteppedAside { tenant, aside } => self.lines.step_aside(tenant, aside),
            Event::CameBack { tenant } => self.lines.come_back(tenant),
            Event::AttemptFailed { slot, failure, now, counts, heard, log } => {
                self.attempt_failed(slot, attempts::Failed { failure, counts, heard, log }, now, tape);
            }
            Event::AttemptEnded { slot, now, heard, logged } => self.attempt_ended(slot, heard, logged, now, tape),
            Event::Delayed { slot, delay_ms, now, is_retry } => self.delayed(slot, delay_ms, now, is_retry, tape),
            Event::Ended { slot, state, now, output, failure, keep } => {
                self.ended(slot, state, now, ends::Left { output, failure, keep }, tape);
            }
            Event::Overdue { slot } => self.overdue(slot),
            Event::Extended { slot, deadline } => self.extended(slot, deadline),
            Event::Checkpointed { slot, bytes } => self.checkpointed(slot, bytes, tape),
            Event::CancelRequested { slot } => self.cancel_requested(slot, tape),
            Event::Purged { stub } => self.purged(stub, tape),
            Event::Requeued { stub, read, arrival, now, turn } => {
                self.requeued(stub, *read, arrival, now, turn, tape);
            }
            Event::Replaced { slot, job, arrival, now } => self.replaced(slot, *job, arrival, now, tape),
            Event::KeyMoved { store, key, to, arrival, now } => self.key_moved(store, &key, to, arrival, now, tape),
            Event::KeyUnwaited { store, key } => self.key_unwaited(store, &key, tape),
            Event::Reprioritised { slot, priority, arrival, now } => {
                self.reprioritised(slot, priority, arrival, now, tape);
            }
            Event::Rescheduled { slot, when, arrival, now } => self.rescheduled(slot, when, arrival, now, tape),
            Event::Moved { slot, queue, arrival, now } => self.moved(slot, queue, arrival, now, tape),
            Event::Edited { slot, body } => self.edited(slot, body, tape),
            Event::RetainedEdited { stub, read } => self.retained_edited(stub, *read, tape),
            Event::OrderMoved(order) => self.order_moved(order, tape),
            Event::OrderForgotten(id) => self.order_forgotten(id, tape),
            Event::ScheduleMoved { schedule, next } => self.schedule_moved(schedule, next, tape),
            Event::ScheduleRemoved(name) => self.schedule_removed(&name, tape),
            Event::ScheduleArmed { name, next } => self.arm_schedule(&name, next),
            Event::Paused { queue, paused } => self.paused(queue, paused, tape),
            Event::SlotsSet { queue, slots } => self.slots_set(queue, slots),
            Event::Overridden { of, change, now } => self.overridden(&of, change, now, tape),
            Event::SuspectsMaxSet { max } => self.suspects_max_set(max, tape),
            Event::Drained => self.draining = true,
            Event::Watched { id, request } => self.watchers.entry(id).or_default().push(request),
            Event::Unwatched { id, request } => self.unwatched(id, request),
            Event::StaleAck => self.stale_acks += 1,
            Event::PagedOut { slots } => self.paged_out(&slots),
            Event::Asked { no, slots } => self.asked(no, &slots),
            Event::Answered { ids, bodies } => self.answered(&ids, bodies),
            Event::Superseded { slot } => self.superseded(slot, tape),
            Event::Loaded(record) => self.loaded(*record, tape),
            Event::AllLoaded { now } => self.all_loaded(now, tape),
            Event::Adopted { slot, token, no, now } => self.adopted(slot, token, no, now),
            Event::Lost { slot, started, now } => self.lost(slot, started, now, tape),
            Event::ClaimsSettled => {
                for claims in core::mem::take(&mut self.loaded_claims) {
                    tape.push_both(&Change::Delete(crate::change::Key::Claims(claims.no)));
                }
            }
            Event::OfBatch(at, event) => self.apply_to_batch(at, event, tape),
            of_flow => self.apply_to_flow(of_flow, tape),
        }
    }

    fn enqueued(&mut self, job: NewJob, queue: QueueNo, arrival: i64, now: Now, turn: Turn, tape: &mut Tape) {
        self.disown_claims(job.id, tape);
        let kind = self.intern_kind(&job.kind);
        let (due, due_by_wall, clock_ms) = steered::moment(job.due, now);
        let (expires, deadline) = steered::ends(job.expires, job.deadline, now);
        let policy = job.retry.map(|policy| self.intern_policy(policy, tape));
        let (tenant, extra_starts) = self.enter_as(queue, job.body.labels.share(), now.mono);
        let member = job.body.labels.member();
        let settings = &self.queue(queue).settings;
        let slot = self.add_job(Live {
            id: job.id,
            tenant,
            body_bytes: job.body.bytes() as u32,
            body: Some(job.body),
            queue,
            kind,
            priority: job.priority.unwrap_or(settings.priority),
            spot: Spot::Loading,
            arrival,
            created: now.wall,
            due: due.into(),
            due_by_wall,
            clock_ms,
            more: More {
                expires: expires.into(),
                deadline: deadline.into(),
                timeout_ms: job.timeout_ms.into(),
                policy,
                extra_starts,
                ..More::NONE
            }
            .boxed(),
            cancel_requested: false,
            prev: NONE,
            next: NONE,
            is_new: true,
            has_head: false,
            has_checkpoint: false,
            is_dirty: false,
        });
        self.next_arrival = self.next_arrival.max(arrival + 1);
        self.index.insert(job.id, Place::Live(slot));
        self.queues[queue.0 as usize].counters.enqueued += 1;
        self.turned(slot, turn, now, tape);
        self.joined(slot, member, tape);
        self.place(slot, now);
        tape.touch_job(self, slot);
        tape.touch_counters(queue);
    }

    /// Puts a job where it belongs by its key, its step and its `due`.
    fn place(&mut self, slot: Slot, now: Now) {
        if self.waits_for_key(&self.jobs[slot]) || self.waits_for_step(&self.jobs[slot]) {
            self.place_waiting(slot);
        } else if self.jobs[slot].due == Maybe::NONE {
            self.place_ready(slot, now);
        } else {
            self.place_delayed(slot);
        }
    }

    /// After a delay, a snooze without one, a release: in line, or parked where nobody can run it.
    fn stand_in_line(&mut self, slot: Slot, arrival: i64, now: Now, tape: &mut Tape) {
        self.unplace(slot);
        let live = &mut self.jobs[slot];
        live.due = Maybe::NONE;
        live.arrival = arrival;
        self.next_arrival = self.next_arrival.max(arrival + 1);
        self.place_ready(slot, now);
        tape.touch_job(self, slot);
    }

    /// Puts a job into the timers; `clock_ms` and `due` say when.
    fn place_delayed(&mut self, slot: Slot) {
        let live = &mut self.jobs[slot];
        debug_assert!(State::state_of(live).may_become(JobState::Delayed) || live.spot == Spot::Loading);
        live.spot = Spot::Delayed;
        let queue = &mut self.queues[live.queue.0 as usize];
        let timers = if live.due_by_wall { &mut queue.at } else { &mut queue.delay };
        timers.insert((live.clock_ms, live.arrival, slot));
        queue.delayed += 1;
        self.watch_expiry(slot);
    }

    /// Puts a job into its lane or, where nobody can run it, among the parked.
    fn place_ready(&mut self, slot: Slot, now: Now) {
        let (queue, kind) = (self.jobs[slot].queue, self.jobs[slot].kind);
        let can_run = self.can_run(queue, kind);
        let lane = self.lane_of(&self.jobs[slot]);
        let live = &mut self.jobs[slot];
        live.clock_ms = as_key(now.mono.0);
        let queue = &mut self.queues[queue.0 as usize];
        if can_run {
            live.spot = Spot::Line;
            queue.ready += 1;
            if queue.settings.ages_after_ms.is_some() {
                queue.elders.insert((live.clock_ms, live.arrival, slot));
            }
            self.lines.join(&mut self.jobs, slot, lane);
        } else {
            live.spot = Spot::Parked;
            queue.parked += 1;
        }
        self.watch_expiry(slot);
    }

    /// Takes a job out of wherever it is.
    fn unplace(&mut self, slot: Slot) {
        self.unwatch_expiry(slot);
        let live = &self.jobs[slot];
        let queue = &mut self.queues[live.queue.0 as usize];
        match live.spot {
            Spot::Loading => {}
            Spot::Delayed => {
                let timers = if live.due_by_wall { &mut queue.at } else { &mut queue.delay };
                timers.remove(&(live.clock_ms, live.arrival, slot));
                queue.delayed -= 1;
            }
            Spot::Line => {
                let lane = self.lane_of(live);
                let queue = &mut self.queues[live.queue.0 as usize];
                queue.ready -= 1;
                queue.elders.remove(&(live.clock_ms, live.arrival, slot));
                self.lines.leave(&mut self.jobs, slot, lane);
            }
            Spot::Parked => queue.parked -= 1,
            Spot::Waiting => queue.waiting -= 1,
            Spot::Running => unreachable!("a running job leaves by the end of its attempt"),
        }
        self.jobs[slot].spot = Spot::Loading;
    }

    fn watch_expiry(&mut self, slot: Slot) {
        let live = &self.jobs[slot];
        if let Some(expires) = live.more().expires.time() {
            self.queues[live.queue.0 as usize].expiry.insert((expires, live.arrival, slot));
        }
    }

    fn unwatch_expiry(&mut self, slot: Slot) {
        let live = &self.jobs[slot];
        if let Some(expires) = live.more().expires.time() {
            self.queues[live.queue.0 as usize].expiry.remove(&(expires, live.arrival, slot));
        }
    }

    fn cancel_requested(&mut self, slot: Slot, tape: &mut Tape) {
        self.jobs[slot].cancel_requested = true;
        if !bug!(CancelForgotten) {
            tape.touch_job(self, slot);
        }
    }

    fn paused(&mut self, queue: QueueNo, paused: bool, tape: &mut Tape) {
        let queue = &mut self.queues[queue.0 as usize];
        queue.paused = paused;
        let setting = Setting::Paused(queue.settings.name.clone());
        Self::remember(setting, paused && !bug!(PauseForgotten), tape);
    }

    fn suspects_max_set(&mut self, max: u32, tape: &mut Tape) {
        self.suspects_max = max;
        Self::remember(Setting::SuspectsMax(max), max != u32::MAX, tape);
    }

    fn remember(setting: Setting, stands: bool, tape: &mut Tape) {
        let key = crate::change::Key::Setting(setting.key());
        let change = if stands { Change::Put(Record::Setting(setting)) } else { Change::Delete(key) };
        tape.push(Level::Durable, change);
    }

    fn unwatched(&mut self, id: crate::job::JobId, request: crate::command::Request) {
        if let Some(watchers) = self.watchers.get_mut(&id) {
            watchers.retain(|one| *one != request);
            if watchers.is_empty() {
                self.watchers.remove(&id);
            }
        }
    }

    pub(super) fn add_queue(&mut self, settings: QueueSettings, is_configured: bool) -> QueueNo {
        let no = QueueNo(self.queues.len() as u32);
        self.queue_names.insert(settings.name.clone(), no);
        // What is tried again has lanes of its own where its share is bounded.
        let lanes = self.lanes() * (1 + usize::from(settings.retry_budget_percent.is_some()));
        self.lines.add_queue(lanes);
        let shares = self.limits.places_of(&settings.shares).collect();
        self.queues.push(Queue::new(settings, is_configured, shares));
        no
    }

    pub(super) fn intern_kind(&mut self, name: &Name) -> u32 {
        if let Some(no) = self.kind_names.get(name) {
            return *no;
        }
        let no = self.kinds.len() as u32;
        self.kinds.push(KindEntry {
            name: name.clone(),
            is_handled: false,
            retry: None,
            timeout_ms: None,
            limit: None,
        });
        self.kind_names.insert(name.clone(), no);
        no
    }

    fn intern_policy(&mut self, policy: RetryPolicy, tape: &mut Tape) -> PolicyNo {
        if let Some(no) = self.policy_nos.get(&policy) {
            return *no;
        }
        // Those that were forgotten left holes.
        let taken = self.policies.keys().zip(0..).take_while(|(no, n)| no.0 == *n).count();
        assert!(taken < Refusal::POLICIES_MAX, "the decision let one policy too many in");
        let no = PolicyNo(taken as u16);
        tape.push_both(&Change::Put(Record::Policy(no, policy.clone())));
        self.policies.insert(no, policy.clone());
        self.policy_nos.insert(policy, no);
        no
    }
}

/// A moment as a timer's key. Saturates: the far future is far enough.
pub(super) fn as_key(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// A timer's key as a moment.
pub(super) fn from_key(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}
