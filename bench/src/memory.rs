//! W4: bytes of memory a queued job takes, by a counting allocator in a process of its own. What RocksDB itself allocates is
//! bounded by its options and not counted.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use windlass::Durability;

use crate::Failure;
use crate::figure::{Figure, Run};
use crate::work::{self, PAYLOAD_BYTES, QUEUE, Seen};

const RUNS: usize = 3;
const JOBS: u64 = 200_000;

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for level in work::levels()? {
        let runs = (0..RUNS).map(|_| run(dir, level)).collect::<Result<Vec<_>, _>>()?;
        let what = "memory a queued job, of 200,000, without RocksDB's own";
        let figure = Figure::of("memory", what, work::name(level), "bytes", &runs);
        #[allow(clippy::cast_precision_loss)]
        figures.push(figure.over(PAYLOAD_BYTES as f64, "its payload"));
    }
    Ok(figures)
}

fn run(dir: &Path, level: Durability) -> Result<Run, Failure> {
    let program = std::env::current_exe()?.with_file_name("windlass-bench-memory");
    let mut child = Command::new(&program);
    child.arg(dir).arg(work::name(level)).stderr(Stdio::inherit());
    let output = child.output().map_err(|error| format!("{}: {error} (build the whole package)", program.display()))?;
    let line = String::from_utf8(output.stdout)?;
    let mut words = line.split_whitespace();
    match (words.next().map(str::parse), words.next().map(str::parse)) {
        (Some(Ok(value)), Some(Ok(exact))) => Ok(Run { exact: Some(exact), ..Run::bare(value) }),
        _ => Err(format!("{} said {line:?}", program.display()).into()),
    }
}

/// The child's part: a directory and a level in, one line out.
///
/// # Errors
/// Whatever went wrong.
pub fn child(mut arguments: impl Iterator<Item = String>, allocated: &dyn Fn() -> usize) -> Result<String, Failure> {
    let (dir, level) = (arguments.next(), arguments.next());
    let (Some(dir), Some(level)) = (dir, level) else {
        return Err("this is a part of windlass-bench: run that".into());
    };
    let level = work::level(&level)?;
    let dir = tempfile::tempdir_in(PathBuf::from(dir))?;
    work::runtime()?.block_on(async {
        let seen = Arc::new(Seen::default());
        let engine = work::start(dir.path(), level, &seen).await?;
        engine.pause(QUEUE).await?;
        // What is allocated once is not the jobs'.
        let mut ids = work::bulks(&engine, work::BULK).await?;
        ids.reserve(usize::try_from(JOBS)?);
        let before = allocated();
        let more = work::bulks(&engine, JOBS).await?;
        let kept_ids = more.capacity() * size_of::<windlass::JobId>();
        engine.stats().await?;
        let bytes = allocated().saturating_sub(before).saturating_sub(kept_ids);
        ids.extend(more);
        engine.resume(QUEUE).await?;
        work::all_done(&engine, &seen, ids.len() as u64).await?;
        work::stop(engine).await?;
        #[allow(clippy::cast_precision_loss)]
        let each = bytes as f64 / JOBS as f64;
        Ok(format!("{each} {}", seen.were_exactly(&ids)))
    })
}
