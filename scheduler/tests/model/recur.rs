//! Schedules, made on the driver and on the oracle: one job an instant, whatever is killed, paused, defined anew or overlaps.
//!
//! Guards I1 (a schedule comes back as its wave left it) and I5 (instants go by the wall clock, which jumps here as it likes). Not
//! part of judged games: the judge is told who hands in what, and here nobody does.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use windlass_scheduler::command::{Command, Request};
use windlass_scheduler::job::{Body, JobId, Labels, Name, Priority};
use windlass_scheduler::recurrence::{
    CatchUp, Origin, Overlap, Rule, Schedule, ScheduleCommand, ScheduleView, Template,
};
use windlass_scheduler::settings::Level;
use windlass_scheduler::time::{Now, Timestamp};
use windlass_scheduler::verb::Verb;

use super::play::{Play, What};
use super::world::World;
use super::{KINDS, QUEUES, id, tag};

/// What is asked about a schedule.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    Define {
        period_ms: u64,
        catch_up: CatchUp,
        overlap: Overlap,
        jitter_ms: u64,
        place: (usize, usize),
    },
    Pause(bool),
    RunNow(u8),
    /// So many instants ago, and whether it is one to the millisecond. None ago is still to come.
    RunAt(u8, bool),
    Remove,
    Look,
    /// Its last job is called off.
    CancelLast,
}

pub(crate) fn plan() -> impl Strategy<Value = Plan> {
    let catch_up = select(vec![CatchUp::Skip, CatchUp::Latest, CatchUp::All { max: 2 }, CatchUp::All { max: 5 }]);
    let overlap = select(vec![Overlap::Allow, Overlap::Skip, Overlap::Queue, Overlap::Queue]);
    let place = (0..3_usize, prop_oneof![8 => Just(0_usize), 1 => Just(1), 1 => Just(2)]);
    let rule = (select(vec![20_u64, 50, 90_000]), select(vec![0_u64, 0, 25]));
    prop_oneof![
        6 => (rule, catch_up, overlap, place).prop_map(|((period_ms, jitter_ms), catch_up, overlap, place)| {
            Plan::Define { period_ms, catch_up, overlap, jitter_ms, place }
        }),
        2 => any::<bool>().prop_map(Plan::Pause),
        2 => (0..4_u8).prop_map(Plan::RunNow),
        2 => (0..4_u8, any::<bool>()).prop_map(|(ago, is_one)| Plan::RunAt(ago, is_one)),
        1 => Just(Plan::Remove),
        1 => Just(Plan::Look),
        3 => Just(Plan::CancelLast),
    ]
}

fn name(n: u8) -> Name {
    Name::from(["a", "b", "c"][usize::from(n % 3)])
}

fn schedule(n: u8, plan: &Plan) -> Option<Schedule> {
    let &Plan::Define { period_ms, catch_up, overlap, jitter_ms, place: (queue, kind) } = plan else { return None };
    let labels = Labels::tagged(vec![tag(true)]);
    Some(Schedule {
        name: name(n),
        rule: Rule::Every { period_ms },
        template: Template {
            queue: Name::from(QUEUES[queue]),
            kind: Name::from(KINDS[kind]),
            priority: (n == 1).then_some(Priority(0)),
            expires_ms: None,
            deadline_ms: None,
            timeout_ms: None,
            retry: None,
            body: Arc::new(Body { payload: Bytes::from(vec![n; 5]), labels, ..Body::default() }),
        },
        catch_up,
        overlap,
        jitter_ms,
        origin: Origin::Runtime,
        is_paused: false,
        cursor: Timestamp(0),
        last: None,
        held: Vec::new(),
        fired: 0,
        overlapped: 0,
    })
}

impl Play {
    pub(crate) fn schedule(&mut self, n: u8, plan: &Plan) {
        if self.told.is_some() {
            return;
        }
        let (name, now) = (name(n), self.driver.now);
        if let Plan::CancelLast = plan {
            let last = self.world.schedules.get(&name).and_then(|schedule| schedule.last);
            return last.into_iter().for_each(|(_, job)| self.steer(job, &Verb::Cancel));
        }
        let request = self.request();
        let command = match plan {
            Plan::Define { .. } => ScheduleCommand::Define(Box::new(schedule(n, plan).unwrap())),
            Plan::Pause(paused) => ScheduleCommand::Pause { name: name.clone(), paused: *paused },
            Plan::RunNow(of) => ScheduleCommand::RunNow { name: name.clone(), id: run_id(*of) },
            Plan::RunAt(ago, is_one) => {
                let at = self.world.instant(&name, *ago, *is_one, now);
                ScheduleCommand::RunAt { name: name.clone(), at }
            }
            Plan::Remove => ScheduleCommand::Remove(name.clone()),
            Plan::Look | Plan::CancelLast => ScheduleCommand::One(name.clone()),
        };
        self.driver.handle(Command::Schedule { request, command });
        let no = match plan {
            Plan::Define { .. } | Plan::RunNow(_) if self.world.draining && self.knows(plan, &name) => Some("Stopping"),
            Plan::RunNow(_) | Plan::RunAt(..) if self.world.draining => Some("Stopping"),
            _ if !self.knows(plan, &name) => Some("NoSchedule"),
            Plan::RunAt(0, _) | Plan::RunAt(_, false) => Some("NoInstant"),
            _ => None,
        };
        if let Some(no) = no {
            return self.expect_no(request, (no, None));
        }
        self.planned(request, &name, schedule(n, plan), plan, now);
    }

