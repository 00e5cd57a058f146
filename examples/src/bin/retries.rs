//! Retries: what a handler may say instead of `Ok`, and what follows.
//!
//! ```sh
//! cargo run --bin retries
//! ```

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use windlass::{Context, Engine, Job, JobError, MemoryJournal, QueueConfig, RetryPolicy, SEC};

/// A delivery, to somebody moody.
#[derive(Debug, Serialize, Deserialize)]
enum Deliver {
    /// Fails twice, then works.
    Shaky,
    /// Says when to come again.
    Busy,
    /// Is not failing, just not ready: the policy does not count it.
    Sleepy { until_attempt: u32 },
    /// Panics once. That is a failure like any other, and never the worker's end.
    Panicky,
}

impl Job for Deliver {
    const KIND: &'static str = "deliver";
    const QUEUE: &'static str = "deliveries";
    type Output = u32;
}

async fn deliver(job: Deliver, cx: Context<Instant>) -> Result<u32, JobError> {
    let attempt = cx.attempt();
    println!("{:5.2} s  {job:?}, attempt {attempt}", cx.app().elapsed().as_secs_f32());
    match job {
        // Every error turns into a retry by the policy with `?`.
        Deliver::Shaky if attempt < 3 => Err(std::io::Error::other("the line broke"))?,
        Deliver::Busy if attempt < 2 => Err(JobError::retry_after(SEC, "429, come back in a second")),
        Deliver::Sleepy { until_attempt } if attempt < until_attempt => {
            Err(JobError::snooze(Duration::from_millis(200)))
        }
        Deliver::Panicky if attempt < 2 => panic!("the handler has a bug"),
        _ => Ok(attempt),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    std::panic::set_hook(Box::new(|panic| println!("         {panic}")));
    // 0.1 s, 0.2 s, 0.4 s ..., at most 1 s, and dead after the fifth failure.
    let policy = RetryPolicy::exponential(SEC / 10).cap(SEC).attempts(5);
    let engine = Engine::builder()
        .journal(MemoryJournal::new())
        .app(Instant::now()) // handlers share it
        .queue(QueueConfig::new("deliveries").retry(policy))
        .handler(deliver)
        .start()
        .await?;

    let jobs = [Deliver::Shaky, Deliver::Busy, Deliver::Sleepy { until_attempt: 4 }, Deliver::Panicky];
    let mut handles = Vec::new();
    for job in jobs {
        handles.push(engine.enqueue(job).await?);
    }
    for job in handles {
        let attempts = job.wait().await?;
        println!("done after {attempts} attempts, {} of them failures", job.status().await?.failures);
    }

    engine.shutdown(SEC * 5).await?;
    Ok(())
}
