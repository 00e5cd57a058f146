//! Bodies over the budget: which are in memory, which are asked back, that nobody ever gets another's, and that no verb and
//! no notice misses them.
//!
//! Guards I6 (one budget over heads and bodies), I3 (the counts equal a recount, at every step) and I1 (a load keeps what
//! fits, and nothing else is different).
#![allow(clippy::unwrap_used, clippy::expect_used)]
// Small numbers all over.
#![allow(clippy::cast_possible_truncation)]

mod common;

use std::sync::Arc;

use bytes::Bytes;
use windlass_scheduler::attempt::{Failure, FailureKind, Outcome, Output, Retry};
use windlass_scheduler::command::{Command, QueueNo, Request, Submit};
use windlass_scheduler::effect::{Answer, Effect, Notice};
use windlass_scheduler::filter::Filter;
use windlass_scheduler::job::{Body, JobId, Labels, Name, NewJob, Priority};
use windlass_scheduler::lease::Lease;
use windlass_scheduler::limit::Share;
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::settings::{KeepDone, Level, Notices, QueueSettings, ShardSettings};
use windlass_scheduler::time::{Mono, Now, Timestamp};
use windlass_scheduler::unique::{KeyOf, OnConflict, Unique, UniqueKey, Until};
use windlass_scheduler::verb::{Known, Verb};
use windlass_scheduler::view::{IsMeant, MemoryUse};

use self::common::{Driver, bare, id};

const BODY_BYTES: usize = 10_000;

fn queue(name: &str, level: Level) -> QueueSettings {
    let mut queue = QueueSettings { level, slots: 1, ..QueueSettings::new(Name::from(name)) };
    queue.retention.keep_done = KeepDone::None;
    queue.retention.dropped.count_max = 0;
    queue
}

/// With memory of about so many bodies; a third of it is theirs.
fn driver(bodies: u64) -> Driver {
    let queues = vec![queue("mail", Level::Durable), queue("ram", Level::Memory)];
    let mut settings = ShardSettings::new(0, 7, queues, vec!["work".into()]);
    settings.memory_bytes_max = bodies * (BODY_BYTES as u64 + 500);
    Driver::new(settings, Now { mono: Mono(0), wall: Timestamp(1_000_000) })
}

fn job(n: u64, queue: &str, byte: u8, bytes: usize) -> NewJob {
    NewJob {
        body: Arc::new(Body {
            payload: Bytes::from(vec![byte; bytes]),
            labels: Labels::tagged(vec![byte.to_string()]),
            ..Body::default()
        }),
        ..bare(n, queue)
    }
}

fn submit(driver: &mut Driver, jobs: Vec<NewJob>) {
    driver.handle(Command::Submit(Submit { request: Request(1), watch: None, jobs, flow: None }));
}

fn fill(driver: &mut Driver, queue: &str, jobs: std::ops::Range<u64>) {
    for n in jobs {
        submit(driver, vec![job(n, queue, n as u8, BODY_BYTES)]);
    }
    driver.settle();
}

fn steer(driver: &mut Driver, id: JobId, verb: Verb) {
    driver.handle(Command::Steer { request: Request(3), id, verb, read: None });
}

fn memory(driver: &mut Driver) -> MemoryUse {
    driver.settle();
    driver.effects.clear();
    driver.handle(Command::Memory { request: Request(2) });
    driver.settle();
    let answer = driver.effects.iter().find_map(|effect| match effect {
        Effect::Reply { answer: Ok(Answer::Memory(memory)), .. } => Some(*memory),
        _ => None,
    });
    answer.unwrap()
}

fn leases(driver: &mut Driver) -> Vec<Lease> {
    driver.settle();
    let effects = std::mem::take(&mut driver.effects).into_iter();
    effects.flat_map(|effect| if let Effect::Run { leases, .. } = effect { leases } else { Vec::new() }).collect()
}

fn succeed(driver: &mut Driver, lease: &Lease) {
    driver.end(lease.token, Outcome::Done { output: Output::None, follow_ups: Vec::new() });
}

fn paged_out(driver: &Driver) -> Vec<JobId> {
    let mut ids: Vec<_> = driver.shard.paged_out().collect();
    ids.sort_unstable();
    ids
}

