//! One trace from the request to what follows from its job: the program is run, and its spans are read.
// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Command;

/// A line of the program.
#[derive(Debug)]
struct Span<'a> {
    trace: &'a str,
    id: &'a str,
    parent: &'a str,
    /// Its name, and the kind of the job whose attempt it is.
    name: &'a str,
}

fn span(line: &str) -> Span<'_> {
    let mut words = line.splitn(5, ' ');
    let mut word = || words.next().unwrap();
    let (trace, id) = (word(), word());
    assert_eq!((trace.len(), id.len(), word()), (32, 16, "parent"), "{line}");
    Span { trace, id, parent: word(), name: word().trim_end() }
}

#[test]
fn attempts_and_follow_ups_go_on_in_the_trace_of_the_request() {
    let output = Command::new(env!("CARGO_BIN_EXE_otel")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let spans: Vec<Span<'_>> = printed.lines().map(span).collect();
    assert_eq!(spans.len(), 8, "{printed}");

    let requests: Vec<_> = spans.iter().filter(|span| span.name == "request").collect();
    assert_eq!(requests.iter().map(|span| span.trace).collect::<BTreeSet<_>>().len(), 2, "a trace each\n{printed}");
    for request in requests {
        assert_eq!(request.parent, "0".repeat(16), "nothing was before it\n{printed}");
        let child = |parent: &Span<'_>, name: &str| {
            let mut mine = spans.iter().filter(|span| span.trace == request.trace && span.name == name);
            let found = mine.next().unwrap_or_else(|| panic!("no `{name}` in the trace\n{printed}"));
            assert_eq!(found.parent, parent.id, "{name}\n{printed}");
            found
        };
        let order = child(request, "windlass.attempt order");
        child(order, "charge");
        child(order, "windlass.attempt receipt");
    }
}
