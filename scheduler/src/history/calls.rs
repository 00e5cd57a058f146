//! Calls and their answers.

use alloc::format;
use alloc::vec::Vec;

use super::line::Line;
use super::story::{Known, Promise, Story};
use super::{Answer, Call, Checker, Intent, Law};
use crate::job::{JobId, Name};
use crate::settings::Level;
use crate::state::{EndState, State};

impl Call {
    const fn word(&self) -> &'static str {
        match self {
            Self::Enqueue(_) => "enqueue",
            Self::FollowUps { .. } => "follow-up",
            Self::Tick(_) => "tick",
            Self::Cancel(_) => "cancel",
            Self::Requeue(_) => "requeue",
            Self::Discard(_) => "discard",
            Self::Edit { .. } => "edit",
            Self::Steer(_) => "steer",
            Self::Order => "order",
            Self::SteerFlow(_) => "steer its flow",
            Self::Signal(..) => "signal",
            Self::Pause(_) => "pause",
            Self::Resume(_) => "resume",
            Self::Wait(_) => "wait",
            Self::Look(_) => "look",
            Self::UseLease { .. } => "use its lease",
            Self::Open { .. } => "open",
            Self::Shutdown { .. } => "shutdown",
        }
    }

    fn jobs(&self) -> Vec<JobId> {
        match self {
            Self::Enqueue(jobs) | Self::FollowUps { jobs, .. } => jobs.iter().map(|job| job.id).collect(),
            Self::Tick(job) => Vec::from([job.id]),
            Self::Cancel(id)
            | Self::Requeue(id)
            | Self::Discard(id)
            | Self::Steer(id)
            | Self::Wait(id)
            | Self::Look(id)
            | Self::Edit { id, .. }
            | Self::UseLease { id, .. } => Vec::from([*id]),
            Self::Order
            | Self::SteerFlow(_)
            | Self::Signal(..)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Open { .. }
            | Self::Shutdown { .. } => Vec::new(),
        }
    }
}

impl Checker {
    pub(super) fn called(&mut self, call: u64, what: &Call) {
        self.seen.calls += 1;
        match what {
            Call::Enqueue(jobs) => self.handed_in(call, jobs, None),
            Call::FollowUps { parent, attempt, jobs } => self.handed_in(call, jobs, Some((*parent, *attempt))),
            Call::Tick(job) => self.handed_in(call, core::slice::from_ref(job), None),
            Call::Cancel(id) => self.with(*id, |story| story.cancel_asked = true),
            // From here on its end, its attempts and its failures are no longer what they were.
            Call::Requeue(id) => self.with(*id, |story| {
                story.is_steered = true;
                story.cancelled = None;
                story.end = None;
            }),
            Call::Discard(id) => self.with(*id, |story| story.discard_asked = true),
            Call::Steer(id) => self.with(*id, |story| {
                story.is_steered = true;
                story.due_ms = 0;
            }),
            Call::Edit { id, payload } => self.with(*id, |story| story.edits.push(*payload)),
            Call::Order => self.stories.values_mut().for_each(Story::is_anybodys),
            Call::SteerFlow(flow) => self.steered_flow(*flow),
            Call::Signal(flow, no) => self.signalled(*flow, *no),
            Call::Resume(queue) => {
                let no = self.event_no;
                let queue = self.queues.entry(queue.clone()).or_default();
                (queue.paused_ms, queue.resumed_no) = (None, no);
            }
            Call::Shutdown { .. } => self.is_stopping = true,
            // What it asked for while it ran may be granted after its end.
            Call::UseLease { id, attempt } if self.running.get(id) != Some(attempt) => {
                self.late_uses.insert(call);
            }
            Call::Pause(_) | Call::Wait(_) | Call::Look(_) | Call::UseLease { .. } | Call::Open { .. } => {}
        }
        let (now_ms, word) = (self.now_ms, what.word());
        for id in what.jobs() {
            self.with(id, |story| story.life.push(now_ms, Line::Called(word)));
        }
        if !matches!(what, Call::FollowUps { .. } | Call::Tick(_)) {
            self.calls.insert(call, (what.clone(), self.now_ms, self.event_no));
        }
    }

