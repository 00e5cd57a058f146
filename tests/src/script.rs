//! Scripted jobs: what an attempt does is said by the test, by the job's name, and everything that ran is written down.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use windlass::{Context, FlowStep, Job, JobError, JobId};

/// A job with an async handler, known by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// By which its script and its history are found.
    pub name: String,
}

impl Job for Step {
    const KIND: &'static str = "step";
    const QUEUE: &'static str = "work";
    type Output = String;
}

impl FlowStep for Step {
    type Input = ();
}

/// A job with a blocking handler, known by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// As [`Step::name`].
    pub name: String,
}

impl Job for Block {
    const KIND: &'static str = "block";
    const QUEUE: &'static str = "work";
    type Output = String;
}

impl FlowStep for Block {
    type Input = ();
}

/// A [`Step`] of this name.
pub fn step(name: &str) -> Step {
    Step { name: name.to_owned() }
}

/// A [`Block`] of this name.
pub fn block(name: &str) -> Block {
    Block { name: name.to_owned() }
}

type Result<T = String, E = JobError> = std::result::Result<T, E>;
type Running = Pin<Box<dyn Future<Output = Result> + Send>>;

/// What one attempt does.
#[derive(Clone)]
pub enum Play {
    /// Succeeds at once; the output is the job's name.
    Succeed,
    /// Succeeds with this output.
    Output(String),
    /// Fails with an error that is retried.
    Fail,
    /// Fails with an error that is not retried.
    Permanent,
    /// Fails, to be tried again after this.
    RetryAfter(Duration),
    /// Wants to run again after this, and that is no failure.
    Snooze(Duration),
    /// Calls the job off.
    CallOff,
    /// Panics.
    Panic,
    /// Waits until it is [told](Script::tell) what to do, whatever else happens.
    Hold,
    /// Waits until it is cancelled, then does this.
    UntilCancelled(Box<Play>),
    /// Anything else.
    Do(Arc<dyn Fn(Context<Script>) -> Running + Send + Sync>),
}

impl Play {
    /// Whatever this code does.
    pub fn run<F, Fut>(code: F) -> Self
    where
        F: Fn(Context<Script>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result> + Send + 'static,
    {
        Self::Do(Arc::new(move |cx| Box::pin(code(cx))))
    }

    /// Waits until it is cancelled, then does this.
    pub fn until_cancelled(then: Self) -> Self {
        Self::UntilCancelled(Box::new(then))
    }
}

impl fmt::Debug for Play {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Play")
    }
}

/// What happened to an attempt's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It began.
    Started,
    /// It returned.
    Returned,
    /// It was dropped, or panicked.
    Dropped,
}

/// One line of the history.
#[derive(Clone, Debug)]
pub struct Event {
    /// The job's name.
    pub name: String,
    /// The job.
    pub id: JobId,
    /// The attempt's number.
    pub attempt: u32,
    /// What happened.
    pub what: What,
    /// When, by tokio's clock.
    pub at: Instant,
}

#[derive(Default)]
struct State {
    plans: HashMap<String, VecDeque<Play>>,
    history: Vec<Event>,
    held: HashMap<String, VecDeque<oneshot::Sender<Play>>>,
    live: BTreeMap<JobId, u32>,
    overlaps: Vec<JobId>,
}

/// The plans of all jobs, and the history. It is the handlers' shared state; clones are the same script.
#[derive(Clone, Default)]
pub struct Script {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl Script {
    /// A script in which every attempt succeeds at once.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the attempts of the jobs of this name do, one after the other. The last one counts for all that follow.
    pub fn plan(&self, name: &str, plays: impl IntoIterator<Item = Play>) {
        self.lock().plans.insert(name.to_owned(), plays.into_iter().collect());
    }

    /// Tells the attempt of this name that has been held longest what to do.
    pub fn tell(&self, name: &str, play: Play) {
        let held = self.lock().held.get_mut(name).and_then(VecDeque::pop_front);
        let held = held.unwrap_or_else(|| panic!("no attempt of `{name}` is held"));
        assert!(held.send(play).is_ok(), "the attempt of `{name}` is gone");
    }