/// I6
#[test]
fn what_is_in_memory_keeps_within_the_budget_whatever_comes_first() {
    let mut driver = driver(60);
    driver.handle(Command::Slots { queue: QueueNo(0), slots: 0 });
    fill(&mut driver, "mail", 0..10);
    assert_eq!(memory(&mut driver).paged_out, 0);
    fill(&mut driver, "mail", 10..100);
    let memory_now = memory(&mut driver);
    assert!(memory_now.bodies_bytes <= memory_now.bytes_max / 3, "{memory_now:?}");
    assert!(memory_now.bodies >= 15 && memory_now.paged_out + memory_now.bodies == 100, "{memory_now:?}");
    let (out, body_bytes) = (memory_now.paged_out, BODY_BYTES as u64);
    assert!((out * body_bytes..=out * (body_bytes + 2)).contains(&memory_now.paged_out_bytes), "{memory_now:?}");
    let first_out = paged_out(&driver)[0];
    assert!(first_out >= id(15), "the newest are out, not {first_out}");
    // Heads take the room of bodies that came before.
    let small: Vec<_> = (1_000..5_000).map(|n| job(n, "mail", 0, 0)).collect();
    submit(&mut driver, small);
    let more = memory(&mut driver);
    assert!(more.used_bytes() <= more.bytes_max && more.bodies < memory_now.bodies, "{more:?}");
}

/// I3
#[test]
fn the_order_is_strict_and_what_comes_next_is_asked_for() {
    let mut driver = driver(12);
    fill(&mut driver, "mail", 0..300);
    let mut asked = Vec::new();
    for n in 0..300 {
        let leases = leases(&mut driver);
        assert_eq!(leases.iter().map(|lease| lease.id).collect::<Vec<_>>(), [id(n)]);
        let [(no, ids)] = [driver.fetches.front().cloned().unwrap_or_default()];
        assert!(ids.len() <= 64, "a look ahead is bounded: {}", ids.len());
        asked.extend(ids.iter().map(|id| (no, *id)));
        while driver.fetch_one(true) {}
        if n >= 1 {
            let body = leases[0].body.as_ref().unwrap_or_else(|| panic!("job {n} was not read ahead"));
            assert_eq!(body.payload, vec![n as u8; BODY_BYTES]);
        }
        let memory = memory(&mut driver);
        assert!(memory.used_bytes() <= memory.bytes_max, "{memory:?}");
        succeed(&mut driver, &leases[0]);
    }
    assert!(asked.is_sorted() && asked.len() > 250, "{} were asked for", asked.len());
    assert!(driver.fetches.is_empty());
}

/// What the disk was asked for once the first job had ended, and what it would have answered then.
struct Asked {
    second: Vec<Lease>,
    no: u64,
    ids: Vec<JobId>,
    old: Vec<(JobId, Option<Arc<Body>>)>,
}

fn ask(driver: &mut Driver) -> Asked {
    let first = leases(driver);
    succeed(driver, &first[0]);
    let second = leases(driver);
    let (no, ids) = driver.fetches.pop_front().expect("something is asked for");
    let old = ids.iter().map(|id| (*id, driver.journal.job(*id).map(|job| job.body.clone()))).collect();
    Asked { second, no, ids, old }
}

/// One of the next attempts is this job's, and has this payload, if any.
fn runs_with(driver: &mut Driver, id: JobId, byte: u8) {
    for _ in 0..7 {
        for lease in leases(driver) {
            while driver.fetch_one(true) {}
            if lease.id == id {
                assert!(lease.body.as_ref().is_none_or(|body| body.payload[0] == byte));
                return;
            }
            succeed(driver, &lease);
        }
    }
    panic!("the job never ran");
}

/// I3: the answer to a question about a job that is gone is not given to the next one with its id.
#[test]
fn a_late_answer_of_the_disk_is_nobody_s() {
    let mut driver = driver(2);
    fill(&mut driver, "mail", 0..8);
    let Asked { second, no, ids, old } = ask(&mut driver);
    let gone = ids[0];
    steer(&mut driver, gone, Verb::Cancel);
    driver.settle();
    let n = gone.0.as_u128() as u64;
    submit(&mut driver, vec![job(n, "mail", 99, BODY_BYTES)]);
    driver.settle();
    assert!(paged_out(&driver).contains(&gone), "the new one is out, too");
    driver.handle(Command::Fetched { no, bodies: old });
    driver.settle();
    assert!(paged_out(&driver).contains(&gone), "its body is another");
    succeed(&mut driver, &second[0]);
    runs_with(&mut driver, gone, 99);
}

