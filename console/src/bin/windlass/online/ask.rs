//! The question before what cannot be taken back.

use std::fmt::Display;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use crate::failure::Failure;

/// Asks whoever sits at the terminal; `yes` was said in the command line. Where nobody sits there, nothing is done.
pub(crate) fn confirmed(question: impl Display, yes: bool) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        let why = "the standard input is no terminal, so that nobody can be asked: `--yes` says that you are sure";
        return Err(Failure::Other(format!("{question}? {why}. Nothing was changed")));
    }
    let mut to = io::stderr();
    write!(to, "{question}? [y/N] ")?;
    to.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
