//! On a port of its own: silent, slow and many clients.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use windlass_console::{Access, Bounds, Console, Identity, ServeError};

use crate::bed::{Bed, OPERATOR, engine, to};

struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), ServeError>>,
}

async fn serve(console: &Console, bounds: Bounds) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let console = console.clone();
    let server = tokio::spawn(async move { console.serve(listener, bounds, async { drop(stopped.await) }).await });
    Served { address, stop, server }
}

fn bounds(connections_max: usize, headers_within: Duration) -> Bounds {
    let mut bounds = Bounds::default();
    (bounds.connections_max, bounds.headers_within) = (connections_max, headers_within);
    bounds
}

async fn ask(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /api/v1/health HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {OPERATOR}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// What came until the other side closed.
async fn until_closed(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn clients_that_dawdle_or_say_nothing_are_cut_off() {
    let bed = Bed::new().await;
    let served = serve(&bed.console, bounds(64, Duration::from_millis(100))).await;
    let silent = TcpStream::connect(served.address).await.unwrap();
    let mut slow = TcpStream::connect(served.address).await.unwrap();
    slow.write_all(b"GET /api/v1/health HTTP/1.1\r\nhost: lo").await.unwrap();
    let mut idle = TcpStream::connect(served.address).await.unwrap();
    let request = format!("GET /api/v1/health HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {OPERATOR}\r\n\r\n");
    idle.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(until_closed(silent).await, "");
    assert!(!until_closed(slow).await.contains(" 200 "));
    assert!(until_closed(idle).await.starts_with("HTTP/1.1 200 "), "it is answered, and cut off when it asks no more");
    bed.stop().await;
}

#[tokio::test]
async fn a_thousand_connections_that_say_nothing_cost_the_engine_nothing_and_end() {
    let bed = Bed::new().await;
    let served = serve(&bed.console, bounds(16, Duration::from_millis(100))).await;
    let mut held = Vec::new();
    for _ in 0..500 {
        held.push(TcpStream::connect(served.address).await.unwrap());
    }
    for no in 0..100 {
        bed.engine.enqueue(to(&format!("user-{no}"))).await.unwrap().wait().await.unwrap();
    }
    drop(held.split_off(100));
    assert!(ask(served.address).await.starts_with("HTTP/1.1 200 "), "its turn comes when the others are cut off");
    bed.stop().await;
}

#[tokio::test]
async fn a_body_that_never_comes_is_waited_for_no_longer_than_an_answer() {
    let bed = Bed::new().await;
    let mut bounds = bounds(4, Duration::from_secs(10));
    bounds.connection_lasts = Duration::from_millis(100);
    let served = serve(&bed.console, bounds).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let request = format!(
        "POST /api/v1/queues/mail/pause HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {OPERATOR}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(!until_closed(stream).await.contains(" 200 "));
    assert!(!bed.engine.stats().await.unwrap()[0].paused);
    bed.stop().await;
}

#[tokio::test]
async fn when_it_stops_what_is_asked_is_answered() {
    let bed = Bed::new().await;
    let served = serve(&bed.console, Bounds::default()).await;
    assert!(ask(served.address).await.starts_with("HTTP/1.1 200 "));
    served.stop.send(()).unwrap();
    served.server.await.unwrap().unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
    bed.stop().await;
}

#[tokio::test]
async fn it_does_not_listen_to_the_world_without_asking_who_that_is() {
    let engine = engine().await;
    let console = Console::new(engine.clone(), Access::loopback(Identity::operator("me")));
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let error = console.serve(listener, Bounds::default(), std::future::pending()).await.unwrap_err();
    assert!(matches!(error, ServeError::Exposed(at) if at == address), "{error}");
    engine.shutdown(windlass::SEC).await.unwrap();
}
