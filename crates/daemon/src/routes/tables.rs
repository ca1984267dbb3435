//! `GET /v1/tables`: the tables that are configured, or have been seen.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::Response;
use lockstep_api::TablesAnswer;

use super::{App, json};
use crate::views;

pub(crate) async fn list(Shared(app): Shared<Arc<App>>) -> Response {
    let tables = Box::pin(app.engine.tables()).await;
    json(200, &TablesAnswer { tables: tables.into_iter().map(views::table).collect() })
}
