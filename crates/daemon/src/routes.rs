//! Which path leads where, and what all routes share.

mod barrier;
mod bulk;
mod entities;
mod health;
mod later;
mod ops;
mod pause;
mod query;
mod search;
mod status;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use lockstep_engine::{Chance, Clock, Engine, Taken};
use lockstep_model::{Lsn, Operation, Refusal, State, parse_json};
use lockstep_wal::{Caller, Log};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::body::Bodies;
use crate::failure::Failure;

/// Bodies from this size on are parsed where they may take a while.
const LONG_PARSE_BYTES: usize = 256 << 10;

/// What routes work with.
pub struct App {
    pub(crate) engine: Engine,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Arc<dyn Chance>,
    pub(crate) bodies: Bodies,
    pub(crate) stall: Duration,
    pub(crate) started_us: u64,
    pub(crate) surreal: String,
    pub(crate) qdrant: String,
}

/// What is said of the daemon beside its parts.
#[derive(Debug, Clone)]
pub struct About {
    /// `limits.op_bytes`
    pub op_bytes: usize,
    /// `limits.stall_s`
    pub stall: Duration,
    /// Where SurrealDB is, for the status.
    pub surreal: String,
    /// Where Qdrant is, for the status.
    pub qdrant: String,
}

impl App {
    /// The routes' share of a daemon whose engine works with `parts`.
    #[must_use]
    pub fn new(engine: Engine, parts: &lockstep_engine::Parts, about: About) -> Self {
        Self {
            engine,
            log: Arc::clone(&parts.log),
            clock: Arc::clone(&parts.clock),
            chance: Arc::clone(&parts.chance),
            bodies: Bodies::new(about.op_bytes),
            stall: about.stall,
            started_us: parts.clock.now_us(),
            surreal: about.surreal,
            qdrant: about.qdrant,
        }
    }

    /// Reads an operation as it was sent.
    pub(crate) fn parse(&self, body: &[u8], name: Option<&str>) -> Result<Operation, Refusal> {
        let parse = || Operation::parse(body, name, &mut || self.chance.uuid());
        if body.len() < LONG_PARSE_BYTES { parse() } else { tokio::task::block_in_place(parse) }
    }

    /// Gives an operation its place, and tells whether it had one before.
    pub(crate) fn take(&self, op: Operation, caller: Caller) -> Result<(Taken, bool), Refusal> {
        let named = op.idempotency.is_some();
        let last = if named { self.log.positions().appended } else { Lsn(u64::MAX) };
        let taken = self.engine.take(op, caller)?;
        let again = named && taken.lsn <= last;
        Ok((taken, again))
    }

    /// The state that an operation has reached. It was logged, so `pending` is the least that is true.
    pub(crate) fn reached(&self, lsn: Lsn) -> State {
        match self.engine.op_at(lsn) {
            Ok(view) => view.map_or(State::Pending, |view| view.state()),
            Err(error) => {
                tracing::error!(%lsn, error = %lockstep_engine::Chain(&error), "an operation in the log cannot be read");
                State::Pending
            }
        }
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("bodies", &self.bodies).finish_non_exhaustive()
    }
}

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/ops", post(ops::take).get(ops::list))
        .route("/v1/ops/{op_id}", get(ops::show))
        .route("/v1/bulk", post(bulk::take))
        .route("/v1/barrier", post(barrier::wait))
        .route("/v1/entities/{table}/{id}", get(entities::show))
        .route("/v1/search", post(search::search))
        .route("/v1/query", post(query::query))
        .route("/v1/pause", post(pause::pause))
        .route("/v1/resume", post(pause::resume))
        .route("/v1/status", get(status::show))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/v1/ops/{op_id}/retry", post(later::not_built_yet))
        .route("/v1/ops/{op_id}/rollback", post(later::not_built_yet))
        .route("/v1/ops/{op_id}/discard", post(later::not_built_yet))
        .route("/v1/tables", any(later::not_built_yet))
        .route("/v1/events", any(later::not_built_yet))
        .route("/v1/audit", any(later::not_built_yet))
        .route("/v1/repair", any(later::not_built_yet))
        .route("/v1/backfill", any(later::not_built_yet))
        .route("/metrics", any(later::not_built_yet))
        .route("/openapi.json", any(later::not_built_yet))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(app)
}

async fn no_such_path(uri: Uri) -> Failure {
    Failure::not_found(format!("there is no path {}", shortened(uri.path())))
}

async fn no_such_method(method: Method, uri: Uri) -> Failure {
    Failure::method_not_allowed(format!("{} does not take {method}", shortened(uri.path())))
}

/// What a caller sent, short enough to be sent back.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(200).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Who asks, as the connection knows.
pub(crate) fn caller(request: &Request) -> Caller {
    request.extensions().get::<Caller>().cloned().unwrap_or_default()
}

/// An answer in JSON.
pub(crate) fn json(status: u16, body: &impl Serialize) -> Response {
    let status = axum::http::StatusCode::from_u16(status).unwrap_or(axum::http::StatusCode::INTERNAL_SERVER_ERROR);
    (status, axum::Json(body)).into_response()
}

/// The members of a JSON object, none of which may be unknown: a misspelt one would be lost in silence.
pub(crate) fn members(body: &[u8], known: &[&str]) -> Result<Map<String, Value>, Failure> {
    let value = parse_json(body).map_err(|error| Failure::malformed(lockstep_engine::Chain(&error).to_string()))?;
    let Value::Object(members) = value else {
        return Err(Failure::malformed("the body is not a JSON object"));
    };
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Failure::malformed(format!(
            "there is no field {:?} here; there is {}",
            shortened(name),
            known.join(", ")
        ))),
        None => Ok(members),
    }
}
