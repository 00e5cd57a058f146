//! The verbs of operators, each done to the driver and to the oracle, which has its own idea of what is allowed; and
//! orders, which do a verb to many jobs in one step.
//!
//! Guards I1 and I3 (whatever is done to a job, it is in one place and comes back from the journal so), I2 (an answer
//! waits for the stronger of two queues) and I11 (a job that moves leaves one queue and comes into another).

use bytes::Bytes;
use windlass_scheduler::attempt::Output;
use windlass_scheduler::command::{Command, Request};
use windlass_scheduler::filter::Filter;
use windlass_scheduler::history::{Call, fingerprint};
use windlass_scheduler::job::{JobId, Name, When};
use windlass_scheduler::order::{Order, OrderCommand, OrderEnd, OrderId, OrderPlace, OrderStep};
use windlass_scheduler::settings::Level;
use windlass_scheduler::state::{EndState, State};
use windlass_scheduler::time::Now;
use windlass_scheduler::verb::{Edition, Known, Read, Retained, Verb};

use super::play::{No, Play, What};
use super::world::Job;
use super::{QUEUES, moment};

/// What came of a verb: the state that the job is in then, the mark that the answer waits for, and whether anything is
/// different.
type Did = Result<(State, usize, bool), No>;

/// What an operator does to jobs.
#[derive(Clone, Debug)]
pub(crate) enum Do {
    Verb(Verb),
    Reschedule((bool, u64)),
    MoveTo(usize),
}

impl Do {
    pub(crate) fn verb(&self, now: Now) -> Verb {
        match self {
            Self::Verb(verb) => verb.clone(),
            Self::Reschedule(when) => Verb::Reschedule(moment(*when, now)),
            Self::MoveTo(queue) => Verb::Move(Name::from(QUEUES[*queue])),
        }
    }
}

impl Play {
    /// What a job is and where, if it is among these states.
    fn allowed(&self, id: JobId, among: &[State]) -> Result<(State, usize), No> {
        let live = self.world.jobs.get(&id).map(|job| (job.state, job.queue));
        let is = live.or_else(|| self.world.ended.get(&id).map(|one| (State::from(one.state), one.queue)));
        match is {
            None => Err(("Forgotten", None)),
            Some((state, queue)) if !among.contains(&state) => Err(("Forbidden", Some(queue))),
            Some(is) => Ok(is),
        }
    }

    fn job(&mut self, id: JobId) -> &mut Job {
        self.world.jobs.get_mut(&id).unwrap()
    }

    fn depth_is_left(&self, queue: usize) -> Result<(), No> {
        let is_full = self.world.depth(queue) >= self.world.settings.queues[queue].depth_max;
        if is_full { Err(("QueueFull", None)) } else { Ok(()) }
    }

    /// The driver reads what is written, which may be behind.
    fn read(&self, id: JobId) -> Read {
        let stores = [&self.driver.journal, &self.driver.twin];
        let read = |store: &super::common::Store| {
            Some(Box::new(Retained { ended: store.ended(id)?.clone(), body: store.job(id)?.body.clone() }))
        };
        stores.into_iter().find_map(read)
    }

    fn is_current(&self, id: JobId, read: &Read) -> bool {
        {
            let is = &self.world.ended[&id];
            read.as_ref().is_some_and(|read| (is.end_no, is.edits) == (read.ended.key.end_no, read.ended.edits))
        }
    }

    pub(crate) fn steer(&mut self, id: JobId, verb: &Verb) {
        let request = self.request();
        if let Some(told) = &mut self.told {
            told.steer(Some(request), id, verb);
        }
        let read = if *verb == Verb::Requeue { self.read(id) } else { None };
        self.driver.handle(Command::Steer { request, id, verb: verb.clone(), read: read.clone() });
        match self.done(id, verb, &read) {
            Ok((state, mark, _)) => self.expect(request, What::Steered(state), mark),
            Err(no) => self.expect_no(request, no),
        }
    }

