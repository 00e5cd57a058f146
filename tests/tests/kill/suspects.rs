//! One job that kills its process, among 200 that only happen to run beside it.

use std::io::{BufRead as _, Write as _};

use tokio::sync::watch;
use windlass::{Context, Draft, Engine, Filter, JobError, JobState, MIN, QueueConfig, RetryPolicy};
use windlass_scheduler::history::fingerprint;
use windlass_tests::kill::child::small;
use windlass_tests::kill::jobs::{No, Queue, Work};
use windlass_tests::kill::pipe::{End, Line};
use windlass_tests::kill::process::{Life, Orders};
use windlass_tests::kill::say;

const BYSTANDERS: u32 = 200;
const SLOTS: u32 = 256;
/// How many attempts run in each life until the guilty one is found, by the rule of the house: all of them twice, then as
/// many suspects as may, half as many after each death; the last time one alone.
const RUNNING: [u64; 9] = [201, 201, 64, 32, 16, 8, 4, 2, 1];

/// What the parent says: nothing yet, "abort" or "end".
type Word = watch::Receiver<String>;

fn number(serial: u32) -> No {
    No::new(0, Queue::Fast, 0, serial, 0)
}

async fn run(job: Work, cx: Context<Word>) -> Result<u64, JobError> {
    let no = No::of(cx.id());
    Line::Start(no, cx.attempt(), cx.failures(), fingerprint(&job.0)).tell();
    let mut word = cx.app().clone();
    // The first in line is the one that kills, so that the others can never go before it.
    let wanted = if no == number(0) { "abort" } else { "end" };
    let heard = word.wait_for(|word| word == wanted).await.is_ok();
    if heard && no == number(0) {
        std::process::abort();
    }
    Line::End(no, cx.attempt(), End::Ok).tell();
    Ok(no.output())
}

async fn tell_stats(engine: &Engine) -> [u64; 3] {
    let stats = engine.stats().await.expect("stats are told");
    let [queue] = stats.as_slice() else { panic!("one queue is configured: {stats:?}") };
    let totals = &queue.totals;
    let text = format!("running {} waiting {} done {} dead {}", queue.running, queue.ready, queue.done, queue.dead);
    Line::Note(text).tell();
    [queue.running + queue.ready + queue.delayed, totals.dead_total, totals.done_total]
}

/// The child. In its first life it hands in all jobs.
pub(crate) async fn run_crowd(orders: &Orders) {
    let (say_word, word) = watch::channel(String::new());
    let queue = QueueConfig::new(Queue::Fast.name()).concurrency(SLOTS).retry(RetryPolicy::never());
    let builder = Engine::builder().app(word.clone()).journal(small(&orders.directory)).disk_free_bytes_min(1 << 20);
    let engine = builder.queue(queue).handler(run).start().await.expect("the engine starts");
    if orders.life == 1 {
        let drafts = (0..=BYSTANDERS).map(|serial| Draft::new(&Work(number(serial).payload())).id(number(serial).id()));
        engine.enqueue_all(drafts).await.expect("the jobs are accepted");
    }
    let (look, mut looks) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = if line == "look" { look.send(()).map_err(|_| ()) } else { say_word.send(line).map_err(|_| ()) };
        }
    });
    Line::Ready.tell();
    while looks.recv().await.is_some() {
        if let [0, _, _] = tell_stats(&engine).await {
            break;
        }
    }
    let dead = Filter::new().queue(Queue::Fast.name()).state(JobState::Dead);
    for letter in engine.jobs(dead).await.expect("the dead letters can be read").jobs {
        Line::Note(format!("dead {} {}", No::of(letter.id), letter.failure.expect("it has a reason"))).tell();
    }
    engine.shutdown(MIN).await.expect("the engine stops");
    Line::Bye.tell();
}

fn say_to(life: &mut Life, word: &str) {
    let pipe = life.child.stdin.as_mut().expect("its input is a pipe");
    writeln!(pipe, "{word}").expect("the child listens");
}

/// Hears so many starts, and then how many run and wait.
fn look(life: &mut Life, starts: u64) -> (Vec<No>, String) {
    let mut started = Vec::new();
    while (started.len() as u64) < starts {
        match life.line() {
            Line::Start(no, ..) => started.push(no),
            Line::Wrong(what) => panic!("{what}"),
            _ => {}
        }
    }
    say_to(life, "look");
    loop {
        match life.line() {
            Line::Note(stats) => return (started, stats),
            Line::Start(no, ..) => panic!("{no:?} is one too many beside {starts}"),
            _ => {}
        }
    }
}

#[test]
fn among_two_hundred_jobs_only_the_one_that_kills_its_process_is_dead_lettered() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let all = u64::from(BYSTANDERS) + 1;
    for (life_no, running) in (1..).zip(RUNNING) {
        let mut life = Orders::new("crowd", life_no, directory.path()).spawn();
        let (started, stats) = look(&mut life, running);
        assert!(started.contains(&number(0)), "life {life_no}: the first in line runs");
        assert_eq!(stats, format!("running {running} waiting {} done 0 dead 0", all - running), "life {life_no}");
        say_to(&mut life, "abort");
        let (_, status) = life.bury();
        assert!(!status.success(), "life {life_no}: the job did not kill its process");
    }

    let mut life = Orders::new("crowd", 99, directory.path()).spawn();
    let (started, stats) = look(&mut life, 1);
    assert_eq!(stats, format!("running 1 waiting {} done 0 dead 1", BYSTANDERS - 1), "suspects still take turns");
    assert_eq!(started, [number(1)]);
    say_to(&mut life, "end");
    let mut ended = 0;
    while ended < BYSTANDERS {
        ended += u32::from(matches!(life.line(), Line::End(..)));
    }
    // The last end is told before it is acknowledged, so one has to look until it is.
    let mut lines = Vec::new();
    while lines.last() != Some(&Line::Bye) {
        if !lines.contains(&Line::Note(format!("running 0 waiting 0 done {BYSTANDERS} dead 1"))) {
            say_to(&mut life, "look");
        }
        lines.push(life.line());
    }
    let letters: Vec<_> = lines
        .iter()
        .filter_map(|line| if let Line::Note(note) = line { note.strip_prefix("dead ") } else { None })
        .collect();
    let [letter] = letters.as_slice() else { panic!("one is dead: {letters:?}") };
    assert!(letter.starts_with(&number(0).to_string()) && letter.contains("killed the process"), "{letter}");
    say(&format!("one aborting job among {BYSTANDERS} was found after {} deaths; all others are done", RUNNING.len()));
}
