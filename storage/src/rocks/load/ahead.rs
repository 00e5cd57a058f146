//! Reading ahead of whoever takes the records: a start is as long as the longer of the two, not as both.
//!
//! Owns the thread that walks, for as long as one load lasts, and the way from it to the caller. Nothing is moved for a misfit
//! before the walk is over: what belongs together has been seen by then, and so has every version.

use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{Builder, scope};

use rocksdb::DB;
use windlass_scheduler::change::Key;

use super::{Load, Misfit, end_of};
use crate::error::{LoadError, StorageError};
use crate::journal::Loaded;

/// Records that are handed over together: handing over each would cost as much as reading it.
pub(super) const CHUNK: usize = 512;
/// Chunks that may wait: a megabyte or so beside the bodies.
const CHUNKS_AHEAD_MAX: usize = 4;

/// Walks on a thread of its own while `take` takes on this one.
pub(super) fn load(db: &DB, term: u64, take: &mut dyn FnMut(Loaded) -> Option<String>) -> Result<(), LoadError> {
    let (chunks, loaded) = sync_channel(CHUNKS_AHEAD_MAX);
    let (tell, misfits) = channel();
    scope(|scope| {
        let walk = move || walk(db, term, chunks, &misfits);
        let walker = Builder::new().name("windlass-load".to_owned()).spawn_scoped(scope, walk).map_err(|error| {
            let reason = format!("no thread could be started to read it: {error}");
            LoadError::Unreadable(StorageError::Other { place: db.path().display().to_string(), reason })
        })?;
        // Nobody listens where the walk has failed.
        let _ = tell.send(take_all(loaded, take));
        walker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn take_all(loaded: Receiver<Vec<Loaded>>, take: &mut dyn FnMut(Loaded) -> Option<String>) -> Vec<Misfit> {
    let mut misfits = Vec::new();
    for one in loaded.into_iter().flatten() {
        let known: Option<(Key, _)> = match &one {
            Loaded::Record(record) => Some((record.key(), end_of(record))),
            Loaded::Quarantined(_) => None,
        };
        // What was quarantined is moved already, whatever the answer.
        if let (Some(reason), Some((key, end))) = (take(one), known) {
            misfits.push(Misfit { key, end, reason });
        }
    }
    misfits
}

fn walk(db: &DB, term: u64, chunks: SyncSender<Vec<Loaded>>, misfits: &Receiver<Vec<Misfit>>) -> Result<(), LoadError> {
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut push = |loaded| {
        chunk.push(loaded);
        if chunk.len() == CHUNK {
            // Nobody takes it where the taker panics: then the walk is for nothing, and ends.
            let _ = chunks.send(std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK)));
        }
    };
    let mut load = Load::new(db, term, &mut push, false);
    load.all()?;
    let moved = load.moved;
    let _ = chunks.send(chunk);
    drop(chunks);
    let mut deaf = |_| {};
    // By now the walk has seen every version, so this may be the first move.
    let mut load = Load { moved, all_known: true, ..Load::new(db, term, &mut deaf, false) };
    for misfit in misfits.recv().unwrap_or_default() {
        load.misfit(&misfit)?;
    }
    load.move_aside().map_err(LoadError::NotMoved)
}