    /// Does it to the oracle.
    fn done(&mut self, id: JobId, verb: &Verb, read: &Read) -> Did {
        match verb {
            Verb::Cancel => self.cancelled(id),
            Verb::Discard => self.discarded(id),
            Verb::RunNow => self.told_to_run(id),
            Verb::Reprioritise(priority) => self.reprioritised(id, priority.0),
            Verb::Reschedule(when) => self.rescheduled(id, *when),
            Verb::Move(queue) => {
                let to = self.world.queue_no(queue).unwrap();
                self.moved(id, to)
            }
            Verb::Requeue => self.requeued(id, read),
        }
    }

    fn cancelled(&mut self, id: JobId) -> Did {
        let (state, queue) =
            self.allowed(id, &[State::Waiting, State::Delayed, State::Ready, State::Running, State::Parked])?;
        let mark = self.mark(queue);
        if state == State::Running {
            // Its attempt is told once more, whoever asked before.
            self.job(id).cancel = true;
            return Ok((state, mark, true));
        }
        self.world.close(id, EndState::Cancelled, Output::None, None, self.driver.now);
        self.world.trim_if_ended(id, queue, self.driver.now);
        self.announce();
        Ok((State::Cancelled, mark, true))
    }

    fn discarded(&mut self, id: JobId) -> Did {
        let waits = [State::Waiting, State::Delayed, State::Ready, State::Parked];
        let ended = [State::Done, State::Dead, State::Cancelled, State::Expired];
        let (state, queue) = self.allowed(id, &[&waits[..], &ended].concat())?;
        if waits.contains(&state) {
            self.world.drop_job(id);
            self.announce();
        } else {
            self.world.forget(id);
        }
        Ok((state, self.mark(queue), true))
    }

    fn requeued(&mut self, id: JobId, read: &Read) -> Did {
        let (_, queue) = self.allowed(id, &[State::Dead, State::Cancelled, State::Expired])?;
        if self.world.draining {
            return Err(("Stopping", None));
        }
        if !self.is_current(id, read) {
            return Err(("Changed", Some(queue)));
        }
        self.depth_is_left(queue)?;
        self.world.key_of_requeued(id, self.driver.now)?;
        self.world.requeue(id, read.as_ref().unwrap().body.payload.clone());
        Ok((self.job(id).state, self.mark(queue), true))
    }

    fn told_to_run(&mut self, id: JobId) -> Did {
        let (state, queue) = self.allowed(id, &[State::Delayed, State::Ready, State::Running])?;
        if state == State::Delayed {
            self.world.new_turn(id);
            self.world.stand(id);
        }
        Ok((self.job(id).state, self.mark(queue), state == State::Delayed))
    }

    fn reprioritised(&mut self, id: JobId, priority: u8) -> Did {
        let (state, queue) =
            self.allowed(id, &[State::Waiting, State::Delayed, State::Ready, State::Running, State::Parked])?;
        let is_new = self.job(id).priority != priority;
        if is_new && state == State::Ready {
            self.world.new_turn(id);
        }
        self.job(id).priority = priority;
        Ok((state, self.mark(queue), is_new))
    }

    fn rescheduled(&mut self, id: JobId, when: When) -> Did {
        let (state, queue) = self.allowed(id, &[State::Waiting, State::Delayed, State::Ready, State::Parked])?;
        self.world.new_turn(id);
        let now = self.driver.now;
        let job = self.job(id);
        job.ready_since = now.mono.0;
        let due = match when {
            When::After(ms) => now.wall.0 + ms,
            When::At(at) => at.0,
        };
        if due > now.wall.0 {
            (job.due, job.by_wall) = (Some(due), matches!(when, When::At(_)));
            job.clock = if job.by_wall { due } else { now.mono.0 + (due - now.wall.0) } as i64;
            if state != State::Waiting {
                job.state = State::Delayed;
            }
        } else if state == State::Waiting {
            job.due = None;
        } else if state == State::Delayed {
            self.world.stand(id);
        }
        Ok((self.job(id).state, self.mark(queue), true))
    }

