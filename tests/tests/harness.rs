//! The servers that the other tests rely on: they do what those tests think they do.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lockstep_tests::direct::{create_collection, qdrant, sql, surreal};
use lockstep_tests::servers::{Kind, Server, is_ours};
use lockstep_tests::wait::run;
use qdrant_client::qdrant::{CountPointsBuilder, PointStruct, UpsertPointsBuilder};
use qdrant_client::{Payload, Qdrant};
use surrealdb::types::Value;

fn ours() -> bool {
    let ours = is_ours(Kind::Surreal) && is_ours(Kind::Qdrant);
    if !ours {
        lockstep_tests::budget::skip("the servers' own tests", "unset SURREAL_URL and QDRANT_URL");
    }
    ours
}

async fn records(server: &Server) -> Result<usize> {
    let client = surreal(server, "harness", "harness").await?;
    let answer = sql(&client, "SELECT * FROM memory").await?;
    let Value::Array(rows) = answer else { anyhow::bail!("{answer:?}") };
    Ok(rows.len())
}

async fn points(client: &Qdrant) -> Result<u64> {
    Ok(client.count(CountPointsBuilder::new("memory").exact(true)).await?.result.context("no count")?.count)
}

async fn upsert(client: &Qdrant, id: u64) -> Result<()> {
    let point = PointStruct::new(id, vec![1.0, 0.0], Payload::new());
    client.upsert_points(UpsertPointsBuilder::new("memory", vec![point]).wait(true)).await?;
    Ok(())
}

/// What SurrealDB has acknowledged survives kill -9; a copy brings an earlier time back; SIGSTOP silences it.
#[test]
fn surrealdb_can_be_killed_stopped_and_set_back() -> Result<()> {
    run(async {
        if !ours() {
            return Ok(());
        }
        let folder = tempfile::tempdir()?;
        let mut server = Server::start(Kind::Surreal, folder.path()).await?;
        let client = surreal(&server, "harness", "harness").await?;
        sql(&client, "CREATE memory:1").await?;
        server.kill().await?;
        server.restart().await?;
        ensure!(records(&server).await? == 1, "kill -9 lost a record");
        server.stop().await?;
        let copy = server.copy().await?;
        server.restart().await?;
        let client = surreal(&server, "harness", "harness").await?;
        sql(&client, "CREATE memory:2").await?;
        server.freeze().await?;
        let silent = tokio::time::timeout(Duration::from_millis(300), sql(&client, "RETURN 1")).await;
        ensure!(silent.is_err(), "a stopped server answered {silent:?}");
        server.thaw()?;
        ensure!(records(&server).await? == 2);
        server.stop().await?;
        server.restore(&copy).await?;
        server.restart().await?;
        ensure!(records(&server).await? == 1, "the copy is not the older one");
        Ok(())
    })
}

/// The same for Qdrant, and it wants its key.
#[test]
fn qdrant_can_be_killed_stopped_and_set_back() -> Result<()> {
    run(async {
        if !ours() {
            return Ok(());
        }
        let folder = tempfile::tempdir()?;
        let mut server = Server::start(Kind::Qdrant, folder.path()).await?;
        let client = qdrant(&server)?;
        create_collection(&client, "memory", 2).await?;
        upsert(&client, 1).await?;
        server.kill().await?;
        server.restart().await?;
        let client = qdrant(&server)?;
        ensure!(points(&client).await? == 1, "kill -9 lost a point");
        server.stop().await?;
        let copy = server.copy().await?;
        server.restart().await?;
        let client = qdrant(&server)?;
        upsert(&client, 2).await?;
        server.misbehave("disk-full")?;
        ensure!(upsert(&client, 3).await.is_err(), "a full disk took a point");
        server.misbehave("")?;
        ensure!(points(&client).await? == 2);
        server.stop().await?;
        server.restore(&copy).await?;
        server.restart().await?;
        ensure!(points(&qdrant(&server)?).await? == 1, "the copy is not the older one");
        server.stop().await?;
        server.change_secret("another key");
        server.restart().await?;
        ensure!(points(&client).await.is_err(), "the old key still opens it");
        ensure!(points(&qdrant(&server)?).await? == 1);
        Ok(())
    })
}
