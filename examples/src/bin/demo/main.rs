//! The demo: the shop is killed twice while it works, and everything that it had acknowledged happens all the same.
//!
//! A mail server is down at first and then refuses one mail in five; 500 people sign up and 20 pictures come in; the
//! shop gets two SIGKILLs while attempts run and jobs wait. In the end the demo compares each request that was answered
//! with 201 with the mails that really arrived and the thumbnails that really are on the disk. Its exit code is 0 only
//! if nothing is missing.

mod crowd;
mod pictures;
mod report;
mod screen;
mod service;
mod verdict;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use tokio::time::{Instant, sleep_until};
use windlass_examples::process::{Launch, beside_me};
use windlass_examples::smtp::{MailServer, Rules};

use crate::crowd::Crowd;
use crate::screen::Screen;
use crate::service::Service;
use crate::verdict::Verdict;

type Failure = Box<dyn Error + Send + Sync>;

/// How much there is to do.
struct Scale {
    sign_ups: usize,
    pictures: usize,
    /// The last sign-ups come one by one, when all is calm: they show what the engine adds when it is not being killed.
    calm: usize,
    /// How long the mail server is down.
    down: Duration,
    /// How many answered requests each kill waits for.
    kill_at: [usize; 2],
    /// How long the mail server takes over each mail: slow enough that mails wait, as they do in life.
    mail_delay: Duration,
}

const FULL: Scale = Scale {
    sign_ups: 500,
    pictures: 20,
    calm: 60,
    down: Duration::from_secs(5),
    kill_at: [200, 380],
    mail_delay: Duration::from_millis(800),
};

/// The same with fewer people: just so many that jobs still wait for a slot when it is killed.
const SMALL: Scale = Scale {
    sign_ups: 150,
    pictures: 3,
    calm: 6,
    down: Duration::from_secs(2),
    kill_at: [70, 110],
    mail_delay: Duration::from_millis(800),
};

#[derive(clap::Parser)]
#[command(about = "Kills the shop twice while it works, and counts")]
struct Args {
    /// With fewer people: for tests.
    #[arg(long)]
    small: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let scale = if Args::parse().small { &SMALL } else { &FULL };
    let folder = match tempfile::Builder::new().prefix("windlass-demo-").tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("demo: no folder for the data: {error}");
            return ExitCode::FAILURE;
        }
    };
    let screen = Screen::new(scale.sign_ups + scale.pictures);
    let outcome = run(scale, folder.path(), &screen).await;
    screen.finish();
    match outcome {
        Ok(verdict) if verdict.holds() => {
            report::print(&verdict);
            ExitCode::SUCCESS
        }
        outcome => {
            eprintln!("demo: FAILED; the data and the log are kept in {}", folder.keep().display());
            match outcome {
                Ok(verdict) => report::print(&verdict),
                Err(error) => eprintln!("demo: {error}"),
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(scale: &Scale, folder: &Path, screen: &Screen) -> Result<Verdict, Failure> {
    let Scale { sign_ups, pictures, calm, down, kill_at, mail_delay } = *scale;
    screen.say(&format!("painting {pictures} pictures"));
    let pictures = tokio::task::spawn_blocking(move || pictures::paint(pictures)).await??;

    let mut mail_server = MailServer::closed()?;
    let program = beside_me("shop")?;
    let launch = Launch { program, data: folder.join("shop"), smtp: mail_server.address(), arguments: Vec::new() };
    let started = Instant::now();
    let service = Arc::new(Service::start(launch, screen.clone()).await?);
    let crowd = Arc::new(Crowd::new(service.clone()));
    screen.say(&format!("the shop serves; its mail server is down for {} s", down.as_secs()));

    let rush = tokio::spawn(crowd.clone().rush(sign_ups - calm, pictures));
    service.watched(sleep_until(started + down)).await;
    screen.say(&format!("mail server down:   {}", service.load().await?));
    mail_server.open(Rules { delay: mail_delay, refuse_every: 5, knows_nobody: false })?;
    screen.say("the mail server is up, and refuses one mail in five");

    let mut recoveries = Vec::new();
    for accepted in kill_at {
        service.watched(crowd.wait_for(accepted)).await?;
        recoveries.push(service.kill_while_busy_and_restart().await?);
    }
    service.watched(rush).await??;
    screen.say("everybody has been answered; what waits is worked off");
    service.drained().await?;

    screen.say(&format!("calm: {calm} sign-ups, one by one, to see how long things take"));
    crowd.stroll(calm).await?;
    service.drained().await?;

    let accepted = crowd.accepted();
    let jobs = service.look_at(&accepted).await?;
    let dead = service.dead().await?;
    let console = service.url("/console").await?;
    if std::env::var_os("KEEP").is_some() {
        screen.say(&format!("KEEP: the console stays open at {console} until Ctrl-C"));
        tokio::signal::ctrl_c().await?;
    } else {
        screen.say(&format!("the console was at {console}: KEEP=1 make demo leaves it open"));
    }
    let exit = service.terminate().await?;
    screen.say(&format!("SIGTERM: the shop drained and ended with {exit}"));
    let thumbnails = folder.join("shop").join("thumbnails");
    let mails = mail_server.mails();
    let refused = mail_server.refused();
    let unanswered = crowd.unanswered();
    let facts = verdict::Facts { accepted, jobs, mails, refused, dead, recoveries, exit, unanswered, thumbnails };
    Ok(tokio::task::spawn_blocking(move || verdict::judge(facts)).await?)
}
