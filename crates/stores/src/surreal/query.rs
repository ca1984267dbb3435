//! Read-only SurrealQL from outside.
//!
//! Two walls. SurrealDB's own parser says of every statement whether it can only read: what it cannot see into
//! (custom functions, closures in parameters) counts as writing. And the text runs in a transaction, on a
//! session of its own, that is cancelled: what the first wall might miss is rolled back.

use lockstep_model::Document;
use serde_json::{Map, Value as Json};
use surrealdb::types as db;
use surrealdb::types::ToSql;

use crate::surreal::SurrealStore;
use crate::surreal::class::{Stage, classify};
use crate::surreal::value::{object_of, value_of};
use crate::{Class, StoreError};

impl SurrealStore {
    pub(super) async fn run_read_only(&self, text: &str, vars: Map<String, Json>) -> Result<Vec<Json>, StoreError> {
        check_read_only(text)?;
        let vars = Document::from_json(&vars)
            .map_err(|error| StoreError::new(super::STORE, Class::Refused, format!("vars: {error}")))?;
        let fail = |error: surrealdb::Error| as_refusal(classify(&error, Stage::RolledBack));
        let Some(client) = self.keeper.embedded() else {
            let words = "SurrealDB runs by itself: ask its own server";
            return Err(StoreError::new(super::STORE, Class::Refused, words));
        };
        let transaction = client.clone().begin().await.map_err(fail)?;
        let sent = transaction.query(text).bind(db::Value::Object(object_of(&vars)?)).await;
        let results = sent.map_err(fail).and_then(|mut response| {
            let mut results = Vec::with_capacity(response.num_statements());
            for place in 0..response.num_statements() {
                results.push(to_json(response.take::<db::Value>(place).map_err(fail)?)?);
            }
            Ok(results)
        });
        transaction.cancel().await.map_err(fail)?;
        results
    }
}

/// Refuses what does not parse or may write.
fn check_read_only(text: &str) -> Result<(), StoreError> {
    let refused = |detail: String| StoreError::new(super::STORE, Class::Refused, detail);
    let parsed = surrealdb_syn::parse(text).map_err(|error| refused(format!("{error:#}")))?;
    let transaction = ["BEGIN", "COMMIT", "CANCEL"];
    // A sequence counts on whatever becomes of the transaction, and the parser calls this a read.
    let counts_on = |shown: &str| shown.to_ascii_lowercase().contains("sequence::nextval");
    for statement in &parsed.expressions {
        let shown = statement.to_string();
        if !statement.read_only() || transaction.contains(&shown.as_str()) || counts_on(&shown) {
            let shown: String = shown.chars().take(200).collect();
            return Err(refused(format!("only statements that read are allowed here, and this may write: {shown}")));
        }
    }
    Ok(())
}

/// An error of a query is the fault of the query, unless it concerns the store.
fn as_refusal(error: StoreError) -> StoreError {
    match error.class {
        Class::Exists | Class::NotApplied | Class::Unknown => StoreError { class: Class::Refused, ..error },
        Class::Refused | Class::Configuration(_) | Class::Fenced => error,
    }
}

/// A result as JSON: as documents are written, but readable where a document would carry SurrealDB's own
/// encoding. NONE is null, a set is an array, and what is left is its SurrealQL as text.
fn to_json(value: db::Value) -> Result<Json, StoreError> {
    Ok(match value {
        db::Value::None => Json::Null,
        db::Value::Set(set) => set.into_iter().map(to_json).collect::<Result<_, _>>()?,
        db::Value::Array(items) => items.into_vec().into_iter().map(to_json).collect::<Result<_, _>>()?,
        db::Value::Object(members) => Json::Object(
            members
                .into_inner()
                .into_iter()
                .map(|(name, value)| Ok((escaped(name), to_json(value)?)))
                .collect::<Result<_, StoreError>>()?,
        ),
        value @ (db::Value::Null
        | db::Value::Bool(_)
        | db::Value::Number(_)
        | db::Value::String(_)
        | db::Value::Bytes(_)
        | db::Value::Duration(_)
        | db::Value::Datetime(_)
        | db::Value::Uuid(_)
        | db::Value::Geometry(_)
        | db::Value::Table(_)
        | db::Value::RecordId(_)
        | db::Value::File(_)
        | db::Value::Range(_)
        | db::Value::Regex(_)) => {
            let ours = value_of(value.clone())?;
            let foreign = matches!(ours, lockstep_model::Value::Foreign(_));
            if foreign { Json::String(value.to_sql()) } else { ours.to_json() }
        }
    })
}

/// A literal name that begins with `$` is written with one more, as in documents.
fn escaped(name: String) -> String {
    if name.starts_with('$') { format!("${name}") } else { name }
}
