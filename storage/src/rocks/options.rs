//! How RocksDB has to run for a journal, and the proof that it does.
//!
//! Owns every option. What job state rests on is read back from the file that RocksDB writes at open, because an option
//! that another one silently overrides, or that a build does not know, would be found out by losing jobs. Never offers
//! an option that trades safety for speed: only bounds are the user's.

use std::fs;
use std::path::Path;

use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel, Options};
use windlass_scheduler::bug;

use crate::error::OpenError;
use crate::keys::Family;

/// The bounds of a RocksDB journal. The defaults fit a small service: about 100 MiB of memory at most, and while it
/// opens as much as there is log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RocksOptions {
    /// Bytes of memory for what is written and not yet in a table, all families together. Default: 64 MiB.
    pub write_buffer_size_bytes: usize,
    /// Bytes of memory for blocks of tables, indexes and filters included. Default: 32 MiB.
    pub cache_bytes: usize,
    /// Bytes of log on disk from which on tables are written to free it. It bounds how much an opening has to replay,
    /// and the memory that it takes meanwhile. Default: 128 MiB.
    pub log_bytes_max: u64,
    /// Table files that are open at a time. Default: 512.
    pub open_files_max: u16,
}

impl Default for RocksOptions {
    fn default() -> Self {
        const MIB: usize = 1 << 20;
        Self { write_buffer_size_bytes: 64 * MIB, cache_bytes: 32 * MIB, log_bytes_max: 128 << 20, open_files_max: 512 }
    }
}

impl RocksOptions {
    /// Bounds that keep within this much memory, half of it for each use. The buffers are bounded themselves: what they
    /// hold is what an opening replays.
    #[must_use]
    pub fn within(bytes: u64) -> Self {
        let buffers = (bytes / 2).clamp(BUFFERS_BYTES_MIN, BUFFERS_BYTES_MAX);
        let cache = bytes.saturating_sub(buffers).max(CACHE_BYTES_MIN);
        let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            write_buffer_size_bytes: size(buffers),
            cache_bytes: size(cache),
            log_bytes_max: 2 * buffers,
            ..Self::default()
        }
    }

    /// Memory that these bounds allow.
    #[must_use]
    pub const fn memory_bytes(&self) -> u64 {
        self.write_buffer_size_bytes as u64 + self.cache_bytes as u64
    }
}

/// Less, and every batch would be a table of its own.
const BUFFERS_BYTES_MIN: u64 = 4 << 20;
/// More, and an opening would take seconds to replay them.
const BUFFERS_BYTES_MAX: u64 = 128 << 20;
/// Room for the indexes of tables.
const CACHE_BYTES_MIN: u64 = 4 << 20;

/// What a table file is compacted for by itself, whatever its level holds: so many deletions among so many neighbours. They
/// are read at every start, a million of them in some tenths of a second. Fewer wait for their level's turn: in a queue every
/// file is full of deletions, and to compact each at once took a fifth of a core at 200,000 jobs a second.
const DELETIONS_WINDOW: usize = 1 << 20;
const DELETIONS_TRIGGER: usize = 1 << 19;
/// No share of a file's entries by itself.
const DELETIONS_RATIO: f64 = 0.0;

/// Keys that begin with the same byte are looked for from where the one before went: batches are written in the order of
/// keys. Only speed rests on it, so it is not checked at every open. (The binding has no name for this option.)
const INSERT_HINTS: &str = "memtable_insert_with_hint_prefix_extractor=capped:1";

/// Sections of RocksDB's options file.
const DATABASE_SECTION: &str = "[DBOptions]";

/// What must be in force for the database as a whole. See the research that the design rests on: each line is a way in
/// which acknowledged jobs were lost elsewhere.
const DATABASE_MUSTS: [(&str, &str); 10] = [
    // The others drop synced records behind a damaged one, or refuse what a mere kill leaves behind.
    ("wal_recovery_mode", "kTolerateCorruptedTailRecords"),
    ("track_and_verify_wals_in_manifest", "true"),
    // Otherwise a failed sync is forgotten and writing goes on.
    ("paranoid_checks", "true"),
    // Otherwise acknowledged writes wait inside the process and die with it.
    ("manual_wal_flush", "false"),
    ("unordered_write", "false"),
    ("enable_pipelined_write", "false"),
    ("allow_2pc", "false"),
    ("recycle_log_file_num", "0"),
    ("wal_bytes_per_sync", "0"),
    // What was replayed must be in synced tables afterwards, even if its log pages were only in the system's memory.
    ("avoid_flush_during_recovery", "false"),
];

