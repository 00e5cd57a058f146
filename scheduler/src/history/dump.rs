//! What the store holds, against what was promised.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use super::line::Line;
use super::story::{Known, Promise, Story, survives};
use super::{Checker, Dump, Kept, Law};
use crate::change::Counters;
use crate::job::{JobId, Name};
use crate::settings::Level;
use crate::state::EndState;

impl Checker {
    pub(super) fn dump(&mut self, dump: &Dump) {
        self.seen.dumps += 1;
        let mut here: BTreeMap<JobId, &Kept> = BTreeMap::new();
        for kept in &dump.jobs {
            if here.insert(kept.id, kept).is_some() {
                self.broken(Law::OnePlace, Some(kept.id), format!("{} is in the store twice", kept.id));
            }
        }
        for kept in here.values() {
            self.kept(kept);
        }
        let missing: Vec<JobId> = self.stories.keys().copied().filter(|id| !here.contains_key(id)).collect();
        let last_present = self.last_present(&here);
        let mut unread = dump.quarantined;
        for id in missing {
            self.missing(id, last_present, &mut unread);
        }
        self.groups(&here);
        self.families(&here);
        self.queues_of(dump, &here);
        let places: BTreeMap<JobId, bool> = here.iter().map(|(id, kept)| (*id, kept.ended.is_some())).collect();
        if self.last_dump.as_ref().is_some_and(|last| *last != places) {
            let last = self.last_dump.as_ref().map_or(0, BTreeMap::len);
            let found = format!("the store held {last} jobs, holds {} now, and nothing was done", places.len());
            self.broken(Law::SameAgain, None, found);
        }
        self.last_dump = Some(places);
        self.counted = None;
        self.power_lost_ms = None;
        self.is_drained = false;
    }

    /// One that is there.
    fn kept(&mut self, kept: &Kept) {
        let (id, now_ms) = (kept.id, self.now_ms);
        let Some(story) = self.stories.get_mut(&id) else {
            return self.broken(Law::NothingInvented, Some(id), format!("{id} is in the store; nobody handed it in"));
        };
        let Kept { ended, attempts_ended, open, failures, .. } = *kept;
        story.life.push(now_ms, Line::Found { ended, attempts_ended, open, failures });
        let story = story.clone();
        if matches!(story.promise, Promise::Never | Promise::Over) && !story.is_shared() {
            let found = format!("{id} is in the store; it was refused, or had been missing");
            self.broken(Law::NothingInvented, Some(id), found);
        }
        if kept.payload.is_some_and(|payload| !self.has_payload(&story, payload)) {
            self.broken(Law::SamePayload, Some(id), format!("the store keeps other bytes of {id} than were handed in"));
        }
        if kept.queue != story.queue && !story.is_steered && !story.is_shared() {
            let found = format!("{id} is in `{}`, and was handed in to `{}`", kept.queue, story.queue);
            self.broken(Law::OnePlace, Some(id), found);
        }
        if !story.is_shared() {
            self.judge_attempts(kept);
            self.judge_end(kept);
        }
        if self.is_drained && kept.ended.is_none() {
            self.broken(Law::EveryJobEnds, Some(id), format!("{id} has not ended"));
        }
        let (deaths, power_losses) = (self.deaths, self.power_losses);
        let is_durable = self.level(&story.queue) == Level::Durable;
        let queue = kept.queue.clone();
        self.with(id, |story| {
            if story.power_losses < power_losses && !is_durable {
                story.cancelled = None;
            }
            (story.promise, story.queue) = (Promise::Seen, queue);
            (story.known, story.deaths, story.power_losses) = (kept.claimed(), deaths, power_losses);
            // Of an attempt that was handed out and never told, too.
            let is_told = story.lost.is_some_and(|(lost, _)| kept.open == Some(lost));
            story.losses += u32::from(kept.open.is_some() && !is_told);
            if story.last_end.is_some_and(|last| last.attempt > kept.attempts_ended) {
                // The end died on its way to the store.
                (story.last_end, story.due_ms) = (None, story.intent.due_ms);
            }
            story.failed.retain(|attempt| *attempt <= kept.attempts_ended);
            story.perhaps_failed.retain(|attempt| *attempt <= kept.attempts_ended);
            // An end that the store has is one that a later process starts from.
            story.end = kept.ended.map(|end| Known { end, is_durable });
        });
    }

