//! One table of metrics: the guide's page and the code say the same, names follow Prometheus' conventions, and the dashboard
//! shows nothing that there is not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

const NAMES: &str = include_str!("../../../engine/src/telemetry/names.rs");
const PAGE: &str = include_str!("../../../engine/docs/metrics.md");
const DASHBOARD: &str = include_str!("../../../examples/dashboards/windlass.json");

/// Type, labels, unit and meaning of a metric, in the page's words.
type Row = [String; 4];

/// What the code has: `ID: Sort "name" in Unit by ["label"], "meaning";`
fn of_code(text: &str) -> BTreeMap<String, Row> {
    let row = |line: &str| {
        let (_, rest) = line.trim().split_once(": ")?;
        let (sort, rest) = rest.split_once(" \"")?;
        let (name, rest) = rest.split_once("\" in ")?;
        let (unit, rest) = rest.split_once(" by [")?;
        let (labels, rest) = rest.split_once("], \"")?;
        let meaning = rest.strip_suffix("\";")?;
        let row = [&sort.to_lowercase(), &labels.replace('"', "`"), &unit.to_lowercase(), meaning];
        Some((name.to_owned(), row.map(str::to_owned)))
    };
    text.lines().filter_map(row).collect()
}

/// What the page has.
fn of_page(text: &str) -> BTreeMap<String, Row> {
    let row = |line: &str| {
        let cells: Vec<_> = line.strip_prefix("| `windlass_")?.strip_suffix(" |")?.split('|').map(str::trim).collect();
        let [name, sort, labels, unit, meaning] = cells[..] else { return None };
        let row = [sort, labels, unit, meaning].map(str::to_owned);
        Some((format!("windlass_{}", name.trim_end_matches('`')), row))
    };
    text.lines().filter_map(row).collect()
}

/// What is wrong with a metric's name.
fn odd(name: &str, [sort, _, unit, _]: &Row) -> Option<String> {
    let is_counter = sort == "counter";
    let stem = name.strip_suffix("_total").unwrap_or(name);
    let is_total = stem.len() < name.len();
    let says = |unit: &str| stem.ends_with(&format!("_{unit}"));
    let wrong = is_total != is_counter
        || !name.starts_with("windlass_")
        || ["seconds", "bytes"].iter().any(|base| says(base) != (unit == base));
    wrong.then(|| format!("{name}: a {sort} in {unit}"))
}

/// Every metric that a text asks for.
fn asked(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("windlass_")).collect()
}

/// All queries of a dashboard.
fn queries(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(fields) => {
            let own = fields.iter().filter(|(name, _)| ["expr", "query", "definition"].contains(&name.as_str()));
            let own = own.filter_map(|(_, value)| value.as_str());
            own.chain(fields.values().flat_map(queries)).collect()
        }
        Value::Array(values) => values.iter().flat_map(queries).collect(),
        _ => Vec::new(),
    }
}

/// What a dashboard asks for that nobody tells.
fn unknown<'a>(dashboard: &'a Value, metrics: &BTreeMap<String, Row>) -> BTreeSet<&'a str> {
    let is_there = |name: &str| {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        let is_histogram = |base: &str| metrics.get(base).is_some_and(|[sort, ..]| sort == "histogram");
        // A histogram itself has no number.
        of_histogram.map_or_else(|| metrics.contains_key(name) && !is_histogram(name), is_histogram)
    };
    queries(dashboard).into_iter().flat_map(asked).filter(|name| !is_there(name)).collect()
}

#[test]
fn the_page_and_the_code_name_the_same_metrics() {
    let (code, page) = (of_code(NAMES), of_page(PAGE));
    let lines = NAMES.lines().filter(|line| line.contains(" \"windlass_")).count();
    assert!(code.len() > 40 && code.len() == lines, "{} of {lines} lines are understood", code.len());
    let differ: Vec<_> = code.keys().chain(page.keys()).filter(|name| code.get(*name) != page.get(*name)).collect();
    assert!(
        differ.is_empty(),
        "{differ:#?}\nWhat to do: say the same in engine/docs/metrics.md and telemetry/names.rs."
    );
}

#[test]
fn metrics_are_named_by_the_conventions_of_prometheus() {
    let odd: Vec<_> = of_code(NAMES).iter().filter_map(|(name, row)| odd(name, row)).collect();
    assert!(odd.is_empty(), "{odd:#?}\nWhat to do: counters end in `_total`, times in `_seconds`, sizes in `_bytes`.");
}

#[test]
fn the_dashboard_and_the_page_s_alarms_ask_for_nothing_that_there_is_not() {
    let (metrics, dashboard) = (of_code(NAMES), serde_json::from_str(DASHBOARD).expect("it is JSON"));
    let unknown = unknown(&dashboard, &metrics);
    assert!(unknown.is_empty(), "examples/dashboards/windlass.json: {unknown:?}");
    let shown: BTreeSet<_> = queries(&dashboard).into_iter().flat_map(asked).collect();
    assert!(shown.len() > 30, "{shown:?}");
    let in_text: BTreeSet<_> = asked(PAGE)
        .into_iter()
        .map(|name| {
            let of_histogram = ["_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
            of_histogram.filter(|base| metrics.contains_key(*base)).unwrap_or(name)
        })
        .collect();
    let unknown: Vec<_> = in_text.iter().filter(|name| !metrics.contains_key(**name)).collect();
    assert!(unknown.is_empty(), "engine/docs/metrics.md: {unknown:?}");
}

#[test]
fn a_metric_that_is_told_otherwise_or_asked_for_in_vain_is_seen() {
    let code = of_code("    A: Counter \"windlass_a_total\" in Count by [\"queue\", \"kind\"], \"Those, and more\";\n");
    let page = "| `windlass_a_total` | counter | `queue`, `kind` | count | Those, and more |\n";
    assert_eq!(of_page(page), code);
    assert_ne!(of_page(&page.replace("queue", "key")), code);
    let row = |sort: &str, unit: &str| [sort, "", unit, ""].map(str::to_owned);
    assert!(odd("windlass_a_total", &row("counter", "count")).is_none());
    for (name, sort, unit) in [
        ("windlass_a", "counter", "count"),
        ("windlass_a_total", "gauge", "count"),
        ("windlass_a", "gauge", "seconds"),
        ("windlass_a_bytes", "gauge", "count"),
        ("a_seconds", "gauge", "seconds"),
    ] {
        assert!(odd(name, &row(sort, unit)).is_some(), "{name}");
    }
    let dashboard =
        serde_json::json!({ "panels": [{ "targets": [{ "expr": "rate(windlass_b[5m]) / windlass_a_total" }] }] });
    assert_eq!(unknown(&dashboard, &code), BTreeSet::from(["windlass_b"]));
}
