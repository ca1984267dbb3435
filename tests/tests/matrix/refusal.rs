//! One operation in a batch of 100 is refused for good: it ends with the store's words, and its neighbours commit.

use anyhow::{Context, Result, ensure};
use lockstep_api::Ack;
use lockstep_model::{Key, State, Table};
use lockstep_tests::cluster::{Cluster, TableWanted, Wanted, table};
use lockstep_tests::direct::sql;
use lockstep_tests::held::Content;
use lockstep_tests::servers::Kind as Store;
use serde_json::{Value, json};

use super::row::Row;
use super::scene::{Act, KINDS, Kind, Touch, put};
use super::sent::{End, Ends, Sent, judge, prepare};
use crate::support::bulk;

const BATCH: usize = 100;

/// What SurrealDB refuses: a score below 0, and the end of what is locked.
const RULES: &str = "
    DEFINE TABLE memory TYPE ANY SCHEMALESS; DEFINE TABLE mentions TYPE ANY SCHEMALESS;
    DEFINE FIELD score ON memory TYPE option<int> ASSERT $value = NONE OR $value >= 0;
    DEFINE FIELD score ON mentions TYPE option<int> ASSERT $value = NONE OR $value >= 0;
    DEFINE EVENT locked ON memory WHEN $event = 'DELETE' AND $before.locked = true THEN { THROW 'locked by the tests' };";

/// A refused operation, and what must be there before it.
struct Guilty {
    before: Vec<Value>,
    act: Act,
    /// Of the store's words, if it refuses.
    words: &'static str,
}

fn touch(key: &str, before: Option<Content>, after: Option<Content>) -> Result<Touch> {
    Ok(Touch { key: key.parse()?, before, after })
}

fn surreal(kind: Kind) -> Result<Guilty> {
    let key = format!("memory:guilty {kind}");
    let (body, content) = put(&key);
    let spoilt = |mut body: Value| {
        body["document"]["score"] = json!(-1);
        body
    };
    let (before, body, touches, words) = match kind {
        Kind::Put => (vec![], spoilt(body), vec![touch(&key, None, None)?], "score"),
        Kind::Patch => {
            let patch = json!({"op": "patch", "key": key, "document": {"score": -1}});
            (vec![body], patch, vec![touch(&key, Some(content), None)?], "score")
        }
        Kind::Delete => {
            let (mut body, mut content) = (body, content);
            body["document"]["locked"] = json!(true);
            content.document.insert("locked".to_owned(), json!(true));
            let delete = json!({"op": "delete", "key": key});
            (vec![body], delete, vec![touch(&key, Some(content), None)?], "locked by the tests")
        }
        Kind::Relate => {
            let relate = json!({"op": "relate", "edge": "mentions", "from": key, "to": key, "document": {"score": -1}});
            let edge = Key::edge(&Table::new("mentions")?, &key.parse()?, &key.parse()?);
            (vec![body], relate, vec![Touch { key: edge, before: None, after: None }], "score")
        }
        Kind::Atomic => {
            let (member, _) = put(&format!("{key} member"));
            let touches = vec![touch(&key, None, None)?, touch(&format!("{key} member"), None, None)?];
            (vec![], json!({"op": "atomic", "ops": [member, spoilt(body)]}), touches, "score")
        }
    };
    Ok(Guilty { before, act: Act { kind, body, touches }, words })
}

