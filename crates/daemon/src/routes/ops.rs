//! `/v1/ops`: one operation is taken, or looked at, or many are listed.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State as Shared};
use axum::http::Uri;
use axum::response::Response;
use lockstep_api::{Ack, OpAnswer, OpsFilter, OpsPage};
use lockstep_engine::{LookError, OpFilter, Taken};
use lockstep_model::{Code, Key, Lsn, OpId, State};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::{App, caller, json};
use crate::failure::Failure;
use crate::parameters::{Timeout, idempotency_key, parameters};
use crate::views;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    ack: Ack,
    #[serde(default)]
    timeout: Timeout,
}

/// `POST /v1/ops`
pub(crate) async fn take(Shared(app): Shared<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let asked: Asked = parameters(request.uri())?;
    let deadline = Instant::now() + asked.timeout.0;
    let caller = caller(&request);
    let name = idempotency_key(request.headers())?.map(str::to_owned);
    let body = app.bodies.read(request).await?;
    let op = app.parse(&body.bytes, name.as_deref())?;
    let (mut taken, again) = app.take(op, caller)?;
    // Until the log has it the operation is in memory, so its share is held. No timeout cuts this short: nothing is
    // acknowledged before it is durable (P1).
    taken.logged().await?;
    drop(body);
    match asked.ack {
        // What was refused when it was first asked is told again.
        Ack::Logged if again && app.is_refused(taken.lsn) => committed(&app, &taken, deadline).await,
        Ack::Logged => {
            let state = if again { app.reached(taken.lsn) } else { State::Pending };
            Ok(answer(202, &taken, state))
        }
        Ack::Committed => committed(&app, &taken, deadline).await,
    }
}

async fn committed(app: &App, taken: &Taken, deadline: Instant) -> Result<Response, Failure> {
    let Some(ending) = app.engine.ending(taken.lsn) else {
        return Ok(answer(202, taken, app.reached(taken.lsn)));
    };
    match timeout_at(deadline, ending).await {
        Ok(Ok(ending)) if ending.state == State::Committed => Ok(answer(200, taken, ending.state)),
        Ok(Ok(ending)) => Err(Failure::ended(taken, &ending)),
        // The engine is going down; the operation is in the log, and the next start goes on with it.
        Ok(Err(_)) | Err(_) => Ok(answer(202, taken, app.reached(taken.lsn))),
    }
}

fn answer(status: u16, taken: &Taken, state: State) -> Response {
    json(status, &reached(taken, state))
}

/// What is told of an operation that has a place in the log.
pub(super) fn reached(taken: &Taken, state: State) -> OpAnswer {
    let key = taken.key.as_ref().map(ToString::to_string);
    let keys: Vec<String> = taken.members.iter().map(ToString::to_string).collect();
    let keys = (!keys.is_empty()).then_some(keys);
    OpAnswer { op_id: taken.op_id, lsn: taken.lsn, version: taken.version, state, key, keys }
}

/// `GET /v1/ops/{op_id}`
pub(crate) async fn show(
    Shared(app): Shared<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Failure> {
    let Path(name) = path.map_err(|rejection| Failure::malformed(rejection.body_text()))?;
    let op_id = named(&name)?;
    match app.engine.op(op_id).map_err(|error| unreadable(&error))? {
        Some(view) => Ok(json(200, &views::op(view, true))),
        None => Err(Failure::not_found(format!("there is no operation {op_id}, or its summary has been let go"))),
    }
}

/// What is no UUID names no operation.
pub(super) fn named(name: &str) -> Result<OpId, Failure> {
    name.parse().map_err(|_| Failure::not_found(format!("there is no operation {name:?}: an op_id is a UUID")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    state: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    limit: String,
    #[serde(default)]
    cursor: String,
}

/// `GET /v1/ops`. An empty parameter is one that is not there.
pub(crate) async fn list(Shared(app): Shared<Arc<App>>, uri: Uri) -> Result<Response, Failure> {
    let Wanted { state, key, limit, cursor } = parameters(&uri)?;
    let given = |text: &str| !text.is_empty();
    let state: Option<State> = Some(state).filter(|text| given(text)).map(|text| text.parse()).transpose().map_err(
        |_| Failure::malformed("state is one of pending, surreal_completed, qdrant_completed, committed, compensating, rolled_back, parked, discarded"),
    )?;
    let key: Option<Key> = Some(key)
        .filter(|text| given(text))
        .map(|text| text.parse())
        .transpose()
        .map_err(|error: lockstep_model::KeyError| Failure::malformed(error.to_string()))?;
    let limit = match limit.parse::<u32>() {
        Ok(limit @ 1..=OpsFilter::MAX_LIMIT) => limit,
        Err(_) if limit.is_empty() => OpsFilter::DEFAULT_LIMIT,
        Ok(_) | Err(_) => {
            return Err(Failure::malformed(format!("limit is a number from 1 to {}", OpsFilter::MAX_LIMIT)));
        }
    };
    let below = Some(cursor)
        .filter(|text| given(text))
        .map(|text| text.parse().map(Lsn))
        .transpose()
        .map_err(|_| Failure::malformed("the cursor is none that an earlier page gave"))?;
    let filter = OpFilter { state, key, below, limit: usize::try_from(limit).unwrap_or(usize::MAX) };
    // It may look through a whole log.
    let (ops, next) = tokio::task::block_in_place(|| app.engine.ops(&filter)).map_err(|error| unreadable(&error))?;
    let ops = ops.into_iter().map(|view| views::op(view, false)).collect();
    Ok(json(200, &OpsPage { ops, next: next.map(|lsn| lsn.to_string()) }))
}

pub(super) fn unreadable(error: &LookError) -> Failure {
    let said = lockstep_engine::Chain(error).to_string();
    tracing::error!(error = said, "the log cannot be read: run wal-tools verify");
    Failure::new(Code::StoreUnavailable, said)
}
