//! Progress: how far a running attempt is, for those who look at its job meanwhile.

use windlass::{Context, EnqueueError, JobState, OutOfRange, RetryPolicy, SEC};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{start, work};

#[tokio::test(start_paused = true)]
async fn at_the_limit_it_is_seen_and_one_byte_over_it_is_refused_with_the_numbers() {
    let script = Script::new();
    let engine = start(&script, work()).await;
    script.plan(
        "a",
        [Play::run(async |cx: Context<Script>| {
            // Two more bytes are the quotes of JSON.
            cx.progress(&"x".repeat(4_096 - 2))?;
            let error = cx.progress(&"y".repeat(4_096 - 1)).unwrap_err();
            assert!(matches!(
                error,
                EnqueueError::Range(OutOfRange { what: "bytes of progress", value: 4_097, max: 4_096, .. })
            ));
            cx.cancellation().cancelled().await;
            Ok(String::new())
        })],
    );
    let job = engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    let progress = engine.job(job.id()).await.unwrap().progress.unwrap();
    assert_eq!(progress.as_str(), Some("x".repeat(4_094).as_str()), "what was refused changes nothing");
    job.cancel().await.unwrap();
    job.wait().await.unwrap();
    assert_eq!(engine.job(job.id()).await.unwrap().progress, None);
}

#[tokio::test(start_paused = true)]
async fn it_is_the_running_attempt_s_and_goes_with_it() {
    let script = Script::new();
    let engine = start(&script, work().retry(RetryPolicy::fixed(SEC))).await;
    let says = Play::run(async |cx: Context<Script>| {
        cx.progress(&[cx.attempt()])?;
        Err("again".into())
    });
    script.plan("a", [says, Play::Hold]);
    let job = engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    while engine.job(job.id()).await.unwrap().state != JobState::Delayed {}
    assert_eq!(engine.job(job.id()).await.unwrap().progress, None);
    script.started("a", 2).await;
    assert_eq!(engine.job(job.id()).await.unwrap().progress, None, "an attempt begins with none");
    script.tell("a", Play::Succeed);
    job.wait().await.unwrap();
}
