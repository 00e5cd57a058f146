//! Looks at the engine once for all who watch: what pages show live is asked for every two seconds while a page is open, however many
//! are.
//!
//! Owns the last sample, the task that takes the next one, and what else was looked at since. Never subscribes to the engine's events:
//! they would cost each job something.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use windlass::Engine;

use crate::api::Problem;
use crate::audit::Audit;
use crate::pace::{Paces, Shot, Shots};
use crate::view::overview::{HealthView, MemoryView, Numbers, QueueView};

/// How often a sample is taken while somebody watches.
const EVERY: Duration = Duration::from_secs(2);
/// So many times nothing has to have changed before a page is told to look all the same: ages grow.
const QUIET_MAX: u32 = 5;
/// Other looks that are kept until the next sample.
const LOOKS_MAX: usize = 64;

/// What one look at the engine saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) queues: Vec<QueueView>,
    pub(crate) memory: Option<MemoryView>,
    pub(crate) paces: Paces,
}

/// How much is known to have changed when a look began: the last sample that said something new, and what was done through this console. So
/// whoever has done something never sees how it was before.
type Known = (u64, u64);

/// A look that others may share: what was known, when, and what it saw.
type Kept = Arc<tokio::sync::Mutex<Option<(Known, Instant, Box<dyn Any + Send + Sync>)>>>;

/// The one who looks.
pub(crate) struct Sampler {
    engine: Engine,
    shots: Arc<Shots>,
    audit: Arc<Audit>,
    no: AtomicU64,
    last: tokio::sync::Mutex<Option<(u64, Instant, Arc<Seen>)>>,
    looks: Mutex<HashMap<String, Kept>>,
    /// The number of the last sample that said something new.
    told: watch::Sender<u64>,
    is_running: Mutex<bool>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sampler {
    pub(crate) fn new(engine: Engine, shots: Arc<Shots>, audit: Arc<Audit>) -> Self {
        Self {
            engine,
            shots,
            audit,
            no: AtomicU64::new(0),
            last: tokio::sync::Mutex::default(),
            looks: Mutex::default(),
            told: watch::Sender::new(0),
            is_running: Mutex::new(false),
        }
    }

    /// What the engine is like now.
    pub(crate) async fn look(&self) -> Result<Arc<Seen>, Problem> {
        let changes = self.audit.count();
        let seen = Arc::new(self.take().await?);
        *self.last.lock().await = Some((changes, Instant::now(), seen.clone()));
        Ok(seen)
    }

    fn known(&self) -> Known {
        (*self.told.borrow(), self.audit.count())
    }

    /// What it was like a moment ago: whoever asks meanwhile waits for the same answer.
    pub(crate) async fn glance(&self) -> Result<Arc<Seen>, Problem> {
        let mut last = self.last.lock().await;
        let changes = self.audit.count();
        if let Some((of, at, seen)) = &*last
            && *of == changes
            && at.elapsed() < EVERY
        {
            return Ok(seen.clone());
        }
        let seen = Arc::new(self.take().await?);
        *last = Some((changes, Instant::now(), seen.clone()));
        Ok(seen)
    }

    async fn take(&self) -> Result<Seen, Problem> {
        self.no.fetch_add(1, Ordering::Relaxed);
        let stats = self.engine.stats().await?;
        let memory = self.engine.memory().await.ok().as_ref().map(MemoryView::from);
        let shot = Shot::new(self.engine.attempt_times(), self.engine.journal_stats().await.ok());
        let paces = self.shots.until(&shot);
        let mut queues: Vec<_> = stats.iter().map(QueueView::from).collect();
        for queue in &mut queues {
            queue.pace = paces.queues.get(&queue.name).copied();
        }
        Ok(Seen { queues, memory, paces })
    }

    /// What this look sees, or what the same one saw since the last sample: all who watch the same page look once.
    pub(crate) async fn shared<T: Clone + Send + Sync + 'static>(
        &self,
        key: String,
        look: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let kept = {
            let mut looks = locked(&self.looks);
            if looks.len() >= LOOKS_MAX && !looks.contains_key(&key) {
                looks.clear();
            }
            looks.entry(key).or_default().clone()
        };
        let mut kept = kept.lock().await;
        let known = self.known();
        if let Some((of, at, seen)) = &*kept
            && *of == known
            && at.elapsed() < EVERY
            && let Some(seen) = seen.downcast_ref::<T>()
        {
            return Ok(seen.clone());
        }
        let seen = look.await?;
        *kept = Some((known, Instant::now(), Box::new(seen.clone())));
        Ok(seen)
    }

