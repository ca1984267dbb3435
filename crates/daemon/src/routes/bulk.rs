//! `POST /v1/bulk`: many operations, one a line, answered in their order while they still come.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_TYPE, EXPECT};
use axum::response::Response;
use lockstep_api::Ack;
use serde::Deserialize;

use super::{App, caller};
use crate::bulk::{Answers, Input};
use crate::failure::Failure;
use crate::parameters::{idempotency_key, parameters};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    ack: Ack,
}

pub(crate) async fn take(Shared(app): Shared<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let asked: Asked = parameters(request.uri())?;
    if idempotency_key(request.headers())?.is_some() {
        return Err(Failure::malformed(
            "many operations cannot have one Idempotency-Key: each line takes its own idempotency_key",
        ));
    }
    let caller = caller(&request);
    let wants_leave = request.headers().contains_key(EXPECT);
    let mut input = Input::new(request.into_body(), app.bodies.idle);
    if wants_leave {
        // The leave to send goes out when the body is asked for, and cannot any more once the answer has begun.
        input.ask().await;
    }
    let answers = Answers::start(app, input, asked.ack, caller);
    let mut response = Response::new(Body::from_stream(answers.stream()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}
