//! Schedules and keys under kills: each instant has its one job, a key its one attempt at a time, and none is left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use windlass::{CatchUp, Context, Engine, HOUR, Job, JobError, JobId, MIN, QueueConfig, RetryPolicy, Schedule, Unique};

use windlass_tests::chance::Chance;
use windlass_tests::kill::child::small;
use windlass_tests::kill::pipe::Line;
use windlass_tests::kill::process::{Heard, Life, Orders, PATIENCE};

const PERIOD: Duration = Duration::from_millis(50);
const KEYS: u32 = 4;
const LIVES: u16 = 12;

#[derive(Serialize, Deserialize)]
struct Pulse {}

impl Job for Pulse {
    const KIND: &'static str = "pulse";
    const QUEUE: &'static str = "work";
    type Output = ();
}

#[derive(Serialize, Deserialize)]
struct Alone {
    key: u32,
}

impl Job for Alone {
    const KIND: &'static str = "alone";
    const QUEUE: &'static str = "work";
    type Output = ();

    fn unique(&self) -> Option<Unique> {
        Some(Unique::fields(["key"]).keep_last())
    }
}

fn note(text: String) {
    Line::Note(text).tell();
}

async fn pulse(_: Pulse, cx: Context<watch::Sender<u64>>) -> Result<(), JobError> {
    note(format!("pulse {}", cx.id()));
    cx.app().send_modify(|pulses| *pulses += 1);
    Ok(())
}

async fn alone(job: Alone, cx: Context<watch::Sender<u64>>) -> Result<(), JobError> {
    note(format!("begin {}", job.key));
    // Long enough that another one would be seen beside it.
    let mut pulses = cx.app().subscribe();
    let _ = tokio::time::timeout(PERIOD * 2, pulses.changed()).await;
    note(format!("end {}", job.key));
    if cx.id().0.as_u128().is_multiple_of(5) { Err("tried again".into()) } else { Ok(()) }
}

async fn start(orders: &Orders) -> (Engine, watch::Receiver<u64>) {
    let (pulses, seen) = watch::channel(0);
    let retry = RetryPolicy::fixed(Duration::from_millis(5)).attempts(3);
    let schedule = Schedule::every("pulse", PERIOD, &Pulse {}).catch_up(CatchUp::All { max: 1_000 });
    let builder = Engine::builder().app(pulses).journal(small(&orders.directory)).disk_free_bytes_min(1 << 20);
    let builder = builder.queue(QueueConfig::new("work").retry(retry)).handler(pulse).handler(alone);
    let engine = builder.schedule(schedule).start().await.expect("the engine starts");
    Line::Ready.tell();
    (engine, seen)
}

/// The life that asks for the same again and again.
pub(crate) async fn keep_appointments(orders: &Orders) {
    let (engine, mut pulses) = start(orders).await;
    let once = engine.enqueue(Alone { key: 99 }).idempotency_key("once", HOUR).await.expect("it is accepted");
    note(format!("once {}", once.id()));
    loop {
        for key in 0..KEYS {
            engine.enqueue(Alone { key }).await.expect("it is accepted");
        }
        let _ = pulses.changed().await;
    }
}

/// The life in which everything comes to its end.
pub(crate) async fn keep_the_last(orders: &Orders) {
    let (engine, mut pulses) = start(orders).await;
    // What fell due meanwhile comes first.
    let _ = pulses.changed().await;
    engine.pause_schedule("pulse").await.expect("it is paused");
    while engine.stats().await.expect("stats are told")[0].live() > 0 {
        let _ = tokio::time::timeout(PERIOD, pulses.changed()).await;
    }
    for key in 0..KEYS {
        let job = engine.enqueue(Alone { key }).unique(Unique::fields(["key"])).await.expect("it is accepted");
        note(format!("free {}", job.is_fresh()));
    }
    engine.shutdown(MIN).await.expect("it stops");
    Line::Bye.tell();
}

/// What all lives said.
#[derive(Default)]
struct Heed {
    /// The ids of each instant's jobs.
    instants: BTreeMap<u128, BTreeSet<JobId>>,
    once: BTreeSet<String>,
    /// The keys whose attempts run in this life.
    running: BTreeSet<String>,
    freed: Vec<bool>,
    ends: usize,
}

impl Heed {
    fn hear(&mut self, line: &Line) {
        let Line::Note(text) = line else {
            assert!(!matches!(line, Line::Wrong(_)), "{line:?}");
            return;
        };
        let (word, rest) = text.split_once(' ').expect("two words");
        match word {
            "pulse" => {
                let id: JobId = rest.parse().expect("an id");
                // The time of a UUID of version 7 is its instant.
                self.instants.entry(id.0.as_u128() >> 80).or_default().insert(id);
            }
            "once" => _ = self.once.insert(rest.to_owned()),
            "begin" => assert!(self.running.insert(rest.to_owned()), "two attempts of key {rest} run"),
            "end" => {
                self.ends += 1;
                assert!(self.running.remove(rest), "an attempt of key {rest} ends that did not begin");
            }
            "free" => self.freed.push(rest == "true"),
            word => panic!("nobody says `{word}`"),
        }
    }

    fn bury(&mut self, life: Life) -> Vec<Line> {
        let (lines, _) = life.bury();
        for line in &lines {
            self.hear(line);
        }
        self.running.clear();
        lines
    }
}

#[test]
fn each_instant_has_its_job_and_each_key_its_one_attempt_however_often_the_process_is_killed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut heed, mut chance) = (Heed::default(), Chance::new(Chance::seed(7)));
    for number in 1..=LIVES {
        let mut life = Orders::new("appointments", number, directory.path()).spawn();
        for _ in 0..20 + chance.below(80) {
            match life.hear(std::time::Instant::now() + PATIENCE) {
                Heard::Line(line) => heed.hear(&line),
                Heard::Nothing | Heard::TheEnd => panic!("life {number} does not go on"),
            }
        }
        life.kill();
        heed.bury(life);
    }
    let lines = heed.bury(Orders::new("last-appointments", LIVES + 1, directory.path()).spawn());
    assert!(lines.contains(&Line::Bye), "{lines:?}");
    assert_eq!(heed.freed, [true; KEYS as usize], "no key is left behind");
    assert_eq!(heed.once.len(), 1, "the same call is the same job through all lives");
    assert!(heed.ends > usize::from(LIVES), "they did too little: {}", heed.ends);
    let period_ms = PERIOD.as_millis();
    let (first, last) = (heed.instants.keys().min().expect("one"), heed.instants.keys().max().expect("one"));
    let wanted: Vec<u128> = (*first..=*last).step_by(usize::try_from(period_ms).expect("a small number")).collect();
    assert_eq!(heed.instants.keys().copied().collect::<Vec<_>>(), wanted, "an instant is missing, or was invented");
    assert!(heed.instants.values().all(|ids| ids.len() == 1), "an instant has two jobs");
}
