//! One game: every move is made on the driver and on the oracle, and what comes back is compared.
//!
//! I2 is held here: each request has one expected answer, with the step and the mark before which it may not leave, and
//! it is answered exactly once. I4: a token that is not current changes nothing. I5: the two clocks move apart.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use windlass_scheduler::attempt::Output;
use windlass_scheduler::command::{Command, Request, Submit};
use windlass_scheduler::effect::{Answer, Effect, Found};
use windlass_scheduler::filter::Filter;
use windlass_scheduler::history::Call;
use windlass_scheduler::job::{JobId, NewJob};
use windlass_scheduler::order::Order;
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::settings::{ShardSettings, WhenFull};
use windlass_scheduler::state::{EndState, State};
use windlass_scheduler::time::Now;
use windlass_scheduler::verb::Known;
use windlass_scheduler::view::IsMeant;

use super::common::Driver;
use super::told::{Names, Told};
use super::turns::Seen;
use super::unique::Taken;
use super::world::World;

/// The answer that a request has to get.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    /// Not yet any.
    Nothing,
    Enqueued(Vec<(JobId, bool)>),
    Ending(JobId, EndState, Output),
    Ended(EndState, u64),
    Live(State),
    Steered(State),
    Page(BTreeMap<JobId, IsMeant>),
    Order(Order),
    /// How far it came, jobs that the step met, and whether it was held up.
    Progress(Order, usize, bool),
    Ok,
    /// A refusal, by the word that starts its debug text.
    No(&'static str),
    Schedule(Box<windlass_scheduler::recurrence::ScheduleView>),
}

