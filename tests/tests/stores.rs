//! Paused stores, both acknowledgements, and the barrier.

use std::time::Duration;

use anyhow::{Result, ensure};
use lockstep_api::{Ack, PauseRequest, StoreName, StoreState};
use lockstep_model::State;
use lockstep_tests::wait::{PATIENCE, run};
use serde_json::json;

use crate::support::{commit, fresh, nearest, options};

const SOON: Duration = Duration::from_millis(300);

/// P5, P7: while a store is paused, operations are logged and answered with the state that they have reached, status says so, and
/// on resume everything drains.
/// Fails when a pause refuses operations, counts as their failure, or is not shown.
#[test]
fn p7_a_paused_store_answers_202_and_drains_on_resume() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        let daemon = launch.ready().await?;
        let client = daemon.client();
        commit(client, &json!({"op": "put", "key": "memory:0", "document": {}, "vector": [1, 0]})).await?;
        for store in [StoreName::Surreal, StoreName::Qdrant] {
            client.pause(&PauseRequest::Store(store)).await?;
            let put =
                json!({"op": "put", "key": "memory:1", "document": {"during": store.to_string()}, "vector": [0, 1]});
            let answer = client.op(put.to_string(), &options(Ack::Committed, SOON)).await?;
            // Nothing is begun that needs a store which is not there.
            ensure!((answer.status, answer.state) == (202, State::Pending), "{store}: {answer:?}");
            let status = client.status().await?.into_body();
            let state =
                if store == StoreName::Surreal { status.stores.surreal.state } else { status.stores.qdrant.state };
            ensure!(state == StoreState::Paused && status.wal.open_ops == 1, "{store}: {status:?}");
            ensure!(status.wal.oldest_open_age_s.is_some(), "{status:?}");
            let view = client.op_view(answer.op_id).await?.into_body();
            ensure!(view.waiting_for.as_deref() == Some(format!("store:{store}").as_str()), "{view:?}");
            ensure!(
                client.barrier(Some(SOON)).await.map(|answer| answer.status).unwrap_or(202) != 200,
                "a barrier passed"
            );
            client.resume(&PauseRequest::Store(store)).await?;
            client.barrier(Some(PATIENCE)).await?;
            let view = client.op_view(answer.op_id).await?.into_body();
            ensure!(view.state == State::Committed && view.waiting_for.is_none(), "{view:?}");
            ensure!(client.entity("memory:1").await?.verdict == "consistent");
        }
        daemon.terminate().await.map(drop)
    })
}

/// P1, P2: `ack=logged` answers 202 before the stores have it, and a kill -9 right then loses nothing.
/// Fails when `logged` is answered before the log is durable, or recovery forgets an op that no store has seen.
#[test]
fn p1_logged_operations_survive_a_kill_before_any_store_has_them() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        let daemon = launch.ready().await?;
        let client = daemon.client();
        for store in [StoreName::Surreal, StoreName::Qdrant] {
            client.pause(&PauseRequest::Store(store)).await?;
        }
        let mut logged = Vec::new();
        for number in 0..20 {
            let put = json!({"op": "put", "key": format!("memory:{number}"), "document": {"n": number}, "vector": [number, 1]});
            let answer = client.op(put.to_string(), &options(Ack::Logged, PATIENCE)).await?;
            ensure!((answer.status, answer.state) == (202, State::Pending), "{answer:?}");
            logged.push(answer.into_body());
        }
        daemon.kill().await?;
        let daemon = launch.ready().await?;
        let client = daemon.client();
        client.barrier(Some(PATIENCE)).await?;
        for answer in &logged {
            let view = client.op_view(answer.op_id).await?.into_body();
            ensure!(view.state == State::Committed && view.version == Some(answer.version), "{view:?}");
        }
        ensure!(nearest(client, "memory", json!([0, 1]), 1).await? == ["memory:0"]);
        let recovery = client.status().await?.recovery;
        ensure!(recovery.done && recovery.finished == 20, "{recovery:?}");
        daemon.terminate().await.map(drop)
    })
}

/// P2: `ack=committed` answers when both stores show the operation, and not before.
/// Fails when `committed` is answered after the first store.
#[test]
fn p2_a_committed_operation_shows_in_both_stores_at_once() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        let daemon = launch.ready().await?;
        let client = daemon.client();
        for number in 1..=30 {
            let put = json!({"op": "put", "key": format!("memory:{number}"), "document": {"n": number}, "vector": [number, 30 - number, 1]});
            let answer = commit(client, &put).await?;
            let entity = client.entity(&format!("memory:{number}")).await?.into_body();
            ensure!(entity.verdict == "consistent" && entity.qdrant.version == Some(answer.version), "{entity:?}");
            let key = format!("memory:{number}");
            let hits = nearest(client, "memory", json!([number, 30 - number, 1]), 1).await?;
            ensure!(hits == [key.clone()], "{hits:?}, not {key}");
        }
        commit(client, &json!({"op": "delete", "key": "memory:7"})).await?;
        let hits = nearest(client, "memory", json!([7, 23, 1]), 30).await?;
        ensure!(hits.len() == 29 && !hits.contains(&"memory:7".to_owned()), "{hits:?}");
        daemon.terminate().await.map(drop)
    })
}
