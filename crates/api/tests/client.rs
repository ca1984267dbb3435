//! The client against a small server on a real socket.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use lockstep_api::{
    Ack, Client, CountRequest, DecisionRequest, Error, OpOptions, OpsFilter, PauseRequest, QueryRequest, SearchRequest,
    StoreName, StoreState,
};
use lockstep_model::{Lsn, State};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const OP: &str =
    r#"{"op_id":"0193b2c4-0000-7000-8000-00000000002a","lsn":42,"version":7,"state":"committed","key":"memory:01"}"#;

struct Server {
    dir: TempDir,
    running: JoinHandle<()>,
}

impl Server {
    fn start(routes: Router) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let running = listen(dir.path().join("s"), routes);
        Self { dir, running }
    }

    fn client(&self) -> Client {
        Client::new(self.dir.path().join("s"))
    }
}

fn listen(socket: PathBuf, routes: Router) -> JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() })
}

#[tokio::test]
async fn an_operation_goes_out_as_written_with_its_parameters() {
    let routes = Router::new().route(
        "/v1/ops",
        post(|uri: Uri, headers: HeaderMap, body: String| async move {
            assert_eq!(uri.query(), Some("ack=logged&timeout=1500ms"));
            assert_eq!(headers["idempotency-key"], "k-1");
            assert_eq!(headers["content-type"], "application/json");
            assert_eq!(body, r#"{"op":"delete", "key":"memory:01"}"#);
            (StatusCode::ACCEPTED, OP)
        }),
    );
    let options = OpOptions {
        ack: Ack::Logged,
        timeout: Some(Duration::from_millis(1500)),
        idempotency_key: Some("k-1".to_owned()),
    };
    let answer = Server::start(routes).client().op(r#"{"op":"delete", "key":"memory:01"}"#, &options).await.unwrap();
    assert_eq!((answer.status, answer.lsn, answer.state), (202, Lsn(42), State::Committed));
    assert_eq!(answer.json, OP);
}

#[tokio::test]
async fn an_idempotency_key_that_is_no_header_is_refused_before_anything_is_sent() {
    let options = OpOptions { idempotency_key: Some("two\nlines".to_owned()), ..OpOptions::default() };
    let error = Client::new("/nowhere").op("{}", &options).await.unwrap_err();
    assert!(matches!(error, Error::Request(_)), "{error:?}");
}

#[tokio::test]
async fn a_problem_is_an_error_of_its_own_with_its_delay() {
    let problem = r#"{"type":"t","title":"The log is full","status":503,"code":"wal_full","detail":"4 GiB"}"#;
    let routes = Router::new().fallback(move || async move {
        (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "7"), ("content-type", "application/problem+json")], problem)
    });
    let server = Server::start(routes);
    let error = server.client().status().await.unwrap_err();
    assert_eq!(error.to_string(), "wal_full (503): 4 GiB");
    assert!(error.is_transient());
    let Error::Problem { problem, retry_after } = error else { panic!("{error:?}") };
    assert_eq!((problem.status, retry_after), (503, Some(Duration::from_secs(7))));
    let error = server.client().bulk(&b"{}\n"[..], Ack::Committed).await.unwrap().next().await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, "wal_full");
}

#[tokio::test]
async fn an_answer_that_is_none_is_said_to_be_none() {
    let server = Server::start(Router::new().fallback(|| async { "hello" }));
    assert!(matches!(server.client().status().await, Err(Error::Protocol { source: Some(_), .. })));
    let server = Server::start(Router::new().fallback(|| async { (StatusCode::BAD_GATEWAY, "hello") }));
    let error = server.client().status().await.unwrap_err();
    assert_eq!(error.to_string(), "lockstepd's answer is not understood: status 502 without a problem document");
    assert!(!error.is_transient());
}

#[tokio::test]
async fn a_missing_socket_says_so_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none");
    let error = Client::new(&socket).healthz().await.unwrap_err();
    assert!(error.to_string().contains("is it running?") && error.to_string().contains("--socket"), "{error}");
    assert!(matches!(error, Error::NotReachable { source, .. } if source.kind() == io::ErrorKind::NotFound));
    let error = Client::new("s".repeat(108)).healthz().await.unwrap_err();
    assert!(matches!(error, Error::LongSocket { bytes: 108, .. }));
}