#[test]
fn a_job_that_is_cancelled_while_its_body_is_read_is_no_trouble() {
    let mut driver = driver(3);
    fill(&mut driver, "mail", 0..8);
    let first = leases(&mut driver);
    succeed(&mut driver, &first[0]);
    driver.settle();
    let ids = driver.fetches.front().expect("something is asked for").1.clone();
    for id in ids {
        steer(&mut driver, id, Verb::Cancel);
    }
    driver.settle();
    while driver.fetch_one(true) {}
    let memory = memory(&mut driver);
    assert!(memory.jobs < 7, "{memory:?}");
}

#[test]
fn a_queue_in_memory_keeps_its_bodies_whatever_the_budget() {
    let mut driver = driver(3);
    fill(&mut driver, "ram", 100..120);
    let memory = memory(&mut driver);
    assert_eq!((memory.bodies, memory.paged_out), (20, 0));
}

/// I1: which bodies are in memory is all that a load may decide anew.
#[test]
fn a_load_keeps_the_first_bodies_that_fit_and_the_order_of_all() {
    for crash in [false, true] {
        let mut driver = driver(12);
        driver.handle(Command::Slots { queue: QueueNo(0), slots: 0 });
        driver.slots[0] = 0;
        fill(&mut driver, "mail", 0..50);
        submit(&mut driver, vec![NewJob { priority: Some(Priority::URGENT), ..job(77, "mail", 77, BODY_BYTES) }]);
        driver.settle();
        let before = driver.shard.portrait();
        if crash {
            driver.crash(None);
        }
        assert_eq!(driver.load(), []);
        assert_eq!(driver.shard.portrait(), before);
        let memory = memory(&mut driver);
        assert!(memory.used_bytes() <= memory.bytes_max && memory.paged_out >= 38, "{memory:?}");
        driver.handle(Command::Slots { queue: QueueNo(0), slots: 2 });
        let leases: Vec<_> = leases(&mut driver).into_iter().map(|lease| lease.id).collect();
        assert_eq!(leases, [id(77), id(0)]);
    }
}

fn answer(driver: &mut Driver, command: Command) -> Result<Answer, Refusal> {
    driver.effects.clear();
    driver.handle(command);
    driver.settle();
    let replies = driver.effects.iter().find_map(|effect| match effect {
        Effect::Reply { request: Request(9), answer } => Some(answer.clone()),
        _ => None,
    });
    replies.unwrap()
}

fn edit(driver: &mut Driver, id: JobId, byte: u8, known: Known) -> Result<Answer, Refusal> {
    let payload = Bytes::from(vec![byte; BODY_BYTES]);
    answer(driver, Command::Edit { request: Request(9), id, payload, version: 1, known })
}

/// An edit that is told to read the body first, which is read then.
fn read(driver: &mut Driver, id: JobId) -> Known {
    let Err(Refusal::OnDisk { id: of, edition }) = edit(driver, id, 99, Known::Nothing) else {
        panic!("its body is on disk only")
    };
    assert_eq!(of, id);
    Known::Live(driver.journal.job(id).unwrap().body.clone(), edition)
}

#[test]
fn an_edit_of_a_job_on_disk_needs_its_labels_and_takes_no_other_s() {
    let mut driver = driver(3);
    driver.slots[0] = 0;
    driver.handle(Command::Slots { queue: QueueNo(0), slots: 0 });
    fill(&mut driver, "mail", 0..8);
    let (one, other) = (id(7), id(6));
    assert!(paged_out(&driver).contains(&one));
    let is_refused = |answer| matches!(answer, Err(Refusal::OnDisk { id, .. }) if id == one);
    let of_other = read(&mut driver, other);
    assert!(is_refused(edit(&mut driver, one, 99, of_other)));
    let stale = read(&mut driver, one);
    steer(&mut driver, one, Verb::Reprioritise(Priority::URGENT));
    driver.settle();
    assert!(is_refused(edit(&mut driver, one, 99, stale)));
    let fresh = read(&mut driver, one);
    assert!(edit(&mut driver, one, 99, fresh).is_ok());
    let body = driver.journal.job(one).unwrap().body.clone();
    assert_eq!((body.payload[0], body.labels.tags()), (99, &["7".to_owned()][..]));
}

