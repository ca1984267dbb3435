//! HTTP by hand, for what a well-behaved client cannot send.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::wait::PATIENCE;

/// An answer, as it came.
#[derive(Debug)]
pub struct RawAnswer {
    /// Its status.
    pub status: u16,
    /// Its head, in lower case.
    pub head: String,
    /// Its body.
    pub body: Vec<u8>,
}

impl RawAnswer {
    /// Its body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Posts `body` and reads the answer. A daemon that answers before it has read all of it does well.
///
/// # Errors
/// If there is no answer within a minute.
pub async fn post(socket: &Path, path: &str, body: &[u8]) -> Result<RawAnswer> {
    let mut stream = UnixStream::connect(socket).await.context("connecting")?;
    let (mut reader, mut writer) = stream.split();
    let head = request_head(path, body.len());
    let send = async {
        // An early answer closes the connection: what is left to send then has nowhere to go.
        let _ = writer.write_all(head.as_bytes()).await;
        let _ = writer.write_all(body).await;
        let _ = writer.flush().await;
    };
    let mut bytes = Vec::new();
    let receive = async { reader.read_to_end(&mut bytes).await };
    let (_, received) = timeout(PATIENCE, async { tokio::join!(send, receive) }).await.context("no answer")?;
    if bytes.is_empty() {
        received.context("reading the answer")?;
    }
    parse(&bytes)
}

/// The head of a request that promises `length` bytes.
#[must_use]
pub fn request_head(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )
}

fn parse(bytes: &[u8]) -> Result<RawAnswer> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        bail!("no head in an answer of {} bytes", bytes.len());
    };
    let (head, body) = bytes.split_at(end);
    let head = String::from_utf8_lossy(head).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).context("no status in the answer")?;
    Ok(RawAnswer { status, head, body: body.get(4..).unwrap_or_default().to_vec() })
}
