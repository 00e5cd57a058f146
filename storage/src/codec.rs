//! Records to bytes and back, inside a frame that notices damage.
//!
//! Owns the frame: a byte of magic and version, the record's kind, the body's length, and a CRC-32C over family, key
//! and frame and body, so that a value under a wrong key is noticed as well as a flipped bit. Never panics on any
//! bytes, and never believes a length before it has seen the bytes.

mod flows;
mod names;

use bincode::config::{self, Configuration};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use bincode::{BorrowDecode, Encode};
use windlass_scheduler::bug;
use windlass_scheduler::change::{Claim, Claims, Key, Record, Setting, SettingKey};
use windlass_scheduler::job::JobId;
use windlass_scheduler::lease::LeaseToken;
use windlass_scheduler::limit::Override;
use windlass_scheduler::time::Timestamp;

pub use self::names::Names;
use crate::error::StorageError;
use crate::journal::CommitNo;
use crate::keys::{self, Family, hex};
use crate::record::{
    AttemptV1, ClaimV1, ClaimsV1, CommitV1, CountersV1, EndedV1, HeadV1, HeldV1, JobV1, List, OrderV1, PolicyV1,
    QuarantineV1, ScheduleV1, SettingV1, TermV1, TermsV1, Texts,
};

pub mod fuzz;
#[cfg(test)]
mod tests;

/// The high half marks the frame as ours, the low half is the record version.
const MAGIC: u8 = 0xA0;
/// The latest record version that is known.
pub(crate) const VERSION: u8 = 1;
/// Magic and version, kind, length.
const HEADER_BYTES: usize = 6;
/// Header and checksum.
pub const FRAME_BYTES: usize = HEADER_BYTES + 4;

const CONFIG: Configuration = config::standard();

/// What a record is; its number stands on disk.
mod kind {
    pub(super) const SETTING: u8 = 1;
    pub(super) const POLICY: u8 = 2;
    pub(super) const COUNTERS: u8 = 3;
    pub(super) const ENDED: u8 = 4;
    pub(super) const JOB: u8 = 5;
    pub(super) const HEAD: u8 = 6;
    pub(super) const CLAIMS: u8 = 7;
    pub(super) const ATTEMPT: u8 = 8;
    pub(super) const RESULT: u8 = 9;
    pub(super) const COMMIT: u8 = 10;
    pub(super) const TERMS: u8 = 11;
    pub(super) const QUARANTINE: u8 = 12;
    pub(super) const CHECKPOINT: u8 = 13;
    pub(super) const ORDER: u8 = 14;
    pub(super) const SCHEDULE: u8 = 15;
    pub(super) const UNIQUE: u8 = 16;
    pub(super) const FLOW: u8 = 17;
    pub(super) const STEP: u8 = 18;
    pub(super) const STEP_OUTPUT: u8 = 19;
    pub(super) const BATCH: u8 = 20;
    pub(super) const MEMBER: u8 = 21;
}

/// Why bytes are not a record. The words go into quarantine and into messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Shorter than a frame.
    #[error("{found} bytes are too few for a record: a frame alone has {FRAME_BYTES}")]
    Short {
        /// Bytes that there are.
        found: usize,
    },
    /// The first byte is not ours.
    #[error("the first byte is {found:#04x}, which begins no record")]
    Magic {
        /// The byte.
        found: u8,
    },
    /// Another record version, in a frame that holds: nothing is damaged.
    #[error("record version {found} of kind {kind} is not known; the latest known is {VERSION}")]
    Version {
        /// Its version.
        found: u8,
        /// Its kind.
        kind: u8,
    },
    /// The length in the frame is not the length of the body.
    #[error("the frame says {expected} bytes, the body has {found}")]
    Length {
        /// What the frame says.
        expected: usize,
        /// What there is.
        found: usize,
    },
    /// The bytes, the key or the place are not those that were written.
    #[error("the checksum says {expected:#010x}, bytes and key give {found:#010x}")]
    Checksum {
        /// What the frame says.
        expected: u32,
        /// What there is.
        found: u32,
    },
    /// The key is no key of a record.
    #[error("the key has no known form")]
    Key,
    /// The kind does not belong under the key.
    #[error("kind {found} does not belong under this key")]
    Kind {
        /// The kind in the frame.
        found: u8,
    },
    /// The body is not what its kind says.
    #[error("the body cannot be read: {reason}")]
    Body {
        /// The decoder's words.
        reason: String,
    },
}

