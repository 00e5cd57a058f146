//! What the tests of the journal on disk share: a history whose every prefix is known, and files as bytes.
//!
//! Commit `n` of the history is a function of `n`, so that any process can write it and any other can judge it.

#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rocksdb::{DB, Options};
use windlass_scheduler::change::{Change, Key, Record};
use windlass_scheduler::job::Body;
use windlass_storage::conformance::samples::{head, job, job_id, joined, suspects};
use windlass_storage::{Append, Batch, CommitNo, Journal, Loaded, RocksJournal};

/// Jobs that are alive at a time.
const ALIVE: u64 = 20;

/// Records by their keys.
pub type Records = BTreeMap<Key, Record>;

fn sized(n: u64) -> Record {
    let Record::Job(mut job) = job(n) else { panic!("a job is a job") };
    let payload = vec![u8::try_from(n % 251).unwrap(); usize::try_from(n * 37 % 900).unwrap()];
    job.body = Arc::new(Body { payload: payload.into(), ..Body::clone(&job.body) });
    Record::Job(job)
}

/// What commit `n` changes, from 1: a new job, a move of an earlier one, the end of a yet earlier one, and the count.
pub fn changes(n: u64) -> Vec<Change> {
    let mut changes = vec![Change::Put(sized(n)), Change::Put(suspects(u32::try_from(n).unwrap()).record())];
    if n > 3 {
        changes.push(Change::Put(head(n - 3, 1)));
    }
    if n > ALIVE {
        changes.extend([Change::Delete(Key::Job(job_id(n - ALIVE))), Change::Delete(Key::Head(job_id(n - ALIVE)))]);
    }
    changes
}

/// What loading shows after commits 1 to `n`.
pub fn expected(n: u64) -> Records {
    let mut records: Records = (n.saturating_sub(ALIVE) + 1..=n)
        .map(|at| if at + 3 <= n { joined(&sized(at), &head(at, 1)) } else { sized(at) })
        .map(|record| (record.key(), record))
        .collect();
    if n > 0 {
        let count = suspects(u32::try_from(n).unwrap()).record();
        records.insert(count.key(), count);
    }
    records
}

/// Appends commits `from` to `to` of the history, all in this term.
pub fn append_history(journal: &mut dyn Journal, term: u64, from: u64, to: u64) {
    for n in from..=to {
        let answer = journal.append(&Batch { commit_no: CommitNo { term, step: n }, changes: changes(n) });
        assert!(matches!(answer, Append::Ok), "commit {n}: {answer:?}");
    }
}

/// Loads, and fails if anything had to be moved aside.
pub fn load(journal: &mut dyn Journal) -> Records {
    let mut records = Records::new();
    let mut sink = |loaded| {
        match loaded {
            Loaded::Record(record) => assert!(records.insert(record.key(), record).is_none(), "streamed twice"),
            Loaded::Quarantined(report) => panic!("nothing is damaged, yet {report:?}"),
        }
        None
    };
    journal.load(&mut sink).expect("an open journal loads");
    records
}

/// How many commits of the history there are, after checking that they are there whole, and nothing else is.
pub fn judge(journal: &mut dyn Journal) -> u64 {
    let records = load(journal);
    let count = records.keys().filter_map(|key| if let Key::Job(id) = key { Some(*id) } else { None }).max();
    let n = count.map_or(0, |id| u64::try_from(id.0.as_u128() - job_id(0).0.as_u128()).unwrap());
    assert_eq!(records, expected(n), "what is there is not the history's beginning of {n} commits");
    n
}

/// Copies a directory with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// All files below a directory with their bytes.
pub fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            all.insert(path, bytes);
        }
    }
    all
}

/// Changes a value behind the journal's back, under its key.
pub fn damage(path: &Path, family: &str, key: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let db = DB::open_cf(&Options::default(), path.join("db"), ["default", "jobs", "history", "quarantine"]).unwrap();
    let family = db.cf_handle(family).unwrap();
    let mut value = db.get_cf(family, key).unwrap().unwrap_or_default();
    change(&mut value);
    db.put_cf(family, key, &value).unwrap();
    value
}

/// Makes a value's checksum wrong.
pub fn flip_last(value: &mut [u8]) {
    *value.last_mut().unwrap() ^= 1;
}

/// The log that is being written.
pub fn newest_log(directory: &Path) -> PathBuf {
    // By name alone: a database that was just opened still deletes what it no longer needs.
    let paths = fs::read_dir(directory.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let logs = paths.filter(|path| path.extension().is_some_and(|e| e == "log"));
    logs.max().expect("an open database has a log")
}

/// A journal whose buffers are so small that tables are written and compacted all the time.
pub fn small(path: &Path) -> RocksJournal {
    let bounds = windlass_storage::RocksOptions {
        write_buffer_size_bytes: 256 << 10,
        cache_bytes: 1 << 20,
        log_bytes_max: 512 << 10,
        ..windlass_storage::RocksOptions::default()
    };
    RocksJournal::at(path).with_options(bounds)
}

/// This test program again, running only `test`, with `directory` in the environment variable `WINDLASS_CHILD`. `shell`
/// goes before it.
pub fn child(test: &str, directory: &Path, shell: Option<&str>) -> Child {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", test, "--nocapture", "--test-threads", "1"];
    let mut command = match shell {
        Some(shell) => {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("{shell}; exec \"$0\" \"$@\"")]).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.args(arguments).env("WINDLASS_CHILD", directory);
    command.stdout(Stdio::piped()).stderr(Stdio::inherit()).stdin(Stdio::null()).spawn().unwrap()
}

/// A disk in memory, of so few bytes that it is soon full; gone when dropped.
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// A disk of this size, such as `1m`, in this folder; or `None`, told, where this system gives none to this user.
    pub fn mounted(folder: &Path, size: &str) -> Option<Self> {
        let path = folder.join("disk");
        fs::create_dir(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&path).stderr(Stdio::null());
        if mount.status().is_ok_and(|status| status.success()) {
            return Some(Self { path });
        }
        eprintln!("skipped: no disk can be mounted here");
        None
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Mounts it anew with this option, such as `ro` or `size=8m`.
    pub fn remount(&self, option: &str) {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{option}")]).arg(&self.path);
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").args(["-l"]).arg(&self.path).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// The directory of a child; `None` in the parent.
pub fn child_directory() -> Option<PathBuf> {
    std::env::var_os("WINDLASS_CHILD").map(PathBuf::from)
}
