//! One mind: all queues of an engine, the job index, the counters, and the steps they take.
//!
//! Owns the order of steps. A driver feeds it commands with the time, seals what they did into waves, has them written,
//! says how far that got, and does the effects that come loose. Everything it does follows from what it is given: the
//! same commands and times give the same waves and effects, byte for byte.

mod apply;
pub mod audit;
pub(crate) mod batches;
mod decide;
mod door;
mod ended;
pub(crate) mod flows;
mod hand_out;
mod index;
mod keys;
mod limits;
pub(crate) mod lines;
mod live;
mod maybe;
mod orders;
mod outbox;
mod pace;
mod pages;
pub(crate) mod slab;
mod state;
mod take;
mod tape;
mod tell;

use alloc::boxed::Box;
use alloc::vec::Vec;

pub use decide::admit::Misfit;

use self::decide::Decision;
use self::decide::{
    admit, checkpoint, due, end, flow, load, look, page, recur, steer, steer_flow, submit, unique, watch,
};
use self::door::Door;
use self::flows::Is;
use self::hand_out::Visits;
use self::outbox::{Mark, Outbox};
use self::pages::Pager;
use self::state::State;
use self::tape::Tape;
use self::tell::Teller;
use crate::bug;
use crate::change::{Claim, Record};
use crate::command::{Command, QueueNo, Request, Submit, TimerClass};
use crate::effect::{Answer, Deadline, Effect, Wave};
use crate::event::Event;
use crate::flow::{FlowId, FlowView};
use crate::job::{JobId, Name, NewJob};
use crate::lease::LeaseToken;
use crate::recurrence::ScheduleCommand;
use crate::refusal::Refusal;
use crate::settings::{Level, ShardSettings};
use crate::time::Now;

/// Most jobs that a wave lets expire in passing, while it looks for one that may run.
const LATE_PER_WAVE_MAX: usize = 1_000;
/// With so many bytes of bodies from calls that waited for room, a wave lets in no more of them.
const LET_IN_BYTES_PER_WAVE_MAX: usize = 16 << 20;

/// The mind of an engine. See the module's and the crate's documentation for the loop of a driver.
#[derive(Debug)]
pub struct Shard {
    state: State,
    tape: Tape,
    outbox: Outbox,
    teller: Teller,
    door: Door,
    /// The last step taken.
    step: u64,
    /// The time, as it was last told.
    now: Now,
    /// The last step sealed.
    sealed: u64,
    sync_wanted: bool,
    /// The last seal left something to hand out.
    is_unfinished: bool,
    visits: Visits,
    /// Which bodies are looked at next: soft.
    pager: Pager,
    /// What each timer was last set to: soft, rebuilt on [`Command::Rearm`].
    armed: Vec<[Option<Deadline>; TimerClass::ALL.len()]>,
}

impl Shard {
    /// An empty shard. Admit the journal's records, then send [`Command::LoadEnd`], before anything else.
    #[must_use]
    pub fn new(settings: ShardSettings) -> Self {
        Self {
            state: State::new(settings),
            tape: Tape::default(),
            outbox: Outbox::default(),
            teller: Teller::default(),
            door: Door::default(),
            step: 0,
            now: Now::default(),
            sealed: 0,
            sync_wanted: false,
            is_unfinished: false,
            visits: Visits::default(),
            pager: Pager::default(),
            armed: Vec::new(),
        }
    }

    /// Takes in a record that the journal had, in the journal's order; and then those of the twin. Where both have a job or a flow of
    /// one id, the twin's is the newer one: the journal had lost that its own was forgotten, which is written again.
    ///
    /// # Errors
    /// [`Misfit`], where it makes no sense beside those that came before. Nothing has changed then.
    pub fn admit(&mut self, record: Record) -> Result<(), Misfit> {
        let superseded = admit::superseded(&self.state, &record);
        if let Some(event) = admit::admit(&self.state, record)? {
            if let Some(event) = superseded {
                self.tape.is_on = true;
                self.state.apply(event, &mut self.tape);
                self.tape.is_on = false;
            }
            self.state.apply(event, &mut self.tape);
            let out = page::sweep(&self.state, &mut self.pager, 0);
            self.take(out);
        }
        Ok(())
    }

    /// Whether a loaded record of claims has exactly this attempt, and it has not ended. To be asked before `LoadEnd`.
    #[must_use]
    pub fn has_claim(&self, claim: &Claim) -> bool {
        load::is_recorded(&self.state, claim)
    }

    /// Whether an attempt ended, and the journal has lost how, and that its job was forgotten, while another job of the twin has that
    /// job's id. All that followed its success has to come in again.
    #[must_use]
    pub fn has_lost_end(&self, claim: &Claim) -> bool {
        self.state.ends_lost.contains(claim)
    }

