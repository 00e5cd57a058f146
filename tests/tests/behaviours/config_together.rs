//! Code and files together: what stands in both is refused, and an engine goes by the rest of both.

use std::time::Duration;

use windlass::{
    ConfigError, ConfigPlace, EngineBuilder, EngineConfig, KindConfig, MemoryJournal, QueueConfig, RetryPolicy, SEC,
    StartError, WaitError,
};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::builder;

fn read(text: &str) -> EngineConfig {
    EngineConfig::from_toml(text).unwrap()
}

fn with(text: &str) -> EngineBuilder<Script> {
    builder(&Script::new(), MemoryJournal::new()).config(read(text))
}

fn refused(builder: &EngineBuilder<Script>) -> ConfigError {
    builder.effective_config().unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn an_engine_goes_by_what_a_file_says() {
    let script = Script::new();
    let text = r#"
        [queues.work]
        concurrency = 1
        retry = { backoff = "fixed", delay = "5s", attempts = 2, jitter_percent = 0 }
        [queues.other]
        attempt_timeout = "3s"
        [kinds.step]
        queue = "other"
        retry = "never"
    "#;
    let engine = builder(&script, MemoryJournal::new()).config(read(text)).start().await.unwrap();
    script.plan("slow", [Play::until_cancelled(Play::Fail)]);
    let before = tokio::time::Instant::now();
    let job = engine.enqueue(step("slow")).await.unwrap();
    assert_eq!(job.status().await.unwrap().queue.as_str(), "other");
    let Err(WaitError::Dead { .. }) = job.wait().await else { panic!("its kind never retries") };
    assert_eq!((script.attempts("slow"), before.elapsed().as_secs()), (vec![1], 3));
    assert_eq!(engine.config().queue_names().collect::<Vec<_>>(), ["work", "other"]);
}

#[tokio::test(start_paused = true)]
async fn what_an_engine_goes_by_has_its_defaults_and_starts_an_equal_engine() {
    let script = Script::new();
    let code = QueueConfig::new("work").retry(RetryPolicy::list(&[SEC])).start_within(Duration::from_millis(1_500));
    let file = "[engine]\nallow_unknown_kinds = true\n[queues.other]\n[kinds.unheard-of]\nqueue = \"other\"";
    let described = builder(&script, MemoryJournal::new()).queue(code).config(read(file)).disk_free_bytes_min(1_000);
    let effective = described.effective_config().unwrap();
    let engine = described.start().await.unwrap();
    assert_eq!(engine.config(), &effective);

    let text = effective.to_toml();
    let lines = [
        "disk_free_bytes_min = \"1000 B\"",
        "memory_bytes_max = \"1 GiB\"",
        "lost_max = 3",
        "allow_unknown_kinds = true",
        "single_runtime = false",
        "metrics_interval = \"1s\"",
        "events_kept_max = 65536",
        "events_kept_bytes_max = \"16 MiB\"",
        "events_from_start = false",
        "start_within = \"1s 500ms\"",
        "concurrency = 16",
        "priority = \"normal\"",
        "payload_bytes_max = \"256 KiB\"",
        "age = \"30d\"",
        "delays = [\"1s\"]",
        "[kinds.step]",
        "[kinds.unheard-of]",
    ];
    for line in lines {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    let again = builder(&script, MemoryJournal::new()).config(read(&text)).start().await.unwrap();
    assert_eq!(again.config(), &effective);
}

#[test]
fn what_stands_in_code_and_in_a_file_is_refused_as_configured_twice() {
    let error = refused(&with("[queues.work]\n\n[queues.mail]").queue(QueueConfig::new("mail")));
    assert_eq!(
        error.to_string(),
        "queue `mail` is configured twice, in code and in line 3 of the text: take one of them out"
    );
    let ConfigError::Twice { first, second, .. } = error else { panic!("{error}") };
    assert_eq!((first, second), (ConfigPlace::Code, ConfigPlace::Text { line: Some(3) }));

    let error = refused(&with("[queues.work]\n[kinds.step]\nconcurrency = 1").kind(KindConfig::new("step")));
    assert!(error.to_string().starts_with("kind `step` is configured twice, in code and in line 2"), "{error}");
    let error = refused(&with("[engine]\ndisk_free_bytes_min = \"1 GiB\"").disk_free_bytes_min(1 << 30));
    assert!(error.to_string().starts_with("`disk_free_bytes_min` is configured twice"), "{error}");
    let error = refused(&with("[engine]\nallow_unknown_kinds = false").allow_unknown_kinds());
    assert!(error.to_string().starts_with("`allow_unknown_kinds` is configured twice"), "{error}");
    let error = refused(&with("[engine]\nmemory_bytes_max = \"1 GiB\"").memory_bytes_max(1 << 30));
    assert!(error.to_string().starts_with("`memory_bytes_max` is configured twice"), "{error}");
    let error = refused(&with("[engine]\nlost_max = 5").lost_max(5));
    assert!(error.to_string().starts_with("`lost_max` is configured twice"), "{error}");
    let error = refused(&with("[engine]\nsingle_runtime = true").single_runtime());
    assert!(error.to_string().starts_with("`single_runtime` is configured twice"), "{error}");
    let error = refused(&with("[engine]\nmetrics_interval = \"5s\"").metrics_interval(SEC));
    assert!(error.to_string().starts_with("`metrics_interval` is configured twice"), "{error}");
    let error = refused(&with("[engine]\nevents_kept_max = 5").events_kept_max(5));
    assert!(error.to_string().starts_with("`events_kept_max` is configured twice"), "{error}");
    let error = refused(&with("[engine]\nevents_kept_bytes_max = \"5 MiB\"").events_kept_bytes_max(5));
    assert!(error.to_string().starts_with("`events_kept_bytes_max` is configured twice"), "{error}");
    let error = refused(&with("[engine]\nevents_from_start = false").events_from_start());
    assert!(error.to_string().starts_with("`events_from_start` is configured twice"), "{error}");
    // In two files as well.
    let error = refused(&with("[queues.work]").config(read("\n\n[queues.work]")));
    assert_eq!(
        error.to_string(),
        "queue `work` is configured twice, in line 1 of the text and in line 3 of the text: take one of them out"
    );
}

#[test]
fn a_kind_of_a_file_that_does_not_fit_the_engine_is_refused_with_its_place() {
    let error = refused(&with("[queues.work]\n[kinds.step]\nqueue = \"wrok\""));
    assert_eq!(
        error.to_string(),
        "line 2 of the text: kind `step` goes to queue `wrok`, and there is no such queue: add it, or configure the \
         kind's queue"
    );
    let inner = |error: ConfigError| match error {
        ConfigError::At { error, .. } => *error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(inner(error), ConfigError::HandlerQueue { queue, .. } if queue == "wrok"));
    let unheard = inner(refused(&with("[queues.work]\n[kinds.stepp]\nqueue = \"work\"")));
    assert!(matches!(unheard, ConfigError::KindWithoutHandler(kind) if kind == "stepp"));
    // A queue of the code is as good.
    with("[queues.work]\n[kinds.step]\nqueue = \"mail\"").queue(QueueConfig::new("mail")).effective_config().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_file_without_queues_needs_queues_in_code() {
    let text = "[engine]\nallow_unknown_kinds = true";
    assert!(matches!(with(text).start().await, Err(StartError::Config(ConfigError::NoQueue))));
    with(text).queue(QueueConfig::new("work")).start().await.unwrap();
}

#[test]
fn code_is_held_to_the_same_ranges_as_files() {
    let script = Script::new();
    let refuse = |queue: QueueConfig| refused(&builder(&script, MemoryJournal::new()).queue(queue)).to_string();
    let work = || QueueConfig::new("work");
    assert_eq!(
        refuse(work().start_within(Duration::ZERO)),
        "queue `work`: start_within in ms is 0, allowed are 1 to 3153600000000"
    );
    assert_eq!(
        refuse(work().retry(RetryPolicy::exponential(SEC * 10).cap(SEC))),
        "queue `work`: the first retry comes after 10000 ms, over the cap of 1000 ms: lower it, or raise the cap"
    );
    let over = Duration::MAX;
    for queue in [
        work().wait_when_full(0),
        work().abort_after(over),
        work().retry(RetryPolicy::fixed(over)),
        work().retry(RetryPolicy::list(&[SEC, over])),
        work().retention(windlass::Retention::default().dead(over, 1, 1)),
        work().retention(windlass::Retention::default().done(SEC, u64::MAX, 1)),
        work().retention(windlass::Retention::default().dropped(SEC, 1, u64::MAX)),
    ] {
        assert!(refuse(queue.clone()).contains("allowed are"), "{queue:?}");
    }
    let kind = KindConfig::new("step").retry(RetryPolicy::linear(SEC * 2, SEC).cap(SEC));
    let error = refused(&builder(&script, MemoryJournal::new()).queue(work()).kind(kind));
    assert!(matches!(error, ConfigError::FirstOverCap { what: "kind", .. }), "{error}");
}

/// The first block of TOML in a text.
fn toml_in(text: &str) -> &str {
    text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap()
}

#[test]
fn what_the_readme_and_the_shop_show_is_a_configuration() {
    let readme = read(toml_in(include_str!("../../../README.md")));
    let shop = read(include_str!("../../../examples/src/bin/shop/shop.toml"));
    let four = ["critical-email", "marketing-email", "reports", "sync"];
    assert_eq!(readme.queue_names().collect::<Vec<_>>(), four);
    assert_eq!(shop.queue_names().take(4).collect::<Vec<_>>(), four);
    for shown in [&readme, &shop] {
        let text = shown.to_toml();
        for line in ["concurrency = 16", "start_within = \"30s\"", "durability = \"process\"", "priority = \"urgent\""]
        {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert_eq!(&read(&text), shown);
    }
}
