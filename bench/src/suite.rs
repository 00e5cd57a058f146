//! The whole of it: which groups run, where, and what becomes of their figures.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::ceilings::Ceilings;
use crate::figure::{Figure, table};
use crate::{
    Failure, backlog, claims, console, delays, enqueue, flows, latency, life, memory, recovery, schedules, soak, turns,
    unique, urgent,
};

/// The groups, in order.
pub const GROUPS: [&str; 9] =
    ["enqueue", "life", "latency", "memory", "delays", "recovery", "urgent", "claims", "ceilings"];

/// The workloads by their numbers, for those who know them so: `ONLY=w2` is `ONLY=life`.
const NUMBERS: [(&str, &str); 14] = [
    ("w1", "enqueue"),
    ("w2", "life"),
    ("w3", "latency"),
    ("w4", "memory"),
    ("w5", "delays"),
    ("w6", "recovery"),
    ("w7", "urgent"),
    ("w8", "soak"),
    ("w9", "claims"),
    ("w10", "schedules"),
    ("w11", "unique"),
    ("w12", "turns"),
    ("w13", "flows"),
    ("w14", "console"),
];

/// Groups that run only where they are asked for by name.
pub const ASKED_FOR: [&str; 7] = ["backlog", "soak", "schedules", "unique", "turns", "flows", "console"];

/// What to run, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// One group only.
    pub only: Option<String>,
    /// Where the journals go: into a directory of their own in there, which is removed afterwards.
    pub dir: PathBuf,
}

impl Options {
    /// From `ONLY` in the environment (`LEVEL` there picks a durability level, too), and from `--dir`; otherwise the
    /// journals go where cargo put this program.
    ///
    /// # Errors
    /// How to call it.
    pub fn from_environment() -> Result<Self, String> {
        let groups = [GROUPS.as_slice(), &ASKED_FOR].concat();
        let usage = format!("[ONLY={}] [LEVEL=Memory|Process|Durable] windlass-bench [--dir DIR]", groups.join("|"));
        let mut arguments = std::env::args().skip(1);
        let dir = match (arguments.next().as_deref(), arguments.next()) {
            (None, _) => {
                let program = std::env::current_exe().map_err(|error| error.to_string())?;
                program.ancestors().nth(2).unwrap_or_else(|| Path::new(".")).to_owned()
            }
            (Some("--dir"), Some(dir)) => PathBuf::from(dir),
            _ => return Err(usage),
        };
        let only = std::env::var("ONLY").ok().filter(|only| !only.is_empty());
        let named =
            |only: String| NUMBERS.iter().find(|(no, _)| *no == only).map_or(only, |(_, name)| (*name).to_owned());
        let only = only.map(named);
        if only.as_deref().is_some_and(|only| !groups.contains(&only)) {
            return Err(usage);
        }
        // Said before anything is measured.
        crate::work::levels().map_err(|error| error.to_string())?;
        Ok(Self { only, dir })
    }
}

/// Measures, prints the table and writes the JSON. Answers whether all delivery was exact.
///
/// # Errors
/// Whatever went wrong first.
pub fn run(options: &Options) -> Result<bool, Failure> {
    let dir = tempfile::Builder::new().prefix("windlass-bench-").tempdir_in(&options.dir)?;
    let dir = dir.path();
    eprintln!("journals in {}", dir.display());
    let mut ceilings = Ceilings::new(dir);
    let mut figures = Vec::new();
    let groups: Vec<_> = match options.only.as_deref() {
        None => GROUPS.into(),
        Some(only) => GROUPS.into_iter().chain(ASKED_FOR).filter(|group| *group == only).collect(),
    };
    for group in groups {
        let started = Instant::now();
        match group {
            "enqueue" => figures.extend(enqueue::measure(dir, &mut ceilings)?),
            "life" => figures.extend(life::measure(dir, &mut ceilings)?),
            "latency" => figures.extend(latency::measure(dir, &mut ceilings)?),
            "recovery" => figures.extend(recovery::measure(dir)?),
            "memory" => figures.extend(memory::measure(dir)?),
            "delays" => figures.extend(delays::measure(dir)?),
            "urgent" => figures.extend(urgent::measure(dir)?),
            "claims" => figures.extend(claims::measure(dir)?),
            "backlog" => figures.extend(backlog::measure(dir)?),
            "soak" => figures.extend(soak::measure(dir)?),
            "schedules" => figures.extend(schedules::measure(dir)?),
            "unique" => figures.extend(unique::measure(dir)?),
            "flows" => figures.extend(flows::measure(dir)?),
            "console" => figures.extend(console::measure(dir)?),
            "turns" => figures.extend(turns::measure(dir)?),
            _ => ceilings.measure_all()?,
        }
        eprintln!("{group}: {:.0} s", started.elapsed().as_secs_f64());
    }
    figures.extend(ceilings.into_figures());
    println!("{}\n", table(&figures));
    println!(
        "Payload {} bytes of JSON, concurrency {}, default retention (10,000 successes kept) unless it says otherwise; \
         medians, with the least and the most of all runs. CPU is user and system time of the whole process, callers and \
         handlers included, in seconds for 100,000 jobs. Operations: puts and deletes that the journal got for a job, its \
         own commit record in each batch and what all jobs of a batch share with them. Bytes: by how much its log grew for \
         a job. Both counted in a run of their own that was not timed. Exact: each job's id was seen exactly once by the \
         handler.",
        crate::work::PAYLOAD_BYTES,
        crate::work::CONCURRENCY,
    );
    let file = write(&figures)?;
    eprintln!("written to {}", file.display());
    Ok(!figures.iter().any(Figure::is_void))
}

fn write(figures: &[Figure]) -> Result<PathBuf, Failure> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    fs::create_dir_all(&dir)?;
    let file = dir.join("latest.json");
    fs::write(&file, serde_json::to_string_pretty(figures)? + "\n")?;
    Ok(file)
}
