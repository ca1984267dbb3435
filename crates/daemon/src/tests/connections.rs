//! Connections: many idle ones, one too many, and a stop.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::support::{Fixture, Wanted, read, run, wait_until};

#[test]
fn a_thousand_idle_connections_do_no_harm() {
    run(async {
        raise_file_limit();
        let daemon = Fixture::start().await;
        let mut idle: Vec<UnixStream> = Vec::new();
        for number in 0..1000 {
            let mut stream = daemon.connect().await;
            if number % 2 == 0 {
                stream.write_all(b"POST /v1/ops HTTP/1.1\r\n").await.unwrap();
            }
            idle.push(stream);
        }
        let before = daemon.last_lsn();
        daemon.is_well().await;
        assert!(daemon.last_lsn() > before);
        let after = daemon.last_lsn();
        drop(idle);
        assert_eq!(daemon.get("/healthz").await.status, 200);
        assert!(daemon.last_lsn() - after < 10);
        daemon.stop().await;
    });
}

/// Both ends of every connection are in this process.
fn raise_file_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

#[test]
fn one_connection_too_many_is_told_so() {
    run(async {
        let daemon = Fixture::with(Wanted { connections: 2, ..Wanted::default() }).await;
        let (first, second) = (daemon.connect().await, daemon.connect().await);
        let answer = read(&mut daemon.connect().await).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("overloaded")));
        assert!(answer.head.contains("retry-after"));
        drop((first, second));
        wait_until("a free place", || async { daemon.connect_and_ask().await == 200 }).await;
        daemon.stop().await;
    });
}

impl Fixture {
    async fn connect_and_ask(&self) -> u16 {
        let mut stream = self.connect().await;
        let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        let answer = read(&mut stream).await;
        if asked.is_ok() { answer.status } else { 503 }
    }
}

#[test]
fn a_stop_lets_answers_arrive_and_cuts_those_who_stay() {
    run(async {
        let daemon = Fixture::start().await;
        daemon.post("/v1/pause", r#"{"store":"surreal"}"#).await;
        let before = daemon.last_lsn();
        let mut waiting = daemon.connect().await;
        let body = r#"{"op":"put","key":"a:1","document":{}}"#;
        let head =
            format!("POST /v1/ops?timeout=1s HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        waiting.write_all(head.as_bytes()).await.unwrap();
        let mut bulk = daemon.connect().await;
        bulk.write_all(b"POST /v1/bulk HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n").await.unwrap();
        wait_until("the operation in the log", || async { daemon.last_lsn() != before }).await;
        let answer = tokio::spawn(async move { read(&mut waiting).await });
        daemon.engine.stop(Duration::from_millis(10)).await;
        daemon.stop().await;
        assert_eq!(answer.await.unwrap().status, 202);
        drop(bulk);
    });
}
