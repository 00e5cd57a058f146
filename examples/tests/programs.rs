//! The small programs run, end by themselves, and show what they say they show.
#![cfg(feature = "shop")]
// Helpers of tests are tests.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

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

/// Starts the courses, reads what they print until a line has this in it, and kills them there.
fn kill_courses_at(folder: &Path, part: &str) {
    let mut courses = Command::new(env!("CARGO_BIN_EXE_course")).arg(folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(courses.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains(part)), "no line with `{part}`");
    courses.kill().unwrap();
    courses.wait().unwrap();
}

/// Lets the courses come to their end, and returns what they printed.
fn end_of_courses(folder: &Path) -> String {
    let courses = Command::new(env!("CARGO_BIN_EXE_course")).arg(folder).output().unwrap();
    let printed = String::from_utf8_lossy(&courses.stdout).into_owned();
    assert!(courses.status.success(), "{}\n{printed}{}", courses.status, String::from_utf8_lossy(&courses.stderr));
    printed
}

/// All files below a folder, with when each was written; none where there is no folder.
fn files_below(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            let written = fs::metadata(&path).unwrap().modified().unwrap();
            files.insert(path, written);
        }
    }
    files
}

fn names(files: &BTreeMap<PathBuf, SystemTime>, folder: &Path) -> Vec<String> {
    files.keys().map(|file| file.strip_prefix(folder).unwrap().to_str().unwrap().to_owned()).collect()
}

/// The sizes of a rendition's frames.
fn frames_of(rendition: &Path) -> Vec<(u32, u32)> {
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(rendition).unwrap()).read_to_end(&mut bytes).unwrap();
    let (mut left, mut sizes) = (bytes.as_slice(), Vec::new());
    while let Some((length, rest)) = left.split_first_chunk() {
        let (jpeg, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        let frame = image::load_from_memory_with_format(jpeg, image::ImageFormat::Jpeg).unwrap();
        sizes.push((frame.width(), frame.height()));
        left = rest;
    }
    assert!(left.is_empty(), "{} bytes of half a frame", left.len());
    sizes
}

fn assert_published(course: &Path, transcript: &Value) {
    let manifest: Value = serde_json::from_slice(&fs::read(course.join("manifest.json")).unwrap()).unwrap();
    let mut renditions = Vec::new();
    for (width, height) in [(480, 270), (320, 180), (160, 90)] {
        let file = format!("{height}p.frames.gz");
        assert_eq!(frames_of(&course.join(&file)), [(width, height); 24]);
        renditions.push(json!({ "file": file, "width": width, "height": height, "frames": 24 }));
    }
    let expected = json!({
        "course": course.file_name().unwrap().to_str(),
        "renditions": renditions,
        "thumbnail": { "file": "thumbnail.jpg", "width": 160, "height": 90 },
        "transcript": transcript,
    });
    assert_eq!(manifest, expected);
    let thumbnail = image::open(course.join("thumbnail.jpg")).unwrap();
    assert_eq!((thumbnail.width(), thumbnail.height()), (160, 90));
}

fn assert_all_told(mails: &Path) {
    let mut expected = Vec::new();
    for student in (1..=20).map(|no| format!("student-{no:02}")) {
        for course in ["algebra", "botany", "chess"] {
            let mail = fs::read_to_string(mails.join(&student).join(format!("{course}.txt"))).unwrap();
            assert_in_order(&mail, &[&format!("To: {student}\n"), &format!("new course: {course}\n")]);
            expected.push(format!("{student}/{course}.txt"));
        }
    }
    assert_eq!(names(&files_below(mails), mails), expected);
}

#[test]
fn course_flows_go_on_after_kills_and_leave_every_file_once() {
    let folder = tempfile::tempdir().unwrap();
    let [courses, mails] = ["courses", "mails"].map(|name| folder.path().join(name));
    kill_courses_at(folder.path(), "transcode-90p done");
    assert!(!courses.join("chess/manifest.json").exists(), "the kill came too late to prove anything");
    assert!(names(&files_below(&mails), &mails).len() < 60, "the kill came too late to prove anything");
    kill_courses_at(folder.path(), "publish done");
    assert!(names(&files_below(&mails), &mails).len() < 60, "the kill came too late to prove anything");

    let printed = end_of_courses(folder.path());
    assert_in_order(&printed, &["algebra: goes on", "algebra waited longest for probe", "transcode-", "publish"]);
    assert_in_order(&printed, &["3 courses published; 60 students told; drawing failed at `transcode-"]);
    for line in ["botany: transcript dead, permanent: invalid utf-8", "drawing: publish cancelled for want of"] {
        assert!(printed.contains(line), "{printed}");
    }
    let of_published = ["180p.frames.gz", "270p.frames.gz", "90p.frames.gz", "manifest.json", "thumbnail.jpg"];
    let mut expected = Vec::new();
    for course in ["algebra", "botany", "chess"] {
        expected.extend(of_published.map(|file| format!("{course}/{file}")));
        expected.extend((course != "botany").then(|| format!("{course}/transcript.json")));
    }
    // Nothing unfinished is left, and nothing of `drawing`.
    assert_eq!(names(&files_below(&courses), &courses), expected);
    assert_published(
        &courses.join("algebra"),
        &json!({ "file": "transcript.json", "words": 20, "different_words": 14 }),
    );
    assert_published(&courses.join("botany"), &Value::Null);
    assert_published(&courses.join("chess"), &json!({ "file": "transcript.json", "words": 17, "different_words": 12 }));
    let index: Value = serde_json::from_slice(&fs::read(courses.join("chess/transcript.json")).unwrap()).unwrap();
    assert_eq!((&index["king"], &index["queen"]), (&json!([1, 2]), &json!([2])));
    assert_all_told(&mails);

    // All is done: one more start writes nothing.
    let written = [files_below(&courses), files_below(&mails)];
    let again = end_of_courses(folder.path());
    assert_eq!(again.lines().last(), printed.lines().last());
    assert_eq!([files_below(&courses), files_below(&mails)], written);
}
