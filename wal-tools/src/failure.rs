//! Why a command did not do what it was asked.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use lockstep_wal::repair::RepairError;
use lockstep_wal::{ErrorClass, LogError, RawError, RecordError};
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
    #[error(
        "{command} reads the log's directory, and no daemon says where it is: name it with --wal DIR or --data DIR"
    )]
    NeedsDirectory {
        /// The command.
        command: &'static str,
    },
    /// The log says nothing of it, or no longer.
    #[error("the log knows no operation {0}, or no longer")]
    NotFound(Target),
    /// A log with damage in it is not written to.
    #[error("the log in {} is not whole: nothing was written. See wal-tools verify, then wal-tools repair", dir.display())]
    DamagedLog {
        /// The log's directory.
        dir: PathBuf,
    },
    /// Somebody has the log open, and this command needs it alone.
    #[error("{holder} has the log in {} open: stop it first", dir.display())]
    HeldLog {
        /// The log's directory.
        dir: PathBuf,
        /// Who.
        holder: String,
    },
    /// The log cannot be repaired.
    #[error("the log is not repaired")]
    Repair(#[source] RepairError),
    /// There is no place at `--copy-to`.
    #[error("cannot make a copy in {}", dir.display())]
    NoPlaceForCopy {
        /// The place.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log cannot be opened for writing, or stopped.
    #[error("the log cannot be written to")]
    Open(#[source] LogError),
    /// The log stopped before what was written was durable.
    #[error("the log stopped before the decision was durable")]
    Stopped(#[source] Arc<LogError>),
    /// A record cannot be written or understood.
    #[error("a record cannot be written or understood")]
    Record(#[source] RecordError),
    /// Root cannot become the owner of what it is to write.
    #[error("cannot become the owner of {}", dir.display())]
    Owner {
        /// The log's directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
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
            Self::NeedsDirectory { .. } => 2,
            Self::NoPlace { .. }
            | Self::Log(_)
            | Self::Daemon(_)
            | Self::Silent { .. }
            | Self::DamagedLog { .. }
            | Self::HeldLog { .. }
            | Self::Repair(_)
            | Self::NoPlaceForCopy { .. }
            | Self::Open(_)
            | Self::Stopped(_)
            | Self::Record(_)
            | Self::Owner { .. }
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

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) | Self::NotAnOperation { .. } => "not_found",
            Self::NeedsDirectory { .. } => "usage",
            Self::Daemon(_) | Self::Silent { .. } => "not_reachable",
            Self::HeldLog { .. } => "held",
            Self::Open(error) if error.class() == ErrorClass::Held => "held",
            Self::Repair(_) => "not_repaired",
            Self::NoPlace { .. } | Self::Log(_) | Self::DamagedLog { .. } | Self::Open(_) | Self::Record(_) => {
                "unreadable"
            }
            Self::NoPlaceForCopy { .. }
            | Self::Stopped(_)
            | Self::Owner { .. }
            | Self::Encode(_)
            | Self::Output(_)
            | Self::Runtime(_) => "failed",
        }
    }
}
