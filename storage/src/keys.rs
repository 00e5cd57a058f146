//! Where each record stands: its column family and its key bytes, both ways.
//!
//! Owns the layout of keys, and nothing about values. Numbers are big-endian, so that the order of bytes is the order
//! of numbers: readers page along end numbers, loading reads a job and its head side by side. Names in the middle of a
//! key are preceded by their length, so that no name is the beginning of another's range.

use uuid::Uuid;
use windlass_scheduler::change::{ClaimsNo, EndedKey, Key, PolicyNo, SettingKey};
use windlass_scheduler::flow::{FlowId, StepOf};
use windlass_scheduler::job::{JobId, Name};
use windlass_scheduler::limit::LimitOf;
use windlass_scheduler::order::OrderId;
use windlass_scheduler::state::EndState;
use windlass_scheduler::unique::{KeyOf, UniqueKey};

use crate::error::StorageError;

/// A column family: what is written, read and forgotten together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Small and few: the journal's own, settings, policies, counters, claims.
    Meta,
    /// Jobs and their heads.
    Jobs,
    /// What is left of ended jobs and attempts.
    History,
    /// Unreadable records with their bytes.
    Quarantine,
}

impl Family {
    /// All of them; a family's number is its place here.
    pub const ALL: [Self; 4] = [Self::Meta, Self::Jobs, Self::History, Self::Quarantine];

    /// Its number on disk: part of every checksum.
    #[must_use]
    pub const fn no(self) -> u8 {
        match self {
            Self::Meta => 0,
            Self::Jobs => 1,
            Self::History => 2,
            Self::Quarantine => 3,
        }
    }

    /// Its name in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "default",
            Self::Jobs => "jobs",
            Self::History => "history",
            Self::Quarantine => "quarantine",
        }
    }
}

/// The last commit number.
pub const COMMIT: &[u8] = &[0, 1];
/// The terms, each with what it found.
pub const TERMS: &[u8] = &[0, 2];

/// First bytes in [`Family::Meta`].
pub mod meta {
    /// The journal's own.
    pub const OWN: u8 = 0;
    /// Settings.
    pub const SETTING: u8 = 1;
    /// Policies.
    pub const POLICY: u8 = 2;
    /// Counters.
    pub const COUNTERS: u8 = 3;
    /// Claims.
    pub const CLAIMS: u8 = 4;
    /// Orders.
    pub const ORDER: u8 = 5;
    /// Schedules.
    pub const SCHEDULE: u8 = 6;
    /// Who has a key of uniqueness.
    pub const UNIQUE: u8 = 7;
    /// Flows.
    pub const FLOW: u8 = 8;
    /// Ends of steps of flows: they are read after the flows.
    pub const STEP: u8 = 9;
    /// The numbers of batches: they are read after the flows.
    pub const BATCH: u8 = 10;
}

/// First bytes in [`Family::History`].
pub mod history {
    /// Ended jobs.
    pub const ENDED: u8 = 1;
    /// Attempts.
    pub const ATTEMPT: u8 = 2;
    /// Results.
    pub const RESULT: u8 = 3;
    /// Checkpoints.
    pub const CHECKPOINT: u8 = 4;
    /// What steps of flows left.
    pub const STEP_OUTPUT: u8 = 5;
    /// Ends of jobs of batches.
    pub const MEMBER: u8 = 6;
}

/// Last bytes in [`Family::Jobs`].
pub mod jobs {
    /// The job itself.
    pub const JOB: u8 = 0;
    /// Its head.
    pub const HEAD: u8 = 1;
    /// Bytes of every key: the id and the tag.
    pub const KEY_BYTES: usize = 17;
}

