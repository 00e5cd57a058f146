//! Runs a queue until nothing is left of it to do.
//!
//! Owns when to stop waiting. On a paused clock waiting costs nothing, so a job that would run in a month has run; what would
//! never run (a paused queue, no handler) is told at once, and what never ends is told after a bound on either clock.

use std::error::Error;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use windlass_scheduler::job::JobId;
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::state::State;
use windlass_scheduler::view::QueueStats;

use super::words::{Time, count};
use crate::clock::is_paused;
use crate::engine::Engine;
use crate::error::ControlError;
use crate::filter::Filter;
use crate::messages::Awaited;
use crate::status::JobStatus;

/// How long a drain lasts on a paused clock, by that clock: longer than what most policies take.
const WITHIN: Duration = Duration::from_secs(30 * 86_400);
/// And by the machine's, whatever the other one does.
const MACHINE_TIME: Duration = Duration::from_secs(120);
/// Jobs that are waited for before the queue is looked at again.
const PAGE: usize = 100;
/// How long one job is waited for before the queue is looked at again: it may have been paused, or have fallen due with no
/// handler.
const LOOK_AGAIN: Duration = Duration::from_secs(3_600);
/// Jobs that a failure tells of.
const TOLD_MAX: usize = 20;
/// Looks at a queue that did not change, before the clock may move: what is to be done at this moment takes some turns.
const LOOKS: u32 = 64;

/// Runs what is in a queue, with everything that its jobs enqueue into it, until no live job is left there. Delayed jobs and
/// retries run, too; a paused clock jumps to them.
///
/// ```
/// use windlass::testing;
/// use windlass::{Context, Engine, HOUR, Job, JobError, MemoryJournal, QueueConfig};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Mail { to: String }
/// impl Job for Mail {
///     const KIND: &'static str = "mail";
///     const QUEUE: &'static str = "mail";
///     type Output = ();
/// }
///
/// async fn send(job: Mail, _: Context<()>) -> Result<(), JobError> {
///     if job.to.contains('@') { Ok(()) } else { Err(JobError::permanent("no address")) }
/// }
///
/// # /*
/// #[tokio::test(start_paused = true)]
/// # */
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let builder = Engine::builder().journal(MemoryJournal::new()).queue(QueueConfig::new("mail")).handler(send);
/// let engine = builder.start().await.unwrap();
/// engine.enqueue(Mail { to: "ada@example.org".into() }).await.unwrap();
/// engine.enqueue(Mail { to: "nowhere".into() }).delay(HOUR * 7).await.unwrap();
///
/// let drained = testing::drain(&engine, "mail").due_only().await.unwrap();
/// assert_eq!((drained.done, drained.dead, drained.left), (1, 0, 1));
/// let drained = testing::drain(&engine, "mail").await.unwrap();
/// assert_eq!((drained.done, drained.dead, drained.left), (1, 1, 0));
/// # }
/// ```
pub fn drain(engine: &Engine, queue: &str) -> Drain {
    let within = if is_paused() { WITHIN } else { MACHINE_TIME };
    let (engine, queue) = (engine.clone(), queue.to_owned());
    Drain { engine, queue, due_only: false, within, machine_time: MACHINE_TIME }
}

/// A drain under way, to be awaited: see [`drain`].
#[must_use = "nothing is drained before it is awaited"]
#[derive(Debug)]
pub struct Drain {
    engine: Engine,
    queue: String,
    due_only: bool,
    within: Duration,
    machine_time: Duration,
}

/// What became of a queue's jobs, all that there ever were: an engine does not wait for a drain, and some may have ended before
/// it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Jobs that succeeded.
    pub done: u64,
    /// Jobs that died.
    pub dead: u64,
    /// Jobs that were called off.
    pub cancelled: u64,
    /// Jobs that expired.
    pub expired: u64,
    /// Attempts that began.
    pub attempts: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Jobs that wait for their time: none, but for [`Drain::due_only`].
    pub left: u64,
}

