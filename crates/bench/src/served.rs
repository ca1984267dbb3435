//! Both contenders on the same servers: SurrealDB over its WebSocket, Qdrant over gRPC.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use lockstep_api::{Ack, Client};
use lockstep_model::{Key, PointId, State};
use lockstep_tests::cluster::{Cluster, Wanted, client_of, table};
use lockstep_tests::direct::{create_collection, qdrant, sql, surreal};
use lockstep_tests::sample::{Sample, Sampled};
use qdrant_client::Payload;
use qdrant_client::qdrant::{PointId as RawId, PointStruct, UpsertPointsBuilder};
use serde_json::Value;

use crate::plain::{BATCH, write_records};

const CLIENTS: usize = 8;
const COLLECTION: &str = "bench_package";
const NAMESPACE: &str = "bench";

/// How long each took, and how many operations that were.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) plain: Duration,
    pub(crate) lockstep: Duration,
    pub(crate) operations: usize,
}

/// Starts both servers and loads the sample twice: by a plain batched loop, and by eight clients of a daemon.
pub(crate) async fn load(sample: &Sample, count: usize) -> Result<Times> {
    let tables = vec![table("package"), table("depends_on")];
    let cluster = Cluster::start(&Wanted { timeout_s: 60, bypass: true, tables, ..Wanted::default() }).await?;
    let lines = (0..CLIENTS).map(|client| sample.for_client(client, count / CLIENTS)).collect::<Result<Vec<_>>>()?;
    let operations =
        lines.iter().flatten().map(|line| Ok(serde_json::from_slice(line)?)).collect::<Result<Vec<_>>>()?;
    let plain = Box::pin(plain(&cluster, &operations)).await?;
    let lockstep = lockstep(&cluster, lines).await?;
    Ok(Times { plain, lockstep, operations: operations.len() })
}

/// One batch after the other: a transaction, then an upsert. Both stores say that it is durable.
async fn plain(cluster: &Cluster, operations: &[Sampled]) -> Result<Duration> {
    let documents = surreal(&cluster.surreal, NAMESPACE, NAMESPACE).await?;
    sql(&documents, "DEFINE TABLE package SCHEMALESS; DEFINE TABLE depends_on SCHEMALESS").await?;
    let points = qdrant(&cluster.qdrant)?;
    create_collection(&points, COLLECTION, 384).await?;
    let begun = Instant::now();
    for batch in operations.chunks(BATCH) {
        Box::pin(write_records(&documents, batch)).await?;
        let upserts = batch.iter().filter_map(|op| point(op).transpose()).collect::<Result<Vec<_>>>()?;
        if !upserts.is_empty() {
            points.upsert_points(UpsertPointsBuilder::new(COLLECTION, upserts).wait(true)).await?;
        }
    }
    Ok(begun.elapsed())
}

fn point(op: &Sampled) -> Result<Option<PointStruct>> {
    let Sampled::Put { key, document, vector } = op else { return Ok(None) };
    let bytes = BASE64_STANDARD.decode(vector)?;
    let numbers: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let id: RawId = match key.parse::<Key>()?.point_id() {
        PointId::Num(number) => number.into(),
        PointId::Uuid(uuid) => uuid.to_string().into(),
    };
    let payload = Payload::try_from(Value::Object(document.clone())).context("a payload")?;
    Ok(Some(PointStruct::new(id, numbers, payload)))
}

async fn lockstep(cluster: &Cluster, lines: Vec<Vec<Bytes>>) -> Result<Duration> {
    let daemon = cluster.daemon().await?;
    let begun = Instant::now();
    let feeds: Vec<_> = lines.into_iter().map(|lines| tokio::spawn(feed(client_of(&daemon), lines))).collect();
    for feed in feeds {
        feed.await??;
    }
    let took = begun.elapsed();
    daemon.terminate().await?;
    Ok(took)
}

async fn feed(client: Client, lines: Vec<Bytes>) -> Result<()> {
    let count = lines.len();
    let mut answers = client.bulk(std::io::Cursor::new(lines.concat()), Ack::Committed).await?;
    let mut committed = 0;
    while let Some(line) = answers.next().await? {
        ensure!(line.state == Some(State::Committed), "a line was not committed: {line:?}");
        committed += 1;
    }
    ensure!(committed == count, "{committed} of {count} lines were answered");
    Ok(())
}
