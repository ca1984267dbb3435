//! The socket file: made where nobody answers, removed where it is still ours; or handed over by the service manager.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// The socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// A process answers there, and it is none of this log.
    #[error("another process listens on {}; it works on another log: give each its own daemon.socket", .0.display())]
    Taken(PathBuf),
    /// A file is there that is no socket.
    #[error("{} is there and is no socket; it is left alone", .0.display())]
    Foreign(PathBuf),
    /// The system refused.
    #[error("cannot {doing} the socket {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A socket that is listened on. Its file goes when this is dropped, if it was made here and is still this one's.
#[derive(Debug)]
pub struct Socket {
    /// Takes connections.
    pub listener: UnixListener,
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

/// Sockets that the service manager listens on for us.
#[derive(Debug, Default)]
pub struct Activated {
    /// For operations.
    pub unix: Option<std::os::unix::net::UnixListener>,
    /// For metrics.
    pub tcp: Option<std::net::TcpListener>,
}

/// The service manager handed over something else than expected.
#[derive(Debug, thiserror::Error)]
#[error(
    "the service manager handed over {0}: one Unix socket for operations and at most one TCP socket for metrics are wanted"
)]
pub struct Unexpected(&'static str);

impl Activated {
    /// What `LISTEN_FDS` brings, told apart by kind: the names of sockets are the unit's own affair. To be called once, first of
    /// all: it takes the variables out of the environment.
    ///
    /// # Errors
    /// [`Unexpected`]
    pub fn from_environment() -> Result<Self, Unexpected> {
        let mut sockets = listenfd::ListenFd::from_env();
        let mut activated = Self::default();
        for index in 0..sockets.len() {
            if let Ok(Some(unix)) = sockets.take_unix_listener(index) {
                if activated.unix.replace(unix).is_some() {
                    return Err(Unexpected("two Unix sockets"));
                }
            } else if let Ok(Some(tcp)) = sockets.take_tcp_listener(index) {
                if activated.tcp.replace(tcp).is_some() {
                    return Err(Unexpected("two TCP sockets"));
                }
            } else {
                return Err(Unexpected("something that is no listening stream socket"));
            }
        }
        Ok(activated)
    }
}

impl Socket {
    /// Makes the socket. Whoever calls this holds the log: a file that nobody answers on is a leftover of a dead daemon.
    ///
    /// # Errors
    /// See [`SocketError`].
    pub fn bind(path: &Path, mode: u32) -> Result<Self, SocketError> {
        let io = |doing| move |source| SocketError::Io { doing, path: path.to_owned(), source };
        remove_leftover(path)?;
        let listener = UnixListener::bind(path).map_err(io("bind"))?;
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(io("set the mode of"))?;
        let made = fs::symlink_metadata(path).map_err(io("look at"))?;
        Ok(Self { listener, path: path.to_owned(), identity: Some(identity(&made)) })
    }

    /// Takes over a socket that the service manager made. Its file is the manager's, its mode too.
    ///
    /// # Errors
    /// [`SocketError::Io`]
    pub fn take_over(listener: std::os::unix::net::UnixListener) -> Result<Self, SocketError> {
        let address = listener.local_addr();
        let path = address.ok().and_then(|address| address.as_pathname().map(Path::to_owned)).unwrap_or_default();
        let io = |source| SocketError::Io { doing: "take over", path: path.clone(), source };
        listener.set_nonblocking(true).map_err(io)?;
        let listener = UnixListener::from_std(listener).map_err(io)?;
        Ok(Self { listener, path, identity: None })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|now| Some(identity(&now)) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "the socket file stays behind");
        }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

fn remove_leftover(path: &Path) -> Result<(), SocketError> {
    let io = |doing| move |source| SocketError::Io { doing, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("look at")(error)),
        Ok(file) if !file.file_type().is_socket() => return Err(SocketError::Foreign(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::Taken(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "removing the socket that a dead daemon left");
            fs::remove_file(path).map_err(io("remove the old"))
        }
        Err(error) => Err(io("try")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_leftover_goes_and_a_living_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());

        let socket = Socket::bind(&path, 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(Socket::bind(&path, 0o600), Err(SocketError::Taken(_))));
        drop(socket);
        assert!(!path.exists());

        fs::write(&path, "precious").unwrap();
        assert!(matches!(Socket::bind(&path, 0o600), Err(SocketError::Foreign(_))));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_socket_of_the_service_manager_is_used_and_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let socket = Socket::take_over(std::os::unix::net::UnixListener::bind(&path).unwrap()).unwrap();
        assert_eq!(socket.path(), path);
        let (connected, accepted) = tokio::join!(tokio::net::UnixStream::connect(&path), socket.listener.accept());
        assert!(connected.is_ok() && accepted.is_ok());
        drop(socket);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_another_ones_now_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let first = Socket::bind(&path, 0o600).unwrap();
        fs::rename(&path, dir.path().join("away")).unwrap();
        let second = Socket::bind(&path, 0o600).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
    }
}
