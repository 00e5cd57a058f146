//! Numbers for whoever watches: exact counts, times to the millisecond, and no more series than there are queues and handlers.
//!
//! Each test has a recorder of its own thread: on a paused clock all parts of the engine run there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use metrics::{NoopRecorder, set_default_local_recorder};
use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use windlass::storage::{Append, Batch, CommitNo, Journal};
use windlass::{
    CircuitBreaker, ConfigError, Engine, Flow, HOUR, MIN, ManualClock, MemoryJournal, Name, Priority, RetryPolicy, SEC,
    SharedLimit, StepDraft, new_job_id,
};
use windlass_scheduler::change::{Change, Head, JobRecord, Record};
use windlass_scheduler::job::{Body, Labels};
use windlass_scheduler::time::Timestamp;
use windlass_tests::fault::{AppendFault, Fault};
use windlass_tests::script::{Play, Script, Step, block, step};
use windlass_tests::world::{EPOCH_MS, Life, World, builder, start, start_with_faults, work};

/// What a recorder was told, by name and labels as Prometheus writes them. What is counted as it happens begins anew with
/// each look.
struct Seen(BTreeMap<String, DebugValue>);

impl Seen {
    fn at(snapshotter: &Snapshotter) -> Self {
        let written = |(key, _, _, value): (metrics_util::CompositeKey, _, _, DebugValue)| {
            let (kind, key) = key.into_parts();
            assert_eq!(kind == MetricKind::Counter, key.name().ends_with("_total"), "{key}");
            let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            let series = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            (format!("{}{series}", key.name()), value)
        };
        Self(snapshotter.snapshot().into_vec().into_iter().map(written).collect())
    }

    fn get(&self, series: &str) -> &DebugValue {
        let all: Vec<_> = self.0.keys().collect();
        self.0.get(&format!("windlass_{series}")).unwrap_or_else(|| panic!("no {series} among {all:#?}"))
    }

    fn count(&self, series: &str) -> u64 {
        let DebugValue::Counter(count) = self.get(series) else { panic!("{series} is no counter") };
        *count
    }

    fn gauge(&self, series: &str) -> f64 {
        let DebugValue::Gauge(value) = self.get(series) else { panic!("{series} is no gauge") };
        value.into_inner()
    }

    /// A gauge that counts.
    fn whole(&self, series: &str) -> u64 {
        format!("{}", self.gauge(series)).parse().unwrap()
    }

    fn times(&self, series: &str) -> Vec<f64> {
        let DebugValue::Histogram(values) = self.get(series) else { panic!("{series} is no histogram") };
        values.iter().map(|value| value.into_inner()).collect()
    }

    /// All values of this label.
    fn labels(&self, label: &str) -> BTreeSet<&str> {
        self.0.keys().filter_map(|series| value_of(series, label)).collect()
    }
}

fn value_of<'a>(series: &'a str, label: &str) -> Option<&'a str> {
    let (_, labels) = series.split_once('{')?;
    let mut pairs = labels.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(key, value)| (key == label).then_some(value))
}

/// Lets the numbers be told once more: the questions come after theirs, and so do the answers.
async fn told(engine: &Engine, snapshotter: &Snapshotter) -> Seen {
    tokio::time::advance(SEC).await;
    for _ in 0..3 {
        engine.stats().await.unwrap();
    }
    Seen::at(snapshotter)
}

fn recorder() -> (DebuggingRecorder, Snapshotter) {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    (recorder, snapshotter)
}

fn retry() -> RetryPolicy {
    RetryPolicy::fixed(SEC).jitter_percent(0).attempts(2)
}

