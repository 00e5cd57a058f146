//! Priorities: in one queue the most urgent job goes first, whenever it came; and another queue never waits for this
//! one.
//!
//! ```sh
//! cargo run --bin priorities
//! ```

use serde::{Deserialize, Serialize};
use windlass::{Context, Draft, Engine, Job, JobError, MemoryJournal, Priority, QueueConfig, SEC};

#[derive(Serialize, Deserialize)]
struct Mail {
    subject: String,
}

impl Job for Mail {
    const KIND: &'static str = "mail";
    const QUEUE: &'static str = "mail";
    type Output = ();
}

async fn send(job: Mail, cx: Context<()>) -> Result<(), JobError> {
    println!("{:8} sends: {}", cx.queue(), job.subject);
    Ok(())
}

fn mail(subject: &str) -> Draft {
    Draft::new(&Mail { subject: subject.to_owned() })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::builder()
        .journal(MemoryJournal::new())
        // One at a time, so that the order can be seen.
        .queue(QueueConfig::new("mail").concurrency(1))
        // A workload that must never stand in line behind the others gets a queue, and so slots, of its own.
        .queue(QueueConfig::new("critical").concurrency(1).priority(Priority::URGENT))
        .handler(send)
        .start()
        .await?;

    engine.pause("mail").await?; // let them all arrive first
    let receipts = engine
        .enqueue_all([
            mail("newsletter, first page").priority(Priority::LOW),
            mail("newsletter, second page").priority(Priority::LOW),
            mail("your invoice"), // what says nothing is NORMAL
            mail("your password was changed").priority(Priority::URGENT),
            mail("your order has left us").priority(Priority::HIGH),
            mail("a reset link, while `mail` is paused").queue("critical"),
        ])
        .await?; // one commit: all of them, or none

    engine.handle::<Mail>(receipts[5].id).wait().await?;
    engine.resume("mail").await?;
    for receipt in receipts {
        engine.handle::<Mail>(receipt.id).wait().await?;
    }

    engine.shutdown(SEC * 5).await?;
    Ok(())
}
