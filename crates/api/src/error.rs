//! What can go wrong between a program and the daemon.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_model::KeyError;

use crate::Problem;
use crate::socket::SocketAccess;

/// Why there is no answer, or none that helps. `Display` says what to do and leaves the cause to `source`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No socket was named, and there is none at the usual places.
    #[error(
        "no lockstepd found: there is no socket at {}; is it running? Start it with `lockstepd --data DIR`, \
             or name its socket with --socket or LOCKSTEP_SOCKET",
        listed(tried)
    )]
    NoSocket {
        /// Where it was looked for, in this order.
        tried: Vec<PathBuf>,
    },
    /// The path does not fit into the address of a Unix socket.
    #[error("the socket path {} has {bytes} bytes, at most {} fit into the address of a Unix socket: \
             use --socket with a shorter path, or a shorter --data", socket.display(), crate::MAX_SOCKET_BYTES)]
    LongSocket {
        /// The path.
        socket: PathBuf,
        /// How long it is.
        bytes: usize,
    },
    /// The daemon does not take connections there. Nothing was sent.
    #[error("cannot reach lockstepd at {}: is it running? Start it with `lockstepd --data DIR`, \
             or name another socket with --socket or LOCKSTEP_SOCKET", socket.display())]
    NotReachable {
        /// The socket.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The socket is there, and this user may not use it. Nothing was sent.
    #[error("this user may not write to lockstepd's socket {}{access}: join the socket's group, or be another user; \
             who may connect is daemon.socket_mode in lockstepd's configuration", socket.display())]
    NotAllowed {
        /// The socket.
        socket: PathBuf,
        /// Whose it is.
        access: SocketAccess,
        /// What the system said.
        source: io::Error,
    },
    /// The connection ended before the answer did. What was sent may have been carried out.
    #[error("the connection to lockstepd at {} was lost before the answer was complete", socket.display())]
    Lost {
        /// The socket.
        socket: PathBuf,
        /// How it was lost.
        source: hyper::Error,
    },
    /// The daemon took the request and did not answer in time. It may have been carried out.
    #[error("lockstepd at {} has not answered within {} s", socket.display(), after.as_secs())]
    NoAnswer {
        /// The socket.
        socket: PathBuf,
        /// How long it was waited for.
        after: Duration,
    },
    /// The daemon refused, and says why.
    #[error("{problem}")]
    Problem {
        /// What it says.
        problem: Box<Problem>,
        /// When it is worth trying again, if it says so.
        retry_after: Option<Duration>,
    },
    /// The answer is not what the contract says.
    #[error("lockstepd's answer is not understood: {what}")]
    Protocol {
        /// What was expected.
        what: String,
        /// Why it could not be read, if that is why.
        source: Option<serde_json::Error>,
    },
    /// The key names no entity. Nothing was sent.
    #[error("bad key")]
    Key(#[from] KeyError),
    /// The request cannot be put into HTTP, as an idempotency key with a line break. Nothing was sent.
    #[error("the request cannot be sent")]
    Request(#[from] hyper::http::Error),
}

impl Error {
    /// The problem document, if the daemon sent one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        if let Self::Problem { problem, .. } = self { Some(problem) } else { None }
    }

    /// Whether the same request may do better later: the daemon is away, or says so itself.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            // Between its making and its mode, a socket is for its owner only.
            Self::NoSocket { .. }
            | Self::NotReachable { .. }
            | Self::NotAllowed { .. }
            | Self::Lost { .. }
            | Self::NoAnswer { .. } => true,
            Self::Problem { problem, .. } => matches!(problem.status, 503 | 507),
            Self::LongSocket { .. } | Self::Protocol { .. } | Self::Key(_) | Self::Request(_) => false,
        }
    }

    pub(crate) fn protocol(what: impl Into<String>) -> Self {
        Self::Protocol { what: what.into(), source: None }
    }

    pub(crate) fn lost(socket: &Path, source: hyper::Error) -> Self {
        Self::Lost { socket: socket.to_owned(), source }
    }
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}
