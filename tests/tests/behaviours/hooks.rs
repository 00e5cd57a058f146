//! Hooks: told after the fact is remembered and never before, at most once, and in nobody's way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use windlass::{
    Context, DeadEvent, Durability, Engine, EngineBuilder, FailureKind, Job, JobError, MemoryJournal, RetryEvent,
    RetryPolicy, SEC, new_job_id,
};
use windlass_tests::fault::{AppendFault, Call, FaultJournal, Faults};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{World, builder, work};

/// What hooks were told, and whoever waits for it.
#[derive(Clone, Default)]
struct Told {
    dead: Arc<Mutex<Vec<DeadEvent>>>,
    retries: Arc<Mutex<Vec<RetryEvent>>>,
    changed: Arc<Notify>,
}

impl Told {
    fn listen<A: Send + Sync + 'static>(&self, builder: EngineBuilder<A>) -> EngineBuilder<A> {
        let (dead, retry) = (self.clone(), self.clone());
        let builder = builder.on_dead(move |event| {
            dead.dead.lock().unwrap().push(event);
            dead.changed.notify_one();
            async {}
        });
        builder.on_retry(move |event| {
            retry.retries.lock().unwrap().push(event);
            retry.changed.notify_one();
            async {}
        })
    }

    fn counts(&self) -> (usize, usize) {
        (self.dead.lock().unwrap().len(), self.retries.lock().unwrap().len())
    }

    async fn until(&self, counts: (usize, usize)) {
        let wait = async {
            while self.counts() != counts {
                self.changed.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("{:?}", self.counts()));
    }
}

async fn start(script: &Script, level: Durability) -> (Engine, Faults, Told) {
    let journal = FaultJournal::new(MemoryJournal::simulated_disk());
    let (faults, told) = (journal.faults(), Told::default());
    let queue = work().durability(level).retry(RetryPolicy::fixed(SEC * 5).attempts(2).jitter_percent(0));
    let engine = told.listen(builder(script, journal).queue(queue)).start().await.unwrap();
    (engine, faults, told)
}