/// What must be in force for each family.
const FAMILY_MUSTS: [(&str, &str); 2] = [("force_consistency_checks", "true"), ("merge_operator", "nullptr")];

/// The options of the database as a whole. `create`: a new one may be made.
pub(super) fn database(options: &RocksOptions, create: bool) -> Options {
    let mut db = Options::default();
    db.create_if_missing(create);
    db.create_missing_column_families(create);
    db.set_wal_recovery_mode(if bug!(PointInTimeRecovery) {
        DBRecoveryMode::PointInTime
    } else {
        DBRecoveryMode::TolerateCorruptedTailRecords
    });
    db.set_track_and_verify_wals_in_manifest(true);
    db.set_paranoid_checks(true);
    db.set_manual_wal_flush(false);
    db.set_unordered_write(false);
    db.set_enable_pipelined_write(false);
    db.set_atomic_flush(false);
    db.set_recycle_log_file_num(0);
    db.set_wal_bytes_per_sync(0);
    db.set_max_total_wal_size(options.log_bytes_max);
    db.set_db_write_buffer_size(options.write_buffer_size_bytes);
    db.set_max_open_files(i32::from(options.open_files_max));
    db.set_max_background_jobs(2);
    // Tables are written in steps, so that one large flush does not hold up the log's sync.
    db.set_bytes_per_sync(1 << 20);
    // There is one writer, always.
    db.set_allow_concurrent_memtable_write(false);
    db.set_log_level(LogLevel::Warn);
    db.set_max_log_file_size(4 << 20);
    db.set_keep_log_file_num(4);
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    db
}

/// For reading what is left of a damaged database, and never for writing: damaged records of the log are left out, and so is
/// what names files that are missing.
pub(super) fn lenient(options: &RocksOptions) -> Options {
    let mut db = database(options, false);
    db.set_wal_recovery_mode(DBRecoveryMode::SkipAnyCorruptedRecord);
    // Logs are still compared with the manifest: told not to, RocksDB 11.8 writes that down, which crashes it where it only reads.
    db.set_paranoid_checks(false);
    db
}

/// The families with their options, sharing one cache.
pub(super) fn families(options: &RocksOptions) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(options.cache_bytes);
    Family::ALL.map(|family| ColumnFamilyDescriptor::new(family.name(), self::family(options, &cache))).into()
}

fn family(options: &RocksOptions, cache: &Cache) -> Options {
    let mut family = Options::default().get_options_from_string(INSERT_HINTS).unwrap_or_default();
    // The bound on all of them is the database's; the family that is written most may have nearly all of it.
    family.set_write_buffer_size(options.write_buffer_size_bytes);
    family.set_max_write_buffer_number(3);
    // Most records die young: what is written first is not worth packing, what stays is.
    let mut packing = [DBCompressionType::Lz4; 7];
    packing[0] = DBCompressionType::None;
    packing[1] = DBCompressionType::None;
    family.set_compression_per_level(&packing);
    family.set_level_compaction_dynamic_level_bytes(true);
    // A queue is a heap of deletions; without this they would be read at every start until a compaction came by.
    family.add_compact_on_deletion_collector_factory(DELETIONS_WINDOW, DELETIONS_TRIGGER, DELETIONS_RATIO);
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(16 << 10);
    blocks.set_format_version(5);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    family.set_block_based_table_factory(&blocks);
    family
}

