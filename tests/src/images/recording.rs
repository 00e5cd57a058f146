//! What a child asked the file system to change, in order: the log of `record.c`, read.
//!
//! Owns the names and the files as the log tells them. Refuses a log with a call that it does not understand: a record that
//! is not complete would make images of disks that never were.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file, whatever its names are.
pub type FileNo = usize;

/// One thing that was asked for. Paths are relative to the recorded folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A new file got this name.
    Made(String, FileNo),
    /// A new folder.
    Folder(String),
    /// This name is gone.
    Gone(String),
    /// A file has another name.
    Moved(String, String, FileNo),
    /// Bytes (of the log) were written at this place.
    Write(FileNo, usize, Range<usize>),
    /// The file has this length.
    Length(FileNo, usize),
    /// The file has at least this length.
    AtLeast(FileNo, usize),
    /// These bytes read as zeroes.
    Hole(FileNo, Range<usize>),
    /// A sync began: nothing by itself.
    SyncBegun,
    /// A sync ended well, which covers what was asked before this operation.
    Synced(FileNo, usize),
    /// The same of a folder's names.
    FolderSynced(String, usize),
    /// The child is about to say this.
    Said(String),
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Recording {
    log: Vec<u8>,
    /// In order. A cut at `n` is before the `n`th.
    pub ops: Vec<Op>,
    /// How many files there ever were.
    pub files: usize,
}

/// The environment in which a child is recorded: the library, the folder, the log.
pub fn environment<'a>(library: &'a Path, folder: &'a Path, log: &'a Path) -> [(&'static str, &'a Path); 3] {
    [("LD_PRELOAD", library), ("WINDLASS_RECORD_ROOT", folder), ("WINDLASS_RECORD_LOG", log)]
}

/// Compiles a library that is preloaded into children. Where it is used: it has to fit the system that it runs on.
///
/// # Panics
/// There is no C compiler.
pub fn compiled(source: &Path, folder: &Path) -> PathBuf {
    let library = folder.join("preloaded.so");
    // As `make` takes it: a program, and perhaps arguments of its own.
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut words = compiler.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or("cc"));
    command.args(words).args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).args(["-ldl", "-lpthread"]);
    let compiled = command.status().expect("there is a C compiler, as RocksDB needs one");
    assert!(compiled.success(), "the library compiles: {command:?}");
    library
}

/// A line of the log.
struct Line {
    kind: u8,
    flag: u8,
    fd: u32,
    numbers: [usize; 2],
    texts: [Range<usize>; 2],
}

const HEAD_BYTES: usize = 32;

fn next_line(log: &[u8], at: usize) -> Option<(Line, usize)> {
    let head = log.get(at..at + HEAD_BYTES)?;
    let small = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
    let size = |number: u64| usize::try_from(number).expect("it fits into memory");
    let first = at + HEAD_BYTES;
    let second = first + size(small(24).into());
    let end = second + size(small(28).into());
    assert!(end <= log.len(), "the log ends in the middle of a line");
    let numbers = [size(number(8)), size(number(16))];
    Some((Line { kind: head[0], flag: head[1], fd: small(4), numbers, texts: [first..second, second..end] }, end))
}

/// What a descriptor stands for.
#[derive(Clone)]
enum Held {
    File(FileNo),
    Folder(String),
}

#[derive(Default)]
struct Reading {
    names: HashMap<String, FileNo>,
    held: HashMap<u32, Held>,
    /// By the number of the sync: where it began.
    begun: HashMap<usize, usize>,
    found: Recording,
}

impl Recording {
    /// Reads a log of what happened below `root`.
    ///
    /// # Panics
    /// The log is not complete.
    pub fn read(log: Vec<u8>, root: &Path) -> Self {
        let mut reading = Reading::default();
        let mut at = 0;
        let root = root.to_str().expect("a path that is text");
        while let Some((line, end)) = next_line(&log, at) {
            reading.take(&log, root, &line);
            at = end;
        }
        assert_eq!(at, log.len(), "the log ends in the middle of a line");
        reading.found.log = log;
        reading.found
    }

    /// The bytes that were written.
    pub fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.log[range.clone()]
    }

    /// The log itself, to be kept where an image of it is judged wrong.
    pub fn log(&self) -> &[u8] {
        &self.log
    }
}

impl Reading {
    fn take(&mut self, log: &[u8], root: &str, line: &Line) {
        let text = |at: usize| String::from_utf8_lossy(&log[line.texts[at].clone()]).into_owned();
        let path = |at: usize| {
            let path = text(at);
            let below = path.strip_prefix(root).unwrap_or_else(|| panic!("{path} is not below {root}"));
            below.trim_start_matches('/').to_owned()
        };
        let op = match line.kind {
            b'O' => return self.opened(path(0), line),
            b'C' => {
                self.held.remove(&line.fd);
                return;
            }
            b'W' => Op::Write(self.file(line), line.numbers[0], line.texts[0].clone()),
            b'T' => Op::Length(self.file(line), line.numbers[0]),
            b'A' => {
                let (file, at, end) = (self.file(line), line.numbers[0], line.numbers[0] + line.numbers[1]);
                match line.flag {
                    0 => Op::AtLeast(file, end),
                    1 => return,
                    3 => Op::Hole(file, at..end),
                    mode => panic!("nobody knows what fallocate means with mode {mode}"),
                }
            }
            b'B' => {
                self.begun.insert(line.numbers[0], self.found.ops.len());
                Op::SyncBegun
            }
            b'S' => {
                let since = self.begun.remove(&line.numbers[0]).expect("a sync begins before it ends");
                match self.held.get(&line.fd).expect("what is synced is open").clone() {
                    Held::File(file) => Op::Synced(file, since),
                    Held::Folder(path) => Op::FolderSynced(path, since),
                }
            }
            b'R' => {
                let (from, to) = (path(0), path(1));
                let file = self.names.remove(&from).unwrap_or_else(|| panic!("{from}: only files are renamed"));
                self.names.insert(to.clone(), file);
                Op::Moved(from, to, file)
            }
            b'U' => {
                self.names.remove(&path(0));
                Op::Gone(path(0))
            }
            b'D' => Op::Folder(path(0)),
            b'M' => Op::Said(text(0)),
            kind => panic!("the record is not complete: {} {}", char::from(kind), text(0)),
        };
        self.found.ops.push(op);
    }

    fn opened(&mut self, path: String, line: &Line) {
        let (is_new, is_cut, is_folder) = (line.flag & 1 > 0, line.flag & 2 > 0, line.flag & 4 > 0);
        if is_folder {
            self.held.insert(line.fd, Held::Folder(path));
            return;
        }
        let file = if is_new {
            let file = self.found.files;
            self.found.files += 1;
            self.names.insert(path.clone(), file);
            self.found.ops.push(Op::Made(path, file));
            file
        } else {
            let file = *self.names.get(&path).unwrap_or_else(|| panic!("{path} was there before the record began"));
            if is_cut {
                self.found.ops.push(Op::Length(file, 0));
            }
            file
        };
        self.held.insert(line.fd, Held::File(file));
    }

    fn file(&self, line: &Line) -> FileNo {
        let Some(Held::File(file)) = self.held.get(&line.fd) else { panic!("descriptor {} is no file", line.fd) };
        *file
    }
}
