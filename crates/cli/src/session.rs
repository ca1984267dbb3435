//! What every command has at hand.

use std::path::PathBuf;

use lockstep_api::{Client, find_socket};

use crate::failure::Failure;
use crate::output::Output;

/// The daemon to talk to, and where to print.
#[derive(Debug)]
pub(crate) struct Session {
    socket: Option<PathBuf>,
    pub(crate) output: Output,
}

impl Session {
    pub(crate) const fn new(socket: Option<PathBuf>, output: Output) -> Self {
        Self { socket, output }
    }

    /// A client of the daemon that the user named, or of the one that is found.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::new(find_socket(self.socket.as_deref())?))
    }
}
