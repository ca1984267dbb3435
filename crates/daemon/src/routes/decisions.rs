//! `POST /v1/ops/{op_id}/retry`, `/rollback`, `/discard`: what an operator decides about a parked operation.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State as Shared};
use axum::response::Response;
use lockstep_api::{DecisionAnswer, OpAnswer};
use lockstep_engine::{Decision, Taken};
use lockstep_model::{Code, Lsn, OpId, State};
use serde_json::{Map, Value};

use super::ops::{named, reached};
use super::{App, caller, json, members};
use crate::failure::Failure;

/// A note goes into the log with the decision.
const MAX_NOTE_BYTES: usize = 2000;

type Named = Result<Path<String>, PathRejection>;

pub(crate) async fn retry(app: Shared<Arc<App>>, name: Named, request: Request) -> Result<Response, Failure> {
    decide(app, name, request, &["force", "note"], |force| Decision::Retry { force }).await
}

pub(crate) async fn rollback(app: Shared<Arc<App>>, name: Named, request: Request) -> Result<Response, Failure> {
    decide(app, name, request, &["note"], |_| Decision::Rollback).await
}

pub(crate) async fn discard(app: Shared<Arc<App>>, name: Named, request: Request) -> Result<Response, Failure> {
    decide(app, name, request, &["note"], |_| Decision::Discard).await
}

async fn decide(
    Shared(app): Shared<Arc<App>>,
    name: Named,
    request: Request,
    known: &[&str],
    decision: impl FnOnce(bool) -> Decision,
) -> Result<Response, Failure> {
    let Path(name) = name.map_err(|rejection| Failure::malformed(rejection.body_text()))?;
    let op_id = named(&name)?;
    let caller = caller(&request);
    let body = app.bodies.read(request).await?;
    let mut fields = if body.bytes.is_empty() { Map::new() } else { members(&body.bytes, known)? };
    drop(body);
    let force = match fields.remove("force") {
        None => false,
        Some(Value::Bool(force)) => force,
        Some(_) => return Err(Failure::malformed("force is true or false")),
    };
    let note = match fields.remove("note") {
        None => None,
        Some(Value::String(note)) if note.len() <= MAX_NOTE_BYTES => Some(note),
        Some(_) => return Err(Failure::malformed(format!("note is a text of at most {MAX_NOTE_BYTES} bytes"))),
    };
    let decision = decision(force);
    let lsn = decidable(&app, op_id, decision)?;
    let decided = Box::pin(app.engine.decide(lsn, decision, note, caller)).await?;
    if decided.state == State::Parked {
        let why = decided.failure.map_or_else(|| "it cannot be taken back".to_owned(), |failure| failure.detail);
        return Err(Failure::still_parked(op_id, lsn, why));
    }
    let again = match decided.again {
        Some(taken) => Some(logged(taken).await?),
        None => None,
    };
    Ok(json(200, &DecisionAnswer { op_id, state: decided.state, again }))
}

/// The new operation, once it is durable: nothing is acknowledged before (P1).
async fn logged(mut taken: Taken) -> Result<OpAnswer, Failure> {
    taken.logged().await?;
    Ok(reached(&taken, State::Pending))
}

/// Its place, if it is parked, or open and to be tried now. What has ended may have left the log: its summary still tells that it
/// was no matter of choice.
fn decidable(app: &App, op_id: OpId, decision: Decision) -> Result<Lsn, Failure> {
    let view = app.engine.op(op_id).map_err(|error| super::ops::unreadable(&error))?;
    let hurries = matches!(decision, Decision::Retry { .. });
    match view {
        Some(view) if view.state() == State::Parked || (hurries && view.state().is_open()) => Ok(view.lsn),
        Some(view) => {
            let detail = format!("operation {op_id} is {}: only what is parked can be decided", view.state());
            Err(Failure::new(Code::PreconditionFailed, detail))
        }
        None => Err(Failure::not_found(format!("there is no operation {op_id}, or its summary has been let go"))),
    }
}
