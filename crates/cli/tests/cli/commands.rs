//! What the commands send, and how they tell the answer.

use std::io::Read;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use crate::support::{Daemon, lockstep, stderr, stdout};
use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;

type Requests = Arc<Mutex<Vec<(String, String)>>>;

/// A daemon that gives one answer to everything, and keeps what it was asked.
fn always(status: u16, body: &'static str) -> (Daemon, Requests) {
    let requests = Requests::default();
    let kept = Arc::clone(&requests);
    let routes = Router::new().fallback(move |uri: Uri, asked: Bytes| {
        let asked = String::from_utf8(asked.to_vec()).unwrap();
        kept.lock().unwrap().push((uri.to_string(), asked));
        async move {
            let kind = if status < 400 { "application/json" } else { "application/problem+json" };
            (StatusCode::from_u16(status).unwrap(), [("content-type", kind)], body).into_response()
        }
    });
    (Daemon::with(routes), requests)
}

const COMMITTED: &str = r#"{"op_id":"0193b2c4-0000-7000-8000-00000000002a","lsn":42,"version":7,"state":"committed","key":"memory:01","new":"field"}"#;
const PENDING: &str =
    r#"{"op_id":"0193b2c4-0000-7000-8000-00000000002a","lsn":42,"version":7,"state":"pending","key":"memory:01"}"#;

