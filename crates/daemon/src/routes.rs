//! Which path leads where, and what all routes share.

mod barrier;
mod bulk;
mod count;
mod decisions;
mod entities;
mod events;
mod health;
mod later;
mod metrics;
mod openapi;
mod ops;
mod pause;
mod query;
mod search;
mod status;
mod tables;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::{Method, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use lockstep_engine::{Chance, Clock, Engine, Taken};
use lockstep_model::{Lsn, Operation, Refusal, State, parse_json};
use lockstep_wal::{Caller, Log};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::body::Bodies;
use crate::bounds::{Bounds, Room};
use crate::config::Setup;
use crate::failure::Failure;
use crate::metrics::Registry;

/// Bodies from this size on are parsed where they may take a while.
const LONG_PARSE_BYTES: usize = 256 << 10;

/// What routes work with.
pub struct App {
    pub(crate) engine: Engine,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Arc<dyn Chance>,
    pub(crate) bodies: Bodies,
    pub(crate) bounds: Arc<Bounds>,
    pub(crate) room: Arc<Room>,
    pub(crate) metrics: Arc<Registry>,
    pub(crate) started_us: u64,
    pub(crate) wal_dir: String,
    pub(crate) surreal: String,
    pub(crate) qdrant: String,
    pub(crate) queries: bool,
}

/// What is said of the daemon beside its parts.
#[derive(Debug, Clone)]
pub struct About {
    /// `limits.op_bytes`
    pub op_bytes: usize,
    /// `limits.connections`
    pub connections: usize,
    /// `limits.stall_s`
    pub stall: Duration,
    /// Where the log is, for the status.
    pub wal_dir: String,
    /// Where SurrealDB is, for the status.
    pub surreal: String,
    /// Where Qdrant is, for the status.
    pub qdrant: String,
    /// Whether `POST /v1/query` is answered: where SurrealDB is embedded, and can be asked by nobody else.
    pub queries: bool,
}

impl App {
    /// The routes' share of a daemon whose engine works with `parts`.
    #[must_use]
    pub fn new(engine: Engine, parts: &lockstep_engine::Parts, about: About) -> Self {
        let bounds = Arc::new(Bounds::new(about.op_bytes, about.stall));
        Self {
            engine,
            log: Arc::clone(&parts.log),
            clock: Arc::clone(&parts.clock),
            chance: Arc::clone(&parts.chance),
            bodies: Bodies::new(Arc::clone(&bounds)),
            bounds,
            room: Room::new(about.connections),
            metrics: crate::metrics::registry(),
            started_us: parts.clock.now_us(),
            wal_dir: about.wal_dir,
            surreal: about.surreal,
            qdrant: about.qdrant,
            queries: about.queries,
        }
    }

    /// From now on the limits of `setup` hold.
    pub(crate) fn reload(&self, setup: &Setup) {
        self.engine.reload(setup.engine.clone());
        self.bounds.set(setup.op_bytes, setup.engine.stall);
        self.room.set(setup.connections);
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
            // The log is closed.
            Err(_) if self.engine.has_stopped() => self.engine.last_known(lsn),
            Err(error) => {
                tracing::error!(%lsn, error = %lockstep_engine::Chain(&error), "an operation in the log cannot be read");
                State::Pending
            }
        }
    }

    /// The operation has ended, and not as committed.
    pub(crate) fn is_refused(&self, lsn: Lsn) -> bool {
        match self.reached(lsn) {
            State::RolledBack | State::Parked | State::Discarded => true,
            State::Pending
            | State::SurrealCompleted
            | State::QdrantCompleted
            | State::Committed
            | State::Compensating => false,
        }
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("bodies", &self.bodies).finish_non_exhaustive()
    }
}

/// One path and one method. `/openapi.json` describes each of them: a test compares the two.
pub(crate) struct Route {
    #[cfg_attr(not(test), expect(dead_code, reason = "the handler knows; the description is compared with it"))]
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    handler: MethodRouter<Arc<App>>,
}

fn reads<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<App>>) -> Route {
    Route { method: "get", path, handler: get(handler) }
}

fn writes<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<App>>) -> Route {
    Route { method: "post", path, handler: post(handler) }
}

/// All of them.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        writes("/v1/ops", ops::take),
        reads("/v1/ops", ops::list),
        reads("/v1/ops/{op_id}", ops::show),
        writes("/v1/ops/{op_id}/retry", decisions::retry),
        writes("/v1/ops/{op_id}/rollback", decisions::rollback),
        writes("/v1/ops/{op_id}/discard", decisions::discard),
        writes("/v1/bulk", bulk::take),
        writes("/v1/barrier", barrier::wait),
        reads("/v1/entities/{table}/{id}", entities::show),
        writes("/v1/search", search::search),
        writes("/v1/query", query::query),
        writes("/v1/count", count::count),
        reads("/v1/tables", tables::list),
        writes("/v1/verify", verify::verify),
        writes("/v1/pause", pause::pause),
        writes("/v1/resume", pause::resume),
        reads("/v1/status", status::show),
        reads("/v1/events", events::follow),
        reads("/healthz", health::alive),
        reads("/readyz", health::ready),
        reads("/metrics", metrics::show),
        reads("/openapi.json", openapi::show),
        writes("/v1/audit", later::not_built_yet),
        writes("/v1/repair", later::not_built_yet),
        writes("/v1/backfill", later::not_built_yet),
    ]
}

/// What is served on the socket.
pub fn router(app: Arc<App>) -> Router {
    assemble(app, routes())
}

/// What is served to those who only watch, over TCP.
pub(crate) fn observer(app: Arc<App>) -> Router {
    let all = routes().into_iter();
    assemble(app, all.filter(|route| matches!(route.path, "/metrics" | "/healthz" | "/readyz")).collect())
}

fn assemble(app: Arc<App>, routes: Vec<Route>) -> Router {
    let all = routes.into_iter().fold(Router::new(), |router, route| {
        // What is asked of `/v1` is not to be misread; probes may say what they like.
        let strict = route.path.starts_with("/v1/") && !TAKE_PARAMETERS.contains(&route.path);
        let handler = if strict { route.handler.layer(from_fn(without_parameters)) } else { route.handler };
        router.route(route.path, handler)
    });
    all.fallback(no_such_path).method_not_allowed_fallback(no_such_method).with_state(app)
}

/// These judge their parameters themselves.
const TAKE_PARAMETERS: [&str; 4] = ["/v1/ops", "/v1/bulk", "/v1/barrier", "/v1/events"];

async fn without_parameters(request: Request, next: Next) -> Result<Response, Failure> {
    match request.uri().query().filter(|query| !query.is_empty()) {
        Some(query) => Err(Failure::malformed(format!(
            "{} takes no parameters: ?{}",
            shortened(request.uri().path()),
            shortened(query)
        ))),
        None => Ok(next.run(request).await),
    }
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

/// The name of a table among `fields`.
pub(crate) fn table(fields: &mut Map<String, Value>) -> Result<lockstep_model::Table, Failure> {
    match fields.remove("table") {
        Some(Value::String(name)) => {
            lockstep_model::Table::new(&name).map_err(|error| Failure::malformed(error.to_string()))
        }
        Some(_) | None => Err(Failure::malformed("table is missing, or no text")),
    }
}