    fn handed_in(&mut self, call: u64, jobs: &[Intent], parent: Option<(JobId, u32)>) {
        for job in jobs {
            self.note_key(job);
            let no = self.event_no;
            if let Some(batch) = job.batch {
                self.members.entry(batch).or_default().push(job.id);
            }
            let story = self.as_step(Story::new(job.clone(), parent, call, (no, self.now_ms)));
            let is_known = self.stories.contains_key(&job.id);
            let story = match self.stories.entry(job.id).or_insert_with(|| story.clone()) {
                // That one is not there and never will be.
                gone if gone.promise == Promise::Never => {
                    let life = core::mem::take(&mut gone.life);
                    *gone = Story { life, ..story };
                    gone
                }
                known => {
                    // The same id again is the same job, or, where that is forgotten, another: only the engine can tell.
                    let is_again = is_known && parent.is_none();
                    known.times_more += u64::from(is_again);
                    self.times_more += u64::from(is_again);
                    known
                }
            };
            story.parent = story.parent.and(parent);
            (story.deaths, story.power_losses, story.ends) = (self.deaths, self.power_losses, self.ends);
        }
        if jobs.len() > 1 && parent.is_none() {
            self.groups.insert(call, jobs.iter().map(|job| job.id).collect());
        }
    }

    /// The next core is told again what follows the successes that memory alone knew. What was called off meanwhile, and of
    /// which nobody has heard, may come again.
    pub(super) fn follows_again(&mut self) {
        let is_volatile = |queue: &Name| self.level(queue) == Level::Memory;
        let may_come = |story: &&Story| {
            let parent = story.parent.and_then(|(parent, _)| self.stories.get(&parent));
            let is_elsewhere = parent.is_some_and(|parent| is_volatile(&parent.queue)) && !is_volatile(&story.queue);
            is_elsewhere && story.gone_as(self.rules(&story.queue)).is_some()
        };
        self.times_more += self.stories.values().filter(may_come).count() as u64;
    }

    pub(super) fn with(&mut self, id: JobId, change: impl FnOnce(&mut Story)) {
        if let Some(story) = self.stories.get_mut(&id) {
            change(story);
        }
    }

    pub(super) fn answered(&mut self, call: u64, answer: Answer) {
        let Some((what, called_ms, called_no)) = self.calls.remove(&call) else { return };
        let was_late = self.late_uses.remove(&call);
        let (now_ms, word) = (self.now_ms, what.word());
        for id in what.jobs() {
            self.with(id, |story| story.life.push(now_ms, Line::Answered(word, answer)));
        }
        self.judge_break(&what, called_no, answer);
        let is_ok = answer == Answer::Ok;
        match &what {
            Call::Enqueue(jobs) => self.enqueued(call, jobs, answer),
            Call::Cancel(id) if is_ok => {
                let was_running = self.running.contains_key(id);
                self.with(*id, |story| story.cancelled = Some((now_ms, was_running)));
            }
            Call::Pause(queue) if is_ok => {
                let queue = self.queues.entry(queue.clone()).or_default();
                // A resume that was asked for later counts, whichever is answered first.
                queue.paused_ms = (queue.resumed_no < called_no).then_some(now_ms);
            }
            // Calls that were under way together may have been carried out in any order.
            Call::Resume(queue) => {
                if let Some(queue) = self.queues.get_mut(queue) {
                    queue.paused_ms = None;
                }
            }
            Call::Wait(id) | Call::Look(id) => self.shown(*id, answer, matches!(what, Call::Wait(_))),
            Call::UseLease { id, attempt } if is_ok && was_late => {
                let found = format!("attempt {attempt} acted after it had ended");
                self.broken(Law::LeaseOnly, Some(*id), found);
            }
            // Its time is no longer the queue's.
            Call::UseLease { id, .. } if is_ok => self.with(*id, |story| story.has_used_lease = true),
            Call::Open { within_ms } => self.in_time(Law::OpensInTime, called_ms, *within_ms),
            Call::Shutdown { within_ms } => self.in_time(Law::ShutdownInTime, called_ms, *within_ms),
            _ => {}
        }
    }

