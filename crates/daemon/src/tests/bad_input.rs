//! Bad input: each with its code, nothing logged, the daemon unharmed.

use std::time::{Duration, Instant};

use lockstep_engine::Settings;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::support::{Fixture, Wanted, read, run};

fn nested(levels: usize) -> Vec<u8> {
    let mut body = br#"{"op":"put","key":"a:1","document":{"a":"#.to_vec();
    body.extend(std::iter::repeat_n(b'[', levels));
    body.extend(std::iter::repeat_n(b']', levels));
    body.extend(b"}}");
    body
}

/// What is wrong, the body, and what it is answered with.
fn bad_operations() -> Vec<(&'static str, Vec<u8>, u16, &'static str)> {
    let put = |rest: &str| format!(r#"{{"op":"put","key":"memory:9",{rest}}}"#).into_bytes();
    let key = |key: &str| format!(r#"{{"op":"put","key":{key},"document":{{}}}}"#).into_bytes();
    let long_key = format!("\"memory:{}\"", "x".repeat(257));
    vec![
        ("nothing", Vec::new(), 400, "malformed"),
        ("broken JSON", b"{".to_vec(), 400, "malformed"),
        ("something after it", br#"{"op":"delete","key":"a:1"} x"#.to_vec(), 400, "malformed"),
        ("no object", b"[1]".to_vec(), 400, "malformed"),
        ("unknown op", br#"{"op":"upsert","key":"a:1"}"#.to_vec(), 400, "malformed"),
        ("no op", br#"{"key":"a:1"}"#.to_vec(), 400, "malformed"),
        ("misspelt field", put(r#""document":{},"vectr":[1]"#), 400, "malformed"),
        ("field twice", put(r#""document":{},"document":{}"#), 400, "malformed"),
        ("key without colon", key("\"m\""), 400, "malformed"),
        ("key without id", key("\"memory:\""), 400, "malformed"),
        ("key with control character", key(r#""memory:a\u0000b""#), 400, "malformed"),
        ("key too long", key(&long_key), 400, "malformed"),
        ("table name", key("\"1m:1\""), 400, "malformed"),
        ("reserved table", key("\"lockstep_vector:1\""), 400, "malformed"),
        ("key that is a number", key("7"), 400, "malformed"),
        ("NaN", put(r#""document":{"a":NaN}"#), 400, "malformed"),
        ("infinity", put(r#""document":{"a":1e999}"#), 400, "malformed"),
        ("integer too large", put(r#""document":{"a":9223372036854775808}"#), 400, "malformed"),
        ("NaN in a vector", put(r#""document":{},"vector":[NaN]"#), 400, "malformed"),
        ("infinity in a vector", put(r#""document":{},"vector":[1e39,0,0]"#), 400, "malformed"),
        ("infinity in base64", put(r#""document":{},"vector":"AACAfwAAAAAAAAAA""#), 400, "malformed"),
        ("wrong dimension", put(r#""document":{},"vector":[1]"#), 422, "dimension_mismatch"),
        ("wrong kind", put(r#""document":{},"vector":[[1,2,3]]"#), 422, "dimension_mismatch"),
        ("unknown vector name", put(r#""document":{},"vectors":{"titel":[1,2,3]}"#), 422, "unknown_vector"),
        ("empty vector", put(r#""document":{},"vector":[]"#), 400, "malformed"),
        ("null vector", put(r#""document":{},"vector":null"#), 400, "malformed"),
        ("odd base64", put(r#""document":{},"vector":"AAA""#), 400, "malformed"),
        ("base64 of half a float", put(r#""document":{},"vector":"AAAA""#), 400, "malformed"),
        ("no base64", put(r#""document":{},"vector":"???""#), 400, "malformed"),
        ("reserved field", put(r#""document":{"_lockstep":1}"#), 400, "malformed"),
        (
            "reserved field of an edge",
            br#"{"op":"relate","edge":"e","from":"a:1","to":"a:2","document":{"in":1}}"#.to_vec(),
            400,
            "malformed",
        ),
        ("another id", put(r#""document":{"id":"8"}"#), 400, "malformed"),
        ("bad datetime", put(r#""document":{"a":{"$datetime":"soon"}}"#), 400, "malformed"),
        ("unknown tag", put(r#""document":{"a":{"$nope":1}}"#), 400, "malformed"),
        ("bad uuid", put(r#""document":{"a":{"$uuid":"x"}}"#), 400, "malformed"),
        ("bad record", put(r#""document":{"a":{"$record":"x"}}"#), 400, "malformed"),
        ("bad bytes", put(r#""document":{"a":{"$bytes":"?"}}"#), 400, "malformed"),
        (
            "invalid UTF-8",
            put("\"document\":{\"a\":\"\u{fffd}\"}").into_iter().map(|b| if b == 0xef { 0xff } else { b }).collect(),
            400,
            "malformed",
        ),
        ("nested a little too deep", nested(133), 400, "malformed"),
        ("100,000 levels", nested(100_000), 400, "malformed"),
        ("if_version", br#"{"op":"delete","key":"a:1","if_version":-1}"#.to_vec(), 400, "malformed"),
        ("empty idempotency key", br#"{"op":"delete","key":"a:1","idempotency_key":""}"#.to_vec(), 400, "malformed"),
        ("empty group", br#"{"op":"atomic","ops":[]}"#.to_vec(), 400, "malformed"),
        ("empty where", br#"{"op":"clear","table":"a","where":{}}"#.to_vec(), 400, "malformed"),
        ("too large", vec![b' '; (1 << 20) + 1], 413, "too_large"),
        ("100 MB", vec![b'x'; 100_000_000], 413, "too_large"),
    ]
}

#[test]
fn bad_operations_are_refused_and_leave_no_trace() {
    run(async {
        let daemon = Fixture::start().await;
        let first = daemon.op(br#"{"op":"put","key":"memory:1","document":{},"vector":[1,2,3]}"#).await;
        assert_eq!(first.status, 200, "{first:?}");
        daemon.is_well().await;
        let before = daemon.last_lsn();
        for (name, body, status, code) in bad_operations() {
            let answer = daemon.op(&body).await;
            let problem = answer.json();
            assert_eq!((answer.status, &problem["code"]), (status, &json!(code)), "{name}: {problem}");
            assert!(answer.head.contains("content-type: application/problem+json"), "{name}");
            assert!(answer.body.len() < 4096, "{name}: {problem}");
            assert!(problem.get("lsn").is_none(), "{name}");
        }
        assert_eq!(daemon.last_lsn(), before);

        // The same as lines of one request: each fails alone.
        let short = bad_operations().into_iter().filter(|(_, body, ..)| !body.is_empty() && body.len() < 1 << 20);
        let mut body = Vec::new();
        let mut wanted = Vec::new();
        for (name, line, _, code) in short {
            body.extend(line);
            body.push(b'\n');
            wanted.push((name, code));
        }
        body.extend(br#"{"op":"delete","key":"well:1"}"#);
        let lines = daemon.post("/v1/bulk", body).await.lines();
        assert_eq!(lines.len(), wanted.len() + 1);
        for (line, (name, code)) in lines.iter().zip(&wanted) {
            assert_eq!(line["error"]["code"], *code, "{name}: {line}");
            assert!(line.get("lsn").is_none(), "{name}: {line}");
        }
        assert_eq!(lines.last().unwrap()["state"], "committed");
        assert_eq!(daemon.app.bodies.memory.free_bytes(), 256 << 20);
        daemon.is_well().await;
        daemon.stop().await;
    });
}

#[test]
fn bad_requests_are_refused_as_problems() {
    run(async {
        let daemon = Fixture::start().await;
        let before = daemon.last_lsn();
        let delete = r#"{"op":"delete","key":"a:1"}"#;
        for (method, path, header, body, status, code) in [
            ("GET", "/v1/nothing", "", "", 404, "not_found"),
            ("GET", "/", "", "", 404, "not_found"),
            ("DELETE", "/v1/ops", "", "", 405, "malformed"),
            ("GET", "/v1/bulk", "", "", 405, "malformed"),
            ("POST", "/v1/ops?ack=maybe", "", delete, 400, "malformed"),
            ("POST", "/v1/ops?timeout=5", "", delete, 400, "malformed"),
            ("POST", "/v1/ops?timeout=2days", "", delete, 400, "malformed"),
            ("POST", "/v1/ops?wait=1s", "", delete, 400, "malformed"),
            ("POST", "/v1/ops", "idempotency-key: a\r\nidempotency-key: b\r\n", delete, 400, "malformed"),
            ("POST", "/v1/bulk", "idempotency-key: a\r\n", delete, 400, "malformed"),
            ("POST", "/v1/bulk?timeout=1s", "", delete, 400, "malformed"),
            ("POST", "/v1/barrier?timeout=soon", "", "", 400, "malformed"),
            ("GET", "/v1/ops/nope", "", "", 404, "not_found"),
            ("POST", "/v1/ops/nope/retry", "", "", 404, "not_found"),
            ("GET", "/v1/ops/0193b2c4-0000-7000-8000-000000000000", "", "", 404, "not_found"),
            ("GET", "/v1/ops?state=done", "", "", 400, "malformed"),
            ("GET", "/v1/ops?limit=1001", "", "", 400, "malformed"),
            ("GET", "/v1/ops?cursor=x", "", "", 400, "malformed"),
            ("GET", "/v1/ops?key=x", "", "", 400, "malformed"),
            ("GET", "/v1/status?verbose=1", "", "", 400, "malformed"),
            ("GET", "/v1/entities/memory/9?with_vector=1", "", "", 400, "malformed"),
            ("POST", "/v1/search?limit=1", "", "{}", 400, "malformed"),
            ("GET", "/v1/entities/memory/%ff", "", "", 400, "malformed"),
            ("GET", "/v1/entities/lockstep_meta/1", "", "", 400, "malformed"),
            ("POST", "/v1/search", "", "{}", 400, "malformed"),
            ("POST", "/v1/search", "", r#"{"table":"a","vector":[1],"filtr":{}}"#, 400, "malformed"),
            ("POST", "/v1/search", "", r#"{"table":"a","vector":[1],"limit":0}"#, 400, "malformed"),
            ("POST", "/v1/search", "", r#"{"table":"a","vector":[1],"filter":{}}"#, 400, "malformed"),
            ("POST", "/v1/query", "", r#"{"query":"DELETE memory"}"#, 400, "malformed"),
            ("POST", "/v1/query", "", r#"{"query":"SELECT FROM WHERE"}"#, 400, "malformed"),
            ("POST", "/v1/query", "", r#"{"query":7}"#, 400, "malformed"),
            ("POST", "/v1/pause", "", r#"{"store":"redis"}"#, 400, "malformed"),
            ("POST", "/v1/pause", "", r#"{"store":"qdrant","table":"a"}"#, 400, "malformed"),
        ] {
            let answer = daemon.send(method, path, header, body.as_bytes()).await;
            let problem = answer.json();
            assert_eq!((answer.status, &problem["code"]), (status, &json!(code)), "{method} {path} {body}: {problem}");
            assert_eq!(problem["status"], status);
            assert!(answer.head.contains("content-type: application/problem+json"), "{method} {path}");
        }
        assert_eq!(daemon.last_lsn(), before);
        daemon.stop().await;
    });
}

/// A table that nobody has named before is empty where its first operation may make it, and unknown where it may not.
#[test]
fn unknown_tables_are_unknown_where_they_are_not_made() {
    for (auto_create, status) in [(true, 200), (false, 404)] {
        run(async move {
            let settings = Settings { auto_create, ..Settings::default() };
            let daemon = Fixture::with(Wanted { settings, ..Wanted::default() }).await;
            let search = daemon.post("/v1/search", r#"{"table":"nowhere","vector":[1]}"#).await;
            let pause = daemon.post("/v1/pause", r#"{"table":"nowhere"}"#).await;
            let resume = daemon.post("/v1/resume", r#"{"table":"nowhere"}"#).await;
            for answer in [&search, &pause, &resume] {
                assert_eq!(answer.status, status, "{answer:?}");
                assert!(status == 200 || answer.json()["code"] == "unknown_table", "{answer:?}");
            }
            assert!(status == 404 || search.json() == serde_json::json!({"hits": [], "dropped": 0}), "{search:?}");
            daemon.stop().await;
        });
    }
}

#[test]
fn a_client_that_hangs_mid_body_is_cut() {
    run(async {
        let daemon = Fixture::with(Wanted { idle: Duration::from_millis(100), ..Wanted::default() }).await;
        let before = daemon.last_lsn();
        let mut hanging = daemon.connect().await;
        hanging
            .write_all(b"POST /v1/ops HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n{\"op\":")
            .await
            .unwrap();
        let mut bulk = daemon.connect().await;
        bulk.write_all(b"POST /v1/bulk HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n{\"op\":").await.unwrap();
        daemon.is_well().await;
        let well = daemon.last_lsn();
        let answer = read(&mut hanging).await;
        assert_eq!((answer.status, answer.json()["code"].clone()), (400, json!("malformed")));
        let answer = read(&mut bulk).await;
        let lines = answer.lines();
        assert_eq!((lines.len(), &lines[0]["line"], &lines[0]["error"]["code"]), (1, &json!(1), &json!("malformed")));
        assert!(well > before);
        assert_eq!(daemon.last_lsn(), well);
        assert_eq!(daemon.app.bodies.memory.free_bytes(), 256 << 20);
        daemon.stop().await;
    });
}

#[test]
fn what_is_announced_as_too_much_is_refused_before_it_comes() {
    run(async {
        let daemon = Fixture::start().await;
        let mut stream = daemon.connect().await;
        let head = "POST /v1/ops HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 100000000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let asked = Instant::now();
        let answer = read(&mut stream).await;
        assert_eq!((answer.status, answer.json()["code"].clone()), (413, json!("too_large")));
        assert!(asked.elapsed() < Duration::from_secs(2));
        daemon.stop().await;
    });
}