    /// Takes one step. What comes of it leaves with [`seal`](Self::seal) and [`poll_effect`](Self::poll_effect).
    pub fn handle(&mut self, command: Command, now: Now) {
        self.step += 1;
        self.now = now;
        let state = &self.state;
        match command {
            Command::Submit(submit) => match self.door.behind(&self.state, &submit) {
                Some(queue) => self.wait_at(queue, submit),
                None => {
                    if let Some((queue, submit)) = self.submit(submit, now) {
                        self.door.push_back(queue, submit);
                    }
                }
            },
            Command::Withdraw { request } => self.door.withdraw(request),
            Command::FollowUps(jobs) => self.follow_ups(jobs, now),
            Command::End { token, outcome, body, log } => {
                self.take(end::end(state, token, outcome, end::With { body, log }, now));
            }
            Command::Extend { request, id, token, by_ms } => {
                self.answer(request, end::extend(&self.state, request, id, token, by_ms, now));
            }
            Command::Checkpoint { request, id, token, bytes } => {
                self.answer(request, checkpoint::checkpoint(state, request, id, token, bytes));
            }
            Command::Slots { queue, slots } => self.take(Decision::default().event(Event::SlotsSet { queue, slots })),
            Command::Due { queue, class } => {
                // The timer has fired: whatever is due next has to be armed anew, also at the same instant.
                if let Some(armed) = self.armed.get_mut(queue.0 as usize) {
                    armed[class as usize] = None;
                }
                self.take(due::due(&self.state, queue, class, now));
            }
            Command::Rearm => self.rearm(now),
            Command::Steer { request, id, verb, read } => {
                let steered = steer::steer(state, id, &verb, read, now);
                self.answer(request, steered.map(|steered| steered.reply(request)));
            }
            Command::Edit { request, id, payload, version, known } => {
                let edited = steer::edit(state, id, payload, version, known, now);
                self.answer(request, edited.map(|edited| edited.reply(request)));
            }
            Command::Watch { request, id } => self.answer(request, watch::watch(&self.state, request, id)),
            Command::Unwatch { request, id } => self.take(Decision::default().event(Event::Unwatched { id, request })),
            Command::Look { request, id } => match look::look(&self.state, request, id, now) {
                Ok(decision) => self.take(decision),
                // It may show what is not yet durable.
                Err(refusal) => self.reply(request, Mark::Sealed, Err(refusal)),
            },
            Command::List { request, filter, from, limit, scan_max } => {
                let (mark, page) = look::list(state, &filter, from, (limit, scan_max), now);
                self.reply(request, mark, Ok(Answer::Page(page)));
            }
            Command::Order { request, command } => self.order(request, command, now),
            Command::Schedule { request, command } => self.schedule(request, command, now),
            Command::Flow { .. }
            | Command::UnwatchFlow { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Override { .. }
            | Command::Limits { .. }
            | Command::Stats { .. }
            | Command::Memory { .. }
            | Command::Measure { .. } => self.operate(command, now),
            Command::Fetched { no, bodies } => self.take(page::fetched(state, no, bodies)),
            Command::Drain => self.drain(),
            Command::StopAttempts => self.take(watch::stop_attempts(&self.state)),
            Command::LoadEnd { live } => self.load_end(&live, now),
        }
    }

    /// Hands out what may run, arms the timers, and closes the wave. `None` where nothing happened since the last one.
    /// The driver puts the volatile changes into the twin before it asks for effects.
    pub fn seal(&mut self, now: Now) -> Option<Wave> {
        self.now = now;
        let let_in_bytes = self.hand_out(now);
        self.arm(now);
        if self.step == self.sealed {
            return None;
        }
        let (changes, volatile) = self.tape.take(&mut self.state);
        self.page();
        let first = core::mem::replace(&mut self.sealed, self.step) + 1;
        self.outbox.reached(Mark::Sealed, self.step);
        let sync = core::mem::take(&mut self.sync_wanted);
        Some(Wave { first, last: self.step, changes, volatile, sync, let_in_bytes })
    }

    /// The last wave was full before everything was handed out that may be: there is more to [`seal`](Self::seal).
    #[must_use]
    pub const fn is_unfinished(&self) -> bool {
        self.is_unfinished
    }

    /// The journal has everything up to this step.
    pub fn written(&mut self, step: u64) {
        self.outbox.reached(Mark::Written, step);
    }

    /// The journal has synced everything up to this step.
    pub fn synced(&mut self, step: u64) {
        self.outbox.reached(Mark::Written, step);
        self.outbox.reached(Mark::Synced, step);
    }

    /// The last step taken: what a mark has to reach for all that was handled so far.
    #[must_use]
    pub const fn step(&self) -> u64 {
        self.step
    }

    /// The next effect that may leave.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        let outbox = &self.outbox;
        let told = |teller: &mut Teller| teller.pop(|mark, step| outbox.has_reached(mark, step)).map(Effect::Told);
        told(&mut self.teller).or_else(|| self.outbox.pop())
    }

