//! Which bodies stay in memory, and which are read ahead of their turn.
//!
//! Bodies over the budget leave memory once the journal has them: the newest first, since they are at the end of the line.
//! What comes next in a line is asked back in time. Claiming never waits for it: a lease whose body is not here goes out
//! without it. Everything is done in bounded steps: no look walks the backlog.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::super::lines::Lines;
use super::super::outbox::Mark;
use super::super::pages::{Pager, Reach, cost};
use super::super::slab::Slot;
use super::super::state::{Live, Queue, Spot, State};
use super::Decision;
use crate::change::JobRecord;
use crate::command::QueueNo;
use crate::effect::Effect;
use crate::event::Event;
use crate::job::{Body, JobId};
use crate::retry::is_suspect;
use crate::settings::Level;

/// Jobs ahead of a lane's front that are wanted in memory: for so many rounds of all slots, within these bounds.
const AHEAD_ROUNDS: u64 = 4;
const AHEAD_MIN: u64 = 64;
const AHEAD_MAX: u64 = 16_384;
/// Bodies that may be on their way from the disk.
const ASKED_MAX: usize = 2 * AHEAD_MAX as usize;
/// This part of the memory is kept for what is read ahead.
const AHEAD_SHARE: u64 = 8;
/// Bodies take no more than this part, however much is left: what they gave back as heads came is not the heads', since
/// allocators keep it for other bodies.
const BODIES_SHARE: (u64, u64) = (1, 3);
/// Places that one sweep passes, and more of them for each job that its wave wrote.
const HAND_MIN: usize = 8;
const HAND_PER_JOB: usize = 4;

/// Bytes that have to leave: what heads, stubs and bodies take together beyond what is kept free for reading ahead, and what
/// bodies take beyond their own part.
fn bytes_over(state: &State) -> u64 {
    let bytes_max = state.settings.memory_bytes_max;
    if bytes_max == u64::MAX {
        return 0;
    }
    let over = |used: u64, max: u64| used.saturating_sub(max);
    let all = over(state.memory().used_bytes(), bytes_max - bytes_max / AHEAD_SHARE);
    all.max(over(state.pages.held_bytes, bytes_max / BODIES_SHARE.1 * BODIES_SHARE.0))
}

/// Whether the body of a job that is loaded stays in memory. What is volatile has no other place.
pub(crate) fn keeps_body(state: &State, job: &JobRecord) -> bool {
    let level = state.queue_no(&job.head.queue).map_or(Level::Durable, |no| state.queue(no).level());
    // At the end of the load it may be told of, dead and not kept.
    let may_be_told_of = state.settings.notices.dead && is_suspect(job.head.lost);
    level == Level::Memory || may_be_told_of || bytes_over(state) == 0
}

/// Whether this is a job of a queue at level `Memory`, live or retained.
pub(crate) fn is_volatile(state: &State, id: JobId) -> bool {
    let live = state.live(id).map(|(_, live)| live.queue);
    let queue = live.or_else(|| state.stub(id).map(|(_, stub)| stub.queue));
    queue.is_some_and(|no| state.queue(no).level() == Level::Memory)
}

/// Pages out what is too much of the jobs that a wave has just written, the last ones first: they are at the end of the line,
/// and the journal is about to have them.
pub(crate) fn out(state: &State, pager: &Pager, written: &[Slot]) -> Decision {
    let mut over = bytes_over(state);
    let slots = written.iter().rev().copied().filter(|slot| leaves(state, pager, *slot, &mut over));
    paged_out(slots.collect())
}

/// Pages out what is still too much, downwards through all jobs, some places at a time: heads grow, too, and take the room
/// of bodies that came before.
pub(crate) fn sweep(state: &State, pager: &mut Pager, written: usize) -> Decision {
    let (mut over, mut slots, places) = (bytes_over(state), Vec::new(), state.jobs.places());
    for _ in 0..places.min(HAND_MIN + HAND_PER_JOB * written) {
        if over == 0 || state.pages.held == 0 {
            break;
        }
        let hand = pager.hand.filter(|hand| *hand > 0).unwrap_or(places as Slot) - 1;
        pager.hand = Some(hand);
        slots.extend(leaves(state, pager, hand, &mut over).then_some(hand));
    }
    paged_out(slots)
}

fn paged_out(slots: Vec<Slot>) -> Decision {
    if slots.is_empty() { Decision::default() } else { Decision::default().event(Event::PagedOut { slots }) }
}

/// Whether the body of this job leaves, where so many bytes have to. A running job keeps its own: its attempt has it in
/// hand, and most end soon.
fn leaves(state: &State, pager: &Pager, slot: Slot, over: &mut u64) -> bool {
    let leaves = |live: &&Live| *over > 0 && may_leave(state, live) && !pager.is_near(state, live);
    let Some(live) = state.jobs.get(slot).filter(leaves) else { return false };
    *over = over.saturating_sub(cost(live.body_bytes));
    true
}

