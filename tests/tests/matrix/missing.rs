//! A table that its store lacks: it waits, the others go on.

use anyhow::{Result, ensure};
use lockstep_api::Ack;
use lockstep_tests::cluster::{Cluster, TableWanted, Wanted};
use lockstep_tests::direct::{Direct, create_collection, sql};
use lockstep_tests::servers::Kind as Store;
use lockstep_tests::wait::{PATIENCE, wait_until};
use serde_json::json;

use super::fault::{Begun, drained};
use super::row::{Row, all_committed, drain};
use super::scene::{Act, Kind, Scene, Touch, USUAL, patch, put, relate};
use super::sent::{judge, prepare, send_all};

/// Nothing is created here, so everything must be said.
const VECTORS: &str = "vectors.default = { size = 4, distance = \"cosine\" }";
const THERE: [&str; 3] = ["memory", "mentions", "note"];
const LATE: [&str; 2] = ["late", "late_edge"];

fn tables() -> Vec<TableWanted> {
    let all = THERE.into_iter().chain(LATE);
    all.map(|name| TableWanted { name, collection: name, rest: VECTORS.into() }).collect()
}

async fn create(cluster: &Cluster, direct: &Direct, store: Store, names: &[&str]) -> Result<()> {
    for name in names {
        match store {
            Store::Surreal => {
                sql(direct.surreal(), &format!("DEFINE TABLE {name} TYPE ANY SCHEMALESS")).await.map(drop)?
            }
            Store::Qdrant => create_collection(direct.qdrant(), &cluster.collection(name), 4).await?,
        }
    }
    Ok(())
}

/// Operations of every kind on a table that is not there. What they need of it, they bring along.
fn late() -> Result<(Vec<serde_json::Value>, Vec<Act>)> {
    let key = |id: &str| format!("late:{id}");
    let touch = |key: &str, after| Ok::<_, anyhow::Error>(Touch { key: key.parse()?, before: None, after });
    let (from, to) = ("memory:late from", "memory:late to");
    let before = vec![put(from).0, put(to).0];

    let (put_body, put_after) = put(&key("put"));
    let (base_body, base) = put(&key("patched"));
    let (patch_body, patched) = patch(&key("patched"), &base);
    let (gone_body, _) = put(&key("gone"));
    let (relate_body, edge, related) = relate("late_edge", from, to)?;
    let (member, member_after) = put(&key("member"));
    let (neighbour, neighbour_after) = put("memory:late neighbour");
    let act = |kind, body, touches| Act { kind, body, touches };
    let acts = vec![
        act(Kind::Put, put_body, vec![touch(&key("put"), Some(put_after))?]),
        // What is patched and deleted must have been put before, in the same lane.
        act(Kind::Put, base_body, Vec::new()),
        act(Kind::Patch, patch_body, vec![touch(&key("patched"), Some(patched))?]),
        act(Kind::Put, gone_body, Vec::new()),
        act(Kind::Delete, json!({"op": "delete", "key": key("gone")}), vec![touch(&key("gone"), None)?]),
        act(Kind::Relate, relate_body, vec![Touch { key: edge, before: None, after: Some(related) }]),
        act(
            Kind::Atomic,
            json!({"op": "atomic", "ops": [member, neighbour]}),
            vec![touch(&key("member"), Some(member_after))?, touch("memory:late neighbour", Some(neighbour_after))?],
        ),
    ];
    Ok((before, acts))
}

pub(crate) async fn row(store: Store) -> Result<Row> {
    let wanted = Wanted { auto_create: false, tables: tables(), ..Wanted::default() };
    let cluster = Cluster::start(&wanted).await?;
    let direct = cluster.direct().await?;
    for whole in [Store::Surreal, Store::Qdrant] {
        create(&cluster, &direct, whole, &THERE).await?;
        if whole != store {
            create(&cluster, &direct, whole, &LATE).await?;
        }
    }
    let daemon = cluster.daemon().await?;
    let client = daemon.client();
    let (before, acts) = late()?;
    prepare(client, &before).await?;
    let mut sent = Vec::new();
    for act in acts {
        // In this order.
        sent.extend(send_all(client, vec![act], Ack::Logged).await?);
    }
    wait_until("a paused table", PATIENCE, || async move {
        let view = Begun::view(store, client).await?;
        Ok(view.paused_tables.iter().any(|table| table == "late").then_some(()))
    })
    .await?;

    // The others go on.
    let scene = Scene::new("beside", USUAL)?;
    prepare(client, &scene.before).await?;
    let mut beside = Vec::new();
    for act in scene.acts {
        let answer = crate::support::commit(client, &act.body).await?;
        beside.push(super::sent::Sent { act, op_id: answer.op_id, answered: Some(lockstep_model::State::Committed) });
    }
    all_committed(&judge(client, &direct, &beside).await?)?;
    for waiting in &sent {
        let view = client.op_view(waiting.op_id).await?.into_body();
        ensure!(view.state.is_open(), "it must wait for the table: {view:?}");
    }

    create(&cluster, &direct, store, &LATE).await?;
    let took = drain(client, drained()?).await?;
    sent.extend(beside);
    let ends = judge(client, &direct, &sent).await?;
    all_committed(&ends)?;
    daemon.stopped().await?;
    Ok(Row::new(store, "missing collection or table", &ends, Some(took)))
}