/// What sort of record stands under a key, in one or two words; `None` for a key of no known form.
#[must_use]
pub fn kind_word(family: Family, key: &[u8]) -> Option<&'static str> {
    Some(match (family, key) {
        (Family::Meta, COMMIT) => "commit",
        (Family::Meta, TERMS) => "terms",
        (Family::Meta, [meta::SETTING, ..]) => "setting",
        (Family::Meta, [meta::POLICY, ..]) => "policy",
        (Family::Meta, [meta::COUNTERS, ..]) => "counters",
        (Family::Meta, [meta::CLAIMS, ..]) => "claims",
        (Family::Meta, [meta::ORDER, ..]) => "order",
        (Family::Meta, [meta::SCHEDULE, ..]) => "schedule",
        (Family::Meta, [meta::UNIQUE, ..]) => "unique key",
        (Family::Meta, [meta::FLOW, ..]) => "flow",
        (Family::Meta, [meta::STEP, ..]) => "step",
        (Family::Meta, [meta::BATCH, ..]) => "batch",
        (Family::Jobs, [.., jobs::JOB]) if key.len() == jobs::KEY_BYTES => "job",
        (Family::Jobs, [.., jobs::HEAD]) if key.len() == jobs::KEY_BYTES => "head",
        (Family::History, [history::ENDED, ..]) => "ended",
        (Family::History, [history::ATTEMPT, ..]) => "attempt",
        (Family::History, [history::RESULT, ..]) => "result",
        (Family::History, [history::CHECKPOINT, ..]) => "checkpoint",
        (Family::History, [history::STEP_OUTPUT, ..]) => "step output",
        (Family::History, [history::MEMBER, ..]) => "member",
        (Family::Quarantine, _) => "quarantine",
        _ => return None,
    })
}

const SETTING_PAUSED: u8 = 1;
const SETTING_SUSPECTS_MAX: u8 = 2;
const SETTING_LIMIT: u8 = 3;

const LIMIT_OF_QUEUE: u8 = 1;
const LIMIT_OF_EACH_KEY: u8 = 2;
const LIMIT_OF_KEY: u8 = 3;
const LIMIT_OF_SHARED: u8 = 4;
const LIMIT_OF_SHARED_EACH_KEY: u8 = 5;
const LIMIT_OF_SHARED_KEY: u8 = 6;

const UNIQUE_OF_KIND: u8 = 1;
const UNIQUE_OF_QUEUE: u8 = 2;
const UNIQUE_OF_ENGINE: u8 = 3;

/// The longest name in bytes that a key holds; the domain allows fewer.
const NAME_BYTES_MAX: usize = u8::MAX as usize;

/// Appends the key's bytes.
///
/// # Errors
/// [`StorageError::TooLong`] for a name that no key can hold; `out` may then hold a part.
pub fn encode(key: &Key, out: &mut Vec<u8>) -> Result<Family, StorageError> {
    match key {
        Key::Setting(key) => setting(key, out),
        Key::Policy(no) => Ok(policy(*no, out)),
        Key::Counters(queue) => counters(queue, out),
        Key::Ended(key) => ended(key, out),
        Key::Job(id) => Ok(job(*id, out)),
        Key::Head(id) => Ok(head(*id, out)),
        Key::Claims(no) => Ok(claims(*no, out)),
        Key::Order(id) => Ok(order(*id, out)),
        Key::Schedule(name) => schedule(name, out),
        Key::Unique(key) => unique(key, out),
        Key::Flow(id) => Ok(flow(*id, out)),
        Key::Step(of) => Ok(step(*of, out)),
        Key::Batch(of) => Ok(batch(*of, out)),
        Key::StepOutput(of) => Ok(step_output(*of, out)),
        Key::Member(of, place) => Ok(member(*of, *place, out)),
        Key::Attempt(id, no) => Ok(attempt(*id, *no, out)),
        Key::Result(id) => Ok(result(*id, out)),
        Key::Checkpoint(id) => Ok(checkpoint(*id, out)),
    }
}

