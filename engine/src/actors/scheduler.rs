//! The scheduler actor: one sleep until the earliest timer, then `Due` to the queue.
//!
//! Owns soft state only (I7): the earliest instant per queue and class. Lose it, and the queue arms it again. A jump of
//! the wall clock needs no arming: every look compares all instants with both clocks as they are now.

use std::collections::BTreeMap;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::AbortHandle;
use tracing::warn;
use windlass_scheduler::command::{QueueNo, TimerClass};
use windlass_scheduler::effect::Deadline;
use windlass_scheduler::time::Now;

use crate::clock::Clocks;
use crate::door::Door;
use crate::messages::{QueueMsg, SchedulerMsg};
use std::sync::Arc;

/// While a wall timer is armed, the clock is looked at this often: so late may a jump be noticed.
const LOOK_MS_MAX: u64 = 1_000;
/// Wall and monotonic clock may drift apart by so much between two looks.
const JUMP_MS_MIN: u64 = 1_000;

pub(crate) struct SchedulerActor;

pub(crate) struct SchedulerParts {
    pub(crate) clocks: Clocks,
    pub(crate) door: Arc<Door>,
}

pub(crate) struct SchedulerState {
    parts: SchedulerParts,
    timers: BTreeMap<(QueueNo, TimerClass), Deadline>,
    sleep: Option<(u64, AbortHandle)>,
    last_look: Now,
}

impl Actor for SchedulerActor {
    type Msg = SchedulerMsg;
    type State = SchedulerState;
    type Arguments = SchedulerParts;

    async fn pre_start(
        &self,
        _myself: ActorRef<SchedulerMsg>,
        parts: SchedulerParts,
    ) -> Result<SchedulerState, ActorProcessingErr> {
        let last_look = parts.clocks.passed();
        Ok(SchedulerState { parts, timers: BTreeMap::new(), sleep: None, last_look })
    }

    async fn handle(
        &self,
        myself: ActorRef<SchedulerMsg>,
        message: SchedulerMsg,
        state: &mut SchedulerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SchedulerMsg::Arm { queue, class, at: Some(at) } => {
                state.timers.insert((queue, class), at);
            }
            SchedulerMsg::Arm { queue, class, at: None } => {
                state.timers.remove(&(queue, class));
            }
            SchedulerMsg::Look => state.sleep = None,
        }
        state.look(&myself);
        Ok(())
    }
}

impl SchedulerState {
    fn look(&mut self, myself: &ActorRef<SchedulerMsg>) {
        let now = self.parts.clocks.passed();
        self.tell_jump(now);
        let mut due = Vec::new();
        self.timers.retain(|timer, at| {
            let is_due = match at {
                Deadline::Mono(at) => *at <= now.mono,
                Deadline::Wall(at) => *at <= now.wall,
            };
            if is_due {
                due.push(*timer);
            }
            !is_due
        });
        for (queue, class) in due {
            self.parts.door.tell_queue(QueueMsg::Due { queue, class });
        }
        let look_ms_max = if self.parts.clocks.is_steady() { u64::MAX } else { LOOK_MS_MAX };
        let in_ms = |at: &Deadline| match at {
            Deadline::Mono(at) => at.since_ms(now.mono),
            Deadline::Wall(at) => at.since_ms(now.wall).min(look_ms_max),
        };
        let Some(wait_ms) = self.timers.values().map(in_ms).min() else { return };
        self.sleep_until(myself, now.mono.0.saturating_add(wait_ms), wait_ms);
    }

    /// One sleep at a time: a sooner one replaces it, a later one is looked at when it ends.
    fn sleep_until(&mut self, myself: &ActorRef<SchedulerMsg>, until_ms: u64, wait_ms: u64) {
        if let Some((sleeping_until, sleep)) = &self.sleep {
            if *sleeping_until <= until_ms {
                return;
            }
            sleep.abort();
        }
        let myself = myself.clone();
        // tokio's timers end some years ahead; the sleep is then taken up again.
        let wait = Duration::from_millis(wait_ms.min(365 * 24 * 3_600 * 1_000));
        let sleep = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = myself.send_message(SchedulerMsg::Look);
        });
        self.sleep = Some((until_ms, sleep.abort_handle()));
    }

    fn tell_jump(&mut self, now: Now) {
        let passed = now.mono.since_ms(self.last_look.mono);
        let forward = now.wall.since_ms(self.last_look.wall).saturating_sub(passed);
        let back = self.last_look.wall.plus_ms(passed).since_ms(now.wall);
        self.last_look = now;
        if forward.max(back) > JUMP_MS_MIN {
            warn!(forward_ms = forward, back_ms = back, "the wall clock jumped: dates and expiries follow it");
        }
    }
}
