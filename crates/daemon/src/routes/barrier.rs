//! `POST /v1/barrier`: answers when everything that was logged before has ended.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::Uri;
use axum::response::Response;
use lockstep_api::BarrierAnswer;
use lockstep_model::Code;
use serde::Deserialize;
use tokio::time::timeout;

use super::{App, json};
use crate::failure::Failure;
use crate::parameters::{Timeout, parameters};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    timeout: Timeout,
}

pub(crate) async fn wait(Shared(app): Shared<Arc<App>>, uri: Uri) -> Result<Response, Failure> {
    let asked: Asked = parameters(&uri)?;
    let (lsn, reached) = app.engine.barrier();
    let status = match timeout(asked.timeout.0, reached).await {
        Ok(Ok(())) => 200,
        Ok(Err(_)) => return Err(Failure::new(Code::Stopping, "lockstepd stopped before everything had ended")),
        // As with one operation: not finished, and the caller is told up to where it asked.
        Err(_) => 202,
    };
    Ok(json(status, &BarrierAnswer { lsn }))
}
