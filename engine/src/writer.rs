//! The one place that writes: waves in, batches to the journal, marks out.
//!
//! Owns the journal. It joins the waves that wait into one batch and never splits one, writes without sync, reports
//! `Written`, syncs if any of them asked, reports `Synced`. It has two bodies: a thread of its own, and an inline one on the
//! engine's runtime for paused clocks, which could not see a thread. After any answer but Ok it writes nothing more until
//! the journal has been opened again (I10).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};
use windlass_scheduler::bug;
use windlass_scheduler::effect::Wave;
use windlass_scheduler::settings::ShardSettings;
use windlass_scheduler::shard::Shard;
use windlass_storage::{Append, Batch, CommitNo, Journal, Loaded, MemoryJournal, StorageError};

use crate::door::Door;
use crate::error::panic_text;
use crate::health::JournalCall;
use crate::messages::{OpenFailure, Opening, QueueMsg, SupervisorMsg, WriterMsg};
use crate::patience::Patience;

/// Waves are joined up to this many changes: more gains nothing, and the first of them would wait for the last.
const BATCH_CHANGES_MAX: usize = 16_384;
/// And up to this many bytes: a journal's own limit is far above one wave more than that.
const BATCH_BYTES_MAX: usize = 32 << 20;
/// The longest that something written stays unsynced: what the `Process` level may lose with the power.
pub(crate) const SYNC_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// And the most bytes, or nearly: while so much is synced, nothing is written. (At 50,000 jobs a second a second's worth held
/// everybody up for 25 ms; in parts of this size for 5, and lives in bulk cost the same.)
const UNSYNCED_BYTES_MAX: usize = 2 << 20;
/// What a change is in the log beside the bytes of bodies and outputs, within a factor of two.
const CHANGE_BYTES: usize = 64;
/// How often a nearly full disk is looked at while nothing is written.
const DISK_LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The way to the writer. Cloning is cheap; the writer ends with `Close` or with the last of these.
pub(crate) type WriterHandle = UnboundedSender<WriterMsg>;

/// Starts the writer on a thread of its own.
pub(crate) fn spawn_thread(core: WriterCore) -> std::io::Result<WriterHandle> {
    let (handle, inbox) = unbounded_channel();
    std::thread::Builder::new().name("windlass-writer".to_owned()).spawn(move || core.run_thread(inbox))?;
    Ok(handle)
}

/// Starts the writer as a task of the current runtime.
pub(crate) fn spawn_inline(core: WriterCore) -> WriterHandle {
    let (handle, inbox) = unbounded_channel();
    tokio::spawn(core.run_inline(inbox));
    handle
}

/// The writer without its body.
pub(crate) struct WriterCore {
    journal: Box<dyn Journal>,
    twin: Arc<std::sync::Mutex<MemoryJournal>>,
    door: Arc<Door>,
    supervisor: Option<ActorRef<SupervisorMsg>>,
    queue: Option<ActorRef<QueueMsg>>,
    /// Of the open journal; `None`: not open, or poisoned.
    term: Option<u64>,
    /// Of the first opening by this process.
    first_term: Option<u64>,
    written: u64,
    synced: u64,
    unsynced_since: Option<Instant>,
    /// About so many bytes were written since then.
    unsynced_bytes: usize,
    watermark_at: Option<Instant>,
    /// Something was synced since the last watermark.
    is_unmarked: bool,
    /// Why nothing is written any more, until the journal is opened again.
    failure: Option<String>,
}

/// Whether there is more to do.
enum Next {
    Go,
    End,
}

impl WriterCore {
    pub(crate) fn new(journal: Box<dyn Journal>, twin: Arc<std::sync::Mutex<MemoryJournal>>, door: Arc<Door>) -> Self {
        Self {
            journal,
            twin,
            door,
            supervisor: None,
            queue: None,
            term: None,
            first_term: None,
            written: 0,
            synced: 0,
            unsynced_since: None,
            unsynced_bytes: 0,
            watermark_at: None,
            is_unmarked: false,
            failure: None,
        }
    }

