//! The numbers arrive: the program is started, and scraped as Prometheus would.
// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Ends with the test, however that ends.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn scrape(address: &str) -> String {
    let (host, path) = address.split_once('/').unwrap();
    let mut connection = TcpStream::connect(host).unwrap();
    connection.write_all(format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    text.to_owned()
}

/// The value of this series, as it is written.
fn value<'a>(text: &'a str, series: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
}

#[test]
fn a_scrape_has_what_happened() {
    let child = Command::new(env!("CARGO_BIN_EXE_metrics")).stdout(Stdio::piped()).spawn().unwrap();
    let mut program = Program(child);
    let mut line = String::new();
    BufReader::new(program.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("http://").unwrap();

    let began = Instant::now();
    let text = loop {
        let text = scrape(address);
        if value(&text, "windlass_jobs_succeeded_total{queue=\"mail\"}") == Some("30") {
            break text;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{text}");
    };
    let expected = [
        ("windlass_jobs_enqueued_total{queue=\"mail\"}", "30"),
        ("windlass_attempts_started_total{queue=\"mail\"}", "33"),
        ("windlass_attempts_failed_total{queue=\"mail\"}", "3"),
        ("windlass_retries_total{queue=\"mail\"}", "3"),
        ("windlass_jobs{queue=\"mail\",state=\"done\"}", "30"),
        ("windlass_attempts_ended_total{queue=\"mail\",kind=\"mail\",outcome=\"failed\"}", "3"),
        ("windlass_run_seconds_count{queue=\"mail\",kind=\"mail\"}", "33"),
        ("windlass_run_seconds_bucket{queue=\"mail\",kind=\"mail\",le=\"+Inf\"}", "33"),
        ("windlass_slots{queue=\"mail\"}", "4"),
        ("windlass_serving", "1"),
    ];
    for (series, count) in expected {
        assert_eq!(value(&text, series), Some(count), "{series} in\n{text}");
    }
    assert!(text.contains("# TYPE windlass_wait_seconds histogram"), "{text}");
    assert!(text.contains("# HELP windlass_jobs Jobs in this state"), "{text}");
}
