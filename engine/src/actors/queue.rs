//! The queue actor: the body of [`Shard`], which is its mind.
//!
//! Owns the shard, the open requests and the wave that is growing. Messages become commands, sealed waves go to the writer,
//! effects are sent where they belong. Never decides anything about a job, and never waits.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::runtime::Handle;
use windlass_scheduler::attempt::Outcome;
use windlass_scheduler::bug;
use windlass_scheduler::change::Claim;
use windlass_scheduler::command::{Command, QueueNo, Request, Submit, TimerClass};
use windlass_scheduler::effect::{Effect, Wave};
use windlass_scheduler::job::{JobId, NewJob};
use windlass_scheduler::lease::{LeaseToken, StopReason};
use windlass_scheduler::news::Told;
use windlass_scheduler::settings::{Level, ShardSettings};
use windlass_scheduler::shard::Shard;
use windlass_scheduler::time::Now;
use windlass_storage::{Append, Batch, CommitNo, Journal, MemoryJournal, Reader};

use crate::attempt::End;
use crate::clock::Clocks;
use crate::door::Door;
use crate::fetch;
use crate::live::LiveTable;
use crate::logs;
use crate::messages::{QueueMsg, ReplyTo, SchedulerMsg, SupervisorMsg, Ticket, WorkerMsg, WriterMsg};
use crate::telemetry;
use crate::writer::WriterHandle;

/// A wave is sealed at the latest with this many commands in it, so that the writer has something to do while the next ones
/// are decided. (With eight times as many, engine and writer waited for one another: a fifth less of whole lives.)
const WAVE_COMMANDS_MAX: usize = 512;
/// And with this many bytes of bodies and outputs, so that a batch stays far below what a journal takes.
const WAVE_BYTES_MAX: usize = 32 << 20;

pub(crate) struct QueueActor;

/// What the actor is started with.
pub(crate) struct QueueParts {
    pub(crate) shard: Box<Shard>,
    pub(crate) term: u64,
    pub(crate) twin: Arc<Mutex<MemoryJournal>>,
    pub(crate) twin_term: u64,
    pub(crate) clocks: Clocks,
    pub(crate) writer: WriterHandle,
    /// One a configured queue, in the order of the settings.
    pub(crate) workers: Vec<ActorRef<WorkerMsg>>,
    pub(crate) scheduler: ActorRef<SchedulerMsg>,
    pub(crate) supervisor: ActorRef<SupervisorMsg>,
    pub(crate) live: Arc<LiveTable>,
    pub(crate) door: Arc<Door>,
    /// Of the journal, for what is read ahead.
    pub(crate) reader: Arc<dyn Reader>,
    /// Where blocking reads go.
    pub(crate) handlers: Handle,
}

/// Someone who waits. The ticket goes with the answer.
struct Pending {
    reply: ReplyTo,
    ticket: Option<Ticket>,
}

pub(crate) struct QueueState {
    parts: QueueParts,
    /// Where answers of the disk go, while it lives: a mailbox lives as long as an address of it.
    myself: Option<ActorRef<QueueMsg>>,
    pending: HashMap<Request, Pending>,
    /// Ends by their step: their entries in the table of live attempts go when that is written.
    ends: VecDeque<(u64, JobId, LeaseToken)>,
    /// Ends that stand in the twin alone, as soon as the wave is sealed: a disk that is stuck must not keep them.
    ends_in_twin: Vec<(JobId, LeaseToken)>,
    /// What may be told, and is in a moment; `None`: nobody listens.
    told: Option<Vec<Told>>,
    commands_in_wave: usize,
    bytes_in_wave: usize,
    /// Some queue is at level `Memory`.
    has_volatile: bool,
    /// A `Seal` waits in the mailbox.
    seal_is_coming: bool,
    draining: bool,
}

impl Actor for QueueActor {
    type Msg = QueueMsg;
    type State = QueueState;
    type Arguments = QueueParts;

