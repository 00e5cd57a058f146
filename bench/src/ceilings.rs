//! What this machine can do at most: the same bytes straight into RocksDB, the same records through the journal alone, one cast
//! between two actors, one fsync. Each is measured when it is first asked for, and once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use rocksdb::{DB, Options, WriteBatch, WriteOptions};
use tokio::sync::{mpsc, oneshot};
use windlass::Durability;
use windlass_scheduler::change::Change;
use windlass_storage::codec::Encoder;
use windlass_storage::{Append, Batch, CommitNo, Journal, RocksJournal};

use crate::Failure;
use crate::figure::{Figure, Run, Stopwatch};
use crate::records::{Records, Write, encoded};
use crate::work::{BULK, runtime};

const RUNS: usize = 5;
const FSYNCS: u64 = 1_000;
const MESSAGES: u64 = 500_000;
/// Jobs of a batch: a bulk, what 64 callers leave to one batch, one caller's.
const BATCHES: [u64; 3] = [BULK, 64, 1];

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
        self.channel()?;
        self.cast()?;
        for is_synced in [false, true] {
            for records in Records::ALL {
                for batch in BATCHES {
                    self.raw(records, batch, is_synced)?;
                }
                self.journal(records, BULK, is_synced)?;
            }
            for batch in BATCHES {
                self.journal(Records::NewJobs, batch, is_synced)?;
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

    /// Messages from one task to another through a bare channel, a second.
    fn channel(&mut self) -> Result<f64, Failure> {
        self.once("messages through a tokio channel", None, "/s", |_| {
            runtime()?.block_on(async {
                let (send, mut received) = mpsc::unbounded_channel();
                let watch = Stopwatch::start();
                let sender = tokio::spawn(async move { (0..MESSAGES).try_for_each(|n| send.send(n)) });
                let mut last = 0;
                while let Some(n) = received.recv().await {
                    last = n;
                }
                sender.await??;
                assert_eq!(last + 1, MESSAGES, "a channel loses nothing");
                Ok(watch.rate(MESSAGES))
            })
        })
    }

    /// Casts from one task to an actor, a second.
    fn cast(&mut self) -> Result<f64, Failure> {
        self.once("ractor casts", None, "/s", |_| {
            runtime()?.block_on(async {
                let (send, received) = oneshot::channel();
                let (counter, ended) = Actor::spawn(None, Counter, send).await?;
                let watch = Stopwatch::start();
                for _ in 0..MESSAGES {
                    counter.send_message(())?;
                }
                received.await?;
                let run = watch.rate(MESSAGES);
                counter.stop(None);
                ended.await?;
                Ok(run)
            })
        })
    }

    /// A figure as a share of what RocksDB alone does with the same bytes, where the level writes any.
    pub(crate) fn share(
        &mut self,
        figure: Figure,
        level: Durability,
        records: Records,
        batch: u64,
    ) -> Result<Figure, Failure> {
        if level == Durability::Memory {
            return Ok(figure);
        }
        let raw = self.raw(records, batch, level == Durability::Durable)?;
        Ok(figure.under(raw, &format!("raw RocksDB, same bytes in batches of {batch}")))
    }

    /// RocksDB alone with default options, in batches that put and delete the same keys and bytes as the journal's. They
    /// are made before the clock runs.
    fn raw(&mut self, records: Records, batch: u64, is_synced: bool) -> Result<f64, Failure> {
        let name = format!("raw RocksDB, records of {}, batches of {batch}", records.name());
        self.once(&name, Some(is_synced), "jobs/s", |dir| {
            let batches = batches(batch, is_synced);
            let mut encoder = Encoder::default();
            let writes = records.batches(batches, batch).map(|changes| encoded(&changes, &mut encoder));
            write_all(dir, &writes.collect::<Result<Vec<_>, _>>()?, is_synced, batches * batch)
        })
    }

    /// The journal alone with these records.
    fn journal(&mut self, records: Records, batch: u64, is_synced: bool) -> Result<f64, Failure> {
        let name = format!("journal, records of {}, batches of {batch}", records.name());
        self.once(&name, Some(is_synced), "jobs/s", |dir| {
            let batches = batches(batch, is_synced);
            append_all(dir, records.batches(batches, batch), is_synced, batches * batch)
        })
    }
}

/// How many batches take half a second or so.
const fn batches(batch: u64, is_synced: bool) -> u64 {
    match (is_synced, batch) {
        (true, 1_000..) => 100,
        (true, _) => 400,
        (false, 1) => 30_000,
        (false, _) => 150_000 / batch,
    }
}

/// All in the default family, which no two families' keys meet in.
fn write_all(dir: &Path, batches: &[Vec<Write>], is_synced: bool, jobs: u64) -> Result<Run, Failure> {
    let mut options = Options::default();
    options.create_if_missing(true);
    let db = DB::open(&options, dir)?;
    let mut written = WriteOptions::default();
    written.set_sync(is_synced);
    let watch = Stopwatch::start();
    for batch in batches {
        let mut writes = WriteBatch::default();
        for Write { key, value } in batch {
            match value {
                Some(value) => writes.put(key, value),
                None => writes.delete(key),
            }
        }
        db.write_opt(writes, &written)?;
    }
    Ok(watch.rate(jobs))
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
        if let Some(all) = state.1.take_if(|_| state.0 == MESSAGES) {
            let _ = all.send(());
        }
        Ok(())
    }
}