/// In the same collection as the others, with a vector of another size, which nobody knows before Qdrant says so.
fn qdrant(kind: Kind) -> Result<Guilty> {
    let key = format!("second:guilty {kind}");
    let (mut body, mut content) = put(&key);
    content.vector = None;
    let wrong = json!([1, 2, 3, 4, 5]);
    let (before, body, touches) = match kind {
        Kind::Put => {
            body["vector"] = wrong;
            (vec![], body, vec![touch(&key, None, None)?])
        }
        Kind::Patch => {
            body["vector"] = Value::Null;
            let body = without_vector(body);
            let patch = json!({"op": "patch", "key": key, "document": {"patched": true}, "vector": wrong});
            (vec![body], patch, vec![touch(&key, Some(content), None)?])
        }
        // Nothing that a store of points would refuse.
        Kind::Delete => {
            let delete = json!({"op": "delete", "key": key});
            (vec![without_vector(body)], delete, vec![touch(&key, Some(content), None)?])
        }
        Kind::Relate => {
            let relate =
                json!({"op": "relate", "edge": "second_edge", "from": key, "to": key, "document": {}, "vector": wrong});
            let edge = Key::edge(&Table::new("second_edge")?, &key.parse()?, &key.parse()?);
            (vec![without_vector(body)], relate, vec![Touch { key: edge, before: None, after: None }])
        }
        Kind::Atomic => {
            let first = "first:guilty member";
            let (member, _) = put(first);
            body["vector"] = wrong;
            let touches = vec![touch(&key, None, None)?, touch(first, None, None)?];
            (vec![], json!({"op": "atomic", "ops": [member, body]}), touches)
        }
    };
    Ok(Guilty { before, act: Act { kind, body, touches }, words: "dim" })
}

fn without_vector(mut body: Value) -> Value {
    if let Value::Object(members) = &mut body {
        members.remove("vector");
    }
    body
}

fn tables(store: Store) -> Vec<TableWanted> {
    match store {
        Store::Surreal => vec![table("memory"), table("mentions")],
        Store::Qdrant => ["first", "second", "second_edge"]
            .map(|name| TableWanted { name, collection: "shared", rest: "".into() })
            .to_vec(),
    }
}

pub(crate) async fn row(store: Store) -> Result<Row> {
    let cluster = Cluster::start(&Wanted { tables: tables(store), timeout_s: 5, ..Wanted::default() }).await?;
    let direct = cluster.direct().await?;
    let nodes = if store == Store::Surreal { "memory" } else { "first" };
    if store == Store::Surreal {
        sql(direct.surreal(), RULES).await?;
    }
    let daemon = cluster.daemon().await?;
    let client = daemon.client();
    prepare(client, &[put(&format!("{nodes}:seed")).0]).await?;
    let mut ends = Ends::new();
    for kind in KINDS {
        let guilty = if store == Store::Surreal { surreal(kind)? } else { qdrant(kind)? };
        prepare(client, &guilty.before).await?;
        let mut acts = Vec::new();
        for number in 1..BATCH {
            let key = format!("{nodes}:{kind} {number}");
            let (body, after) = put(&key);
            acts.push(Act { kind: Kind::Put, body, touches: vec![touch(&key, None, Some(after))?] });
        }
        acts.insert(BATCH / 2, guilty.act);
        let lines: String = acts.iter().map(|act| format!("{}\n", act.body)).collect();
        let answers = bulk(client, lines.into_bytes(), Ack::Committed).await?;
        ensure!(answers.len() == BATCH, "{} answers", answers.len());
        let mut sent = Vec::new();
        for (act, answer) in acts.into_iter().zip(&answers) {
            let op_id = answer.op_id.with_context(|| format!("not logged: {answer:?}"))?;
            sent.push(Sent { act, op_id, answered: answer.state.filter(|state| state.is_final()) });
        }
        let refuses = (store, kind) != (Store::Qdrant, Kind::Delete);
        for (place, answer) in answers.iter().enumerate() {
            let error = answer.error.as_ref();
            if place == BATCH / 2 && refuses {
                let right = answer.state == Some(State::RolledBack)
                    && error.is_some_and(|error| error.code == code(store) && error.detail.contains(guilty.words));
                ensure!(right, "{kind}: the guilty one got {answer:?}");
            } else {
                ensure!(answer.state == Some(State::Committed) && error.is_none(), "{kind}: {answer:?}");
            }
        }
        let judged = judge(client, &direct, &sent).await?;
        let own = judged.values().flatten().filter(|end| **end != End::Committed).cloned().collect::<Vec<_>>();
        ensure!(own.len() == usize::from(refuses), "{kind}: {judged:?}");
        ends.insert(kind, judged.into_values().flatten().collect());
    }
    daemon.terminate().await?;
    Ok(Row::new(store, "one of a batch of 100 refused", &ends, None))
}

const fn code(store: Store) -> &'static str {
    match store {
        Store::Surreal => "rejected_by_surreal",
        Store::Qdrant => "rejected_by_qdrant",
    }
}
