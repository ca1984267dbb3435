//! What must never reach the log.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockstep_api::{Ack, Client, OpsFilter};
use lockstep_model::OpId;
use lockstep_tests::raw_http::{RawAnswer, post, request_head};
use lockstep_tests::wait::run;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use crate::support::{bulk, commit, fresh};

const OPS: &str = "/v1/ops?ack=committed&timeout=30s";

fn put(document: Value, rest: Value) -> Vec<u8> {
    let mut body = json!({"op": "put", "key": "memory:9", "document": document});
    if let (Value::Object(body), Value::Object(rest)) = (&mut body, rest) {
        body.extend(rest);
    }
    body.to_string().into_bytes()
}

fn vector(vector: Value) -> Vec<u8> {
    put(json!({}), json!({"vector": vector}))
}

fn floats(values: &[f32]) -> String {
    STANDARD.encode(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

/// Every bad body, with the status and the code that it must get.
fn bodies() -> Vec<(&'static str, Vec<u8>, u16, &'static str)> {
    let raw = |text: &str| text.as_bytes().to_vec();
    let key = |key: &str| json!({"op": "put", "key": key, "document": {}}).to_string().into_bytes();
    let long = "x".repeat(257);
    let deep = |open: &str, close: &str| {
        let (open, close) = (open.repeat(100_000), close.repeat(100_000));
        format!(r#"{{"op":"put","key":"memory:9","document":{{"a":{open}1{close}}}}}"#).into_bytes()
    };
    let odd = STANDARD.encode([1, 2, 3, 4, 5]);
    vec![
        ("nothing", raw(""), 400, "malformed"),
        ("broken JSON", raw(r#"{"op":"put","#), 400, "malformed"),
        ("two values", raw(r#"{"op":"delete","key":"memory:1"} {}"#), 400, "malformed"),
        ("no object", raw("[1,2,3]"), 400, "malformed"),
        ("unknown op", raw(r#"{"op":"upsert","key":"memory:9","document":{}}"#), 400, "malformed"),
        ("no op", raw(r#"{"key":"memory:9","document":{}}"#), 400, "malformed"),
        ("key without colon", key("memory"), 400, "malformed"),
        ("key without id", key("memory:"), 400, "malformed"),
        ("key without table", key(":9"), 400, "malformed"),
        ("bad table", key("1memory:9"), 400, "malformed"),
        ("reserved table", key("_lockstep_x:9"), 400, "malformed"),
        ("reserved table", key("lockstep_vector:9"), 400, "malformed"),
        ("long id", key(&format!("memory:{long}")), 400, "malformed"),
        ("control character in the id", key("memory:a\u{7}b"), 400, "malformed"),
        ("NaN as a number", raw(r#"{"op":"put","key":"memory:9","document":{},"vector":[NaN,1,2]}"#), 400, "malformed"),
        ("infinity as a number", raw(r#"{"op":"put","key":"memory:9","document":{"a":Infinity}}"#), 400, "malformed"),
        ("a number beyond f64", raw(r#"{"op":"put","key":"memory:9","document":{"a":1e999}}"#), 400, "malformed"),
        ("a number beyond f32", vector(json!([1e39, 1, 2])), 400, "malformed"),
        ("NaN in base64", vector(json!(floats(&[f32::NAN, 1.0, 2.0]))), 400, "malformed"),
        ("infinity in base64", vector(json!(floats(&[f32::INFINITY, 1.0, 2.0]))), 400, "malformed"),
        ("empty vector", vector(json!([])), 400, "malformed"),
        ("empty base64", vector(json!("")), 400, "malformed"),
        ("odd base64", vector(json!(odd)), 400, "malformed"),
        ("no base64", vector(json!("%%%")), 400, "malformed"),
        ("text in a vector", vector(json!([1, "2", 3])), 400, "malformed"),
        ("wrong dimension", vector(json!([1, 2])), 422, "dimension_mismatch"),
        ("wrong dimension in base64", vector(json!(floats(&[1.0; 4]))), 422, "dimension_mismatch"),
        ("unknown vector name", put(json!({}), json!({"vectors": {"title": [1, 2, 3]}})), 422, "unknown_vector"),
        ("reserved field", put(json!({"_lockstep": {"v": 1}}), json!({})), 400, "malformed"),
        ("another id", put(json!({"id": "10"}), json!({})), 400, "malformed"),
        (
            "in of an edge",
            raw(r#"{"op":"relate","edge":"e","from":"memory:1","to":"memory:2","document":{"in":1}}"#),
            400,
            "malformed",
        ),
        ("a bad datetime", put(json!({"a": {"$datetime": "soon"}}), json!({})), 400, "malformed"),
        ("a bad uuid", put(json!({"a": {"$uuid": "no"}}), json!({})), 400, "malformed"),
        ("a bad decimal", put(json!({"a": {"$decimal": "one"}}), json!({})), 400, "malformed"),
        ("a bad record link", put(json!({"a": {"$record": "nowhere"}}), json!({})), 400, "malformed"),
        ("bad bytes", put(json!({"a": {"$bytes": "%"}}), json!({})), 400, "malformed"),
        ("an unknown tag", put(json!({"a": {"$geometry": 1}}), json!({})), 400, "malformed"),
        (
            "invalid UTF-8",
            b"{\"op\":\"put\",\"key\":\"memory:9\",\"document\":{\"a\":\"\xff\xfe\"}}".to_vec(),
            400,
            "malformed",
        ),
        ("half a surrogate", raw(r#"{"op":"put","key":"memory:9","document":{"a":"\ud800"}}"#), 400, "malformed"),
        ("100,000 arrays", deep("[", "]"), 400, "malformed"),
        ("100,000 objects", deep(r#"{"a":"#, "}"), 400, "malformed"),
        ("100,000 brackets and no end", raw(&"[".repeat(100_000)), 400, "malformed"),
        ("an empty group", raw(r#"{"op":"atomic","ops":[]}"#), 400, "malformed"),
        ("100 MB", put(json!({"a": "x".repeat(100 << 20)}), json!({})), 413, "too_large"),
    ]
}

/// The newest operation of the log: when it is the same as before, nothing has been logged.
async fn newest(client: &Client) -> Result<Option<OpId>> {
    let page = client.ops(&OpsFilter { limit: Some(1), ..OpsFilter::default() }).await?;
    Ok(page.ops.first().map(|op| op.op_id))
}

fn check(name: &str, answer: &RawAnswer, status: u16, code: &str) -> Result<()> {
    let json = answer.json();
    let right = answer.status == status
        && json.get("code") == Some(&json!(code))
        && json.get("status") == Some(&json!(status))
        && json.get("lsn").is_none_or(Value::is_null)
        && answer.head.contains("application/problem+json");
    ensure!(right, "{name}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    let detail = json.get("detail").and_then(Value::as_str).unwrap_or_default();
    ensure!(!detail.is_empty() && detail.len() < 4096, "{name}: the detail has {} bytes", detail.len());
    Ok(())
}

/// P5, P6: each bad body gets its code as a problem document, nothing of it is logged, and the daemon goes on as if nothing had been.
/// Fails when a body is parsed by recursion, read whole before it is measured, or logged before it is judged.
#[test]
fn p5_bad_input_is_refused_before_the_log_and_harms_nobody() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        let daemon = launch.ready().await?;
        let client = daemon.client();
        let good = json!({"op": "put", "key": "memory:1", "document": {"good": true}, "vector": [1, 2, 3]});
        let first = commit(client, &good).await?;
        for (name, body, status, code) in bodies() {
            let answer = post(client.socket(), OPS, &body).await.with_context(|| name.to_owned())?;
            check(name, &answer, status, code)?;
        }
        ensure!(newest(client).await? == Some(first.op_id), "something bad was logged");
        ensure!(client.entity("memory:9").await?.verdict == "not_found");
        commit(client, &good).await?;
        client.healthz().await?;
        ensure!(client.readyz().await?.ready);
        daemon.terminate().await.map(drop)
    })
}

/// P5: a bad line of a bulk fails alone, with the same code; blank lines are counted, not answered.
/// Fails when one line ends the stream, or shifts the numbers of the others.
#[test]
fn p5_a_bad_line_fails_alone() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        let daemon = launch.ready().await?;
        commit(daemon.client(), &json!({"op": "put", "key": "memory:1", "document": {}, "vector": [1, 2, 3]})).await?;
        let mut lines = Vec::new();
        let mut wanted = Vec::new();
        let bad = bodies().into_iter().filter(|(name, ..)| !matches!(*name, "nothing" | "100 MB"));
        for (number, (name, body, _, code)) in bad.enumerate() {
            lines.extend_from_slice(&body);
            lines.extend_from_slice(b"\n\n");
            wanted.push((name, Some(code)));
            let good = json!({"op": "put", "key": format!("memory:good{number}"), "document": {}, "vector": [1, 2, 3]});
            lines.extend_from_slice(format!("{good}\r\n").as_bytes());
            wanted.push(("good", None));
        }
        let too_long = format!(r#"{{"op":"put","key":"memory:9","document":{{"a":"{}"}}}}"#, "x".repeat(9 << 20));
        lines.extend_from_slice(too_long.as_bytes());
        wanted.push(("too long", Some("too_large")));
        let answers = bulk(daemon.client(), lines, Ack::Committed).await?;
        ensure!(answers.len() == wanted.len(), "{} answers to {} lines", answers.len(), wanted.len());
        for (place, (answer, (name, code))) in answers.iter().zip(&wanted).enumerate() {
            // A bad line, a blank one and a good one make three.
            let line = (place / 2 * 3 + if place % 2 == 0 { 1 } else { 3 }) as u64;
            let told = answer.error.as_ref().map(|error| error.code.as_str());
            ensure!(told == *code && answer.line == line, "{name}, line {line}: {answer:?}");
            ensure!(code.is_none() || answer.lsn.is_none(), "{name} was logged: {answer:?}");
        }
        daemon.terminate().await.map(drop)
    })
}

/// P6: clients that hang in the middle of a body, and a thousand that say nothing, keep nobody else from being served.
/// Fails when connections are served one after the other, or a half body holds a lock.
#[test]
fn p6_hanging_and_idle_clients_keep_nobody_waiting() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        let daemon = launch.ready().await?;
        let socket = daemon.client().socket().to_owned();
        let mut hanging = Vec::new();
        for path in [OPS, "/v1/bulk?ack=committed", "/v1/search", "/v1/query"] {
            let mut stream = UnixStream::connect(&socket).await?;
            let body = r#"{"op":"put","key":"memory:9","document":{"#;
            stream.write_all(format!("{}{body}", request_head(path, 1000)).as_bytes()).await?;
            hanging.push(stream);
        }
        for _ in 0..1000 {
            hanging.push(UnixStream::connect(&socket).await?);
        }
        let client = daemon.client();
        for number in 0..20 {
            let body = json!({"op": "put", "key": format!("memory:{number}"), "document": {}, "vector": [1, 2, 3]});
            tokio::time::timeout(Duration::from_secs(10), commit(client, &body)).await.context("kept waiting")??;
        }
        ensure!(client.entity("memory:9").await?.surreal.found == Some(true), "the ninth of the twenty");
        drop(hanging);
        ensure!(client.readyz().await?.ready);
        daemon.terminate().await.map(drop)
    })
}
