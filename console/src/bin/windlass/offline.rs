//! The commands on a data directory that no engine holds.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::export::Export;
use crate::failure::{Failure, Verdict};
use crate::output::Out;
use crate::salvage::Salvage;
use crate::{inspect, verify};

/// Commands that read the files themselves.
#[derive(Debug, Subcommand)]
pub(crate) enum Offline {
    /// Tell what is in a data directory; nothing in it changes
    Inspect(Directory),
    /// Read every record of a data directory, and check each, all together, and what the database says; nothing in it changes
    Verify(Directory),
    /// Print the jobs of a data directory, a JSON object on each line; nothing in it changes
    Export(Export),
    /// Make a sound data directory of what can be read of a damaged one, which stays as it is
    Salvage(Salvage),
}

/// What most commands need.
#[derive(Args, Debug)]
pub(crate) struct Directory {
    /// The data directory: what the service gives to `RocksJournal::at`
    pub(crate) dir: PathBuf,
}

impl Offline {
    pub(crate) fn run(&self, out: &mut Out) -> Result<Verdict, Failure> {
        match self {
            Self::Inspect(Directory { dir }) => inspect::run(dir, out),
            Self::Verify(Directory { dir }) => verify::run(dir, out),
            Self::Export(export) => export.run(out),
            Self::Salvage(salvage) => salvage.run(out),
        }
    }
}
