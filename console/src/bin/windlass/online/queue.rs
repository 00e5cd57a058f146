//! A queue, paused and resumed.

use clap::Args;
use serde_json::json;

use super::{Place, one_line};
use crate::failure::{Failure, Verdict};
use crate::output::Out;

/// Which queue.
#[derive(Args, Debug)]
pub(crate) struct Queue {
    #[command(flatten)]
    place: Place,
    /// The queue's name
    queue: String,
}

impl Queue {
    /// `pause` or `resume`.
    pub(crate) fn set(&self, verb: &'static str, out: &mut Out) -> Result<Verdict, Failure> {
        let answer = self.place.client()?.post(&["queues", &self.queue, verb], &json!({}))?;
        if out.json {
            out.answer(&answer.text)?;
        } else {
            let now = if verb == "pause" { "is paused" } else { "goes on" };
            out.line(format_args!("queue {} {now}", one_line(&self.queue)))?;
        }
        Ok(Verdict::Sound)
    }
}
