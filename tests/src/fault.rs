//! A journal that fails, waits and panics on demand.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use windlass::MemoryJournal;
use windlass::storage::{
    Append, Batch, Capabilities, CommitNo, Journal, LoadError, Loaded, OpenError, Opened, Quarantined, Reader,
    Resolution, StorageError,
};
use windlass_scheduler::change::{EndedRecord, Key, Record};
use windlass_scheduler::job::{Body, JobId, Name};
use windlass_scheduler::state::EndState;

/// How an append goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendFault {
    /// A clear no: nothing was written.
    Refused,
    /// Unknown, and in truth it was written.
    UnknownWritten,
    /// Unknown, and in truth nothing was written.
    UnknownAbsent,
    /// It panics before it writes.
    Panic,
    /// It panics after it wrote.
    PanicWritten,
}

/// How something else goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error.
    Error,
    /// A panic.
    Panic,
}

/// What calls are stopped at a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Appends.
    Append,
    /// Syncs.
    Sync,
}

type AppendHook = Box<dyn FnMut(&Batch) -> Option<AppendFault> + Send>;
type RecordHook = Arc<dyn Fn(&Record) -> bool + Send + Sync>;
type ReadHook = Box<dyn FnMut(JobId) -> Option<StorageError> + Send>;

#[derive(Default)]
struct State {
    appends: u64,
    syncs: u64,
    opens: u64,
    hook: Option<AppendHook>,
    unreadable: Option<RecordHook>,
    on_read: Option<ReadHook>,
    reads: Vec<JobId>,
    on_append: VecDeque<AppendFault>,
    on_sync: VecDeque<Fault>,
    on_open: VecDeque<Fault>,
    on_load: VecDeque<Fault>,
    batches: Vec<Batch>,
    free_bytes: Option<u64>,
    memory_bytes: Option<u64>,
    held: Vec<Call>,
    waiting: Vec<Call>,
}

/// The remote control of a [`FaultJournal`]; clones control the same journals.
#[derive(Clone, Default)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    released: Arc<Condvar>,
    changed: Arc<Notify>,
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next append goes wrong so; several are taken one after the other.
    pub fn on_append(&self, fault: AppendFault) {
        self.lock().on_append.push_back(fault);
    }

    /// Judges every append before it is made; given faults by [`on_append`](Self::on_append) come first.
    pub fn judge_appends(&self, hook: impl FnMut(&Batch) -> Option<AppendFault> + Send + 'static) {
        self.lock().hook = Some(Box::new(hook));
    }

    /// The next sync goes wrong so.
    pub fn on_sync(&self, fault: Fault) {
        self.lock().on_sync.push_back(fault);
    }

    /// The next opening goes wrong so.
    pub fn on_open(&self, fault: Fault) {
        self.lock().on_open.push_back(fault);
    }

    /// The next loading goes wrong so.
    pub fn on_load(&self, fault: Fault) {
        self.lock().on_load.push_back(fault);
    }

    /// Records of which this is true cannot be read from now on: they are moved aside when they are loaded.
    pub fn damage(&self, is_damaged: impl Fn(&Record) -> bool + Send + Sync + 'static) {
        self.lock().unreadable = Some(Arc::new(is_damaged));
    }

    /// Judges every read of a job's record, or of its body, before it is made.
    pub fn judge_reads(&self, hook: impl FnMut(JobId) -> Option<StorageError> + Send + 'static) {
        self.lock().on_read = Some(Box::new(hook));
    }

    /// The jobs whose bodies alone were read, in order.
    pub fn reads(&self) -> Vec<JobId> {
        self.lock().reads.clone()
    }

    /// So many bytes are free on the disk from now on.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.lock().free_bytes = Some(bytes);
    }

    /// The journal's own bounds allow it so much memory, whatever share it is given.
    pub fn set_memory_bytes(&self, bytes: u64) {
        self.lock().memory_bytes = Some(bytes);
    }

    /// Stops these calls at a gate until [`release`](Self::release). Only where the writer has a thread of its own.
    pub fn hold(&self, call: Call) {
        self.lock().held.push(call);
    }

    /// Opens the gate.
    pub fn release(&self, call: Call) {
        self.lock().held.retain(|held| *held != call);
        self.released.notify_all();
    }

    /// Waits until such a call stands at its gate.
    pub async fn stands_at_the_gate(&self, call: Call) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.lock().waiting.contains(&call) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until so many syncs were made.
    pub async fn synced(&self, times: u64) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.lock().syncs >= times {
                return;
            }
            changed.await;
        }
    }

    /// Appends that came through.
    pub fn appends(&self) -> u64 {
        self.lock().appends
    }

    /// Syncs that came through.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Openings that came through.
    pub fn opens(&self) -> u64 {
        self.lock().opens
    }

    /// Every batch that was written.
    pub fn batches(&self) -> Vec<Batch> {
        self.lock().batches.clone()
    }

    /// The next fault of an append, and whether it has to be asked for.
    fn judge(&self, batch: &Batch) -> Option<AppendFault> {
        let mut state = self.lock();
        if let Some(fault) = state.on_append.pop_front() {
            return Some(fault);
        }
        let mut hook = state.hook.take()?;
        drop(state);
        let fault = hook(batch);
        self.lock().hook.get_or_insert(hook);
        fault
    }

    fn pass_gate(&self, call: Call) {
        let mut state = self.lock();
        while state.held.contains(&call) {
            state.waiting.push(call);
            self.changed.notify_waiters();
            state = self.released.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting.retain(|waiting| *waiting != call);
        }
    }

    fn note(&self, note: impl FnOnce(&mut State)) {
        note(&mut self.lock());
        self.changed.notify_waiters();
    }
}

