//! What is ready, in order: by priority; of one priority, the keys take turns; of one key, by arrival.
//!
//! Owns that order. A *strand* is what one *tenant* (the jobs of one queue with one key; those without a key are one together) has in
//! line in one lane at one priority: a list threaded through the slab. Strands of one lane and priority stand in a ring, and who has had
//! a turn goes to its end. So joining, leaving and finding the first cost the same whatever the backlog, and however many keys there are.
//! A tenant that may not go *steps aside*: its strands leave their rings, and nobody walks past them. Never decides who may go.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::slab::{NONE, Slab, Slot};
use super::state::{Live, Spot, State};
use crate::bug;
use crate::command::QueueNo;
use crate::job::Priority;
use crate::time::Mono;

/// The jobs of one queue that have one key, or none.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) queue: QueueNo,
    /// `None`: those without one.
    pub(crate) key: Option<Arc<str>>,
    /// Live jobs, in line or not.
    pub(crate) jobs: u64,
    /// Starts in one turn.
    weight: u32,
    /// Of the key.
    pub(crate) limiters: Vec<Slot>,
    strands: Vec<Slot>,
    /// Where it stands aside: for how long.
    pub(crate) aside: Option<Aside>,
}

/// For how long a tenant stands aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aside {
    /// Until then.
    Until(Mono),
    /// Until an attempt of its key ends.
    UntilAnEnd,
}

/// What a tenant has in line, in one lane at one priority, by arrival.
#[derive(Debug)]
pub(crate) struct Strand {
    pub(crate) tenant: Slot,
    lane: usize,
    pub(crate) priority: Priority,
    pub(crate) first: Slot,
    last: Slot,
    /// Its place in its ring: the one with the lower number has its turn first.
    pub(crate) turn: u64,
    /// Starts that its turn has left.
    left: u32,
    before: Slot,
    after: Slot,
}

/// The strands of one lane and priority, in the order of their turns.
#[derive(Clone, Copy, Debug)]
struct Ring {
    priority: Priority,
    first: Slot,
    last: Slot,
}

/// A lane: its rings by priority, of which few are in use at a time.
#[derive(Clone, Debug, Default)]
struct Lane {
    rings: Vec<Ring>,
    /// How often jobs joined and left, for those who look ahead.
    joined: u64,
    left: u64,
}

/// What one queue has in line.
#[derive(Debug)]
struct QueueLines {
    lanes: Vec<Lane>,
    keyless: Slot,
    by_key: BTreeMap<Arc<str>, Slot>,
    /// Tenants that come back by themselves, and when.
    aside: BTreeSet<(Mono, Slot)>,
    last_turn: u64,
}

/// What all queues have in line.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) tenants: Slab<Tenant>,
    pub(crate) strands: Slab<Strand>,
    queues: Vec<QueueLines>,
    /// Bytes of the keys' texts.
    keys_bytes: usize,
}

fn level_of(priority: Priority) -> Priority {
    if bug!(PriorityIgnored) { Priority::URGENT } else { priority }
}

impl Lines {
    /// The most keys that are looked at for what has waited longest.
    const FRONTS_MAX: usize = 10_000;
    /// What a tenant takes beside its text: its place, a strand, an entry in a tree, and on the heap.
    const TENANT_BYTES: usize = size_of::<Option<Tenant>>() + size_of::<Option<Strand>>() + 160;

    pub(crate) const fn new() -> Self {
        Self { tenants: Slab::new(), strands: Slab::new(), queues: Vec::new(), keys_bytes: 0 }
    }

    /// A queue with so many lanes, the next one.
    pub(crate) fn add_queue(&mut self, lanes: usize) {
        let queue = QueueNo(self.queues.len() as u32);
        let keyless = self.tenants.insert(Tenant::new(queue, None, 1));
        self.queues.push(QueueLines {
            lanes: alloc::vec![Lane::default(); lanes],
            keyless,
            by_key: BTreeMap::new(),
            aside: BTreeSet::new(),
            last_turn: 0,
        });
    }