#[tokio::test(start_paused = true)]
async fn counts_are_exact_after_every_way_that_an_attempt_can_end() {
    let (recorder, snapshotter) = recorder();
    let _here = set_default_local_recorder(&recorder);
    let script = Script::new();
    let clock = ManualClock::starting_at_ms(EPOCH_MS);
    let engine =
        builder(&script, MemoryJournal::new()).clock(clock).queue(work().retry(retry())).start().await.unwrap();
    let plans: [(&str, &[Play]); 6] = [
        ("flaky", &[Play::Fail, Play::Succeed]),
        ("bad", &[Play::Fail]),
        ("permanent", &[Play::Permanent]),
        ("panics", &[Play::Panic, Play::Succeed]),
        ("snoozes", &[Play::Snooze(SEC), Play::Succeed]),
        ("calls off", &[Play::CallOff]),
    ];
    let mut jobs = Vec::new();
    for (name, plays) in plans {
        script.plan(name, plays.iter().cloned());
        jobs.push(engine.enqueue(step(name)).await.unwrap());
    }
    for name in ["a", "b", "c"] {
        jobs.push(engine.enqueue(step(name)).await.unwrap());
    }
    let late = engine.enqueue(step("late")).delay(HOUR).expires_in(SEC).await.unwrap();
    let unwanted = engine.enqueue(step("unwanted")).delay(HOUR).await.unwrap();
    unwanted.cancel().await.unwrap();
    for job in jobs.iter().chain([&late]) {
        let _ = job.wait().await;
    }
    engine.enqueue(step("waits")).delay(HOUR).await.unwrap();

    let seen = told(&engine, &snapshotter).await;
    let of_queue = |name: &str| seen.count(&format!("{name}{{queue=work}}"));
    let totals = ["jobs_enqueued_total", "attempts_started_total", "jobs_succeeded_total", "attempts_failed_total"];
    assert_eq!(totals.map(of_queue), [12, 13, 6, 5]);
    let totals =
        ["retries_total", "jobs_dead_total", "jobs_cancelled_total", "jobs_expired_total", "attempts_lost_total"];
    assert_eq!(totals.map(of_queue), [3, 2, 2, 1, 0]);
    let ended = |outcome: &str| seen.count(&format!("attempts_ended_total{{queue=work,kind=step,outcome={outcome}}}"));
    let outcomes = ["succeeded", "failed", "panicked", "timed_out", "snoozed", "cancelled", "released"];
    assert_eq!(outcomes.map(ended), [6, 4, 1, 0, 1, 1, 0]);
    let jobs = |state: &str| seen.whole(&format!("jobs{{queue=work,state={state}}}"));
    let states = ["waiting", "delayed", "ready", "running", "parked", "done", "dead", "cancelled", "expired"];
    assert_eq!(states.map(jobs), [0, 1, 0, 0, 0, 6, 2, 2, 1]);
    for histogram in ["wait_seconds", "run_seconds"] {
        assert_eq!(seen.times(&format!("{histogram}{{queue=work,kind=step}}")).len(), 13, "{histogram}");
    }
    assert_eq!(seen.count("stale_acks_total"), 0);
    assert!(!seen.0.keys().any(|series| series.contains("kind=block")), "no attempt of it has started");

    // What has happened since is told once more, and what is absolute once more as a whole.
    let detail = engine.enqueue(step("d")).and_wait().await.unwrap();
    assert_eq!(detail, "d");
    let seen = told(&engine, &snapshotter).await;
    assert_eq!(seen.count("jobs_succeeded_total{queue=work}"), 7);
    assert_eq!(seen.count("attempts_ended_total{queue=work,kind=step,outcome=succeeded}"), 1);
}

#[tokio::test(start_paused = true)]
async fn waits_and_runs_are_measured_to_the_millisecond_of_the_engine_s_clock() {
    let (recorder, snapshotter) = recorder();
    let _here = set_default_local_recorder(&recorder);
    let script = Script::new();
    script.plan("a", [Play::Hold]);
    let engine = start(&script, work().concurrency(3).start_within(SEC)).await;
    engine.pause("work").await.unwrap();
    let job = engine.enqueue(step("a")).await.unwrap();
    tokio::time::advance(SEC * 4).await;
    let seen = told(&engine, &snapshotter).await;
    let one = |series: &str| seen.gauge(&format!("{series}{{queue=work}}"));
    assert!((4.9..=5.1).contains(&one("oldest_ready_seconds")), "{}", one("oldest_ready_seconds"));
    let flags = ["queue_paused", "queue_late", "slots"].map(|series| seen.whole(&format!("{series}{{queue=work}}")));
    assert_eq!(flags, [1, 1, 3]);
    engine.resume("work").await.unwrap();
    script.started("a", 1).await;
    let seen = told(&engine, &snapshotter).await;
    let waits = seen.times("wait_seconds{queue=work,kind=step}");
    assert!(matches!(waits[..], [wait] if (5.0..5.1).contains(&wait)), "{waits:?}");
    assert_eq!(seen.whole("jobs{queue=work,state=running}"), 1);
    assert_eq!([seen.whole("oldest_ready_seconds{queue=work}"), seen.whole("queue_paused{queue=work}")], [0, 0]);
    tokio::time::advance(SEC * 2).await;
    script.tell("a", Play::Succeed);
    job.wait().await.unwrap();
    let runs = Seen::at(&snapshotter).times("run_seconds{queue=work,kind=step}");
    assert!(matches!(runs[..], [run] if (3.0..3.1).contains(&run)), "{runs:?}");
}

