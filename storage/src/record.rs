//! The bodies of records as they stand on disk: this crate's own types, with the layout that bincode gives them.
//!
//! Never the domain's types: those may change freely, these are the format (see `FORMAT.md`). A type with `V1` in its
//! name never changes once the format binds; a successor is a new type under a new record version. All borrow, so that
//! payloads are copied once when writing (into the batch) and once when reading (out of the database's own memory).

mod attempt;
mod batch;
mod flow;
mod order;
mod schedule;
mod unique;

use bincode::de::{BorrowDecode, BorrowDecoder, Decode};
use bincode::error::DecodeError;
use bincode::{BorrowDecode as BorrowDecodeDerive, Encode};
use windlass_scheduler::attempt::{Failure, FailureKind, Output};
use windlass_scheduler::change::{Counters, EndedRecord, Head, JobRecord, PolicyNo};
use windlass_scheduler::job::{Body, JobId, Labels, Name, Priority};
use windlass_scheduler::limit::{Override, Share};
use windlass_scheduler::rate::Rate;
use windlass_scheduler::retry::{Backoff, RetryPolicy};
use windlass_scheduler::time::Timestamp;

pub(crate) use self::attempt::AttemptV1;
use self::batch::PartOfV1;
pub(crate) use self::batch::{BatchV1, MemberV1};
pub(crate) use self::flow::{FlowV1, StepV1};
pub(crate) use self::order::OrderV1;
pub(crate) use self::schedule::ScheduleV1;
pub(crate) use self::unique::{HeldV1, UniqueV1};

/// A list that is read item by item: its claimed length reserves nothing, so that damaged or hostile bytes cannot ask
/// for more memory than they can fill.
#[derive(Encode)]
pub(crate) struct List<T: Encode + 'static>(pub(crate) Vec<T>);

impl<'de, T, Context> BorrowDecode<'de, Context> for List<T>
where
    T: Encode + 'static + BorrowDecode<'de, Context>,
{
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        read_items(decoder).map(Self)
    }
}

/// One after the other, with nothing reserved: see [`List`].
fn read_items<'de, T, D>(decoder: &mut D) -> Result<Vec<T>, DecodeError>
where
    D: BorrowDecoder<'de>,
    T: BorrowDecode<'de, D::Context>,
{
    let length = u64::decode(decoder)?;
    let mut items = Vec::new();
    for _ in 0..length {
        items.push(T::borrow_decode(decoder)?);
    }
    Ok(items)
}

/// Borrowed texts; read like a [`List`].
pub(crate) struct Texts<'a>(pub(crate) Vec<&'a str>);

impl<'de: 'a, 'a, Context> BorrowDecode<'de, Context> for Texts<'a> {
    fn borrow_decode<D: BorrowDecoder<'de, Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        read_items(decoder).map(Self)
    }
}

#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct HeadV1<'a> {
    queue: &'a str,
    priority: u8,
    arrival: i64,
    created: u64,
    due: Option<u64>,
    due_by_wall: bool,
    expires: Option<u64>,
    deadline: Option<u64>,
    timeout_ms: Option<u64>,
    policy: Option<u16>,
    attempts_ended: u32,
    failures: u32,
    lost: u32,
    cancel_requested: bool,
}

/// Of a job, and of a schedule's template. `T` is `&[String]` when writing and [`Texts`] when reading.
#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct BodyV1<'a, T> {
    version: u32,
    tags: T,
    correlation_id: Option<&'a str>,
    trace: Option<&'a str>,
    unique: Option<UniqueV1<'a>>,
    share: Option<ShareV1<'a>>,
    part_of: Option<PartOfV1<'a>>,
    payload: &'a [u8],
}

/// What a body says about limits, where it says something.
#[derive(Encode, BorrowDecodeDerive)]
struct ShareV1<'a> {
    key: Option<&'a str>,
    weight: u32,
}

/// `T` as of its body.
#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct JobV1<'a, T> {
    kind: &'a str,
    head: HeadV1<'a>,
    body: BodyV1<'a, T>,
}

#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct FailureV1<'a> {
    kind: u8,
    message: &'a str,
}

