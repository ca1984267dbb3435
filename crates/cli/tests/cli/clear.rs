//! `lockstep clear` tells what it removes, asks, and waits for the end.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use crate::support::{Daemon, on_a_terminal, stderr, stdout};
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

/// A daemon with tables in it.
#[derive(Default)]
struct Tables {
    /// The clears that were sent, as often as they were.
    sent: Vec<Value>,
    /// So often a clear is answered as not ended yet.
    slow: usize,
    /// The counts cannot be had.
    blind: bool,
    /// A clear of this table is refused.
    refused: &'static str,
}

type Shared = Arc<Mutex<Tables>>;

fn daemon(tables: Tables) -> (Daemon, Shared) {
    let tables: Shared = Arc::new(Mutex::new(tables));
    let (counting, clearing) = (Arc::clone(&tables), Arc::clone(&tables));
    let routes = Router::new()
        .route("/v1/tables", get(|| async { r#"{"tables":[{"table":"memory"},{"table":"mentions"}]}"# }))
        .route(
            "/v1/count",
            post(move |body: String| async move {
                let asked: Value = serde_json::from_str(&body).unwrap();
                if counting.lock().unwrap().blind {
                    return problem(503, "store_unavailable", "SurrealDB is down");
                }
                let points = if asked["table"] == "memory" { json!(1200) } else { Value::Null };
                json!({"records": 1234, "points": points}).to_string().into_response()
            }),
        )
        .route("/v1/ops", post(move |body: String| async move { answer(&clearing, &body) }));
    (Daemon::with(routes), tables)
}

fn answer(tables: &Shared, body: &str) -> Response {
    let mut tables = tables.lock().unwrap();
    let op: Value = serde_json::from_str(body).unwrap();
    assert_eq!(op["op"], "clear");
    let refused = op["table"] == tables.refused;
    tables.sent.push(op);
    if refused {
        return problem(422, "rejected_by_surreal", "a record may not be deleted");
    }
    let (status, state) = if tables.slow > 0 { (202, "pending") } else { (200, "committed") };
    tables.slow = tables.slow.saturating_sub(1);
    let answer =
        json!({"op_id": "0193b2c4-0000-7000-8000-00000000002a", "lsn": 42, "version": 7, "state": state, "key": null});
    (StatusCode::from_u16(status).unwrap(), answer.to_string()).into_response()
}

fn problem(status: u16, code: &str, detail: &str) -> Response {
    let problem = json!({"type": "t", "title": "t", "status": status, "code": code, "detail": detail});
    (StatusCode::from_u16(status).unwrap(), problem.to_string()).into_response()
}

#[tokio::test]
async fn it_says_what_goes_and_sends_one_operation_until_that_has_ended() {
    let (daemon, tables) = daemon(Tables { slow: 2, ..Tables::default() });
    let output = daemon.lockstep(&["clear", "memory", "--where", r#"{"ws":"w1"}"#, "--yes"], "").await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said =
        "lockstep: removing from memory where {\"ws\":\"w1\"}: records in SurrealDB: 1,234, points in Qdrant: 1,200\n";
    assert_eq!(stderr(&output), said);
    assert!(stdout(&output).starts_with("committed  version 7  lsn 42"), "{}", stdout(&output));
    let sent = tables.lock().unwrap().sent.clone();
    assert_eq!(sent.len(), 3);
    assert_eq!(sent[0]["where"], json!({"ws": "w1"}));
    // Under one key it runs once.
    assert!(sent[0]["idempotency_key"].is_string() && sent.iter().all(|again| *again == sent[0]), "{sent:?}");
}

#[tokio::test]
async fn what_cannot_be_counted_is_unknown() {
    let (daemon, tables) = daemon(Tables { blind: true, ..Tables::default() });
    let output = daemon.lockstep(&["clear", "memory", "--yes"], "").await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = "lockstep: removing from memory: records in SurrealDB: unknown, points in Qdrant: unknown\n";
    assert_eq!(stderr(&output), said);
    assert_eq!(tables.lock().unwrap().sent.len(), 1);
}

#[tokio::test]
async fn a_timeout_ends_the_waiting_and_not_the_clear() {
    let (daemon, _) = daemon(Tables { slow: usize::MAX, ..Tables::default() });
    let output = daemon.lockstep(&["clear", "memory", "--yes", "--timeout", "100ms"], "").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("not committed yet, but pending"), "{}", stderr(&output));
    let output = daemon.lockstep(&["clear", "memory", "--yes", "--ack", "logged"], "").await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[tokio::test]
async fn without_a_yes_nothing_is_removed_and_without_a_terminal_nothing_is_asked() {
    let (daemon, tables) = daemon(Tables::default());
    let output = daemon.lockstep(&["clear", "memory"], "y\n").await;
    assert_eq!(output.status.code(), Some(2));
    for (answer, code, sent) in [("n\n", 1, 0), ("\n", 1, 0), ("y\n", 0, 1)] {
        let (status, said) = on_a_terminal(&daemon, "clear mentions", answer).await;
        assert_eq!(status, code, "{said}");
        let asked = "This removes from mentions: records in SurrealDB: 1,234, points in Qdrant: unknown. Go on? [y/N]";
        assert!(said.contains(asked), "{said}");
        assert_eq!(said.contains("nothing removed"), sent == 0, "{said}");
        assert_eq!(tables.lock().unwrap().sent.len(), sent);
    }
    // Each table is asked for.
    let (status, said) = on_a_terminal(&daemon, "clear --all", "n\ny\n").await;
    assert_eq!(status, 1, "{said}");
    assert_eq!(tables.lock().unwrap().sent.last().unwrap()["table"], "mentions");
    assert_eq!(tables.lock().unwrap().sent.len(), 2);
}

#[tokio::test]
async fn of_all_tables_one_that_cannot_be_cleared_leaves_the_others_theirs() {
    let (daemon, tables) = daemon(Tables { refused: "memory", ..Tables::default() });
    let output = daemon.lockstep(&["--json", "clear", "--all", "--yes"], "").await;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(said["tables"][0]["error"]["code"], "rejected_by_surreal", "{said}");
    assert_eq!(said["tables"][1]["answer"]["state"], "committed", "{said}");
    assert_eq!(said["tables"][1]["counted"], json!({"records": 1234, "points": null}), "{said}");
    let keys: HashSet<String> =
        tables.lock().unwrap().sent.iter().map(|op| op["idempotency_key"].to_string()).collect();
    assert_eq!(keys.len(), 2, "each table's clear is one of its own");
}
