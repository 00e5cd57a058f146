//! Whether a data directory is sound.
//!
//! Owns the order of the checks: what an engine's opening would refuse, every record by itself, what records say of one another,
//! and the core's own audit of all of them, loaded as an engine would.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::time::UNIX_EPOCH;

use indicatif::ProgressBar;
use serde::Serialize;
use windlass::storage::{Content, Entry, Family, Gap, Loaded, OpenError, RocksJournal, RocksLook};
use windlass_scheduler::change::Record;
use windlass_scheduler::command::Command;
use windlass_scheduler::job::Name;
use windlass_scheduler::settings::{KindSettings, QueueSettings, ShardSettings};
use windlass_scheduler::shard::Shard;
use windlass_scheduler::time::{Mono, Now, Timestamp};

use crate::cross::Cross;
use crate::failure::{Failure, Verdict};
use crate::output::Out;

/// Bytes of payloads that the core keeps while it checks.
const CORE_BYTES_MAX: u64 = 256 << 20;
/// Bytes of a damaged entry that are shown to people, and to programs.
const SHOWN_BYTES_MAX: usize = 32;
const TOLD_BYTES_MAX: usize = 4_096;

/// What `windlass verify --json` prints.
#[derive(Debug, Default, Serialize)]
struct Report {
    path: String,
    is_sound: bool,
    /// Entries that were read.
    entries: u64,
    /// Bytes of their keys and values.
    entries_bytes: u64,
    /// Records that were moved aside earlier. They are no problem of this directory's any more.
    quarantined: u64,
    /// The core loaded everything and checked it.
    is_core_checked: bool,
    problems: Vec<Problem>,
}

/// Something that is wrong.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    /// `opening`: an engine would not open it; `gap`: the database cannot read; `record`: a record cannot be read; `agreement`:
    /// records do not fit together; `core`: the core does not take them.
    what: &'static str,
    /// The family, where it is about one.
    family: Option<&'static str>,
    /// What sort of record it is, as far as its key tells.
    kind: Option<&'static str>,
    /// Its key, in hexadecimal digits.
    key: Option<String>,
    reason: String,
    /// Its bytes, in hexadecimal digits: the first 4,096.
    bytes: Option<String>,
    /// How many there are.
    bytes_count: Option<usize>,
}

impl Problem {
    pub(crate) fn of(what: &'static str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { what, family: None, kind: None, key: None, reason, bytes: None, bytes_count: None }
    }

    pub(crate) fn of_gap(gap: &Gap) -> Self {
        let until = gap.until.as_deref().map_or_else(|| "the end".to_owned(), |key| format!("key {key}"));
        let reason = format!("the database reads nothing up to {until}: {}", gap.reason);
        Self { family: Some(gap.family.name()), key: Some(gap.from.clone()), ..Self::of("gap", reason) }
    }

    fn of_entry(entry: &Entry<'_>, reason: &str) -> Self {
        let shown = &entry.bytes[..entry.bytes.len().min(TOLD_BYTES_MAX)];
        Self {
            family: Some(entry.family.name()),
            kind: entry.kind(),
            key: Some(hex(entry.key)),
            bytes: Some(hex(shown)),
            bytes_count: Some(entry.bytes.len()),
            ..Self::of("record", reason)
        }
    }

    pub(crate) fn line(&self) -> String {
        let place = [self.family, self.kind].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let key = self.key.as_deref().map(|key| format!(" key {key}")).unwrap_or_default();
        let bytes = self.bytes.as_deref().zip(self.bytes_count).map(|(bytes, count)| {
            let shown = &bytes[..bytes.len().min(2 * SHOWN_BYTES_MAX)];
            let more = if count > SHOWN_BYTES_MAX { "..." } else { "" };
            format!(" ({count} bytes: {shown}{more})")
        });
        format!("{}: {place}{key}: {}{}", self.what, self.reason, bytes.unwrap_or_default())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    windlass::storage::keys::hex(bytes)
}

pub(crate) fn run(dir: &Path, out: &mut Out) -> Result<Verdict, Failure> {
    let mut report = Report { path: dir.display().to_string(), ..Report::default() };
    match RocksJournal::look(dir) {
        Ok(look) => verify(&look, &mut report, out)?,
        // Nothing of it can be read, and that is known.
        Err(error @ (OpenError::Damaged { .. } | OpenError::Option { .. })) => {
            report.problems.push(Problem::of("opening", error.to_string()));
        }
        Err(error) => return Err(Failure::opening(dir, error)),
    }
    report.is_sound = report.problems.is_empty();
    let told = if out.json { out.report(&report) } else { tell(&report, out) };
    match told {
        // Whoever has read enough wants to know all the same.
        Ok(()) | Err(Failure::Gone) => Ok(Verdict::of(report.is_sound)),
        Err(failure) => Err(failure),
    }
}

fn verify(look: &RocksLook, report: &mut Report, out: &Out) -> Result<(), Failure> {
    report.problems.extend(look.refusals().iter().map(|refusal| Problem::of("opening", refusal.to_string())));
    let bar = out.progress(2 * look.entries_estimate(), "checking");
    let mut seen = Seen::default();
    for family in Family::ALL {
        let gaps = look.entries(family, &mut |entry| {
            bar.inc(1);
            seen.entry(entry, report);
        })?;
        report.problems.extend(gaps.iter().map(Problem::of_gap));
    }
    check_together(look, seen, report, &bar);
    bar.finish_and_clear();
    Ok(())
}

/// What the walk over single records leaves for the checks of all.
#[derive(Default)]
struct Seen {
    cross: Cross,
    names: Names,
    /// Keys of records that were told of.
    told: HashSet<String>,
}

/// The queues and kinds that jobs name.
#[derive(Default)]
pub(crate) struct Names {
    queues: BTreeSet<Name>,
    kinds: BTreeSet<Name>,
}

impl Names {
    pub(crate) fn note(&mut self, record: &Record) {
        let (queue, kind) = match record {
            Record::Ended(end) => (&end.key.queue, &end.kind),
            Record::Job(job) => (&job.head.queue, &job.kind),
            // A job that was moved has its queue here.
            Record::Head(_, head) => {
                self.queues.insert(head.queue.clone());
                return;
            }
            _ => return,
        };
        self.queues.insert(queue.clone());
        self.kinds.insert(kind.clone());
    }

