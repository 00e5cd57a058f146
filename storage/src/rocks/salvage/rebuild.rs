//! A database made anew from its files, where what names them is damaged or one of them hides the others.
//!
//! Owns a copy of the files, which RocksDB repairs: it finds out by itself what is in each table, and leaves out those that it
//! cannot read whole. Families that have no table yet are known to the damaged manifest alone; so that their part of the log is
//! not left out, each family is given one.

use std::fs;
use std::path::{Path, PathBuf};

use rocksdb::DB;

use super::remove;
use crate::error::{BackupError, OpenError};
use crate::keys::Family;
use crate::rocks::backup::{bytes_of, check_room, files_of};
use crate::rocks::look::Found;
use crate::rocks::options::{self, RocksOptions};
use crate::rocks::reader::handle;
use crate::rocks::refusal::{open_error, storage_error};

/// Under which no record stands: it is deleted again in the same table.
const NO_KEY: &[u8] = &[u8::MAX];
/// Far behind the numbers of any files.
const FIRST_NUMBER: u64 = 900_000_000;

/// Makes a database at `scratch` of the files of the damaged one, and opens it.
pub(super) fn rebuild(database: &Path, scratch: &Path, refusals: &mut Vec<OpenError>) -> Result<Found, BackupError> {
    remove(scratch)?;
    let io = |doing: &'static str| move |error: std::io::Error| BackupError::from_io(scratch, doing, &error);
    check_room(scratch.parent().unwrap_or(scratch), bytes_of(database, |_| true)?)?;
    let anew = scratch.join("db");
    fs::create_dir_all(&anew).map_err(io("making a directory for the database"))?;
    for file in files_of(database)? {
        fs::copy(database.join(&file), anew.join(&file)).map_err(io("copying a file of the database"))?;
    }
    for (number, table) in (FIRST_NUMBER..).zip(tables_of_each_family(&scratch.join("families"))?) {
        fs::copy(&table, anew.join(format!("{number:06}.sst"))).map_err(io("copying a table"))?;
    }
    let bounds = RocksOptions::default();
    DB::repair(&options::lenient(&bounds), &anew).map_err(|error| open_error(database, &error))?;
    Ok(Found::open(database, &anew, refusals)?)
}

/// A table for each family, with nothing in it.
fn tables_of_each_family(place: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let bounds = RocksOptions::default();
    let db = DB::open_cf_descriptors(&options::database(&bounds, true), place, options::families(&bounds))
        .map_err(|error| open_error(place, &error))?;
    for family in Family::ALL {
        let at = handle(&db, family)?;
        let made = db.delete_cf(at, NO_KEY).and_then(|()| db.flush_cf(at));
        made.map_err(|error| storage_error(place, "making a table", &error))?;
    }
    drop(db);
    Ok(files_of(place)?
        .into_iter()
        .filter(|name| name.extension().is_some_and(|kind| kind == "sst"))
        .map(|name| place.join(name))
        .collect())
}
