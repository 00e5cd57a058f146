//! The small programs run, end by themselves, and show what they say they show.
// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

use std::process::Command;

/// Runs a program to its end and returns what it printed.
fn output_of(program: &str) -> String {
    let output = Command::new(program).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program}: {}\n{printed}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}

/// Asserts that these stand in the output, in this order.
fn assert_in_order(printed: &str, parts: &[&str]) {
    let mut rest = printed;
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { panic!("`{part}` is missing, or too early:\n{printed}") };
        rest = after;
    }
}

#[test]
fn hello_greets() {
    assert_in_order(&output_of(env!("CARGO_BIN_EXE_hello")), &["Hello, Ada!"]);
}

#[test]
fn the_most_urgent_goes_first() {
    let printed = output_of(env!("CARGO_BIN_EXE_priorities"));
    assert_in_order(&printed, &["a reset link", "password", "order", "invoice", "first page", "second page"]);
}

#[test]
fn every_failure_is_retried_in_its_own_way() {
    let printed = output_of(env!("CARGO_BIN_EXE_retries"));
    assert_in_order(
        &printed,
        &["done after 3", "2 of them", "done after 2", "1 of", "done after 4", "0 of", "done after 2"],
    );
    assert!(printed.contains("the handler has a bug"), "{printed}");
}

#[test]
fn a_dead_letter_is_seen_brought_back_and_thrown_away() {
    let printed = output_of(env!("CARGO_BIN_EXE_dead_letters"));
    let parts =
        ["the bank is closed", "nothing to charge", "attempt 3", "Ada pays 1815 cents", "0 dead letters are left"];
    assert_in_order(&printed, &parts);
}

#[test]
fn the_demo_kills_the_shop_twice_and_misses_nothing() {
    let demo = Command::new(env!("CARGO_BIN_EXE_demo")).arg("--small").output().unwrap();
    let printed = String::from_utf8_lossy(&demo.stdout).into_owned();
    assert!(demo.status.success(), "{}\n{printed}{}", demo.status, String::from_utf8_lossy(&demo.stderr));
    assert_in_order(&printed, &["SIGKILL", "serves again", "SIGKILL", "serves again", "SIGTERM", "\"missing\":0"]);
}

#[test]
fn blocking_work_ends_when_asked() {
    assert_in_order(&output_of(env!("CARGO_BIN_EXE_blocking")), &["9592 primes below 100000", "running", "has ended"]);
}

#[test]
fn nobody_waits_behind_the_customer_with_a_backlog_and_the_partner_turns_nobody_away() {
    let printed = output_of(env!("CARGO_BIN_EXE_tenants"));
    assert_in_order(
        &printed,
        &[
            "the noisy one waits: ",
            "ada:   3 calls",
            "ben:   3 calls",
            "cleo:   3 calls",
            "noisy: 150 calls",
            "till:  10 calls",
        ],
    );
    assert_in_order(&printed, &["the partner had 169 calls, and turned away 0"]);
    // 169 calls take 3.4 s; those of the quiet ones are among the first fifty.
    let last = |customer: &str| {
        let line = printed.lines().find(|line| line.trim_start().starts_with(customer)).unwrap();
        let after = line.rsplit_once("the last after ").unwrap().1.trim_end_matches(" s");
        after.parse::<f64>().unwrap()
    };
    for customer in ["ada", "ben", "cleo", "till"] {
        assert!(last(customer) < 0.6 * last("noisy"), "{printed}");
    }
}

#[test]
fn a_webhook_is_delivered_and_another_one_waits() {
    let printed = output_of(env!("CARGO_BIN_EXE_webhook_policy"));
    assert_in_order(&printed, &["answered 200", "told again"]);
}
