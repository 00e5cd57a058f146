//! The oracle against the shard: what a crash leaves of a world, and every way in which the two have to agree.
//!
//! I1 (a loaded shard is the world that its wave left), I3 (a step is in one place), I16 (its flow stands as the oracle works it out),
//! and the law that no record of a flow stands which the state does not imply.

use std::collections::BTreeSet;

use windlass_scheduler::change::{Claim, Key};
use windlass_scheduler::flow::StepOf;
use windlass_scheduler::job::JobId;
use windlass_scheduler::shard::Shard;
use windlass_scheduler::state::EndState;
use windlass_scheduler::time::Now;

use super::common::Store;
use super::plan::{IN_MEMORY, LEVELS, QUEUES, flow_id};
use super::play::Play;
use super::world::{Phase, Step, World};
use windlass_scheduler::settings::Level;

/// What dies before a new shard is loaded.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Death {
    /// Nothing: it is a rebuild.
    None,
    OfProcess,
    /// Of what was written and not synced, this many waves survive.
    OfPower {
        surviving: usize,
    },
}

impl Play {
    /// A new shard: after the process died (with or without the power), or within it.
    pub(crate) fn restart(&mut self, death: Death) {
        let twin = (death == Death::None).then_some(&self.twin);
        self.world = match death {
            Death::OfPower { surviving } => self.synced[surviving.min(self.synced.len() - 1)].compose(twin),
            Death::None | Death::OfProcess => self.written.compose(twin),
        };
        (self.written, self.twin) = (self.world.clone(), self.world.clone());
        if death != Death::None {
            self.driver.crash(if let Death::OfPower { surviving } = death { Some(surviving) } else { None });
        }
        let claims: Vec<_> = self.driver.journal.claims().chain(self.driver.twin.claims()).copied().collect();
        let is_open = |one: &Claim| {
            let job = self.world.jobs.get(&one.id).filter(|job| job.phase == Phase::Running);
            job.is_some_and(|job| one.attempt == job.attempts_ended + 1)
        };
        let table: Vec<_> = self.driver.live.values().cloned().collect();
        let open: Vec<_> = table.into_iter().filter(|one| claims.contains(&one.claim) && is_open(&one.claim)).collect();
        let adopted: BTreeSet<_> = open.iter().map(|one| one.claim.id).collect();
        let started = |id: JobId| {
            let mine = claims.iter().filter(|claim| claim.id == id && is_open(claim));
            mine.map(|claim| claim.token.term).max().unwrap_or(0) < self.driver.settings.first_term
        };
        let lost = self.world.jobs.iter().filter(|(_, job)| job.phase == Phase::Running);
        let lost: Vec<_> = lost.filter(|(id, _)| !adopted.contains(id)).map(|(id, _)| (*id, started(*id))).collect();
        assert_eq!(self.driver.load(), []);
        let now = self.driver.now;
        self.world.reload(&lost, now);
        self.hear();
        for one in open {
            if let Some((outcome, _)) = one.end {
                // A later one may have pushed out what this one still finds.
                let kept = &self.driver.retained_before_ends[&one.claim.token];
                self.world.settle(kept, now);
                self.world.end(one.claim.id, &outcome, now);
            }
        }
        self.expected.clear();
        self.watchers.clear();
        self.sealed.clear();
        self.synced = vec![self.written.clone()];
        self.is_load = true;
        self.settled();
        self.seal();
    }
}

impl World {
    /// What is left where the journal stands at this world, and the twin at that one (or nowhere: the process died).
    pub(crate) fn compose(&self, twin: Option<&Self>) -> Self {
        let mut world = self.clone();
        let is_volatile = |queue: usize| LEVELS[queue] == Level::Memory;
        world.jobs.retain(|_, job| !is_volatile(job.queue));
        world.flows.retain(|_, flow| !flow.is_volatile());
        if let Some(twin) = twin {
            let jobs = twin.jobs.iter().filter(|(_, job)| is_volatile(job.queue));
            world.jobs.extend(jobs.map(|(id, job)| (*id, job.clone())));
            let flows = twin.flows.iter().filter(|(_, flow)| flow.is_volatile());
            world.flows.extend(flows.map(|(no, flow)| (*no, flow.clone())));
            let ends = twin.ends.iter().filter(|(_, (queue, _))| is_volatile(*queue));
            world.ends.extend(ends.map(|(id, end)| (*id, *end)));
        }
        world.labels.retain(|_, seat| seat.flow != IN_MEMORY);
        let labels = twin.iter().flat_map(|twin| &twin.labels).filter(|(_, seat)| seat.flow == IN_MEMORY);
        world.labels.extend(labels.map(|(id, seat)| (*id, *seat)));
        world
    }

