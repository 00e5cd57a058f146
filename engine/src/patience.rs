//! How long a thread looks for more to do before it sleeps.
//!
//! To wake a sleeping thread takes longer (20 to 30 µs on a virtual machine) than most of what it is woken for, and a lone
//! call would wait for four such wakes. Owns the decision whether to look, and for how long. Never keeps a core from anyone:
//! whoever looks gives its turn away between two looks, and one that looked in vain lately goes to sleep at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// As long as a thread looks: about as long as waking it would take.
const LOOK_MAX: Duration = Duration::from_micros(30);
/// After so many looks in vain, net of those that were not, a thread looks no more.
const LUCK_MAX: u32 = 8;
/// Without luck, it tries again after so many sleeps.
const RETRY_AFTER: u32 = 32;

/// Whether looking has been worth it of late. Each thread that may sleep has its own.
#[derive(Debug)]
pub(crate) struct Patience {
    luck: AtomicU32,
    sleeps: AtomicU32,
    /// There is more than one core: on a single one, whoever looks keeps from its turn what it looks for.
    has_company: bool,
}

impl Default for Patience {
    fn default() -> Self {
        let has_company = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        Self { luck: AtomicU32::new(LUCK_MAX / 2), sleeps: AtomicU32::new(0), has_company }
    }
}

impl Patience {
    fn may_look(&self) -> bool {
        let is_lucky = || self.luck.load(Ordering::Relaxed) > 0;
        let retries = || self.sleeps.fetch_add(1, Ordering::Relaxed) % RETRY_AFTER == RETRY_AFTER - 1;
        self.has_company && (is_lucky() || retries())
    }

    fn looked(&self, was_there: bool) {
        let luck = self.luck.load(Ordering::Relaxed);
        let luck = if was_there { (luck + 1).min(LUCK_MAX) } else { luck.saturating_sub(1) };
        self.luck.store(luck, Ordering::Relaxed);
    }

    /// Looks for something to do, for a moment at most.
    pub(crate) fn look(&self, is_there: impl Fn() -> bool) {
        if is_there() || !self.may_look() {
            return;
        }
        let until = Instant::now() + LOOK_MAX;
        while !is_there() {
            if Instant::now() >= until {
                return self.looked(false);
            }
            std::thread::yield_now();
        }
        self.looked(true);
    }

    /// Looks for tasks that other threads hand to this thread's runtime.
    pub(crate) fn look_for_tasks(&self) {
        if let Ok(runtime) = Handle::try_current() {
            let metrics = runtime.metrics();
            self.look(|| metrics.global_queue_depth() > 0);
        }
    }

    /// Waits for an answer that is due in a moment. Other tasks of the runtime have their turns meanwhile.
    pub(crate) async fn answer<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, oneshot::error::RecvError> {
        if self.may_look() {
            let until = Instant::now() + LOOK_MAX;
            while answer.is_empty() && Instant::now() < until {
                tokio::task::yield_now().await;
            }
            self.looked(!answer.is_empty());
        }
        answer.await
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn patience() -> Patience {
        Patience { has_company: true, ..Patience::default() }
    }

    /// How often it looked before it would sleep.
    fn looks(patience: &Patience, found_at: Option<u32>) -> u32 {
        let looks = Cell::new(0);
        patience.look(|| {
            looks.set(looks.get() + 1);
            Some(looks.get()) == found_at
        });
        looks.get()
    }

    #[test]
    fn it_looks_until_something_is_there() {
        let patience = patience();
        assert_eq!(looks(&patience, Some(1)), 1);
        assert_eq!(looks(&patience, Some(3)), 3);
    }

    #[test]
    fn who_looks_in_vain_sleeps_at_once_and_tries_again_later() {
        let patience = patience();
        for _ in 0..LUCK_MAX {
            looks(&patience, None);
        }
        let tries: Vec<_> = (0..2 * RETRY_AFTER).map(|_| looks(&patience, None)).filter(|looks| *looks > 1).collect();
        assert_eq!(tries.len(), 2, "one try in {RETRY_AFTER}");
        while looks(&patience, Some(2)) < 2 {}
        assert_eq!(looks(&patience, Some(2)), 2, "one that was lucky looks again");
    }

    #[test]
    fn on_a_single_core_it_never_looks() {
        let patience = Patience { has_company: false, ..Patience::default() };
        assert_eq!(looks(&patience, Some(2)), 1);
    }

    #[tokio::test]
    async fn an_answer_comes_whether_it_was_looked_for_or_not() {
        let patience = patience();
        for n in 0..2 * RETRY_AFTER {
            let (send, answer) = oneshot::channel();
            let sent = tokio::spawn(async move { send.send(n) });
            assert_eq!(patience.answer(answer).await, Ok(n));
            assert_eq!(sent.await.map_err(|_| ()), Ok(Ok(())));
        }
        let (send, answer) = oneshot::channel::<u32>();
        drop(send);
        assert!(patience.answer(answer).await.is_err(), "nobody answers any more");
    }
}
