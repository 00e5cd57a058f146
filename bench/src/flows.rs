//! W13: flows: chains of ten whose steps hand a number on, a join of ten thousand, a hundred thousand small ones, a batch of as many jobs, and
//! one whose outputs are collected; and the same jobs without flows beside them.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windlass::{
    Context, Draft, Durability, Engine, Flow, FlowStep, Job, JobError, JobId, KeepDone, MIN, Retention, RocksJournal,
    StepDraft, StepRef, new_job_id,
};

use crate::Failure;
use crate::figure::{Figure, Run, Stopwatch};
use crate::work::{self, QUEUE, Seen};

const RUNS: usize = 5;
const CHAINS: u64 = 1_000;
const LINKS: u64 = 10;
const JOINED: u64 = 9_999;
const SMALL: u64 = 100_000;
const SMALL_STEPS: u64 = 3;
const BATCH: u64 = 99_999;
const SPREAD: u64 = 9_998;
const CALLERS: u64 = 64;

/// Begins a chain.
#[derive(Serialize, Deserialize)]
struct Head;

/// Hands on one more than it gets.
#[derive(Serialize, Deserialize)]
struct Link;

/// Adds up what it gets.
#[derive(Serialize, Deserialize)]
struct Join;

macro_rules! number {
    ($name:ident, $kind:literal) => {
        impl Job for $name {
            const KIND: &'static str = $kind;
            const QUEUE: &'static str = QUEUE;
            type Output = u64;
        }
    };
}

number!(Head, "head");
number!(Link, "link");
number!(Join, "join");

impl FlowStep for Link {
    type Input = u64;
}

impl FlowStep for Join {
    type Input = Vec<u64>;
}

pub(crate) fn measure(dir: &Path) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for level in work::one_level()? {
        let mut figure = |what: &str, run: fn(&Path, Durability) -> Result<Run, Failure>| -> Result<(), Failure> {
            let runs = (0..RUNS).map(|_| run(dir, level)).collect::<Result<Vec<_>, _>>()?;
            figures.push(Figure::of("flows", what, work::name(level), "jobs/s", &runs));
            Ok(())
        };
        figure("chains of 10 with inputs, one after the other, keep_done None", one_after_the_other)?;
        figure("chains of 10 with inputs, 64 at a time, keep_done None", many_at_a_time)?;
        figure("a join of 9,999 with its input, keep_done None", join)?;
        figure("100,000 chains of 3 by 64 callers, no inputs, keep_done None", small)?;
        figure("a batch of 99,999 jobs, keep_done None", batch)?;
        figure("the same 99,999 jobs in one call, no flow, keep_done None", one_call)?;
        figure("a spread of 9,998 with its outputs, keep_done None", spread)?;
        figure("100,000 calls of 3 jobs by 64 callers, no flow, keep_done None", plain)?;
    }
    Ok(figures)
}

async fn start(dir: &Path, level: Durability, seen: &Arc<Seen>) -> Result<Engine, Failure> {
    let queue = work::queue(level).retention(Retention::default().keep_done(KeepDone::None));
    let (of_head, of_link, of_join) = (seen.clone(), seen.clone(), seen.clone());
    let head = move |_: Head, cx: Context<()>| {
        of_head.note(cx.id());
        std::future::ready(Ok::<_, JobError>(1))
    };
    let link = move |_: Link, cx: Context<()>| {
        of_link.note(cx.id());
        async move { Ok(cx.input::<Link>().await? + 1) }
    };
    let join = move |_: Join, cx: Context<()>| {
        of_join.note(cx.id());
        async move { Ok(cx.input::<Join>().await?.iter().sum()) }
    };
    let builder = Engine::builder().journal(RocksJournal::at(dir)).queue(queue);
    Ok(builder.handler(head).handler(link).handler(join).start().await?)
}

/// A step with an id that is known, so that it can be told whether it ran once.
fn known<J: Job>(job: &J, ids: &mut Vec<JobId>) -> StepDraft<J> {
    let id = new_job_id();
    ids.push(id);
    StepDraft::new(job).id(id)
}

async fn chain(engine: &Engine) -> Result<Vec<JobId>, Failure> {
    let (mut flow, mut ids) = (Flow::new("chain"), Vec::new());
    let mut last: StepRef<u64> = flow.first(known(&Head, &mut ids));
    for _ in 1..LINKS {
        last = flow.then(&last, known(&Link, &mut ids));
    }
    let sum = engine.submit(flow.output(&last)).await?.wait().await?;
    if sum == LINKS { Ok(ids) } else { Err(format!("a chain of {LINKS} gave {sum}").into()) }
}

fn one_after_the_other(dir: &Path, level: Durability) -> Result<Run, Failure> {
    chains(dir, level, 1)
}

fn many_at_a_time(dir: &Path, level: Durability) -> Result<Run, Failure> {
    chains(dir, level, CALLERS)
}

fn chains(dir: &Path, level: Durability, callers: u64) -> Result<Run, Failure> {
    run(dir, level, CHAINS * LINKS, async |engine: Engine| {
        by(callers, CHAINS, move || {
            let engine = engine.clone();
            async move { chain(&engine).await }
        })
        .await
    })
}

