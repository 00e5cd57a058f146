//! One life of a process: it begins, serves, and dies or is shut down.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use windlass_scheduler::history::{Answer, Call, Count, FlowSeen, What};
use windlass_scheduler::job::Name;

use super::around::Around;
use super::faults::{Fuse, Place};
use super::journal::SimJournal;
use super::recorder::Recorder;
use super::{SLACK, World, rules};
use crate::builder::EngineBuilder;
use crate::clock::Clock;
use crate::config::{HOUR, MIN, SEC, ms};
use crate::engine::Engine;

/// Flows that are asked for at a time.
const FLOWS_PAGE: usize = 1_000;

/// What a life of a simulated service has, for what goes on beside its jobs.
#[derive(Clone)]
pub struct Life {
    engine: Engine,
    recorder: std::sync::Arc<Recorder>,
    number: u64,
}

impl Life {
    /// The engine.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Which life it is, from 1.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Simulated time since the simulation began.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_millis(self.recorder.tale().map_or(0, |tale| tale.now_ms()))
    }

    /// Lets so much simulated time pass.
    pub async fn sleep(&self, time: Duration) {
        sleep(time).await;
    }

    /// A number from 0 on, below `bound`, by the simulation's seed.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        self.recorder.tale().map_or(0, |mut tale| tale.chance.below(bound))
    }

    /// Kills the process here: what was written is there in the next life.
    pub async fn crash(&self) {
        self.recorder.die(false);
        pending::<()>().await;
    }

    /// Takes the power away here: what was synced is there in the next life.
    pub async fn lose_power(&self) {
        self.recorder.die(true);
        pending::<()>().await;
    }
}

impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Life").field("number", &self.number).finish_non_exhaustive()
    }
}

/// A wall clock that moves with the simulated time.
struct SteadyClock {
    base_ms: u64,
    since: Instant,
}

impl Clock for SteadyClock {
    fn wall_ms(&self) -> u64 {
        self.base_ms + ms(self.since.elapsed())
    }

    fn is_steady(&self) -> bool {
        true
    }
}

/// How a life is to end, drawn when it begins.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Where the simulated time is over, or a deploy is due.
    Shutdown,
    /// Killed where it stands, or at the next such place.
    Death { at: Option<Place>, power_lost: bool },
}

/// The moment of the end, and what it is.
fn fate(recorder: &Recorder, until_ms: u64) -> (Duration, Fate) {
    let Some(mut tale) = recorder.tale() else { return (Duration::ZERO, Fate::Shutdown) };
    let left = Duration::from_millis(until_ms.saturating_sub(tale.now_ms()));
    let (crash_every, restart_every) = (tale.faults.crash_every, tale.faults.restart_every);
    let crash = crash_every.map(|mean| tale.chance.around(mean));
    let restart = restart_every.map(|mean| tale.chance.around(mean));
    let first = [crash, restart].into_iter().flatten().min().filter(|first| *first < left);
    match first {
        None => (left, Fate::Shutdown),
        Some(first) if crash != Some(first) => (first, Fate::Shutdown),
        Some(first) => {
            let power_permille = tale.faults.power_permille;
            let power_lost = tale.chance.permille(power_permille);
            let place = usize::try_from(tale.chance.below(2 * Place::ALL.len() as u64)).unwrap_or(0);
            (first, Fate::Death { at: Place::ALL.get(place).copied(), power_lost })
        }
    }
}

/// A paused clock, and one thread for everything.
fn on_a_runtime(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime for a simulation: {error}"));
    runtime.block_on(body);
    // Blocking handlers that do not end keep their threads, and nothing else.
    runtime.shutdown_background();
}

/// Lives until `until_ms` at the latest.
pub(super) fn live<A: Send + Sync + 'static>(
    world: &World,
    number: u64,
    until_ms: u64,
    service: &impl Fn(EngineBuilder<()>) -> EngineBuilder<A>,
    live: &impl AsyncFn(Life),
) {
    on_a_runtime(async {
        let recorder = Recorder::begin(&world.tale, number);
        let (after, fate) = fate(&recorder, until_ms);
        let end = Instant::now() + after;
        let body = async {
            let engine = start(world, &recorder, service, end).await;
            let Some(engine) = engine else { return over(&recorder, fate, None).await };
            let life = Life { engine: engine.clone(), recorder: recorder.clone(), number };
            tokio::select! {
                biased;
                () = sleep_until(end) => {}
                () = async { live(life).await; pending().await } => {}
            }
            over(&recorder, fate, Some(&engine)).await;
        };
        tokio::select! {
            biased;
            () = recorder.died() => {}
            () = body => {}
        }
        // While its clock is there.
        recorder.say(What::Stopped);
        world.lock().stop();
    });
}