    pub(crate) fn lanes(&self, queue: QueueNo) -> usize {
        self.queues[queue.0 as usize].lanes.len()
    }

    /// Keys that live jobs have.
    pub(crate) fn keys(&self) -> usize {
        self.tenants.len() - self.queues.len()
    }

    /// Bytes of what it takes that there are keys.
    pub(crate) fn bytes(&self) -> usize {
        self.keys_bytes + self.keys() * Self::TENANT_BYTES
    }

    /// Those of this key, or those without one.
    pub(crate) fn tenant(&self, queue: QueueNo, key: Option<&str>) -> Option<Slot> {
        let of = &self.queues[queue.0 as usize];
        key.map_or(Some(of.keyless), |key| of.by_key.get(key).copied())
    }

    /// A key that no job of the queue had.
    pub(crate) fn add_tenant(&mut self, queue: QueueNo, key: Arc<str>, weight: u32) -> Slot {
        self.keys_bytes += key.len();
        let slot = self.tenants.insert(Tenant::new(queue, Some(key.clone()), weight));
        self.queues[queue.0 as usize].by_key.insert(key, slot);
        slot
    }

    /// How many starts each turn of a key has, the one at hand included.
    pub(crate) fn set_weight(&mut self, tenant: Slot, weight: u32) {
        self.tenants[tenant].weight = weight;
        for place in 0..self.tenants[tenant].strands.len() {
            let strand = &mut self.strands[self.tenants[tenant].strands[place]];
            strand.left = strand.left.min(weight);
        }
    }

    /// The last job of its key has gone.
    pub(crate) fn drop_tenant(&mut self, slot: Slot) {
        self.come_back(slot);
        let tenant = self.tenants.remove(slot);
        debug_assert!(tenant.strands.is_empty(), "{tenant:?} has jobs in line");
        if let Some(key) = tenant.key {
            self.keys_bytes -= key.len();
            self.queues[tenant.queue.0 as usize].by_key.remove(&key);
        }
    }

    /// Joins where the arrival number belongs: at the end for a new one, near the front for one that came back.
    pub(crate) fn join(&mut self, jobs: &mut Slab<Live>, slot: Slot, lane: usize) {
        let (tenant, arrival) = (jobs[slot].tenant, jobs[slot].arrival);
        let no = self.strand_for(tenant, lane, level_of(jobs[slot].priority));
        let strand = &self.strands[no];
        let (first, last) = (strand.first, strand.last);
        let (before, after) = if first == NONE {
            (NONE, NONE)
        } else if jobs[last].arrival < arrival {
            (last, NONE)
        } else {
            // One that came back, behind others that did: whoever ran was ahead of all that never ran, so the walk is
            // short.
            let mut after = first;
            while jobs[after].arrival < arrival {
                after = jobs[after].next;
            }
            (jobs[after].prev, after)
        };
        let strand = &mut self.strands[no];
        jobs[slot].prev = before;
        jobs[slot].next = after;
        match before {
            NONE => strand.first = slot,
            _ => jobs[before].next = slot,
        }
        match after {
            NONE => strand.last = slot,
            _ => jobs[after].prev = slot,
        }
        self.queues[self.tenants[tenant].queue.0 as usize].lanes[lane].joined += 1;
        if first == NONE && self.tenants[tenant].aside.is_none() {
            self.push_back(no);
        }
        if before == NONE {
            self.looks_different(tenant);
        }
    }

    pub(crate) fn leave(&mut self, jobs: &mut Slab<Live>, slot: Slot, lane: usize) {
        let live = &mut jobs[slot];
        let (tenant, before, after) = (live.tenant, live.prev, live.next);
        (live.prev, live.next) = (NONE, NONE);
        let priority = level_of(live.priority);
        let Some(no) = self.strand(tenant, lane, priority) else { unreachable!("a job in line has a strand") };
        let strand = &mut self.strands[no];
        match before {
            NONE => strand.first = after,
            _ => jobs[before].next = after,
        }
        match after {
            NONE => strand.last = before,
            _ => jobs[after].prev = before,
        }
        let is_empty = strand.first == NONE;
        self.queues[self.tenants[tenant].queue.0 as usize].lanes[lane].left += 1;
        if is_empty {
            if self.tenants[tenant].aside.is_none() {
                self.unlink(no);
            }
            self.tenants[tenant].strands.retain(|one| *one != no);
            self.strands.remove(no);
        }
        if before == NONE {
            self.looks_different(tenant);
        }
    }