/// Makes bytes of records, in one buffer that is used again and again.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Family, key, header, checksum, body: in this order the checksum needs two runs only.
    buffer: Vec<u8>,
}

/// A record's bytes, until the encoder is used again.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    /// Where it stands.
    pub family: Family,
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

struct Sink<'a>(&'a mut Vec<u8>);

impl Writer for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

impl Encoder {
    /// The record's bytes.
    ///
    /// # Errors
    /// [`StorageError::TooLong`] or [`StorageError::Unencodable`] for what has no form on disk.
    pub fn put(&mut self, record: &Record) -> Result<Encoded<'_>, StorageError> {
        self.start();
        let out = &mut self.buffer;
        match record {
            Record::Setting(setting) => {
                let family = keys::setting(&setting.key(), out)?;
                let body = match setting {
                    Setting::Paused(_) => SettingV1::Paused,
                    &Setting::SuspectsMax(max) => SettingV1::SuspectsMax(max),
                    Setting::Limit(_, limit) => SettingV1::limit(limit),
                };
                self.finish(family, kind::SETTING, &body)
            }
            Record::Policy(no, policy) => {
                let family = keys::policy(*no, out);
                self.finish(family, kind::POLICY, &PolicyV1::new(policy))
            }
            Record::Counters(counters) => {
                let family = keys::counters(&counters.queue, out)?;
                self.finish(family, kind::COUNTERS, &CountersV1::new(counters))
            }
            Record::Ended(ended) => {
                let family = keys::ended(&ended.key, out)?;
                self.finish(family, kind::ENDED, &EndedV1::new(ended))
            }
            Record::Job(job) => {
                let family = keys::job(job.id, out);
                self.finish(family, kind::JOB, &JobV1::new(job))
            }
            Record::Head(id, head) => {
                let family = keys::head(*id, out);
                self.finish(family, kind::HEAD, &HeadV1::new(head))
            }
            Record::Claims(claims) => {
                let family = keys::claims(claims.no, out);
                self.finish(family, kind::CLAIMS, &claims_v1(claims))
            }
            Record::Order(order) => {
                let family = keys::order(order.id, out);
                self.finish(family, kind::ORDER, &OrderV1::new(order))
            }
            Record::Schedule(schedule) => {
                let family = keys::schedule(&schedule.name, out)?;
                self.finish(family, kind::SCHEDULE, &ScheduleV1::new(schedule))
            }
            Record::Unique(held) => {
                let family = keys::unique(&held.key, out)?;
                self.finish(family, kind::UNIQUE, &HeldV1::new(held))
            }
            Record::Flow(_) | Record::Step(_) | Record::StepOutput(..) | Record::Batch(_) | Record::Member(_) => {
                self.put_of_flow(record)
            }
            Record::Attempt(attempt) => {
                let family = keys::attempt(attempt.id, attempt.attempt, out);
                self.finish(family, kind::ATTEMPT, &AttemptV1::new(attempt))
            }
            Record::Result(id, bytes) => {
                let family = keys::result(*id, out);
                self.finish(family, kind::RESULT, &bytes.as_ref())
            }
            Record::Checkpoint(id, bytes) => {
                let family = keys::checkpoint(*id, out);
                self.finish(family, kind::CHECKPOINT, &bytes.as_ref())
            }
        }
    }

    /// The key's bytes alone.
    ///
    /// # Errors
    /// [`StorageError::TooLong`] for a name that no key can hold.
    pub fn key(&mut self, key: &Key) -> Result<(Family, &[u8]), StorageError> {
        self.start();
        let family = keys::encode(key, &mut self.buffer)?;
        Ok((family, &self.buffer[1..]))
    }

    fn start(&mut self) {
        self.buffer.clear();
        self.buffer.push(0);
    }

    fn finish<T: Encode>(&mut self, family: Family, kind: u8, body: &T) -> Result<Encoded<'_>, StorageError> {
        let buffer = &mut self.buffer;
        buffer[0] = family.no();
        let header_at = buffer.len();
        let crc_at = header_at + HEADER_BYTES;
        let body_at = header_at + FRAME_BYTES;
        buffer.extend_from_slice(&[MAGIC | VERSION, kind, 0, 0, 0, 0, 0, 0, 0, 0]);
        bincode::encode_into_writer(body, Sink(buffer), CONFIG)
            .map_err(|error| StorageError::Unencodable { reason: error.to_string() })?;
        let length = buffer.len() - body_at;
        let short = u32::try_from(length).map_err(|_| StorageError::TooLong {
            what: "a record",
            bytes: length,
            bytes_max: u32::MAX as usize,
        })?;
        buffer[header_at + 2..crc_at].copy_from_slice(&short.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&buffer[..crc_at]), &buffer[body_at..]);
        buffer[crc_at..body_at].copy_from_slice(&crc.to_le_bytes());
        Ok(Encoded { family, key: &self.buffer[1..header_at], value: &self.buffer[header_at..] })
    }
}

