//! Log lines of attempts, kept with their jobs where the service's subscriber has the layer for it.

use tracing::{Instrument as _, debug, error, info, info_span, warn};
use tracing_subscriber::layer::SubscriberExt as _;
use windlass::{
    AttemptLog, AttemptLogLayer, AttemptResult, Engine, JobState, KeepDone, LogLevel, MemoryJournal, Retention,
    RetryPolicy, SEC,
};
use windlass_tests::script::{Play, Script, step};
use windlass_tests::world::{builder, work};

fn listening() -> tracing::subscriber::DefaultGuard {
    let layers = tracing_subscriber::registry().with(AttemptLogLayer::new());
    tracing::subscriber::set_default(layers)
}

async fn start(script: &Script) -> Engine {
    let queue = work()
        .retry(RetryPolicy::fixed(SEC).attempts(3).jitter_percent(0))
        .retention(Retention::default().keep_done(KeepDone::All));
    builder(script, MemoryJournal::new()).queue(queue).start().await.unwrap()
}

fn texts(log: Option<&AttemptLog>) -> Vec<(LogLevel, &str)> {
    log.into_iter().flat_map(|log| &log.lines).map(|line| (line.level, line.text.as_str())).collect()
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_logs_is_kept_with_how_it_ended() {
    let script = Script::new();
    let _here = listening();
    let engine = start(&script).await;
    let logs_and_fails = Play::run(|cx| async move {
        info!(attempt = cx.attempt(), to = "ada", "sending");
        debug!("not kept");
        async { warn!(bytes = 7, "half of it") }.instrument(info_span!("inside")).await;
        Err("no luck".into())
    });
    let logs = Play::run(|_| async {
        error!("{} in two\nlines", "text");
        Ok(String::new())
    });
    script.plan("a", [logs_and_fails, Play::Snooze(SEC), logs]);
    // What is logged outside of attempts is nobody's.
    info!("before");
    let job = engine.enqueue(step("a")).await.unwrap();
    job.wait().await.unwrap();
    let detail = engine.inspect(job.id()).await.unwrap();
    assert_eq!(detail.status.state, JobState::Done);
    let [failed, succeeded] = &detail.attempts[..] else { panic!("{:?}", detail.attempts) };
    assert_eq!((failed.attempt, failed.failure().unwrap().message.as_str()), (1, "no luck"));
    let log = failed.log.as_deref();
    assert_eq!(texts(log), [(LogLevel::Info, "sending attempt=1 to=\"ada\""), (LogLevel::Warn, "half of it bytes=7")]);
    assert_eq!((log.unwrap().dropped, log.unwrap().lines[0].target.as_str()), (0, module_path!()));
    assert_eq!(
        (succeeded.attempt, &succeeded.result),
        (3, &AttemptResult::Succeeded),
        "a snooze without a log leaves nothing"
    );
    assert_eq!(texts(succeeded.log.as_deref()), [(LogLevel::Error, "text in two\nlines")]);
    assert_eq!(detail.running_log, None);
    engine.shutdown(SEC).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_log_of_an_attempt_that_runs_is_seen_so_far() {
    let script = Script::new();
    let _here = listening();
    let engine = start(&script).await;
    script.plan(
        "a",
        [Play::run(|cx| async move {
            info!("begun");
            cx.cancellation().cancelled().await;
            info!("asked to end");
            Err("so be it".into())
        })],
    );
    let job = engine.enqueue(step("a")).await.unwrap();
    script.started("a", 1).await;
    tokio::task::yield_now().await;
    let detail = engine.inspect(job.id()).await.unwrap();
    assert_eq!(texts(detail.running_log.as_deref()), [(LogLevel::Info, "begun")]);
    engine.cancel(job.id()).await.unwrap();
    job.wait().await.unwrap_err();
    let detail = engine.inspect(job.id()).await.unwrap();
    assert_eq!((detail.status.state, detail.running_log), (JobState::Cancelled, None));
    let log = detail.attempts[0].log.as_deref();
    assert_eq!(texts(log), [(LogLevel::Info, "begun"), (LogLevel::Info, "asked to end")]);
    engine.shutdown(SEC).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_a_long_log_the_last_lines_are_kept() {
    let script = Script::new();
    let _here = listening();
    let engine = start(&script).await;
    script.plan(
        "many",
        [Play::run(|_| async {
            (0..250).for_each(|n| info!("{n}"));
            Ok(String::new())
        })],
    );
    script.plan(
        "long",
        [Play::run(|_| async {
            (0..20).for_each(|n| info!("{n:05000}"));
            Ok(String::new())
        })],
    );
    for (name, lines, dropped, bytes_max) in [("many", 200, 50, 16_384), ("long", 7, 13, 16_384)] {
        let job = engine.enqueue(step(name)).await.unwrap();
        job.wait().await.unwrap();
        let detail = engine.inspect(job.id()).await.unwrap();
        let log = detail.attempts[0].log.as_deref().unwrap();
        assert_eq!((log.lines.len(), log.dropped), (lines, dropped), "{name}");
        assert!(log.bytes() <= bytes_max && log.lines.iter().all(|line| line.text.len() <= 2_048), "{name}");
    }
    engine.shutdown(SEC).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_the_layer_nothing_is_kept() {
    let script = Script::new();
    let engine = start(&script).await;
    script.plan(
        "a",
        [Play::run(|_| async {
            info!("nobody listens");
            Ok(String::new())
        })],
    );
    let job = engine.enqueue(step("a")).await.unwrap();
    job.wait().await.unwrap();
    assert_eq!(engine.inspect(job.id()).await.unwrap().attempts.len(), 0);
    engine.shutdown(SEC).await.unwrap();
}
