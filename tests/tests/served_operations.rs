//! The other operations over the wire: `clear` through a crash, single stores, and parked operations.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lockstep_api::{Ack, Client, CountRequest, DecisionRequest, PauseRequest, StoreName};
use lockstep_model::{Key, State};
use lockstep_tests::cluster::{Cluster, TableWanted, Wanted, table};
use lockstep_tests::direct::sql;
use lockstep_tests::proxy::Fault;
use lockstep_tests::wait::{PATIENCE, run, wait_until};
use serde_json::{Value, json};

use crate::support::{bulk, commit, options, problem, refused};

const MANY: usize = 600;

/// P2, A10: a `clear` of many pages is killed in the middle: after the restart it goes on to its end, in both stores, and what does not match,
/// or was written after it, stays. Fails when a page is not logged, or when its deletes are not fenced by the version that it saw.
#[test]
fn p2_a10_a_clear_survives_a_kill_in_the_middle() -> Result<()> {
    run(async {
        let cluster = Cluster::start(&Wanted { timeout_s: 20, ..Wanted::default() }).await?;
        let daemon = cluster.daemon().await?;
        let client = daemon.client();
        let mut lines = String::new();
        for number in 0..MANY {
            let workspace = if number % 10 == 0 { "kept" } else { "cleared" };
            let document = json!({"workspace": workspace, "n": number});
            let put = json!({"op": "put", "key": format!("memory:{number}"), "document": document, "vector": [1, 0]});
            lines.push_str(&format!("{put}\n"));
        }
        let answers = bulk(client, lines.into_bytes(), Ack::Committed).await?;
        ensure!(answers.iter().all(|answer| answer.state == Some(State::Committed)));
        let filter = json!({"workspace": "cleared"});
        let count = CountRequest { table: "memory".to_owned(), filter: Some(filter.clone()) };
        let counted = client.count(&count).await?.into_body();
        ensure!(counted.records == Some(MANY as u64 * 9 / 10), "{counted:?}");

        // Slow enough to be met in the middle.
        cluster.qdrant_net.set(Fault::Delay(Duration::from_millis(150))).await?;
        let clear = json!({"op": "clear", "table": "memory", "where": filter}).to_string();
        let cleared = client.op(clear, &options(Ack::Logged, PATIENCE)).await?;
        let later = json!({"op": "put", "key": "memory:later", "document": {"workspace": "cleared"}, "vector": [1, 0]});
        let asked = &count;
        wait_until("the first page", PATIENCE, || async move {
            let left = client.count(asked).await?.into_body().records;
            Ok(left.is_some_and(|left| left < MANY as u64 * 9 / 10).then_some(()))
        })
        .await?;
        let state = client.op_view(cleared.op_id).await?.state;
        ensure!(state.is_open(), "it was not met in the middle, but {state}");
        daemon.kill().await?;
        cluster.qdrant_net.set(Fault::None).await?;

        let daemon = cluster.daemon().await?;
        let client = daemon.client();
        client.op(later.to_string(), &options(Ack::Logged, PATIENCE)).await?;
        client.barrier(Some(PATIENCE)).await?;
        let view = client.op_view(cleared.op_id).await?.into_body();
        ensure!(view.state == State::Committed, "{view:?}");
        let direct = cluster.direct().await?;
        let keys: Vec<Key> = (0..MANY).map(|n| format!("memory:{n}").parse()).collect::<Result<_, _>>()?;
        for (number, key) in keys.iter().enumerate() {
            let seen = direct.read(std::slice::from_ref(key)).await?.into_values().next().context("not read")?;
            let kept = number % 10 == 0;
            ensure!((seen.record.is_some(), seen.point.is_some()) == (kept, kept), "{key}: {seen:?}");
        }
        ensure!(client.entity("memory:later").await?.verdict == "consistent", "the later put was cleared");
        daemon.terminate().await.map(drop)
    })
}

