//! Tests wait for signals. A test that sleeps is slow on every machine and wrong on a slow one.

use std::collections::BTreeSet;

use crate::{
    house::{Source, house},
    leaves::leaves,
    offence::{Offence, uphold},
    reach::Reach,
    uses::{all_imports, test_lines},
};

const SLEEPS: [&str; 3] = ["sleep", "sleep_until", "sleep_ms"];
const CLOCKS: [[&str; 2]; 2] = [["std", "thread"], ["tokio", "time"]];

/// Handlers that take time in a simulation, whose clock waits for nobody.
const ON_A_VIRTUAL_CLOCK: &str = "tests/src/simulation";

/// Where a file sleeps: by path (`thread::sleep`, `tokio::time::sleep`, a renamed module too), or by importing the function.
fn sleeps(source: &Source) -> Vec<Offence> {
    let mut clocks: BTreeSet<String> = CLOCKS.iter().map(|[_, module]| (*module).to_owned()).collect();
    let mut offences = Vec::new();
    for import in source.ast().iter().flat_map(all_imports) {
        let path: Vec<&str> = import.path.iter().map(String::as_str).collect();
        match *path.as_slice() {
            [first, second] if CLOCKS.contains(&[first, second]) => _ = clocks.insert(import.name),
            [first, second, third] if CLOCKS.contains(&[first, second]) && SLEEPS.contains(&third) => {
                offences.push(Offence::new(&source.path, import.line, format!("imports {}", path.join("::"))));
            }
            _ => {}
        }
    }
    for window in leaves(&source.text).windows(3) {
        let [module, joint, function] = window else { continue };
        if clocks.contains(&module.text) && joint.text == "::" && SLEEPS.contains(&function.text.as_str()) {
            offences.push(Offence::new(&source.path, function.line, format!("{}::{}", module.text, function.text)));
        }
    }
    offences
}

/// The offences that stand in tests: everywhere in a test's file, and in `#[cfg(test)]` modules.
fn sleeps_in_tests(source: &Source, only_for_tests: bool) -> Vec<Offence> {
    let mut offences = sleeps(source);
    if !only_for_tests {
        let lines = test_lines(source);
        offences.retain(|offence| lines.iter().any(|lines| lines.contains(&offence.line)));
    }
    offences
}

#[test]
fn no_test_sleeps() {
    let reach = Reach::of(house());
    let offences = house()
        .sources
        .iter()
        .filter(|source| !source.is_in(ON_A_VIRTUAL_CLOCK))
        .flat_map(|source| sleeps_in_tests(source, source.is_test() || reach.only_for_tests(&source.path)));
    uphold(
        "no test sleeps",
        offences.collect(),
        "wait for what you wait for: a channel, a Notify, a barrier; on a paused clock advance the time \
         (tokio::time::advance). A guard against hanging may use a timeout.",
    );
}

#[test]
fn a_sleeping_test_is_seen_however_it_sleeps() {
    let seen = |text: &str| sleeps_in_tests(&Source::new("a/tests/b.rs", text), true).len();
    assert_eq!(seen("fn f() { std::thread::sleep(D); }"), 1);
    assert_eq!(seen("use std::thread; fn f() { thread::sleep(D); }"), 1);
    assert_eq!(seen("use std::{thread::{self as t}}; fn f() { t::sleep(D); }"), 1);
    assert_eq!(seen("use tokio::time::{self, sleep}; async fn f() { sleep(D).await; }"), 1);
    assert_eq!(seen("async fn f() { tokio::select! { () = tokio::time::sleep(D) => {} } }"), 1);
    assert_eq!(seen("async fn f() { tokio::time::sleep_until(I).await; tokio::time::advance(D).await; }"), 1);
    assert_eq!(seen("// thread::sleep would be wrong here\nasync fn f() { tokio::time::timeout(D, x).await; }"), 0);
}

#[test]
fn code_outside_tests_may_sleep() {
    let text = "fn f() { std::thread::sleep(D); }\n#[cfg(test)]\nmod tests {\nfn f() { std::thread::sleep(D); }\n}\n";
    let lines: Vec<usize> =
        sleeps_in_tests(&Source::new("a/src/b.rs", text), false).iter().map(|offence| offence.line).collect();
    assert_eq!(lines, [4]);
}
