//! What loading does to the state. A loaded record takes the same road as a live event, with the tape off.

use alloc::vec::Vec;

use super::super::limits::guarded;
use super::super::slab::{NONE, Slot};
use super::super::state::{Live, More, Place, Spot, State};
use super::super::tape::Tape;
use super::{as_key, ends};
use crate::attempt::Output;
use crate::bug;
use crate::change::{Change, Counters, EndedRecord, JobRecord, Key, Record, Setting};
use crate::command::QueueNo;
use crate::event::LoadedRecord;
use crate::job::Name;
use crate::rate::Bucket;
use crate::settings::QueueSettings;
use crate::state::EndState;
use crate::time::{Mono, Now};

impl State {
    pub(super) fn loaded(&mut self, record: LoadedRecord, tape: &mut Tape) {
        debug_assert!(!tape.is_on, "records are loaded before anything is decided");
        match record {
            LoadedRecord::Setting(Setting::Paused(queue)) => {
                let no = self.queue_or_new(&queue);
                self.queues[no.0 as usize].paused = true;
            }
            LoadedRecord::Setting(Setting::SuspectsMax(max)) => self.suspects_max = max,
            LoadedRecord::Setting(Setting::Limit(of, change)) => {
                self.overrides.insert(of.clone(), change);
                self.limit_changed(&of, Mono(0));
            }
            LoadedRecord::Policy(no, policy) => {
                if !self.policies_once.remove(&no) {
                    self.policies_once.insert(no);
                }
                if let Some(before) = self.policies.insert(no, policy.clone()).filter(|before| *before != policy) {
                    // The twin knows better: the journal lost the wave that gave this number to another policy.
                    self.policy_nos.remove(&before);
                }
                self.policy_nos.insert(policy, no);
            }
            LoadedRecord::Counters(counters) => self.loaded_counters(counters),
            LoadedRecord::Ended(record) => self.loaded_ended(&record),
            LoadedRecord::Job(record, keeps_body) => self.loaded_job(record, keeps_body),
            LoadedRecord::Claims(claims) => self.loaded_claims.push(claims),
            LoadedRecord::Checkpoint(id, bytes) => self.pages.set_checkpoint(id, Some(bytes)),
            LoadedRecord::Order(order) => drop(self.orders.insert(order.id, *order)),
            LoadedRecord::Schedule(schedule) => self.loaded_schedule(*schedule),
            LoadedRecord::Flow(flow) => self.loaded_flow(*flow),
            LoadedRecord::Step(step) => self.loaded_step(*step),
            LoadedRecord::Batch(batch) => self.loaded_batch(*batch),
            LoadedRecord::Unique(held) => self.loaded_key(*held, tape),
        }
    }

    pub(super) fn queue_or_new(&mut self, name: &Name) -> QueueNo {
        match self.queue_no(name) {
            Some(no) => no,
            None => self.add_queue(QueueSettings::new(name.clone()), false),
        }
    }

    fn loaded_counters(&mut self, counters: Counters) {
        let no = self.queue_or_new(&counters.queue);
        self.queues[no.0 as usize].counters = counters;
    }

    fn loaded_ended(&mut self, record: &EndedRecord) {
        let queue = self.queue_or_new(&record.key.queue);
        let kind = self.intern_kind(&record.kind);
        let counters = &mut self.queues[queue.0 as usize].counters;
        counters.ends = counters.ends.max(record.key.end_no);
        self.policies_used.extend(record.head.policy);
        let beside = ends::Beside {
            result: matches!(record.output, Output::Bytes(_)),
            // Which of them have one is not loaded, either.
            checkpoint: record.key.state != EndState::Done && record.head.attempts_ended > 0,
        };
        let stub = self.hold(record, queue, kind, beside);
        self.index.insert(record.id, Place::Ended(stub));
    }

