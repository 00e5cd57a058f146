//! Every kind of mistake in a configuration file: refused with place, path, what stood there, what may, and what to do.

use std::fs;
use std::io::ErrorKind;

use windlass::{ConfigError, ConfigFileError, ConfigPlace, ConfigProblem, EngineConfig};

fn refused(result: Result<EngineConfig, ConfigError>) -> ConfigFileError {
    match result {
        Err(ConfigError::File(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn toml(text: &str) -> ConfigFileError {
    refused(EngineConfig::from_toml(text))
}

fn json(text: &str) -> ConfigFileError {
    refused(EngineConfig::from_json(text))
}

/// A queue `mail` with this line, which is the second.
fn queue(line: &str) -> ConfigFileError {
    toml(&format!("[queues.mail]\n{line}\n"))
}

/// What is said of that line.
fn said(line: &str) -> String {
    let error = queue(line);
    assert_eq!(error.place, ConfigPlace::Text { line: Some(2) }, "{error}");
    let text = error.to_string();
    text.strip_prefix("line 2 of the text: ").unwrap().to_owned()
}

#[test]
fn a_field_that_there_is_not_is_refused_at_every_level() {
    let error = toml("[queues.critical-email]\nconcurrency = 16\n\nconcurency = 16\n");
    assert_eq!(
        error.to_string(),
        "line 4 of the text: there is no field `queues.critical-email.concurency`: correct the name, or take it out; \
         allowed are concurrency, rate_limit, circuit_breaker, per_key, keys, shares, share_weight, priority, ages_after, start_within, attempt_timeout, \
         abort_after, durability, depth_max, wait_when_full, payload_bytes_max, result_bytes_max, retry, \
         retry_budget_percent, retention"
    );
    assert_eq!(error.field, "queues.critical-email.concurency");
    let texts = [
        ("queue.mail = {}", "queue"),
        ("[engine]\ndisk = 7", "engine.disk"),
        ("[queues.mail.retry]\nbackof = \"fixed\"", "queues.mail.retry.backof"),
        ("[queues.mail.retention]\nkeep = \"all\"", "queues.mail.retention.keep"),
        ("[queues.mail.retention.dead]\ncount = 1", "queues.mail.retention.dead.count"),
        ("[kinds.send]\ndurability = \"memory\"", "kinds.send.durability"),
        ("[kinds.send.retry]\nmax = 1", "kinds.send.retry.max"),
        ("[queues.\"a.b\"]\nx = 1", "queues.\"a.b\".x"),
        ("[queues.mail]\nkeys.a = { slots = 1 }", "queues.mail.keys.a.slots"),
        ("[queues.mail]\nper_key = { weight = 1 }", "queues.mail.per_key.weight"),
        ("[limits.api]\nkeys.a = { weight = 2 }", "limits.api.keys.a.weight"),
        ("[limits.api]\ncircuit_breaker = { percent = 2 }", "limits.api.circuit_breaker.percent"),
    ];
    for (text, field) in texts {
        let error = toml(text);
        assert!(matches!(*error.problem, ConfigProblem::UnknownField { .. }), "{error}");
        assert_eq!(error.field, field, "{error}");
    }
}

#[test]
fn a_value_of_another_sort_is_refused_with_what_stood_there() {
    let texts = [
        ("concurrency = \"many\"", "`queues.mail.concurrency` is \"many\": a whole number is expected"),
        ("concurrency = 1.5", "`queues.mail.concurrency` is 1.5: a whole number is expected"),
        ("depth_max = [1]", "`queues.mail.depth_max` is a list: a whole number is expected"),
        ("durability = true", "`queues.mail.durability` is true: a word is expected"),
        ("retention = \"none\"", "`queues.mail.retention` is \"none\": a table of settings is expected"),
        ("attempt_timeout = { s = 1 }", "`queues.mail.attempt_timeout` is a table: a duration such as \"30s\""),
        ("payload_bytes_max = false", "`queues.mail.payload_bytes_max` is false: a size such as \"256 KiB\""),
        ("circuit_breaker = true", "`queues.mail.circuit_breaker` is true: a table such as { failures = 10"),
        ("retry_budget_percent = \"20%\"", "`queues.mail.retry_budget_percent` is \"20%\": a whole number is expected"),
        ("retry = 3", "`queues.mail.retry` is 3: \"never\", or a table of settings, is expected"),
        ("priority = 1979-05-27", "`queues.mail.priority` is 1979-05-27: a word such as \"high\", or a number"),
        (
            "retry = { backoff = \"list\", delays = \"1s\" }",
            "`queues.mail.retry.delays` is \"1s\": a list of durations",
        ),
        (
            "wait_when_full = true",
            "`queues.mail.wait_when_full` is true: a number of callers that may wait (left out, a full queue refuses)",
        ),
    ];
    for (line, start) in texts {
        assert!(said(line).starts_with(start), "{}", said(line));
    }
    assert_eq!(
        toml("[engine]\nallow_unknown_kinds = 1").to_string(),
        "line 2 of the text: `engine.allow_unknown_kinds` is 1: true or false is expected"
    );
    assert!(matches!(*toml("queues = [\"mail\"]").problem, ConfigProblem::Type { .. }));
    assert!(matches!(*toml("queues.mail = 16").problem, ConfigProblem::Type { .. }));
    assert!(matches!(*toml("[kinds.send]\nqueue = 1").problem, ConfigProblem::Type { .. }));
    assert!(matches!(*json("[]").problem, ConfigProblem::Type { .. }));
    assert!(matches!(*json(r#"{"queues": null}"#).problem, ConfigProblem::Type { .. }));
}

#[test]
fn a_number_alone_is_no_duration_and_no_size() {
    assert_eq!(
        said("attempt_timeout = 30"),
        "`queues.mail.attempt_timeout` is 30, and a number does not say of what: write \"30s\" or \"30ms\""
    );
    assert_eq!(
        said("payload_bytes_max = 256"),
        "`queues.mail.payload_bytes_max` is 256, and a number does not say of what: write \"256 B\" or \"256 KiB\""
    );
    for line in ["start_within = 0", "abort_after = 10", "result_bytes_max = 0", "retry = { first = 2 }"] {
        assert!(matches!(*queue(line).problem, ConfigProblem::BareNumber { .. }), "{line}");
    }
}

#[test]
fn what_is_no_exact_duration_or_size_is_refused_with_how_to_write_one() {
    assert_eq!(
        said("start_within = \"5M\""),
        "`queues.mail.start_within` is \"5M\", no duration (`M` has no fixed length, days have): write it like \"500ms\", \
         \"30s\" or \"2h 30m\""
    );
    assert_eq!(
        said("result_bytes_max = \"1.5 MiB\""),
        "`queues.mail.result_bytes_max` is \"1.5 MiB\", no size (a fraction, where whole numbers are exact): write it like \
         \"512 B\", \"256 KiB\" or \"1 GiB\""
    );
    for text in ["", "30", "soon", "30 parsecs", "-5s", "1500us"] {
        assert!(
            matches!(*queue(&format!("attempt_timeout = \"{text}\"")).problem, ConfigProblem::Duration { .. }),
            "{text}"
        );
    }
    for text in ["", "64", "much", "4 cups", "-1 B"] {
        assert!(
            matches!(*queue(&format!("result_bytes_max = \"{text}\"")).problem, ConfigProblem::Size { .. }),
            "{text}"
        );
    }
    let error = queue("retry = { backoff = \"list\", delays = [\"1s\", \"soon\"] }");
    assert_eq!(error.field, "queues.mail.retry.delays[1]");
}

#[test]
fn every_number_has_its_range_and_the_refusal_names_it() {
    assert_eq!(said("concurrency = 0"), "`queues.mail.concurrency` is 0: allowed are 1 to 100000");
    assert_eq!(said("attempt_timeout = \"0s\""), "`queues.mail.attempt_timeout` is \"0s\": allowed are 1ms to 36500d");
    assert_eq!(
        said("payload_bytes_max = \"17 MiB\""),
        "`queues.mail.payload_bytes_max` is \"17 MiB\": allowed are 1 B to 16 MiB"
    );
    let lines = [
        "concurrency = -1",
        "concurrency = 100_001",
        "concurrency = 0xffff_ffff_ffff_ffff",
        "rate_limit = { jobs = 0, per = \"1s\" }",
        "rate_limit = { jobs = 10_000_001, per = \"1s\" }",
        "rate_limit = { jobs = 1, per = \"0s\" }",
        "rate_limit = { jobs = 1, per = \"1s\", burst = 0 }",
        "per_key = { concurrency = 100_001 }",
        "keys.a = { weight = 0 }",
        "keys.a = { weight = 1_001 }",
        "keys.\"\" = { weight = 1 }",
        "share_weight = 0",
        "ages_after = \"0s\"",
        "priority = -1",
        "priority = 256",
        "depth_max = 0",
        "depth_max = 4_294_967_296",
        "wait_when_full = 0",
        "wait_when_full = 4_294_967_296",
        "payload_bytes_max = \"0 B\"",
        "result_bytes_max = \"16777217 B\"",
        "attempt_timeout = \"36501d\"",
        "start_within = \"0s\"",
        "start_within = \"36501d\"",
        "abort_after = \"36501d\"",
        "retry = { attempts = 0 }",
        "retry = { attempts = 4_294_967_296 }",
        "retry = { jitter_percent = -1 }",
        "retry = { jitter_percent = 101 }",
        "retry = { first = \"36501d\", cap = \"36501d\" }",
        "retry = { backoff = \"fixed\", delay = \"36501d\" }",
        "retention = { done = { age = \"36501d\" } }",
        "retention = { dead = { count_max = -1 } }",
        "retention = { dead = { count_max = 4_294_967_296 } }",
        "retention = { dropped = { bytes_max = \"2 EiB\" } }",
        "retention = { dropped = { bytes_max = \"99999999999999999999 B\" } }",
    ];
    for line in lines {
        assert!(matches!(*queue(line).problem, ConfigProblem::Range { .. }), "{line}: {}", queue(line));
    }
    let many = format!("retry = {{ backoff = \"list\", delays = [{}] }}", "\"1s\", ".repeat(1_001));
    assert_eq!(said(&many), "`queues.mail.retry.delays` is a list of 1001: allowed are 0 to 1000");
    for text in ["concurrency = 0", "concurrency = 100_001", "attempt_timeout = \"0s\"", "retry = { attempts = 0 }"] {
        let error = toml(&format!("[kinds.send]\n{text}"));
        assert!(matches!(*error.problem, ConfigProblem::Range { .. }), "{text}: {error}");
    }
    let wide = ["disk_free_bytes_min = \"2 EiB\"", "memory_bytes_max = \"15 MiB\"", "memory_bytes_max = \"65 TiB\""];
    for text in wide
        .into_iter()
        .chain(["lost_max = 2", "lost_max = 4294967296", "metrics_interval = \"25h\""])
        .chain(["events_kept_max = 0", "events_kept_bytes_max = \"2 TiB\""])
    {
        let error = toml(&format!("[engine]\n{text}"));
        assert!(matches!(*error.problem, ConfigProblem::Range { .. }), "{text}: {error}");
    }
    // The ends of a range are in it.
    let ends = "[queues.mail]\nconcurrency = 100_000\npriority = 255\nresult_bytes_max = \"0 B\"\nabort_after = \"0s\"";
    EngineConfig::from_toml(ends).unwrap();
}

#[test]
fn breakers_and_retry_budgets_have_their_ranges_and_what_a_breaker_needs_is_said() {
    let lines = [
        "circuit_breaker = { failures = 0, attempts = 10 }",
        "circuit_breaker = { failures = 11, attempts = 10 }",
        "circuit_breaker = { failures = 1, attempts = 1_001 }",
        "circuit_breaker = { failures = 1, attempts = 1, pause = \"0s\" }",
        "circuit_breaker = { failures = 1, attempts = 1, pause = \"2s\", pause_max = \"1s\" }",
        "circuit_breaker = { failures = 1, attempts = 1, probes = 0 }",
        "per_key = { circuit_breaker = { failures = 1, attempts = 1, probes = 1_001 } }",
        "retry_budget_percent = 101",
        "retry_budget_percent = -1",
    ];
    for line in lines {
        assert!(matches!(*queue(line).problem, ConfigProblem::Range { .. }), "{line}: {}", queue(line));
    }
    assert_eq!(
        said("circuit_breaker = { failures = 11, attempts = 10 }"),
        "`queues.mail.circuit_breaker.attempts` is 10: allowed are 11 to 1000"
    );
    assert_eq!(
        said("circuit_breaker = { failures = 10 }"),
        "`queues.mail.circuit_breaker` lacks `attempts`, which a circuit breaker needs: add it"
    );
}

#[test]
fn a_word_that_there_is_not_is_refused_with_those_that_there_are() {
    assert_eq!(
        said("priority = \"asap\""),
        "`queues.mail.priority` is \"asap\": allowed are urgent, high, normal, low, or a number from 0 to 255"
    );
    assert_eq!(
        said("durability = \"Durable\""),
        "`queues.mail.durability` is \"Durable\": allowed are memory, process, durable"
    );
    assert_eq!(
        said("retry = { backoff = \"quadratic\" }"),
        "`queues.mail.retry.backoff` is \"quadratic\": allowed are exponential, linear, fixed, list"
    );
    assert_eq!(
        said("retention = { keep_done = \"some\" }"),
        "`queues.mail.retention.keep_done` is \"some\": allowed are none, with-output, all"
    );
    assert!(matches!(*queue("retry = \"always\"").problem, ConfigProblem::Word { .. }));
}

#[test]
fn fields_of_a_retry_that_do_not_go_with_its_backoff_are_refused() {
    assert_eq!(
        said("retry = { backoff = \"fixed\", delay = \"1s\", step = \"1s\" }"),
        "`queues.mail.retry.step` does not go with backoff \"fixed\": take it out; what goes with that is delay, attempts, \
         jitter_percent"
    );
    assert_eq!(
        said("retry = { backoff = \"linear\", first = \"1s\" }"),
        "`queues.mail.retry` lacks `step`, which backoff \"linear\" needs: add it"
    );
    assert_eq!(
        said("retry = { first = \"3h\" }"),
        "`queues.mail.retry` begins with 3h, over its cap of 2h (the default): lower `first`, or raise `cap`"
    );
    let unfit = [
        "retry = { delay = \"1s\" }",
        "retry = { backoff = \"exponential\", step = \"1s\" }",
        "retry = { backoff = \"linear\", first = \"1s\", step = \"1s\", delays = [] }",
        "retry = { backoff = \"list\", delays = [\"1s\"], first = \"1s\" }",
        "retry = { backoff = \"list\", delays = [\"1s\"], cap = \"1s\" }",
    ];
    for line in unfit {
        assert!(matches!(*queue(line).problem, ConfigProblem::Unfit { .. }), "{line}: {}", queue(line));
    }
    for line in
        ["retry = { backoff = \"fixed\" }", "retry = { backoff = \"list\" }", "retry = { backoff = \"linear\" }"]
    {
        assert!(matches!(*queue(line).problem, ConfigProblem::Missing { .. }), "{line}");
    }
    let over = queue("retry = { backoff = \"linear\", first = \"2s\", step = \"1s\", cap = \"1s\" }");
    assert!(matches!(*over.problem, ConfigProblem::FirstOverCap { .. }), "{over}");
}

#[test]
fn names_that_keys_cannot_carry_are_refused() {
    let error = toml("[queues.\"über\"]");
    assert_eq!(
        error.to_string(),
        "line 1 of the text: `queues.\"über\"` is named \"über\": 1 to 128 letters, digits and `-_.:/` are allowed"
    );
    let long = format!("[kinds.{}]", "a".repeat(129));
    assert!(matches!(*toml(&long).problem, ConfigProblem::Name { bytes_max: 128, .. }));
    assert!(matches!(*toml("queues.\"\" = {}").problem, ConfigProblem::Name { .. }));
}

#[test]
fn what_cannot_be_parsed_is_refused_with_its_line() {
    let error = toml("[queues.mail]\nconcurrency = \n");
    assert_eq!(error.place, ConfigPlace::Text { line: Some(2) }, "{error}");
    assert!(error.to_string().starts_with("line 2 of the text: it cannot be parsed: "), "{error}");
    let twice = toml("[queues.mail]\nconcurrency = 1\nconcurrency = 2\n");
    assert_eq!(twice.place, ConfigPlace::Text { line: Some(3) }, "{twice}");
    assert!(matches!(*twice.problem, ConfigProblem::Syntax { .. }), "{twice}");

    let error = json("{\n \"queues\": {\n  \"mail\": {,}\n }\n}");
    assert_eq!(error.place, ConfigPlace::Text { line: Some(3) }, "{error}");
    let twice = json("{\"queues\": {\n \"mail\": {\"concurrency\": 1, \"concurrency\": 2}}}");
    assert_eq!(
        twice.to_string(),
        "line 2 of the text: it cannot be parsed: the field `concurrency` stands there twice"
    );
    let deep = format!("{{\"queues\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(json(&deep).to_string().contains("nested too deep"));
    assert!(matches!(*toml(&format!("a = {}", "[".repeat(100_000))).problem, ConfigProblem::Syntax { .. }));
}

#[test]
fn json_says_its_places_as_toml_does() {
    let text = "{\n  \"queues\": {\n    \"mail\": {\n      \"retry\": {\"backoff\": \"list\",\n        \"delays\": [\"1s\",\n 5]}}}}";
    let error = json(text);
    assert_eq!(
        error.to_string(),
        "line 6 of the text: `queues.mail.retry.delays[1]` is 5, and a number does not say of what: write \"5s\" or \
         \"5ms\""
    );
    assert_eq!(json("{\n\"que\": 1}").place, ConfigPlace::Text { line: Some(2) });
    assert!(matches!(*json(r#"{"queues": {"mail": {"concurrency": 1e3}}}"#).problem, ConfigProblem::Type { .. }));
}

#[test]
fn a_text_that_says_nothing_is_refused() {
    for text in ["", "\n\n", "# not yet\n"] {
        let error = toml(text);
        assert_eq!(
            error.to_string(),
            "the text: it says nothing: add at least one queue, such as `queues.mail`, or give no file"
        );
    }
    for text in ["", " \n", "{}"] {
        assert!(matches!(*json(text).problem, ConfigProblem::Empty));
    }
}

#[test]
fn a_file_is_read_by_its_extension_and_errors_name_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let read = EngineConfig::from_path(file("good.toml", b"[queues.mail]\nconcurrency = 3")).unwrap();
    assert_eq!(read, EngineConfig::from_path(file("good.JSON", br#"{"queues":{"mail":{"concurrency":3}}}"#)).unwrap());

    let path = file("bad.toml", b"[queues.mail]\nconcurrency = 0");
    let error = refused(EngineConfig::from_path(&path));
    let place = format!("`{}`, line 2", path.display());
    assert_eq!(error.to_string(), format!("{place}: `queues.mail.concurrency` is 0: allowed are 1 to 100000"));

    let error = refused(EngineConfig::from_path(file("latin.toml", b"[queues.mail]\n# \xe9t\xe9")));
    assert!(error.to_string().ends_with("line 2: it is not UTF-8: store it as UTF-8 text"), "{error}");
    let error = refused(EngineConfig::from_path(file("queues.yaml", b"queues:")));
    let told = "its name ends with `yaml`: `toml` and `json` are known; name the file by what is in it";
    assert!(error.to_string().ends_with(told), "{error}");
    assert!(matches!(
        *refused(EngineConfig::from_path(file("queues", b""))).problem,
        ConfigProblem::Extension { given } if given.is_empty()
    ));
    let error = refused(EngineConfig::from_path(folder.path().join("none.toml")));
    assert!(matches!(&*error.problem, ConfigProblem::Read(error) if error.kind() == ErrorKind::NotFound), "{error}");
    // A folder cannot be read as a file.
    fs::create_dir(folder.path().join("folder.toml")).unwrap();
    let error = refused(EngineConfig::from_path(folder.path().join("folder.toml")));
    assert!(matches!(*error.problem, ConfigProblem::Read(_)), "{error}");
    let error = refused(EngineConfig::from_path(file("large.json", &vec![b' '; (1 << 20) + 1])));
    assert!(matches!(*error.problem, ConfigProblem::TooLarge { bytes_max: 1_048_576 }), "{error}");
    assert!(matches!(*refused(EngineConfig::from_path(file("empty.toml", b""))).problem, ConfigProblem::Empty));
}