    pub(crate) fn report_to(&mut self, supervisor: ActorRef<SupervisorMsg>) {
        self.supervisor = Some(supervisor);
    }

    fn run_thread(mut self, mut inbox: UnboundedReceiver<WriterMsg>) {
        // A runtime of its own only for the time-out of an idle wait: the journal is called outside of it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let Ok(runtime) = runtime else {
            return self.broken("the writer's thread got no timer".to_owned());
        };
        let patience = Patience::default();
        loop {
            patience.look(|| !inbox.is_empty());
            let first = match (inbox.try_recv(), self.idle_for()) {
                (Ok(first), _) => Some(first),
                (Err(_), None) => inbox.blocking_recv(),
                (Err(_), Some(idle)) => {
                    let wait = async { tokio::time::timeout(idle, inbox.recv()).await };
                    let Ok(first) = runtime.block_on(wait) else {
                        self.guarded(Self::idle);
                        continue;
                    };
                    first
                }
            };
            let Some(first) = first else { return self.end() };
            if matches!(self.work(first, &mut inbox), Next::End) {
                return;
            }
        }
    }

    async fn run_inline(mut self, mut inbox: UnboundedReceiver<WriterMsg>) {
        loop {
            let first = if let Some(idle) = self.idle_for() {
                let Ok(first) = tokio::time::timeout(idle, inbox.recv()).await else {
                    self.guarded(Self::idle);
                    continue;
                };
                first
            } else {
                inbox.recv().await
            };
            let Some(first) = first else { return self.end() };
            if let Some(pause) = self.door.witness.as_ref().and_then(|witness| witness.pause()) {
                tokio::time::sleep(pause).await;
            }
            if matches!(self.work(first, &mut inbox), Next::End) {
                return;
            }
        }
    }

    /// How long an idle writer may wait: until what is written has to be synced, or what is synced has to be marked, or a
    /// full disk looked at again.
    fn idle_for(&self) -> Option<Duration> {
        let since = self.unsynced_since.or(self.watermark_at.filter(|_| self.is_unmarked));
        let left = since.map(|since| SYNC_INTERVAL_MAX.saturating_sub(since.elapsed()));
        left.or_else(|| self.door.vitals.nearly_full().map(|_| DISK_LOOK_INTERVAL))
    }

    fn idle(&mut self) {
        if self.unsynced_since.is_some() || self.is_unmarked {
            self.sync();
        }
        // While nothing is accepted, nothing is written: only here it is seen that there is room again.
        self.door.vitals.set_free_bytes(self.journal.free_bytes());
    }

    /// Does one message and all waves that wait behind it.
    fn work(&mut self, first: WriterMsg, inbox: &mut UnboundedReceiver<WriterMsg>) -> Next {
        let mut next = Some(first);
        while let Some(message) = next.take() {
            match message {
                WriterMsg::Open { settings, reply } => {
                    let opened = catch_unwind(AssertUnwindSafe(|| self.open(settings)));
                    let opened = opened.unwrap_or_else(|panic| Err(OpenFailure::Panic(panic_text(panic.as_ref()))));
                    if opened.is_err() {
                        // Whoever hears of the failure may open the journal elsewhere, or look at its files.
                        let _ = self.journal.close();
                    }
                    let _ = reply.send(opened);
                }
                WriterMsg::Attach(queue) => self.queue = Some(queue),
                WriterMsg::Wave { mut wave, mut bytes } => {
                    while wave.changes.len() < BATCH_CHANGES_MAX && bytes < BATCH_BYTES_MAX {
                        match inbox.try_recv() {
                            Ok(WriterMsg::Wave { wave: more, bytes: more_bytes }) => {
                                bytes += more_bytes;
                                join(&mut wave, more);
                            }
                            Ok(other) => {
                                next = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.guarded(|core| core.write(wave, bytes));
                }
                WriterMsg::Backup { to, reply } => self.guarded(|core| {
                    let _underway = core.door.vitals.begin(JournalCall::Backup);
                    let _ = reply.send(core.journal.backup(&to));
                }),
                WriterMsg::Close(reply) => {
                    let _ = reply.send(self.close());
                    return Next::End;
                }
            }
        }
        Next::Go
    }

    fn guarded(&mut self, work: impl FnOnce(&mut Self)) {
        let done = catch_unwind(AssertUnwindSafe(|| work(self)));
        if let Err(panic) = done {
            self.broken(format!("the writer panicked: {}", panic_text(panic.as_ref())));
        }
    }

    fn open(&mut self, mut settings: ShardSettings) -> Result<Opening, OpenFailure> {
        let began = self.door.meters.begin();
        self.term = None;
        (self.unsynced_since, self.unsynced_bytes) = (None, 0);
        self.is_unmarked = false;
        if let Err(error) = self.journal.close() {
            warn!(%error, journal = self.journal.describe(), "the journal did not close cleanly before reopening");
        }
        let opened = self.journal.open().map_err(OpenFailure::Open)?;
        settings.term = opened.term;
        settings.first_term = *self.first_term.get_or_insert(opened.term);
        let mut shard = Box::new(Shard::new(settings));
        let mut quarantined = load(self.journal.as_mut(), &mut shard)?;
        let volatile = shard.volatile_queues_with_jobs().next().map(|(name, jobs)| (name.to_string(), jobs));
        if let Some((queue, jobs)) = volatile {
            return Err(OpenFailure::Volatile { queue, jobs });
        }
        let mut twin = self.twin.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        twin.close().map_err(OpenFailure::Storage)?;
        let twin_term = twin.open().map_err(OpenFailure::Open)?.term;
        quarantined += load(&mut *twin, &mut shard)?;
        // A load leaves them out, but they are in memory and count.
        for checkpoint in twin.checkpoints() {
            if let Err(misfit) = shard.admit(checkpoint) {
                debug!(%misfit, "a checkpoint's job was moved aside");
            }
        }
        let twin_reader = twin.reader().map_err(OpenFailure::Storage)?;
        drop(twin);
        let reader = self.journal.reader().map_err(OpenFailure::Storage)?;
        (self.term, self.written, self.synced, self.failure) = (Some(opened.term), 0, 0, None);
        self.door.vitals.set_free_bytes(self.journal.free_bytes());
        let (live, retained, _) = shard.sizes();
        self.door.meters.loaded(began, live + retained);
        self.door.book.loaded();
        info!(journal = self.journal.describe(), term = opened.term, recovered = %opened.recovered, "journal opened");
        Ok(Opening { term: opened.term, shard, reader, twin_reader, twin_term, quarantined })
    }

    fn write(&mut self, wave: Wave, bytes: usize) {
        let Some(term) = self.term else { return };
        let last = wave.last;
        if !wave.changes.is_empty() {
            let batch = Batch { commit_no: CommitNo { term, step: last }, changes: wave.changes };
            let (began, timed) = (self.door.meters.begin(), self.door.book.begin());
            let underway = self.door.vitals.begin(JournalCall::Append);
            let answer = self.journal.append(&batch);
            drop(underway);
            match answer {
                Append::Ok => {
                    let bytes = bytes + CHANGE_BYTES * batch.changes.len();
                    self.door.meters.written(began, batch.changes.len(), bytes);
                    self.door.book.written(timed, batch.changes.len(), bytes);
                    self.unsynced_since.get_or_insert_with(Instant::now);
                    self.unsynced_bytes += bytes;
                }
                Append::Refused(_) | Append::Unknown(_) if bug!(WriteErrorSwallowed) => {}
                Append::Refused(error) => return self.broken(format!("a write was refused: {error}")),
                Append::Unknown(error) => return self.broken(format!("a write failed: {error}")),
                Append::Fenced { term } => return self.broken(format!("another owner has opened term {term}")),
            }
        }
        self.written = last;
        self.tell(QueueMsg::Written(last));
        let is_late = self.unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_INTERVAL_MAX);
        if wave.sync || is_late || self.unsynced_bytes >= UNSYNCED_BYTES_MAX {
            self.sync();
        }
    }

    fn sync(&mut self) {
        if self.term.is_none() {
            return;
        }
        if self.unsynced_since.is_some() {
            let (began, timed) = (self.door.meters.begin(), self.door.book.begin());
            let underway = self.door.vitals.begin(JournalCall::Sync);
            let synced = if bug!(SyncSkipped) { Ok(()) } else { self.journal.sync() };
            drop(underway);
            if let Err(error) = synced {
                return self.broken(format!("a sync failed: {error}"));
            }
            self.door.meters.synced(began);
            self.door.book.synced(timed);
            (self.unsynced_since, self.unsynced_bytes) = (None, 0);
        }
        self.synced = self.written;
        self.tell(QueueMsg::Synced(self.synced));
        self.is_unmarked = true;
        if self.watermark_at.is_none_or(|at| at.elapsed() >= SYNC_INTERVAL_MAX) {
            (self.watermark_at, self.is_unmarked) = (Some(Instant::now()), false);
            self.door.vitals.set_free_bytes(self.journal.free_bytes());
            let underway = self.door.vitals.begin(JournalCall::Watermark);
            let marked = self.journal.watermark();
            drop(underway);
            if let Err(error) = marked {
                self.broken(format!("the watermark could not be written: {error}"));
            }
        }
    }

    fn tell(&self, message: QueueMsg) {
        if let Some(queue) = &self.queue {
            // A queue actor that is gone is being rebuilt, and its marks mean nothing any more.
            let _ = queue.send_message(message);
        }
    }

    fn broken(&mut self, reason: String) {
        error!(journal = self.journal.describe(), reason, "the journal is poisoned until it is opened again");
        self.term = self.term.filter(|_| bug!(OkAfterFailure));
        (self.unsynced_since, self.unsynced_bytes) = (None, 0);
        self.is_unmarked = false;
        self.failure = Some(reason.clone());
        if let Some(supervisor) = &self.supervisor {
            let _ = supervisor.send_message(SupervisorMsg::JournalBroken(reason));
        }
    }

    fn close(&mut self) -> Result<(), StorageError> {
        let is_open = self.term.take().is_some();
        let synced = if is_open { self.journal.sync() } else { Ok(()) };
        if is_open && synced.is_ok() {
            self.tell(QueueMsg::Synced(self.written));
        }
        // Whatever came before, the directory is free afterwards.
        let closed = self.journal.close();
        synced.and(closed)?;
        match self.failure.take() {
            None => Ok(()),
            // It closed, and something that it was given before is not in it.
            Some(reason) => Err(StorageError::Other { place: self.journal.describe(), reason }),
        }
    }

    fn end(&mut self) {
        if let Err(error) = self.close() {
            error!(%error, journal = self.journal.describe(), "the journal did not close cleanly");
        }
    }
}

/// Later changes come after earlier ones, so joining is appending.
fn join(wave: &mut Wave, more: Wave) {
    wave.last = more.last;
    wave.sync |= more.sync;
    wave.changes.extend(more.changes);
}

/// Streams a journal into a core. Returns how many records were moved aside.
fn load(journal: &mut dyn Journal, shard: &mut Shard) -> Result<u64, OpenFailure> {
    let mut quarantined = 0;
    let loaded = journal.load(&mut |loaded| match loaded {
        Loaded::Record(record) => match shard.admit(record) {
            Ok(()) => None,
            Err(misfit) => {
                quarantined += 1;
                error!(%misfit, "a record makes no sense and is quarantined");
                Some(misfit.to_string())
            }
        },
        Loaded::Quarantined(record) => {
            quarantined += 1;
            error!(key = record.key, reason = record.reason, "a record cannot be read and is quarantined");
            None
        }
    });
    loaded.map_err(OpenFailure::Load)?;
    Ok(quarantined)
}