/// A job that takes another one's place in line leaves it its arrival.
#[test]
fn an_edit_takes_no_labels_from_before_another_job_took_the_place() {
    let mut driver = driver(3);
    driver.slots[0] = 0;
    driver.handle(Command::Slots { queue: QueueNo(0), slots: 0 });
    let of_key = |n: u64| {
        let job = job(n, "mail", n as u8, BODY_BYTES);
        let key = Arc::new(UniqueKey { of: KeyOf::Engine, text: "one".into() });
        let unique = Unique { key, until: Until::Done, on_conflict: OnConflict::Replace { within_ms: None } };
        let labels = Labels::new(vec![n.to_string()], None, None, Some(unique), Share::NONE);
        NewJob { body: Arc::new(Body { labels, ..(*job.body).clone() }), ..job }
    };
    fill(&mut driver, "mail", 0..7);
    submit(&mut driver, vec![of_key(7)]);
    driver.settle();
    let one = id(7);
    let stale = read(&mut driver, one);
    submit(&mut driver, vec![of_key(8)]);
    driver.seal();
    assert!(paged_out(&driver).contains(&one));
    assert!(matches!(edit(&mut driver, one, 99, stale), Err(Refusal::OnDisk { .. })));
    let fresh = read(&mut driver, one);
    assert!(edit(&mut driver, one, 99, fresh).is_ok());
    let body = driver.journal.job(one).unwrap().body.clone();
    assert_eq!((body.payload[0], body.labels.tags()), (99, &["8".to_owned()][..]));
}

/// I3
#[test]
fn an_answer_of_the_disk_from_before_an_edit_is_nobody_s() {
    let mut driver = driver(2);
    fill(&mut driver, "mail", 0..8);
    let Asked { second, no, ids, old } = ask(&mut driver);
    let edited = ids[0];
    let known = read(&mut driver, edited);
    assert!(edit(&mut driver, edited, 99, known).is_ok());
    driver.handle(Command::Fetched { no, bodies: old });
    driver.settle();
    succeed(&mut driver, &second[0]);
    runs_with(&mut driver, edited, 99);
}

/// I2: what is to be read is written by then.
#[test]
fn a_list_by_labels_says_which_are_to_be_read_and_waits_until_they_can_be() {
    let mut driver = driver(3);
    driver.slots[0] = 0;
    driver.handle(Command::Slots { queue: QueueNo(0), slots: 0 });
    for n in 0..8 {
        submit(&mut driver, vec![job(n, "mail", n as u8, BODY_BYTES)]);
        driver.seal();
    }
    let out = paged_out(&driver);
    assert!(out.contains(&id(7)) && !out.contains(&id(0)) && driver.journal.job(id(7)).is_none());
    let list = |tag: &str| {
        let filter = Box::new(Filter { tag: Some(tag.to_owned()), ..Filter::default() });
        Command::List { request: Request(9), filter, from: 0, limit: 100, scan_max: 100 }
    };
    driver.handle(list("0"));
    driver.seal();
    assert!(!driver.effects.iter().any(|effect| matches!(effect, Effect::Reply { request: Request(9), .. })));
    driver.settle();
    for (tag, mine) in [("0", Some(id(0))), ("7", None)] {
        let Ok(Answer::Page(page)) = answer(&mut driver, list(tag)) else { panic!("a list is a page") };
        let by = |wanted| page.jobs.iter().filter(move |(_, is_meant)| *is_meant == wanted).map(|(view, _)| view.id);
        assert_eq!(by(IsMeant::Yes).collect::<Vec<_>>(), Vec::from_iter(mine));
        assert_eq!(by(IsMeant::ByLabels).collect::<Vec<_>>(), out);
    }
}

