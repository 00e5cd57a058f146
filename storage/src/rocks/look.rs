//! A look into a journal that nobody has open, without changing a byte of it.
//!
//! Owns how a damaged journal is opened for reading: what an opening would refuse is noted here, and reading goes on with what
//! there is. Never lets a look and an engine meet: it holds the journal's lock, together with others who look.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::{DB, IteratorMode};
use windlass_scheduler::change::{AttemptRecord, Record};
use windlass_scheduler::job::JobId;

use super::directory::{DATABASE, FORMAT, Locked, hold_to_read};
use super::options::{self, RocksOptions};
use super::reader::{Shared, handle};
use super::refusal::{open_error, storage_error};
use super::walk::{self, Entry, Gap};
use super::{QuarantineEntry, check_reach, load, own_records, tail, watermark};
use crate::codec::{self, Names};
use crate::error::{LoadError, OpenError, StorageError};
use crate::journal::{CommitNo, JournalDisk, Loaded, Reader};
use crate::keys::{self, Family, hex};
use crate::terms::Terms;

/// What the database knows of how many entries a family has, within a few.
const ENTRIES_ESTIMATE: &str = "rocksdb.estimate-num-keys";

/// A journal that nobody has open, held for reading until this is dropped: an engine that is started on it meanwhile is refused.
#[derive(Debug)]
pub struct RocksLook {
    path: PathBuf,
    shared: Arc<Shared>,
    /// Given up after the database.
    _held: Locked,
    terms: Terms,
    last: CommitNo,
    watermark: Option<CommitNo>,
    refusals: Vec<OpenError>,
}

/// A database that is open for reading, and what it says of itself.
pub(super) struct Found {
    pub(super) db: DB,
    pub(super) terms: Terms,
    pub(super) last: CommitNo,
}

impl RocksLook {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let held = hold_to_read(path)?;
        let database = path.join(DATABASE);
        let mut refusals = Vec::new();
        let mark = watermark::read(path).unwrap_or_else(|refusal| {
            refusals.push(refusal);
            None
        });
        if !database.join("CURRENT").exists() && mark.is_none() && refusals.is_empty() && !database.exists() {
            let (path, doing) = (path.to_owned(), "looking into it".to_owned());
            let reason = "no engine has opened it yet, so there is nothing in it".to_owned();
            return Err(OpenError::Io { path, doing, reason });
        }
        refusals.extend(tail::check(path, &database).err());
        let manifest = mark.and_then(|mark| mark.manifest);
        refusals.extend(manifest.and_then(|manifest| manifest.check(path, &database).err()));
        let Found { db, terms, last } = Found::open(path, &database, &mut refusals)?;
        if let Some(mark) = mark {
            refusals.extend(check_reach(path, mark.commit_no, Some(Ok(terms.position(last)))).err());
        }
        let (path, watermark) = (path.to_owned(), mark.map(|mark| mark.commit_no));
        Ok(Self { path, shared: Arc::new(Shared::new(db)), _held: held, terms, last, watermark, refusals })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The format of the directory.
    #[must_use]
    pub const fn format(&self) -> u32 {
        FORMAT
    }

