//! What events do to limits, and to those who take turns.

use alloc::sync::Arc;

use super::super::lines::Aside;
use super::super::slab::Slot;
use super::super::state::State;
use crate::bug;
use crate::command::QueueNo;
use crate::limit::Share;
use crate::time::{Mono, Now};

impl State {
    /// A job comes into a queue: among those who have its key there.
    pub(super) fn enter(&mut self, queue: QueueNo, key: Option<&Arc<str>>, now: Mono) -> Slot {
        let tenant = match (self.lines.tenant(queue, key.map(|key| &**key)), key) {
            (Some(tenant), _) => tenant,
            (None, Some(key)) => {
                let of = &self.queues[queue.0 as usize];
                let weight = of.settings.key_weights.get(&**key).copied().unwrap_or(1);
                let tenant = self.lines.add_tenant(queue, key.clone(), weight);
                let scope = (queue, &of.settings.keys, &of.shares[..]);
                self.lines.tenants[tenant].limiters = self.limits.enter(scope, key, tenant, now);
                tenant
            }
            (None, None) => unreachable!("those without a key are always there"),
        };
        self.lines.tenants[tenant].jobs += 1;
        tenant
    }

    /// A job comes with what it says about limits: where it comes in, and what it counts for beyond one start.
    pub(super) fn enter_as(&mut self, queue: QueueNo, share: &Share, now: Mono) -> (Slot, u32) {
        (self.enter(queue, share.key.as_ref(), now), share.weight.saturating_sub(1))
    }

    /// A job leaves those with its key: the last one takes their turns and limits along.
    pub(super) fn exit(&mut self, tenant: Slot) {
        let of = &mut self.lines.tenants[tenant];
        of.jobs -= 1;
        if of.jobs == 0 && of.key.is_some() {
            for limiter in core::mem::take(&mut of.limiters) {
                self.limits.keys.release(limiter, tenant);
            }
            self.lines.drop_tenant(tenant);
        }
    }

    /// A job that stands in no line has another queue, or another key.
    pub(super) fn enter_anew(&mut self, slot: Slot, key: Option<&Arc<str>>, now: Now) {
        let (queue, before) = (self.jobs[slot].queue, self.jobs[slot].tenant);
        self.jobs[slot].tenant = self.enter(queue, key, now.mono);
        self.exit(before);
    }

    /// An attempt of this job runs from now on: it counts for every limit.
    pub(super) fn count_start(&mut self, slot: Slot) {
        let live = &self.jobs[slot];
        for shared in &self.queues[live.queue.0 as usize].shares {
            self.limits.shared[*shared].limiter.running += 1;
        }
        for limiter in self.lines.tenants[live.tenant].limiters.iter().filter(|_| !bug!(KeyLimitIgnored)) {
            self.limits.keys.all[*limiter].limiter.running += 1;
        }
    }

    /// It was started now, and not just taken over: it counts for every rate.
    pub(super) fn count_rates(&mut self, slot: Slot, now: Mono) {
        let live = &self.jobs[slot];
        let (starts, queue) = (u64::from(live.weight()), &mut self.queues[live.queue.0 as usize]);
        let keys = &mut self.limits.keys.all;
        for limiter in &self.lines.tenants[live.tenant].limiters {
            if let Some(bucket) = keys[*limiter].limiter.bucket.as_mut() {
                bucket.take(starts, now);
            }
        }
        if bug!(RateIgnored) {
            return;
        }
        let shared = queue.shares.iter();
        for place in shared {
            if let Some(bucket) = self.limits.shared[*place].limiter.bucket.as_mut() {
                bucket.take(starts, now);
            }
        }
        if let Some(bucket) = queue.bucket.as_mut() {
            bucket.take(starts, now);
        }
    }

    /// An attempt of this job has ended: whoever stood aside for it may go.
    pub(super) fn count_end(&mut self, slot: Slot) {
        let live = &self.jobs[slot];
        for shared in &self.queues[live.queue.0 as usize].shares {
            self.limits.shared[*shared].limiter.running -= 1;
        }
        for limiter in self.lines.tenants[live.tenant].limiters.clone() {
            let of = &mut self.limits.keys.all[limiter];
            of.limiter.running -= u32::from(!bug!(KeyLimitIgnored));
            for place in 0..of.tenants.len() {
                let tenant = self.limits.keys.all[limiter].tenants[place];
                if self.lines.tenants[tenant].aside == Some(Aside::UntilAnEnd) {
                    self.lines.come_back(tenant);
                }
            }
        }
    }
}
