//! The commands of later stages: they are understood, refused, and do nothing.

use std::ffi::OsString;

use clap::Args;

use crate::failure::Failure;
use crate::outcome::Outcome;

/// Whatever stands behind the command.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<OsString>,
}

impl Arguments {
    /// Says that nothing was done. What stands behind the command is not judged: nothing here knows it yet.
    pub(crate) fn refuse(self, command: &'static str) -> Result<Outcome, Failure> {
        drop(self.rest);
        Err(Failure::NotBuilt { command })
    }
}
