//! What is left of a damaged data directory, made a sound one, and what was lost.
//!
//! Owns the report. Reading, copying and moving aside are the storage crate's; which records make sense is the core's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use windlass::storage::rocks::QuarantineEntry;
use windlass::storage::{Content, Entry, Family, Loaded, RocksJournal, SalvageReport, Salvager};
use windlass_scheduler::change::Change;
use windlass_scheduler::shard::Shard;

use crate::cross::Cross;
use crate::failure::{Failure, Verdict};
use crate::output::{Out, bytes, number, table};
use crate::verify::{Names, Problem, hex};

/// From where, and whereto.
#[derive(Args, Debug)]
pub(crate) struct Salvage {
    /// The damaged data directory; nothing in it changes
    dir: PathBuf,
    /// Where the sound one is to stand: a path that does not exist, or an empty directory
    #[arg(long, value_name = "NEW")]
    into: PathBuf,
}

/// What `windlass salvage --json` prints.
#[derive(Debug, Serialize)]
struct Report {
    from: String,
    into: String,
    /// Nothing was lost, as far as can be told.
    is_whole: bool,
    /// The new one's last commit.
    commit: String,
    /// Jobs in it that are still to be run.
    live: u64,
    retained: u64,
    /// Records in it, of whatever kind.
    records: u64,
    bytes: u64,
    /// The database had to be made anew from its files: tables with damage in them were left out whole.
    is_rebuilt: bool,
    /// What was lost, counted by kind of record.
    lost_by_kind: BTreeMap<String, u64>,
    /// What was lost and could be seen: it stands in the new one's quarantine.
    lost: Vec<Lost>,
    /// Where even that could not be, and why an engine did not open it.
    problems: Vec<Problem>,
    /// What was written anew, so that what is left is in agreement with itself.
    mended: Vec<String>,
}

/// A record that is lost.
#[derive(Debug, Serialize)]
struct Lost {
    family: String,
    kind: Option<&'static str>,
    key: String,
    reason: String,
    bytes_count: usize,
}

impl Salvage {
    pub(crate) fn run(&self, out: &mut Out) -> Result<Verdict, Failure> {
        let mut watch = Watch::new(out.progress(0, "salvaging"));
        let done = RocksJournal::salvage(&self.dir, &self.into, &mut watch);
        watch.bar.finish_and_clear();
        let done = done.map_err(|error| Failure::copying(&self.dir, error))?;
        let report = self.report(&done, watch)?;
        let told = if out.json { out.report(&report) } else { tell(&report, out) };
        match told {
            // The new one stands there all the same.
            Ok(()) | Err(Failure::Gone) => Ok(Verdict::of(report.is_whole)),
            Err(failure) => Err(failure),
        }
    }

    fn report(&self, done: &SalvageReport, watch: Watch) -> Result<Report, Failure> {
        let look = RocksJournal::look(&self.into).map_err(|error| Failure::opening(&self.into, error))?;
        let quarantine = look.quarantine(usize::MAX)?;
        let is_new = |entry: &&QuarantineEntry| !watch.set_aside.contains(&entry.key);
        let lost: Vec<_> = quarantine.iter().filter(is_new).map(Lost::of).collect();
        let mut lost_by_kind = BTreeMap::new();
        for one in &lost {
            *lost_by_kind.entry(one.kind.unwrap_or("unknown").to_owned()).or_default() += 1;
        }
        let refusals = done.refusals.iter().map(|refusal| Problem::of("opening", refusal.to_string()));
        let problems: Vec<_> = refusals.chain(done.gaps.iter().map(Problem::of_gap)).collect();
        let copy = &done.copy;
        Ok(Report {
            from: self.dir.display().to_string(),
            into: self.into.display().to_string(),
            is_whole: lost.is_empty() && problems.is_empty() && watch.mended.is_empty() && !done.is_rebuilt,
            commit: copy.commit_no.to_string(),
            live: copy.jobs,
            retained: copy.ended,
            records: copy.records,
            bytes: copy.bytes,
            is_rebuilt: done.is_rebuilt,
            lost_by_kind,
            lost,
            problems,
            mended: watch.mended,
        })
    }
}

impl Lost {
    fn of(entry: &QuarantineEntry) -> Self {
        let (family, reason) = (entry.family.clone(), entry.reason.clone());
        Self { family, kind: entry.kind, key: hex(&entry.key), reason, bytes_count: entry.bytes.len() }
    }
}

/// Watches what goes over, and has the core judge it.
struct Watch {
    bar: ProgressBar,
    names: Names,
    cross: Cross,
    /// Keys of what had been moved aside before.
    set_aside: BTreeSet<Vec<u8>>,
    /// Made when the names are known.
    shard: Option<Shard>,
    mended: Vec<String>,
}

impl Watch {
    fn new(bar: ProgressBar) -> Self {
        let (names, cross, set_aside) = (Names::default(), Cross::default(), BTreeSet::new());
        Self { bar, names, cross, set_aside, shard: None, mended: Vec::new() }
    }
}

impl Salvager for Watch {
    fn entry(&mut self, entry: &Entry<'_>) {
        self.bar.inc(1);
        match &entry.content {
            Ok(Content::Record(record)) => {
                self.names.note(record);
                self.cross.aside(record);
            }
            Ok(Content::Quarantined) if entry.family == Family::Quarantine => {
                // A family's number before it, and a term behind.
                let key = entry.key.get(1..entry.key.len().saturating_sub(8)).unwrap_or_default();
                self.set_aside.insert(key.to_vec());
            }
            _ => {}
        }
    }

    fn begins_anew(&mut self) {
        *self = Self::new(self.bar.clone());
    }

    fn loaded(&mut self, loaded: Loaded) -> Option<String> {
        let Loaded::Record(record) = loaded else { return None };
        // The term matters only to who hands out attempts.
        let shard = self.shard.get_or_insert_with(|| self.names.shard(1));
        match shard.admit(record.clone()) {
            Ok(()) => {
                self.cross.loaded(&record);
                None
            }
            Err(misfit) => Some(misfit.to_string()),
        }
    }

    fn settle(&mut self) -> Vec<Change> {
        let disagreements = std::mem::take(&mut self.cross).finish();
        self.mended = disagreements.iter().map(|one| format!("{}: {}", one.about, one.what)).collect();
        disagreements.into_iter().map(|one| one.mend).collect()
    }
}

fn tell(report: &Report, out: &mut Out) -> Result<(), Failure> {
    for problem in &report.problems {
        out.line(problem.line())?;
    }
    if report.is_rebuilt {
        out.line("the database was made anew from its files: tables with damage in them were left out whole")?;
    }
    for one in &report.lost {
        let (kind, bytes) = (one.kind.unwrap_or("unknown"), one.bytes_count);
        out.line(format_args!("lost: {kind} key {}: {} ({bytes} bytes, in quarantine)", one.key, one.reason))?;
    }
    for line in &report.mended {
        out.line(format_args!("mended: {line}"))?;
    }
    if !report.lost_by_kind.is_empty() {
        let mut rows = table(&["lost of kind", "count"]);
        for (kind, count) in &report.lost_by_kind {
            rows.add_row([kind.into(), number(*count)]);
        }
        out.line(rows)?;
    }
    let verdict = out.verdict(report.is_whole, if report.is_whole { "all of it" } else { "what could be read" });
    out.line(format_args!(
        "{}: {verdict}: {} live and {} retained jobs, {} records, {}",
        report.into,
        report.live,
        report.retained,
        report.records,
        bytes(report.bytes)
    ))
}
