//! Events: what happens to jobs, queues and flows, for whoever wants to hear it.
//!
//! Owns what a subscriber has in hand, and the choice of what it gets, which is made on its own task. Never keeps the engine waiting:
//! what a subscriber does not fetch in time is gone from the [`ring`], and it is told so.

mod filter;
mod no;
mod ring;
mod what;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::Stream;
use windlass_scheduler::flow::FlowId;
use windlass_scheduler::job::{JobId, Name};
use windlass_scheduler::news::News;
use windlass_scheduler::time::Timestamp;

pub use self::filter::EventFilter;
pub use self::no::{EventNo, Gap, NoEventNo};
pub(crate) use self::ring::Ring;
use self::ring::{Commit, Entry, Place, Taken};
pub use self::what::{EventKind, What};
use crate::engine::Engine;
use crate::messages::QueueMsg;

/// Events that a subscriber looks at in a row before others on its runtime have their turn.
const LOOKS_MAX: usize = 1_024;

/// Something that happened, and is remembered as safely as its queue promises. See [the guide](crate::guide::events).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    no: EventNo,
    at: Timestamp,
    job: Option<JobId>,
    kind: Option<Name>,
    queue: Option<Name>,
    flow: Option<FlowId>,
    attempt: u32,
    correlation_id: Option<Arc<str>>,
    what: What,
}

impl Event {
    fn new(no: EventNo, news: &News) -> Self {
        let News { what, at, job, kind, queue, flow, attempt, correlation_id } = news.clone();
        Self { no, at, job, kind, queue, flow, attempt, correlation_id, what: what.into() }
    }

    /// Where it stands among all events: what [`Events::after`] goes on from.
    #[must_use]
    pub const fn no(&self) -> EventNo {
        self.no
    }

    /// When it happened, by the engine's wall clock.
    #[must_use]
    pub fn at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.at.0)
    }

    /// What happened.
    #[must_use]
    pub const fn what(&self) -> &What {
        &self.what
    }

    /// The job that it happened to; `None`: it happened to a queue or a flow.
    #[must_use]
    pub const fn job(&self) -> Option<JobId> {
        self.job
    }

    /// The job's kind.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.kind.as_ref().map(Name::as_str)
    }

    /// The queue that it happened to, or the job's; `None`: it happened to a flow.
    #[must_use]
    pub fn queue(&self) -> Option<&str> {
        self.queue.as_ref().map(Name::as_str)
    }

    /// The flow that it happened to, or that the job is a step or in a batch of. A retained job does not know it any more.
    #[must_use]
    pub const fn flow(&self) -> Option<FlowId> {
        self.flow
    }

    /// The number of the attempt that it is about, or of the job's last one, from 1; 0: none has begun, or the job is a retained one.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The job's correlation id, where its labels were in memory: not while its payload is on disk only, nor of a retained job.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.correlation_id.as_deref()
    }
}

/// The events that a subscriber asked for, in the order in which they happened. Made by [`Engine::events`]; a
/// [`Stream`] as well.
///
/// Dropping it ends the subscription.
pub struct Events {
    ring: Arc<Ring>,
    /// By which the ring knows who is to be woken.
    subscriber: u64,
    filter: EventFilter,
    place: Place,
    /// Up to here it has seen everything.
    seen: Option<EventNo>,
    row: VecDeque<Entry>,
    /// Of this commit, the events from this place on.
    hand: Option<(Arc<Commit>, usize)>,
}

impl Events {
    /// Goes on after this event, of which an earlier subscription to this engine told, instead of with what happens from now on. What of it
    /// is not in memory any more, or happened in another process, is told as a [`Gap`] first.
    #[must_use]
    pub fn after(mut self, no: EventNo) -> Self {
        (self.place, self.seen) = (Place::After(no), Some(no));
        self
    }

    /// The next event; `Err`: some are missing, and the next call goes on after them. `None`: the engine has stopped, and all was told.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Event, Gap>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// How far it has come: up to here everything was told, or was not asked for. `None`: nothing has happened that it could have seen.
    /// A subscriber that few events are for keeps this instead of the last one's number, so that it has no gap for what it did not want.
    #[must_use]
    pub const fn position(&self) -> Option<EventNo> {
        self.seen
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, Gap>>> {
        let mut looks = 0;
        loop {
            while let Some((commit, place)) = &mut self.hand {
                let Some(news) = commit.news.get(*place) else {
                    self.hand = None;
                    break;
                };
                if looks == LOOKS_MAX {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                looks += 1;
                *place += 1;
                let no = commit.no_of(*place);
                self.seen = Some(no);
                if self.filter.wants(news) {
                    return Poll::Ready(Some(Ok(Event::new(no, news))));
                }
            }
            match self.row.pop_front() {
                Some(Entry::Commit(commit)) => {
                    let begun = self.seen.filter(|seen| seen.is_of(commit.no));
                    self.hand = Some((commit, begun.map_or(0, EventNo::place)));
                }
                Some(Entry::Gap(to)) => return self.misses(to),
                None => match self.ring.take(self.subscriber, &mut self.place, self.seen, &mut self.row, cx.waker()) {
                    Taken::Some => {}
                    Taken::Missed { from, to } => {
                        self.seen = Some(from);
                        return self.misses(to);
                    }
                    Taken::Nothing { seen } => {
                        self.seen = self.seen.or(seen);
                        return Poll::Pending;
                    }
                    Taken::Over => return Poll::Ready(None),
                },
            }
        }
    }

    fn misses(&mut self, to: EventNo) -> Poll<Option<Result<Event, Gap>>> {
        let from = self.seen.replace(to).unwrap_or(to);
        Poll::Ready(Some(Err(Gap { from, to })))
    }
}

impl Stream for Events {
    type Item = Result<Event, Gap>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.ring.leaves(self.subscriber);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { filter, seen, .. } = self;
        f.debug_struct("Events").field("filter", filter).field("position", seen).finish_non_exhaustive()
    }
}

impl Engine {
    /// Subscribes to what happens from now on: every event of whatever is called after this has returned, in the order in which it
    /// happens, each once it is as safe as its queue promises. Waits for nothing, and nothing waits for it: whoever is too slow gets a
    /// [`Gap`]. See [the guide](crate::guide::events).
    ///
    /// ```
    /// use windlass::{EventFilter, EventKind, What};
    ///
    /// # async fn example(engine: windlass::Engine) {
    /// let mut events = engine.events(EventFilter::new().queue("critical").what([EventKind::Failed, EventKind::Dead]));
    /// while let Some(event) = events.next().await {
    ///     match event {
    ///         Ok(event) => match event.what() {
    ///             What::Failed { failure, retry_in, .. } => println!("{:?} failed: {failure}, again in {retry_in:?}", event.job()),
    ///             other => println!("{:?}: {other:?}", event.job()),
    ///         },
    ///         Err(gap) => println!("{gap}"),
    ///     }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn events(&self, filter: EventFilter) -> Events {
        let ring = self.door().events.clone();
        let (is_first, subscriber, place, seen) = ring.joins();
        if is_first {
            // Where there is no core just now, the next one looks by itself.
            self.door().tell_queue(QueueMsg::Listen);
        }
        Events { ring, subscriber, filter, place, seen, row: VecDeque::new(), hand: None }
    }
}
