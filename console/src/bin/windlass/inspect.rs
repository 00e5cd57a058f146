//! What is in a data directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::Serialize;
use windlass::storage::{Content, Entry, Family, Loaded, RocksJournal, RocksLook};
use windlass_scheduler::change::{Record, Setting};
use windlass_scheduler::job::Name;
use windlass_scheduler::state::State;

use crate::failure::{Failure, Verdict};
use crate::output::{Out, bytes, number, table};
use crate::survey::Survey;

/// What `windlass inspect --json` prints.
#[derive(Debug, Default, Serialize)]
struct Inspection {
    path: String,
    format: u32,
    /// How often it was opened.
    term: u64,
    /// The last commit: term and step.
    commit: String,
    /// The last commit that is known to be synced.
    synced: Option<String>,
    /// When an engine last said that it was there, in milliseconds since the Unix epoch.
    last_open_ms: Option<u64>,
    tables_bytes: u64,
    log_bytes: u64,
    live: u64,
    retained: u64,
    flows: u64,
    flows_open: u64,
    schedules: u64,
    unique_keys: u64,
    quarantined: u64,
    /// Entries that cannot be read.
    unreadable: u64,
    queues: Vec<Queue>,
    records: Vec<Records>,
    /// Why an engine would not open it as it is.
    refusals: Vec<String>,
    /// Where the database could not be read.
    gaps: Vec<String>,
}

/// A queue, with its jobs by state.
#[derive(Debug, Default, Serialize)]
struct Queue {
    #[serde(rename = "queue")]
    name: String,
    is_paused: bool,
    waiting: u64,
    delayed: u64,
    ready: u64,
    running: u64,
    done: u64,
    dead: u64,
    cancelled: u64,
    expired: u64,
}

/// Records of a kind, and the bytes of their keys and values.
#[derive(Debug, Serialize)]
struct Records {
    kind: &'static str,
    count: u64,
    bytes: u64,
}

impl Queue {
    fn count(&mut self, state: State) {
        *match state {
            State::Waiting => &mut self.waiting,
            State::Delayed => &mut self.delayed,
            // Which kinds have a handler, no directory knows.
            State::Ready | State::Parked => &mut self.ready,
            State::Running => &mut self.running,
            State::Done => &mut self.done,
            State::Dead => &mut self.dead,
            State::Cancelled => &mut self.cancelled,
            State::Expired => &mut self.expired,
        } += 1;
    }
}

pub(crate) fn run(dir: &Path, out: &mut Out) -> Result<Verdict, Failure> {
    let look = RocksJournal::look(dir).map_err(|error| Failure::opening(dir, error))?;
    let found = inspect(&look, out)?;
    if out.json {
        out.report(&found)?;
    } else {
        tell(&found, out)?;
    }
    Ok(Verdict::Sound)
}

fn inspect(look: &RocksLook, out: &Out) -> Result<Inspection, Failure> {
    let disk = look.disk()?;
    let mut found = Inspection {
        path: look.path().display().to_string(),
        format: look.format(),
        term: look.term(),
        commit: look.commit_no().to_string(),
        synced: look.watermark().map(|mark| mark.to_string()),
        last_open_ms: last_open_ms(look.path()),
        tables_bytes: disk.tables_bytes,
        log_bytes: disk.log_bytes,
        refusals: look.refusals().iter().map(ToString::to_string).collect(),
        ..Inspection::default()
    };
    let bar = out.progress(2 * look.entries_estimate(), "reading");
    let (mut kinds, mut survey) = (BTreeMap::new(), Survey::default());
    for family in Family::ALL {
        let gaps = look.entries(family, &mut |entry| {
            bar.inc(1);
            count(entry, &mut found, &mut kinds);
            if let Ok(Content::Record(record)) = &entry.content {
                survey.note(record);
            }
        })?;
        found.gaps.extend(gaps.iter().map(|gap| format!("{} from key {}: {}", family.name(), gap.from, gap.reason)));
    }
    (found.flows, found.flows_open) = survey.flows();
    found.records = kinds.into_iter().map(|(kind, (count, bytes))| Records { kind, count, bytes }).collect();
    let mut queues = BTreeMap::<Name, Queue>::new();
    let loaded = look.load(&mut |loaded| {
        bar.inc(1);
        let Loaded::Record(record) = loaded else { return };
        match &record {
            Record::Counters(counters) => drop(queues.entry(counters.queue.clone()).or_default()),
            Record::Setting(Setting::Paused(queue)) => queues.entry(queue.clone()).or_default().is_paused = true,
            Record::Ended(end) => {
                found.retained += 1;
                queues.entry(end.key.queue.clone()).or_default().count(end.key.state.into());
            }
            Record::Job(job) => {
                found.live += 1;
                queues.entry(job.head.queue.clone()).or_default().count(survey.state_of(job));
            }
            _ => {}
        }
    });
    bar.finish_and_clear();
    if let Err(error) = loaded {
        found.refusals.push(format!("not all jobs could be counted: {error}"));
    }
    found.queues = queues.into_iter().map(|(name, queue)| Queue { name: name.to_string(), ..queue }).collect();
    Ok(found)
}

