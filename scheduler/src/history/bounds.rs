//! Limits beside the slots of a queue: of its starts in a time, of each key, and of what several queues share.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::vec::Vec;
use core::mem;

use super::story::Story;
use super::{Bound, Checker, Law, Rules};
use crate::job::JobId;
use crate::rate::Rate;

/// Starts that a rate is judged by: the last ones.
const STARTS_MAX: usize = 300;

/// A start, as a rate counts it.
#[derive(Clone, Copy, Debug)]
struct Start {
    /// When it may have been handed out.
    from_ms: u64,
    /// What it counts for.
    weight: u32,
}

/// A limit, and the last starts under it, of each key where it is one of keys.
#[derive(Debug)]
pub(super) struct BoundSeen {
    bound: Bound,
    starts: BTreeMap<Option<u64>, VecDeque<Start>>,
}

impl BoundSeen {
    /// What was owed beyond a burst is forgotten with the process that knew it.
    pub(super) fn forget_debts(&mut self) {
        let burst = self.bound.rate.map_or(u32::MAX, |rate| rate.burst);
        let starts = self.starts.values_mut().flatten();
        starts.for_each(|start| start.weight = start.weight.min(burst));
    }

    /// However far one looks back: what is too much, in which time, and how much may. What was handed out in time may start a little
    /// later, beside what comes then (how late is told anew by each process); and what counts for more than a burst may be the last one.
    fn too_many(&mut self, rate: Rate, key: Option<u64>, start: Start, now_ms: u64) -> Option<(u128, u64, u128)> {
        let starts = self.starts.entry(key).or_default();
        starts.push_back(start);
        if starts.len() > STARTS_MAX {
            starts.pop_front();
        }
        let most = |since_ms: u64| {
            let time = u128::from(now_ms - since_ms) * u128::from(rate.jobs) / u128::from(rate.period_ms);
            u128::from(rate.burst.max(start.weight)) + time
        };
        let (mut count, mut since_ms) = (0, now_ms);
        let mut back = starts.iter().rev().map(|start| {
            count += u128::from(start.weight);
            since_ms = since_ms.min(start.from_ms);
            (count, since_ms)
        });
        let (count, since_ms) = back.find(|(count, since_ms)| *count > most(*since_ms))?;
        Some((count, now_ms - since_ms, most(since_ms)))
    }
}

impl Checker {
    pub(super) fn bound(&mut self, bound: &Bound) {
        match self.bounds.iter_mut().find(|seen| seen.bound.of == bound.of) {
            Some(seen) => seen.bound = bound.clone(),
            None => self.bounds.push(BoundSeen { bound: bound.clone(), starts: BTreeMap::new() }),
        }
    }

    pub(super) fn judge_bounds(&mut self, story: &Story, rules: &Rules) {
        let mut bounds = mem::take(&mut self.bounds);
        for seen in &mut bounds {
            let Bound { queues, is_of_keys, .. } = &seen.bound;
            // One that may get another one's words may have got another key, and another weight.
            let key = story.intent.limit_key.filter(|_| *is_of_keys && story.intent.alone.is_none());
            if queues.contains(&story.queue) && (!is_of_keys || key.is_some()) {
                self.judge_slots(&seen.bound, story, key);
                self.judge_rate(seen, story, key, rules.start_ms_max);
            }
        }
        self.bounds = bounds;
    }

    fn judge_slots(&mut self, bound: &Bound, story: &Story, key: Option<u64>) {
        let Some(slots) = bound.slots else { return };
        let is_of_key = |other: &Story| other.intent.alone.is_none() && other.intent.limit_key == key;
        let is_under = |other: &&Story| {
            let is_known = other.fills_slot && !other.ran_through_a_break && bound.queues.contains(&other.queue);
            is_known && (!bound.is_of_keys || is_of_key(other))
        };
        let others = self.running.keys().filter(|id| **id != story.intent.id);
        let others = others.filter_map(|id| self.stories.get(id)).filter(is_under);
        let beside: Vec<JobId> = others.map(|other| other.intent.id).collect();
        if beside.len() >= slots as usize {
            let found = format!("{beside:?} run under the limit of {}, {slots} may", bound.of);
            self.broken(Law::LimitKept, Some(story.intent.id), found);
        }
    }

    fn judge_rate(&mut self, seen: &mut BoundSeen, story: &Story, key: Option<u64>, start_ms_max: Option<u64>) {
        let (Some(rate), Some(late_ms)) = (seen.bound.rate, start_ms_max) else { return };
        let weight = if story.intent.alone.is_none() { story.intent.weight } else { 1 };
        let start = Start { from_ms: self.now_ms.saturating_sub(late_ms), weight };
        if let Some((count, time_ms, most)) = seen.too_many(rate, key, start, self.now_ms) {
            let found =
                format!("{count} attempts start under the rate of {} in {time_ms} ms, {most} may", seen.bound.of);
            self.broken(Law::RateKept, Some(story.intent.id), found);
        }
    }
}
