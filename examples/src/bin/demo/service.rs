//! The shop as the demo sees it: a process that comes and goes, and an API.

use std::fmt;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use reqwest::Client;
use serde::Deserialize;
use tokio::sync::{Mutex, watch};
use tokio::time::interval;
use windlass_examples::process::{Launch, Process};

use crate::Failure;
use crate::crowd::Accepted;
use crate::screen::Screen;

/// A kill counts only if at least so many jobs wait.
const WAITING_MIN: u64 = 20;
/// As many may begin between the look and the kill.
const MARGIN: u64 = 16;
/// How often the demo looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long it looks in vain before it gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// What there is to do, over all queues.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    running: u64,
    ready: u64,
    delayed: u64,
    done: u64,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { running, ready, delayed, done } = self;
        write!(f, "{running} running, {ready} waiting for a slot, {delayed} for a retry, {done} done")
    }
}

#[derive(Deserialize)]
struct QueueNumbers {
    running: u64,
    ready: u64,
    delayed: u64,
    done: u64,
}

/// How a job stands.
#[derive(Debug, Deserialize)]
pub(crate) struct JobNumbers {
    pub(crate) state: String,
    pub(crate) attempts: u32,
}

/// The shop.
pub(crate) struct Service {
    launch: Launch,
    process: Mutex<Option<Process>>,
    /// Where it serves, while it does.
    address: watch::Sender<Option<SocketAddr>>,
    /// Requests that wait for an answer.
    pub(crate) asking: watch::Sender<usize>,
    pub(crate) client: Client,
    screen: Screen,
}

impl Service {
    pub(crate) async fn start(launch: Launch, screen: Screen) -> Result<Self, Failure> {
        let process = launch.start().await?;
        let address = watch::Sender::new(Some(process.address()));
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        let asking = watch::Sender::new(0);
        Ok(Self { launch, process: Mutex::new(Some(process)), address, asking, client, screen })
    }

    /// The URL of a path, as soon as the shop serves.
    pub(crate) async fn url(&self, path: &str) -> Result<String, Failure> {
        let mut address = self.address.subscribe();
        match *address.wait_for(Option::is_some).await? {
            Some(address) => Ok(format!("http://{address}{path}")),
            None => Err("the shop is gone".into()),
        }
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let response = self.client.get(self.url(path).await?).send().await?;
        Ok(response.error_for_status()?.json().await?)
    }

    pub(crate) async fn load(&self) -> Result<Load, Failure> {
        let queues: Vec<QueueNumbers> = self.get("/queues").await?;
        let mut load = Load::default();
        for queue in queues {
            load.running += queue.running;
            load.ready += queue.ready;
            load.delayed += queue.delayed;
            load.done += queue.done;
        }
        self.screen.done(load.done);
        Ok(load)
    }

    async fn look_until(&self, what: &str, found: impl Fn(&Load) -> bool) -> Result<Load, Failure> {
        let (started, mut looks) = (Instant::now(), interval(LOOK_EVERY));
        loop {
            looks.tick().await;
            let load = self.load().await?;
            if found(&load) {
                return Ok(load);
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("{what}: not within {} s ({load})", PATIENCE.as_secs()).into());
            }
        }
    }

    /// Waits, and looks at the shop meanwhile, so that the screen tells how far it is. A shop that was just killed is
    /// not missed here: whoever waits for it says so.
    pub(crate) async fn watched<T>(&self, wait: impl Future<Output = T>) -> T {
        let look_on = async {
            let mut looks = interval(LOOK_EVERY);
            loop {
                looks.tick().await;
                let _ = self.load().await;
            }
        };
        tokio::select! {
            waited = wait => waited,
            () = look_on => unreachable!("it looks for ever"),
        }
    }

    /// SIGKILL while attempts run and jobs wait; then a start. Returns how long it took until it served again.
    pub(crate) async fn kill_while_busy_and_restart(&self) -> Result<Duration, Failure> {
        let is_busy = |load: &Load| load.running > 0 && load.ready >= WAITING_MIN + MARGIN;
        let load = self.look_until("the shop was never busy enough for a kill that counts", is_busy).await?;
        let mut process = self.process.lock().await;
        // In the middle of somebody's request, if one comes: the hardest moment.
        let mut asking = self.asking.subscribe();
        let asking = tokio::time::timeout(LOOK_EVERY, asking.wait_for(|asking| *asking > 0)).await;
        let asking = asking.map_or(0, |asking| asking.map_or(0, |asking| *asking));
        process.take().ok_or("the shop is not running")?.kill().await?;
        self.address.send_replace(None);
        self.screen.say(&format!("SIGKILL while:      {load}, {asking} requests being answered"));
        let killed = Instant::now();
        let restarted = self.launch.start().await?;
        let took = killed.elapsed();
        self.address.send_replace(Some(restarted.address()));
        *process = Some(restarted);
        self.screen.say(&format!("serves again after {} ms: {}", took.as_millis(), self.load().await?));
        Ok(took)
    }

    /// Waits until nothing waits or runs.
    pub(crate) async fn drained(&self) -> Result<(), Failure> {
        let is_idle = |load: &Load| load.running + load.ready + load.delayed == 0;
        self.look_until("the shop did not finish its work", is_idle).await.map(drop)
    }

    /// How each job stands.
    pub(crate) async fn look_at(&self, accepted: &[Accepted]) -> Result<Vec<JobNumbers>, Failure> {
        let mut jobs = Vec::new();
        for request in accepted {
            jobs.push(self.get(&format!("/jobs/{}", request.job_id)).await?);
        }
        Ok(jobs)
    }

    /// How many dead letters there are, of a thousand at most.
    pub(crate) async fn dead(&self) -> Result<usize, Failure> {
        #[derive(Deserialize)]
        struct Page {
            jobs: Vec<serde_json::Value>,
        }
        Ok(self.get::<Page>("/dead?limit=1000").await?.jobs.len())
    }

    pub(crate) async fn terminate(&self) -> Result<ExitStatus, Failure> {
        let process = self.process.lock().await.take().ok_or("the shop is not running")?;
        Ok(process.terminate().await?)
    }
}
