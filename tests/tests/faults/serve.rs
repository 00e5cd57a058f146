//! The child that serves while its disk fails, and what the parent makes of what it tells.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedReceiver;
use uuid::Uuid;
use windlass::storage::{
    Append, Batch, Capabilities, CommitNo, Journal, LoadError, Loaded, OpenError, Opened, Reader, Resolution,
    RocksOptions, StorageError,
};
use windlass::{Context, Engine, EnqueueError, HOUR, Job, JobError, JobId, MIN, QueueConfig, Retention, RocksJournal};
use windlass_scheduler::change::Record;
use windlass_scheduler::state::EndState;

use crate::limits;
use crate::process::{Orders, listen, tell};

/// A job with a number, and enough bytes that logs and tables are filled.
#[derive(Serialize, Deserialize)]
pub(crate) struct Numbered {
    pub(crate) no: u64,
    filler: Vec<u64>,
}

impl Job for Numbered {
    const KIND: &'static str = "numbered";
    const QUEUE: &'static str = "work";
    type Output = ();
}

impl Numbered {
    pub(crate) fn new(no: u64) -> Self {
        let filler = (0..300).map(|place| (no + place).wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
        Self { no, filler }
    }

    pub(crate) fn id(no: u64) -> JobId {
        JobId(Uuid::from_u128(u128::from(no) + 1))
    }
}

/// A journal whose buffers are so small that logs end and tables are written all the time.
pub(crate) fn small(directory: &Path) -> RocksJournal {
    let bounds = RocksOptions {
        write_buffer_size_bytes: 256 << 10,
        cache_bytes: 1 << 20,
        log_bytes_max: 512 << 10,
        ..RocksOptions::default()
    };
    RocksJournal::at(directory).with_options(bounds)
}

/// Tells of what the journal answers, before anybody in the engine hears of it.
struct Told(RocksJournal);

fn failed(call: &str, error: &dyn std::fmt::Display) {
    tell(&format!("broke {call}: {error}"));
}

impl Journal for Told {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn open(&mut self) -> Result<Opened, OpenError> {
        self.0.open().inspect(|_| tell("opened")).inspect_err(|error| failed("open", error))
    }

    fn load(&mut self, sink: &mut dyn FnMut(Loaded) -> Option<String>) -> Result<(), LoadError> {
        self.0.load(sink).inspect_err(|error| failed("load", error))
    }

    fn append(&mut self, batch: &Batch) -> Append {
        let answer = self.0.append(batch);
        if let Append::Refused(error) | Append::Unknown(error) = &answer {
            failed("append", error);
        }
        answer
    }

    fn resolve(&mut self, commit_no: CommitNo) -> Result<Resolution, StorageError> {
        self.0.resolve(commit_no)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.0.sync().inspect(|()| tell("synced")).inspect_err(|error| failed("sync", error))
    }

    fn watermark(&mut self) -> Result<(), StorageError> {
        self.0.watermark().inspect_err(|error| failed("watermark", error))
    }

    fn free_bytes(&self) -> Option<u64> {
        self.0.free_bytes()
    }

    fn reader(&self) -> Result<Arc<dyn Reader>, StorageError> {
        self.0.reader()
    }

