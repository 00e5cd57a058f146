//! Commands for a shard, with clocks, progress and crashes between them.
//!
//! The driver audits the whole state after each step, and asserts I2 and I4 of what leaves; here it is added that every
//! settled state is the one that its records load to (I1), and that no answer comes twice. No oracle: what a command means
//! is the model's affair, and what the model never says is said here.

mod flows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;
use windlass_scheduler::attempt::{Failure, FailureKind, Outcome, Output, Retry};
use windlass_scheduler::breaker::Breaker;
use windlass_scheduler::command::{Command, QueueNo, Request, Submit, TimerClass};
use windlass_scheduler::effect::Effect;
use windlass_scheduler::filter::Filter;
use windlass_scheduler::job::{Body, JobId, Labels, Name, NewJob, Priority, When};
use windlass_scheduler::lease::LeaseToken;
use windlass_scheduler::limit::{Draw, KeyLimits, Limit, Share, SharedLimit};
use windlass_scheduler::order::{Order, OrderCommand, OrderId};
use windlass_scheduler::rate::Rate;
use windlass_scheduler::recurrence::{CatchUp, Origin, Overlap, Rule, Schedule, ScheduleCommand, Template};
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::retry::{Backoff, RetryPolicy};
use windlass_scheduler::settings::{Keep, KindSettings, Level, QueueSettings, Retention, ShardSettings, WhenFull};
use windlass_scheduler::time::{Mono, Now, Timestamp};
use windlass_scheduler::unique::{KeyOf, OnConflict, Unique, UniqueKey, Until};
use windlass_scheduler::verb::{Edition, Known, Retained, Verb};

use super::driver::{Driver, Store};
use super::input::Input;

const QUEUES: [&str; 3] = ["ram", "tiny", "safe"];
const KINDS: [&str; 3] = ["mail", "print", "unknown"];
/// Ids: few, so that they meet again.
const IDS: u8 = 10;
/// A longer sequence finds nothing that a shorter one does not, and takes longer.
const STEPS_MAX: usize = 400;

struct Play<'a> {
    input: Input<'a>,
    driver: Driver,
    requests: u64,
    answered: BTreeSet<Request>,
    /// Bodies that were read because an answer said so.
    on_disk: BTreeMap<JobId, (Arc<Body>, Edition)>,
}

/// Plays what the bytes say.
pub(crate) fn commands(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let memory_bytes_max = input.pick(&[u64::MAX, 0, 2_000, 5_000]).unwrap_or(u64::MAX);
    let start = Now { mono: Mono(50), wall: Timestamp(1_000_000) };
    let driver = Driver::new(settings(memory_bytes_max), start);
    let mut play = Play { input, driver, requests: 0, answered: BTreeSet::new(), on_disk: BTreeMap::new() };
    for _ in 0..STEPS_MAX {
        if play.input.is_used_up() {
            break;
        }
        play.step();
        play.look_at_effects();
    }
    play.law();
}

