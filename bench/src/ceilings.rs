//! What this machine can do at most: the same records through the journal alone, bare RocksDB batches, one cast between two
//! actors, one fsync. Each is measured when it is first asked for, and once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use rocksdb::{DB, Options, WriteBatch, WriteOptions};
use tokio::sync::oneshot;
use uuid::Uuid;
use windlass_scheduler::attempt::Output;
use windlass_scheduler::change::{Change, EndedKey, EndedRecord, Head, JobRecord, Key, Record};
use windlass_scheduler::job::{Body, JobId, Name, Priority};
use windlass_scheduler::state::EndState;
use windlass_scheduler::time::Timestamp;
use windlass_storage::{Append, Batch, CommitNo, Journal, RocksJournal};

use crate::Failure;
use crate::figure::{Figure, Run, Stopwatch};
use crate::work::{PAYLOAD_BYTES, QUEUE, runtime};

const RUNS: usize = 3;
const FSYNCS: u64 = 1_000;
const CASTS: u64 = 500_000;
/// Bytes of a job's record in the journal, key apart.
const RECORD_BYTES: usize = 240;
/// Retained successes: the default.
const RETAINED: u64 = 10_000;

/// The ceilings that were asked for so far.
pub(crate) struct Ceilings {
    dir: PathBuf,
    figures: BTreeMap<String, Figure>,
}

impl Ceilings {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), figures: BTreeMap::new() }
    }

    pub(crate) fn into_figures(self) -> Vec<Figure> {
        self.figures.into_values().collect()
    }

    /// Everything that the table should show even if no figure asks for it.
    pub(crate) fn measure_all(&mut self) -> Result<(), Failure> {
        self.fsync()?;
        self.cast()?;
        for is_synced in [false, true] {
            for batch in [64, 512] {
                self.bare(batch, is_synced)?;
            }
        }
        Ok(())
    }

    fn once(
        &mut self,
        name: &str,
        is_synced: Option<bool>,
        unit: &'static str,
        measure: impl Fn(&Path) -> Result<Run, Failure>,
    ) -> Result<f64, Failure> {
        let level = is_synced.map_or("–", |is_synced| if is_synced { "synced each" } else { "not synced" });
        let key = format!("{name} {level}");
        if let Some(figure) = self.figures.get(&key) {
            return Ok(figure.median);
        }
        let dir = self.dir.clone();
        let run = |_| {
            let dir = tempfile::tempdir_in(&dir)?;
            measure(dir.path())
        };
        let runs = (0..RUNS).map(run).collect::<Result<Vec<_>, Failure>>()?;
        let figure = Figure::of("ceilings", name, level, unit, &runs);
        let median = figure.median;
        self.figures.insert(key, figure);
        Ok(median)
    }

    /// Appends of 256 bytes to a file, each synced, a second.
    pub(crate) fn fsync(&mut self) -> Result<f64, Failure> {
        self.once("fsync of 256 more bytes", None, "/s", |dir| {
            let mut file = File::create(dir.join("file"))?;
            let watch = Stopwatch::start();
            for _ in 0..FSYNCS {
                file.write_all(&[7; 256])?;
                file.sync_data()?;
            }
            Ok(watch.rate(FSYNCS))
        })
    }

    /// Casts from one task to an actor, a second.
    fn cast(&mut self) -> Result<f64, Failure> {
        self.once("ractor casts", None, "/s", |_| {
            runtime()?.block_on(async {
                let (send, received) = oneshot::channel();
                let (counter, ended) = Actor::spawn(None, Counter, send).await?;
                let watch = Stopwatch::start();
                for _ in 0..CASTS {
                    counter.send_message(())?;
                }
                received.await?;
                let run = watch.rate(CASTS);
                counter.stop(None);
                ended.await?;
                Ok(run)
            })
        })
    }

    /// Bare RocksDB: every batch puts some records and deletes those of the batch before.
    fn bare(&mut self, batch: u64, is_synced: bool) -> Result<f64, Failure> {
        let name = format!("bare RocksDB, put and delete, batches of {batch}");
        self.once(&name, Some(is_synced), "puts and deletes/s", |dir| {
            let mut options = Options::default();
            options.create_if_missing(true);
            let db = DB::open(&options, dir)?;
            let mut written = WriteOptions::default();
            written.set_sync(is_synced);
            let batches = batches(batch, is_synced);
            let value = [7_u8; RECORD_BYTES];
            let watch = Stopwatch::start();
            for n in 0..batches {
                let mut writes = WriteBatch::default();
                for i in n * batch..(n + 1) * batch {
                    writes.put(job_id(i).0.as_bytes(), value);
                    if let Some(before) = i.checked_sub(batch) {
                        writes.delete(job_id(before).0.as_bytes());
                    }
                }
                db.write_opt(writes, &written)?;
            }
            Ok(watch.rate(2 * batches * batch))
        })
    }

    /// The journal alone, with the records that enqueueing makes.
    pub(crate) fn journal(&mut self, batch: u64, is_synced: bool) -> Result<f64, Failure> {
        let name = format!("journal, records of new jobs, batches of {batch}");
        self.once(&name, Some(is_synced), "jobs/s", |dir| {
            let batches = batches(batch, is_synced);
            let body = body();
            let changes = |n: u64| (n * batch..(n + 1) * batch).map(|i| Change::Put(job(i, &body))).collect();
            append_all(dir, (0..batches).map(changes), is_synced, batches * batch)
        })
    }

    /// The journal alone, with the records that whole lives make; `is_kept`: successes are retained for a while.
    pub(crate) fn lives(&mut self, is_synced: bool, is_kept: bool) -> Result<f64, Failure> {
        let kept = if is_kept { "default retention" } else { "keep_done None" };
        self.once(
            &format!("journal, records of whole lives, batches of 1,000, {kept}"),
            Some(is_synced),
            "jobs/s",
            |dir| {
                let (batches, body) = (200, body());
                let life = if is_kept { kept_life } else { short_life };
                let changes = |n: u64| (n * 1_000..(n + 1) * 1_000).flat_map(|i| life(i, &body)).collect();
                append_all(dir, (0..batches).map(changes), is_synced, batches * 1_000)
            },
        )
    }
}