#[derive(Encode, BorrowDecodeDerive)]
pub(crate) enum OutputV1<'a> {
    None,
    Bytes(&'a [u8]),
    TooLarge { bytes: u64, bytes_max: u64 },
}

/// Its queue, state and number stand in the key.
#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct EndedV1<'a> {
    pub(crate) id: [u8; 16],
    kind: &'a str,
    head: HeadV1<'a>,
    at: u64,
    started: Option<u64>,
    attempt_recorded: u32,
    bytes: u64,
    edits: u32,
    output: OutputV1<'a>,
    failure: Option<FailureV1<'a>>,
}

/// Its queue stands in the key.
#[derive(Encode, BorrowDecodeDerive)]
pub(crate) enum SettingV1 {
    Paused,
    SuspectsMax(u32),
    Limit { slots: Option<u32>, rate: Option<RateV1>, weight: Option<u32> },
}

#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct RateV1 {
    jobs: u32,
    period_ms: u64,
    burst: u32,
}

impl SettingV1 {
    pub(crate) fn limit(limit: &Override) -> Self {
        let rate = limit.rate.map(|Rate { jobs, period_ms, burst }| RateV1 { jobs, period_ms, burst });
        Self::Limit { slots: limit.slots, rate, weight: limit.weight }
    }
}

impl RateV1 {
    /// A rate that a bucket can be made of: whoever wrote it had checked that.
    pub(crate) fn domain(&self) -> Rate {
        Rate { jobs: self.jobs.max(1), period_ms: self.period_ms.max(1), burst: self.burst.max(1) }
    }
}

#[derive(Encode, BorrowDecodeDerive)]
pub(crate) enum BackoffV1 {
    Fixed { delay_ms: u64 },
    Linear { first_ms: u64, step_ms: u64, cap_ms: u64 },
    Exponential { first_ms: u64, cap_ms: u64 },
    List { delays_ms: List<u64> },
}

#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct PolicyV1 {
    backoff: BackoffV1,
    attempts_max: u32,
    jitter_percent: u8,
}

/// Its queue stands in the key.
#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct CountersV1 {
    enqueued: u64,
    ends: u64,
    done_total: u64,
    dead_total: u64,
    cancelled_total: u64,
    expired_total: u64,
    purged: u64,
    quarantined: u64,
    requeued: u64,
    attempts: u64,
    failures: u64,
    retries: u64,
    lost: u64,
    moved_in: u64,
    moved_out: u64,
}

#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct ClaimV1 {
    pub(crate) id: [u8; 16],
    pub(crate) attempt: u32,
    pub(crate) token_term: u64,
    pub(crate) token_n: u64,
}

#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct ClaimsV1 {
    pub(crate) at: u64,
    pub(crate) entries: List<ClaimV1>,
}

#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct CommitV1 {
    pub(crate) term: u64,
    pub(crate) step: u64,
}

/// A term, and the last commit that was there when it began.
#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct TermV1 {
    pub(crate) term: u64,
    pub(crate) recovered: CommitV1,
}

#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct TermsV1 {
    pub(crate) terms: List<TermV1>,
}

#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct QuarantineV1<'a> {
    pub(crate) family: u8,
    pub(crate) key: &'a [u8],
    pub(crate) reason: &'a str,
    pub(crate) bytes: &'a [u8],
}

impl<'a> HeadV1<'a> {
    pub(crate) fn new(head: &'a Head) -> Self {
        Self {
            queue: head.queue.as_str(),
            priority: head.priority.0,
            arrival: head.arrival,
            created: head.created.0,
            due: head.due.map(|t| t.0),
            due_by_wall: head.due_by_wall,
            expires: head.expires.map(|t| t.0),
            deadline: head.deadline.map(|t| t.0),
            timeout_ms: head.timeout_ms,
            policy: head.policy.map(|no| no.0),
            attempts_ended: head.attempts_ended,
            failures: head.failures,
            lost: head.lost,
            cancel_requested: head.cancel_requested,
        }
    }

