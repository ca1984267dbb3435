//! Short words for the tests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::stream;
use lockstep_api::{Ack, Answer, BulkLine, Client, Error, OpAnswer, OpOptions, Problem, QueryRequest, SearchRequest};
use lockstep_tests::daemon::Launch;
use serde_json::Value;
use tempfile::TempDir;

/// A directory of this test's own, and a daemon to be started on it.
pub(crate) fn fresh() -> Result<(TempDir, Launch)> {
    let folder = tempfile::Builder::new().prefix("lockstep-test-").tempdir()?;
    let launch = Launch::on(folder.path().join("data"))?;
    Ok((folder, launch))
}

/// A configuration for `launch`, in the folder beside its data.
pub(crate) fn configured(folder: &Path, launch: Launch, text: &str) -> Result<Launch> {
    let path = write(folder, "lockstep.toml", text)?;
    Ok(launch.argument("--config").argument(path))
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}

pub(crate) fn options(ack: Ack, timeout: Duration) -> OpOptions {
    OpOptions { ack, timeout: Some(timeout), idempotency_key: None }
}

/// Sends an operation and waits until it is committed.
pub(crate) async fn commit(client: &Client, body: &Value) -> Result<OpAnswer> {
    let answer = client.op(body.to_string(), &options(Ack::Committed, Duration::from_secs(30))).await;
    let answer = answer.with_context(|| body.to_string())?;
    ensure!(answer.status == 200, "{answer:?} to {body}");
    Ok(answer.into_body())
}

/// The problem that an operation ends with.
pub(crate) async fn problem(client: &Client, body: &Value) -> Result<Problem> {
    refused(client.op(body.to_string(), &options(Ack::Committed, Duration::from_secs(30))).await)
}

pub(crate) fn refused(answer: Result<Answer<OpAnswer>, Error>) -> Result<Problem> {
    match answer {
        Ok(answer) => anyhow::bail!("this must be refused: {answer:?}"),
        Err(Error::Problem { problem, .. }) => Ok(*problem),
        Err(error) => Err(error.into()),
    }
}

/// Feeds `lines` by bulk, and gives the answers.
pub(crate) async fn bulk(client: &Client, lines: Vec<u8>, ack: Ack) -> Result<Vec<BulkLine>> {
    let chunks: Vec<_> = lines.chunks(64 << 10).map(|chunk| Ok(bytes::Bytes::copy_from_slice(chunk))).collect();
    let mut answers = client.bulk_stream(stream::iter(chunks), ack).await?;
    let mut all = Vec::new();
    while let Some(answer) = answers.next().await? {
        all.push(answer);
    }
    Ok(all)
}

/// The first result of a query.
pub(crate) async fn query(client: &Client, text: &str) -> Result<Value> {
    let answer = client.query(&QueryRequest { query: text.to_owned(), vars: None }).await?.into_body();
    answer.results.into_iter().next().context("a query without a result")
}

/// The keys of the nearest neighbours.
pub(crate) async fn nearest(client: &Client, table: &str, vector: Value, limit: u32) -> Result<Vec<String>> {
    let request = SearchRequest {
        table: table.to_owned(),
        vector,
        using: None,
        limit: Some(limit),
        filter: None,
        with_document: false,
    };
    Ok(client.search(&request).await?.into_body().hits.into_iter().map(|hit| hit.key).collect())
}
