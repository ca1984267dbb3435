//! The sample, from many clients at once, through a daemon in front of both servers.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::stream;
use lockstep_api::{Ack, Client};
use lockstep_model::{Key, State, Table};
use lockstep_tests::budget::{number, say};
use lockstep_tests::cluster::{Cluster, Wanted, client_of, table};
use lockstep_tests::direct::sql;
use lockstep_tests::machine::peak_bytes;
use lockstep_tests::sample::Sample;
use lockstep_tests::wait::run;
use qdrant_client::qdrant::CountPointsBuilder;
use surrealdb::types::Value;

const CLIENTS: usize = 8;
/// The memory that the issue gives the daemon.
const MOST_BYTES: u64 = 512 << 20;

async fn feed(client: Client, lines: Vec<Bytes>) -> Result<usize> {
    let wanted = lines.len();
    let mut answers = client.bulk_stream(stream::iter(lines.into_iter().map(Ok)), Ack::Committed).await?;
    let mut committed = 0;
    while let Some(answer) = answers.next().await? {
        ensure!(answer.state == Some(State::Committed), "{answer:?}");
        committed += 1;
    }
    ensure!(committed == wanted, "{committed} answers to {wanted} lines");
    Ok(committed)
}

/// P6: 20,000 operations of the sample from eight clients through `ws://` and gRPC all commit, and the daemon never has more than 512 MiB.
/// Fails when bodies, batches or answers of a slow store pile up in memory.
#[test]
fn p6_twenty_thousand_operations_of_eight_clients_under_512_mib() -> Result<()> {
    run(async {
        let total: usize = number("LOCKSTEP_SERVED_OPS", 20_000)?;
        let sample = match Sample::whole()? {
            Some(sample) => sample,
            None => Sample::cut()?,
        };
        let tables = vec![table("package"), table("depends_on")];
        let cluster = Cluster::start(&Wanted { timeout_s: 30, tables, ..Wanted::default() }).await?;
        let daemon = cluster.daemon().await?;
        let pid = daemon.pid()?;
        let mut lines = Vec::new();
        for client in 0..CLIENTS {
            lines.push(sample.for_client(client, total / CLIENTS)?);
        }
        let wanted: usize = lines.iter().map(Vec::len).sum();
        let points = lines.iter().flatten().filter(|line| line.starts_with(b"{\"op\":\"put\"")).count();
        let begun = Instant::now();
        let feeds = lines.into_iter().map(|lines| tokio::spawn(feed(client_of(&daemon), lines)));
        let mut committed = 0;
        for feed in feeds.collect::<Vec<_>>() {
            committed += feed.await??;
        }
        let (took, peak) = (begun.elapsed().as_secs_f64(), peak_bytes(pid)?);
        #[expect(clippy::cast_precision_loss, reason = "a count of lines")]
        let rate = committed as f64 / took;
        say(format!(
            "served load: {committed} operations of {CLIENTS} clients in {took:.1} s ({rate:.0} a second, debug build), peak {} MiB",
            peak >> 20
        ));
        ensure!(
            committed == wanted && peak < MOST_BYTES,
            "{committed} of {wanted} committed, {peak} bytes at the peak"
        );

        let direct = cluster.direct().await?;
        // The first lines of the whole sample hold no edges: then nothing has made their table.
        sql(direct.surreal(), "DEFINE TABLE IF NOT EXISTS depends_on TYPE ANY SCHEMALESS").await?;
        let counted = sql(
            direct.surreal(),
            "RETURN [array::len(SELECT VALUE id FROM package), array::len(SELECT VALUE id FROM depends_on)]",
        );
        let counted = counted.await?;
        ensure!(matches!(&counted, Value::Array(counts) if counts.len() == 2), "{counted:?}");
        let held = direct.qdrant().count(CountPointsBuilder::new(cluster.collection("package")).exact(true)).await?;
        let held = held.result.context("no count")?.count;
        ensure!(held == points as u64, "{held} points of {points}");
        let counted = counted.into_json_value().to_string();
        ensure!(counted == format!("[{points},{}]", wanted - points), "{counted}: {points} puts of {wanted}");
        // One of each client, looked at closely.
        for client in 0..CLIENTS {
            let key: Key = first_key(&sample, client)?;
            let entity = daemon.client().entity(&key.to_string()).await?.into_body();
            ensure!(entity.verdict == "consistent" && key.table == Table::new("package")?, "{entity:?}");
        }
        daemon.terminate().await.map(drop)
    })
}

fn first_key(sample: &Sample, client: usize) -> Result<Key> {
    let line = sample.for_client(client, 1)?.into_iter().next().context("an empty sample")?;
    let put: serde_json::Value = serde_json::from_slice(&line)?;
    Ok(put.get("key").and_then(serde_json::Value::as_str).context("no key")?.parse()?)
}