/// Why a queue was not drained.
#[derive(Debug)]
#[non_exhaustive]
pub enum DrainError {
    /// There is no such queue.
    NoQueue {
        /// Its name.
        queue: String,
    },
    /// What is left would never run: the queue is paused, or there is no handler.
    Stuck {
        /// The queue.
        queue: String,
        /// Whether it is paused.
        paused: bool,
        /// The first of the jobs that are left.
        jobs: Vec<JobStatus>,
        /// What became of the queue's jobs so far.
        drained: Drained,
    },
    /// There was still something to do when the time was over.
    TooLong {
        /// The queue.
        queue: String,
        /// The time that was over.
        limit: Duration,
        /// Whether it was the machine's: attempts that begin again and again at the same moment, or ever more work.
        by_machine: bool,
        /// The first of the jobs that are left.
        jobs: Vec<JobStatus>,
        /// What became of the queue's jobs so far.
        drained: Drained,
    },
    /// The engine did not answer.
    Control(ControlError),
}

impl Drain {
    /// Runs what is due now, and leaves what waits for its time: delayed jobs, and retries to come.
    pub const fn due_only(mut self) -> Self {
        self.due_only = true;
        self
    }

    /// How long it may last, by tokio's clock: 30 days unless said where that is paused, and two minutes where it runs.
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// How long it may last by the machine's clock, whatever a paused one says: two minutes unless said.
    pub const fn machine_time(mut self, time: Duration) -> Self {
        self.machine_time = time;
        self
    }

    async fn run(self) -> Result<Drained, DrainError> {
        self.stats().await?;
        let until = Instant::now().checked_add(self.within);
        let until = until.unwrap_or_else(|| Instant::now() + WITHIN);
        let work = async { if self.due_only { self.run_due().await } else { self.run_all().await } };
        let (watchdog, is_over) = watchdog(self.machine_time);
        let outcome = tokio::select! {
            biased;
            outcome = work => Some(outcome),
            _ = is_over => None,
            () = tokio::time::sleep_until(until) => {
                return Err(self.too_long(self.within, false).await);
            }
        };
        drop(watchdog);
        match outcome {
            Some(outcome) => outcome,
            None => Err(self.too_long(self.machine_time, true).await),
        }
    }

    /// Waits for the ends of all jobs, a page of them at a time.
    async fn run_all(&self) -> Result<Drained, DrainError> {
        loop {
            let stats = self.stats().await?;
            self.check_moves(&stats).await?;
            let moving = [State::Waiting, State::Delayed, State::Ready, State::Running];
            let moving = moving.into_iter().fold(self.filter(), Filter::state);
            let page = self.engine.jobs(moving).limit(PAGE).await?;
            if page.jobs.is_empty() && page.next.is_none() {
                // What is parked stays where it is.
                if stats.parked > 0 {
                    return Err(self.stuck(&stats).await);
                }
                let stats = self.stats().await?;
                if stats.live() == stats.parked {
                    return Ok(Drained::of(&stats));
                }
            }
            for job in page.jobs {
                match tokio::time::timeout(LOOK_AGAIN, self.end_of(job.id)).await {
                    Ok(ended) => ended?,
                    Err(_) => break,
                }
            }
        }
    }