    pub(crate) fn domain(&self, intern: &mut dyn FnMut(&str) -> Name) -> Head {
        Head {
            queue: intern(self.queue),
            priority: Priority(self.priority),
            arrival: self.arrival,
            created: Timestamp(self.created),
            due: self.due.map(Timestamp),
            due_by_wall: self.due_by_wall,
            expires: self.expires.map(Timestamp),
            deadline: self.deadline.map(Timestamp),
            timeout_ms: self.timeout_ms,
            policy: self.policy.map(PolicyNo),
            attempts_ended: self.attempts_ended,
            failures: self.failures,
            lost: self.lost,
            cancel_requested: self.cancel_requested,
        }
    }
}

impl<'a> BodyV1<'a, &'a [String]> {
    pub(crate) fn new(body: &'a Body) -> Self {
        Self {
            version: body.version,
            tags: body.labels.tags(),
            correlation_id: body.labels.correlation_id(),
            trace: body.labels.trace(),
            unique: body.labels.unique().map(UniqueV1::new),
            share: Some(body.labels.share())
                .filter(|share| **share != Share::NONE)
                .map(|share| ShareV1 { key: share.key.as_deref(), weight: share.weight }),
            part_of: PartOfV1::new(&body.labels),
            payload: &body.payload,
        }
    }
}

impl BodyV1<'_, Texts<'_>> {
    pub(crate) fn domain(&self, intern: &mut dyn FnMut(&str) -> Name) -> Body {
        let labels = Labels::new(
            self.tags.0.iter().map(|&tag| tag.to_owned()).collect(),
            self.correlation_id.map(str::to_owned),
            self.trace.map(str::to_owned),
            self.unique.as_ref().map(|unique| unique.domain(intern)),
            self.share.as_ref().map_or(Share::NONE, |share| Share {
                key: share.key.map(Into::into),
                weight: share.weight.clamp(1, Share::WEIGHT_MAX),
            }),
        );
        Body {
            payload: bytes::Bytes::copy_from_slice(self.payload),
            version: self.version,
            labels: match &self.part_of {
                Some(part) => part.label(labels, intern),
                None => labels,
            },
        }
    }
}

impl<'a> JobV1<'a, &'a [String]> {
    pub(crate) fn new(job: &'a JobRecord) -> Self {
        Self { kind: job.kind.as_str(), head: HeadV1::new(&job.head), body: BodyV1::new(&job.body) }
    }
}

impl JobV1<'_, Texts<'_>> {
    pub(crate) fn domain(&self, id: JobId, intern: &mut dyn FnMut(&str) -> Name) -> JobRecord {
        let body = self.body.domain(intern).into();
        JobRecord { id, kind: intern(self.kind), body, head: self.head.domain(intern) }
    }
}

impl<'a> FailureV1<'a> {
    pub(crate) fn new(failure: &'a Failure) -> Self {
        let kind = match failure.kind {
            FailureKind::Error => 1,
            FailureKind::Permanent => 2,
            FailureKind::Panic => 3,
            FailureKind::TimedOut => 4,
            FailureKind::Decode => 5,
            FailureKind::Lost => 6,
        };
        Self { kind, message: &failure.message }
    }

    /// `None` where the kind is unknown.
    pub(crate) fn domain(&self) -> Option<Failure> {
        let kind = match self.kind {
            1 => FailureKind::Error,
            2 => FailureKind::Permanent,
            3 => FailureKind::Panic,
            4 => FailureKind::TimedOut,
            5 => FailureKind::Decode,
            6 => FailureKind::Lost,
            _ => return None,
        };
        Some(Failure { kind, message: self.message.to_owned() })
    }
}

impl<'a> OutputV1<'a> {
    pub(crate) fn new(output: &'a Output) -> Self {
        match output {
            Output::None => Self::None,
            Output::Bytes(bytes) => Self::Bytes(bytes),
            &Output::TooLarge { bytes, bytes_max } => Self::TooLarge { bytes, bytes_max },
        }
    }

    pub(crate) fn domain(&self) -> Output {
        match *self {
            Self::None => Output::None,
            Self::Bytes(bytes) => Output::Bytes(bytes::Bytes::copy_from_slice(bytes)),
            Self::TooLarge { bytes, bytes_max } => Output::TooLarge { bytes, bytes_max },
        }
    }
}

