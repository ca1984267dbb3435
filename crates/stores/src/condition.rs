//! The filter grammar in Qdrant's conditions, whatever types carry them.
//!
//! Edge and the gRPC client have types of their own for the same conditions. What a filter means is decided here once; the
//! adapters only rename. Numbers are compared as floats, so that 1 finds 1.0; integers from 2^53 on are matched exactly, and ranges take them for
//! the nearest float, as Qdrant knows no others. An empty
//! array counts as an absent field: Qdrant cannot tell them apart.

use lockstep_model::{Bound, Filter, Scalar};

/// Below this integers are floats, each one of its own.
const EXACT: i64 = 1 << 53;

/// Bounds of a range: gt, gte, lt, lte.
pub(crate) type Bounds<T> = [Option<T>; 4];

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    /// All of these.
    All(Vec<Condition>),
    /// One of these at least; there is one.
    Any(Vec<Condition>),
    /// Not this.
    Not(Box<Condition>),
    /// The field passes the test.
    Field(String, Test),
}

/// A test of a top-level field, its name taken literally.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    /// Absent, null or an empty array.
    Empty,
    /// Null, or an array with a null.
    Null,
    /// This truth value.
    Bool(bool),
    /// This text.
    Text(String),
    /// One of these texts.
    Texts(Vec<String>),
    /// This integer exactly.
    Int(i64),
    /// A number between.
    Range(Bounds<f64>),
    /// A time between; all bounds are times.
    Times(Bounds<Bound>),
}

/// What the filter says.
pub(crate) fn condition(filter: &Filter) -> Condition {
    match filter {
        Filter::Eq(field, scalar) => equals(field, scalar),
        Filter::AnyOf(field, scalars) => any_of(field, scalars),
        Filter::Range { field, gt, gte, lt, lte } => range(field, [*gt, *gte, *lt, *lte]),
        Filter::All(filters) => Condition::All(filters.iter().map(condition).collect()),
        Filter::Any(filters) => any(filters.iter().map(condition).collect()),
        Filter::Not(filter) => Condition::Not(Box::new(condition(filter))),
    }
}

fn field(name: &str, test: Test) -> Condition {
    Condition::Field(name.to_owned(), test)
}

fn equals(name: &str, scalar: &Scalar) -> Condition {
    match scalar {
        Scalar::Null => Condition::Any(vec![field(name, Test::Empty), field(name, Test::Null)]),
        Scalar::Bool(bool) => field(name, Test::Bool(*bool)),
        Scalar::Text(text) => field(name, Test::Text(text.clone())),
        Scalar::Int(int) if int.unsigned_abs() < EXACT.unsigned_abs() => {
            #[expect(clippy::cast_precision_loss, reason = "whole below 2^53")]
            let float = *int as f64;
            is_float(name, float)
        }
        Scalar::Int(int) => field(name, Test::Int(*int)),
        Scalar::Float(float) => is_float(name, *float),
    }
}

fn is_float(name: &str, float: f64) -> Condition {
    field(name, Test::Range([None, Some(float), None, Some(float)]))
}

fn any_of(name: &str, scalars: &[Scalar]) -> Condition {
    let texts: Option<Vec<String>> = scalars
        .iter()
        .map(|scalar| match scalar {
            Scalar::Text(text) => Some(text.clone()),
            Scalar::Null | Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_) => None,
        })
        .collect();
    match texts {
        Some(texts) if !texts.is_empty() => field(name, Test::Texts(texts)),
        Some(_) | None => any(scalars.iter().map(|scalar| equals(name, scalar)).collect()),
    }
}

fn range(name: &str, bounds: Bounds<Bound>) -> Condition {
    if bounds.iter().flatten().any(|bound| matches!(bound, Bound::Datetime { .. })) {
        return field(name, Test::Times(bounds));
    }
    field(name, Test::Range(bounds.map(|bound| bound.and_then(number))))
}

fn number(bound: Bound) -> Option<f64> {
    match bound {
        #[expect(clippy::cast_precision_loss, reason = "Qdrant compares ranges as floats")]
        Bound::Int(int) => Some(int as f64),
        Bound::Float(float) => Some(float),
        Bound::Datetime { .. } => None,
    }
}

/// One of these; of nothing, nothing: to Qdrant an empty list would say nothing at all.
fn any(conditions: Vec<Condition>) -> Condition {
    if conditions.is_empty() {
        return Condition::Not(Box::new(Condition::All(Vec::new())));
    }
    Condition::Any(conditions)
}