    /// What is next of a tenant is another job now: it may go where the one before may not.
    fn looks_different(&mut self, tenant: Slot) {
        if matches!(self.tenants[tenant].aside, Some(Aside::Until(_))) {
            self.come_back(tenant);
        }
    }

    /// One of a tenant's jobs of this priority has started: after the last one of its turn it is the others'.
    pub(crate) fn took_turn(&mut self, tenant: Slot, priority: Priority) {
        if bug!(TurnKept) {
            return;
        }
        let (of, priority) = (&self.tenants[tenant], level_of(priority));
        let (weight, queue) = (of.weight, of.queue.0 as usize);
        let mut rotates = false;
        for place in 0..of.strands.len() {
            let no = self.tenants[tenant].strands[place];
            let strand = &mut self.strands[no];
            if strand.priority == priority {
                strand.left -= 1;
                rotates |= strand.left == 0;
            }
        }
        if !rotates {
            return;
        }
        self.queues[queue].last_turn += 1;
        for place in 0..self.tenants[tenant].strands.len() {
            let no = self.tenants[tenant].strands[place];
            if self.strands[no].priority == priority {
                self.unlink(no);
                self.link(no, weight);
            }
        }
    }

    /// Nothing of it may go.
    pub(crate) fn step_aside(&mut self, tenant: Slot, aside: Aside) {
        let of = &mut self.tenants[tenant];
        of.aside = Some(aside);
        if let Aside::Until(until) = aside {
            self.queues[of.queue.0 as usize].aside.insert((until, tenant));
        }
        for place in 0..of.strands.len() {
            self.unlink(self.tenants[tenant].strands[place]);
        }
    }

    /// It may go again, when the others have had their turns. Does nothing where it does not stand aside.
    pub(crate) fn come_back(&mut self, tenant: Slot) {
        let of = &mut self.tenants[tenant];
        let Some(aside) = of.aside.take() else { return };
        let queue = &mut self.queues[of.queue.0 as usize];
        if let Aside::Until(until) = aside {
            queue.aside.remove(&(until, tenant));
        }
        for place in 0..of.strands.len() {
            self.push_back(self.tenants[tenant].strands[place]);
        }
    }

