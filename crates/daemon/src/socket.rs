//! The socket file: made where nobody answers, removed where it is still ours.

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

/// A socket that is listened on. Its file goes when this is dropped, if it is still this one's.
#[derive(Debug)]
pub struct Socket {
    /// Takes connections.
    pub listener: UnixListener,
    path: PathBuf,
    identity: (u64, u64),
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
        Ok(Self { listener, path: path.to_owned(), identity: identity(&made) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|now| identity(&now) == self.identity);
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
