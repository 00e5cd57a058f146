//! What a timeline says and what an engine does are the same: random policies, rules, scripts and ids, on a paused clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::Notify;
use windlass::testing::{End, Play, Retries, Script, Timeline, strategies};
use windlass::{
    Clock, Context, Engine, Failure, FailureKind, HOUR, Job, JobError, JobId, JobState, ManualClock, QueueConfig,
    RetryDecision, RetryPolicy, SEC, WaitError,
};
use windlass_tests::world::World;

/// How long an attempt may run: so long each of those takes that is to time out.
const TIMEOUT: Duration = Duration::from_millis(1);
/// What tokio's timers, which count in milliseconds, may add to a delay.
const ROUNDING: Duration = Duration::from_millis(1);

/// A job that goes by its policy alone.
#[derive(serde::Serialize, serde::Deserialize)]
struct Plain;

impl Job for Plain {
    const KIND: &'static str = "plain";
    const QUEUE: &'static str = "work";
    type Output = ();
}

/// A job with a rule of its own.
#[derive(serde::Serialize, serde::Deserialize)]
struct Ruled;

impl Job for Ruled {
    const KIND: &'static str = "ruled";
    const QUEUE: &'static str = "work";
    type Output = ();

    fn retry(failures: u32, failure: &Failure) -> RetryDecision {
        match (failure.kind, failures) {
            (FailureKind::Panic, 3..) => RetryDecision::Never,
            (FailureKind::Panic, _) => RetryDecision::After(SEC * 7),
            (FailureKind::TimedOut, 2) => panic!("a rule that panics: the policy decides"),
            (FailureKind::TimedOut, _) => RetryDecision::After(Duration::ZERO),
            _ => RetryDecision::ByPolicy,
        }
    }
}

/// What an engine did with one job.
#[derive(Debug, Default, PartialEq)]
struct Life {
    /// Of each attempt: its number, the failures before it, and when it began, in milliseconds since the first.
    starts: Vec<(u32, u32, u64)>,
    /// Exact delays after failures.
    delays: Vec<Duration>,
    end: Option<(JobState, u32, u32, Option<Failure>)>,
}

/// What the handlers share.
struct Stage {
    script: Script,
    clock: Arc<ManualClock>,
    starts: Mutex<Vec<(u32, u32, u64)>>,
    dies: Notify,
}

async fn act(cx: Context<Arc<Stage>>) -> Result<(), JobError> {
    let stage = cx.app();
    stage.starts.lock().unwrap().push((cx.attempt(), cx.failures(), stage.clock.wall_ms()));
    match stage.script.play(cx.attempt() as usize - 1).clone() {
        Play::Succeed => Ok(()),
        Play::Fail => Err("as the script says".into()),
        Play::FailWith(text) => Err(text.into()),
        Play::Panic => panic!("as the script says"),
        Play::TimeOut => {
            cx.cancellation().cancelled().await;
            std::future::pending().await
        }
        Play::Permanent => Err(JobError::permanent("as the script says")),
        Play::RetryAfter(delay) => Err(JobError::retry_after(delay, "as the script says")),
        Play::Snooze(delay) => Err(JobError::snooze(delay)),
        Play::Cancel => Err(JobError::cancel("as the script says")),
        Play::Lost => {
            stage.dies.notify_one();
            std::future::pending().await
        }
        other => unreachable!("{other:?} is new: play it"),
    }
}

/// Runs one job to its end, through as many lives of the process as its script takes.
fn lived<J: Job>(job: impl Fn() -> J, policy: &RetryPolicy, script: &Script, id: JobId) -> Life {
    let (mut world, mut life, mut is_first) = (World::new(), Life::default(), true);
    let disk = world.disk.second_handle();
    while life.end.is_none() {
        let (starts, delays, end) = world.life(async |process| {
            let (stage, told) = (
                Arc::new(Stage {
                    script: script.clone(),
                    clock: process.clock.clone(),
                    starts: Mutex::default(),
                    dies: Notify::new(),
                }),
                Arc::new(Mutex::new(Vec::new())),
            );
            let delays = told.clone();
            let queue =
                QueueConfig::new("work").retry(policy.clone()).attempt_timeout(TIMEOUT).abort_after(Duration::ZERO);
            let builder = Engine::builder().journal(disk.second_handle()).clock(process.clock.clone()).queue(queue);
            let builder = builder.on_retry(move |event| {
                delays.lock().unwrap().push(event.delay());
                async {}
            });
            let builder = builder.app(stage.clone()).handler(|_: Plain, cx| act(cx)).handler(|_: Ruled, cx| act(cx));
            let engine = builder.start().await.unwrap();
            if std::mem::take(&mut is_first) {
                engine.enqueue(job()).id(id).await.unwrap();
            }
            let handle = engine.handle::<J>(id);
            let ended = tokio::select! {
                ended = handle.wait() => Some(ended),
                () = stage.dies.notified() => None,
            };
            let end = match ended {
                Some(ended) => {
                    let status = handle.status().await.unwrap();
                    let failure = match ended {
                        Err(WaitError::Dead { failure, .. }) => Some(failure),
                        _ => None,
                    };
                    Some((status.state, status.attempts, status.failures, failure))
                }
                None => None,
            };
            engine.stats().await.unwrap();
            (std::mem::take(&mut *stage.starts.lock().unwrap()), std::mem::take(&mut *told.lock().unwrap()), end)
        });
        life.starts.extend(starts);
        life.delays.extend(delays);
        life.end = end;
    }
    life
}

