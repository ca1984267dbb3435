//! One call: a text, its parameters, one answer a statement.
//!
//! A RETURN at the top of a transaction ends it: what follows is skipped without an error, and COMMIT is done. So the
//! texts here never use one; an expression by itself is a statement, too, and answers.

use std::future::IntoFuture;

use surrealdb::Surreal;
use surrealdb::engine::any::Any;
use surrealdb::types as db;

use crate::StoreError;
use crate::surreal::class::{Stage, classify, is_echo};

/// Parameters by name.
#[derive(Debug, Default)]
pub(super) struct Params(db::Object);

impl Params {
    /// Adds one.
    pub(super) fn bind(&mut self, name: &str, value: impl db::SurrealValue) {
        self.0.insert(name, value);
    }

    /// Adds one that is a list.
    pub(super) fn bind_list(&mut self, name: &str, values: Vec<db::Value>) {
        self.0.insert(name, db::Value::Array(values.into()));
    }
}

/// The answers of a call, by statement.
#[derive(Debug)]
pub(super) struct Answers(Vec<db::Value>);

impl Answers {
    /// Takes the answer of the statement at `place`.
    pub(super) fn take(&mut self, place: usize) -> db::Value {
        self.0.get_mut(place).map(std::mem::take).unwrap_or_default()
    }

    /// Takes the answer at `place` as rows.
    pub(super) fn rows(&mut self, place: usize) -> Vec<db::Object> {
        let answer = self.take(place);
        if let db::Value::Object(object) = answer {
            return vec![object];
        }
        into_array(answer).into_iter().filter_map(into_object).collect()
    }

    /// Takes the last answer but `back`; a transaction's very last is that of COMMIT.
    pub(super) fn take_from_end(&mut self, back: usize) -> db::Value {
        match self.0.len().checked_sub(back + 1) {
            Some(place) => self.take(place),
            None => db::Value::None,
        }
    }
}

/// The object in a value.
pub(super) fn into_object(value: db::Value) -> Option<db::Object> {
    if let db::Value::Object(object) = value { Some(object) } else { None }
}

/// The items of an array; none of anything else.
pub(super) fn into_array(value: db::Value) -> Vec<db::Value> {
    if let db::Value::Array(items) = value { items.into_vec() } else { Vec::new() }
}

/// What a text does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only reads.
    Read,
    /// It is one transaction that ends in COMMIT.
    Transaction,
}

/// Runs a text. If a statement failed, all errors are looked at: the first that is more than the echo of
/// another is the cause.
pub(super) async fn run(client: &Surreal<Any>, text: &str, params: Params, kind: Kind) -> Result<Answers, StoreError> {
    // As a whole only a text fails that does not parse, or a client without an engine: nothing ran.
    let sent = Box::pin(client.query(text).bind(db::Value::Object(params.0)).into_future()).await;
    let mut response = sent.map_err(|error| classify(&error, Stage::RolledBack))?;
    let count = response.num_statements();
    let mut errors: Vec<_> = response.take_errors().into_iter().collect();
    errors.sort_unstable_by_key(|(place, _)| *place);
    let cause = errors.iter().find(|(_, error)| !is_echo(error)).or(errors.last());
    if let Some((place, error)) = cause {
        let stage = match kind {
            Kind::Transaction if place + 1 >= count => Stage::Committing,
            Kind::Transaction | Kind::Read => Stage::RolledBack,
        };
        return Err(classify(error, stage));
    }
    let mut answers = Vec::with_capacity(count);
    for place in 0..count {
        answers.push(response.take(place).map_err(|error| classify(&error, Stage::Committing))?);
    }
    Ok(Answers(answers))
}
