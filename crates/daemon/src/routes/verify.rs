//! `POST /v1/verify`: do the stores still hold what they were given? What is missing is written again.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::Response;
use lockstep_api::VerifyAnswer;

use super::{App, json};

/// It begins here and goes on behind: the status tells how much is left.
pub(crate) async fn verify(Shared(app): Shared<Arc<App>>) -> Response {
    json(202, &VerifyAnswer { operations: app.engine.verify() })
}
