//! What a job is before it has a place: its names, its body, and what its caller asked for.
//!
//! Owns the words that every other module uses for a job. Never looks into a payload: payloads are bytes here.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use uuid::Uuid;

use crate::batch::MemberOf;
use crate::flow::StepOf;
use crate::limit::Share;
use crate::retry::RetryPolicy;
use crate::time::{Now, Timestamp};
use crate::unique::Unique;

/// The identity of a job. Chosen by the caller or made by the engine (UUID v7); it carries no machine state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub Uuid);

impl JobId {
    /// An id of the caller's own, in constants too.
    #[must_use]
    pub const fn from_u128(id: u128) -> Self {
        Self(Uuid::from_u128(id))
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl core::str::FromStr for JobId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// A name that many jobs share: of a queue, or of a kind. Cloning is one reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl core::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Name {
    /// The longest name in bytes: it stands in keys on disk, and a longer one is a mistake.
    pub const BYTES_MAX: usize = 128;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this text may be a name: 1 to [`Self::BYTES_MAX`] bytes of ASCII letters, digits, `-`, `_`, `.`, `:` or
    /// `/`.
    #[must_use]
    pub fn is_valid(text: &str) -> bool {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'/');
        (1..=Self::BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Names for one purpose (a call, a wave), each with a count of its own.
///
/// A name that all jobs share is counted in one place, which the cores would take from one another for every job, several
/// times. Of these only those are counted together that are made together, and go the same way.
#[derive(Debug, Default)]
pub struct Names(Vec<Name>);

impl Names {
    /// So many different ones are remembered; further ones are made anew each time.
    const REMEMBERED_MAX: usize = 16;

    /// The name of this text.
    pub fn get(&mut self, text: &str) -> Name {
        if let Some(known) = self.0.iter().find(|name| name.as_str() == text) {
            return known.clone();
        }
        let name = Name::from(text);
        if self.0.len() < Self::REMEMBERED_MAX {
            self.0.push(name.clone());
        }
        name
    }
}

/// How urgent a job is: 0 is the most urgent, 255 the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub u8);

impl Priority {
    /// Before everything else.
    pub const URGENT: Self = Self(0);
    /// Sooner than most.
    pub const HIGH: Self = Self(64);
    /// Where nothing else is said.
    pub const NORMAL: Self = Self(128);
    /// When nothing better is to be done.
    pub const LOW: Self = Self(192);
}

impl Default for Priority {
    fn default() -> Self {
        Self::NORMAL
    }
}

/// The part of a job that its attempts never change. Shared between memory, the journal and the handler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The payload as the caller encoded it.
    pub payload: Bytes,
    /// The payload's schema version, as the job's type stated it.
    pub version: u32,
    /// What it is found by, and what it is part of.
    pub labels: Labels,
}

/// Words about a job that the engine carries. Most jobs have none, and then they take no more than a pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Option<Box<Words>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Words {
    tags: Vec<String>,
    correlation_id: Option<String>,
    trace: Option<String>,
    unique: Option<Unique>,
    share: Share,
    step: Option<StepOf>,
    member: Option<MemberOf>,
    instant: Option<InstantOf>,
}

/// The instant of a schedule that a job is there for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstantOf {
    /// The schedule's name.
    pub schedule: Name,
    /// The instant; for a job that somebody asked for beside them, when that was.
    pub at: Timestamp,
}

impl Labels {
    /// See the methods of the same names.
    #[must_use]
    pub fn new(
        tags: Vec<String>,
        correlation_id: Option<String>,
        trace: Option<String>,
        unique: Option<Unique>,
        share: Share,
    ) -> Self {
        let are_none =
            tags.is_empty() && correlation_id.is_none() && trace.is_none() && unique.is_none() && share == Share::NONE;
        let words = || Box::new(Words { tags, correlation_id, trace, unique, share, ..Words::default() });
        Self((!are_none).then(words))
    }

    /// These, of a job that is this step, or none.
    #[must_use]
    pub fn of_step(self, step: Option<StepOf>) -> Self {
        self.with(|words| words.step = step)
    }

