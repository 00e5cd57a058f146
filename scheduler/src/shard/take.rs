//! What was decided happens: its events are applied, its effects held back, and what follows from it is decided in turn.

use alloc::vec::Vec;

use super::Shard;
use super::decide::{Decision, Touched, claim, flow, recur, retain, submit, unique};
use super::outbox::Mark;
use crate::effect::Effect;
use crate::event::Event;
use crate::lease::StopReason;

impl Shard {
    pub(super) fn take(&mut self, decision: Decision) {
        let mut steps = Vec::new();
        self.take_but_for(decision, &mut steps);
        self.settle(steps);
        self.teller.close(self.step);
    }

    /// As [`take`](Self::take), of how flows stood when all was loaded: that one is held, or has ended, was told when it came to be so.
    pub(super) fn recall(&mut self, decision: Decision) {
        let mut steps = Vec::new();
        self.teller.recalls(true);
        self.take_but_for(decision, &mut steps);
        self.teller.recalls(false);
        self.settle(steps);
        self.teller.close(self.step);
    }

    /// Takes all of it, but for what comes of it for these steps.
    fn take_but_for(&mut self, decision: Decision, steps: &mut Vec<Touched>) {
        steps.extend(decision.steps.into_iter().map(|(at, now)| (at, now, false)));
        for event in decision.events {
            self.apply(event, steps);
        }
        for (queue, at) in decision.ended {
            for event in retain::outdated(&self.state, queue, at) {
                self.apply(event, steps);
            }
        }
        for (mark, effect) in decision.effects {
            self.hold(mark, effect);
        }
        for (store, key, now) in decision.keys {
            self.take(unique::settle(&self.state, store, &key, now));
        }
        if let Some((jobs, now)) = decision.follow_ups {
            let mut decision = Decision::default();
            submit::follow_ups(&self.state, jobs, now, &mut decision);
            self.take(decision);
        }
        for (name, now) in decision.freed {
            self.take(recur::freed(&self.state, &name, now));
        }
    }

    fn apply(&mut self, event: Event, steps: &mut Vec<Touched>) {
        if let Some(at) = flow::let_go(&self.state, &event) {
            steps.push((at, self.now, true));
        }
        self.happen(event);
    }

    /// Every event that is news to anybody comes by here.
    pub(super) fn happen(&mut self, event: Event) {
        if self.teller.is_on() {
            self.teller.note(&self.state, &event, self.now.wall);
        }
        self.state.apply(event, &mut self.tape);
    }

    /// Something happened to these steps. What comes of it happens to others: in a row, and not one within the other, so that the
    /// longest chain takes no more stack than the shortest.
    fn settle(&mut self, mut steps: Vec<Touched>) {
        if steps.is_empty() {
            return;
        }
        while let Some((at, now, is_old)) = steps.pop() {
            let decision = if is_old { flow::look(&self.state, at, now) } else { flow::after(&self.state, at, now) };
            self.take_but_for(decision, &mut steps);
        }
        self.take(flow::surplus(&self.state));
    }

    pub(super) fn hold(&mut self, mark: Mark, effect: Effect) {
        self.sync_wanted |= mark == Mark::Synced;
        let mark = if self.has_started(mark, &effect) { Mark::Sealed } else { mark };
        self.outbox.hold(self.step, mark, effect);
    }

    /// Whether this asks an attempt to end whose start has left: then it must overtake nothing, records nothing, and does not
    /// wait for a disk that stands still. A cancel does: its request is recorded before it counts.
    fn has_started(&self, mark: Mark, effect: &Effect) -> bool {
        let Effect::Stop { id, reason: StopReason::TimedOut | StopReason::Stopping, .. } = effect else { return false };
        let run = self.state.live(*id).and_then(|(_, live)| live.run());
        run.is_some_and(|run| self.outbox.has_reached(mark, claim::step_of(&self.state, run.claims)))
    }
}
