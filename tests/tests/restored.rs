//! Stores that lost what they had acknowledged: what the log still has is written again; where it has too little, it says so (B4).

use anyhow::{Result, ensure};
use lockstep_api::Client;
use lockstep_model::{Key, Lsn};
use lockstep_tests::budget::skip;
use lockstep_tests::cluster::{Cluster, Wanted};
use lockstep_tests::direct::{Direct, sql};
use lockstep_tests::servers::{Kind, is_ours};
use lockstep_tests::wait::{PATIENCE, run, wait_until};
use qdrant_client::qdrant::{DeletePointsBuilder, PointsIdsList};
use serde_json::json;

use crate::support::commit;

/// Whole intents leave almost at once, but for the last.
const SHORT: &str = "[wal]\nreserve_bytes = \"4 MiB\"\nretain_committed_s = 1\nretain_last = 3\n";

async fn put(client: &Client, key: &str) -> Result<Lsn> {
    let put = json!({"op": "put", "key": key, "document": {"key": key}, "vector": [1, 0, 0, 0]});
    Ok(commit(client, &put).await?.lsn)
}

async fn both_have(direct: &Direct, keys: &[Key]) -> Result<bool> {
    let seen = direct.read(keys).await?;
    let whole = |key| seen.get(key).is_some_and(|seen| seen.record.is_some() && seen.point.is_some());
    Ok(keys.iter().all(whole))
}

/// A store comes back from a copy that is older than everything that the log has kept.
async fn set_back_beyond_the_log(store: Kind) -> Result<()> {
    let mut cluster = Cluster::start(&Wanted { more: SHORT.to_owned(), ..Wanted::default() }).await?;
    let daemon = cluster.daemon().await?;
    let client = daemon.client();
    put(client, "memory:before").await?;
    let (server, _) = cluster.store(store);
    server.stop().await?;
    let copy = server.copy().await?;
    server.restart().await?;
    let mut last = Lsn(0);
    for number in 0..10 {
        last = put(client, &format!("memory:{number}")).await?;
    }
    wait_until("a log that has let go of them", PATIENCE, || async move {
        // Each write is a chance for a checkpoint.
        put(client, "memory:another").await?;
        let status = client.status().await?.into_body();
        Ok(status.wal.checkpoint_lsn.is_some_and(|lsn| lsn > last).then_some(()))
    })
    .await?;
    ensure!(client.status().await?.audit_needed.is_none(), "nothing has been lost yet");
    let (server, _) = cluster.store(store);
    server.stop().await?;
    server.restore(&copy).await?;
    server.restart().await?;
    let why = wait_until("a word about what is lost", PATIENCE, || async move {
        Ok(client.status().await?.into_body().audit_needed)
    })
    .await?;
    ensure!(why.contains("missing") || why.contains("older"), "{why}");
    // It goes on: this is no reason to refuse work.
    put(client, "memory:after").await?;
    daemon.stopped().await.map(drop)
}

/// P7, B4: a SurrealDB that is restored from before what the log has kept is noticed, and status asks for an audit.
/// Fails when only what the log still has is compared.
#[test]
fn p7_b4_a_surrealdb_set_back_beyond_the_log_asks_for_an_audit() -> Result<()> {
    if !is_ours(Kind::Surreal) {
        skip("a SurrealDB set back beyond the log", "unset SURREAL_URL");
        return Ok(());
    }
    run(set_back_beyond_the_log(Kind::Surreal))
}

/// The same for Qdrant.
#[test]
fn p7_b4_a_qdrant_set_back_beyond_the_log_asks_for_an_audit() -> Result<()> {
    if !is_ours(Kind::Qdrant) {
        skip("a Qdrant set back beyond the log", "unset QDRANT_URL");
        return Ok(());
    }
    run(set_back_beyond_the_log(Kind::Qdrant))
}

/// P1, B4: what somebody removed from either store behind Lockstep's back comes back on request, as long as the log has it.
/// Fails when the request looks at one store only, or at nothing.
#[test]
fn p1_b4_what_was_removed_behind_its_back_comes_back_on_request() -> Result<()> {
    run(async {
        let cluster = Cluster::start(&Wanted::default()).await?;
        let daemon = cluster.daemon().await?;
        let client = daemon.client();
        let keys: Vec<Key> = (0..6).map(|n| format!("memory:{n}").parse()).collect::<Result<_, _>>()?;
        for key in &keys {
            put(client, &key.to_string()).await?;
        }
        let direct = cluster.direct().await?;
        sql(direct.surreal(), "DELETE memory:1; DELETE memory:2").await?;
        let collection = cluster.collection("memory");
        let ids = [2, 3].map(|place| keys.get(place).map(|key: &Key| raw_id(key)));
        let ids = ids.into_iter().flatten().collect::<Vec<_>>();
        let delete = DeletePointsBuilder::new(collection).points(PointsIdsList { ids }).wait(true);
        direct.qdrant().delete_points(delete).await?;
        ensure!(!both_have(&direct, &keys).await?, "nothing was removed");
        let asked = client.verify().await?.into_body().operations;
        ensure!(asked >= keys.len() as u64, "{asked} operations are looked at");
        let (direct, keys) = (&direct, &keys);
        wait_until("everything in both stores", PATIENCE, || async move {
            Ok(both_have(direct, keys).await?.then_some(()))
        })
        .await?;
        daemon.stopped().await.map(drop)
    })
}

fn raw_id(key: &Key) -> qdrant_client::qdrant::PointId {
    match key.point_id() {
        lockstep_model::PointId::Num(number) => number.into(),
        lockstep_model::PointId::Uuid(uuid) => uuid.to_string().into(),
    }
}