/// A body may leave once the journal has it, or will have it before anybody could ask.
fn may_leave(state: &State, live: &Live) -> bool {
    let is_journaled = !live.is_new && state.queue(live.queue).level() != Level::Memory;
    let may_be_told_of = live.spot == Spot::Loading && state.settings.notices.dead && live.is_suspect();
    is_journaled && live.body.is_some() && live.spot != Spot::Running && !may_be_told_of
}

/// Looks at what is next in every lane where that has moved on, and gives back the jobs there whose bodies are not here.
pub(crate) fn look_ahead(state: &State, pager: &mut Pager) -> Vec<Slot> {
    let mut absent = Vec::new();
    if state.pages.out == 0 && bytes_over(state) == 0 {
        return absent;
    }
    pager.reach.resize(state.queues.len(), Vec::new());
    let queues = (0..).map(QueueNo).zip(&state.queues).zip(&mut pager.reach);
    let lanes = (0..state.queues.len() as u32)
        .map(QueueNo)
        .flat_map(|no| (0..state.lines.lanes(no)).map(move |lane| (no, lane)));
    let in_use = lanes.filter(|(no, lane)| state.lines.front(*no, *lane).is_some()).count();
    let bytes_max = state.settings.memory_bytes_max / AHEAD_SHARE / in_use.max(1) as u64;
    for ((no, queue), reaches) in queues {
        if queue.level() == Level::Memory || !queue.is_configured || queue.ready == 0 {
            continue;
        }
        reaches.resize(state.lines.lanes(no), Reach::default());
        for (lane, reach) in reaches.iter_mut().enumerate() {
            let (joined, left) = state.lines.moves(no, lane);
            if left >= reach.again_at || reach.saw_all.is_some_and(|all| all < joined) {
                *reach = look(state, (no, lane), jobs_ahead(queue), bytes_max, &mut absent);
            }
        }
    }
    absent
}

fn jobs_ahead(queue: &Queue) -> u64 {
    (AHEAD_ROUNDS * u64::from(queue.slots)).clamp(AHEAD_MIN, AHEAD_MAX)
}

/// At least one job, whatever it weighs. Of strands that take turns, the same number each, as far as they have them.
fn look(state: &State, (no, lane): (QueueNo, usize), jobs_max: u64, bytes_max: u64, absent: &mut Vec<Slot>) -> Reach {
    let (joined, left) = state.lines.moves(no, lane);
    let (mut reach, mut jobs, mut bytes) = (Reach::default(), 0, 0);
    let mut is_full = false;
    'rings: for ring in state.lines.rings(no, lane) {
        let strands = ring.clone().take(jobs_max as usize).count() as u64;
        let of_each = ((jobs_max - jobs) / strands).max(1);
        for strand in ring {
            for (nth, slot) in (0..).zip(Lines::jobs_of(&state.jobs, &state.lines.strands[strand])) {
                let live = &state.jobs[slot];
                let more = cost(live.body_bytes);
                if jobs > 0 && (jobs >= jobs_max || bytes + more > bytes_max) {
                    is_full = true;
                    break 'rings;
                }
                if nth >= of_each {
                    is_full = true;
                    break;
                }
                (jobs, bytes) = (jobs + 1, bytes + more);
                reach.until.insert(strand, live.arrival);
                reach.last = Some(live.priority);
                if live.body.is_none() {
                    absent.push(slot);
                }
            }
        }
    }
    reach.again_at = left + (jobs / 2).max(1);
    reach.saw_all = (!is_full).then_some(joined);
    reach
}

/// Asks the disk for these bodies, but for those that are on their way.
pub(crate) fn ask(state: &State, absent: &[Slot], no: u64) -> Decision {
    let room = ASKED_MAX.saturating_sub(state.pages.asked.len());
    let is_asked = |slot: &Slot| state.pages.asked.contains_key(&state.jobs[*slot].id);
    let slots: Vec<_> = absent.iter().copied().filter(|slot| !is_asked(slot)).take(room).collect();
    if slots.is_empty() {
        return Decision::default();
    }
    let ids = slots.iter().map(|slot| state.jobs[*slot].id).collect();
    let mut decision = Decision::default().event(Event::Asked { no, slots });
    // What is to be read has to be written.
    decision.effects.push((Mark::Written, Effect::Fetch { no, ids }));
    decision
}

/// The disk has answered: those who still wait for their bodies get them. An attempt that began without has read its own.
pub(crate) fn fetched(state: &State, no: u64, bodies: Vec<(JobId, Option<Arc<Body>>)>) -> Decision {
    let (mut ids, mut back) = (Vec::with_capacity(bodies.len()), Vec::with_capacity(bodies.len()));
    for (id, body) in bodies {
        if state.pages.asked.get(&id) != Some(&no) {
            continue;
        }
        ids.push(id);
        let Some((slot, live)) = state.live(id).filter(|(_, live)| live.spot != Spot::Running) else { continue };
        back.extend(body.filter(|body| body.bytes() == live.body_bytes as usize).map(|body| (slot, body)));
    }
    Decision::default().event(Event::Answered { ids, bodies: back })
}
