//! `make bugs`: the suite against every bug of the bank. The tests are tested here.
//!
//! Owns the order in which layers are asked, from the cheapest to the dearest, and the verdict. It builds the suites once,
//! with all bugs in them, demands that they are green while none is on, and then turns on one after the other: by a
//! variable, so that nothing is built twice. A bug that no layer notices makes it fail: a test is missing then.
#![allow(clippy::expect_used)]

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use windlass_tests::bugs::{Bug, VARIABLE};

/// Suites that are asked together.
struct Layer {
    name: &'static str,
    /// Of the package, from the root: where cargo would run them.
    folder: &'static str,
    /// Targets by name; a library's own tests have the library's.
    suites: &'static [&'static str],
}

/// From the cheapest to the dearest. `limits` is left out: it is about time and memory, and takes long.
const LAYERS: &[Layer] = &[
    Layer {
        name: "core",
        folder: "scheduler",
        suites: &[
            "windlass_scheduler",
            "matrix",
            "scripts",
            "flow_scripts",
            "takeover",
            "two_stores",
            "orders",
            "pages",
            "stops",
        ],
    },
    Layer { name: "model", folder: "scheduler", suites: &["model", "flows"] },
    Layer { name: "corpus", folder: "tests", suites: &["corpus"] },
    Layer { name: "engine", folder: "engine", suites: &["windlass"] },
    Layer { name: "simulation", folder: "tests", suites: &["simulation"] },
    Layer { name: "behaviours", folder: "tests", suites: &["behaviours"] },
    Layer {
        name: "storage",
        folder: "storage",
        suites: &["windlass_storage", "rocks_golden", "rocks_open", "rocks_damage", "rocks_syscalls", "rocks_kill"],
    },
    Layer { name: "kill", folder: "tests", suites: &["kill"] },
];

/// The packages that these layers are in.
const PACKAGES: [&str; 4] = ["windlass-scheduler", "windlass-storage", "windlass", "windlass-tests"];

/// What the suites are told: enough sequences of the model to meet what is wrong (a bug that needs more of them is one that
/// `make test` may miss, too), and neither a search for a shorter sequence nor a file with it, since nobody reads them.
const TOLD: [(&str, &str); 4] = [
    ("WINDLASS_MODEL_CASES", "300"),
    ("WINDLASS_SEEDS", "400"),
    ("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1"),
    ("RUST_BACKTRACE", "0"),
];

/// A suite that runs so much longer than it does without a bug hangs.
const LIMIT_TIMES: u32 = 4;
const LIMIT_MIN: Duration = Duration::from_secs(90);
/// And without a bug, no suite takes longer than this.
const LIMIT_GREEN: Duration = Duration::from_secs(900);

/// How a run of a suite went.
enum Verdict {
    Green,
    /// This test was the first to fail.
    Red(String),
    /// It died without a word about a test.
    Died(String),
    Hung(Duration),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Green => f.write_str("green"),
            Self::Red(test) => f.write_str(test),
            Self::Died(how) => write!(f, "the process died: {how}"),
            Self::Hung(after) => write!(f, "a hang: no end after {} s", after.as_secs()),
        }
    }
}

/// A suite that was built.
struct Suite {
    layer: &'static Layer,
    name: &'static str,
    program: PathBuf,
    limit: Duration,
}

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let bugs: Vec<Bug> = match asked.iter().map(|name| named(name)).collect::<Result<Vec<_>, _>>() {
        Ok(bugs) if bugs.is_empty() => Bug::ALL.to_vec(),
        Ok(bugs) => bugs,
        Err(name) => return refuse(&format!("there is no bug {name:?}; there are: {}", names())),
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the house").to_owned();
    let mut suites = match build(&root) {
        Ok(suites) => suites,
        Err(reason) => return refuse(&reason),
    };
    println!("{} suites, no bug on: all of them have to be green.", suites.len());
    for suite in &mut suites {
        let (verdict, took) = run(suite, &root, None);
        println!("  {:<11} {:<20} {:>6.1} s  {verdict}", suite.layer.name, suite.name, took.as_secs_f64());
        if !matches!(verdict, Verdict::Green) {
            return refuse("a suite is red without a bug: what it says of bugs would mean nothing. Mend that first.");
        }
        suite.limit = LIMIT_MIN.max(took * LIMIT_TIMES);
    }
    println!("\n{:<20} {:<11} {:>7}  first to fail", "bug", "caught by", "after");
    let (mut caught, mut escaped) = (BTreeMap::<&str, usize>::new(), Vec::new());
    for bug in bugs {
        match judge(bug, &suites, &root) {
            Some(layer) => *caught.entry(layer).or_default() += 1,
            None => escaped.push(bug),
        }
    }
    let by_layer = LAYERS.iter().filter_map(|layer| Some(format!("{} {}", layer.name, caught.get(layer.name)?)));
    let by_layer: Vec<_> = by_layer.collect();
    println!("\n{} caught ({}), {} escaped", caught.values().sum::<usize>(), by_layer.join(", "), escaped.len());
    for bug in &escaped {
        println!("  {bug}: {}. No test guards this: {}.", bug.what(), bug.promise());
    }
    if escaped.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn refuse(reason: &str) -> ExitCode {
    eprintln!("make bugs: {reason}");
    ExitCode::from(2)
}

fn named(name: &str) -> Result<Bug, String> {
    Bug::ALL.iter().copied().find(|bug| bug.name() == name).ok_or_else(|| name.to_owned())
}

fn names() -> String {
    Bug::ALL.iter().map(|bug| bug.name()).collect::<Vec<_>>().join(", ")
}

/// Has cargo build the suites, the house's own crates with the bank in them. Other crates are those of any other build.
fn build(root: &Path) -> Result<Vec<Suite>, String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["test", "--no-run"]);
    cargo.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    cargo.env("RUSTC_WORKSPACE_WRAPPER", root.join("tests/bugs/rustc.sh"));
    let mut cargo = cargo.stderr(Stdio::piped()).spawn().map_err(|error| format!("cargo does not start: {error}"))?;
    let said = cargo.stderr.take().map(BufReader::new).expect("it is piped");
    let mut programs = BTreeMap::new();
    for line in said.lines().map_while(Result::ok) {
        eprintln!("{line}");
        if let Some(program) = program_of(&line) {
            programs.insert(target_of(&program), program);
        }
    }
    let built = cargo.wait().map_err(|error| error.to_string())?;
    if !built.success() {
        return Err(format!("the suites do not build: {built}"));
    }
    let suites = LAYERS.iter().flat_map(|layer| layer.suites.iter().map(move |name| (layer, *name)));
    let suite = |(layer, name): (&'static Layer, &'static str)| match programs.get(name) {
        Some(program) => Ok(Suite { layer, name, program: root.join(program), limit: LIMIT_GREEN }),
        None => Err(format!("cargo built no suite {name}: is the list of layers in bugs.rs right?")),
    };
    suites.map(suite).collect()
}

