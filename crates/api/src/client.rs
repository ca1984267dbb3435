//! The client: one method for each route.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::http::request::Builder;
use hyper::http::response::Parts;
use hyper::{Method, Request};
use lockstep_model::{Key, OpId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use crate::connection::{Body, Connection, connect};
use crate::reader::{read_answer, read_json, read_problem};
use crate::{
    Ack, Answer, BarrierAnswer, BulkAnswers, CountAnswer, CountRequest, DecisionAnswer, DecisionRequest, Entity, Error,
    Events, OpAnswer, OpOptions, OpView, OpsFilter, OpsPage, PauseRequest, QueryAnswer, QueryRequest, ReadyAnswer,
    SearchAnswer, SearchRequest, StatusAnswer, TablesAnswer, VerifyAnswer,
};

/// How long the daemon takes at most if a request names no timeout (contract).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// How much longer than that the client waits before it gives the daemon up.
const PATIENCE: Duration = Duration::from_secs(90);
/// Connections kept for the next request: as many as this program had in use at once, within reason.
const MAX_IDLE: usize = 16;
/// What stays as it is in a path or a parameter (RFC 3986, unreserved).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Talks to one daemon. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Client {
    /// A client of the daemon at `socket`. Nothing is connected yet.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { shared: Arc::new(Shared { socket: socket.into(), idle: Mutex::default() }) }
    }

    /// The daemon's socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.shared.socket
    }

    /// Sends one operation: its JSON as the daemon shall read it. The answer is not `committed` when it was
    /// not to be waited for, or took longer than the timeout.
    ///
    /// Without an idempotency key, an operation whose answer was lost may have been carried out.
    pub async fn op(&self, body: impl Into<Bytes>, options: &OpOptions) -> Result<Answer<OpAnswer>, Error> {
        let mut parameters = vec![("ack", options.ack.as_str().to_owned())];
        parameters.extend(options.timeout.map(timeout_parameter));
        let mut request = post(&format!("/v1/ops{}", joined(&parameters)));
        if let Some(key) = &options.idempotency_key {
            request = request.header("idempotency-key", key.as_bytes());
        }
        self.ask(request, body.into(), options.timeout).await
    }

    /// One operation, with its history.
    pub async fn op_view(&self, op_id: OpId) -> Result<Answer<OpView>, Error> {
        self.ask(get(&format!("/v1/ops/{op_id}")), Bytes::new(), None).await
    }

    /// A page of operations, newest first.
    pub async fn ops(&self, filter: &OpsFilter) -> Result<Answer<OpsPage>, Error> {
        let mut parameters = Vec::new();
        parameters.extend(filter.state.map(|state| ("state", state.to_string())));
        parameters.extend(filter.key.clone().map(|key| ("key", key)));
        parameters.extend(filter.limit.map(|limit| ("limit", limit.to_string())));
        parameters.extend(filter.cursor.clone().map(|cursor| ("cursor", cursor)));
        self.ask(get(&format!("/v1/ops{}", joined(&parameters))), Bytes::new(), None).await
    }

    /// What both stores hold under `key`, also if that is nothing.
    pub async fn entity(&self, key: &str) -> Result<Answer<Entity>, Error> {
        let key: Key = key.parse()?;
        let path = format!("/v1/entities/{}/{}", key.table, escaped(&key.id.to_string()));
        self.ask(get(&path), Bytes::new(), None).await
    }

    /// The nearest neighbours of a vector.
    pub async fn search(&self, request: &SearchRequest) -> Result<Answer<SearchAnswer>, Error> {
        self.ask(post("/v1/search"), json(request)?, None).await
    }

    /// Runs SurrealQL that only reads.
    pub async fn query(&self, request: &QueryRequest) -> Result<Answer<QueryAnswer>, Error> {
        self.ask(post("/v1/query"), json(request)?, None).await
    }

    /// Waits until everything that was logged before has ended.
    pub async fn barrier(&self, timeout: Option<Duration>) -> Result<Answer<BarrierAnswer>, Error> {
        let parameters: Vec<_> = timeout.map(timeout_parameter).into_iter().collect();
        self.ask(post(&format!("/v1/barrier{}", joined(&parameters))), Bytes::new(), timeout).await
    }

    /// Stops the work of a store or a table; logging goes on.
    pub async fn pause(&self, request: &PauseRequest) -> Result<Answer<Value>, Error> {
        self.ask(post("/v1/pause"), json(request)?, None).await
    }

    /// Lets it go on.
    pub async fn resume(&self, request: &PauseRequest) -> Result<Answer<Value>, Error> {
        self.ask(post("/v1/resume"), json(request)?, None).await
    }

    /// Logs the content of a parked operation once more, as a new operation; the old one ends `discarded`.
    pub async fn retry(&self, op_id: OpId, request: &DecisionRequest) -> Result<Answer<DecisionAnswer>, Error> {
        self.ask(post(&format!("/v1/ops/{op_id}/retry")), json(request)?, None).await
    }

    /// Takes back what a parked operation has done.
    pub async fn rollback(&self, op_id: OpId, request: &DecisionRequest) -> Result<Answer<DecisionAnswer>, Error> {
        self.ask(post(&format!("/v1/ops/{op_id}/rollback")), json(request)?, None).await
    }

    /// Leaves what a parked operation has done as it is, and is done with it.
    pub async fn discard(&self, op_id: OpId, request: &DecisionRequest) -> Result<Answer<DecisionAnswer>, Error> {
        self.ask(post(&format!("/v1/ops/{op_id}/discard")), json(request)?, None).await
    }

    /// The tables that the daemon knows.
    pub async fn tables(&self) -> Result<Answer<TablesAnswer>, Error> {
        self.ask(get("/v1/tables"), Bytes::new(), None).await
    }

    /// How much a `clear` would remove.
    pub async fn count(&self, request: &CountRequest) -> Result<Answer<CountAnswer>, Error> {
        self.ask(post("/v1/count"), json(request)?, None).await
    }

    /// Begins to look whether the stores still hold what they were given.
    pub async fn verify(&self) -> Result<Answer<VerifyAnswer>, Error> {
        self.ask(post("/v1/verify"), Bytes::new(), None).await
    }

    /// Asks for a job over a table, or over all of them: `audit`, `repair` or `backfill`. No daemon has these yet: the answer is
    /// `not_implemented`.
    pub async fn job(&self, name: &str, request: &Value) -> Result<Answer<Value>, Error> {
        self.ask(post(&format!("/v1/{name}")), json(request)?, None).await
    }

    /// What happens from now on, or what has happened after the event whose id `after` is.
    pub async fn events(&self, after: Option<&str>) -> Result<Events, Error> {
        let mut connection = connect(self.socket()).await?;
        let mut request = get("/v1/events").header("accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
        let response = connection.send_request(request.body(body)?);
        let silent = |_| Error::NoAnswer { socket: self.socket().to_owned(), after: PATIENCE };
        let lost = |source| Error::lost(self.socket(), source);
        let response = tokio::time::timeout(PATIENCE, response).await.map_err(silent)?.map_err(lost)?;
        let (parts, body) = response.into_parts();
        if parts.status.is_success() {
            return Ok(Events::new(self.socket().to_owned(), connection, body, after.map(str::to_owned)));
        }
        let body = tokio::time::timeout(PATIENCE, body.collect()).await.map_err(silent)?.map_err(lost)?;
        Err(read_problem(&parts, &body.to_bytes()))
    }

    /// The daemon at a glance.
    pub async fn status(&self) -> Result<Answer<StatusAnswer>, Error> {
        self.ask(get("/v1/status"), Bytes::new(), None).await
    }

    /// Succeeds while the daemon can answer.
    pub async fn healthz(&self) -> Result<(), Error> {
        let (parts, body) = self.send(get("/healthz"), Bytes::new(), None).await?;
        if parts.status.is_success() { Ok(()) } else { Err(read_problem(&parts, &body)) }
    }

    /// Whether the daemon takes operations and its work moves, and why not.
    pub async fn readyz(&self) -> Result<ReadyAnswer, Error> {
        let (parts, body) = self.send(get("/readyz"), Bytes::new(), None).await?;
        let said: ReadyAnswer = read_json(&body).unwrap_or_default();
        if parts.status.is_success() {
            return Ok(ReadyAnswer { ready: true, ..said });
        }
        if said.reasons.is_empty() { Err(read_problem(&parts, &body)) } else { Ok(said) }
    }

    /// Sends many operations, one a line, read from `input` only as fast as the daemon takes them.
    pub async fn bulk(&self, input: impl AsyncRead + Send + 'static, ack: Ack) -> Result<BulkAnswers, Error> {
        self.bulk_stream(ReaderStream::new(input), ack).await
    }

    /// Sends many operations from a stream of bytes, which need not be divided at line breaks. It is asked
    /// for more only as fast as the daemon takes them; an error in it ends the request.
    pub async fn bulk_stream<S>(&self, input: S, ack: Ack) -> Result<BulkAnswers, Error>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let connection = connect(self.socket()).await?;
        let body = StreamBody::new(input.map_ok(Frame::data)).boxed_unsync();
        let path = format!("/v1/bulk{}", joined(&[("ack", ack.as_str().to_owned())]));
        let request = builder(Method::POST, &path).header("content-type", "application/x-ndjson").body(body)?;
        Ok(BulkAnswers::new(self.socket().to_owned(), connection, request))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: Builder,
        body: Bytes,
        timeout: Option<Duration>,
    ) -> Result<Answer<T>, Error> {
        let (parts, json) = self.send(request, body, timeout).await?;
        read_answer(&parts, json)
    }

    async fn send(&self, request: Builder, body: Bytes, timeout: Option<Duration>) -> Result<(Parts, Bytes), Error> {
        let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
        let after = timeout.unwrap_or(DEFAULT_TIMEOUT).saturating_add(PATIENCE);
        let exchange = self.exchange(request.body(body)?);
        tokio::time::timeout(after, exchange)
            .await
            .unwrap_or_else(|_| Err(Error::NoAnswer { socket: self.socket().to_owned(), after }))
    }

    /// A kept connection may have been closed by a daemon that was restarted. A request that it did not
    /// take any more comes back whole and is sent on another; one that it did take is never sent twice.
    async fn exchange(&self, mut request: Request<Body>) -> Result<(Parts, Bytes), Error> {
        loop {
            let kept = self.kept_connection();
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => connect(self.socket()).await?,
            };
            let response = match connection.try_send_request(request).await {
                Ok(response) => response,
                Err(mut error) => match error.take_message() {
                    Some(unsent) if was_kept => {
                        request = unsent;
                        continue;
                    }
                    Some(_) | None => return Err(Error::lost(self.socket(), error.into_error())),
                },
            };
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map_err(|source| Error::lost(self.socket(), source))?.to_bytes();
            self.keep(connection);
            return Ok((parts, body));
        }
    }

    fn kept_connection(&self) -> Option<Connection> {
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !connection.is_closed() && idle.len() < MAX_IDLE {
            idle.push(connection);
        }
    }
}

fn builder(method: Method, path: &str) -> Builder {
    let agent = concat!("lockstep/", env!("CARGO_PKG_VERSION"));
    Request::builder().method(method).uri(path).header("host", "localhost").header("user-agent", agent)
}

fn get(path: &str) -> Builder {
    builder(Method::GET, path)
}

fn post(path: &str) -> Builder {
    builder(Method::POST, path).header("content-type", "application/json")
}

fn json(value: &impl Serialize) -> Result<Bytes, Error> {
    let written = serde_json::to_vec(value).map_err(|source| Error::Protocol {
        what: "the request cannot be written as JSON".to_owned(),
        source: Some(source),
    })?;
    Ok(written.into())
}

fn timeout_parameter(timeout: Duration) -> (&'static str, String) {
    ("timeout", format!("{}ms", timeout.as_millis()))
}

fn joined(parameters: &[(&str, String)]) -> String {
    let pairs: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}
