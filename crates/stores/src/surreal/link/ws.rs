//! A WebSocket: calls overlap on it, each with its number.
//!
//! One task owns the socket. When the task is gone, so is the connection, and every call that waits is told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use surrealdb::types as db;
use surrealdb_rpc::DbResponse;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::stream::{Stream, Trust, connect, unreachable};
use super::{Broken, named, wire};
use crate::StoreError;
use crate::surreal::remote::{Address, SurrealRemote};

/// The longest call. The server takes 128 MiB.
pub(super) const MOST_SENT_BYTES: usize = 64 << 20;

/// The longest answer that is taken.
const MOST_READ_BYTES: usize = 256 << 20;

/// Messages on their way to the socket. There is one writer and a few readers.
const QUEUE: usize = 16;

/// A connection.
#[derive(Debug)]
pub(in crate::surreal) struct Ws {
    queue: mpsc::Sender<Vec<u8>>,
    waiting: Arc<Waiting>,
    next: AtomicI64,
    task: AbortHandle,
    timeout: Duration,
}

impl Drop for Ws {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Ws {
    /// Connects, without signing in. The caller bounds the time.
    pub(super) async fn connect(remote: &SurrealRemote, address: &Address, trust: &Trust) -> Result<Self, StoreError> {
        let scheme = if address.tls { "wss" } else { "ws" };
        let url = format!("{scheme}://{}{}rpc", address.authority(), address.path);
        let mut request = url.into_client_request().map_err(|error| unreachable(address, &error))?;
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", named(wire::SUBPROTOCOL)?);
        headers.insert("surreal-ns", named(&remote.namespace)?);
        headers.insert("surreal-db", named(&remote.database)?);
        let stream = connect(address, trust).await?;
        let config =
            WebSocketConfig::default().max_message_size(Some(MOST_READ_BYTES)).max_frame_size(Some(MOST_READ_BYTES));
        let (socket, _) = Box::pin(tokio_tungstenite::client_async_with_config(request, stream, Some(config)))
            .await
            .map_err(|error| unreachable(address, &error))?;
        let waiting = Arc::new(Waiting::default());
        let (queue, messages) = mpsc::channel(QUEUE);
        let task = tokio::spawn(carry(socket, messages, Arc::clone(&waiting))).abort_handle();
        Ok(Self { queue, waiting, next: AtomicI64::new(1), task, timeout: remote.timeout })
    }

    /// Sends one request and waits for its answer.
    pub(super) async fn call(&self, method: &str, params: Vec<db::Value>) -> Result<DbResponse, Broken> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let bytes = wire::request(id, method, params)?;
        if bytes.len() > MOST_SENT_BYTES {
            return Err(Broken::TooLarge(format!("{} bytes are more than one call may have over ws", bytes.len())));
        }
        let Some(answer) = self.waiting.expect(id) else {
            return Err(Broken::NotSent("the connection to the server is gone".to_owned()));
        };
        let exchange = async {
            let gone = || Broken::Lost("the connection to the server broke off".to_owned());
            self.queue.send(bytes).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        };
        let outcome = tokio::time::timeout(self.timeout, exchange).await;
        self.waiting.forget(id);
        outcome.unwrap_or_else(|_| Err(Broken::Lost(format!("no answer within {:?}", self.timeout))))
    }

    pub(super) fn is_open(&self) -> bool {
        self.waiting.is_open()
    }

    /// Drops the connection at once.
    pub(super) fn close(&self) {
        self.waiting.close();
        self.task.abort();
    }
}

type Answer = oneshot::Sender<Result<DbResponse, Broken>>;

/// Calls without an answer, by number; none when the connection is gone.
#[derive(Debug)]
struct Waiting(Mutex<Option<HashMap<i64, Answer>>>);

impl Default for Waiting {
    fn default() -> Self {
        Self(Mutex::new(Some(HashMap::new())))
    }
}

impl Waiting {
    fn expect(&self, id: i64) -> Option<oneshot::Receiver<Result<DbResponse, Broken>>> {
        let (sender, receiver) = oneshot::channel();
        self.calls().as_mut()?.insert(id, sender);
        Some(receiver)
    }

    fn forget(&self, id: i64) {
        if let Some(calls) = self.calls().as_mut() {
            calls.remove(&id);
        }
    }

    fn answer(&self, response: DbResponse) {
        let call = wire::number(&response).and_then(|id| self.calls().as_mut()?.remove(&id));
        if let Some(call) = call {
            // The caller may have gone.
            drop(call.send(Ok(response)));
        }
    }

    fn is_open(&self) -> bool {
        self.calls().is_some()
    }

    fn close(&self) {
        self.calls().take();
    }

    fn calls(&self) -> std::sync::MutexGuard<'_, Option<HashMap<i64, Answer>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries messages both ways until one way ends.
async fn carry(socket: WebSocketStream<Box<dyn Stream>>, mut messages: mpsc::Receiver<Vec<u8>>, waiting: Arc<Waiting>) {
    let (mut sink, mut stream) = socket.split();
    let write = async {
        while let Some(bytes) = messages.recv().await {
            if let Err(error) = sink.send(Message::Binary(bytes.into())).await {
                return error.to_string();
            }
        }
        "nobody uses it any more".to_owned()
    };
    let read = async {
        loop {
            match stream.next().await {
                Some(Ok(Message::Binary(bytes))) => match wire::response(&bytes) {
                    Ok(response) => waiting.answer(response),
                    Err(broken) => return format!("{broken:?}"),
                },
                Some(Ok(
                    Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_),
                )) => {}
                Some(Err(error)) => return error.to_string(),
                None => return "the server has closed it".to_owned(),
            }
        }
    };
    let why = tokio::select! {
        why = write => why,
        why = read => why,
    };
    tracing::debug!(store = crate::surreal::STORE, why, "a connection ended");
    waiting.close();
}
