//! Whether a job is enqueued: in a running engine, or as a follow-up of an attempt that was run by hand.
//!
//! Owns what is asked for, and what is told where it is not there. Looks only; it waits for nothing.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use windlass_scheduler::job::{JobId, NewJob, Priority, When};
use windlass_scheduler::refusal::Refusal;
use windlass_scheduler::state::State;

use super::inline::Run;
use super::words::{Time, count};
use crate::admin::List;
use crate::engine::Engine;
use crate::error::ControlError;
use crate::filter::Filter;
use crate::job::Job;
use crate::status::{JobDetail, time};

/// Live jobs that are looked at: whoever has more asks the engine itself.
pub const JOBS_MAX: usize = 10_000;
/// Jobs on a page, as many as one may have.
const PAGE: usize = 1_000;
/// Jobs that a failure tells of.
const TOLD_MAX: usize = 20;
/// Bytes of a payload that it tells.
const PAYLOAD_TOLD_MAX: usize = 200;

/// A job that is enqueued: live in an engine, or a follow-up of a [`Run`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EnqueuedJob {
    /// Its id.
    pub id: JobId,
    /// Its kind.
    pub kind: String,
    /// Its queue.
    pub queue: String,
    /// Its state; a follow-up's, as it will be.
    pub state: State,
    /// How urgent it is; `None`: a follow-up that leaves it to its queue.
    pub priority: Option<Priority>,
    /// How long after its acceptance it may run; `None`: at once, or it has run before.
    pub delay: Option<Duration>,
    /// From when on it may run; `None`: at once, or after [`delay`](Self::delay) of a time that is not known.
    pub at: Option<SystemTime>,
    /// Attempts started so far.
    pub attempts: u32,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its correlation id.
    pub correlation_id: Option<String>,
    /// The text of the key under which it is [unique](crate::Unique).
    pub unique_key: Option<String>,
    /// Its payload.
    pub payload: Bytes,
    /// The payload's schema version.
    pub version: u32,
}

impl From<&NewJob> for EnqueuedJob {
    fn from(job: &NewJob) -> Self {
        let (delay, at) = match job.due {
            None => (None, None),
            Some(When::After(ms)) => (Some(Duration::from_millis(ms)), None),
            Some(When::At(at)) => (None, Some(time(at))),
        };
        Self {
            id: job.id,
            kind: job.kind.to_string(),
            queue: job.queue.to_string(),
            state: if job.due.is_some() { State::Delayed } else { State::Ready },
            priority: job.priority,
            delay,
            at,
            attempts: 0,
            tags: job.body.labels.tags().to_vec(),
            correlation_id: job.body.labels.correlation_id().map(str::to_owned),
            unique_key: job.body.labels.unique().map(|unique| unique.key.text.to_string()),
            payload: job.body.payload.clone(),
            version: job.body.version,
        }
    }
}

impl From<JobDetail> for EnqueuedJob {
    fn from(job: JobDetail) -> Self {
        let status = job.status;
        let since = |at: SystemTime| at.duration_since(status.created).unwrap_or_default();
        Self {
            id: status.id,
            kind: status.kind,
            queue: status.queue,
            state: status.state,
            priority: Some(status.priority),
            delay: status.due.filter(|_| status.attempts == 0).map(since),
            at: status.due,
            attempts: status.attempts,
            tags: job.tags,
            correlation_id: job.correlation_id,
            unique_key: job.unique_key,
            payload: job.payload,
            version: job.version,
        }
    }
}

impl fmt::Display for EnqueuedJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in `{}`, {}", self.kind, self.queue, self.state)?;
        if let Some(delay) = self.delay {
            write!(f, " for {}", Time(delay))?;
        }
        if self.attempts > 0 {
            write!(f, " after {}", count(self.attempts, "attempt"))?;
        }
        let shown = String::from_utf8_lossy(self.payload.get(..PAYLOAD_TOLD_MAX).unwrap_or(&self.payload));
        let more = if self.payload.len() > PAYLOAD_TOLD_MAX { "..." } else { "" };
        write!(f, ": {shown}{more}")
    }
}

