//! The disk of a simulation: it fails, it dies, and it tells what it took.

use std::sync::Arc;

use windlass_scheduler::change::{Change, Record};
use windlass_scheduler::history::{Commit, What};
use windlass_storage::{
    Append, Batch, Capabilities, CommitNo, Journal, LoadError, Loaded, MemoryJournal, OpenError, Opened, Reader,
    Resolution, StorageError,
};

use super::faults::Place;
use super::recorder::Recorder;

const PLACE: &str = "the simulated disk";

/// One life's handle on the disk.
pub(crate) struct SimJournal {
    inner: MemoryJournal,
    recorder: Arc<Recorder>,
    is_poisoned: bool,
    last: Option<Commit>,
}

/// How an append goes wrong.
#[derive(Clone, Copy)]
enum Wrong {
    Refused,
    Written,
    Absent,
    Panic,
    PanicWritten,
}

fn failure() -> StorageError {
    StorageError::Other { place: PLACE.to_owned(), reason: "a fault of the simulation".to_owned() }
}

/// A panic that the process's hook does not print: there may be thousands, and none is a surprise.
fn panic_unheard(text: &'static str) -> ! {
    std::panic::resume_unwind(Box::new(text))
}

fn commit(no: CommitNo) -> Commit {
    Commit { term: no.term, n: no.step }
}

impl SimJournal {
    pub(crate) fn new(inner: MemoryJournal, recorder: Arc<Recorder>) -> Self {
        Self { inner, recorder, is_poisoned: false, last: None }
    }

    /// The process is dead: what it still asks for does not happen.
    fn is_dead(&self) -> bool {
        self.recorder.tale().is_none()
    }

    fn fails(&self) -> bool {
        self.recorder.tale().is_some_and(|mut tale| {
            let permille = tale.faults.store_permille;
            tale.chance.permille(permille)
        })
    }

    fn wrong(&self) -> Option<Wrong> {
        let ways = [Wrong::Refused, Wrong::Written, Wrong::Absent, Wrong::Panic, Wrong::PanicWritten];
        let mut tale = self.recorder.tale()?;
        let permille = tale.faults.store_permille;
        if !tale.chance.permille(permille) {
            return None;
        }
        let way = tale.chance.below(ways.len() as u64);
        ways.into_iter().nth(usize::try_from(way).unwrap_or(0))
    }

    fn write(&mut self, batch: &Batch) -> Append {
        let answer = self.inner.append(batch);
        if matches!(answer, Append::Ok) {
            self.last = Some(commit(batch.commit_no));
            self.recorder.say(What::Committed(commit(batch.commit_no)));
            if let Some(mut tale) = self.recorder.tale() {
                let now_ms = tale.now_ms();
                for change in &batch.changes {
                    if let Change::Put(Record::Ended(ended)) = change
                        && let Some(facts) = tale.facts.get_mut(&ended.id)
                    {
                        facts.end = Some((ended.key.state, now_ms));
                    }
                }
            }
        }
        answer
    }

    fn broke(&mut self) {
        self.is_poisoned = true;
        self.recorder.say(What::StoreBroke);
    }
}

impl Journal for SimJournal {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn describe(&self) -> String {
        PLACE.to_owned()
    }

    fn open(&mut self) -> Result<Opened, OpenError> {
        if self.is_dead() || self.fails() {
            return Err(OpenError::Other { place: PLACE.to_owned(), reason: "a fault of the simulation".to_owned() });
        }
        let opened = self.inner.open()?;
        self.is_poisoned = false;
        let recovered = (opened.recovered != CommitNo::default()).then(|| commit(opened.recovered));
        self.last = recovered;
        self.recorder.say(What::StoreOpened { term: opened.term, recovered });
        // What it found, it has made durable.
        if let Some(recovered) = recovered {
            self.recorder.say(What::Synced(recovered));
        }
        Ok(opened)
    }

    fn load(&mut self, sink: &mut dyn FnMut(Loaded) -> Option<String>) -> Result<(), LoadError> {
        if self.is_dead() || self.fails() {
            self.broke();
            return Err(LoadError::Unreadable(failure()));
        }
        self.inner.load(sink)
    }

    fn append(&mut self, batch: &Batch) -> Append {
        if self.is_dead() || self.recorder.reaches(Place::BeforeAppend) || self.is_poisoned {
            return Append::Unknown(failure().poisoned());
        }
        let answer = match self.wrong() {
            None => self.write(batch),
            Some(Wrong::Refused) => {
                self.recorder.say(What::StoreBroke);
                Append::Refused(failure())
            }
            Some(Wrong::Absent) => {
                self.broke();
                Append::Unknown(failure())
            }
            Some(Wrong::Written) => {
                let _ = self.write(batch);
                self.broke();
                Append::Unknown(failure())
            }
            Some(Wrong::Panic) => {
                self.broke();
                panic_unheard("a panic of the simulation, before a write")
            }
            Some(Wrong::PanicWritten) => {
                let _ = self.write(batch);
                self.broke();
                panic_unheard("a panic of the simulation, after a write")
            }
        };
        if self.recorder.reaches(Place::AfterAppend) {
            return Append::Unknown(failure().poisoned());
        }
        answer
    }

    fn resolve(&mut self, commit_no: CommitNo) -> Result<Resolution, StorageError> {
        self.inner.resolve(commit_no)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        if self.is_dead() || self.recorder.reaches(Place::BeforeSync) || self.is_poisoned {
            return Err(failure().poisoned());
        }
        if self.fails() {
            self.broke();
            return Err(failure());
        }
        self.inner.sync()?;
        if let Some(last) = self.last {
            self.recorder.say(What::Synced(last));
        }
        if self.recorder.reaches(Place::AfterSync) {
            return Err(failure().poisoned());
        }
        Ok(())
    }

    fn set_memory(&mut self, bytes: u64) -> u64 {
        self.inner.set_memory(bytes)
    }

    fn free_bytes(&self) -> Option<u64> {
        self.inner.free_bytes()
    }

    fn reader(&self) -> Result<Arc<dyn Reader>, StorageError> {
        self.inner.reader()
    }

    fn close(&mut self) -> Result<(), StorageError> {
        if self.is_dead() {
            return Ok(());
        }
        let was_poisoned = std::mem::take(&mut self.is_poisoned);
        self.inner.close()?;
        if was_poisoned { Err(failure().poisoned()) } else { Ok(()) }
    }
}
