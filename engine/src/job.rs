//! What a job type is, and how one is handed in.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use windlass_scheduler::attempt::Failure;
use windlass_scheduler::job::{Body, JobId, Labels, Name, Names, NewJob, Priority, When};
use windlass_scheduler::limit::Share;
use windlass_scheduler::retry::RetryPolicy as CorePolicy;

use crate::clock::not_before;
use crate::config::{RetryDecision, RetryPolicy, check_of_job, ms};
use crate::door::Door;
use crate::engine::Engine;
use crate::error::{EnqueueError, OutOfRange, WaitError, panic_text};
use crate::handle::JobHandle;
use crate::range::{self, check_when};
use crate::unique::Unique;

/// A type of work: its payload is the value itself.
///
/// The payload is encoded as JSON unless [`encode`](Self::encode) and [`decode`](Self::decode) say otherwise.
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// The kind's name, which stands in the journal: never change it while such jobs may wait.
    const KIND: &'static str;
    /// The queue that jobs of this kind go to unless told otherwise.
    const QUEUE: &'static str;
    /// The payload's schema version, stored with every job. Raise it when stored payloads no longer fit the type, and say in
    /// [`upgrade`](Self::upgrade) what becomes of them.
    const VERSION: u32 = 1;
    /// What a success leaves for those who wait; `()` for nothing.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// The payload's bytes.
    ///
    /// # Errors
    /// Whatever the encoder says; the enqueue then fails with [`EnqueueError::Encode`].
    fn encode(&self) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let mut bytes = Vec::with_capacity(PAYLOAD_ROOM_BYTES);
        serde_json::to_writer(&mut bytes, self)?;
        Ok(bytes)
    }

    /// The payload from its bytes and the [`VERSION`](Self::VERSION) that it was stored with. An earlier version goes through
    /// [`upgrade`](Self::upgrade) first, once for each version between.
    ///
    /// # Errors
    /// Whatever the decoder says; the handler then does not run, and the job is dead with its bytes kept. A payload of a
    /// *later* version than this build's is no such loss: its failure is retried by the policy, so that what a newer build
    /// enqueued survives its being rolled back.
    fn decode(bytes: &[u8], version: u32) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        if version >= Self::VERSION {
            return Ok(serde_json::from_slice(bytes)?);
        }
        let mut payload = serde_json::from_slice(bytes)?;
        for from in version..Self::VERSION {
            payload = Self::upgrade(payload, from)?;
        }
        Ok(serde_json::from_value(payload)?)
    }

    /// Turns a stored payload of version `from` into one of version `from + 1`. Asked only for payloads of earlier versions;
    /// unless said otherwise they stay as they are, which is enough where fields were only added with a `#[serde(default)]`.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use windlass::Job;
    /// use serde_json::{Value, json};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Welcome { first: String, last: String }
    ///
    /// impl Job for Welcome {
    ///     const KIND: &'static str = "welcome";
    ///     const QUEUE: &'static str = "mail";
    ///     const VERSION: u32 = 2;
    ///     type Output = ();
    ///
    ///     // Version 1 had one `name`.
    ///     fn upgrade(payload: Value, from: u32) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    ///         let name = payload["name"].as_str().ok_or("no name")?;
    ///         let (first, last) = name.split_once(' ').unwrap_or((name, ""));
    ///         assert_eq!(from, 1);
    ///         Ok(json!({ "first": first, "last": last }))
    ///     }
    /// }
    ///
    /// let ada = Welcome::decode(br#"{"name":"Ada Lovelace"}"#, 1).unwrap();
    /// assert_eq!(ada.last, "Lovelace");
    /// ```
    ///
    /// # Errors
    /// Whatever makes it impossible; the job is dead then, with its bytes kept.
    fn upgrade(payload: Value, from: u32) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let _ = from;
        Ok(payload)
    }

    /// The key under which there is to be one such job at a time, where every job of this kind has one;
    /// [`unique`](crate::Enqueue::unique) says otherwise for one of them.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use windlass::{Job, Unique};
    /// #[derive(Serialize, Deserialize)]
    /// struct Reindex { shop: u64 }
    ///
    /// impl Job for Reindex {
    ///     const KIND: &'static str = "reindex";
    ///     const QUEUE: &'static str = "bulk";
    ///     type Output = ();
    ///
    ///     fn unique(&self) -> Option<Unique> {
    ///         Some(Unique::key(format!("shop/{}", self.shop)).keep_last())
    ///     }
    /// }
    /// ```
    #[must_use]
    fn unique(&self) -> Option<Unique> {
        None
    }

    /// Whose job it is, where every job of this kind has such a key; [`limit_key`](crate::Enqueue::limit_key) says otherwise for one of
    /// them. Keys of one queue take turns, and may have [limits of their own](crate::QueueConfig::per_key).
    #[must_use]
    fn limit_key(&self) -> Option<String> {
        None
    }

    /// The kind's own rule for retries, where no policy will do: asked after every failed attempt, also one that panicked
    /// or whose time was over, with the number of failures so far (from 1) and the last one. What the handler itself said
    /// ([`JobError::retry_after`](crate::JobError::retry_after), [`JobError::permanent`](crate::JobError::permanent)) goes
    /// before. Keep it a pure function: then a test of it is a test of your retries. If it panics, the policy decides.
    #[must_use]
    fn retry(failures: u32, failure: &Failure) -> RetryDecision {
        let _ = (failures, failure);
        RetryDecision::ByPolicy
    }
}