/// Where jobs are enqueued: an [`Engine`], or a [`Run`]. Implement it for what of yours holds an engine.
pub trait Source {
    /// The jobs that are enqueued there now.
    ///
    /// # Errors
    /// What keeps them from being listed.
    fn enqueued(&self) -> impl Future<Output = Result<Vec<EnqueuedJob>, ControlError>> + Send;

    /// How many jobs of this kind have run to their end there, and are kept.
    ///
    /// # Errors
    /// What keeps them from being counted.
    fn ended(&self, kind: &str) -> impl Future<Output = Result<u64, ControlError>> + Send {
        let _ = kind;
        async { Ok(0) }
    }
}

impl Source for Engine {
    async fn enqueued(&self) -> Result<Vec<EnqueuedJob>, ControlError> {
        let live = Filter::new().waiting().state(State::Running);
        let (mut jobs, mut after) = (Vec::new(), None);
        loop {
            let list = self.jobs(live.clone()).limit(PAGE);
            let page = after.into_iter().fold(list, List::after).await?;
            for status in page.jobs {
                match self.inspect(status.id).await {
                    Ok(job) if !job.status.state.is_ended() => jobs.push(job.into()),
                    // It has ended meanwhile.
                    Ok(_) | Err(ControlError::Refused(Refusal::Forgotten { .. })) => {}
                    Err(error) => return Err(error),
                }
            }
            assert!(
                jobs.len() <= JOBS_MAX,
                "more than {JOBS_MAX} jobs are live: ask the engine itself (`Engine::jobs`, `count`)"
            );
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(jobs),
            }
        }
    }

    async fn ended(&self, kind: &str) -> Result<u64, ControlError> {
        let ends = [State::Done, State::Dead, State::Cancelled, State::Expired];
        self.count(ends.into_iter().fold(Filter::new().kind(kind), Filter::state)).await
    }
}

impl<J: Job> Source for Run<J> {
    fn enqueued(&self) -> impl Future<Output = Result<Vec<EnqueuedJob>, ControlError>> + Send {
        std::future::ready(Ok(self.follow_ups().to_vec()))
    }
}

impl<S: Source + Sync> Source for &S {
    fn enqueued(&self) -> impl Future<Output = Result<Vec<EnqueuedJob>, ControlError>> + Send {
        (**self).enqueued()
    }

    fn ended(&self, kind: &str) -> impl Future<Output = Result<u64, ControlError>> + Send {
        (**self).ended(kind)
    }
}

type IsMeant<'a, J> = Box<dyn Fn(&J) -> bool + Send + 'a>;

/// A job of this kind, as a test expects it: what [`assert_enqueued!`](crate::assert_enqueued) is made of. The names of its
/// methods are those of the macro's options.
#[must_use = "nothing is expected before it is looked for"]
pub struct Expected<'a, J> {
    matching: Option<IsMeant<'a, J>>,
    queue: Option<String>,
    delay: Option<Duration>,
    at: Option<SystemTime>,
    priority: Option<Priority>,
    tag: Option<String>,
    correlation_id: Option<String>,
    times: Option<usize>,
    job: PhantomData<fn() -> J>,
}

impl<'a, J: Job> Expected<'a, J> {
    /// Any job of the kind.
    #[expect(clippy::new_without_default, reason = "nobody expects a default")]
    pub fn new() -> Self {
        Self {
            matching: None,
            queue: None,
            delay: None,
            at: None,
            priority: None,
            tag: None,
            correlation_id: None,
            times: None,
            job: PhantomData,
        }
    }

    /// Whose payload this takes.
    pub fn matching(mut self, is_meant: impl Fn(&J) -> bool + Send + 'a) -> Self {
        self.matching = Some(Box::new(is_meant));
        self
    }

    /// In this queue.
    pub fn queue(mut self, queue: impl AsRef<str>) -> Self {
        self.queue = Some(queue.as_ref().to_owned());
        self
    }

    /// That may run so long after its acceptance; zero: at once. A job that ran before, or whose time has come, has no such
    /// delay.
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// That may run from this time of the wall clock on.
    pub const fn at(mut self, time: SystemTime) -> Self {
        self.at = Some(time);
        self
    }

    /// Of this priority.
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// With this tag.
    pub fn tag(mut self, tag: impl AsRef<str>) -> Self {
        self.tag = Some(tag.as_ref().to_owned());
        self
    }

