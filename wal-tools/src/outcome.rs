//! What a command that did its work says with its exit code.

use std::process::ExitCode;

/// Whether the log needs somebody. Operations that a restart will finish need nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Exit code 0.
    Clean,
    /// Exit code 1: parked operations, damage, a gap.
    Findings,
}

impl Outcome {
    /// `Findings` if `found`.
    pub(crate) const fn findings(found: bool) -> Self {
        if found { Self::Findings } else { Self::Clean }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Clean => Self::SUCCESS,
            Outcome::Findings => Self::from(1),
        }
    }
}