/// A new job id: a UUID of version 7, which sorts by the time it was made.
#[must_use]
pub fn new_job_id() -> JobId {
    JobId(uuid::Uuid::now_v7())
}

/// What a caller chooses for one job. See the methods of [`Enqueue`], which are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) id: Option<JobId>,
    pub(crate) queue: Option<String>,
    pub(crate) priority: Option<Priority>,
    pub(crate) due: Option<When>,
    pub(crate) expires: Option<When>,
    pub(crate) deadline: Option<When>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) tags: Vec<String>,
    pub(crate) correlation_id: Option<String>,
    pub(crate) trace: Option<String>,
    pub(crate) unique: Option<Unique>,
    pub(crate) limit_key: Option<String>,
    pub(crate) weight: Option<u32>,
}

impl Options {
    /// The queue that was chosen, or this one.
    pub(crate) fn queue_or(&self, queue: &str) -> String {
        self.queue.clone().unwrap_or_else(|| queue.to_owned())
    }

    /// Whether all of it can be; and takes out the policy, as the core knows it.
    fn check(&mut self) -> Result<Option<CorePolicy>, OutOfRange> {
        range::TAGS.check(self.tags.len() as u64)?;
        self.tags.iter().try_for_each(|tag| range::TAG.check(tag.len() as u64))?;
        for (label, range) in [(&self.correlation_id, range::CORRELATION_ID), (&self.trace, range::TRACE_CONTEXT)] {
            label.as_ref().map_or(Ok(()), |label| range.check(label.len() as u64))?;
        }
        let of_key = |key: &String| range::LIMIT_KEY.check(key.len() as u64);
        self.limit_key.as_ref().map_or(Ok(()), of_key)?;
        self.weight.map_or(Ok(()), |weight| range::WEIGHT.check(u64::from(weight)))?;
        let whens = [(self.due, range::JOB_DELAY), (self.expires, range::EXPIRY), (self.deadline, range::DEADLINE)];
        for (when, later) in whens {
            when.map_or(Ok(()), |when| check_when(&later, when))?;
        }
        self.timeout.map_or(Ok(()), |timeout| range::TIMEOUT.check(ms(timeout)))?;
        let policy = self.retry.take().map(RetryPolicy::into_core);
        policy.as_ref().map_or(Ok(()), check_of_job)?;
        Ok(policy)
    }
}

/// A job on its way in: a typed payload with its options, ready to be part of an
/// [`enqueue_all`](Engine::enqueue_all), or a follow-up.
#[must_use = "a draft is nothing until it is enqueued"]
#[derive(Debug)]
pub struct Draft {
    pub(crate) payload: Result<Vec<u8>, EnqueueError>,
    pub(crate) kind: &'static str,
    version: u32,
    pub(crate) default_queue: &'static str,
    pub(crate) options: Options,
}

impl Draft {
    /// A job with no options yet. The payload is encoded here; a failure is reported when it is enqueued.
    pub fn new<J: Job>(job: &J) -> Self {
        let payload = encode(job).map_err(|reason| EnqueueError::Encode { kind: J::KIND, reason });
        let options = Options { unique: job.unique(), limit_key: job.limit_key(), ..Options::default() };
        Self { payload, kind: J::KIND, version: J::VERSION, default_queue: J::QUEUE, options }
    }

    /// Part of the story that these labels tell of, in what it does not say itself. Each by itself: a span of its own that
    /// a follow-up brings is no other story.
    pub(crate) fn in_story_of(mut self, parent: &Labels) -> Self {
        let Options { correlation_id, trace, .. } = &mut self.options;
        for (own, parents) in [(correlation_id, parent.correlation_id()), (trace, parent.trace())] {
            if own.is_none() {
                *own = parents.map(str::to_owned);
            }
        }
        self
    }

