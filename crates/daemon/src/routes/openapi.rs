//! `GET /openapi.json`: these routes, for programs that read descriptions.

use axum::response::Response;

use super::json;
use crate::openapi;

pub(crate) async fn show() -> Response {
    json(200, &openapi::document())
}
