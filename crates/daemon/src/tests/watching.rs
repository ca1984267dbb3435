//! Those who watch: metrics, events, the description, and what the service manager hears.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::support::{Fixture, PATIENCE, Wanted, read, run, wait_until};
use crate::metrics::parser::{Family, parse};

async fn metrics(daemon: &Fixture) -> BTreeMap<String, Family> {
    let answer = daemon.get("/metrics").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    let text = String::from_utf8(answer.body).unwrap();
    parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn value(families: &BTreeMap<String, Family>, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let wanted: BTreeMap<String, String> =
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut samples = families.get(name).unwrap_or_else(|| panic!("{name}")).samples.iter();
    samples.find(|sample| sample.labels == wanted).map(|sample| sample.value)
}

/// How many values a histogram has seen.
fn count(families: &BTreeMap<String, Family>, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let wanted: BTreeMap<String, String> =
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let counts = format!("{name}_count");
    let mut samples = families.get(name).unwrap_or_else(|| panic!("{name}")).samples.iter();
    samples.find(|sample| sample.name == counts && sample.labels == wanted).map(|sample| sample.value)
}

#[test]
fn metrics_show_what_is_so() {
    run(async {
        let daemon = Fixture::start().await;
        daemon.is_well().await;
        let put = r#"{"op":"put","key":"m:1","document":{},"vector":[1,0]}"#;
        assert_eq!(daemon.post("/v1/ops", put).await.status, 200);
        let now = metrics(&daemon).await;
        assert_eq!(value(&now, "lockstep_ready", &[]), Some(1.0));
        assert_eq!(value(&now, "lockstep_store_state", &[("store", "surreal"), ("state", "up")]), Some(1.0));
        assert_eq!(value(&now, "lockstep_store_state", &[("store", "surreal"), ("state", "down")]), Some(0.0));
        assert_eq!(value(&now, "lockstep_open_ops", &[("state", "pending")]), Some(0.0));
        assert_eq!(value(&now, "lockstep_oldest_open_op_seconds", &[]), None, "nothing is open: no age, and not 0");
        assert_eq!(value(&now, "lockstep_store_down_seconds", &[("store", "qdrant")]), None);
        assert!(value(&now, "lockstep_connections", &[]) >= Some(1.0));
        assert!(value(&now, "lockstep_log_last_lsn", &[]) > Some(0.0));
        assert!(value(&now, "lockstep_start_time_seconds", &[]) > Some(1.0e9));
        assert!(count(&now, "lockstep_log_fsync_seconds", &[]) >= Some(1.0));
        for stage in ["logged", "surreal", "qdrant", "total"] {
            assert!(count(&now, "lockstep_stage_seconds", &[("stage", stage)]) >= Some(1.0), "{stage}");
        }

        daemon.post("/v1/pause", r#"{"store":"surreal"}"#).await;
        let put = daemon.post("/v1/ops?ack=logged", r#"{"op":"put","key":"a:1","document":{}}"#).await;
        assert_eq!(put.status, 202);
        let now = metrics(&daemon).await;
        assert_eq!(value(&now, "lockstep_open_ops", &[("state", "pending")]), Some(1.0));
        assert!(value(&now, "lockstep_oldest_open_op_seconds", &[]).is_some());
        assert!(value(&now, "lockstep_checkpoint_lag_records", &[]) >= Some(1.0));
        assert_eq!(value(&now, "lockstep_store_state", &[("store", "surreal"), ("state", "paused")]), Some(1.0));
        daemon.post("/v1/resume", r#"{"store":"surreal"}"#).await;
        daemon.stop().await;
    });
}

#[test]
fn over_tcp_there_are_metrics_and_health_and_nothing_else() {
    run(async {
        let daemon = Fixture::start().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let closing = tokio_util::sync::CancellationToken::new();
        let (routes, told) = (crate::routes::observer(std::sync::Arc::clone(&daemon.app)), closing.clone());
        let serving = tokio::spawn(async move {
            crate::serve::serve(&listener, routes, crate::bounds::Room::new(8), told).await.unwrap();
        });
        let ask = async |method: &str, path: &str| {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            read(&mut stream).await
        };
        for path in ["/metrics", "/healthz", "/readyz"] {
            assert_eq!(ask("GET", path).await.status, 200, "{path}");
        }
        for route in crate::routes::routes().iter().filter(|route| route.path.starts_with("/v1")) {
            assert_eq!(ask(&route.method.to_uppercase(), route.path).await.status, 404, "{}", route.path);
        }
        assert_eq!(ask("GET", "/openapi.json").await.status, 404);
        closing.cancel();
        serving.await.unwrap();
        daemon.stop().await;
    });
}

#[test]
fn the_description_is_served() {
    run(async {
        let daemon = Fixture::start().await;
        let document = daemon.get("/openapi.json").await.json();
        assert_eq!(document["openapi"], "3.1.0");
        let codes = &document["paths"]["/v1/ops"]["post"]["responses"]["409"]["content"]["application/problem+json"]["schema"]
            ["allOf"][1]["properties"]["code"]["enum"];
        assert_eq!(codes, &json!(["precondition_failed", "idempotency_mismatch", "newer_version"]));
        daemon.stop().await;
    });
}

#[test]
fn queries_are_for_an_embedded_surrealdb() {
    run(async {
        let daemon = Fixture::with(Wanted { queries: false, ..Wanted::default() }).await;
        let answer = daemon.post("/v1/query", r#"{"query":"RETURN 1"}"#).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (501, Some("not_implemented")));
        daemon.stop().await;
    });
}

/// A reader of events on its own connection.
struct Reader {
    stream: UnixStream,
    text: String,
}

impl Reader {
    async fn new(daemon: &Fixture, path: &str, more: &str) -> Self {
        let mut stream = daemon.connect().await;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n{more}\r\n").as_bytes()).await.unwrap();
        let mut reader = Self { stream, text: String::new() };
        // From here on nothing is missed: where an answer begins, the place in the log is known.
        while !reader.text.contains(": events follow") {
            assert!(reader.more().await, "{}", reader.text);
        }
        reader
    }

    /// Reads on. `false`: the daemon has closed.
    async fn more(&mut self) -> bool {
        let mut buffer = vec![0; 4096];
        let read = timeout(PATIENCE, self.stream.read(&mut buffer)).await.unwrap().unwrap_or(0);
        self.text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        read > 0
    }

    /// The next event: its id, its name and its data. None when the daemon has closed.
    async fn next(&mut self) -> Option<(String, String, Value)> {
        loop {
            if let Some((id, rest)) =
                self.text.split_once("id: ").map(|(_, rest)| rest).and_then(|rest| rest.split_once("\nevent: "))
                && let Some((name, rest)) = rest.split_once("\ndata: ")
                && let Some((data, rest)) = rest.split_once("\n\n")
            {
                let event = (id.to_owned(), name.to_owned(), serde_json::from_str(data).unwrap());
                self.text = rest.to_owned();
                return Some(event);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn committed(&mut self) -> (String, Value) {
        loop {
            let (id, name, data) = self.next().await.expect("an event");
            if name == "committed" {
                return (id, data);
            }
        }
    }
}

#[test]
fn events_follow_and_resume_after_the_last_one() {
    run(async {
        let daemon = Fixture::start().await;
        let mut reader = Reader::new(&daemon, "/v1/events", "").await;
        for number in 1..=3 {
            let put = daemon.op(format!(r#"{{"op":"put","key":"a:{number}","document":{{}}}}"#)).await;
            assert_eq!(put.status, 200, "{put:?}");
        }
        let (first, data) = reader.committed().await;
        assert_eq!((&data["key"], &data["state"], data.get("history")), (&json!("a:1"), &json!("committed"), None));
        assert_eq!(reader.committed().await.1["key"], "a:2");
        drop(reader);

        let header = format!("last-event-id: {first}\r\n");
        let mut resumed = Reader::new(&daemon, "/v1/events?after=", &header).await;
        assert_eq!(resumed.committed().await.1["key"], "a:2");
        let mut asked = Reader::new(&daemon, &format!("/v1/events?after={first}"), "").await;
        assert_eq!(asked.committed().await.1["key"], "a:2");

        let nonsense = daemon.get("/v1/events?after=x%20y").await;
        assert_eq!((nonsense.status, nonsense.json()["code"].as_str()), (400, Some("malformed")));

        let ends = tokio::spawn(async move { while resumed.next().await.is_some() {} });
        daemon.stop().await;
        timeout(PATIENCE, ends).await.unwrap().unwrap();
    });
}

#[test]
fn who_does_not_read_events_holds_nobody_up() {
    run(async {
        let daemon = Fixture::start().await;
        let readers: Vec<Reader> = {
            let mut readers = Vec::new();
            for _ in 0..8 {
                readers.push(Reader::new(&daemon, "/v1/events", "").await);
            }
            readers
        };
        let lines: String =
            (0..2000).map(|number| format!("{{\"op\":\"put\",\"key\":\"a:{number}\",\"document\":{{}}}}\n")).collect();
        let answer = daemon.post("/v1/bulk", &lines).await;
        assert_eq!(answer.lines().iter().filter(|line| line["state"] == "committed").count(), 2000);
        daemon.is_well().await;
        drop(readers);
        daemon.stop().await;
    });
}

#[test]
fn decisions_are_read_strictly() {
    run(async {
        let daemon = Fixture::start().await;
        let put = daemon.op(r#"{"op":"put","key":"a:1","document":{}}"#).await.json();
        let op = put["op_id"].as_str().unwrap();
        let ask = async |op: &str, decision: &str, body: &str| {
            let answer = daemon.post(&format!("/v1/ops/{op}/{decision}"), body).await;
            (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
        };
        for decision in ["retry", "rollback", "discard"] {
            assert_eq!(ask(op, decision, "{}").await, (409, "precondition_failed".to_owned()), "{decision}");
            assert_eq!(ask(op, decision, "").await.0, 409, "no body is no note");
            assert_eq!(ask("x", decision, "").await.0, 404);
            assert_eq!(ask("0193b2c4-0000-7000-8000-000000000000", decision, "").await.0, 404);
            assert_eq!(ask(op, decision, r#"{"notes":"x"}"#).await.0, 400);
            assert_eq!(ask(op, decision, r#"{"note":1}"#).await.0, 400);
        }
        assert_eq!(ask(op, "retry", r#"{"force":1}"#).await.0, 400);
        assert_eq!(ask(op, "rollback", r#"{"force":true}"#).await.0, 400, "only a retry can be forced");
        daemon.stop().await;
    });
}

#[test]
fn counts_and_tables_and_a_verification() {
    run(async {
        let daemon = Fixture::start().await;
        for number in 1..=3 {
            let body = format!(
                r#"{{"op":"put","key":"memory:{number}","document":{{"n":{number}}},"vector":[1,0,{number}]}}"#
            );
            assert_eq!(daemon.op(body).await.status, 200);
        }
        assert_eq!(daemon.post("/v1/count", r#"{"table":"memory"}"#).await.json(), json!({"records": 3, "points": 3}));
        let some = daemon.post("/v1/count", r#"{"table":"memory","where":{"n":[1,2]}}"#).await.json();
        assert_eq!(some["records"], 2);
        for body in [r#"{"table":"mem ory"}"#, r#"{}"#, r#"{"table":"a","where":1}"#, r#"{"table":"a","filter":{}}"#] {
            assert_eq!(daemon.post("/v1/count", body).await.status, 400, "{body}");
        }
        let tables = daemon.get("/v1/tables").await.json();
        let memory = tables["tables"].as_array().unwrap().iter().find(|table| table["table"] == "memory").unwrap();
        assert_eq!(
            (&memory["records"], &memory["points"], &memory["configured"]),
            (&json!(3), &json!(3), &json!(false))
        );
        let default = &memory["vectors"]["default"];
        assert_eq!(
            (&default["kind"], &default["size"], &default["distance"]),
            (&json!("dense"), &json!(3), &json!("cosine"))
        );
        let verify = daemon.post("/v1/verify", "").await;
        assert_eq!(verify.status, 202);
        assert!(verify.json()["operations"].is_u64());
        daemon.stop().await;
    });
}

#[test]
fn a_pulse_comes_back_only_when_the_log_is_durable() {
    run(async {
        let daemon = Fixture::with(Wanted { auto: false, ..Wanted::default() }).await;
        let pulse = tokio::spawn({
            let engine = daemon.engine.clone();
            async move { engine.pulse().await }
        });
        wait_until("the pulse in the log's queue", || async { daemon.log.pending() > 0 }).await;
        assert!(!pulse.is_finished());
        daemon.log.flush_pending();
        assert!(timeout(PATIENCE, pulse).await.unwrap().unwrap());
        assert!(daemon.engine.is_idle());
        daemon.engine.stop(Duration::ZERO).await;
        assert!(!daemon.engine.pulse().await, "never again");
    });
}

#[test]
fn limits_are_reloaded_under_running_connections() {
    run(async {
        let daemon = Fixture::start().await;
        let big = format!(r#"{{"op":"put","key":"a:1","document":{{"t":"{}"}}}}"#, "x".repeat(2000));
        assert_eq!(daemon.op(&big).await.status, 200);
        let reload = |limits: &str| {
            let config = toml::from_str(&format!("[limits]\n{limits}\n")).unwrap();
            let sources = crate::config::Sources { data: Some("d".into()), ..crate::config::Sources::default() };
            daemon.app.reload(&crate::config::Setup::new(&config, &sources).unwrap());
        };
        reload("op_bytes = 1024");
        let refused = daemon.op(&big).await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (413, Some("too_large")));

        let taken = async |count| daemon.app.room.taken() == count;
        wait_until("everybody gone", || taken(0)).await;
        reload("connections = 1");
        let _one = daemon.connect().await;
        wait_until("the only place taken", || taken(1)).await;
        assert_eq!(read(&mut daemon.connect().await).await.status, 503);
        daemon.stop().await;
    });
}
