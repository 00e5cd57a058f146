//! A console on a port of its own, for those that have no service around it.
//!
//! Owns the bounds against clients that are many, slow or silent: what they cost is sockets of the console, and nothing of the engine.
//! Never speaks TLS: where a network lies between, something that does stands before it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::console::Console;

/// For how long a connection that is asked to end may finish what it does.
const GRACE: Duration = Duration::from_secs(5);
/// After a connection could not be taken: the process has too many files open, and time mends that or nothing does.
const PAUSE: Duration = Duration::from_millis(100);

/// What clients may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bounds {
    /// Connections at once; 256 unless said. Further ones wait in the system's queue.
    pub connections_max: usize,
    /// How long a client may take to say what it wants, from the connection's begin or the last answer on; 15 s unless said.
    pub headers_within: Duration,
    /// How long a connection lasts at most; 10 minutes unless said. A client that stopped reading gives its place back by then, others
    /// connect anew and notice nothing.
    pub connection_lasts: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 256,
            headers_within: Duration::from_secs(15),
            connection_lasts: Duration::from_secs(600),
        }
    }
}

/// Why a console is not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Others than this machine could reach it, and nothing would ask who they are.
    #[error(
        "`{0}` can be reached from other machines, and `Access::loopback` asks nobody who they are: listen on 127.0.0.1 or ::1, or \
         give it tokens"
    )]
    Exposed(SocketAddr),
    /// The listener does not work.
    #[error("the listener does not work: {0}")]
    Io(#[from] io::Error),
}

impl Console {
    /// Serves the console at the root of this listener until `stop` is ready; then what is being answered is finished, for 5 s at most.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve(
        &self,
        listener: TcpListener,
        bounds: Bounds,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let address = listener.local_addr()?;
        if self.access().is_local() && !address.ip().to_canonical().is_loopback() {
            return Err(ServeError::Exposed(address));
        }
        let server =
            Server { router: self.router(), bounds, ends: CancellationToken::new(), tracker: TaskTracker::new() };
        tokio::select! {
            never = server.accept(&listener) => match never {},
            () = stop => {}
        }
        server.ends.cancel();
        server.tracker.close();
        // A connection ends by itself within its own grace.
        server.tracker.wait().await;
        Ok(())
    }
}

struct Server {
    router: Router,
    bounds: Bounds,
    ends: CancellationToken,
    tracker: TaskTracker,
}

impl Server {
    async fn accept(&self, listener: &TcpListener) -> Infallible {
        let places = Arc::new(Semaphore::new(self.bounds.connections_max));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { unreachable!("nobody closes it") };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let (router, bounds, ends) = (self.router.clone(), self.bounds, self.ends.clone());
                    self.tracker.spawn(async move {
                        converse(router, bounds, ends, stream, peer).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "a connection to the console could not be taken");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// One connection, from its begin to its end.
async fn converse(router: Router, bounds: Bounds, ends: CancellationToken, stream: TcpStream, peer: SocketAddr) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(bounds.headers_within);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let over = tokio::select! {
        over = connection.as_mut() => Some(over),
        () = ends.cancelled() => None,
        () = sleep(bounds.connection_lasts) => None,
    };
    let over = if let Some(over) = over {
        Ok(over)
    } else {
        connection.as_mut().graceful_shutdown();
        timeout(GRACE, connection).await
    };
    match over {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, %peer, "a connection to the console broke"),
        Err(_) => debug!(%peer, "a connection to the console was cut off"),
    }
}
