//! Starts and ends of handlers.

use alloc::format;
use alloc::string::String;

use super::line::Line;
use super::story::{LastEnd, Promise, Story};
use super::{Checker, Finish, Law};
use crate::job::JobId;
use crate::state::EndState;

impl Checker {
    pub(super) fn started(&mut self, id: JobId, attempt: u32, payload: u64) {
        self.seen.starts += 1;
        let now_ms = self.now_ms;
        let Some(story) = self.stories.get_mut(&id) else {
            return self.broken(Law::NothingInvented, Some(id), format!("{id} runs; nobody handed it in"));
        };
        story.life.push(now_ms, Line::Started(attempt));
        let story = story.clone();
        if matches!(story.promise, Promise::Never | Promise::Over) && !story.is_shared() {
            self.broken(Law::NothingInvented, Some(id), format!("{id} runs; it was refused, or had not been stored"));
        }
        if !self.has_payload(&story, payload) {
            self.broken(Law::SamePayload, Some(id), format!("{id} was given other bytes than were handed in"));
        }
        if let Some((other, _)) = story.running {
            self.broken(Law::OneLiveAttempt, Some(id), format!("attempt {attempt} starts beside attempt {other}"));
        }
        if !story.is_shared() {
            self.judge_number(&story, attempt);
            self.judge_time(&story, attempt);
        }
        self.judge_turn(&story);
        self.judge_alone(&story);
        self.judge_queue(&story);
        self.note_start(&story, attempt);
    }

    fn judge_number(&mut self, story: &Story, attempt: u32) {
        let id = story.intent.id;
        // A power loss may forget attempts that were not synced. Each death may hide one that was claimed and never told.
        let is_forgotten = story.power_losses < self.power_losses;
        let hidden = u32::try_from(self.deaths - story.deaths).unwrap_or(u32::MAX);
        let next_max = story.known.saturating_add(hidden).saturating_add(1);
        let is_used = attempt <= story.known && !is_forgotten;
        if attempt == 0 || is_used || attempt > next_max {
            let found = format!("attempt {attempt} starts, the last that is known is {}", story.known);
            self.broken(Law::AttemptsInOrder, Some(id), found);
        }
        if let Some(known) = story.end.filter(|known| known.is_durable || !is_forgotten) {
            let found = format!("attempt {attempt} starts, and the job had ended: {:?}", known.end);
            self.broken(Law::EndIsFinal, Some(id), found);
        }
        let last = story.last_end.filter(|last| {
            !story.is_steered && !is_forgotten && story.deaths == self.deaths && last.attempt == story.known
        });
        if let Some(how @ (Finish::Ok | Finish::Permanent | Finish::CalledOff)) = last.map(|last| last.how) {
            let found = format!("attempt {attempt} starts in the same life, after one that ended so: {how:?}");
            self.broken(Law::EndIsFinal, Some(id), found);
        }
        let failures_max = story.failures_max(self.rules(&story.queue));
        if story.failed.len() >= failures_max as usize
            && !is_forgotten
            && !story.is_steered
            && story.deaths == self.deaths
        {
            let found = format!("attempt {attempt} starts after {} failures of {failures_max}", story.failed.len());
            self.broken(Law::RetriesBounded, Some(id), found);
        }
    }

    fn judge_time(&mut self, story: &Story, attempt: u32) {
        let (id, now_ms) = (story.intent.id, self.now_ms);
        // Another one with its key may have given it its times.
        let has_times = story.intent.alone.is_none();
        if now_ms < story.due_ms && !story.is_steered && has_times {
            let found = format!("attempt {attempt} starts {} ms early", story.due_ms - now_ms);
            self.broken(Law::NotEarly, Some(id), found);
        }
        // A retry of a job that once started in time is not a start.
        let is_first = story.known == 0 && !story.is_steered && !story.begins_later;
        let is_judged = is_first && story.accepted_no.is_some() && has_times;
        let start_ms_max = self.rules(&story.queue).and_then(|rules| rules.start_ms_max).filter(|_| is_judged);
        // A time is counted from the acceptance, and who waits for room is accepted later.
        let waited_ms = story.accepted_ms.saturating_sub(story.called_ms);
        if let Some((start_ms_max, expires_ms)) = start_ms_max.zip(story.intent.expires_ms)
            && now_ms > expires_ms.saturating_add(start_ms_max).saturating_add(waited_ms)
        {
            let found = format!("attempt {attempt} starts {} ms after the job expired", now_ms - expires_ms);
            self.broken(Law::NotLate, Some(id), found);
        }
        if let Some((at_ms, was_running)) = story.cancelled
            && !was_running
            && now_ms > at_ms
        {
            let found = format!("attempt {attempt} starts, and the job was cancelled at {at_ms} ms");
            self.broken(Law::CancelSticks, Some(id), found);
        }
    }

