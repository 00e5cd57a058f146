//! Stories of single behaviours, as text: commands, a rule, and the effects that have to come of them.
//!
//! A script in `scripts/` is a row of blocks: command lines, `----`, the expected lines, an empty line. `#` starts a
//! comment. `UPDATE=1 cargo test --test scripts` writes down what came instead: read the diff then. The words are in
//! [`Script::command`]. The whole state is audited after every step, so each story guards I1, I3 and I11, too; its
//! first line says what it is about. I2, I4, I5 and I9 have stories of their own.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// Small numbers all over.
#![allow(clippy::cast_possible_truncation)]

mod common;
#[path = "scripts/show.rs"]
mod show;
#[path = "scripts/steer.rs"]
mod steer;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use windlass_scheduler::attempt::{Failure, FailureKind, Outcome, Output, Retry};
use windlass_scheduler::command::{Command, QueueNo, Request, Submit, TimerClass};
use windlass_scheduler::job::{Body, JobId, Name, NewJob, Priority, When};
use windlass_scheduler::lease::LeaseToken;
use windlass_scheduler::retry::{Backoff, RetryPolicy};
use windlass_scheduler::settings::{Keep, KeepDone, Level, Notices, QueueSettings, ShardSettings, WhenFull};
use windlass_scheduler::time::{Mono, Now, Timestamp};

use self::common::{Driver, id};

/// One story while it is told.
struct Script {
    settings: ShardSettings,
    driver: Option<Driver>,
    names: BTreeMap<String, JobId>,
    asked: BTreeMap<Request, String>,
    out: String,
}

/// The part of a line that belongs to one command: its words, and its `key=value` options.
struct Words<'a> {
    words: Vec<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Self {
        let (options, words): (Vec<_>, Vec<_>) = line.split_whitespace().partition(|word| word.contains('='));
        Self { words, options: options.into_iter().filter_map(|option| option.split_once('=')).collect() }
    }

    fn word(&self, n: usize) -> &'a str {
        self.words.get(n).copied().unwrap_or_else(|| panic!("word {n} is missing: {:?}", self.words))
    }

    fn number(&self, n: usize) -> u64 {
        self.word(n).parse().unwrap()
    }

    fn option<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.options.get(key).and_then(|value| value.parse().ok())
    }
}

fn retry(text: &str) -> RetryPolicy {
    let (delay, attempts) = text.split_once(':').unwrap();
    let backoff = Backoff::Fixed { delay_ms: delay.parse().unwrap() };
    RetryPolicy { backoff, attempts_max: attempts.parse().unwrap(), jitter_percent: 0 }
}

fn queue_settings(words: &Words<'_>) -> QueueSettings {
    let mut queue = QueueSettings::new(Name::from(words.word(1)));
    for (key, value) in &words.options {
        let number = || value.parse::<u64>().unwrap();
        let keep = || {
            let limits: Vec<u64> = value.split('/').map(|limit| limit.parse().unwrap()).collect();
            Keep { count_max: limits[0], age_ms: limits[1], bytes_max: limits[2] }
        };
        match *key {
            "slots" => queue.slots = value.parse().unwrap(),
            "depth" => queue.depth_max = number(),
            "wait" => queue.when_full = WhenFull::Wait { waiters_max: value.parse().unwrap() },
            "timeout" => queue.timeout_ms = Some(number()),
            "within" => queue.start_within_ms = Some(number()),
            "retry" => queue.retry = retry(value),
            "level" => {
                let level = |level: &Level| format!("{level:?}").to_lowercase() == *value;
                queue.level = [Level::Memory, Level::Process, Level::Durable].into_iter().find(level).unwrap();
            }
            "keep" => {
                let keep = |keep: &KeepDone| format!("{keep:?}").to_lowercase() == *value;
                queue.retention.keep_done =
                    [KeepDone::None, KeepDone::WithOutput, KeepDone::All].into_iter().find(keep).unwrap();
            }
            "done" => queue.retention.done = keep(),
            "dead" => queue.retention.dead = keep(),
            "dropped" => queue.retention.dropped = keep(),
            other => panic!("a queue has no {other}"),
        }
    }
    queue
}

impl Script {
    fn new() -> Self {
        let mut settings = ShardSettings::new(0, 7, Vec::new(), vec!["work".into(), "other".into()]);
        settings.unknown_kinds = true;
        Self { settings, driver: None, names: BTreeMap::new(), asked: BTreeMap::new(), out: String::new() }
    }