    fn close(&mut self) -> Result<(), StorageError> {
        self.0.close().inspect_err(|error| failed("close", error))
    }
}

async fn run(job: Numbered, cx: Context<()>) -> Result<(), JobError> {
    tell(&format!("start {} {}", job.no, cx.attempt()));
    let is_whole = job.filler == Numbered::new(job.no).filler;
    tell(&format!("{} {} {}", if is_whole { "end" } else { "wrong payload" }, job.no, cx.attempt()));
    Ok(())
}

pub(crate) fn queue() -> QueueConfig {
    let retention = Retention::default().done(HOUR, 1_000_000, 1 << 40);
    QueueConfig::new("work").concurrency(4).retention(retention)
}

async fn start(directory: &Path) -> Engine {
    let builder = Engine::builder().journal(Told(small(directory))).disk_free_bytes_min(1 << 20);
    builder.queue(queue()).handler(run).start().await.expect("the engine starts")
}

fn tell_health(engine: &Engine) {
    let health = engine.health();
    tell(&format!("health {health} | to do: {}", health.what_to_do().join("; ")));
}

/// Hands in jobs one by one until it is told to stop or cannot go on; an unknown outcome is asked for again.
async fn hand_in(engine: &Engine, told: &mut UnboundedReceiver<String>, from: u64) -> u64 {
    let mut no = from;
    loop {
        match told.try_recv().as_deref() {
            Ok("stop") => return no,
            Ok(word) => limits::obey(word),
            Err(_) => {}
        }
        tell(&format!("intent {no}"));
        match engine.enqueue(Numbered::new(no)).id(Numbered::id(no)).await {
            Ok(_) => {
                tell(&format!("accepted {no}"));
                no += 1;
            }
            Err(EnqueueError::Interrupted { .. }) => {
                tell(&format!("unknown {no}"));
                tell_health(engine);
            }
            Err(error) => {
                tell(&format!("refused {no}: {error}"));
                tell_health(engine);
                return no;
            }
        }
    }
}

/// The child: serves until it is told to stop. Where it has to give up, it waits until it is told that the disk is mended,
/// and starts an engine anew in the same process.
pub(crate) async fn serve(orders: &Orders) {
    let mut told = listen();
    let mut engine = start(&orders.directory).await;
    tell("ready");
    let mut no = 0;
    loop {
        no = hand_in(&engine, &mut told, no).await;
        if engine.health().is_serving() {
            break;
        }
        loop {
            match told.recv().await.as_deref() {
                Some("mended") => break,
                Some("shutdown") => {
                    let ended = engine.shutdown(MIN).await;
                    tell(&format!("shut down: {}", ended.map_or_else(|error| error.to_string(), |()| "clean".into())));
                }
                Some(word) => limits::obey(word),
                None => return,
            }
        }
        engine = start(&orders.directory).await;
        tell("started again");
    }
    while engine.stats().await.expect("stats are told")[0].done < no {
        tokio::task::yield_now().await;
    }
    tell_health(&engine);
    engine.shutdown(MIN).await.expect("the engine stops");
    tell("bye");
}

/// What the parent knows from what it was told.
#[derive(Default)]
pub(crate) struct Oracle {
    /// The calls under way: whether what they need has happened since.
    open: BTreeMap<u64, bool>,
    pub(crate) accepted: Vec<u64>,
    running: BTreeMap<u64, u64>,
    ended: BTreeMap<u64, u32>,
    pub(crate) is_broken: bool,
    pub(crate) breaks: Vec<String>,
    pub(crate) openings: u32,
    pub(crate) health: Vec<String>,
}

impl Oracle {
    /// Takes a line in, and fails where it says what must not be.
    pub(crate) fn hear(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let numbers: Vec<u64> = rest.split(' ').map_while(|number| number.parse().ok()).collect();
        match word {
            "intent" => _ = self.open.insert(numbers[0], false),
            "synced" => {
                assert!(!self.is_broken, "I10: it synced after a failure, without being opened anew");
                self.open.values_mut().for_each(|may| *may = true);
            }
            "opened" => {
                (self.is_broken, self.openings) = (false, self.openings + 1);
                self.open.values_mut().for_each(|may| *may = true);
            }
            // By the library itself: whoever kept such a failure to himself is found out.
            "failed" if Path::new(rest).extension().is_some_and(|kind| kind == "log") => self.is_broken = true,
            "broke" => {
                self.is_broken = true;
                self.breaks.push(rest.to_owned());
            }
            "accepted" => {
                let may = self.open.remove(&numbers[0]);
                assert_eq!(may, Some(true), "job {rest} was accepted without a sync or an opening (I2, I10)");
                self.accepted.push(numbers[0]);
            }
            "start" => {
                let before = self.running.insert(numbers[0], numbers[1]);
                assert_eq!(before, None, "job {} runs twice at once", numbers[0]);
            }
            "end" => {
                assert_eq!(self.running.remove(&numbers[0]), Some(numbers[1]));
                *self.ended.entry(numbers[0]).or_default() += 1;
            }
            "health" => self.health.push(rest.to_owned()),
            "wrong" => panic!("{line}"),
            _ => {}
        }
    }

    /// What the journal holds in the end is what was accepted: each job done, none unheard of.
    pub(crate) fn judge(&self, directory: &Path) {
        let mut journal = small(directory);
        journal.open().expect("the journal opens");
        let mut live = Vec::new();
        let mut sink = |loaded| {
            match loaded {
                Loaded::Record(Record::Job(job)) => live.push(job.id),
                Loaded::Record(_) => {}
                Loaded::Quarantined(record) => panic!("a record is damaged: {record:?}"),
            }
            None
        };
        journal.load(&mut sink).expect("the journal loads");
        assert_eq!(live, [], "all have ended");
        let reader = journal.reader().expect("an open journal is read");
        let done = reader.ended(&"work".into(), EndState::Done, None, usize::MAX).expect("ends are read");
        let mut done: Vec<u128> = done.iter().map(|record| record.id.0.as_u128() - 1).collect();
        done.sort_unstable();
        let accepted: Vec<u128> = self.accepted.iter().copied().map(u128::from).collect();
        assert_eq!(done, accepted, "what is done is not what was accepted");
        assert!(self.accepted.iter().all(|no| self.ended.contains_key(no)), "one is done that never ran");
        drop(reader);
        journal.close().expect("the journal closes");
    }
}
