//! Schedules: what fires, what waits for an earlier job, and what is asked about them.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Bound;

use super::super::outbox::Mark;
use super::super::state::{Queue, State};
use super::{Decision, batch, submit};
use crate::bug;
use crate::command::Request;
use crate::effect::{Answer, Effect, Receipt};
use crate::event::Event;
use crate::job::{JobId, Name, NewJob};
use crate::recurrence::{Origin, Overlap, Schedule, ScheduleCommand, ScheduleView};
use crate::refusal::Refusal;
use crate::settings::Level;
use crate::time::{Now, Timestamp};

/// What is remembered of schedules is journaled, whatever queues they are about.
const LEVEL: Level = Level::Durable;
/// Most schedules that fire in one step: each asks the calendar twice, which takes some microseconds.
const PER_STEP_MAX: usize = 250;

/// When the first schedule of this queue fires.
pub(crate) fn next(state: &State, queue: &Queue) -> Option<Timestamp> {
    if state.draining { None } else { queue.ticks.first().map(|(at, _)| *at) }
}

/// What is due has its jobs, and is settled, in one commit. (Of a `Memory` queue the twin has the job, and the journal the cursor: where
/// that write fails, the instant comes once more, and its id is known already.)
pub(crate) fn tick(state: &State, queue: &Queue, now: Now, decision: &mut Decision) {
    if state.draining {
        return;
    }
    let mut jobs = Vec::new();
    for (_, name) in queue.ticks.iter().take_while(|(at, _)| *at <= now.wall).take(PER_STEP_MAX) {
        let mut schedule = state.schedules.by_name[name].0.clone();
        let mut lives = last_lives(state, &schedule);
        for instant in schedule.to_run(calendar(state), now.wall) {
            match schedule.overlap {
                Overlap::Queue if schedule.held.len() < Schedule::HELD_MAX => schedule.held.push(instant),
                Overlap::Skip | Overlap::Queue if lives => {
                    schedule.overlapped += 1;
                    continue;
                }
                _ => jobs.push(run(&mut schedule, instant)),
            }
            if !lives && !schedule.held.is_empty() {
                jobs.push(run_held(&mut schedule));
            }
            lives = true;
        }
        look_again(&schedule, now, decision);
        schedule.cursor = schedule.cursor.max(now.wall);
        moved(state, schedule, decision);
    }
    come_in(state, jobs, now, decision);
}

/// They may overdraw a depth limit, like all that follows from what was accepted (I9).
fn come_in(state: &State, mut jobs: Vec<NewJob>, now: Now, decision: &mut Decision) {
    if state.settings.notices.ticks {
        let told = jobs.iter().map(|job| (Mark::Sealed, Effect::Ticked(Box::new(job.clone()))));
        decision.effects.extend(told);
    }
    // What comes again and again is of no batch.
    jobs.iter_mut().filter(|job| job.body.labels.member().is_some()).for_each(|job| batch::relabel(job, None));
    submit::follow_ups(state, jobs, now, decision);
}

/// An instant has its job.
fn run(schedule: &mut Schedule, instant: Timestamp) -> NewJob {
    let job = schedule.job_at(instant);
    schedule.last = Some((instant, job.id));
    schedule.fired += 1;
    job
}

/// The first instant that waited has its job.
fn run_held(schedule: &mut Schedule) -> NewJob {
    let instant = schedule.held.remove(0);
    run(schedule, instant)
}

/// A job ends: an instant may wait for that.
pub(super) fn free(state: &State, id: JobId, now: Now, decision: &mut Decision) {
    let waiting = state.schedules.waits_for.get(&id).into_iter().flatten();
    decision.freed.extend(waiting.map(|name| (name.clone(), now)));
}

/// An instant that waits does so for a job that may not be there: it was known and had ended (a crash took the cursor, and not the
/// job), or another one has its key. That is seen once its jobs have come in.
fn look_again(schedule: &Schedule, now: Now, decision: &mut Decision) {
    if !schedule.held.is_empty() {
        decision.freed.push((schedule.name.clone(), now));
    }
}

/// The first instant that waited has its job now, that the one before it has ended. Also while the shard drains, like a follow-up: what
/// ends and what that frees are one step.
pub(crate) fn freed(state: &State, name: &Name, now: Now) -> Decision {
    let mut decision = Decision::default();
    let Some((schedule, _)) = state.schedules.by_name.get(name) else { return decision };
    if schedule.held.is_empty() || last_lives(state, schedule) {
        return decision;
    }
    let mut schedule = schedule.clone();
    let job = run_held(&mut schedule);
    look_again(&schedule, now, &mut decision);
    moved(state, schedule, &mut decision);
    come_in(state, vec![job], now, &mut decision);
    decision
}

