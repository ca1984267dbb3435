//! `POST /v1/verify`: do the stores still hold what they were given? What is missing is written again.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::Response;
use lockstep_api::VerifyAnswer;
use lockstep_engine::Chain;
use lockstep_model::Code;

use super::{App, json};
use crate::failure::Failure;

/// It begins here and goes on behind: the status tells how much is left.
pub(crate) async fn verify(Shared(app): Shared<Arc<App>>) -> Result<Response, Failure> {
    let operations = Box::pin(app.engine.verify()).await;
    let operations = operations.map_err(|error| Failure::new(Code::Stopping, Chain(&error).to_string()))?;
    Ok(json(202, &VerifyAnswer { operations }))
}
