//! A sync that takes seconds: nobody's thread waits for it but the writer's, and no attempt is lost by it.
//!
//! Four seconds stand for ten: more than the three after which health tells of it, and than any lease in here.

use std::future::pending;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use windlass::{Context, Durability, Engine, Job, JobError, MIN, QueueConfig, RetryPolicy, SEC};

use crate::control::{Control, Rule, SYNC};
use crate::process::{Life, Orders, listen, tell};
use crate::serve::small;

const SLOW_MS: i32 = 4_000;
/// Whoever waits longer than this for a turn on a runtime was blocked.
const GAP_MAX: Duration = SEC;

/// The code of an attempt has heard that its time is over.
static HEARD: AtomicBool = AtomicBool::new(false);

/// Runs for so long, or until it is told to end.
#[derive(Serialize, Deserialize)]
struct Takes(Duration);

impl Job for Takes {
    const KIND: &'static str = "takes";
    const QUEUE: &'static str = "process";
    type Output = ();
}

async fn run(job: Takes, cx: Context<()>) -> Result<(), JobError> {
    tell(&format!("runs {}", job.0.as_millis()));
    let waits = tokio::time::timeout(job.0, pending::<()>());
    tokio::select! {
        _ = waits => Ok(()),
        () = cx.cancellation().cancelled() => {
            HEARD.store(true, Ordering::SeqCst);
            Err("its time was over".into())
        }
    }
}

async fn start(directory: &Path) -> Engine {
    let builder = Engine::builder().journal(small(directory)).disk_free_bytes_min(1 << 20).handler(run);
    let process = QueueConfig::new("process").durability(Durability::Process).attempt_timeout(SEC);
    let builder = builder.queue(process.retry(RetryPolicy::never()));
    let memory = QueueConfig::new("memory").durability(Durability::Memory);
    let builder = builder.queue(memory).queue(QueueConfig::new("durable"));
    builder.start().await.expect("the engine starts")
}

/// The child: two attempts run when the sync begins to hang. One has time enough, the other has not.
pub(crate) async fn wait_for_a_slow_sync(orders: &Orders) {
    let mut told = listen();
    let engine = start(&orders.directory).await;
    let quick = engine.enqueue(Takes(SEC / 2)).await.expect("it is accepted");
    let late = engine.enqueue(Takes(MIN)).await.expect("it is accepted");
    told.recv().await;
    let durable = tokio::spawn(engine.enqueue(Takes(Duration::ZERO)).queue("durable").into_future());
    told.recv().await;

    // From here on the writer's thread stands in the sync.
    let began = Instant::now();
    let (mut gap, mut last, mut memory_jobs, mut has_heard) = (Duration::ZERO, Instant::now(), 0_u32, false);
    let mut warning = None;
    while !durable.is_finished() {
        engine.enqueue(Takes(Duration::ZERO)).queue("memory").and_wait().await.expect("memory goes on");
        memory_jobs += 1;
        warning = engine.health().warnings.first().map(ToString::to_string).or(warning);
        has_heard |= HEARD.load(Ordering::SeqCst);
        let _ = tokio::time::timeout(Duration::from_millis(5), pending::<()>()).await;
        gap = gap.max(last.elapsed());
        last = Instant::now();
    }
    tell(&format!("lasted {}", began.elapsed().as_millis()));
    tell(&format!("gap {}", gap.as_millis()));
    tell(&format!("memory {memory_jobs}"));
    tell(&format!("warned {}", warning.unwrap_or_default()));
    tell(&format!("heard {has_heard}"));
    let accepted = durable.await.expect("nobody panics").is_ok();
    quick.wait().await.expect("it had time enough");
    late.wait().await.expect_err("its time was over");
    let (quick, late) = (quick.status().await, late.status().await);
    let text = |status: Result<windlass::JobStatus, _>| {
        status.map_or_else(
            |error: windlass::ControlError| error.to_string(),
            |status| format!("{:?} {} {} {}", status.state, status.attempts, status.failures, status.lost),
        )
    };
    tell(&format!("ends accepted {accepted}, {}, {}", text(quick), text(late)));
    engine.shutdown(MIN).await.expect("the engine stops");
    tell("bye");
}

fn nobody_waits(role: &str) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let control = Control::in_folder(folder.path());
    let directory = folder.path().join("journal");
    let mut life = Life::begin(role, &directory, &control.variables(&directory));
    for _ in 0..2 {
        life.until("runs");
    }
    control.set(&Rule::new(SYNC, ".log", 0).delayed(SLOW_MS));
    life.say("hand in");
    let began = Instant::now();
    while control.hits() == 0 {
        assert!(began.elapsed() < crate::process::PATIENCE, "no sync came");
        std::thread::yield_now();
    }
    life.say("it hangs");
    let number = |word: &str| life.until(word).parse::<u128>().expect("a number");
    assert!(number("lasted") > 3_000, "the sync was slow");
    let gap = number("gap");
    assert!(gap < GAP_MAX.as_millis(), "{role}: a runtime's thread was held up for {gap} ms");
    assert!(number("memory") > 50, "a queue in memory goes on");
    let warning = life.until("warned");
    assert!(warning.contains("the journal is slow: a sync has been under way"), "{warning}");
    assert_eq!(life.until("heard"), "true", "a lease ends, and its code hears of it, whatever the disk does");
    assert_eq!(life.until("ends"), "accepted true, Done 1 0 0, Dead 1 1 0");
    life.until("bye");
}

#[test]
fn a_sync_that_takes_seconds_blocks_no_runtime_and_costs_no_lease() {
    std::thread::scope(|scope| {
        for role in ["slow", "slow single"] {
            scope.spawn(move || nobody_waits(role));
        }
    });
}
