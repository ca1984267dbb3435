//! One connection to the daemon.

use std::io;
use std::path::Path;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::socket::SocketAccess;
use crate::{Error, check_socket};

/// What is sent.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An open connection. It closes when this is dropped and what was asked on it has ended.
pub(crate) type Connection = SendRequest<Body>;

/// Connects to the daemon.
pub(crate) async fn connect(socket: &Path) -> Result<Connection, Error> {
    check_socket(socket)?;
    let stream = UnixStream::connect(socket).await.map_err(|source| refused(socket, source))?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|source| Error::lost(socket, source))?;
    // This task moves the bytes. It ends with the sender, and what fails in it fails the request as well.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn refused(socket: &Path, source: io::Error) -> Error {
    let socket = socket.to_owned();
    if source.kind() == io::ErrorKind::PermissionDenied {
        return Error::NotAllowed { access: SocketAccess::of(&socket), socket, source };
    }
    Error::NotReachable { socket, source }
}
