//! Streaming what is remembered, and moving aside what cannot be used.
//!
//! Owns the walk over the families and the quarantine. Never deletes a record whose bytes it has not written elsewhere
//! in the same synced batch, and never believes a job whose head it cannot read: it would run with its attempts
//! forgotten. Moves nothing in a journal that holds a record of a later version: it is not damaged, and the version
//! that wrote it wants it where it is.

mod ahead;

use rocksdb::{DB, DBRawIterator, ReadOptions, WriteBatch, WriteOptions};
use windlass_scheduler::bug;
use windlass_scheduler::change::{JobRecord, Key, Record};
use windlass_scheduler::job::JobId;

use super::reader::{handle, job_key, raw};
use super::refusal::storage_error;
use crate::codec::{self, Encoded, Encoder, Names};
use crate::error::{LoadError, StorageError};
use crate::journal::{Loaded, Quarantined};
use crate::keys::{self, Family, hex, history, meta};

/// Bytes that are moved aside with one sync; what belongs together may exceed it.
const MOVED_BYTES_MAX: usize = 4 << 20;
/// Bytes that the disk reads ahead of the walk.
const READ_AHEAD_BYTES: usize = 2 << 20;

/// Takes what is loaded.
type Sink<'a> = &'a mut dyn FnMut(Loaded);

/// A record that its taker found to make no sense.
struct Misfit {
    key: Key,
    /// The job whose end it is.
    end: Option<JobId>,
    reason: String,
}

/// Streams everything. `term` is the current one: it keeps apart what is moved aside at different times. `take` answers with a
/// reason to a record that makes no sense.
pub(super) fn load(db: &DB, term: u64, take: &mut dyn FnMut(Loaded) -> Option<String>) -> Result<(), LoadError> {
    ahead::load(db, term, take)
}

/// Streams everything, attempts and results too, and moves nothing: the database may be open for reading alone.
pub(super) fn look(db: &DB, sink: Sink<'_>) -> Result<(), LoadError> {
    let mut load = Load::new(db, 0, sink, true);
    load.all()?;
    load.plain(Family::History, history::ATTEMPT..u8::MAX)
}

/// Streams what a load does, and moves nothing.
pub(super) fn look_at_loaded(db: &DB, sink: Sink<'_>) -> Result<(), LoadError> {
    Load::new(db, 0, sink, true).all()
}

struct Load<'a> {
    db: &'a DB,
    term: u64,
    sink: Sink<'a>,
    /// How much it has been given.
    given: usize,
    /// Of a chunk alone: whoever takes the next one lets go of them elsewhere.
    names: Names,
    /// Jobs whose end was streamed, sorted when the jobs come: their bodies are only retained.
    ended: Vec<JobId>,
    encoder: Encoder,
    moved: WriteBatch,
    /// No record has a later version, those that the walk has not reached yet among them.
    all_known: bool,
    /// Nothing is moved.
    only_looks: bool,
}

impl<'a> Load<'a> {
    fn new(db: &'a DB, term: u64, sink: Sink<'a>, only_looks: bool) -> Self {
        Self {
            db,
            term,
            sink,
            given: 0,
            names: Names::default(),
            ended: Vec::new(),
            encoder: Encoder::default(),
            moved: WriteBatch::new(),
            all_known: false,
            only_looks,
        }
    }

    fn all(&mut self) -> Result<(), LoadError> {
        self.plain(Family::Meta, meta::SETTING..meta::CLAIMS)?;
        self.plain(Family::History, history::ENDED..history::ATTEMPT)?;
        self.ended.sort_unstable();
        self.jobs()?;
        self.plain(Family::Meta, meta::CLAIMS..u8::MAX)
    }

    /// Streams records that stand for themselves, whose keys begin in this range.
    fn plain(&mut self, family: Family, first: std::ops::Range<u8>) -> Result<(), LoadError> {
        let mut records = self.records(family, Some(first))?;
        while let Some((key, value)) = records.item() {
            known(family, key, value)?;
            match codec::decode(family, key, value, &mut self.names) {
                Ok(record) => {
                    self.ended.extend(end_of(&record));
                    self.give(Loaded::Record(record));
                }
                Err(error) => {
                    let reason = error.to_string();
                    self.aside(family, key, value, &reason)?;
                    if family == Family::History {
                        self.retained_aside(codec::ended_id_guess(value), &reason)?;
                    }
                    self.report(key, reason);
                }
            }
            records.next();
            self.relieve()?;
        }
        self.finished(&records)
    }