/// What only a journal on disk writes.
#[cfg(any(test, feature = "rocksdb"))]
impl Encoder {
    /// The journal's own record of its last commit.
    pub(crate) fn commit(&mut self, commit_no: CommitNo) -> Result<Encoded<'_>, StorageError> {
        self.start();
        self.buffer.extend_from_slice(keys::COMMIT);
        self.finish(Family::Meta, kind::COMMIT, &commit_v1(commit_no))
    }

    /// The journal's own record of its terms.
    pub(crate) fn terms(&mut self, terms: &[(u64, CommitNo)]) -> Result<Encoded<'_>, StorageError> {
        self.start();
        self.buffer.extend_from_slice(keys::TERMS);
        let item = |&(term, recovered): &(u64, CommitNo)| TermV1 { term, recovered: commit_v1(recovered) };
        self.finish(Family::Meta, kind::TERMS, &TermsV1 { terms: List(terms.iter().map(item).collect()) })
    }

    /// An unreadable record on its way to where nothing touches it. `term` keeps apart what was moved from one key at
    /// different times.
    pub(crate) fn quarantine(
        &mut self,
        term: u64,
        family: Family,
        key: &[u8],
        reason: &str,
        bytes: &[u8],
    ) -> Result<Encoded<'_>, StorageError> {
        self.start();
        self.buffer.push(family.no());
        self.buffer.extend_from_slice(key);
        self.buffer.extend_from_slice(&term.to_be_bytes());
        let body = QuarantineV1 { family: family.no(), key, reason, bytes };
        self.finish(Family::Quarantine, kind::QUARANTINE, &body)
    }
}

#[cfg(any(test, feature = "rocksdb"))]
fn commit_v1(commit_no: CommitNo) -> CommitV1 {
    CommitV1 { term: commit_no.term, step: commit_no.step }
}

fn claims_v1(claims: &Claims) -> ClaimsV1 {
    let entry = |claim: &Claim| ClaimV1 {
        id: *claim.id.0.as_bytes(),
        attempt: claim.attempt,
        token_term: claim.token.term,
        token_n: claim.token.n,
    };
    ClaimsV1 { at: claims.at.0, entries: List(claims.entries.iter().map(entry).collect()) }
}

