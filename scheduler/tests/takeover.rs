//! What a new core takes over from the process around it, record by record.
//!
//! Guards I1 (an entry of claims is live only if its job is loaded with a lower attempt ended; a missing claim is
//! written again) and I4 (one live lease a job, by its recorded token).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::Arc;

use windlass_scheduler::attempt::{Outcome, Output};
use windlass_scheduler::change::{Change, Claim, Claims, ClaimsNo, Head, JobRecord, Record};
use windlass_scheduler::command::Command;
use windlass_scheduler::effect::{Effect, Wave};
use windlass_scheduler::job::{Body, Name, Priority};
use windlass_scheduler::lease::{LeaseToken, StopReason};
use windlass_scheduler::settings::{Level, QueueSettings, ShardSettings};
use windlass_scheduler::shard::Shard;
use windlass_scheduler::time::{Mono, Now, Timestamp};

use self::common::id;

const NOW: Now = Now { mono: Mono(0), wall: Timestamp(1_000_000) };

/// A shard of the third term in a process that began with the first, and one job in its journal or twin.
fn shard(level: Level) -> Shard {
    let queue = QueueSettings { level, slots: 0, ..QueueSettings::new(Name::from("mail")) };
    let settings = ShardSettings::new(3, 7, vec![queue], vec!["work".into()]);
    let mut shard = Shard::new(ShardSettings { first_term: 1, ..settings });
    let head = Head {
        queue: Name::from("mail"),
        priority: Priority::NORMAL,
        arrival: 1,
        created: NOW.wall,
        due: None,
        due_by_wall: false,
        expires: None,
        deadline: None,
        timeout_ms: None,
        policy: None,
        attempts_ended: 0,
        failures: 0,
        lost: 0,
        cancel_requested: false,
    };
    let job = JobRecord { id: id(1), kind: Name::from("work"), body: Arc::new(Body::default()), head };
    shard.admit(Record::Job(job)).unwrap();
    shard
}

fn claim(term: u64) -> Claim {
    Claim { id: id(1), attempt: 1, token: LeaseToken { term, n: 1 } }
}

/// What is volatile has numbers of its own.
fn claims(level: Level, entries: Vec<Claim>) -> Record {
    let n = 2 + u64::from(level == Level::Memory);
    Record::Claims(Claims { no: ClaimsNo { term: 2, n }, at: NOW.wall, entries })
}

/// The end of loading, sealed: the wave, and the attempts that are told to stop because their job is gone.
fn load_end(shard: &mut Shard, live: Vec<Claim>) -> (Wave, Vec<LeaseToken>) {
    shard.handle(Command::LoadEnd { live }, NOW);
    shard.audit().unwrap();
    let wave = shard.seal(NOW).unwrap();
    let gone = std::iter::from_fn(|| shard.poll_effect()).filter_map(|effect| match effect {
        Effect::Stop { token, reason: StopReason::Gone, .. } => Some(token),
        _ => None,
    });
    (wave, gone.collect())
}

fn runs_with(shard: &Shard) -> Option<LeaseToken> {
    shard.portrait().jobs[&id(1)].3
}

#[test]
fn of_two_entries_for_one_job_the_recorded_one_is_taken_over() {
    for level in [Level::Memory, Level::Process, Level::Durable] {
        let mut shard = shard(level);
        shard.admit(claims(level, vec![claim(2)])).unwrap();
        assert!(shard.has_claim(&claim(2)) && !shard.has_claim(&claim(1)));
        let (_, gone) = load_end(&mut shard, vec![claim(1), claim(2)]);
        assert_eq!((runs_with(&shard), gone), (Some(claim(2).token), vec![claim(1).token]));
    }
}

#[test]
fn a_claim_that_the_journal_lost_is_written_again() {
    let mut shard = shard(Level::Durable);
    let (wave, gone) = load_end(&mut shard, vec![claim(2)]);
    assert_eq!((runs_with(&shard), gone), (Some(claim(2).token), vec![]));
    let is_renewed =
        |change: &Change| matches!(change, Change::Put(Record::Claims(claims)) if claims.entries == [claim(2)]);
    assert!(wave.changes.iter().any(is_renewed), "{wave:?}");
    let outcome = Outcome::Done { output: Output::None, follow_ups: Vec::new() };
    shard.handle(Command::End { token: claim(2).token, outcome, body: None, log: None }, NOW);
    shard.audit().unwrap();
    assert_eq!((shard.running(), shard.stale_acks()), (0, 0));
}

#[test]
fn the_twin_loses_no_claim_so_an_entry_without_one_is_about_an_earlier_job() {
    let mut shard = shard(Level::Memory);
    let (_, gone) = load_end(&mut shard, vec![claim(2)]);
    assert_eq!((runs_with(&shard), gone), (None, vec![claim(2).token]));
}

#[test]
fn an_attempt_that_was_handed_out_and_never_started_changes_nothing() {
    let mut shard = shard(Level::Durable);
    shard.admit(claims(Level::Durable, vec![claim(2)])).unwrap();
    let (wave, _) = load_end(&mut shard, Vec::new());
    let (_, _, head, token) = shard.portrait().jobs[&id(1)].clone();
    assert_eq!((head.attempts_ended, head.lost, token), (0, 0, None));
    assert!(
        wave.changes.contains(&Change::Delete(windlass_scheduler::change::Key::Claims(ClaimsNo { term: 2, n: 2 })))
    );
}

#[test]
fn an_attempt_of_an_earlier_process_is_lost_and_counted() {
    let mut shard = shard(Level::Durable);
    let before = Claim { token: LeaseToken { term: 0, n: 1 }, ..claim(1) };
    shard.admit(claims(Level::Durable, vec![before])).unwrap();
    load_end(&mut shard, Vec::new());
    let head = &shard.portrait().jobs[&id(1)].2;
    assert_eq!((head.attempts_ended, head.lost), (1, 1));
}
