//! Numbers for Prometheus: a service that installs the exporter of its choice, and serves what it says on `/metrics`.
//!
//! A service that has an HTTP server already gives it one route more; here it is a few lines by hand.
//!
//! ```sh
//! cargo run --bin metrics                  # serves until it is stopped, and says where
//! curl http://127.0.0.1:<port>/metrics
//! ```

use std::error::Error;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use windlass::{Context, Engine, Job, JobError, MemoryJournal, QueueConfig, RetryPolicy};

/// Times in seconds: what a job may take, from a millisecond to minutes.
const TIMES: [f64; 10] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 30.0, 120.0, 600.0];
/// Counts and sizes: what a write of the journal may have in it.
const SIZES: [f64; 8] = [1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0, 10_000_000.0];

#[derive(Serialize, Deserialize)]
struct Mail {
    no: u32,
}

impl Job for Mail {
    const KIND: &'static str = "mail";
    const QUEUE: &'static str = "mail";
    type Output = ();
}

/// Every tenth one is in vain at first.
async fn mail(job: Mail, cx: Context<()>) -> Result<(), JobError> {
    if job.no.is_multiple_of(10) && cx.attempt() == 1 {
        return Err("the server is busy".into());
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Before the engine, which looks once whether somebody listens.
    let prometheus = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &TIMES)?
        .set_buckets_for_metric(Matcher::Prefix("windlass_journal_batch".to_owned()), &SIZES)?
        .install_recorder()?;

    let retry = RetryPolicy::fixed(Duration::from_millis(50));
    let engine = Engine::builder()
        .journal(MemoryJournal::new())
        .queue(QueueConfig::new("mail").concurrency(4).retry(retry))
        .handler(mail)
        .start()
        .await?;
    for no in 1..=30 {
        engine.enqueue(Mail { no }).await?;
    }

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/metrics", listener.local_addr()?);
    loop {
        let (connection, _) = listener.accept().await?;
        // A caller that leaves is no reason to stop.
        let _ = answer(connection, &prometheus).await;
    }
}

/// Whatever is asked for, these are the numbers.
async fn answer(mut connection: TcpStream, prometheus: &PrometheusHandle) -> std::io::Result<()> {
    let mut question = [0; 1_024];
    let _ = connection.read(&mut question).await?;
    let text = prometheus.render();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\nContent-Length:";
    connection.write_all(format!("{head} {}\r\n\r\n{text}", text.len()).as_bytes()).await
}
