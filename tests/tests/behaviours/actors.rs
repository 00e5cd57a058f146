//! The ring, as text: what no run can show is read.

use std::fs;
use std::path::Path;

/// I8: actors never await each other. No file of theirs asks another actor and waits for its answer: all are casts.
#[test]
fn no_actor_asks_another_and_waits_for_the_answer() {
    let actors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/src/actors");
    let mut files = 0;
    let inside = fs::read_dir(actors.join("supervisor")).unwrap();
    for entry in fs::read_dir(&actors).unwrap().chain(inside) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        files += 1;
        for (no, line) in text.lines().enumerate() {
            let asks = ["call!(", "call_t!(", "forward!(", ".call(", "::call(", ".call_and_forward(", "multi_call("];
            assert!(!asks.iter().any(|ask| line.contains(ask)), "{}:{}: {line}", path.display(), no + 1);
            // A reply is waited for by a task of its own, which casts it on.
            let is_message = line.contains("send_message(") && line.contains(".await");
            assert!(!is_message, "{}:{}: {line}", path.display(), no + 1);
            // The supervisor owns its children, and waits for the end of one that it has told to die. No child ever
            // waits for it, so the two cannot wait for each other.
            let waits = line.contains("_and_wait(") && !path.ends_with("supervisor.rs");
            assert!(!waits, "{}:{}: {line}", path.display(), no + 1);
        }
    }
    assert_eq!(files, 5, "queue, worker, scheduler, supervisor and its stop");
}
