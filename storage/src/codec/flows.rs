//! The records of flows and batches.

use windlass_scheduler::change::{Key, Record};
use windlass_scheduler::job::Name;

use super::{CodecError, Encoded, Encoder, kind, read, unknown_state};
use crate::error::StorageError;
use crate::keys;
use crate::record::{BatchV1, FlowV1, MemberV1, StepV1};

impl Encoder {
    pub(super) fn put_of_flow(&mut self, record: &Record) -> Result<Encoded<'_>, StorageError> {
        let out = &mut self.buffer;
        match record {
            Record::Flow(flow) => {
                let family = keys::flow(flow.plan.id, out);
                self.finish(family, kind::FLOW, &FlowV1::new(flow))
            }
            Record::Step(step) => {
                let family = keys::step(step.of, out);
                self.finish(family, kind::STEP, &StepV1::new(step))
            }
            Record::StepOutput(of, bytes) => {
                let family = keys::step_output(*of, out);
                self.finish(family, kind::STEP_OUTPUT, &bytes.as_ref())
            }
            Record::Batch(batch) => {
                let family = keys::batch(batch.of, out);
                self.finish(family, kind::BATCH, &BatchV1::new(batch))
            }
            Record::Member(member) => {
                let family = keys::member(member.of, member.place, out);
                self.finish(family, kind::MEMBER, &MemberV1::new(member))
            }
            other => unreachable!("{:?} is about no flow", other.key()),
        }
    }
}

/// Reads one back.
pub(super) fn decode(
    at: Key,
    kind: u8,
    body: &[u8],
    intern: &mut dyn FnMut(&str) -> Name,
) -> Result<Record, CodecError> {
    Ok(match (at, kind) {
        (Key::Flow(id), kind::FLOW) => Record::Flow(Box::new(read::<FlowV1<'_>>(body)?.domain(id, intern))),
        (Key::Step(of), kind::STEP) => {
            Record::Step(Box::new(read::<StepV1<'_>>(body)?.domain(of).ok_or_else(unknown_state)?))
        }
        (Key::StepOutput(of), kind::STEP_OUTPUT) => {
            Record::StepOutput(of, bytes::Bytes::copy_from_slice(read::<&[u8]>(body)?))
        }
        (Key::Batch(of), kind::BATCH) => {
            let reason = || CodecError::Body { reason: "an unknown failure, or numbers that cannot be".to_owned() };
            Record::Batch(Box::new(read::<BatchV1<'_>>(body)?.domain(of).ok_or_else(reason)?))
        }
        (Key::Member(of, place), kind::MEMBER) => {
            Record::Member(Box::new(read::<MemberV1<'_>>(body)?.domain(of, place).ok_or_else(unknown_state)?))
        }
        (_, found) => return Err(CodecError::Kind { found }),
    })
}
