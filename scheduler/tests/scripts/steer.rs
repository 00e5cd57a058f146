//! The words for what operators do to single jobs.

use windlass_scheduler::command::{Command, Request};
use windlass_scheduler::job::{JobId, Name, Priority, When};
use windlass_scheduler::time::Timestamp;
use windlass_scheduler::verb::{Known, Retained, Verb};

use super::{Script, Words};

impl Script {
    /// A verb, as a command. Like a driver, it reads a retained job first.
    pub(super) fn verb(&mut self, request: Request, id: JobId, words: &Words<'_>) -> Command {
        let driver = self.driver();
        let stores = [&driver.journal, &driver.twin];
        let read = stores.into_iter().find_map(|store| {
            Some(Box::new(Retained { ended: store.ended(id)?.clone(), body: store.job(id)?.body.clone() }))
        });
        let verb = match words.word(0) {
            "cancel" => Verb::Cancel,
            "discard" => Verb::Discard,
            "run" => Verb::RunNow,
            "requeue" => Verb::Requeue,
            "reprioritise" => Verb::Reprioritise(Priority(words.number(2) as u8)),
            "reschedule" => {
                let after = words.option("after").map(When::After);
                Verb::Reschedule(after.or_else(|| words.option("at").map(|at| When::At(Timestamp(at)))).unwrap())
            }
            "move" => Verb::Move(Name::from(words.word(2))),
            _ => {
                let payload = vec![1; words.option("bytes").unwrap()].into();
                let known = read.map_or(Known::Nothing, Known::Retained);
                return Command::Edit { request, id, payload, version: 2, known };
            }
        };
        let read = read.filter(|_| verb == Verb::Requeue);
        Command::Steer { request, id, verb, read }
    }
}
