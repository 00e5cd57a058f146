//! What events do to limits, and to those who take turns.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::limits::{Scope, rated};
use super::super::lines::Aside;
use super::super::slab::Slot;
use super::super::state::State;
use super::super::tape::Tape;
use crate::breaker::Heard;
use crate::bug;
use crate::change::Setting;
use crate::command::QueueNo;
use crate::job::Name;
use crate::lease::LeaseToken;
use crate::limit::{LimitOf, Override, Share};
use crate::time::{Mono, Now};

impl State {
    /// A job comes into a queue: among those who have its key there.
    pub(super) fn enter(&mut self, queue: QueueNo, key: Option<&Arc<str>>, now: Mono) -> Slot {
        let tenant = match (self.lines.tenant(queue, key.map(|key| &**key)), key) {
            (Some(tenant), _) => tenant,
            (None, Some(key)) => {
                let weight = self.key_weight(queue, key);
                let tenant = self.lines.add_tenant(queue, key.clone(), weight);
                let limits = self.scopes(queue).map(|scope| (scope, self.key_limit(scope, key)));
                let limits: Vec<_> = limits.filter(|(_, limit)| !limit.is_none()).collect();
                self.lines.tenants[tenant].limiters = self.limits.enter(limits.into_iter(), key, tenant, now);
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

    /// A limit is another one from now on, or as the code says.
    pub(super) fn overridden(&mut self, of: &LimitOf, change: Option<Override>, now: Now, tape: &mut Tape) {
        let setting = Setting::Limit(of.clone(), change.unwrap_or_default());
        Self::remember(setting, change.is_some() && !bug!(OverrideForgotten), tape);
        match change {
            Some(change) => drop(self.overrides.insert(of.clone(), change)),
            None => drop(self.overrides.remove(of)),
        }
        self.limit_changed(of, now.mono);
    }

    /// What follows from a limit is as the limit now says.
    pub(super) fn limit_changed(&mut self, of: &LimitOf, now: Mono) {
        let shared = |state: &Self, name: &Name| {
            state.limits.shared.iter().position(|shared| shared.settings.name == *name).map(Scope::Shared)
        };
        match of {
            LimitOf::Queue(name) => {
                let Some(no) = self.queue_no(name) else { return };
                let limit = self.queue_limit(no);
                let queue = &mut self.queues[no.0 as usize];
                queue.bucket = rated(queue.bucket, limit.rate, now);
                self.slots_set(no, self.queues[no.0 as usize].worker_slots);
            }
            LimitOf::Shared(name) => {
                let Some(Scope::Shared(place)) = shared(self, name) else { return };
                let limit = self.shared_limit(place);
                self.limits.shared[place].limiter.set(limit, now);
            }
            LimitOf::EachKey(name) | LimitOf::Key(name, _) => {
                if let Some(no) = self.queue_no(name) {
                    self.key_limits_changed(Scope::Queue(no), now);
                }
            }
            LimitOf::SharedEachKey(name) | LimitOf::SharedKey(name, _) => {
                if let Some(scope) = shared(self, name) {
                    self.key_limits_changed(scope, now);
                }
            }
        }
    }

    /// How many attempts of a queue its worker can run; an operator may have said another number.
    pub(super) fn slots_set(&mut self, no: QueueNo, worker_slots: u32) {
        let over = self.overrides.get(&LimitOf::Queue(self.queue(no).settings.name.clone()));
        let slots = over.and_then(|over| over.slots).unwrap_or(worker_slots);
        let queue = &mut self.queues[no.0 as usize];
        (queue.worker_slots, queue.slots) = (worker_slots, if worker_slots == 0 { 0 } else { slots });
    }

    /// All keys there have the limits and weights that now hold, and all of them may try again.
    fn key_limits_changed(&mut self, scope: Scope, now: Mono) {
        self.limits.keys.forget_idle(usize::MAX, now);
        for (slot, key) in self.limits.keys.of_scope(scope) {
            let limit = self.key_limit(scope, &key);
            self.limits.keys.set(slot, limit, now);
        }
        let mut running: BTreeMap<Slot, u32> = BTreeMap::new();
        for slot in self.running.values() {
            *running.entry(self.jobs[*slot].tenant).or_default() += 1;
        }
        let tenants = self.lines.tenants.iter().filter_map(|(slot, tenant)| {
            let key = tenant.key.clone().filter(|_| self.scopes(tenant.queue).any(|of| of == scope))?;
            Some((slot, tenant.queue, key))
        });
        for (tenant, queue, key) in tenants.collect::<Vec<_>>() {
            let weight = self.key_weight(queue, &key);
            self.lines.set_weight(tenant, weight);
            let limit = self.key_limit(scope, &key);
            let limiters = &self.lines.tenants[tenant].limiters;
            let has = limiters.iter().copied().find(|slot| self.limits.keys.all[*slot].scope == scope);
            match has {
                Some(slot) if limit.is_none() => {
                    self.lines.tenants[tenant].limiters.retain(|one| *one != slot);
                    self.limits.keys.release(slot, tenant);
                }
                None if !limit.is_none() => {
                    let slot = self.limits.keys.take((scope, &key), limit, tenant, (now, now));
                    let runs = running.get(&tenant).copied().unwrap_or_default();
                    self.limits.keys.all[slot].limiter.running += runs;
                    self.lines.tenants[tenant].limiters.push(slot);
                }
                _ => {}
            }
            self.lines.come_back(tenant);
        }
    }

    /// It was started now, and not just taken over: it counts for every rate, and for every breaker.
    pub(super) fn count_rates(&mut self, slot: Slot, token: LeaseToken, now: Mono) {
        let live = &self.jobs[slot];
        let (starts, queue) = (u64::from(live.weight()), &mut self.queues[live.queue.0 as usize]);
        let keys = &mut self.limits.keys.all;
        for limiter in &self.lines.tenants[live.tenant].limiters {
            keys[*limiter].limiter.started(starts, token, now);
        }
        if bug!(RateIgnored) {
            return;
        }
        for place in &queue.shares {
            self.limits.shared[*place].limiter.started(starts, token, now);
        }
        if let Some(bucket) = queue.bucket.as_mut() {
            bucket.take(starts, now);
        }
        if let Some(guard) = &mut queue.guard {
            guard.started(token, now);
        }
        if let Some(budget) = &mut queue.budget {
            budget.started(live.is_retry());
        }
    }

    /// An attempt of this job has ended: whoever stood aside for it may go.
    pub(super) fn count_end(&mut self, slot: Slot, token: LeaseToken, heard: Option<Heard>, now: Mono) {
        let live = &self.jobs[slot];
        let queue = &mut self.queues[live.queue.0 as usize];
        if let Some(guard) = &mut queue.guard {
            guard.ended(token, heard, now);
        }
        for shared in &queue.shares {
            self.limits.shared[*shared].limiter.ended(1, token, heard, now);
        }
        for limiter in self.lines.tenants[live.tenant].limiters.clone() {
            let of = &mut self.limits.keys.all[limiter];
            of.limiter.ended(u32::from(!bug!(KeyLimitIgnored)), token, heard, now);
            for place in 0..of.tenants.len() {
                let tenant = self.limits.keys.all[limiter].tenants[place];
                if self.lines.tenants[tenant].aside == Some(Aside::UntilAnEnd) {
                    self.lines.come_back(tenant);
                }
            }
        }
    }
}
