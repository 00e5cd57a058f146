//! Where a command's words go: results to the standard output, progress and errors beside them.
//!
//! Owns what is shown where: colour only on terminals, progress only for people, nothing at all after the reader has gone.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::online::as_json;

/// The output of a command.
pub(crate) struct Out {
    to: BufWriter<Stdout>,
    pub(crate) json: bool,
    quiet: bool,
    colour: bool,
}

impl Out {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = !is_plain && io::stdout().is_terminal();
        Self { to: BufWriter::new(io::stdout()), json, quiet, colour }
    }

    /// A line for people.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        if !self.quiet && !self.json {
            writeln!(self.to, "{text}")?;
        }
        Ok(())
    }

    /// A whole report for programs.
    pub(crate) fn report(&mut self, report: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer_pretty(&mut self.to, report).map_err(io::Error::from)?;
        writeln!(self.to)?;
        Ok(())
    }

    /// One of many, on a line of its own.
    pub(crate) fn json_line(&mut self, one: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.to, one).map_err(io::Error::from)?;
        writeln!(self.to)?;
        Ok(())
    }

    /// What a console said, as it said it.
    pub(crate) fn answer(&mut self, answer: &RawValue) -> Result<(), Failure> {
        writeln!(self.to, "{}", as_json(answer.get()))?;
        Ok(())
    }

    /// A table: as wide as the terminal where there is one, and as its rows elsewhere.
    pub(crate) fn table(&mut self, mut table: Table) -> Result<(), Failure> {
        if io::stdout().is_terminal()
            && let Ok((columns, _)) = ratatui::crossterm::terminal::size()
            && columns > 0
        {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
        }
        self.line(table)
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.to.write_all(bytes)?;
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.to.flush()?;
        Ok(())
    }

    /// A few words that say at a glance whether it is well.
    pub(crate) fn verdict(&self, is_good: bool, text: &str) -> String {
        match (self.colour, is_good) {
            (false, _) => text.to_owned(),
            (true, true) => format!("\u{1b}[32m{text}\u{1b}[0m"),
            (true, false) => format!("\u{1b}[31m{text}\u{1b}[0m"),
        }
    }

    /// Something for people that is no part of the result.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// A bar on the terminal; nothing elsewhere.
    pub(crate) fn progress(&self, total: u64, doing: &'static str) -> ProgressBar {
        if self.quiet || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos} of about {human_len}, {eta} left");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_message(doing);
        bar
    }
}

/// Why a command was not carried out. Nobody can be told where even this fails.
pub(crate) fn complain(failure: &Failure) {
    let _ = writeln!(io::stderr(), "windlass: {failure}");
}

/// A table with these columns.
pub(crate) fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(columns.iter().map(Cell::new));
    table
}

/// A number, where numbers belong.
pub(crate) fn number(number: u64) -> Cell {
    right(number)
}

/// The same for what is made of numbers.
pub(crate) fn right(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// Bytes as people say them.
pub(crate) fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
