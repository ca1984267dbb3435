//! `GET /v1/entities/{table}/{id}`: what both stores show of a key.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use lockstep_model::{Code, Id, Key, Table};

use super::{App, json};
use crate::failure::Failure;
use crate::views;

pub(crate) async fn show(
    Shared(app): Shared<Arc<App>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Failure> {
    let Path((table, id)) = path.map_err(|rejection| Failure::malformed(rejection.body_text()))?;
    let key = Table::new(&table).and_then(|table| Ok(Key::new(table, Id::parse(&id)?)));
    let key = key.map_err(|error| Failure::malformed(error.to_string()))?;
    let entity = Box::pin(app.engine.entity(&key)).await;
    // Neither the stores nor the log tell anything of it.
    if entity.open_ops.is_empty()
        && let (Err(surreal), Err(qdrant)) = (&entity.record, &entity.point)
    {
        let detail = format!("neither store answers: surreal: {surreal}; qdrant: {qdrant}");
        return Err(Failure::new(Code::StoreUnavailable, detail));
    }
    Ok(json(200, &views::entity(entity)))
}
