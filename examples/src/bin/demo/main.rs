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

use tokio::time::{Instant, sleep_until};
use windlass_examples::process::{Launch, beside_me};
use windlass_examples::smtp::{MailServer, Rules};

use crate::crowd::Crowd;
use crate::screen::Screen;
use crate::service::Service;
use crate::verdict::Verdict;

type Failure = Box<dyn Error + Send + Sync>;

const SIGN_UPS: usize = 500;
const PICTURES: usize = 20;
/// The last sign-ups come one by one, when all is calm: they show what the engine adds when it is not being killed.
const CALM_SIGN_UPS: usize = 60;
/// How long the mail server is down.
const MAIL_SERVER_DOWN: Duration = Duration::from_secs(5);
/// How many answered requests each kill waits for.
const KILL_AT: [usize; 2] = [200, 380];
/// How long the mail server takes over each mail: slow enough that mails wait, as they do in life.
const MAIL_DELAY: Duration = Duration::from_millis(800);

#[tokio::main]
async fn main() -> ExitCode {
    let folder = match tempfile::Builder::new().prefix("windlass-demo-").tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("demo: no folder for the data: {error}");
            return ExitCode::FAILURE;
        }
    };
    let screen = Screen::new(SIGN_UPS + PICTURES);
    let outcome = run(folder.path(), &screen).await;
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

async fn run(folder: &Path, screen: &Screen) -> Result<Verdict, Failure> {
    screen.say(&format!("painting {PICTURES} pictures"));
    let pictures = tokio::task::spawn_blocking(|| pictures::paint(PICTURES)).await??;

    let mut mail_server = MailServer::closed()?;
    let program = beside_me("shop")?;
    let launch = Launch { program, data: folder.join("shop"), smtp: mail_server.address(), arguments: Vec::new() };
    let started = Instant::now();
    let service = Arc::new(Service::start(launch, screen.clone()).await?);
    let crowd = Arc::new(Crowd::new(service.clone()));
    screen.say(&format!("the shop serves; its mail server is down for {} s", MAIL_SERVER_DOWN.as_secs()));

    let rush = tokio::spawn(crowd.clone().rush(SIGN_UPS - CALM_SIGN_UPS, pictures));
    service.watched(sleep_until(started + MAIL_SERVER_DOWN)).await;
    screen.say(&format!("mail server down:   {}", service.load().await?));
    mail_server.open(Rules { delay: MAIL_DELAY, refuse_every: 5, knows_nobody: false })?;
    screen.say("the mail server is up, and refuses one mail in five");

    let mut recoveries = Vec::new();
    for accepted in KILL_AT {
        service.watched(crowd.wait_for(accepted)).await?;
        recoveries.push(service.kill_while_busy_and_restart().await?);
    }
    service.watched(rush).await??;
    screen.say("everybody has been answered; what waits is worked off");
    service.drained().await?;

    screen.say(&format!("calm: {CALM_SIGN_UPS} sign-ups, one by one, to see how long things take"));
    crowd.stroll(CALM_SIGN_UPS).await?;
    service.drained().await?;

    let accepted = crowd.accepted();
    let jobs = service.look_at(&accepted).await?;
    let dead = service.dead().await?;
    let exit = service.terminate().await?;
    screen.say(&format!("SIGTERM: the shop drained and ended with {exit}"));
    let thumbnails = folder.join("shop").join("thumbnails");
    let mails = mail_server.mails();
    let refused = mail_server.refused();
    let unanswered = crowd.unanswered();
    let facts = verdict::Facts { accepted, jobs, mails, refused, dead, recoveries, exit, unanswered, thumbnails };
    Ok(tokio::task::spawn_blocking(move || verdict::judge(facts)).await?)
}
