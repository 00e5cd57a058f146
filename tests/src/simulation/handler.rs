//! Jobs that do anything a job may do: what, is a function of their own bytes and the attempt's number.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass::{Context, Draft, FlowStep, Job, JobError, SEC};

use crate::chance::Chance;

/// A job with an async handler.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Act {
    /// What it does.
    pub(super) seed: u64,
    /// How deep it stands among follow-ups.
    pub(super) depth: u8,
    /// Bytes of no meaning.
    pub(super) ballast: Vec<u8>,
}

impl Job for Act {
    const KIND: &'static str = "act";
    const QUEUE: &'static str = "one";
    type Output = Option<u64>;
}

impl FlowStep for Act {
    type Input = ();
}

/// A job with a blocking handler.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Press {
    /// What it does.
    pub(super) seed: u64,
}

impl Job for Press {
    const KIND: &'static str = "press";
    const QUEUE: &'static str = "one";
    type Output = u64;
}

type Result<T> = std::result::Result<T, JobError>;

fn ms(chance: &mut Chance, max: u64) -> Duration {
    Duration::from_millis(1 + chance.below(max))
}

/// A quiet panic: there are many.
fn panic_unheard() -> ! {
    std::panic::resume_unwind(Box::new("as the seed says"))
}

pub(super) async fn act(job: Act, cx: Context<()>) -> Result<Option<u64>> {
    let mut chance = Chance::new(job.seed ^ u64::from(cx.attempt()) << 56);
    let chance = &mut chance;
    for _ in 0..chance.below(3) {
        tokio::task::yield_now().await;
    }
    match chance.below(24) {
        0..8 => Ok((chance.below(2) == 0).then_some(job.seed)),
        8..10 => Err("as the seed says".into()),
        10 => Err(JobError::permanent("as the seed says")),
        11 => Err(JobError::snooze(ms(chance, 20_000))),
        12 => Err(JobError::retry_after(ms(chance, 20_000), "as the seed says")),
        13 if chance.below(3) == 0 => Err(JobError::cancel("as the seed says")),
        14 => panic_unheard(),
        15 => {
            cx.checkpoint(&job.seed).await?;
            Err("after a checkpoint".into())
        }
        16 => {
            cx.extend(ms(chance, 60_000)).await?;
            tokio::time::sleep(ms(chance, 30_000)).await;
            Ok(None)
        }
        17 | 18 if job.depth < 2 => {
            for n in 0..=chance.below(3) {
                let (seed, depth) = (job.seed.rotate_left(17) ^ n, job.depth + 1);
                cx.follow_up_with(Draft::new(&Act { seed, depth, ballast: Vec::new() }).queue(cx.queue()))?;
            }
            if chance.below(3) == 0 { Err("after its follow-ups".into()) } else { Ok(None) }
        }
        19 => {
            // Until somebody ends it, or, where nobody does, an hour.
            tokio::select! {
                () = cx.cancellation().cancelled() => Err("cancelled".into()),
                () = tokio::time::sleep(SEC * 3_600) => Ok(None),
            }
        }
        20 => {
            // It does not listen; its engine drops it.
            tokio::time::sleep(ms(chance, 60_000)).await;
            Ok(Some(job.seed))
        }
        _ => {
            cx.progress(&"half")?;
            tokio::time::sleep(ms(chance, 5_000)).await;
            Ok(None)
        }
    }
}

// A handler is given both.
#[allow(clippy::needless_pass_by_value)]
pub(super) fn press(job: Press, cx: Context<()>) -> Result<u64> {
    let mut chance = Chance::new(job.seed ^ u64::from(cx.attempt()) << 56);
    match chance.below(6) {
        0 => Err("as the seed says".into()),
        1 => panic_unheard(),
        2 => Err(JobError::snooze(ms(&mut chance, 20_000))),
        _ => Ok(job.seed),
    }
}