/// A journal in memory that does what its [`Faults`] say.
pub struct FaultJournal {
    inner: MemoryJournal,
    faults: Faults,
    is_poisoned: bool,
}

impl FaultJournal {
    /// Around this journal, with faults of its own.
    pub fn new(inner: MemoryJournal) -> Self {
        Self::with_faults(inner, Faults::default())
    }

    /// Around this journal, with these faults.
    pub fn with_faults(inner: MemoryJournal, faults: Faults) -> Self {
        Self { inner, faults, is_poisoned: false }
    }

    /// Its remote control.
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    fn load_readable(&mut self, sink: &mut dyn FnMut(Loaded) -> Option<String>) -> Result<(), LoadError> {
        let unreadable = self.faults.lock().unreadable.clone();
        self.inner.load(&mut |loaded| match loaded {
            Loaded::Record(record) if unreadable.as_ref().is_some_and(|is_damaged| is_damaged(&record)) => {
                let _ = sink(Loaded::Quarantined(Quarantined { key: "7f".to_owned(), reason: "damaged".to_owned() }));
                Some("damaged".to_owned())
            }
            loaded => sink(loaded),
        })
    }

    fn write(&mut self, batch: &Batch) -> Append {
        let answer = self.inner.append(batch);
        if matches!(answer, Append::Ok) {
            self.faults.note(|state| {
                state.appends += 1;
                state.batches.push(batch.clone());
            });
        }
        answer
    }
}

fn failure() -> StorageError {
    StorageError::Other { place: "the simulated disk".to_owned(), reason: "a fault that the test asked for".to_owned() }
}

fn poisoned() -> StorageError {
    failure().poisoned()
}

impl Journal for FaultJournal {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn describe(&self) -> String {
        "a simulated disk".to_owned()
    }

