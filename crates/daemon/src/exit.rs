//! How the process ends.

use std::process::ExitCode;

/// The exit codes of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Someone asked it to stop.
    Stopped,
    /// It failed.
    Failed,
    /// Usage or configuration is wrong.
    Usage,
    /// The log cannot be opened, or has lost something.
    Unreadable,
    /// Another process holds the log.
    Held,
}

impl Exit {
    /// The code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Stopped => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreadable => 3,
            Self::Held => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