    /// What a load makes of it: these attempts were lost, or never began.
    fn reload(&mut self, lost: &[(JobId, bool)], now: Now) {
        for job in self.jobs.values_mut().filter(|job| job.due.is_some() && !job.by_wall) {
            job.clock = now.mono.0 as i64 + job.due.unwrap() as i64 - now.wall.0 as i64;
        }
        for (id, has_started) in lost {
            let job = self.jobs.get_mut(id).unwrap();
            job.attempts_ended += u32::from(*has_started);
            job.phase = Phase::Ready;
            if job.cancel {
                self.close(*id, EndState::Cancelled, &BTreeSet::new(), now);
            }
        }
    }

    /// Whether this shard looks like this world.
    pub(crate) fn check(&self, shard: &Shard) {
        let portrait = shard.portrait();
        let ids: Vec<_> = portrait.jobs.keys().collect();
        assert_eq!(
            ids,
            self.jobs.keys().collect::<Vec<_>>(),
            "live jobs: {:?}",
            self.flows.iter().map(|(no, flow)| (no, &flow.steps)).collect::<Vec<_>>()
        );
        for (id, job) in &self.jobs {
            let (.., head, token) = &portrait.jobs[id];
            assert_eq!(token.is_some(), job.phase == Phase::Running, "I4: the lease of {id}, which is {:?}", job.phase);
            let times = (head.due.map(|due| due.0), head.expires.map(|at| at.0), head.deadline.map(|at| at.0));
            assert_eq!(times, (job.due, job.expires, job.ends_by), "times of {id}");
            let counts = (head.attempts_ended, head.failures, head.cancel_requested);
            assert_eq!(counts, (job.attempts_ended, job.failures, job.cancel), "counts of {id}");
        }
        for (id, (_, state, _)) in &portrait.retained {
            assert_eq!(self.ends.get(id).map(|(_, end)| end), Some(state), "how {id} ended, which is retained");
        }
        let flows: Vec<_> = portrait.flows.keys().copied().collect();
        assert_eq!(flows, self.flows.keys().map(|no| flow_id(*no)).collect::<Vec<_>>(), "flows");
        let batches = portrait.batches.iter().map(|(of, counts)| (*of, *counts));
        let expected = self.flows.iter().flat_map(|(no, flow)| {
            let batch =
                |(at, step): (u32, &Step)| Some((StepOf { flow: flow_id(*no), no: at }, step.batch.as_ref()?.counts()));
            (0..).zip(&flow.steps).filter_map(batch)
        });
        assert_eq!(batches.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "batches");
        for (no, flow) in &self.flows {
            let (state, steps) = &portrait.flows[&flow_id(*no)];
            let step = |no| (self.step_state(flow, no), flow.needs_open(no) as u32);
            let expected: Vec<_> = (0..flow.steps.len()).map(step).collect();
            assert_eq!(*steps, expected, "I16: steps of flow {no}: {flow:?}");
            assert!(
                flow.states().contains(state),
                "I16: flow {no} is {state:?}, and may be {:?}: {flow:?}",
                flow.states()
            );
        }
    }

    /// Whether exactly those records of flows stand that this world implies, in the journal or in the twin.
    pub(crate) fn check_store(&self, store: &Store, is_volatile: bool) {
        let mut implied = BTreeSet::new();
        for (flow_no, flow) in self.flows.iter().filter(|(_, flow)| flow.is_volatile() == is_volatile) {
            implied.insert(Key::Flow(flow_id(*flow_no)));
            for (no, step) in (0..).zip(&flow.steps) {
                let of = StepOf { flow: flow_id(*flow_no), no };
                if step.end.is_some() || step.has_output || step.is_passed {
                    implied.insert(Key::Step(of));
                }
                if step.has_output {
                    implied.insert(Key::StepOutput(of));
                }
            }
        }
        let is_of_flow = |key: &&Key| matches!(key, Key::Flow(_) | Key::Step(_) | Key::StepOutput(_));
        let stands: BTreeSet<_> = store.0.keys().filter(is_of_flow).cloned().collect();
        assert_eq!(stands, implied, "records of flows");
        self.check_batches(store, is_volatile);
        let is_mine = |queue: usize| (QUEUES[queue] == "ram") == is_volatile;
        for id in self.jobs.iter().filter(|(_, job)| is_mine(job.queue)).map(|(id, _)| id) {
            assert!(store.0.contains_key(&Key::Job(*id)), "job {id} has no record");
        }
    }
}