    /// The last term: how often the journal was opened, where no other numbers were brought along. 0 before the first.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.terms.last()
    }

    /// The last commit.
    #[must_use]
    pub const fn commit_no(&self) -> CommitNo {
        self.last
    }

    /// The last commit that is known to have been synced; `None` where the file WATERMARK is missing or damaged.
    #[must_use]
    pub const fn watermark(&self) -> Option<CommitNo> {
        self.watermark
    }

    /// Why an engine would not open it; empty where it would, as far as can be told without opening it. What the look reads may then
    /// be less than what there was.
    #[must_use]
    pub fn refusals(&self) -> &[OpenError] {
        &self.refusals
    }

    /// What it takes on its disk.
    ///
    /// # Errors
    /// [`StorageError`] where the database does not say.
    pub fn disk(&self) -> Result<JournalDisk, StorageError> {
        Ok(self.shared.disk()?.unwrap_or_default())
    }

    /// How many entries there are, roughly: for those who show how far they are. 0 where nobody knows.
    #[must_use]
    pub fn entries_estimate(&self) -> u64 {
        let held = self.shared.hold();
        let Some(db) = held.as_ref() else { return 0 };
        let of = |family| db.property_int_value_cf(handle(db, family).ok()?, ENTRIES_ESTIMATE).ok().flatten();
        Family::ALL.into_iter().filter_map(of).sum()
    }

    /// Point reads and pages, from any thread, while this look lives.
    #[must_use]
    pub fn reader(&self) -> Arc<dyn Reader> {
        Arc::clone(&self.shared) as Arc<dyn Reader>
    }

    /// How the attempts of a job ended, as far as that is kept, the first one first.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] for a record that cannot be read.
    pub fn attempts(&self, id: JobId) -> Result<Vec<AttemptRecord>, StorageError> {
        let held = self.shared.hold();
        let db = held.as_ref().ok_or(StorageError::Closed)?;
        let bound = |no| {
            let mut bytes = Vec::new();
            keys::attempt(id, no, &mut bytes);
            bytes
        };
        let mut options = rocksdb::ReadOptions::default();
        options.set_iterate_lower_bound(bound(0));
        options.set_iterate_upper_bound(bound(u32::MAX));
        let mut records = db.raw_iterator_cf_opt(handle(db, Family::History)?, options);
        records.seek_to_first();
        let (mut attempts, mut names) = (Vec::new(), Names::default());
        while let Some((key, value)) = records.item() {
            let damaged = |reason| StorageError::Damaged { key: hex(key), reason };
            match codec::decode(Family::History, key, value, &mut names) {
                Ok(Record::Attempt(attempt)) => attempts.push(attempt),
                Ok(_) => return Err(damaged("it is not an attempt".to_owned())),
                Err(error) => return Err(damaged(error.to_string())),
            }
            records.next();
        }
        records.status().map_err(|error| storage_error(db.path(), "reading attempts", &error))?;
        Ok(attempts)
    }

    /// Tells every entry of a family as it stands, in the order of keys, and goes on behind what cannot be read. Reads each block
    /// of its tables, with RocksDB's checksums.
    ///
    /// # Errors
    /// [`LoadError::NewerRecord`] where a later version wrote one of them.
    pub fn entries(&self, family: Family, each: &mut dyn FnMut(&Entry<'_>)) -> Result<Vec<Gap>, LoadError> {
        let held = self.shared.hold();
        walk::walk(held.as_ref().ok_or(LoadError::Closed)?, family, each)
    }

    /// Streams what [`Journal::load`](crate::Journal::load) would, in its order, and moves nothing.
    ///
    /// # Errors
    /// [`LoadError`] where a load would end with one. It does not go on behind what cannot be read.
    pub fn load(&self, sink: &mut dyn FnMut(Loaded)) -> Result<(), LoadError> {
        let held = self.shared.hold();
        load::look_at_loaded(held.as_ref().ok_or(LoadError::Closed)?, sink)
    }

    /// Records that were moved aside, at most `limit`.
    ///
    /// # Errors
    /// [`StorageError`] where the entries themselves cannot be read.
    pub fn quarantine(&self, limit: usize) -> Result<Vec<QuarantineEntry>, StorageError> {
        let held = self.shared.hold();
        quarantine(&self.path, held.as_ref().ok_or(StorageError::Closed)?, limit)
    }
}

impl Drop for RocksLook {
    fn drop(&mut self) {
        // Whoever still has a reader must not keep the database past the lock.
        self.shared.close();
    }
}

impl Found {
    /// Opens a database for reading as an engine would, or else as far as it can be read; that it would not is noted.
    pub(super) fn open(path: &Path, database: &Path, refusals: &mut Vec<OpenError>) -> Result<Self, OpenError> {
        let bounds = RocksOptions::default();
        let open = |options: &rocksdb::Options| {
            DB::open_cf_descriptors_read_only(options, database, options::families(&bounds), false)
                .map_err(|error| open_error(path, &error))
        };
        let db = match open(&options::database(&bounds, false)) {
            Ok(db) => db,
            Err(refusal @ OpenError::Damaged { .. }) => {
                let db = open(&options::lenient(&bounds)).map_err(|_| refusal.clone())?;
                refusals.push(refusal);
                db
            }
            Err(refusal) => return Err(refusal),
        };
        match own_records(path, &db) {
            Ok((terms, last)) => Ok(Self { db, terms, last }),
            Err(refusal @ OpenError::NewerRecord { .. }) => Err(refusal),
            Err(refusal) => {
                refusals.push(refusal);
                let get = |key| db.get(key).ok().flatten();
                let terms = get(keys::TERMS).and_then(|value| codec::decode_terms(&value).ok()).unwrap_or_default();
                let last = get(keys::COMMIT).and_then(|value| codec::decode_commit(&value).ok()).unwrap_or_default();
                Ok(Self { db, terms: Terms::from_list(terms), last })
            }
        }
    }
}

/// Records that were moved aside, at most `limit`.
pub(super) fn quarantine(path: &Path, db: &DB, limit: usize) -> Result<Vec<QuarantineEntry>, StorageError> {
    let mut entries = Vec::new();
    for item in db.iterator_cf(handle(db, Family::Quarantine)?, IteratorMode::Start).take(limit) {
        let (key, value) = item.map_err(|error| storage_error(path, "reading the quarantine", &error))?;
        let entry = codec::decode_quarantine(&key, &value)
            .map_err(|error| StorageError::Damaged { key: hex(&key), reason: error.to_string() })?;
        let family = Family::ALL.into_iter().find(|family| family.no() == entry.family);
        entries.push(QuarantineEntry {
            family: family.map_or("unknown", Family::name).to_owned(),
            key: entry.key.to_vec(),
            kind: family.and_then(|family| keys::kind_word(family, entry.key)),
            reason: entry.reason.to_owned(),
            bytes: entry.bytes.to_vec(),
        });
    }
    Ok(entries)
}
