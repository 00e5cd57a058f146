//! What limits leave free: counts of what runs, and buckets of what may start.
//!
//! Owns the limiters of keys and of what several queues share, and their audit. Never decides who goes: it says whether one may.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::lines::Aside;
use super::slab::{Slab, Slot};
use super::state::State;
use crate::breaker::{Breaker, Guard, Heard};
use crate::command::QueueNo;
use crate::lease::LeaseToken;
use crate::limit::{Limit, LimitOf, Override, SharedLimit};
use crate::rate::{Bucket, Rate};
use crate::time::Mono;

/// Why nothing may start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    /// As many run as may: until one of them ends.
    Full { running: u32, slots: u32 },
    /// As many started as may: until then.
    Slow { rate: Rate, next: Mono },
    /// Most attempts failed: for so long.
    Tripped(Aside),
}

impl Closed {
    /// For how long whoever may not go stands aside.
    pub(crate) const fn aside(self) -> Aside {
        match self {
            Self::Full { .. } => Aside::UntilAnEnd,
            Self::Slow { next, .. } => Aside::Until(next),
            Self::Tripped(aside) => aside,
        }
    }
}

/// A limit, and what is used up of it.
#[derive(Clone, Debug)]
pub(crate) struct Limiter {
    slots: Option<u32>,
    pub(crate) running: u32,
    pub(crate) bucket: Option<Bucket>,
    pub(crate) guard: Option<Box<Guard>>,
}

/// A bucket of this rate from now on: the same one, or an empty one.
pub(crate) fn rated(bucket: Option<Bucket>, rate: Option<Rate>, now: Mono) -> Option<Bucket> {
    let rate = rate?;
    bucket.filter(|bucket| bucket.rate == rate).or_else(|| Some(Bucket::empty(rate, now)))
}

/// Closed.
pub(crate) fn guarded(breaker: Option<Breaker>) -> Option<Box<Guard>> {
    breaker.map(|breaker| Box::new(Guard::new(breaker)))
}

impl Limiter {
    pub(crate) fn new(limit: Limit, started: Mono) -> Self {
        let bucket = limit.rate.map(|rate| Bucket::empty(rate, started));
        Self { slots: limit.slots, running: 0, bucket, guard: guarded(limit.breaker) }
    }

    /// It is this limit from now on.
    pub(crate) fn set(&mut self, limit: Limit, now: Mono) {
        self.slots = limit.slots;
        self.bucket = rated(self.bucket, limit.rate, now);
        let guard = self.guard.take().filter(|guard| limit.breaker == Some(guard.breaker));
        self.guard = guard.or_else(|| guarded(limit.breaker));
    }

    /// Why a job that counts for so many starts may not start.
    pub(crate) fn closed(&self, weight: u32, now: Mono) -> Option<Closed> {
        if let Some(slots) = self.slots.filter(|slots| self.running >= *slots) {
            return Some(Closed::Full { running: self.running, slots });
        }
        if let Some(closed) = tripped(self.guard.as_deref(), now) {
            return Some(closed);
        }
        let bucket = self.bucket.as_ref()?;
        (!bucket.has(weight, now)).then(|| Closed::Slow { rate: bucket.rate, next: bucket.next(weight) })
    }

    /// An attempt starts, which counts for so many.
    pub(crate) fn started(&mut self, starts: u64, token: LeaseToken, now: Mono) {
        if let Some(bucket) = &mut self.bucket {
            bucket.take(starts, now);
        }
        if let Some(guard) = &mut self.guard {
            guard.started(token, now);
        }
    }

    /// An attempt has ended, which was counted so often.
    pub(crate) fn ended(&mut self, counted: u32, token: LeaseToken, heard: Option<Heard>, now: Mono) {
        self.running -= counted;
        if let Some(guard) = &mut self.guard {
            guard.ended(token, heard, now);
        }
    }

    /// When it is as if nothing had started or failed; `None`: it always is.
    fn as_new_at(&self) -> Option<Mono> {
        let full_at = self.bucket.map(|bucket| bucket.full_at());
        let forgets_at = self.guard.as_ref().map(|guard| guard.as_new_at()).filter(|at| *at > Mono(0));
        full_at.max(forgets_at)
    }
}

