//! Blocking work: CPU and plain files belong on threads of their own. Such code cannot be dropped from outside, so it
//! looks at its context now and then.
//!
//! ```sh
//! cargo run --bin blocking
//! ```

use serde::{Deserialize, Serialize};
use windlass::{Context, Engine, Job, JobError, MemoryJournal, QueueConfig, SEC, WaitError};

#[derive(Serialize, Deserialize)]
struct CountPrimes {
    below: u64,
}

impl Job for CountPrimes {
    const KIND: &'static str = "count-primes";
    const QUEUE: &'static str = "numbers";
    type Output = u64;
}

// No `async`: every attempt has a thread of its own. It owns its job and its context, as async ones do.
#[allow(clippy::needless_pass_by_value)]
fn count_primes(job: CountPrimes, cx: Context<()>) -> Result<u64, JobError> {
    let mut primes = 0;
    for number in 2..job.below {
        if number % 10_000 == 0 {
            cx.progress(&number)?; // to be seen by those who look
            if cx.is_cancelled() {
                return Err(JobError::cancel("asked to stop"));
            }
        }
        primes +=
            u64::from((2..number).take_while(|factor| factor * factor <= number).all(|factor| number % factor != 0));
    }
    Ok(primes)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::builder()
        .journal(MemoryJournal::new())
        .queue(QueueConfig::new("numbers").concurrency(2)) // as many threads at once as the machine can spare
        .blocking_handler(count_primes)
        .start()
        .await?;

    let endless = engine.enqueue(CountPrimes { below: u64::MAX }).await?;
    for below in [1_000, 10_000, 100_000] {
        let primes = engine.enqueue(CountPrimes { below }).and_wait().await?;
        println!("{primes} primes below {below}");
    }

    // The endless one is still counting in the other slot.
    while endless.status().await?.progress.is_none() {
        tokio::task::yield_now().await;
    }
    println!("the other one: {}, cancelled now", endless.status().await?.state);
    endless.cancel().await?;
    match endless.wait().await {
        Err(WaitError::Cancelled { id }) => println!("{id} has ended"),
        other => println!("unexpected: {other:?}"),
    }

    engine.shutdown(SEC * 5).await?;
    Ok(())
}
