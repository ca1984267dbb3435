//! Paths that a later version answers. Nothing is read, nothing is logged.

use axum::http::{Method, Uri};
use lockstep_model::Code;

use crate::failure::Failure;

pub(crate) async fn not_built_yet(method: Method, uri: Uri) -> Failure {
    Failure::new(
        Code::NotImplemented,
        format!("{method} {} is not built yet in this version", super::shortened(uri.path())),
    )
}
