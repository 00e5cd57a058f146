//! Rates, made on the oracle: tokens that come with time, as the words say it.

use windlass_scheduler::time::Now;

use super::world::World;

impl World {
    /// What its rate allows by now, and what one start costs.
    pub(crate) fn refill(&mut self, queue: usize, now: Now) -> Option<(u64, u64)> {
        let rate = self.settings.queues[queue].rate?;
        let (tokens, since) = self.tokens[queue];
        let tokens = tokens + (now.mono.0 - since) * u64::from(rate.jobs);
        let tokens = tokens.min(rate.period_ms * u64::from(rate.burst));
        self.tokens[queue] = (tokens, now.mono.0);
        Some((tokens, rate.period_ms))
    }

    /// When its rate allows the next start, if it is that alone that holds up somebody.
    pub(crate) fn next_by_rate(&self, queue: usize) -> Option<u64> {
        let rate = self.settings.queues[queue].rate?;
        let may = !self.draining && !self.paused.contains(&queue) && self.running(queue) < self.slots[queue];
        self.next(queue).filter(|_| may)?;
        let (tokens, since) = self.tokens[queue];
        Some(since + (rate.period_ms.saturating_sub(tokens)).div_ceil(u64::from(rate.jobs)))
    }
}
