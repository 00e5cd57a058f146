//! What a disk may have after a cut of the power: the honest device.
//!
//! Owns the rules. What a sync that had ended covers is there, names and bytes alike. Of everything later any part may be
//! missing: the bytes of a file from some byte on, or page by page, the names from some operation on, or one by one. A sync
//! of a file covers its bytes and not its name, as POSIX has it; most file systems are kinder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::recording::{FileNo, Op, Recording};
use crate::chance::Chance;

/// What is lost of the bytes that no sync covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// Nothing: the process died, the system lived.
    Kept,
    /// All of them.
    Gone,
    /// Of each file those from some byte on.
    Torn,
    /// Some sectors (512 bytes) or pages (4096 bytes) of each file; where the file is longer they read as before, or as zeroes.
    Pages(usize),
}

/// What is lost of the names that no sync covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Nothing.
    Kept,
    /// All changes.
    Gone,
    /// The changes from some one on: a file system with a log of its own.
    Torn,
    /// Some of the changes.
    Some,
}

/// Where the power was cut, and what was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Before this operation.
    pub at: usize,
    /// Of the bytes.
    pub bytes: Bytes,
    /// Of the names.
    pub names: Names,
    /// Which of them.
    pub seed: u64,
}

/// Files with their bytes, and folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// By path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Below the recorded folder.
    pub folders: BTreeSet<String>,
}

/// A recording, sorted by what it is about.
pub struct Device<'a> {
    recording: &'a Recording,
    /// Of each file: operations on its bytes.
    writes: Vec<Vec<usize>>,
    /// Of each file: where syncs of it ended, and where they had begun.
    syncs: Vec<Vec<(usize, usize)>>,
    /// Operations on names.
    names: Vec<usize>,
    /// The same of folders.
    folder_syncs: BTreeMap<&'a str, Vec<(usize, usize)>>,
}

impl<'a> Device<'a> {
    /// The disk that was recorded.
    pub fn of(recording: &'a Recording) -> Self {
        let mut device = Self {
            recording,
            writes: vec![Vec::new(); recording.files],
            syncs: vec![Vec::new(); recording.files],
            names: Vec::new(),
            folder_syncs: BTreeMap::new(),
        };
        for (at, op) in recording.ops.iter().enumerate() {
            match op {
                Op::Write(file, ..) | Op::Length(file, _) | Op::AtLeast(file, _) | Op::Hole(file, _) => {
                    device.writes[*file].push(at);
                }
                Op::Synced(file, since) => device.syncs[*file].push((at, *since)),
                Op::Made(..) | Op::Folder(_) | Op::Gone(_) | Op::Moved(..) => device.names.push(at),
                Op::FolderSynced(path, since) => device.folder_syncs.entry(path).or_default().push((at, *since)),
                Op::SyncBegun | Op::Said(_) => {}
            }
        }
        device
    }

    /// What it may have after this cut.
    pub fn after(&self, cut: Cut) -> Disk {
        let mut chance = Chance::new(cut.seed);
        let mut disk = Disk::default();
        let mut files = Vec::new();
        for (path, file) in self.named(cut, &mut chance) {
            match file {
                Some(file) => files.push((path, file)),
                None => _ = disk.folders.insert(path),
            }
        }
        for (path, file) in files {
            if is_reachable(&path, &disk.folders) {
                disk.files.insert(path, self.content(file, cut, &mut chance));
            }
        }
        let folders = disk.folders.clone();
        disk.folders.retain(|path| is_reachable(path, &folders));
        disk
    }

    /// Names, with their files; a folder has none.
    fn named(&self, cut: Cut, chance: &mut Chance) -> BTreeMap<String, Option<FileNo>> {
        let done: Vec<usize> = self.names.iter().copied().take_while(|at| *at < cut.at).collect();
        let is_synced = |at: usize| {
            let folder = folder_of(name_of(&self.recording.ops[at]));
            self.folder_syncs
                .get(folder)
                .is_some_and(|syncs| syncs.iter().any(|(ended, since)| *ended < cut.at && at < *since))
        };
        let open = done.iter().filter(|at| !is_synced(**at)).count() as u64;
        let torn = if cut.names == Names::Torn { chance.below(open + 1) } else { 0 };
        let mut seen = 0;
        let mut named = BTreeMap::new();
        for at in done {
            if !is_synced(at) {
                seen += 1;
                let is_kept = match cut.names {
                    Names::Kept => true,
                    Names::Gone => false,
                    Names::Torn => seen <= torn,
                    Names::Some => chance.below(2) == 0,
                };
                if !is_kept {
                    continue;
                }
            }
            match &self.recording.ops[at] {
                Op::Made(path, file) => _ = named.insert(path.clone(), Some(*file)),
                Op::Folder(path) => _ = named.insert(path.clone(), None),
                Op::Gone(path) => _ = named.remove(path),
                Op::Moved(from, to, file) => {
                    if named.get(from) == Some(&Some(*file)) {
                        named.remove(from);
                    }
                    named.insert(to.clone(), Some(*file));
                }
                _ => {}
            }
        }
        named
    }

