//! The codec's promises: the bytes never change by accident, everything comes back, and damage is noticed.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use windlass_scheduler::attempt::{AttemptLog, AttemptResult, Failure, FailureKind, LogLevel, LogLine, Output};
use windlass_scheduler::change::{AttemptRecord, ClaimsNo, EndedKey, EndedRecord, Head, JobRecord, PolicyNo};
use windlass_scheduler::job::Name;
use windlass_scheduler::job::{Body, Labels, Priority};
use windlass_scheduler::limit::{LimitOf, Override, Share};
use windlass_scheduler::rate::Rate;
use windlass_scheduler::state::EndState;
use windlass_scheduler::unique::{Held, KeyOf, OnConflict, Unique, UniqueKey, Until};

use super::*;
use crate::conformance::samples;

fn all() -> Vec<Record> {
    let mut all = samples::one_of_each();
    all.push(samples::head(1, 3));
    all
}

fn encoded(record: &Record) -> (Family, Vec<u8>, Vec<u8>) {
    let mut encoder = Encoder::default();
    let Encoded { family, key, value } = encoder.put(record).unwrap();
    (family, key.to_vec(), value.to_vec())
}

fn decoded(family: Family, key: &[u8], value: &[u8]) -> Result<Record, CodecError> {
    decode(family, key, value, &mut Names::default())
}

/// To accept a change of the format, run with `WINDLASS_WRITE_GOLDEN=1` and read the difference.
#[test]
fn the_bytes_are_those_of_the_golden_file() {
    let mut text = String::new();
    for record in all() {
        let (family, key, value) = encoded(&record);
        let words = format!("{record:?}");
        let kind = words.split(['(', ' ']).next().unwrap_or_default().to_lowercase();
        writeln!(text, "{kind} {} {} {}", family.name(), hex(&key), hex(&value)).unwrap();
    }
    let mut encoder = Encoder::default();
    let no = |term, step| CommitNo { term, step };
    let mut own = |kind: &str, encoded: Encoded<'_>| {
        writeln!(text, "{kind} {} {} {}", encoded.family.name(), hex(encoded.key), hex(encoded.value)).unwrap();
    };
    own("commit", encoder.commit(no(3, 70_000)).unwrap());
    own("terms", encoder.terms(&[(1, no(0, 0)), (2, no(1, 300))]).unwrap());
    own("quarantine", encoder.quarantine(7, Family::Jobs, b"key", "why", b"bytes").unwrap());

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1.txt");
    if std::env::var_os("WINDLASS_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (line, (now, then)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(now, then, "line {} of {} differs: old journals could not be read", line + 1, path.display());
    }
    assert_eq!(text.lines().count(), golden.lines().count());
}

#[test]
fn every_flipped_bit_of_a_value_is_noticed() {
    for record in all() {
        let (family, key, value) = encoded(&record);
        for at in 0..value.len() {
            for bit in 0..8 {
                let mut value = value.clone();
                value[at] ^= 1 << bit;
                let answer = decoded(family, &key, &value);
                assert!(answer.is_err(), "bit {bit} of byte {at} flipped, yet read as {answer:?}");
            }
        }
    }
}

#[test]
fn a_value_under_another_key_is_noticed() {
    for record in all() {
        let (family, key, value) = encoded(&record);
        for at in 0..key.len() {
            let mut key = key.clone();
            key[at] ^= 1;
            let answer = decoded(family, &key, &value);
            assert!(matches!(answer, Err(CodecError::Checksum { .. })), "byte {at} of the key differs: {answer:?}");
        }
        for other in Family::ALL {
            assert!(other == family || decoded(other, &key, &value).is_err(), "read in another family");
        }
    }
}

#[test]
fn a_value_cut_anywhere_or_followed_by_anything_is_a_typed_error() {
    for record in all() {
        let (family, key, mut value) = encoded(&record);
        for length in 0..value.len() {
            let answer = decoded(family, &key, &value[..length]).unwrap_err();
            if length < FRAME_BYTES {
                assert_eq!(answer, CodecError::Short { found: length });
            } else {
                assert!(matches!(answer, CodecError::Length { .. }), "{answer:?}");
            }
        }
        value.push(0);
        assert!(matches!(decoded(family, &key, &value), Err(CodecError::Length { .. })));
    }
}

