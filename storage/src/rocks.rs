//! The journal on disk, in RocksDB's write-ahead log and tables.
//!
//! Owns a directory, its database and the order of things: what is appended goes through one log, in one order, and
//! what is believed after a crash is what can be proved. Never reads in order to write, never trusts RocksDB after an
//! error (it may have written what it says it did not): the journal is then poisoned until it is closed and opened. See
//! `FORMAT.md` for the bytes.

mod backup;
mod batch;
mod directory;
mod load;
mod look;
mod manifest;
mod options;
mod partial;
mod reader;
mod refusal;
mod salvage;
mod tail;
mod walk;
mod watermark;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::{DB, WriteBatch, WriteOptions};
use windlass_scheduler::bug;

pub use look::RocksLook;
pub use options::RocksOptions;
pub use salvage::{SalvageReport, Salvager};
pub use walk::{Content, Entry, Gap};

use self::backup::Source;
use self::batch::Writes;
use self::directory::Directory;
use self::manifest::Manifest;
use self::reader::{Shared, handle};
use self::refusal::{from_storage, open_error, storage_error};
use crate::backup::{BackupReport, PendingBackup};
use crate::codec::{self, Encoded, Encoder};
use crate::error::{BackupError, LoadError, OpenError, StorageError};
use crate::journal::{Append, Batch, Capabilities, CommitNo, Journal, Loaded, Opened, Reader, Resolution};
use crate::keys;
use crate::terms::Terms;

/// The largest batch in bytes: far over what the engine makes of one bulk, far under what the log can hold.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// A journal in a directory. See the [module](self).
///
/// Dropping it closes it; only [`close`](Journal::close) can say whether the last sync succeeded.
#[derive(Debug)]
pub struct RocksJournal {
    path: PathBuf,
    options: RocksOptions,
    /// The options are the user's own.
    is_bound: bool,
    session: Option<Session>,
}

/// What there is between opening and closing.
struct Session {
    shared: Arc<Shared>,
    /// Keeps others out; given up after the database.
    directory: Directory,
    terms: Terms,
    last: CommitNo,
    synced: CommitNo,
    marked: CommitNo,
    /// As the last watermark has it.
    manifest: Option<Manifest>,
    /// The failure after which nothing is believed.
    poison: Option<StorageError>,
    encoder: Encoder,
    unsynced: WriteOptions,
    writes: Writes,
}

/// A record that was moved aside, as [`RocksJournal::quarantine`] shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineEntry {
    /// The family that it stood in.
    pub family: String,
    /// Its key.
    pub key: Vec<u8>,
    /// What sort of record its key is of; `None` for a key of no known form.
    pub kind: Option<&'static str>,
    /// What was wrong with it.
    pub reason: String,
    /// Its bytes as they were found.
    pub bytes: Vec<u8>,
}