/// Compares the two, attempt by attempt.
fn agrees(life: &Life, said: &Timeline) -> Result<(), String> {
    let numbers: Vec<_> = life.starts.iter().map(|(number, failures, _)| (*number, *failures)).collect();
    let mut before = 0;
    let rows = said.attempts().iter().map(|row| (row.number, std::mem::replace(&mut before, row.failures)));
    let expected: Vec<_> = rows.collect();
    // A job that kills its process ends while no attempt of it runs.
    if numbers != expected {
        return Err(format!("attempts and the failures before them are {numbers:?}"));
    }
    let retried = said.attempts().iter().filter(|row| row.play.is_failure());
    let delays: Vec<_> = retried.filter_map(|row| row.delay).collect();
    if life.delays != delays {
        return Err(format!("the delays after failures are {:?}", life.delays));
    }
    for (pair, rows) in life.starts.windows(2).zip(said.attempts().windows(2)) {
        let (passed, delay) = (Duration::from_millis(pair[1].2 - pair[0].2), rows[0].delay.unwrap());
        let took = if rows[0].play == Play::TimeOut { TIMEOUT + ROUNDING * 2 } else { Duration::ZERO };
        if passed < delay || passed > delay + took + ROUNDING {
            return Err(format!("after attempt {} there passed {passed:?}", rows[0].number));
        }
    }
    let (attempts, failures) = (said.attempts().last().unwrap().number, said.failures());
    let end = match said.end() {
        End::Done => (JobState::Done, attempts, failures, None),
        End::Cancelled => (JobState::Cancelled, attempts, failures, None),
        End::Dead(failure) => (JobState::Dead, attempts, failures, Some(failure.clone())),
        other => return Err(format!("{other:?} cannot be compared")),
    };
    let is_same = match (&life.end, &end) {
        // What the engine says of a killer is its own.
        (Some((state, .., Some(own))), (.., Some(failure))) if failure.kind == FailureKind::Lost => {
            own.kind == FailureKind::Lost && *state == JobState::Dead
        }
        (own, end) => own.as_ref() == Some(end),
    };
    if is_same { Ok(()) } else { Err(format!("it ended as {:?}, not as {end:?}", life.end)) }
}

fn compare<J: Job>(job: impl Fn() -> J, policy: &RetryPolicy, script: &Script, id: JobId) -> Result<(), String> {
    let said = Retries::of::<J>(policy).id(id).timeline(script);
    let life = lived(job, policy, script, id);
    agrees(&life, &said).map_err(|what| format!("{what}; but\n{said}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_timeline_says_what_an_engine_does(
        policy in strategies::policies_within(1..=8, Duration::ZERO..=HOUR / 4),
        script in strategies::scripts(),
        id in strategies::job_ids(),
        is_ruled in any::<bool>(),
    ) {
        let outcome = if is_ruled {
            compare(|| Ruled, &policy, &script, id)
        } else {
            compare(|| Plain, &policy, &script, id)
        };
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}

#[test]
fn a_job_that_kills_its_process_three_times_in_a_row_is_dead_in_both() {
    let (policy, id) = (RetryPolicy::fixed(SEC).attempts(2), windlass::new_job_id());
    for script in [vec![Play::Lost; 3], vec![Play::Lost, Play::Lost, Play::Fail, Play::Lost, Play::Lost, Play::Succeed]]
    {
        compare(|| Plain, &policy, &script.into(), id).unwrap();
    }
}
