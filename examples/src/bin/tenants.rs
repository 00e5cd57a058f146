//! Many customers, one partner's API that takes 50 calls a second: nobody waits behind the customer with a backlog, the API turns nobody
//! away, and charges go before imports without stopping them.
//!
//! The API is a stand-in on a port of its own, which counts.
//!
//! ```sh
//! cargo run --bin tenants
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use windlass::{Context, Engine, Job, JobError, Limit, MemoryJournal, QueueConfig, RateLimit, SEC, SharedLimit};

/// One call of the partner's API, for a customer.
#[derive(Serialize, Deserialize)]
struct Call {
    customer: String,
    path: String,
}

impl Job for Call {
    const KIND: &'static str = "call";
    const QUEUE: &'static str = "imports";
    type Output = ();

    // Whose turn it is, and whose limits.
    fn limit_key(&self) -> Option<String> {
        Some(self.customer.clone())
    }
}

#[derive(Clone)]
struct App {
    partner: SocketAddr,
    began: Instant,
    /// When each customer's calls were answered.
    answered: Arc<Mutex<BTreeMap<String, Vec<Duration>>>>,
}

async fn call(job: Call, cx: Context<App>) -> Result<(), JobError> {
    let app = cx.app();
    let mut connection = TcpStream::connect(app.partner).await?;
    connection.write_all(format!("POST {} HTTP/1.1\r\nHost: partner\r\n\r\n", job.path).as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    if answer.starts_with("HTTP/1.1 429") {
        return Err(JobError::retry_after(SEC, "the partner is busy"));
    }
    let mut answered = app.answered.lock().unwrap_or_else(PoisonError::into_inner);
    answered.entry(job.customer).or_default().push(app.began.elapsed());
    Ok(())
}

/// What the partner saw: when calls came, and how many it turned away.
#[derive(Default)]
struct Partner {
    calls: Vec<Instant>,
    turned_away: usize,
}

impl Partner {
    /// 50 calls in any second; a few more where the network has held some up.
    const CALLS_MAX: usize = 55;

    fn takes(&mut self) -> bool {
        let now = Instant::now();
        self.calls.push(now);
        let takes = self.calls.iter().rev().take_while(|at| now - **at < SEC).count() <= Self::CALLS_MAX;
        self.turned_away += usize::from(!takes);
        takes
    }
}

async fn serve(listener: TcpListener, partner: Arc<Mutex<Partner>>) {
    while let Ok((mut connection, _)) = listener.accept().await {
        let takes = partner.lock().unwrap_or_else(PoisonError::into_inner).takes();
        let status = if takes { "200 OK" } else { "429 Too Many Requests" };
        tokio::spawn(async move {
            let mut request = [0; 1_024];
            let _ = connection.read(&mut request).await;
            let _ = connection.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let partner = Arc::new(Mutex::new(Partner::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let app = App { partner: listener.local_addr()?, began: Instant::now(), answered: Arc::default() };
    tokio::spawn(serve(listener, partner.clone()));

    let engine = Engine::builder()
        .journal(MemoryJournal::new())
        .app(app.clone())
        // Of both queues together: what the contract with the partner says.
        .shared_limit(SharedLimit::new("partner").rate_limit(RateLimit::new(50, SEC)))
        // Four starts in five are charges, as long as there are some.
        .queue(QueueConfig::new("charges").shares("partner").share_weight(4))
        // No customer has more than four imports under way.
        .queue(QueueConfig::new("imports").shares("partner").per_key(Limit::new().concurrency(4)))
        .handler(call)
        .start()
        .await?;

    let mut jobs = Vec::new();
    for (customer, imports) in [("noisy", 150), ("ada", 3), ("ben", 3), ("cleo", 3)] {
        for no in 0..imports {
            let call = Call { customer: customer.to_owned(), path: format!("/imports/{customer}/{no}") };
            jobs.push(engine.enqueue(call).await?);
        }
    }
    for no in 0..10 {
        let call = Call { customer: "till".to_owned(), path: format!("/charges/{no}") };
        jobs.push(engine.enqueue(call).queue("charges").await?);
    }
    let last = engine.job(jobs[149].id()).await?;
    if let Some(why) = last.why {
        println!("the last import of the noisy one waits: {why}");
    }
    for job in &jobs {
        job.wait().await?;
    }

    for (customer, answered) in app.answered.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let [first, last] = [answered.first(), answered.last()].map(|at| at.copied().unwrap_or_default().as_secs_f64());
        println!(
            "{customer:>6}: {:>3} calls, the first after {first:.1} s, the last after {last:.1} s",
            answered.len()
        );
    }
    {
        let partner = partner.lock().unwrap_or_else(PoisonError::into_inner);
        println!("the partner had {} calls, and turned away {}", partner.calls.len(), partner.turned_away);
    }
    engine.shutdown(SEC * 5).await?;
    Ok(())
}