/// C7: `stores = "surreal"` and `stores = "qdrant"`: each operation ends committed, and the other store has nothing.
/// Fails when a single-store table waits for the other store.
#[test]
fn p2_c7_single_store_tables_touch_one_store() -> Result<()> {
    run(async {
        let single = |name: &'static str, rest: &'static str| TableWanted { name, collection: name, rest: rest.into() };
        let tables = vec![
            single("paper", "stores = \"surreal\""),
            single("glyph", "stores = \"qdrant\"\nvectors.default = { size = 2, distance = \"cosine\" }"),
        ];
        let cluster = Cluster::start(&Wanted { tables, ..Wanted::default() }).await?;
        let daemon = cluster.daemon().await?;
        let client = daemon.client();
        // The store that a table does not have may be away.
        cluster.qdrant_net.set(Fault::Refuse).await?;
        commit(client, &json!({"op": "put", "key": "paper:1", "document": {"a": 1}})).await?;
        commit(client, &json!({"op": "patch", "key": "paper:1", "document": {"b": 2}})).await?;
        cluster.qdrant_net.set(Fault::None).await?;
        cluster.surreal_net.set(Fault::Refuse).await?;
        for key in ["glyph:1", "glyph:2"] {
            commit(client, &json!({"op": "put", "key": key, "document": {"a": 1}, "vector": [1, 0]})).await?;
        }
        commit(client, &json!({"op": "delete", "key": "glyph:2"})).await?;
        let request = json!({"table": "glyph", "vector": [1, 0], "with_document": true});
        let found = client.search(&serde_json::from_value(request)?).await?.into_body();
        let hits: Vec<_> = found.hits.iter().map(|hit| (hit.key.clone(), hit.document.clone())).collect();
        ensure!(hits == [("glyph:1".to_owned(), Some(json!({"a": 1})))], "the point is all there is: {found:?}");
        cluster.surreal_net.set(Fault::None).await?;
        let keys: Vec<Key> = ["paper:1", "glyph:1", "glyph:2"].map(str::parse).into_iter().collect::<Result<_, _>>()?;
        let seen = cluster.direct().await?.read(&keys).await?;
        let shows: Vec<_> =
            keys.iter().filter_map(|key| seen.get(key)).map(|s| (s.record.is_some(), s.point.is_some())).collect();
        ensure!(shows == [(true, false), (false, true), (false, false)], "{seen:?}");
        daemon.terminate().await.map(drop)
    })
}

/// In one collection, with a vector that Qdrant refuses and nobody else knows to be wrong.
fn shared() -> Vec<TableWanted> {
    ["first", "second"].map(|name| TableWanted { name, collection: "shared", ..table(name) }).to_vec()
}

fn put(key: &str, words: &str, vector: Value) -> Value {
    json!({"op": "put", "key": key, "document": {"words": words}, "vector": vector})
}

/// An operation that was applied in SurrealDB and refused by Qdrant, while somebody changed its record in between.
async fn park(cluster: &Cluster, client: &Client, key: &str) -> Result<lockstep_model::OpId> {
    let before = cluster.qdrant_net.counts().held;
    cluster.qdrant_net.set(Fault::Hold).await?;
    let refused = put(key, "refused", json!([1, 2, 3]));
    let op_id = client.op(refused.to_string(), &options(Ack::Logged, PATIENCE)).await?.op_id;
    cluster.qdrant_net.until("the upsert", |counts| counts.held > before).await?;
    wait_until("the first stage", PATIENCE, || async move {
        Ok((client.op_view(op_id).await?.state == State::SurrealCompleted).then_some(()))
    })
    .await?;
    let direct = cluster.direct().await?;
    let (table, id) = key.split_once(':').context("a key")?;
    sql(direct.surreal(), &format!("UPDATE {table}:`{id}` SET outside = true")).await?;
    cluster.qdrant_net.set(Fault::None).await?;
    cluster.qdrant_net.release();
    wait_until("a parked operation", PATIENCE, || async move {
        Ok((client.op_view(op_id).await?.state == State::Parked).then_some(()))
    })
    .await?;
    Ok(op_id)
}

/// P2, B1, B2: an outside change between the stages parks the operation, and stays. A parked operation leaves its lane; it is retried as a
/// new one, but not over what has been written since unless forced; discarded or rolled back as the operator says.
/// Fails when an undo overwrites what others wrote, or when `retry` reorders writes.
#[test]
fn p2_b1_b2_an_outside_change_parks_and_an_operator_decides() -> Result<()> {
    run(async {
        let cluster = Cluster::start(&Wanted { timeout_s: 30, tables: shared(), ..Wanted::default() }).await?;
        let daemon = cluster.daemon().await?;
        let client = daemon.client();
        commit(client, &put("first:1", "seed", json!([1, 0]))).await?;
        for key in ["second:a", "second:b", "second:c"] {
            commit(client, &json!({"op": "put", "key": key, "document": {"words": "before"}})).await?;
        }
        let outside = |key: &'static str| async move {
            let entity = client.entity(key).await?.into_body();
            let document = entity.surreal.document.with_context(|| key.to_owned())?;
            anyhow::Ok(document.get("outside") == Some(&json!(true)))
        };

        let discarded = park(&cluster, client, "second:a").await?;
        ensure!(outside("second:a").await?, "the outside change is gone");
        let note = DecisionRequest { note: Some("seen by the tests".to_owned()), ..DecisionRequest::default() };
        let answer = client.discard(discarded, &note).await?.into_body();
        ensure!(answer.state == State::Discarded, "{answer:?}");
        ensure!(client.op_view(discarded).await?.state == State::Discarded);
        ensure!(outside("second:a").await?, "a discard changed something");

        // Its lane goes on without it; a retry would come after what was written since.
        let late = park(&cluster, client, "second:b").await?;
        commit(client, &json!({"op": "put", "key": "second:b", "document": {"words": "since"}})).await?;
        let refusal = match client.retry(late, &DecisionRequest::default()).await {
            Ok(answer) => anyhow::bail!("retried over a newer write: {answer:?}"),
            Err(lockstep_api::Error::Problem { problem, .. }) => problem,
            Err(error) => return Err(error.into()),
        };
        ensure!((refusal.status, refusal.code.as_str()) == (409, "superseded"), "{refusal:?}");
        let forced = DecisionRequest { force: true, ..DecisionRequest::default() };
        let again = client.retry(late, &forced).await?.into_body().again.context("no new operation")?;
        client.barrier(Some(PATIENCE)).await?;
        // It is still refused: and this time nothing stands in the way of the undo.
        let view = client.op_view(again.op_id).await?.into_body();
        ensure!(view.state == State::RolledBack, "{view:?}");
        ensure!(client.op_view(late).await?.state == State::Discarded);
        let entity = client.entity("second:b").await?.into_body();
        ensure!(entity.surreal.document == Some(json!({"words": "since"})), "{entity:?}");

        let not_parked = refused(
            client.op(put("second:c", "x", json!([1, 2, 3])).to_string(), &options(Ack::Committed, PATIENCE)).await,
        )?;
        let op_id = not_parked.op_id.context("not logged")?;
        ensure!(
            client.discard(op_id, &DecisionRequest::default()).await.is_err(),
            "what has ended cannot be discarded"
        );
        ensure!(client.status().await?.wal.parked == 0);
        daemon.stopped().await.map(drop)
    })
}

