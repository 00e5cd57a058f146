//! Who is told of every call as it is made and answered: nobody, but in a simulation.
//!
//! Owns the seam alone, so that the rest of the engine has one line for it and a build without the feature `testing` none of
//! its cost. Never decides anything, but for what a simulation decides in the engine's place: ids, a seed, a slow disk.

#[cfg(feature = "testing")]
pub(crate) use crate::testing::Recorder;

#[cfg(not(feature = "testing"))]
mod nobody {
    use std::time::Duration;

    use windlass_scheduler::effect::Answer;
    use windlass_scheduler::flow::FlowPlan;
    use windlass_scheduler::job::{JobId, NewJob};
    use windlass_scheduler::lease::Lease;

    use crate::error::{ControlError, EnqueueError};
    use crate::messages::Question;

    /// There is none: no value of this can be.
    pub(crate) enum Recorder {}

    impl Recorder {
        pub(crate) fn enqueues(&self, _: &[NewJob], _: Option<&FlowPlan>) -> u64 {
            match *self {}
        }

        pub(crate) fn enqueued(&self, _: u64, _: Result<&Answer, &EnqueueError>) {
            match *self {}
        }

        pub(crate) fn asks(&self, _: &Question) -> u64 {
            match *self {}
        }

        pub(crate) fn asked(&self, _: u64, _: Result<&Answer, &ControlError>) {
            match *self {}
        }

        pub(crate) fn follow_up(&self, _: &Lease, _: &NewJob) {
            match *self {}
        }

        pub(crate) fn ticked(&self, _: &NewJob) {
            match *self {}
        }

        pub(crate) fn shuts_down(&self, _: Duration) -> u64 {
            match *self {}
        }

        pub(crate) fn has_shut_down(&self, _: u64) {
            match *self {}
        }

        pub(crate) fn new_id(&self) -> JobId {
            match *self {}
        }

        pub(crate) fn seed(&self) -> u64 {
            match *self {}
        }

        pub(crate) fn pause(&self) -> Option<Duration> {
            match *self {}
        }
    }
}

#[cfg(not(feature = "testing"))]
pub(crate) use nobody::Recorder;

/// Somebody who is told, or nobody.
pub(crate) type Witness = Option<std::sync::Arc<Recorder>>;
