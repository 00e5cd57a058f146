//! One directory, one owner.

use windlass::storage::OpenError;
use windlass::{Engine, QueueConfig, StartError};

use windlass_tests::kill::child::small;
use windlass_tests::kill::image::Image;
use windlass_tests::kill::oracle::Oracle;
use windlass_tests::kill::pipe::Line;
use windlass_tests::kill::process::{Heard, Life, Orders, PATIENCE};

/// The child that comes second.
pub(crate) async fn come_second(orders: &Orders) {
    let builder = Engine::builder().journal(small(&orders.directory)).queue(QueueConfig::new("other"));
    match builder.start().await {
        Err(StartError::Open(error @ OpenError::InUse { .. })) => Line::Note(error.to_string()).tell(),
        Err(error) => Line::Wrong(format!("another error: {error}")).tell(),
        Ok(_) => Line::Wrong("two processes own one directory".to_owned()).tell(),
    }
}

/// Hears so many more jobs accepted and as many attempts ended.
fn goes_on(first: &Life, oracle: &mut Oracle, times: usize) {
    let (mut accepted, mut ended) = (0, 0);
    while accepted < times || ended < times {
        let Heard::Line(line) = first.hear(std::time::Instant::now() + PATIENCE) else {
            panic!("the first process does not go on");
        };
        oracle.hear(&line);
        accepted += usize::from(matches!(line, Line::Accepted(_)));
        ended += usize::from(matches!(line, Line::End(..)));
    }
}

#[test]
fn a_second_process_is_told_that_the_directory_is_in_use_and_the_first_goes_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut oracle = Oracle::default();
    oracle.life = 1;
    let mut first = Orders::new("work", 1, directory.path()).spawn();
    goes_on(&first, &mut oracle, 20);
    for _ in 0..3 {
        let (lines, status) = Orders::new("second", 2, directory.path()).spawn().bury();
        let [Line::Note(refusal)] = lines.as_slice() else { panic!("{status}: {lines:?}") };
        let path = directory.path().display().to_string();
        assert!(refusal.contains(&path) && refusal.contains("in use"), "a clear answer: {refusal}");
        goes_on(&first, &mut oracle, 20);
    }
    first.kill();
    oracle.hear_all(&first.bury().0);
    oracle.judge(&Image::of(directory.path(), |_| true));

    oracle.life = 3;
    let (lines, status) = Orders::new("drain", 3, directory.path()).spawn().bury();
    oracle.hear_all(&lines);
    assert!(lines.contains(&Line::Bye), "the dead hold no lock: {status}");
    let image = Image::of(directory.path(), |_| true);
    oracle.judge(&image);
    oracle.verdict(&image);
}
