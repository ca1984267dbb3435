//! Failures as answers: problem documents.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use lockstep_api::Problem;
use lockstep_engine::{Ending, NotLogged, Taken};
use lockstep_model::{Code, Lsn, OpId, Refusal, State};

/// A request that failed. Boxed: it is the rare half of every result.
#[derive(Debug)]
pub(crate) struct Failure(Box<Problem>);

impl Failure {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem::new(code, detail)))
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Code::Malformed, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Code::NotFound, detail)
    }

    /// The path is there, the method is not.
    pub(crate) fn method_not_allowed(detail: impl Into<String>) -> Self {
        let mut problem = Problem::new(Code::Malformed, detail);
        problem.status = StatusCode::METHOD_NOT_ALLOWED.as_u16();
        Self(Box::new(problem))
    }

    /// An operation that an operator wanted taken back, and that cannot be.
    pub(crate) fn still_parked(op_id: OpId, lsn: Lsn, detail: String) -> Self {
        Self(Box::new(Problem::new(Code::Parked, detail).logged(op_id, lsn, State::Parked)))
    }

    /// An operation that was logged and has not committed.
    pub(crate) fn ended(taken: &Taken, ending: &Ending) -> Self {
        let (code, detail) = why(ending);
        Self(Box::new(Problem::new(code, detail).logged(taken.op_id, taken.lsn, ending.state)))
    }
}

/// What a caller is told about an operation that has not committed.
pub(crate) fn why(ending: &Ending) -> (Code, String) {
    let said = ending.failure.as_ref();
    let detail = said.map_or_else(|| format!("the operation is {}", ending.state), |failure| failure.detail.clone());
    match ending.state {
        // Whatever it was, an operator is needed now.
        State::Parked => (Code::Parked, detail),
        State::Pending
        | State::SurrealCompleted
        | State::QdrantCompleted
        | State::Committed
        | State::Compensating
        | State::RolledBack
        | State::Discarded => (said.map_or(Code::Parked, |failure| failure.code), detail),
    }
}

/// When it is worth trying again, in seconds.
const fn retry_after(status: u16) -> Option<HeaderValue> {
    match status {
        503 => Some(HeaderValue::from_static("1")),
        // Space does not come back by itself.
        507 => Some(HeaderValue::from_static("10")),
        _ => None,
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code, refusal.detail)
    }
}

impl From<NotLogged> for Failure {
    fn from(error: NotLogged) -> Self {
        Self::new(Code::Stopping, error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = match serde_json::to_vec(&self.0) {
            Ok(body) => Response::new(Body::from(body)),
            Err(error) => Response::new(Body::from(error.to_string())),
        };
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(Problem::CONTENT_TYPE));
        if let Some(after) = retry_after(self.0.status) {
            headers.insert(RETRY_AFTER, after);
        }
        response
    }
}
