//! What stands before the command, and the list of commands.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::command::{
    atomic, bulk, clear, delete, demo, discard, get, later, ops, patch, pause, put, query, relate, resume, retry,
    rollback, search, status, tables, unrelate, verify, wait, watch,
};
use crate::failure::Failure;
use crate::output::Output;
use crate::session::Session;

/// Writes to SurrealDB and Qdrant in lockstep, through lockstepd.
#[derive(Debug, Parser)]
#[command(name = "lockstep", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The daemon's socket [default: $LOCKSTEP_SOCKET, else ./lockstep-data/lockstep.sock, else
    /// /run/lockstep/lockstep.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Print one JSON document, as the daemon answered
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  lockstep demo
  lockstep put memory:01 --document '{\"title\":\"tide\"}' --vector '[0.1,0.2]'
  lockstep get memory:01
  lockstep bulk operations.ndjson
  lockstep status

Exit codes: 0 done, 1 not done (why is on stderr), 2 usage.";

#[derive(Debug, Subcommand)]
enum Command {
    Put(put::Arguments),
    Get(get::Arguments),
    Patch(patch::Arguments),
    Delete(delete::Arguments),
    Relate(relate::Arguments),
    Unrelate(unrelate::Arguments),
    Atomic(atomic::Arguments),
    Clear(clear::Arguments),
    Bulk(bulk::Arguments),
    Search(search::Arguments),
    Query(query::Arguments),
    Status(status::Arguments),
    Tables(tables::Arguments),
    Ops(ops::Arguments),
    Watch(watch::Arguments),
    Wait(wait::Arguments),
    Retry(retry::Arguments),
    Rollback(rollback::Arguments),
    Discard(discard::Arguments),
    Verify(verify::Arguments),
    Audit(later::Audit),
    Repair(later::Repair),
    Backfill(later::Backfill),
    Pause(pause::Arguments),
    Resume(resume::Arguments),
    Demo(demo::Arguments),
}

impl Arguments {
    /// Runs the command.
    pub(crate) async fn run(self, output: Output) -> Result<ExitCode, Failure> {
        let session = Session::new(self.socket, output);
        match self.command {
            Command::Put(arguments) => arguments.run(&session).await,
            Command::Get(arguments) => arguments.run(&session).await,
            Command::Patch(arguments) => arguments.run(&session).await,
            Command::Delete(arguments) => arguments.run(&session).await,
            Command::Relate(arguments) => arguments.run(&session).await,
            Command::Unrelate(arguments) => arguments.run(&session).await,
            Command::Atomic(arguments) => arguments.run(&session).await,
            Command::Clear(arguments) => arguments.run(&session).await,
            Command::Bulk(arguments) => arguments.run(&session).await,
            Command::Search(arguments) => arguments.run(&session).await,
            Command::Query(arguments) => arguments.run(&session).await,
            Command::Status(arguments) => arguments.run(&session).await,
            Command::Tables(arguments) => arguments.run(&session).await,
            Command::Ops(arguments) => arguments.run(&session).await,
            Command::Watch(arguments) => arguments.run(&session).await,
            Command::Wait(arguments) => arguments.run(&session).await,
            Command::Retry(arguments) => arguments.run(&session).await,
            Command::Rollback(arguments) => arguments.run(&session).await,
            Command::Discard(arguments) => arguments.run(&session).await,
            Command::Verify(arguments) => arguments.run(&session).await,
            Command::Audit(arguments) => arguments.run(&session).await,
            Command::Repair(arguments) => arguments.run(&session).await,
            Command::Backfill(arguments) => arguments.run(&session).await,
            Command::Pause(arguments) => arguments.run(&session).await,
            Command::Resume(arguments) => arguments.run(&session).await,
            Command::Demo(arguments) => arguments.run(&session).await,
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
        for command in all.get_subcommands_mut() {
            let help = command.render_help().to_string();
            let example = format!("lockstep {}", command.get_name());
            assert!(help.contains("Example") && help.contains(&example), "{help}");
        }
    }
}