fn join(dir: &Path, level: Durability) -> Result<Run, Failure> {
    run(dir, level, JOINED + 1, async |engine: Engine| {
        let (mut flow, mut ids) = (Flow::new("join"), Vec::new());
        let all: Vec<_> = (0..JOINED).map(|_| flow.first(known(&Head, &mut ids))).collect();
        let sum = flow.then(&all, known(&Join, &mut ids));
        let sum = engine.submit(flow.output(&sum)).await?.wait().await?;
        if sum == JOINED { Ok(ids) } else { Err(format!("a join of {JOINED} gave {sum}").into()) }
    })
}

fn batch(dir: &Path, level: Durability) -> Result<Run, Failure> {
    run(dir, level, BATCH, async |engine: Engine| {
        let (mut flow, mut ids) = (Flow::new("batch"), Vec::new());
        let batch = flow.batch("all", ());
        for _ in 0..BATCH {
            ids.push(new_job_id());
            flow.add_draft_to(&batch, Draft::new(&Head).id(ids[ids.len() - 1]));
        }
        let report = engine.submit(flow.output(&batch)).await?.wait().await?;
        if u64::from(report.done) == BATCH {
            Ok(ids)
        } else {
            Err(format!("a batch of {BATCH} gave {report:?}").into())
        }
    })
}

fn one_call(dir: &Path, level: Durability) -> Result<Run, Failure> {
    run(dir, level, BATCH, async |engine: Engine| {
        let receipts = engine.enqueue_all((0..BATCH).map(|_| Draft::new(&Head))).await?;
        Ok(receipts.into_iter().map(|receipt| receipt.id).collect())
    })
}

fn spread(dir: &Path, level: Durability) -> Result<Run, Failure> {
    run(dir, level, SPREAD + 1, async |engine: Engine| {
        let (mut flow, mut ids) = (Flow::new("spread"), Vec::new());
        let all = flow.spread::<Head>("all", ());
        for _ in 0..SPREAD {
            ids.push(new_job_id());
            flow.add_draft_to(&all, Draft::new(&Head).id(ids[ids.len() - 1]));
        }
        let sum = flow.then(&all, known(&Join, &mut ids));
        let sum = engine.submit(flow.output(&sum)).await?.wait().await?;
        if sum == SPREAD { Ok(ids) } else { Err(format!("a spread of {SPREAD} gave {sum}").into()) }
    })
}

fn small(dir: &Path, level: Durability) -> Result<Run, Failure> {
    run(dir, level, SMALL * SMALL_STEPS, async |engine: Engine| {
        by(CALLERS, SMALL, move || {
            let engine = engine.clone();
            async move {
                let (mut flow, mut ids) = (Flow::new("small").keep_for(MIN), Vec::new());
                let mut last = flow.first(known(&Head, &mut ids));
                for _ in 1..SMALL_STEPS {
                    last = flow.after(&last, known(&Head, &mut ids));
                }
                engine.submit(flow).await?;
                Ok(ids)
            }
        })
        .await
    })
}

fn plain(dir: &Path, level: Durability) -> Result<Run, Failure> {
    run(dir, level, SMALL * SMALL_STEPS, async |engine: Engine| {
        by(CALLERS, SMALL, move || {
            let engine = engine.clone();
            async move {
                let receipts = engine.enqueue_all((0..SMALL_STEPS).map(|_| Draft::new(&Head))).await?;
                Ok(receipts.into_iter().map(|receipt| receipt.id).collect())
            }
        })
        .await
    })
}

/// So many calls, by so many callers, and the ids of all jobs.
async fn by<F, Fut>(callers: u64, calls: u64, call: F) -> Result<Vec<JobId>, Failure>
where
    F: Fn() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Vec<JobId>, Failure>> + Send,
{
    let start = |no: u64| {
        let call = call.clone();
        tokio::spawn(async move {
            let mut ids = Vec::new();
            for _ in (no..calls).step_by(usize::try_from(callers)?) {
                ids.extend(call().await?);
            }
            Ok::<_, Failure>(ids)
        })
    };
    let tasks: Vec<_> = (0..callers).map(start).collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.extend(task.await??);
    }
    Ok(ids)
}

fn run(
    dir: &Path,
    level: Durability,
    jobs: u64,
    produce: impl AsyncFnOnce(Engine) -> Result<Vec<JobId>, Failure>,
) -> Result<Run, Failure> {
    let dir = tempfile::tempdir_in(dir)?;
    work::runtime()?.block_on(async {
        let seen = Arc::new(Seen::default());
        let engine = start(dir.path(), level, &seen).await?;
        let watch = Stopwatch::start();
        let ids = produce(engine.clone()).await?;
        work::all_done(&engine, &seen, jobs).await?;
        let run = watch.rate(jobs);
        work::stop(engine).await?;
        Ok(Run { exact: Some(seen.were_exactly(&ids)), ..run })
    })
}