    /// With this correlation id.
    pub fn correlation_id(mut self, id: impl AsRef<str>) -> Self {
        self.correlation_id = Some(id.as_ref().to_owned());
        self
    }

    /// Exactly so many of them; at least one unless said.
    pub const fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    fn meets(&self, job: &EnqueuedJob) -> bool {
        let is_matched = |is_meant: &(dyn Fn(&J) -> bool + Send)| {
            J::decode(&job.payload, job.version).is_ok_and(|payload| is_meant(&payload))
        };
        let has_delay = |delay: Duration| job.attempts == 0 && job.delay.unwrap_or_default() == delay;
        job.kind == J::KIND
            && self.queue.as_ref().is_none_or(|queue| *queue == job.queue)
            && self.delay.is_none_or(has_delay)
            && self.at.is_none_or(|at| job.at == Some(at))
            && self.priority.is_none_or(|priority| job.priority == Some(priority))
            && self.tag.as_ref().is_none_or(|tag| job.tags.contains(tag))
            && self.correlation_id.as_ref().is_none_or(|id| job.correlation_id.as_ref() == Some(id))
            && self.matching.as_ref().is_none_or(|is_meant| is_matched(is_meant))
    }

    /// Looks for it: the jobs that are as expected, in the order of the list.
    ///
    /// # Errors
    /// [`Unexpected`], where there is none, or another number than wanted.
    pub async fn find(self, source: &impl Source) -> Result<Vec<EnqueuedJob>, Unexpected> {
        let jobs = self.list(source).await?;
        let found: Vec<_> = jobs.iter().filter(|job| self.meets(job)).cloned().collect();
        if self.times.map_or(!found.is_empty(), |times| found.len() == times) {
            return Ok(found);
        }
        let wanted = self.times.map_or_else(|| "at least 1".to_owned(), |times| times.to_string());
        let ended = source.ended(J::KIND).await.unwrap_or_default();
        Err(Unexpected { what: format!("{wanted} wanted, {} found: {self}", found.len()), jobs, kind: J::KIND, ended })
    }

    /// Looks that it is not there.
    ///
    /// # Errors
    /// [`Unexpected`], where it is.
    ///
    /// # Panics
    /// Where it is to be there so many [`times`](Self::times).
    pub async fn find_none(self, source: &impl Source) -> Result<(), Unexpected> {
        assert!(self.times.is_none(), "what is not to be there is not there so many times: leave `times` out");
        let jobs = self.list(source).await?;
        let found = jobs.iter().filter(|job| self.meets(job)).count();
        let what = format!("none wanted, {found} found: {self}");
        if found == 0 { Ok(()) } else { Err(Unexpected { what, jobs, kind: J::KIND, ended: 0 }) }
    }

    async fn list(&self, source: &impl Source) -> Result<Vec<EnqueuedJob>, Unexpected> {
        let failed = |error| Unexpected { what: format!("{self}: {error}"), jobs: Vec::new(), kind: J::KIND, ended: 0 };
        source.enqueued().await.map_err(failed)
    }
}

impl<J: Job> fmt::Display for Expected<'_, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "jobs of kind `{}`", J::KIND)?;
        if let Some(queue) = &self.queue {
            write!(f, ", in queue `{queue}`")?;
        }
        if let Some(delay) = self.delay {
            write!(f, ", delayed for {}", Time(delay))?;
        }
        if let Some(at) = self.at {
            let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            write!(f, ", at {} ms since 1970", since.as_millis())?;
        }
        if let Some(priority) = self.priority {
            write!(f, ", of priority {}", priority.0)?;
        }
        if let Some(tag) = &self.tag {
            write!(f, ", with tag `{tag}`")?;
        }
        if let Some(id) = &self.correlation_id {
            write!(f, ", with correlation id `{id}`")?;
        }
        if self.matching.is_some() {
            f.write_str(", with a payload that the closure takes")?;
        }
        Ok(())
    }
}

impl<J: Job> fmt::Debug for Expected<'_, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expected({self})")
    }
}

