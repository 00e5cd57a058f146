//! Records to fill a journal with: every kind of them, every field of them set to something that is not its default.
//!
//! The same at every call, so that golden files can be made of them.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;
use windlass_scheduler::attempt::{AttemptLog, AttemptResult, Failure, FailureKind, LogLevel, LogLine, Output};
use windlass_scheduler::change::{
    AttemptRecord, Claim, Claims, ClaimsNo, Counters, EndedKey, EndedRecord, Head, JobRecord, PolicyNo, Record,
    Setting, SettingKey,
};
use windlass_scheduler::filter::{Filter, Span};
use windlass_scheduler::flow::{FlowId, StepOf};
use windlass_scheduler::job::{Body, InstantOf, JobId, Labels, Name, Priority, When};
use windlass_scheduler::lease::LeaseToken;
use windlass_scheduler::limit::{LimitOf, Override, Share};
use windlass_scheduler::order::{Order, OrderEnd, OrderId, OrderPlace};
use windlass_scheduler::rate::Rate;
use windlass_scheduler::recurrence::{CatchUp, Origin, Overlap, Rule, Schedule, Template};
use windlass_scheduler::retry::{Backoff, RetryPolicy};
use windlass_scheduler::state::{EndState, State};
use windlass_scheduler::time::Timestamp;
use windlass_scheduler::unique::{Held, KeyOf, OnConflict, Unique, UniqueKey, Until};
use windlass_scheduler::verb::Verb;

/// The id of sample job `n`.
#[must_use]
pub const fn job_id(n: u64) -> JobId {
    JobId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 + n as u128))
}

/// A name.
#[must_use]
pub fn name(text: &str) -> Name {
    Name::from(text)
}

fn bare_head(n: u64, failures: u32) -> Head {
    Head {
        queue: name("q"),
        priority: Priority(7),
        arrival: i64::try_from(n).unwrap_or(i64::MAX) - 50,
        created: Timestamp(1_700_000_000_000 + n),
        due: (failures > 0).then_some(Timestamp(1_700_000_100_000)),
        due_by_wall: failures > 1,
        expires: Some(Timestamp(1_800_000_000_000)),
        deadline: Some(Timestamp(1_800_000_600_000)),
        timeout_ms: Some(30_000),
        policy: Some(PolicyNo(3)),
        attempts_ended: failures,
        failures,
        lost: 1,
        cancel_requested: failures > 2,
    }
}

/// Sample job `n`, which is there for an instant of a schedule.
#[must_use]
pub fn scheduled(n: u64) -> Record {
    let of = InstantOf { schedule: name("nightly/1"), at: Timestamp(1_700_000_000_000) };
    let labels = Labels::default().of_instant(Some(of));
    let body = Body { payload: Bytes::from_static(b"{}"), version: 1, labels };
    Record::Job(JobRecord { id: job_id(n), kind: name("clean-up"), body: Arc::new(body), head: bare_head(n, 0) })
}

/// Sample job `n`, with its first head.
#[must_use]
pub fn job(n: u64) -> Record {
    let body = Body {
        payload: Bytes::from(format!("{{\"job\":{n}}}")),
        version: 2,
        labels: Labels::new(
            vec!["red".to_owned(), "größe".to_owned()],
            Some("story-1".to_owned()),
            Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            Some(unique(KeyOf::Kind(name("mail")), Until::Done, OnConflict::Existing)),
            Share { key: Some("größe/7".into()), weight: 3 },
        ),
    };
    Record::Job(JobRecord { id: job_id(n), kind: name("mail"), body: Arc::new(body), head: bare_head(n, 0) })
}

/// The head of sample job `n` after this many failures.
#[must_use]
pub fn head(n: u64, failures: u32) -> Record {
    Record::Head(job_id(n), bare_head(n, failures))
}

