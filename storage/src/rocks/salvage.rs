//! What is left of a damaged journal, made a sound one.
//!
//! Owns the way from the one to the other, and decides nothing about records: whatever can be read is copied as it stands, and
//! then loaded by the journal's own load, which moves aside what cannot be used. Never writes into the damaged one. Where its
//! database does not open at all, a copy of its files is made a database anew, and that is read.

mod rebuild;

use std::fs;
use std::path::{Path, PathBuf};

use rocksdb::{DB, WriteBatch, WriteOptions};
use windlass_scheduler::change::{Change, Key, Record};
use windlass_scheduler::job::JobId;

use super::backup::read_through;
use super::directory::{DATABASE, hold_to_read, mark};
use super::look::Found;
use super::options::{self, RocksOptions};
use super::partial::Partial;
use super::reader::{handle, job_key, raw};
use super::refusal::{open_error, storage_error};
use super::walk::{Entry, Gap, walk};
use super::{RocksJournal, check_reach, tail, watermark};
use crate::backup::BackupReport;
use crate::codec::{self, Encoder, Names};
use crate::error::{BackupError, OpenError, StorageError};
use crate::journal::{Append, Batch, CommitNo, Journal as _, Loaded, Quarantined};
use crate::keys::{self, Family, history, meta};

/// Bytes that are copied with one write.
const COPIED_BYTES: usize = 4 << 20;

/// Who is told of a salvage while it goes on, and asked about what was found.
pub trait Salvager {
    /// An entry was found in the damaged journal. Where its database has to be made anew, all are told once more, after
    /// [`begins_anew`](Self::begins_anew).
    fn entry(&mut self, entry: &Entry<'_>);

    /// What was told of entries means nothing any more.
    fn begins_anew(&mut self);

    /// The new journal is loaded: as the sink of [`Journal::load`](crate::Journal::load).
    fn loaded(&mut self, loaded: Loaded) -> Option<String>;

    /// What has to be written after the load, so that what is left is in agreement with itself.
    fn settle(&mut self) -> Vec<Change>;
}

/// What became of a salvage.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SalvageReport {
    /// The new journal, as it was found by reading it through.
    pub copy: BackupReport,
    /// Why an engine would not have opened the damaged one.
    pub refusals: Vec<OpenError>,
    /// Keys between which RocksDB could not read.
    pub gaps: Vec<Gap>,
    /// Its database did not open, or hid more than single blocks, and was made anew from its files: tables with damage in them are
    /// left out whole.
    pub is_rebuilt: bool,
}

pub(super) fn salvage(from: &Path, to: &Path, salvager: &mut dyn Salvager) -> Result<SalvageReport, BackupError> {
    let partial = Partial::beside(to)?;
    let inside = |path: &Path| Some(fs::canonicalize(path).ok()?.starts_with(fs::canonicalize(from).ok()?));
    if inside(partial.parent()).unwrap_or(false) {
        return Err(BackupError::Inside { path: to.to_owned(), journal: from.to_owned() });
    }
    let _held = hold_to_read(from)?;
    let mut refusals = Vec::new();
    let mark = refusals_of(from, &mut refusals);
    let copied = partial.path().join(DATABASE);
    let found = match Found::open(from, &from.join(DATABASE), &mut refusals) {
        Ok(found) => Some(found),
        Err(refusal @ OpenError::Damaged { .. }) => {
            refusals.push(refusal);
            None
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let mut first = None;
    if let Some(found) = found {
        let gaps = copy(&found, mark, &copied, salvager)?;
        first = Some((found, gaps));
    }
    let hides = |gaps: &[Gap]| gaps.iter().any(|gap| gap.hides_rest);
    let (found, gaps, is_rebuilt) = match first {
        Some((found, gaps)) if !hides(&gaps) => (found, gaps, false),
        first => {
            let mut gaps = first.map(|(_, gaps)| gaps).unwrap_or_default();
            salvager.begins_anew();
            let found = rebuild::rebuild(&from.join(DATABASE), &scratch(&partial), &mut refusals)?;
            gaps.extend(copy(&found, mark, &copied, salvager)?);
            (found, gaps, true)
        }
    };
    if let Some(mark) = mark {
        refusals.extend(check_reach(from, mark, Some(Ok(found.terms.position(found.last)))).err());
    }
    settle(&partial, &found, salvager)?;
    drop(found);
    remove(&scratch(&partial))?;
    let (copy, _) = read_through(partial.path(), partial.target(), &RocksOptions::default())?;
    partial.keep()?;
    refusals.dedup();
    Ok(SalvageReport { copy, refusals, gaps, is_rebuilt })
}

/// What an opening would refuse before it opens the database, and the last commit that was known to be synced.
fn refusals_of(from: &Path, refusals: &mut Vec<OpenError>) -> Option<CommitNo> {
    let mark = watermark::read(from).unwrap_or_else(|refusal| {
        refusals.push(refusal);
        None
    });
    let database = from.join(DATABASE);
    refusals.extend(tail::check(from, &database).err());
    let manifest = mark.and_then(|mark| mark.manifest);
    refusals.extend(manifest.and_then(|manifest| manifest.check(from, &database).err()));
    mark.map(|mark| mark.commit_no)
}

fn scratch(partial: &Partial) -> PathBuf {
    partial.path().join("scratch")
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(BackupError::from_io(path, "removing what is not needed any more", &error))
        }
        _ => Ok(()),
    }
}

