//! Find and steer: what operators ask of jobs and queues. Here: whole queues.
//!
//! `find` looks, `steer` has the verbs on one job, `orders` those on many, `schedules` is about those, `limits` about what may run, `walk` is how jobs are passed in review.

mod find;
mod limits;
mod orders;
mod schedules;
mod steer;
mod walk;

use windlass_scheduler::effect::Answer;
use windlass_scheduler::job::Name;
use windlass_scheduler::view::QueueStats;

pub use self::find::List;
pub use self::limits::Override;
pub use self::orders::{OrderDraft, OrderStatus};
pub(crate) use self::orders::{carry_out, resume};
pub(crate) use self::schedules::report_orphans;
pub(crate) use self::walk::Desk;
use crate::engine::Engine;
use crate::error::ControlError;
use crate::messages::Question;

impl Engine {
    /// Hands out nothing of this queue until it is resumed. What runs goes on. Remembered across restarts.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoQueue`.
    pub async fn pause(&self, queue: &str) -> Result<(), ControlError> {
        self.door().ask(Question::Pause(Name::from(queue))).await.map(|_| ())
    }

    /// Hands out jobs of this queue again.
    ///
    /// # Errors
    /// [`ControlError::Refused`] with `NoQueue`.
    pub async fn resume(&self, queue: &str) -> Result<(), ControlError> {
        self.door().ask(Question::Resume(Name::from(queue))).await.map(|_| ())
    }

    /// The numbers of all queues, from counters: its cost does not grow with the jobs.
    ///
    /// # Errors
    /// [`ControlError::Unavailable`] or [`ControlError::Interrupted`].
    pub async fn stats(&self) -> Result<Vec<QueueStats>, ControlError> {
        match self.door().ask(Question::Stats).await? {
            Answer::Stats(stats) => Ok(stats),
            other => unreachable!("stats were answered with {other:?}"),
        }
    }
}