    fn moved(&mut self, id: JobId, to: usize) -> Did {
        let (state, from) = self.allowed(id, &[State::Waiting, State::Delayed, State::Ready, State::Parked])?;
        let mark = self.mark(from).max(self.mark(to));
        if from == to {
            return Ok((state, mark, false));
        }
        if [from, to].iter().any(|queue| self.world.level(*queue) == Level::Memory) {
            return Err(("OtherStore", None));
        }
        self.depth_is_left(to)?;
        self.world.new_turn(id);
        let since = self.world.now_ms;
        let job = self.job(id);
        (job.queue, job.ready_since) = (to, since);
        self.world.counters[from].moved_out += 1;
        self.world.counters[to].moved_in += 1;
        Ok((state, mark, true))
    }

    pub(crate) fn edit(&mut self, id: JobId, bytes: u8) {
        let payload = Bytes::from(vec![bytes; usize::from(bytes)]);
        let (known, of) = self.known(id);
        let (request, is_out) = (self.request(), self.driver.shard.paged_out().any(|one| one == id));
        self.tell(request, Call::Edit { id, payload: fingerprint(&payload) });
        self.driver.handle(Command::Edit { request, id, payload: payload.clone(), version: 2, known: known.clone() });
        match self.edited(id, payload, known, of, is_out) {
            Ok((state, mark, _)) => self.expect(request, What::Steered(state), mark),
            Err(no) => {
                if no.0 == "OnDisk" {
                    self.to_read.insert(request, self.edition(id));
                }
                self.expect_no(request, no);
            }
        }
    }

    /// What an edit needs to know: the job where it is retained, and what was read of it where it is live.
    fn known(&self, id: JobId) -> (Known, Option<(i64, u32)>) {
        match (self.read(id), self.read.get(&id)) {
            (Some(retained), _) => (Known::Retained(retained), None),
            (None, Some((known, of))) => (known.clone(), Some(*of)),
            (None, None) => (Known::Nothing, None),
        }
    }

    fn edition(&self, id: JobId) -> (i64, u32) {
        let job = &self.world.jobs[&id];
        (job.turn, job.replaced)
    }

    /// An answer said that its body is to be read, and so it is.
    pub(crate) fn reads(&mut self, request: Request, id: JobId, edition: Edition) {
        let of = self.to_read.remove(&request).expect("the oracle said so, too");
        if let Some(job) = self.driver.journal.job(id) {
            self.read.insert(id, (Known::Live(job.body.clone(), edition), of));
        }
    }

    fn edited(&mut self, id: JobId, payload: Bytes, known: Known, of: Option<(i64, u32)>, is_out: bool) -> Did {
        let among = [
            State::Waiting,
            State::Delayed,
            State::Ready,
            State::Parked,
            State::Dead,
            State::Cancelled,
            State::Expired,
        ];
        let (state, queue) = self.allowed(id, &among)?;
        let is_live = self.world.jobs.contains_key(&id);
        // What was read of a live job is needed only where its body is not in memory.
        if is_live && is_out && of != Some(self.edition(id)) {
            return Err(("OnDisk", Some(queue)));
        }
        let retained = if let Known::Retained(read) = known { Some(read) } else { None };
        if !is_live && !self.is_current(id, &retained) {
            return Err(("Changed", Some(queue)));
        }
        let job = self.world.jobs.get(&id).unwrap_or_else(|| &self.world.ended[&id].job);
        let bytes = job.label_bytes() + payload.len();
        if bytes > self.world.settings.queues[queue].payload_bytes_max {
            return Err(("PayloadTooLarge", None));
        }
        if is_live {
            self.job(id).payload = payload;
        } else {
            let ended = self.world.ended.get_mut(&id).unwrap();
            ended.bytes = ended.bytes - ended.payload.len() as u64 + payload.len() as u64;
            ended.payload = payload;
            ended.edits += 1;
            self.world.trim(queue, self.driver.now);
        }
        Ok((state, self.mark(queue), true))
    }