/// Copies all that can be seen into a new database at `to`.
fn copy(
    found: &Found,
    mark: Option<CommitNo>,
    to: &Path,
    salvager: &mut dyn Salvager,
) -> Result<Vec<Gap>, BackupError> {
    remove(to)?;
    let bounds = RocksOptions::default();
    let target = DB::open_cf_descriptors(&options::database(&bounds, true), to, options::families(&bounds))
        .map_err(|error| open_error(to, &error))?;
    let mut copying = Copying::new(&target, found.terms.last());
    let mut gaps = Vec::new();
    for family in Family::ALL {
        gaps.extend(walk(&found.db, family, &mut |entry| {
            salvager.entry(entry);
            copying.take(entry);
        })?);
    }
    copying.finish(found, mark)?;
    Ok(gaps)
}

/// Entries on their way into the new database.
struct Copying<'a> {
    target: &'a DB,
    batch: WriteBatch,
    encoder: Encoder,
    /// The term under which is quarantined what no load would move.
    term: u64,
    /// The latest term of any claims: no token may be given out twice.
    term_seen: u64,
    failure: Option<StorageError>,
}

impl<'a> Copying<'a> {
    fn new(target: &'a DB, term: u64) -> Self {
        let (batch, encoder) = (WriteBatch::new(), Encoder::default());
        Self { target, batch, encoder, term, term_seen: 0, failure: None }
    }

    fn take(&mut self, entry: &Entry<'_>) {
        if self.failure.is_none() {
            self.failure = self.put(entry).and_then(|()| self.write(COPIED_BYTES)).err();
        }
    }

    fn put(&mut self, entry: &Entry<'_>) -> Result<(), StorageError> {
        let (family, key) = (entry.family, entry.key);
        if family == Family::Meta && key.first() == Some(&meta::OWN) {
            return Ok(());
        }
        if let Some(Key::Claims(no)) = keys::decode(family, key, &mut |text| text.into()) {
            self.term_seen = self.term_seen.max(no.term);
        }
        // A load moves what is in its way. What it leaves to readers stands in nobody's.
        let is_loaded = match family {
            Family::Meta | Family::Jobs => true,
            Family::History => key.first().is_none_or(|first| *first < history::ATTEMPT),
            Family::Quarantine => false,
        };
        match &entry.content {
            Err(reason) if !is_loaded => {
                let moved = self.encoder.quarantine(self.term, family, key, reason, entry.bytes)?;
                self.batch.put_cf(handle(self.target, moved.family)?, moved.key, moved.value);
            }
            _ => self.batch.put_cf(handle(self.target, family)?, key, entry.bytes),
        }
        Ok(())
    }

    fn write(&mut self, from_bytes: usize) -> Result<(), StorageError> {
        if self.batch.size_in_bytes() < from_bytes {
            return Ok(());
        }
        let written = self.target.write_opt(std::mem::take(&mut self.batch), &WriteOptions::default());
        written.map_err(|error| storage_error(self.target.path(), "copying", &error))
    }

    /// The journal's own records, so that numbers go on rising; and everything synced.
    fn finish(mut self, found: &Found, mark: Option<CommitNo>) -> Result<(), StorageError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let known = found.terms.list().last().map_or(CommitNo::default(), |(_, recovered)| *recovered);
        let mut last = found.last.max(known).max(mark.unwrap_or_default());
        let term = found.terms.last().max(self.term_seen);
        last = last.max(CommitNo { term, step: 0 });
        let own = self.encoder.terms(found.terms.list())?;
        self.batch.put_cf(handle(self.target, own.family)?, own.key, own.value);
        let own = self.encoder.commit(last)?;
        self.batch.put_cf(handle(self.target, own.family)?, own.key, own.value);
        self.write(0)?;
        let synced = self.target.flush_wal(true);
        synced.map_err(|error| storage_error(self.target.path(), "syncing the copy", &error))
    }
}

/// Opens the new journal and loads it, so that what cannot be used is moved aside as ever.
fn settle(partial: &Partial, found: &Found, salvager: &mut dyn Salvager) -> Result<(), BackupError> {
    let place = partial.path();
    mark(place).map_err(|error| BackupError::from_io(place, "writing the file WINDLASS", &error))?;
    let mut journal = RocksJournal::at(place);
    let term = journal.open()?.term;
    journal.load(&mut |loaded| {
        if let Loaded::Record(Record::Ended(end)) = &loaded {
            // Without its body nothing could be done with it.
            if let Some(reason) = bodiless(&found.db, end.id) {
                let report = Quarantined { key: keys::hex(&job_key(end.id)), reason: reason.clone() };
                let _ = salvager.loaded(Loaded::Quarantined(report));
                return Some(reason);
            }
        }
        salvager.loaded(loaded)
    })?;
    let changes = salvager.settle();
    if !changes.is_empty() {
        match journal.append(&Batch { commit_no: CommitNo { term, step: 1 }, changes }) {
            Append::Ok => {}
            Append::Refused(error) | Append::Unknown(error) => return Err(error.into()),
            Append::Fenced { term } => return Err(StorageError::Fenced { term }.into()),
        }
    }
    journal.close()?;
    Ok(())
}

/// Why the body of a retained job cannot be read.
fn bodiless(db: &DB, id: JobId) -> Option<String> {
    let key = job_key(id);
    match raw(db, Family::Jobs, &key) {
        Ok(None) => Some(format!("job {id} ended, and its body is gone")),
        Ok(Some(value)) => {
            let error = codec::decode(Family::Jobs, &key, &value, &mut Names::default()).err()?;
            Some(format!("job {id} ended, and its body: {error}"))
        }
        Err(error) => Some(format!("job {id} ended, and its body: {error}")),
    }
}