    /// From now on what happens is told, with [`Effect::Told`]. Of what waits for the journal so many pieces and bytes are kept.
    pub fn listen(&mut self, news_max: usize, bytes_max: usize) {
        self.teller.begin(news_max, bytes_max);
    }

    /// The number of the queue of this name.
    #[must_use]
    pub fn queue_no(&self, name: &Name) -> Option<QueueNo> {
        self.state.queue_no(name)
    }

    /// Queues at level `Memory` that have jobs in what was loaded so far, or begun flows with steps elsewhere. To be asked between the
    /// journal's records and the twin's: what is journaled must not go on in memory alone.
    pub fn volatile_queues_with_jobs(&self) -> impl Iterator<Item = (&Name, u64)> {
        let queues = self.state.queues.iter().enumerate().filter(|(_, queue)| queue.level() == Level::Memory);
        queues.filter_map(|(no, queue)| {
            let live = self.state.jobs.iter().filter(|(_, live)| live.queue.0 as usize == no).count() as u64;
            // A flow is where its first step is, and the others go with it.
            let flows = self.state.flows.all.iter().filter(|(_, flow)| flow.home.0 as usize == no);
            let steps = flows.flat_map(|(_, flow)| &flow.steps).filter(|step| step.is != Is::Ended);
            let elsewhere = steps.filter(|step| step.plan.queue != queue.settings.name).count() as u64;
            let jobs = live + queue.retained() + elsewhere;
            (jobs > 0).then_some((&queue.settings.name, jobs))
        })
    }

    /// Jobs that run, in all queues.
    #[must_use]
    pub fn running(&self) -> usize {
        self.state.running.len()
    }

    /// The leases that are out, by token.
    #[must_use]
    pub fn running_leases(&self) -> Vec<(JobId, LeaseToken)> {
        let leases = self.state.running.iter().map(|(token, slot)| (self.state.jobs[*slot].id, *token));
        let mut leases: Vec<_> = leases.collect();
        leases.sort_unstable_by_key(|(_, token)| *token);
        leases
    }

    /// The level of the queue with this number.
    ///
    /// # Panics
    /// Where there is no such queue.
    #[must_use]
    pub fn level(&self, no: QueueNo) -> Level {
        self.state.queue(no).level()
    }

    /// How a flow stands now, whatever of it is durable.
    #[must_use]
    pub fn flow(&self, id: FlowId) -> Option<FlowView> {
        let slot = self.state.flows.by_id.get(&id)?;
        Some(steer_flow::view(&self.state, &self.state.flows.all[*slot]))
    }

    /// Calls that wait for room, in all queues.
    #[must_use]
    pub fn waiting_calls(&self) -> usize {
        self.door.all_waiting()
    }

    /// Acknowledgements refused since the start because their token was not current.
    #[must_use]
    pub const fn stale_acks(&self) -> u64 {
        self.state.stale_acks
    }

