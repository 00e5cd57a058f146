//! One budget of memory: payloads over it are on disk only, and come back in time. A disk that fails costs no job a retry.

use windlass::storage::StorageError;
use windlass::{
    ConfigError, Durability, Engine, FailureKind, Filter, JobHandle, JobState, MemoryJournal, QueueConfig, SEC,
    StartError,
};
use windlass_tests::fault::{AppendFault, FaultJournal, Faults};
use windlass_tests::script::{Play, Script, Step, step};
use windlass_tests::world::{World, builder, work};

const BUDGET_BYTES: u64 = 16 << 20;
const PAYLOAD_BYTES: usize = 200 << 10;
/// A third more than there is room for.
const JOBS: usize = 100;

/// A long name makes a large payload.
fn name(n: usize) -> String {
    format!("{n:05}{}", "x".repeat(PAYLOAD_BYTES - 20))
}

/// One at a time; the output is the name, and may be as large.
fn queue() -> QueueConfig {
    work().concurrency(1).result_bytes_max(PAYLOAD_BYTES)
}

async fn start() -> (Engine, Script, Faults) {
    let (script, journal) = (Script::new(), FaultJournal::new(MemoryJournal::simulated_disk()));
    let faults = journal.faults();
    let builder = builder(&script, journal).memory_bytes_max(BUDGET_BYTES);
    (builder.queue(queue()).start().await.unwrap(), script, faults)
}

async fn fill(engine: &Engine) -> Vec<JobHandle<Step>> {
    engine.pause("work").await.unwrap();
    let mut jobs = Vec::new();
    for n in 0..JOBS {
        jobs.push(engine.enqueue(step(&name(n))).await.unwrap());
    }
    jobs
}

fn all_names() -> Vec<String> {
    (0..JOBS).map(name).collect()
}