    /// Looks at the queue while anything happens, and lets the clock move on by a little where nothing does.
    async fn run_due(&self) -> Result<Drained, DrainError> {
        let (mut last, mut looks) = (None, 0);
        loop {
            let stats = self.stats().await?;
            if stats.ready + stats.running == 0 {
                return if stats.parked > 0 { Err(self.stuck(&stats).await) } else { Ok(Drained::of(&stats)) };
            }
            self.check_moves(&stats).await?;
            let now = Some((stats.totals.attempts, stats.running, stats.ready));
            looks = if now == last { looks + 1 } else { 0 };
            last = now;
            if looks > LOOKS {
                tokio::time::sleep(Duration::from_millis(1)).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Refuses to wait for what will not come.
    async fn check_moves(&self, stats: &QueueStats) -> Result<(), DrainError> {
        let waits = stats.ready + stats.delayed + stats.waiting > 0;
        if stats.paused && waits && stats.running == 0 { Err(self.stuck(stats).await) } else { Ok(()) }
    }

    async fn end_of(&self, id: JobId) -> Result<(), ControlError> {
        match self.engine.watch(Awaited::Job(id)).await {
            Ok(_) | Err(ControlError::Refused(Refusal::Forgotten { .. })) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn filter(&self) -> Filter {
        Filter::new().queue(&self.queue)
    }

    async fn stats(&self) -> Result<QueueStats, DrainError> {
        let stats = self.engine.stats().await?.into_iter().find(|stats| stats.queue.as_str() == self.queue);
        stats.ok_or_else(|| DrainError::NoQueue { queue: self.queue.clone() })
    }

    async fn jobs(&self) -> Vec<JobStatus> {
        let live = self.filter().waiting().state(State::Running);
        self.engine.jobs(live).limit(TOLD_MAX).await.map(|page| page.jobs).unwrap_or_default()
    }

    async fn stuck(&self, stats: &QueueStats) -> DrainError {
        let (queue, drained) = (self.queue.clone(), Drained::of(stats));
        DrainError::Stuck { queue, paused: stats.paused, jobs: self.jobs().await, drained }
    }

    async fn too_long(&self, limit: Duration, by_machine: bool) -> DrainError {
        let drained = match self.stats().await {
            Ok(stats) => Drained::of(&stats),
            Err(error) => return error,
        };
        DrainError::TooLong { queue: self.queue.clone(), limit, by_machine, jobs: self.jobs().await, drained }
    }
}

impl IntoFuture for Drain {
    type Output = Result<Drained, DrainError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl Drained {
    const fn of(stats: &QueueStats) -> Self {
        let totals = &stats.totals;
        Self {
            done: totals.done_total,
            dead: totals.dead_total,
            cancelled: totals.cancelled_total,
            expired: totals.expired_total,
            attempts: totals.attempts,
            failures: totals.failures,
            left: stats.delayed + stats.waiting,
        }
    }
}

/// Fires when so much time of the machine has passed, for as long as the other half is kept. A thread of its own tells it: one
/// of the runtime's would hold a paused clock.
fn watchdog(time: Duration) -> (mpsc::Sender<()>, oneshot::Receiver<()>) {
    let (keep, kept) = mpsc::channel::<()>();
    let (tell, is_over) = oneshot::channel();
    let body = move || {
        if kept.recv_timeout(time) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = tell.send(());
        }
    };
    // Where no thread is to be had, the time is over at once: nothing hangs unseen.
    let _ = std::thread::Builder::new().name("windlass-drain".to_owned()).spawn(body);
    (keep, is_over)
}

impl From<ControlError> for DrainError {
    fn from(error: ControlError) -> Self {
        Self::Control(error)
    }
}

impl fmt::Display for DrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (jobs, drained) = match self {
            Self::NoQueue { queue } => {
                return write!(f, "there is no queue `{queue}` to drain: correct its name, or configure it");
            }
            Self::Control(error) => return write!(f, "the drain got no answer: {error}"),
            Self::Stuck { queue, paused: true, jobs, drained } => {
                write!(
                    f,
                    "queue `{queue}` is paused, and what is left in it never runs: resume it before it is drained"
                )?;
                (jobs, drained)
            }
            Self::Stuck { queue, paused: false, jobs, drained } => {
                write!(f, "what is left in queue `{queue}` has no handler here, and never runs: register one")?;
                (jobs, drained)
            }
            Self::TooLong { queue, limit, by_machine: false, jobs, drained } => {
                let limit = Time(*limit);
                write!(
                    f,
                    "queue `{queue}` was not drained in {limit} of the clock: end what hangs, or allow more with `within`"
                )?;
                (jobs, drained)
            }
            Self::TooLong { queue, limit, by_machine: true, jobs, drained } => {
                write!(
                    f,
                    "queue `{queue}` was not drained in {} of the machine's time: look for attempts that begin again and \
                     again at the same moment, or allow more with `machine_time`",
                    Time(*limit)
                )?;
                (jobs, drained)
            }
        };
        let Drained { done, dead, cancelled, expired, attempts, .. } = drained;
        write!(
            f,
            "\n{}: {done} done, {dead} dead, {cancelled} cancelled, {expired} expired; left are",
            count(*attempts, "attempt")
        )?;
        for job in jobs {
            let (attempts, failures) = (count(job.attempts, "attempt"), count(job.failures, "failure"));
            write!(f, "\n  {} {}, {}, {attempts}, {failures}", job.kind, job.id, job.state)?;
            if let Some(why) = &job.why {
                write!(f, ": {why:?}")?;
            }
        }
        Ok(())
    }
}

impl Error for DrainError {}
