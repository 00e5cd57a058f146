//! Backups and the way back: what is in a copy, what is found out about it, and what a crash leaves.

#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use support::{
    SmallDisk, append_history, child, child_directory, copy, damage, files, flip_last, judge, newest_log, small,
};
use windlass_scheduler::change::{Change, Key};
use windlass_storage::conformance::samples::{job, job_id};
use windlass_storage::conformance::{self, append, load_with_quarantine};
use windlass_storage::{BackupError, CommitNo, Journal, OpenError, RocksJournal};

fn key(n: u64) -> Vec<u8> {
    [job_id(n).0.as_bytes().as_slice(), &[0]].concat()
}

#[test]
fn it_keeps_the_promises_of_copies() {
    let (journals, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut no = 0;
    let make = || {
        no += 1;
        RocksJournal::at(journals.path().join(no.to_string()))
    };
    conformance::exercise_backup(make, |path| RocksJournal::at(path), folder.path());
}

/// Tables, several logs and moves between them: copied again and again while the history goes on.
#[test]
fn every_copy_of_a_working_journal_is_a_beginning_of_its_history() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = small(&folder.path().join("journal"));
    let term = journal.open().unwrap().term;
    let mut last = 0;
    for round in 0..8 {
        append_history(&mut journal, term, last + 1, last + 400);
        last += 400;
        let path = folder.path().join(format!("copy-{round}"));
        let pending = journal.backup(&path).unwrap();
        let finishes = std::thread::spawn(move || pending.finish().unwrap());
        append_history(&mut journal, term, last + 1, last + 400);
        let report = finishes.join().unwrap();
        let reached = report.commit_no.step;
        assert!((last..=last + 400).contains(&reached), "{reached} of {last} and 400 more");
        last += 400;
        let restored = folder.path().join(format!("restored-{round}"));
        assert_eq!(RocksJournal::restore(&path, &restored).unwrap().commit_no, report.commit_no);
        let mut restored = small(&restored);
        assert!(restored.open().unwrap().term > term);
        assert_eq!(judge(&mut restored), reached);
    }
    assert_eq!(judge(&mut journal), last);
}

#[test]
fn a_backup_is_restored_many_times_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (now, kept) = (folder.path().join("now"), folder.path().join("kept"));
    let mut journal = RocksJournal::at(&now);
    let term = journal.open().unwrap().term;
    append_history(&mut journal, term, 1, 50);
    let report = journal.backup(&kept).unwrap().finish().unwrap();
    // What the original does later is nothing to the copy, its tables neither.
    append_history(&mut journal, term, 51, 90);
    journal.close().unwrap();
    fs::remove_dir_all(&now).unwrap();
    let before = files(&kept);
    for n in 0..3 {
        let to = folder.path().join(n.to_string());
        assert_eq!(RocksJournal::restore(&kept, &to).unwrap().jobs, report.jobs);
        let mut restored = RocksJournal::at(&to);
        let opened = restored.open().unwrap();
        assert_eq!(opened.recovered, CommitNo { term, step: 50 });
        assert_eq!(judge(&mut restored), 50);
        append_history(&mut restored, opened.term, 51, 60);
        restored.close().unwrap();
        assert_eq!(files(&kept), before);
    }
    // It is a journal itself.
    let mut itself = RocksJournal::at(&kept);
    itself.open().unwrap();
    assert_eq!(judge(&mut itself), 50);
    // Which nobody restores from while it is in use.
    let to = folder.path().join("late");
    let refusal = RocksJournal::restore(&kept, &to).unwrap_err();
    assert_eq!(refusal, BackupError::Open(OpenError::InUse { path: kept }));
    assert!(!to.exists());
}

#[test]
fn an_unreadable_record_is_told_copied_and_told_again() {
    let folder = tempfile::tempdir().unwrap();
    let (now, kept, back) = (folder.path().join("now"), folder.path().join("kept"), folder.path().join("back"));
    let mut journal = RocksJournal::at(&now);
    let term = journal.open().unwrap().term;
    append(&mut journal, CommitNo { term, step: 1 }, (1..=5).map(|n| Change::Put(job(n))).collect());
    journal.close().unwrap();
    damage(&now, "jobs", &key(3), |value| flip_last(value));
    journal.open().unwrap();
    // Not loaded, so it was not moved aside.
    for report in [journal.backup(&kept).unwrap().finish().unwrap(), RocksJournal::restore(&kept, &back).unwrap()] {
        assert_eq!((report.jobs, report.unreadable), (4, 1));
        assert!(report.unreadable_first[0].reason.contains("checksum"), "{report:?}");
    }
    let mut restored = RocksJournal::at(&back);
    restored.open().unwrap();
    let (records, moved) = load_with_quarantine(&mut restored);
    assert_eq!((records.len(), moved.len()), (4, 1));
    assert_eq!(restored.quarantine(9).unwrap()[0].key, key(3));
    assert!(records.iter().all(|record| record.key() != Key::Job(job_id(3))));
}

/// A backup of 20 jobs, most of them in the log.
fn backup(folder: &Path) -> std::path::PathBuf {
    let mut journal = RocksJournal::at(folder.join("journal"));
    let term = journal.open().unwrap().term;
    append_history(&mut journal, term, 1, 20);
    let kept = folder.join("kept");
    journal.backup(&kept).unwrap().finish().unwrap();
    kept
}

