//! Limits as operators see and set them.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::super::limits::Scope;
use super::super::outbox::Mark;
use super::super::slab::Slot;
use super::super::state::State;
use super::Decision;
use crate::breaker::{Circuit, Guard};
use crate::command::{QueueNo, Request};
use crate::effect::Answer;
use crate::event::Event;
use crate::job::Name;
use crate::limit::{KeyLimits, Limit, LimitOf, LimitView, Override};
use crate::refusal::Refusal;
use crate::settings::Level;
use crate::time::Now;

/// Of the keys of one queue or shared limit whose breakers are not closed, so many are shown.
const TRIPPED_MAX: usize = 1_000;

/// Sets something over a limit that the code says, or takes it away; remembered whatever the queue's level.
pub(crate) fn set(
    state: &State,
    request: Request,
    of: LimitOf,
    change: Option<Override>,
    now: Now,
) -> Result<Decision, Refusal> {
    let mut decision = Decision::default();
    if change.is_some() {
        check(state, &of)?;
    }
    if state.overrides.get(&of) != change.as_ref() {
        decision.events.push(Event::Overridden { of, change, now });
    }
    Ok(decision.reply(Mark::from(Level::Durable), request, Ok(Answer::Ok)))
}

fn check(state: &State, of: &LimitOf) -> Result<(), Refusal> {
    match of {
        LimitOf::Queue(name) | LimitOf::EachKey(name) | LimitOf::Key(name, _) => {
            let no = state.queue_no(name).filter(|no| state.queue(*no).is_configured);
            no.ok_or_else(|| Refusal::NoQueue { queue: name.clone() })?;
        }
        LimitOf::Shared(name) | LimitOf::SharedEachKey(name) | LimitOf::SharedKey(name, _) => {
            if state.limits.shared.iter().all(|shared| shared.settings.name != *name) {
                return Err(Refusal::NoSharedLimit { limit: name.clone() });
            }
        }
    }
    let overrides_max = Refusal::OVERRIDES_MAX;
    if state.overrides.len() >= overrides_max && !state.overrides.contains_key(of) {
        return Err(Refusal::TooManyOverrides { overrides_max });
    }
    Ok(())
}

/// All limits that the code says, or an operator.
pub(crate) fn list(state: &State, now: Now) -> Vec<LimitView> {
    let mut of_tenants: BTreeMap<Slot, u64> = BTreeMap::new();
    for slot in state.running.values() {
        *of_tenants.entry(state.jobs[*slot].tenant).or_default() += 1;
    }
    let running = |queues: &[QueueNo], key: &str| {
        let tenants = queues.iter().filter_map(|no| state.lines.tenant(*no, Some(key)));
        tenants.filter_map(|tenant| of_tenants.get(&tenant)).sum()
    };
    let queues = (0..).map(QueueNo).zip(&state.queues).filter(|(_, queue)| queue.is_configured);
    let mut all = Vec::new();
    for (no, queue) in queues.clone() {
        let settings = &queue.settings;
        let weight = (!queue.shares.is_empty()).then_some(settings.share_weight);
        all.push(view(state, LimitOf::Queue(settings.name.clone()), said(&settings.limit(), weight), queue.running));
        let each = LimitOf::EachKey(settings.name.clone());
        let of_key = |key: &str| LimitOf::Key(settings.name.clone(), key.into());
        let others = settings.key_weights.keys().cloned().chain(tripped(state, Scope::Queue(no), now));
        for (of, key) in keys_of(state, &settings.keys, others, each, of_key) {
            let weight = key.as_ref().and_then(|key| settings.key_weights.get(key).copied());
            all.push(view_of_key(state, of, &settings.keys, (key, weight), |key| running(&[no], key)));
        }
    }
    for (place, shared) in state.limits.shared.iter().enumerate() {
        let settings = &shared.settings;
        let of_all = shared.limiter.running.into();
        all.push(view(state, LimitOf::Shared(settings.name.clone()), said(&settings.all, None), of_all));
        let mine = queues.clone().filter(|(_, queue)| queue.shares.contains(&place)).map(|(no, _)| no);
        let mine: Vec<_> = mine.collect();
        let each = LimitOf::SharedEachKey(settings.name.clone());
        let of_key = |key: &str| LimitOf::SharedKey(settings.name.clone(), key.into());
        for (of, key) in keys_of(state, &settings.keys, tripped(state, Scope::Shared(place), now), each, of_key) {
            all.push(view_of_key(state, of, &settings.keys, (key, None), |key| running(&mine, key)));
        }
    }
    // What is set over limits that this build has not stands, and can be reset.
    let known: BTreeSet<_> = all.iter().map(|limit| limit.of.clone()).collect();
    let others = state.overrides.keys().filter(|of| !known.contains(of));
    all.extend(others.map(|of| view(state, of.clone(), Override::default(), 0)));
    for limit in &mut all {
        limit.circuit = guard(state, &limit.of).map(|guard| guard.circuit(now.mono));
    }
    all
}