/// Whether a breaker lets nothing through.
pub(crate) fn tripped(guard: Option<&Guard>, now: Mono) -> Option<Closed> {
    guard?.trips(now).map(Closed::Tripped)
}

/// Whose keys a limiter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    Queue(QueueNo),
    /// By its place among the shared limits.
    Shared(usize),
}

/// The limiter of one key.
#[derive(Debug)]
pub(crate) struct KeyLimiter {
    pub(crate) key: Arc<str>,
    pub(crate) scope: Scope,
    pub(crate) limiter: Limiter,
    /// Those who go by it: of one queue, or of several.
    pub(crate) tenants: Vec<Slot>,
}

/// The limiter of several queues.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: SharedLimit,
    pub(crate) limiter: Limiter,
}

/// All limiters but for those of whole queues.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub(crate) shared: Vec<Shared>,
    pub(crate) keys: KeyLimiters,
    /// When the process began: what was started before, nobody has counted.
    pub(crate) started: Mono,
}

/// The limiters of keys: of those that have live jobs, or whose rates are not yet as good as new.
#[derive(Debug)]
pub(crate) struct KeyLimiters {
    pub(crate) all: Slab<KeyLimiter>,
    by_key: BTreeMap<(Scope, Arc<str>), Slot>,
    /// Those without jobs, and when each is as good as new.
    idle: BTreeSet<(Mono, Slot)>,
}

impl Default for KeyLimiters {
    fn default() -> Self {
        Self { all: Slab::new(), by_key: BTreeMap::new(), idle: BTreeSet::new() }
    }
}

impl KeyLimiters {
    /// What a limiter takes beside its text: its place, its entries in two trees.
    pub(crate) const BYTES: usize = 2 * size_of::<KeyLimiter>() + 96;
    /// How many that are as good as new are forgotten for each new one: more than one, so that they get fewer.
    const FORGOTTEN_FOR_EACH: usize = 2;

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// That of a key.
    pub(crate) fn find(&self, scope: Scope, key: &str) -> Option<&Limiter> {
        Some(&self.all[*self.by_key.get(&(scope, key.into()))?].limiter)
    }

    /// Those of keys that no live job has.
    pub(crate) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// The limiter of this key there: that which was, or a new one.
    pub(crate) fn take(
        &mut self,
        (scope, key): (Scope, &Arc<str>),
        limit: Limit,
        tenant: Slot,
        (started, now): (Mono, Mono),
    ) -> Slot {
        let slot = self.slot(scope, key, limit, started, now);
        self.all[slot].tenants.push(tenant);
        slot
    }

    fn slot(&mut self, scope: Scope, key: &Arc<str>, limit: Limit, started: Mono, now: Mono) -> Slot {
        if let Some(slot) = self.by_key.get(&(scope, key.clone())) {
            if let Some(as_new) = self.all[*slot].limiter.as_new_at() {
                self.idle.remove(&(as_new, *slot));
            }
            return *slot;
        }
        self.forget_idle(Self::FORGOTTEN_FOR_EACH, now);
        let limiter = Limiter::new(limit, started);
        let slot = self.all.insert(KeyLimiter { key: key.clone(), scope, limiter, tenants: Vec::new() });
        self.by_key.insert((scope, key.clone()), slot);
        slot
    }

    /// Forgets some of those that nobody has and that are as good as new.
    pub(crate) fn forget_idle(&mut self, most: usize, now: Mono) {
        for _ in 0..most {
            let Some((_, slot)) = self.idle.first().copied().filter(|(full, _)| *full <= now) else { break };
            self.idle.pop_first();
            self.forget(slot);
        }
    }

    /// A limiter is another one from now on; one that nobody has and that limits nothing any more is forgotten.
    pub(crate) fn set(&mut self, slot: Slot, limit: Limit, now: Mono) {
        let of = &mut self.all[slot];
        let is_idle = of.tenants.is_empty();
        if let Some(as_new) = of.limiter.as_new_at().filter(|_| is_idle) {
            self.idle.remove(&(as_new, slot));
        }
        of.limiter.set(limit, now);
        match of.limiter.as_new_at() {
            Some(as_new) if is_idle => drop(self.idle.insert((as_new, slot))),
            None if is_idle => self.forget(slot),
            _ => {}
        }
    }