/// A refusal as the oracle says it: its word, and the queue whose mark it waits for.
pub(crate) type No = (&'static str, Option<usize>);

pub(crate) struct Play {
    pub(crate) driver: Driver,
    pub(crate) world: World,
    /// The worlds that the sealed waves leave, that the journal has, and that it may fall back to.
    pub(crate) sealed: VecDeque<World>,
    pub(crate) written: World,
    pub(crate) synced: Vec<World>,
    pub(crate) twin: World,
    /// What follows the successes of these steps as soon as they are written.
    pub(crate) later: VecDeque<(u64, Vec<NewJob>)>,
    /// Calls that wait for room in the one queue where that is possible.
    pub(crate) row: VecDeque<Submit>,
    pub(crate) expected: BTreeMap<Request, (What, u64, usize)>,
    pub(crate) watchers: BTreeMap<JobId, Vec<Request>>,
    pub(crate) requests: u64,
    pub(crate) names: Names,
    /// Jobs whose bodies these calls are told to read, and what was read, as of which place in line of which replacement.
    pub(crate) to_read: BTreeMap<Request, (i64, u32)>,
    pub(crate) read: BTreeMap<JobId, (Known, (i64, u32))>,
    /// The judge, in every second game.
    pub(crate) told: Option<Told>,
}

impl Play {
    pub(crate) fn new(settings: ShardSettings, now: Now, is_judged: bool) -> Self {
        let mut world = World::new(settings.clone());
        world.began = now.mono.0;
        let mut driver = Driver::new(settings, now);
        driver.logs = true;
        let mut play = Self {
            names: Names::new(is_judged),
            told: is_judged.then(|| Told::new(&driver.settings, driver.settings.term)),
            driver,
            sealed: VecDeque::new(),
            written: world.clone(),
            synced: vec![world.clone()],
            twin: world.clone(),
            later: VecDeque::new(),
            row: VecDeque::new(),
            expected: BTreeMap::new(),
            watchers: BTreeMap::new(),
            requests: 0,
            to_read: BTreeMap::new(),
            read: BTreeMap::new(),
            world,
        };
        play.seal();
        play
    }

    pub(crate) fn request(&mut self) -> Request {
        self.requests += 1;
        Request(self.requests)
    }

    pub(crate) fn mark(&self, queue: usize) -> usize {
        self.world.level(queue) as usize
    }

    pub(crate) fn tell(&mut self, request: Request, call: Call) {
        if let Some(told) = &mut self.told {
            told.call(request, call);
        }
    }

    /// A request will be answered so, not before the step at hand has reached this mark.
    pub(crate) fn expect(&mut self, request: Request, what: What, mark: usize) {
        let step = self.driver.shard.step();
        self.expected.insert(request, (what, step, mark));
    }

    pub(crate) fn expect_no(&mut self, request: Request, (word, queue): No) {
        let mark = queue.map_or(0, |queue| self.mark(queue));
        self.expect(request, What::No(word), mark);
    }

    /// The job that a move means.
    pub(crate) fn meant(&self, queue: usize, n: u8) -> JobId {
        let world = &self.world;
        self.names.meant(super::job_of(queue, n), |id| world.jobs.contains_key(id) || world.ended.contains_key(id))
    }

    pub(crate) fn submit(&mut self, mut jobs: Vec<NewJob>, watch: bool) {
        let tiny = self.waiting_room();
        let mine = jobs.iter().filter(|job| self.world.queue_no(&job.queue) == Some(tiny)).count() as u64;
        if mine > 0
            && (!self.row.is_empty() || self.world.depth(tiny) + mine > self.world.settings.queues[tiny].depth_max)
        {
            // What expires in the seal that lets it in could not be told from an earlier job of its id.
            for job in &mut jobs {
                (job.expires, job.deadline) = (None, None);
            }
        }
        let request = self.request();
        let watch = watch.then(|| self.request());
        if let Some(told) = &mut self.told {
            told.enqueue(request, &jobs);
            if let Some((watch, last)) = watch.zip(jobs.last()) {
                told.call(watch, Call::Wait(last.id));
            }
        }
        let submit = Submit { request, watch, jobs, flow: None };
        self.driver.handle(Command::Submit(submit.clone()));
        if !self.row.is_empty() && mine > 0 {
            let depth_max = self.world.settings.queues[tiny].depth_max;
            return if mine > depth_max { self.refuse(&submit, ("QueueFull", None)) } else { self.wait(submit, false) };
        }
        self.try_submit(submit, false);
    }

    fn waiting_room(&self) -> usize {
        let waits = |when: WhenFull| matches!(when, WhenFull::Wait { .. });
        self.world.settings.queues.iter().position(|queue| waits(queue.when_full)).unwrap()
    }

    fn wait(&mut self, submit: Submit, had_its_turn: bool) {
        let WhenFull::Wait { waiters_max } = self.world.settings.queues[self.waiting_room()].when_full else { return };
        if self.row.len() >= waiters_max {
            return self.refuse(&submit, ("TooManyWaiters", None));
        }
        for request in [Some(submit.request), submit.watch].into_iter().flatten() {
            self.expect(request, What::Nothing, 0);
        }
        if had_its_turn { self.row.push_front(submit) } else { self.row.push_back(submit) }
    }

    pub(crate) fn refuse(&mut self, submit: &Submit, no: No) {
        for request in [Some(submit.request), submit.watch].into_iter().flatten() {
            self.expect_no(request, no);
        }
    }

    /// Whether it came in; otherwise it was refused, or waits.
    fn try_submit(&mut self, submit: Submit, had_its_turn: bool) -> bool {
        let Taken { world, receipts, mark } = match self.judge(&submit.jobs) {
            Ok(taken) => taken,
            Err((("QueueFull", Some(queue)), jobs)) => {
                let settings = &self.world.settings.queues[queue];
                let may_wait = settings.when_full != WhenFull::Refuse && jobs <= settings.depth_max;
                if may_wait {
                    self.wait(submit, had_its_turn);
                } else {
                    self.refuse(&submit, ("QueueFull", None));
                }
                return false;
            }
            Err((no, _)) => {
                self.refuse(&submit, no);
                return false;
            }
        };
        self.world = world;
        let last = receipts.last().map(|(id, _)| *id);
        self.expect(submit.request, What::Enqueued(receipts), mark);
        if let (Some(watch), Some(last)) = (submit.watch, last) {
            self.watch_for(watch, last, mark);
        }
        true
    }

    pub(crate) fn watch(&mut self, id: JobId) {
        let request = self.request();
        self.tell(request, Call::Wait(id));
        self.driver.handle(Command::Watch { request, id });
        self.watch_for(request, id, 0);
    }

    /// `mark`: of the call that has to do with it, too.
    fn watch_for(&mut self, request: Request, id: JobId, mark: usize) {
        if self.world.jobs.contains_key(&id) {
            self.expect(request, What::Nothing, 0);
            self.watchers.entry(id).or_default().push(request);
        } else if let Some(ended) = self.world.ended.get(&id) {
            let (what, mark) = (What::Ended(ended.state, ended.end_no), self.mark(ended.queue));
            self.expect(request, what, mark);
        } else {
            self.expect(request, What::No("Forgotten"), mark);
        }
    }

    pub(crate) fn look(&mut self, id: JobId) {
        let request = self.request();
        self.tell(request, Call::Look(id));
        self.driver.handle(Command::Look { request, id });
        if let Some(job) = self.world.jobs.get(&id) {
            self.expect(request, What::Live(job.state), 0);
        } else if let Some(ended) = self.world.ended.get(&id) {
            let (what, mark) = (What::Ended(ended.state, ended.end_no), self.mark(ended.queue).min(1));
            self.expect(request, what, mark);
        } else {
            self.expect_no(request, ("Forgotten", None));
        }
    }

    /// All that have this tag: as memory knows it, or as is to be read.
    pub(crate) fn list(&mut self, tag: &str) {
        let (request, out) = (self.request(), self.driver.shard.paged_out().collect::<BTreeSet<_>>());
        let filter = Box::new(Filter { tag: Some(tag.to_owned()), ..Filter::default() });
        let (limit, scan_max) = (usize::MAX, usize::MAX);
        self.driver.handle(Command::List { request, filter, from: 0, limit, scan_max });
        let is_meant = |(id, job): (&JobId, &super::world::Job)| {
            if out.contains(id) {
                Some((*id, IsMeant::ByLabels))
            } else {
                (job.tag == tag).then_some((*id, IsMeant::Yes))
            }
        };
        let jobs = self.world.jobs.iter().filter_map(is_meant).collect();
        self.expect(request, What::Page(jobs), usize::from(!out.is_empty()));
    }

    pub(crate) fn unwatch(&mut self, id: JobId) {
        if let Some(request) = self.watchers.get_mut(&id).and_then(Vec::pop) {
            self.driver.handle(Command::Unwatch { request, id });
            self.expected.remove(&request);
        }
    }

    /// Those who watch jobs that ended in this step are to be told, and what follows it may have to wait.
    pub(crate) fn announce(&mut self) {
        self.follow_later(self.driver.shard.step());
        self.world.settle_keys(self.driver.now);
        for (id, queue, end, output) in std::mem::take(&mut self.world.endings) {
            self.world.free(id, self.driver.now);
            for request in self.watchers.remove(&id).unwrap_or_default() {
                self.expect(request, What::Ending(id, end, output.clone()), self.mark(queue));
            }
        }
    }

    pub(crate) fn follow_later(&mut self, step: u64) {
        let later = std::mem::take(&mut self.world.later);
        if !later.is_empty() {
            self.later.push_back((step, later));
        }
    }

    /// What had to wait until now comes in, and has been sealed.
    fn follow(&mut self) {
        let reached = self.later.partition_point(|(step, _)| *step <= self.driver.marks[1]);
        if reached == 0 {
            return;
        }
        for (_, jobs) in self.later.drain(..reached) {
            self.world.follow(jobs, self.driver.now);
        }
        self.hand_out();
        self.is_sealed();
    }

    /// Hands out and lets in, as the seal does, one after the other.
    fn hand_out(&mut self) {
        let (now, term) = (self.driver.now, self.driver.settings.term);
        self.world.note_keys();
        let mut seen = Seen::of(&self.driver.shard, self.world.last_token, term);
        self.world.last_token = seen.last_token;
        loop {
            // A visit takes what is late with what starts behind it, and keys that are free by that wait for its end: so first the
            // queue that was seen to start something.
            let visited = |world: &World, seen: &Seen| Some(world.jobs.get(seen.started.front()?)?.queue);
            while visited(&self.world, &seen)
                .into_iter()
                .chain(0..3)
                .any(|queue| self.world.claim(queue, &mut seen, now))
            {
                self.announce();
            }
            let (tiny, mut came_in) = (self.waiting_room(), false);
            while self.world.depth(tiny) < self.world.settings.queues[tiny].depth_max {
                let Some(submit) = self.row.pop_front() else { break };
                let waiting = self.row.len();
                came_in |= self.try_submit(submit, true);
                if self.row.len() > waiting {
                    break;
                }
            }
            if !came_in {
                assert!(seen.started.is_empty(), "I13: these started, and may not: {seen:?}");
                (0..3).for_each(|queue| self.world.check_rest(queue, now));
                return;
            }
        }
    }

    pub(crate) fn seal(&mut self) {
        let before = self.driver.marks[0];
        let is_wave = self.driver.seal();
        self.hand_out();
        if is_wave {
            assert!(self.driver.marks[0] > before);
            self.is_sealed();
        }
        assert!(!self.driver.seal(), "a seal after a seal has nothing to close");
        self.world.check_timers(&self.driver);
    }

    fn is_sealed(&mut self) {
        self.sealed.push_back(self.world.clone());
        self.twin = self.world.clone();
    }

    pub(crate) fn write(&mut self, waves: usize) {
        for _ in 0..waves {
            if self.driver.write_one() {
                if let Some(told) = &mut self.told {
                    told.written(self.driver.settings.term, self.driver.marks[1]);
                }
                self.written = self.sealed.pop_front().unwrap();
                self.synced.push(self.written.clone());
                self.follow();
            }
        }
    }

    /// The writer finishes, and nobody hears of it.
    pub(crate) fn finish_writes(&mut self) {
        if let (Some(told), Some(wave)) = (&mut self.told, self.driver.sealed.back()) {
            told.finished(self.driver.settings.term, wave.last);
        }
        self.driver.finish_writes();
        self.written = self.sealed.pop_back().unwrap_or_else(|| self.written.clone());
    }

    pub(crate) fn sync(&mut self) {
        self.driver.sync();
        if let Some(told) = &mut self.told {
            told.synced();
        }
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
        if let Some(told) = &mut self.told {
            told.settled();
        }
        let waits = self.expected.iter().find(|(_, (what, ..))| *what != What::Nothing);
        assert!(waits.is_none(), "I2: no answer came: {waits:?}");
        for id in self.driver.shard.paged_out() {
            assert!(self.driver.journal.job(id).is_some(), "the body of {id} is nowhere");
        }
        self.written.check_store(&self.driver.journal, false);
        self.twin.check_store(&self.driver.twin, true);
    }

    /// I1: with every live attempt adopted, the state after all events is the state that their records load to.
    pub(crate) fn law(&mut self) {
        // A load looks at the clock, too.
        self.rearm();
        self.settle();
        let copy = self.driver.copy();
        copy.audit().unwrap();
        assert_eq!(copy.portrait(), self.driver.shard.portrait(), "I1: what stands is not what is");
    }

    /// Every answer that left is compared with the one that was to be given.
    pub(crate) fn collect(&mut self) {
        for effect in std::mem::take(&mut self.driver.effects) {
            if let Some(told) = &mut self.told {
                told.effect(&effect, &self.driver.journal);
            }
            if let Effect::Run { leases, .. } = &effect {
                assert!(leases.is_sorted_by_key(|lease| lease.token), "I4");
                for lease in leases {
                    // A body that is not in memory stands where the attempt reads it.
                    let read = || self.driver.journal.job(lease.id).unwrap().body.clone();
                    let body = lease.body.clone().unwrap_or_else(read);
                    let job = &self.world.jobs[&lease.id];
                    assert_eq!(
                        (&body.payload, &body.labels.tags()[0]),
                        (&job.payload, &job.tag),
                        "body of {}",
                        lease.id
                    );
                }
            }
            let Effect::Reply { request, answer } = effect else { continue };
            let Some((what, step, mark)) = self.expected.remove(&request) else {
                panic!("I2: {request:?} was answered twice, or after all: {answer:?}")
            };
            if let Err(Refusal::OnDisk { id, edition }) = &answer {
                self.reads(request, *id, *edition);
            }
            let reached = self.driver.marks[mark];
            assert!(step <= reached, "I2: {request:?} {what:?} of step {step} left at {reached} ({mark})");
            assert_eq!(said(answer), what, "{request:?}");
        }
    }
}

/// An answer in the oracle's words.
fn said(answer: Result<Answer, Refusal>) -> What {
    match answer {
        Ok(Answer::Enqueued(receipts)) => What::Enqueued(receipts.iter().map(|one| (one.id, one.fresh)).collect()),
        Ok(Answer::Steered { state }) => What::Steered(state),
        Ok(Answer::Ending(ending)) => What::Ending(ending.id, ending.state, ending.output),
        Ok(Answer::Found(Found::Ended(key))) => What::Ended(key.state, key.end_no),
        Ok(Answer::Found(Found::Live(view))) => What::Live(view.state),
        Ok(Answer::Schedules(mut views)) => What::Schedule(Box::new(views.remove(0))),
        Ok(Answer::Orders(orders)) => What::Order(orders[0].clone()),
        Ok(Answer::OrderProgress(come)) => What::Progress(come.order, come.met, come.held_up.is_some()),
        Ok(Answer::Page(page)) => What::Page(page.jobs.iter().map(|(view, is_meant)| (view.id, *is_meant)).collect()),
        Ok(Answer::Stats(_) | Answer::Limits(_) | Answer::Memory(_) | Answer::Measures(_) | Answer::Ok) => What::Ok,
        Ok(
            Answer::Flow(_)
            | Answer::Inputs(_)
            | Answer::Flows(_)
            | Answer::Batch(_)
            | Answer::FlowEnding(_)
            | Answer::Signalled { .. },
        ) => {
            unreachable!("flows have a game of their own")
        }
        Err(refusal) => What::No(word(&refusal)),
    }
}

/// The word that a refusal's debug text starts with.
fn word(refusal: &Refusal) -> &'static str {
    let text = format!("{refusal:?}");
    let words = [
        "QueueFull",
        "TooManyWaiters",
        "PayloadTooLarge",
        "BulkTooLarge",
        "IdTaken",
        "KeyTaken",
        "TooManyKeys",
        "Forgotten",
        "Forbidden",
        "OtherStore",
        "OnDisk",
        "Changed",
        "NoOrder",
        "NoSchedule",
        "NoInstant",
        "OrderEnded",
        "StaleLease",
        "Stopping",
    ];
    words.into_iter().find(|word| text.starts_with(word)).unwrap_or("?")
}
