//! The routes, one after the other, as the contract has them.

use std::time::Duration;

use lockstep_engine::Settings;
use lockstep_model::{Distance, PayloadSelection, Shape, Stores, Table, TableRules, VectorKind, VectorSpec};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::support::{Answer, Fixture, Wanted, read, run, wait_until};

fn code(answer: &Answer) -> Value {
    assert!(answer.head.contains("content-type: application/problem+json"), "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status, "{answer:?}");
    for member in ["type", "title", "detail"] {
        assert!(problem[member].is_string(), "{answer:?}");
    }
    problem["code"].clone()
}

#[test]
fn an_operation_lands_in_both_stores_and_is_shown() {
    run(async {
        let daemon = Fixture::start().await;
        let put = daemon.op(br#"{"op":"put","key":"memory:01","document":{"title":"tide","when":{"$datetime":"2026-01-29T00:00:00Z"}},"vector":[1,0,0]}"#).await;
        assert_eq!(put.status, 200, "{put:?}");
        let put = put.json();
        assert_eq!((&put["state"], &put["key"]), (&json!("committed"), &json!("memory:01")));

        let entity = daemon.get("/v1/entities/memory/01").await.json();
        assert_eq!(entity["verdict"], "consistent");
        assert_eq!(entity["surreal"]["document"]["when"], json!({"$datetime": "2026-01-29T00:00:00Z"}));
        assert_eq!(entity["qdrant"]["vectors"], json!({"default": [1.0, 0.0, 0.0]}));
        assert_eq!(entity["surreal"]["version"], put["version"]);
        assert_eq!(entity["surreal"]["hash"].as_str().unwrap().len(), 32);
        assert_eq!(daemon.get("/v1/entities/memory/a%2Fb%20c").await.json()["key"], "memory:a/b c");

        let op = daemon.get(&format!("/v1/ops/{}", put["op_id"].as_str().unwrap())).await.json();
        let states: Vec<_> =
            op["history"].as_array().unwrap().iter().map(|step| step["state"].as_str().unwrap()).collect();
        assert_eq!(states, ["pending", "surreal_completed", "qdrant_completed", "committed"]);
        assert_eq!((&op["waiting_for"], &op["lsn"]), (&Value::Null, &put["lsn"]));

        let hits =
            daemon.post("/v1/search", r#"{"table":"memory","vector":[1,0.1,0],"with_document":true}"#).await.json();
        assert_eq!(hits["hits"][0]["document"]["title"], "tide");
        let query = daemon
            .post("/v1/query", r#"{"query":"SELECT VALUE title FROM memory WHERE title = $t","vars":{"t":"tide"}}"#)
            .await;
        assert_eq!(query.json(), json!({"results": [["tide"]]}));
        daemon.stop().await;
    });
}

/// What the configuration puts into the payload is there to be asked for, although no document has it yet.
#[test]
fn a_filter_on_a_configured_field_that_nobody_has_finds_nothing() {
    run(async {
        let rules = TableRules { payload: PayloadSelection::Fields(vec!["ws".to_owned()]), ..TableRules::default() };
        let tables = [(Table::new("memory").unwrap(), rules)].into();
        let daemon =
            Fixture::with(Wanted { settings: Settings { tables, ..Settings::default() }, ..Wanted::default() }).await;
        let put = daemon.op(br#"{"op":"put","key":"memory:1","document":{"title":"tide"},"vector":[1,0]}"#).await;
        assert_eq!(put.status, 200, "{put:?}");
        for (field, status) in [("ws", 200), ("title", 422)] {
            let search = json!({"table": "memory", "vector": [1, 0], "filter": {field: "w1"}});
            let answer = daemon.post("/v1/search", search.to_string()).await;
            assert_eq!(answer.status, status, "{answer:?}");
        }
        daemon.stop().await;
    });
}

/// Where every scalar goes into the payload, a value is asked for of fields that some point has; null fits what is absent, too.
#[test]
fn a_filter_on_a_field_that_no_point_has_is_refused_unless_it_asks_for_null() {
    run(async {
        let daemon = Fixture::start().await;
        let put = daemon.op(br#"{"op":"put","key":"memory:1","document":{"n":1,"nil":null},"vector":[1,0]}"#).await;
        assert_eq!(put.status, 200, "{put:?}");
        for (filter, found) in [
            (json!({"n": 1}), Some(1)),
            (json!({"n": null}), Some(0)),
            (json!({"nil": null}), Some(1)),
            (json!({"nobodys": [null]}), Some(1)),
            (json!({"not": {"nil": null}}), Some(0)),
            (json!({"nobodys": 1}), None),
            (json!({"nobodys": [null, 1]}), None),
        ] {
            let search = json!({"table": "memory", "vector": [1, 0], "filter": filter});
            let answer = daemon.post("/v1/search", search.to_string()).await;
            match found {
                Some(hits) => assert_eq!(answer.json()["hits"].as_array().unwrap().len(), hits, "{filter}"),
                None => assert_eq!((answer.status, code(&answer)), (422, json!("not_indexed")), "{filter}"),
            }
        }
        daemon.stop().await;
    });
}

/// `auto_create` is about tables that nobody has configured; and in a store of this process nobody else could make a collection.
#[test]
fn a_configured_table_is_made_in_an_embedded_store_without_auto_create() {
    run(async {
        let rules = |stores| {
            let spec = VectorSpec { kind: VectorKind::Dense, size: 2, distance: Distance::Cosine, required: true };
            TableRules { vectors: Some(Shape([("default".to_owned(), spec)].into())), stores, ..TableRules::default() }
        };
        let table = |name: &str| Table::new(name).unwrap();
        let tables = [(table("memory"), rules(Stores::Both)), (table("points"), rules(Stores::Qdrant))].into();
        let settings = Settings { tables, auto_create: false, ..Settings::default() };
        let daemon = Fixture::with(Wanted { settings, ..Wanted::default() }).await;
        for key in ["memory:1", "points:1", "memory:1"] {
            let put = json!({"op": "put", "key": key, "document": {}, "vector": [1, 0]});
            let answer = daemon.op(put.to_string()).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let answer = daemon.op(br#"{"op":"put","key":"others:1","document":{},"vector":[1,0]}"#).await;
        assert_eq!((answer.status, code(&answer)), (404, json!("unknown_table")));
        daemon.stop().await;
    });
}

/// What is in this process is known to be there before anybody has asked it anything.
#[test]
fn embedded_stores_are_up() {
    run(async {
        let daemon = Fixture::start().await;
        wait_until("both stores are up", || async {
            let stores = daemon.get("/v1/status").await.json()["stores"].clone();
            (&stores["surreal"]["state"], &stores["qdrant"]["state"]) == (&json!("up"), &json!("up"))
        })
        .await;
        daemon.stop().await;
    });
}

/// Whoever waits when the daemon stops gets an answer: the operation is in the log, and has come so far.
/// Fails when a stop leaves them waiting until they are cut off.
#[test]
fn p7_a_stop_tells_whoever_waits_how_far_it_came() {
    run(async {
        let daemon = Fixture::start().await;
        daemon.is_well().await;
        assert_eq!(daemon.post("/v1/pause", r#"{"store":"surreal"}"#).await.status, 200);
        let op = r#"{"op":"put","key":"memory:1","document":{}}"#;
        let mut asked = Vec::new();
        for path in ["/v1/ops", "/v1/bulk", "/v1/barrier"] {
            let mut stream = daemon.connect().await;
            let body = if path == "/v1/barrier" { "" } else { op };
            let request = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(request.as_bytes()).await.unwrap();
            asked.push(stream);
        }
        wait_until("both are logged", || async { daemon.engine.open_ops() == 2 }).await;
        daemon.stop().await;
        let mut answers = Vec::new();
        for mut stream in asked {
            answers.push(read(&mut stream).await);
        }
        let [one, many, barrier] = answers.try_into().unwrap();
        assert_eq!((one.status, &one.json()["state"]), (202, &json!("pending")), "{one:?}");
        assert!(one.json()["op_id"].is_string(), "{one:?}");
        assert_eq!(many.status, 200, "{many:?}");
        let lines = many.lines();
        assert_eq!(
            (lines.len(), &lines[0]["state"], &lines[0]["line"]),
            (1, &json!("pending"), &json!(1)),
            "{lines:?}"
        );
        assert_eq!((barrier.status, code(&barrier)), (503, json!("stopping")));
    });
}

#[test]
fn a_patch_may_be_of_vectors_alone() {
    run(async {
        let daemon = Fixture::start().await;
        daemon.op(br#"{"op":"put","key":"memory:1","document":{"title":"tide"},"vector":[1,0]}"#).await;
        let patch = daemon.op(br#"{"op":"patch","key":"memory:1","vector":[0,1]}"#).await;
        assert_eq!(patch.status, 200, "{patch:?}");
        let entity = daemon.get("/v1/entities/memory/1").await.json();
        assert_eq!(entity["surreal"]["document"], json!({"title": "tide"}));
        assert_eq!(entity["qdrant"]["vectors"]["default"], json!([0.0, 1.0]));
        let nothing = daemon.op(br#"{"op":"patch","key":"memory:1"}"#).await;
        assert_eq!((nothing.status, code(&nothing)), (400, json!("malformed")));
        daemon.stop().await;
    });
}

#[test]
fn what_fails_after_logging_names_the_operation() {
    run(async {
        let daemon = Fixture::start().await;
        let answer = daemon.op(br#"{"op":"patch","key":"memory:nothing","document":{}}"#).await;
        assert_eq!((answer.status, code(&answer)), (404, json!("not_found")));
        let problem = answer.json();
        assert_eq!(problem["state"], "rolled_back");
        let shown = daemon.get(&format!("/v1/ops/{}", problem["op_id"].as_str().unwrap())).await.json();
        assert_eq!((&shown["lsn"], &shown["error"]["code"]), (&problem["lsn"], &json!("not_found")));
        assert_eq!(shown["error"]["store"], Value::Null);

        let header = "idempotency-key: k\r\n";
        let again =
            async || daemon.send("POST", "/v1/ops", header, br#"{"op":"patch","key":"memory:2","document":{}}"#).await;
        let (first, second) = (again().await, again().await);
        assert_eq!((first.status, first.json()), (second.status, second.json()));
        // Also who only wants to know that it is logged is told the refusal, where it is known.
        let patch = r#"{"op":"patch","key":"memory:2","document":{}}"#;
        let logged = daemon.send("POST", "/v1/ops?ack=logged", header, patch.as_bytes()).await;
        assert_eq!((logged.status, logged.json()), (first.status, first.json()));
        let line = r#"{"op":"patch","key":"memory:2","document":{},"idempotency_key":"k"}"#;
        let answered = daemon.post("/v1/bulk?ack=logged", line).await.lines();
        assert_eq!(answered[0]["error"]["code"], "not_found", "{answered:?}");
        let other = daemon.send("POST", "/v1/ops", header, br#"{"op":"patch","key":"memory:3","document":{}}"#).await;
        assert_eq!((other.status, code(&other)), (409, json!("idempotency_mismatch")));
        daemon.stop().await;
    });
}

#[test]
fn a_group_tells_its_members_keys() {
    run(async {
        let daemon = Fixture::start().await;
        let group = r#"{"op":"atomic","idempotency_key":"g","ops":[{"op":"put","table":"memory","document":{}},{"op":"put","key":"memory:2","document":{}}]}"#;
        let answer = daemon.op(group).await;
        let keys = answer.json()["keys"].clone();
        assert_eq!((answer.status, &answer.json()["key"], &keys[1]), (200, &Value::Null, &json!("memory:2")));
        let made = keys[0].as_str().and_then(|key| key.strip_prefix("memory:")).unwrap();
        let shown = daemon.get(&format!("/v1/entities/memory/{made}")).await.json();
        assert_eq!(shown["surreal"]["found"], true, "{shown}");
        // Sent again it is the same group, with the keys that were made for it then.
        let again = daemon.op(group).await;
        assert_eq!((again.status, &again.json()), (200, &answer.json()));
        let single = daemon.op(r#"{"op":"put","key":"memory:3","document":{}}"#).await.json();
        assert_eq!((&single["key"], single.get("keys")), (&json!("memory:3"), None));
        daemon.stop().await;
    });
}

#[test]
fn a_timeout_answers_with_the_state_reached() {
    run(async {
        let daemon = Fixture::start().await;
        assert_eq!(daemon.post("/v1/pause", r#"{"store":"surreal"}"#).await.status, 200);
        let body = br#"{"op":"put","key":"memory:1","document":{},"idempotency_key":"a"}"#;
        let waits = daemon.post("/v1/ops?timeout=50ms", body).await;
        assert_eq!((waits.status, waits.json()["state"].clone()), (202, json!("pending")));
        let op = daemon.get(&format!("/v1/ops/{}", waits.json()["op_id"].as_str().unwrap())).await.json();
        assert_eq!(op["waiting_for"], "store:surreal");
        assert_eq!(daemon.post("/v1/barrier?timeout=50ms", "").await.status, 202);
        assert_eq!(daemon.get("/v1/status").await.json()["stores"]["surreal"]["state"], "paused");
        assert_eq!(daemon.get("/v1/entities/memory/1").await.json()["verdict"], "in_flight");

        assert_eq!(daemon.post("/v1/resume", r#"{"store":"surreal"}"#).await.status, 200);
        assert_eq!(daemon.post("/v1/barrier?timeout=30s", "").await.status, 200);
        let same = daemon.post("/v1/ops?ack=logged", body).await;
        assert_eq!((same.status, same.json()["state"].clone()), (202, json!("committed")));
        assert_eq!(same.json()["op_id"], waits.json()["op_id"]);
        daemon.stop().await;
    });
}

#[test]
fn operations_are_listed_newest_first_in_pages() {
    run(async {
        let daemon = Fixture::start().await;
        for id in 1..=5 {
            let body = format!(r#"{{"op":"put","key":"memory:{id}","document":{{}}}}"#);
            assert_eq!(daemon.op(body).await.status, 200);
        }
        let mut keys = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = daemon.get(&format!("/v1/ops?state=committed&limit=2&cursor={cursor}")).await.json();
            keys.extend(page["ops"].as_array().unwrap().iter().map(|op| op["key"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        assert_eq!(keys, ["memory:5", "memory:4", "memory:3", "memory:2", "memory:1"]);
        let one = daemon.get("/v1/ops?key=memory:3").await.json();
        assert_eq!(one["ops"].as_array().unwrap().len(), 1);
        assert!(one["ops"][0].get("history").is_none());

        // What others did in between takes no place of a page, and a group is about each of its keys.
        let group =
            r#"{"op":"atomic","ops":[{"op":"put","key":"memory:3","document":{}},{"op":"delete","key":"memory:4"}]}"#;
        let beside = r#"{"op":"put","key":"memory:6","document":{}}"#;
        for body in [beside, group, beside, r#"{"op":"delete","key":"memory:3"}"#, beside] {
            assert_eq!(daemon.op(body).await.status, 200);
        }
        let (mut kinds, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = daemon.get(&format!("/v1/ops?key=memory:3&limit=1&cursor={cursor}")).await.json();
            kinds.extend(page["ops"].as_array().unwrap().iter().map(|op| op["op"].as_str().unwrap().to_owned()));
            pages += 1;
            match page["next"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        assert_eq!((kinds, pages), (vec!["delete".to_owned(), "atomic".to_owned(), "put".to_owned()], 3));
        daemon.stop().await;
    });
}

#[test]
fn status_and_health_have_the_shapes_of_the_contract() {
    run(async {
        let daemon = Fixture::start().await;
        daemon.is_well().await;
        let status = daemon.get("/v1/status").await.json();
        assert_eq!(status["wal"]["open_ops"], 0);
        assert_eq!(status["wal"]["states"]["committed"], 1);
        assert_eq!(status["wal"]["oldest_open_age_s"], Value::Null);
        assert_eq!(status["totals"]["committed"], 1);
        assert_eq!((&status["stores"]["surreal"]["state"], &status["recovery"]["done"]), (&json!("up"), &json!(true)));
        assert!(status["wal"]["last_lsn"].as_u64() > status["wal"]["first_lsn"].as_u64());
        assert!(status["started_at"].as_str().unwrap().ends_with('Z'));
        assert_eq!(daemon.get("/healthz").await.status, 200);
        let ready = daemon.get("/readyz").await;
        assert_eq!((ready.status, ready.json()), (200, json!({"ready": true, "reasons": []})));

        daemon.post("/v1/pause", r#"{"table":"well"}"#).await;
        let paused = daemon.get("/readyz").await;
        assert_eq!(paused.status, 503);
        assert!(
            paused.json()["reasons"][0].as_str().unwrap().contains("well") && paused.head.contains("retry-after: ")
        );
        daemon.stop().await;
    });
}

#[test]
fn later_paths_answer_501_and_log_nothing() {
    run(async {
        let daemon = Fixture::start().await;
        let before = daemon.last_lsn();
        for path in ["/v1/audit", "/v1/repair", "/v1/backfill"] {
            let answer = daemon.post(path, "{}").await;
            assert_eq!((answer.status, code(&answer)), (501, json!("not_implemented")), "{path}");
        }
        assert_eq!(daemon.last_lsn(), before);
        daemon.stop().await;
    });
}

#[test]
fn limits_refuse_with_retry_after() {
    run(async {
        let settings = Settings { open_ops: 1, stall: Duration::from_millis(300), ..Settings::default() };
        let daemon = Fixture::with(Wanted { settings, ..Wanted::default() }).await;
        daemon.post("/v1/pause", r#"{"store":"surreal"}"#).await;
        let first = daemon.post("/v1/ops?ack=logged", r#"{"op":"put","key":"a:1","document":{}}"#).await;
        assert_eq!(first.status, 202);
        let second = daemon.post("/v1/ops?ack=logged", r#"{"op":"put","key":"a:2","document":{}}"#).await;
        assert_eq!((second.status, code(&second)), (503, json!("overloaded")));
        assert!(second.head.contains("retry-after: 1"), "{second:?}");
        daemon.post("/v1/resume", r#"{"store":"surreal"}"#).await;
        daemon.stop().await;
    });
}

#[test]
fn a_stopped_engine_refuses_and_still_shows() {
    run(async {
        let daemon = Fixture::start().await;
        daemon.engine.stop(Duration::from_secs(5)).await;
        let answer = daemon.op(r#"{"op":"delete","key":"a:1"}"#).await;
        assert_eq!((answer.status, code(&answer)), (503, json!("stopping")));
        let ready = daemon.get("/readyz").await;
        assert_eq!((ready.status, ready.json()["ready"].clone()), (503, json!(false)));
        daemon.stop().await;
    });
}
