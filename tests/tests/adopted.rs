//! Entities that somebody else made, record and point, and that Lockstep takes over (docs/migrating.md).

use anyhow::{Context, Result, ensure};
use lockstep_model::Key;
use lockstep_tests::cluster::{Cluster, TableWanted, Wanted};
use lockstep_tests::direct::{create_collection, sql};
use lockstep_tests::wait::run;
use qdrant_client::Payload;
use qdrant_client::qdrant::{CountPointsBuilder, GetPointsBuilder, PointStruct, UpsertPointsBuilder};
use serde_json::{Value, json};

use crate::support::{commit, problem};

const VECTOR: [f32; 4] = [0.6, 0.8, 0.0, 0.0];

fn wanted() -> Wanted {
    let rest = "point_id = \"key\"\nvectors.default = { size = 4, distance = \"cosine\" }";
    let tables = vec![TableWanted { name: "memory", collection: "memory", rest: rest.into() }];
    Wanted { tables, auto_create: false, ..Wanted::default() }
}

/// A record and its point, as naive dual writing leaves them: the point has one field that the record does not have.
async fn entities(cluster: &Cluster) -> Result<()> {
    let direct = cluster.direct().await?;
    sql(
        direct.surreal(),
        "DEFINE TABLE memory TYPE ANY SCHEMALESS;
         CREATE memory:7 SET title = 'tide', pages = 3; CREATE memory:8 SET title = 'no point'",
    )
    .await?;
    let collection = cluster.collection("memory");
    create_collection(direct.qdrant(), &collection, 4).await?;
    let payload = Payload::try_from(json!({"title": "an older tide", "only here": true}))?;
    let points = vec![PointStruct::new(7, VECTOR.to_vec(), payload)];
    direct.qdrant().upsert_points(UpsertPointsBuilder::new(collection, points).wait(true)).await?;
    Ok(())
}

/// The payload of point 7 with all that is in it.
async fn payload(cluster: &Cluster) -> Result<Value> {
    let direct = cluster.direct().await?;
    let ask = GetPointsBuilder::new(cluster.collection("memory"), vec![7.into()]).with_payload(true);
    let point = direct.qdrant().get_points(ask).await?.result.into_iter().next().context("no point 7")?;
    Ok(Value::Object(point.payload.into_iter().map(|(name, value)| (name, value.into_json())).collect()))
}

/// P2, A9: with `point_id = "key"` an empty patch makes an entity managed that others made. Its document and its vector stay as they are; both
/// stores carry the patch's version. The payload is written anew from the document: a field that only the point had is gone. The vector is
/// in Qdrant alone until an operation brings one: a patch keeps in SurrealDB only what it names. A record without a point gets none.
/// Fails when the patch drops the vector that only the point has, gives the entity a second point, or leaves the old payload.
#[test]
fn p2_a9_an_empty_patch_adopts_a_record_and_its_point() -> Result<()> {
    run(async {
        let cluster = Cluster::start(&wanted()).await?;
        entities(&cluster).await?;
        let daemon = cluster.daemon().await?;
        let client = daemon.client();
        let before = client.entity("memory:7").await?.into_body();
        ensure!(before.verdict == "unmanaged", "{before:?}");

        let patched = commit(client, &json!({"op": "patch", "key": "memory:7", "document": {}})).await?;
        let after = client.entity("memory:7").await?.into_body();
        ensure!(after.verdict == "consistent", "{after:?}");
        ensure!(after.surreal.version == Some(patched.version), "{after:?}");
        ensure!(after.qdrant.version == Some(patched.version), "{after:?}");
        let document = json!({"title": "tide", "pages": 3});
        ensure!(after.surreal.document.as_ref() == Some(&document), "{after:?}");
        ensure!(after.qdrant.hash.is_some() && after.qdrant.hash == before.qdrant.hash, "{before:?}\n{after:?}");

        let mut payload = payload(&cluster).await?;
        let ours = payload.as_object_mut().and_then(|fields| fields.remove("_lockstep")).context("no _lockstep")?;
        ensure!(ours["key"] == "memory:7" && ours["v"] == json!(patched.version.0), "{ours}");
        ensure!(payload == document, "{payload}");

        let direct = cluster.direct().await?;
        let kept = sql(direct.surreal(), "RETURN (SELECT VALUE id FROM lockstep_vector).len()").await?;
        ensure!(kept.clone().into_json_value() == json!(0), "{kept:?} kept vectors");
        let count = CountPointsBuilder::new(cluster.collection("memory")).exact(true);
        let count = direct.qdrant().count(count).await?.result.context("no count")?.count;
        ensure!(count == 1, "{count} points");

        commit(client, &json!({"op": "patch", "key": "memory:8", "document": {}})).await?;
        let alone = client.entity("memory:8").await?.into_body();
        ensure!(alone.verdict == "consistent" && alone.qdrant.found == Some(false), "{alone:?}");
        let seen = direct.read(&["memory:8".parse::<Key>()?]).await?;
        ensure!(seen.values().all(|seen| seen.record.is_some()), "{seen:?}");
        daemon.stopped().await.map(drop)
    })
}