    /// Streams jobs, each with the head that stands next to it.
    fn jobs(&mut self) -> Result<(), LoadError> {
        let mut records = self.records(Family::Jobs, None)?;
        // Both are sorted, so one walk over each finds them.
        let ended = std::mem::take(&mut self.ended);
        let mut ended = ended.iter().peekable();
        while let Some((key, value)) = records.item() {
            known(Family::Jobs, key, value)?;
            let id = match keys::decode(Family::Jobs, key, &mut |text| self.names.intern(text)) {
                Some(windlass_scheduler::change::Key::Job(id)) => id,
                other => {
                    let reason = if other.is_some() { "a head without its job" } else { "the key has no known form" };
                    self.aside(Family::Jobs, key, value, reason)?;
                    self.report(key, reason.to_owned());
                    records.next();
                    self.relieve()?;
                    continue;
                }
            };
            while ended.next_if(|end| **end < id).is_some() {}
            let retained = ended.peek() == Some(&&id);
            let mut job = (!retained).then(|| codec::decode(Family::Jobs, key, value, &mut self.names));
            records.next();
            let head = match records.item() {
                Some((key, value)) if key.split_last() == Some((&keys::jobs::HEAD, id.0.as_bytes())) => {
                    known(Family::Jobs, key, value)?;
                    let head = codec::decode(Family::Jobs, key, value, &mut self.names);
                    records.next();
                    Some(head)
                }
                _ => None,
            };
            if retained && head.is_some() {
                // Ended and alive at once: the core has to judge that.
                let key = job_key(id);
                let value = raw(self.db, Family::Jobs, &key).map_err(LoadError::Unreadable)?.unwrap_or_default();
                job = Some(codec::decode(Family::Jobs, &key, &value, &mut self.names));
            }
            if let Some(job) = job {
                self.job(id, job, head)?;
                self.relieve()?;
            }
        }
        self.finished(&records)
    }

    fn job(
        &mut self,
        id: JobId,
        job: Result<Record, codec::CodecError>,
        head: Option<Result<Record, codec::CodecError>>,
    ) -> Result<(), LoadError> {
        match join(job, head) {
            Ok(job) => self.give(Loaded::Record(Record::Job(job))),
            Err(reason) => {
                self.job_aside(id, &reason)?;
                self.report(&job_key(id), reason);
            }
        }
        Ok(())
    }

    fn job_aside(&mut self, id: JobId, reason: &str) -> Result<(), LoadError> {
        let mut key = job_key(id);
        for tag in [keys::jobs::JOB, keys::jobs::HEAD] {
            key[keys::jobs::KEY_BYTES - 1] = tag;
            if let Some(value) = raw(self.db, Family::Jobs, &key).map_err(LoadError::Unreadable)? {
                self.aside(Family::Jobs, &key, &value, reason)?;
            }
        }
        Ok(())
    }

    /// What the taker found to make no sense: known when the walk is over.
    fn misfit(&mut self, misfit: &Misfit) -> Result<(), LoadError> {
        let Misfit { key, end, reason } = misfit;
        if let Key::Job(id) = key {
            self.job_aside(*id, reason)?;
        } else {
            let (family, key) = self.encoder.key(key).map_err(LoadError::NotMoved)?;
            let key = key.to_vec();
            if let Some(value) = raw(self.db, family, &key).map_err(LoadError::Unreadable)? {
                self.aside(family, &key, &value, reason)?;
            }
            self.retained_aside(*end, reason)?;
        }
        self.relieve()
    }

    fn give(&mut self, loaded: Loaded) {
        (self.sink)(loaded);
        self.given += 1;
        if self.given.is_multiple_of(ahead::CHUNK) {
            self.names = Names::default();
        }
    }

    /// The body of a job whose end goes: without its end it would come to life again.
    fn retained_aside(&mut self, id: Option<JobId>, reason: &str) -> Result<(), LoadError> {
        let Some(id) = id else { return Ok(()) };
        let (key, mut head) = (job_key(id), job_key(id));
        head[keys::jobs::KEY_BYTES - 1] = keys::jobs::HEAD;
        let raw = |key: &[u8]| raw(self.db, Family::Jobs, key).map_err(LoadError::Unreadable);
        if let (Some(value), None) = (raw(&key)?, raw(&head)?) {
            self.aside(Family::Jobs, &key, &value, reason)?;
            // The walk over the jobs sees it, unless the move is written before that begins.
            self.ended.push(id);
        }
        Ok(())
    }