fn count(entry: &Entry<'_>, found: &mut Inspection, kinds: &mut BTreeMap<&'static str, (u64, u64)>) {
    match &entry.content {
        Err(_) => {
            found.unreadable += 1;
            return;
        }
        Ok(Content::Quarantined) => found.quarantined += 1,
        Ok(Content::Record(Record::Schedule(_))) => found.schedules += 1,
        Ok(Content::Record(Record::Unique(_))) => found.unique_keys += 1,
        Ok(_) => {}
    }
    if let Some(kind) = entry.kind() {
        let (count, bytes) = kinds.entry(kind).or_default();
        *count += 1;
        *bytes += (entry.key.len() + entry.bytes.len()) as u64;
    }
}

/// The watermark is written at every opening, about once a second, and at a close.
fn last_open_ms(dir: &Path) -> Option<u64> {
    let at = fs::metadata(dir.join("WATERMARK")).ok()?.modified().ok()?;
    u64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

fn tell(found: &Inspection, out: &mut Out) -> Result<(), Failure> {
    out.line(format_args!("{}: format {}, term {}, commit {}", found.path, found.format, found.term, found.commit))?;
    let last = found.last_open_ms.map_or_else(|| "not known when".to_owned(), ago);
    out.line(format_args!("last open: {last}; synced up to commit {}", found.synced.as_deref().unwrap_or("?")))?;
    let (tables, log) = (bytes(found.tables_bytes), bytes(found.log_bytes));
    out.line(format_args!("on disk: {tables} in tables, {log} in the log"))?;
    out.line(format_args!("jobs: {} live, {} retained", found.live, found.retained))?;
    let (flows, open, schedules) = (found.flows, found.flows_open, found.schedules);
    out.line(format_args!("flows: {flows} ({open} open), schedules: {schedules}, unique keys: {}", found.unique_keys))?;
    if !found.queues.is_empty() {
        let columns =
            ["queue", "waiting", "delayed", "ready", "running", "done", "dead", "cancelled", "expired", "paused"];
        let mut rows = table(&columns);
        for queue in &found.queues {
            let live = [queue.waiting, queue.delayed, queue.ready, queue.running];
            let counts = [queue.done, queue.dead, queue.cancelled, queue.expired];
            let mut row = vec![(&queue.name).into()];
            row.extend(live.into_iter().chain(counts).map(number));
            row.push(if queue.is_paused { "yes" } else { "" }.into());
            rows.add_row(row);
        }
        out.line(rows)?;
    }
    let mut rows = table(&["records of kind", "count", "bytes"]);
    for records in &found.records {
        rows.add_row([records.kind.into(), number(records.count), number(records.bytes)]);
    }
    out.line(rows)?;
    let is_well = found.unreadable == 0 && found.gaps.is_empty() && found.refusals.is_empty();
    if found.quarantined > 0 {
        out.line(format_args!(
            "{} records stand in quarantine: they were moved aside, with their bytes",
            found.quarantined
        ))?;
    }
    for line in found.refusals.iter().chain(&found.gaps) {
        out.line(out.verdict(false, line))?;
    }
    if !is_well {
        out.line(format_args!("{} entries cannot be read: `windlass verify` names them", found.unreadable))?;
    }
    Ok(())
}

fn ago(at_ms: u64) -> String {
    let now_ms = UNIX_EPOCH.elapsed().map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let since = std::time::Duration::from_millis(now_ms.saturating_sub(at_ms));
    format!("{} ago", indicatif::HumanDuration(since))
}
