//! What stands around every attempt of a simulation: it tells of starts and ends, and lets attempts go wrong.

use std::sync::Arc;

use windlass_scheduler::attempt::{Failure, FailureKind, Outcome, Retry};
use windlass_scheduler::history::Finish;
use windlass_scheduler::lease::StopReason;

use super::faults::Place;
use super::recorder::Recorder;
use crate::middleware::{Attempt, AttemptOutcome, BlockingNext, Middleware, Next};

/// The outermost middleware.
pub(crate) struct Around(pub(crate) Arc<Recorder>);

/// What an attempt is made to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Play {
    Handler,
    Fail,
    FailAfter,
    Panic,
    Hang,
}

/// Tells the end of an attempt once: that it was dropped, if nobody said otherwise.
struct Ending<'a> {
    recorder: &'a Recorder,
    attempt: &'a Attempt,
    how: Finish,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if !self.recorder.reaches(Place::End) {
            self.recorder.ended(&self.attempt.core.lease, self.how);
        }
    }
}

fn failed(kind: FailureKind, message: &str) -> AttemptOutcome {
    let failure = Failure::new(kind, message.to_owned());
    AttemptOutcome { outcome: Outcome::Failed { failure, retry: Retry::ByPolicy } }
}

impl Around {
    fn begin<'a>(&'a self, attempt: &'a Attempt) -> (Ending<'a>, Play) {
        self.0.reaches(Place::Start);
        self.0.started(&attempt.core.lease, attempt.payload());
        let ending = Ending { recorder: &self.0, attempt, how: Finish::Dropped };
        let play = self.0.tale().map_or(Play::Handler, |mut tale| {
            let faults = tale.faults;
            let plays = [
                (Play::Fail, faults.fail_permille),
                (Play::FailAfter, faults.fail_after_permille),
                (Play::Panic, faults.panic_permille),
                (Play::Hang, faults.hang_permille),
            ];
            plays
                .into_iter()
                .find(|(_, permille)| tale.chance.permille(*permille))
                .map_or(Play::Handler, |(play, _)| play)
        });
        (ending, play)
    }
}

impl Middleware for Around {
    async fn around(&self, attempt: &Attempt, next: Next) -> AttemptOutcome {
        let (mut ending, play) = self.begin(attempt);
        let outcome = match play {
            Play::Handler => next.run().await,
            Play::Fail => failed(FailureKind::Error, "a failure of the simulation, in the handler's place"),
            Play::FailAfter => {
                let _ = next.run().await;
                failed(FailureKind::Error, "a failure of the simulation, after the handler's work")
            }
            Play::Panic => failed(FailureKind::Panic, "a panic of the simulation, in the handler's place"),
            Play::Hang => {
                attempt.cancellation().cancelled().await;
                failed(FailureKind::Error, "the simulation hung until it was cancelled")
            }
        };
        ending.how = seen(attempt, &outcome);
        outcome
    }

    fn around_blocking(&self, attempt: &Attempt, next: BlockingNext<'_>) -> AttemptOutcome {
        let (mut ending, play) = self.begin(attempt);
        let outcome = match play {
            Play::Handler | Play::Hang => next.run(),
            Play::Fail => failed(FailureKind::Error, "a failure of the simulation, in the handler's place"),
            Play::FailAfter => {
                let _ = next.run();
                failed(FailureKind::Error, "a failure of the simulation, after the handler's work")
            }
            Play::Panic => failed(FailureKind::Panic, "a panic of the simulation, in the handler's place"),
        };
        ending.how = seen(attempt, &outcome);
        outcome
    }
}

/// As the engine will see it: who was asked to end has not failed in the same way.
fn seen(attempt: &Attempt, outcome: &AttemptOutcome) -> Finish {
    match (attempt.stop_reason(), Finish::from(&outcome.outcome)) {
        (Some(StopReason::Stopping), Finish::Failed { .. } | Finish::Permanent) => Finish::Released,
        (Some(StopReason::TimedOut), Finish::Released) => Finish::Failed { after_ms: None },
        (_, how) => how,
    }
}
