//! What the bodies of live jobs take in memory, and how far the looks at them have come.
//!
//! Owns the counts and the audit of them. A body that is on disk only changes nothing for its job but that its lease goes
//! out without it: which bodies are in memory is soft, and no decision about a job rests on it. Never reads: the driver does.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use foldhash::fast::FixedState;

use super::Shard;
use super::decide::page::is_volatile;
use super::ended::Stub;
use super::flows::Flow;
use super::limits::KeyLimiters;
use super::slab::Slot;
use super::state::{Live, Map, More, Queue, Spot, State};
use crate::job::{Body, JobId, Priority};
use crate::settings::Level;
use crate::view::MemoryUse;

/// What an entry of a timer takes in its tree.
const TIMER_BYTES: usize = 40;
/// What the heap takes beside each of the two pieces that a body has there.
const HEAP_BYTES: u64 = 32;

/// What holding a body of so many bytes takes: the bytes, and what they hang on.
pub(crate) const fn cost(body_bytes: u32) -> u64 {
    body_bytes as u64 + (size_of::<Body>() + 2 * size_of::<usize>()) as u64 + HEAP_BYTES
}

/// The counts.
#[derive(Debug)]
pub(crate) struct Pages {
    /// Bodies in memory.
    pub(crate) held: u64,
    /// By [`cost`].
    pub(crate) held_bytes: u64,
    /// Live jobs whose bodies are on disk only.
    pub(crate) out: u64,
    pub(crate) out_bytes: u64,
    /// Live jobs that have more than others.
    mores: u64,
    /// Of which of them the disk was asked for, and by which question: another answer is about an earlier job with that id.
    pub(crate) asked: Map<JobId, u64>,
    /// Bytes of what attempts of queues at level `Memory` left for the next ones.
    checkpoints: Map<JobId, u32>,
    checkpoints_bytes: u64,
}

impl Pages {
    pub(crate) fn new(hash: FixedState) -> Self {
        let (asked, checkpoints) = (Map::with_hasher(hash.clone()), Map::with_hasher(hash));
        Self { held: 0, held_bytes: 0, out: 0, out_bytes: 0, mores: 0, asked, checkpoints, checkpoints_bytes: 0 }
    }

    /// A checkpoint in memory comes, in place of the one before, or goes.
    pub(crate) fn set_checkpoint(&mut self, id: JobId, bytes: Option<u32>) {
        let before = match bytes {
            Some(bytes) => self.checkpoints.insert(id, bytes),
            None => self.checkpoints.remove(&id),
        };
        self.checkpoints_bytes += bytes.map_or(0, cost);
        self.checkpoints_bytes -= before.map_or(0, cost);
    }

    /// What only some jobs have, to be changed: it is made where the job has none.
    pub(crate) fn more_of<'a>(&mut self, live: &'a mut Live) -> &'a mut More {
        self.mores += u64::from(live.more.is_none());
        live.more.get_or_insert_with(|| Box::new(More::NONE))
    }

    pub(crate) fn add(&mut self, live: &Live) {
        self.mores += u64::from(live.more.is_some());
        if live.body.is_some() {
            self.held += 1;
            self.held_bytes += cost(live.body_bytes);
        } else {
            self.out += 1;
            self.out_bytes += u64::from(live.body_bytes);
        }
    }

    pub(crate) fn subtract(&mut self, live: &Live) {
        self.mores -= u64::from(live.more.is_some());
        if live.body.is_some() {
            self.held -= 1;
            self.held_bytes -= cost(live.body_bytes);
        } else {
            self.out -= 1;
            self.out_bytes -= u64::from(live.body_bytes);
        }
    }
}

/// How far ahead of a lane's front was looked: what is up to there is wanted in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    /// The last job that was looked at in each strand, by its arrival.
    pub(crate) until: BTreeMap<Slot, i64>,
    /// Everything more urgent than this comes sooner.
    pub(crate) last: Option<Priority>,
    /// Once so many jobs have left the lane, it is time to look again.
    pub(crate) again_at: u64,
    /// The look ended with the lane, when so many had joined it.
    pub(crate) saw_all: Option<u64>,
}

/// Where the looks stand. All of it may be lost.
#[derive(Debug, Default)]
pub(crate) struct Pager {
    /// By queue and lane.
    pub(crate) reach: Vec<Vec<Reach>>,
    /// The place that was looked at last on the way down through all jobs; `None`: begin at the last place.
    pub(crate) hand: Option<Slot>,
}

