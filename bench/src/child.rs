//! Parts of the bench that are processes of their own: what the allocator keeps of one is not the other's, and one that ends
//! in the middle of its work leaves what a kill leaves.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;
use serde::de::DeserializeOwned;
use windlass::Durability;

use crate::{Failure, backlog, soak, work};

/// Which part a child does.
const PART: &str = "WINDLASS_BENCH_PART";

/// Has a child do a part, and returns what it told.
pub(crate) fn run<T: DeserializeOwned>(part: &str, dir: &Path, level: Durability) -> Result<T, Failure> {
    let mut child = Command::new(std::env::current_exe()?);
    child.env(PART, part).env("LEVEL", work::name(level)).arg("--dir").arg(dir).stderr(Stdio::inherit());
    let output = child.output()?;
    if !output.status.success() {
        return Err(format!("the part {part:?} ended with {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Does the part of a child, where this process is one.
///
/// # Errors
/// Whatever went wrong.
pub fn part(dir: &Path) -> Result<bool, Failure> {
    let Ok(part) = std::env::var(PART) else { return Ok(false) };
    let level = work::levels()?.into_iter().next().ok_or("no level")?;
    match part.as_str() {
        backlog::FILL | backlog::START => tell(&backlog::part(&part, dir, level)?)?,
        soak::SOAK => {
            tell(&soak::part(dir, level)?)?;
            // As a kill would: nothing is closed.
            std::process::exit(0);
        }
        _ => return Err(format!("{PART}={part}: there is no such part").into()),
    }
    Ok(true)
}

fn tell(told: &impl Serialize) -> Result<(), Failure> {
    println!("{}", serde_json::to_string(told)?);
    Ok(())
}

/// A number from the environment.
pub(crate) fn number(name: &str, otherwise: u64) -> Result<u64, Failure> {
    match std::env::var(name) {
        Ok(text) => Ok(text.parse().map_err(|error| format!("{name}={text}: {error}"))?),
        Err(_) => Ok(otherwise),
    }
}

/// A line of what Linux tells of this process, in bytes.
pub(crate) fn status_of_process(field: &str) -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
    let kib: u64 = line.split_whitespace().next().ok_or("no number")?.parse()?;
    Ok(kib << 10)
}
