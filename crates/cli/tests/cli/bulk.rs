//! `lockstep bulk` against a daemon that goes away, stops, refuses and repeats.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use crate::support::{Daemon, stderr, stdout};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

/// What the daemon has logged, over all of its lives.
#[derive(Default)]
struct Log {
    /// The key of each operation that ran, in order.
    ran: Vec<String>,
    /// The places of idempotency keys.
    known: HashMap<String, usize>,
    /// After so many more lines it goes away without a word.
    goes_after: Option<usize>,
    /// Then it refuses as stopping instead.
    politely: bool,
    /// How many lines it has read.
    read: usize,
}

type Shared = Arc<Mutex<Log>>;

impl Log {
    fn answer(&mut self, number: u64, line: &[u8], ack: &str) -> Option<Value> {
        self.read += 1;
        if let Some(left) = self.goes_after.as_mut() {
            if *left == 0 {
                self.goes_after = None;
                let refusal = json!({"line": number, "error": {"code": "stopping", "detail": "going"}});
                return self.politely.then_some(refusal);
            }
            *left -= 1;
        }
        let op: Value = match serde_json::from_slice(line) {
            Ok(op) => op,
            Err(_) => return Some(json!({"line": number, "error": {"code": "malformed", "detail": "not JSON"}})),
        };
        let key = op["idempotency_key"].as_str().unwrap_or_default().to_owned();
        let place = *self.known.entry(key).or_insert_with(|| {
            self.ran.push(op["key"].as_str().unwrap_or_default().to_owned());
            self.ran.len()
        });
        let op_id = format!("0193b2c4-0000-7000-8000-{place:012x}");
        let bad = op["op"] == "bad";
        let state = if ack == "logged" {
            "pending"
        } else if bad {
            "rolled_back"
        } else {
            "committed"
        };
        let mut answer = json!({"line": number, "op_id": op_id, "lsn": place, "state": state});
        if state == "rolled_back" {
            answer["error"] = json!({"code": "not_found", "detail": "no such key"});
        }
        Some(answer)
    }
}

fn routes(log: &Shared) -> Router {
    let bulk = Arc::clone(log);
    let list = Arc::clone(log);
    Router::new()
        .route(
            "/v1/bulk",
            post(move |Query(query): Query<HashMap<String, String>>, body: Body| {
                let ack = query.get("ack").cloned().unwrap_or_default();
                async move { answers(bulk, ack, body) }
            }),
        )
        .route("/v1/barrier", post(|| async { r#"{"lsn":99}"# }))
        .route(
            "/v1/ops",
            get(move |Query(query): Query<HashMap<String, String>>| async move {
                let ran = list.lock().unwrap().ran.clone();
                let bad = ran.iter().enumerate().filter(|(_, key)| key.starts_with("bad:"));
                let ops: Vec<Value> = bad
                    .filter(|_| query["state"] == "rolled_back")
                    .map(|(at, key)| {
                        json!({"op_id": "0193b2c4-0000-7000-8000-000000000001", "lsn": at + 1, "op": "bad", "key": key,
                               "state": "rolled_back", "error": {"code": "not_found", "detail": "no such key"}})
                    })
                    .collect();
                json!({"ops": ops, "next": null}).to_string()
            }),
        )
}

/// Answers line by line, while the lines still come.
fn answers(log: Shared, ack: String, body: Body) -> Response {
    let start = (body.into_data_stream(), Vec::<u8>::new(), 0_u64, false);
    let lines = stream::unfold(start, move |(mut body, mut buffer, mut number, gone)| {
        let (log, ack) = (Arc::clone(&log), ack.clone());
        async move {
            if gone {
                return None;
            }
            loop {
                if let Some(end) = buffer.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = buffer.drain(..=end).collect();
                    number += 1;
                    return match log.lock().unwrap().answer(number, &line, &ack) {
                        Some(answer) => {
                            let stopping = answer["error"]["code"] == "stopping";
                            Some((Ok(Bytes::from(format!("{answer}\n"))), (body, buffer, number, stopping)))
                        }
                        // The connection breaks in the middle of the answers.
                        None => Some((Err("gone"), (body, buffer, number, true))),
                    };
                }
                match body.next().await {
                    Some(Ok(chunk)) => buffer.extend_from_slice(&chunk),
                    Some(Err(_)) | None => return None,
                }
            }
        }
    });
    Body::from_stream(lines).into_response()
}

fn puts(count: usize) -> String {
    (0..count).map(|n| format!("{{\"op\":\"put\",\"key\":\"memory:{n}\",\"document\":{{}}}}\n")).collect()
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("memory:{n}")).collect()
}

#[tokio::test]
async fn every_line_is_answered_and_a_bad_one_fails_alone() {
    let log = Shared::default();
    let daemon = Daemon::with(routes(&log));
    let input = "{\"op\":\"put\",\"key\":\"memory:0\"}\n\nnonsense\n{\"op\":\"bad\",\"key\":\"bad:1\"}\n{\"op\":\"put\",\"key\":\"memory:1\"}";
    let output = daemon.lockstep(&["bulk", "-"], input).await;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let summary = "4 lines: 2 committed, 1 refused, 1 rolled back (malformed 1, not_found 1); in ";
    assert!(stdout(&output).starts_with(summary), "{}", stdout(&output));
    let said = "lockstep: line 3: malformed: not JSON\nlockstep: line 4: not_found: no such key\n";
    assert_eq!(stderr(&output), said);
    assert_eq!(log.lock().unwrap().ran, ["memory:0", "bad:1", "memory:1"]);
}

#[tokio::test]
async fn a_second_run_repeats_nothing_unless_it_is_asked_to() {
    let log = Shared::default();
    let daemon = Daemon::with(routes(&log));
    std::fs::write(daemon.dir().join("ops.ndjson"), puts(50)).unwrap();
    for _ in 0..2 {
        let output = daemon.lockstep(&["--json", "bulk", "ops.ndjson"], "").await;
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let tally: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!((&tally["lines"], &tally["committed"]), (&json!(50), &json!(50)), "{tally}");
        assert!(tally.get("unanswered").is_none(), "{tally}");
        assert_eq!(log.lock().unwrap().ran, keys(50));
    }
    let output = daemon.lockstep(&["bulk", "ops.ndjson", "--anew"], "").await;
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(log.lock().unwrap().ran.len(), 100);
}

#[tokio::test]
async fn it_goes_on_when_the_connection_breaks_and_no_line_runs_twice_or_out_of_order() {
    for politely in [false, true] {
        let log = Shared::default();
        log.lock().unwrap().goes_after = Some(120);
        log.lock().unwrap().politely = politely;
        let daemon = Daemon::with(routes(&log));
        let output = daemon.lockstep(&["bulk", "-"], &puts(300)).await;
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).starts_with("300 lines: 300 committed; 1 reconnect; in"), "{}", stdout(&output));
        assert_eq!(log.lock().unwrap().ran, keys(300));
    }
}

