//! What events about schedules do to the state.

use alloc::boxed::Box;

use super::super::state::State;
use super::super::tape::Tape;
use crate::bug;
use crate::change::{Key, Record};
use crate::job::Name;
use crate::recurrence::Schedule;
use crate::settings::Level;
use crate::time::Timestamp;

impl State {
    pub(super) fn loaded_schedule(&mut self, schedule: Schedule) {
        self.set_schedule(schedule, None);
    }

    pub(super) fn schedule_moved(&mut self, schedule: Box<Schedule>, next: Option<Timestamp>, tape: &mut Tape) {
        self.set_schedule((*schedule).clone(), next);
        if !(bug!(CursorApart) && schedule.fired > 0) {
            tape.put(Level::Durable, Record::Schedule(schedule));
        }
    }

    pub(super) fn schedule_removed(&mut self, name: &Name, tape: &mut Tape) {
        self.unset_schedule(name);
        tape.delete(Level::Durable, Key::Schedule(name.clone()));
    }

    pub(super) fn arm_schedule(&mut self, name: &Name, next: Option<Timestamp>) {
        if let Some(schedule) = self.unset_schedule(name) {
            self.set_schedule(schedule, next);
        }
    }

    fn set_schedule(&mut self, schedule: Schedule, next: Option<Timestamp>) {
        self.unset_schedule(&schedule.name);
        // Its jobs are parked where this build has no such queue.
        let queue = self.queue_or_new(&schedule.template.queue);
        if let Some(next) = next {
            self.queues[queue.0 as usize].ticks.insert((next, schedule.name.clone()));
        }
        if let Some((_, job)) = schedule.last.filter(|_| !schedule.held.is_empty()) {
            self.schedules.waits_for.entry(job).or_default().insert(schedule.name.clone());
        }
        self.schedules.by_name.insert(schedule.name.clone(), (schedule, next));
    }

    fn unset_schedule(&mut self, name: &Name) -> Option<Schedule> {
        let (schedule, next) = self.schedules.by_name.remove(name)?;
        if let (Some(next), Some(queue)) = (next, self.queue_no(&schedule.template.queue)) {
            self.queues[queue.0 as usize].ticks.remove(&(next, name.clone()));
        }
        if let Some((job, waiting)) =
            schedule.last.and_then(|(_, job)| Some((job, self.schedules.waits_for.get_mut(&job)?)))
        {
            waiting.remove(name);
            if waiting.is_empty() {
                self.schedules.waits_for.remove(&job);
            }
        }
        Some(schedule)
    }
}