#[tokio::test(start_paused = true)]
async fn they_are_told_what_failed_why_and_what_comes_of_it() {
    let script = Script::new();
    let (engine, _, told) = start(&script, Durability::Durable).await;
    script.plan("a", [Play::Panic, Play::Fail]);
    let job = engine.enqueue(step("a")).tag("red").correlation_id("story").await.unwrap();
    job.wait().await.unwrap_err();
    told.until((1, 1)).await;
    let retry = told.retries.lock().unwrap()[0].clone();
    assert_eq!((retry.id(), retry.kind(), retry.queue()), (job.id(), "step", "work"));
    assert_eq!((retry.attempt(), retry.failures(), retry.delay()), (1, 1, SEC * 5));
    assert_eq!(retry.failure().kind, FailureKind::Panic);
    let dead = told.dead.lock().unwrap()[0].clone();
    assert_eq!((dead.id(), dead.attempt(), dead.failures()), (job.id(), 2, 2));
    assert_eq!((dead.failure().kind, dead.failure().message.as_str()), (FailureKind::Error, "as the script says"));
    assert_eq!((dead.payload().as_ref(), dead.tags()), (br#"{"name":"a"}"#.as_slice(), ["red".to_owned()].as_slice()));
    assert_eq!((dead.correlation_id(), dead.created()), (Some("story"), retry.created()));
    // What the handler itself said counts, and what is no failure is not told.
    script.plan("b", [Play::RetryAfter(SEC * 77), Play::Snooze(SEC), Play::Succeed]);
    engine.enqueue(step("b")).and_wait().await.unwrap();
    script.plan("c", [Play::CallOff]);
    engine.enqueue(step("c")).and_wait().await.unwrap_err();
    told.until((1, 2)).await;
    assert_eq!(told.retries.lock().unwrap()[1].delay(), SEC * 77);
    engine.shutdown(SEC).await.unwrap();
    assert_eq!(told.counts(), (1, 2));
}

/// I2: never before it is remembered. The same fact, at each level, with the journal standing still.
#[tokio::test]
async fn nobody_is_told_before_it_is_remembered_at_the_queue_s_level() {
    for (level, call, leaves) in [
        (Durability::Durable, Call::Sync, false),
        (Durability::Durable, Call::Append, false),
        (Durability::Process, Call::Append, false),
        (Durability::Process, Call::Sync, true),
        (Durability::Memory, Call::Append, true),
    ] {
        let script = Script::new();
        let (engine, faults, told) = start(&script, level).await;
        for (name, counts) in [("dead", (1, 0)), ("retried", (1, 1))] {
            script.plan(name, [Play::Hold]);
            engine.enqueue(step(name)).await.unwrap();
            script.started(name, 1).await;
            let before = told.counts();
            faults.hold(call);
            script.tell(name, if name == "dead" { Play::Permanent } else { Play::Fail });
            if !leaves {
                let stands = faults.stands_at_the_gate(call);
                tokio::time::timeout(Duration::from_secs(30), stands).await.expect("it asks for what it waits for");
                // The queue has known for long, and the runtime has had its time.
                for _ in 0..3 {
                    engine.stats().await.unwrap();
                    tokio::task::yield_now().await;
                }
                assert_eq!(told.counts(), before, "{level:?}, {call:?} held, {name}");
                faults.release(call);
            }
            told.until(counts).await;
            faults.release(call);
        }
        engine.shutdown(SEC).await.unwrap();
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Odd;

impl Job for Odd {
    const KIND: &'static str = "odd";
    const QUEUE: &'static str = "work";
    type Output = ();

    fn decode(_: &[u8], _: u32) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Err("nobody can read this".into())
    }
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_nobody_can_read_is_told_as_dead() {
    let (script, told) = (Script::new(), Told::default());
    let handler = async |_: Odd, _: Context<Script>| -> Result<(), JobError> { Ok(()) };
    let builder = builder(&script, MemoryJournal::new()).queue(work()).handler(handler);
    let engine = told.listen(builder).start().await.unwrap();
    engine.enqueue(Odd).and_wait().await.unwrap_err();
    told.until((1, 0)).await;
    assert_eq!(told.dead.lock().unwrap()[0].failure().kind, FailureKind::Decode);
}

/// It dies at the start of a process, without a word of its handler: its attempts before took three processes along.
#[test]
fn a_job_that_kills_its_process_is_told_as_dead_by_the_next_one() {
    let mut world = World::new();
    world.script.plan("killer", [Play::Hold]);
    let id = new_job_id();
    for life in 1..=3 {
        world.life(async |life_of| {
            let engine = life_of.start(work().concurrency(1)).await;
            engine.enqueue(step("killer")).id(id).await.unwrap();
            life_of.script.started("killer", life).await;
        });
    }
    world.life(async |life| {
        let told = Told::default();
        let engine = told.listen(life.builder().queue(work().concurrency(1))).start().await.unwrap();
        told.until((1, 0)).await;
        let dead = told.dead.lock().unwrap()[0].clone();
        assert_eq!((dead.id(), dead.attempt(), dead.failures()), (id, 3, 0));
        assert_eq!(dead.failure().kind, FailureKind::Lost);
        engine.shutdown(SEC).await.unwrap();
    });
    // It was told, and nobody is told again.
    world.life(async |life| {
        let told = Told::default();
        let engine = told.listen(life.builder().queue(work())).start().await.unwrap();
        engine.enqueue(step("other")).and_wait().await.unwrap();
        engine.shutdown(SEC).await.unwrap();
        assert_eq!(told.counts(), (0, 0));
    });
}

/// I10: where the write of a failure fails, it happens again after the rebuild, and is told once.
#[tokio::test(start_paused = true)]
async fn where_the_storage_breaks_at_that_moment_it_is_told_once_at_most() {
    for (fault, told_then) in
        [(AppendFault::Refused, 1), (AppendFault::UnknownAbsent, 1), (AppendFault::UnknownWritten, 0)]
    {
        let script = Script::new();
        let (engine, faults, told) = start(&script, Durability::Durable).await;
        script.plan("a", [Play::Hold]);
        let job = engine.enqueue(step("a")).await.unwrap();
        script.started("a", 1).await;
        faults.on_append(fault);
        script.tell("a", Play::Permanent);
        job.wait().await.unwrap_err();
        engine.shutdown(SEC).await.unwrap();
        // Lost where it was written and nobody knew: it is a notice, and not the truth.
        assert_eq!((told.counts(), faults.opens()), ((told_then, 0), 2), "{fault:?}");
        assert_eq!(script.attempts("a"), [1]);
    }
}

/// A hook that hangs: jobs go on, so many events wait, and the others are counted.
#[tokio::test(start_paused = true)]
async fn a_hook_that_hangs_delays_no_job_and_what_does_not_fit_is_counted() {
    const JOBS: usize = 300;
    let (script, gate) = (Script::new(), Arc::new(Semaphore::new(0)));
    let (hook_gate, told) = (gate.clone(), Told::default());
    let builder = builder(&script, MemoryJournal::new()).queue(work()).on_dead(move |_| {
        let gate = hook_gate.clone();
        async move { gate.acquire().await.unwrap().forget() }
    });
    let engine = told.listen(builder).start().await.unwrap();
    script.plan("a", [Play::Permanent]);
    for _ in 0..JOBS {
        engine.enqueue(step("a")).and_wait().await.unwrap_err();
    }
    assert_eq!(told.counts(), (0, 0));
    // One is in the hook, and 256 wait.
    assert_eq!(engine.hook_events_dropped(), JOBS as u64 - 257);
    gate.add_permits(JOBS);
    told.until((257, 0)).await;
    engine.enqueue(step("a")).and_wait().await.unwrap_err();
    told.until((258, 0)).await;
    assert_eq!(engine.hook_events_dropped(), JOBS as u64 - 257);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_is_the_end_of_one_call() {
    let (script, told) = (Script::new(), Told::default());
    let builder = builder(&script, MemoryJournal::new()).queue(work());
    let builder = builder.on_dead(|event| async move { panic!("a bug about {}", event.id()) });
    let engine =
        told.listen(builder.on_dead(|_| -> std::future::Ready<()> { panic!("at once") })).start().await.unwrap();
    script.plan("a", [Play::Permanent]);
    for dead in 1..=3 {
        engine.enqueue(step("a")).and_wait().await.unwrap_err();
        told.until((dead, 0)).await;
    }
    assert_eq!(engine.enqueue(step("b")).and_wait().await.unwrap(), "b");
}