    fn records(&self, family: Family, first: Option<std::ops::Range<u8>>) -> Result<DBRawIterator<'a>, LoadError> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_readahead_size(READ_AHEAD_BYTES);
        if let Some(first) = first {
            options.set_iterate_lower_bound([first.start]);
            options.set_iterate_upper_bound([first.end]);
        }
        let family = handle(self.db, family).map_err(LoadError::Unreadable)?;
        let mut records = self.db.raw_iterator_cf_opt(family, options);
        records.seek_to_first();
        Ok(records)
    }

    fn finished(&self, records: &DBRawIterator<'_>) -> Result<(), LoadError> {
        let walked = records.status();
        walked.map_err(|error| LoadError::Unreadable(storage_error(self.db.path(), "reading records", &error)))
    }

    fn report(&mut self, key: &[u8], reason: String) {
        self.give(Loaded::Quarantined(Quarantined { key: hex(key), reason }));
    }

    fn aside(&mut self, family: Family, key: &[u8], value: &[u8], reason: &str) -> Result<(), LoadError> {
        if self.only_looks {
            return Ok(());
        }
        let from = handle(self.db, family).map_err(LoadError::NotMoved)?;
        let to = handle(self.db, Family::Quarantine).map_err(LoadError::NotMoved)?;
        let entry = self.encoder.quarantine(self.term, family, key, reason, value).map_err(LoadError::NotMoved)?;
        let Encoded { key: at, value, .. } = entry;
        if !bug!(QuarantineDeletes) {
            self.moved.put_cf(to, at, value);
        }
        self.moved.delete_cf(from, key);
        Ok(())
    }

    /// Writes the moves, once they are many. Only asked for when all that belongs together is among them: a crash
    /// between the move of an end and that of its retained body would leave a job that comes to life again.
    fn relieve(&mut self) -> Result<(), LoadError> {
        if self.moved.size_in_bytes() < MOVED_BYTES_MAX {
            return Ok(());
        }
        if !self.all_known {
            self.look_ahead()?;
            self.all_known = true;
        }
        self.move_aside().map_err(LoadError::NotMoved)
    }

    /// Refuses a record of a later version anywhere in what is walked. Costs a walk of its own, so that is only taken
    /// where there is too much damage to keep until the end.
    fn look_ahead(&self) -> Result<(), LoadError> {
        let walks = [
            (Family::Meta, Some(meta::SETTING..u8::MAX)),
            (Family::History, Some(history::ENDED..history::ATTEMPT)),
            (Family::Jobs, None),
        ];
        for (family, first) in walks {
            let mut records = self.records(family, first)?;
            while let Some((key, value)) = records.item() {
                known(family, key, value)?;
                records.next();
            }
            self.finished(&records)?;
        }
        Ok(())
    }

    fn move_aside(&mut self) -> Result<(), StorageError> {
        if self.moved.is_empty() {
            return Ok(());
        }
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        let moved = std::mem::take(&mut self.moved);
        self.db
            .write_opt(moved, &synced)
            .map_err(|error| storage_error(self.db.path(), "moving unreadable records aside", &error))
    }
}

/// Refuses a record of a later version.
fn known(family: Family, key: &[u8], value: &[u8]) -> Result<(), LoadError> {
    codec::newer(family, key, value).map_or(Ok(()), |(kind, found)| {
        Err(LoadError::NewerRecord { key: hex(key), kind, found, known: codec::VERSION })
    })
}

/// The job whose end the record is.
fn end_of(record: &Record) -> Option<JobId> {
    if let Record::Ended(end) = record { Some(end.id) } else { None }
}

fn join(
    job: Result<Record, codec::CodecError>,
    head: Option<Result<Record, codec::CodecError>>,
) -> Result<JobRecord, String> {
    let Record::Job(mut job) = job.map_err(|error| error.to_string())? else {
        return Err("it is not a job".to_owned());
    };
    match head {
        None => {}
        Some(Ok(Record::Head(_, head))) => job.head = head,
        Some(Ok(_)) => return Err("its head is not a head".to_owned()),
        Some(Err(error)) => return Err(format!("its head: {error}")),
    }
    Ok(job)
}
