//! Parked operations in front of servers: what an operator sees of them, and decides, through the routes and through `lockstep`.

use std::collections::BTreeMap;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use lockstep_api::{Client, DecisionAnswer, DecisionRequest, Error, Event, OpsFilter, Problem};
use lockstep_model::{Key, Lsn, OpId, State};
use lockstep_tests::cluster::{Cluster, TableWanted, Wanted, table};
use lockstep_tests::daemon::Daemon;
use lockstep_tests::direct::{Direct, sql};
use lockstep_tests::look::Observed;
use lockstep_tests::program::built;
use lockstep_tests::wait::{PATIENCE, run};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{commit, problem};

/// The position before all events: the log's beginning, and the first place in it.
const BEGINNING: &str = "000000000000000000000000";

/// SurrealDB takes no score below 0, until an operator thinks better of it.
const RULE: &str = "DEFINE TABLE memory TYPE ANY SCHEMALESS;
    DEFINE FIELD score ON memory TYPE option<int> ASSERT $value = NONE OR $value >= 0";

/// `memory` is refused by SurrealDB, `second`, whose points share a collection with those of `first`, by Qdrant.
fn wanted() -> Wanted {
    let parks = |name, collection| TableWanted { name, collection, rest: "on_reject = \"park\"".into() };
    let tables = vec![
        parks("memory", "memory"),
        TableWanted { collection: "shared", ..table("first") },
        parks("second", "shared"),
    ];
    Wanted { tables, timeout_s: 10, ..Wanted::default() }
}

fn put(key: &str, words: &str) -> Value {
    json!({"op": "put", "key": key, "document": {"words": words}, "vector": [1, 0]})
}

/// Refused by SurrealDB while the rule holds.
fn below(key: &str, words: &str) -> Value {
    json!({"op": "put", "key": key, "document": {"words": words, "score": -1}, "vector": [0, 1]})
}

/// Refused by Qdrant: of another size than what is in the collection.
fn wrong(key: &str) -> Value {
    json!({"op": "put", "key": key, "document": {"words": "refused"}, "vector": [1, 2, 3]})
}

async fn park(client: &Client, body: &Value) -> Result<OpId> {
    let problem = problem(client, body).await?;
    ensure!(problem.state == Some(State::Parked), "{problem:?}");
    problem.op_id.context("not logged")
}

async fn shown(direct: &Direct, key: &str) -> Result<Observed> {
    let key: Key = key.parse()?;
    direct.read(&[key]).await?.into_values().next().context("not read")
}

/// Words in the record, words in the point.
async fn words(direct: &Direct, key: &str) -> Result<(Option<String>, Option<String>)> {
    let seen = shown(direct, key).await?;
    let of = |fields: &serde_json::Map<String, Value>| fields.get("words").and_then(Value::as_str).map(str::to_owned);
    let record = seen.record.and_then(|record| of(&record.document));
    Ok((record, seen.point.and_then(|point| of(&point.payload))))
}

fn told(words: &str) -> (Option<String>, Option<String>) {
    (Some(words.to_owned()), Some(words.to_owned()))
}

/// Of the route.
fn denied<T: std::fmt::Debug>(answer: Result<T, Error>) -> Result<Problem> {
    match answer {
        Ok(answer) => anyhow::bail!("this must be refused: {answer:?}"),
        Err(Error::Problem { problem, .. }) => Ok(*problem),
        Err(error) => Err(error.into()),
    }
}

async fn lockstep(daemon: &Daemon, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(built("lockstep")?);
    command.arg("--socket").arg(daemon.client().socket()).args(arguments).kill_on_drop(true);
    Ok(tokio::time::timeout(PATIENCE, command.output()).await.context("lockstep does not end")??)
}

/// What it prints with `--json`, of one operation.
async fn decided(daemon: &Daemon, arguments: &[&str]) -> Result<DecisionAnswer> {
    let output = lockstep(daemon, &[&["--json"], arguments].concat()).await?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{arguments:?} ended with {}: {out}{err}", output.status);
    let all: Value = serde_json::from_str(&out).with_context(|| out.clone().into_owned())?;
    serde_json::from_value(all["decided"][0].clone()).with_context(|| out.into_owned())
}