    fn knows(&self, plan: &Plan, name: &Name) -> bool {
        matches!(plan, Plan::Define { .. }) || self.world.schedules.contains_key(name)
    }

    /// What it does to the oracle, and how it is answered.
    fn planned(&mut self, request: Request, name: &Name, new: Option<Schedule>, plan: &Plan, now: Now) {
        let world = &mut self.world;
        let mut mark = Level::Durable as usize;
        match plan {
            Plan::Define { .. } => world.define(new.unwrap(), now),
            Plan::Pause(paused) => {
                let schedule = world.schedules.get_mut(name).unwrap();
                if schedule.is_paused && !paused {
                    schedule.cursor = schedule.cursor.max(now.wall);
                }
                schedule.is_paused = *paused;
            }
            Plan::RunNow(_) | Plan::RunAt(..) => {
                let (job, at) = match plan {
                    Plan::RunAt(ago, _) => {
                        let at = world.instant(name, *ago, true, now);
                        (world.schedules[name].id_at(at), at)
                    }
                    Plan::RunNow(of) => (run_id(*of), now.wall),
                    _ => unreachable!("it is one of these"),
                };
                let queue = world.queue_no(&world.schedules[name].template.queue).unwrap();
                let fresh = !world.jobs.contains_key(&job) && !world.ended.contains_key(&job);
                if fresh {
                    let schedule = world.schedules.get_mut(name).unwrap();
                    schedule.fired += 1;
                    if schedule.last.is_none_or(|(last, _)| last <= at) {
                        schedule.last = Some((at, job));
                    }
                    let job = schedule.job(job, at, None);
                    world.follow([job], now);
                }
                let mark = self.mark(queue).max(Level::Process as usize);
                return self.expect(request, What::Enqueued(vec![(job, fresh)]), mark);
            }
            Plan::Remove => {
                let gone = world.view(name);
                world.schedules.remove(name);
                return self.expect(request, What::Schedule(Box::new(gone)), mark);
            }
            Plan::Look | Plan::CancelLast => mark = 0,
        }
        let view = self.world.view(name);
        self.expect(request, What::Schedule(Box::new(view)), mark);
    }

    /// Nothing comes back any more.
    pub(crate) fn remove_schedules(&mut self) {
        (0..3).for_each(|n| self.schedule(n, &Plan::Remove));
    }
}

fn run_id(of: u8) -> JobId {
    id(1_000 + u64::from(of))
}

impl World {
    fn instant(&self, name: &Name, ago: u8, is_one: bool, now: Now) -> Timestamp {
        let Some(Rule::Every { period_ms }) = self.schedules.get(name).map(|schedule| &schedule.rule) else {
            return now.wall;
        };
        let next = now.wall.0 - now.wall.0 % period_ms + period_ms;
        Timestamp(next - u64::from(ago) * period_ms + u64::from(!is_one))
    }

    fn view(&self, name: &Name) -> ScheduleView {
        let schedule = self.schedules[name].clone();
        ScheduleView { next: next(&schedule).map(Timestamp), schedule, is_orphan: false }
    }

    fn define(&mut self, mut new: Schedule, now: Now) {
        new.cursor = now.wall;
        if let Some(before) = self.schedules.get(&new.name) {
            (new.is_paused, new.last) = (before.is_paused, before.last);
            (new.fired, new.overlapped) = (before.fired, before.overlapped);
            let is_same = new.rule == before.rule;
            if is_same {
                new.cursor = before.cursor;
            }
            if is_same && new.overlap == Overlap::Queue {
                new.held.clone_from(&before.held);
            } else {
                new.overlapped += before.held.len() as u64;
            }
        }
        self.schedules.insert(new.name.clone(), new);
    }

    /// When the first schedule of this queue fires.
    pub(crate) fn next_tick(&self, queue: usize) -> Option<u64> {
        let mine = self.schedules.values().filter(|one| self.queue_no(&one.template.queue) == Some(queue));
        mine.filter_map(next).min().filter(|_| !self.draining)
    }

