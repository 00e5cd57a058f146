//! Dead letters: a job that gives up is kept with its payload and its attempts' errors, until a person decides.
//!
//! ```sh
//! cargo run --bin dead_letters
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use windlass::{Context, Engine, Filter, Job, JobError, JobState, MemoryJournal, QueueConfig, RetryPolicy, SEC};

#[derive(Serialize, Deserialize)]
struct Charge {
    customer: String,
    cents: u32,
}

impl Job for Charge {
    const KIND: &'static str = "charge";
    const QUEUE: &'static str = "payments";
    type Output = ();
}

/// What the handlers share: whether the bank is open.
type Bank = Arc<AtomicBool>;

async fn charge(job: Charge, cx: Context<Bank>) -> Result<(), JobError> {
    if job.cents == 0 {
        return Err(JobError::permanent("nothing to charge")); // no retry can mend this
    }
    if !cx.app().load(Ordering::Relaxed) {
        Err("the bank is closed")?; // a retry may mend that
    }
    println!("{} pays {} cents, in attempt {}", job.customer, job.cents, cx.attempt());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bank = Bank::default();
    let engine = Engine::builder()
        .journal(MemoryJournal::new())
        .app(bank.clone())
        // One delay a failure, and dead after the one that has none left.
        .queue(QueueConfig::new("payments").retry(RetryPolicy::list(&[SEC / 20, SEC / 10])))
        .handler(charge)
        .start()
        .await?;

    let ada = engine.enqueue(Charge { customer: "Ada".to_owned(), cents: 1_815 }).await?;
    let bob = engine.enqueue(Charge { customer: "Bob".to_owned(), cents: 0 }).await?;
    for job in [&ada, &bob] {
        if let Err(error) = job.wait().await {
            println!("{error}");
        }
    }

    println!("\nThe dead letters, the latest first:");
    let dead = Filter::new().queue("payments").state(JobState::Dead);
    for letter in engine.jobs(dead.clone()).await?.jobs {
        let detail = engine.inspect(letter.id).await?;
        println!("{} {}", letter.kind, String::from_utf8_lossy(&detail.payload));
        for end in detail.attempts {
            if let Some(failure) = end.failure() {
                println!("    attempt {}: {failure}", end.attempt);
            }
        }
    }

    println!("\nThe bank opens. Ada's is brought back, Bob's is thrown away.");
    bank.store(true, Ordering::Relaxed);
    engine.requeue(ada.id()).await?; // with all its retries before it
    ada.wait().await?;
    engine.discard(bob.id()).await?;
    println!("{} dead letters are left", engine.count(dead).await?);

    engine.shutdown(SEC * 5).await?;
    Ok(())
}
