//! The command line of Windlass.
//!
//! Owns the words of the command line, and what its exit codes mean. Each command has a room of its own. What is known here
//! about directories is the storage crate's; what is known about jobs is the core's.

mod alone;
mod cross;
mod export;
mod failure;
mod holder;
mod inspect;
mod offline;
mod online;
mod output;
mod salvage;
mod survey;
mod token;
mod verify;

use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use self::alone::Alone;
use self::failure::{Failure, Verdict};
use self::offline::Offline;
use self::online::Online;
use self::output::Out;

const EXIT_CODES: &str = "\
Exit codes:
  0  done, and nothing is wrong
  1  done, and something is wrong: verify found problems, salvage or export could not read everything, an engine does not serve,
     an order could not change all jobs that it meant; or not done, since you answered no
  2  could not be done: no journal there, an engine holds it, a newer format; no console there, or it refused; a mistake in the
     command line

A reader of the output that goes away ends a command quietly, as if it were done.
No colour where NO_COLOR is set or the output is no terminal; progress is shown on terminals only.";

/// Looks after Windlass, the background-job engine: running services by their consoles, and data directories of stopped ones.
#[derive(Debug, Parser)]
#[command(name = "windlass", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    how: How,
}

/// How to tell what there is to tell.
#[derive(Args, Clone, Copy, Debug)]
struct How {
    /// Print JSON, of a shape that stays: one object, or one a line where there are many
    #[arg(long, global = true)]
    json: bool,
    /// Print nothing but errors, and JSON if it is asked for: the exit code tells the rest
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Offline(Offline),
    #[command(flatten)]
    Online(Box<Online>),
    /// Serve the console of a data directory whose service is stopped; no job runs meanwhile, and nothing is forgotten
    Console(Alone),
    /// Print a script that completes commands and options, for a shell to read
    #[command(after_help = "bash: source <(windlass completions bash)\n\
                            zsh:  windlass completions zsh > ~/.zfunc/_windlass\n\
                            fish: windlass completions fish > ~/.config/fish/completions/windlass.fish")]
    Completions {
        /// The shell
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(["bash", "zsh", "fish"]))]
        shell: String,
    },
}

fn main() -> ExitCode {
    let Cli { command, how } = Cli::parse();
    let mut out = Out::new(how.json, how.quiet);
    let answer = match command {
        Command::Offline(command) => command.run(&mut out),
        Command::Online(command) => command.run(&mut out),
        Command::Console(alone) => alone.run(&mut out),
        Command::Completions { shell } => completions(&shell, &mut out),
    };
    let answer = answer.and_then(|verdict| out.flush().map(|()| verdict));
    match answer {
        Ok(verdict) => verdict.into(),
        Err(Failure::Gone) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure);
            ExitCode::from(2)
        }
    }
}

fn completions(shell: &str, out: &mut Out) -> Result<Verdict, Failure> {
    let shell: Shell = shell.parse().map_err(Failure::Other)?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "windlass", &mut script);
    out.raw(&script)?;
    Ok(Verdict::Sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_in_agreement_with_itself() {
        Cli::command().debug_assert();
    }
}
