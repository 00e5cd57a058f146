//! The last events, in memory, commit by commit.
//!
//! Owns them, who waits for more, and what was pushed out. It is bounded in events and bytes, and by nothing else: who has not fetched what is
//! pushed out misses it. Its lock is held for moments and never while code of a subscriber's runs; the engine takes it once for all that a
//! mark lets go, and only if anybody has ever asked for events.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use windlass_scheduler::news::{News, Told};

use super::no::EventNo;
use crate::job::new_job_id;

/// A subscriber takes so many commits at a time, and no more than the first with which they are so many events: the lock is short, and what it
/// has in hand is bounded.
const TAKEN_COMMITS_MAX: usize = 64;
const TAKEN_EVENTS_MAX: usize = 1_024;

/// What happened in one step.
#[derive(Debug)]
pub(super) struct Commit {
    /// Of its last event.
    pub(super) no: EventNo,
    pub(super) news: Vec<News>,
    bytes: usize,
}

impl Commit {
    /// The number of its how-manieth event, from 1.
    pub(super) fn no_of(&self, place: usize) -> EventNo {
        self.no.with_place(place)
    }
}

/// What stands in the ring.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Commit(Arc<Commit>),
    /// Nobody knows what happened up to here.
    Gap(EventNo),
}

impl Entry {
    fn end(&self) -> EventNo {
        match self {
            Self::Commit(commit) => commit.no,
            Self::Gap(to) => *to,
        }
    }

    /// A gap takes room as well.
    fn weight(&self) -> (usize, usize) {
        match self {
            Self::Commit(commit) => (commit.news.len(), commit.bytes),
            Self::Gap(_) => (1, size_of::<Self>()),
        }
    }
}

/// Where a subscriber goes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// After this event.
    After(EventNo),
    /// With the entry of this number.
    Entry(u64),
}

/// What a subscriber got.
pub(super) enum Taken {
    /// It is in its row.
    Some,
    /// These are not there any more.
    Missed { from: EventNo, to: EventNo },
    /// There is no more just now: it is woken. It has seen everything up to here.
    Nothing { seen: Option<EventNo> },
    /// There never will be.
    Over,
}

/// The ring.
#[derive(Debug)]
pub(crate) struct Ring {
    state: Mutex<State>,
    /// Whether the core is to tell anything.
    is_wanted: AtomicBool,
    origin: u64,
    events_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    first: u64,
    /// All after this is here; `None`: nothing was told yet.
    floor: Option<EventNo>,
    /// Where it began.
    began: Option<EventNo>,
    events: usize,
    bytes: usize,
    wakers: BTreeMap<u64, Waker>,
    subscribers: u64,
    is_over: bool,
}

impl State {
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn last(&self) -> Option<EventNo> {
        self.entries.back().map(Entry::end).or(self.floor)
    }

    fn add(&mut self, entry: Entry) {
        let (events, bytes) = entry.weight();
        (self.events, self.bytes) = (self.events + events, self.bytes + bytes);
        self.entries.push_back(entry);
    }

    fn drop_first(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        let (events, bytes) = entry.weight();
        (self.events, self.bytes) = (self.events - events, self.bytes - bytes);
        self.floor = Some(entry.end());
        self.first += 1;
    }
}

impl Default for Ring {
    /// Of what has no engine behind it: nothing is ever told.
    fn default() -> Self {
        Self::new(0, 0, false)
    }
}