fn settings(memory_bytes_max: u64) -> ShardSettings {
    let keep = |count_max| Keep { age_ms: 2_000, count_max, bytes_max: 60 };
    let queue = |name: &str, level| QueueSettings {
        slots: 2,
        level,
        retry: RetryPolicy {
            backoff: Backoff::Exponential { first_ms: 30, cap_ms: 50 },
            attempts_max: 3,
            jitter_percent: 10,
        },
        payload_bytes_max: 64,
        retention: Retention { done: keep(3), dead: keep(2), dropped: keep(2), ..Retention::default() },
        ..QueueSettings::new(Name::from(name))
    };
    let (mut ram, mut tiny, mut safe) =
        (queue(QUEUES[0], Level::Memory), queue(QUEUES[1], Level::Process), queue(QUEUES[2], Level::Durable));
    ram.timeout_ms = Some(100);
    (tiny.depth_max, tiny.when_full) = (2, WhenFull::Wait { waiters_max: 2 });
    (safe.slots, safe.depth_max) = (3, 5);
    let mut kinds: Vec<_> = KINDS[..2].iter().map(|kind| KindSettings::from(*kind)).collect();
    kinds[1].slots = Some(2);
    let rate = |jobs| Some(Rate { jobs, period_ms: 40, burst: 2 });
    let breaker = Breaker { failures: 2, attempts: 3, pause_ms: 30, pause_ms_max: 90, probes: 2 };
    ram.keys.each = Limit { slots: Some(1), breaker: Some(breaker), ..Limit::NONE };
    safe.keys.of.insert("x".into(), Limit { rate: rate(2), ..Limit::NONE });
    safe.ages_after_ms = Some(100);
    (tiny.breaker, tiny.retry_budget_percent, safe.retry_budget_percent) = (Some(breaker), Some(30), Some(0));
    safe.key_weights.insert("y".into(), 2);
    for queue in [&mut tiny, &mut safe] {
        queue.shares.push(Name::from("api"));
    }
    let keys = KeyLimits { each: Limit { slots: Some(2), rate: rate(4), ..Limit::NONE }, ..KeyLimits::default() };
    let all = Limit { slots: Some(3), rate: rate(9), breaker: Some(breaker) };
    let shared = vec![SharedLimit { name: Name::from("api"), all, keys, draw: Draw::Weighted }];
    let settings = ShardSettings { shared, ..ShardSettings::new(1, 7, vec![ram, tiny, safe], kinds) };
    ShardSettings { unknown_kinds: true, bulk_jobs_max: 3, memory_bytes_max, ..settings }
}

