//! Keys: who gets one, what becomes of a job whose key is taken, and who has it next.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::keys::Keys;
use super::super::state::{Live, Queue, Spot, State};
use super::Decision;
use crate::bug;
use crate::command::QueueNo;
use crate::event::{Event, Turn};
use crate::job::{Body, JobId, Name, NewJob, When};
use crate::refusal::Refusal;
use crate::time::{Now, Timestamp};
use crate::unique::{Held, OnConflict, Unique, UniqueKey, Until};

/// Most keys whose windows one step ends: the rest is due again at once.
const PER_STEP_MAX: usize = 1_000;

/// The keys of the jobs of one call: what they will be when those before have been accepted.
pub(crate) struct Meeting<'a> {
    state: &'a State,
    /// Those that this call has to do with, of the journal's queues and of the volatile ones.
    met: [BTreeMap<Arc<UniqueKey>, Standing>; 2],
    fresh: usize,
}

/// How it stands with a key.
#[derive(Clone)]
struct Standing {
    kind: Name,
    queue: QueueNo,
    holder: Who,
    next: Option<Who>,
}

/// A job: known to the state, or of this call (and by which of its events).
#[derive(Clone, Copy)]
enum Who {
    Known(JobId),
    New { id: JobId, event: usize, queue: QueueNo },
}

impl Who {
    const fn id(self) -> JobId {
        match self {
            Self::Known(id) | Self::New { id, .. } => id,
        }
    }
}

/// What becomes of a job that comes with a key, or without one.
pub(crate) enum Met {
    /// It comes in.
    Accepted(QueueNo, Turn),
    /// It does not: this one, of that queue, stands for it.
    Same(JobId, QueueNo),
}

impl<'a> Meeting<'a> {
    pub(crate) const fn new(state: &'a State) -> Self {
        Self { state, met: [BTreeMap::new(), BTreeMap::new()], fresh: 0 }
    }

    /// Decides on a job that would come into this queue. `events`: of the call so far; the job's own is the next one.
    pub(crate) fn meet(
        &mut self,
        job: &NewJob,
        queue: QueueNo,
        now: Now,
        arrival: &mut i64,
        events: &mut Vec<Event>,
    ) -> Result<Met, Refusal> {
        let Some(unique) = job.body.labels.unique() else { return Ok(Met::Accepted(queue, Turn::Free)) };
        let store = Keys::store(self.state.queue(queue).level());
        let me = Who::New { id: job.id, event: events.len(), queue };
        let Some((key, mut standing)) = self.standing(store, &unique.key) else {
            return self.take(store, unique, job.kind.clone(), me);
        };
        if standing.kind != job.kind {
            let key = (*key).clone();
            return Err(Refusal::KeyTaken { key, id: standing.holder.id(), kind: standing.kind });
        }
        let same = match unique.on_conflict {
            OnConflict::Existing => standing.holder,
            OnConflict::Replace { within_ms } if self.has_not_begun(store, standing.holder, &key) => {
                self.replace(standing.holder, (job, within_ms), now, arrival, events)?;
                standing.holder
            }
            OnConflict::Replace { .. } | OnConflict::KeepLast => {
                let Some(next) = standing.next else {
                    standing.next = Some(me);
                    self.met[store].insert(key.clone(), standing);
                    return Ok(Met::Accepted(queue, Turn::Waits(key, unique.until)));
                };
                self.replace(next, (job, None), now, arrival, events)?;
                next
            }
        };
        let queue = match same {
            Who::Known(id) => self.state.live_with(store, id, &key).map_or(standing.queue, |(_, live)| live.queue),
            Who::New { queue, .. } => queue,
        };
        Ok(Met::Same(same.id(), queue))
    }

    fn standing(&self, store: usize, key: &Arc<UniqueKey>) -> Option<(Arc<UniqueKey>, Standing)> {
        if let Some((key, standing)) = self.met[store].get_key_value(key) {
            return Some((key.clone(), standing.clone()));
        }
        let held = self.state.keys[store].by_key.get(key).filter(|_| !bug!(KeyUnchecked))?;
        let standing = Standing {
            kind: held.kind.clone(),
            queue: self.state.queue_no(&held.queue)?,
            holder: Who::Known(held.holder),
            next: held.next.map(|(id, _)| Who::Known(id)),
        };
        Some((held.key.clone(), standing))
    }

    fn take(&mut self, store: usize, unique: &Unique, kind: Name, me: Who) -> Result<Met, Refusal> {
        check_room(self.state, self.fresh)?;
        self.fresh += 1;
        let Who::New { queue, .. } = me else { unreachable!("whoever takes a key is new") };
        self.met[store].insert(unique.key.clone(), Standing { kind, queue, holder: me, next: None });
        Ok(Met::Accepted(queue, Turn::Holds(unique.key.clone(), unique.until)))
    }

    fn has_not_begun(&self, store: usize, who: Who, key: &Arc<UniqueKey>) -> bool {
        match who {
            Who::New { .. } => true,
            Who::Known(id) => self.state.live_with(store, id, key).is_some_and(|(_, live)| live.spot != Spot::Running),
        }
    }

