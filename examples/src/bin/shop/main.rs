//! Shop: a real service with jobs. It takes sign-ups, newsletters, pictures and webhooks over HTTP, and mails, shrinks and
//! delivers them in the background. Kill it whenever you like: what it has acknowledged will happen.
//!
//! ```sh
//! cargo run --bin shop -- --data ./shop-data --listen 127.0.0.1:8080 --smtp 127.0.0.1:1025
//! curl -i 127.0.0.1:8080/signup -d '{"name": "Ada", "email": "ada@example.org"}'
//! ```
//!
//! One room a noun: [`signup`], [`newsletters`], [`reports`], [`photos`] and [`webhooks`] each hold a job, its handler and
//! the request that enqueues it; [`queues`] has the engine, whose workloads stand in `shop.toml`; [`recovery`] compares
//! database and engine at the start.

mod app;
mod args;
mod body;
mod database;
mod dead;
mod files;
mod health;
mod jobs;
mod mail;
mod newsletters;
mod photos;
mod problem;
mod queues;
mod recovery;
mod reports;
mod routes;
mod signup;
mod thumbnails;
mod webhooks;

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio::net::TcpListener;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;
use windlass::{AttemptLogLayer, SEC, StopSignals, stop_signal};

use crate::app::{App, Shop};
use crate::args::Args;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    // What the jobs log is seen on their pages, whatever is printed.
    tracing_subscriber::registry()
        .with(lines.with_filter(LevelFilter::from_level(args.log)))
        .with(AttemptLogLayer::new())
        .init();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    // First of all, so that a signal that comes early is heard when it can be obeyed.
    let (mut signals, stop) = (StopSignals::listen()?, stop_signal());
    let listener = TcpListener::bind(args.listen).await?;

    let app = Arc::new(App::open(&args)?);
    let engine = queues::start(&args, app.clone()).await?;
    let shop = Shop { app, engine };
    let console = routes::console(&args, &shop)?;
    tokio::spawn(recovery::enqueue_again(shop.clone()));

    writeln!(std::io::stdout(), "listening on {}", listener.local_addr()?)?;
    // The console wants to know from where a call comes.
    let routes = routes::routes(shop.clone(), &console).into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, routes).with_graceful_shutdown(async { _ = stop.await });
    let server = tokio::spawn(server.into_future());

    let signal = signals.next().await;
    tracing::info!("{signal}: draining");
    // Callers first, so that whoever is being served gets an answer. One that dawdles is cut off, and so are all of them
    // by a second signal.
    tokio::select! {
        served = server => served??,
        () = tokio::time::sleep(SEC * 10) => tracing::warn!("some callers had not finished after 10 s"),
        signal = signals.next() => tracing::warn!("{signal} again: no caller is waited for"),
    }
    // What runs may end; what waits is on disk, and goes on at the next start.
    signals.shutdown(&shop.engine, SEC * 20).await?;
    shop.app.database.flush().await?;
    tracing::info!("drained");
    Ok(())
}