    fn judge_attempts(&mut self, kept: &Kept) {
        let Some(story) = self.stories.get(&kept.id) else { return };
        let (id, claimed, known) = (kept.id, kept.claimed(), story.known);
        let is_forgotten = story.power_losses < self.power_losses;
        let hidden = u32::try_from(self.deaths - story.deaths).unwrap_or(u32::MAX);
        let lost = story.lost.filter(|(_, life)| *life == self.lives).map(|(attempt, _)| attempt);
        let (last_end, is_steered) = (story.last_end, story.is_steered);
        let failed = story.failed.iter().filter(|attempt| **attempt <= kept.attempts_ended).count();
        let perhaps = story.perhaps_failed.iter().filter(|attempt| **attempt <= kept.attempts_ended).count();
        if claimed < known && !is_forgotten {
            let found = format!("the store knows {claimed} attempts, and attempt {known} ran");
            self.broken(Law::ClaimedFirst, Some(id), found);
        }
        // What was claimed and never begun is told by nobody: one each death, or each cancel and stop.
        let most = known.saturating_add(hidden).saturating_add(1);
        if claimed > most {
            let found = format!("the store knows {claimed} attempts, {most} can be at most");
            self.broken(Law::AttemptsInOrder, Some(id), found);
        }
        if let Some(lost) = lost.filter(|lost| kept.ended.is_none() && kept.attempts_ended >= *lost) {
            let found = format!("attempt {lost} ran when its process died, and the store has its end");
            self.broken(Law::EndsAreTold, Some(id), found);
        }
        let failures = kept.failures as usize;
        let is_exact = !is_steered && !is_forgotten && last_end.is_none_or(|last| !last.while_stopping);
        if is_exact && !(failed..=failed + perhaps).contains(&failures) {
            let found = format!("{failures} failures are in the store, {failed} were told and {perhaps} may be");
            self.broken(Law::EndsAreTold, Some(id), found);
        }
    }

    fn judge_end(&mut self, kept: &Kept) {
        let Some(story) = self.stories.get(&kept.id).filter(|story| !story.is_steered) else { return };
        let (id, is_forgotten) = (kept.id, story.power_losses < self.power_losses);
        let known = story.end.filter(|known| known.is_durable || !is_forgotten);
        let cancelled = story.cancelled;
        let wrong = match (kept.ended, known) {
            (None, Some(known)) => Some((Law::EndIsFinal, format!("it is live, and had ended: {:?}", known.end))),
            (Some(end), Some(known)) if end != known.end => {
                Some((Law::EndIsFinal, format!("it is {end:?}, and had ended: {:?}", known.end)))
            }
            (Some(end), None) => self.explain(story, end, kept.is_condemned).map(|found| (Law::EndsAreTold, found)),
            _ => None,
        };
        if let Some((law, found)) = wrong {
            self.broken(law, Some(id), found);
        }
        let has_run_on = matches!(kept.ended, Some(EndState::Dead | EndState::Expired));
        if has_run_on && cancelled.is_some() && self.level(&kept.queue) != Level::Memory {
            let found = format!("it was cancelled, and is {:?}", kept.ended);
            self.broken(Law::CancelSticks, Some(id), found);
        }
    }

    /// Of all calls, the last whose job is there, by the event of the call.
    fn last_present(&self, here: &BTreeMap<JobId, &Kept>) -> u64 {
        let present = here.keys().filter_map(|id| self.stories.get(id)).filter(|story| story.parent.is_none());
        present.map(|story| story.called_no).max().unwrap_or(0)
    }