    /// The new job's payload, labels and times become those of one that has not begun.
    fn replace(
        &self,
        who: Who,
        (job, within_ms): (&NewJob, Option<u64>),
        now: Now,
        arrival: &mut i64,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        let known = if let Who::Known(id) = who { self.state.live(id) } else { None };
        let (queue, created) = match (who, known) {
            (_, Some((_, live))) => (live.queue, live.created),
            (Who::New { queue, .. }, None) => (queue, now.wall),
            (Who::Known(id), None) => unreachable!("job {id} waits and is not there"),
        };
        let settings = &self.state.queue(queue).settings;
        let (bytes, bytes_max) = (job.body.bytes(), settings.payload_bytes_max);
        if bytes > bytes_max {
            return Err(Refusal::PayloadTooLarge { queue: settings.name.clone(), bytes, bytes_max });
        }
        let due = job.due.map(|due| within_ms.map_or(due, |ms| not_after(due, created.plus_ms(ms), now.wall)));
        let new = NewJob { due, ..job.clone() };
        match (who, known) {
            (_, Some((slot, _))) => {
                events.push(Event::Replaced { slot, job: Box::new(new), arrival: *arrival, now });
                *arrival += 1;
            }
            (Who::New { event, .. }, None) => {
                let Some(Event::Enqueued { job, arrival: place, turn, .. }) = events.get_mut(event) else {
                    unreachable!("the event of a job is its own")
                };
                let usual = settings.priority;
                let was_in_line = matches!(turn, Turn::Holds(..))
                    && !job.due.is_some_and(|due| due.is_later(now))
                    && self.state.kind_names.get(&job.kind).is_some_and(|kind| self.state.can_run(queue, *kind));
                let priority = new.priority.or(job.priority);
                let is_as_urgent = priority.unwrap_or(usual) == job.priority.unwrap_or(usual);
                let keeps_key = job.body.labels.share().key == new.body.labels.share().key;
                // As one that came with an earlier call: whoever is not in line, or not at that place, joins it anew.
                if !(was_in_line && is_as_urgent && keeps_key && !new.due.is_some_and(|due| due.is_later(now))) {
                    *place = core::mem::replace(arrival, *arrival + 1);
                }
                (job.body, job.due, job.expires, job.priority) = (new.body, new.due, new.expires, priority);
                job.deadline = new.deadline;
            }
            (Who::Known(_), None) => {}
        }
        Ok(())
    }
}

/// Whether one more key than these may be taken.
fn check_room(state: &State, fresh: usize) -> Result<(), Refusal> {
    let keys_max = state.settings.unique_keys_max;
    let taken: usize = state.keys.iter().map(|keys| keys.by_key.len()).sum();
    if taken + fresh < keys_max { Ok(()) } else { Err(Refusal::TooManyKeys { keys_max }) }
}

fn not_after(due: When, last: Timestamp, now: Timestamp) -> When {
    match due {
        When::After(ms) => When::After(ms.min(last.since_ms(now))),
        When::At(at) => When::At(at.min(last)),
    }
}

/// Whether the key is still its holder's.
fn holds(state: &State, store: usize, held: &Held, now: Timestamp) -> bool {
    let holder = state.live_with(store, held.holder, &held.key);
    match held.until {
        Until::Window { .. } => held.is_within(now),
        Until::Done => holder.is_some(),
        Until::Started => holder.is_some_and(|(_, live)| live.spot != Spot::Running),
    }
}

/// A job begins, ends or is called off: its key may be free then.
pub(crate) fn let_go(state: &State, live: &Live, now: Now, decision: &mut Decision) {
    if let Some(key) = live.more().key.as_ref().filter(|_| !bug!(KeyLeaked)) {
        decision.keys.push((state.store_of(live), key.clone(), now));
    }
}

/// Something happened to the holder of a key, to whoever waits for it, or to the clock: whoever is next has it now, if it is free.
pub(crate) fn settle(state: &State, store: usize, key: &Arc<UniqueKey>, now: Now) -> Decision {
    let decision = Decision::default();
    let Some(held) = state.keys[store].by_key.get(key) else { return decision };
    let next = held.next.and_then(|(id, _)| state.live_with(store, id, key)).map(|(slot, _)| slot);
    if !holds(state, store, held, now.wall) {
        let (key, arrival) = (key.clone(), state.next_arrival);
        return decision.event(Event::KeyMoved { store, key, to: next, arrival, now });
    }
    if held.next.is_some() && next.is_none() {
        return decision.event(Event::KeyUnwaited { store, key: key.clone() });
    }
    decision
}

/// When the first window of a key of this queue is over.
pub(crate) fn next(queue: &Queue) -> Option<Timestamp> {
    queue.windows.first().map(|(ends, _)| *ends)
}

/// Windows of this queue's keys are over.
pub(crate) fn windows_over(queue: &Queue, now: Now, decision: &mut Decision) {
    let over = queue.windows.iter().take_while(|(ends, _)| *ends <= now.wall).take(PER_STEP_MAX);
    let store = Keys::store(queue.level());
    decision.keys.extend(over.map(|(_, key)| (store, key.clone(), now)));
}

/// The clock jumped, or the process is new: no window stands that was taken by a clock far ahead, and no key without its holder.
pub(crate) fn all(state: &State, now: Now) -> Decision {
    let mut decision = Decision::default();
    for (store, keys) in state.keys.iter().enumerate() {
        let free = keys.by_key.values().filter(|held| !holds(state, store, held, now.wall) || held.next.is_some());
        decision.keys.extend(free.map(|held| (store, held.key.clone(), now)));
    }
    decision
}

/// The key with which a retained job comes back, if it is free.
pub(crate) fn comes_back(state: &State, body: &Body, queue: QueueNo) -> Result<Turn, Refusal> {
    // A window began with the acceptance, and does not begin anew.
    let unique = body.labels.unique().filter(|unique| !matches!(unique.until, Until::Window { .. }));
    let Some(Unique { key, until, .. }) = unique else { return Ok(Turn::Free) };
    match state.keys[Keys::store(state.queue(queue).level())].by_key.get(key) {
        Some(held) => Err(Refusal::KeyTaken { key: (**key).clone(), id: held.holder, kind: held.kind.clone() }),
        None => check_room(state, 0).map(|()| Turn::Holds(key.clone(), *until)),
    }
}
