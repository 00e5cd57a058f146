//! Reads of what is written, from any thread, until the journal closes.
//!
//! Owns the shared database handle, because closing must be able to take it away from every reader. Never writes.

use std::fs;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use rocksdb::{ColumnFamily, DB, ReadOptions};
use windlass_scheduler::change::{EndedKey, EndedRecord, Key, Record};
use windlass_scheduler::job::{Body, JobId, Name};
use windlass_scheduler::state::EndState;

use super::refusal::storage_error;
use crate::codec::{self, Names};
use crate::error::StorageError;
use crate::journal::{JournalDisk, JournalMemory, Reader};
use crate::keys::{self, Family, hex};

const CACHE_USAGE: &str = "rocksdb.block-cache-usage";
const BUFFERS_USAGE: &str = "rocksdb.size-all-mem-tables";
/// Not the total, for which RocksDB walks over all versions of the tables.
const TABLES_SIZE: &str = "rocksdb.live-sst-files-size";

/// The database, while it is open.
#[derive(Debug)]
pub(super) struct Shared(RwLock<Option<DB>>);

/// The database, held open.
pub(super) type Held<'a> = RwLockReadGuard<'a, Option<DB>>;

impl Shared {
    pub(super) const fn new(db: DB) -> Self {
        Self(RwLock::new(Some(db)))
    }

    /// Holds the database open until the answer is dropped.
    pub(super) fn hold(&self) -> Held<'_> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the reads under way, and closes the database.
    pub(super) fn close(&self) {
        drop(self.0.write().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The family's handle. It is there in every database that opened: the families are named at open.
pub(super) fn handle(db: &DB, family: Family) -> Result<&ColumnFamily, StorageError> {
    db.cf_handle(family.name()).ok_or_else(|| StorageError::Io {
        path: db.path().to_owned(),
        doing: format!("looking for the family {}", family.name()),
        reason: "it is not there".to_owned(),
    })
}

impl Reader for Shared {
    fn get(&self, key: &Key) -> Result<Option<Record>, StorageError> {
        let held = self.hold();
        let db = held.as_ref().ok_or(StorageError::Closed)?;
        // A job and its head must be of one moment.
        let snapshot = db.snapshot();
        let mut bytes = Vec::new();
        let get = |family: Family, key: &[u8]| -> Result<Option<Record>, StorageError> {
            let value = snapshot
                .get_cf(handle(db, family)?, key)
                .map_err(|error| storage_error(db.path(), "reading a record", &error))?;
            value.map(|value| decode(family, key, &value)).transpose()
        };
        let family = keys::encode(key, &mut bytes)?;
        let record = get(family, &bytes)?;
        let Some(Record::Job(mut job)) = record else { return Ok(record) };
        bytes.clear();
        keys::head(job.id, &mut bytes);
        if let Some(Record::Head(_, head)) = get(Family::Jobs, &bytes)? {
            job.head = head;
        }
        Ok(Some(Record::Job(job)))
    }

    fn body(&self, id: JobId) -> Result<Option<Arc<Body>>, StorageError> {
        let held = self.hold();
        let db = held.as_ref().ok_or(StorageError::Closed)?;
        let key = job_key(id);
        let value = db
            .get_pinned_cf(handle(db, Family::Jobs)?, &key)
            .map_err(|error| storage_error(db.path(), "reading a body", &error))?;
        match value.map(|value| decode(Family::Jobs, &key, &value)).transpose()? {
            Some(Record::Job(job)) => Ok(Some(job.body)),
            _ => Ok(None),
        }
    }

    fn memory(&self) -> Result<JournalMemory, StorageError> {
        let held = self.hold();
        let db = held.as_ref().ok_or(StorageError::Closed)?;
        // One cache serves all families.
        let mut memory = JournalMemory { cache_bytes: property(db, Family::Jobs, CACHE_USAGE)?, buffers_bytes: 0 };
        for family in Family::ALL {
            memory.buffers_bytes += property(db, family, BUFFERS_USAGE)?;
        }
        Ok(memory)
    }

    fn disk(&self) -> Result<Option<JournalDisk>, StorageError> {
        let held = self.hold();
        let db = held.as_ref().ok_or(StorageError::Closed)?;
        let mut disk = JournalDisk { tables_bytes: 0, log_bytes: log_bytes(db.path()) };
        for family in Family::ALL {
            disk.tables_bytes += property(db, family, TABLES_SIZE)?;
        }
        Ok(Some(disk))
    }

    fn ended(
        &self,
        queue: &Name,
        state: EndState,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<EndedRecord>, StorageError> {
        let held = self.hold();
        let db = held.as_ref().ok_or(StorageError::Closed)?;
        let key = |end_no| {
            let mut bytes = Vec::new();
            keys::ended(&EndedKey { queue: queue.clone(), state, end_no }, &mut bytes).map(|_| bytes)
        };
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(key(0)?);
        options.set_iterate_upper_bound(key(before.unwrap_or(u64::MAX))?);
        let mut records = db.raw_iterator_cf_opt(handle(db, Family::History)?, options);
        records.seek_to_last();
        let mut page = Vec::new();
        let mut names = Names::default();
        while page.len() < limit {
            let Some((key, value)) = records.item() else { break };
            match codec::decode(Family::History, key, value, &mut names) {
                Ok(Record::Ended(ended)) => page.push(*ended),
                Ok(_) => return Err(damaged(key, "it is not an end")),
                Err(error) => return Err(damaged(key, &error.to_string())),
            }
            records.prev();
        }
        records.status().map_err(|error| storage_error(db.path(), "reading ended jobs", &error))?;
        Ok(page)
    }
}

/// The value under a job's key or its head's, as it is.
pub(super) fn raw(db: &DB, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
    db.get_cf(handle(db, family)?, key).map_err(|error| storage_error(db.path(), "reading a record", &error))
}

/// A number that the database knows of a family; 0 where it does not.
fn property(db: &DB, family: Family, name: &str) -> Result<u64, StorageError> {
    let value = db.property_int_value_cf(handle(db, family)?, name);
    Ok(value.map_err(|error| storage_error(db.path(), "reading a property", &error))?.unwrap_or_default())
}

/// Bytes of the log's files: all families share them. One that goes meanwhile counts nothing.
fn log_bytes(directory: &Path) -> u64 {
    let Ok(files) = fs::read_dir(directory) else { return 0 };
    let logs = files.flatten().filter(|file| file.path().extension().is_some_and(|kind| kind == "log"));
    logs.filter_map(|log| log.metadata().ok()).map(|log| log.len()).sum()
}

/// The bytes of a job's key.
pub(super) fn job_key(id: JobId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(keys::jobs::KEY_BYTES);
    keys::job(id, &mut bytes);
    bytes
}

fn decode(family: Family, key: &[u8], value: &[u8]) -> Result<Record, StorageError> {
    codec::decode(family, key, value, &mut Names::default()).map_err(|error| damaged(key, &error.to_string()))
}

fn damaged(key: &[u8], reason: &str) -> StorageError {
    StorageError::Damaged { key: hex(key), reason: reason.to_owned() }
}
