//! The callers: they enqueue, ask, wait, leave, and steer.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use windlass::testing::Life;
use windlass::{Draft, Filter, JobId, JobState, Priority, Unique, UniqueScope, Verb};

use super::flows::Flows;
use super::handler::{Act, Press};
use super::settings::Settings;

/// All callers of a seed, and the ids that they know of, over all lives.
pub(super) struct Town<'a> {
    settings: &'a Settings,
    known: Mutex<Vec<JobId>>,
    flows: Flows,
}

impl<'a> Town<'a> {
    pub(super) fn new(settings: &'a Settings) -> Self {
        Self { settings, known: Mutex::default(), flows: Flows::default() }
    }

    pub(super) async fn live(&self, life: &Life) {
        join_all((0..self.settings.callers).map(|_| self.call_on(life))).await;
    }

    async fn call_on(&self, life: &Life) {
        loop {
            life.sleep(self.time(life, self.settings.pause)).await;
            let queue = self.queue(life);
            if self.settings.flows_every.is_some_and(|every| life.below(every) == 0) {
                self.flows.call(life, queue).await;
            } else if life.below(self.settings.operator_every) == 0 {
                self.steer(life).await;
            } else {
                self.hand_in(life).await;
            }
        }
    }

    #[allow(clippy::unused_self)]
    fn time(&self, life: &Life, max: Duration) -> Duration {
        Duration::from_millis(life.below(u64::try_from(max.as_millis()).unwrap_or(u64::MAX) + 1))
    }

    fn queue(&self, life: &Life) -> &'static str {
        self.settings.names[pick(life, self.settings.names.len())]
    }

    fn remember(&self, ids: impl IntoIterator<Item = JobId>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
    }

    /// One of the last ones, as an operator would mean.
    fn some(&self, life: &Life) -> Option<JobId> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let back = pick(life, known.len().min(20));
        known.len().checked_sub(1 + back).map(|at| known[at])
    }

    fn draft(&self, life: &Life) -> Draft {
        let seed = life.below(u64::MAX);
        if self.settings.press_every.is_some_and(|every| life.below(every) == 0) {
            return Draft::new(&Press { seed });
        }
        let ballast = vec![7; pick(life, 200)];
        let mut draft = Draft::new(&Act { seed, depth: 0, ballast }).queue(self.queue(life));
        if life.below(3) == 0 {
            draft = draft.priority(Priority(u8::try_from(life.below(4) * 80).unwrap_or(0)));
        }
        if life.below(5) == 0 {
            draft = draft.delay(self.time(life, Duration::from_secs(60)));
        }
        if life.below(10) == 0 {
            draft = draft.expires_in(Duration::from_millis(1) + self.time(life, Duration::from_secs(60)));
        }
        if life.below(10) == 0 {
            draft = draft.deadline_in(Duration::from_millis(1) + self.time(life, Duration::from_secs(120)));
        }
        if self.settings.keys > 0 && life.below(3) == 0 {
            draft = draft.unique(self.unique(life));
        }
        if self.settings.limit_keys > 0 && life.below(4) > 0 {
            let key = life.below(self.settings.limit_keys);
            draft = draft.limit_key(key.to_string()).weight(1 + u32::from(key == 2));
        }
        if life.below(10) == 0 {
            draft = draft.tag("a").correlation_id("b");
        }
        draft
    }

    fn unique(&self, life: &Life) -> Unique {
        let scope = [UniqueScope::Kind, UniqueScope::Queue, UniqueScope::Engine][pick(life, 3)];
        let unique = Unique::key(format!("{}", life.below(self.settings.keys))).scope(scope);
        let window = Duration::from_millis(1) + self.time(life, Duration::from_secs(60));
        match life.below(8) {
            0 => unique.until_started(),
            1 => unique.for_window(window),
            2 => unique.for_window(window).keep_last(),
            3 => unique.keep_last(),
            4 => unique.replace(),
            5 => unique.debounce(window).at_most(window * 3),
            _ => unique,
        }
    }

    async fn hand_in(&self, life: &Life) {
        let engine = life.engine();
        match life.below(8) {
            0 => {
                let drafts: Vec<Draft> = (0..2 + life.below(5)).map(|_| self.draft(life)).collect();
                if let Ok(receipts) = engine.enqueue_all(drafts).await {
                    self.remember(receipts.into_iter().map(|receipt| receipt.id));
                }
            }
            1 => {
                // It leaves after a while: its job is there whole, or not at all.
                let call = engine.enqueue_all([self.draft(life)]);
                let _ = tokio::time::timeout(self.time(life, Duration::from_millis(20)), call).await;
            }
            2 => {
                let act = Act { seed: life.below(u64::MAX), depth: 0, ballast: Vec::new() };
                let wait = engine.enqueue(act).queue(self.queue(life)).and_wait();
                let _ = tokio::time::timeout(self.time(life, Duration::from_secs(120)), wait).await;
            }
            3 => {
                // The same id again is the same job.
                let Some(id) = self.some(life) else { return };
                let _ = engine.enqueue_all([self.draft(life).id(id)]).await;
            }
            _ => {
                if let Ok(receipts) = engine.enqueue_all([self.draft(life)]).await {
                    self.remember(receipts.into_iter().map(|receipt| receipt.id));
                }
            }
        }
    }

    async fn steer(&self, life: &Life) {
        let engine = life.engine();
        let queue = self.queue(life);
        if life.below(5) == 0 {
            let _ = engine.pause(queue).await;
            life.sleep(self.time(life, Duration::from_secs(20))).await;
            let _ = engine.resume(queue).await;
            return;
        }
        if self.settings.has_orders && life.below(4) == 0 {
            let verbs = [Verb::Cancel, Verb::RunNow, Verb::Requeue, Verb::Discard];
            let verb = verbs[pick(life, verbs.len())].clone();
            let _ = engine.steer_all(verb, Filter::new().queue(queue)).await;
            return;
        }
        let Some(id) = self.some(life) else { return };
        match life.below(11) {
            0..2 => _ = engine.cancel(id).await,
            2 => _ = engine.requeue(id).await,
            3 => _ = engine.discard(id).await,
            4 => _ = engine.run_now(id).await,
            5 => _ = engine.reprioritise(id, Priority(u8::try_from(life.below(256)).unwrap_or(0))).await,
            6 => _ = engine.reschedule_in(id, self.time(life, Duration::from_secs(60))).await,
            7 => _ = engine.move_to(id, queue).await,
            8 => {
                let act = Act { seed: life.below(u64::MAX), depth: 0, ballast: Vec::new() };
                let _ = engine.edit(id, &act).await;
            }
            9 => {
                let wait = engine.handle::<Act>(id);
                let _ = tokio::time::timeout(self.time(life, Duration::from_secs(30)), wait.wait()).await;
            }
            _ => {
                let _ = engine.job(id).await;
                let _ = engine.jobs(Filter::new().queue(queue).state(JobState::Dead)).await;
            }
        }
    }
}

pub(super) fn pick(life: &Life, of: usize) -> usize {
    usize::try_from(life.below(of as u64)).unwrap_or(0)
}