pub(crate) fn setting(key: &SettingKey, out: &mut Vec<u8>) -> Result<Family, StorageError> {
    out.push(meta::SETTING);
    match key {
        SettingKey::Paused(queue) => {
            out.push(SETTING_PAUSED);
            name(queue, out)?;
        }
        SettingKey::SuspectsMax => out.push(SETTING_SUSPECTS_MAX),
        SettingKey::Limit(of) => {
            out.push(SETTING_LIMIT);
            let (no, of, key) = match of {
                LimitOf::Queue(queue) => (LIMIT_OF_QUEUE, queue, ""),
                LimitOf::EachKey(queue) => (LIMIT_OF_EACH_KEY, queue, ""),
                LimitOf::Key(queue, key) => (LIMIT_OF_KEY, queue, &**key),
                LimitOf::Shared(limit) => (LIMIT_OF_SHARED, limit, ""),
                LimitOf::SharedEachKey(limit) => (LIMIT_OF_SHARED_EACH_KEY, limit, ""),
                LimitOf::SharedKey(limit, key) => (LIMIT_OF_SHARED_KEY, limit, &**key),
            };
            out.push(no);
            name(of, out)?;
            out.extend_from_slice(key.as_bytes());
        }
    }
    Ok(Family::Meta)
}

pub(crate) fn policy(no: PolicyNo, out: &mut Vec<u8>) -> Family {
    out.push(meta::POLICY);
    out.extend_from_slice(&no.0.to_be_bytes());
    Family::Meta
}

pub(crate) fn counters(queue: &Name, out: &mut Vec<u8>) -> Result<Family, StorageError> {
    out.push(meta::COUNTERS);
    name(queue, out)?;
    Ok(Family::Meta)
}

pub(crate) fn claims(no: ClaimsNo, out: &mut Vec<u8>) -> Family {
    out.push(meta::CLAIMS);
    out.extend_from_slice(&no.term.to_be_bytes());
    out.extend_from_slice(&no.n.to_be_bytes());
    Family::Meta
}

pub(crate) fn order(id: OrderId, out: &mut Vec<u8>) -> Family {
    out.push(meta::ORDER);
    out.extend_from_slice(id.0.as_bytes());
    Family::Meta
}

pub(crate) fn schedule(schedule: &Name, out: &mut Vec<u8>) -> Result<Family, StorageError> {
    out.push(meta::SCHEDULE);
    name(schedule, out)?;
    Ok(Family::Meta)
}

pub(crate) fn unique(key: &UniqueKey, out: &mut Vec<u8>) -> Result<Family, StorageError> {
    out.push(meta::UNIQUE);
    match &key.of {
        KeyOf::Kind(kind) => {
            out.push(UNIQUE_OF_KIND);
            name(kind, out)?;
        }
        KeyOf::Queue(queue) => {
            out.push(UNIQUE_OF_QUEUE);
            name(queue, out)?;
        }
        KeyOf::Engine => out.push(UNIQUE_OF_ENGINE),
    }
    out.extend_from_slice(key.text.as_bytes());
    Ok(Family::Meta)
}

pub(crate) fn flow(id: FlowId, out: &mut Vec<u8>) -> Family {
    out.push(meta::FLOW);
    out.extend_from_slice(id.0.as_bytes());
    Family::Meta
}

pub(crate) fn step(of: StepOf, out: &mut Vec<u8>) -> Family {
    out.push(meta::STEP);
    step_of(of, out);
    Family::Meta
}

pub(crate) fn batch(of: StepOf, out: &mut Vec<u8>) -> Family {
    out.push(meta::BATCH);
    step_of(of, out);
    Family::Meta
}

pub(crate) fn member(of: StepOf, place: u32, out: &mut Vec<u8>) -> Family {
    out.push(history::MEMBER);
    step_of(of, out);
    out.extend_from_slice(&place.to_be_bytes());
    Family::History
}

pub(crate) fn step_output(of: StepOf, out: &mut Vec<u8>) -> Family {
    out.push(history::STEP_OUTPUT);
    step_of(of, out);
    Family::History
}

fn step_of(of: StepOf, out: &mut Vec<u8>) {
    out.extend_from_slice(of.flow.0.as_bytes());
    out.extend_from_slice(&of.no.to_be_bytes());
}

pub(crate) fn job(id: JobId, out: &mut Vec<u8>) -> Family {
    out.extend_from_slice(id.0.as_bytes());
    out.push(jobs::JOB);
    Family::Jobs
}

pub(crate) fn head(id: JobId, out: &mut Vec<u8>) -> Family {
    out.extend_from_slice(id.0.as_bytes());
    out.push(jobs::HEAD);
    Family::Jobs
}