/// How many batches take a second or so.
const fn batches(batch: u64, is_synced: bool) -> u64 {
    match (is_synced, batch) {
        (true, 1_000..) => 200,
        (true, _) => 800,
        (false, 1) => 30_000,
        (false, _) => 300_000 / batch,
    }
}

fn append_all(
    dir: &Path,
    batches: impl Iterator<Item = Vec<Change>>,
    is_synced: bool,
    jobs: u64,
) -> Result<Run, Failure> {
    let mut journal = RocksJournal::at(dir);
    let term = journal.open()?.term;
    let number = |(changes, step)| Batch { commit_no: CommitNo { term, step }, changes };
    let batches: Vec<_> = batches.zip(1..).map(number).collect();
    let watch = Stopwatch::start();
    for batch in &batches {
        match journal.append(batch) {
            Append::Ok if is_synced => journal.sync()?,
            Append::Ok => {}
            other => return Err(format!("an append was answered with {other:?}").into()),
        }
    }
    let run = watch.rate(jobs);
    journal.close()?;
    Ok(run)
}

/// Ids that rise as those of version 7 do.
fn job_id(n: u64) -> JobId {
    let spread = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    JobId(Uuid::from_u128((0x0192 << 112) | (u128::from(n / 100) << 80) | u128::from(spread)))
}

fn body() -> Arc<Body> {
    Arc::new(Body { payload: Bytes::from(vec![b'x'; PAYLOAD_BYTES]), version: 1, ..Body::default() })
}

fn head(n: u64) -> Head {
    Head {
        queue: Name::from(QUEUE),
        priority: Priority::NORMAL,
        arrival: i64::try_from(n).unwrap_or(i64::MAX),
        created: Timestamp(1_700_000_000_000 + n),
        due: None,
        due_by_wall: false,
        expires: None,
        timeout_ms: None,
        policy: None,
        attempts_ended: 0,
        failures: 0,
        lost: 0,
        cancel_requested: false,
    }
}

fn job(n: u64, body: &Arc<Body>) -> Record {
    Record::Job(JobRecord { id: job_id(n), kind: Name::from("no-op"), body: body.clone(), head: head(n) })
}

/// What one whole life writes where nothing is kept: a job comes, and one of the batch before is gone. What a batch hands out
/// is one record for all of it, and is left out.
fn short_life(n: u64, body: &Arc<Body>) -> Vec<Change> {
    let mut changes = vec![Change::Put(job(n, body))];
    changes.extend(n.checked_sub(1_000).map(|old| Change::Delete(Key::Job(job_id(old)))));
    changes
}

/// What one whole life writes in the long run: a job comes, it ends, and one that ended before is forgotten.
fn kept_life(n: u64, body: &Arc<Body>) -> Vec<Change> {
    let key = |n: u64| EndedKey { queue: Name::from(QUEUE), state: EndState::Done, end_no: n };
    let ended = EndedRecord {
        key: key(n),
        id: job_id(n),
        kind: Name::from("no-op"),
        head: head(n),
        at: Timestamp(1_700_000_000_000 + n),
        started: Some(Timestamp(1_700_000_000_000 + n)),
        attempt_recorded: 0,
        edits: 0,
        bytes: PAYLOAD_BYTES as u64,
        output: Output::None,
        failure: None,
    };
    let mut changes = vec![Change::Put(job(n, body)), Change::Put(Record::Ended(Box::new(ended)))];
    if let Some(old) = n.checked_sub(RETAINED) {
        changes.push(Change::Delete(Key::Ended(key(old))));
        changes.push(Change::Delete(Key::Job(job_id(old))));
    }
    changes
}

/// Counts what it gets, and says when that is all.
struct Counter;

impl Actor for Counter {
    type Msg = ();
    type State = (u64, Option<oneshot::Sender<()>>);
    type Arguments = oneshot::Sender<()>;

    async fn pre_start(&self, _: ActorRef<()>, all: oneshot::Sender<()>) -> Result<Self::State, ActorProcessingErr> {
        Ok((0, Some(all)))
    }

    async fn handle(&self, _: ActorRef<()>, (): (), state: &mut Self::State) -> Result<(), ActorProcessingErr> {
        state.0 += 1;
        if let Some(all) = state.1.take_if(|_| state.0 == CASTS) {
            let _ = all.send(());
        }
        Ok(())
    }
}