    async fn pre_start(&self, myself: ActorRef<QueueMsg>, parts: QueueParts) -> Result<QueueState, ActorProcessingErr> {
        let queues = 0..u32::try_from(parts.workers.len()).unwrap_or(u32::MAX);
        let has_volatile = queues.into_iter().any(|no| parts.shard.level(QueueNo(no)) == Level::Memory);
        Ok(QueueState {
            parts,
            myself: Some(myself),
            has_volatile,
            pending: HashMap::new(),
            ends: VecDeque::new(),
            ends_in_twin: Vec::new(),
            told: None,
            commands_in_wave: 0,
            bytes_in_wave: 0,
            seal_is_coming: false,
            draining: false,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<QueueMsg>,
        message: QueueMsg,
        state: &mut QueueState,
    ) -> Result<(), ActorProcessingErr> {
        state.receive(&myself, message);
        Ok(())
    }

    /// The actors' library keeps the state until the supervisor looks at its mail, which is after the next core was loaded:
    /// by then nobody should wait, nor hold all jobs twice.
    async fn post_stop(&self, _myself: ActorRef<QueueMsg>, state: &mut QueueState) -> Result<(), ActorProcessingErr> {
        // In the order in which they called: whoever asks again does so in that order.
        let mut pending: Vec<_> = state.pending.drain().collect();
        pending.sort_unstable_by_key(|(request, _)| *request);
        drop(pending);
        state.myself = None;
        *state.parts.shard = Shard::new(ShardSettings::new(0, 0, Vec::new(), Vec::new()));
        Ok(())
    }
}

impl QueueState {
    fn receive(&mut self, myself: &ActorRef<QueueMsg>, message: QueueMsg) {
        match message {
            QueueMsg::Seal => {
                self.seal_is_coming = false;
                self.seal();
                return self.seal_later(myself, false);
            }
            QueueMsg::Written(step) => {
                self.parts.shard.written(step);
                self.flush_effects(step);
                return self.seal_later(myself, false);
            }
            QueueMsg::Synced(step) => {
                self.parts.shard.synced(step);
                self.flush_effects(step);
                return self.seal_later(myself, false);
            }
            QueueMsg::Finish => {
                let given_back = self.give_back();
                self.seal();
                return self.tell_supervisor(SupervisorMsg::Sealed { given_back });
            }
            QueueMsg::Halt => {
                self.tell_supervisor(SupervisorMsg::Halted);
                return myself.stop(None);
            }
            QueueMsg::Submit { request, jobs, flow, reply, ending, ticket } => {
                self.pending.insert(request, Pending { reply, ticket: Some(ticket) });
                let watch = ending.map(|(watch, reply)| {
                    self.pending.insert(watch, Pending { reply, ticket: None });
                    watch
                });
                self.submit(Submit { request, watch, jobs, flow });
            }
            QueueMsg::Withdraw(request) => self.withdraw(request),
            QueueMsg::Ask { request, question, reply } => {
                self.pending.insert(request, Pending { reply, ticket: None });
                self.command(question.into_command(request));
            }
            QueueMsg::Unwatch { request, of } => {
                self.pending.remove(&request);
                self.command(of.no_longer(request));
            }
            QueueMsg::Checkpoint { request, id, token, bytes, reply, ticket } => {
                self.bytes_in_wave += bytes.len();
                self.pending.insert(request, Pending { reply, ticket: Some(ticket) });
                self.command(Command::Checkpoint { request, id, token, bytes });
            }
            QueueMsg::Ends(ends) => self.end_all(ends),
            QueueMsg::Slots { queue, slots } => self.command(Command::Slots { queue, slots }),
            QueueMsg::Due { queue, class } => self.due(queue, class),
            QueueMsg::Fetched { no, bodies } => self.command(Command::Fetched { no, bodies }),
            QueueMsg::Rearm(scheduler) => {
                self.parts.scheduler = scheduler;
                self.command(Command::Rearm);
            }
            QueueMsg::Listen => return self.listen(),
            QueueMsg::Adopt => self.adopt(),
            QueueMsg::Collect => self.collect(),
            QueueMsg::Drain => {
                self.draining = true;
                self.command(Command::Drain);
            }
            QueueMsg::StopAttempts => self.command(Command::StopAttempts),
        }
        if self.commands_in_wave >= WAVE_COMMANDS_MAX || self.bytes_in_wave >= WAVE_BYTES_MAX {
            self.seal();
        }
        self.seal_later(myself, self.commands_in_wave > 0);
    }

    /// Lands behind everything that already waits, so that all of it shares the wave.
    fn seal_later(&mut self, myself: &ActorRef<QueueMsg>, has_commands: bool) {
        if (has_commands || self.parts.shard.is_unfinished()) && !self.seal_is_coming {
            self.seal_is_coming = myself.send_message(QueueMsg::Seal).is_ok();
        }
    }

    /// Whoever made this request waits no longer.
    fn command(&mut self, command: Command) {
        self.command_at(command, self.parts.clocks.now());
    }

    fn due(&mut self, queue: QueueNo, class: TimerClass) {
        self.command_at(Command::Due { queue, class }, self.parts.clocks.passed());
    }

    fn submit(&mut self, submit: Submit) {
        self.bytes_in_wave += NewJob::bytes_of(&submit.jobs);
        let (request, waiting) = (submit.request, self.parts.shard.waiting_calls());
        self.command(Command::Submit(submit));
        // A call that waits for room is bounded by its queue, and gives its ticket back: it must not keep others out.
        let waits = self.parts.shard.waiting_calls() > waiting;
        if let Some(pending) = self.pending.get_mut(&request).filter(|_| waits) {
            pending.ticket = None;
        }
    }

    /// One that was let in keeps its ticket until it is answered, listened to or not.
    fn withdraw(&mut self, request: Request) {
        if self.pending.get(&request).is_some_and(|pending| pending.ticket.is_none()) {
            let waiting = self.parts.shard.waiting_calls();
            self.command(Command::Withdraw { request });
            if self.parts.shard.waiting_calls() < waiting {
                self.pending.remove(&request);
            }
        }
    }

    fn command_at(&mut self, command: Command, now: Now) {
        self.commands_in_wave += 1;
        self.parts.shard.handle(command, now);
    }

    fn end(&mut self, id: JobId, token: LeaseToken, mut outcome: Outcome, now: Now) {
        self.bytes_in_wave += match &outcome {
            Outcome::Done { output, follow_ups } => output.kept_bytes() + NewJob::bytes_of(follow_ups),
            // In the attempt's record, and once more where it was the last.
            Outcome::Failed { failure, .. } => 2 * failure.message.len(),
            _ => 0,
        };
        if let Outcome::Done { follow_ups, .. } = &mut outcome
            && bug!(FollowUpsApart)
        {
            self.command_at(Command::FollowUps(std::mem::take(follow_ups)), now);
            self.seal();
        }
        let is_volatile = self.is_volatile(id, token)
            && match &outcome {
                Outcome::Done { follow_ups, .. } => !follow_ups.iter().any(|job| self.is_journaled(job)),
                _ => true,
            };
        let may_be_told_of = matches!(outcome, Outcome::Failed { .. }) && self.parts.door.hooks.are_there();
        let body = may_be_told_of.then(|| self.parts.live.body(id, token)).flatten();
        let log = logs::are_kept().then(|| self.parts.live.log(id, token)).flatten();
        // In the attempt's record.
        self.bytes_in_wave += log.as_ref().map_or(0, |log| log.bytes());
        self.command_at(Command::End { token, outcome, body, log }, now);
        if is_volatile {
            self.ends_in_twin.push((id, token));
        } else {
            self.ends.push_back((self.parts.shard.step(), id, token));
        }
    }

    /// They came together: one look at the clocks is enough.
    fn end_all(&mut self, ends: impl IntoIterator<Item = End>) {
        let now = self.parts.clocks.now();
        for (id, token, outcome) in ends {
            self.end(id, token, outcome, now);
            if self.bytes_in_wave >= WAVE_BYTES_MAX || self.commands_in_wave >= WAVE_COMMANDS_MAX {
                self.seal();
            }
        }
    }

    /// What still runs in this process goes on; what has ended meanwhile ends next.
    fn adopt(&mut self) {
        self.listen();
        let mut live = if bug!(AdoptionForgotten) { Vec::new() } else { self.parts.live.claims() };
        let mut unsure = Vec::new();
        live.retain(|claim| {
            // An end that was written and never reported, or whose claim is lost: it may be about an earlier job with the
            // same id, and to run once more is always safe.
            let outcome = self.parts.live.outcome(claim.id, claim.token);
            let is_settled = outcome.is_some() && !self.parts.shard.has_claim(claim);
            if !is_settled {
                return true;
            }
            let follow_ups = if let Some(Outcome::Done { follow_ups, .. }) = outcome { follow_ups } else { Vec::new() };
            let is_volatile = self.is_volatile(claim.id, claim.token);
            // Of an end that the journal has lost, and never will have, nothing stands.
            let has_lost_end = self.parts.shard.has_lost_end(claim);
            let is_missing = |job: &NewJob| has_lost_end || self.is_journaled(job) == is_volatile;
            let follow_ups: Vec<_> = follow_ups.into_iter().filter(is_missing).collect();
            if follow_ups.is_empty() {
                self.parts.live.remove(claim.id, claim.token);
            } else {
                unsure.push((claim.id, claim.token, follow_ups));
            }
            false
        });
        self.command(Command::LoadEnd { live });
        self.follow_again(unsure);
        self.collect();
    }

    /// The end of a `Memory` job stands in the twin at once, its journaled follow-ups only when they are written; and what
    /// follows a journaled job in the twin stands there only after it. None of those has begun, for the entry stays until
    /// they are where they are remembered.
    fn follow_again(&mut self, ends: Vec<(JobId, LeaseToken, Vec<NewJob>)>) {
        for (id, token, follow_ups) in ends {
            let is_in_twin = !follow_ups.iter().any(|job| self.is_journaled(job));
            self.follow(follow_ups);
            if is_in_twin {
                self.ends_in_twin.push((id, token));
            } else {
                self.ends.push_back((self.parts.shard.step(), id, token));
            }
            if self.bytes_in_wave >= WAVE_BYTES_MAX {
                self.seal();
            }
        }
    }

    fn follow(&mut self, follow_ups: Vec<NewJob>) {
        self.bytes_in_wave += NewJob::bytes_of(&follow_ups);
        self.command(Command::FollowUps(follow_ups));
    }

    /// What has not ended by the end of a stop is no longer this engine's: it goes back uncounted, so that a slow job is
    /// not taken for one that kills the process.
    fn give_back(&mut self) -> Vec<JobId> {
        // What was handed out and has not begun never does.
        self.parts.live.begin_term(u64::MAX);
        self.collect();
        let leases = self.parts.shard.running_leases();
        let has_begun = |(id, token): &(JobId, LeaseToken)| self.parts.live.queue(*id, *token).is_some();
        let begun: Vec<_> = leases.iter().copied().filter(has_begun).collect();
        for (id, token) in &begun {
            // Whoever would stop or drop it later looks into the table, which it leaves with this wave.
            self.parts.live.stop(*id, *token, StopReason::Stopping);
            self.parts.live.abort(*id, *token);
        }
        self.end_all(leases.into_iter().map(|(id, token)| (id, token, Outcome::Released)));
        begun.into_iter().map(|(id, _)| id).collect()
    }

    /// Whether the attempt is one of a `Memory` job.
    fn is_volatile(&self, id: JobId, token: LeaseToken) -> bool {
        if !self.has_volatile {
            return false;
        }
        let queue = self.parts.live.queue(id, token);
        queue.is_some_and(|queue| self.parts.shard.level(queue) == Level::Memory)
    }

    fn is_journaled(&self, job: &NewJob) -> bool {
        let queue = self.parts.shard.queue_no(&job.queue);
        queue.is_some_and(|queue| self.parts.shard.level(queue) != Level::Memory)
    }

    /// If anybody wants to hear what happens, it is told from now on.
    fn listen(&mut self) {
        if let Some((news_max, bytes_max)) = self.parts.door.events.wants()
            && self.told.is_none()
        {
            self.told = Some(Vec::new());
            self.parts.shard.listen(news_max, bytes_max);
            self.parts.door.events.begins(self.parts.term, self.parts.shard.step());
        }
    }

    /// An outcome that comes twice is refused by its token the second time.
    fn collect(&mut self) {
        let live = self.parts.live.clone();
        let outcome = |claim: Claim| Some((claim.id, claim.token, live.outcome(claim.id, claim.token)?));
        self.end_all(live.claims().into_iter().filter_map(outcome));
    }

    fn seal(&mut self) {
        self.commands_in_wave = 0;
        let bytes = std::mem::take(&mut self.bytes_in_wave);
        if let Some(wave) = self.parts.shard.seal(self.parts.clocks.now()) {
            let bytes = bytes + wave.let_in_bytes;
            self.send_wave(wave, bytes);
        }
        for (id, token) in self.ends_in_twin.drain(..) {
            self.parts.live.remove(id, token);
        }
        self.flush_effects(0);
        if self.draining && self.parts.shard.running() == 0 {
            self.tell_supervisor(SupervisorMsg::Idle);
        }
    }

    fn send_wave(&mut self, mut wave: Wave, bytes: usize) {
        if !wave.volatile.is_empty() {
            let changes = std::mem::take(&mut wave.volatile);
            let commit_no = CommitNo { term: self.parts.twin_term, step: wave.last };
            let mut twin = self.parts.twin.lock().unwrap_or_else(PoisonError::into_inner);
            if !matches!(twin.append(&Batch { commit_no, changes }), Append::Ok) {
                unreachable!("memory takes what rises in number");
            }
        }
        if self.parts.writer.send(WriterMsg::Wave { wave, bytes }).is_err() {
            let reason = "the writer is gone".to_owned();
            self.tell_supervisor(SupervisorMsg::JournalBroken(reason));
        }
    }

    fn tell_supervisor(&self, message: SupervisorMsg) {
        let _ = self.parts.supervisor.send_message(message);
    }

    fn flush_effects(&mut self, written: u64) {
        let commands = self.commands_in_wave;
        while let Some(effect) = self.parts.shard.poll_effect() {
            self.perform(effect);
        }
        if let Some(told) = self.told.as_mut().filter(|told| !told.is_empty()) {
            self.parts.door.events.push(self.parts.term, told.drain(..));
        }
        if self.commands_in_wave > commands {
            // What followed stands in the twin before the entries of those it follows may go.
            self.seal();
        }
        while self.ends.front().is_some_and(|(step, _, _)| *step <= written || bug!(EndForgottenEarly)) {
            if let Some((_, id, token)) = self.ends.pop_front() {
                self.parts.live.remove(id, token);
            }
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { request, answer } => {
                if let Some(pending) = self.pending.remove(&request) {
                    std::mem::forget(pending.ticket.filter(|_| answer.is_err() && bug!(PermitLeaked)));
                    // Whoever left does not want to know.
                    let _ = pending.reply.send(answer);
                }
            }
            Effect::FollowUps(jobs) => self.follow(jobs),
            Effect::Run { queue, leases } => {
                if let Some(worker) = self.parts.workers.get(queue.0 as usize) {
                    let _ = worker.send_message(WorkerMsg::Run(leases));
                }
            }
            Effect::Fetch { no, ids } => {
                if let Some(myself) = self.myself.clone() {
                    let reading = (self.parts.door.as_ref(), &self.parts.handlers);
                    fetch::read_ahead(reading, self.parts.reader.clone(), myself, no, ids);
                }
            }
            Effect::Stop { queue, id, token, reason } => {
                // A job that is gone has no queue any more, but its code runs at some worker.
                let at = self.parts.workers.get(queue.0 as usize);
                let at = at.or_else(|| self.parts.workers.get(self.parts.live.queue(id, token)?.0 as usize));
                if let Some(worker) = at {
                    let _ = worker.send_message(WorkerMsg::Stop { id, token, reason });
                }
            }
            Effect::Notice(notice) if notice.body.is_none() => {
                let reader = self.parts.reader.clone();
                fetch::tell_with_body(&self.parts.door, &self.parts.handlers, reader, notice);
            }
            Effect::Notice(notice) => self.parts.door.hooks.tell(notice),
            Effect::Told(told) => self.told.get_or_insert_default().push(told),
            Effect::Ticked(job) => {
                if let Some(witness) = &self.parts.door.witness {
                    witness.ticked(&job);
                }
            }
            Effect::Tripped { of, circuit } => telemetry::tripped(&self.parts.door.meters, &of, circuit),
            Effect::Arm { queue, class, at } => {
                let _ = self.parts.scheduler.send_message(SchedulerMsg::Arm { queue, class, at });
            }
        }
    }
}
