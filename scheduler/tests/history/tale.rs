//! A history written down line by line, and the words for it.

use std::collections::BTreeSet;

use windlass_scheduler::change::Counters;
use windlass_scheduler::history::{Answer, Bound, Call, Checker, Dump, Event, Finish, Intent, Kept, Law, Rules, What};
use windlass_scheduler::job::{Name, Priority};
use windlass_scheduler::limit::LimitOf;
use windlass_scheduler::rate::Rate;
use windlass_scheduler::settings::Level;
use windlass_scheduler::state::EndState;

use super::common::id;

pub(crate) const FAILED: Finish = Finish::Failed { after_ms: None };
pub(crate) const KEEP_ALL: [bool; 4] = [true; 4];

/// A history, written down line by line.
pub(crate) struct Tale {
    pub(crate) events: Vec<Event>,
    pub(crate) at_ms: u64,
    pub(crate) call: u64,
}

pub(crate) fn rules(queue: &str, level: Level, slots: u32) -> Rules {
    Rules {
        queue: Name::from(queue),
        level,
        slots,
        failures_max: 3,
        retry_ms_min: 100,
        attempt_ms_max: Some(1_000),
        start_ms_max: Some(0),
        window_ms_max: Some(1_000),
        keeps: KEEP_ALL,
        is_in_order: true,
    }
}

pub(crate) fn bound(of: LimitOf) -> Bound {
    let is_of_keys = matches!(of, LimitOf::EachKey(_) | LimitOf::SharedEachKey(_));
    Bound { of, queues: vec![Name::from("work"), Name::from("more")], is_of_keys, slots: None, rate: None }
}

/// One start in 100 ms.
pub(crate) fn rate_of(of: LimitOf) -> What {
    What::Limit(Bound { rate: Some(Rate { jobs: 1, period_ms: 100, burst: 1 }), ..bound(of) })
}

/// One attempt at a time.
pub(crate) fn one_of(of: LimitOf) -> What {
    What::Limit(Bound { slots: Some(1), ..bound(of) })
}

pub(crate) fn of_key(n: u64) -> Intent {
    Intent { limit_key: Some(7), ..intent(n) }
}

pub(crate) fn intent(n: u64) -> Intent {
    let priority = Priority::default();
    let queue = Name::from("work");
    Intent {
        id: id(n),
        queue,
        priority,
        due_ms: 0,
        expires_ms: None,
        has_deadline: false,
        failures_max: None,
        payload: n,
        alone: None,
        limit_key: None,
        weight: 1,
        batch: None,
    }
}

/// A live job.
pub(crate) fn live(n: u64, attempts_ended: u32, open: Option<u32>) -> Kept {
    let (queue, ended) = (Name::from("work"), None);
    Kept { id: id(n), queue, ended, attempts_ended, open, failures: 0, is_condemned: false, payload: Some(n) }
}

pub(crate) fn over(n: u64, end: EndState, attempts_ended: u32, failures: u32) -> Kept {
    Kept { ended: Some(end), failures, ..live(n, attempts_ended, None) }
}

/// What a queue counted that holds these, and nothing else ever.
pub(crate) fn counters(queue: &str, jobs: &[Kept]) -> Counters {
    let mine = || jobs.iter().filter(|kept| kept.queue.as_str() == queue);
    let ended = |end| mine().filter(|kept| kept.ended == Some(end)).count() as u64;
    Counters {
        enqueued: mine().count() as u64,
        done_total: ended(EndState::Done),
        dead_total: ended(EndState::Dead),
        cancelled_total: ended(EndState::Cancelled),
        expired_total: ended(EndState::Expired),
        attempts: mine().map(|kept| u64::from(kept.claimed())).sum(),
        ..Counters::new(Name::from(queue))
    }
}

pub(crate) fn holds(jobs: &[Kept]) -> Dump {
    let queues: BTreeSet<&str> = jobs.iter().map(|kept| kept.queue.as_str()).collect();
    let counters = queues.into_iter().map(|queue| counters(queue, jobs)).collect();
    Dump { jobs: jobs.to_vec(), counters, quarantined: 0 }
}

impl Tale {
    /// Of a queue `work` with two slots.
    pub(crate) fn new(level: Level) -> Self {
        let mut tale = Self { events: Vec::new(), at_ms: 0, call: 0 };
        tale.add(What::Queue(rules("work", level, 2)));
        tale.add(What::Began);
        tale
    }

    pub(crate) fn add(&mut self, what: What) -> &mut Self {
        self.events.push(Event { at_ms: self.at_ms, what });
        self
    }

    pub(crate) fn pass(&mut self, ms: u64) -> &mut Self {
        self.at_ms += ms;
        self
    }

    pub(crate) fn ask(&mut self, what: Call) -> u64 {
        self.call += 1;
        self.add(What::Called { call: self.call, what });
        self.call
    }

    pub(crate) fn answer(&mut self, call: u64, answer: Answer) -> &mut Self {
        self.add(What::Answered { call, answer })
    }

    pub(crate) fn asked(&mut self, what: Call, answer: Answer) -> &mut Self {
        let call = self.ask(what);
        self.answer(call, answer)
    }

    pub(crate) fn enqueue(&mut self, n: u64) -> &mut Self {
        self.asked(Call::Enqueue(vec![intent(n)]), Answer::Ok)
    }

    pub(crate) fn start(&mut self, n: u64, attempt: u32) -> &mut Self {
        self.add(What::Started { id: id(n), attempt, payload: n })
    }

    pub(crate) fn end(&mut self, n: u64, attempt: u32, how: Finish) -> &mut Self {
        self.add(What::Ended { id: id(n), attempt, how })
    }

    pub(crate) fn run(&mut self, n: u64, attempt: u32, how: Finish) -> &mut Self {
        self.start(n, attempt).end(n, attempt, how)
    }

    pub(crate) fn dump(&mut self, jobs: &[Kept]) -> &mut Self {
        self.add(What::Dump(holds(jobs)))
    }

    pub(crate) fn broken(&self) -> BTreeSet<Law> {
        Checker::judge(&self.events).iter().map(|violation| violation.law).collect()
    }
}

pub(crate) fn durable() -> Tale {
    Tale::new(Level::Durable)
}

pub(crate) fn process() -> Tale {
    Tale::new(Level::Process)
}
