//! The body of a schedule's record.

use bincode::{BorrowDecode as BorrowDecodeDerive, Encode};
use uuid::Uuid;
use windlass_scheduler::job::{JobId, Name, Priority};
use windlass_scheduler::recurrence::{CatchUp, Origin, Overlap, Rule, Schedule, Template};
use windlass_scheduler::time::Timestamp;

use super::{BodyV1, List, PolicyV1, Texts};

#[derive(Encode, BorrowDecodeDerive)]
enum RuleV1<'a> {
    Every { period_ms: u64 },
    Cron { pattern: &'a str, zone: &'a str },
}

/// `T` is `&[String]` when writing and [`Texts`] when reading.
#[derive(Encode, BorrowDecodeDerive)]
struct TemplateV1<'a, T> {
    queue: &'a str,
    kind: &'a str,
    priority: Option<u8>,
    expires_ms: Option<u64>,
    deadline_ms: Option<u64>,
    timeout_ms: Option<u64>,
    retry: Option<PolicyV1>,
    body: BodyV1<'a, T>,
}

#[derive(Encode, BorrowDecodeDerive)]
enum CatchUpV1 {
    Skip,
    Latest,
    All(u16),
}

#[derive(Encode, BorrowDecodeDerive)]
enum OverlapV1 {
    Allow,
    Skip,
    Queue,
}

#[derive(Encode, BorrowDecodeDerive)]
struct LastV1 {
    at: u64,
    id: [u8; 16],
}

/// Its name stands in the key.
#[derive(Encode, BorrowDecodeDerive)]
pub(crate) struct ScheduleV1<'a, T> {
    rule: RuleV1<'a>,
    template: TemplateV1<'a, T>,
    catch_up: CatchUpV1,
    overlap: OverlapV1,
    jitter_ms: u64,
    of_code: bool,
    paused: bool,
    cursor: u64,
    last: Option<LastV1>,
    held: List<u64>,
    fired: u64,
    overlapped: u64,
}

impl<'a> ScheduleV1<'a, &'a [String]> {
    pub(crate) fn new(schedule: &'a Schedule) -> Self {
        let template = &schedule.template;
        Self {
            rule: match &schedule.rule {
                Rule::Every { period_ms } => RuleV1::Every { period_ms: *period_ms },
                Rule::Cron { pattern, zone } => RuleV1::Cron { pattern, zone },
            },
            template: TemplateV1 {
                queue: template.queue.as_str(),
                kind: template.kind.as_str(),
                priority: template.priority.map(|priority| priority.0),
                expires_ms: template.expires_ms,
                deadline_ms: template.deadline_ms,
                timeout_ms: template.timeout_ms,
                retry: template.retry.as_ref().map(PolicyV1::new),
                body: BodyV1::new(&template.body),
            },
            catch_up: match schedule.catch_up {
                CatchUp::Skip => CatchUpV1::Skip,
                CatchUp::Latest => CatchUpV1::Latest,
                CatchUp::All { max } => CatchUpV1::All(max),
            },
            overlap: match schedule.overlap {
                Overlap::Allow => OverlapV1::Allow,
                Overlap::Skip => OverlapV1::Skip,
                Overlap::Queue => OverlapV1::Queue,
            },
            jitter_ms: schedule.jitter_ms,
            of_code: schedule.origin == Origin::Code,
            paused: schedule.is_paused,
            cursor: schedule.cursor.0,
            last: schedule.last.map(|(at, id)| LastV1 { at: at.0, id: *id.0.as_bytes() }),
            held: List(schedule.held.iter().map(|at| at.0).collect()),
            fired: schedule.fired,
            overlapped: schedule.overlapped,
        }
    }
}

impl ScheduleV1<'_, Texts<'_>> {
    pub(crate) fn domain(self, name: Name, intern: &mut dyn FnMut(&str) -> Name) -> Schedule {
        let template = self.template;
        Schedule {
            name,
            rule: match self.rule {
                RuleV1::Every { period_ms } => Rule::Every { period_ms },
                RuleV1::Cron { pattern, zone } => Rule::Cron { pattern: pattern.into(), zone: zone.into() },
            },
            template: Template {
                queue: intern(template.queue),
                kind: intern(template.kind),
                priority: template.priority.map(Priority),
                expires_ms: template.expires_ms,
                deadline_ms: template.deadline_ms,
                timeout_ms: template.timeout_ms,
                retry: template.retry.map(PolicyV1::domain),
                body: template.body.domain(intern).into(),
            },
            catch_up: match self.catch_up {
                CatchUpV1::Skip => CatchUp::Skip,
                CatchUpV1::Latest => CatchUp::Latest,
                CatchUpV1::All(max) => CatchUp::All { max },
            },
            overlap: match self.overlap {
                OverlapV1::Allow => Overlap::Allow,
                OverlapV1::Skip => Overlap::Skip,
                OverlapV1::Queue => Overlap::Queue,
            },
            jitter_ms: self.jitter_ms,
            origin: if self.of_code { Origin::Code } else { Origin::Runtime },
            is_paused: self.paused,
            cursor: Timestamp(self.cursor),
            last: self.last.as_ref().map(|last| (Timestamp(last.at), JobId(Uuid::from_bytes(last.id)))),
            held: self.held.0.iter().map(|at| Timestamp(*at)).collect(),
            fired: self.fired,
            overlapped: self.overlapped,
        }
    }
}