/// The job with the other record's head in it.
///
/// # Panics
/// Where the records are not a job and a head.
#[must_use]
pub fn joined(job: &Record, head: &Record) -> Record {
    let (Record::Job(job), Record::Head(_, head)) = (job, head) else { panic!("not a job and a head") };
    Record::Job(JobRecord { head: head.clone(), ..job.clone() })
}

/// Sample job `n` at its end.
#[must_use]
pub fn ended(queue: &str, state: EndState, end_no: u64, n: u64) -> Record {
    let failure = || Failure { kind: FailureKind::TimedOut, message: "30 s are over".to_owned() };
    Record::Ended(Box::new(EndedRecord {
        key: EndedKey { queue: name(queue), state, end_no },
        id: job_id(n),
        kind: name("mail"),
        head: bare_head(n, 2),
        at: Timestamp(1_700_000_200_000),
        started: Some(Timestamp(1_700_000_199_000)),
        attempt_recorded: 2,
        bytes: 300,
        edits: 2,
        output: match state {
            EndState::Done => Output::Bytes(Bytes::new()),
            EndState::Dead => Output::TooLarge { bytes: 5_000_000, bytes_max: 1_000_000 },
            EndState::Cancelled | EndState::Expired => Output::None,
        },
        failure: (state != EndState::Done).then(failure),
    }))
}

/// A pause.
#[must_use]
pub fn paused(queue: &str) -> Record {
    Record::Setting(Setting::Paused(name(queue)))
}

/// A setting that can have any number.
#[derive(Clone, Copy, Debug)]
pub struct Suspects(u32);

/// The setting with this number.
#[must_use]
pub const fn suspects(n: u32) -> Suspects {
    Suspects(n)
}

impl Suspects {
    /// Where it stands.
    #[must_use]
    pub const fn setting_key(self) -> SettingKey {
        SettingKey::SuspectsMax
    }

    /// As a record.
    #[must_use]
    pub const fn record(self) -> Record {
        Record::Setting(Setting::SuspectsMax(self.0))
    }
}

/// A limit that an operator set.
#[must_use]
pub fn limit(of: LimitOf, rate: Option<Rate>) -> Record {
    Record::Setting(Setting::Limit(of, Override { slots: Some(4), rate, weight: rate.map(|rate| rate.burst) }))
}

/// A policy with this backoff.
#[must_use]
pub const fn policy(no: u16, backoff: Backoff) -> Record {
    Record::Policy(PolicyNo(no), RetryPolicy { backoff, attempts_max: 9, jitter_percent: 15 })
}

/// Counters that all differ.
#[must_use]
pub fn counters(queue: &str) -> Record {
    Record::Counters(Counters {
        enqueued: 1_000_000,
        ends: 2,
        done_total: 3,
        dead_total: 4,
        cancelled_total: 5,
        expired_total: 6,
        purged: 7,
        quarantined: 8,
        requeued: 9,
        moved_in: 14,
        moved_out: 15,
        attempts: 10,
        failures: 11,
        retries: 12,
        lost: 13,
        ..Counters::new(name(queue))
    })
}

/// An order's number `n`, with every part set.
#[must_use]
pub fn order(n: u64, verb: Verb) -> Record {
    let span = |n: u64| Span { from: Some(Timestamp(n)), until: Some(Timestamp(n + 1)) };
    let filter = Filter {
        queues: vec![name("q"), name("bulk/eu-1")],
        kinds: vec![name("mail")],
        states: State::ALL.to_vec(),
        tag: Some("red".to_owned()),
        correlation_id: Some("story-1".to_owned()),
        limit_key: Some("customer-7".to_owned()),
        batch: Some(StepOf { flow: FlowId(job_id(1_000).0), no: 4 }),
        error: Some("refused".to_owned()),
        created: span(1),
        due: span(3),
        ended: span(5),
    };
    let mut order = Order::new(OrderId(job_id(900 + n).0), verb, filter, Some(50));
    order.placed = Timestamp(1_700_000_000_000 + n);
    order.place = OrderPlace::Retained { queue: name("q"), state: EndState::Dead, before: 17 };
    (order.changed, order.skipped) = (300, 20);
    let end = if n.is_multiple_of(2) { OrderEnd::Finished } else { OrderEnd::Cancelled };
    order.ended = Some((Timestamp(1_700_000_300_000), end));
    Record::Order(Box::new(order))
}

