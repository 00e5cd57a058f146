//! Circuit breakers: where most attempts fail, nothing more is handed out for a while; then a few may try.
//!
//! Owns the state machine, which is the one of Nygard's "Release It!": closed, open, half open. It hears what started and how it ended.
//! What it knows is of this process; never reads a clock.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::bug;
use crate::lease::LeaseToken;
use crate::shard::lines::Aside;
use crate::time::Mono;

/// When to stop handing out, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// It opens once so many of the last attempts failed. At least 1.
    pub failures: u32,
    /// So many last attempts; those that it has not heard of yet count as successes. From `failures` to [`Self::ATTEMPTS_MAX`].
    pub attempts: u32,
    /// For how long it is open in milliseconds, before it lets some through. At least 1.
    pub pause_ms: u64,
    /// Each time that one of those fails it is open for twice as long as before, up to so many milliseconds. At least `pause_ms`.
    pub pause_ms_max: u64,
    /// Attempts that it lets through then; once so many succeeded, it is closed. At least 1.
    pub probes: u32,
}

impl Breaker {
    /// The most attempts that are looked back at: a bit of memory each.
    pub const ATTEMPTS_MAX: u32 = 1_000;
    /// The most attempts that are let through to try.
    pub const PROBES_MAX: u32 = 1_000;
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// All goes through.
    Closed {
        /// Of the last attempts, those that failed.
        failures: u32,
    },
    /// Nothing does.
    Open {
        /// For so many milliseconds more.
        left_ms: u64,
    },
    /// Some attempts may try.
    HalfOpen {
        /// Of them, those that succeeded.
        passed: u32,
    },
}

/// How an attempt ended, as far as a breaker cares: what says nothing of the world outside, it is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It succeeded.
    Success,
    /// It failed, and the next one may not.
    Failure,
}

/// A breaker, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) breaker: Breaker,
    stage: Stage,
    /// When it is as good as new if it hears nothing until then.
    stale_at: Mono,
}

#[derive(Clone, Debug)]
enum Stage {
    Closed(Window),
    Open { until: Mono, pause_ms: u64 },
    HalfOpen { running: BTreeSet<LeaseToken>, passed: u32, pause_ms: u64 },
}

/// Which of the last attempts failed: nothing on the heap as long as none did.
#[derive(Clone, Debug, Default)]
struct Window {
    bits: Vec<u64>,
    next: u32,
    failures: u32,
}

impl Window {
    fn add(&mut self, failed: bool, attempts: u32) {
        if self.failures == 0 && !failed {
            return;
        }
        if self.bits.is_empty() {
            self.bits = alloc::vec![0; attempts.div_ceil(64) as usize];
        }
        let (word, bit) = ((self.next / 64) as usize, 1 << (self.next % 64));
        let had_failed = self.bits[word] & bit != 0;
        self.bits[word] = if failed { self.bits[word] | bit } else { self.bits[word] & !bit };
        self.failures = self.failures + u32::from(failed) - u32::from(had_failed);
        self.next = (self.next + 1) % attempts;
        if self.failures == 0 {
            *self = Self::default();
        }
    }
}

impl Guard {
    /// One that is closed.
    pub(crate) fn new(breaker: Breaker) -> Self {
        Self { breaker, stage: Stage::Closed(Window::default()), stale_at: Mono(0) }
    }

    /// When it is as good as new if nothing more comes: at once, where nothing failed.
    pub(crate) fn as_new_at(&self) -> Mono {
        match &self.stage {
            Stage::Closed(window) if window.failures == 0 => Mono(0),
            Stage::HalfOpen { running, .. } if !running.is_empty() => Mono(u64::MAX),
            _ => self.stale_at,
        }
    }

    /// Where it stands.
    pub(crate) fn circuit(&self, now: Mono) -> Circuit {
        if self.as_new_at() <= now {
            return Circuit::Closed { failures: 0 };
        }
        match &self.stage {
            Stage::Closed(window) => Circuit::Closed { failures: window.failures },
            Stage::Open { until, .. } if *until > now => Circuit::Open { left_ms: until.since_ms(now) },
            Stage::Open { .. } => Circuit::HalfOpen { passed: 0 },
            Stage::HalfOpen { passed, .. } => Circuit::HalfOpen { passed: *passed },
        }
    }

    /// For how long it lets nothing through, if it does not.
    pub(crate) fn trips(&self, now: Mono) -> Option<Aside> {
        if bug!(BreakerIgnored) || self.as_new_at() <= now {
            return None;
        }
        match &self.stage {
            Stage::Open { until, .. } if *until > now => Some(Aside::Until(*until)),
            Stage::HalfOpen { running, passed, .. } if running.len() as u32 + passed >= self.breaker.probes => {
                Some(Aside::UntilAnEnd)
            }
            _ => None,
        }
    }

    /// An attempt starts.
    pub(crate) fn started(&mut self, token: LeaseToken, now: Mono) {
        self.forget_what_is_stale(now);
        match &mut self.stage {
            Stage::Closed(_) => {}
            Stage::Open { pause_ms, .. } => {
                let running = BTreeSet::from([token]);
                self.stage = Stage::HalfOpen { running, passed: 0, pause_ms: *pause_ms };
            }
            Stage::HalfOpen { running, .. } => drop(running.insert(token)),
        }
    }