/// Refuses a database that runs with other options than those that job state rests on.
pub(super) fn verify(path: &Path, database: &Path, options: &RocksOptions) -> Result<(), OpenError> {
    let io = |error| OpenError::from_io(path, "reading back the options", &error);
    let mut newest: Option<(u64, std::path::PathBuf)> = None;
    for entry in fs::read_dir(database).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("OPTIONS-")).and_then(|n| n.parse().ok());
        if let Some(number) = number.filter(|number| newest.as_ref().is_none_or(|(newest, _)| number > newest)) {
            newest = Some((number, entry.path()));
        }
    }
    let Some((_, file)) = newest else {
        return Err(OpenError::Damaged { path: path.to_owned(), reason: "it has no OPTIONS file".to_owned() });
    };
    check(path, &fs::read_to_string(file).map_err(io)?, options)
}

fn check(path: &Path, text: &str, options: &RocksOptions) -> Result<(), OpenError> {
    let log_bytes_max = options.log_bytes_max.to_string();
    let buffers = options.write_buffer_size_bytes.to_string();
    let bounds = [("max_total_wal_size", log_bytes_max.as_str()), ("db_write_buffer_size", &buffers)];
    for (name, expected) in DATABASE_MUSTS.into_iter().chain(bounds) {
        compare(path, text, DATABASE_SECTION, name, expected)?;
    }
    for family in Family::ALL {
        let section = format!("[CFOptions \"{}\"]", family.name());
        for (name, expected) in FAMILY_MUSTS {
            compare(path, text, &section, name, expected)?;
        }
    }
    Ok(())
}

fn compare(path: &Path, text: &str, section: &str, name: &str, expected: &str) -> Result<(), OpenError> {
    let lines = text.lines().map(str::trim).skip_while(|line| *line != section).skip(1);
    let mut pairs = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('='));
    let found = pairs.find(|(found, _)| *found == name).map_or("nothing", |(_, value)| value);
    if found == expected {
        return Ok(());
    }
    Err(OpenError::Option {
        path: path.to_owned(),
        name: format!("{section} {name}"),
        expected: expected.to_owned(),
        found: found.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rocksdb::DB;

    use super::*;

    fn refusal(change: impl FnOnce(&mut Options)) -> Result<(), OpenError> {
        let directory = tempfile::tempdir().unwrap();
        let bounds = RocksOptions::default();
        let mut options = database(&bounds, true);
        change(&mut options);
        let db = DB::open_cf_descriptors(&options, directory.path(), families(&bounds)).unwrap();
        let answer = verify(directory.path(), directory.path(), &bounds);
        drop(db);
        answer
    }

    #[test]
    fn the_options_in_force_are_those_that_job_state_rests_on() {
        refusal(|_| {}).unwrap();
    }

    #[test]
    fn rocksdb_knows_how_batches_are_inserted() {
        let family = Options::default().get_options_from_string(INSERT_HINTS);
        assert!(family.is_ok(), "{:?}", family.err());
    }

    #[test]
    fn an_option_that_would_lose_jobs_is_refused_by_name() {
        type Case = (&'static str, fn(&mut Options));
        let changes: [Case; 6] = [
            ("wal_recovery_mode", |o| o.set_wal_recovery_mode(DBRecoveryMode::PointInTime)),
            ("manual_wal_flush", |o| o.set_manual_wal_flush(true)),
            ("paranoid_checks", |o| o.set_paranoid_checks(false)),
            ("unordered_write", |o| {
                o.set_allow_concurrent_memtable_write(true);
                o.set_unordered_write(true);
            }),
            ("track_and_verify_wals_in_manifest", |o| o.set_track_and_verify_wals_in_manifest(false)),
            ("max_total_wal_size", |o| o.set_max_total_wal_size(0)),
        ];
        for (option, change) in changes {
            let refusal = refusal(change).unwrap_err();
            assert!(
                matches!(&refusal, OpenError::Option { name, .. } if name.ends_with(option)),
                "{option}: {refusal}"
            );
        }
    }

    #[test]
    fn an_option_that_the_file_does_not_name_is_refused() {
        let refusal = check(Path::new("."), "[DBOptions]\n", &RocksOptions::default()).unwrap_err();
        assert!(matches!(&refusal, OpenError::Option { found, .. } if found == "nothing"), "{refusal}");
    }
}