    fn open(&mut self) -> Result<Opened, OpenError> {
        let fault = self.faults.lock().on_open.pop_front();
        match fault {
            Some(Fault::Panic) => panic!("an open that panics"),
            Some(Fault::Error) => {
                let (place, reason) = ("the simulated disk".to_owned(), "a fault that the test asked for".to_owned());
                return Err(OpenError::Other { place, reason });
            }
            None => {}
        }
        let opened = self.inner.open()?;
        self.is_poisoned = false;
        self.faults.note(|state| state.opens += 1);
        Ok(opened)
    }

    fn load(&mut self, sink: &mut dyn FnMut(Loaded) -> Option<String>) -> Result<(), LoadError> {
        let fault = self.faults.lock().on_load.pop_front();
        match fault {
            Some(Fault::Panic) => panic!("a load that panics"),
            Some(Fault::Error) => Err(LoadError::Unreadable(failure())),
            None => self.load_readable(sink),
        }
    }

    fn append(&mut self, batch: &Batch) -> Append {
        self.faults.pass_gate(Call::Append);
        if self.is_poisoned {
            return Append::Unknown(poisoned());
        }
        match self.faults.judge(batch) {
            None => self.write(batch),
            Some(AppendFault::Refused) => Append::Refused(failure()),
            Some(AppendFault::Panic) => panic!("an append that panics"),
            Some(AppendFault::PanicWritten) => {
                let _ = self.write(batch);
                panic!("an append that panics after it wrote")
            }
            Some(AppendFault::UnknownAbsent) => {
                self.is_poisoned = true;
                Append::Unknown(failure())
            }
            Some(AppendFault::UnknownWritten) => {
                let _ = self.write(batch);
                self.is_poisoned = true;
                Append::Unknown(failure())
            }
        }
    }

    fn resolve(&mut self, commit_no: CommitNo) -> Result<Resolution, StorageError> {
        self.inner.resolve(commit_no)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.faults.pass_gate(Call::Sync);
        if self.is_poisoned {
            return Err(poisoned());
        }
        let fault = self.faults.lock().on_sync.pop_front();
        match fault {
            Some(Fault::Panic) => panic!("a sync that panics"),
            Some(Fault::Error) => {
                self.is_poisoned = true;
                return Err(failure());
            }
            None => {}
        }
        self.inner.sync()?;
        self.faults.note(|state| state.syncs += 1);
        Ok(())
    }

    fn set_memory(&mut self, bytes: u64) -> u64 {
        let answer = self.inner.set_memory(bytes);
        self.faults.lock().memory_bytes.unwrap_or(answer)
    }

    fn free_bytes(&self) -> Option<u64> {
        self.faults.lock().free_bytes.or_else(|| self.inner.free_bytes())
    }

    fn reader(&self) -> Result<Arc<dyn Reader>, StorageError> {
        Ok(Arc::new(FaultReader { inner: self.inner.reader()?, faults: self.faults.clone() }))
    }

    fn close(&mut self) -> Result<(), StorageError> {
        let was_poisoned = std::mem::take(&mut self.is_poisoned);
        self.inner.close()?;
        if was_poisoned { Err(poisoned()) } else { Ok(()) }
    }
}

/// A reader whose reads of bodies fail on demand.
struct FaultReader {
    inner: Arc<dyn Reader>,
    faults: Faults,
}

impl Reader for FaultReader {
    fn get(&self, key: &Key) -> Result<Option<Record>, StorageError> {
        if let Key::Job(id) = key
            && let Some(error) = self.faults.lock().on_read.as_mut().and_then(|hook| hook(*id))
        {
            return Err(error);
        }
        self.inner.get(key)
    }

    fn body(&self, id: JobId) -> Result<Option<Arc<Body>>, StorageError> {
        let mut state = self.faults.lock();
        if let Some(error) = state.on_read.as_mut().and_then(|hook| hook(id)) {
            return Err(error);
        }
        state.reads.push(id);
        drop(state);
        self.inner.body(id)
    }

    fn ended(
        &self,
        queue: &Name,
        state: EndState,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<EndedRecord>, StorageError> {
        self.inner.ended(queue, state, before, limit)
    }
}