    /// Its slots, its pause, its order.
    fn judge_queue(&mut self, story: &Story) {
        let (id, now_ms) = (story.intent.id, self.now_ms);
        let Some(queue) = self.queues.get(&story.queue) else { return };
        let is_elsewhere = story.is_steered || story.is_shared();
        let Some(rules) = queue.rules.clone().filter(|_| !is_elsewhere) else { return };
        let (running, paused_ms) = (queue.running + 1, queue.paused_ms);
        if running > rules.slots {
            let found = format!("{running} attempts run in `{}`, which has {} slots", rules.queue, rules.slots);
            self.broken(Law::SlotsKept, Some(id), found);
        }
        self.judge_bounds(story, &rules);
        if let Some(paused_ms) = paused_ms.filter(|at| now_ms > *at) {
            let found = format!("it starts in `{}`, which was paused at {paused_ms} ms", rules.queue);
            self.broken(Law::PausedRestsStill, Some(id), found);
        }
        if rules.is_in_order && story.intent.alone.is_none() {
            self.judge_order(story, rules.slots);
        }
    }

    /// Whoever is first in line may be passed over by those only that were handed out before it came: by one a slot.
    fn judge_order(&mut self, story: &Story, slots: u32) {
        let Some(queue) = self.queues.get_mut(&story.queue) else { return };
        let (priority, is_first) = (story.intent.priority, story.is_plain());
        // What has run before may stand in line where it stood: only its priority is told.
        let key_of = |id: &JobId| self.stories.get(id).and_then(|other| other.intent.limit_key);
        let goes_first = |place: &(_, u64, JobId)| {
            place.2 != story.intent.id
                && key_of(&place.2) == story.intent.limit_key
                && (place.0 < priority || (place.0 == priority && is_first && place.1 < story.called_no))
        };
        queue.line.retain(|place| self.stories.get(&place.2).is_some_and(Story::is_plain));
        let first = queue.line.iter().take_while(|place| place.0 <= priority).filter(|place| goes_first(place));
        let first: alloc::vec::Vec<JobId> = first.map(|place| place.2).collect();
        for id in first {
            let Some(other) = self.stories.get_mut(&id) else { continue };
            other.passed_over += 1;
            if other.passed_over == slots + 1 {
                let found = format!("{} and {slots} before it start before {id}", story.intent.id);
                self.broken(Law::InOrder, Some(id), found);
            }
        }
    }

    fn note_start(&mut self, story: &Story, attempt: u32) {
        let (id, now_ms) = (story.intent.id, self.now_ms);
        let explained = story.last_end.is_some_and(|last| {
            last.attempt == story.known && matches!(last.how, Finish::Failed { .. } | Finish::Snoozed { .. })
        });
        self.seen.run_again += u64::from(story.known > 0 && !explained);
        let queue = self.queues.entry(story.queue.clone()).or_default();
        // Which queue an operator's or a namesake's attempt fills is not known.
        let fills_slot = !story.is_steered && !story.is_shared();
        queue.running += u32::from(fills_slot);
        if let Some(no) = story.accepted_no {
            queue.line.remove(&(story.intent.priority, no, id));
        }
        self.running.insert(id, attempt);
        let (deaths, power_losses) = (self.deaths, self.power_losses);
        self.with(id, |story| {
            story.promise = Promise::Seen;
            story.running = Some((attempt, now_ms));
            story.ran_through_a_break = false;
            story.fills_slot = fills_slot;
            story.lost = None;
            // The end that was told last may have died on its way to the store.
            if let Some(last) = story.last_end.filter(|_| story.deaths < deaths)
                && story.failed.remove(&last.attempt)
            {
                story.perhaps_failed.insert(last.attempt);
            }
            if attempt <= story.known {
                // It was forgotten, and what came of it.
                story.failed.retain(|failed| *failed < attempt);
                story.perhaps_failed.retain(|failed| *failed < attempt);
                story.last_end = None;
            }
            (story.known, story.deaths, story.power_losses) = (attempt, deaths, power_losses);
        });
    }