    /// Those of a scope.
    pub(crate) fn of_scope(&self, scope: Scope) -> Vec<(Slot, Arc<str>)> {
        let mine = self.by_key.iter().filter(|((of, _), _)| *of == scope);
        mine.map(|((_, key), slot)| (*slot, key.clone())).collect()
    }

    /// One who went by it has gone: a limiter that nobody goes by stays until it is as good as new.
    pub(crate) fn release(&mut self, slot: Slot, tenant: Slot) {
        let of = &mut self.all[slot];
        of.tenants.retain(|one| *one != tenant);
        if !of.tenants.is_empty() {
            return;
        }
        match of.limiter.as_new_at() {
            Some(as_new) => drop(self.idle.insert((as_new, slot))),
            None => self.forget(slot),
        }
    }

    fn forget(&mut self, slot: Slot) {
        let gone = self.all.remove(slot);
        self.by_key.remove(&(gone.scope, gone.key));
    }
}

impl Limits {
    pub(crate) fn new(shared: &[SharedLimit]) -> Self {
        let entry = |settings: &SharedLimit| Shared {
            settings: settings.clone(),
            limiter: Limiter::new(settings.all, Mono(0)),
        };
        Self { shared: shared.iter().map(entry).collect(), ..Self::default() }
    }

    /// Which of them have these names.
    pub(crate) fn places_of<'a>(&'a self, names: &'a [crate::job::Name]) -> impl Iterator<Item = usize> + 'a {
        names.iter().filter_map(|name| self.shared.iter().position(|shared| shared.settings.name == *name))
    }

    /// The limiters of a key in a queue, for a tenant there.
    pub(crate) fn enter(
        &mut self,
        limits: impl Iterator<Item = (Scope, Limit)>,
        key: &Arc<str>,
        tenant: Slot,
        now: Mono,
    ) -> Vec<Slot> {
        let times = (self.started, now);
        limits.map(|(scope, limit)| self.keys.take((scope, key), limit, tenant, times)).collect()
    }

    /// A process begins: with nothing in hand.
    pub(crate) fn begin(&mut self, now: Mono) {
        self.started = now;
        // Of jobs that were loaded and are not there any more.
        for (_, slot) in core::mem::take(&mut self.keys.idle) {
            self.keys.forget(slot);
        }
        let keys = &mut self.keys.all;
        let places = keys.places() as Slot;
        let of_keys = (0..places).filter_map(|slot| keys.get(slot).map(|_| slot)).collect::<Vec<_>>();
        for slot in of_keys {
            empty(&mut keys[slot].limiter, now);
        }
        for shared in &mut self.shared {
            empty(&mut shared.limiter, now);
        }
    }
}

impl State {
    fn override_of(&self, of: &LimitOf) -> Override {
        self.overrides.get(of).copied().unwrap_or_default()
    }

    /// What limits all of a queue.
    pub(crate) fn queue_limit(&self, no: QueueNo) -> Limit {
        let settings = &self.queue(no).settings;
        self.override_of(&LimitOf::Queue(settings.name.clone())).over(settings.limit())
    }

    /// Starts in one turn of a queue, among those that it shares a limit with.
    pub(crate) fn share_weight(&self, no: QueueNo) -> u32 {
        let settings = &self.queue(no).settings;
        self.override_of(&LimitOf::Queue(settings.name.clone())).weight.unwrap_or(settings.share_weight)
    }

    /// What limits all of the queues that share this one.
    pub(crate) fn shared_limit(&self, place: usize) -> Limit {
        let settings = &self.limits.shared[place].settings;
        self.override_of(&LimitOf::Shared(settings.name.clone())).over(settings.all)
    }