impl Play<'_> {
    fn step(&mut self) {
        match self.input.below(30) {
            0..4 => self.submit(),
            4..8 => self.end(),
            8 => self.extend_or_leave_word(),
            9 | 10 => self.steer(),
            11 => self.edit(),
            12 => self.order(),
            24 => self.schedule(),
            25 | 26 => self.submit_flow(),
            27..30 => self.steer_flow(),
            13 => self.ask(),
            14 => self.queue_verb(),
            15 | 16 => self.pass_time(),
            17 => drop(self.driver.seal()),
            18 => drop(self.driver.write_one()),
            19 => self.driver.sync(),
            20 => self.driver.settle(),
            21 => drop({
                let is_readable = !self.input.one_in(4);
                self.driver.fetch_one(is_readable)
            }),
            22 => self.law(),
            _ => self.fall(),
        }
    }

    fn request(&mut self) -> Request {
        self.requests += 1;
        Request(self.requests)
    }

    fn id(&mut self) -> JobId {
        if self.input.one_in(3) {
            return self.step_id();
        }
        self.plain_id()
    }

    fn plain_id(&mut self) -> JobId {
        JobId(Uuid::from_u128(self.input.below(IDS).into()))
    }

    fn queue(&mut self) -> (QueueNo, Name) {
        let no = self.input.below(3);
        (QueueNo(no.into()), Name::from(QUEUES[usize::from(no)]))
    }

    fn when(&mut self) -> When {
        let ms = u64::from(self.input.byte());
        match self.input.below(8) {
            0..4 => When::After(ms),
            4..7 => When::At(Timestamp((self.driver.now.wall.0 + ms).saturating_sub(50))),
            _ => When::After(self.input.number()),
        }
    }

    fn maybe<T>(&mut self, one_in: u8, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.input.one_in(one_in).then(|| make(self))
    }

    fn job(&mut self) -> NewJob {
        let kind = self.input.pick(&[0, 0, 0, 1, 2]).unwrap_or(0);
        let retry = |play: &mut Self| RetryPolicy {
            backoff: Backoff::Fixed { delay_ms: play.input.byte().into() },
            attempts_max: 1 + u32::from(play.input.below(3)),
            jitter_percent: 0,
        };
        let (queue, kind) = (self.queue().1, Name::from(KINDS[kind]));
        let unique = self.maybe(4, |play| play.unique(&kind, &queue));
        let key = self.maybe(2, |play| play.input.pick(&["x", "y", "z"]).unwrap_or("x").into());
        let share = Share { key, weight: 1 + u32::from(self.input.below(4)) };
        let mut job = NewJob {
            id: self.plain_id(),
            queue,
            kind,
            priority: self.maybe(2, |play| Priority(play.input.byte())),
            due: self.maybe(4, Self::when),
            expires: self.maybe(4, Self::when),
            deadline: self.maybe(4, Self::when),
            timeout_ms: self.maybe(4, |play| play.input.byte().into()),
            retry: self.maybe(4, retry),
            body: Arc::new(Body {
                payload: self.payload(),
                labels: Labels::new(vec!["a".into()], None, None, unique, share),
                ..Body::default()
            }),
        };
        if self.input.one_in(4) {
            self.of_batch(&mut job);
        }
        job
    }

    fn unique(&mut self, kind: &Name, queue: &Name) -> Unique {
        let of = match self.input.below(3) {
            0 => KeyOf::Kind(kind.clone()),
            1 => KeyOf::Queue(queue.clone()),
            _ => KeyOf::Engine,
        };
        let until = match self.input.below(4) {
            0 => Until::Started,
            1 => Until::Window { ms: 1 + u64::from(self.input.byte()) },
            2 => Until::Window { ms: self.input.number().max(1) },
            _ => Until::Done,
        };
        let on_conflict = match self.input.below(3) {
            0 => OnConflict::Existing,
            1 => OnConflict::Replace { within_ms: self.maybe(2, |play| play.input.number()) },
            _ => OnConflict::KeepLast,
        };
        Unique { key: Arc::new(UniqueKey { of, text: "k".into() }), until, on_conflict }
    }

    fn payload(&mut self) -> Bytes {
        Bytes::from(vec![7; usize::from(self.input.below(80))])
    }

    fn submit(&mut self) {
        let request = self.request();
        let watch = self.input.one_in(3).then(|| self.request());
        let jobs = (0..=self.input.below(4) / 2).map(|_| self.job()).collect();
        self.driver.handle(Command::Submit(Submit { request, watch, jobs, flow: None }));
        if self.input.one_in(8) {
            self.driver.handle(Command::Withdraw { request });
        }
    }

    /// Of an attempt that runs; `stale`: of one that ran before.
    fn token(&mut self, stale: bool) -> Option<(LeaseToken, JobId)> {
        let given = self.driver.tokens.iter().map(|(token, id, _)| (*token, *id));
        let runs = |token: &LeaseToken| self.driver.live.get(token).is_some_and(|one| one.end.is_none());
        let given: Vec<_> = given.filter(|(token, _)| stale != runs(token)).collect();
        self.input.pick(&given)
    }

    fn end(&mut self) {
        let stale = self.input.one_in(8);
        let Some((token, _)) = self.token(stale) else { return };
        let failed = |kind, retry| Outcome::Failed { failure: Failure::new(kind, "no luck".into()), retry };
        let outcome = match self.input.below(10) {
            0..3 => Outcome::Done { output: Output::None, follow_ups: Vec::new() },
            3 => Outcome::Done { output: Output::Bytes(self.payload()), follow_ups: self.follow_ups() },
            4 => failed(FailureKind::Error, Retry::ByPolicy),
            5 => failed(FailureKind::Permanent, Retry::Never),
            6 => failed(FailureKind::Panic, Retry::After(self.input.byte().into())),
            7 => Outcome::Snoozed { delay_ms: self.input.byte().saturating_sub(100).into() },
            8 => Outcome::Cancelled { reason: "enough".into() },
            _ => Outcome::Released,
        };
        if stale {
            self.driver.handle(Command::End { token, outcome, body: None, log: None });
        } else {
            self.driver.end(token, outcome);
        }
    }

    /// Checked when they were added (I9): neither too big ones nor the same id twice come this far.
    fn follow_ups(&mut self) -> Vec<NewJob> {
        let mut jobs: Vec<NewJob> = Vec::new();
        for _ in 0..self.input.below(3) {
            let job = self.job();
            if job.body.bytes() <= 64 && jobs.iter().all(|one| one.id != job.id) {
                jobs.push(job);
            }
        }
        jobs
    }

    fn extend_or_leave_word(&mut self) {
        let stale = self.input.one_in(4);
        let Some((token, id)) = self.token(stale) else { return };
        let request = self.request();
        let command = if self.input.one_in(2) {
            Command::Checkpoint { request, id, token, bytes: self.payload() }
        } else {
            Command::Extend { request, id, token, by_ms: self.input.number() }
        };
        self.driver.handle(command);
    }

    fn verb(&mut self) -> Verb {
        match self.input.below(6) {
            0 => Verb::Cancel,
            1 => Verb::Discard,
            2 => Verb::RunNow,
            3 => Verb::Reprioritise(Priority(self.input.byte())),
            4 => Verb::Reschedule(self.when()),
            5 => Verb::Move(self.queue().1),
            _ => Verb::Requeue,
        }
    }

    /// What is written, which may be behind.
    fn read(&self, id: JobId) -> Option<Box<Retained>> {
        let read = |store: &Store| {
            Some(Box::new(Retained { ended: store.ended(id)?.clone(), body: store.job(id)?.body.clone() }))
        };
        [&self.driver.journal, &self.driver.twin].into_iter().find_map(read)
    }

    fn steer(&mut self) {
        let (request, id, verb) = (self.request(), self.id(), self.verb());
        let read = if verb == Verb::Requeue { self.read(id) } else { None };
        let comes_again = verb == Verb::Discard && self.input.one_in(2);
        self.driver.handle(Command::Steer { request, id, verb, read });
        if comes_again {
            // At once, and anywhere.
            let (request, job) = (self.request(), NewJob { id, ..self.job() });
            self.driver.handle(Command::Submit(Submit { request, watch: None, jobs: vec![job], flow: None }));
            self.driver.seal();
        }
    }

    fn edit(&mut self) {
        let (request, id, payload) = (self.request(), self.id(), self.payload());
        let known = match self.input.below(3) {
            0 => Known::Nothing,
            1 => self.on_disk.get(&id).map_or(Known::Nothing, |(body, edition)| Known::Live(body.clone(), *edition)),
            _ => self.read(id).map_or(Known::Nothing, Known::Retained),
        };
        self.driver.handle(Command::Edit { request, id, payload, version: 1, known });
    }

    fn order(&mut self) {
        let (request, id) = (self.request(), OrderId(Uuid::from_u128(self.input.below(4).into())));
        let command = if self.input.one_in(3) {
            OrderCommand::Cancel(id)
        } else {
            let (verb, filter) = (self.verb(), Filter::default());
            OrderCommand::Place(Box::new(Order::new(id, verb, filter, Some(1))))
        };
        self.driver.handle(Command::Order { request, command });
    }

    fn schedule(&mut self) {
        let request = self.request();
        let name = Name::from(["a", "b", "c"][usize::from(self.input.below(3))]);
        let command = match self.input.below(7) {
            0 | 1 => ScheduleCommand::Define(Box::new(self.new_schedule(name))),
            2 => ScheduleCommand::Pause { name, paused: self.input.one_in(2) },
            3 => ScheduleCommand::RunNow { name, id: self.id() },
            4 => ScheduleCommand::Remove(name),
            _ => ScheduleCommand::All { after: None, limit: self.input.byte().into() },
        };
        self.driver.handle(Command::Schedule { request, command });
    }

    fn new_schedule(&mut self, name: Name) -> Schedule {
        let overlaps = [Overlap::Allow, Overlap::Skip, Overlap::Queue];
        let catch_ups = [CatchUp::Skip, CatchUp::Latest, CatchUp::All { max: 4 }];
        Schedule {
            name,
            rule: Rule::Every { period_ms: u64::from(self.input.byte()) },
            template: Template {
                queue: self.queue().1,
                kind: Name::from(KINDS[usize::from(self.input.below(3))]),
                priority: None,
                expires_ms: self.input.one_in(4).then_some(30),
                deadline_ms: self.input.one_in(4).then_some(60),
                timeout_ms: None,
                retry: None,
                body: if self.input.one_in(2) { self.job().body } else { Arc::default() },
            },
            catch_up: self.input.pick(&catch_ups).unwrap_or_default(),
            overlap: self.input.pick(&overlaps).unwrap_or_default(),
            jitter_ms: self.input.byte().into(),
            origin: Origin::Runtime,
            is_paused: false,
            cursor: Timestamp(0),
            last: None,
            held: Vec::new(),
            fired: 0,
            overlapped: 0,
        }
    }

    fn ask(&mut self) {
        let (request, id) = (self.request(), self.id());
        let filter = Box::new(Filter { tag: self.input.one_in(2).then(|| "a".to_owned()), ..Filter::default() });
        let (from, limit) = (self.input.byte().into(), self.input.byte().into());
        let command = match self.input.below(6) {
            0 | 1 => Command::Watch { request, id },
            2 => Command::Look { request, id },
            3 => Command::List { request, filter, from, limit, scan_max: 4 },
            4 => Command::Stats { request },
            _ => {
                let measure = Command::Measure { request: self.request() };
                self.driver.handle(measure);
                Command::Memory { request }
            }
        };
        self.driver.handle(command);
        if self.input.one_in(4) {
            self.driver.handle(Command::Unwatch { request, id });
        }
    }

    fn queue_verb(&mut self) {
        let (request, (no, queue)) = (self.request(), self.queue());
        let slots = self.input.below(4).into();
        let command = match self.input.below(12) {
            0..4 => Command::Pause { request, queue },
            4..8 => Command::Resume { request, queue },
            8..10 => {
                self.driver.slots[no.0 as usize] = slots;
                Command::Slots { queue: no, slots }
            }
            10 => Command::StopAttempts,
            _ => Command::Drain,
        };
        self.driver.handle(command);
    }

    fn pass_time(&mut self) {
        match self.input.below(8) {
            0..3 => self.driver.advance(self.input.byte().into()),
            3 => {
                let later = self.driver.now.wall.0 + u64::from(self.input.byte()) * 100;
                self.driver.set_wall(later.saturating_sub(12_800));
            }
            4 => {
                self.driver.armed.clear();
                self.driver.handle(Command::Rearm);
            }
            5 => {
                let (queue, class) = (self.queue().0, self.input.pick(&TimerClass::ALL));
                self.driver.due(queue, class.unwrap_or(TimerClass::Delay));
            }
            _ => {
                for (queue, class) in self.driver.fired() {
                    self.driver.due(queue, class);
                }
            }
        }
    }

    /// The process dies, with the power or without; or only the core falls.
    fn fall(&mut self) {
        match self.input.below(4) {
            0 => self.driver.crash(None),
            1 => self.driver.crash(Some(self.input.below(4).into())),
            2 => self.driver.finish_writes(),
            _ => {}
        }
        self.on_disk.clear();
        assert_eq!(self.driver.load(), [], "the core does not understand its own records");
    }

    fn look_at_effects(&mut self) {
        for effect in std::mem::take(&mut self.driver.effects) {
            if let Effect::Reply { answer: Err(Refusal::OnDisk { id, edition }), .. } = &effect {
                let body = self.driver.journal.job(*id).map(|job| job.body.clone());
                self.on_disk.extend(body.map(|body| (*id, (body, *edition))));
            }
            if let Effect::Reply { request, .. } = effect {
                assert!(request.0 <= self.requests, "{request:?} was never made");
                assert!(self.answered.insert(request), "I2: {request:?} is answered twice");
            }
        }
    }

    /// I1: with every live attempt adopted, the state after all events is the one that their records load to.
    fn law(&mut self) {
        // A load looks at the clock, too.
        self.driver.handle(Command::Rearm);
        self.driver.settle();
        let copy = self.driver.copy();
        copy.audit().unwrap_or_else(|wrong| panic!("loaded: {wrong}"));
        assert_eq!(copy.portrait(), self.driver.shard.portrait(), "I1: what stands is not what is");
    }
}
