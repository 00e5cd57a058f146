//! W4: bytes of memory a queued job takes, by a counting allocator in a process of its own. What RocksDB itself allocates is
//! bounded by its options and not counted.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use windlass::Durability;

use crate::Failure;
use crate::figure::{Figure, Run};
use crate::work::{self, PAYLOAD_BYTES, QUEUE, Seen};

const RUNS: usize = 5;
/// The least budget that there is: hardly a payload stays in memory.
const LITTLE_BYTES: u64 = 16 << 20;

/// How many jobs wait, and whether their payloads have room in memory.
const CASES: [(&str, u64, bool); 3] = [
    ("memory a queued job, of 100,000", 100_000, true),
    ("memory a queued job, of 1,000,000", 1_000_000, true),
    ("memory a queued job, of 1,000,000, payloads on disk only", 1_000_000, false),
];

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for level in work::levels()? {
        for (what, jobs, in_memory) in CASES {
            if jobs > CASES[0].1 && !work::one_level()?.contains(&level) {
                continue;
            }
            let runs = (0..RUNS).map(|_| run(dir, level, jobs, in_memory)).collect::<Result<Vec<_>, _>>()?;
            let what = format!("{what}, without RocksDB's own");
            let figure = Figure::of("memory", &what, work::name(level), "bytes", &runs);
            #[allow(clippy::cast_precision_loss)]
            figures.push(if in_memory { figure.over(PAYLOAD_BYTES as f64, "its payload") } else { figure });
        }
    }
    Ok(figures)
}

fn run(dir: &Path, level: Durability, jobs: u64, in_memory: bool) -> Result<Run, Failure> {
    let program = std::env::current_exe()?.with_file_name("windlass-bench-memory");
    let mut child = Command::new(&program);
    child.arg(dir).arg(work::name(level)).arg(jobs.to_string()).arg(in_memory.to_string()).stderr(Stdio::inherit());
    let output = child.output().map_err(|error| format!("{}: {error} (build the whole package)", program.display()))?;
    let line = String::from_utf8(output.stdout)?;
    let mut words = line.split_whitespace();
    match (words.next().map(str::parse), words.next().map(str::parse)) {
        (Some(Ok(value)), Some(Ok(exact))) => Ok(Run { exact: Some(exact), ..Run::bare(value) }),
        _ => Err(format!("{} said {line:?}", program.display()).into()),
    }
}

/// The child's part: a directory, a level, how many jobs and whether in memory in; one line out.
///
/// # Errors
/// Whatever went wrong.
pub fn child(arguments: impl Iterator<Item = String>, allocated: &dyn Fn() -> usize) -> Result<String, Failure> {
    let words: Vec<_> = arguments.collect();
    let [dir, level, jobs, in_memory] = words.as_slice() else {
        return Err("this is a part of windlass-bench: run that".into());
    };
    let (level, jobs, in_memory): (_, u64, bool) = (work::level(level)?, jobs.parse()?, in_memory.parse()?);
    let dir = tempfile::tempdir_in(PathBuf::from(dir))?;
    work::runtime()?.block_on(async {
        let seen = Arc::new(Seen::default());
        let memory_bytes_max = if in_memory { None } else { Some(LITTLE_BYTES) };
        let engine = work::start_within(dir.path(), level, &seen, memory_bytes_max).await?;
        engine.pause(QUEUE).await?;
        // What is allocated once is not the jobs'.
        let mut ids = work::bulks(&engine, work::BULK).await?;
        ids.reserve(usize::try_from(jobs)?);
        let before = allocated();
        let more = work::bulks(&engine, jobs).await?;
        let kept_ids = more.capacity() * size_of::<windlass::JobId>();
        engine.stats().await?;
        let bytes = allocated().saturating_sub(before).saturating_sub(kept_ids);
        ids.extend(more);
        engine.resume(QUEUE).await?;
        work::all_done(&engine, &seen, ids.len() as u64).await?;
        work::stop(engine).await?;
        #[allow(clippy::cast_precision_loss)]
        let each = bytes as f64 / jobs as f64;
        Ok(format!("{each} {}", seen.were_exactly(&ids)))
    })
}
