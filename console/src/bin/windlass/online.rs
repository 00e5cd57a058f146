//! The commands on a running service, by its console's API.
//!
//! Owns their words. What they print is made of the API's answers and of nothing else: what these commands can, a program can
//! that asks the API itself.

mod ask;
mod client;
mod dead;
mod filter;
mod flows;
mod job;
mod jobs;
mod plain;
mod queue;
mod schedules;
mod shown;
mod stats;
mod top;
mod trouble;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use self::client::Client;
pub(crate) use self::plain::{as_json, one_line};
pub(crate) use self::trouble::Trouble;
use crate::failure::{Failure, Verdict};
use crate::output::Out;

/// Commands that ask a console.
#[derive(Debug, Subcommand)]
pub(crate) enum Online {
    /// Tell how a running engine is, with the numbers of its queues
    Stats(Place),
    /// Watch a running engine: its queues and what runs, on the screen of a terminal
    #[command(
        after_help = "Keys: q leaves, up and down pick a queue, p pauses or resumes it, s sorts, space looks now."
    )]
    Top(top::Top),
    /// List jobs of a running service
    Jobs(jobs::Jobs),
    /// Tell all that is kept of a job, or do something to it
    Job(job::Job),
    /// Tell what dead letters died of, bring them back, or forget them
    Dead(dead::Dead),
    /// Pause a queue: what runs goes on, and nothing new is started until it is resumed, restarts or not
    Pause(queue::Queue),
    /// Resume a queue that was paused
    Resume(queue::Queue),
    /// List schedules, with when they fire next
    Schedules(Place),
    /// List flows, or tell where one stands
    Flows(flows::Flows),
}

impl Online {
    pub(crate) fn run(&self, out: &mut Out) -> Result<Verdict, Failure> {
        match self {
            Self::Stats(place) => stats::run(&place.client()?, out),
            Self::Top(top) => top.run(out),
            Self::Jobs(jobs) => jobs.run(out),
            Self::Job(job) => job.run(out),
            Self::Dead(dead) => dead.run(out),
            Self::Pause(queue) => queue.set("pause", out),
            Self::Resume(queue) => queue.set("resume", out),
            Self::Schedules(place) => schedules::run(&place.client()?, out),
            Self::Flows(flows) => flows.run(out),
        }
    }
}

/// Where the console is, and how it is asked. The token has no option, lest others see it in the list of processes.
#[derive(Args, Clone, Debug)]
#[command(after_help = "The token: the environment's WINDLASS_TOKEN, or the file of --token-file.")]
pub(crate) struct Place {
    /// The console: its address, with the prefix under which the service mounts it
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "WINDLASS_URL",
        default_value = "http://127.0.0.1:8090/console"
    )]
    at: String,
    /// A file with the token that lets you in; without it, the environment's `WINDLASS_TOKEN` is taken
    #[arg(long, global = true, value_name = "FILE", env = "WINDLASS_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// How long an answer may take, in seconds
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 35, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    timeout: u64,
}

impl Place {
    fn client(&self) -> Result<Client, Failure> {
        let token = match &self.token_file {
            Some(file) => Some(crate::token::of_file(file)?),
            None => crate::token::of_environment()?,
        };
        Ok(Client::new(&self.at, token, Duration::from_secs(self.timeout))?)
    }
}
