//! Effects held until the step that they depend on is durable enough (I2).
//!
//! Three rows, one a mark, each in step order: marks are cumulative, so only fronts are ever looked at.

use alloc::collections::VecDeque;

use super::state::State;
use crate::bug;
use crate::effect::Effect;
use crate::refusal::Refusal;
use crate::settings::Level;
use crate::unique::UniqueKey;

/// What a step has to reach before its effect may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// Its wave is sealed (and with that in the volatile twin).
    Sealed,
    /// The journal has it.
    Written,
    /// The journal has synced it.
    Synced,
}

impl From<Level> for Mark {
    /// What Ok waits for.
    fn from(level: Level) -> Self {
        match level {
            Level::Memory => Self::Sealed,
            Level::Process => Self::Written,
            Level::Durable if bug!(AckBeforeSync) => Self::Written,
            Level::Durable => Self::Synced,
        }
    }
}

impl Mark {
    /// What a start waits for: nothing that is journaled runs before its attempt is.
    pub(crate) fn to_run(level: Level) -> Self {
        Self::from(level).min(if bug!(RunBeforeClaim) { Self::Sealed } else { Self::Written })
    }
}

impl State {
    /// A refusal that another job caused waits like that job's own Ok.
    pub(crate) fn refusal_mark(&self, refusal: &Refusal) -> Mark {
        let id = match refusal {
            // Which queue it was forgotten in, nobody knows any more.
            Refusal::Forgotten { .. } | Refusal::NoFlow { .. } => {
                return self.queues.iter().map(|queue| Mark::from(queue.level())).max().unwrap_or(Mark::Sealed);
            }
            _ if bug!(RefusalEarly) => return Mark::Sealed,
            Refusal::KeyTaken { key, .. } => return self.key_mark(key),
            Refusal::FlowTaken { id: flow, .. }
            | Refusal::StepForbidden { flow, .. }
            | Refusal::StepForgotten { flow, .. } => {
                let flow = self.flows.by_id.get(flow).map(|slot| &self.flows.all[*slot]);
                return flow.map_or(Mark::Sealed, |flow| flow.level.into());
            }
            Refusal::IdTaken { id, .. }
            | Refusal::Forbidden { id, .. }
            | Refusal::OnDisk { id, .. }
            | Refusal::Changed { id } => *id,
            _ => return Mark::Sealed,
        };
        let live = self.live(id).map(|(_, live)| live.queue);
        let queue = live.or_else(|| self.stub(id).map(|(_, stub)| stub.queue));
        queue.map_or(Mark::Sealed, |no| self.queue(no).level().into())
    }

    /// Whoever has a key may be forgotten: it waits like the key's own record.
    fn key_mark(&self, key: &UniqueKey) -> Mark {
        let taken = self.keys.iter().filter_map(|keys| self.queue_no(&keys.by_key.get(key)?.queue));
        taken.map(|no| Mark::from(self.queue(no).level())).max().unwrap_or(Mark::Sealed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    rows: [VecDeque<(u64, Effect)>; 3],
    marks: [u64; 3],
}

impl Outbox {
    pub(crate) fn hold(&mut self, step: u64, mark: Mark, effect: Effect) {
        self.rows[mark as usize].push_back((step, effect));
    }

    /// Whether this step has reached this mark.
    pub(crate) fn has_reached(&self, mark: Mark, step: u64) -> bool {
        self.marks[mark as usize] >= step
    }

    /// Everything up to this step has reached this mark.
    pub(crate) fn reached(&mut self, mark: Mark, step: u64) {
        let mark = &mut self.marks[mark as usize];
        *mark = step.max(*mark);
    }

    pub(crate) fn pop(&mut self) -> Option<Effect> {
        for (row, mark) in self.rows.iter_mut().zip(self.marks) {
            if row.front().is_some_and(|(step, _)| *step <= mark) {
                return row.pop_front().map(|(_, effect)| effect);
            }
        }
        None
    }
}