    /// What limits a key there: its own limit, or that of each, and what is set over it.
    pub(crate) fn key_limit(&self, scope: Scope, key: &str) -> Limit {
        let (keys, each) = match scope {
            Scope::Queue(no) => {
                let settings = &self.queue(no).settings;
                (&settings.keys, LimitOf::EachKey(settings.name.clone()))
            }
            Scope::Shared(place) => {
                let settings = &self.limits.shared[place].settings;
                (&settings.keys, LimitOf::SharedEachKey(settings.name.clone()))
            }
        };
        let each = || self.override_of(&each).over(keys.each);
        let limit = keys.of.get(key).copied().unwrap_or_else(each);
        if self.overrides.is_empty() { limit } else { self.override_of(&self.of_key(scope, key)).over(limit) }
    }

    /// What the limit of a key there is called.
    pub(crate) fn of_key(&self, scope: Scope, key: &str) -> LimitOf {
        match scope {
            Scope::Queue(no) => LimitOf::Key(self.queue(no).settings.name.clone(), key.into()),
            Scope::Shared(place) => LimitOf::SharedKey(self.limits.shared[place].settings.name.clone(), key.into()),
        }
    }

    /// Starts in one turn of a key.
    pub(crate) fn key_weight(&self, no: QueueNo, key: &str) -> u32 {
        let settings = &self.queue(no).settings;
        let configured = settings.key_weights.get(key).copied().unwrap_or(1);
        self.override_of(&LimitOf::Key(settings.name.clone(), key.into())).weight.unwrap_or(configured)
    }

    /// Whose limits a key of a queue has.
    pub(crate) fn scopes(&self, no: QueueNo) -> impl Iterator<Item = Scope> + '_ {
        let shared = self.queue(no).shares.iter().map(|place| Scope::Shared(*place));
        core::iter::once(Scope::Queue(no)).chain(shared)
    }
}

fn empty(limiter: &mut Limiter, now: Mono) {
    if let Some(bucket) = &mut limiter.bucket {
        *bucket = Bucket::empty(bucket.rate, now);
    }
    limiter.guard = guarded(limiter.guard.as_ref().map(|guard| guard.breaker));
}

/// Checks limiters against what runs, and against those who go by them.
pub(crate) fn audit(state: &State) -> Result<(), String> {
    let mut shared = alloc::vec![0; state.limits.shared.len()];
    let mut keys: BTreeMap<Slot, u32> = BTreeMap::new();
    for (_, live) in state.jobs.iter().filter(|(_, live)| live.run().is_some()) {
        for no in &state.queue(live.queue).shares {
            shared[*no] += 1;
        }
        for slot in &state.lines.tenants[live.tenant].limiters {
            *keys.entry(*slot).or_default() += 1;
        }
    }
    for (of, running) in state.limits.shared.iter().zip(shared) {
        if of.limiter.running != running {
            let name = &of.settings.name;
            return Err(format!("{running} run that share {name}, counted {}", of.limiter.running));
        }
    }
    let all = &state.limits.keys;
    let of_keys = all.all.iter().map(|(_, of)| &of.limiter.guard);
    let of_shared = state.limits.shared.iter().map(|of| &of.limiter.guard);
    let guards = state.queues.iter().map(|queue| &queue.guard).chain(of_shared).chain(of_keys).flatten();
    if let Some(token) = guards.flat_map(|guard| guard.trying()).find(|token| !state.running.contains_key(token)) {
        return Err(format!("a breaker waits for {token:?}, which does not run"));
    }
    for (slot, of) in all.all.iter() {
        let running = keys.get(&slot).copied().unwrap_or_default();
        let known = all.by_key.get(&(of.scope, of.key.clone())) == Some(&slot);
        let is_idle = of.limiter.as_new_at().is_some_and(|as_new| all.idle.contains(&(as_new, slot)));
        if of.limiter.running != running || !known || is_idle != of.tenants.is_empty() {
            return Err(format!("{running} of key {} run, its limiter is {of:?}", of.key));
        }
        let is_theirs =
            |tenant: &Slot| state.lines.tenants.get(*tenant).is_some_and(|one| one.limiters.contains(&slot));
        if !of.tenants.iter().all(is_theirs) {
            return Err(format!("tenants {:?} do not know the limiter of key {}", of.tenants, of.key));
        }
    }
    if all.all.len() != all.by_key.len() {
        return Err(format!("{} limiters for {} keys", all.all.len(), all.by_key.len()));
    }
    Ok(())
}