    /// Changes what is said of one of the kinds.
    fn kind(&mut self, words: &Words<'_>) {
        let kind = self.settings.kinds.iter_mut().find(|kind| kind.name.as_str() == words.word(1)).unwrap();
        kind.slots = words.option("slots");
        kind.timeout_ms = words.option("timeout");
        kind.retry = words.options.get("retry").map(|text| retry(text));
    }

    fn driver(&mut self) -> &mut Driver {
        let settings = &self.settings;
        self.driver.get_or_insert_with(|| {
            let now = Now { mono: Mono(0), wall: Timestamp(1_000_000) };
            let mut driver = Driver::new(settings.clone(), now);
            driver.settle();
            driver.effects.clear();
            driver
        })
    }

    fn id(&mut self, name: &str) -> JobId {
        let next = id(self.names.len() as u64 + 1);
        *self.names.entry(name.into()).or_insert(next)
    }

    fn name(&self, id: JobId) -> &str {
        self.names.iter().find(|(_, one)| **one == id).map_or("?", |(name, _)| name)
    }

    fn queue(&self, name: &str) -> QueueNo {
        QueueNo(self.settings.queues.iter().position(|queue| queue.name.as_str() == name).unwrap() as u32)
    }

    fn request(&mut self, label: &str) -> Request {
        let request = Request(self.asked.len() as u64);
        self.asked.insert(request, label.into());
        request
    }

    /// Does what a line says. The words, with options after them:
    fn command(&mut self, line: &str) {
        let words = Words::new(line);
        match words.word(0) {
            // Jobs. enqueue ID QUEUE [watch] kind= priority= after= at= expires= expires_at= timeout= retry=MS:N bytes=
            "enqueue" => self.enqueue(line, &words),
            "bulk" => self.bulk(line, &words),
            "end" => self.end(&words, false),
            "late" => self.end(&words, true),
            "extend" => self.extend(line, &words),
            "checkpoint" => self.checkpoint(line, &words),
            "watch" | "unwatch" | "look" => self.ask(line, &words),
            // Verbs: cancel, discard, run, requeue ID; reprioritise ID N; reschedule ID after=|at=; move ID QUEUE; edit ID bytes=
            "cancel" | "discard" | "run" | "requeue" | "reprioritise" | "reschedule" | "move" | "edit" => {
                self.ask(line, &words);
            }
            "pause" | "resume" => {
                let (request, queue) = (self.request(line), Name::from(words.word(1)));
                let is_pause = words.word(0) == "pause";
                let command =
                    if is_pause { Command::Pause { request, queue } } else { Command::Resume { request, queue } };
                self.driver().handle(command);
            }
            "drain" => self.driver().handle(Command::Drain),
            "stop" => self.driver().handle(Command::StopAttempts),
            "stats" => self.stats(words.word(1)),
            "memory" => {
                let request = self.request(line);
                self.driver().handle(Command::Memory { request });
                self.driver().seal();
            }
            // The disk answers the oldest question, with what it has or with nothing.
            "fetched" => assert!(self.driver().fetch_one(true)),
            "unreadable" => assert!(self.driver().fetch_one(false)),
            "slots" => {
                let (queue, slots) = (self.queue(words.word(1)), words.number(2) as u32);
                self.driver().slots[queue.0 as usize] = slots;
                self.driver().handle(Command::Slots { queue, slots });
            }
            // Progress: seal (and show what is written), write one wave, sync all that is written, or all of it.
            "seal" => {
                let is_sealed = self.driver().seal();
                if is_sealed && words.words.len() > 1 {
                    self.show_wave();
                }
            }
            "write" => drop(self.driver().write_one()),
            "sync" => self.driver().sync(),
            "settle" => self.driver().settle(),
            "store" => self.show_store(),
            other => self.time_or_death(other, &words),
        }
        self.show_effects();
    }