/// A schedule's number `n`, with every part set where the number is odd.
#[must_use]
pub fn schedule(n: u64, rule: Rule, catch_up: CatchUp, overlap: Overlap) -> Record {
    let is_odd = !n.is_multiple_of(2);
    let own = |text: &str| is_odd.then(|| text.to_owned());
    let tags = own("red").into_iter().collect();
    let labels = Labels::new(
        tags,
        own("story-1"),
        own("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        is_odd.then(|| unique(KeyOf::Engine, Until::Window { ms: 60_000 }, OnConflict::Replace { within_ms: Some(9) })),
        Share { weight: if is_odd { 5 } else { 1 }, ..Share::NONE },
    );
    let body = Body { payload: Bytes::from_static(b"{\"days\":30}"), version: 2, labels };
    let backoff = Backoff::Fixed { delay_ms: 5_000 };
    Record::Schedule(Box::new(Schedule {
        name: name(&format!("nightly/{n}")),
        rule,
        template: Template {
            queue: name("q"),
            kind: name("clean-up"),
            priority: is_odd.then_some(Priority(7)),
            expires_ms: is_odd.then_some(3_600_000),
            deadline_ms: is_odd.then_some(7_200_000),
            timeout_ms: is_odd.then_some(60_000),
            retry: is_odd.then_some(RetryPolicy { backoff, attempts_max: 3, jitter_percent: 10 }),
            body: Arc::new(body),
        },
        catch_up,
        overlap,
        jitter_ms: 30_000 * n,
        origin: if is_odd { Origin::Code } else { Origin::Runtime },
        is_paused: is_odd,
        cursor: Timestamp(1_700_000_000_000),
        last: is_odd.then(|| (Timestamp(1_699_999_999_000), job_id(950 + n))),
        held: if is_odd { vec![Timestamp(1), Timestamp(2)] } else { Vec::new() },
        fired: 20 + n,
        overlapped: n,
    }))
}

fn unique(of: KeyOf, until: Until, on_conflict: OnConflict) -> Unique {
    Unique { key: Arc::new(UniqueKey { of, text: "customer/größe 7".into() }), until, on_conflict }
}

/// A key that sample job `n` has, and for which another one may wait.
#[must_use]
pub fn held(n: u64, of: KeyOf, until: Until, next: Option<(JobId, Until)>) -> Record {
    let key = unique(of, until, OnConflict::KeepLast).key;
    let taken = Timestamp(1_700_000_000_000 + n);
    Record::Unique(Box::new(Held { key, queue: name("q"), kind: name("mail"), holder: job_id(n), taken, until, next }))
}

fn cron() -> Rule {
    Rule::Cron { pattern: "0 3 * * 1-5".into(), zone: "Europe/Berlin".into() }
}

/// An attempt with a line of every level.
fn logged(attempt: u32, result: AttemptResult) -> Record {
    let (started, ended) = (Timestamp(1_700_000_000_000), Timestamp(1_700_000_001_000));
    let line = |level: LogLevel| LogLine {
        at: Timestamp(1_700_000_000_500),
        level,
        target: "shop::mail".to_owned(),
        text: format!("größe in {} attempt=7", level.as_str()),
    };
    let log = AttemptLog { lines: LogLevel::ALL.map(line).into(), dropped: 12 };
    Record::Attempt(AttemptRecord { id: job_id(1), attempt, started, ended, result, log: Some(Arc::new(log)) })
}

/// One record of every kind, and of every form that a kind has. No two have one key, and none needs another.
#[must_use]
pub fn one_of_each() -> Vec<Record> {
    let claim = |n: u64| Claim { id: job_id(n), attempt: 3, token: LeaseToken { term: 5, n: 70_000 + n } };
    let attempt = |no, kind| {
        let (started, ended) = (Timestamp(1_700_000_000_000), Timestamp(1_700_000_001_000));
        let failure = Failure { kind, message: "connection refused".to_owned() };
        let result = AttemptResult::Failed(failure);
        Record::Attempt(AttemptRecord { id: job_id(1), attempt: no, started, ended, result, log: None })
    };
    let mut records = vec![
        paused("q"),
        limit(LimitOf::queue("q"), None),
        limit(LimitOf::each_key("q"), None),
        limit(LimitOf::key("q", "größe/7"), Some(Rate { jobs: 50, period_ms: 1_000, burst: 7 })),
        limit(LimitOf::shared("api"), Some(Rate { jobs: 1, period_ms: 60_000, burst: 1 })),
        limit(LimitOf::shared_each_key("api"), None),
        limit(LimitOf::shared_key("api", "a"), None),
        suspects(12).record(),
        policy(0, Backoff::Fixed { delay_ms: 1_000 }),
        policy(1, Backoff::Linear { first_ms: 1, step_ms: 2, cap_ms: 300 }),
        policy(2, Backoff::Exponential { first_ms: 2_000, cap_ms: 7_200_000 }),
        policy(300, Backoff::List { delays_ms: Arc::from([30_000, 120_000, u64::MAX]) }),
        counters("q"),
        ended("q", EndState::Done, 1, 101),
        ended("q", EndState::Dead, 2, 102),
        ended("bulk/eu-1", EndState::Cancelled, 3, 103),
        ended("q", EndState::Expired, u64::MAX - 1, 104),
        job(1),
        scheduled(6),
        Record::Claims(Claims { no: ClaimsNo { term: 5, n: 6 }, at: Timestamp(9), entries: vec![claim(1), claim(2)] }),
        Record::Order(Box::new(Order::new(OrderId(job_id(900).0), Verb::Requeue, Filter::default(), None))),
        order(1, Verb::Cancel),
        order(2, Verb::Discard),
        order(3, Verb::RunNow),
        order(4, Verb::Reprioritise(Priority(3))),
        order(5, Verb::Reschedule(When::After(60_000))),
        order(6, Verb::Reschedule(When::At(Timestamp(1_800_000_000_000)))),
        order(7, Verb::Move(name("bulk/eu-1"))),
        schedule(1, Rule::Every { period_ms: 60_000 }, CatchUp::Skip, Overlap::Allow),
        schedule(2, cron(), CatchUp::Latest, Overlap::Skip),
        schedule(3, cron(), CatchUp::All { max: 7 }, Overlap::Queue),
        held(1, KeyOf::Kind(name("mail")), Until::Done, None),
        held(2, KeyOf::Queue(name("bulk/eu-1")), Until::Window { ms: 86_400_000 }, Some((job_id(3), Until::Started))),
        held(4, KeyOf::Engine, Until::Started, Some((job_id(5), Until::Window { ms: 1 }))),
        attempt(1, FailureKind::Error),
        attempt(2, FailureKind::Permanent),
        attempt(3, FailureKind::Panic),
        attempt(4, FailureKind::TimedOut),
        attempt(5, FailureKind::Decode),
        attempt(6, FailureKind::Lost),
        logged(7, AttemptResult::Failed(Failure { kind: FailureKind::Error, message: "no luck".to_owned() })),
        logged(8, AttemptResult::Succeeded),
        logged(9, AttemptResult::Snoozed),
        logged(10, AttemptResult::Cancelled),
        logged(11, AttemptResult::Released),
        Record::Result(job_id(101), Bytes::from_static(b"\x00\x01output")),
        Record::Checkpoint(job_id(1), Bytes::from_static(b"{\"row\":7}")),
    ];
    records.extend(super::flows::one_of_each());
    records
}
