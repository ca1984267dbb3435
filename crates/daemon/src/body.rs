//! Request bodies: read whole, within bounds, and not for ever.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use bytes::Bytes;
use http_body_util::BodyExt;
use lockstep_model::Code;
use tokio::time::timeout;

use crate::bounds::Bounds;
use crate::failure::Failure;
use crate::memory::{Memory, Share};

/// All bodies of all connections together take at most so much.
const ALL_BODIES_BYTES: usize = 256 << 20;
/// A body that does not go on for so long is given up.
const IDLE: Duration = Duration::from_secs(30);

/// Reads bodies.
#[derive(Debug, Clone)]
pub(crate) struct Bodies {
    /// How large one may be.
    pub(crate) bounds: Arc<Bounds>,
    /// How long one may stand still.
    pub(crate) idle: Duration,
    /// What all of them take.
    pub(crate) memory: Memory,
}

/// A body, and its share of the memory.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Vec<u8>,
    pub(crate) share: Share,
}

impl Bodies {
    pub(crate) fn new(bounds: Arc<Bounds>) -> Self {
        Self { bounds, idle: IDLE, memory: Memory::new(ALL_BODIES_BYTES) }
    }

    /// Reads a body to its end. One that announces too much is not read at all; memory is taken as bytes come, so that
    /// what was only announced costs nobody else anything.
    pub(crate) async fn read(&self, request: Request) -> Result<Held, Failure> {
        let (parts, mut body) = request.into_parts();
        let max_bytes = self.bounds.op_bytes();
        if announced(&parts.headers).is_some_and(|bytes| bytes > max_bytes as u64) {
            return Err(too_large(max_bytes));
        }
        let mut held = Held { bytes: Vec::new(), share: Share::default() };
        while let Some(chunk) = self.chunk(&mut body).await? {
            let bytes = held.bytes.len() + chunk.len();
            if bytes > max_bytes {
                return Err(too_large(max_bytes));
            }
            if !self.memory.try_grow(&mut held.share, bytes) {
                return Err(Failure::new(Code::Overloaded, "too many bytes of requests are in memory"));
            }
            held.bytes.extend_from_slice(&chunk);
        }
        Ok(held)
    }

    async fn chunk(&self, body: &mut Body) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = timeout(self.idle, body.frame()).await.map_err(|_| {
                Failure::malformed(format!("the body has not gone on for {} s", self.idle.as_secs_f32()))
            })?;
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    // Trailers say nothing here.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => return Err(Failure::malformed(format!("the body broke off: {error}"))),
            }
        }
    }
}

fn too_large(max_bytes: usize) -> Failure {
    Failure::new(Code::TooLarge, format!("the request has over {max_bytes} bytes (limits.op_bytes)"))
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