    fn time_or_death(&mut self, verb: &str, words: &Words<'_>) {
        match verb {
            // Time: both clocks, the wall alone, timers that are due, or all of it.
            "advance" => self.driver().advance(words.number(1)),
            "wall" => {
                let wall = self.driver().now.wall.0.saturating_add_signed(words.word(1).parse().unwrap());
                self.driver().set_wall(wall);
            }
            "due" => {
                let queue = self.queue(words.word(1));
                let class = |class: &TimerClass| format!("{class:?}").to_lowercase() == words.word(2);
                self.driver().due(queue, TimerClass::ALL.into_iter().find(class).unwrap());
            }
            "timers" => self.show_timers(),
            "sleep" => {
                self.driver().advance(words.number(1));
                let driver = self.driver();
                driver.fired().into_iter().for_each(|(queue, class)| driver.due(queue, class));
                driver.settle();
            }
            // Death: of the process, of the power (with some unsynced waves surviving), or of the core alone.
            // (where `rebuild finish` writes what was sealed, and nobody hears of it).
            "kill" | "power" | "rebuild" => {
                let surviving = words.words.get(1).and_then(|count| count.parse().ok()).unwrap_or_default();
                let driver = self.driver();
                match verb {
                    "kill" => driver.crash(None),
                    "power" => driver.crash(Some(surviving)),
                    _ if words.words.len() > 1 => driver.finish_writes(),
                    _ => {}
                }
                let misfits = driver.load();
                assert_eq!(misfits, [], "what was written is admitted");
            }
            other => panic!("nobody knows the word {other}"),
        }
    }

    fn job(&mut self, name: &str, queue: &str, words: &Words<'_>) -> NewJob {
        let when = |after: &str, at: &str| {
            let after = words.option(after).map(When::After);
            after.or_else(|| words.option(at).map(|at| When::At(Timestamp(at))))
        };
        NewJob {
            id: self.id(name),
            queue: Name::from(queue),
            kind: Name::from(*words.options.get("kind").unwrap_or(&"work")),
            priority: words.option("priority").map(Priority),
            due: when("after", "at"),
            expires: when("expires", "expires_at"),
            deadline: when("deadline", "deadline_at"),
            timeout_ms: words.option("timeout"),
            retry: words.options.get("retry").map(|text| retry(text)),
            body: Arc::new(Body { payload: vec![0; words.option("bytes").unwrap_or(8)].into(), ..Body::default() }),
        }
    }

    fn enqueue(&mut self, line: &str, words: &Words<'_>) {
        let job = self.job(words.word(1), words.word(2), words);
        let request = self.request(line);
        let watch = words.words.contains(&"watch").then(|| self.request(&format!("watch {}", words.word(1))));
        self.driver().handle(Command::Submit(Submit { request, watch, jobs: vec![job], flow: None }));
    }

    /// bulk ID:QUEUE[:KIND] ...
    fn bulk(&mut self, line: &str, words: &Words<'_>) {
        let mut jobs = Vec::new();
        for word in &words.words[1..] {
            let parts: Vec<_> = word.split(':').collect();
            let mut job = self.job(parts[0], parts[1], words);
            job.kind = parts.get(2).map_or(job.kind, |kind| Name::from(*kind));
            jobs.push(job);
        }
        let request = self.request(line);
        self.driver().handle(Command::Submit(Submit { request, watch: None, jobs, flow: None }));
    }

    /// The newest lease of a job, or its first one.
    fn token(&mut self, name: &str, first: bool) -> LeaseToken {
        let id = self.id(name);
        let mut tokens = self.driver().tokens.iter().filter(|(_, one, _)| *one == id).map(|(token, ..)| *token);
        if first { tokens.next() } else { tokens.next_back() }.unwrap_or_else(|| panic!("{name} never ran"))
    }

    /// end ID ok|fail|panic|permanent|snooze MS|release|cancelled [output=BYTES] [then=ID:QUEUE] [after=MS]
    fn end(&mut self, words: &Words<'_>, is_late: bool) {
        let token = self.token(words.word(1), is_late);
        let failed = |kind, retry| Outcome::Failed { failure: Failure::new(kind, "no luck".into()), retry };
        let outcome = match words.word(2) {
            "ok" => {
                let bytes = words.option("output").map(|bytes: usize| Output::Bytes(vec![1; bytes].into()));
                let then = words.options.get("then").and_then(|then| then.split_once(':'));
                let follow_ups = then.map(|(name, queue)| self.job(name, queue, &Words::new(""))).into_iter().collect();
                Outcome::Done { output: bytes.unwrap_or_default(), follow_ups }
            }
            "fail" => failed(FailureKind::Error, words.option("after").map_or(Retry::ByPolicy, Retry::After)),
            "panic" => failed(FailureKind::Panic, Retry::ByPolicy),
            "permanent" => failed(FailureKind::Permanent, Retry::Never),
            "snooze" => Outcome::Snoozed { delay_ms: words.number(3) },
            "release" => Outcome::Released,
            "cancelled" => Outcome::Cancelled { reason: "enough".into() },
            other => panic!("no attempt ends {other}"),
        };
        let before = self.driver().shard.portrait();
        self.driver().end(token, outcome);
        if is_late {
            assert_eq!(before, self.driver().shard.portrait(), "I4: a token that is not current changed something");
            let stale = self.driver().shard.stale_acks();
            writeln!(self.out, "{stale} stale so far").unwrap();
        }
    }