    /// An attempt ended, and says something or nothing: in its place another one may try.
    pub(crate) fn ended(&mut self, token: LeaseToken, heard: Option<Heard>, now: Mono) {
        let breaker = self.breaker;
        // What ran is never stale; what did not try says nothing about now.
        let tried = if let Stage::HalfOpen { running, .. } = &mut self.stage { running.remove(&token) } else { false };
        if !tried {
            self.forget_what_is_stale(now);
        }
        match (&mut self.stage, heard) {
            (Stage::Closed(window), Some(heard)) => {
                window.add(heard == Heard::Failure, breaker.attempts);
                if window.failures >= breaker.failures {
                    self.open(breaker.pause_ms, now);
                }
            }
            (Stage::HalfOpen { passed, pause_ms, .. }, heard) if tried => {
                let pause_ms = *pause_ms;
                match heard {
                    None => {}
                    Some(Heard::Failure) => self.open(pause_ms.saturating_mul(2).min(breaker.pause_ms_max), now),
                    Some(Heard::Success) if *passed + 1 < breaker.probes => *passed += 1,
                    Some(Heard::Success) => self.stage = Stage::Closed(Window::default()),
                }
            }
            _ => return,
        }
        self.stale_at = self.stale_from(now);
    }

    /// The attempts that try.
    pub(crate) fn trying(&self) -> impl Iterator<Item = LeaseToken> + '_ {
        let running = if let Stage::HalfOpen { running, .. } = &self.stage { Some(running) } else { None };
        running.into_iter().flatten().copied()
    }

    fn open(&mut self, pause_ms: u64, now: Mono) {
        self.stage = Stage::Open { until: now.plus_ms(pause_ms), pause_ms };
    }

    fn stale_from(&self, now: Mono) -> Mono {
        let from = if let Stage::Open { until, .. } = self.stage { until } else { now };
        from.plus_ms(self.breaker.pause_ms_max)
    }

    fn forget_what_is_stale(&mut self, now: Mono) {
        if self.as_new_at() <= now {
            *self = Self::new(self.breaker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BREAKER: Breaker = Breaker { failures: 2, attempts: 3, pause_ms: 100, pause_ms_max: 300, probes: 2 };

    fn token(n: u64) -> LeaseToken {
        LeaseToken { term: 1, n }
    }

    /// Starts at a time and ends there.
    fn goes(guard: &mut Guard, n: u64, heard: Heard, at: u64) {
        assert_eq!(guard.trips(Mono(at)), None, "{guard:?}");
        guard.started(token(n), Mono(at));
        guard.ended(token(n), Some(heard), Mono(at));
    }

    #[test]
    fn it_opens_tries_and_closes() {
        let mut guard = Guard::new(BREAKER);
        for (n, heard) in [Heard::Failure, Heard::Success, Heard::Success, Heard::Failure].into_iter().enumerate() {
            goes(&mut guard, n as u64, heard, 10);
        }
        // The first failure is too long ago.
        assert_eq!(guard.circuit(Mono(10)), Circuit::Closed { failures: 1 });
        guard.started(token(7), Mono(10));
        goes(&mut guard, 8, Heard::Failure, 10);
        assert_eq!(guard.trips(Mono(109)), Some(Aside::Until(Mono(110))));
        assert_eq!(guard.circuit(Mono(109)), Circuit::Open { left_ms: 1 });
        guard.ended(token(7), Some(Heard::Failure), Mono(109));
        goes(&mut guard, 9, Heard::Success, 110);
        assert_eq!(guard.circuit(Mono(110)), Circuit::HalfOpen { passed: 1 });
        guard.started(token(10), Mono(110));
        assert_eq!(guard.trips(Mono(110)), Some(Aside::UntilAnEnd), "one has passed, the other one runs");
        guard.ended(token(10), None, Mono(110));
        goes(&mut guard, 11, Heard::Failure, 110);
        assert_eq!(guard.trips(Mono(110)), Some(Aside::Until(Mono(310))), "twice as long");
        goes(&mut guard, 12, Heard::Failure, 310);
        assert_eq!(guard.trips(Mono(310)), Some(Aside::Until(Mono(610))), "and at most for the longest pause");
        goes(&mut guard, 13, Heard::Success, 610);
        goes(&mut guard, 14, Heard::Success, 610);
        assert_eq!(guard.circuit(Mono(610)), Circuit::Closed { failures: 0 });
        assert_eq!(guard.as_new_at(), Mono(0));
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut guard = Guard::new(BREAKER);
        goes(&mut guard, 1, Heard::Failure, 10);
        assert_eq!(guard.as_new_at(), Mono(310));
        goes(&mut guard, 2, Heard::Failure, 310);
        assert_eq!(guard.circuit(Mono(310)), Circuit::Closed { failures: 1 });
        goes(&mut guard, 3, Heard::Failure, 311);
        assert_eq!(guard.as_new_at(), Mono(311 + 100 + 300));
        assert_eq!(guard.circuit(Mono(710)), Circuit::HalfOpen { passed: 0 });
        assert_eq!(guard.circuit(Mono(711)), Circuit::Closed { failures: 0 });
    }

    #[test]
    fn a_long_window_counts_what_is_in_it() {
        let mut window = Window::default();
        let mut all = alloc::collections::VecDeque::new();
        for n in 0_u32..1_000 {
            let failed = n.is_multiple_of(3) || (n / 100).is_multiple_of(2);
            window.add(failed, 130);
            all.push_back(failed);
            if all.len() > 130 {
                all.pop_front();
            }
            assert_eq!(window.failures as usize, all.iter().filter(|failed| **failed).count());
        }
    }
}