impl Pager {
    /// Whether it is among the next of its lane.
    pub(crate) fn is_near(&self, state: &State, live: &Live) -> bool {
        let lane = state.lane_of(live);
        let reach = self.reach.get(live.queue.0 as usize).and_then(|lanes| lanes.get(lane));
        let Some(reach) = reach.filter(|_| live.spot == Spot::Line) else { return false };
        let strand = state.lines.strand(live.tenant, lane, live.priority);
        match strand.and_then(|strand| reach.until.get(&strand)) {
            Some(until) => live.arrival <= *until,
            None => reach.last.is_some_and(|last| live.priority < last),
        }
    }
}

impl State {
    /// What is in memory, by counts: within a tenth of what the heap says where jobs are many.
    pub(crate) fn memory(&self) -> MemoryUse {
        let timers = |queue: &Queue| {
            queue.delay.len() + queue.at.len() + queue.expiry.len() + queue.leases.len() + queue.elders.len()
        };
        let timers = self.queues.iter().map(timers).sum::<usize>() * TIMER_BYTES;
        let mores = self.pages.mores as usize * size_of::<More>() + self.running.allocation_size();
        let keys = self.keys.iter().map(|keys| keys.bytes).sum::<usize>()
            + self.lines.bytes()
            + self.limits.keys.len() * KeyLimiters::BYTES
            + self.flows.bytes
            + self.flows.all.places() * size_of::<Option<Flow>>();
        let heads = self.jobs.places() * size_of::<Option<Live>>() + self.index.bytes();
        let stubs = self.stubs.places() * size_of::<Option<Stub>>();
        MemoryUse {
            bytes_max: self.settings.memory_bytes_max,
            jobs: self.jobs.len() as u64,
            heads_bytes: (heads + timers + mores + keys) as u64,
            retained: self.stubs.len() as u64,
            stubs_bytes: stubs as u64,
            volatile_bytes: self.volatile_bytes(),
            bodies: self.pages.held,
            bodies_bytes: self.pages.held_bytes,
            paged_out: self.pages.out,
            paged_out_bytes: self.pages.out_bytes,
        }
    }
}

impl State {
    /// What queues at level `Memory` keep beside live jobs: the retained ones' payloads, outputs and errors, and checkpoints.
    fn volatile_bytes(&self) -> u64 {
        let volatile = self.queues.iter().filter(|queue| queue.level() == Level::Memory);
        let kept = volatile.flat_map(|queue| &queue.ended).map(|list| list.bytes + list.count * HEAP_BYTES);
        kept.sum::<u64>() + self.pages.checkpoints_bytes
    }
}

impl Shard {
    /// Live jobs whose bodies are on disk only, for tests.
    pub fn paged_out(&self) -> impl Iterator<Item = JobId> {
        self.state.jobs.iter().filter(|(_, live)| live.body.is_none()).map(|(_, live)| live.id)
    }
}

/// Counts again, and checks that nothing left memory that nobody else has.
pub(crate) fn audit(state: &State) -> Result<(), String> {
    let mut recount = Pages::new(FixedState::with_seed(0));
    for (_, live) in state.jobs.iter() {
        recount.add(live);
        let level = state.queue(live.queue).level();
        if live.body.is_none() && (live.is_new || level == Level::Memory) {
            return Err(format!("the body of job {} ({level:?}) is nowhere", live.id));
        }
        if live.body.as_ref().is_some_and(|body| body.bytes() != live.body_bytes as usize) {
            return Err(format!("the body of job {} has not {} bytes", live.id, live.body_bytes));
        }
    }
    let pages = &state.pages;
    let counted = [pages.held, pages.held_bytes, pages.out, pages.out_bytes, pages.mores];
    let recounted = [recount.held, recount.held_bytes, recount.out, recount.out_bytes, recount.mores];
    if counted != recounted {
        return Err(format!(
            "bodies and bytes in memory and out, and jobs with more, are {counted:?} and should be {recounted:?}"
        ));
    }
    let has_one = |id: JobId| {
        let live = state.live(id).map(|(_, live)| live.has_checkpoint);
        live.or_else(|| state.stub(id).map(|(_, stub)| stub.has_checkpoint)).unwrap_or_default()
    };
    if let Some(id) = pages.checkpoints.keys().find(|id| !is_volatile(state, **id) || !has_one(**id)) {
        return Err(format!("the checkpoint of job {id} is counted, and is not in memory"));
    }
    let sum = pages.checkpoints.values().map(|bytes| cost(*bytes)).sum::<u64>();
    if pages.checkpoints_bytes != sum {
        return Err(format!("checkpoints have {} bytes in memory and should have {sum}", pages.checkpoints_bytes));
    }
    let is_out = |id: &JobId| state.live(*id).is_some_and(|(_, live)| live.body.is_none());
    match pages.asked.keys().find(|id| !is_out(id)) {
        Some(id) => Err(format!("the disk is asked for the body of job {id}, which is not out")),
        None => Ok(()),
    }
}
