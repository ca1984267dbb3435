//! `GET /healthz`: the process can answer. `GET /readyz`: it takes operations, and work moves.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::HeaderValue;
use axum::http::header::RETRY_AFTER;
use axum::response::Response;
use lockstep_api::ReadyAnswer;
use serde_json::json;

use super::App;

pub(crate) async fn alive() -> Response {
    super::json(200, &json!({"alive": true}))
}

/// The reasons stand beside a status, and are no problem document: nothing is wrong with the request.
pub(crate) async fn ready(Shared(app): Shared<Arc<App>>) -> Response {
    let reasons = app.engine.unready();
    let ready = reasons.is_empty();
    let mut response = super::json(if ready { 200 } else { 503 }, &ReadyAnswer { ready, reasons });
    if !ready {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
