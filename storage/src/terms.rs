//! What every journal has to remember of its terms, so that [`Journal::resolve`](crate::Journal::resolve) can answer.
//!
//! Owns the rule that tells a commit that is there from one that is not: a term's commits are there as a prefix, and
//! the next opening found out how long that prefix is. Never guesses about a term that it has forgotten.

use windlass_scheduler::bug;

use crate::error::StorageError;
use crate::journal::{CommitNo, Resolution};

/// The latest terms, oldest first, each with the last commit that was there when it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms(Vec<(u64, CommitNo)>);

impl Terms {
    /// A question about an older term is answered with [`StorageError::Forgotten`].
    pub(crate) const KEPT_MAX: usize = 64;

    #[cfg(feature = "rocksdb")]
    pub(crate) fn from_list(list: Vec<(u64, CommitNo)>) -> Self {
        Self(list)
    }

    #[cfg(feature = "rocksdb")]
    pub(crate) fn list(&self) -> &[(u64, CommitNo)] {
        &self.0
    }

    /// The latest term; 0 before the first.
    pub(crate) fn last(&self) -> u64 {
        self.0.last().map_or(0, |&(term, _)| term)
    }

    /// How far the log reaches: its last commit, or the beginning of the term that came after it.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn position(&self, last: CommitNo) -> CommitNo {
        last.max(CommitNo { term: self.last(), step: 0 })
    }

    /// Begins a term after all that were ever used, this journal's or its commits'. `recovered` is the last commit
    /// there.
    pub(crate) fn begin(&mut self, recovered: CommitNo) -> u64 {
        let term = self.last().max(recovered.term).saturating_add(u64::from(!bug!(TermNotRaised)));
        if self.0.len() == Self::KEPT_MAX {
            self.0.remove(0);
        }
        self.0.push((term, recovered));
        term
    }

    /// Whether a commit is there, where `last` is the last one of all.
    pub(crate) fn resolve(&self, commit_no: CommitNo, last: CommitNo) -> Result<Resolution, StorageError> {
        // The first opening after the commit's term saw what was left of that term.
        let found = match self.0.iter().position(|&(term, _)| term > commit_no.term) {
            Some(0) if self.0[0].1.term > commit_no.term => {
                return Err(StorageError::Forgotten { commit_no, oldest: self.0[0].0 });
            }
            Some(at) => self.0[at].1,
            None => last,
        };
        Ok(if found >= commit_no { Resolution::Committed } else { Resolution::Absent })
    }

    /// Refuses a commit number that does not rise.
    pub(crate) fn check(&self, given: CommitNo, last: CommitNo) -> Result<(), StorageError> {
        let term = self.last();
        if given > last && given.term >= term { Ok(()) } else { Err(StorageError::NotRising { given, last, term }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn no(term: u64, step: u64) -> CommitNo {
        CommitNo { term, step }
    }

    #[test]
    fn a_commit_is_there_if_the_opening_after_its_term_found_it() {
        let mut terms = Terms::default();
        assert_eq!(terms.begin(no(0, 0)), 1);
        assert_eq!(terms.begin(no(1, 5)), 2);
        assert_eq!(terms.begin(no(2, 3)), 3);
        let ask = |commit| terms.resolve(commit, no(3, 7));
        assert_eq!(ask(no(1, 5)), Ok(Resolution::Committed));
        assert_eq!(ask(no(1, 6)), Ok(Resolution::Absent), "later commits of later terms prove nothing");
        assert_eq!(ask(no(2, 4)), Ok(Resolution::Absent));
        assert_eq!(ask(no(3, 7)), Ok(Resolution::Committed));
        assert_eq!(ask(no(3, 8)), Ok(Resolution::Absent));
        assert_eq!(ask(no(9, 1)), Ok(Resolution::Absent));
    }

    #[test]
    fn a_term_that_was_forgotten_is_not_guessed_about() {
        let mut terms = Terms::default();
        for n in 0..=Terms::KEPT_MAX as u64 {
            terms.begin(no(n, 1));
        }
        assert_eq!(terms.resolve(no(1, 1), no(65, 1)), Ok(Resolution::Committed), "the oldest kept opening saw it");
        terms.begin(no(65, 1));
        let answer = terms.resolve(no(1, 1), no(66, 0));
        assert_eq!(answer, Err(StorageError::Forgotten { commit_no: no(1, 1), oldest: 3 }));
        assert_eq!(terms.resolve(no(2, 2), no(66, 0)), Ok(Resolution::Absent));
    }

    #[test]
    fn a_term_begins_after_the_terms_of_commits_that_another_journal_numbered() {
        let mut terms = Terms::default();
        assert_eq!(terms.begin(no(57, 3)), 58);
        assert!(terms.check(no(57, 4), no(57, 3)).is_err());
        assert!(terms.check(no(58, 1), no(57, 3)).is_ok());
        assert!(terms.check(no(60, 1), no(57, 3)).is_ok());
    }
}
