//! `GET /v1/events`: what happens, as it happens, as server-sent events.
//!
//! An event is asked of the engine when the connection has room for it, never before: a client that does not read holds one
//! event and its connection, and costs nobody else anything (P5, P6).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, stream};
use lockstep_api::rfc3339_from_micros;
use lockstep_engine::{Event, EventBody, EventStream, Position, StoreChange, StoreEvent};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::timeout;

use super::App;
use crate::failure::Failure;
use crate::parameters::parameters;
use crate::views;

/// How long a connection stays silent at most: whoever reads notices by it that we are gone, and we that they are.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    after: Option<String>,
}

pub(crate) async fn follow(Shared(app): Shared<Arc<App>>, headers: HeaderMap, uri: Uri) -> Result<Response, Failure> {
    let Asked { after } = parameters(&uri)?;
    // A browser that connects again asks the same address, and says in the header how far it has come.
    let last = headers.get("last-event-id").map(|id| id.to_str().map(str::to_owned)).transpose();
    let after = last.map_err(|_| no_position())?.or(after).filter(|text| !text.is_empty());
    let after: Option<Position> = after.map(|text| text.parse()).transpose().map_err(|_| no_position())?;
    let mut response = Response::new(Body::from_stream(written(app.engine.events(after))));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn no_position() -> Failure {
    Failure::malformed("the position is none that an event gave as its id")
}

/// The events as text, until the engine stops.
fn written(events: EventStream) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    // Something goes out at once, so that a client knows that it is heard.
    let begun = stream::iter([Ok(Bytes::from_static(b": events follow\n\n"))]);
    let rest = stream::unfold(events, |mut events| async move {
        let text = match timeout(KEEP_ALIVE, events.next()).await {
            Ok(Ok(Some(event))) => block(event),
            Ok(Ok(None)) => return None,
            Ok(Err(error)) => {
                let said = lockstep_engine::Chain(&error).to_string();
                tracing::error!(error = said, "events cannot be read from the log: run wal-tools verify");
                return None;
            }
            Err(_) => Bytes::from_static(b": still here\n\n"),
        };
        Some((Ok(text), events))
    });
    futures_util::StreamExt::chain(begun, rest)
}

fn block(event: Event) -> Bytes {
    let id = event.position;
    match event.body {
        EventBody::Op { kind, op } => text(&id, kind.as_str(), &views::op(*op, false)),
        EventBody::Store(StoreEvent { store, change, at_us, detail }) => {
            let (name, state) = match change {
                StoreChange::Up => ("store_up", "up"),
                StoreChange::Down => ("store_down", "down"),
                StoreChange::AuditNeeded => ("audit_needed", "audit_needed"),
            };
            let at = rfc3339_from_micros(at_us);
            text(&id, name, &json!({"store": store.as_str(), "state": state, "at": at, "detail": detail}))
        }
        EventBody::Gap { from, to } => text(&id, "gap", &json!({"from": from.to_string(), "to": to.to_string()})),
    }
}

/// JSON that is not made pretty has no line breaks, so it is one `data` line.
fn text(id: &Position, name: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    Bytes::from(format!("id: {id}\nevent: {name}\ndata: {data}\n\n"))
}
