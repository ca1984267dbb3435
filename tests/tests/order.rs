//! Order, repetition, and what a search may show.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lockstep_api::{Ack, OpOptions};
use lockstep_model::State;
use lockstep_tests::wait::run;
use serde_json::{Value, json};

use crate::support::{bulk, commit, configured, fresh, nearest, options, problem, query, refused};

/// P3: operations on one key take effect in log order, whoever sends them and however they are batched.
/// Fails when two operations of one key share a batch, or a lane lets the younger go first.
#[test]
fn p3_the_last_of_many_writes_to_one_key_stands() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        let daemon = launch.ready().await?;
        let mut lines = String::new();
        for number in 0..300 {
            let op = match number % 3 {
                0 => json!({"op": "put", "key": "memory:1", "document": {"n": number}, "vector": [number, 1, 0]}),
                1 => json!({"op": "patch", "key": "memory:1", "document": {"n": number, "patched": number}}),
                _ => json!({"op": "put", "key": format!("memory:other{number}"), "document": {}, "vector": [0, 1, 0]}),
            };
            lines.push_str(&format!("{op}\n"));
        }
        let answers = bulk(daemon.client(), lines.into_bytes(), Ack::Committed).await?;
        ensure!(answers.iter().all(|answer| answer.state == Some(State::Committed)), "{answers:?}");
        let entity = daemon.client().entity("memory:1").await?.into_body();
        ensure!(entity.surreal.document == Some(json!({"n": 298, "patched": 298})), "{entity:?}");
        ensure!(entity.verdict == "consistent" && entity.qdrant.version == entity.surreal.version, "{entity:?}");
        daemon.terminate().await.map(drop)
    })
}

/// P3: an edge waits for the puts of its endpoints that stand before it, and an endpoint that is not there is 404.
/// Fails when edges do not read the lanes of their endpoints.
#[test]
fn p3_an_edge_needs_its_endpoints_at_its_turn() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        let daemon = launch.ready().await?;
        let relate = |to: &str| json!({"op": "relate", "edge": "mentions", "from": "memory:1", "to": to});
        let lines = [
            json!({"op": "put", "key": "memory:1", "document": {}, "vector": [1, 0]}),
            json!({"op": "put", "key": "memory:2", "document": {}, "vector": [0, 1]}),
            relate("memory:2"),
            json!({"op": "delete", "key": "memory:2"}),
            relate("memory:2"),
            relate("memory:nobody"),
        ];
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let answers = bulk(daemon.client(), lines.into_bytes(), Ack::Committed).await?;
        let told: Vec<_> =
            answers.iter().map(|a| (a.state, a.error.as_ref().map(|error| error.code.as_str()))).collect();
        let (yes, no) = ((Some(State::Committed), None), (Some(State::RolledBack), Some("not_found")));
        ensure!(told == [yes, yes, yes, yes, no, no], "{told:?}");
        let edges = query(daemon.client(), "SELECT VALUE id FROM mentions").await?;
        ensure!(edges == json!([]), "the delete takes its edges with it: {edges}");
        daemon.terminate().await.map(drop)
    })
}

