//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Keeps SurrealDB and Qdrant in lockstep
///
/// Takes operations over a Unix socket, logs each, and sees to it that it lands in both stores or in neither.
#[derive(Debug, Clone, Default, Parser)]
#[command(name = "lockstepd", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// Configuration, in TOML; without it everything is below --data
    #[arg(long, value_name = "FILE", env = "LOCKSTEP_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where what is not configured lies, and what relative paths in the configuration start from
    #[arg(long, value_name = "DIR", env = "LOCKSTEP_DATA")]
    pub data: Option<PathBuf>,
    /// The socket to listen on
    #[arg(long, value_name = "PATH", env = "LOCKSTEP_SOCKET")]
    pub socket: Option<PathBuf>,
    /// How log lines on stderr look
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace; or directives like "warn,lockstep_engine=debug"
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
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
  LOCKSTEP_LIMITS__OPEN_OPS=100000 lockstepd --data ./lockstep-data

Every key of the configuration but the tables' can be set as LOCKSTEP_<SECTION>__<KEY>.

Exit codes:
  0  stopped by SIGTERM or SIGINT
  1  failed; start it again, recovery will run
  2  bad usage or configuration
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