    /// Part of the trace that goes on here, if it brings none.
    pub(crate) fn in_trace(mut self, door: &Door) -> Self {
        let trace = &mut self.options.trace;
        *trace = trace.take().or_else(|| door.propagator.current());
        self
    }

    /// `names`: of the call, whose jobs go the same way.
    pub(crate) fn into_new_job(mut self, door: &Door, names: &mut Names) -> Result<NewJob, EnqueueError> {
        self = self.in_trace(door);
        let id = self.options.id.unwrap_or_else(|| door.new_id());
        let queue = door.queue_of(self.kind, self.default_queue);
        self.into_job(id, queue, names)
    }

    /// `queue`: where jobs of its kind go.
    pub(crate) fn into_job(self, id: JobId, queue: &str, names: &mut Names) -> Result<NewJob, EnqueueError> {
        let mut options = self.options;
        if !Name::is_valid(self.kind) {
            return Err(EnqueueError::Kind { kind: self.kind, bytes_max: Name::BYTES_MAX });
        }
        let retry = options.check()?;
        let (kind, queue) = (names.get(self.kind), names.get(options.queue.as_deref().unwrap_or(queue)));
        let payload = self.payload?;
        let own_delay = options.unique.as_ref().and_then(Unique::delay).map(|delay| When::After(ms(delay)));
        let unique = options.unique.map(|unique| unique.into_core(self.kind, (kind.clone(), queue.clone()), &payload));
        Ok(NewJob {
            id,
            queue,
            kind,
            priority: options.priority,
            due: options.due.or(own_delay),
            expires: options.expires,
            deadline: options.deadline,
            timeout_ms: options.timeout.map(ms),
            retry,
            body: Arc::new(Body {
                // Encoders leave room behind: a million waiting jobs would keep it.
                payload: Bytes::from(payload.into_boxed_slice()),
                version: self.version,
                labels: Labels::new(
                    options.tags,
                    options.correlation_id,
                    options.trace,
                    unique.transpose()?,
                    Share { key: options.limit_key.map(Into::into), weight: options.weight.unwrap_or(1) },
                ),
            }),
        })
    }
}

/// What most payloads need no more of: a growing buffer is copied each time.
const PAYLOAD_ROOM_BYTES: usize = 512;

/// A payload's bytes, or why there are none. A panic of the encoder is such a reason.
pub(crate) fn encode<J: Job>(job: &J) -> Result<Vec<u8>, String> {
    let encoded = catch_unwind(AssertUnwindSafe(|| job.encode().map_err(|error| error.to_string())));
    encoded.unwrap_or_else(|panic| Err(panic_text(panic.as_ref())))
}

pub(crate) fn at(time: SystemTime) -> When {
    When::At(not_before(time))
}