    fn loaded_job(&mut self, record: JobRecord, keeps_body: bool) {
        let head = record.head;
        let queue = self.queue_or_new(&head.queue);
        let kind = self.intern_kind(&record.kind);
        self.policies_used.extend(head.policy);
        let key = record.body.labels.unique().map(|unique| unique.key.clone());
        let (step, member) = (record.body.labels.step(), record.body.labels.member());
        let (tenant, extra_starts) = self.enter_as(queue, record.body.labels.share(), Mono(0));
        let slot = self.add_job(Live {
            id: record.id,
            tenant,
            body_bytes: record.body.bytes() as u32,
            body: keeps_body.then_some(record.body),
            queue,
            kind,
            priority: head.priority,
            spot: Spot::Loading,
            arrival: head.arrival,
            created: head.created,
            due: head.due.into(),
            due_by_wall: head.due_by_wall,
            clock_ms: 0,
            more: More {
                expires: head.expires.into(),
                deadline: head.deadline.into(),
                timeout_ms: head.timeout_ms.into(),
                policy: head.policy,
                extra_starts,
                attempts_ended: head.attempts_ended,
                // Which of them left a record is not loaded; deleting one too many is no error.
                attempt_recorded: head.attempts_ended,
                failures: head.failures,
                lost: head.lost,
                key,
                ..More::NONE
            }
            .boxed(),
            cancel_requested: head.cancel_requested,
            prev: NONE,
            next: NONE,
            is_new: false,
            // It may have none of its own; deleting it is no error then.
            has_head: true,
            // Nor is this: one that was never begun has none.
            has_checkpoint: head.attempts_ended > 0,
            is_dirty: false,
        });
        if !bug!(ArrivalForgotten) {
            self.next_arrival = self.next_arrival.max(head.arrival.saturating_add(1));
        }
        self.index.insert(record.id, Place::Live(slot));
        self.flows.loaded.extend(step.map(|of| (slot, of)));
        self.flows.loaded_members.extend(member.map(|member| (slot, member)));
    }

    /// Every job takes its place, and what is missing by the counters is counted as quarantined.
    pub(super) fn all_loaded(&mut self, now: Now, tape: &mut Tape) {
        self.link_keys(tape);
        self.link_flows(tape);
        // What was started before, nobody has counted.
        for no in (0..self.queues.len() as u32).map(QueueNo) {
            let rate = self.queue_limit(no).rate;
            let queue = &mut self.queues[no.0 as usize];
            queue.bucket = rate.map(|rate| Bucket::empty(rate, now.mono));
            queue.guard = guarded(queue.settings.breaker);
        }
        self.limits.begin(now.mono);
        let mut order: Vec<(i64, Slot)> = self
            .jobs
            .iter()
            .filter(|(_, live)| live.spot == Spot::Loading)
            .map(|(slot, live)| (live.arrival, slot))
            .collect();
        order.sort_unstable();
        for (_, slot) in order {
            let live = &mut self.jobs[slot];
            let Some(due) = live.due.time() else {
                self.place(slot, now);
                continue;
            };
            live.clock_ms = if live.due_by_wall {
                as_key(due.0)
            } else {
                // Negative where it fell due meanwhile, so that those keep their order among themselves.
                let left = as_key(due.0).saturating_sub(as_key(now.wall.0));
                let left = if bug!(DueOrderForgotten) { left.max(0) } else { left };
                as_key(now.mono.0).saturating_add(if bug!(DelayForgotten) { left.min(0) } else { left })
            };
            self.place(slot, now);
        }
        self.share_policies(tape);
        self.forget_policies(tape);
        for no in 0..self.queues.len() {
            let queue = &mut self.queues[no];
            let here = queue.depth() + queue.running + queue.retained();
            let counters = &mut queue.counters;
            let (came, accounted) = (counters.came(), here.saturating_add(counters.left()));
            if came != accounted {
                counters.quarantined += came.saturating_sub(accounted);
                counters.enqueued += accounted.saturating_sub(came);
                tape.touch_counters(QueueNo(no as u32));
            }
        }
    }

    /// A policy that no job has any more makes room for others. Only here: what a number means then changes before anything
    /// is decided, so that journal and twin never differ about one that is in use.
    fn forget_policies(&mut self, tape: &mut Tape) {
        let used = core::mem::take(&mut self.policies_used);
        let unused: Vec<_> = self.policies.keys().filter(|no| !used.contains(no)).copied().collect();
        for no in unused {
            if let Some(policy) = self.policies.remove(&no) {
                self.policy_nos.remove(&policy);
            }
            tape.push_both(&Change::Delete(Key::Policy(no)));
        }
    }

    /// A policy that only one store knows (a wave reached the twin and not the journal, or the process is new) is
    /// written to both: whoever comes next with the same policy rests on it, wherever it is kept.
    fn share_policies(&mut self, tape: &mut Tape) {
        for no in core::mem::take(&mut self.policies_once) {
            if let Some(policy) = self.policies.get(&no) {
                tape.push_both(&Change::Put(Record::Policy(no, policy.clone())));
            }
        }
    }
}
