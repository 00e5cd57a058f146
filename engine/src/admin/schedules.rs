//! Schedules at run time: defining, looking, pausing, removing, running one now.

use std::sync::Arc;
use std::time::SystemTime;

use tracing::warn;
use windlass_scheduler::effect::Answer;
use windlass_scheduler::job::{JobId, Name};
use windlass_scheduler::recurrence::{Origin, ScheduleCommand};

use super::walk::Desk;
use crate::calendar::Patterns;
use crate::clock::timestamp;
use crate::engine::Engine;
use crate::error::{ControlError, ScheduleError};
use crate::messages::Question;
use crate::schedule::{Schedule, ScheduleStatus};

/// Schedules that are asked for at once.
const PAGE: usize = 1_000;

/// Tells of schedules that the code had and has no more: nobody else would.
pub(crate) async fn report_orphans(desk: Desk) {
    if let Ok(Answer::Schedules(orphans)) = desk.door.ask(Question::Schedule(ScheduleCommand::Orphans)).await {
        for orphan in orphans {
            warn!(schedule = %orphan.schedule.name, "the code does not define it any more: it goes on until it is removed");
        }
    }
}

impl Engine {
    /// Adds a schedule, or changes the one of this name: it goes on where it was if its rule is the same, and begins now if
    /// it is another. What it is paused by stays. One that the code defines is as the code says again at the next start.
    ///
    /// # Errors
    /// [`ScheduleError`]: nothing has changed then, but for [`ControlError::Interrupted`] in it.
    pub async fn define_schedule(&self, schedule: Schedule) -> Result<ScheduleStatus, ScheduleError> {
        let name = schedule.name().to_owned();
        let door = self.door();
        let now = timestamp(SystemTime::now());
        let queue_of = |kind: &str, own: &'static str| door.queue_of(kind, own).to_owned();
        let core = schedule.into_core(Origin::Runtime, now, &Patterns::default(), queue_of)?;
        let defined = self.ask_schedules(ScheduleCommand::Define(Box::new(core))).await;
        defined
            .map(|mut all| all.remove(0))
            .map_err(|error| ScheduleError::Control { schedule: name, error: Arc::new(error) })
    }

    /// One schedule, as it is now.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoSchedule`.
    pub async fn schedule(&self, name: &str) -> Result<ScheduleStatus, ControlError> {
        Ok(self.ask_schedules(ScheduleCommand::One(Name::from(name))).await?.remove(0))
    }

    /// All schedules, by name.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`].
    pub async fn schedules(&self) -> Result<Vec<ScheduleStatus>, ControlError> {
        let mut all: Vec<ScheduleStatus> = Vec::new();
        loop {
            let after = all.last().map(|last| Name::from(last.name.as_str()));
            let page = self.ask_schedules(ScheduleCommand::All { after, limit: PAGE }).await?;
            let is_last = page.len() < PAGE;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Stops a schedule until [`resume_schedule`](Self::resume_schedule), through restarts. Its jobs that wait go on.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoSchedule`.
    pub async fn pause_schedule(&self, name: &str) -> Result<ScheduleStatus, ControlError> {
        self.set_paused(name, true).await
    }

    /// Lets a schedule fire again, from now on: what passed meanwhile is left out.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoSchedule`.
    pub async fn resume_schedule(&self, name: &str) -> Result<ScheduleStatus, ControlError> {
        self.set_paused(name, false).await
    }

    /// Forgets a schedule, and tells what it was. Its jobs stay. One that the code defines is back at the next start.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoSchedule`.
    pub async fn remove_schedule(&self, name: &str) -> Result<ScheduleStatus, ControlError> {
        Ok(self.ask_schedules(ScheduleCommand::Remove(Name::from(name))).await?.remove(0))
    }

    /// Enqueues a job of this schedule now, beside its instants, also where it is paused.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoSchedule` or `Stopping`.
    pub async fn run_schedule(&self, name: &str) -> Result<JobId, ControlError> {
        let id = self.door().new_id();
        self.ask_for_run(ScheduleCommand::RunNow { name: Name::from(name), id }).await
    }

    /// Enqueues the job of an instant of this schedule that is over, whether it had one or was left out, also where the schedule is
    /// paused: for a night that was missed, or whose work has to be done once more. The handler sees it by
    /// [`Context::scheduled_for`](crate::Context::scheduled_for); [`Schedule::upcoming`](crate::Schedule::upcoming) tells the instants after
    /// a moment. The job has the id that any job of this instant has: where that one is known, live or retained, it is what is given,
    /// and nothing else happens ([`requeue`](Self::requeue) brings it back).
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoSchedule`, `NoInstant` (it is still to come, or none of this schedule's, to the millisecond)
    /// or `Stopping`.
    pub async fn run_schedule_at(&self, name: &str, instant: SystemTime) -> Result<JobId, ControlError> {
        self.ask_for_run(ScheduleCommand::RunAt { name: Name::from(name), at: timestamp(instant) }).await
    }

    async fn ask_for_run(&self, command: ScheduleCommand) -> Result<JobId, ControlError> {
        match self.door().ask(Question::Schedule(command)).await? {
            Answer::Enqueued(receipts) if !receipts.is_empty() => Ok(receipts[0].id),
            other => unreachable!("a run was answered with {other:?}"),
        }
    }

    async fn set_paused(&self, name: &str, paused: bool) -> Result<ScheduleStatus, ControlError> {
        let command = ScheduleCommand::Pause { name: Name::from(name), paused };
        Ok(self.ask_schedules(command).await?.remove(0))
    }

    async fn ask_schedules(&self, command: ScheduleCommand) -> Result<Vec<ScheduleStatus>, ControlError> {
        match self.door().ask(Question::Schedule(command)).await? {
            Answer::Schedules(views) => Ok(views.into_iter().map(ScheduleStatus::from).collect()),
            other => unreachable!("schedules were answered with {other:?}"),
        }
    }
}