#[test]
fn a_later_record_version_is_called_that_and_damage_is_not() {
    let (family, key, mut value) = encoded(&samples::job(1));
    assert_eq!(newer(family, &key, &value), None);
    value[0] += 1;
    assert!(matches!(decoded(family, &key, &value), Err(CodecError::Checksum { .. })), "a flipped bit is no version");
    assert_eq!(newer(family, &key, &value), None);
    let crc = checksum(family, &key, &value);
    value[HEADER_BYTES..FRAME_BYTES].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(decoded(family, &key, &value), Err(CodecError::Version { found: VERSION + 1, kind: kind::JOB }));
    assert_eq!(newer(family, &key, &value), Some((kind::JOB, VERSION + 1)));
    value.pop();
    assert_eq!(newer(family, &key, &value), None);
}

#[test]
fn a_list_that_claims_to_be_endless_reserves_nothing() {
    // A kind of list, and the longest length that a number can say, in a frame that holds.
    let mut encoder = Encoder::default();
    let claims = all().into_iter().find(|record| matches!(record, Record::Claims(_))).unwrap();
    for (kind, record) in [(kind::CLAIMS, &claims), (kind::JOB, &samples::job(1))] {
        let (family, key, _) = encoded(record);
        encoder.start();
        encoder.buffer.extend_from_slice(&key);
        let length = (0_u64, u64::MAX - 1);
        let value = encoder.finish(family, kind, &length).unwrap().value.to_vec();
        assert!(matches!(decoded(family, &key, &value), Err(CodecError::Body { .. })));
    }
}

#[test]
fn a_name_that_no_key_can_hold_is_refused() {
    let long = "x".repeat(256);
    let answer = Encoder::default().put(&samples::paused(&long)).map(|_| ());
    assert_eq!(answer, Err(StorageError::TooLong { what: "a name in a key", bytes: 256, bytes_max: 255 }));
}

#[test]
fn what_is_moved_aside_keeps_its_key_its_reason_and_its_bytes() {
    let mut encoder = Encoder::default();
    let Encoded { key, value, .. } = encoder.quarantine(7, Family::Jobs, b"key", "why", b"bytes").unwrap();
    let entry = decode_quarantine(key, value).unwrap();
    assert_eq!((entry.family, entry.key, entry.reason, entry.bytes), (1, &b"key"[..], "why", &b"bytes"[..]));
}

#[test]
fn the_job_of_a_damaged_end_is_guessed() {
    let (_, _, mut value) = encoded(&samples::ended("q", EndState::Dead, 1, 5));
    *value.last_mut().unwrap() ^= 1;
    assert_eq!(ended_id_guess(&value), Some(samples::job_id(5)));
    assert_eq!(ended_id_guess(&value[..20]), None);
    assert_eq!(ended_id_guess(&encoded(&samples::job(5)).2), None);
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof!["[a-z0-9-]{1,12}", "[a-zA-Z0-9_.:/-]{128}"].prop_map(|text: String| Name::from(text.as_str()))
}

fn id() -> impl Strategy<Value = JobId> {
    any::<[u8; 16]>().prop_map(|bytes| JobId(uuid::Uuid::from_bytes(bytes)))
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp)
}

fn payload() -> impl Strategy<Value = bytes::Bytes> {
    proptest::collection::vec(any::<u8>(), 0..300).prop_map(bytes::Bytes::from)
}

prop_compose! {
    fn head()(
        (queue, priority, arrival, created) in (name(), any::<u8>(), any::<i64>(), time()),
        (due, due_by_wall, expires) in (proptest::option::of(time()), any::<bool>(), proptest::option::of(time())),
        (timeout_ms, policy) in (any::<Option<u64>>(), any::<Option<u16>>()),
        deadline in proptest::option::of(time()),
        (attempts_ended, failures, lost, cancel_requested) in any::<(u32, u32, u32, bool)>(),
    ) -> Head {
        let (priority, policy) = (Priority(priority), policy.map(PolicyNo));
        Head {
            queue, priority, arrival, created, due, due_by_wall, expires, deadline, timeout_ms, policy, attempts_ended, failures,
            lost, cancel_requested,
        }
    }
}

