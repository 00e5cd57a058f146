//! What the command line says.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// A service with jobs: sign-ups, newsletters, reports, pictures, webhooks.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// The folder for everything that must survive: database, jobs, pictures.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,

    /// Where to serve HTTP. With port 0 the system chooses one; the address is printed on stdout.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// The mail server, spoken to without TLS.
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    pub(crate) smtp: (String, u16),

    /// What the queues may do, as TOML or JSON, instead of the `shop.toml` that is built in.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Lets whoever has this token into the console, which stands at /console; without one, callers of this machine.
    #[arg(long, value_name = "TOKEN", env = "SHOP_CONSOLE_TOKEN", hide_env_values = true)]
    pub(crate) console_token: Option<String>,

    /// The least important log lines to show: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log: tracing::Level,
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let (host, port) = text.rsplit_once(':').ok_or("expected HOST:PORT")?;
    let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
    if host.is_empty() {
        return Err("the host is missing".to_owned());
    }
    Ok((host.to_owned(), port))
}