macro_rules! options {
    () => {
        /// Chooses the id: a second job with the same id, while the first is live or retained, is the same job.
        pub fn id(mut self, id: JobId) -> Self {
            self.options_mut().id = Some(id);
            self
        }

        /// Another queue than the kind's own.
        pub fn queue(mut self, queue: &str) -> Self {
            self.options_mut().queue = Some(queue.to_owned());
            self
        }

        /// How urgent it is: 0 first.
        pub fn priority(mut self, priority: Priority) -> Self {
            self.options_mut().priority = Some(priority);
            self
        }

        /// Not before this much time has passed, by a clock that nobody can set (while this process lives); up to 36,500
        /// days.
        pub fn delay(mut self, delay: Duration) -> Self {
            self.options_mut().due = Some(When::After(ms(delay)));
            self
        }

        /// Not before this time of the wall clock; a past time means now. Up to the year 9999.
        pub fn at(mut self, time: SystemTime) -> Self {
            self.options_mut().due = Some(at(time));
            self
        }

        /// From then on no attempt of it is started, the first or a retry: it expires instead. Up to 36,500 days.
        pub fn expires_in(mut self, time: Duration) -> Self {
            self.options_mut().expires = Some(When::After(ms(time)));
            self
        }

        /// From this time of the wall clock on no attempt of it is started, the first or a retry: it expires instead.
        pub fn expires_at(mut self, time: SystemTime) -> Self {
            self.options_mut().expires = Some(at(time));
            self
        }

        /// All its attempts and what lies between them may take so long from its acceptance, up to 36,500 days. Then it is over:
        /// nothing of it is started any more (it expires), an attempt that runs is asked to end, and a failure that could be
        /// retried only later is its last (it is dead). What succeeds all the same is done.
        pub fn deadline_in(mut self, time: Duration) -> Self {
            self.options_mut().deadline = Some(When::After(ms(time)));
            self
        }

        /// As [`deadline_in`](Self::deadline_in), at this time of the wall clock.
        pub fn deadline_at(mut self, time: SystemTime) -> Self {
            self.options_mut().deadline = Some(at(time));
            self
        }

        /// How long one attempt may run, instead of what the queue says: 1 ms to 36,500 days.
        pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
            self.options_mut().timeout = Some(timeout);
            self
        }

        /// Its own retry policy, instead of the queue's.
        pub fn retry(mut self, policy: RetryPolicy) -> Self {
            self.options_mut().retry = Some(policy);
            self
        }

        /// There is to be one job at a time with this key; `None`: with as many as come, whatever the kind says.
        pub fn unique(mut self, unique: impl Into<Option<Unique>>) -> Self {
            self.options_mut().unique = unique.into();
            self
        }

        /// The same key of the same kind within this time, 1 ms to 365 days, is the same job: the call gives its id, across
        /// restarts, also where that job has ended or is forgotten. Short for
        /// [`Unique::key(key).for_window(window)`](Unique::for_window).
        pub fn idempotency_key(self, key: &str, window: Duration) -> Self {
            self.unique(Unique::key(key).for_window(window))
        }

        /// Whose job it is (a customer, an account): jobs of one queue and priority with different keys take turns, and may have
        /// [limits of their own](crate::QueueConfig::per_key). 1 to 128 bytes. Jobs without one take a turn together, as if they had
        /// one key.
        pub fn limit_key(mut self, key: impl Into<String>) -> Self {
            self.options_mut().limit_key = Some(key.into());
            self
        }

        /// How many starts each of its starts counts for in every [rate](crate::RateLimit); 1 unless said, up to 1,000. One that
        /// counts for more than a burst goes once a burst is there, and what it takes beyond is owed.
        pub fn weight(mut self, starts: u32) -> Self {
            self.options_mut().weight = Some(starts);
            self
        }

        /// A word to find it by; up to 16, of 256 bytes each.
        pub fn tag(mut self, tag: &str) -> Self {
            self.options_mut().tags.push(tag.to_owned());
            self
        }

        /// The caller's own id of the story that the job is part of; 256 bytes at most. Its follow-ups have it, too, unless
        /// they bring one.
        pub fn correlation_id(mut self, id: &str) -> Self {
            self.options_mut().correlation_id = Some(id.to_owned());
            self
        }

        /// A W3C trace context to carry along: a `traceparent`, and behind a blank its `tracestate`, if there is one; 568 bytes at most. Its
        /// follow-ups have it, too, unless they bring one. One that is not well-formed is carried as it is, and
        /// [followed](crate::Propagation) by nothing.
        pub fn trace_context(mut self, context: &str) -> Self {
            self.options_mut().trace = Some(context.to_owned());
            self
        }
    };
}

pub(crate) use options;

impl Draft {
    options!();

    fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }
}

/// A job on its way in, with its options. Awaiting it enqueues it ([`blocking`](Self::blocking) does for code that is not
/// async): `Ok` means that the queue's durability is reached.
#[must_use = "a job is enqueued by awaiting, or by `blocking()`"]
#[derive(Debug)]
pub struct Enqueue<J> {
    pub(crate) engine: Engine,
    draft: Draft,
    job: PhantomData<fn() -> J>,
}

impl<J: Job> Enqueue<J> {
    options!();

    pub(crate) fn new(engine: Engine, job: &J) -> Self {
        Self { engine, draft: Draft::new(job), job: PhantomData }
    }

    fn options_mut(&mut self) -> &mut Options {
        &mut self.draft.options
    }

    /// Enqueues it and waits for its output. The wait is registered in the same step, so no end can slip through.
    ///
    /// # Errors
    /// [`WaitError`]: not accepted, or ended without success.
    pub async fn and_wait(self) -> Result<J::Output, WaitError> {
        self.engine.enqueue_and_wait::<J>(self.draft).await
    }
}

impl<J: Job> IntoFuture for Enqueue<J> {
    type Output = Result<JobHandle<J>, EnqueueError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { engine, draft, .. } = self;
        // Before the box: many may wait at the door, and a draft is larger than the job that it becomes.
        match draft.into_new_job(engine.door(), &mut Names::default()) {
            Err(error) => Box::pin(std::future::ready(Err(error))),
            Ok(job) => {
                let jobs = vec![job];
                Box::pin(async move {
                    let turn = engine.door().turn(&jobs, 0).await?;
                    let receipt = Box::pin(engine.submit_one(turn, jobs)).await?;
                    Ok(JobHandle::new(engine, receipt.id, receipt.fresh))
                })
            }
        }
    }
}