    /// The tenants of a queue that come back by themselves, the soonest first.
    pub(crate) fn aside(&self, queue: QueueNo) -> impl Iterator<Item = (Mono, Slot)> + '_ {
        self.queues[queue.0 as usize].aside.iter().copied()
    }

    /// The strand that is next in a lane.
    pub(crate) fn front(&self, queue: QueueNo, lane: usize) -> Option<&Strand> {
        let ring = self.queues[queue.0 as usize].lanes[lane].rings.first()?;
        Some(&self.strands[ring.first])
    }

    /// The strands of a tenant at a priority, with the lane of each.
    pub(crate) fn strands_of(&self, tenant: Slot, priority: Priority) -> impl Iterator<Item = (usize, &Strand)> {
        let strands = self.tenants[tenant].strands.iter().map(|no| &self.strands[*no]);
        strands.filter(move |strand| strand.priority == priority).map(|strand| (strand.lane, strand))
    }

    /// The strands of a lane that may go, ring by ring, the most urgent ones first: each ring in the order of turns.
    pub(crate) fn rings(
        &self,
        queue: QueueNo,
        lane: usize,
    ) -> impl Iterator<Item = impl Iterator<Item = Slot> + Clone> {
        let rings = self.queues[queue.0 as usize].lanes[lane].rings.iter();
        let after = |no: &Slot| Some(self.strands[*no].after).filter(|no| *no != NONE);
        rings.map(move |ring| core::iter::successors(Some(ring.first), after))
    }

    /// Jobs of a queue that are the first of their strands, of so many strands at most.
    pub(crate) fn fronts(&self, queue: QueueNo) -> impl Iterator<Item = Slot> + '_ {
        let of = &self.queues[queue.0 as usize];
        let mine = [of.keyless].into_iter().chain(of.by_key.values().copied()).take(Self::FRONTS_MAX);
        mine.flat_map(|tenant| self.tenants[tenant].strands.iter().map(|no| self.strands[*no].first))
    }

    /// How many jobs ever joined a lane, and left it.
    pub(crate) fn moves(&self, queue: QueueNo, lane: usize) -> (u64, u64) {
        let lane = &self.queues[queue.0 as usize].lanes[lane];
        (lane.joined, lane.left)
    }

    /// The jobs of a strand, in order.
    pub(crate) fn jobs_of<'a>(jobs: &'a Slab<Live>, strand: &Strand) -> impl Iterator<Item = Slot> + use<'a> {
        core::iter::successors(Some(strand.first), |slot| Some(jobs[*slot].next).filter(|next| *next != NONE))
    }

    /// All jobs of a queue that are in line, in no order that means anything.
    pub(crate) fn all_of<'a>(&'a self, jobs: &'a Slab<Live>, queue: QueueNo) -> impl Iterator<Item = Slot> + 'a {
        let strands = self.strands.iter().map(|(_, strand)| strand);
        let mine = strands.filter(move |strand| self.tenants[strand.tenant].queue == queue);
        mine.flat_map(|strand| Self::jobs_of(jobs, strand))
    }

    /// Where a tenant's jobs of a priority stand in a lane.
    pub(crate) fn strand(&self, tenant: Slot, lane: usize, priority: Priority) -> Option<Slot> {
        let is_it = |strand: &Strand| strand.lane == lane && strand.priority == priority;
        self.tenants[tenant].strands.iter().copied().find(|no| is_it(&self.strands[*no]))
    }

    fn strand_for(&mut self, tenant: Slot, lane: usize, priority: Priority) -> Slot {
        if let Some(no) = self.strand(tenant, lane, priority) {
            return no;
        }
        let strand =
            Strand { tenant, lane, priority, first: NONE, last: NONE, turn: 0, left: 0, before: NONE, after: NONE };
        let no = self.strands.insert(strand);
        self.tenants[tenant].strands.push(no);
        no
    }

    /// To the end of its ring, with a whole turn.
    fn push_back(&mut self, no: Slot) {
        let tenant = &self.tenants[self.strands[no].tenant];
        let weight = tenant.weight;
        self.queues[tenant.queue.0 as usize].last_turn += 1;
        self.link(no, weight);
    }

    fn link(&mut self, no: Slot, left: u32) {
        let (tenant, lane, priority) = (self.strands[no].tenant, self.strands[no].lane, self.strands[no].priority);
        let queue = &mut self.queues[self.tenants[tenant].queue.0 as usize];
        let rings = &mut queue.lanes[lane].rings;
        let before = match rings.binary_search_by_key(&priority, |ring| ring.priority) {
            Ok(place) => {
                let before = core::mem::replace(&mut rings[place].last, no);
                self.strands[before].after = no;
                before
            }
            Err(place) => {
                rings.insert(place, Ring { priority, first: no, last: no });
                NONE
            }
        };
        let strand = &mut self.strands[no];
        (strand.before, strand.after, strand.turn, strand.left) = (before, NONE, queue.last_turn, left);
    }

    fn unlink(&mut self, no: Slot) {
        let strand = &self.strands[no];
        let (before, after, priority) = (strand.before, strand.after, strand.priority);
        let rings = &mut self.queues[self.tenants[strand.tenant].queue.0 as usize].lanes[strand.lane].rings;
        let Ok(place) = rings.binary_search_by_key(&priority, |ring| ring.priority) else {
            unreachable!("strand {no} stands in no ring")
        };
        match (before, after) {
            (NONE, NONE) => drop(rings.remove(place)),
            (NONE, _) => rings[place].first = after,
            (_, NONE) => rings[place].last = before,
            _ => {}
        }
        if before != NONE {
            self.strands[before].after = after;
        }
        if after != NONE {
            self.strands[after].before = before;
        }
    }
}

