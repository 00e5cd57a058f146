//! The moves on single jobs, attempts, queues and timers, each made on the driver and on the oracle.
//!
//! Guards I4 (only the current token ends or extends an attempt) and I5 (a timer that fires early does nothing, and one
//! that fires late does all that is due).

use windlass_scheduler::attempt::{Outcome, Output};
use windlass_scheduler::command::{Command, QueueNo, TimerClass};
use windlass_scheduler::job::JobId;
use windlass_scheduler::lease::LeaseToken;
use windlass_scheduler::settings::Level;
use windlass_scheduler::state::{EndState, State};

use super::play::{No, Play, What};

impl Play {
    /// A started attempt that has not ended, by number.
    pub(crate) fn started(&self, pick: u8) -> Option<(LeaseToken, JobId)> {
        let open: Vec<_> = self.driver.live.values().filter(|attempt| attempt.end.is_none()).collect();
        let attempt = open.get(usize::from(pick) % open.len().max(1))?;
        Some((attempt.claim.token, attempt.claim.id))
    }

    pub(crate) fn end(&mut self, pick: u8, outcome: Outcome) {
        let Some((token, id)) = self.started(pick) else { return };
        self.driver.end(token, outcome.clone());
        self.world.end(id, outcome, self.driver.now);
        self.announce();
    }

    /// A token that is not, or no longer, current: nothing may change but the count of such.
    pub(crate) fn end_stale(&mut self, pick: u8, outcome: Outcome) {
        let is_open = |token: &LeaseToken| self.driver.live.get(token).is_some_and(|attempt| attempt.end.is_none());
        let stale: Vec<_> =
            self.driver.tokens.iter().map(|(token, ..)| *token).filter(|token| !is_open(token)).collect();
        let Some(token) = stale.get(usize::from(pick) % stale.len().max(1)).copied() else { return };
        let before = (self.driver.shard.portrait(), self.driver.shard.stale_acks());
        self.driver.handle(Command::End { token, outcome });
        assert_eq!(before.0, self.driver.shard.portrait(), "I4: a stale token changed something");
        assert_eq!(before.1 + 1, self.driver.shard.stale_acks());
    }

    pub(crate) fn extend(&mut self, pick: u8, by_ms: u64) {
        let Some((token, id)) = self.started(pick) else { return };
        let request = self.request();
        self.driver.handle(Command::Extend { request, id, token, by_ms });
        let job = self.world.jobs.get_mut(&id).unwrap();
        if job.overdue {
            return self.expect_no(request, ("StaleLease", None));
        }
        if job.deadline.is_some() {
            job.deadline = Some(self.driver.now.mono.0 + by_ms);
        }
        self.expect(request, What::Ok, 0);
    }

    pub(crate) fn cancel(&mut self, id: JobId) {
        let request = self.request();
        self.driver.handle(Command::Cancel { request, id });
        if let Some(ended) = self.world.ended.get(&id) {
            return self.expect_no(request, ("AlreadyEnded", Some(ended.queue)));
        }
        let Some(job) = self.world.jobs.get_mut(&id) else { return self.expect_no(request, ("Forgotten", None)) };
        let (queue, is_running) = (job.queue, job.state == State::Running);
        job.cancel |= is_running;
        if !is_running {
            self.world.close(id, EndState::Cancelled, Output::None, None, self.driver.now);
            self.world.trim_if_ended(id, queue, self.driver.now);
            self.announce();
        }
        let state = if is_running { State::Running } else { State::Cancelled };
        self.expect(request, What::Cancelled(state), self.mark(queue));
    }

    /// Why this is no dead letter, if it is none.
    fn not_dead(&self, id: JobId) -> Option<No> {
        match (self.world.jobs.get(&id), self.world.ended.get(&id)) {
            (Some(job), _) => Some(("NotDead", Some(job.queue))),
            (_, Some(ended)) if ended.state == EndState::Dead => None,
            (_, Some(ended)) => Some(("NotDead", Some(ended.queue))),
            (None, None) => Some(("Forgotten", None)),
        }
    }

    pub(crate) fn discard(&mut self, id: JobId) {
        let request = self.request();
        self.driver.handle(Command::Discard { request, id });
        if let Some(no) = self.not_dead(id) {
            return self.expect_no(request, no);
        }
        let mark = self.mark(self.world.ended[&id].queue);
        self.world.forget(id);
        self.expect(request, What::Ok, mark);
    }

    /// The driver reads what is written, which may be behind.
    pub(crate) fn requeue(&mut self, id: JobId) {
        let stores = [&self.driver.journal, &self.driver.twin];
        let read = stores.into_iter().find_map(|store| Some((store.ended(id)?.clone(), store.job(id)?.body.clone())));
        let Some((ended, body)) = read else { return };
        let request = self.request();
        let end_no = ended.key.end_no;
        self.driver.handle(Command::Requeue { request, ended: Box::new(ended), body });
        if self.world.draining {
            return self.expect_no(request, ("Stopping", None));
        }
        if let Some(no) = self.not_dead(id) {
            return self.expect_no(request, no);
        }
        let queue = self.world.ended[&id].queue;
        if self.world.ended[&id].end_no != end_no {
            return self.expect_no(request, ("Changed", Some(queue)));
        }
        if self.world.depth(queue) >= self.world.settings.queues[queue].depth_max {
            return self.expect_no(request, ("QueueFull", None));
        }
        self.world.requeue(id);
        self.expect(request, What::Ok, self.mark(queue));
    }

    pub(crate) fn pause(&mut self, queue: usize, paused: bool) {
        let request = self.request();
        let name = self.world.settings.queues[queue].name.clone();
        let command = if paused {
            self.world.paused.insert(queue);
            Command::Pause { request, queue: name }
        } else {
            self.world.paused.remove(&queue);
            Command::Resume { request, queue: name }
        };
        self.driver.handle(command);
        self.expect(request, What::Ok, Level::Durable as usize);
    }

    pub(crate) fn slots(&mut self, queue: usize, slots: u32) {
        self.driver.slots[queue] = slots;
        self.world.slots[queue] = slots;
        self.driver.handle(Command::Slots { queue: QueueNo(queue as u32), slots });
    }

    pub(crate) fn due(&mut self, queue: usize, class: TimerClass) {
        let now = self.driver.now;
        self.driver.due(QueueNo(queue as u32), class);
        match class {
            TimerClass::Delay => self.world.fall_due(queue, false, now),
            TimerClass::At => self.world.fall_due(queue, true, now),
            TimerClass::Expiry => self.world.expire(queue, now),
            TimerClass::Retention => self.world.trim(queue, now),
            TimerClass::Lease => {
                for job in self.world.jobs.values_mut().filter(|job| job.queue == queue) {
                    if job.deadline.is_some_and(|deadline| deadline <= now.mono.0) {
                        (job.deadline, job.overdue) = (None, true);
                    }
                }
            }
        }
        self.announce();
    }

    pub(crate) fn drain(&mut self) {
        self.driver.handle(Command::Drain);
        self.world.draining = true;
        for submit in std::mem::take(&mut self.row) {
            self.refuse(&submit, ("Stopping", None));
        }
    }

    pub(crate) fn rearm(&mut self) {
        self.driver.armed.clear();
        self.driver.handle(Command::Rearm);
    }
}
