//! `POST /v1/count`: how much a `clear` would remove.

use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::response::Response;
use lockstep_api::CountAnswer;
use lockstep_model::Filter;

use super::{App, json, members, table};
use crate::failure::Failure;

pub(crate) async fn count(Shared(app): Shared<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let body = app.bodies.read(request).await?;
    let mut fields = members(&body.bytes, &["table", "where"])?;
    drop(body);
    let table = table(&mut fields)?;
    let filter = fields.remove("where").map(|filter| Filter::from_json(&filter));
    let filter = filter.transpose().map_err(|error| Failure::malformed(format!("where: {error}")))?;
    let counts = Box::pin(app.engine.count(&table, filter.as_ref())).await;
    Ok(json(200, &CountAnswer { records: counts.records, points: counts.points }))
}
