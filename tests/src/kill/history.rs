//! What the pipe says, in the words of the judge that all layers share ([`windlass_scheduler::history`]).
//!
//! Owns the translation, and nothing else. The pipe has no clock, so no law of time applies.

use std::collections::BTreeMap;

use windlass::{FailureKind, Priority};
use windlass_scheduler::history::{
    Answer, Call, Checker, Dump, Event, Finish, Intent, Kept, Rules, Seen, Violation, What,
};
use windlass_scheduler::settings::Level;
use windlass_scheduler::state::{EndState, State};

use crate::kill::image::Image;
use crate::kill::jobs::{DOOMED_ATTEMPTS, FOLLOW_UPS, No, Queue, Script};
use crate::kill::pipe::{End, Line};

/// See the [module](self).
#[derive(Debug, Default)]
pub struct History {
    checker: Checker,
    calls: u64,
    /// Calls that were not answered.
    open: BTreeMap<No, u64>,
    /// Calls with many jobs that are not made yet: their jobs, told one by one.
    gathered: BTreeMap<(u16, u32), Vec<No>>,
    bulks: BTreeMap<(u16, u32), u64>,
    /// Follow-ups that a running attempt has told.
    children: BTreeMap<No, Vec<No>>,
    /// Attempts that run.
    running: BTreeMap<No, u32>,
    has_begun: bool,
    is_drained: bool,
}

/// How the kills' queues are judged.
pub fn rules(queue: Queue, slots: u32, failures_max: u32, keeps_done: bool) -> Rules {
    let mut keeps = [true; 4];
    keeps[EndState::Done.index()] = keeps_done;
    Rules {
        queue: queue.name().into(),
        level: if queue == Queue::Light { Level::Process } else { Level::Durable },
        slots,
        failures_max,
        retry_ms_min: 0,
        attempt_ms_max: None,
        start_ms_max: None,
        window_ms_max: None,
        keeps,
        // Calls are told by several threads, before and after they are made: their order is not the engine's.
        is_in_order: false,
    }
}

fn intent(no: No) -> Intent {
    Intent {
        id: no.id(),
        queue: no.queue().name().into(),
        priority: Priority::NORMAL,
        due_ms: 0,
        expires_ms: None,
        has_deadline: false,
        failures_max: (no.script() == Script::Doomed).then_some(DOOMED_ATTEMPTS),
        payload: no.output(),
        alone: None,
        limit_key: None,
        weight: 1,
        batch: None,
    }
}

impl History {
    /// One with these queues.
    pub fn new(queues: impl IntoIterator<Item = Rules>) -> Self {
        let mut history = Self::default();
        queues.into_iter().for_each(|rules| history.tell(What::Queue(rules)));
        history
    }

    fn tell(&mut self, what: What) {
        self.checker.hear(&Event { at_ms: 0, what });
    }

    fn call(&mut self, what: Call) -> u64 {
        self.calls += 1;
        self.tell(What::Called { call: self.calls, what });
        self.calls
    }

    fn answered(&mut self, what: Call, answer: Answer) {
        let call = self.call(what);
        self.tell(What::Answered { call, answer });
    }

    fn began(&mut self) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.tell(What::Began);
        }
    }

    /// What a child said.
    pub fn hear(&mut self, line: &Line) {
        self.began();
        match line {
            Line::Intent(no) => self.intent(*no),
            Line::Accepted(no) => self.answer(*no, Answer::Ok),
            Line::Refused(no) => self.answer(*no, Answer::Refused),
            Line::Start(no, attempt, _, payload) => {
                self.running.insert(*no, *attempt);
                self.tell(What::Started { id: no.id(), attempt: *attempt, payload: *payload });
            }
            Line::End(no, attempt, end) => {
                self.running.remove(no);
                let how = match end {
                    End::Ok => Finish::Ok,
                    End::Error | End::Panic => Finish::Failed { after_ms: None },
                    End::Permanent => Finish::Permanent,
                    End::Snooze => Finish::Snoozed { after_ms: 0 },
                };
                self.tell(What::Ended { id: no.id(), attempt: *attempt, how });
            }
            Line::Done(no, _) => self.answered(Call::Wait(no.id()), Answer::Is(State::Done)),
            Line::Dead(no) => self.answered(Call::Wait(no.id()), Answer::Is(State::Dead)),
            Line::Bye => self.is_drained = true,
            _ => {}
        }
    }

    fn intent(&mut self, no: No) {
        if let Some(parent) = no.parent() {
            let children = self.children.entry(parent).or_default();
            children.push(no);
            if children.len() == usize::from(FOLLOW_UPS) {
                let jobs = self.children.remove(&parent).unwrap_or_default().into_iter().map(intent).collect();
                let attempt = self.running.get(&parent).copied().unwrap_or(0);
                self.call(Call::FollowUps { parent: parent.id(), attempt, jobs });
            }
        } else if no.group() > 0 {
            let key = (no.life(), no.group());
            let jobs = self.gathered.entry(key).or_default();
            jobs.push(no);
            // All are told before the call is made, and another call may be answered before this one is.
            if jobs.len() == no.group_len() {
                let jobs = self.gathered.remove(&key).unwrap_or_default().into_iter().map(intent).collect();
                let call = self.call(Call::Enqueue(jobs));
                self.bulks.insert(key, call);
            }
        } else {
            let call = self.call(Call::Enqueue(vec![intent(no)]));
            self.open.insert(no, call);
        }
    }

    fn answer(&mut self, no: No, answer: Answer) {
        let call = self.open.remove(&no).or_else(|| self.bulks.remove(&(no.life(), no.group())));
        if let Some(call) = call {
            self.tell(What::Answered { call, answer });
        }
    }

    /// The process is gone, and with the power perhaps what was not synced; or it came to its end.
    pub fn died(&mut self, power_lost: bool) {
        // One that never said a word may still have changed the store.
        self.began();
        self.gathered.clear();
        self.open.clear();
        self.bulks.clear();
        self.children.clear();
        self.running.clear();
        self.has_begun = false;
        let what = match (std::mem::take(&mut self.is_drained), power_lost) {
            (_, true) => What::PowerLost,
            (true, false) => What::Drained,
            (false, false) => What::Killed,
        };
        self.tell(what);
    }

    /// What is there now.
    pub fn found(&mut self, dump: Dump) {
        self.tell(What::Dump(dump));
    }

    /// What is wrong.
    pub fn violations(&self) -> &[Violation] {
        self.checker.violations()
    }

    /// What was seen.
    pub fn seen(&self) -> Seen {
        self.checker.seen()
    }
}

/// What a kill left.
pub fn of_image(image: &Image) -> Dump {
    let live = image.live.iter().map(|(no, live)| Kept {
        id: no.id(),
        queue: live.queue.as_str().into(),
        ended: None,
        attempts_ended: live.attempts_ended,
        open: live.open,
        failures: live.failures,
        is_condemned: false,
        payload: Some(no.output()),
    });
    let ended = image.ended.iter().map(|(no, ended)| Kept {
        id: no.id(),
        queue: ended.queue.as_str().into(),
        ended: Some(ended.state),
        attempts_ended: ended.attempts,
        open: None,
        failures: ended.failures,
        is_condemned: ended.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::Lost),
        payload: None,
    });
    Dump { jobs: live.chain(ended).collect(), counters: image.counters.values().cloned().collect(), quarantined: 0 }
}