/// `  Executable tests/model/main.rs (target/debug/deps/model-0123456789abcdef)`
fn program_of(line: &str) -> Option<PathBuf> {
    let (_, rest) = line.trim_start().strip_prefix("Executable ")?.rsplit_once('(')?;
    Some(PathBuf::from(rest.strip_suffix(')')?))
}

/// The name of the target that a program was made from.
fn target_of(program: &Path) -> String {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit_once('-').map_or(name.as_ref(), |(target, _)| target).to_owned()
}

/// Asks one layer after the other until one notices. Prints its line of the table, and gives the layer.
fn judge(bug: Bug, suites: &[Suite], root: &Path) -> Option<&'static str> {
    let began = Instant::now();
    for suite in suites {
        let (verdict, _) = run(suite, root, Some(bug));
        if !matches!(verdict, Verdict::Green) {
            let (layer, after) = (suite.layer.name, began.elapsed().as_secs_f64());
            println!("{bug:<20} {layer:<11} {after:>5.1} s  {}: {verdict}", suite.name);
            return Some(layer);
        }
    }
    println!("{bug:<20} {:<11} {:>5.1} s  {}", "NOBODY", began.elapsed().as_secs_f64(), bug.what());
    None
}

/// Runs a suite up to its first failure.
fn run(suite: &Suite, root: &Path, bug: Option<Bug>) -> (Verdict, Duration) {
    use std::os::unix::process::CommandExt as _;
    let began = Instant::now();
    let mut command = Command::new(&suite.program);
    command.current_dir(root.join(suite.layer.folder)).envs(TOLD).env(VARIABLE, bug.map_or("", Bug::name));
    if suite.layer.name == "model" {
        // What it fails at is enough: the smallest sequence that shows it takes long to find.
        command.env("PROPTEST_MAX_SHRINK_ITERS", "0");
    }
    // A group of its own, so that what it started ends with it.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return (Verdict::Died(format!("it does not start: {error}")), began.elapsed()),
    };
    let verdict = watch(&lines_of(&mut child), suite.limit, began);
    if verdict.is_some() {
        let group = format!("-{}", child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    }
    let ended = child.wait();
    let verdict = verdict.unwrap_or_else(|| match ended {
        Ok(status) if status.success() => Verdict::Green,
        Ok(status) => Verdict::Died(status.to_string()),
        Err(error) => Verdict::Died(error.to_string()),
    });
    (verdict, began.elapsed())
}

/// What the suite prints, line by line, so that one can wait for it with a limit.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let (sender, lines) = channel();
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    std::thread::spawn(move || {
        let mut line = Vec::new();
        while stdout.by_ref().read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
            line.clear();
        }
    });
    lines
}

/// Waits for the first failure, or for the limit; `None` where the suite ended by itself.
fn watch(lines: &Receiver<String>, limit: Duration, began: Instant) -> Option<Verdict> {
    loop {
        match lines.recv_timeout(limit.saturating_sub(began.elapsed())) {
            Ok(line) => {
                if let Some(test) = failed_in(&line) {
                    return Some(Verdict::Red(test.to_owned()));
                }
            }
            Err(RecvTimeoutError::Timeout) => return Some(Verdict::Hung(limit)),
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// `test rooms::a_sentence ... FAILED`
fn failed_in(line: &str) -> Option<&str> {
    line.trim_end().strip_suffix(" ... FAILED")?.strip_prefix("test ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_and_the_harness_say_is_understood() {
        let line = "  Executable unittests src/lib.rs (/t (old)/debug/deps/windlass_scheduler-b3a8747d54240dab)";
        let program = program_of(line);
        assert_eq!(program.as_deref().map(target_of).as_deref(), Some("windlass_scheduler"));
        assert_eq!(program_of("   Compiling windlass-tests v0.0.1 (/house/tests)"), None);
        assert_eq!(failed_in("test gate::no_ok_before_the_sync ... FAILED\n"), Some("gate::no_ok_before_the_sync"));
        assert_eq!(failed_in("test gate::no_ok_before_the_sync ... ok\n"), None);
    }
}