/// Those that the code or the journal has.
pub(crate) fn names(state: &State) -> Vec<Name> {
    let (loaded, declared) = (state.schedules.by_name.keys(), state.settings.schedules.keys());
    let new = declared.filter(|name| !state.schedules.by_name.contains_key(*name));
    loaded.chain(new).cloned().collect()
}

/// Everything is loaded: the code's word counts (unless this core only comes after another one of the same process), and it is
/// known again when the schedule fires next.
pub(crate) fn started(state: &State, name: &Name, now: Now) -> Decision {
    let is_start = state.settings.term == state.settings.first_term;
    let declared = state.settings.schedules.get(name).filter(|_| is_start);
    let before = state.schedules.by_name.get(name).map(|(schedule, _)| schedule);
    let Some(mut schedule) = declared.map(|new| defined(before, new.clone(), now)).or_else(|| before.cloned()) else {
        return Decision::default();
    };
    rewind(&mut schedule, now);
    let mut decision = Decision::default();
    let is_free = !schedule.held.is_empty() && !last_lives(state, &schedule);
    if before == Some(&schedule) {
        let next = next_of(state, &schedule);
        decision.events.push(Event::ScheduleArmed { name: name.clone(), next });
    } else {
        moved(state, schedule, &mut decision);
    }
    if is_free {
        decision.freed.push((name.clone(), now));
    }
    decision
}

/// The clock jumped: whoever is far ahead of it starts anew.
pub(crate) fn clock_was_wrong(state: &State, now: Now) -> Decision {
    let mut decision = Decision::default();
    for (schedule, _) in state.schedules.by_name.values() {
        let mut schedule = schedule.clone();
        if rewind(&mut schedule, now) {
            moved(state, schedule, &mut decision);
        }
    }
    decision
}

fn rewind(schedule: &mut Schedule, now: Now) -> bool {
    let ahead_ms_max = if bug!(InstantTwice) { 0 } else { Schedule::AHEAD_MS_MAX };
    let is_wrong = schedule.cursor.since_ms(now.wall) > ahead_ms_max;
    if is_wrong {
        schedule.cursor = now.wall;
    }
    is_wrong
}

/// What a definition makes of what was there: where it fires alike, it goes on where it was.
fn defined(before: Option<&Schedule>, mut new: Schedule, now: Now) -> Schedule {
    let Some(before) = before else { return Schedule { cursor: now.wall, ..new } };
    let is_same = before.rule == new.rule;
    new.cursor = if is_same { before.cursor } else { now.wall };
    (new.is_paused, new.last) = (before.is_paused, before.last);
    (new.fired, new.overlapped) = (before.fired, before.overlapped);
    if is_same && new.overlap == Overlap::Queue {
        new.held.clone_from(&before.held);
    } else {
        new.overlapped += before.held.len() as u64;
    }
    new
}

/// Does what is asked, or says why not.
pub(crate) fn schedule(
    state: &State,
    request: Request,
    command: ScheduleCommand,
    now: Now,
) -> Result<Decision, Refusal> {
    match command {
        ScheduleCommand::Define(new) => define(state, request, *new, now),
        ScheduleCommand::Remove(name) => {
            let view = view(state, find(state, &name)?);
            let decision = Decision::default().event(Event::ScheduleRemoved(name));
            Ok(decision.reply(Mark::from(LEVEL), request, Ok(Answer::Schedules(vec![view]))))
        }
        ScheduleCommand::Pause { name, paused } => {
            let mut schedule = find(state, &name)?.clone();
            if !paused && schedule.is_paused {
                // What passed meanwhile was not missed: somebody did not want it.
                schedule.cursor = schedule.cursor.max(now.wall);
            }
            schedule.is_paused = paused;
            Ok(answered(state, request, schedule))
        }
        ScheduleCommand::RunNow { name, id } => run_now(state, request, &name, id, now),
        ScheduleCommand::RunAt { name, at } => run_at(state, request, &name, at, now),
        ScheduleCommand::One(name) => {
            let views = vec![view(state, find(state, &name)?)];
            Ok(Decision::default().reply(Mark::Sealed, request, Ok(Answer::Schedules(views))))
        }
        ScheduleCommand::Orphans => {
            let all = state.schedules.by_name.values().map(|(schedule, _)| schedule);
            let orphans = all.filter(|one| is_orphan(state, one)).map(|one| view(state, one)).collect();
            Ok(Decision::default().reply(Mark::Sealed, request, Ok(Answer::Schedules(orphans))))
        }
        ScheduleCommand::All { after, limit } => {
            let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let some = state.schedules.by_name.range::<Name, _>((from, Bound::Unbounded)).take(limit);
            let views = some.map(|(_, (schedule, _))| view(state, schedule)).collect();
            Ok(Decision::default().reply(Mark::Sealed, request, Ok(Answer::Schedules(views))))
        }
    }
}