    pub(super) fn stop_running(&mut self, id: JobId, attempt: u32) -> Option<u64> {
        let story = self.stories.get_mut(&id)?;
        let (running, since_ms) = story.running.filter(|(running, _)| *running == attempt)?;
        debug_assert_eq!(running, attempt, "it was filtered");
        story.running = None;
        let (queue, fills_slot) = (story.queue.clone(), story.fills_slot);
        if let Some(queue) = self.queues.get_mut(&queue).filter(|_| fills_slot) {
            queue.running = queue.running.saturating_sub(1);
        }
        Some(since_ms)
    }

    pub(super) fn ended(&mut self, id: JobId, attempt: u32, how: Finish) {
        let (now_ms, while_stopping) = (self.now_ms, self.is_stopping);
        self.with(id, |story| story.life.push(now_ms, Line::Ended(attempt, how)));
        let Some(since_ms) = self.stop_running(id, attempt) else {
            return self.broken(Law::OneLiveAttempt, Some(id), format!("attempt {attempt} ended, and did not run"));
        };
        self.running.remove(&id);
        let Some(story) = self.stories.get(&id) else { return };
        let rules = self.rules(&story.queue).cloned();
        // Its time may be another one.
        let is_elsewhere = story.has_used_lease || story.is_steered || story.is_shared();
        let took_ms = now_ms.saturating_sub(since_ms);
        // While the store is being opened again nobody ends an attempt.
        let max_ms =
            rules.as_ref().and_then(|rules| rules.attempt_ms_max).filter(|_| !is_elsewhere && self.broken_no.is_none());
        if let Some(max_ms) = max_ms.filter(|max_ms| took_ms > *max_ms) {
            self.broken(Law::TimeoutKept, Some(id), format!("attempt {attempt} took {took_ms} ms of {max_ms}"));
        }
        let due_ms = match how {
            Finish::Failed { after_ms: Some(after_ms) } | Finish::Snoozed { after_ms } => now_ms + after_ms,
            Finish::Failed { after_ms: None } if !while_stopping => {
                now_ms + rules.map_or(0, |rules| rules.retry_ms_min)
            }
            _ => 0,
        };
        self.with(id, |story| {
            story.last_end = Some(LastEnd { attempt, how, at_ms: now_ms, while_stopping });
            story.due_ms = due_ms;
            let failures = match how {
                Finish::Failed { .. } | Finish::Permanent if !while_stopping && !story.cancel_asked => {
                    &mut story.failed
                }
                Finish::Failed { .. } | Finish::Permanent | Finish::Dropped => &mut story.perhaps_failed,
                _ => return,
            };
            failures.insert(attempt);
        });
    }

    pub(super) fn drained(&mut self) {
        self.is_drained = true;
        let stuck = self.running.iter().next().map(|(id, attempt)| (*id, *attempt));
        if let Some((id, attempt)) = stuck {
            let found = format!("attempt {attempt} of {id} still runs, one of {}", self.running.len());
            self.broken(Law::NoSlotStuck, Some(id), found);
        }
    }

    /// Whether an end in the store is one that its attempts, or a call, had.
    pub(super) fn explain(&self, story: &Story, end: EndState, is_condemned: bool) -> Option<String> {
        let last = story.last_end.map(|last| last.how);
        let is_explained = match end {
            EndState::Done => story.is_idle || last == Some(Finish::Ok),
            EndState::Cancelled => story.cancel_asked || last == Some(Finish::CalledOff),
            EndState::Expired => {
                story.intent.alone.is_some() || story.intent.expires_ms.is_some_and(|at_ms| self.now_ms >= at_ms)
            }
            EndState::Dead if self.has_failed_member(story.intent.id) => true,
            EndState::Dead => {
                let has_failed = !story.failed.is_empty() || !story.perhaps_failed.is_empty();
                is_condemned || has_failed && !matches!(last, Some(Finish::Ok | Finish::Snoozed { .. }))
            }
        };
        (!is_explained).then(|| format!("it is {end:?}, and its last attempt ended so: {last:?}"))
    }
}