    fn in_time(&mut self, law: Law, called_ms: u64, within_ms: u64) {
        let took_ms = self.now_ms.saturating_sub(called_ms);
        if took_ms > within_ms {
            self.broken(law, None, format!("it took {took_ms} ms of {within_ms}"));
        }
    }

    /// What asks for the store cannot be granted while the store is broken.
    fn judge_break(&mut self, what: &Call, called_no: u64, answer: Answer) {
        if answer != Answer::Ok || self.broken_no.is_none_or(|broken_no| called_no <= broken_no) {
            return;
        }
        let asks_for_the_store = match what {
            Call::Enqueue(jobs) => jobs.iter().any(|job| self.level(&job.queue) != Level::Memory),
            Call::Cancel(id) | Call::Requeue(id) | Call::Discard(id) | Call::Steer(id) | Call::Edit { id, .. } => {
                self.stories.get(id).is_some_and(|story| self.level(&story.queue) != Level::Memory)
            }
            Call::Pause(queue) | Call::Resume(queue) => self.level(queue) != Level::Memory,
            _ => false,
        };
        if asks_for_the_store {
            let found = format!("{} was granted while the store was broken", what.word());
            self.broken(Law::NoOkAfterBreak, what.jobs().first().copied(), found);
        }
    }

    fn enqueued(&mut self, call: u64, jobs: &[Intent], answer: Answer) {
        self.seen.unknown += u64::from(answer == Answer::Unknown);
        for job in jobs {
            let (no, now_ms) = (self.event_no, self.now_ms);
            let Some(story) = self.stories.get_mut(&job.id) else { continue };
            if story.is_merged && story.group == call {
                continue;
            }
            match (answer, story.promise) {
                (Answer::Ok, _) if story.accepted_no.is_some() => {}
                (Answer::Ok, Promise::Seen) => {
                    // It ran before its acceptance was safe enough to be told.
                    (story.accepted_no, story.accepted_ms) = (Some(no), now_ms);
                    self.seen.accepted += 1;
                }
                (Answer::Ok, _) => {
                    (story.promise, story.accepted_no, story.accepted_ms) = (Promise::Accepted, Some(no), now_ms);
                    self.seen.accepted += 1;
                    if story.is_plain() {
                        let place = (story.intent.priority, no, job.id);
                        self.queues.entry(story.queue.clone()).or_default().line.insert(place);
                    }
                }
                (Answer::Refused, Promise::Open) if story.group == call => story.promise = Promise::Never,
                (Answer::Refused, Promise::Seen) if story.group == call && story.accepted_no.is_none() => {
                    self.broken(Law::NothingInvented, Some(job.id), format!("{} was refused, and ran", job.id));
                }
                _ => {}
            }
        }
    }

    /// Somebody was told a state.
    fn shown(&mut self, id: JobId, answer: Answer, is_wait: bool) {
        let Answer::Is(state) = answer else { return };
        let Some(story) = self.stories.get(&id) else {
            return self.broken(Law::NothingInvented, Some(id), format!("{id} is shown as {state}; nobody knows it"));
        };
        if story.contradicts(state) {
            let known = story.end.map(|known| known.end);
            let found = format!("{id} is shown as {state}, and had ended: {known:?}");
            return self.broken(Law::EndIsFinal, Some(id), found);
        }
        let Some(end) = EndState::ALL.into_iter().find(|end| State::from(*end) == state) else { return };
        let last = story.last_end.map(|last| last.how);
        let is_judged = !story.is_idle && !story.is_steered && !story.is_shared();
        if end == EndState::Done && last != Some(super::Finish::Ok) && is_judged {
            let found = format!("{id} is shown as done, and its last attempt ended so: {last:?}");
            return self.broken(Law::EndsAreTold, Some(id), found);
        }
        // Who waits is told what its queue's level holds; who looks may see what is not yet safe.
        if is_wait && !story.is_steered {
            let is_durable = self.level(&story.queue) == Level::Durable;
            self.with(id, |story| story.end = Some(Known { end, is_durable }));
        }
    }
}