fn until() -> impl Strategy<Value = Until> {
    prop_oneof![Just(Until::Started), Just(Until::Done), any::<u64>().prop_map(|ms| Until::Window { ms })]
}

fn unique_key() -> impl Strategy<Value = UniqueKey> {
    let of = prop_oneof![name().prop_map(KeyOf::Kind), name().prop_map(KeyOf::Queue), Just(KeyOf::Engine)];
    (of, ".{0,60}").prop_map(|(of, text)| UniqueKey { of, text: text.into() })
}

fn unique() -> impl Strategy<Value = Unique> {
    let on_conflict = prop_oneof![
        Just(OnConflict::Existing),
        any::<Option<u64>>().prop_map(|within_ms| OnConflict::Replace { within_ms }),
        Just(OnConflict::KeepLast),
    ];
    (unique_key(), until(), on_conflict).prop_map(|(key, until, on_conflict)| Unique {
        key: key.into(),
        until,
        on_conflict,
    })
}

prop_compose! {
    fn held()(
        (key, queue, kind, holder) in (unique_key(), name(), name(), id()),
        (taken, until, next) in (any::<u64>(), until(), proptest::option::of((id(), until()))),
    ) -> Record {
        let taken = Timestamp(taken);
        Record::Unique(Box::new(Held { key: key.into(), queue, kind, holder, taken, until, next }))
    }
}

fn limit_of() -> impl Strategy<Value = LimitOf> {
    let key = || ".{1,20}".prop_map(|key: String| Box::<str>::from(key));
    prop_oneof![
        name().prop_map(LimitOf::Queue),
        name().prop_map(LimitOf::EachKey),
        (name(), key()).prop_map(|(queue, key)| LimitOf::Key(queue, key)),
        name().prop_map(LimitOf::Shared),
        name().prop_map(LimitOf::SharedEachKey),
        (name(), key()).prop_map(|(limit, key)| LimitOf::SharedKey(limit, key)),
    ]
}

prop_compose! {
    fn limit()(
        slots in proptest::option::of(any::<u32>()),
        rate in proptest::option::of((1..u32::MAX, 1..u64::MAX, 1..u32::MAX)),
        weight in proptest::option::of(1..u32::MAX),
    ) -> Override {
        Override { slots, rate: rate.map(|(jobs, period_ms, burst)| Rate { jobs, period_ms, burst }), weight }
    }
}

prop_compose! {
    fn job()(
        (id, kind, head, payload, version) in (id(), name(), head(), payload(), any::<u32>()),
        tags in proptest::collection::vec(".{0,20}", 0..4),
        (correlation_id, trace) in any::<(Option<String>, Option<String>)>(),
        unique in proptest::option::of(unique()),
        (key, weight) in (proptest::option::of(".{1,20}"), 1..=Share::WEIGHT_MAX),
    ) -> Record {
        let share = Share { key: key.map(Into::into), weight };
        let body = Body { payload, version, labels: Labels::new(tags, correlation_id, trace, unique, share) };
        Record::Job(JobRecord { id, kind, body: body.into(), head })
    }
}

fn failure() -> impl Strategy<Value = Failure> {
    let kinds = [
        FailureKind::Error,
        FailureKind::Permanent,
        FailureKind::Panic,
        FailureKind::TimedOut,
        FailureKind::Decode,
        FailureKind::Lost,
    ];
    (proptest::sample::select(kinds.to_vec()), any::<String>()).prop_map(|(kind, message)| Failure { kind, message })
}

fn result() -> impl Strategy<Value = AttemptResult> {
    prop_oneof![
        failure().prop_map(AttemptResult::Failed),
        Just(AttemptResult::Succeeded),
        Just(AttemptResult::Snoozed),
        Just(AttemptResult::Cancelled),
        Just(AttemptResult::Released),
    ]
}

fn log() -> impl Strategy<Value = AttemptLog> {
    let line = (time(), proptest::sample::select(LogLevel::ALL.to_vec()), any::<String>(), any::<String>())
        .prop_map(|(at, level, target, text)| LogLine { at, level, target, text });
    (proptest::collection::vec(line, 0..5), any::<u64>()).prop_map(|(lines, dropped)| AttemptLog { lines, dropped })
}

