//! Calls that wait for room in a full queue. They are no jobs yet: nothing of them is remembered, and who calls may
//! leave.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::state::State;
use crate::command::{QueueNo, Request, Submit};
use crate::refusal::Refusal;
use crate::settings::WhenFull;

#[derive(Debug, Default)]
pub(crate) struct Door {
    rows: Vec<VecDeque<Submit>>,
}

impl Door {
    pub(crate) fn waiting(&self, queue: usize) -> usize {
        self.rows.get(queue).map_or(0, VecDeque::len)
    }

    /// Everyone who waits, for whichever queue.
    pub(crate) fn all_waiting(&self) -> usize {
        self.rows.iter().map(VecDeque::len).sum()
    }

    /// The first queue of this call that others wait for already: it goes behind them.
    pub(crate) fn behind(&self, state: &State, submit: &Submit) -> Option<QueueNo> {
        let queues = submit.jobs.iter().filter_map(|job| state.queue_no(&job.queue));
        queues.into_iter().find(|no| self.waiting(no.0 as usize) > 0)
    }

    /// Whether a call that was refused so may wait for room instead, and for which queue.
    ///
    /// # Errors
    /// The refusal that stands: waiting would never end, or is not wanted, or too many do.
    pub(crate) fn admits(&self, state: &State, refusal: Refusal) -> Result<QueueNo, Refusal> {
        let Refusal::QueueFull { queue, jobs, depth_max, .. } = &refusal else { return Err(refusal) };
        let Some(no) = state.queue_no(queue) else { return Err(refusal) };
        match state.queue(no).settings.when_full {
            WhenFull::Wait { waiters_max } if jobs <= depth_max => {
                if self.waiting(no.0 as usize) < waiters_max {
                    return Ok(no);
                }
                Err(Refusal::TooManyWaiters { queue: queue.clone(), waiters_max })
            }
            _ => Err(refusal),
        }
    }

    /// Whether a call may have to wait: then it is worth a copy.
    pub(crate) fn may_wait(state: &State, submit: &Submit) -> bool {
        let mut queues = submit.jobs.iter().filter_map(|job| state.queue_no(&job.queue));
        queues.any(|no| state.queue(no).settings.when_full != WhenFull::Refuse)
    }

    pub(crate) fn push_back(&mut self, queue: QueueNo, submit: Submit) {
        self.row(queue).push_back(submit);
    }

    /// Back to where it stood: it had its turn, and there was no room.
    pub(crate) fn push_front(&mut self, queue: QueueNo, submit: Submit) {
        self.row(queue).push_front(submit);
    }

    fn row(&mut self, queue: QueueNo) -> &mut VecDeque<Submit> {
        let no = queue.0 as usize;
        if self.rows.len() <= no {
            self.rows.resize_with(no + 1, VecDeque::new);
        }
        &mut self.rows[no]
    }

    pub(crate) fn front(&self, queue: usize) -> Option<&Submit> {
        self.rows.get(queue)?.front()
    }

    pub(crate) fn pop(&mut self, queue: usize) -> Option<Submit> {
        self.rows.get_mut(queue)?.pop_front()
    }

    /// Who made this call waits no longer.
    pub(crate) fn withdraw(&mut self, request: Request) {
        for row in &mut self.rows {
            row.retain(|submit| submit.request != request);
        }
    }

    /// Everyone who waits, for nothing any more.
    pub(crate) fn clear(&mut self) -> Vec<Submit> {
        core::mem::take(&mut self.rows).into_iter().flatten().collect()
    }
}