    /// One that is not there.
    fn missing(&mut self, id: JobId, last_present: u64, unread: &mut u64) {
        let Some(story) = self.stories.get(&id) else { return };
        let rules = self.rules(&story.queue).cloned();
        let level = self.level(&story.queue);
        // A follow-up that never was is judged with its parent.
        let is_never = matches!(story.promise, Promise::Never | Promise::Over);
        if is_never || story.parent.is_some() && story.promise == Promise::Open {
            return;
        }
        let is_forgotten = story.power_losses < self.power_losses;
        if let Some(end) = story.gone_as(rules.as_ref()) {
            // Power may have taken it from its very beginning, and of an open call nobody knows: then it is not counted.
            let is_safe = !is_forgotten || level == Level::Durable && story.accepted_no.is_some();
            let is_sure = story.exists() && is_safe && !story.is_shared();
            let end = story.end.or(Some(Known { end, is_durable: true }));
            return self.with(id, |story| {
                story.end = end;
                story.promise = if is_sure { Promise::Seen } else { Promise::Over };
            });
        }
        let has_died = story.deaths < self.deaths;
        // What ran before its acceptance was safe, or was left by an end that was not synced, power may take at any level.
        let is_promised = story.accepted_no.is_some();
        let is_of_this_life = story.ends == self.ends;
        let is_safe = !has_died || survives(level, is_forgotten) && (is_promised || !is_forgotten);
        let is_owed = story.exists() && is_safe && (level != Level::Memory || is_of_this_life);
        let now_ms = self.now_ms;
        let (accepted_no, accepted_ms) = (story.accepted_no, story.accepted_ms);
        self.with(id, |story| story.life.push(now_ms, Line::Missing));
        if is_owed {
            if *unread > 0 {
                *unread -= 1;
                return self.with(id, |story| story.promise = Promise::Never);
            }
            self.seen.missing += 1;
            let found = format!("{id} was accepted, has not ended, and is not in the store");
            self.broken(Law::NothingLost, Some(id), found);
        } else if is_forgotten && level != Level::Memory {
            self.seen.lost_to_power += u64::from(accepted_no.is_some());
            if accepted_no.is_some_and(|no| no < last_present) {
                let found = format!("{id} is gone, and one that was handed in after its Ok is there");
                self.broken(Law::NoHole, Some(id), found);
            }
            let window = rules.and_then(|rules| rules.window_ms_max).zip(self.power_lost_ms);
            if let Some((max_ms, at_ms)) = window.filter(|(max_ms, at_ms)| accepted_ms + max_ms < *at_ms)
                && accepted_no.is_some()
            {
                let found = format!(
                    "{id} is gone, accepted {} ms before the power failed; {max_ms} ms may be lost",
                    at_ms - accepted_ms
                );
                self.broken(Law::WindowKept, Some(id), found);
            }
        }
        self.with(id, |story| story.promise = Promise::Never);
    }

    /// Calls with several jobs: one of them there means all of them, or they have gone as they may.
    fn groups(&mut self, here: &BTreeMap<JobId, &Kept>) {
        let groups = core::mem::take(&mut self.groups);
        for (call, ids) in groups {
            if self.calls.contains_key(&call) {
                self.groups.insert(call, ids);
                continue;
            }
            let mine = ids.iter().filter_map(|id| Some((*id, self.stories.get(id)?)));
            let mine = mine.filter(|(_, story)| {
                story.group == call
                    && !story.is_shared()
                    && story.intent.alone.is_none()
                    && self.level(&story.queue) != Level::Memory
            });
            let (there, missing): (Vec<_>, Vec<_>) = mine
                .map(|(id, story)| (id, here.contains_key(&id) || story.promise == Promise::Seen))
                .partition(|(_, is_there)| *is_there);
            let is_missing = missing
                .iter()
                .find(|(id, _)| self.stories.get(id).is_some_and(|story| story.promise == Promise::Never));
            if let (Some((one, _)), Some((other, _))) = (there.first(), is_missing) {
                let found = format!("{one} is there, and {other} of the same call is not");
                let id = *other;
                self.broken(Law::WholeOrNot, Some(id), found);
            }
        }
    }

    fn families(&mut self, here: &BTreeMap<JobId, &Kept>) {
        let open = self.stories.iter().filter(|(_, story)| story.promise == Promise::Open);
        let children: Vec<(JobId, (JobId, u32))> = open.filter_map(|(id, story)| Some((*id, story.parent?))).collect();
        for (id, (parent, attempt)) in children {
            let Some(child) = self.stories.get(&id) else { continue };
            // Where its key was taken, nobody tells.
            let may_be_gone = self.level(&child.queue) == Level::Memory
                || child.intent.alone.is_some()
                || child.gone_as(self.rules(&child.queue)).is_some();
            let Some(story) = self.stories.get(&parent).filter(|_| !may_be_gone) else { continue };
            let is_done = story.end.is_some_and(|known| known.end == EndState::Done) && story.known == attempt;
            // What only memory knew died with its process, whole.
            let is_volatile = self.level(&story.queue) == Level::Memory && story.ends != self.ends;
            let is_done = is_done && !story.is_shared() && !is_volatile;
            if is_done && story.exists() && !here.contains_key(&id) {
                let found = format!("{parent} is done, and its follow-up {id} is not there");
                self.broken(Law::DoneIsOneCommit, Some(id), found);
            } else if here.get(&parent).is_some_and(|kept| kept.ended.is_none()) {
                // Its attempt died or failed. Another one may have the same number, after a loss of power.
                self.with(id, |story| story.promise = Promise::Never);
            } else if !here.contains_key(&parent) && !here.contains_key(&id) {
                // Both are gone, and an instant's job may come again with the same number.
                self.with(id, |story| story.promise = Promise::Over);
            }
        }
        let present = here.keys().filter_map(|id| Some((*id, self.stories.get(id)?.parent?.0)));
        let orphans: Vec<(JobId, JobId)> = present
            .filter(|(_, parent)| here.get(parent).is_some_and(|kept| kept.ended != Some(EndState::Done)))
            .filter(|(_, parent)| self.stories.get(parent).is_none_or(|story| !story.is_steered && !story.is_shared()))
            .collect();
        for (id, parent) in orphans {
            self.broken(Law::DoneIsOneCommit, Some(id), format!("{id} is there, and its parent {parent} is not done"));
        }
    }

