//! Bulk: both ways at once, in order, bounded, each line for itself.

use std::time::Duration;

use lockstep_api::{Ack, Client};
use lockstep_engine::Settings;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Fixture, Wanted, read, run};

#[test]
fn lines_are_answered_in_order_and_bad_ones_fail_alone() {
    run(async {
        let daemon = Fixture::start().await;
        let too_long = format!(r#"{{"op":"put","key":"a:1","document":{{"x":"{}"}}}}"#, "x".repeat(1 << 20));
        let body = format!(
            "{}\n\n{}\r\n{{\n{too_long}\n{}\n   \n{}\n{}",
            r#"{"op":"put","key":"memory:20","document":{},"vector":[1,0,0]}"#,
            r#"{"op":"put","key":"memory:21","document":{}}"#,
            r#"{"op":"put","key":"memory:22","document":{},"vector":[1,0]}"#,
            r#"{"op":"patch","key":"memory:nothing","document":{}}"#,
            r#"{"op":"delete","key":"memory:20"}"#,
        );
        let answer = daemon.post("/v1/bulk?ack=committed", body).await;
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains("content-type: application/x-ndjson"));
        let said: Vec<_> = answer
            .lines()
            .iter()
            .map(|line| (line["line"].as_u64().unwrap(), line["state"].clone(), line["error"]["code"].clone()))
            .collect();
        let null = json!(null);
        assert_eq!(
            said,
            [
                (1, json!("committed"), null.clone()),
                (3, json!("committed"), null.clone()),
                (4, null.clone(), json!("malformed")),
                (5, null.clone(), json!("too_large")),
                (6, null.clone(), json!("dimension_mismatch")),
                (8, json!("rolled_back"), json!("not_found")),
                (9, json!("committed"), null),
            ]
        );
        daemon.stop().await;
    });
}

#[test]
fn answers_come_while_lines_still_go() {
    run(async {
        let daemon = Fixture::start().await;
        let mut stream = daemon.connect().await;
        stream.write_all(b"POST /v1/bulk HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        let mut seen = Vec::new();
        for id in 1..=3 {
            let line = format!("{{\"op\":\"put\",\"key\":\"a:{id}\",\"document\":{{}}}}\n");
            stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await.unwrap();
            let wanted = format!("\"line\":{id},");
            while !String::from_utf8_lossy(&seen).contains(&wanted) {
                let mut buffer = [0; 1024];
                let read = stream.read(&mut buffer).await.unwrap();
                assert!(read > 0, "closed early");
                seen.extend_from_slice(&buffer[..read]);
            }
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        daemon.stop().await;
    });
}

#[test]
fn a_client_waiting_for_leave_to_send_gets_it() {
    run(async {
        let daemon = Fixture::start().await;
        let mut stream = daemon.connect().await;
        let line = r#"{"op":"put","key":"a:1","document":{}}"#;
        let head = format!(
            "POST /v1/bulk HTTP/1.1\r\nhost: x\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            line.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut leave = [0; 25];
        stream.read_exact(&mut leave).await.unwrap();
        assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(line.as_bytes()).await.unwrap();
        assert_eq!(read(&mut stream).await.lines()[0]["state"], "committed");
        daemon.stop().await;
    });
}

#[test]
fn many_lines_go_through_the_client_with_both_acks() {
    run(async {
        let daemon = Fixture::start().await;
        let client = Client::new(daemon.socket());
        for ack in [Ack::Logged, Ack::Committed] {
            let lines: String = (0..10_000)
                .map(|id| {
                    format!(
                        "{{\"op\":\"put\",\"key\":\"t{}:{id}\",\"document\":{{\"n\":{id}}}}}\n",
                        u8::from(ack == Ack::Logged)
                    )
                })
                .collect();
            let mut answers = client.bulk(std::io::Cursor::new(lines), ack).await.unwrap();
            let mut line = 0;
            while let Some(answer) = answers.next().await.unwrap() {
                line += 1;
                assert_eq!((answer.line, &answer.error), (line, &None));
            }
            assert_eq!(line, 10_000);
        }
        client.barrier(None).await.unwrap();
        assert_eq!(client.status().await.unwrap().totals.committed, 20_000);
        assert_eq!(daemon.app.bodies.memory.free_bytes(), 256 << 20);
        daemon.stop().await;
    });
}

#[test]
fn at_a_limit_it_waits_and_refuses_only_after_the_stall() {
    run(async {
        let settings = Settings { open_ops: 2, stall: Duration::from_millis(500), ..Settings::default() };
        let daemon = Fixture::with(Wanted { settings, ..Wanted::default() }).await;
        let lines: String =
            (0..20).map(|id| format!("{{\"op\":\"put\",\"key\":\"a:{id}\",\"document\":{{}}}}\n")).collect();
        let waited = daemon.post("/v1/bulk", &lines).await.lines();
        assert!(waited.iter().all(|line| line["state"] == "committed"), "{waited:?}");

        daemon.post("/v1/pause", r#"{"store":"surreal"}"#).await;
        let refused = daemon.post("/v1/bulk?ack=logged", &lines).await.lines();
        assert_eq!(refused.len(), 20);
        assert!(refused[..2].iter().all(|line| line["state"] == "pending"), "{refused:?}");
        assert!(refused[2..].iter().all(|line| line["error"]["code"] == "overloaded"), "{refused:?}");
        daemon.post("/v1/resume", r#"{"store":"surreal"}"#).await;
        daemon.stop().await;
    });
}

#[test]
fn a_client_that_goes_away_harms_nothing() {
    run(async {
        let daemon = Fixture::start().await;
        let put = r#"{"op":"put","key":"a:1","document":{}}"#;
        for _ in 0..20 {
            let mut stream = daemon.connect().await;
            let body = format!("{put}\n{put}\n{{\"op\":\"put\",\"key\":\"half:1\",\"document\":{{}}}}");
            let head = format!("POST /v1/bulk HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len() + 10);
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            drop(stream);
        }
        daemon.is_well().await;
        assert_eq!(daemon.post("/v1/barrier", "").await.status, 200);
        // A line whose end never came is no operation, even if it could be read.
        assert_eq!(daemon.get("/v1/entities/half/1").await.json()["verdict"], "not_found");
        daemon.stop().await;
    });
}
