//! Which jobs that ended are retained, and which of those have to go: by age, by count and by bytes, the oldest first.

use alloc::vec::Vec;

use super::super::state::{Live, Queue, State};
use crate::attempt::{Failure, Output};
use crate::command::QueueNo;
use crate::effect::Deadline;
use crate::event::Event;
use crate::settings::{KeepDone, Retention};
use crate::state::EndState;
use crate::time::Timestamp;

/// Most retained jobs of one end that one step forgets: the rest is due again at once.
const PER_STEP_MAX: usize = 1_000;

/// Whether a job that ends so is retained at all. One that is over the limit alone would push out all others in vain.
pub(crate) fn is_kept(
    live: &Live,
    retention: &Retention,
    end: EndState,
    output: &Output,
    failure: Option<&Failure>,
) -> bool {
    let is_wanted = match (end, retention.keep_done) {
        (EndState::Done, KeepDone::None) => false,
        (EndState::Done, KeepDone::WithOutput) => *output != Output::None,
        _ => true,
    };
    let limits = retention.keep(end);
    is_wanted && limits.count_max > 0 && bytes(live, output, failure) <= limits.bytes_max
}

/// Bytes that a retained job takes: body, output and error.
pub(crate) fn bytes(live: &Live, output: &Output, failure: Option<&Failure>) -> u64 {
    let error = failure.map_or(0, |failure| failure.message.len());
    u64::from(live.body_bytes) + (output.kept_bytes() + error) as u64
}

/// The retained jobs of this queue that have to go by now.
pub(crate) fn outdated(state: &State, no: QueueNo, now: Timestamp) -> Vec<Event> {
    let queue = state.queue(no);
    let mut events = Vec::new();
    for end in EndState::ALL {
        let limits = queue.settings.retention.keep(end);
        let list = &queue.ended[end.index()];
        let (mut count, mut bytes) = (list.count, list.bytes);
        for (stub, oldest) in list.iter(&state.stubs).take(PER_STEP_MAX) {
            let is_over = count > limits.count_max || bytes > limits.bytes_max;
            if !is_over && oldest.at.plus_ms(limits.age_ms) > now {
                break;
            }
            count -= 1;
            bytes -= oldest.bytes;
            events.push(Event::Purged { stub });
        }
    }
    events
}

/// When the oldest retained job of this queue is forgotten: at once where more stand than may.
pub(crate) fn next(state: &State, queue: &Queue) -> Option<Deadline> {
    let of = |end: EndState| {
        let limits = queue.settings.retention.keep(end);
        let list = &queue.ended[end.index()];
        let (_, oldest) = list.iter(&state.stubs).next()?;
        let is_over = list.count > limits.count_max || list.bytes > limits.bytes_max;
        Some(if is_over { Timestamp(0) } else { oldest.at.plus_ms(limits.age_ms) })
    };
    let flow = queue.flows.first().map(|(at, _)| *at);
    let calls_off = (!queue.calling_off.is_empty()).then_some(Timestamp(0));
    EndState::ALL.into_iter().filter_map(of).chain(flow).chain(calls_off).min().map(Deadline::Wall)
}