/// Without faults, until everything has ended.
pub(super) fn settle<A: Send + Sync + 'static>(
    world: &World,
    number: u64,
    within: Duration,
    service: &impl Fn(EngineBuilder<()>) -> EngineBuilder<A>,
) {
    on_a_runtime(async {
        let recorder = Recorder::begin(&world.tale, number);
        let end = Instant::now() + within;
        let Some(engine) = start(world, &recorder, service, end).await else { return };
        let mut queues: Vec<Name> = Vec::new();
        let mut pause = SEC / 10;
        loop {
            let Ok(stats) = engine.stats().await else { return };
            if queues.is_empty() {
                queues = stats.iter().map(|queue| queue.queue.clone()).collect();
                for queue in &queues {
                    let _ = engine.resume(queue.as_str()).await;
                }
                // Otherwise there would always be one more job.
                for schedule in engine.schedules().await.unwrap_or_default() {
                    let _ = engine.pause_schedule(&schedule.name).await;
                }
                continue;
            }
            // An order that is carried out may bring jobs back.
            let orders = engine.orders().await.unwrap_or_default();
            let is_at_rest = orders.iter().all(|order| order.ended.is_some())
                && stats.iter().all(|queue| queue.live() == queue.waiting);
            // What waits for somebody would do so for ever.
            if is_at_rest && call_off_flows(&engine, &recorder).await {
                continue;
            }
            let is_over = is_at_rest && stats.iter().all(|queue| queue.live() == 0);
            if is_over || Instant::now() >= end {
                break;
            }
            sleep(pause).await;
            pause = (pause * 2).min(HOUR);
        }
        recorder.say(What::Drained);
        count(&engine, &recorder).await;
        let _ = engine.shutdown(MIN).await;
        recorder.say(What::Stopped);
        world.lock().stop();
    });
}

/// How the flows stand, and whether one had to be called off that has not ended.
async fn call_off_flows(engine: &Engine, recorder: &Recorder) -> bool {
    let (mut all, mut open, mut after) = (Vec::new(), Vec::new(), None);
    while let Ok(page) = engine.flows(after, None, FLOWS_PAGE).await {
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        for flow in page {
            let handle = engine.flow::<()>(flow.id);
            let Ok(status) = handle.status().await else { continue };
            let steps = status.steps.iter().map(|step| (step.job, step.state)).collect();
            all.push(FlowSeen { id: flow.id, state: status.summary.state, steps });
            open.extend(status.summary.ended.is_none().then_some(handle));
        }
    }
    if !all.is_empty() {
        recorder.say(What::FlowsAtRest(all));
    }
    for flow in &open {
        let _ = flow.cancel().await;
    }
    !open.is_empty()
}

/// What the engine's memory says of itself at the end.
async fn count(engine: &Engine, recorder: &Recorder) {
    if let Ok(memory) = engine.memory().await {
        let used_bytes = memory.used_bytes();
        recorder.say(What::Memory { used_bytes, bytes_max: memory.bytes_max });
    }
    if let Ok(stats) = engine.stats().await {
        let counts = stats.into_iter().map(|queue| Count {
            live: queue.live(),
            ended: [queue.done, queue.dead, queue.cancelled, queue.expired],
            queue: queue.queue,
        });
        recorder.say(What::Counted(counts.collect()));
    }
}

/// Starts the service; where the journal does not open, again after a second, as a supervisor of processes would.
async fn start<A: Send + Sync + 'static>(
    world: &World,
    recorder: &std::sync::Arc<Recorder>,
    service: &impl Fn(EngineBuilder<()>) -> EngineBuilder<A>,
    end: Instant,
) -> Option<Engine> {
    loop {
        let clock = SteadyClock { base_ms: world.wall_ms + world.lock().now_ms(), since: Instant::now() };
        let journal = SimJournal::new(world.disk.second_handle(), recorder.clone());
        let builder = Engine::builder().journal(journal).clock(clock).middleware(Around(recorder.clone()));
        let builder = service(builder.witness(recorder.clone()));
        rules::tell(&builder, recorder);
        let call = recorder.call(Call::Open { within_ms: ms(SLACK) });
        match builder.start().await {
            Ok(engine) => {
                recorder.say(What::Answered { call, answer: Answer::Ok });
                return Some(engine);
            }
            Err(_) if Instant::now() < end => sleep(SEC).await,
            Err(_) => return None,
        }
    }
}

/// The end of a life, as it was drawn.
async fn over(recorder: &Recorder, fate: Fate, engine: Option<&Engine>) {
    match fate {
        Fate::Shutdown => {
            if let Some(engine) = engine {
                let _ = engine.shutdown(MIN).await;
            }
        }
        Fate::Death { at: None, power_lost } => recorder.die(power_lost),
        Fate::Death { at: Some(place), power_lost } => {
            if let Some(mut tale) = recorder.tale() {
                tale.fuse = Some(Fuse { place, power_lost });
            }
            // Where nothing comes to that place, it dies where it is.
            sleep(MIN).await;
            recorder.die(power_lost);
        }
    }
}
