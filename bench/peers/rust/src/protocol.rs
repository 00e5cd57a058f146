//! The program's end of the conversation that `driver/client.py` describes, for peers that live in one process with
//! their callers and handlers.

use std::fmt::{Display, Write as _};
use std::future::Future;
use std::io::{BufRead as _, Write as _};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::runtime::{Handle, Runtime};

/// Whatever went wrong.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Callers at once.
const CALLERS: u64 = 64;
/// Jobs of one bulk.
const BULK: u64 = 1_000;
/// The last of a wait is spent awake: a sleeping thread comes late.
const AWAKE: Duration = Duration::from_micros(120);

/// What every job carries: 200 bytes as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Body {
    body: String,
}

impl Body {
    /// The one that there is.
    #[must_use]
    pub fn new() -> Self {
        Self { body: "x".repeat(189) }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::new()
    }
}

/// A job system that is measured. A clone is another caller of the same.
pub trait Peer: Clone + Send + Sync + 'static {
    /// Whether callers may hand in at once. Otherwise each job waits until the last is in.
    const IS_SHARED: bool = true;

    /// Begins with an empty queue.
    fn open(&self, queue: &str) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Hands in one job, and answers its id once it is accepted.
    fn one(&self) -> impl Future<Output = Result<String, Failure>> + Send;
    /// Hands in so many together.
    fn bulk(&self, jobs: u64) -> impl Future<Output = Result<Vec<String>, Failure>> + Send;
    /// Begins to run jobs; each start is noted.
    fn work(&self, notes: Notes) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Takes no more jobs, and finishes those in hand.
    fn rest(&self) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// What handlers of one worker have started. A clone is a handle to the same.
#[derive(Clone, Debug)]
pub struct Notes {
    origin: Instant,
    lines: Arc<Mutex<Vec<(String, u64)>>>,
    starts: Arc<AtomicUsize>,
}

impl Notes {
    /// None yet. All of a process count from one origin, so that their moments can be compared.
    fn new(origin: Instant) -> Self {
        Self { origin, lines: Arc::default(), starts: Arc::default() }
    }