#[test]
fn a_backup_that_is_damaged_or_cut_is_refused_and_nothing_appears() {
    let folder = tempfile::tempdir().unwrap();
    let kept = backup(folder.path());
    let (broken, to) = (folder.path().join("broken"), folder.path().join("to"));
    let refusal = |change: &dyn Fn(&Path)| {
        copy(&kept, &broken);
        change(&broken);
        let refusal = RocksJournal::restore(&broken, &to).unwrap_err();
        fs::remove_dir_all(&broken).unwrap();
        assert!(!to.exists() && !folder.path().join("to.partial").exists(), "{refusal}");
        refusal
    };
    let cut = refusal(&|path| {
        let log = newest_log(path);
        let bytes = fs::read(&log).unwrap();
        fs::write(log, &bytes[..bytes.len() - 40]).unwrap();
    });
    assert!(matches!(cut, BackupError::Open(OpenError::RolledBack { .. })), "{cut}");
    let without = refusal(&|path| fs::remove_dir_all(path.join("db")).unwrap());
    assert!(matches!(without, BackupError::Open(OpenError::Damaged { .. })), "{without}");
    let current = refusal(&|path| fs::write(path.join("db/CURRENT"), "MANIFEST-999999\n").unwrap());
    assert!(matches!(current, BackupError::Open(OpenError::Damaged { .. })), "{current}");
    let newer = refusal(&|path| fs::write(path.join("WINDLASS"), "windlass journal, format 2\n").unwrap());
    assert!(matches!(newer, BackupError::Open(OpenError::NewerFormat { found: 2, .. })), "{newer}");
    let unmarked = refusal(&|path| fs::remove_file(path.join("WINDLASS")).unwrap());
    assert!(matches!(unmarked, BackupError::Open(OpenError::NotAJournal { .. })), "{unmarked}");
    let mark = refusal(&|path| fs::write(path.join("WATERMARK"), "zeroes").unwrap());
    assert!(matches!(mark, BackupError::Open(OpenError::WatermarkDamaged { .. })), "{mark}");
    // As it was, it is good.
    RocksJournal::restore(&kept, &to).unwrap();
    let found = fs::read_dir(&to).unwrap().count();
    assert!(matches!(RocksJournal::restore(&kept, &to), Err(BackupError::NotEmpty { .. })));
    assert_eq!(fs::read_dir(&to).unwrap().count(), found);
}

/// The child of the next test: it makes copies and puts one back, for ever.
#[test]
fn child_copies() {
    let Some(directory) = child_directory() else { return };
    let mut journal = RocksJournal::at(directory.join("journal"));
    let term = journal.open().unwrap().term;
    append_history(&mut journal, term, 1, 2_000);
    println!("\nbegun");
    for n in 0_u64.. {
        append_history(&mut journal, term, 2_001 + n, 2_001 + n);
        let kept = directory.join("kept");
        journal.backup(&kept).unwrap().finish().unwrap();
        RocksJournal::restore(&kept, directory.join("back")).unwrap();
        fs::remove_dir_all(directory.join("back")).unwrap();
        // Out of its name first: what is half removed looks like a copy, too.
        fs::rename(&kept, directory.join("removed")).unwrap();
        fs::remove_dir_all(directory.join("removed")).unwrap();
    }
}

#[test]
fn a_kill_at_any_moment_leaves_a_whole_copy_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let (mut partial, mut whole) = (0, 0);
    for round in 0..12 {
        let directory = folder.path().join(round.to_string());
        fs::create_dir(&directory).unwrap();
        let mut child = child("child_copies", &directory, None);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line == "begun"));
        // Moments that differ: after so many looks at the folder.
        let mut looks = 0;
        while looks < 40 + 37 * round {
            looks += u32::from(fs::read_dir(&directory).unwrap().count() > 1);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let kept = directory.join("kept");
        partial += usize::from(directory.join("kept.partial").exists());
        if kept.exists() {
            whole += 1;
            RocksJournal::restore(&kept, directory.join("restored")).unwrap();
            let mut restored = RocksJournal::at(directory.join("restored"));
            restored.open().unwrap();
            assert!(judge(&mut restored) >= 2_001);
            fs::remove_dir_all(&kept).unwrap();
        }
        // What is left of a copy is in nobody's way.
        let mut journal = RocksJournal::at(directory.join("journal"));
        journal.open().unwrap();
        let reached = judge(&mut journal);
        assert_eq!(journal.backup(&kept).unwrap().finish().unwrap().commit_no.step, reached);
        assert!(!directory.join("kept.partial").exists());
    }
    assert!(partial > 0, "some kill came while a copy was made ({whole} were whole)");
}

#[test]
fn a_copy_that_does_not_fit_is_refused_and_the_journal_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mounted(folder.path(), "1m") else { return };
    let mut journal = RocksJournal::at(folder.path().join("journal"));
    let term = journal.open().unwrap().term;
    append_history(&mut journal, term, 1, 6_000);
    let refusal = journal.backup(&disk.path().join("copy")).unwrap().finish().unwrap_err();
    assert!(matches!(refusal, BackupError::NoRoom { needed_bytes, free_bytes, .. } if needed_bytes > free_bytes));
    append_history(&mut journal, term, 6_001, 6_010);
    let elsewhere = journal.backup(&folder.path().join("copy")).unwrap().finish().unwrap();
    assert_eq!(elsewhere.commit_no.step, 6_010);
    let restored = RocksJournal::restore(folder.path().join("copy"), disk.path().join("copy")).unwrap_err();
    assert!(matches!(restored, BackupError::NoRoom { .. }), "{restored}");
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0);
    disk.remount("ro");
    let read_only = journal.backup(&disk.path().join("copy")).unwrap_err();
    assert!(matches!(read_only, BackupError::Permission { .. }), "{read_only}");
    assert_eq!(judge(&mut journal), 6_010);
}