/// I6: heads, stubs, payloads and the journal's own keep within one number, and stats say what is used by what.
#[tokio::test(start_paused = true)]
async fn payloads_over_the_budget_are_on_disk_and_run_in_order_each_once() {
    let (engine, script, faults) = start().await;
    let jobs = fill(&engine).await;
    let memory = engine.memory().await.unwrap();
    assert_eq!((memory.bytes_max, memory.jobs), (BUDGET_BYTES, JOBS as u64));
    assert_eq!(memory.payloads + memory.paged_out, JOBS as u64);
    assert!(memory.paged_out >= 25 && memory.used_bytes() <= BUDGET_BYTES, "{memory:?}");
    assert!(memory.paged_out_bytes >= memory.paged_out * (PAYLOAD_BYTES as u64 - 100), "{memory:?}");
    assert_eq!(faults.reads(), [], "nothing is read before its turn comes near");
    engine.resume("work").await.unwrap();
    for job in &jobs {
        job.wait().await.unwrap();
    }
    assert!(script.order() == all_names(), "each once, in order, with its own payload");
    let reads = faults.reads();
    assert!(reads.len() as u64 >= memory.paged_out && reads.contains(&jobs[JOBS - 1].id()));
    let memory = engine.memory().await.unwrap();
    assert_eq!((memory.jobs, memory.payloads, memory.paged_out), (0, 0, 0));
    engine.shutdown(SEC).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_for_a_while_costs_no_job_a_retry() {
    let (engine, script, faults) = start().await;
    let jobs = fill(&engine).await;
    let last = jobs[JOBS - 1].id();
    let mut failures = 8;
    faults.judge_reads(move |id| {
        let fails = id == last && failures > 0;
        failures -= i32::from(fails);
        fails.then(|| StorageError::Other { place: "the disk".to_owned(), reason: "no luck".to_owned() })
    });
    engine.resume("work").await.unwrap();
    jobs[JOBS - 1].wait().await.unwrap();
    let status = engine.job(last).await.unwrap();
    assert_eq!((status.state, status.failures), (JobState::Done, 0));
    assert!(script.attempts(&name(JOBS - 1))[0] > 1, "the attempt that got no payload never reached the handler");
    engine.shutdown(SEC).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_closed_gives_the_attempt_back_in_its_own_place() {
    let (engine, script, faults) = start().await;
    let jobs = fill(&engine).await;
    let mut failures = 8;
    let unread = jobs[JOBS - 2].id();
    faults.judge_reads(move |id| {
        let fails = id == unread && failures > 0;
        failures -= i32::from(fails);
        fails.then_some(StorageError::Closed)
    });
    engine.resume("work").await.unwrap();
    for job in &jobs {
        job.wait().await.unwrap();
    }
    assert!(script.order() == all_names(), "nobody overtook it");
    assert_eq!(engine.job(unread).await.unwrap().failures, 0);
    engine.shutdown(SEC).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_is_damaged_makes_a_dead_letter_with_the_reason() {
    let (engine, script, faults) = start().await;
    let jobs = fill(&engine).await;
    let damaged = jobs[JOBS - 3].id();
    faults.judge_reads(move |id| {
        let error = StorageError::Damaged { key: "0102".to_owned(), reason: "its checksum is wrong".to_owned() };
        (id == damaged).then_some(error)
    });
    engine.resume("work").await.unwrap();
    jobs[JOBS - 1].wait().await.unwrap();
    let letters = engine.jobs(Filter::new().state(JobState::Dead)).await.unwrap().jobs;
    let failure = letters[0].failure.clone().unwrap();
    assert_eq!((letters.len(), letters[0].id, failure.kind), (1, damaged, FailureKind::Decode));
    assert!(failure.message.contains("its checksum is wrong"), "{failure}");
    assert!(script.attempts(&name(JOBS - 3)).is_empty(), "the handler never saw it");
    engine.shutdown(SEC).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_with_payloads_on_disk_loses_none_and_keeps_the_order() {
    let (engine, script, faults) = start().await;
    let jobs = fill(&engine).await;
    faults.on_append(AppendFault::UnknownAbsent);
    // Interrupted, and asked again.
    while engine.resume("work").await.is_err() {}
    for job in &jobs {
        job.wait().await.unwrap();
    }
    assert_eq!(faults.opens(), 2);
    assert!(script.order() == all_names());
    engine.shutdown(SEC).await.unwrap();
}

#[test]
fn the_next_process_reads_what_did_not_fit() {
    let mut world = World::new();
    let ids: Vec<_> = world.life(async |life| {
        let engine = life.builder().memory_bytes_max(BUDGET_BYTES).queue(queue()).start().await.unwrap();
        fill(&engine).await.iter().map(JobHandle::id).collect()
    });
    world.life(async |life| {
        let engine = life.builder().memory_bytes_max(BUDGET_BYTES).queue(queue()).start().await.unwrap();
        let memory = engine.memory().await.unwrap();
        assert!(memory.paged_out >= 25 && memory.used_bytes() <= BUDGET_BYTES, "{memory:?}");
        engine.resume("work").await.unwrap();
        engine.handle::<Step>(ids[JOBS - 1]).wait().await.unwrap();
        assert!(life.script.order() == all_names());
    });
}

#[tokio::test(start_paused = true)]
async fn a_queue_in_memory_keeps_its_payloads_whatever_the_budget() {
    let (script, journal) = (Script::new(), FaultJournal::new(MemoryJournal::simulated_disk()));
    let builder = builder(&script, journal).memory_bytes_max(BUDGET_BYTES);
    let engine = builder.queue(queue().durability(Durability::Memory)).start().await.unwrap();
    fill(&engine).await;
    let memory = engine.memory().await.unwrap();
    assert_eq!((memory.payloads, memory.paged_out), (JOBS as u64, 0));
    engine.shutdown(SEC).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_budget_out_of_its_range_is_refused_with_the_numbers() {
    for bytes in [0, BUDGET_BYTES - 1, u64::MAX] {
        let builder = builder(&Script::new(), MemoryJournal::new()).memory_bytes_max(bytes);
        let refusal = builder.queue(work()).start().await.unwrap_err();
        assert!(
            matches!(refusal, StartError::Config(ConfigError::Range { value, min: BUDGET_BYTES, .. }) if value == bytes),
            "{refusal}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_takes_the_whole_budget_is_refused_with_the_numbers() {
    let journal_bytes = BUDGET_BYTES - (8 << 20);
    for (takes, fits) in [(journal_bytes, true), (journal_bytes + 1, false)] {
        let journal = FaultJournal::new(MemoryJournal::simulated_disk());
        journal.faults().set_memory_bytes(takes);
        let start = builder(&Script::new(), journal).memory_bytes_max(BUDGET_BYTES).queue(work()).start().await;
        match start {
            Ok(engine) => {
                assert!(fits);
                engine.shutdown(SEC).await.unwrap();
            }
            Err(StartError::Config(ConfigError::JournalMemory { bytes, journal_bytes, least_bytes })) => {
                assert_eq!((fits, bytes, journal_bytes, least_bytes), (false, BUDGET_BYTES, takes, 8 << 20));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// A blocking handler's thread reads for itself.
#[tokio::test(start_paused = true)]
async fn blocking_attempts_get_their_payloads_too() {
    let (engine, script, faults) = start().await;
    let jobs = fill(&engine).await;
    let last = windlass_tests::script::block(&name(7_777));
    let last = engine.enqueue(last).await.unwrap();
    // What is read ahead fails, so that the attempt has to.
    let (id, mut failures) = (last.id(), 8);
    faults.judge_reads(move |read| {
        let fails = read == id && failures > 0;
        failures -= i32::from(fails);
        fails.then_some(StorageError::Closed)
    });
    script.plan(&name(7_777), [Play::Succeed]);
    engine.resume("work").await.unwrap();
    assert_eq!(last.wait().await.unwrap(), name(7_777));
    drop(jobs);
    engine.shutdown(SEC).await.unwrap();
}
