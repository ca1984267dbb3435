//! `GET /v1/status`: the daemon at a glance.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::Response;
use lockstep_api::{StatusAnswer, StoresView, rfc3339_from_micros};

use super::{App, json};
use crate::views;

pub(crate) async fn show(Shared(app): Shared<Arc<App>>) -> Response {
    let now_us = app.clock.now_us();
    let status = app.engine.status();
    let store = |store, endpoint| views::store(store, endpoint, now_us, &status.paused_tables);
    let answer = StatusAnswer {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: rfc3339_from_micros(app.started_us).unwrap_or_default(),
        wal: views::wal(&status.wal, app.log.usage().disk_bytes),
        wal_dir: Some(app.wal_dir.clone()),
        totals: views::counts(&status.totals),
        stores: StoresView {
            surreal: store(&status.surreal, &app.surreal),
            qdrant: store(&status.qdrant, &app.qdrant),
        },
        recovery: views::recovery(status.recovery),
        audit_needed: status.audit_needed,
        verifying: status.verifying,
        covered_s: status.covered_s,
    };
    json(200, &answer)
}
