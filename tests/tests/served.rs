//! What else must hold over the wire: large entities, a schema that changes under waiting operations, and two clients at one key.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockstep_api::{Ack, Client, VectorView};
use lockstep_model::State;
use lockstep_tests::cluster::{Cluster, TableWanted, Wanted, client_of};
use lockstep_tests::direct::sql;
use lockstep_tests::proxy::Fault;
use lockstep_tests::wait::{PATIENCE, run};
use serde_json::{Map, Value, json};

use crate::support::{commit, options, problem, refused};

const NAMED: usize = 64;
const DIMENSIONS: usize = 4096;

fn base64(values: &[f32]) -> String {
    STANDARD.encode(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

/// A vector of length 1, a different one for each number.
fn unit(number: usize) -> Vec<f32> {
    let mut values = vec![0.0; DIMENSIONS];
    if let Some(value) = values.get_mut(number * 7) {
        *value = 1.0;
    }
    values
}

/// P6: a document of 4 MiB, and 64 vectors of 4096 dimensions in one operation, arrive whole in both stores.
/// Fails when a message limit of a client or a server is left at its default.
#[test]
fn p6_large_entities_pass_the_wire() -> Result<()> {
    run(async {
        let vectors: String = (0..NAMED)
            .map(|n| format!("v{n} = {{ size = {DIMENSIONS}, distance = \"cosine\", required = false }}\n"))
            .collect();
        let rest = format!("[tables.big.vectors]\n{vectors}").into();
        let big = TableWanted { name: "big", collection: "big", rest };
        let wanted =
            Wanted { timeout_s: 30, tables: vec![big, lockstep_tests::cluster::table("memory")], ..Wanted::default() };
        let cluster = Cluster::start(&wanted).await?;
        let daemon = cluster.daemon().await?;
        let client = daemon.client();
        let text = "tide ".repeat((4 << 20) / 5);
        let answer =
            commit(client, &json!({"op": "put", "key": "memory:1", "document": {"text": text}, "vector": [1, 0]}))
                .await?;
        let seen =
            cluster.direct().await?.read(&["memory:1".parse()?]).await?.into_values().next().context("nothing")?;
        let (record, point) = (seen.record.context("no record")?, seen.point.context("no point")?);
        ensure!(record.version == answer.version && point.version == answer.version);
        ensure!(record.document.get("text") == Some(&json!(text)) && point.payload.get("text") == Some(&json!(text)));

        let named: Map<String, Value> = (0..NAMED).map(|n| (format!("v{n}"), json!(base64(&unit(n))))).collect();
        commit(client, &json!({"op": "put", "key": "big:1", "document": {}, "vectors": named})).await?;
        let entity = client.entity("big:1").await?.into_body();
        let seen = entity.qdrant.vectors.context("no vectors")?;
        ensure!(entity.verdict == "consistent" && seen.len() == NAMED, "{} of {} vectors", seen.len(), NAMED);
        for number in 0..NAMED {
            let view = seen.get(&format!("v{number}"));
            ensure!(
                matches!(view, Some(VectorView::Dense(values)) if *values == unit(number)),
                "v{number} is another one"
            );
        }
        daemon.terminate().await.map(drop)
    })
}

/// P5: while operations wait for SurrealDB, an application makes a field mandatory. Each one without it ends with SurrealDB's words, the others
/// commit. Fails when a refusal of a batch is taken for the fault of all, or of none.
#[test]
fn p5_a_field_becomes_mandatory_while_operations_wait() -> Result<()> {
    run(async {
        let cluster = Cluster::start(&Wanted::default()).await?;
        let daemon = cluster.daemon().await?;
        let client = daemon.client();
        commit(client, &json!({"op": "put", "key": "memory:0", "document": {"name": "tide"}, "vector": [1, 0]}))
            .await?;
        cluster.surreal_net.set(Fault::Refuse).await?;
        let mut waiting = Vec::new();
        for number in 1..=40 {
            let document = if number % 4 == 0 { json!({"n": number}) } else { json!({"n": number, "name": "tide"}) };
            let put = json!({"op": "put", "key": format!("memory:{number}"), "document": document, "vector": [1, 0]});
            let answer = client.op(put.to_string(), &options(Ack::Logged, PATIENCE)).await?;
            waiting.push((number % 4 == 0, answer.op_id));
        }
        let direct = cluster.direct().await?;
        sql(direct.surreal(), "DEFINE FIELD name ON memory TYPE string ASSERT string::len($value) > 0").await?;
        cluster.surreal_net.set(Fault::None).await?;
        client.barrier(Some(PATIENCE)).await?;
        for (guilty, op_id) in waiting {
            let view = client.op_view(op_id).await?.into_body();
            if guilty {
                let error = view.error.as_ref().with_context(|| format!("{view:?}"))?;
                let right = view.state == State::RolledBack && error.code == "rejected_by_surreal";
                ensure!(right && error.detail.contains("name"), "{view:?}");
            } else {
                ensure!(view.state == State::Committed, "{view:?}");
            }
        }
        for number in 1..=40 {
            let entity = client.entity(&format!("memory:{number}")).await?.into_body();
            let wanted = if number % 4 == 0 { "not_found" } else { "consistent" };
            ensure!(entity.verdict == wanted, "{entity:?}");
        }
        daemon.terminate().await.map(drop)
    })
}

async fn try_put(client: &Client, key: &str, who: usize) -> Result<bool> {
    let put = json!({"op": "put", "key": key, "document": {"who": who}, "vector": [1, 0], "if_absent": true});
    match client.op(put.to_string(), &options(Ack::Committed, PATIENCE)).await {
        Ok(answer) => {
            ensure!(answer.status == 200, "{answer:?}");
            Ok(true)
        }
        refusal => {
            let problem = refused(refusal)?;
            ensure!((problem.status, problem.code.as_str()) == (409, "precondition_failed"), "{problem:?}");
            Ok(false)
        }
    }
}

/// P3: of two clients that put one key with `if_absent`, exactly one wins, and what it wrote stands.
/// Fails when the precondition is judged before the operation's turn.
#[test]
fn p3_of_two_clients_with_if_absent_one_wins() -> Result<()> {
    run(async {
        let cluster = Cluster::start(&Wanted { timeout_s: 10, ..Wanted::default() }).await?;
        let daemon = cluster.daemon().await?;
        let clients = [client_of(&daemon), client_of(&daemon)];
        let mut won = [0, 0];
        for number in 0..30 {
            let key = format!("memory:{number}");
            let (first, second) = tokio::try_join!(try_put(&clients[0], &key, 0), try_put(&clients[1], &key, 1))?;
            ensure!(first != second, "{key}: {first} {second}");
            let winner = usize::from(second);
            won[winner] += 1;
            let entity = daemon.client().entity(&key).await?.into_body();
            ensure!(entity.surreal.document == Some(json!({"who": winner})), "{winner} won: {entity:?}");
            ensure!(entity.verdict == "consistent", "{entity:?}");
        }
        ensure!(won[0] + won[1] == 30);
        daemon.terminate().await.map(drop)
    })
}

/// P2, P6: SurrealDB over `http://` takes the same operations; a document beyond its request limit of 4 MiB there is refused with a
/// reason, and holds up nobody. Fails when a body limit is taken for an outage.
#[test]
fn p6_over_http_a_document_beyond_its_limit_is_refused() -> Result<()> {
    run(async {
        let cluster = Cluster::start(&Wanted { scheme: "http", timeout_s: 10, ..Wanted::default() }).await?;
        let daemon = cluster.daemon().await?;
        let client = daemon.client();
        let put =
            |key: &str, text: &str| json!({"op": "put", "key": key, "document": {"text": text}, "vector": [1, 0]});
        commit(client, &put("memory:1", "small")).await?;
        let problem = problem(client, &put("memory:2", &"x".repeat(5 << 20))).await?;
        ensure!(problem.status == 422 && problem.code == "rejected_by_surreal", "{problem:?}");
        commit(client, &put("memory:1", "still works")).await?;
        let seen = cluster.direct().await?.read(&["memory:1".parse()?, "memory:2".parse()?]).await?;
        let texts: Vec<_> =
            seen.values().map(|seen| seen.record.as_ref().and_then(|r| r.document.get("text")).cloned()).collect();
        ensure!(texts == [Some(json!("still works")), None], "{texts:?}");
        daemon.terminate().await.map(drop)
    })
}