    fn ns(&self, moment: Instant) -> u64 {
        u64::try_from(moment.duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// A handler has started.
    pub fn started(&self, id: impl Display) {
        let at = self.ns(Instant::now());
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push((id.to_string(), at));
        self.starts.fetch_add(1, Ordering::AcqRel);
    }
}

#[derive(Deserialize)]
struct Order {
    #[serde(rename = "do")]
    verb: String,
    #[serde(default)]
    way: String,
    #[serde(default)]
    jobs: u64,
    #[serde(default)]
    every_ns: u64,
    #[serde(default)]
    queue: String,
    #[serde(default)]
    file: String,
}

struct Served<P> {
    peer: P,
    runtime: Runtime,
    queue: String,
    /// Of the worker that was begun last. Each has its own: what handlers of a worker note that was stopped in the
    /// meantime belongs to a run that is over, and must not count in the next.
    notes: Notes,
    accepted: Vec<(String, u64)>,
}

/// A runtime of two threads, as on the machine that the targets name.
///
/// # Errors
/// Whatever the system says.
pub fn runtime() -> Result<Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// Says that it is ready, then does what it is told until its input ends.
///
/// # Errors
/// If the conversation breaks; what goes wrong with the peer is answered.
pub fn serve<P: Peer>(peer: P, runtime: Runtime) -> Result<(), Failure> {
    let mut served =
        Served { peer, runtime, queue: String::new(), notes: Notes::new(Instant::now()), accepted: Vec::new() };
    let mut out = std::io::stdout();
    writeln!(out, "{{}}")?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let order = serde_json::from_str(&line?)?;
        let answer = served.obey(&order).unwrap_or_else(|failure| json!({ "error": failure.to_string() }));
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    // What a peer still has in hand at the end is nobody's concern.
    served.runtime.shutdown_timeout(Duration::from_millis(100));
    Ok(())
}

impl<P: Peer> Served<P> {
    fn obey(&mut self, order: &Order) -> Result<Value, Failure> {
        match order.verb.as_str() {
            "enqueue" => self.enqueue(order),
            "pace" => self.pace(order),
            "work" => {
                self.turn_to(&order.queue)?;
                self.notes = Notes::new(self.notes.origin);
                self.runtime.block_on(self.peer.work(self.notes.clone()))?;
                Ok(json!({}))
            }
            "count" => Ok(json!({ "started": self.notes.starts.load(Ordering::Acquire) })),
            "rest" => {
                self.runtime.block_on(self.peer.rest())?;
                Ok(json!({}))
            }
            "dump" => self.dump(&order.file),
            other => Err(format!("there is no verb {other:?}").into()),
        }
    }

    fn turn_to(&mut self, queue: &str) -> Result<(), Failure> {
        if self.queue != queue {
            self.runtime.block_on(self.peer.open(queue))?;
            queue.clone_into(&mut self.queue);
        }
        Ok(())
    }

    fn enqueue(&mut self, order: &Order) -> Result<Value, Failure> {
        self.turn_to(&order.queue)?;
        let (peer, way, jobs) = (self.peer.clone(), order.way.clone(), order.jobs);
        let began = Instant::now();
        // In a task, as in a service: not on the thread that only waits for the runtime.
        let ids = self.runtime.block_on(self.runtime.spawn(async move { hand_in(&peer, &way, jobs).await }))??;
        let ended = Instant::now();
        self.accepted.extend(ids.into_iter().map(|id| (id, 0)));
        Ok(json!({ "began": self.notes.ns(began), "ended": self.notes.ns(ended) }))
    }

    fn pace(&mut self, order: &Order) -> Result<Value, Failure> {
        self.turn_to(&order.queue)?;
        let (peer, handle, jobs) = (self.peer.clone(), self.runtime.handle().clone(), order.jobs);
        let every = Duration::from_nanos(order.every_ns);
        let began = Instant::now();
        let offered = self.runtime.spawn_blocking(move || offer(&peer, &handle, every, jobs));
        for (due, task) in self.runtime.block_on(offered)?? {
            let id = self.runtime.block_on(task)??;
            self.accepted.push((id, self.notes.ns(due)));
        }
        Ok(json!({ "began": self.notes.ns(began), "ended": self.notes.ns(Instant::now()) }))
    }

    fn dump(&mut self, file: &str) -> Result<Value, Failure> {
        let mut text = String::new();
        for (id, due) in self.accepted.drain(..) {
            writeln!(text, "+ {id} {due}")?;
        }
        for (id, at) in self.notes.lines.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            writeln!(text, "- {id} {at}")?;
        }
        self.notes.starts.store(0, Ordering::Release);
        std::fs::write(file, text)?;
        Ok(json!({}))
    }
}

async fn hand_in<P: Peer>(peer: &P, way: &str, jobs: u64) -> Result<Vec<String>, Failure> {
    let mut ids = Vec::new();
    match way {
        "one" => return one_by_one(peer.clone(), jobs).await,
        "callers" => {
            let callers: Vec<_> = (0..CALLERS)
                .map(|_| {
                    let peer = peer.clone();
                    tokio::spawn(async move { one_by_one(peer, jobs / CALLERS).await })
                })
                .collect();
            for caller in callers {
                ids.extend(caller.await??);
            }
        }
        _ => {
            for _ in 0..jobs / BULK {
                ids.extend(peer.bulk(BULK).await?);
            }
        }
    }
    Ok(ids)
}

async fn one_by_one<P: Peer>(peer: P, jobs: u64) -> Result<Vec<String>, Failure> {
    let mut ids = Vec::new();
    for _ in 0..jobs {
        ids.push(peer.one().await?);
    }
    Ok(ids)
}

type Offered = Vec<(Instant, tokio::task::JoinHandle<Result<String, Failure>>)>;

/// Hands in each job at its time, from a thread of its own, and waits for none.
fn offer<P: Peer>(peer: &P, runtime: &Handle, every: Duration, jobs: u64) -> Result<Offered, Failure> {
    let _inside = runtime.enter();
    let mut due = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..jobs {
        due += every;
        if let Some(wait) = due.checked_duration_since(Instant::now()).and_then(|wait| wait.checked_sub(AWAKE)) {
            std::thread::sleep(wait);
        }
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        if !P::IS_SHARED {
            let id = runtime.block_on(peer.one())?;
            tasks.push((due, runtime.spawn(async move { Ok(id) })));
            continue;
        }
        // Handed in here and now, as by a caller that runs already; only its answer is awaited elsewhere.
        let caller = peer.clone();
        let mut offered: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move { caller.one().await });
        let task = match offered.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => runtime.spawn(async move { answer }),
            Poll::Pending => runtime.spawn(offered),
        };
        tasks.push((due, task));
    }
    Ok(tasks)
}
