//! Backups, for journals that can be copied; and what those that cannot have to say.

use std::fs;
use std::path::Path;

use windlass_scheduler::change::{Change, Key, Record};

use super::samples::{self, job, job_id};
use super::{append, load, open, puts};
use crate::error::{BackupError, OpenError, StorageError};
use crate::journal::{CommitNo, Journal};

/// A closed journal cannot be copied, and a refusal leaves nothing behind. Journals without files say so.
pub(super) fn a_refused_copy_leaves_nothing(journal: &mut dyn Journal) {
    let to = std::env::temp_dir().join(format!("windlass-conformance-{}", std::process::id()));
    let is_refused = |answer: &BackupError| {
        matches!(answer, BackupError::Journal(StorageError::Closed) | BackupError::Unsupported { .. })
    };
    let answer = journal.backup(&to).expect_err("a closed journal is not copied");
    assert!(is_refused(&answer), "{answer}");
    assert!(!to.exists(), "a refusal leaves nothing");
    let mut no = open(journal);
    append(journal, no(), vec![Change::Put(job(1))]);
    match journal.backup(&to) {
        Ok(pending) => drop(pending),
        Err(error) => assert!(matches!(error, BackupError::Unsupported { .. }), "{error}"),
    }
    assert!(!to.exists(), "a copy that nobody finishes leaves nothing");
    assert_eq!(load(journal), [job(1)], "the journal goes on");
}

