//! Images of cuts of the power, of one run: a part of what `make torture` does.

use std::path::Path;
use std::time::Instant;

use windlass_tests::chance::Chance;
use windlass_tests::images::disk::{Bytes, Cut, Device, Names};
use windlass_tests::images::{Budget, Run, Tally, recorder, torture};
use windlass_tests::kill::say;
use windlass_tests::until::Until;

/// The whole record, done again, is the child's own disk: nothing that changes a file gets past the recorder.
#[test]
fn all_that_was_recorded_makes_the_disk_that_the_child_left() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (run, disk) = Run::record(&recorder(folder.path()), 7);
    let device = Device::of(run.recording());
    let all = Cut { at: run.recording().ops.len(), bytes: Bytes::Kept, names: Names::Kept, seed: 0 };
    let made = device.after(all);
    let names = |disk: &windlass_tests::images::disk::Disk| disk.files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&made), names(&disk));
    for (path, bytes) in &disk.files {
        assert!(
            made.files[path] == *bytes,
            "{path}: {} bytes were recorded, {} are there",
            made.files[path].len(),
            bytes.len()
        );
    }
    assert_eq!(made.folders, disk.folders);
    let tables = disk.files.keys().filter(|path| Path::new(path).extension().is_some_and(|kind| kind == "sst")).count();
    say(&format!("{} operations, {} batches, {tables} tables: {:?}", all.at, run.batches().count(), names(&disk)));
}

/// I2: what is there is what a prefix of the batches leaves, and all that a sync covered is in it.
#[test]
fn every_image_of_a_cut_has_all_that_was_acknowledged_or_is_refused() {
    let seed = Chance::seed(20_261_126);
    say(&format!("images: seed {seed}"));
    let mut tally = Tally::default();
    let began = Instant::now();
    let budget = Budget { until: Until::never(), stride: 5, runs: 1, drain: 40 };
    let answer = torture(seed, budget, &mut tally);
    say(&format!(
        "{} images ({} drained) of {} operations in {:.1?}",
        tally.images,
        tally.drained,
        tally.operations,
        began.elapsed()
    ));
    for (class, seen) in &tally.classes {
        say(&format!("  {class}: {seen:?}"));
    }
    if let Err(failure) = answer {
        panic!("{}\nto repeat: torture {}", failure.what, failure.repeat);
    }
}
