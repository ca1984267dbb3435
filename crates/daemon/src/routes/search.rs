//! `POST /v1/search`: nearest neighbours whose documents bear them out.

use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::response::Response;
use lockstep_api::SearchAnswer;
use lockstep_engine::SearchQuery;
use lockstep_model::{DEFAULT_VECTOR, Filter, Vector};
use serde_json::{Map, Value};

use super::{App, json, members, table};
use crate::failure::Failure;
use crate::views;

const FIELDS: [&str; 6] = ["table", "vector", "using", "limit", "filter", "with_document"];
const DEFAULT_HITS: usize = 10;
const MAX_HITS: u64 = 1000;

pub(crate) async fn search(Shared(app): Shared<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let body = app.bodies.read(request).await?;
    let query = read(members(&body.bytes, &FIELDS)?)?;
    drop(body);
    let found = Box::pin(app.engine.search(&query)).await?;
    let hits = found.hits.into_iter().map(views::hit).collect();
    Ok(json(200, &SearchAnswer { hits, dropped: found.dropped as u64 }))
}

fn read(mut fields: Map<String, Value>) -> Result<SearchQuery, Failure> {
    let table = table(&mut fields)?;
    let vector = fields.remove("vector").ok_or_else(|| Failure::malformed("vector is missing"))?;
    let vector = Vector::from_json(&vector).map_err(|error| Failure::malformed(format!("vector: {error}")))?;
    let using = match fields.remove("using") {
        None => DEFAULT_VECTOR.to_owned(),
        Some(Value::String(name)) => name,
        Some(_) => return Err(Failure::malformed("using is the name of a vector")),
    };
    let limit = match fields.remove("limit").map(|limit| limit.as_u64()) {
        None => DEFAULT_HITS,
        Some(Some(limit @ 1..=MAX_HITS)) => usize::try_from(limit).unwrap_or(DEFAULT_HITS),
        Some(_) => return Err(Failure::malformed(format!("limit is a number from 1 to {MAX_HITS}"))),
    };
    let filter = fields.remove("filter").map(|filter| Filter::from_json(&filter));
    let filter = filter.transpose().map_err(|error| Failure::malformed(format!("filter: {error}")))?;
    let with_document = match fields.remove("with_document") {
        None => false,
        Some(Value::Bool(with)) => with,
        Some(_) => return Err(Failure::malformed("with_document is true or false")),
    };
    Ok(SearchQuery { table, vector, using, limit, filter, with_document })
}