/// P2: with `point_id = "field:uid"`, records and points that are there already are updated and not doubled: by an empty patch, by a put,
/// and a delete takes both away. What names the point does not change.
/// Fails when the point's id is made of the key.
#[test]
fn p2_points_that_a_field_names_are_updated_and_not_doubled() -> Result<()> {
    run(async {
        let table = TableWanted {
            name: "song",
            collection: "song",
            rest: "point_id = \"field:uid\"\nvectors.default = { size = 2, distance = \"cosine\" }".into(),
        };
        let cluster = Cluster::start(&Wanted { tables: vec![table], ..Wanted::default() }).await?;
        let collection = cluster.collection("song");
        let direct = cluster.direct().await?;
        create_collection(direct.qdrant(), &collection, 2).await?;
        let old: Vec<PointStruct> = [(7, [1.0, 0.0]), (8, [0.0, 1.0])]
            .map(|(id, vector)| PointStruct::new(id, vector.to_vec(), Payload::new()))
            .to_vec();
        direct.qdrant().upsert_points(UpsertPointsBuilder::new(&collection, old).wait(true)).await?;
        sql(direct.surreal(), "CREATE song:tide SET uid = 7, title = 'old'; CREATE song:ebb SET uid = 8").await?;

        let daemon = cluster.daemon().await?;
        let client = daemon.client();
        commit(client, &json!({"op": "patch", "key": "song:tide", "document": {}})).await?;
        let tide = client.entity("song:tide").await?;
        ensure!(tide.verdict == "consistent", "{tide:?}");
        let put = json!({"op": "put", "key": "song:ebb", "document": {"uid": 8, "title": "new"}, "vector": [1, 1]});
        commit(client, &put).await?;
        ensure!(client.entity("song:ebb").await?.verdict == "consistent");
        let ids = || async {
            let mut there = Vec::new();
            for id in [7, 8, 9] {
                let ask = GetPointsBuilder::new(&collection, vec![id.into()]).with_payload(true);
                let found = direct.qdrant().get_points(ask).await?.result;
                there.extend(found.iter().any(|point| point.payload.contains_key("_lockstep")).then_some(id));
            }
            let counted = direct.qdrant().count(CountPointsBuilder::new(&collection).exact(true)).await?;
            let count = counted.result.context("no count")?.count;
            anyhow::Ok((there, count))
        };
        ensure!(ids().await? == (vec![7, 8], 2), "{:?}", ids().await?);

        let other: Value = json!({"op": "put", "key": "song:ebb", "document": {"uid": 9}, "vector": [1, 0]});
        ensure!(problem(client, &other).await?.code == "precondition_failed");
        commit(client, &json!({"op": "delete", "key": "song:tide"})).await?;
        ensure!(ids().await? == (vec![8], 1), "{:?}", ids().await?);
        daemon.terminate().await.map(drop)
    })
}
