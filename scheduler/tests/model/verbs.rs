//! The moves on single jobs, attempts, queues and timers, each made on the driver and on the oracle.
//!
//! Guards I4 (only the current token ends or extends an attempt) and I5 (a timer that fires early does nothing, and one
//! that fires late does all that is due).

use bytes::Bytes;
use windlass_scheduler::attempt::Outcome;
use windlass_scheduler::command::{Command, QueueNo, Request, TimerClass};
use windlass_scheduler::history::Call;
use windlass_scheduler::job::JobId;
use windlass_scheduler::lease::LeaseToken;
use windlass_scheduler::settings::Level;

use super::play::{Play, What};

impl Play {
    /// A started attempt that has not ended, by number.
    pub(crate) fn started(&self, pick: u8) -> Option<(LeaseToken, JobId)> {
        let open: Vec<_> = self.driver.live.values().filter(|attempt| attempt.end.is_none()).collect();
        let attempt = open.get(usize::from(pick) % open.len().max(1))?;
        Some((attempt.claim.token, attempt.claim.id))
    }

    pub(crate) fn end(&mut self, pick: u8, outcome: Outcome) {
        let Some((token, id)) = self.started(pick) else { return };
        if let Some(told) = &mut self.told {
            told.end(token, &outcome);
        }
        self.driver.end(token, outcome.clone());
        self.world.end(id, outcome, self.driver.now);
        self.announce();
    }

    /// A token that is not, or no longer, current, and the job that it was for.
    fn stale(&self, pick: u8) -> Option<(LeaseToken, JobId)> {
        let is_open = |token: &LeaseToken| self.driver.live.get(token).is_some_and(|attempt| attempt.end.is_none());
        let given = self.driver.tokens.iter().map(|(token, id, _)| (*token, *id));
        let stale: Vec<_> = given.filter(|(token, _)| !is_open(token)).collect();
        stale.get(usize::from(pick) % stale.len().max(1)).copied()
    }

    /// A token that is not, or no longer, current: nothing may change but the count of such.
    pub(crate) fn end_stale(&mut self, pick: u8, outcome: Outcome) {
        let Some((token, _)) = self.stale(pick) else { return };
        let before = (self.driver.shard.portrait(), self.driver.shard.stale_acks());
        self.driver.handle(Command::End { token, outcome, body: None, log: None });
        assert_eq!(before.0, self.driver.shard.portrait(), "I4: a stale token changed something");
        assert_eq!(before.1 + 1, self.driver.shard.stale_acks());
    }

    fn tell_of_lease(&mut self, request: Request, token: LeaseToken, id: JobId) {
        let attempt = self.driver.live[&token].claim.attempt;
        self.tell(request, Call::UseLease { id, attempt });
    }

    pub(crate) fn extend(&mut self, pick: u8, by_ms: u64) {
        let Some((token, id)) = self.started(pick) else { return };
        let request = self.request();
        self.tell_of_lease(request, token, id);
        self.driver.handle(Command::Extend { request, id, token, by_ms });
        let job = self.world.jobs.get_mut(&id).unwrap();
        if job.overdue {
            return self.expect_no(request, ("StaleLease", None));
        }
        if job.deadline.is_some() {
            let left = job.ends_by.map(|at| at.saturating_sub(self.driver.now.wall.0));
            job.deadline = Some(self.driver.now.mono.0 + left.map_or(by_ms, |left| left.min(by_ms)));
        }
        self.expect(request, What::Ok, 0);
    }

    pub(crate) fn checkpoint(&mut self, pick: u8, bytes: Bytes) {
        let Some((token, id)) = self.started(pick) else { return };
        let request = self.request();
        self.tell_of_lease(request, token, id);
        self.driver.handle(Command::Checkpoint { request, id, token, bytes: bytes.clone() });
        let job = self.world.jobs.get_mut(&id).unwrap();
        job.checkpoint = Some(bytes);
        let queue = job.queue;
        self.expect(request, What::Ok, self.mark(queue));
    }

    pub(crate) fn checkpoint_stale(&mut self, pick: u8, bytes: Bytes) {
        let Some((token, id)) = self.stale(pick) else { return };
        let request = self.request();
        self.driver.handle(Command::Checkpoint { request, id, token, bytes });
        self.expect_no(request, ("StaleLease", None));
    }

    pub(crate) fn pause(&mut self, queue: usize, paused: bool) {
        let request = self.request();
        let name = self.world.settings.queues[queue].name.clone();
        self.tell(request, if paused { Call::Pause(name.clone()) } else { Call::Resume(name.clone()) });
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
        if let Some(told) = &mut self.told {
            told.slots(queue, slots);
        }
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
            TimerClass::Schedule => self.world.tick(queue, now),
            TimerClass::Window => self.world.end_windows(queue, now),
            TimerClass::Rate => {}
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
        self.world.rewind(self.driver.now);
        self.world.settle_all_keys(self.driver.now);
    }
}