/// P2: a group over two tables and collections is refused by Qdrant at one member: no member is left in either store, and what they
/// replaced is back. Fails when the points of the other members stay.
#[test]
fn p2_a_refused_group_leaves_nothing_in_either_store() -> Result<()> {
    run(async {
        let mut tables = shared();
        tables.push(table("memory"));
        let cluster = Cluster::start(&Wanted { timeout_s: 10, tables, ..Wanted::default() }).await?;
        let daemon = cluster.daemon().await?;
        let client = daemon.client();
        commit(client, &put("first:1", "before", json!([1, 0]))).await?;
        commit(client, &put("memory:1", "before", json!([1, 0, 0]))).await?;
        commit(client, &put("memory:2", "before", json!([0, 1, 0]))).await?;
        let keys: Vec<Key> = ["first:1", "memory:1", "memory:2", "memory:3", "second:1"]
            .map(str::parse)
            .into_iter()
            .collect::<Result<_, _>>()?;
        let direct = cluster.direct().await?;
        let before = direct.read(&keys).await?;
        let group = json!({"op": "atomic", "ops": [
            put("memory:1", "after", json!([0, 0, 1])), {"op": "delete", "key": "memory:2"},
            put("memory:3", "after", json!([1, 1, 1])), put("first:1", "after", json!([0, 1])),
            put("second:1", "refused", json!([1, 2, 3, 4, 5])),
        ]});
        let problem = problem(client, &group).await?;
        ensure!((problem.status, problem.code.as_str()) == (422, "rejected_by_qdrant"), "{problem:?}");
        ensure!(problem.state == Some(State::RolledBack), "{problem:?}");
        let after = direct.read(&keys).await?;
        ensure!(after == before, "before: {before:#?}\nafter: {after:#?}");
        daemon.terminate().await.map(drop)
    })
}

/// P2, P5: what only the server could know to be wrong ends as refused, also when it is met first after a restart, and in a group with
/// other writes to the same collection: nothing else waits meanwhile.
/// Fails when a collection of another size counts as a missing one, or when a refusal of a group counts as an unknown outcome.
#[test]
fn p2_a_size_that_the_collection_does_not_have_ends_over_a_restart() -> Result<()> {
    run(async {
        let mut tables = shared();
        tables.push(table("memory"));
        let cluster = Cluster::start(&Wanted { timeout_s: 10, tables, ..Wanted::default() }).await?;
        let daemon = cluster.daemon().await?;
        let client = daemon.client();
        commit(client, &put("first:1", "before", json!([1, 0]))).await?;
        client.pause(&PauseRequest::Store(StoreName::Qdrant)).await?;
        let alone = put("second:1", "refused", json!([1, 2, 3])).to_string();
        let alone = client.op(alone, &options(Ack::Logged, PATIENCE)).await?.op_id;
        daemon.kill().await?;
        let daemon = cluster.daemon().await?;
        let client = daemon.client();
        client.barrier(Some(PATIENCE)).await?;
        let view = client.op_view(alone).await?.into_body();
        ensure!(view.state == State::RolledBack, "{view:?}");
        let group = json!({"op": "atomic", "ops": [
            put("second:2", "refused", json!([1, 2, 3])), put("second:3", "refused", json!([1, 2, 3])),
        ]});
        let problem = problem(client, &group).await?;
        ensure!((problem.status, problem.code.as_str()) == (422, "rejected_by_qdrant"), "{problem:?}");
        commit(client, &put("memory:1", "after", json!([1, 0, 0]))).await?;
        let keys: Vec<Key> =
            ["second:1", "second:2", "second:3"].map(str::parse).into_iter().collect::<Result<_, _>>()?;
        let seen = cluster.direct().await?.read(&keys).await?;
        ensure!(seen.values().all(|seen| seen.record.is_none() && seen.point.is_none()), "{seen:?}");
        daemon.terminate().await.map(drop)
    })
}
