//! `windlass-peers apalis-memory|apalis-sqlite DIR`, `windlass-peers rabbitmq PORT`.

mod apalis_memory;
mod apalis_sqlite;
mod protocol;
mod rabbitmq;

use protocol::{Failure, runtime, serve};

fn main() -> Result<(), Failure> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["apalis-memory", _] => serve(apalis_memory::Memory::default(), runtime()?),
        ["apalis-sqlite", dir] => serve(apalis_sqlite::Sqlite::new(dir), runtime()?),
        ["rabbitmq", port] => {
            let runtime = runtime()?;
            let peer = runtime.block_on(rabbitmq::Rabbit::connect(port))?;
            serve(peer, runtime)
        }
        _ => Err("usage: windlass-peers apalis-memory|apalis-sqlite DIR, or windlass-peers rabbitmq PORT".into()),
    }
}
