//! Lockstep: the real daemon on fresh embedded stores, fed over its socket.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lockstep_api::{Ack, Client, OpOptions};
use lockstep_model::State;
use lockstep_tests::daemon::Launch;
use serde_json::json;

/// Feeds all lines in one bulk request, waits for the last to be committed, and tells how long that took.
pub(crate) async fn load(lines: &[u8], count: usize) -> Result<Duration> {
    let folder = tempfile::tempdir()?;
    let daemon = Launch::on(folder.path().join("data"))?.ready().await?;
    let client = Client::new(folder.path().join("data/lockstep.sock"));
    let begun = Instant::now();
    let mut answers = client.bulk(std::io::Cursor::new(lines.to_vec()), Ack::Committed).await?;
    let mut committed = 0;
    while let Some(line) = answers.next().await? {
        ensure!(line.state == Some(State::Committed), "a line was not committed: {line:?}");
        committed += 1;
    }
    let took = begun.elapsed();
    ensure!(committed == count, "{committed} of {count} lines were answered");
    daemon.terminate().await?;
    Ok(took)
}

/// How long one operation takes from request to committed answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// One client, one operation at a time.
pub(crate) async fn singles(count: usize) -> Result<Latency> {
    let folder = tempfile::tempdir()?;
    let daemon = Launch::on(folder.path().join("data"))?.ready().await?;
    let client = Client::new(folder.path().join("data/lockstep.sock"));
    let mut times = Vec::with_capacity(count);
    for n in 0..count {
        let vector: Vec<f32> = (0..384_u16).map(|i| f32::from(i % 7) + 0.5).collect();
        let op = json!({"op": "put", "key": format!("single:n{n}"), "document": {"n": n}, "vector": vector});
        let begun = Instant::now();
        let answer = client.op(serde_json::to_vec(&op)?, &OpOptions::default()).await?;
        ensure!(answer.state == State::Committed, "an operation was not committed: {answer:?}");
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    daemon.terminate().await?;
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().context("nothing was measured");
    Ok(Latency { p50_ms: at(50)?, p99_ms: at(99)? })
}