#[tokio::test(start_paused = true)]
async fn a_time_out_and_what_a_stop_takes_back_have_outcomes_of_their_own_blocking_or_not() {
    let (recorder, snapshotter) = recorder();
    let _here = set_default_local_recorder(&recorder);
    let script = Script::new();
    script.plan("held", [Play::until_cancelled(Play::Fail)]);
    let engine = start(&script, work().retry(retry())).await;
    script.plan("late", [Play::until_cancelled(Play::Fail)]);
    let late = engine.enqueue(step("late")).attempt_timeout(SEC).retry(RetryPolicy::never()).await.unwrap();
    late.wait().await.unwrap_err();
    engine.enqueue(block("b")).and_wait().await.unwrap();
    engine.enqueue(step("held")).await.unwrap();
    script.started("held", 1).await;
    engine.shutdown(Duration::ZERO).await.unwrap();
    let seen = Seen::at(&snapshotter);
    let ended = |kind: &str, outcome: &str| {
        seen.count(&format!("attempts_ended_total{{queue=work,kind={kind},outcome={outcome}}}"))
    };
    assert_eq!([ended("step", "timed_out"), ended("step", "released"), ended("step", "failed")], [1, 1, 0]);
    assert_eq!(ended("block", "succeeded"), 1);
    assert_eq!(seen.whole("serving"), 0, "told once more at the end");
}