fn define(state: &State, request: Request, new: Schedule, now: Now) -> Result<Decision, Refusal> {
    if state.draining {
        return Err(Refusal::Stopping);
    }
    let before = state.schedules.by_name.get(&new.name).map(|(schedule, _)| schedule);
    if before.is_none() && state.schedules.by_name.len() >= Schedule::COUNT_MAX {
        return Err(Refusal::TooManySchedules { schedules_max: Schedule::COUNT_MAX });
    }
    submit::check(state, &new.job_at(now.wall))?;
    Ok(answered(state, request, defined(before, new, now)))
}

fn run_now(state: &State, request: Request, name: &Name, id: JobId, now: Now) -> Result<Decision, Refusal> {
    let schedule = to_run(state, name)?;
    Ok(run_beside(state, request, (schedule, id, now.wall), now))
}

/// An instant that is over has its job, by the id that it would have had: so it has none twice, as long as that is known.
fn run_at(state: &State, request: Request, name: &Name, at: Timestamp, now: Now) -> Result<Decision, Refusal> {
    let schedule = to_run(state, name)?;
    let refused = |is| Err(Refusal::NoInstant { name: name.clone(), at, is });
    if at > now.wall {
        return refused("still to come");
    }
    if !schedule.fires_at(calendar(state), at) {
        return refused("none of its instants");
    }
    let id = schedule.id_at(at);
    Ok(run_beside(state, request, (schedule, id, at), now))
}

fn to_run(state: &State, name: &Name) -> Result<Schedule, Refusal> {
    if state.draining { Err(Refusal::Stopping) } else { find(state, name).cloned() }
}

/// What somebody asks for is beside what the rule says, which goes on from where it was.
fn run_beside(
    state: &State,
    request: Request,
    (mut schedule, id, instant): (Schedule, JobId, Timestamp),
    now: Now,
) -> Decision {
    let level = state.queue_no(&schedule.template.queue).map_or(LEVEL, |no| state.queue(no).level());
    let fresh = state.place_of(id).is_none();
    let mut decision = Decision::default();
    if fresh {
        let job = schedule.job(id, instant, None);
        schedule.last = schedule.last.filter(|(last, _)| *last > instant).or(Some((instant, id)));
        schedule.fired += 1;
        moved(state, schedule, &mut decision);
        come_in(state, vec![job], now, &mut decision);
    }
    let answer = Answer::Enqueued(vec![Receipt { id, fresh }]);
    decision.reply(Mark::from(level).max(Mark::Written), request, Ok(answer))
}

fn answered(state: &State, request: Request, schedule: Schedule) -> Decision {
    let mut decision = Decision::default();
    let view = ScheduleView { next: next_of(state, &schedule), ..view(state, &schedule) };
    moved(state, schedule, &mut decision);
    decision.reply(Mark::from(LEVEL), request, Ok(Answer::Schedules(vec![view])))
}

fn find<'a>(state: &'a State, name: &Name) -> Result<&'a Schedule, Refusal> {
    let found = state.schedules.by_name.get(name).map(|(schedule, _)| schedule);
    found.ok_or_else(|| Refusal::NoSchedule { name: name.clone() })
}

fn view(state: &State, schedule: &Schedule) -> ScheduleView {
    let next = state.schedules.by_name.get(&schedule.name).and_then(|(_, next)| *next);
    ScheduleView { schedule: schedule.clone(), next, is_orphan: is_orphan(state, schedule) }
}

fn is_orphan(state: &State, schedule: &Schedule) -> bool {
    schedule.origin == Origin::Code && !state.settings.schedules.contains_key(&schedule.name)
}

fn last_lives(state: &State, schedule: &Schedule) -> bool {
    schedule.last.is_some_and(|(_, id)| state.live(id).is_some())
}

fn next_of(state: &State, schedule: &Schedule) -> Option<Timestamp> {
    if schedule.is_paused { None } else { schedule.next(calendar(state), schedule.cursor) }
}

fn moved(state: &State, schedule: Schedule, decision: &mut Decision) {
    let next = next_of(state, &schedule);
    decision.events.push(Event::ScheduleMoved { schedule: Box::new(schedule), next });
}

fn calendar(state: &State) -> &dyn crate::recurrence::Calendar {
    &*state.settings.calendar.0
}