    /// Told of each sample that says something new, from now on. While somebody is, samples are taken.
    pub(crate) fn watch(self: &Arc<Self>) -> watch::Receiver<u64> {
        let mut is_running = locked(&self.is_running);
        let watcher = self.told.subscribe();
        if !std::mem::replace(&mut *is_running, true) {
            tokio::spawn(self.clone().run());
        }
        watcher
    }

    async fn run(self: Arc<Self>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut before, mut quiet) = (None, 0);
        loop {
            ticks.tick().await;
            {
                let mut is_running = locked(&self.is_running);
                if self.told.receiver_count() == 0 {
                    *is_running = false;
                    locked(&self.looks).clear();
                    return;
                }
            }
            let now = Mark::of(&self.engine, &self.audit, self.sampled().await.as_deref());
            let is_news = now.moves || before.as_ref() != Some(&now) || quiet >= QUIET_MAX;
            quiet = if is_news { 0 } else { quiet + 1 };
            before = Some(now);
            if is_news {
                self.told.send_modify(|no| *no += 1);
            }
        }
    }

    /// An engine that does not answer has nothing to show, which is something to tell.
    async fn sampled(&self) -> Option<Arc<Seen>> {
        timeout(EVERY, self.look()).await.ok()?.ok()
    }
}

/// What tells one sample from the next.
#[derive(PartialEq, Eq)]
struct Mark {
    health: String,
    totals: Option<[u64; 16]>,
    switches: Vec<(bool, Option<&'static str>)>,
    changes: u64,
    /// Something runs or waits, of which a page shows how far or for how long.
    moves: bool,
}

impl Mark {
    fn of(engine: &Engine, audit: &Audit, seen: Option<&Seen>) -> Self {
        let health = HealthView::from(&engine.health());
        let mut text = health.state;
        text.extend(health.warnings.iter().map(|warning| warning.text.as_str()));
        let queues = seen.map_or(&[][..], |seen| &seen.queues);
        let all = Numbers::sum(queues);
        Self {
            health: text,
            totals: seen.map(|_| all.told()),
            switches: queues.iter().map(|queue| (queue.is_paused, queue.breaker)).collect(),
            changes: audit.count(),
            moves: all.running > 0 || all.oldest_ready_ms > 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Action;
    use windlass::{MemoryJournal, QueueConfig};

    async fn sampler() -> Arc<Sampler> {
        let engine = Engine::builder().journal(MemoryJournal::new()).queue(QueueConfig::new("mail"));
        let engine = engine.allow_unknown_kinds().start().await.unwrap();
        Arc::new(Sampler::new(engine, Arc::default(), Arc::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn many_watchers_cost_what_one_does_and_none_cost_nothing() {
        let sampler = sampler().await;
        let mut watchers: Vec<_> = (0..50).map(|_| sampler.watch()).collect();
        for _ in 0..3 {
            for watcher in &mut watchers {
                watcher.changed().await.unwrap();
            }
        }
        let taken = sampler.no.load(Ordering::Relaxed);
        // Nothing happens: after the first one it is told when ages have grown.
        let ticks = 1 + 2 * u64::from(QUIET_MAX + 1);
        assert!(taken <= ticks + 1, "{taken} samples for 150 tellings");
        drop(watchers);
        tokio::time::advance(10 * EVERY).await;
        while *locked(&sampler.is_running) {
            tokio::task::yield_now().await;
        }
        let taken = sampler.no.load(Ordering::Relaxed);
        tokio::time::advance(10 * EVERY).await;
        assert_eq!(sampler.no.load(Ordering::Relaxed), taken);
        // Whoever comes later has it begin again.
        sampler.watch().changed().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_look_at_the_same_look_once() {
        let (sampler, looks) = (sampler().await, AtomicU64::new(0));
        let look = || async { Ok(looks.fetch_add(1, Ordering::Relaxed)) };
        for _ in 0..10 {
            assert_eq!(sampler.shared("jobs".to_owned(), look()).await.unwrap(), 0);
        }
        assert_eq!(sampler.shared("flows".to_owned(), look()).await.unwrap(), 1);
        tokio::time::advance(EVERY).await;
        assert_eq!(sampler.shared("jobs".to_owned(), look()).await.unwrap(), 2);
        // Whoever has done something sees what came of it.
        let before = sampler.glance().await.unwrap();
        assert!(Arc::ptr_eq(&before, &sampler.glance().await.unwrap()));
        sampler.audit.note("ada", Action::PauseQueue, "mail", "done");
        assert_eq!(sampler.shared("jobs".to_owned(), look()).await.unwrap(), 3);
        assert!(!Arc::ptr_eq(&before, &sampler.glance().await.unwrap()));
        for no in 0..1_000 {
            sampler.shared(format!("jobs {no}"), look()).await.unwrap();
        }
        assert!(locked(&sampler.looks).len() <= LOOKS_MAX);
    }
}
