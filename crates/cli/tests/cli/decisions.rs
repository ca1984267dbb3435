//! `retry`, `rollback`, `discard`, `tables` and `verify`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::{Daemon, stderr, stdout};
use axum::Router;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::{Value, json};

const PARKED: &str = "0193b2c4-0000-7000-8000-00000000002a";
const OTHER: &str = "0193b2c4-0000-7000-8000-00000000002b";
const THIRD: &str = "0193b2c4-0000-7000-8000-00000000002c";

#[tokio::test]
async fn each_operation_is_decided_about_by_itself() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    let routes = Router::new().route(
        "/v1/ops/{op_id}/{decision}",
        post(move |Path((op_id, decision)): Path<(String, String)>, body: String| async move {
            kept.lock().unwrap().push(format!("{decision} {op_id} {body}"));
            if op_id == OTHER {
                let problem =
                    json!({"title": "t", "status": 409, "code": "superseded", "detail": "memory:01 is at version 9"});
                return (StatusCode::CONFLICT, problem.to_string()).into_response();
            }
            let again = json!({"op_id": OTHER, "lsn": 43, "version": 8, "state": "pending", "key": "memory:01"});
            let state = if decision == "rollback" { "rolled_back" } else { "discarded" };
            let mut answer = json!({"op_id": op_id, "state": state, "new": 1});
            if decision == "retry" {
                answer["again"] = again;
            }
            answer.to_string().into_response()
        }),
    );
    let daemon = Daemon::with(routes);

    let output = daemon.lockstep(&["retry", OTHER, PARKED, "--note", "mended"], "").await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), format!("{PARKED} is discarded; runs again as {OTHER} (lsn 43)\n"));
    assert_eq!(stderr(&output), format!("lockstep: {OTHER}: superseded (409): memory:01 is at version 9\n"));
    let both = [OTHER, PARKED].map(|op_id| format!("retry {op_id} {{\"note\":\"mended\"}}"));
    assert_eq!(*asked.lock().unwrap(), both);

    let output = daemon.lockstep(&["--json", "retry", PARKED, OTHER, "--force"], "").await;
    assert_eq!(output.status.code(), Some(1));
    let said: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&said["decided"][0]["again"]["lsn"], &said["decided"][0]["new"]), (&json!(43), &json!(1)), "{said}");
    assert_eq!(
        (&said["decided"][1]["op_id"], &said["decided"][1]["error"]["code"]),
        (&json!(OTHER), &json!("superseded"))
    );
    assert!(asked.lock().unwrap().last().unwrap().ends_with(r#"{"force":true}"#));

    for (decision, state) in [("rollback", "rolled_back"), ("discard", "discarded")] {
        let output = daemon.lockstep(&[decision, PARKED], "").await;
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stdout(&output), format!("{PARKED} is {state}\n"));
        assert_eq!(*asked.lock().unwrap().last().unwrap(), format!("{decision} {PARKED} {{}}"));
    }
}

#[tokio::test]
async fn an_operation_is_decided_about_by_its_lsn_too() {
    let page = json!({"ops": [{"op_id": PARKED, "lsn": 42, "op": "put", "state": "parked"},
        {"op_id": OTHER, "lsn": 40, "op": "put", "state": "parked"}], "next": null});
    let routes = Router::new().route("/v1/ops", get(move || async move { page.to_string() })).route(
        "/v1/ops/{op_id}/discard",
        post(|Path(op_id): Path<String>| async move { json!({"op_id": op_id, "state": "discarded"}).to_string() }),
    );
    let daemon = Daemon::with(routes);
    let output = daemon.lockstep(&["discard", "41", "42"], "").await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), format!("{PARKED} is discarded\n"));
    assert!(stderr(&output).contains("no operation at LSN 41"), "{}", stderr(&output));

    let output = daemon.lockstep(&["--json", "discard", "41"], "").await;
    let said: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&said["decided"][0]["lsn"], &said["decided"][0]["error"]["code"]), (&json!(41), &json!("not_found")));
    assert_eq!(stderr(&output), "");
}

/// A daemon that cannot look for one operation leaves the others theirs, and what has been decided is told.
#[tokio::test]
async fn one_that_cannot_be_looked_for_leaves_the_others_theirs() {
    let problem = json!({"type": "about:blank", "title": "x", "status": 503, "code": "not_ready", "detail": "not yet"});
    let routes = Router::new()
        .route("/v1/ops", get(move || async move { (StatusCode::SERVICE_UNAVAILABLE, problem.to_string()) }))
        .route(
            "/v1/ops/{op_id}/discard",
            post(|Path(op_id): Path<String>| async move { json!({"op_id": op_id, "state": "discarded"}).to_string() }),
        );
    let output = Daemon::with(routes).lockstep(&["--json", "discard", PARKED, "42", OTHER], "").await;
    assert_eq!(output.status.code(), Some(1));
    let said: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let decided = said["decided"].as_array().unwrap();
    assert_eq!((&decided[0]["op_id"], &decided[2]["op_id"]), (&json!(PARKED), &json!(OTHER)));
    assert_eq!((&decided[1]["lsn"], &decided[1]["error"]["code"]), (&json!(42), &json!("not_ready")));
}

