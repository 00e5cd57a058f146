//! Files that are there whole, or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Serialize;

/// What is not finished has this behind its name. The name is always the same, so whoever tries again writes over it.
const UNFINISHED: &str = ".unfinished";

/// When this returns `Ok`, what `fill` wrote is on the disk under this name. It was never there in part.
pub(crate) fn write_whole<T, E: From<io::Error>>(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<T, E>,
) -> Result<T, E> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let mut file = BufWriter::new(File::create(&unfinished)?);
    let filled = fill(&mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    fs::rename(&unfinished, path)?;
    sync_parent(path)?;
    Ok(filled)
}

/// As [`write_whole`], a value as JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    write_whole(path, |out| Ok(serde_json::to_writer_pretty(out, value)?))
}

/// As [`write_whole`], a folder of files.
pub(crate) fn make_whole<E: From<io::Error>>(path: &Path, fill: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
    let unfinished = path.with_extension(&UNFINISHED[1..]);
    remove_all(&unfinished)?;
    fs::create_dir_all(&unfinished)?;
    fill(&unfinished)?;
    fs::rename(&unfinished, path)?;
    sync_parent(path)?;
    Ok(())
}

/// Removes a folder; one that is not there is no mistake.
pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A name stands in its folder, which has to reach the disk too.
fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}
