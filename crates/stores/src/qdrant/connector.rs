//! Connections to the server, counted: one that has served and broke may have lost what was acknowledged over it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;

/// Where Qdrant listens for gRPC unless it is told otherwise.
const PORT: u16 = 6334;

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) connections: Arc<Connections>,
    pub(super) timeout: Duration,
}

/// What became of the connections. A connection counts once a call over it was answered: one that never got that far, as with a wrong
/// certificate, has acknowledged nothing.
#[derive(Debug, Default)]
pub(super) struct Connections {
    current: Mutex<Option<Arc<Served>>>,
    served: AtomicU64,
    lost: AtomicU64,
}

type Served = AtomicBool;

impl Connections {
    /// A call was answered.
    pub(super) fn answered(&self) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|served| !served.swap(true, Ordering::AcqRel)) {
            self.served.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// How many connections broke that had served, or were followed by another that did. Never falls.
    pub(super) fn losses(&self) -> u64 {
        let followed = self.served.load(Ordering::Acquire).saturating_sub(1);
        followed.max(self.lost.load(Ordering::Acquire))
    }

    fn made(self: &Arc<Self>, stream: TcpStream) -> Counted {
        let served = Arc::new(Served::new(false));
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&served));
        Counted { stream, served, connections: Arc::clone(self) }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Counted>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { connections, timeout } = self.clone();
        Box::pin(async move {
            // An IPv6 address stands in brackets in a URI only.
            let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
            let connecting = TcpStream::connect((host, uri.port_u16().unwrap_or(PORT)));
            let stream = tokio::time::timeout(timeout, connecting).await.map_err(|_| {
                io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {} ms", timeout.as_millis()))
            })??;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(connections.made(stream)))
        })
    }
}

/// A connection that says when it has gone.
pub(super) struct Counted {
    stream: TcpStream,
    served: Arc<Served>,
    connections: Arc<Connections>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.served.load(Ordering::Acquire) {
            self.connections.lost.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
