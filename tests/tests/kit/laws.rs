//! Each law holds where it should, and is broken where it should be, with numbers and a life that shows it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use windlass::testing::laws::{self, Broken};
use windlass::testing::{End, Play, Retries, Script, check, strategies, timeline, timeline_of};
use windlass::{Failure, FailureKind, HOUR, Job, MIN, QueueConfig, RetryDecision, RetryPolicy, SEC};

const DAY: Duration = Duration::from_secs(86_400);

macro_rules! kind {
    ($name:ident, $rule:expr) => {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct $name;
        impl Job for $name {
            const KIND: &'static str = stringify!($name);
            const QUEUE: &'static str = "sync";
            type Output = ();
            fn retry(failures: u32, failure: &Failure) -> RetryDecision {
                $rule(failures, failure)
            }
        }
    };
}

kind!(NoPanics, |_, failure: &Failure| match failure.kind {
    FailureKind::Panic => RetryDecision::Never,
    FailureKind::TimedOut => RetryDecision::After(MIN * 30),
    _ => RetryDecision::ByPolicy,
});
kind!(Texts, |_, failure: &Failure| match failure.message.as_str() {
    "429" => RetryDecision::After(HOUR * 2),
    _ => RetryDecision::ByPolicy,
});
kind!(Moody, |_, _: &Failure| {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    RetryDecision::After(SEC * ASKED.fetch_add(1, Ordering::Relaxed))
});
kind!(Panics, |failures: u32, _: &Failure| if failures == 3 {
    panic!("no rule for three")
} else {
    RetryDecision::ByPolicy
});

fn policy() -> RetryPolicy {
    RetryPolicy::exponential(SEC * 10).cap(HOUR).attempts(10)
}

fn broken(law: Result<(), Broken>) -> String {
    law.unwrap_err().to_string()
}

#[test]
fn delays_are_held_to_their_band_with_their_jitter() {
    laws::delays_within(policy(), SEC * 9..=HOUR + MIN * 6).unwrap();
    let text = broken(laws::delays_within(policy(), SEC * 9..=MIN * 10));
    assert!(
        text.contains("after failure 7, as error, a job waits for 9m 36s to 11m 44s, and 9s to 10m is allowed"),
        "{text}"
    );
    assert!(text.contains("the law `delays_within` is broken") && text.contains("attempt  begins after"), "{text}");
    assert!(laws::delays_within(policy(), SEC * 10..=HOUR * 2).is_err(), "jitter makes the first one shorter");
    // A rule may wait longer than its policy.
    let ruled = Retries::of::<NoPanics>(&RetryPolicy::fixed(SEC));
    assert!(broken(laws::delays_within(&ruled, Duration::ZERO..=MIN)).contains("as time-out, a job waits for 30m"));
    let told = Retries::of::<Texts>(&RetryPolicy::fixed(SEC));
    laws::delays_within(&told, Duration::ZERO..=MIN).unwrap();
    let told = told.ways([Play::Fail, Play::FailWith("429".into())]);
    assert!(broken(laws::delays_within(&told, Duration::ZERO..=MIN)).contains("as error: 429, a job waits for 2h"));
}

#[test]
fn attempts_have_a_bound() {
    laws::attempts_at_most(policy(), 10).unwrap();
    assert!(broken(laws::attempts_at_most(policy(), 9)).contains("10 attempts, 9 are allowed"));
    let endless = broken(laws::all(RetryPolicy::fixed(SEC).attempts(u32::MAX)));
    assert!(endless.contains("10000 and more attempts") && endless.contains("and 9960 more"), "{endless}");
}

#[test]
fn the_longest_and_the_shortest_life_are_bounded_whatever_the_id() {
    let policy = RetryPolicy::list(&[MIN, MIN * 10, MIN * 100]).jitter_percent(10); // 111 minutes, and 11.1 of jitter
    laws::gives_up_within(&policy, MIN * 123).unwrap();
    assert!(broken(laws::gives_up_within(&policy, MIN * 122)).contains("may go on for 2h 2m 6s, 2h 2m is allowed"));
    laws::outlasts(&policy, MIN * 99).unwrap();
    assert!(broken(laws::outlasts(&policy, MIN * 100)).contains("its last attempt 1h 39m 54s after its acceptance"));
    // Four attempts of 30 s each.
    let slow = Retries::new(policy).attempts_take(SEC * 30);
    assert!(broken(laws::gives_up_within(&slow, MIN * 123)).contains("2h 4m 6s"));
    assert!(laws::outlasts(&slow, MIN * 100).is_err(), "an attempt may fail at once");
    // With the kind's rule, time-outs are the longest way, and panics end it.
    let ruled = Retries::of::<NoPanics>(&RetryPolicy::fixed(SEC).attempts(4).jitter_percent(0));
    assert!(broken(laws::gives_up_within(&ruled, HOUR)).contains("may go on for 1h 30m"));
    laws::outlasts(&ruled, SEC * 3).unwrap();
    assert!(laws::outlasts(&ruled, SEC * 4).is_err());
}

