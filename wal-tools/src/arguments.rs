//! What stands before the command, and the list of commands.

use clap::{Parser, Subcommand};

use crate::command::{discard, dump, explain, list, plan, repair, retry, rollback, show, status, verify};
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::output::Output;
use crate::pages;
use crate::place::PlaceArguments;

/// Looks into the write-ahead log of lockstepd, also when lockstepd does not run. Changes nothing without --write.
#[derive(Debug, Parser)]
#[command(name = "wal-tools", version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: PlaceArguments,
    /// Print one JSON document; list prints one a line (NDJSON), as dump always does
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
A directory that a running daemon holds is not read where the daemon can answer: status, list, show and
explain ask it over its socket. verify, plan and dump read the directory and say that it moves.

Examples:
  wal-tools status
  wal-tools --data /var/lib/lockstep verify
  wal-tools --wal ./lockstep-data/wal list --state parked
  wal-tools --socket /run/lockstep/lockstep.sock show 42
  wal-tools dump --operations > operations.ndjson

Exit codes: 0 clean (open operations that a restart will finish are clean), 1 findings (parked
operations, damage, a gap; show: also if there is no such operation), 2 usage, 3 unreadable (nothing
there, not a log, no answer).";

#[derive(Debug, Subcommand)]
enum Command {
    Status(status::Arguments),
    List(list::Arguments),
    Show(show::Arguments),
    Verify(verify::Arguments),
    Dump(dump::Arguments),
    Explain(explain::Arguments),
    Plan(plan::Arguments),
    Retry(retry::Arguments),
    Rollback(rollback::Arguments),
    Discard(discard::Arguments),
    Repair(repair::Arguments),
    #[command(hide = true)]
    Pages(pages::Arguments),
}

impl Arguments {
    /// Runs the command.
    pub(crate) fn run(self, output: &mut Output) -> Result<Outcome, Failure> {
        let place = self.place;
        match self.command {
            Command::Status(arguments) => arguments.run(place.find()?, output),
            Command::List(arguments) => arguments.run(place.find()?, output),
            Command::Show(arguments) => arguments.run(place.find()?, output),
            Command::Verify(arguments) => arguments.run(place.find()?, output),
            Command::Dump(arguments) => arguments.run(place.find()?, output),
            Command::Explain(arguments) => arguments.run(place.find()?, output),
            Command::Plan(arguments) => arguments.run(place.find()?, output),
            Command::Retry(arguments) => arguments.run(place.find()?, output),
            Command::Rollback(arguments) => arguments.run(place.find()?, output),
            Command::Discard(arguments) => arguments.run(place.find()?, output),
            Command::Repair(arguments) => arguments.run(place.find()?, output),
            Command::Pages(arguments) => arguments.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_sound_and_every_command_shows_examples() {
        let mut all = Arguments::command();
        all.clone().debug_assert();
        for command in all.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
            let help = command.render_help().to_string();
            let example = format!("wal-tools {}", command.get_name());
            assert!(help.contains("Example") && help.contains(&example), "{help}");
        }
    }
}
