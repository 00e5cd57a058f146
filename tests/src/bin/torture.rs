//! `make torture`: kills, power cuts and simulations for minutes, and whether anything was lost.
//!
//! Also each child of its own, and the way to look at one image again (`torture image FOLDER PLACE CLASS SEED`). Its last line
//! is one line of JSON. The exit code is 0 only if nothing is missing and no judge found anything wrong.

#![allow(clippy::expect_used)]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use windlass_tests::chance::Chance;
use windlass_tests::images::disk::Device;
use windlass_tests::images::{Recipe, Run, Tally};
use windlass_tests::kill::child;
use windlass_tests::kill::process::Orders;
use windlass_tests::torture;
use windlass_tests::until::{self, Until};

const USAGE: &str = "torture MINUTES | torture image FOLDER PLACE CLASS SEED";

fn main() -> ExitCode {
    if let Some(orders) = Orders::given() {
        child::play(&orders);
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *words {
        [minutes] if minutes.parse().is_ok_and(|minutes: f64| minutes > 0.0 && minutes < 10_000.0) => {
            for_minutes(minutes.parse().expect("it was looked at"))
        }
        ["image", folder, at, class, seed] => again(folder, [at, class, seed]),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn for_minutes(minutes: f64) -> ExitCode {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seed = Chance::seed(now);
    println!(
        "torture for {minutes} minutes. The seed: {seed}. To repeat: WINDLASS_SEED={seed} make torture MINUTES={minutes}"
    );
    listen();
    let began = Instant::now();
    let sum = torture::run(seed, Until::at(began + Duration::from_secs_f64(60.0 * minutes)));
    println!("{}", sum.report());
    for failure in &sum.failures {
        println!("{failure}");
    }
    if until::is_stopped() {
        println!("It was stopped after {:.1?}.", began.elapsed());
    }
    println!("The seed: {seed}. To repeat: WINDLASS_SEED={seed} make torture MINUTES={minutes}");
    println!("{}", sum.json(minutes));
    if sum.missing() > 0 || !sum.failures.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// An interrupt ends it as the end of its time would; a second one at once.
fn listen() {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime starts");
        runtime.block_on(async {
            if windlass::stop_signal().await.is_ok() {
                eprintln!("Stopping. What is under way is judged first; once more to end at once.");
                until::stop();
                let _ = windlass::stop_signal().await;
                std::process::exit(130);
            }
        });
    });
}

fn again(folder: &str, numbers: [&str; 3]) -> ExitCode {
    let [Ok(at), Ok(class), Ok(seed)] = numbers.map(str::parse::<u64>) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let small = |number| usize::try_from(number).expect("it fits into memory");
    let run = Run::kept(Path::new(folder));
    let recipe = Recipe { at: small(at), class: small(class), seed };
    let mut tally = Tally::default();
    let judged = run.judge(&Device::of(run.recording()), recipe, true, &mut tally);
    println!("{:?}", tally.classes);
    match judged {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("{}", failure.what);
            ExitCode::FAILURE
        }
    }
}
