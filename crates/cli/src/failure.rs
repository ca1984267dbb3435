//! Why a command did not do what it was asked.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use serde_json::{Value, json};

use crate::bulk::Interruption;

/// Why a command failed. `Display` leaves the cause to `source`; [`Failure::chain`] joins them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The daemon is away, or refused.
    #[error(transparent)]
    Api(#[from] lockstep_api::Error),
    /// An argument that is not what it should be.
    #[error("{argument} is not JSON")]
    NotJson { argument: &'static str, source: serde_json::Error },
    /// An input without any operation in it.
    #[error("FILE holds no operation")]
    NoOperation,
    /// A question that only a person at a terminal can answer.
    #[error("there is no terminal to ask whether to remove this: say --yes to do it")]
    NotConfirmed,
    /// A file that an argument names cannot be read.
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The operation cannot be written down.
    #[error("cannot write the operation as JSON")]
    Encode(#[source] serde_json::Error),
    /// Stdout takes nothing (a closed pipe is not an error).
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// The asynchronous runtime does not start.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    /// The program `lockstepd` cannot be run.
    #[error("cannot run {}: name it with --lockstepd PATH", program.display())]
    Lockstepd { program: PathBuf, source: io::Error },
    /// It ended where it should not.
    #[error("lockstepd ended ({status}) before it was ready; it said:\n{said}")]
    LockstepdEnded { status: ExitStatus, said: String },
    /// It did not get ready.
    #[error("lockstepd did not get ready within {seconds} s; it said:\n{said}")]
    LockstepdNotReady { seconds: u64, said: String },
    /// A directory of the demo.
    #[error("cannot use {} for the demo", path.display())]
    DemoDirectory { path: PathBuf, source: io::Error },
    /// The sample in this program is broken.
    #[error("the sample in this program cannot be read")]
    Sample(#[source] io::Error),
    /// A line of it is.
    #[error("a line of the sample in this program cannot be read")]
    SampleJson(#[source] serde_json::Error),
    /// A process or a task of the demo got out of hand.
    #[error("the demo lost hold of what it started")]
    Child(#[source] io::Error),
    /// The input of a bulk cannot be read any further.
    #[error("the input cannot be read any further")]
    Input(#[source] io::Error),
    /// The daemon went away in the middle and did not come back.
    #[error("lockstepd did not come back within {seconds} s; the same command goes on where this one ended")]
    GaveUp { seconds: u64, source: Interruption },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    /// What the process says to its caller: 2 for bad usage, else 1.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::NotJson { .. } | Self::NoOperation | Self::NotConfirmed | Self::Api(lockstep_api::Error::Key(_)) => 2,
            Self::Api(_)
            | Self::Read { .. }
            | Self::Encode(_)
            | Self::Output(_)
            | Self::Runtime(_)
            | Self::Lockstepd { .. }
            | Self::LockstepdEnded { .. }
            | Self::LockstepdNotReady { .. }
            | Self::DemoDirectory { .. }
            | Self::Sample(_)
            | Self::SampleJson(_)
            | Self::Child(_)
            | Self::Input(_)
            | Self::GaveUp { .. }
            | Self::Interrupted => 1,
        }
    }

    /// The failure and its causes in one line.
    pub(crate) fn chain(&self) -> String {
        chain(self)
    }

    /// The failure for programs: the daemon's problem document, or one in its manner.
    pub(crate) fn json(&self) -> Value {
        if let Self::Api(error) = self
            && let Some(problem) = error.problem()
            && let Ok(value) = serde_json::to_value(problem)
        {
            return value;
        }
        let away = if let Self::Api(error) = self { error.is_transient() } else { matches!(self, Self::GaveUp { .. }) };
        let code = if away {
            "not_reachable"
        } else if self.exit_code() == 2 {
            "usage"
        } else {
            "failed"
        };
        json!({ "code": code, "detail": self.chain() })
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}