prop_compose! {
    fn ended()(
        (queue, end_no, id, kind, head) in (name(), any::<u64>(), id(), name(), head()),
        state in proptest::sample::select(EndState::ALL.to_vec()),
        (at, started) in (time(), proptest::option::of(time())),
        (attempt_recorded, bytes, edits) in any::<(u32, u64, u32)>(),
        output in prop_oneof![
            Just(Output::None),
            payload().prop_map(Output::Bytes),
            any::<(u64, u64)>().prop_map(|(bytes, bytes_max)| Output::TooLarge { bytes, bytes_max }),
        ],
        failure in proptest::option::of(failure()),
    ) -> Record {
        let key = EndedKey { queue, state, end_no };
        let at_end = EndedRecord { key, id, kind, head, at, started, attempt_recorded, bytes, edits, output, failure };
        Record::Ended(Box::new(at_end))
    }
}

fn claims() -> impl Strategy<Value = Record> {
    let claim = (id(), any::<(u32, u64, u64)>()).prop_map(|(id, (attempt, term, n))| Claim {
        id,
        attempt,
        token: LeaseToken { term, n },
    });
    (any::<(u64, u64)>(), time(), proptest::collection::vec(claim, 0..20))
        .prop_map(|((term, n), at, entries)| Record::Claims(Claims { no: ClaimsNo { term, n }, at, entries }))
}

fn record() -> impl Strategy<Value = Record> {
    let attempt = ((id(), any::<u32>()), (time(), time()), result(), proptest::option::of(log()));
    let attempt = attempt.prop_map(|((id, attempt), (started, ended), result, log)| {
        Record::Attempt(AttemptRecord { id, attempt, started, ended, result, log: log.map(Arc::new) })
    });
    prop_oneof![
        job(),
        ended(),
        claims(),
        held(),
        attempt,
        (id(), head()).prop_map(|(id, head)| Record::Head(id, head)),
        (id(), payload()).prop_map(|(id, bytes)| Record::Result(id, bytes)),
        (id(), payload()).prop_map(|(id, bytes)| Record::Checkpoint(id, bytes)),
        name().prop_map(|queue| Record::Setting(Setting::Paused(queue))),
        any::<u32>().prop_map(|max| Record::Setting(Setting::SuspectsMax(max))),
        (limit_of(), limit()).prop_map(|(of, limit)| Record::Setting(Setting::Limit(of, limit))),
        proptest::sample::select(samples::one_of_each()),
    ]
}

proptest! {
    #[test]
    fn every_record_comes_back(records in proptest::collection::vec(record(), 1..8)) {
        // One encoder and one set of names for all: nothing of an earlier record may remain.
        let (mut encoder, mut names) = (Encoder::default(), Names::default());
        for record in records {
            let key = encoder.key(&record.key()).map(|(family, key)| (family, key.to_vec())).unwrap();
            let Encoded { family, key: at, value } = encoder.put(&record).unwrap();
            prop_assert_eq!((family, at), (key.0, key.1.as_slice()), "the key of a record is that of its deletion");
            prop_assert_eq!(decode(family, at, value, &mut names), Ok(record));
        }
    }

    #[test]
    fn the_order_of_ended_keys_is_the_order_of_their_numbers(queue in name(), a in any::<u64>(), b in any::<u64>()) {
        let key = |end_no| {
            let mut bytes = Vec::new();
            let key = EndedKey { queue: queue.clone(), state: EndState::Done, end_no };
            keys::ended(&key, &mut bytes).map(|_| bytes)
        };
        prop_assert_eq!(key(a).unwrap().cmp(&key(b).unwrap()), a.cmp(&b));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0_u8..20) {
        let mut bytes = bytes;
        // A key of a job, and the kind behind it.
        for (at, byte) in [(0, 1), (1, 17), (18, kind & 1), (20, kind)] {
            bytes.get_mut(at).into_iter().for_each(|place| *place = byte);
        }
        for body in [fuzz::record, fuzz::frame, fuzz::key] {
            body(&bytes);
        }
    }
}