/// P4: the same idempotency key runs once and gets the same answer, also when that was a refusal, and also after kill -9.
/// Fails when the key is kept in memory, or only for what was committed.
#[test]
fn p4_an_idempotency_key_gets_its_first_answer_also_after_a_kill() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        let daemon = launch.ready().await?;
        let keyed = |key: &str| OpOptions { idempotency_key: Some(key.to_owned()), ..OpOptions::default() };
        let put = json!({"op": "put", "key": "memory:1", "document": {"n": 1}, "vector": [1, 0]}).to_string();
        let patch = json!({"op": "patch", "key": "memory:nobody", "document": {}}).to_string();
        let first = daemon.client().op(put.clone(), &keyed("one")).await?.into_body();
        let refusal = refused(daemon.client().op(patch.clone(), &keyed("two")).await)?;
        commit(daemon.client(), &json!({"op": "put", "key": "memory:1", "document": {"n": 2}, "vector": [0, 1]}))
            .await?;
        commit(daemon.client(), &json!({"op": "put", "key": "memory:nobody", "document": {}})).await?;
        daemon.kill().await?;

        let daemon = launch.ready().await?;
        let again = daemon.client().op(put, &keyed("one")).await?.into_body();
        ensure!(again == first, "{again:?}, not {first:?}");
        let refused_again = refused(daemon.client().op(patch, &keyed("two")).await)?;
        ensure!((refused_again.op_id, &refused_again.code) == (refusal.op_id, &refusal.code), "{refused_again:?}");
        let other = json!({"op": "delete", "key": "memory:1"}).to_string();
        let mismatch = refused(daemon.client().op(other, &keyed("one")).await)?;
        ensure!((mismatch.status, mismatch.code.as_str()) == (409, "idempotency_mismatch"), "{mismatch:?}");
        let entity = daemon.client().entity("memory:1").await?.into_body();
        ensure!(entity.surreal.document == Some(json!({"n": 2})), "{entity:?}");
        daemon.terminate().await.map(drop)
    })
}

/// P3: preconditions are judged at the op's turn against the version the key has then.
/// Fails when they are judged at admission.
#[test]
fn p3_preconditions_are_judged_at_their_turn() -> Result<()> {
    run(async {
        let (_folder, launch) = fresh()?;
        let daemon = launch.ready().await?;
        let client = daemon.client();
        let put = |more: Value| {
            let mut op = json!({"op": "put", "key": "memory:1", "document": {}, "vector": [1, 0]});
            if let (Value::Object(op), Value::Object(more)) = (&mut op, more) {
                op.extend(more);
            }
            op
        };
        let version = commit(client, &put(json!({"if_absent": true}))).await?.version.0;
        for bad in [json!({"if_absent": true}), json!({"if_version": version - 1})] {
            let problem = problem(client, &put(bad)).await?;
            ensure!((problem.status, problem.code.as_str()) == (409, "precondition_failed"), "{problem:?}");
            ensure!(problem.state == Some(State::RolledBack), "{problem:?}");
        }
        let newer = commit(client, &put(json!({"if_version": version}))).await?.version.0;
        ensure!(newer > version);
        daemon.terminate().await.map(drop)
    })
}

/// P2: what was rolled back shows in neither store and in no search; the key's older point is as it was.
/// Fails when the point of a refused write stays, or compensation forgets the record.
#[test]
fn p2_what_qdrant_refused_shows_nowhere() -> Result<()> {
    run(async {
        let (folder, launch) = fresh()?;
        let shared = "[tables.first]\ncollection = \"shared\"\n[tables.second]\ncollection = \"shared\"\n";
        let launch = configured(folder.path(), launch, shared)?;
        let daemon = launch.ready().await?;
        let client = daemon.client();
        commit(client, &json!({"op": "put", "key": "first:1", "document": {"n": 1}, "vector": [1, 0, 0]})).await?;
        let bad = json!({"op": "put", "key": "second:1", "document": {}, "vector": [1, 0, 0, 0]});
        let problem = problem(client, &bad).await?;
        ensure!(problem.code == "rejected_by_qdrant" && problem.state == Some(State::RolledBack), "{problem:?}");
        let entity = client.entity("second:1").await?.into_body();
        ensure!(entity.verdict == "not_found", "{entity:?}");
        ensure!(nearest(client, "first", json!([1, 0, 0]), 10).await? == ["first:1"]);
        // And the table is not stuck: what fits is taken.
        let op = json!({"op": "put", "key": "second:1", "document": {}, "vector": [0, 1, 0]}).to_string();
        let answer = client.op(op, &options(Ack::Committed, Duration::from_secs(30))).await.context("what fits")?;
        ensure!(answer.state == State::Committed);
        daemon.terminate().await.map(drop)
    })
}