/// The limits of queues that have more than slots, and those that queues share: of no key.
pub(crate) fn of_all(state: &State, now: Now) -> Vec<LimitView> {
    let has_more = |limit: &Limit| limit.rate.is_some() || limit.breaker.is_some();
    let queues = state.queues.iter().filter(|queue| queue.is_configured && has_more(&queue.settings.limit()));
    let of_queues = queues.map(|queue| {
        let (settings, circuit) = (&queue.settings, queue.guard.as_ref().map(|guard| guard.circuit(now.mono)));
        let of = LimitOf::Queue(settings.name.clone());
        LimitView { circuit, ..view(state, of, said(&settings.limit(), None), queue.running) }
    });
    let of_shared = state.limits.shared.iter().map(|shared| {
        let (settings, limiter) = (&shared.settings, &shared.limiter);
        let circuit = limiter.guard.as_ref().map(|guard| guard.circuit(now.mono));
        let of = LimitOf::Shared(settings.name.clone());
        LimitView { circuit, ..view(state, of, said(&settings.all, None), limiter.running.into()) }
    });
    of_queues.chain(of_shared).collect()
}

/// The breaker of a limit.
fn guard<'a>(state: &'a State, of: &LimitOf) -> Option<&'a Guard> {
    let shared = |name: &Name| state.limits.shared.iter().position(|shared| shared.settings.name == *name);
    let of_key = |scope: Scope, key: &str| state.limits.keys.find(scope, key)?.guard.as_deref();
    match of {
        LimitOf::Queue(name) => state.queue(state.queue_no(name)?).guard.as_deref(),
        LimitOf::Shared(name) => state.limits.shared[shared(name)?].limiter.guard.as_deref(),
        LimitOf::Key(name, key) => of_key(Scope::Queue(state.queue_no(name)?), key),
        LimitOf::SharedKey(name, key) => of_key(Scope::Shared(shared(name)?), key),
        LimitOf::EachKey(_) | LimitOf::SharedEachKey(_) => None,
    }
}

/// Keys whose breakers are not closed, up to so many that nobody reads more.
fn tripped(state: &State, scope: Scope, now: Now) -> impl Iterator<Item = Box<str>> {
    let circuit = move |slot: Slot| Some(state.limits.keys.all[slot].limiter.guard.as_ref()?.circuit(now.mono));
    let is_tripped = move |slot: Slot| circuit(slot).is_some_and(|circuit| !matches!(circuit, Circuit::Closed { .. }));
    let keys = state.limits.keys.of_scope(scope).into_iter().filter(move |(slot, _)| is_tripped(*slot));
    keys.take(TRIPPED_MAX).map(|(_, key)| Box::from(&*key))
}

const fn said(limit: &Limit, weight: Option<u32>) -> Override {
    Override { slots: limit.slots, rate: limit.rate, weight }
}

fn view(state: &State, of: LimitOf, configured: Override, running: u64) -> LimitView {
    LimitView { configured, overridden: state.overrides.get(&of).copied(), running, of, circuit: None }
}

/// Of a key with its weight, or of each.
fn view_of_key(
    state: &State,
    of: LimitOf,
    keys: &KeyLimits,
    (key, weight): (Option<Box<str>>, Option<u32>),
    running: impl Fn(&str) -> u64,
) -> LimitView {
    let limit = key.as_ref().map_or(keys.each, |key| keys.of(key));
    view(state, of, said(&limit, weight), key.map_or(0, |key| running(&key)))
}

/// Each key, if there is something to say of it, and those of which something else is said.
fn keys_of<'a>(
    state: &'a State,
    keys: &'a KeyLimits,
    others: impl Iterator<Item = Box<str>>,
    each: LimitOf,
    of_key: impl Fn(&str) -> LimitOf,
) -> Vec<(LimitOf, Option<Box<str>>)> {
    let set = state.overrides.keys().filter_map(|of| match of {
        LimitOf::Key(_, key) | LimitOf::SharedKey(_, key) if *of == of_key(key) => Some(key),
        _ => None,
    });
    let named: BTreeSet<_> = keys.of.keys().chain(set).cloned().chain(others).collect();
    let has_each = !keys.each.is_none() || state.overrides.contains_key(&each);
    let each = has_each.then_some((each, None));
    each.into_iter().chain(named.into_iter().map(|key| (of_key(&key), Some(key)))).collect()
}