    /// These, of a job that has this place in a batch, or none.
    #[must_use]
    pub fn of_batch(self, member: Option<MemberOf>) -> Self {
        self.with(|words| words.member = member)
    }

    /// These, of a job that is there for this instant, or for none.
    #[must_use]
    pub fn of_instant(self, instant: Option<InstantOf>) -> Self {
        self.with(|words| words.instant = instant)
    }

    fn with(self, change: impl FnOnce(&mut Words)) -> Self {
        let mut words = self.0.unwrap_or_default();
        change(&mut words);
        Self((*words != Words::default()).then_some(words))
    }

    /// No more than words to find a job by.
    #[must_use]
    pub fn tagged(tags: Vec<String>) -> Self {
        Self::new(tags, None, None, None, Share::NONE)
    }

    /// Words to find the job by.
    #[must_use]
    pub fn tags(&self) -> &[String] {
        self.0.as_ref().map_or(&[], |words| &words.tags)
    }

    /// The caller's own id for the story that this job is part of.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.0.as_ref()?.correlation_id.as_deref()
    }

    /// A W3C trace context, carried and never read.
    #[must_use]
    pub fn trace(&self) -> Option<&str> {
        self.0.as_ref()?.trace.as_deref()
    }

    /// The key under which there is to be one job at a time.
    #[must_use]
    pub fn unique(&self) -> Option<&Unique> {
        self.0.as_ref()?.unique.as_ref()
    }

    /// What it says about limits.
    #[must_use]
    pub fn share(&self) -> &Share {
        static NONE: Share = Share::NONE;
        self.0.as_ref().map_or(&NONE, |words| &words.share)
    }

    /// The step of a flow that the job is.
    #[must_use]
    pub fn step(&self) -> Option<StepOf> {
        self.0.as_ref()?.step
    }

    /// The place that the job has in a batch.
    #[must_use]
    pub fn member(&self) -> Option<MemberOf> {
        self.0.as_ref()?.member
    }

    /// The instant of a schedule that the job is there for.
    #[must_use]
    pub fn instant(&self) -> Option<&InstantOf> {
        self.0.as_ref()?.instant.as_ref()
    }

    /// Bytes of all of them that a caller chose.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let text = |text: Option<&str>| text.map_or(0, str::len);
        let tags: usize = self.tags().iter().map(String::len).sum();
        let key = self.unique().map_or(0, |unique| unique.key.bytes()) + text(self.share().key.as_deref());
        tags + text(self.correlation_id()) + text(self.trace()) + key
    }
}

impl Body {
    /// Bytes that this body takes on disk and in memory, within a few.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.payload.len() + self.labels.bytes()
    }
}

/// A moment as a caller says it: after a time (kept by the monotonic clock while the process lives) or at a wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// This many milliseconds from now.
    After(u64),
    /// At this moment of the wall clock.
    At(Timestamp),
}

impl When {
    /// Whether this is a moment to come.
    #[must_use]
    pub const fn is_later(self, now: Now) -> bool {
        match self {
            Self::After(ms) => ms > 0,
            Self::At(at) => at.0 > now.wall.0,
        }
    }
}

/// A job as it is handed in, with everything its caller chose. What is `None` is the queue's to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// Its id; a second job with the same id is the same job.
    pub id: JobId,
    /// The queue that it goes to.
    pub queue: Name,
    /// The handler that it is for.
    pub kind: Name,
    /// How urgent it is.
    pub priority: Option<Priority>,
    /// Not before then; at once where `None`.
    pub due: Option<When>,
    /// Not started from then on: it expires instead.
    pub expires: Option<When>,
    /// Over from then on, all attempts and their delays together.
    pub deadline: Option<When>,
    /// How long one attempt may run, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Its own retry policy.
    pub retry: Option<RetryPolicy>,
    /// Payload and labels.
    pub body: Arc<Body>,
}

impl NewJob {
    /// Bytes of the bodies of these jobs.
    #[must_use]
    pub fn bytes_of(jobs: &[Self]) -> usize {
        jobs.iter().map(|job| job.body.bytes()).sum()
    }
}