fn notices(driver: &mut Driver) -> Vec<Notice> {
    driver.settle();
    let effects = std::mem::take(&mut driver.effects).into_iter();
    effects.filter_map(|effect| if let Effect::Notice(notice) = effect { Some(*notice) } else { None }).collect()
}

#[test]
fn a_notice_has_the_body_that_the_attempt_read() {
    let mut driver = driver(0);
    driver.settings.notices = Notices { dead: true, retry: true, ticks: false };
    assert_eq!(driver.load(), []);
    fill(&mut driver, "mail", 0..4);
    for _ in 0..2 {
        let lease = leases(&mut driver).remove(0);
        succeed(&mut driver, &lease);
    }
    for with_body in [true, false] {
        let lease = leases(&mut driver).remove(0);
        assert!(lease.body.is_none());
        let read = with_body.then(|| driver.journal.job(lease.id).unwrap().body.clone());
        let failure = Failure::new(FailureKind::Error, "no luck".into());
        let outcome = Outcome::Failed { failure, retry: Retry::Never };
        driver.handle(Command::End { token: lease.token, outcome, body: read.clone(), log: None });
        driver.seal();
        while driver.write_one() {}
        driver.sync();
        let effects = std::mem::take(&mut driver.effects);
        let told =
            effects.iter().find_map(|effect| if let Effect::Notice(notice) = effect { Some(notice) } else { None });
        assert!(told.unwrap().body == read);
        driver.effects = effects;
    }
}

/// It may die at the end of the load, and not be kept: then nobody else has its body.
#[test]
fn a_suspect_s_body_is_there_when_its_death_is_told() {
    let mut driver = driver(0);
    driver.settings.queues[0].retention.dead.count_max = 0;
    driver.settings.notices.dead = true;
    assert_eq!(driver.load(), []);
    fill(&mut driver, "mail", 5..6);
    // This one is loaded first, and takes what room there is.
    fill(&mut driver, "mail", 0..1);
    for deaths in 1..=3 {
        driver.settle();
        assert_eq!(driver.shard.running(), 1);
        driver.crash(None);
        assert_eq!(driver.load(), []);
        let told = notices(&mut driver);
        assert_eq!(told.len(), usize::from(deaths == 3));
        for notice in told {
            assert_eq!((notice.id, notice.body.unwrap().payload.len()), (id(5), BODY_BYTES));
        }
        driver.slots.fill(1);
        driver.handle(Command::Slots { queue: QueueNo(0), slots: 1 });
    }
    assert!(driver.journal.job(id(5)).is_none(), "it is not kept");
}

/// I6: what has no other place takes its room from others.
#[test]
fn checkpoints_and_retained_jobs_of_a_queue_in_memory_count() {
    let mut driver = driver(36);
    let checkpoint = |driver: &mut Driver, lease: &Lease, bytes: usize| {
        let bytes = Bytes::from(vec![1; bytes]);
        driver.handle(Command::Checkpoint { request: Request(3), id: lease.id, token: lease.token, bytes });
    };
    fill(&mut driver, "ram", 0..1);
    let lease = leases(&mut driver).remove(0);
    driver.handle(Command::Pause { request: Request(4), queue: "mail".into() });
    fill(&mut driver, "mail", 10..16);
    let before = memory(&mut driver);
    assert_eq!((before.paged_out, before.volatile_bytes), (0, 0));
    checkpoint(&mut driver, &lease, 20_000);
    checkpoint(&mut driver, &lease, 50_000);
    let counted = memory(&mut driver);
    assert!((50_000..51_000).contains(&counted.volatile_bytes), "{counted:?}");
    assert_eq!(counted.used_bytes(), before.used_bytes() + counted.volatile_bytes);
    fill(&mut driver, "mail", 16..20);
    // A core that is rebuilt counts the same.
    assert_eq!(driver.load(), []);
    assert_eq!(memory(&mut driver).volatile_bytes, counted.volatile_bytes);
    let failure = Failure::new(FailureKind::Error, "no luck".into());
    driver.end(lease.token, Outcome::Failed { failure, retry: Retry::Never });
    assert!(memory(&mut driver).volatile_bytes > counted.volatile_bytes + BODY_BYTES as u64);
    steer(&mut driver, lease.id, Verb::Discard);
    assert_eq!(memory(&mut driver).volatile_bytes, 0);
}