async fn parked(client: &Client) -> Result<Vec<OpId>> {
    let filter = OpsFilter { state: Some(State::Parked), ..OpsFilter::default() };
    let page = client.ops(&filter).await?.into_body();
    ensure!(page.ops.iter().all(|op| op.waiting_for.as_deref() == Some("operator") && op.error.is_some()), "{page:?}");
    let count = client.status().await?.wal.parked;
    ensure!(count == page.ops.len() as u64, "status counts {count} of {}", page.ops.len());
    Ok(page.ops.into_iter().map(|op| op.op_id).collect())
}

/// What events tell of each operation, from the beginning up to `last`.
async fn told_by_events(client: &Client, last: Lsn) -> Result<BTreeMap<OpId, Vec<String>>> {
    let mut events = client.events(Some(BEGINNING)).await?;
    let mut told: BTreeMap<OpId, Vec<String>> = BTreeMap::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, events.next()).await.context("no event")??;
        let Event { event, data, .. } = next.context("the events end")?;
        let Ok(op) = serde_json::from_value::<lockstep_api::OpView>(data) else { continue };
        let end = op.lsn == last && event == "committed";
        told.entry(op.op_id).or_default().push(event);
        if end {
            return Ok(told);
        }
    }
}

/// P2, P7, B2: a parked operation is listed, counted and told of, survives kill -9, and ends as an operator says: a retry is refused where
/// the key has been written since, unless it is forced, and commits once the reason is gone; a rollback takes back what SurrealDB
/// shows; a discard changes nothing. Events tell all of it.
/// Fails when a retry runs over what is newer, when a discarded or retried operation is still listed, or when a rollback
/// leaves the record.
#[test]
fn p2_p7_b2_an_operator_decides_about_what_is_parked() -> Result<()> {
    run(async {
        let cluster = Cluster::start(&wanted()).await?;
        let direct = cluster.direct().await?;
        sql(direct.surreal(), RULE).await?;
        let daemon = cluster.daemon().await?;
        let client = daemon.client();
        commit(client, &put("first:1", "seed")).await?;
        for key in ["memory:plain", "memory:forced", "memory:left"] {
            commit(client, &put(key, "before")).await?;
        }
        for key in ["second:back", "second:back too"] {
            commit(client, &json!({"op": "put", "key": key, "document": {"words": "before"}})).await?;
        }
        let plain = park(client, &below("memory:plain", "parked")).await?;
        let forced = park(client, &below("memory:forced", "parked")).await?;
        let left = park(client, &below("memory:left", "parked")).await?;
        let back = park(client, &wrong("second:back")).await?;
        let back_too = park(client, &wrong("second:back too")).await?;
        // Nothing was applied where SurrealDB refused; where Qdrant did, the record stands alone until somebody decides.
        ensure!(words(&direct, "memory:plain").await? == told("before"));
        ensure!(words(&direct, "second:back").await? == (Some("refused".to_owned()), None));
        let mut all = vec![plain, forced, left, back, back_too];
        all.reverse();
        ensure!(parked(client).await? == all, "{:?}", parked(client).await?);

        daemon.kill().await?;
        let daemon = cluster.daemon().await?;
        let client = daemon.client();
        client.barrier(Some(PATIENCE)).await?;
        ensure!(parked(client).await? == all, "after a kill: {:?}", parked(client).await?);

        // The lane went on without it.
        commit(client, &put("memory:forced", "since")).await?;
        let refusal = denied(client.retry(forced, &DecisionRequest::default()).await)?;
        ensure!((refusal.status, refusal.code.as_str()) == (409, "superseded"), "{refusal:?}");
        let output = lockstep(&daemon, &["retry", &forced.to_string()]).await?;
        let err = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1) && err.contains("force"), "{}: {err}", output.status);

        // Retried while the reason holds, it is parked again, as another operation.
        let again =
            client.retry(plain, &DecisionRequest::default()).await?.into_body().again.context("no new operation")?;
        client.barrier(Some(PATIENCE)).await?;
        ensure!(client.op_view(again.op_id).await?.state == State::Parked);
        ensure!(client.op_view(plain).await?.state == State::Discarded);

        sql(direct.surreal(), "REMOVE FIELD score ON memory").await?;
        let mended = client.retry(again.op_id, &DecisionRequest::default()).await?.into_body().again.context("none")?;
        let through = decided(&daemon, &["retry", &forced.to_string(), "--force", "--note", "it shall win"]).await?;
        let through = through.again.context("no new operation")?;
        client.barrier(Some(PATIENCE)).await?;
        for op_id in [mended.op_id, through.op_id] {
            ensure!(client.op_view(op_id).await?.state == State::Committed, "{:?}", client.op_view(op_id).await?);
        }
        for key in ["memory:plain", "memory:forced"] {
            ensure!(words(&direct, key).await? == told("parked"), "{key}: {:?}", shown(&direct, key).await?);
        }

        let taken = client.rollback(back, &DecisionRequest::default()).await?.into_body();
        ensure!(taken.state == State::RolledBack, "{taken:?}");
        let taken = decided(&daemon, &["rollback", &back_too.to_string()]).await?;
        ensure!(taken.state == State::RolledBack, "{taken:?}");
        for key in ["second:back", "second:back too"] {
            ensure!(words(&direct, key).await? == (Some("before".to_owned()), None), "{key}");
        }
        let done = decided(&daemon, &["discard", &left.to_string(), "--note", "not worth it"]).await?;
        ensure!(done.state == State::Discarded, "{done:?}");
        ensure!(words(&direct, "memory:left").await? == told("before"));
        ensure!(parked(client).await?.is_empty());

        // What has been decided is decided.
        let refusal = denied(client.discard(left, &DecisionRequest::default()).await)?;
        ensure!((refusal.status, refusal.code.as_str()) == (409, "precondition_failed"), "{refusal:?}");
        let output = lockstep(&daemon, &["rollback", &back.to_string()]).await?;
        ensure!(output.status.code() == Some(1), "{}", output.status);

        let last = commit(client, &put("memory:last", "last")).await?;
        let events = told_by_events(client, last.lsn).await?;
        let story = |op_id: OpId| events.get(&op_id).map(|story| story.join(" "));
        for op_id in [plain, again.op_id, forced, left] {
            ensure!(story(op_id).as_deref() == Some("logged parked discarded"), "{:?}", story(op_id));
        }
        for op_id in [back, back_too] {
            ensure!(story(op_id).as_deref() == Some("logged parked rolled_back"), "{:?}", story(op_id));
        }
        for op_id in [mended.op_id, through.op_id] {
            ensure!(story(op_id).as_deref() == Some("logged committed"), "{:?}", story(op_id));
        }
        daemon.stopped().await.map(drop)
    })
}

/// P2: an operation that was parked in a table of Qdrant's refusals is retried with the same content and, nothing having changed, parked
/// anew: no retry is answered as done.
/// Fails when a retry ends as committed because its record is there already.
#[test]
fn p2_a_retry_of_what_qdrant_still_refuses_is_parked_again() -> Result<()> {
    run(async {
        let cluster = Cluster::start(&wanted()).await?;
        let daemon = cluster.daemon().await?;
        let client = daemon.client();
        commit(client, &put("first:1", "seed")).await?;
        let op_id = park(client, &wrong("second:1")).await?;
        let again = client.retry(op_id, &DecisionRequest::default()).await?.into_body().again.context("none")?;
        client.barrier(Some(PATIENCE)).await?;
        let view = client.op_view(again.op_id).await?.into_body();
        ensure!(view.state == State::Parked, "{view:?}");
        let error = view.error.as_ref().context("no reason")?;
        ensure!(error.code == "rejected_by_qdrant" && error.store.as_deref() == Some("qdrant"), "{view:?}");
        // Its key is free meanwhile.
        commit(client, &json!({"op": "delete", "key": "second:1"})).await?;
        park(client, &wrong("second:1")).await?;
        daemon.stopped().await.map(drop)
    })
}