/// What every journal that can be copied promises. `make` gives a fresh, empty, closed journal at every call, `at` the
/// closed journal that a copy is, and `folder` is empty and on a disk.
///
/// # Panics
/// Where the journal breaks a must.
pub fn exercise_backup<J: Journal>(mut make: impl FnMut() -> J, mut at: impl FnMut(&Path) -> J, folder: &Path) {
    a_copy_has_what_was_there_and_can_be_opened(&mut make(), &mut at, folder);
    a_copy_is_begun_at_once_and_finished_while_the_journal_goes_on(&mut make(), &mut at, folder);
    a_copy_of_nothing_is_a_journal(&mut make(), &mut at, folder);
    what_stands_in_the_way_is_refused_untouched(&mut make(), folder);
    a_journal_that_closed_is_not_copied_any_more(&mut make(), folder);
    assert_eq!(names(folder), [] as [String; 0], "each check leaves nothing behind");
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Opens a copy, judges it, and removes it.
fn judge<J: Journal>(at: &mut impl FnMut(&Path) -> J, path: &Path, term: u64, recovered: CommitNo) -> Vec<Record> {
    let mut copy = at(path);
    let opened = copy.open().expect("a copy opens as a journal");
    assert_eq!(opened.recovered, recovered, "a copy knows its last commit");
    assert!(opened.term > term, "a copy begins a term of its own");
    let records = load(&mut copy);
    append(&mut copy, CommitNo { term: opened.term, step: 1 }, vec![Change::Put(job(999))]);
    copy.close().expect("a copy closes");
    drop(copy);
    fs::remove_dir_all(path).unwrap();
    records
}

fn a_copy_has_what_was_there_and_can_be_opened<J: Journal>(
    journal: &mut J,
    at: &mut impl FnMut(&Path) -> J,
    folder: &Path,
) {
    let mut no = open(journal);
    let all = samples::one_of_each();
    append(journal, no(), puts(all.clone()));
    append(journal, no(), puts([job(900), samples::ended("b", windlass_scheduler::state::EndState::Dead, 2, 902)]));
    journal.sync().unwrap();
    // Written and not synced is in it, too.
    let last = no();
    append(journal, last, vec![Change::Put(job(901)), Change::Delete(Key::Job(job_id(900)))]);
    let path = folder.join("copy");
    let report = journal.backup(&path).expect("an open journal is copied").finish().expect("a copy is made");
    let records = load(journal);
    let jobs = records.iter().filter(|record| matches!(record, Record::Job(_))).count() as u64;
    let ended = records.iter().filter(|record| matches!(record, Record::Ended(_))).count() as u64;
    assert_eq!((report.path.as_path(), report.commit_no), (path.as_path(), last));
    assert_eq!((report.jobs, report.ended, report.unreadable), (jobs, ended, 0));
    assert!(report.records >= records.len() as u64 && report.bytes > 0);
    assert_eq!(names(folder), ["copy"], "nothing but the copy is left");
    assert_eq!(judge(at, &path, last.term, last), records);
    assert_eq!(load(journal), records, "the copy is another journal: what happens there does not happen here");
}

fn a_copy_is_begun_at_once_and_finished_while_the_journal_goes_on<J: Journal>(
    journal: &mut J,
    at: &mut impl FnMut(&Path) -> J,
    folder: &Path,
) {
    let mut no = open(journal);
    append(journal, no(), vec![Change::Put(job(1))]);
    let begun = folder.join("begun");
    let pending = journal.backup(&begun).unwrap();
    assert!(!begun.exists(), "nothing has its name before it is finished");
    append(journal, no(), vec![Change::Put(job(2))]);
    let finishes = std::thread::spawn(move || pending.finish());
    append(journal, no(), vec![Change::Put(job(3)), Change::Put(job(4))]);
    let report = finishes.join().expect("any thread may finish it").unwrap();
    let records = judge(at, &begun, report.commit_no.term, report.commit_no);
    assert!(records.contains(&job(1)), "what was there before the call is in the copy");
    let last = usize::try_from(report.commit_no.step).unwrap();
    let expected: [&[Record]; 4] = [&[], &[job(1)], &[job(1), job(2)], &[job(1), job(2), job(3), job(4)]];
    assert_eq!(records, expected[last], "and of what came later whole batches, in their order");
    drop(journal.backup(&begun).unwrap());
    assert_eq!(names(folder), [] as [String; 0], "a copy that nobody finishes leaves nothing");
    journal.backup(&begun).unwrap().finish().expect("and is in nobody's way");
    fs::remove_dir_all(begun).unwrap();
}

fn a_copy_of_nothing_is_a_journal<J: Journal>(journal: &mut J, at: &mut impl FnMut(&Path) -> J, folder: &Path) {
    let term = journal.open().unwrap().term;
    let path = folder.join("nothing");
    fs::create_dir(&path).unwrap();
    let report = journal.backup(&path).unwrap().finish().expect("an empty directory is as good as none");
    assert_eq!((report.jobs, report.ended), (0, 0));
    assert_eq!(judge(at, &path, term, CommitNo::default()), []);
}

fn what_stands_in_the_way_is_refused_untouched(journal: &mut dyn Journal, folder: &Path) {
    let mut no = open(journal);
    append(journal, no(), vec![Change::Put(job(1))]);
    let (file, full, nowhere) = (folder.join("file"), folder.join("full"), folder.join("nowhere"));
    fs::write(&file, "precious").unwrap();
    fs::create_dir(&full).unwrap();
    fs::write(full.join("thesis.tex"), "precious").unwrap();
    let mut refused = |path: &Path| journal.backup(path).expect_err("there is something in the way");
    assert_eq!(refused(&file), BackupError::Exists { path: file.clone() });
    let found = "thesis.tex".to_owned();
    assert_eq!(refused(&full), BackupError::NotEmpty { path: full.clone(), found });
    assert_eq!(refused(&nowhere.join("copy")), BackupError::ParentMissing { path: nowhere });
    assert_eq!((names(folder), names(&full)), (vec!["file".into(), "full".into()], vec!["thesis.tex".into()]));
    // Somebody was quicker.
    let late = folder.join("late");
    let pending = journal.backup(&late).unwrap();
    fs::write(&late, "precious").unwrap();
    assert_eq!(pending.finish().expect_err("it is not replaced"), BackupError::Exists { path: late.clone() });
    assert_eq!(names(folder), ["file", "full", "late"], "and nothing of the copy is left");
    assert_eq!(load(journal), [job(1)], "the journal goes on");
    for path in [file, late] {
        fs::remove_file(path).unwrap();
    }
    fs::remove_dir_all(full).unwrap();
}

fn a_journal_that_closed_is_not_copied_any_more(journal: &mut dyn Journal, folder: &Path) {
    let mut no = open(journal);
    append(journal, no(), vec![Change::Put(job(1))]);
    let pending = journal.backup(&folder.join("copy")).unwrap();
    journal.close().expect("a copy that was only begun keeps nobody from closing");
    let answer = pending.finish().expect_err("there is nothing to copy any more");
    assert!(matches!(answer, BackupError::Journal(StorageError::Closed)), "{answer}");
    assert!(!matches!(journal.open(), Err(OpenError::InUse { .. })), "the journal is free");
}