/// The common beginning of the keys of a queue's jobs that ended so.
pub(crate) fn ended_prefix(queue: &Name, state: EndState, out: &mut Vec<u8>) -> Result<(), StorageError> {
    out.push(history::ENDED);
    name(queue, out)?;
    out.push(state_no(state));
    Ok(())
}

pub(crate) fn ended(key: &EndedKey, out: &mut Vec<u8>) -> Result<Family, StorageError> {
    ended_prefix(&key.queue, key.state, out)?;
    out.extend_from_slice(&key.end_no.to_be_bytes());
    Ok(Family::History)
}

pub(crate) fn attempt(id: JobId, no: u32, out: &mut Vec<u8>) -> Family {
    out.push(history::ATTEMPT);
    out.extend_from_slice(id.0.as_bytes());
    out.extend_from_slice(&no.to_be_bytes());
    Family::History
}

pub(crate) fn result(id: JobId, out: &mut Vec<u8>) -> Family {
    out.push(history::RESULT);
    out.extend_from_slice(id.0.as_bytes());
    Family::History
}

pub(crate) fn checkpoint(id: JobId, out: &mut Vec<u8>) -> Family {
    out.push(history::CHECKPOINT);
    out.extend_from_slice(id.0.as_bytes());
    Family::History
}

fn name(name: &Name, out: &mut Vec<u8>) -> Result<(), StorageError> {
    let bytes = name.as_str().as_bytes();
    let length = u8::try_from(bytes.len()).map_err(|_| StorageError::TooLong {
        what: "a name in a key",
        bytes: bytes.len(),
        bytes_max: NAME_BYTES_MAX,
    })?;
    out.push(length);
    out.extend_from_slice(bytes);
    Ok(())
}

/// Not the domain's index: what stands on disk must not move with an enum.
pub(crate) const fn state_no(state: EndState) -> u8 {
    match state {
        EndState::Done => 1,
        EndState::Dead => 2,
        EndState::Cancelled => 3,
        EndState::Expired => 4,
    }
}

pub(crate) const fn state_of(no: u8) -> Option<EndState> {
    match no {
        1 => Some(EndState::Done),
        2 => Some(EndState::Dead),
        3 => Some(EndState::Cancelled),
        4 => Some(EndState::Expired),
        _ => None,
    }
}

/// Reads a key back; `None` where it is no key of a record. `intern` makes a name of a text.
pub fn decode(family: Family, key: &[u8], intern: &mut dyn FnMut(&str) -> Name) -> Option<Key> {
    match family {
        Family::Meta => {
            let (&first, rest) = key.split_first()?;
            match first {
                meta::SETTING => match rest.split_first()? {
                    (&SETTING_PAUSED, rest) => whole_name(rest, intern).map(SettingKey::Paused),
                    (&SETTING_SUSPECTS_MAX, []) => Some(SettingKey::SuspectsMax),
                    (&SETTING_LIMIT, rest) => limit_of(rest, intern).map(SettingKey::Limit),
                    _ => None,
                }
                .map(Key::Setting),
                meta::POLICY => Some(Key::Policy(PolicyNo(u16::from_be_bytes(rest.try_into().ok()?)))),
                meta::COUNTERS => whole_name(rest, intern).map(Key::Counters),
                meta::CLAIMS => {
                    let (term, n) = rest.split_first_chunk::<8>()?;
                    let n = u64::from_be_bytes(n.try_into().ok()?);
                    Some(Key::Claims(ClaimsNo { term: u64::from_be_bytes(*term), n }))
                }
                meta::SCHEDULE => whole_name(rest, intern).map(Key::Schedule),
                meta::UNIQUE => unique_of(rest, intern).map(Key::Unique),
                meta::FLOW => Some(Key::Flow(FlowId(Uuid::from_bytes(rest.try_into().ok()?)))),
                meta::STEP => step_in(rest).map(Key::Step),
                meta::BATCH => step_in(rest).map(Key::Batch),
                meta::ORDER => Some(Key::Order(OrderId(Uuid::from_bytes(rest.try_into().ok()?)))),
                _ => None,
            }
        }
        Family::Jobs => match key.split_first_chunk::<16>()? {
            (id, &[jobs::JOB]) => Some(Key::Job(id_of(id))),
            (id, &[jobs::HEAD]) => Some(Key::Head(id_of(id))),
            _ => None,
        },
        Family::History => {
            let (&first, rest) = key.split_first()?;
            match first {
                history::ENDED => {
                    let (queue, rest) = split_name(rest, intern)?;
                    let (&state, end_no) = rest.split_first()?;
                    let end_no = u64::from_be_bytes(end_no.try_into().ok()?);
                    Some(Key::Ended(EndedKey { queue, state: state_of(state)?, end_no }))
                }
                history::ATTEMPT => {
                    let (id, no) = rest.split_first_chunk::<16>()?;
                    Some(Key::Attempt(id_of(id), u32::from_be_bytes(no.try_into().ok()?)))
                }
                history::RESULT => Some(Key::Result(id_of(rest.try_into().ok()?))),
                history::STEP_OUTPUT => step_in(rest).map(Key::StepOutput),
                history::MEMBER => {
                    let (step, place) = rest.split_last_chunk::<4>()?;
                    Some(Key::Member(step_in(step)?, u32::from_be_bytes(*place)))
                }
                history::CHECKPOINT => Some(Key::Checkpoint(id_of(rest.try_into().ok()?))),
                _ => None,
            }
        }
        Family::Quarantine => None,
    }
}