    /// Waits until the history is as asked for.
    pub async fn until(&self, is_so: impl Fn(&[Event]) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if is_so(&self.lock().history) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until so many attempts of this name have begun, and gives the last one's job.
    pub async fn started(&self, name: &str, times: usize) -> JobId {
        self.until(|history| count(history, name, What::Started) >= times).await;
        self.lock().history.iter().rfind(|event| event.name == name).expect("it has begun").id
    }

    /// Waits until so many attempts of this name have returned.
    pub async fn returned(&self, name: &str, times: usize) {
        self.until(|history| count(history, name, What::Returned) >= times).await;
    }

    /// Waits until so many attempts of this name were dropped.
    pub async fn dropped(&self, name: &str, times: usize) {
        self.until(|history| count(history, name, What::Dropped) >= times).await;
    }

    /// Everything so far.
    pub fn history(&self) -> Vec<Event> {
        self.lock().history.clone()
    }

    /// The names of the attempts that began, in order.
    pub fn order(&self) -> Vec<String> {
        let history = self.history();
        history.into_iter().filter(|event| event.what == What::Started).map(|event| event.name).collect()
    }

    /// The numbers of the attempts of this name, in the order of their starts.
    pub fn attempts(&self, name: &str) -> Vec<u32> {
        let history = self.history();
        let starts = history.iter().filter(|event| event.name == name && event.what == What::Started);
        starts.map(|event| event.attempt).collect()
    }

    /// The moments at which the attempts of this name began.
    pub fn starts(&self, name: &str) -> Vec<Instant> {
        let history = self.history();
        let starts = history.iter().filter(|event| event.name == name && event.what == What::Started);
        starts.map(|event| event.at).collect()
    }

    /// Attempts whose code runs.
    pub fn live(&self) -> usize {
        self.lock().live.len()
    }

    /// Jobs that had two attempts running at once: there must be none.
    pub fn overlaps(&self) -> Vec<JobId> {
        self.lock().overlaps.clone()
    }

    /// After a simulated death of the process: whatever was running or held is gone with it.
    pub(crate) fn bury(&self) {
        let mut state = self.lock();
        state.live.clear();
        state.held.clear();
    }

    fn record(&self, name: &str, cx: &Context<Self>, what: What) {
        let mut state = self.lock();
        let (id, attempt) = (cx.id(), cx.attempt());
        if what == What::Started {
            if state.live.insert(id, attempt).is_some() {
                state.overlaps.push(id);
            }
        } else if state.live.get(&id) == Some(&attempt) {
            state.live.remove(&id);
        }
        state.history.push(Event { name: name.to_owned(), id, attempt, what, at: Instant::now() });
        drop(state);
        self.changed.notify_waiters();
    }

    fn next(&self, name: &str) -> Play {
        let mut state = self.lock();
        let Some(plan) = state.plans.get_mut(name) else { return Play::Succeed };
        if plan.len() > 1 { plan.pop_front() } else { plan.front().cloned() }.unwrap_or(Play::Succeed)
    }

    fn held(&self, name: &str) -> oneshot::Receiver<Play> {
        let (tell, told) = oneshot::channel();
        self.lock().held.entry(name.to_owned()).or_default().push_back(tell);
        told
    }
}

fn count(history: &[Event], name: &str, what: What) -> usize {
    history.iter().filter(|event| event.name == name && event.what == what).count()
}

/// Writes down how an attempt's code went.
struct Trace {
    name: String,
    cx: Context<Script>,
    has_returned: bool,
}

impl Drop for Trace {
    fn drop(&mut self) {
        let what = if self.has_returned { What::Returned } else { What::Dropped };
        self.cx.app().record(&self.name, &self.cx, what);
    }
}

/// The handler of [`Step`].
///
/// # Errors
/// What the script says.
pub async fn run_step(job: Step, cx: Context<Script>) -> Result {
    play(job.name, cx).await
}

/// The handler of [`Block`].
///
/// # Errors
/// What the script says.
pub fn run_block(job: Block, cx: Context<Script>) -> Result {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime for one attempt");
    runtime.block_on(play(job.name, cx))
}

async fn play(name: String, cx: Context<Script>) -> Result {
    let script = cx.app().clone();
    let mut play = script.next(&name);
    // Held before it is said to have begun: who sees the start may tell it at once.
    let mut told = matches!(play, Play::Hold).then(|| script.held(&name));
    script.record(&name, &cx, What::Started);
    let mut trace = Trace { name: name.clone(), cx: cx.clone(), has_returned: false };
    let result = loop {
        play = match play {
            Play::Succeed => break Ok(name),
            Play::Output(output) => break Ok(output),
            Play::Fail => break Err("as the script says".into()),
            Play::Permanent => break Err(JobError::permanent("as the script says")),
            Play::RetryAfter(delay) => break Err(JobError::retry_after(delay, "as the script says")),
            Play::Snooze(delay) => break Err(JobError::snooze(delay)),
            Play::CallOff => break Err(JobError::cancel("as the script says")),
            Play::Panic => panic!("as the script says"),
            Play::Hold => {
                let told = told.take().unwrap_or_else(|| script.held(&name));
                // A script that was buried tells nothing more.
                told.await.unwrap_or(Play::Fail)
            }
            Play::UntilCancelled(then) => {
                cx.cancellation().cancelled().await;
                *then
            }
            Play::Do(code) => break code(cx).await,
        };
    };
    trace.has_returned = true;
    result
}