    fn content(&self, file: FileNo, cut: Cut, chance: &mut Chance) -> Vec<u8> {
        let synced = self.syncs[file].iter().filter(|(ended, _)| *ended < cut.at).map(|(_, since)| *since).max();
        let synced = synced.unwrap_or(0);
        let (sure, rest): (Vec<usize>, Vec<usize>) =
            self.writes[file].iter().filter(|at| **at < cut.at).partition(|at| **at < synced);
        let mut content = Vec::new();
        for at in sure {
            self.apply(at, &mut content, usize::MAX);
        }
        if rest.is_empty() || cut.bytes == Bytes::Gone {
            return content;
        }
        let written = |at: usize| if let Op::Write(_, _, bytes) = &self.recording.ops[at] { bytes.len() } else { 0 };
        let all: usize = rest.iter().map(|at| written(*at)).sum();
        let mut left = if cut.bytes == Bytes::Torn { below(chance, all + 1) } else { usize::MAX };
        let old = content.clone();
        for at in rest {
            self.apply(at, &mut content, left);
            if written(at) > left {
                break;
            }
            left -= written(at);
        }
        if let Bytes::Pages(page) = cut.bytes {
            lose_pages(&mut content, &old, page, chance);
        }
        content
    }

    /// Does what was asked for, with so many of the bytes.
    fn apply(&self, at: usize, content: &mut Vec<u8>, bytes_max: usize) {
        match &self.recording.ops[at] {
            Op::Write(_, place, bytes) => {
                let bytes = self.recording.bytes(bytes);
                let bytes = &bytes[..bytes.len().min(bytes_max)];
                let end = place + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*place..end].copy_from_slice(bytes);
            }
            Op::Length(_, length) => content.resize(*length, 0),
            Op::AtLeast(_, length) => content.resize(content.len().max(*length), 0),
            Op::Hole(_, range) => {
                let end = range.end.min(content.len());
                content[range.start.min(end)..end].fill(0);
            }
            _ => {}
        }
    }
}

/// Takes some pages of what is new back, and perhaps the end of the file.
fn lose_pages(content: &mut Vec<u8>, old: &[u8], page: usize, chance: &mut Chance) {
    if content.len() > old.len() && chance.below(2) == 0 {
        let lost = (content.len() - old.len()).div_ceil(page);
        let kept = below(chance, lost + 1);
        content.truncate(content.len().min((old.len() / page + kept) * page).max(old.len()));
    }
    for start in (0..content.len()).step_by(page) {
        let end = content.len().min(start + page);
        if chance.below(3) == 0 {
            for (place, byte) in content[start..end].iter_mut().enumerate() {
                *byte = old.get(start + place).copied().unwrap_or(0);
            }
        }
    }
}

fn below(chance: &mut Chance, bound: usize) -> usize {
    usize::try_from(chance.below(bound as u64)).expect("it fits into memory")
}

fn name_of(op: &Op) -> &str {
    match op {
        Op::Made(path, _) | Op::Folder(path) | Op::Gone(path) | Op::Moved(_, path, _) => path,
        _ => "",
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn is_reachable(path: &str, folders: &BTreeSet<String>) -> bool {
    let folder = folder_of(path);
    folder.is_empty() || folders.contains(folder) && is_reachable(folder, folders)
}

impl Disk {
    /// What is below this folder now.
    ///
    /// # Panics
    /// It cannot be read.
    pub fn read(root: &Path) -> Self {
        let mut disk = Self::default();
        disk.walk(root, "");
        disk
    }

    fn walk(&mut self, root: &Path, below: &str) {
        for entry in fs::read_dir(root.join(below)).expect("a folder can be listed") {
            let entry = entry.expect("a folder can be listed");
            let name = entry.file_name().into_string().expect("a name that is text");
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            if entry.file_type().expect("an entry has a type").is_dir() {
                self.walk(root, &path);
                self.folders.insert(path);
            } else {
                let bytes = fs::read(entry.path()).expect("a file can be read");
                self.files.insert(path, bytes);
            }
        }
    }

    /// Makes all of it below this folder.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self, root: &Path) {
        for path in &self.folders {
            fs::create_dir_all(root.join(path)).expect("a folder can be made");
        }
        for (path, bytes) in &self.files {
            fs::write(root.join(path), bytes).expect("a file can be written");
        }
    }
}
