//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

/// Keeps SurrealDB and Qdrant in lockstep
///
/// Takes operations over a Unix socket, logs each, and sees to it that it lands in both stores or in neither.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "lockstepd", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// What to do; without it: serve
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Configuration, in TOML; without it everything is below --data
    #[arg(long, value_name = "FILE", env = "LOCKSTEP_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// Where what is not configured lies, and what relative paths in the configuration start from
    #[arg(long, value_name = "DIR", env = "LOCKSTEP_DATA", global = true)]
    pub data: Option<PathBuf>,
    /// The socket to listen on
    #[arg(long, value_name = "PATH", env = "LOCKSTEP_SOCKET", global = true)]
    pub socket: Option<PathBuf>,
    /// How log lines on stderr look [default: daemon.log_format, which is text]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug or trace; or directives like "warn,lockstep_engine=debug" [default:
    /// daemon.log_level, which is info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Take SurrealDB over from the log that holds it. Only when the daemon of that log is gone for good: what it had not
    /// finished stays unfinished, and should it still run, it stops at its next write
    #[arg(long)]
    pub adopt: bool,
}

/// What else there is to do than to serve.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Compare both stores with the configuration, and say what does not fit and what to do
    ///
    /// Reads only. Exit code 0: nothing stands in the way (warnings may have been printed); 1: operations would fail, or a
    /// store cannot be reached; 2: the configuration is wrong.
    Check {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

const EXAMPLES: &str = "\
Examples:
  lockstepd --data ./lockstep-data
  lockstepd --config /etc/lockstep/lockstep.toml --log-format json
  lockstepd check --config /etc/lockstep/lockstep.toml
  LOCKSTEP_LIMITS__OPEN_OPS=100000 lockstepd --data ./lockstep-data

Every key of the configuration but the tables' can be set as LOCKSTEP_<SECTION>__<KEY>.
SIGHUP reads the configuration again: retry.*, limits.*, the log level and how long the log keeps what has ended change at
once, other keys at the next start.

Exit codes:
  0  stopped by SIGTERM or SIGINT
  1  failed; start it again, recovery will run
  2  bad usage or configuration; another daemon listens on the socket
  3  the log cannot be opened or has lost something; the message names the wal-tools command to run
  4  another process holds the log";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn clap_finds_no_fault() {
        Arguments::command().debug_assert();
    }
}
