//! The table at the end, and the line for machines.

use std::time::Duration;

use crate::verdict::Verdict;

/// Missing things that are named one by one.
const NAMED_MAX: usize = 20;

/// The value at this many hundredths of a sorted list.
fn percentile(sorted: &[Duration], hundredths: usize) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * hundredths / 100).min(last)).copied().unwrap_or_default()
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

fn p50_p99(sorted: &[Duration]) -> String {
    format!("p50 {}, p99 {}, of {}", ms(percentile(sorted, 50)), ms(percentile(sorted, 99)), sorted.len())
}

pub(crate) fn print(verdict: &Verdict) {
    let recoveries: Vec<String> = verdict.recoveries.iter().map(|time| format!("{} ms", time.as_millis())).collect();
    let accepted = format!("{} ({} sign-ups, {} pictures)", verdict.accepted(), verdict.sign_ups, verdict.pictures);
    let retried = format!("{} (the mail server refused {} mails)", verdict.retried, verdict.refused);
    let unanswered = format!(
        "{} (asked again as new; {} of them got a mail all the same)",
        verdict.unanswered, verdict.unanswered_mailed
    );
    let rows = [
        ("accepted", accepted),
        ("done", verdict.done.to_string()),
        ("retried", retried),
        ("missing", format!("{} (must be 0)", verdict.missing.len())),
        ("delivered twice", format!("{} (the price of at-least-once)", verdict.twice)),
        ("dead", verdict.dead.to_string()),
        ("broken off by the kills", unanswered),
        ("recovery", format!("{} (from SIGKILL to serving)", recoveries.join(", "))),
        ("sign-up answered", format!("{} (SQLite and job synced; calm)", p50_p99(&verdict.answered_calm))),
        ("sign-up answered, all", format!("{} (in the rush and through the kills)", p50_p99(&verdict.answered))),
        ("dispatch", format!("{} (accepted to first attempt; calm; 1 ms clock)", p50_p99(&verdict.dispatched_calm))),
        ("exit after SIGTERM", verdict.exit.to_string()),
    ];
    println!();
    for (name, value) in rows {
        println!("  {name:<24}{value}");
    }
    println!();
    if verdict.holds() {
        println!("  Everything that was acknowledged has happened.\n");
    }
    for missing in verdict.missing.iter().take(NAMED_MAX) {
        println!("  MISSING {missing}");
    }
    // Plain text in the order of the table; nothing in it needs escaping.
    let recovery_ms = verdict.recoveries.iter().max().map_or(0, Duration::as_millis);
    println!(
        r#"{{"accepted":{},"done":{},"retried":{},"missing":{},"twice":{},"dead":{},"recovery_ms":{recovery_ms}}}"#,
        verdict.accepted(),
        verdict.done,
        verdict.retried,
        verdict.missing.len(),
        verdict.twice,
        verdict.dead,
    );
}
