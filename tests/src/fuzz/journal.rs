//! Batches for a journal in memory, with closings, losses of power and numbers that do not rise: what it has is what the
//! simplest idea of a journal says.

use std::collections::BTreeMap;

use bytes::Bytes;
use uuid::Uuid;
use windlass_scheduler::change::{Change, Key, PolicyNo, Record, Setting};
use windlass_scheduler::job::{JobId, Name};
use windlass_scheduler::retry::RetryPolicy;
use windlass_storage::{Append, Batch, CommitNo, Journal, Loaded, MemoryJournal, Resolution};

use super::input::Input;

/// The simplest idea: what stands, and what would after a loss of power.
struct Naive {
    stands: BTreeMap<Key, Record>,
    synced: BTreeMap<Key, Record>,
    last: CommitNo,
    synced_last: CommitNo,
}

/// Moves on both, compared after each.
pub(crate) fn batches(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut journal = MemoryJournal::simulated_disk();
    let zero = CommitNo::default();
    let mut naive = Naive { stands: BTreeMap::new(), synced: BTreeMap::new(), last: zero, synced_last: zero };
    let mut term = open(&mut journal, &mut naive, 0);
    while !input.is_used_up() {
        match input.below(8) {
            0..4 => append(&mut input, &mut journal, &mut naive, term),
            4 => {
                assert!(journal.sync().is_ok());
                (naive.synced, naive.synced_last) = (naive.stands.clone(), naive.last);
            }
            5 => {
                journal.lose_power();
                (naive.stands, naive.last) = (naive.synced.clone(), naive.synced_last);
                term = open(&mut journal, &mut naive, term);
            }
            6 => {
                assert!(journal.close().is_ok());
                assert!(matches!(
                    journal.append(&Batch { commit_no: naive.last, changes: Vec::new() }),
                    Append::Refused(_)
                ));
                term = open(&mut journal, &mut naive, term);
            }
            _ => resolve(&mut input, &mut journal, &naive, term),
        }
        compare(&journal, &naive);
    }
}

/// Everything that is there is synced with the term.
fn open(journal: &mut MemoryJournal, naive: &mut Naive, before: u64) -> u64 {
    let opened = journal.open().expect("it is closed");
    assert!(opened.term > before, "term {} after {before}", opened.term);
    assert_eq!(opened.recovered, naive.last);
    (naive.synced, naive.synced_last) = (naive.stands.clone(), naive.last);
    let mut loaded = Vec::new();
    let sink = &mut |one| {
        match one {
            Loaded::Record(record) => loaded.push(record),
            Loaded::Quarantined(one) => panic!("nothing is damaged: {one:?}"),
        }
        None
    };
    journal.load(sink).expect("it is open");
    let is_streamed = |record: &&Record| !matches!(record, Record::Result(..) | Record::Checkpoint(..));
    assert_eq!(loaded.iter().collect::<Vec<_>>(), naive.stands.values().filter(is_streamed).collect::<Vec<_>>());
    opened.term
}

fn append(input: &mut Input<'_>, journal: &mut MemoryJournal, naive: &mut Naive, term: u64) {
    let changes: Vec<_> = (0..input.below(4)).map(|_| change(input)).collect();
    let step = if naive.last.term == term { naive.last.step } else { 0 };
    let commit_no = match input.below(6) {
        0 => naive.last,
        1 => CommitNo { term: term - 1, step: step + 1 },
        more => CommitNo { term, step: step + u64::from(more) },
    };
    let rises = commit_no > naive.last && commit_no.term >= term;
    match journal.append(&Batch { commit_no, changes: changes.clone() }) {
        Append::Ok => assert!(rises, "{commit_no:?} was taken after {:?} in term {term}", naive.last),
        Append::Refused(_) => {
            return assert!(!rises, "{commit_no:?} was refused after {:?} in term {term}", naive.last);
        }
        other => panic!("nobody else has it: {other:?}"),
    }
    naive.last = commit_no;
    for change in changes {
        match change {
            Change::Put(record) => drop(naive.stands.insert(record.key(), record)),
            Change::Delete(key) => drop(naive.stands.remove(&key)),
        }
    }
}

fn resolve(input: &mut Input<'_>, journal: &mut MemoryJournal, naive: &Naive, term: u64) {
    let asked = CommitNo { term, step: u64::from(input.byte()) };
    let is_there = asked <= naive.last;
    let answer = journal.resolve(asked).expect("the term is its own");
    assert_eq!(answer == Resolution::Committed, is_there, "{asked:?}, the last is {:?}", naive.last);
}

/// Records that load whatever else stands.
fn change(input: &mut Input<'_>) -> Change {
    let n = input.below(6);
    let id = JobId(Uuid::from_u128(u128::from(n)));
    let queue = Name::from(["a", "b"][usize::from(n % 2)]);
    let record = match input.below(4) {
        0 => Record::Setting(Setting::Paused(queue)),
        1 => Record::Policy(PolicyNo(u16::from(n)), RetryPolicy { attempts_max: n.into(), ..RetryPolicy::default() }),
        2 => Record::Result(id, Bytes::copy_from_slice(input.bytes(8))),
        _ => Record::Checkpoint(id, Bytes::copy_from_slice(input.bytes(8))),
    };
    if input.one_in(3) { Change::Delete(record.key()) } else { Change::Put(record) }
}

fn compare(journal: &MemoryJournal, naive: &Naive) {
    let reader = journal.reader().expect("it is open");
    let queues = ["a", "b"].map(|name| Record::Setting(Setting::Paused(Name::from(name))).key());
    let ids = (0..6).map(|n| JobId(Uuid::from_u128(n)));
    let keys = ids.flat_map(|id| [Key::Result(id), Key::Checkpoint(id)]).chain(queues);
    for key in keys.chain((0..6).map(|n| Key::Policy(PolicyNo(n)))) {
        assert_eq!(reader.get(&key).expect("it is open").as_ref(), naive.stands.get(&key), "{key:?}");
    }
}
