//! Code that takes its process along: each time it runs, until it is found guilty. What waits beside it goes on.

use std::path::Path;

use serde::{Deserialize, Serialize};
use windlass::{Context, Draft, Engine, Job, JobError, JobId, MIN, QueueConfig, WaitError};

use crate::limits;
use crate::process::{Life, Orders, tell};
use crate::say;
use crate::serve::small;

/// What panics say that are part of the play, and what is said of two at once.
pub(crate) const AS_SCRIPTED: [&str; 2] = ["as scripted", "in a destructor during cleanup"];
/// Others in line behind it.
const BYSTANDERS: u32 = 5;
/// Deaths after which it is found guilty.
const DEATHS: usize = 3;
/// What it may take more, before the system says no.
const MEMORY_BYTES: u64 = 512 << 20;

/// Job 0 dies of what its process was started for; the others end well.
#[derive(Serialize, Deserialize)]
struct Deadly(u32);

/// The same with a handler that blocks a thread of its own.
#[derive(Serialize, Deserialize)]
struct DeadlyBlocking(u32);

impl Job for Deadly {
    const KIND: &'static str = "deadly";
    const QUEUE: &'static str = "work";
    type Output = ();
}

impl Job for DeadlyBlocking {
    const KIND: &'static str = "deadly-blocking";
    const QUEUE: &'static str = "work";
    type Output = ();
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("as scripted, while it unwinds");
    }
}

fn overflow(depth: u64) -> u64 {
    let here = std::hint::black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { overflow(depth + 1) + here[std::hint::black_box(7)] }
}

fn die(how: &str) {
    match how {
        "abort" => std::process::abort(),
        "exit" => std::process::exit(0),
        "overflow" => _ = overflow(0),
        "memory" => {
            limits::bound_memory(MEMORY_BYTES);
            let mut all = Vec::new();
            while all.len() < usize::MAX {
                all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
            }
        }
        "two panics" => {
            let _bomb = Bomb;
            panic!("as scripted");
        }
        how => tell(&format!("wrong: nobody knows how to die of {how}")),
    }
    tell(&format!("wrong: it survived {how}"));
}

fn act(no: u32, cx: &Context<String>) {
    tell(&format!("start {no}"));
    if no == 0 {
        die(cx.app());
    }
}

async fn run(job: Deadly, cx: Context<String>) -> Result<(), JobError> {
    act(job.0, &cx);
    Ok(())
}

// As every handler is: by value, and with a result.
#[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
fn run_blocking(job: DeadlyBlocking, cx: Context<String>) -> Result<(), JobError> {
    act(job.0, &cx);
    Ok(())
}

fn id(no: u32) -> JobId {
    JobId(uuid::Uuid::from_u128(u128::from(no) + 1))
}

/// The child: hands its jobs in (again, which is the same), and waits for all of them.
pub(crate) async fn live(orders: &Orders, how: &str) {
    let (how, is_blocking) = how.strip_suffix(" on a thread").map_or((how, false), |how| (how, true));
    let builder = Engine::builder().journal(small(&orders.directory)).disk_free_bytes_min(1 << 20);
    let builder = builder.app(how.to_owned()).handler(run).blocking_handler(run_blocking);
    let engine = builder.queue(QueueConfig::new("work").concurrency(1)).start().await.expect("the engine starts");
    let draft = |no| if is_blocking { Draft::new(&DeadlyBlocking(no)) } else { Draft::new(&Deadly(no)) };
    engine.enqueue_all((0..=BYSTANDERS).map(|no| draft(no).id(id(no)))).await.expect("they are accepted");
    for no in (0..=BYSTANDERS).rev() {
        match engine.handle::<Deadly>(id(no)).wait().await {
            Ok(()) => tell(&format!("done {no}")),
            Err(WaitError::Dead { failure, .. }) => tell(&format!("dead {no}: {failure}")),
            Err(error) => tell(&format!("wrong: {error}")),
        }
    }
    engine.shutdown(MIN).await.expect("the engine stops");
    tell("bye");
}

/// The attempts that began, and whether the process lived to the end.
fn one_life(role: &str, directory: &Path) -> (Vec<String>, bool) {
    let (lines, status) = Life::begin(role, directory, &[]).bury();
    let wrong: Vec<_> = lines.iter().filter(|line| line.starts_with("wrong")).collect();
    assert!(wrong.is_empty(), "{role}: {status}, {lines:?}");
    let is_over = lines.last().is_some_and(|line| line == "bye");
    (lines, is_over)
}

fn is_found_guilty(how: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let role = format!("deadly {how}");
    for death in 1..=DEATHS {
        let (lines, is_over) = one_life(&role, directory.path());
        assert!(!is_over, "{how}: its process survived");
        assert_eq!(lines, ["start 0"], "{how}: life {death}");
    }
    let (lines, is_over) = one_life(&role, directory.path());
    assert!(is_over, "{how}: {lines:?}");
    let starts: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("start ")).collect();
    assert_eq!(starts, ["1", "2", "3", "4", "5"], "{how}: the others run, once each, and it does not");
    assert_eq!(lines.iter().filter(|line| line.starts_with("done")).count(), BYSTANDERS as usize);
    let letter = lines.iter().find_map(|line| line.strip_prefix("dead 0: ")).expect("it is a dead letter");
    assert!(letter.contains("killed the process"), "{how}: {letter}");
    say(&format!("{how}: {letter}"));
}

#[test]
fn a_job_that_takes_its_process_along_is_found_guilty_after_three_deaths_whatever_it_does() {
    let all = ["abort", "exit", "overflow", "overflow on a thread", "memory", "memory on a thread", "two panics"];
    std::thread::scope(|scope| {
        for half in all.chunks(all.len().div_ceil(2)) {
            scope.spawn(move || half.iter().for_each(|how| is_found_guilty(how)));
        }
    });
}