impl Tenant {
    const fn new(queue: QueueNo, key: Option<Arc<str>>, weight: u32) -> Self {
        Self { queue, key, jobs: 0, weight, limiters: Vec::new(), strands: Vec::new(), aside: None }
    }
}

/// Checks lines against jobs, and rings against both.
pub(crate) fn audit(state: &State) -> Result<(), String> {
    let lines = &state.lines;
    let mut jobs: BTreeMap<Slot, u64> = BTreeMap::new();
    for (_, live) in state.jobs.iter() {
        *jobs.entry(live.tenant).or_default() += 1;
        if lines.tenants.get(live.tenant).is_none_or(|tenant| tenant.queue != live.queue) {
            return Err(format!("job {} is of another queue's tenant {}", live.id, live.tenant));
        }
    }
    for (slot, tenant) in lines.tenants.iter() {
        let counted = jobs.get(&slot).copied().unwrap_or_default();
        let is_found = lines.tenant(tenant.queue, tenant.key.as_deref()) == Some(slot);
        if counted != tenant.jobs || !is_found || (counted == 0 && tenant.key.is_some()) {
            return Err(format!("{tenant:?} has {counted} jobs (found: {is_found})"));
        }
        for no in &tenant.strands {
            let strand = &lines.strands[*no];
            let mine: Vec<_> = Lines::jobs_of(&state.jobs, strand).map(|slot| &state.jobs[slot]).collect();
            let is_right = |live: &&Live| {
                live.spot == Spot::Line
                    && live.tenant == slot
                    && state.lane_of(live) == strand.lane
                    && level_of(live.priority) == strand.priority
            };
            if mine.is_empty() || !mine.iter().all(is_right) || !mine.is_sorted_by_key(|live| live.arrival) {
                return Err(format!("{strand:?} of {tenant:?} has {} jobs, or not in order", mine.len()));
            }
        }
    }
    let mut stand = BTreeSet::new();
    for (no, queue) in (0..).map(QueueNo).zip(&state.queues) {
        if lines.all_of(&state.jobs, no).count() as u64 != queue.ready {
            return Err(format!("{} are ready in {}, and stand in no line", queue.ready, queue.settings.name));
        }
        let since = |slot: Slot| (state.jobs[slot].clock_ms, state.jobs[slot].arrival, slot);
        let elders: BTreeSet<_> = lines.all_of(&state.jobs, no).map(since).collect();
        if queue.settings.ages_after_ms.is_some() && elders != queue.elders {
            return Err(format!("{:?} wait, and should since {elders:?}", queue.elders));
        }
        for lane in 0..lines.lanes(no) {
            for ring in lines.rings(no, lane) {
                let strands: Vec<_> = ring.map(|no| (no, &lines.strands[no])).collect();
                if !strands.is_sorted_by_key(|(_, strand)| strand.turn) {
                    return Err(format!("turns are out of order: {strands:?}"));
                }
                stand.extend(strands.iter().map(|(no, _)| *no));
            }
        }
        let aside =
            lines.queues[no.0 as usize].aside.iter().map(|(until, tenant)| (Some(Aside::Until(*until)), tenant));
        if !aside.clone().all(|(until, tenant)| lines.tenants[*tenant].aside == until) {
            return Err(format!("{:?} come back and do not stand aside", aside.collect::<Vec<_>>()));
        }
    }
    let may_go = |strand: &Strand| lines.tenants[strand.tenant].aside.is_none();
    let should: BTreeSet<_> = lines.strands.iter().filter(|(_, strand)| may_go(strand)).map(|(no, _)| no).collect();
    if stand != should {
        return Err(format!("strands {stand:?} have turns, and {should:?} should"));
    }
    Ok(())
}