    fn queues_of(&mut self, dump: &Dump, here: &BTreeMap<JobId, &Kept>) {
        let names: BTreeSet<Name> = here.values().map(|kept| kept.queue.clone()).collect();
        let told: BTreeSet<Name> = dump.counters.iter().map(|counters| counters.queue.clone()).collect();
        if let Some(name) = names.difference(&told).next() {
            self.broken(Law::Conservation, None, format!("`{name}` has jobs and no counters"));
        }
        for counters in &dump.counters {
            let mine: Vec<&Kept> = here.values().filter(|kept| kept.queue == counters.queue).copied().collect();
            let (came, left, len) = (counters.came(), counters.left(), mine.len() as u64);
            let queue = &counters.queue;
            if came != left + len {
                let found = format!("{came} jobs came to `{queue}`, {left} left and {len} are there");
                self.broken(Law::Conservation, None, found);
            }
            let ended = |end: EndState| mine.iter().filter(|kept| kept.ended == Some(end)).count() as u64;
            self.judge_counters(counters, EndState::ALL.map(ended));
            self.judge_memory(queue, len, EndState::ALL.map(ended));
        }
    }

    fn judge_counters(&mut self, counters: &Counters, ended: [u64; 4]) {
        let totals = [counters.done_total, counters.dead_total, counters.cancelled_total, counters.expired_total];
        let queue = &counters.queue;
        for (end, (here, total)) in EndState::ALL.into_iter().zip(ended.into_iter().zip(totals)) {
            if here > total {
                let found = format!("`{queue}` has {here} jobs that are {end:?}, and counted {total}");
                self.broken(Law::CountersCount, None, found);
            }
        }
        let mine = || self.stories.values().filter(|story| story.intent.queue == *queue);
        // Of a name that several jobs had, nobody knows which of them are meant.
        let sure = mine().filter(|story| story.exists() && !story.is_shared());
        let (existing, known) = sure.fold((0, 0), |(n, known), story| (n + 1, known + u64::from(story.known)));
        let is_unsure = |story: &&Story| matches!(story.promise, Promise::Open | Promise::Over) || story.is_shared();
        let perhaps = mine().filter(is_unsure).count() as u64 + self.times_more;
        let has_moved = counters.moved_in + counters.moved_out + counters.quarantined > 0;
        if !(existing..=existing + perhaps).contains(&counters.enqueued) && !has_moved {
            let found = format!(
                "`{queue}` counted {} accepted jobs, and there were {existing}, and perhaps {perhaps} more",
                counters.enqueued
            );
            self.broken(Law::CountersCount, None, found);
        }
        if counters.attempts < known && self.power_losses == 0 && !has_moved {
            let found = format!("`{queue}` counted {} attempts, and {known} are known", counters.attempts);
            self.broken(Law::CountersCount, None, found);
        }
    }

    fn judge_memory(&mut self, queue: &Name, len: u64, ended: [u64; 4]) {
        let Some(count) = self.counted.as_ref().and_then(|counts| counts.iter().find(|count| count.queue == *queue))
        else {
            return;
        };
        let live = len - ended.iter().sum::<u64>();
        if (count.live, count.ended) != (live, ended) {
            let found = format!("memory counts {count:?}, the store holds {live} live and {ended:?} ended");
            self.broken(Law::CountersCount, None, found);
        }
    }
}