/// Counters of the core are absolute: neither a death of the process nor a rebuild takes from them or adds to them.
#[test]
fn a_lost_attempt_is_counted_and_what_was_counted_before_a_death_still_is() {
    let (mut world, id) = (World::new(), new_job_id());
    world.script.plan("a", [Play::Hold, Play::Succeed]);
    world.life(async |life: &Life| {
        let engine = life.start(work()).await;
        engine.enqueue(step("before")).and_wait().await.unwrap();
        engine.enqueue(step("a")).id(id).await.unwrap();
        life.script.started("a", 1).await;
    });
    world.life(async |life: &Life| {
        let (recorder, snapshotter) = recorder();
        let _here = set_default_local_recorder(&recorder);
        let engine = life.start(work()).await;
        engine.handle::<Step>(id).wait().await.unwrap();
        let seen = told(&engine, &snapshotter).await;
        let of_queue = |name: &str| seen.count(&format!("{name}{{queue=work}}"));
        let totals = ["jobs_enqueued_total", "attempts_started_total", "jobs_succeeded_total", "attempts_lost_total"];
        assert_eq!(totals.map(of_queue), [2, 3, 2, 1]);
        assert_eq!(seen.count("attempts_ended_total{queue=work,kind=step,outcome=succeeded}"), 1, "of this process");
        assert_eq!((seen.count("journal_loads_total"), seen.whole("journal_loaded_jobs")), (1, 2));
    });
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_that_come_twice_are_told_and_counts_stay_exact_through_a_rebuild() {
    let (recorder, snapshotter) = recorder();
    let _here = set_default_local_recorder(&recorder);
    let script = Script::new();
    let (engine, faults) = start_with_faults(&script, work()).await;
    script.plan("a", [Play::Hold]);
    let a = engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    let seen = told(&engine, &snapshotter).await;
    assert_eq!((seen.count("stale_acks_total"), seen.count("journal_loads_total")), (0, 1));
    faults.on_append(AppendFault::UnknownAbsent);
    faults.on_load(Fault::Error);
    engine.enqueue(step("b")).await.unwrap_err();
    // It ends while there is no core, which then hears of it twice.
    script.tell("a", Play::Succeed);
    a.wait().await.unwrap();
    let seen = told(&engine, &snapshotter).await;
    assert_eq!((seen.count("stale_acks_total"), seen.count("journal_loads_total")), (1, 1));
    let of_queue = |name: &str| seen.count(&format!("{name}{{queue=work}}"));
    let totals = ["jobs_enqueued_total", "attempts_started_total", "jobs_succeeded_total", "attempts_lost_total"];
    assert_eq!(totals.map(of_queue), [1, 1, 1, 0]);
    let seen = told(&engine, &snapshotter).await;
    assert_eq!(seen.count("stale_acks_total"), 0, "told once");
}

/// Ready jobs of so many kinds that nobody handles, half of them in queues that nobody has configured.
fn of_other_builds(jobs: u64) -> MemoryJournal {
    let mut journal = MemoryJournal::simulated_disk();
    let term = journal.open().unwrap().term;
    let put = |n: u64| {
        let queue = if n.is_multiple_of(2) { Name::from("work") } else { Name::from(format!("queue-{n}").as_str()) };
        let body = Body { payload: Bytes::from_static(b"{}"), version: 1, labels: Labels::default() };
        let head = Head {
            queue,
            priority: Priority::NORMAL,
            arrival: i64::try_from(n).unwrap(),
            created: Timestamp(n),
            due: None,
            due_by_wall: false,
            expires: None,
            deadline: None,
            timeout_ms: None,
            policy: None,
            attempts_ended: 0,
            failures: 0,
            lost: 0,
            cancel_requested: false,
        };
        let kind = Name::from(format!("kind-{n}").as_str());
        Change::Put(Record::Job(JobRecord { id: new_job_id(), kind, body: Arc::new(body), head }))
    };
    let batch = Batch { commit_no: CommitNo { term, step: 1 }, changes: (0..jobs).map(put).collect() };
    assert!(matches!(journal.append(&batch), Append::Ok));
    journal.close().unwrap();
    journal
}

#[tokio::test(start_paused = true)]
async fn a_thousand_kinds_keys_and_queues_that_nobody_configured_make_no_series() {
    let (recorder, snapshotter) = recorder();
    let _here = set_default_local_recorder(&recorder);
    let script = Script::new();
    let limits = SharedLimit::new("api").concurrency(8);
    let builder = builder(&script, of_other_builds(1_000)).queue(work().shares("api")).shared_limit(limits);
    let engine = builder.allow_unknown_kinds().start().await.unwrap();
    let jobs: Vec<_> = (0..1_000).map(|n| windlass::Draft::new(&step("a")).limit_key(format!("key-{n}"))).collect();
    engine.enqueue_all(jobs).await.unwrap();
    script.returned("a", 1_000).await;
    let seen = told(&engine, &snapshotter).await;
    assert_eq!(seen.labels("queue"), BTreeSet::from(["other", "work"]));
    assert_eq!(seen.labels("kind"), BTreeSet::from(["step"]));
    assert_eq!(seen.labels("limit"), BTreeSet::from(["api"]));
    let parked = |queue: &str| seen.whole(&format!("jobs{{queue={queue},state=parked}}"));
    assert_eq!((parked("work"), parked("other")), (500, 500), "those of other builds are told together");
    assert_eq!(seen.count("attempts_ended_total{queue=work,kind=step,outcome=succeeded}"), 1_000);
    assert!(seen.0.len() < 120, "{} series", seen.0.len());
}

#[tokio::test(start_paused = true)]
async fn limits_and_breakers_are_told_by_what_is_configured() {
    let (recorder, snapshotter) = recorder();
    let _here = set_default_local_recorder(&recorder);
    let script = Script::new();
    script.plan("bad", [Play::Fail]);
    script.plan("held", [Play::Hold]);
    let queue = work().concurrency(4).circuit_breaker(CircuitBreaker::new(1, 1)).shares("api");
    let limit = SharedLimit::new("api").concurrency(2);
    let builder = builder(&script, MemoryJournal::new()).queue(queue).shared_limit(limit);
    let engine = builder.start().await.unwrap();
    engine.enqueue(step("held")).await.unwrap();
    script.started("held", 1).await;
    let seen = told(&engine, &snapshotter).await;
    let breaker = |seen: &Seen| {
        let state = |state: &str| seen.whole(&format!("breaker_state{{scope=queue,limit=work,state={state}}}"));
        ["closed", "half_open", "open"].map(state)
    };
    assert_eq!(breaker(&seen), [1, 0, 0]);
    let of = |name: &str, limit: &str| seen.whole(&format!("limit_{name}{{scope={limit}}}"));
    assert_eq!([of("running", "queue,limit=work"), of("slots", "queue,limit=work")], [1, 4]);
    assert_eq!([of("running", "shared,limit=api"), of("slots", "shared,limit=api")], [1, 2]);
    let bad = engine.enqueue(step("bad")).retry(RetryPolicy::never()).await.unwrap();
    bad.wait().await.unwrap_err();
    let seen = told(&engine, &snapshotter).await;
    assert_eq!(breaker(&seen), [0, 0, 1]);
    assert_eq!(seen.count("breaker_opened_total{scope=queue,limit=work}"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_journal_the_memory_the_disk_and_flows_are_told() {
    let (recorder, snapshotter) = recorder();
    let _here = set_default_local_recorder(&recorder);
    let script = Script::new();
    script.plan("held", [Play::Hold]);
    script.plan("bad", [Play::Permanent, Play::Permanent]);
    let (engine, faults) = start_with_faults(&script, work()).await;
    engine.enqueue(step("a")).and_wait().await.unwrap();
    let mut flow = Flow::new("import");
    flow.first(step("held"));
    engine.submit(flow).await.unwrap();
    script.started("held", 1).await;
    // One that goes on, and that somebody has to look at all the same.
    let mut flow = Flow::new("import");
    flow.wait("long", (), MIN * 10);
    for name in ["bad", "worse"] {
        let failed = flow.first(StepDraft::new(&step("bad")).named(name));
        flow.after(failed.hold(), step("next"));
    }
    let handle = engine.submit(flow).await.unwrap();
    handle.wait_step("bad").await.unwrap();
    handle.wait_step("worse").await.unwrap();
    faults.set_free_bytes(7);
    engine.enqueue(step("b")).and_wait().await.unwrap();
    // The writer looks at the disk once a second, too.
    for _ in 0..2 {
        tokio::time::advance(SEC).await;
        engine.stats().await.unwrap();
    }
    let seen = told(&engine, &snapshotter).await;
    let changes = seen.times("journal_batch_changes");
    assert!(!changes.is_empty() && changes.iter().all(|changes| *changes >= 1.0), "{changes:?}");
    assert_eq!(seen.times("journal_write_seconds").len(), changes.len());
    assert_eq!(seen.times("journal_batch_bytes").len(), changes.len());
    assert!(!seen.times("journal_sync_seconds").is_empty());
    let flows = ["open", "held", "ended"].map(|state| seen.whole(&format!("flows{{state={state}}}")));
    assert_eq!(flows, [1, 1, 0]);
    assert!(seen.gauge("memory_bytes{part=heads}") > 0.0 && seen.whole("memory_max_bytes") == 1 << 30);
    assert_eq!([seen.whole("serving"), seen.whole("accepting"), seen.whole("journal_free_bytes")], [1, 0, 7]);
    assert_eq!([seen.whole("attempts_stuck"), seen.whole("paged_out_jobs")], [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_where_nobody_listens_or_the_interval_is_zero() {
    let (recorder, snapshotter) = recorder();
    {
        let _nobody = set_default_local_recorder(&NoopRecorder);
        let script = Script::new();
        let engine = start(&script, work()).await;
        let _later = set_default_local_recorder(&recorder);
        engine.enqueue(step("a")).and_wait().await.unwrap();
        assert!(told(&engine, &snapshotter).await.0.is_empty(), "whoever comes after the start comes too late");
    }
    let _here = set_default_local_recorder(&recorder);
    let script = Script::new();
    let engine =
        builder(&script, MemoryJournal::new()).queue(work()).metrics_interval(Duration::ZERO).start().await.unwrap();
    engine.enqueue(step("a")).and_wait().await.unwrap();
    assert!(told(&engine, &snapshotter).await.0.is_empty());
}

#[test]
fn how_often_metrics_are_told_has_its_range() {
    let longest = HOUR * 24;
    for (interval, is_allowed) in [(Duration::ZERO, true), (longest, true), (longest + Duration::from_millis(1), false)]
    {
        let builder = Engine::builder().journal(MemoryJournal::new()).queue(work()).metrics_interval(interval);
        let refused = builder.effective_config().err();
        let says = matches!(refused, Some(ConfigError::Range { field: "metrics_interval in ms", max: 86_400_000, .. }));
        assert_eq!((refused.is_none(), says), (is_allowed, !is_allowed), "{refused:?}");
    }
}