    /// Live jobs, retained ones, and distinct watchers, for the memory budget.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.state.jobs.len(), self.state.stubs.len(), self.state.watchers.len())
    }

    fn follow_ups(&mut self, jobs: Vec<NewJob>, now: Now) {
        let mut decision = Decision::default();
        submit::follow_ups(&self.state, jobs, now, &mut decision);
        self.take(decision);
    }

    /// What operators ask of queues, of flows and of the whole.
    fn operate(&mut self, command: Command, now: Now) {
        let state = &self.state;
        match command {
            Command::Pause { request, queue } => self.answer(request, watch::pause(state, request, &queue, true)),
            Command::Resume { request, queue } => self.answer(request, watch::pause(state, request, &queue, false)),
            Command::Override { request, of, change } => {
                self.answer(request, decide::limits::set(state, request, of, change, now));
            }
            Command::Limits { request } => {
                let limits = decide::limits::list(&self.state, now);
                self.reply(request, Mark::Sealed, Ok(Answer::Limits(limits)));
            }
            Command::Stats { request } => {
                let stats = look::stats(&self.state, |no| self.door.waiting(no), now);
                self.reply(request, Mark::Sealed, Ok(Answer::Stats(stats)));
            }
            Command::Memory { request } => {
                self.reply(request, Mark::Sealed, Ok(Answer::Memory(self.state.memory())));
            }
            Command::Measure { request } => {
                let measures = look::measures(&self.state, |no| self.door.waiting(no), now);
                self.reply(request, Mark::Sealed, Ok(Answer::Measures(Box::new(measures))));
            }
            Command::Flow { request, command } => {
                self.answer(request, steer_flow::command(state, request, command, now));
            }
            Command::UnwatchFlow { request, id } => {
                self.take(Decision::default().event(Event::FlowUnwatched { id, request }));
            }
            other => unreachable!("{other:?} is about a job"),
        }
    }

    fn schedule(&mut self, request: Request, command: ScheduleCommand, now: Now) {
        self.answer(request, recur::schedule(&self.state, request, command, now));
    }

    fn rearm(&mut self, now: Now) {
        if !bug!(RearmForgotten) {
            self.armed.clear();
        }
        self.take(recur::clock_was_wrong(&self.state, now));
        self.take(unique::all(&self.state, now));
    }

    fn load_end(&mut self, live: &[Claim], now: Now) {
        self.tape.is_on = true;
        self.state.apply(Event::AllLoaded { now }, &mut self.tape);
        self.take(load::load_end(&self.state, live, self.step, now));
        self.take(flow::loaded(&self.state, now));
        for at in flow::all(&self.state) {
            self.recall(flow::look(&self.state, at, now));
        }
        self.take(flow::surplus(&self.state));
        for name in recur::names(&self.state) {
            self.take(recur::started(&self.state, &name, now));
        }
        self.take(unique::all(&self.state, now));
    }

    /// Lets a call in or refuses it; gives it back where it has to wait for room.
    fn submit(&mut self, submit: Submit, now: Now) -> Option<(QueueNo, Submit)> {
        let (request, watch) = (submit.request, submit.watch);
        let copy = Door::may_wait(&self.state, &submit).then(|| submit.clone());
        let refusal = match submit::submit(&self.state, submit, now) {
            Ok(decision) => {
                self.take(decision);
                return None;
            }
            Err(refusal) => refusal,
        };
        match (copy, self.door.admits(&self.state, refusal)) {
            (Some(submit), Ok(queue)) => return Some((queue, submit)),
            (None, Ok(_)) => unreachable!("only a call that was copied is let wait"),
            (_, Err(refusal)) => self.refuse(request, watch, refusal),
        }
        None
    }

    fn refuse(&mut self, request: Request, watch: Option<Request>, refusal: Refusal) {
        if let Some(watch) = watch {
            self.answer(watch, Err(refusal.clone()));
        }
        self.answer(request, Err(refusal));
    }

    fn wait_at(&mut self, queue: QueueNo, submit: Submit) {
        let settings = &self.state.queue(queue).settings;
        let (depth, depth_max) = (self.state.queue(queue).depth(), settings.depth_max);
        let jobs = submit.jobs.iter().filter(|job| job.queue == settings.name).count() as u64;
        let full = Refusal::QueueFull { queue: settings.name.clone(), depth, depth_max, jobs };
        match self.door.admits(&self.state, full) {
            Ok(queue) => self.door.push_back(queue, submit),
            Err(refusal) => self.refuse(submit.request, submit.watch, refusal),
        }
    }

    /// Keeps the bodies within their share of the memory, and has those read that are needed next.
    fn page(&mut self) {
        let absent = page::look_ahead(&self.state, &mut self.pager);
        self.take(page::out(&self.state, &self.pager, self.tape.written()));
        let more = page::sweep(&self.state, &mut self.pager, self.tape.written().len());
        self.take(more);
        self.take(page::ask(&self.state, &absent, self.step));
    }

    fn arm(&mut self, now: Now) {
        self.armed.resize(self.state.queues.len(), [None; TimerClass::ALL.len()]);
        for (no, armed) in self.armed.iter_mut().enumerate() {
            for class in TimerClass::ALL {
                let at = due::next(&self.state, QueueNo(no as u32), class, now);
                if armed[class as usize] != at {
                    armed[class as usize] = at;
                    let effect = Effect::Arm { queue: QueueNo(no as u32), class, at };
                    self.outbox.hold(self.step, Mark::Sealed, effect);
                }
            }
        }
    }

    fn drain(&mut self) {
        self.take(Decision::default().event(Event::Drained));
        for submit in self.door.clear() {
            self.refuse(submit.request, submit.watch, Refusal::Stopping);
        }
    }

    fn answer(&mut self, request: Request, decided: Result<Decision, Refusal>) {
        match decided {
            Ok(decision) => self.take(decision),
            Err(refusal) => {
                let mark = self.state.refusal_mark(&refusal);
                self.reply(request, mark, Err(refusal));
            }
        }
    }

    fn reply(&mut self, request: Request, mark: Mark, answer: Result<Answer, Refusal>) {
        self.hold(mark, Effect::Reply { request, answer });
    }
}
