//! `POST /v1/query`: SurrealQL that only reads, where SurrealDB is embedded.

use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::response::Response;
use lockstep_api::QueryAnswer;
use lockstep_model::Code;
use serde_json::{Map, Value};

use super::{App, json, members};
use crate::failure::Failure;

pub(crate) async fn query(Shared(app): Shared<Arc<App>>, request: Request) -> Result<Response, Failure> {
    if !app.queries {
        let detail = "SurrealDB is served: ask it directly, at its own address";
        return Err(Failure::new(Code::NotImplemented, detail));
    }
    let body = app.bodies.read(request).await?;
    let mut fields = members(&body.bytes, &["query", "vars"])?;
    drop(body);
    let Some(Value::String(text)) = fields.remove("query") else {
        return Err(Failure::malformed("query is missing, or no text"));
    };
    let vars = match fields.remove("vars") {
        None => Map::new(),
        Some(Value::Object(vars)) => vars,
        Some(_) => return Err(Failure::malformed("vars is an object of values by name")),
    };
    let results = Box::pin(app.engine.query(&text, vars)).await?;
    Ok(json(200, &QueryAnswer { results }))
}