    pub(crate) fn place_order(&mut self, n: u8, verb: Verb) {
        let request = self.request();
        let id = OrderId(super::id(u64::from(n)).0);
        let order = Order::new(id, verb, Filter::default(), None);
        self.driver.handle(Command::Order { request, command: OrderCommand::Place(Box::new(order.clone())) });
        if !self.world.orders.contains_key(&id) {
            if self.world.draining {
                return self.expect_no(request, ("Stopping", None));
            }
            self.world.orders.insert(id, Order { placed: self.driver.now.wall, ..order });
        }
        self.expect(request, What::Order(self.world.orders[&id].clone()), Level::Durable as usize);
    }

    pub(crate) fn cancel_order(&mut self, n: u8) {
        let (request, id) = (self.request(), OrderId(super::id(u64::from(n)).0));
        self.driver.handle(Command::Order { request, command: OrderCommand::Cancel(id) });
        let at = self.driver.now.wall;
        match self.world.orders.get_mut(&id) {
            None => self.expect_no(request, ("NoOrder", None)),
            Some(Order { ended: Some(_), .. }) => self.expect_no(request, ("OrderEnded", None)),
            Some(order) => {
                order.ended = Some((at, OrderEnd::Cancelled));
                let order = order.clone();
                self.expect(request, What::Order(order), Level::Durable as usize);
            }
        }
    }

    /// The next jobs of an order, any will do: the filter is the driver's to walk by.
    pub(crate) fn order_step(&mut self, n: u8, ids: &[JobId], is_last: bool) {
        let (request, id) = (self.request(), OrderId(super::id(u64::from(n)).0));
        let place = |before: u64| OrderPlace::Retained {
            queue: super::QUEUES[1].into(),
            state: EndState::Dead,
            before: 100 - before,
        };
        let jobs: Vec<_> = ids.iter().zip(1..).map(|(id, n)| (*id, self.read(*id), place(n))).collect();
        let step = OrderStep { id, jobs: jobs.clone(), place: place(50), is_last };
        self.driver.handle(Command::Order { request, command: OrderCommand::Step(Box::new(step)) });
        let verb = match self.world.orders.get(&id) {
            None => return self.expect_no(request, ("NoOrder", None)),
            Some(Order { ended: Some(_), .. }) => return self.expect_no(request, ("OrderEnded", None)),
            Some(_) if self.world.draining => return self.expect_no(request, ("Stopping", None)),
            Some(order) => order.verb.clone(),
        };
        if let Some(told) = &mut self.told {
            for id in ids {
                told.steer(None, *id, &verb);
            }
        }
        let (mut changed, mut skipped, mut held_up) = (0, 0, false);
        for (id, read, _) in &jobs {
            match self.done(*id, &verb, read) {
                Ok((.., true)) => changed += 1,
                Err(("QueueFull", _)) => held_up = true,
                _ => skipped += 1,
            }
            if held_up {
                break;
            }
        }
        let met = (changed + skipped) as usize;
        let at = self.driver.now.wall;
        let order = self.world.orders.get_mut(&id).unwrap();
        match met.checked_sub(1) {
            _ if !held_up => order.place = place(50),
            Some(last) => order.place = jobs[last].2.clone(),
            None => {}
        }
        (order.changed, order.skipped) = (order.changed + changed, order.skipped + skipped);
        order.ended = (is_last && !held_up).then_some((at, OrderEnd::Finished));
        let order = order.clone();
        self.expect(request, What::Progress(order, met, held_up), Level::Process as usize);
    }
}
