//! Why a command did not do what it was asked.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use lockstep_wal::RawError;
use serde_json::{Value, json};

use crate::target::Target;

/// Why a command failed. `Display` leaves the cause to `source`; [`Failure::chain`] joins them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No place was named, and there is no log at the usual ones.
    #[error(
        "no log found at {}: name it with --wal DIR or --data DIR, or a daemon with --socket PATH",
        tried.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
    )]
    NoPlace {
        /// Where it was looked for, in this order.
        tried: Vec<PathBuf>,
    },
    /// The log cannot be read at all. Damage in it is no failure but a finding.
    #[error("the log cannot be read")]
    Log(#[source] RawError),
    /// The daemon is away, or refused.
    #[error(transparent)]
    Daemon(#[from] lockstep_api::Error),
    /// The daemon did not answer in time.
    #[error("lockstepd at {} has not answered within {seconds} s", socket.display())]
    Silent {
        /// Its socket.
        socket: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The command reads a directory, and none was named.
    #[error("{command} reads the log's directory and asks no daemon: name it with --wal DIR or --data DIR")]
    NeedsDirectory {
        /// The command.
        command: &'static str,
    },
    /// A command of a later stage.
    #[error(
        "{command} is not built yet: nothing was done. Built are status, list, show, explain, plan, verify and dump"
    )]
    NotBuilt {
        /// The command.
        command: &'static str,
    },
    /// The log says nothing of it, or no longer.
    #[error("the log knows no operation {0}, or no longer")]
    NotFound(Target),
    /// There is something at that place, but no operation that can be shown.
    #[error("the log knows no operation {target}: {hint}")]
    NotAnOperation {
        /// What was asked for.
        target: Target,
        /// What there is instead.
        hint: String,
    },
    /// Something cannot be written as JSON.
    #[error("cannot write the answer as JSON")]
    Encode(#[from] serde_json::Error),
    /// Stdout takes nothing (a closed pipe is not an error).
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// The asynchronous runtime does not start.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
}

impl Failure {
    /// What the process says to its caller: 1 for what is not in a log that was read, 2 for bad usage, else 3.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound(_) | Self::NotAnOperation { .. } => 1,
            Self::NeedsDirectory { .. } | Self::NotBuilt { .. } => 2,
            Self::NoPlace { .. }
            | Self::Log(_)
            | Self::Daemon(_)
            | Self::Silent { .. }
            | Self::Encode(_)
            | Self::Output(_)
            | Self::Runtime(_) => 3,
        }
    }

    /// The failure and its causes in one line.
    pub(crate) fn chain(&self) -> String {
        let mut said = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            said = format!("{said}: {error}");
            cause = error.source();
        }
        said
    }

    /// The failure for programs.
    pub(crate) fn json(&self) -> Value {
        json!({ "code": self.code(), "detail": self.chain() })
    }

    const fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) | Self::NotAnOperation { .. } => "not_found",
            Self::NeedsDirectory { .. } => "usage",
            Self::NotBuilt { .. } => "not_implemented",
            Self::Daemon(_) | Self::Silent { .. } => "not_reachable",
            Self::NoPlace { .. } | Self::Log(_) => "unreadable",
            Self::Encode(_) | Self::Output(_) | Self::Runtime(_) => "failed",
        }
    }
}