#[test]
fn jitter_has_a_band() {
    laws::jitter_within(policy(), 1..=10).unwrap();
    assert!(broken(laws::jitter_within(policy(), 11..=20)).contains("up to 10 %, 11 to 20 % are allowed"));
    let still = policy().jitter_percent(0);
    assert!(laws::jitter_within(&still, 1..=100).is_err(), "jobs that failed together come back together");
}

#[test]
fn a_list_in_a_wrong_order_is_seen() {
    laws::delays_never_shrink(policy()).unwrap();
    let text = broken(laws::delays_never_shrink(RetryPolicy::list(&[SEC, MIN * 30, MIN * 5, HOUR])));
    assert!(text.contains("after failure 3 a job waits for 5m, and for 30m before"), "{text}");
}

#[test]
fn a_rule_that_is_not_pure_or_panics_is_seen() {
    laws::all(Retries::of::<NoPanics>(&policy())).unwrap();
    assert!(broken(laws::rule_is_pure(Retries::of::<Moody>(&policy()))).contains("and asked again After"));
    let text = broken(laws::all(Retries::of::<Panics>(&policy())));
    assert!(
        text.contains("`rule_is_pure`") && text.contains("asked about failure 3") && text.contains("it panicked"),
        "{text}"
    );
}

#[test]
fn what_no_engine_takes_breaks_every_law() {
    let policy = RetryPolicy::exponential(HOUR).cap(MIN);
    assert!(
        broken(laws::all(&policy)).contains("no engine would take the policy: first retry delay in ms, up to its cap")
    );
    assert!(laws::permanent_is_final(RetryPolicy::fixed(SEC).attempts(0)).is_err());
}

#[test]
#[should_panic(expected = "no engine would take this policy: retry attempts: 0 given")]
fn a_policy_that_no_engine_takes_has_no_timeline() {
    let _ = timeline(RetryPolicy::fixed(SEC).attempts(0), 1);
}

#[test]
#[should_panic(expected = "`snooze for 1s` is no failure that a policy counts")]
fn a_way_of_failing_that_is_none_is_refused() {
    let _ = Retries::new(policy()).ways([Play::Snooze(SEC)]);
}

#[test]
fn what_is_configured_is_what_is_judged() {
    let config = |kind: Option<RetryPolicy>| {
        let builder = windlass::Engine::builder().allow_unknown_kinds();
        let builder = builder.queue(QueueConfig::new("sync").retry(RetryPolicy::fixed(SEC).attempts(3)));
        let kind = kind.map(|policy| windlass::KindConfig::new("NoPanics").retry(policy));
        kind.into_iter().fold(builder, windlass::EngineBuilder::kind).effective_config().unwrap()
    };
    let attempts = |config| Retries::configured::<NoPanics>(&config).unwrap().timeline(99).attempts().len();
    assert_eq!(attempts(config(None)), 3, "the queue's");
    assert_eq!(attempts(config(Some(RetryPolicy::fixed(SEC).attempts(7)))), 7, "the kind's goes before");
    let elsewhere = windlass::Engine::builder().queue(QueueConfig::new("other")).effective_config().unwrap();
    let refused = Retries::configured::<NoPanics>(&elsewhere).unwrap_err().to_string();
    assert!(refused.contains("goes to queue `sync`, and there is no such queue"), "{refused}");
}

#[test]
fn a_timeline_is_a_table() {
    let policy = RetryPolicy::list(&[SEC * 30, MIN * 2]);
    let life = timeline(&policy, [Play::Fail, Play::Snooze(MIN), Play::TimeOut]);
    assert_eq!((life.end(), life.failures(), life.attempts().len()), (&End::Done, 2, 4));
    let printed = life.to_string();
    assert!(printed.contains("up to 10 % of jitter; dead after 3 failures"), "{printed}");
    assert!(printed.contains("1m 27s and 1m 33s"), "{printed}");
    assert!(printed.ends_with("4 attempts of which 2 count as failures"), "{printed}");
    let open = timeline(&policy, Script::always(Play::Snooze(SEC)));
    assert_eq!((open.end(), open.attempts().len()), (&End::Open, 10_000));
    assert!(timeline_of::<NoPanics>(&policy, [Play::Panic]).is_dead());
}

#[test]
#[should_panic(expected = "see it again with\n    WINDLASS_SEED=")]
fn a_property_that_does_not_hold_is_told_with_the_smallest_life() {
    check(policy(), |life| !life.is_dead() || life.attempts().len() < 2);
}

proptest! {
    #[test]
    fn every_policy_keeps_the_laws_that_are_for_all(policy in strategies::policies()) {
        laws::all(&policy)?;
        laws::all(Retries::of::<NoPanics>(&policy))?;
        laws::gives_up_within(&policy, DAY)?;
    }

    #[test]
    fn bounds_hold_for_every_id(
        policy in strategies::policies(), script in strategies::failure_scripts(), id in strategies::job_ids()
    ) {
        let retries = Retries::new(policy).id(id);
        let life = retries.timeline(script);
        for row in life.attempts() {
            prop_assert!(row.earliest <= row.at && row.at <= row.latest, "{life}");
        }
        prop_assert!(life.window_min() <= life.window() && life.window() <= life.window_max(), "{life}");
    }
}