impl Ring {
    pub(crate) fn new(events_max: usize, bytes_max: usize, is_wanted: bool) -> Self {
        let (_, origin) = new_job_id().0.as_u64_pair();
        let (state, is_wanted) = (Mutex::default(), AtomicBool::new(is_wanted));
        Self { state, is_wanted, origin, events_max, bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the core is to tell anything, and how much of it may wait for the journal.
    pub(crate) fn wants(&self) -> Option<(usize, usize)> {
        self.is_wanted.load(Ordering::SeqCst).then_some((self.events_max, self.bytes_max))
    }

    /// A core of this term tells all that comes after this step. Of what happened since an earlier one told something last, nobody knows.
    pub(crate) fn begins(&self, term: u64, step: u64) {
        let no = EventNo::new(term, step + 1, 0, self.origin);
        let mut state = self.lock();
        if state.floor.is_none() {
            (state.floor, state.began) = (Some(no), Some(no));
        } else {
            state.add(Entry::Gap(no));
        }
        self.settle(state);
    }

    /// These have happened, in order.
    pub(crate) fn push(&self, term: u64, told: impl IntoIterator<Item = Told>) {
        let mut state = self.lock();
        for Told { step, news, is_after_gap } in told {
            let before = EventNo::new(term, step, 0, self.origin);
            if is_after_gap {
                state.add(Entry::Gap(before));
            }
            let bytes = news.iter().map(News::bytes).sum();
            state.add(Entry::Commit(Arc::new(Commit { no: before.with_place(news.len()), news, bytes })));
        }
        self.settle(state);
    }

    /// Nothing more will happen.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_over = true;
        self.settle(state);
    }

    fn settle(&self, mut state: MutexGuard<'_, State>) {
        while state.events > self.events_max || state.bytes > self.bytes_max {
            state.drop_first();
        }
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_values().for_each(Waker::wake);
    }

    /// Somebody subscribes, to what comes from now on. Tells whether the core has to be asked for it.
    pub(super) fn joins(&self) -> (bool, u64, Place, Option<EventNo>) {
        let is_first = !self.is_wanted.swap(true, Ordering::SeqCst);
        let mut state = self.lock();
        state.subscribers += 1;
        (is_first, state.subscribers, Place::Entry(state.end()), state.last())
    }

    pub(super) fn leaves(&self, subscriber: u64) {
        // The waker may run code when it is dropped.
        let waker = self.lock().wakers.remove(&subscriber);
        drop(waker);
    }

    /// Gives a subscriber what comes next, or wakes it when there is something.
    pub(super) fn take(
        &self,
        subscriber: u64,
        place: &mut Place,
        seen: Option<EventNo>,
        row: &mut VecDeque<Entry>,
        waker: &Waker,
    ) -> Taken {
        let state = self.lock();
        let (Some(floor), Some(began)) = (state.floor, state.began) else {
            return Self::wait(state, subscriber, waker);
        };
        let last = state.last().unwrap_or(floor);
        let next = match *place {
            Place::Entry(next) => next,
            Place::After(no) if !no.has_origin(self.origin) || no < floor => {
                *place = Place::Entry(state.first);
                return Taken::Missed { from: no, to: floor };
            }
            Place::After(no) if no > last => {
                *place = Place::Entry(state.end());
                return Taken::Missed { from: no, to: last };
            }
            Place::After(no) => state.first + state.entries.partition_point(|entry| entry.end() <= no) as u64,
        };
        if next < state.first {
            *place = Place::Entry(state.first);
            return Taken::Missed { from: seen.unwrap_or(began), to: floor };
        }
        let mut events = 0;
        let from = usize::try_from(next - state.first).unwrap_or(usize::MAX);
        for entry in state.entries.iter().skip(from).take(TAKEN_COMMITS_MAX) {
            row.push_back(entry.clone());
            events += entry.weight().0;
            if events >= TAKEN_EVENTS_MAX {
                break;
            }
        }
        *place = Place::Entry(next + row.len() as u64);
        if row.is_empty() { Self::wait(state, subscriber, waker) } else { Taken::Some }
    }

    fn wait(mut state: MutexGuard<'_, State>, subscriber: u64, waker: &Waker) -> Taken {
        if state.is_over {
            return Taken::Over;
        }
        let before = state.wakers.insert(subscriber, waker.clone());
        let seen = state.last();
        drop(state);
        drop(before);
        Taken::Nothing { seen }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use futures_util::task::noop_waker_ref;
    use windlass_scheduler::news::NewsOf;
    use windlass_scheduler::time::Timestamp;

    use super::super::{EventFilter, Events, Gap};
    use super::*;

    fn news() -> News {
        let (what, at) = (NewsOf::Paused, Timestamp(0));
        News { what, at, job: None, kind: None, queue: None, flow: None, attempt: 0, correlation_id: None }
    }

    fn told(step: u64, events: usize) -> Told {
        Told { step, news: vec![news(); events], is_after_gap: false }
    }

    fn subscribe(ring: &Arc<Ring>) -> Events {
        let (_, subscriber, place, seen) = ring.joins();
        Events {
            ring: ring.clone(),
            subscriber,
            filter: EventFilter::new(),
            place,
            seen,
            row: VecDeque::new(),
            hand: None,
        }
    }

    /// Step and place of an event, or the same of where a gap ends.
    type Next = Result<(u64, usize), (u64, usize)>;

    fn next(events: &mut Events) -> Poll<Option<Next>> {
        let of = |no: EventNo| (no.step(), no.place());
        let next = events.poll(&mut Context::from_waker(noop_waker_ref()));
        next.map(|next| next.map(|next| next.map(|event| of(event.no())).map_err(|gap: Gap| of(gap.to))))
    }

    fn all(events: &mut Events) -> Vec<Next> {
        std::iter::from_fn(|| match next(events) {
            Poll::Ready(Some(next)) => Some(next),
            _ => None,
        })
        .collect()
    }

    #[test]
    fn whole_commits_are_pushed_out_and_nothing_is_left_of_one() {
        let ring = Arc::new(Ring::new(5, usize::MAX, true));
        ring.begins(1, 0);
        let mut slow = subscribe(&ring);
        ring.push(1, [told(1, 3), told(2, 2)]);
        assert_eq!(ring.lock().events, 5);
        ring.push(1, [told(4, 1)]);
        assert_eq!(ring.lock().events, 3, "all three of the first step went for one");
        assert_eq!(all(&mut slow), [Err((1, 3)), Ok((2, 1)), Ok((2, 2)), Ok((4, 1))]);
        // One that is larger than all of the ring.
        ring.push(1, [told(5, 6), told(6, 1)]);
        assert_eq!(all(&mut slow), [Err((5, 6)), Ok((6, 1))]);
        let state = ring.lock();
        assert_eq!((state.events, state.bytes), (1, news().bytes()));
    }

    #[test]
    fn bytes_are_bounded_as_events_are() {
        let ring = Arc::new(Ring::new(usize::MAX, 3 * news().bytes(), true));
        ring.begins(1, 0);
        ring.push(1, (1..=10).map(|step| told(step, 1)));
        assert_eq!(ring.lock().bytes, 3 * news().bytes());
        let mut late = subscribe(&ring).after(EventNo::new(1, 1, 0, ring.origin));
        assert_eq!(all(&mut late), [Err((7, 1)), Ok((8, 1)), Ok((9, 1)), Ok((10, 1))]);
    }

    #[test]
    fn whoever_goes_on_in_the_middle_of_a_commit_gets_the_rest_of_it() {
        let ring = Arc::new(Ring::new(100, usize::MAX, true));
        ring.begins(1, 0);
        ring.push(1, [told(1, 2), told(2, 3), told(3, 1)]);
        let whole = [Ok((1, 1)), Ok((1, 2)), Ok((2, 1)), Ok((2, 2)), Ok((2, 3)), Ok((3, 1))];
        let mut first = subscribe(&ring).after(EventNo::new(1, 1, 0, ring.origin));
        let numbers: Vec<_> = std::iter::once(first.position().unwrap())
            .chain(std::iter::from_fn(|| {
                let is_one = next(&mut first).is_ready();
                is_one.then(|| first.position().unwrap())
            }))
            .collect();
        assert_eq!(numbers.len(), 7);
        for (seen, no) in numbers.into_iter().enumerate() {
            assert_eq!(all(&mut subscribe(&ring).after(no)), whole[seen..], "after {no}");
        }
    }

    #[test]
    fn a_number_of_another_process_or_of_the_future_is_a_gap() {
        let ring = Arc::new(Ring::new(100, usize::MAX, true));
        ring.begins(1, 0);
        ring.push(1, [told(1, 1), told(2, 1)]);
        let stranger = EventNo::new(1, 1, 1, ring.origin ^ 1);
        assert_eq!(all(&mut subscribe(&ring).after(stranger)), [Err((1, 0)), Ok((1, 1)), Ok((2, 1))]);
        let future = EventNo::new(1, 9, 1, ring.origin);
        let mut events = subscribe(&ring).after(future);
        assert_eq!(all(&mut events), [Err((2, 1))]);
        ring.push(1, [told(3, 1)]);
        assert_eq!(all(&mut events), [Ok((3, 1))]);
    }

    #[test]
    fn a_new_core_and_what_nobody_kept_are_gaps_in_their_place() {
        let ring = Arc::new(Ring::new(100, usize::MAX, true));
        ring.begins(1, 0);
        ring.push(1, [told(1, 1)]);
        ring.begins(2, 0);
        ring.push(2, [told(1, 1), Told { is_after_gap: true, ..told(8, 1) }]);
        let mut events = subscribe(&ring).after(EventNo::new(1, 1, 1, ring.origin));
        assert_eq!(all(&mut events), [Err((1, 0)), Ok((1, 1)), Err((8, 0)), Ok((8, 1))]);
    }

    #[test]
    fn whoever_subscribes_before_the_core_tells_anything_misses_nothing() {
        let ring = Arc::new(Ring::new(2, usize::MAX, false));
        let (mut early, mut slow) = (subscribe(&ring), subscribe(&ring));
        assert!(ring.wants().is_some());
        assert!(next(&mut early).is_pending() && early.position().is_none());
        ring.begins(1, 6);
        ring.push(1, [told(7, 1), told(8, 1)]);
        assert_eq!(all(&mut early), [Ok((7, 1)), Ok((8, 1))]);
        ring.push(1, [told(9, 1)]);
        let Poll::Ready(Some(Err(gap))) = slow.poll(&mut Context::from_waker(noop_waker_ref())) else { panic!() };
        assert_eq!((gap.from.step(), gap.from.place(), gap.to.step()), (7, 0, 7), "from where it all began");
    }

    #[test]
    fn who_waits_is_woken_and_who_left_is_forgotten() {
        let ring = Arc::new(Ring::new(100, usize::MAX, true));
        ring.begins(1, 0);
        let (mut events, mut other) = (subscribe(&ring), subscribe(&ring));
        assert!(next(&mut events).is_pending() && next(&mut other).is_pending());
        assert_eq!(ring.lock().wakers.len(), 2);
        drop(other);
        assert_eq!(ring.lock().wakers.len(), 1);
        ring.push(1, [told(1, 1)]);
        assert!(ring.lock().wakers.is_empty());
        ring.close();
        assert_eq!(next(&mut events), Poll::Ready(Some(Ok((1, 1)))), "what was told before the end");
        assert_eq!(next(&mut events), Poll::Ready(None));
        assert_eq!(next(&mut events), Poll::Ready(None));
    }

    #[test]
    fn what_a_subscriber_has_in_hand_is_bounded() {
        let ring = Arc::new(Ring::new(usize::MAX, usize::MAX, true));
        ring.begins(1, 0);
        let mut events = subscribe(&ring);
        ring.push(1, (1..=1_000).map(|step| told(step, 100)));
        assert!(next(&mut events).is_ready());
        assert_eq!(events.row.len(), TAKEN_EVENTS_MAX.div_ceil(100) - 1);
        let mut events = subscribe(&ring);
        ring.push(1, (1_001..=2_000).map(|step| told(step, 1)));
        assert!(next(&mut events).is_ready());
        assert_eq!(events.row.len(), TAKEN_COMMITS_MAX - 1);
    }
}
