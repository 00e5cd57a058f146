//! Courses: a flow for each upload, on real pictures and texts, which goes on after a kill at any moment.
//!
//! ```sh
//! cargo run --bin course -- ./courses   # kill it, and start it again: it goes on where it stood
//! ```
//!
//! A teacher uploads the frames of a video, and a file with the words. What becomes of them:
//!
//! ```text
//!          +-> transcode-270p --+
//!          +-> transcode-180p --+
//! probe ---+-> transcode-90p ---+-> publish -> tell-students: a mail to each
//!          +-> thumbnail -------+
//!          +-> transcript - - - +              (dashes: goes on without)
//! ```
//!
//! It shows steps side by side and one that gets what all of them left ([`Publish`]), a step that may fail (the words of `botany` are
//! not UTF-8, and it is published without a transcript), one that undoes (a frame of `drawing` is damaged: its flow fails, and what was
//! made of it is removed), and a batch whose jobs come with the commit of the step before it, and which the flow ends with. The steps and their handlers are in [`steps`].
//!
//! Only one thing makes kills count: a step that three of them in a row have hit, the last one alone, is taken for what kills the
//! process. It is dead then, and its flow fails.

mod files;
mod steps;
mod uploads;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinSet;
use windlass::{
    BatchReport, Engine, Flow, FlowHandle, FlowStatus, FlowWaitError, HOUR, Job, QueueConfig, RetryPolicy,
    RocksJournal, SEC, StepDraft,
};

use crate::steps::{App, Discard, IndexWords, MAILS, MakeThumbnail, Probe, Publish, Transcode};
use crate::uploads::{COURSES, Course};

const HEIGHTS: [u32; 3] = [270, 180, 90];
const STUDENTS: usize = 20;

/// The flow of a course; it gives how many were told.
fn flow_of(course: &Course) -> Result<Flow<BatchReport>, Box<dyn Error>> {
    let name = || course.name.to_owned();
    // Remembered for long: while it is, each start finds it, and hands in nothing new.
    let year = HOUR * 24 * 365;
    let mut flow = Flow::new("course").id(course.flow.parse()?).keep_for(year).keep_failed_for(year);
    let probe = flow.first(Probe { course: name() });
    let renditions = HEIGHTS.map(|height| {
        let step = StepDraft::new(&Transcode { course: name(), height });
        flow.then(&probe, step.named(format!("transcode-{height}p")))
    });
    // These two wait for `probe`, and want nothing of it.
    let thumbnail = flow.after(&probe, MakeThumbnail { course: name() });
    let transcript = flow.after(&probe, StepDraft::new(&IndexWords { course: name() }).optional());
    let publish = flow.then((&renditions, &thumbnail, transcript.go_on()), Publish { course: name() });
    let mails = flow.batch(MAILS, &publish);
    flow.undo(&probe, Discard { course: name() });
    Ok(flow.output(&mails))
}

async fn start(app: App) -> Result<Engine, Box<dyn Error>> {
    let retry = RetryPolicy::exponential(SEC).cap(SEC * 30);
    let queue = |name| QueueConfig::new(name).retry(retry.clone());
    Ok(Engine::builder()
        .journal(RocksJournal::at(app.folder.join("jobs")))
        .app(app)
        .queue(queue("courses").concurrency(4))
        .queue(queue("video").concurrency(3))
        .queue(queue("mails").concurrency(8))
        .blocking_handler(steps::probe)
        .blocking_handler(steps::transcode)
        .blocking_handler(steps::make_thumbnail)
        .blocking_handler(steps::index_words)
        .blocking_handler(steps::publish)
        .blocking_handler(steps::discard)
        .blocking_handler(steps::mail)
        .start()
        .await?)
}

/// A job of whatever kind, to wait for its end.
#[derive(Serialize, Deserialize)]
struct Any;

impl Job for Any {
    const KIND: &'static str = "any";
    const QUEUE: &'static str = "courses";
    type Output = Value;
}

/// Prints a line as soon as a step has ended, those of an earlier run at once.
async fn print_steps(engine: &Engine, course: &str, flow: &FlowHandle<BatchReport>) -> Result<(), Box<dyn Error>> {
    let mut ends = JoinSet::new();
    for (no, step) in (0..).zip(flow.status().await?.steps) {
        let job = engine.handle::<Any>(step.job);
        ends.spawn(async move {
            // Why it did not succeed is told by the flow.
            let _ = job.wait().await;
            no
        });
    }
    while let Some(no) = ends.join_next().await {
        println!("{course}: {}", line(&flow.status().await?, no?));
    }
    Ok(())
}

fn line(status: &FlowStatus, no: usize) -> String {
    let step = &status.steps[no];
    let (name, state) = (&step.name, step.state.as_str());
    if let Some(cause) = step.called_off_by {
        return format!("{name} {state} for want of {}", status.steps[cause].name);
    }
    if let Some(failure) = &step.failure {
        return format!("{name} {state}, {failure}");
    }
    let took = step.started.zip(step.ended).and_then(|(started, ended)| ended.duration_since(started).ok());
    took.map_or_else(|| format!("{name} {state}"), |took| format!("{name} {state} after {} ms", took.as_millis()))
}

/// What became of a course.
enum End {
    Published { told: u32 },
    Failed(String),
}

async fn follow(engine: Engine, course: &'static str, flow: FlowHandle<BatchReport>) -> Result<End, String> {
    print_steps(&engine, course, &flow).await.map_err(|error| format!("{course}: {error}"))?;
    match flow.wait().await {
        Ok(mails) => Ok(End::Published { told: mails.done }),
        Err(FlowWaitError::Failed { step, .. }) => Ok(End::Failed(format!("{course} failed at `{step}`"))),
        Err(error) => Err(error.to_string()),
    }
}

/// What a flow waited for longest, step by step: where there is time to win.
fn critical_path(status: &FlowStatus) -> String {
    let path = status.critical_path(SystemTime::now());
    let steps = path.iter().map(|step| format!("{} {} ms", step.step, step.took.as_millis()));
    steps.collect::<Vec<_>>().join(", then ")
}

async fn run(folder: PathBuf) -> Result<(), Box<dyn Error>> {
    // Nothing else runs yet that this could hold up.
    uploads::make(&folder.join("uploads"))?;
    let students = (1..=STUDENTS).map(|no| format!("student-{no:02}")).collect();
    let engine = start(App { folder, students }).await?;
    let mut flows = JoinSet::new();
    for course in &COURSES {
        // The same id, the same flow: the second start finds that of the first.
        let flow = engine.submit(flow_of(course)?).await?;
        println!("{}: {}", course.name, if flow.is_fresh() { "handed in" } else { "goes on" });
        flows.spawn(follow(engine.clone(), course.name, flow));
    }
    let (mut published, mut told, mut failed) = (0, 0, Vec::new());
    while let Some(end) = flows.join_next().await {
        match end?? {
            End::Published { told: mails } => (published, told) = (published + 1, told + mails),
            End::Failed(why) => failed.push(why),
        }
    }
    let first = engine.flow::<BatchReport>(COURSES[0].flow.parse()?).status().await?;
    println!("{} waited longest for {}", COURSES[0].name, critical_path(&first));
    println!("{published} courses published; {told} students told; {}", failed.join("; "));
    engine.shutdown(SEC * 5).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let Some(folder) = std::env::args_os().nth(1) {
        fs::create_dir_all(&folder)?;
        return run(folder.into()).await;
    }
    let folder = tempfile::tempdir()?;
    run(folder.path().to_owned()).await
}