    fn extend(&mut self, line: &str, words: &Words<'_>) {
        let (id, token) = (self.id(words.word(1)), self.token(words.word(1), false));
        let request = self.request(line);
        self.driver().handle(Command::Extend { request, id, token, by_ms: words.number(2) });
    }

    /// checkpoint ID BYTES [late]
    fn checkpoint(&mut self, line: &str, words: &Words<'_>) {
        let (id, is_late) = (self.id(words.word(1)), words.words.contains(&"late"));
        let token = self.token(words.word(1), is_late);
        let (request, bytes) = (self.request(line), vec![1; words.number(2) as usize].into());
        let before = self.driver().shard.portrait();
        self.driver().handle(Command::Checkpoint { request, id, token, bytes });
        assert_eq!(before, self.driver().shard.portrait(), "a checkpoint moves no job");
    }

    fn ask(&mut self, line: &str, words: &Words<'_>) {
        let id = self.id(words.word(1));
        let request = self.request(line);
        let command = match words.word(0) {
            "watch" => Command::Watch { request, id },
            "unwatch" => {
                let label = format!("watch {}", words.word(1));
                let (request, _) = self.asked.iter().rev().find(|(_, asked)| **asked == label).unwrap();
                Command::Unwatch { request: *request, id }
            }
            "look" => Command::Look { request, id },
            _ => self.verb(request, id, words),
        };
        self.driver().handle(command);
    }

    fn stats(&mut self, queue: &str) {
        let request = self.request(queue);
        self.driver().handle(Command::Stats { request });
        self.driver().seal();
    }
}

/// Tells a whole script, and gives back its text with what came of it.
fn tell(text: &str) -> String {
    let (mut script, mut told, mut is_expected) = (Script::new(), String::new(), false);
    for line in text.lines() {
        if line.is_empty() {
            is_expected = false;
        }
        if is_expected {
            continue;
        }
        told.push_str(line);
        told.push('\n');
        match line {
            "----" => {
                told.push_str(&std::mem::take(&mut script.out));
                is_expected = true;
            }
            _ if line.is_empty() || line.starts_with('#') => {}
            _ if ["queue", "kind", "bulk_jobs_max", "memory_bytes_max", "notices"]
                .iter()
                .any(|word| line.starts_with(word)) =>
            {
                assert!(script.driver.is_none(), "the settings come first");
                let words = Words::new(line);
                match words.word(0) {
                    "kind" => script.kind(&words),
                    "queue" => script.settings.queues.push(queue_settings(&words)),
                    "notices" => {
                        let is_wanted = |what| words.words.contains(&what);
                        script.settings.notices =
                            Notices { dead: is_wanted("dead"), retry: is_wanted("retry"), ticks: false };
                    }
                    "memory_bytes_max" => script.settings.memory_bytes_max = words.number(1),
                    _ => script.settings.bulk_jobs_max = words.number(1) as usize,
                }
            }
            _ => script.command(line),
        }
    }
    assert_eq!(script.out, "", "the last block has no rule");
    told
}

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "txt"));
    files.sort();
    files
}

#[test]
fn every_script_ends_as_it_says() {
    let mut wrong = Vec::new();
    for file in scripts() {
        let text = std::fs::read_to_string(&file).unwrap();
        println!("{}", file.display());
        let told = tell(&text);
        if told == text {
            continue;
        }
        if std::env::var("UPDATE").is_ok() {
            std::fs::write(&file, told).unwrap();
        } else {
            let first = told.lines().zip(text.lines()).position(|(came, said)| came != said).unwrap_or_default();
            let came = told.lines().nth(first).unwrap_or_default();
            wrong.push(format!("{}:{}: {came}", file.display(), first + 1));
        }
    }
    assert!(wrong.is_empty(), "what came is not what is said:\n{}", wrong.join("\n"));
}

#[test]
fn every_script_says_which_invariant_it_is_about() {
    for file in scripts() {
        let text = std::fs::read_to_string(&file).unwrap();
        let first = text.lines().next().unwrap_or_default().to_owned();
        assert!(first.starts_with("# ") && first.contains("(I"), "{}: {first}", file.display());
    }
}