fn step_in(bytes: &[u8]) -> Option<StepOf> {
    let (flow, no) = bytes.split_first_chunk::<16>()?;
    Some(StepOf { flow: FlowId(Uuid::from_bytes(*flow)), no: u32::from_be_bytes(no.try_into().ok()?) })
}

fn unique_of(bytes: &[u8], intern: &mut dyn FnMut(&str) -> Name) -> Option<UniqueKey> {
    let (&of, rest) = bytes.split_first()?;
    let (of, text) = match of {
        UNIQUE_OF_KIND => split_name(rest, intern).map(|(kind, text)| (KeyOf::Kind(kind), text))?,
        UNIQUE_OF_QUEUE => split_name(rest, intern).map(|(queue, text)| (KeyOf::Queue(queue), text))?,
        UNIQUE_OF_ENGINE => (KeyOf::Engine, rest),
        _ => return None,
    };
    Some(UniqueKey { of, text: std::str::from_utf8(text).ok()?.into() })
}

fn limit_of(bytes: &[u8], intern: &mut dyn FnMut(&str) -> Name) -> Option<LimitOf> {
    let (&no, rest) = bytes.split_first()?;
    let (of, key) = split_name(rest, intern)?;
    let key: Box<str> = std::str::from_utf8(key).ok()?.into();
    match (no, key.is_empty()) {
        (LIMIT_OF_QUEUE, true) => Some(LimitOf::Queue(of)),
        (LIMIT_OF_EACH_KEY, true) => Some(LimitOf::EachKey(of)),
        (LIMIT_OF_KEY, _) => Some(LimitOf::Key(of, key)),
        (LIMIT_OF_SHARED, true) => Some(LimitOf::Shared(of)),
        (LIMIT_OF_SHARED_EACH_KEY, true) => Some(LimitOf::SharedEachKey(of)),
        (LIMIT_OF_SHARED_KEY, _) => Some(LimitOf::SharedKey(of, key)),
        _ => None,
    }
}

fn id_of(bytes: &[u8; 16]) -> JobId {
    JobId(Uuid::from_bytes(*bytes))
}

fn split_name<'a>(bytes: &'a [u8], intern: &mut dyn FnMut(&str) -> Name) -> Option<(Name, &'a [u8])> {
    let (&length, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(length))?;
    Some((intern(std::str::from_utf8(text).ok()?), rest))
}

fn whole_name(bytes: &[u8], intern: &mut dyn FnMut(&str) -> Name) -> Option<Name> {
    split_name(bytes, intern).and_then(|(name, rest)| rest.is_empty().then_some(name))
}

/// The key in hexadecimal digits, for messages.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
