//! `POST /v1/pause` and `POST /v1/resume`: for maintenance of a store or a table. Logging goes on.

use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::response::Response;
use lockstep_engine::{Pausable, StoreName};
use lockstep_model::Table;
use serde_json::{Map, Value, json};

use super::{App, members};
use crate::failure::Failure;

pub(crate) async fn pause(Shared(app): Shared<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let (what, named) = read(&app, request).await?;
    app.engine.pause(&what)?;
    Ok(answer(named, true))
}

pub(crate) async fn resume(Shared(app): Shared<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let (what, named) = read(&app, request).await?;
    app.engine.resume(&what)?;
    Ok(answer(named, false))
}

/// What was named, and whether it is paused now.
fn answer(mut named: Map<String, Value>, paused: bool) -> Response {
    named.insert("paused".to_owned(), json!(paused));
    super::json(200, &named)
}

async fn read(app: &App, request: Request) -> Result<(Pausable, Map<String, Value>), Failure> {
    let body = app.bodies.read(request).await?;
    let fields = members(&body.bytes, &["store", "table"])?;
    let what = match (fields.get("store").map(Value::as_str), fields.get("table").map(Value::as_str)) {
        (Some(Some("surreal")), None) => Pausable::Store(StoreName::Surreal),
        (Some(Some("qdrant")), None) => Pausable::Store(StoreName::Qdrant),
        (Some(_), None) => return Err(Failure::malformed("store is surreal or qdrant")),
        (None, Some(Some(name))) => {
            Pausable::Table(Table::new(name).map_err(|error| Failure::malformed(error.to_string()))?)
        }
        (None, Some(None)) => return Err(Failure::malformed("table is the name of a table")),
        (None, None) | (Some(_), Some(_)) => return Err(Failure::malformed("one of store and table is wanted")),
    };
    Ok((what, fields))
}