    /// All schedules of this queue that are due fire.
    pub(crate) fn tick(&mut self, queue: usize, now: Now) {
        if self.draining {
            return;
        }
        let mine = self.schedules.values().filter(|one| self.queue_no(&one.template.queue) == Some(queue));
        let due = mine.filter_map(|one| Some((next(one)?, one.name.clone()))).filter(|(at, _)| *at <= now.wall.0);
        let mut due: Vec<_> = due.collect();
        due.sort();
        let (mut jobs, mut fired) = (Vec::new(), Vec::new());
        for (_, name) in due {
            fired.push(name.clone());
            let mut schedule = self.schedules.remove(&name).unwrap();
            let mut lives = schedule.last.is_some_and(|(_, job)| self.jobs.contains_key(&job));
            for instant in missed(&schedule, now) {
                let to_run = match schedule.overlap {
                    Overlap::Skip if lives => {
                        schedule.overlapped += 1;
                        None
                    }
                    Overlap::Allow | Overlap::Skip => Some(instant),
                    Overlap::Queue if schedule.held.len() == Schedule::HELD_MAX => {
                        schedule.overlapped += 1;
                        None
                    }
                    Overlap::Queue => {
                        schedule.held.push(instant);
                        (!lives).then(|| schedule.held.remove(0))
                    }
                };
                if let Some(instant) = to_run {
                    jobs.push(run(&mut schedule, instant));
                    lives = true;
                }
            }
            schedule.cursor = schedule.cursor.max(now.wall);
            self.schedules.insert(name, schedule);
        }
        self.follow(jobs, now);
        // What was to come in may be known, and over.
        for name in fired {
            self.free_one(&name, now);
        }
    }

    /// A job has ended: an instant may have waited for that.
    pub(crate) fn free(&mut self, id: JobId, now: Now) {
        let waits = |one: &&Schedule| !one.held.is_empty() && one.last.is_some_and(|(_, job)| job == id);
        let waiting: Vec<_> = self.schedules.values().filter(waits).map(|one| one.name.clone()).collect();
        for name in waiting {
            self.free_one(&name, now);
        }
    }

    fn free_one(&mut self, name: &Name, now: Now) {
        loop {
            let schedule = self.schedules.get_mut(name).unwrap();
            let lives = schedule.last.is_some_and(|(_, job)| self.jobs.contains_key(&job));
            if lives || schedule.held.is_empty() {
                return;
            }
            let instant = schedule.held.remove(0);
            let job = run(schedule, instant);
            self.follow([job], now);
        }
    }

    /// Who was ahead of the clock by more than a day starts anew.
    pub(crate) fn rewind(&mut self, now: Now) {
        for schedule in self.schedules.values_mut() {
            if schedule.cursor.0 > now.wall.0 + 24 * 3_600_000 {
                schedule.cursor = now.wall;
            }
        }
    }

    /// A load has put everything where it was.
    pub(crate) fn start_schedules(&mut self, now: Now) {
        self.rewind(now);
        for name in self.schedules.keys().cloned().collect::<Vec<_>>() {
            self.free_one(&name, now);
        }
    }
}

fn period_ms(schedule: &Schedule) -> u64 {
    let Rule::Every { period_ms } = schedule.rule else { unreachable!("there is no calendar here") };
    period_ms
}

fn run(schedule: &mut Schedule, instant: Timestamp) -> windlass_scheduler::job::NewJob {
    let job = schedule.job_at(instant);
    (schedule.last, schedule.fired) = (Some((instant, job.id)), schedule.fired + 1);
    job
}

fn next(schedule: &Schedule) -> Option<u64> {
    let period_ms = period_ms(schedule);
    (!schedule.is_paused).then(|| (schedule.cursor.0 / period_ms + 1) * period_ms)
}

/// All instants since the cursor, of which those stay that are caught up with.
fn missed(schedule: &Schedule, now: Now) -> Vec<Timestamp> {
    let period_ms = period_ms(schedule);
    let first = (schedule.cursor.0 / period_ms + 1) * period_ms;
    let all: Vec<_> = (first..=now.wall.0).step_by(period_ms as usize).map(Timestamp).collect();
    let max = match schedule.catch_up {
        CatchUp::Skip | CatchUp::Latest => 1,
        CatchUp::All { max } => usize::from(max),
    };
    let late = |at: &Timestamp| schedule.catch_up == CatchUp::Skip && now.wall.0 - at.0 > 60_000;
    let latest = all[all.len().saturating_sub(max)..].iter();
    latest.filter(|at| !late(at)).copied().collect()
}