impl<'a> EndedV1<'a> {
    pub(crate) fn new(ended: &'a EndedRecord) -> Self {
        Self {
            id: *ended.id.0.as_bytes(),
            kind: ended.kind.as_str(),
            head: HeadV1::new(&ended.head),
            at: ended.at.0,
            started: ended.started.map(|t| t.0),
            attempt_recorded: ended.attempt_recorded,
            bytes: ended.bytes,
            edits: ended.edits,
            output: OutputV1::new(&ended.output),
            failure: ended.failure.as_ref().map(FailureV1::new),
        }
    }

    /// `None` where the failure's kind is unknown.
    pub(crate) fn domain(
        &self,
        key: windlass_scheduler::change::EndedKey,
        intern: &mut dyn FnMut(&str) -> Name,
    ) -> Option<EndedRecord> {
        let failure = match &self.failure {
            Some(failure) => Some(failure.domain()?),
            None => None,
        };
        Some(EndedRecord {
            key,
            id: JobId(uuid::Uuid::from_bytes(self.id)),
            kind: intern(self.kind),
            head: self.head.domain(intern),
            at: Timestamp(self.at),
            started: self.started.map(Timestamp),
            attempt_recorded: self.attempt_recorded,
            bytes: self.bytes,
            edits: self.edits,
            output: self.output.domain(),
            failure,
        })
    }
}

impl PolicyV1 {
    pub(crate) fn new(policy: &RetryPolicy) -> Self {
        let backoff = match &policy.backoff {
            &Backoff::Fixed { delay_ms } => BackoffV1::Fixed { delay_ms },
            &Backoff::Linear { first_ms, step_ms, cap_ms } => BackoffV1::Linear { first_ms, step_ms, cap_ms },
            &Backoff::Exponential { first_ms, cap_ms } => BackoffV1::Exponential { first_ms, cap_ms },
            Backoff::List { delays_ms } => BackoffV1::List { delays_ms: List(delays_ms.to_vec()) },
        };
        Self { backoff, attempts_max: policy.attempts_max, jitter_percent: policy.jitter_percent }
    }

    pub(crate) fn domain(self) -> RetryPolicy {
        let backoff = match self.backoff {
            BackoffV1::Fixed { delay_ms } => Backoff::Fixed { delay_ms },
            BackoffV1::Linear { first_ms, step_ms, cap_ms } => Backoff::Linear { first_ms, step_ms, cap_ms },
            BackoffV1::Exponential { first_ms, cap_ms } => Backoff::Exponential { first_ms, cap_ms },
            BackoffV1::List { delays_ms } => Backoff::List { delays_ms: delays_ms.0.into() },
        };
        RetryPolicy { backoff, attempts_max: self.attempts_max, jitter_percent: self.jitter_percent }
    }
}

impl CountersV1 {
    pub(crate) const fn new(counters: &Counters) -> Self {
        Self {
            enqueued: counters.enqueued,
            ends: counters.ends,
            done_total: counters.done_total,
            dead_total: counters.dead_total,
            cancelled_total: counters.cancelled_total,
            expired_total: counters.expired_total,
            purged: counters.purged,
            quarantined: counters.quarantined,
            requeued: counters.requeued,
            attempts: counters.attempts,
            failures: counters.failures,
            retries: counters.retries,
            lost: counters.lost,
            moved_in: counters.moved_in,
            moved_out: counters.moved_out,
        }
    }

    pub(crate) const fn domain(&self, queue: Name) -> Counters {
        Counters {
            queue,
            enqueued: self.enqueued,
            ends: self.ends,
            done_total: self.done_total,
            dead_total: self.dead_total,
            cancelled_total: self.cancelled_total,
            expired_total: self.expired_total,
            purged: self.purged,
            quarantined: self.quarantined,
            requeued: self.requeued,
            attempts: self.attempts,
            failures: self.failures,
            retries: self.retries,
            lost: self.lost,
            moved_in: self.moved_in,
            moved_out: self.moved_out,
        }
    }
}
