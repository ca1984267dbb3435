//! Connections: taken, counted, answered, closed.
//!
//! A connection that we close is closed in two steps: first our half, then, after a moment in which what the client still sends is
//! thrown away, the rest. So a client that sends too much reads its 413 instead of a reset.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use lockstep_wal::Caller;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::bounds::Room;

/// A request's head has so long to come, and a connection without a request so long to bring one.
const HEAD: Duration = Duration::from_secs(60);
/// How long, and how many bytes, a closed connection's client may still send.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES: usize = 512 << 20;
/// How long answers that are on their way may take at a stop.
const FAREWELL: Duration = Duration::from_secs(2);

/// What one connection too many is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
content-type: application/problem+json\r\ncontent-length: 153\r\n\r\n\
{\"type\":\"urn:lockstep:problem:overloaded\",\"title\":\"Too much work is in flight\",\"status\":503,\
\"code\":\"overloaded\",\"detail\":\"limits.connections is reached\"}";

/// A task of a connection panicked. What it shared with others is in doubt.
#[derive(Debug, thiserror::Error)]
#[error("a connection's task panicked")]
pub struct Panicked(#[source] JoinError);

/// What connections come from.
pub trait Listen: Sync {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and who is at its other end.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Caller)>> + Send;

    /// Says something short without waiting, and closes.
    ///
    /// # Errors
    /// If it could not be said at once.
    fn dismiss(stream: Self::Stream, words: &[u8]) -> io::Result<()>;
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Caller)> {
        let (stream, _) = self.accept().await?;
        let caller = Caller { uid: stream.peer_cred().ok().map(|peer| peer.uid()) };
        Ok((stream, caller))
    }

    fn dismiss(stream: UnixStream, words: &[u8]) -> io::Result<()> {
        stream.into_std()?.write_all(words)
    }
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Caller)> {
        let (stream, _) = self.accept().await?;
        Ok((stream, Caller::default()))
    }

    fn dismiss(stream: TcpStream, words: &[u8]) -> io::Result<()> {
        stream.into_std()?.write_all(words)
    }
}

/// Takes connections until `closing` is cancelled, then lets the answers on their way arrive.
///
/// # Errors
/// [`Panicked`], at once: the process should end.
pub async fn serve<L: Listen>(
    listener: &L,
    router: Router,
    room: Arc<Room>,
    closing: CancellationToken,
) -> Result<(), Panicked> {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = closing.cancelled() => break,
            Some(ended) = tasks.join_next() => watch(ended)?,
            accepted = listener.next() => match accepted {
                Err(error) => {
                    // Out of file handles, most likely: those who are connected are served on.
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(Duration::from_millis(100)).await;
                }
                Ok((stream, caller)) => match room.enter() {
                    // Without a task and without waiting: the answer fits into the socket's buffer.
                    None => {
                        if let Err(error) = L::dismiss(stream, FULL) {
                            tracing::debug!(%error, "a client was turned away without a word");
                        }
                    }
                    Some(place) => {
                        let conversation = converse(stream, caller, router.clone(), closing.clone());
                        tasks.spawn(async move {
                            conversation.await;
                            drop(place);
                        });
                    }
                },
            },
        }
    }
    let farewell = async {
        while let Some(ended) = tasks.join_next().await {
            watch(ended)?;
        }
        Ok(())
    };
    // Who has not finished by now is cut off; operations go on without their callers.
    timeout(FAREWELL, farewell).await.unwrap_or(Ok(()))
}

fn watch(ended: Result<(), JoinError>) -> Result<(), Panicked> {
    match ended {
        Err(error) if error.is_panic() => Err(Panicked(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

async fn converse<S>(stream: S, caller: Caller, router: Router, closing: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| -> Answering {
        request.extensions_mut().insert(caller.clone());
        Box::pin(router.call(request))
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut told = false;
    let served = loop {
        tokio::select! {
            served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break served,
            () = closing.cancelled(), if !told => {
                told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    match served {
        Ok(()) => {
            let stream = connection.into_parts().io.into_inner();
            if let Err(error) = linger(stream).await {
                tracing::debug!(%error, "a connection ended roughly");
            }
        }
        // A client that went away, or never spoke HTTP.
        Err(error) => tracing::debug!(%error, "a connection broke off"),
    }
}

/// Closes our half, and throws away what the client still has to say.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    stream.shutdown().await?;
    let drain = async {
        let mut waste = vec![0; 64 << 10];
        let mut left = LINGER_BYTES;
        loop {
            match stream.read(&mut waste).await? {
                0 => return Ok(()),
                read if read >= left => return Ok(()),
                read => left -= read,
            }
        }
    };
    timeout(LINGER, drain).await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Socket;

    #[tokio::test]
    async fn a_panic_in_a_connection_ends_the_serving() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let socket = Socket::bind(&path, 0o600).unwrap();
        let router = Router::new().route("/", axum::routing::get(async || -> &'static str { panic!("on purpose") }));
        let client = tokio::spawn(async move {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await
        });
        let serving = serve(&socket.listener, router, Room::new(10), CancellationToken::new());
        let ended = timeout(Duration::from_secs(10), serving).await.unwrap();
        assert!(matches!(ended, Err(Panicked(_))), "{ended:?}");
        drop(client.await.unwrap());
    }

    #[test]
    fn one_too_many_gets_a_whole_answer() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
        let said: lockstep_api::Problem = serde_json::from_str(body).unwrap();
        let detail = said.detail.clone();
        assert_eq!(said, lockstep_api::Problem::new(lockstep_model::Code::Overloaded, detail));
    }
}
