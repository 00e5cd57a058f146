//! A service on a virtual clock: its real handlers, queues and settings, days in milliseconds, crashes and failures from a seed.
//!
//! Owns the lives of a process on a simulated disk. The engine in it is the real one, with all its actors, on a paused
//! clock and one thread; only the journal is a simulated one. Everything random comes from one seed, so that a run can be
//! repeated. After the faults comes a time without any, in which everything has to end; then the whole history is judged.

mod around;
mod chance;
mod faults;
mod journal;
mod life;
mod recorder;
mod rules;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use windlass_scheduler::history::What;
use windlass_storage::{Journal as _, MemoryJournal};

pub use self::faults::Faults;
pub use self::life::Life;
pub(crate) use self::recorder::{Facts, Recorder, Tale};
use super::history::{History, dump};
use crate::builder::EngineBuilder;
use crate::config::HOUR;

/// The first moment of the wall clock, unless said: some day in 2023.
const WALL_MS: u64 = 1_700_000_000_000;

/// A simulation of a service, to be run. See the [module's page](crate::testing).
///
/// ```
/// use windlass::testing::{Faults, Simulation};
/// use windlass::{Context, HOUR, Job, JobError, MIN, QueueConfig, RetryPolicy};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Mail { to: String }
/// impl Job for Mail {
///     const KIND: &'static str = "mail";
///     const QUEUE: &'static str = "mail";
///     type Output = ();
/// }
///
/// async fn send(_mail: Mail, _cx: Context<()>) -> Result<(), JobError> {
///     Ok(()) // the real handler, with stand-ins for what is outside of the service
/// }
///
/// let faults = Faults::new().handlers_fail(200).crashes_every(HOUR * 8).power_fails(500).store_fails(2);
/// let history = Simulation::new(7).faults(faults).run(
///     HOUR * 24 * 30,
///     |builder| {
///         let mail = QueueConfig::new("mail").retry(RetryPolicy::exponential(MIN).cap(HOUR).attempts(12));
///         builder.queue(mail).handler(send)
///     },
///     async |life| loop {
///         let _ = life.engine().enqueue(Mail { to: "ada@example.org".into() }).await;
///         life.sleep(HOUR).await;
///     },
/// );
/// history.check().unwrap(); // nothing lost, nothing run twice at once, and 37 laws more
/// history.each::<Mail>("a mail is sent at least once", |_, job| job.succeeded()).unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a simulation is run by `run`"]
pub struct Simulation {
    seed: u64,
    faults: Faults,
    wall_ms: u64,
    settles_within: Duration,
}

impl Simulation {
    /// With this seed: the same one gives the same run, as long as nothing in the service depends on the machine.
    pub const fn new(seed: u64) -> Self {
        Self { seed, faults: NO_FAULTS, wall_ms: WALL_MS, settles_within: Duration::from_secs(60 * 24 * 3_600) }
    }

    /// What goes wrong. Nothing, unless said.
    pub const fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// The wall clock's time at the beginning, in milliseconds since the Unix epoch; a day in November 2023 unless said.
    pub const fn starting_at_ms(mut self, wall_ms: u64) -> Self {
        self.wall_ms = wall_ms;
        self
    }

    /// So long after its faults everything has to have ended, in simulated time; 60 days unless said.
    pub const fn settles_within(mut self, time: Duration) -> Self {
        self.settles_within = time;
        self
    }

    /// Runs the service for so long in simulated time, then without faults until everything has ended, and tells what
    /// happened.
    ///
    /// `service` adds to a builder what the service is: state, queues, handlers. It is asked anew for each life of the
    /// process. The journal and the clocks are the simulation's; where it sets others, the history is of no use.
    ///
    /// `live` is what goes on in the service beside its jobs: what enqueues. It begins anew in each life, and is dropped where
    /// the life ends. When it returns, the life goes on without it. It should wait by [`Life::sleep`].
    ///
    /// When the faults are over, queues that are paused are resumed, schedules are paused, and flows that are held or wait for a signal
    /// are called off once nothing else goes on, so that everything can end.
    ///
    /// # Panics
    /// Where the service's configuration is refused, or `live` or `service` panics.
    pub fn run<A: Send + Sync + 'static>(
        self,
        time: Duration,
        service: impl Fn(EngineBuilder<()>) -> EngineBuilder<A>,
        live: impl AsyncFn(Life),
    ) -> History {
        let tale = Arc::new(Mutex::new(Tale::new(self.seed, self.faults, self.wall_ms)));
        let world = World { tale, disk: MemoryJournal::simulated_disk(), wall_ms: self.wall_ms };
        let until_ms = crate::config::ms(time);
        let mut lives = 0;
        while world.lock().now_ms() < until_ms {
            lives += 1;
            life::live(&world, lives, until_ms, &service, &live);
            world.look();
        }
        world.lock().faults = NO_FAULTS;
        life::settle(&world, lives + 1, self.settles_within, &service);
        world.look();
        let mut tale = world.lock();
        let (events, facts) = (std::mem::take(&mut tale.events), std::mem::take(&mut tale.facts));
        History::new(self.seed, events, &facts)
    }
}

const NO_FAULTS: Faults = Faults {
    fail_permille: 0,
    fail_after_permille: 0,
    panic_permille: 0,
    hang_permille: 0,
    store_permille: 0,
    store_pause_max: None,
    crash_every: None,
    power_permille: 0,
    restart_every: None,
};

/// What outlives a process.
struct World {
    tale: Arc<Mutex<Tale>>,
    disk: MemoryJournal,
    wall_ms: u64,
}

impl World {
    fn lock(&self) -> MutexGuard<'_, Tale> {
        self.tale.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks into the store between two lives.
    fn look(&self) {
        if matches!(self.lock().events.last().map(|event| &event.what), Some(What::PowerLost)) {
            self.disk.lose_power();
        }
        let mut journal = self.disk.second_handle();
        // A disk in memory opens and loads; if it did not, the history would say so by what is missing in it.
        if journal.open().is_ok()
            && let Ok(dump) = dump(&mut journal)
        {
            self.lock().say(What::Dump(dump));
        }
        let _ = journal.close();
    }
}

/// How long a pause of the store, or a rebuild after its failure, may hold up what has a time of its own.
const SLACK: Duration = HOUR;