/// Reads a record back.
///
/// # Errors
/// [`CodecError`] for bytes that are not this key's record.
pub fn decode(family: Family, key: &[u8], value: &[u8], names: &mut Names) -> Result<Record, CodecError> {
    let (kind, body) = unframe(family, key, value)?;
    let mut intern = |text: &str| names.intern(text);
    let at = keys::decode(family, key, &mut intern).ok_or(CodecError::Key)?;
    Ok(match (at, kind) {
        (Key::Setting(key), kind::SETTING) => match (key, read::<SettingV1>(body)?) {
            (SettingKey::Paused(queue), SettingV1::Paused) => Record::Setting(Setting::Paused(queue)),
            (SettingKey::SuspectsMax, SettingV1::SuspectsMax(max)) => Record::Setting(Setting::SuspectsMax(max)),
            (SettingKey::Limit(of), SettingV1::Limit { slots, rate, weight }) => {
                let weight = weight.map(|weight| weight.max(1));
                let limit = Override { slots, rate: rate.map(|rate| rate.domain()), weight };
                Record::Setting(Setting::Limit(of, limit))
            }
            _ => return Err(CodecError::Body { reason: "a setting under another setting's key".to_owned() }),
        },
        (Key::Policy(no), kind::POLICY) => Record::Policy(no, read::<PolicyV1>(body)?.domain()),
        (Key::Counters(queue), kind::COUNTERS) => Record::Counters(read::<CountersV1>(body)?.domain(queue)),
        (Key::Ended(key), kind::ENDED) => {
            Record::Ended(Box::new(read::<EndedV1<'_>>(body)?.domain(key, &mut intern).ok_or_else(unknown_failure)?))
        }
        (Key::Job(id), kind::JOB) => Record::Job(read::<JobV1<'_, Texts<'_>>>(body)?.domain(id, &mut intern)),
        (Key::Head(id), kind::HEAD) => Record::Head(id, read::<HeadV1<'_>>(body)?.domain(&mut intern)),
        (Key::Claims(no), kind::CLAIMS) => {
            let claims: ClaimsV1 = read(body)?;
            let entry = |claim: ClaimV1| Claim {
                id: JobId(uuid::Uuid::from_bytes(claim.id)),
                attempt: claim.attempt,
                token: LeaseToken { term: claim.token_term, n: claim.token_n },
            };
            let entries = claims.entries.0.into_iter().map(entry).collect();
            Record::Claims(Claims { no, at: Timestamp(claims.at), entries })
        }
        (Key::Order(id), kind::ORDER) => {
            let order = read::<OrderV1<'_, Texts<'_>>>(body)?.domain(id, &mut intern).ok_or_else(unknown_state)?;
            Record::Order(Box::new(order))
        }
        (Key::Schedule(name), kind::SCHEDULE) => {
            let schedule = read::<ScheduleV1<'_, Texts<'_>>>(body)?.domain(name, &mut intern);
            Record::Schedule(Box::new(schedule))
        }
        (Key::Unique(key), kind::UNIQUE) => {
            Record::Unique(Box::new(read::<HeldV1<'_>>(body)?.domain(key, &mut intern)))
        }
        (at @ (Key::Flow(_) | Key::Step(_) | Key::StepOutput(_) | Key::Batch(_) | Key::Member(..)), kind) => {
            flows::decode(at, kind, body, &mut intern)?
        }
        (Key::Attempt(id, attempt), kind::ATTEMPT) => {
            Record::Attempt(read::<AttemptV1<'_>>(body)?.domain(id, attempt).ok_or_else(unknown_failure)?)
        }
        (Key::Result(id), kind::RESULT) => Record::Result(id, bytes::Bytes::copy_from_slice(read::<&[u8]>(body)?)),
        (Key::Checkpoint(id), kind::CHECKPOINT) => {
            Record::Checkpoint(id, bytes::Bytes::copy_from_slice(read::<&[u8]>(body)?))
        }
        (_, found) => return Err(CodecError::Kind { found }),
    })
}

/// The job that an unreadable end was of, as far as that can be told: the id is the first thing in the body. Good
/// enough to move a job aside that may have ended, never to act on.
#[cfg(any(test, feature = "rocksdb"))]
pub(crate) fn ended_id_guess(value: &[u8]) -> Option<JobId> {
    let id = value.get(FRAME_BYTES..)?.first_chunk::<16>()?;
    (value[1] == kind::ENDED).then(|| JobId(uuid::Uuid::from_bytes(*id)))
}

/// Kind and version of a record that a later version of this crate wrote: whole, and to be left alone. A damaged one is
/// none, whatever its version byte says.
#[cfg(any(test, feature = "rocksdb"))]
pub(crate) fn newer(family: Family, key: &[u8], value: &[u8]) -> Option<(u8, u8)> {
    // One byte tells it of nearly every record; the checksum is taken of the others only.
    if value.first()? & 0x0F <= VERSION {
        return None;
    }
    match unframe(family, key, value) {
        Err(CodecError::Version { found, kind }) => Some((kind, found)),
        _ => None,
    }
}

/// Reads the journal's own record of its last commit.
pub(crate) fn decode_commit(value: &[u8]) -> Result<CommitNo, CodecError> {
    let commit: CommitV1 = read_own(keys::COMMIT, kind::COMMIT, value)?;
    Ok(CommitNo { term: commit.term, step: commit.step })
}

/// Reads the journal's own record of its terms.
pub(crate) fn decode_terms(value: &[u8]) -> Result<Vec<(u64, CommitNo)>, CodecError> {
    let terms: TermsV1 = read_own(keys::TERMS, kind::TERMS, value)?;
    let item = |t: TermV1| (t.term, CommitNo { term: t.recovered.term, step: t.recovered.step });
    Ok(terms.terms.0.into_iter().map(item).collect())
}

/// Reads an entry of the quarantine: family number, key, reason and bytes of what was moved there.
pub(crate) fn decode_quarantine<'a>(key: &[u8], value: &'a [u8]) -> Result<QuarantineV1<'a>, CodecError> {
    match unframe(Family::Quarantine, key, value)? {
        (kind::QUARANTINE, body) => read(body),
        (found, _) => Err(CodecError::Kind { found }),
    }
}

fn unknown_state() -> CodecError {
    CodecError::Body { reason: "an unknown state of a job".to_owned() }
}

fn unknown_failure() -> CodecError {
    CodecError::Body { reason: "an unknown kind of failure".to_owned() }
}

fn read_own<'a, T: BorrowDecode<'a, ()>>(key: &[u8], kind: u8, value: &'a [u8]) -> Result<T, CodecError> {
    match unframe(Family::Meta, key, value)? {
        (found, body) if found == kind => read(body),
        (found, _) => Err(CodecError::Kind { found }),
    }
}

fn read<'a, T: BorrowDecode<'a, ()>>(body: &'a [u8]) -> Result<T, CodecError> {
    let unreadable = |reason: String| CodecError::Body { reason };
    let (value, used) =
        bincode::borrow_decode_from_slice(body, CONFIG).map_err(|error| unreadable(error.to_string()))?;
    if used == body.len() { Ok(value) } else { Err(unreadable(format!("{} bytes too many", body.len() - used))) }
}

/// Over the family, the key, the header and the body; the value must have a whole frame.
fn checksum(family: Family, key: &[u8], value: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&[family.no()]), key);
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &value[..HEADER_BYTES]), &value[FRAME_BYTES..])
}

/// Kind and body of a value whose frame holds.
fn unframe<'a>(family: Family, key: &[u8], value: &'a [u8]) -> Result<(u8, &'a [u8]), CodecError> {
    let Some((&[first, kind, length @ .., c0, c1, c2, c3], body)) = value.split_first_chunk::<FRAME_BYTES>() else {
        return Err(CodecError::Short { found: value.len() });
    };
    if first & 0xF0 != MAGIC {
        return Err(CodecError::Magic { found: first });
    }
    let expected = u32::from_le_bytes(length) as usize;
    if expected != body.len() {
        return Err(CodecError::Length { expected, found: body.len() });
    }
    let (expected, found) = (u32::from_le_bytes([c0, c1, c2, c3]), checksum(family, key, value));
    if expected != found && !bug!(ChecksumUnchecked) {
        return Err(CodecError::Checksum { expected, found });
    }
    // The frame is the same in all record versions, so the version is judged last: what is damaged is not newer.
    let found = first & 0x0F;
    if found == VERSION { Ok((kind, body)) } else { Err(CodecError::Version { found, kind }) }
}
