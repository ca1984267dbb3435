//! Those who come with points of their own: a write updates the point that is there, under the id that it has.

use anyhow::{Context, Result, ensure};
use lockstep_tests::cluster::{Cluster, TableWanted, Wanted};
use lockstep_tests::direct::{create_collection, sql};
use lockstep_tests::wait::run;
use qdrant_client::Payload;
use qdrant_client::qdrant::{CountPointsBuilder, GetPointsBuilder, PointStruct, UpsertPointsBuilder};
use serde_json::{Value, json};

use crate::support::{commit, problem};

/// P2: with `point_id = "field:uid"`, records and points that are there already are updated and not doubled: by an empty patch, by a put,
/// and a delete takes both away. What names the point does not change.
/// Fails when the point's id is made of the key.
#[test]
fn p2_points_that_a_field_names_are_updated_and_not_doubled() -> Result<()> {
    run(async {
        let table = TableWanted { name: "song", collection: "song", rest: "point_id = \"field:uid\"".into() };
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
