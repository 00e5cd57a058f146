//! Hello: the smallest whole program. One kind of job, one queue, one handler.
//!
//! ```sh
//! cargo run --bin hello
//! ```

use serde::{Deserialize, Serialize};
use windlass::{Context, Engine, Job, JobError, MemoryJournal, QueueConfig, SEC};

/// A job is its payload, and says which queue it goes to.
#[derive(Serialize, Deserialize)]
struct Greet {
    name: String,
}

impl Job for Greet {
    const KIND: &'static str = "greet";
    const QUEUE: &'static str = "greetings";
    type Output = String;
}

async fn greet(job: Greet, cx: Context<()>) -> Result<String, JobError> {
    println!("attempt {} of job {}", cx.attempt(), cx.id());
    Ok(format!("Hello, {}!", job.name))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let engine = Engine::builder()
        .journal(MemoryJournal::new()) // RocksJournal::at("./data") remembers across restarts
        .queue(QueueConfig::new("greetings"))
        .handler(greet)
        .start()
        .await?;

    // `Ok` means accepted: from here on the job runs until it succeeds, gives up, is cancelled or expires.
    let job = engine.enqueue(Greet { name: "Ada".to_owned() }).await?;
    println!("accepted {}", job.id());

    // A service would rarely wait. Where it does, it gets what the handler returned.
    println!("{}", job.wait().await?);

    engine.shutdown(SEC * 5).await?;
    Ok(())
}
