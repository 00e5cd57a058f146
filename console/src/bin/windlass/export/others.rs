//! What is no job, as lines of JSON.

use serde::Serialize;
use windlass_scheduler::change::{Counters, Record, Setting};
use windlass_scheduler::flow::{FlowRecord, StepRecord, Work};
use windlass_scheduler::recurrence::{Origin, Rule, Schedule};
use windlass_scheduler::unique::Held;

use super::line::{ErrorLine, UniqueLine};

/// What `windlass export --all` prints besides jobs.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Other {
    Counters {
        queue: String,
        enqueued: u64,
        moved_in: u64,
        moved_out: u64,
        done: u64,
        dead: u64,
        cancelled: u64,
        expired: u64,
        purged: u64,
        quarantined: u64,
        requeued: u64,
        attempts: u64,
        failures: u64,
        retries: u64,
        lost: u64,
    },
    /// What an operator, or the engine itself, set.
    Setting {
        setting: &'static str,
        about: Option<String>,
        suspects_max: Option<u32>,
        slots: Option<u32>,
        weight: Option<u32>,
    },
    Schedule {
        name: String,
        kind: String,
        queue: String,
        /// As people write it: `every 60000 ms`, or `cron 0 3 * * * in Europe/Berlin`.
        rule: String,
        is_of_code: bool,
        is_paused: bool,
        /// Up to here all instants are settled.
        cursor_ms: u64,
        last_ms: Option<u64>,
        last_job: Option<String>,
        fired: u64,
        overlapped: u64,
    },
    UniqueKey {
        key: UniqueLine,
        queue: String,
        kind: String,
        holder: String,
        taken_ms: u64,
        ends_ms: Option<u64>,
        next: Option<String>,
    },
    Flow {
        id: String,
        name: String,
        created_ms: u64,
        keep_ms: u64,
        keep_failed_ms: u64,
        steps: Vec<Step>,
    },
    /// How a step of a flow ended.
    StepEnd {
        flow: String,
        no: u32,
        how: String,
        at_ms: u64,
        attempts: u32,
        error: Option<ErrorLine>,
    },
}

/// A step, as it was planned.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    name: String,
    job: String,
    kind: String,
    queue: String,
    work: &'static str,
    /// The numbers of the steps that have to end before.
    needs: Vec<u32>,
    undoes: Option<u32>,
}

/// The line of a record, where it has one.
pub(super) fn line(record: &Record) -> Option<Other> {
    Some(match record {
        Record::Counters(counters) => of_counters(counters),
        Record::Setting(setting) => of_setting(setting),
        Record::Schedule(schedule) => of_schedule(schedule),
        Record::Unique(held) => of_key(held),
        Record::Flow(flow) => of_flow(flow),
        Record::Step(step) => of_step(step),
        _ => return None,
    })
}

fn of_counters(counters: &Counters) -> Other {
    Other::Counters {
        queue: counters.queue.to_string(),
        enqueued: counters.enqueued,
        moved_in: counters.moved_in,
        moved_out: counters.moved_out,
        done: counters.done_total,
        dead: counters.dead_total,
        cancelled: counters.cancelled_total,
        expired: counters.expired_total,
        purged: counters.purged,
        quarantined: counters.quarantined,
        requeued: counters.requeued,
        attempts: counters.attempts,
        failures: counters.failures,
        retries: counters.retries,
        lost: counters.lost,
    }
}

fn of_setting(setting: &Setting) -> Other {
    let (word, about, suspects_max, limit) = match setting {
        Setting::Paused(queue) => ("paused", Some(queue.to_string()), None, None),
        Setting::SuspectsMax(max) => ("suspects_max", None, Some(*max), None),
        Setting::Limit(of, limit) => ("limit", Some(format!("{of:?}")), None, Some(limit)),
    };
    let (slots, weight) = (limit.and_then(|limit| limit.slots), limit.and_then(|limit| limit.weight));
    Other::Setting { setting: word, about, suspects_max, slots, weight }
}

fn of_schedule(schedule: &Schedule) -> Other {
    let rule = match &schedule.rule {
        Rule::Every { period_ms } => format!("every {period_ms} ms"),
        Rule::Cron { pattern, zone } => format!("cron {pattern} in {zone}"),
    };
    Other::Schedule {
        name: schedule.name.to_string(),
        kind: schedule.template.kind.to_string(),
        queue: schedule.template.queue.to_string(),
        rule,
        is_of_code: schedule.origin == Origin::Code,
        is_paused: schedule.is_paused,
        cursor_ms: schedule.cursor.0,
        last_ms: schedule.last.map(|(at, _)| at.0),
        last_job: schedule.last.map(|(_, id)| id.to_string()),
        fired: schedule.fired,
        overlapped: schedule.overlapped,
    }
}

fn of_key(held: &Held) -> Other {
    Other::UniqueKey {
        key: UniqueLine::of(&held.key),
        queue: held.queue.to_string(),
        kind: held.kind.to_string(),
        holder: held.holder.to_string(),
        taken_ms: held.taken.0,
        ends_ms: held.ends().map(|at| at.0),
        next: held.next.map(|(id, _)| id.to_string()),
    }
}

fn of_flow(flow: &FlowRecord) -> Other {
    let steps = flow.plan.steps.iter().map(|step| Step {
        name: step.name.to_string(),
        job: step.job.to_string(),
        kind: step.kind.to_string(),
        queue: step.queue.to_string(),
        work: match step.work {
            Work::Job => "job",
            Work::Timer => "timer",
            Work::Signal => "signal",
            Work::Batch => "batch",
        },
        needs: step.needs.iter().map(|need| need.step).collect(),
        undoes: step.undoes,
    });
    Other::Flow {
        id: flow.plan.id.to_string(),
        name: flow.plan.name.to_string(),
        created_ms: flow.created.0,
        keep_ms: flow.plan.keep_ms,
        keep_failed_ms: flow.plan.keep_failed_ms,
        steps: steps.collect(),
    }
}

fn of_step(step: &StepRecord) -> Other {
    use windlass_scheduler::flow::StepHow;
    use windlass_scheduler::state::State;
    let how = match step.end.how {
        StepHow::Job(end) => State::from(end).as_str(),
        StepHow::Skipped => "skipped",
        StepHow::Signalled => "signalled",
    };
    Other::StepEnd {
        flow: step.of.flow.to_string(),
        no: step.of.no,
        how: how.to_owned(),
        at_ms: step.end.at.0,
        attempts: step.end.attempts,
        error: step.end.failure.as_ref().map(ErrorLine::of),
    }
}