#[tokio::test]
async fn each_command_sends_what_the_contract_says() {
    let (daemon, requests) = always(200, COMMITTED);
    std::fs::write(daemon.dir().join("v"), "AACAPw==\n").unwrap();
    let cases: &[(&[&str], &str, &str, &str)] = &[
        (
            &[
                "put",
                "memory:01",
                "--document",
                r#"{"n":1.0}"#,
                "--vector",
                "[1,0]",
                "--if-absent",
                "--idempotency-key",
                "k",
            ],
            "",
            "/v1/ops?ack=committed",
            r#"{"op":"put","key":"memory:01","document":{"n":1.0},"vector":[1,0],"if_absent":true,"idempotency_key":"k"}"#,
        ),
        (
            &["put", "memory:01", "--document", "-", "--vector", "@v", "--ack", "logged"],
            "{}",
            "/v1/ops?ack=logged",
            r#"{"op":"put","key":"memory:01","document":{},"vector":"AACAPw=="}"#,
        ),
        (
            &["patch", "memory:01", "--document", r#"{"a":null}"#, "--if-version", "7", "--timeout", "5s"],
            "",
            "/v1/ops?ack=committed&timeout=5000ms",
            r#"{"op":"patch","key":"memory:01","document":{"a":null},"if_version":7}"#,
        ),
        (
            &["patch", "memory:01", "--vector", "[1,0]"],
            "",
            "/v1/ops?ack=committed",
            r#"{"op":"patch","key":"memory:01","vector":[1,0]}"#,
        ),
        (
            &["patch", "memory:01", "--document", r#"{"a":1}"#, "--vectors", r#"{"title":[1]}"#],
            "",
            "/v1/ops?ack=committed",
            r#"{"op":"patch","key":"memory:01","document":{"a":1},"vectors":{"title":[1]}}"#,
        ),
        (&["delete", "memory:01"], "", "/v1/ops?ack=committed", r#"{"op":"delete","key":"memory:01"}"#),
        (
            &["relate", "mentions", "memory:01", "person:7", "--document", r#"{"w":1}"#],
            "",
            "/v1/ops?ack=committed",
            r#"{"op":"relate","edge":"mentions","from":"memory:01","to":"person:7","document":{"w":1}}"#,
        ),
        (
            &["unrelate", "mentions", "memory:01", "person:7"],
            "",
            "/v1/ops?ack=committed",
            r#"{"op":"unrelate","edge":"mentions","from":"memory:01","to":"person:7"}"#,
        ),
        (
            &["atomic", "-"],
            r#"[{"op":"delete","key":"memory:01"}]"#,
            "/v1/ops?ack=committed",
            r#"{"op":"atomic","ops":[{"op":"delete","key":"memory:01"}]}"#,
        ),
        (
            &["atomic", "-", "--idempotency-key", "k"],
            "{\"op\":\"delete\",\"key\":\"memory:01\"}\n{\"op\":\"delete\",\"key\":\"memory:2\"}\n",
            "/v1/ops?ack=committed",
            r#"{"op":"atomic","ops":[{"op":"delete","key":"memory:01"},{"op":"delete","key":"memory:2"}],"idempotency_key":"k"}"#,
        ),
        (
            &["atomic", "-", "--ack", "logged"],
            r#"{"ops":[{"op":"delete","key":"memory:01"}],"new":1}"#,
            "/v1/ops?ack=logged",
            r#"{"op":"atomic","ops":[{"op":"delete","key":"memory:01"}],"new":1}"#,
        ),
        (
            &["clear", "memory", "--where", r#"{"ws":"w1"}"#, "--yes", "--idempotency-key", "k"],
            "",
            "/v1/ops?ack=committed&timeout=5000ms",
            r#"{"op":"clear","table":"memory","where":{"ws":"w1"},"idempotency_key":"k"}"#,
        ),
        (&["pause", "qdrant"], "", "/v1/pause", r#"{"store":"qdrant"}"#),
        (&["resume", "memory"], "", "/v1/resume", r#"{"table":"memory"}"#),
        (&["audit"], "", "/v1/audit", r#"{"table":null}"#),
        (&["repair", "memory", "--apply"], "", "/v1/repair", r#"{"table":"memory","apply":true}"#),
        (&["backfill", "memory"], "", "/v1/backfill", r#"{"table":"memory"}"#),
    ];
    for (arguments, input, uri, body) in cases {
        let output = daemon.lockstep(arguments, input).await;
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        let asked = requests.lock().unwrap().pop().unwrap();
        assert_eq!(asked, ((*uri).to_owned(), (*body).to_owned()), "{arguments:?}");
    }
}

#[tokio::test]
async fn json_is_what_the_daemon_answered_with_fields_that_are_not_known() {
    let (daemon, _) = always(200, COMMITTED);
    let output = daemon.lockstep(&["--json", "delete", "memory:01"], "").await;
    assert_eq!(stdout(&output), format!("{COMMITTED}\n"));
    let output = daemon.lockstep(&["delete", "memory:01"], "").await;
    let expected = "committed memory:01  version 7  lsn 42  op 0193b2c4-0000-7000-8000-00000000002a\n";
    assert_eq!(stdout(&output), expected);
}

#[tokio::test]
async fn what_is_not_committed_yet_is_not_success_unless_only_logging_was_asked_for() {
    let (daemon, _) = always(202, PENDING);
    let output = daemon.lockstep(&["delete", "memory:01"], "").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("not committed yet, but pending"), "{}", stderr(&output));
    let output = daemon.lockstep(&["delete", "memory:01", "--ack", "logged"], "").await;
    assert!(output.status.success());
}

#[tokio::test]
async fn a_refusal_is_told_on_stderr_with_its_code() {
    let problem = r#"{"type":"about:blank","title":"Not built yet","status":501,"code":"not_implemented","detail":"that comes later"}"#;
    let (daemon, _) = always(501, problem);
    let output = daemon.lockstep(&["query", "RETURN 1"], "").await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output), "lockstep: not_implemented (501): that comes later\n");
    let output = daemon.lockstep(&["--json", "query", "RETURN 1"], "").await;
    let said: serde_json::Value = serde_json::from_str(&stderr(&output)).unwrap();
    assert_eq!(said["code"], "not_implemented");
}

#[tokio::test]
async fn an_entity_is_asked_for_by_its_escaped_id_and_shown_short() {
    let entity = r#"{"key":"memory:a/b","verdict":"consistent","surreal":{"found":true,"version":7,"document":{"t":1}},
        "qdrant":{"found":true,"version":7,"vectors":{"default":[1,0,0]}},"open_ops":[]}"#;
    let (daemon, requests) = always(200, entity);
    let output = daemon.lockstep(&["get", "memory:a/b ü"], "").await;
    assert_eq!(requests.lock().unwrap()[0].0, "/v1/entities/memory/a%2Fb%20%C3%BC");
    assert!(stdout(&output).contains("vector   default [3 f32]"), "{}", stdout(&output));
}

#[tokio::test]
async fn a_pause_says_what_ends_it() {
    let (daemon, _) = always(200, "{}");
    let output = daemon.lockstep(&["pause", "memory"], "").await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for part in ["`lockstep resume memory`", "a restart of lockstepd"] {
        assert!(stdout(&output).contains(part), "{}", stdout(&output));
    }
}

#[tokio::test]
async fn a_barrier_that_is_not_reached_is_no_success() {
    let (daemon, requests) = always(200, r#"{"lsn":42}"#);
    assert!(daemon.lockstep(&["wait"], "").await.status.success());
    assert_eq!(requests.lock().unwrap()[0].0, "/v1/barrier?timeout=30000ms");
    let (daemon, _) = always(202, r#"{"lsn":42}"#);
    let output = daemon.lockstep(&["--json", "wait", "--timeout", "1s"], "").await;
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn readiness_is_an_exit_code_with_its_reasons() {
    let (daemon, requests) = always(200, r#"{"ready":true,"reasons":[]}"#);
    let output = daemon.lockstep(&["status", "--ready"], "").await;
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "ready\n"));
    assert_eq!(requests.lock().unwrap()[0].0, "/readyz");
    let (daemon, _) = always(503, r#"{"ready":false,"reasons":["stopping","table memory is paused"]}"#);
    let output = daemon.lockstep(&["status", "--ready"], "").await;
    let said = "not ready: stopping; table memory is paused\n";
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), said));
}

#[tokio::test]
async fn a_closed_pipe_is_no_reason_to_fail() {
    let (daemon, _) = always(200, COMMITTED);
    let mut command = lockstep(&["delete", "memory:01"]);
    command.env("LOCKSTEP_SOCKET", daemon.socket()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let (status, said) = tokio::task::spawn_blocking(move || {
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (child.wait().unwrap(), said)
    })
    .await
    .unwrap();
    assert!(status.success(), "{said}");
    assert_eq!(said, "");
}