#[tokio::test]
async fn a_daemon_that_does_not_come_back_is_given_up_with_the_counts_so_far() {
    let log = Shared::default();
    log.lock().unwrap().goes_after = Some(3);
    let daemon = Daemon::with(routes(&log));
    let socket = daemon.socket();
    let watched = Arc::clone(&log);
    // The socket goes with the daemon: nothing can connect again.
    let gone = tokio::spawn(async move {
        while watched.lock().unwrap().read < 4 {
            tokio::task::yield_now().await;
        }
        std::fs::remove_file(socket).unwrap();
    });
    let output = daemon.lockstep(&["bulk", "-", "--patience", "300ms"], &puts(10)).await;
    gone.await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    // What the connection still carried when it broke may be lost: answered are at most three.
    let told = |n: &u32| stdout(&output).starts_with(&format!("{n} lines: {n} committed; "));
    assert!((1..=3).any(|n| told(&n)), "{}", stdout(&output));
    assert!(stdout(&output).contains(" without an answer yet; in "), "{}", stdout(&output));
    assert!(stderr(&output).contains("did not come back within"), "{}", stderr(&output));
    assert!(stderr(&output).contains("the same command goes on"), "{}", stderr(&output));
}

#[tokio::test]
async fn programs_are_told_of_lines_without_an_answer_too() {
    let log = Shared::default();
    log.lock().unwrap().goes_after = Some(0);
    log.lock().unwrap().politely = true;
    let daemon = Daemon::with(routes(&log));
    let output = daemon.lockstep(&["--json", "bulk", "-", "--patience", "0s"], &puts(1)).await;
    assert_eq!(output.status.code(), Some(1));
    let tally: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((&tally["lines"], &tally["unanswered"]), (&json!(0), &json!(1)), "{tally}");
}

#[tokio::test]
async fn a_daemon_that_never_was_there_is_not_waited_for() {
    let daemon = Daemon::absent();
    let output = daemon.lockstep(&["bulk", "-"], &puts(1)).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is it running?"), "{}", stderr(&output));
}

#[tokio::test]
async fn with_ack_logged_all_are_waited_for_and_those_that_failed_are_found() {
    let log = Shared::default();
    let daemon = Daemon::with(routes(&log));
    let output = daemon.lockstep(&["bulk", "-", "--ack", "logged"], &puts(20)).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).starts_with("20 lines: 20 committed; in"), "{}", stdout(&output));

    let input = format!("{}{{\"op\":\"bad\",\"key\":\"bad:1\"}}\n", puts(2));
    let output = daemon.lockstep(&["bulk", "-", "--ack", "logged", "--anew"], &input).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).starts_with("3 lines: 2 committed, 1 rolled back (not_found 1); in"),
        "{}",
        stdout(&output)
    );
    assert_eq!(stderr(&output), "lockstep: line 3: not_found: no such key\n");
}

#[tokio::test]
async fn the_daemon_is_not_asked_for_more_than_the_window_while_it_does_not_answer() {
    let read = Arc::new(Mutex::new(0_usize));
    let counted = Arc::clone(&read);
    // Reads everything that is sent, and says nothing until a second has passed without a byte.
    let routes = Router::new().route(
        "/v1/bulk",
        post(move |body: Body| async move {
            let mut body = body.into_data_stream();
            let quiet = std::time::Duration::from_millis(700);
            while let Ok(Some(Ok(chunk))) = tokio::time::timeout(quiet, body.next()).await {
                *counted.lock().unwrap() += chunk.iter().filter(|&&byte| byte == b'\n').count();
            }
            let refusals = stream::iter([Ok::<_, Infallible>(r#"{"line":1,"error":{"code":"wal_full","detail":""}}"#)]);
            Body::from_stream(refusals).into_response()
        }),
    );
    let daemon = Daemon::with(routes);
    let output = daemon.lockstep(&["bulk", "-", "--patience", "0s"], &puts(20_000)).await;
    assert_eq!(output.status.code(), Some(1));
    let lines = *read.lock().unwrap();
    assert!((1_000..=8_192).contains(&lines), "{lines} lines were sent before any answer");
}

#[tokio::test]
async fn an_empty_input_is_all_committed() {
    let daemon = Daemon::with(routes(&Shared::default()));
    let output = daemon.lockstep(&["bulk", "-"], "\n\n").await;
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).starts_with("0 lines: 0 committed"), "{}", stdout(&output));
}
