//! HTTP/1.1 on one connection, one call after the other. Every request says namespace, database and who asks.
//!
//! One connection and not a pool: when it breaks off, the server may have been started anew, and that must be noticed.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use surrealdb::types as db;
use surrealdb_rpc::DbResponse;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

use super::stream::{Trust, connect, unreachable};
use super::{Broken, named, wire};
use crate::StoreError;
use crate::surreal::remote::{Address, SurrealRemote};

/// The longest call: what the server takes unless it is told otherwise.
pub(super) const MOST_SENT_BYTES: usize = 4 << 20;

/// The longest answer that is taken.
const MOST_READ_BYTES: usize = 256 << 20;

/// A connection.
#[derive(Debug)]
pub(in crate::surreal) struct Http {
    sender: Mutex<SendRequest<Full<Bytes>>>,
    headers: HeaderMap,
    path: String,
    task: AbortHandle,
    timeout: Duration,
}

impl Drop for Http {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Http {
    /// Connects, without signing in. The caller bounds the time.
    pub(super) async fn connect(remote: &SurrealRemote, address: &Address, trust: &Trust) -> Result<Self, StoreError> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, named(&address.authority())?);
        headers.insert(CONTENT_TYPE, named(wire::CONTENT_TYPE)?);
        headers.insert(ACCEPT, named(wire::CONTENT_TYPE)?);
        headers.insert("surreal-ns", named(&remote.namespace)?);
        headers.insert("surreal-db", named(&remote.database)?);
        let stream = connect(address, trust).await?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(address, &error))?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(store = crate::surreal::STORE, %error, "a connection ended");
            }
        })
        .abort_handle();
        let path = format!("{}rpc", address.path);
        Ok(Self { sender: Mutex::new(sender), headers, path, task, timeout: remote.timeout })
    }

    /// From now on every request carries the token.
    pub(super) fn carry_token(&mut self, token: &str) -> Result<(), StoreError> {
        let mut value = named(&format!("Bearer {token}"))?;
        value.set_sensitive(true);
        self.headers.insert(AUTHORIZATION, value);
        Ok(())
    }

    /// Sends one request and waits for its answer.
    pub(super) async fn call(&self, method: &str, params: Vec<db::Value>) -> Result<DbResponse, Broken> {
        let bytes = wire::request(1, method, params)?;
        if bytes.len() > MOST_SENT_BYTES {
            let words = format!(
                "{} bytes are more than a server takes in one call over http ({MOST_SENT_BYTES}): use ws or wss",
                bytes.len()
            );
            return Err(Broken::TooLarge(words));
        }
        let mut request = Request::new(Full::new(Bytes::from(bytes)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.parse().map_err(|error| Broken::NotSent(format!("{}: {error}", self.path)))?;
        *request.headers_mut() = self.headers.clone();
        // Waiting for its turn is not the call's own time: nothing has been sent.
        let mut sender = self.sender.lock().await;
        let gone = || Broken::NotSent("the connection to the server is gone".to_owned());
        let exchange = async {
            sender.ready().await.map_err(|_| gone())?;
            let sent = sender.send_request(request).await;
            let answer = sent.map_err(|error| if error.is_canceled() { gone() } else { lost(&error) })?;
            read(answer).await
        };
        let outcome = tokio::time::timeout(self.timeout, exchange).await;
        if !matches!(outcome, Ok(Ok(_) | Err(Broken::Answered(_)))) {
            // What is left of an answer must not be taken for the next one.
            self.close();
        }
        outcome.unwrap_or_else(|_| Err(Broken::Lost(format!("no answer within {:?}", self.timeout))))
    }

    pub(super) fn is_open(&self) -> bool {
        !self.task.is_finished()
    }

    /// Drops the connection at once.
    pub(super) fn close(&self) {
        self.task.abort();
    }
}

async fn read(answer: Response<hyper::body::Incoming>) -> Result<DbResponse, Broken> {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MOST_READ_BYTES).collect().await;
    let body = body.map_err(|error| lost(&*error))?.to_bytes();
    if status.is_success() {
        return wire::response(&body);
    }
    let words: String = String::from_utf8_lossy(&body).chars().take(200).collect();
    let words = format!("the server answers with the status {status}: {words}");
    Err(match status {
        StatusCode::PAYLOAD_TOO_LARGE => Broken::TooLarge(words),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Broken::Answered(surrealdb::Error::not_allowed(words, None))
        }
        StatusCode::TOO_MANY_REQUESTS => Broken::NotSent(words),
        _ => Broken::Lost(words),
    })
}

fn lost(error: &dyn std::fmt::Display) -> Broken {
    Broken::Lost(format!("the connection to the server broke off: {error}"))
}
