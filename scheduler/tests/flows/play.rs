//! One game: every move is made on the driver and on the oracle, and what comes back is compared.
//!
//! I2: each request has one expected answer, with the step and the mark before which it may not leave, and is answered exactly once;
//! whoever watches a flow, when that ends. I16: no attempt is handed out before the oracle has the step's turn come.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use windlass_scheduler::batch::{BatchCounts, BatchView};
use windlass_scheduler::command::{Command, QueueNo, Request, Submit, TimerClass};
use windlass_scheduler::effect::{Answer, Effect};
use windlass_scheduler::flow::{FlowEnding, FlowState, FlowView, StepState, StepView};
use windlass_scheduler::job::{JobId, Name};
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::state::{EndState, State};

use super::How;
use super::batches::Batch;
use super::common::{Driver, bare, id};
use super::plan::{
    KEEP_FAILED_MS, KEEP_MS, KEPT_MAX, QUEUES, Spec, StepSpec, flow_id, hand_in, job_ids, settings, start,
};
use super::world::{Flow, Job, Kept, Phase, SaidEnds, Step, World};

/// How a flow may be said to stand.
#[derive(Clone, Debug)]
pub(crate) struct Stands {
    pub(crate) states: BTreeSet<FlowState>,
    pub(crate) failed: BTreeSet<Option<usize>>,
    pub(crate) ended: Option<u64>,
    /// Of each step, whether it holds up others, and how many attempts it had. Not looked at by those who watch.
    pub(crate) steps: Vec<(StepState, bool, u32)>,
    pub(crate) batches: Vec<Option<BatchCounts>>,
}

/// The answer that a request has to get.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Not yet any.
    Nothing,
    Enqueued(Vec<(JobId, bool)>),
    Ending(Stands),
    View(Stands),
    Batch(Box<BatchView>),
    Steered(State),
    Signalled(bool),
    Ok,
    /// A refusal, by the word that starts its debug text.
    No(&'static str),
}