#[tokio::test]
async fn keys_are_escaped_in_paths_and_bad_ones_are_not_sent() {
    let routes = Router::new().route(
        "/v1/entities/{table}/{id}",
        get(|Path((table, id)): Path<(String, String)>| async move {
            let nothing = json!({"found": false});
            json!({"key": format!("{table}:{id}"), "verdict": "not_found", "surreal": nothing, "qdrant": nothing})
                .to_string()
        }),
    );
    let server = Server::start(routes);
    for key in ["memory:01", "memory:a/b?c#d%20", "memory:..", "memory:日本 :x"] {
        assert_eq!(server.client().entity(key).await.unwrap().key, key);
    }
    assert!(matches!(server.client().entity("memory").await, Err(Error::Key(_))));
}

#[tokio::test]
async fn every_other_route_is_asked_as_the_contract_says() {
    let routes = Router::new()
        .route(
            "/v1/ops",
            get(|uri: Uri| async move {
                assert_eq!(uri.query(), Some("state=parked&key=memory%3A01&limit=5&cursor=a%2Bb"));
                r#"{"ops":[],"next":null}"#
            }),
        )
        .route(
            "/v1/ops/{id}",
            get(|| async {
                r#"{"op_id":"0193b2c4-0000-7000-8000-00000000002a","lsn":42,"op":"put","state":"parked","attempts":3}"#
            }),
        )
        .route("/v1/search", post(|| async { r#"{"hits":[{"key":"memory:01","score":0.5}],"dropped":0}"# }))
        .route("/v1/query", post(|| async { r#"{"results":[[1]]}"# }))
        .route("/v1/barrier", post(|uri: Uri| async move { if uri.query().is_none() { r#"{"lsn":9}"# } else { "" } }))
        .route("/v1/pause", post(|body: String| async { body }))
        .route("/v1/resume", post(|body: String| async { body }))
        .route("/v1/status", get(|| async { r#"{"version":"1","stores":{"qdrant":{"state":"paused"}}}"# }))
        .route("/healthz", get(|| async { "ok" }))
        .route(
            "/readyz",
            get(|| async { (StatusCode::SERVICE_UNAVAILABLE, r#"{"ready":false,"reasons":["stopping"]}"#) }),
        );
    let server = Server::start(routes);
    let client = server.client();
    let filter = OpsFilter {
        state: Some(State::Parked),
        key: Some("memory:01".to_owned()),
        limit: Some(5),
        cursor: Some("a+b".to_owned()),
    };
    assert!(client.ops(&filter).await.unwrap().ops.is_empty());
    let op_id = "0193b2c4-0000-7000-8000-00000000002a".parse().unwrap();
    assert_eq!(client.op_view(op_id).await.unwrap().attempts, Some(3));
    let search = SearchRequest {
        table: "memory".to_owned(),
        vector: json!([1]),
        using: None,
        limit: None,
        filter: None,
        with_document: false,
    };
    assert_eq!(client.search(&search).await.unwrap().hits[0].key, "memory:01");
    let query = QueryRequest { query: "RETURN 1".to_owned(), vars: None };
    assert_eq!(client.query(&query).await.unwrap().results, [json!([1])]);
    assert_eq!(client.barrier(None).await.unwrap().lsn, Lsn(9));
    let store = PauseRequest::Store(StoreName::Qdrant);
    assert_eq!(client.pause(&store).await.unwrap().into_body(), json!({"store": "qdrant"}));
    assert_eq!(client.resume(&store).await.unwrap().into_body(), json!({"store": "qdrant"}));
    assert_eq!(client.status().await.unwrap().stores.qdrant.state, StoreState::Paused);
    client.healthz().await.unwrap();
    let ready = client.readyz().await.unwrap();
    assert_eq!((ready.ready, ready.reasons), (false, vec!["stopping".to_owned()]));
}

#[tokio::test]
async fn requests_in_a_row_share_a_connection_and_survive_a_restart_of_the_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let accepted = Arc::new(AtomicUsize::new(0));
    let serve = |accepted: Arc<AtomicUsize>| {
        let listener = UnixListener::bind(&socket).unwrap();
        let (stop, mut stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let mut connections = Vec::new();
            loop {
                let stream = tokio::select! {
                    stream = listener.accept() => stream.unwrap().0,
                    _ = &mut stopped => break,
                };
                accepted.fetch_add(1, Ordering::SeqCst);
                let service = hyper::service::service_fn(|_| async {
                    Ok::<_, Infallible>(hyper::Response::new(http_body_util::Full::new(Bytes::from_static(b"ok"))))
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(hyper_util::rt::TokioIo::new(stream), service);
                connections.push(tokio::spawn(async move { drop(connection.await) }));
            }
            connections.iter().for_each(JoinHandle::abort);
        });
        (stop, serving)
    };

    let client = Client::new(&socket);
    let (stop, serving) = serve(Arc::clone(&accepted));
    for _ in 0..5 {
        client.healthz().await.unwrap();
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
    stop.send(()).unwrap();
    serving.await.unwrap();
    std::fs::remove_file(&socket).unwrap();
    assert!(client.healthz().await.unwrap_err().is_transient());
    let (_stop, _serving) = serve(Arc::clone(&accepted));
    client.healthz().await.unwrap();
    assert_eq!(accepted.load(Ordering::SeqCst), 2);
}

/// The count once it has stood still for five looks.
async fn settled(count: &AtomicUsize) -> usize {
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    let (mut last, mut still) = (count.load(Ordering::SeqCst), 0);
    for _ in 0..600 {
        looks.tick().await;
        let now = count.load(Ordering::SeqCst);
        still = if now == last { still + 1 } else { 0 };
        last = now;
        if still == 5 {
            return last;
        }
    }
    panic!("the count still moves after 30 s");
}

/// Answers the n-th line as soon as it is there.
fn echo() -> Router {
    Router::new().route(
        "/v1/bulk",
        post(|body: Body| async move {
            let mut number = 0;
            let answers = body.into_data_stream().map(move |chunk| {
                let chunk = chunk?;
                let mut answers = String::new();
                for _ in chunk.iter().filter(|&&byte| byte == b'\n') {
                    number += 1;
                    answers.push_str(&format!("{{\"line\":{number},\"lsn\":{number},\"state\":\"committed\"}}\n"));
                }
                Ok::<_, axum::Error>(answers)
            });
            Body::from_stream(answers).into_response()
        }),
    )
}

#[tokio::test]
async fn bulk_answers_come_while_lines_still_go() {
    let server = Server::start(echo());
    let (lines, input) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(1);
    let input = stream::unfold(input, |mut input| async { input.recv().await.map(|line| (line, input)) });
    let mut answers = server.client().bulk_stream(input, Ack::Committed).await.unwrap();
    for number in 1..=3 {
        lines.send(Ok(Bytes::from_static(b"{}\n"))).await.unwrap();
        // The input has not ended, and the answer is there.
        let answer = answers.next().await.unwrap().unwrap();
        assert_eq!((answer.line, answer.state), (number, Some(State::Committed)));
    }
    drop(lines);
    assert!(answers.next().await.unwrap().is_none());
    assert!(answers.next().await.unwrap().is_none());
}

#[tokio::test]
async fn bulk_reads_its_input_only_as_fast_as_answers_are_taken() {
    let server = Server::start(echo());
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    let all = 200_000_usize;
    let line = format!("{}\n", "x".repeat(99));
    let input = stream::iter(0..all).map(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(Bytes::from(line.clone()))
    });
    let mut answers = server.client().bulk_stream(input, Ack::Committed).await.unwrap();
    assert!(answers.next().await.unwrap().is_some());
    // Nothing is taken now: what is under way fills up, and then the reading stops.
    let before = settled(&read).await;
    assert!(before < all / 2, "{before} of {all} lines were read ahead");
    let mut taken = 1;
    while answers.next().await.unwrap().is_some() {
        taken += 1;
    }
    assert_eq!(taken, all);
}

#[tokio::test]
async fn a_daemon_that_goes_away_in_the_middle_of_a_bulk_is_lost() {
    let routes = Router::new().route(
        "/v1/bulk",
        post(|_: Body| async move {
            let answers = stream::iter([Ok("{\"line\":1,\"lsn\":1,\"state\":\"committed\"}\n"), Err("gone")]);
            Body::from_stream(answers).into_response()
        }),
    );
    let server = Server::start(routes);
    let input = stream::iter([Ok(Bytes::from_static(b"{}\n{}\n"))]).chain(stream::pending());
    let mut answers = server.client().bulk_stream(input, Ack::Committed).await.unwrap();
    let mut seen = 0;
    let error = loop {
        match answers.next().await {
            Ok(Some(_)) => seen += 1,
            Ok(None) => panic!("an end that is none"),
            Err(error) => break error,
        }
    };
    assert!(seen <= 1);
    assert!(matches!(error, Error::Lost { .. }) && error.is_transient(), "{error:?}");
    server.running.abort();
}

#[tokio::test]
async fn events_are_read_one_by_one_and_resumed() {
    let routes = Router::new().route(
        "/v1/events",
        get(|headers: HeaderMap| async move {
            if headers.get("last-event-id").is_some_and(|id| id == "nonsense") {
                let problem = r#"{"status":400,"code":"malformed","detail":"no position"}"#;
                return (StatusCode::BAD_REQUEST, problem).into_response();
            }
            assert_eq!(headers["last-event-id"], "6");
            let parts =
                ["id: 7\nevent: logg", "ed\ndata: {\"lsn\":7}\n", "\n: still here\n\nid: 8\nevent: gap\ndata: {}\n\n"];
            Body::from_stream(stream::iter(parts.map(Ok::<_, Infallible>))).into_response()
        }),
    );
    let server = Server::start(routes);
    let mut events = server.client().events(Some("6")).await.unwrap();
    assert_eq!(events.last(), Some("6"));
    let first = events.next().await.unwrap().unwrap();
    assert_eq!((first.id.as_str(), first.event.as_str(), &first.data), ("7", "logged", &json!({"lsn": 7})));
    assert_eq!(events.next().await.unwrap().unwrap().event, "gap");
    assert_eq!(events.last(), Some("8"));
    assert_eq!(events.next().await.unwrap(), None);
    let refused = server.client().events(Some("nonsense")).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().code, "malformed");
}

#[tokio::test]
async fn decisions_counts_and_tables_ask_as_agreed() {
    let decided = r#"{"op_id":"0193b2c4-0000-7000-8000-00000000002a","state":"discarded"}"#;
    let routes = Router::new()
        .route(
            "/v1/ops/{op_id}/{decision}",
            post(move |Path((op_id, decision)): Path<(String, String)>, body: String| async move {
                assert_eq!((op_id.len(), body.as_str()), (36, r#"{"note":"why"}"#));
                assert!(["retry", "rollback", "discard"].contains(&decision.as_str()), "{decision}");
                decided
            }),
        )
        .route(
            "/v1/count",
            post(|body: String| async move {
                assert_eq!(body, r#"{"table":"memory","where":{"a":1}}"#);
                r#"{"records":2,"points":null}"#
            }),
        )
        .route("/v1/tables", get(|| async { r#"{"tables":[{"table":"memory","records":null}]}"# }))
        .route("/v1/verify", post(|| async { (StatusCode::ACCEPTED, r#"{"operations":3}"#) }));
    let server = Server::start(routes);
    let client = server.client();
    let op_id = "0193b2c4-0000-7000-8000-00000000002a".parse().unwrap();
    let request = DecisionRequest { note: Some("why".to_owned()), ..DecisionRequest::default() };
    for answer in [
        client.retry(op_id, &request).await.unwrap(),
        client.rollback(op_id, &request).await.unwrap(),
        client.discard(op_id, &request).await.unwrap(),
    ] {
        assert_eq!(answer.state, State::Discarded);
    }
    let count = CountRequest { table: "memory".to_owned(), filter: Some(json!({"a": 1})) };
    let count = client.count(&count).await.unwrap();
    assert_eq!((count.records, count.points), (Some(2), None));
    assert_eq!(client.tables().await.unwrap().tables[0].records, None);
    assert_eq!(client.verify().await.unwrap().operations, 3);
}