/// What is enqueued is not what was expected. It lists what is.
#[derive(Clone)]
pub struct Unexpected {
    what: String,
    jobs: Vec<EnqueuedJob>,
    kind: &'static str,
    ended: u64,
}

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if self.jobs.is_empty() {
            f.write_str("\nnothing is enqueued")?;
        } else {
            f.write_str("\nenqueued are")?;
        }
        // What may have been meant comes first.
        let (mine, others): (Vec<_>, Vec<_>) = self.jobs.iter().partition(|job| job.kind == self.kind);
        for job in mine.iter().chain(&others).take(TOLD_MAX) {
            write!(f, "\n  {job}")?;
        }
        if let Some(more) = self.jobs.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
            write!(f, "\n  and {more} more")?;
        }
        if self.ended > 0 {
            let (ended, kind) = (count(self.ended, "job"), self.kind);
            write!(
                f,
                "\n{ended} of kind `{kind}` came and ended already: pause the queue before what enqueues, or look at what they did"
            )?;
        }
        Ok(())
    }
}

impl fmt::Debug for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Unexpected {}

/// Asserts, in async code, that a job is enqueued now in an engine (live, in whatever state), or as a follow-up of a
/// [`Run`](crate::testing::Run): a kind, a closure over its payload, and options. Gives those that are meant, as
/// [`EnqueuedJob`](crate::testing::EnqueuedJob)s.
///
/// The options are methods of [`Expected`](crate::testing::Expected): `queue`, `delay`, `at`, `priority`, `tag`, `correlation_id`, `times`.
///
/// An engine runs what it gets: what is to be seen here must not have ended. Pause its queue before
/// ([`Engine::pause`](crate::Engine::pause)), give it a delay, or start an engine that has no handler for it
/// ([`allow_unknown_kinds`](crate::EngineBuilder::allow_unknown_kinds)).
///
/// ```
/// use windlass::testing::{assert_enqueued, refute_enqueued};
/// use windlass::{Engine, Job, MIN, MemoryJournal, QueueConfig};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Welcome { to: String }
/// impl Job for Welcome {
///     const KIND: &'static str = "welcome";
///     const QUEUE: &'static str = "mail";
///     type Output = ();
/// }
///
/// /// What is tested: a part of a service that enqueues.
/// async fn sign_up(engine: &Engine, to: &str) -> Result<(), windlass::EnqueueError> {
///     engine.enqueue(Welcome { to: to.to_owned() }).delay(MIN * 5).await?;
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let builder = Engine::builder().journal(MemoryJournal::new()).queue(QueueConfig::new("mail"));
/// let engine = builder.allow_unknown_kinds().start().await?;
/// sign_up(&engine, "ada@example.org").await?;
/// assert_enqueued!(engine, Welcome, |job| job.to == "ada@example.org", queue = "mail", delay = MIN * 5);
/// refute_enqueued!(engine, Welcome, |job| job.to == "bob@example.org");
/// # Ok(())
/// # }
/// ```
///
/// # Panics
/// Where it is not, with a list of what is.
#[macro_export]
macro_rules! assert_enqueued {
    ($source:expr, $kind:ty $(, |$job:pat_param| $is_meant:expr)? $(, $option:ident = $value:expr)* $(,)?) => {{
        let expected = $crate::testing::Expected::<$kind>::new()
            $(.matching(|$job| $is_meant))? $(.$option($value))*;
        match expected.find(&$source).await {
            ::core::result::Result::Ok(found) => found,
            ::core::result::Result::Err(unexpected) => ::core::panic!("{unexpected}"),
        }
    }};
}

/// Asserts, in async code, that no such job is enqueued now: the opposite of [`assert_enqueued!`](crate::assert_enqueued), with the
/// same options but for `times`.
///
/// # Panics
/// Where one is, with a list of what is enqueued.
#[macro_export]
macro_rules! refute_enqueued {
    ($source:expr, $kind:ty $(, |$job:pat_param| $is_meant:expr)? $(, $option:ident = $value:expr)* $(,)?) => {{
        let expected = $crate::testing::Expected::<$kind>::new()
            $(.matching(|$job| $is_meant))? $(.$option($value))*;
        if let ::core::result::Result::Err(unexpected) = expected.find_none(&$source).await {
            ::core::panic!("{unexpected}");
        }
    }};
}