/// A refusal as the oracle says it: its word, and the mark that it waits for.
pub(crate) type No = (&'static str, usize);

pub(crate) struct Play {
    pub(crate) driver: Driver,
    pub(crate) world: World,
    /// The worlds that the sealed waves leave, that the journal has, and that it may fall back to.
    pub(crate) sealed: VecDeque<World>,
    pub(crate) written: World,
    pub(crate) synced: Vec<World>,
    pub(crate) twin: World,
    pub(crate) expected: BTreeMap<Request, (What, u64, usize)>,
    pub(crate) watchers: BTreeMap<u8, Vec<Request>>,
    /// The queue whose retained jobs and flows the move at hand looks through.
    pub(crate) retains: Option<usize>,
    /// The move at hand was a load: several flows may have ended in it, one after the other.
    pub(crate) is_load: bool,
    requests: u64,
    jobs: u64,
}

impl Play {
    pub(crate) fn new(memory_bytes_max: u64) -> Self {
        let mut play = Self {
            driver: Driver::new(settings(memory_bytes_max), start()),
            world: World::default(),
            sealed: VecDeque::new(),
            written: World::default(),
            synced: vec![World::default()],
            twin: World::default(),
            expected: BTreeMap::new(),
            watchers: BTreeMap::new(),
            retains: None,
            is_load: false,
            requests: 0,
            jobs: 1,
        };
        play.seal();
        play
    }

    pub(crate) fn request(&mut self) -> Request {
        self.requests += 1;
        Request(self.requests)
    }

    /// A request will be answered so, not before the step at hand has reached this mark.
    pub(crate) fn expect(&mut self, request: Request, what: What, mark: usize) {
        let step = self.driver.shard.step();
        self.expected.insert(request, (what, step, mark));
    }

    /// The number of a job that there never was.
    pub(crate) fn next_job(&mut self) -> u64 {
        self.jobs += 1;
        self.jobs - 1
    }

    pub(crate) fn kept(&self) -> Kept {
        self.driver.shard.portrait().retained.keys().copied().collect()
    }

    /// All jobs that there are, live and retained.
    pub(crate) fn pick(&self, pick: u8) -> Option<JobId> {
        let ids: Vec<_> = self.world.jobs.keys().copied().chain(self.kept()).collect();
        ids.get(usize::from(pick) % ids.len().max(1)).copied()
    }

    pub(crate) fn submit(&mut self, spec: &Spec) {
        let (request, now) = (self.request(), self.driver.now);
        let steps = spec.steps(now);
        let (plan, jobs) = hand_in(spec, &steps, self.jobs, now);
        let ids = job_ids(&jobs);
        self.jobs += ids.len() as u64;
        let flow = Some(Box::new(plan));
        let members = jobs[steps.len()..].to_vec();
        self.driver.handle(Command::Submit(Submit { request, watch: None, jobs, flow }));
        if let Some(flow) = self.world.flows.get(&spec.flow) {
            let same = flow.steps.iter().map(|step| (step.job, false)).collect();
            let mark = flow.mark();
            return self.expect(request, What::Enqueued(same), mark);
        }
        for (no, (step, id)) in steps.iter().zip(&ids).enumerate() {
            let mut job = Job::new(step.queue, Some((spec.flow, no)));
            if step.is_ordinary() {
                job.begin(step.times, now);
            }
            self.world.jobs.insert(*id, job);
        }
        let step = |(job, step): (&JobId, &StepSpec)| Step {
            job: *job,
            end: None,
            is_passed: false,
            has_output: false,
            is_alone: false,
            batch: step.batch.as_ref().map(|_| Batch::default()),
        };
        let flow = Flow {
            fail_fast: spec.fail_fast,
            steps: ids.iter().zip(&steps).map(step).collect(),
            plan: steps.into(),
            fresh: BTreeSet::new(),
            ended: None,
        };
        let mark = flow.mark();
        self.world.flows.insert(spec.flow, flow);
        for job in &members {
            self.world.follow(job, now);
        }
        self.expect(request, What::Enqueued(ids.into_iter().map(|id| (id, true)).collect()), mark);
    }

    /// A job beside the flows.
    pub(crate) fn submit_plain(&mut self, queue: usize) {
        let (request, now, n) = (self.request(), self.driver.now, self.next_job());
        let jobs = vec![bare(n, QUEUES[queue])];
        self.driver.handle(Command::Submit(Submit { request, watch: None, jobs, flow: None }));
        let mut job = Job::new(queue, None);
        job.begin(super::plan::Times::default(), now);
        self.world.jobs.insert(id(n), job);
        self.expect(request, What::Enqueued(vec![(id(n), true)]), super::plan::LEVELS[queue] as usize);
    }

    /// One of the attempts that run ends.
    pub(crate) fn end(&mut self, pick: u8, how: &How) -> bool {
        let live: Vec<_> = self.driver.live.iter().filter(|(_, one)| one.end.is_none()).collect();
        let Some((token, one)) = live.get(usize::from(pick) % live.len().max(1)) else { return false };
        let (token, id, is_volatile) = (**token, one.claim.id, one.queue.0 == 2);
        let outcome = match how {
            How::Bring(pick, members) => self.bring(is_volatile, *pick, members),
            how => how.outcome(),
        };
        let is_current = self.driver.shard.running_leases().contains(&(id, token));
        self.driver.end(token, outcome.clone());
        if is_current {
            self.world.end(id, &outcome, self.driver.now);
        }
        true
    }

    pub(crate) fn pause(&mut self, queue: usize, paused: bool) {
        let (request, queue) = (self.request(), Name::from(QUEUES[queue]));
        self.driver.handle(if paused { Command::Pause { request, queue } } else { Command::Resume { request, queue } });
        self.expect(request, What::Ok, 2);
    }

    pub(crate) fn due(&mut self, queue: usize, class: TimerClass) {
        let now = self.driver.now;
        self.driver.due(QueueNo(queue as u32), class);
        let is_mine = |job: &Job| job.queue == queue && job.phase != Phase::Running;
        let is_over = |job: &Job| match class {
            TimerClass::Delay | TimerClass::At => {
                job.phase == Phase::Delayed && job.by_wall == (class == TimerClass::At) && job.is_due(now)
            }
            TimerClass::Expiry => job.expires.is_some_and(|expires| expires <= now.wall.0),
            _ => false,
        };
        let over: Vec<_> =
            self.world.jobs.iter().filter(|(_, job)| is_mine(job) && is_over(job)).map(|(id, _)| *id).collect();
        for id in over {
            match class {
                TimerClass::Expiry => self.world.close(id, EndState::Expired, &BTreeSet::new(), now),
                _ => self.world.fall_due(id, now),
            }
        }
        if class == TimerClass::Retention {
            self.retains = Some(queue);
            self.ask_members(queue);
        }
        self.settled();
    }

    /// What follows from the move at hand, and whether the shard thinks so, too.
    pub(crate) fn settled(&mut self) {
        self.follow();
        self.forget();
        self.world.check(&self.driver.shard);
        (self.retains, self.is_load) = (None, false);
    }

    /// What follows from the move at hand, and who is to be told of it.
    fn follow(&mut self) {
        let (kept, now) = (self.kept(), self.driver.now);
        self.hear();
        for no in self.world.settle(&kept, now) {
            for request in self.watchers.remove(&no).unwrap_or_default() {
                let (stands, mark) = (self.stands(no), self.world.flows[&no].mark());
                self.expect(request, What::Ending(stands), mark);
            }
        }
    }

    /// Which steps the shard says are done.
    pub(crate) fn hear(&mut self) {
        let portrait = self.driver.shard.portrait();
        let flows = portrait.flows;
        let said = |no: u8| flows.get(&flow_id(no)).into_iter().flat_map(|(_, steps)| steps).enumerate();
        let is_done = |state: &StepState| *state == StepState::Job(State::Done);
        let done = (0..3).flat_map(|no| said(no).filter(|(_, (state, _))| is_done(state)).map(move |(at, _)| (no, at)));
        self.world.said_done = done.collect();
        let fail_fast = self.world.flows.iter().filter(|(_, flow)| flow.fail_fast).map(|(no, _)| *no);
        let views = fail_fast.filter_map(|no| Some((no, self.driver.shard.flow(flow_id(no))?)));
        let ends = views.flat_map(|(no, view)| {
            let cause = |step: &StepView| step.end.as_ref()?.cause.map(|cause| cause as usize);
            (0..).zip(view.steps).map(move |(at, step)| ((no, at), (step.state, cause(&step))))
        });
        self.world.said_ends = ends.collect();
        self.world.said_ends.extend(self.told_by_jobs());
        let flows = self.world.flows.values().filter(|flow| flow.fail_fast);
        let live = flows.flat_map(|flow| &flow.steps).filter_map(|step| {
            let (.., head, token) = portrait.jobs.get(&step.job)?;
            let times = [head.due, head.expires, head.deadline].map(|at| at.map(|at| at.0));
            Some((step.job, (times, token.is_some())))
        });
        self.world.said_live = live.collect();
    }

    /// How steps of flows ended that made room for others at once: what is retained of their jobs says it, but for want of what.
    fn told_by_jobs(&self) -> SaidEnds {
        let retained = self.driver.shard.portrait().retained;
        let flows = self.world.flows.iter().filter(|(_, flow)| flow.fail_fast && flow.ended.is_none());
        let gone = flows.filter(|(no, _)| self.driver.shard.flow(flow_id(**no)).is_none());
        let told = gone.flat_map(|(no, flow)| flow.steps.iter().enumerate().map(move |(at, step)| (*no, at, step.job)));
        let told = told.filter_map(|(no, at, job)| {
            let end = retained.get(&job)?.1;
            Some(((no, at), (StepState::Job(end.into()), (end == EndState::Cancelled).then_some(at))))
        });
        told.collect()
    }

    /// Flows that ended are forgotten when their time has come, or to make room: those that went well, and of the others what is more
    /// than half of it, the first ones first. What ended by this move may have done so after room was made.
    fn forget(&mut self) {
        let (now, flows) = (self.driver.now.wall.0, self.driver.shard.portrait().flows);
        let is_there = |no: u8| flows.contains_key(&super::plan::flow_id(no));
        let ended: Vec<_> = self.world.flows.iter().filter_map(|(no, flow)| Some((*no, flow, flow.ended?))).collect();
        let sum = |of: &dyn Fn(u8, &super::world::Flow, u64) -> bool| {
            let those = ended.iter().filter(|(no, flow, at)| of(*no, flow, *at));
            those.map(|(_, flow, _)| flow.steps.len()).sum::<usize>()
        };
        let (steps, failed) = (sum(&|_, _, _| true), sum(&|_, flow, _| !flow.is_done()));
        let failed_there = sum(&|no, flow, at| !flow.is_done() && is_there(no) && at < now);
        let mut gone = Vec::new();
        for (no, flow, at) in &ended {
            let keep_ms = if flow.is_done() { KEEP_MS } else { KEEP_FAILED_MS };
            let is_over = at + keep_ms <= now && self.retains == Some(flow.plan[0].queue);
            assert!(!(is_over && is_there(*no)), "flow {no} ended at {at}, and is remembered at {now}");
            let is_earlier = |(other, of, other_at): &(u8, &super::world::Flow, u64)| {
                of.is_done() == flow.is_done() && is_there(*other) && other_at < at && *other_at < now
            };
            let is_its_turn = if flow.is_done() { failed_there <= KEPT_MAX / 2 } else { failed > KEPT_MAX / 2 };
            let is_first = self.is_load || (is_its_turn && !ended.iter().any(is_earlier));
            let makes_room = steps > KEPT_MAX && is_first;
            assert!(is_there(*no) || is_over || makes_room, "flow {no} was forgotten at {now}: {flow:?}");
            gone.extend((!is_there(*no)).then_some(*no));
        }
        self.world.flows.retain(|no, _| !gone.contains(no));
        for job in self.world.jobs.values_mut() {
            assert!(job.of.is_none_or(|(flow, _)| !gone.contains(&flow)), "a step lives on without its flow");
            job.seat = job.seat.filter(|seat| !gone.contains(&seat.flow));
        }
        let kept = self.world.flows.values().filter(|flow| flow.ended.is_some()).map(|flow| flow.steps.len());
        assert!(kept.sum::<usize>() <= KEPT_MAX, "more steps are remembered than may be");
    }

    /// How a flow stands.
    pub(crate) fn stands(&self, no: u8) -> Stands {
        let (flow, kept) = (&self.world.flows[&no], self.kept());
        let step = |no| (self.world.step_state(flow, no), flow.is_holding(no, &kept), self.world.attempts(flow, no));
        Stands {
            states: flow.states(),
            failed: flow.failed(),
            ended: flow.ended,
            steps: (0..flow.steps.len()).map(step).collect(),
            batches: flow.steps.iter().map(|step| step.batch.as_ref().map(Batch::counts)).collect(),
        }
    }

    pub(crate) fn seal(&mut self) {
        let before = self.driver.marks[0];
        let is_wave = self.driver.seal();
        self.handed_out();
        if is_wave {
            assert!(self.driver.marks[0] > before);
            self.sealed.push_back(self.world.clone());
            self.twin = self.world.clone();
        }
        assert!(!self.driver.seal(), "a seal after a seal has nothing to close");
    }

    /// What the seal handed out may run; what it found to be too late is over, and what follows from that may run as well.
    fn handed_out(&mut self) {
        let (portrait, now) = (self.driver.shard.portrait(), self.driver.now);
        let is_late = |job: &Job| job.phase == Phase::Ready && job.expires.is_some_and(|at| at <= now.wall.0);
        // One that was called off meanwhile did not get so far.
        let is_called_off = |id: &JobId, job: &Job| {
            if let Some((_, end, _)) = portrait.retained.get(id) {
                return Some(*end == EndState::Cancelled);
            }
            let (flow, no) = job.of?;
            Some(portrait.flows.get(&flow_id(flow))?.1[no].0 == StepState::Job(State::Cancelled))
        };
        let gone = |world: &World| -> Vec<JobId> {
            let late = world.jobs.iter().filter(|(id, job)| is_late(job) && !portrait.jobs.contains_key(id));
            late.filter(|(id, job)| is_called_off(id, job) != Some(true)).map(|(id, _)| *id).collect()
        };
        let start = |world: &mut World| {
            for (id, (.., token)) in &portrait.jobs {
                let Some(job) = world.jobs.get_mut(id).filter(|_| token.is_some()) else { continue };
                if job.phase == Phase::Ready {
                    assert!(!is_late(job), "job {id} is handed out too late");
                    job.phase = Phase::Running;
                }
            }
        };
        start(&mut self.world);
        loop {
            let late = gone(&self.world);
            for id in &late {
                self.world.close(*id, EndState::Expired, &BTreeSet::new(), now);
            }
            self.follow();
            start(&mut self.world);
            if late.is_empty() {
                break;
            }
        }
        self.settled();
    }

    pub(crate) fn write(&mut self, waves: usize) {
        for _ in 0..waves {
            if self.driver.write_one() {
                self.written = self.sealed.pop_front().unwrap();
                self.synced.push(self.written.clone());
            }
        }
    }

    pub(crate) fn finish_writes(&mut self) {
        self.driver.finish_writes();
        self.written = self.sealed.pop_back().unwrap_or_else(|| self.written.clone());
    }

    pub(crate) fn sync(&mut self) {
        self.driver.sync();
        self.synced = vec![self.written.clone()];
    }

    /// Everything is sealed and written, synced only where someone asked for it: then everybody has an answer (I2).
    pub(crate) fn settle(&mut self) {
        self.seal();
        while !self.sealed.is_empty() {
            self.write(self.sealed.len());
        }
        if self.driver.sync_asked > self.driver.marks[2] {
            self.sync();
        }
        self.collect();
        let waits = self.expected.iter().find(|(_, (what, ..))| !matches!(what, What::Nothing));
        assert!(waits.is_none(), "I2: no answer came: {waits:?}");
        self.written.check_store(&self.driver.journal, false);
        self.twin.check_store(&self.driver.twin, true);
    }

    /// I1: with every live attempt adopted, the state after all events is the state that their records load to.
    pub(crate) fn law(&mut self) {
        self.driver.handle(Command::Rearm);
        self.settle();
        let copy = self.driver.copy();
        copy.audit().unwrap();
        assert_eq!(copy.portrait(), self.driver.shard.portrait(), "I1: what stands is not what is");
    }

    /// Every answer that left is compared with the one that was to be given.
    pub(crate) fn collect(&mut self) {
        for effect in std::mem::take(&mut self.driver.effects) {
            let Effect::Reply { request, answer } = effect else { continue };
            let Some((what, step, mark)) = self.expected.remove(&request) else {
                panic!("I2: {request:?} was answered twice, or after all: {answer:?}")
            };
            let reached = self.driver.marks[mark];
            assert!(step <= reached, "I2: {request:?} {what:?} of step {step} left at {reached} ({mark})");
            assert!(is_what(&what, &answer), "{request:?} was to be {what:?}, and is {answer:?}");
        }
    }
}

/// Whether that is the answer.
fn is_what(what: &What, answer: &Result<Answer, Refusal>) -> bool {
    match (what, answer) {
        (What::Enqueued(jobs), Ok(Answer::Enqueued(receipts))) => {
            *jobs == receipts.iter().map(|one| (one.id, one.fresh)).collect::<Vec<_>>()
        }
        (What::Ending(stands), Ok(Answer::FlowEnding(ending))) => stands.is_ending(ending),
        (What::View(stands), Ok(Answer::Flow(view))) => stands.is_view(view),
        (What::Batch(batch), Ok(Answer::Batch(view))) => batch == view,
        (What::Steered(state), Ok(Answer::Steered { state: is })) => state == is,
        (What::Signalled(first), Ok(Answer::Signalled { is_first })) => first == is_first,
        (What::Ok, Ok(Answer::Ok)) => true,
        (What::No(word), Err(refusal)) => format!("{refusal:?}").starts_with(word),
        _ => false,
    }
}

impl Stands {
    fn is(&self, summary: &windlass_scheduler::flow::FlowSummary) -> bool {
        let failed = summary.failed.map(|no| no as usize);
        self.states.contains(&summary.state)
            && self.failed.contains(&failed)
            && self.ended == summary.ended.map(|at| at.0)
    }

    fn is_ending(&self, ending: &FlowEnding) -> bool {
        let says = summary_says(ending);
        self.is(&ending.summary) && says && ending.summary.steps_ended == self.steps.len()
    }

    fn is_view(&self, view: &FlowView) -> bool {
        let steps: Vec<_> = view.steps.iter().map(|step| (step.state, step.is_holding, step.attempts)).collect();
        let ended = self.steps.iter().filter(|(state, ..)| state.is_ended()).count();
        let batches: Vec<_> = view.steps.iter().map(|step| step.batch).collect();
        self.is(&view.summary)
            && (steps, batches) == (self.steps.clone(), self.batches.clone())
            && view.summary.steps_ended == ended
    }
}

/// One that failed is named, and no other.
fn summary_says(ending: &FlowEnding) -> bool {
    ending.failed.is_some() == (ending.summary.state != FlowState::Done)
}