impl RocksJournal {
    /// A journal in this directory, with the default bounds. Nothing is touched before it is opened; a directory that
    /// does not exist or is empty is then made a journal.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), options: RocksOptions::default(), is_bound: false, session: None }
    }

    /// With other bounds. They stand, whatever share of a budget the journal would be given.
    #[must_use]
    pub const fn with_options(mut self, options: RocksOptions) -> Self {
        self.options = options;
        self.is_bound = true;
        self
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records that were moved aside, at most `limit`.
    ///
    /// # Errors
    /// [`StorageError`] where the journal is not open, or the entries themselves cannot be read.
    pub fn quarantine(&self, limit: usize) -> Result<Vec<QuarantineEntry>, StorageError> {
        let held = self.session.as_ref().ok_or(StorageError::Closed)?.shared.hold();
        look::quarantine(&self.path, held.as_ref().ok_or(StorageError::Closed)?, limit)
    }

    /// Looks into a journal that nobody has open, damaged ones too, as far as they can be read. Nothing in it changes. While the
    /// look lives, nobody can open the journal; others can look as well.
    ///
    /// # Errors
    /// [`OpenError::InUse`] where an engine has it open; the others where there is nothing that can be read.
    pub fn look(path: impl AsRef<Path>) -> Result<RocksLook, OpenError> {
        RocksLook::open(path.as_ref())
    }

    /// Makes a journal at `to` of all that can be read of a damaged one, which stays as it is. What cannot be read, or makes no sense
    /// without what is missing, stands in the quarantine of the new one, with its bytes, as far as these could be seen. The new one
    /// is opened, loaded and read through before it appears in its place. It blocks for as long as that takes. `to` must not exist,
    /// or be an empty directory; its parent must exist. Needs room for the whole journal, twice where its database has to be made
    /// anew.
    ///
    /// Jobs that had ended may run once more, where the record of their end is gone.
    ///
    /// # Errors
    /// [`BackupError`]: nothing stands at `to` then that did not before.
    pub fn salvage(
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        salvager: &mut dyn Salvager,
    ) -> Result<SalvageReport, BackupError> {
        salvage::salvage(from.as_ref(), to.as_ref(), salvager)
    }

    /// Puts a backup back: copies `from`, a backup or the whole directory of a closed journal, to `to`, where it can be
    /// opened. The copy is opened and read through before it appears in its place, all of it or nothing; `from` stays as
    /// it is, and can be restored again. It blocks for as long as that takes. `to` must not exist, or be an empty
    /// directory; its parent must exist. Needs room for the whole copy.
    ///
    /// What ran at the time of the backup counts as lost once and runs again, and so does everything that the original
    /// journal has run since: see `FORMAT.md`.
    ///
    /// # Errors
    /// [`BackupError`]: nothing stands at `to` then that did not before.
    pub fn restore(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<BackupReport, BackupError> {
        backup::restore(from.as_ref(), to.as_ref())
    }

    fn session(&mut self) -> Result<&mut Session, StorageError> {
        self.session.as_mut().ok_or(StorageError::Closed)
    }
}

impl Journal for RocksJournal {
    fn capabilities(&self) -> Capabilities {
        Capabilities { survives_process: true, survives_power: true, batch_bytes_max: BATCH_BYTES_MAX }
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn set_memory(&mut self, bytes: u64) -> u64 {
        if !self.is_bound {
            self.options = RocksOptions::within(bytes);
        }
        self.options.memory_bytes()
    }

    fn open(&mut self) -> Result<Opened, OpenError> {
        if self.session.is_some() {
            return Err(OpenError::AlreadyOpen { path: self.path.clone() });
        }
        let (session, opened) = Session::open(&self.path, &self.options)?;
        self.session = Some(session);
        Ok(opened)
    }

    fn load(&mut self, sink: &mut dyn FnMut(Loaded) -> Option<String>) -> Result<(), LoadError> {
        let session = self.session.as_mut().ok_or(LoadError::Closed)?;
        session.sound().map_err(LoadError::Unreadable)?;
        let held = session.shared.hold();
        let answer = load::load(held.as_ref().ok_or(LoadError::Closed)?, session.terms.last(), sink);
        // A move that failed may have happened, or happen later.
        if let Err(LoadError::NotMoved(error)) = &answer {
            session.poison = Some(error.clone());
        }
        answer
    }

    fn append(&mut self, batch: &Batch) -> Append {
        match self.session() {
            Ok(session) => session.append(batch),
            Err(closed) => Append::Refused(closed),
        }
    }

    fn resolve(&mut self, commit_no: CommitNo) -> Result<Resolution, StorageError> {
        let session = self.session()?;
        session.sound()?;
        session.terms.resolve(commit_no, session.last)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.session()?.sync()
    }

    fn watermark(&mut self) -> Result<(), StorageError> {
        self.session()?.watermark()
    }

    fn free_bytes(&self) -> Option<u64> {
        // A directory that is not made yet is on the disk of the one that it will be made in.
        let stat = self.path.ancestors().find_map(|path| rustix::fs::statvfs(path).ok())?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn reader(&self) -> Result<Arc<dyn Reader>, StorageError> {
        let session = self.session.as_ref().ok_or(StorageError::Closed)?;
        Ok(Arc::clone(&session.shared) as Arc<dyn Reader>)
    }

    fn backup(&mut self, to: &Path) -> Result<PendingBackup, BackupError> {
        let options = self.options;
        let session = self.session()?;
        session.sound()?;
        let source = Source {
            shared: Arc::clone(&session.shared),
            directory: session.directory.path().to_owned(),
            database: session.directory.database(),
            options,
            // Whatever comes after may be in the copy, too.
            reach: session.terms.position(session.last),
        };
        backup::begin(source, to)
    }

    fn close(&mut self) -> Result<(), StorageError> {
        self.session.take().map_or(Ok(()), |mut session| {
            let answer = session.sync().and_then(|()| session.watermark());
            session.shared.close();
            answer
        })
    }
}

impl Drop for RocksJournal {
    fn drop(&mut self) {
        // Nobody is left to hear of a failure, and none makes the journal worse than a kill would.
        let _ = self.close();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("terms", &self.terms)
            .field("last", &self.last)
            .field("synced", &self.synced)
            .field("poison", &self.poison)
            .finish_non_exhaustive()
    }
}

impl Session {
    fn open(path: &Path, options: &RocksOptions) -> Result<(Self, Opened), OpenError> {
        let directory = Directory::claim(path)?;
        let database = directory.database();
        let mark = watermark::read(path)?;
        if directory.has_database() {
            tail::check(path, &database)?;
            mark.and_then(|mark| mark.manifest).map_or(Ok(()), |manifest| manifest.check(path, &database))?;
        }
        let mark = mark.map(|mark| mark.commit_no);
        match mark {
            // A dry run: opening to write would replay the log and drop it, with all that could tell what is missing.
            Some(mark) => check_reach(path, mark, directory.has_database().then(|| inspect(&directory, options)))?,
            None => directory
                .create_database()
                .map_err(|error| OpenError::from_io(path, "creating the database's directory", &error))?,
        }
        let db_options = options::database(options, mark.is_none());
        let db = DB::open_cf_descriptors(&db_options, &database, options::families(options))
            .map_err(|error| open_error(path, &error))?;
        options::verify(path, &database, options)?;
        let (mut terms, recovered) = own_records(path, &db)?;
        if let Some(mark) = mark {
            check_reach(path, mark, Some(Ok(terms.position(recovered))))?;
        }

        let term = terms.begin(recovered);
        let mut encoder = Encoder::default();
        write_terms(&db, &mut encoder, &terms).map_err(|error| from_storage(path, error))?;
        let begun = CommitNo { term, step: 0 };
        let manifest = watermark::write(path, begun, None).map_err(|error| from_storage(path, error))?;
        let session = Self {
            shared: Arc::new(Shared::new(db)),
            directory,
            terms,
            last: recovered,
            synced: begun,
            marked: begun,
            manifest,
            poison: None,
            encoder,
            unsynced: WriteOptions::default(),
            writes: Writes::default(),
        };
        Ok((session, Opened { term, recovered }))
    }

    fn sound(&self) -> Result<(), StorageError> {
        self.poison.as_ref().map_or(Ok(()), |error| Err(error.poisoned()))
    }

    fn append(&mut self, batch: &Batch) -> Append {
        if let Err(poisoned) = self.sound() {
            return Append::Unknown(poisoned);
        }
        if let Err(refusal) = self.terms.check(batch.commit_no, self.last) {
            return Append::Refused(refusal);
        }
        let held = self.shared.hold();
        let written = match self.writes.of(&held, &mut self.encoder, batch) {
            Ok((db, encoded)) => {
                db.write_opt(encoded, &self.unsynced).map_err(|error| storage_error(db.path(), "appending", &error))
            }
            Err(refusal) => return Append::Refused(refusal),
        };
        drop(held);
        match written {
            Ok(()) => {
                self.last = batch.commit_no;
                Append::Ok
            }
            Err(error) => {
                self.poison = Some(error.clone());
                Append::Unknown(error)
            }
        }
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.sound()?;
        let held = self.shared.hold();
        let db = held.as_ref().ok_or(StorageError::Closed)?;
        let synced =
            db.flush_wal(!bug!(LogNotSynced)).map_err(|error| storage_error(db.path(), "syncing the log", &error));
        drop(held);
        match synced {
            Ok(()) => self.synced = self.synced.max(self.last),
            Err(error) => {
                self.poison = Some(error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    fn watermark(&mut self) -> Result<(), StorageError> {
        self.sound()?;
        let synced = if bug!(WatermarkBeforeSync) { self.last } else { self.synced };
        if synced > self.marked {
            self.manifest = watermark::write(self.directory.path(), synced, self.manifest)?;
            self.marked = synced;
        }
        Ok(())
    }
}

/// How far the log reaches, found out without changing a byte.
fn inspect(directory: &Directory, options: &RocksOptions) -> Result<CommitNo, OpenError> {
    let path = directory.path();
    let db = DB::open_cf_descriptors_read_only(
        &options::database(options, false),
        directory.database(),
        options::families(options),
        false,
    )
    .map_err(|error| open_error(path, &error))?;
    let (terms, last) = own_records(path, &db)?;
    Ok(terms.position(last))
}

/// Refuses a log that ends before the mark. `found` is `None` where there is no log at all.
fn check_reach(path: &Path, mark: CommitNo, found: Option<Result<CommitNo, OpenError>>) -> Result<(), OpenError> {
    let found = found.unwrap_or(Ok(CommitNo::default()))?;
    if found >= mark { Ok(()) } else { Err(OpenError::RolledBack { path: path.to_owned(), expected: mark, found }) }
}

/// The journal's own records: its terms and its last commit.
fn own_records(path: &Path, db: &DB) -> Result<(Terms, CommitNo), OpenError> {
    let damaged = |what: &str, error| match (path.to_owned(), error) {
        (path, codec::CodecError::Version { found, kind }) if found > codec::VERSION => {
            OpenError::NewerRecord { path, kind, found, known: codec::VERSION }
        }
        (path, error) => OpenError::Damaged { path, reason: format!("the record of its {what}: {error}") },
    };
    let get = |key| db.get(key).map_err(|error| open_error(path, &error));
    let terms = match get(keys::TERMS)? {
        Some(value) => codec::decode_terms(&value).map_err(|error| damaged("terms", error))?,
        None => Vec::new(),
    };
    let last = match get(keys::COMMIT)? {
        Some(value) => codec::decode_commit(&value).map_err(|error| damaged("last commit", error))?,
        None => CommitNo::default(),
    };
    // What the last opening found was synced with its term.
    if let Some((_, expected)) = terms.last().copied().filter(|(_, expected)| last < *expected) {
        let reason = format!("its last opening found commit {expected}, and now it ends at {last}");
        return Err(OpenError::Damaged { path: path.to_owned(), reason });
    }
    Ok((Terms::from_list(terms), last))
}

fn write_terms(db: &DB, encoder: &mut Encoder, terms: &Terms) -> Result<(), StorageError> {
    let Encoded { family, key, value } = encoder.terms(terms.list())?;
    let mut batch = WriteBatch::new();
    batch.put_cf(handle(db, family)?, key, value);
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    db.write_opt(batch, &synced).map_err(|error| storage_error(db.path(), "beginning a term", &error))
}
