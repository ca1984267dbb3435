//! The body of a bulk request, chunk by chunk.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::timeout;

/// What comes next.
pub(super) enum Chunk {
    /// These bytes.
    Bytes(Bytes),
    /// The input has ended.
    End,
    /// It broke off: the client is gone, or does not speak HTTP.
    Broken,
    /// Nothing came for too long in the middle of a line.
    Stuck,
}

/// The body.
pub(crate) struct Input {
    body: Body,
    /// What came while leave to send was given.
    early: Option<Chunk>,
    idle: Duration,
}

impl Input {
    pub(crate) fn new(body: Body, idle: Duration) -> Self {
        Self { body, early: None, idle }
    }

    /// Asks for the body without waiting for it.
    pub(crate) async fn ask(&mut self) {
        let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut self.body).poll_frame(cx))).await;
        if let Poll::Ready(frame) = first {
            self.early = Some(match frame {
                Some(Ok(frame)) => Chunk::Bytes(frame.into_data().unwrap_or_default()),
                Some(Err(_)) => Chunk::Broken,
                None => Chunk::End,
            });
        }
        // The connection gets a turn: it hears that it was asked.
        tokio::task::yield_now().await;
    }

    /// The next chunk. Between lines a client may take its time; inside of one it may not.
    pub(super) async fn next(&mut self, within_a_line: bool) -> Chunk {
        if let Some(early) = self.early.take() {
            return early;
        }
        loop {
            let frame = if within_a_line {
                match timeout(self.idle, self.body.frame()).await {
                    Ok(frame) => frame,
                    Err(_) => return Chunk::Stuck,
                }
            } else {
                self.body.frame().await
            };
            match frame {
                None => return Chunk::End,
                Some(Err(error)) => {
                    tracing::debug!(%error, "a bulk request broke off");
                    return Chunk::Broken;
                }
                Some(Ok(frame)) => {
                    // Trailers say nothing here.
                    if let Ok(bytes) = frame.into_data() {
                        return Chunk::Bytes(bytes);
                    }
                }
            }
        }
    }
}
