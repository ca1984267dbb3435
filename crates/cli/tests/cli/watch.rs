//! `lockstep watch` prints events and goes on where it was.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use crate::support::{Daemon, lockstep, stderr};
use axum::Router;
use axum::http::HeaderMap;
use axum::routing::get;
use serde_json::Value;

/// A daemon that tells two events on each connection and goes away; and which ids it was asked to go on after.
fn daemon() -> (Daemon, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    let routes = Router::new().route(
        "/v1/events",
        get(move |headers: HeaderMap| async move {
            let after = headers.get("last-event-id").map_or_else(String::new, |id| id.to_str().unwrap().to_owned());
            let number: u64 = after.parse().unwrap_or_default();
            kept.lock().unwrap().push(after);
            let event = |n: u64| {
                format!("id: {n}\nevent: store_down\ndata: {{\"store\":\"qdrant\",\"state\":\"down\",\"at\":null}}\n\n")
            };
            format!(": there\n\n{}{}", event(number + 1), event(number + 2))
        }),
    );
    (Daemon::with(routes), asked)
}

/// The first lines that it prints before its reader goes away; and that it then ends, with success.
async fn first_lines(daemon: &Daemon, arguments: &[&str], count: usize) -> Vec<String> {
    let mut command = lockstep(arguments);
    command.env("LOCKSTEP_SOCKET", daemon.socket()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    tokio::task::spawn_blocking(move || {
        let reader = BufReader::new(child.stdout.take().unwrap());
        let lines = reader.lines().take(count).map(Result::unwrap).collect();
        assert!(child.wait().unwrap().success());
        lines
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn it_connects_again_and_misses_nothing() {
    let (daemon, asked) = daemon();
    let lines = first_lines(&daemon, &["--json", "watch"], 5).await;
    let ids: Vec<Value> = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5"]);
    let first: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((&first["event"], &first["data"]["store"]), (&"store_down".into(), &"qdrant".into()));
    assert_eq!(asked.lock().unwrap()[..3], ["", "2", "4"]);
}

#[tokio::test]
async fn it_begins_where_it_is_told_to() {
    let (daemon, asked) = daemon();
    let lines = first_lines(&daemon, &["watch", "--after", "40"], 2).await;
    assert!(lines[0].ends_with("store_down   qdrant"), "{lines:?}");
    assert_eq!(asked.lock().unwrap()[0], "40");
}

#[tokio::test]
async fn a_daemon_that_never_was_there_is_not_waited_for() {
    let output = Daemon::absent().lockstep(&["watch"], "").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is it running?"), "{}", stderr(&output));
}
