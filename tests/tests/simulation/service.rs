//! The simulation as a service's tests use it.

use windlass::testing::{Faults, Finish, History, Law, Simulation};
use windlass::{Context, HOUR, Job, JobError, JobState, LimitOf, MIN, Override, QueueConfig, RetryPolicy, SEC};

#[derive(serde::Serialize, serde::Deserialize)]
struct Mail {
    to: String,
}

impl Job for Mail {
    const KIND: &'static str = "mail";
    const QUEUE: &'static str = "mail";
    type Output = u32;
}

async fn send(mail: Mail, cx: Context<()>) -> Result<u32, JobError> {
    match mail.to.as_str() {
        "nowhere" => Err(JobError::permanent("no address")),
        "busy" => Err("the line is busy".into()),
        "for ever" => std::future::pending().await,
        "slowly" => {
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            Ok(cx.attempt())
        }
        _ => Ok(cx.attempt()),
    }
}

fn queue() -> QueueConfig {
    QueueConfig::new("mail").retry(RetryPolicy::exponential(MIN).jitter_percent(0).attempts(5))
}

/// One mail, an hour after the beginning, in the first life.
fn one(simulation: Simulation, to: &str) -> History {
    simulation.run(
        HOUR * 2,
        |builder| builder.queue(queue()).handler(send),
        async |life| {
            if life.number() == 1 {
                life.sleep(HOUR).await;
                let _ = life.engine().enqueue(Mail { to: to.into() }).await;
            }
        },
    )
}

#[test]
fn a_history_tells_when_what_ran_and_how_it_ended() {
    let history = one(Simulation::new(1), "busy");
    history.check().unwrap();
    let [job] = history.jobs() else { panic!("one job: {:?}", history.jobs()) };
    let starts: Vec<u64> = job.attempts.iter().map(|attempt| attempt.started.as_secs() - 3_600).collect();
    assert_eq!(starts, [0, 60, 180, 420, 900]);
    assert_eq!((job.failures(), job.successes(), job.was_accepted()), (5, 0, true));
    assert_eq!(job.lasted(), Some(MIN * 15));
    assert_eq!(job.end.map(|(end, _)| JobState::from(end)), Some(JobState::Dead));
    assert!(job.attempts.iter().all(|attempt| matches!(attempt.ended, Some((_, Finish::Failed { .. })))));
}

#[test]
fn a_rule_that_does_not_hold_is_told_with_the_seed_and_the_jobs_life() {
    let history = one(Simulation::new(77), "nowhere");
    history.check().unwrap();
    let told = history.each::<Mail>("every mail is sent", |_, job| job.succeeded()).unwrap_err().to_string();
    for part in ["seed 77: to see it again, Simulation::new(77)", "every mail is sent", "attempt 1 ends: Permanent"] {
        assert!(told.contains(part), "`{part}` is missing in:\n{told}");
    }
    history.each::<Mail>("a wrong address is tried once", |_, job| job.attempts.len() == 1).unwrap();
}

#[test]
fn a_handler_that_never_ends_breaks_a_law_and_whoever_wants_that_may_say_so() {
    let simulation = Simulation::new(1).settles_within(HOUR);
    let history = one(simulation, "for ever");
    let broken: Vec<Law> = history.violations().iter().map(|violation| violation.law).collect();
    assert!(broken.contains(&Law::NoSlotStuck), "{broken:?}");
    assert!(history.check().is_err());
    history.check_but(&[Law::NoSlotStuck, Law::EveryJobEnds]).unwrap();
}

#[test]
fn a_crash_and_a_loss_of_power_where_the_service_says_so() {
    for power_lost in [false, true] {
        let history = Simulation::new(1).run(
            HOUR,
            |builder| builder.queue(queue()).handler(send),
            async |life| {
                if life.number() > 1 {
                    return;
                }
                life.engine().pause("mail").await.unwrap();
                life.engine().enqueue(Mail { to: "ada@example.org".into() }).await.unwrap();
                if power_lost { life.lose_power().await } else { life.crash().await }
            },
        );
        history.check().unwrap();
        assert_eq!(history.seen().deaths, 1);
        history.each::<Mail>("what was accepted is sent once", |_, job| job.successes() == 1).unwrap();
    }
}

#[test]
fn limits_that_the_service_changes_at_run_time_are_not_judged_by_those_of_the_code() {
    let history = Simulation::new(1).run(
        HOUR,
        |builder| builder.queue(queue().concurrency(1)).handler(send),
        async |life| {
            if life.number() == 1 {
                let faster = Override::new().concurrency(8);
                life.engine().override_limit(LimitOf::queue("mail"), faster).await.unwrap();
                life.crash().await;
            }
            for _ in 0..8 {
                let _ = life.engine().enqueue(Mail { to: "slowly".into() }).await;
            }
            let slots = life.engine().stats().await.unwrap()[0].slots;
            assert_eq!(slots, 8);
        },
    );
    history.check().unwrap();
}

#[test]
fn thirty_days_with_all_faults_keep_every_law() {
    let faults = Faults::new()
        .handlers_fail(150)
        .handlers_fail_after_their_work(20)
        .handlers_panic(20)
        .handlers_hang(10)
        .crashes_every(HOUR * 6)
        .restarts_every(HOUR * 24)
        .power_fails(400)
        .store_fails(3)
        .store_is_slow(SEC * 2);
    for seed in 0..5 {
        let history = Simulation::new(seed).faults(faults).run(
            HOUR * 24 * 30,
            |builder| builder.queue(queue().attempt_timeout(MIN)).handler(send),
            async |life| loop {
                let _ = life.engine().enqueue(Mail { to: "ada@example.org".into() }).await;
                life.sleep(HOUR).await;
            },
        );
        history.check().unwrap();
        assert!(history.seen().deaths > 50 && history.seen().accepted > 500, "{:?}", history.seen());
    }
}