/// It may stand on any page, and behind its place there is only what is older.
#[tokio::test]
async fn an_lsn_is_looked_for_as_far_back_as_it_can_be() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    let op = |op_id: &str, lsn: u64| json!({"op_id": op_id, "lsn": lsn, "op": "put", "state": "parked"});
    let routes = Router::new()
        .route(
            "/v1/ops",
            get(move |Query(query): Query<HashMap<String, String>>| async move {
                let cursor = query.get("cursor").cloned().unwrap_or_default();
                let (ops, next) = match cursor.as_str() {
                    "" => (vec![op(THIRD, 42), op(THIRD, 40)], json!("40")),
                    "40" => (vec![op(OTHER, 12), op(PARKED, 11)], json!("11")),
                    _ => (vec![op(THIRD, 3)], Value::Null),
                };
                kept.lock().unwrap().push(cursor);
                json!({"ops": ops, "next": next}).to_string()
            }),
        )
        .route(
            "/v1/ops/{op_id}/retry",
            post(|Path(op_id): Path<String>| async move { json!({"op_id": op_id, "state": "discarded"}).to_string() }),
        );
    let daemon = Daemon::with(routes);
    for (lsn, pages, found) in
        [("11", &["", "40"][..], Some(PARKED)), ("41", &[""], None), ("2", &["", "40", "11"], None)]
    {
        let output = daemon.lockstep(&["retry", lsn], "").await;
        assert_eq!(output.status.code(), Some(i32::from(found.is_none())), "{lsn}: {}", stderr(&output));
        let told = found.map(|op_id| format!("{op_id} is discarded\n")).unwrap_or_default();
        assert_eq!(stdout(&output), told, "{lsn}");
        assert_eq!(std::mem::take(&mut *asked.lock().unwrap()), pages, "{lsn}");
    }
}

#[tokio::test]
async fn a_daemon_that_is_away_ends_the_decisions() {
    let daemon = Daemon::absent();
    let output = daemon.lockstep(&["discard", PARKED, OTHER], "").await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    assert!(stderr(&output).contains("is it running?"), "{}", stderr(&output));
}

#[tokio::test]
async fn tables_are_listed_and_json_is_what_the_daemon_answered() {
    let body = r#"{"tables":[{"table":"memory","stores":"both","records":7,"points":null,"new":1}]}"#;
    let daemon = Daemon::with(Router::new().route("/v1/tables", get(move || async move { body })));
    let output = daemon.lockstep(&["tables"], "").await;
    assert!(stdout(&output).contains("memory  both    7        unknown"), "{}", stdout(&output));
    let output = daemon.lockstep(&["--json", "tables"], "").await;
    assert_eq!(stdout(&output), format!("{body}\n"));
}

/// A daemon that has looked at three operations after it was asked three times.
fn verifying(audit: &'static str) -> Daemon {
    let left = Arc::new(AtomicU64::new(3));
    let status = move || async move {
        let left = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(1))).unwrap();
        let audit = if audit.is_empty() { Value::Null } else { json!(audit) };
        json!({"verifying": left, "covered_s": 900, "audit_needed": audit}).to_string()
    };
    let verify = || async { (StatusCode::ACCEPTED, r#"{"operations":3}"#) };
    Daemon::with(Router::new().route("/v1/verify", post(verify)).route("/v1/status", get(status)))
}

#[tokio::test]
async fn verify_waits_until_all_of_it_was_looked_at() {
    let output = verifying("").lockstep(&["verify"], "").await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = "3 operations looked at; what was missing, if anything, is written again and named by a warning in \
                lockstepd's log; the log covers the last 15 minutes\n";
    assert_eq!(stdout(&output), said);

    let output = verifying("").lockstep(&["verify", "--timeout", "0s"], "").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).starts_with("3 of 3 operations left to look at"), "{}", stdout(&output));
    assert!(stderr(&output).contains("it goes on"), "{}", stderr(&output));

    let output = verifying("SurrealDB is older than the log").lockstep(&["--json", "verify"], "").await;
    assert_eq!(output.status.code(), Some(1));
    let said: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&said["operations"], &said["verifying"]), (&json!(3), &json!(0)), "{said}");
    assert_eq!(said["audit_needed"], "SurrealDB is older than the log");
}

/// Nothing was looked at, so nothing is said to be as it should be.
#[tokio::test]
async fn verify_says_where_there_was_nothing_to_look_at() {
    let verify = || async { (StatusCode::ACCEPTED, r#"{"operations":0}"#) };
    let status = || async { r#"{"verifying":0}"# };
    let routes = Router::new().route("/v1/verify", post(verify)).route("/v1/status", get(status));
    let output = Daemon::with(routes).lockstep(&["verify"], "").await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "the log holds no committed operation whole: nothing to look at\n");
}
