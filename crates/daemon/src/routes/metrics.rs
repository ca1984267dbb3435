//! `GET /metrics`: Prometheus' text format.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::App;
use crate::metrics;

pub(crate) async fn show(Shared(app): Shared<Arc<App>>) -> Response {
    // It counts operations by state, and looks at the log's files.
    let text = tokio::task::block_in_place(|| metrics::shown(&app));
    ([(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE))], text).into_response()
}