    /// A core with all of these, so that nothing is parked for want of code.
    pub(crate) fn shard(&self, term: u64) -> Shard {
        let queues = self.queues.iter().cloned().map(QueueSettings::new).collect();
        let kinds = self.kinds.iter().cloned().map(KindSettings::new).collect();
        let settings = ShardSettings::new(term, 0, queues, kinds);
        Shard::new(ShardSettings { memory_bytes_max: CORE_BYTES_MAX, ..settings })
    }
}

impl Seen {
    fn entry(&mut self, entry: &Entry<'_>, report: &mut Report) {
        report.entries += 1;
        report.entries_bytes += (entry.key.len() + entry.bytes.len()) as u64;
        match &entry.content {
            Ok(Content::Record(record)) => {
                self.cross.aside(record);
                self.names.note(record);
            }
            Ok(Content::Quarantined) => report.quarantined += 1,
            Ok(Content::Own) => {}
            Err(reason) => {
                self.told.insert(hex(entry.key));
                report.problems.push(Problem::of_entry(entry, reason));
            }
        }
    }
}

/// Loads everything into a core, as an engine would, and has it judge.
fn check_together(look: &RocksLook, seen: Seen, report: &mut Report, bar: &ProgressBar) {
    let Seen { mut cross, names, told } = seen;
    let mut shard = names.shard(look.term().saturating_add(1));
    let reader = look.reader();
    let mut problems = Vec::new();
    let loaded = look.load(&mut |loaded| {
        bar.inc(1);
        match loaded {
            Loaded::Record(record) => {
                cross.loaded(&record);
                if let Record::Ended(end) = &record
                    && matches!(reader.body(end.id), Ok(None))
                {
                    problems.push(Problem::of("agreement", format!("job {} ended, and its body is gone", end.id)));
                }
                let key = record.key();
                if let Err(misfit) = shard.admit(record) {
                    problems.push(Problem::of("core", format!("{misfit} ({key:?})")));
                }
            }
            Loaded::Quarantined(record) => {
                if !told.contains(&record.key) {
                    problems.push(Problem { key: Some(record.key), ..Problem::of("record", record.reason) });
                }
            }
        }
    });
    report.problems.append(&mut problems);
    if let Err(error) = loaded {
        // Where it is a gap, that was told with more words.
        if report.problems.iter().all(|problem| problem.what != "gap") {
            report.problems.push(Problem::of("core", error.to_string()));
        }
        return;
    }
    let disagreements = cross.finish().into_iter();
    report.problems.extend(disagreements.map(|one| Problem::of("agreement", format!("{}: {}", one.about, one.what))));
    shard.handle(Command::LoadEnd { live: Vec::new() }, now());
    report.problems.extend(shard.audit().err().map(|wrong| Problem::of("core", wrong)));
    report.is_core_checked = true;
}

fn now() -> Now {
    let since = UNIX_EPOCH.elapsed().unwrap_or_default();
    Now { mono: Mono(0), wall: Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)) }
}

fn tell(report: &Report, out: &mut Out) -> Result<(), Failure> {
    for problem in &report.problems {
        out.line(problem.line())?;
    }
    let read = format!("{} entries, {} bytes", report.entries, report.entries_bytes);
    if report.quarantined > 0 {
        out.line(format_args!(
            "{} records stand in quarantine: they were moved aside, with their bytes",
            report.quarantined
        ))?;
    }
    if report.is_sound {
        {
            let verdict = out.verdict(true, "sound");
            out.line(format_args!("{}: {verdict} ({read}; the core's audit holds)", report.path))
        }
    } else {
        let count = report.problems.len();
        let verdict = out.verdict(false, &format!("{count} {}", if count == 1 { "problem" } else { "problems" }));
        let core = if report.is_core_checked { "" } else { "; the core could not check it whole" };
        out.line(format_args!("{}: {verdict} ({read}{core})", report.path))?;
        out.line("to go on with what can be read: windlass salvage DIR --into NEW")
    }
}
