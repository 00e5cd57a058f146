//! The disk that fails on demand: the library that is preloaded into a child, and the rule in a file that it goes by.
//!
//! The parent writes the rule while the child runs, and reads how often it was met. A rule stands until another one is set.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Calls that a rule may be about; they can be joined.
pub(crate) const WRITE: i32 = 1;
pub(crate) const SYNC: i32 = 2;
pub(crate) const READ: i32 = 4;
pub(crate) const OPEN: i32 = 8;
pub(crate) const OPEN_TO_WRITE: i32 = 16;
pub(crate) const RENAME: i32 = 32;

/// What the system says.
pub(crate) const EIO: i32 = 5;
pub(crate) const EMFILE: i32 = 24;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EROFS: i32 = 30;

/// As often as it is met.
pub(crate) const ALWAYS: i32 = i32::MAX;

const WORDS: usize = 7;
const NAME_BYTES: usize = 64;

/// Which calls go wrong, from which on, how often, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) calls: i32,
    /// A part of the file's name.
    pub(crate) name: &'static str,
    /// So many such calls come through before.
    pub(crate) skip: i32,
    pub(crate) times: i32,
    /// 0: none; the call then succeeds, or reads nothing where it is torn.
    pub(crate) error: i32,
    pub(crate) delay_ms: i32,
    /// A write leaves half of itself; a read finds the file's end.
    pub(crate) torn: bool,
}

impl Rule {
    pub(crate) const fn new(calls: i32, name: &'static str, error: i32) -> Self {
        Self { calls, name, skip: 0, times: 1, error, delay_ms: 0, torn: false }
    }

    pub(crate) const fn always(mut self) -> Self {
        self.times = ALWAYS;
        self
    }

    pub(crate) const fn after(mut self, skip: i32) -> Self {
        self.skip = skip;
        self
    }

    pub(crate) const fn torn(mut self) -> Self {
        self.torn = true;
        self
    }

    pub(crate) const fn delayed(mut self, ms: i32) -> Self {
        self.delay_ms = ms;
        self
    }
}

/// The file with the rule, and where its library is.
pub(crate) struct Control {
    file: File,
    path: PathBuf,
    library: PathBuf,
}

impl Control {
    /// Compiles the library into this folder: it has to fit the system that runs the test.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/disk.c");
        let library = folder.join("disk.so");
        // As `make` takes it: a program, and perhaps arguments of its own.
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let mut words = compiler.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or("cc"));
        command.args(words).args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
        let compiled = command.status().expect("there is a C compiler, as RocksDB needs one");
        assert!(compiled.success(), "the library compiles: {command:?}");
        let path = folder.join("control");
        std::fs::write(&path, [0; WORDS * 4 + NAME_BYTES]).expect("a file can be written");
        Self { file: Self::open(&path), path, library }
    }

    fn open(path: &Path) -> File {
        OpenOptions::new().read(true).write(true).open(path).expect("a file can be opened")
    }

    /// What a child's environment needs, so that this disk is the one that `directory` is on.
    pub(crate) fn variables<'a>(&'a self, directory: &'a Path) -> [(&'static str, &'a Path); 3] {
        [("LD_PRELOAD", &self.library), ("WINDLASS_FAULTS_CONTROL", &self.path), ("WINDLASS_FAULTS_BELOW", directory)]
    }

    fn put(&self, at: usize, bytes: &[u8]) {
        self.file.write_all_at(bytes, at as u64).expect("a file can be written");
    }

    /// From now on this rule stands, and its hits are counted from 0.
    pub(crate) fn set(&self, rule: &Rule) {
        self.clear();
        let words = [rule.skip, rule.times, rule.error, rule.delay_ms, i32::from(rule.torn), 0];
        let mut bytes: Vec<u8> = words.into_iter().flat_map(i32::to_ne_bytes).collect();
        bytes.extend(rule.name.as_bytes());
        bytes.resize((WORDS - 1) * 4 + NAME_BYTES, 0);
        self.put(4, &bytes);
        // The rule is in force with this word, and whole by then.
        self.put(0, &rule.calls.to_ne_bytes());
    }

    /// Nothing goes wrong any more.
    pub(crate) fn clear(&self) {
        self.put(0, &0_i32.to_ne_bytes());
    }

    /// How often the rule was met.
    pub(crate) fn hits(&self) -> i32 {
        let mut word = [0; 4];
        self.file.read_exact_at(&mut word, (WORDS as u64 - 1) * 4).expect("a file can be read");
        i32::from_ne_bytes(word)
    }
}
