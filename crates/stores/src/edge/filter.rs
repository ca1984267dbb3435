//! The filter grammar in Qdrant's conditions.
//!
//! Numbers are compared as floats, so that 1 finds 1.0; beyond 2^53 integers are matched exactly. An empty array
//! counts as an absent field: Qdrant cannot tell them apart.

use lockstep_model::{Bound, Filter, Scalar};
use qdrant_edge::external::ordered_float::OrderedFloat;
use qdrant_edge::{
    Condition, DateTimeWrapper, FieldCondition, Filter as EdgeFilter, IsEmptyCondition, IsNullCondition, JsonPath,
    Match, Range, ValueVariants,
};

use super::STORE;
use crate::{Class, StoreError};

/// Integers up to this are whole as floats.
const EXACT: i64 = 1 << 53;

/// The filter as Qdrant takes it.
pub(super) fn to_edge(filter: &Filter) -> Result<EdgeFilter, StoreError> {
    Ok(must(vec![condition(filter)?]))
}

fn condition(filter: &Filter) -> Result<Condition, StoreError> {
    Ok(match filter {
        Filter::Eq(field, scalar) => equals(field, scalar),
        Filter::AnyOf(field, scalars) => any_of(field, scalars),
        Filter::Range { field, gt, gte, lt, lte } => range(field, [*gt, *gte, *lt, *lte])?,
        Filter::All(filters) => Condition::Filter(must(conditions(filters)?)),
        Filter::Any(filters) => should(conditions(filters)?),
        Filter::Not(filter) => not(condition(filter)?),
    })
}

fn conditions(filters: &[Filter]) -> Result<Vec<Condition>, StoreError> {
    filters.iter().map(condition).collect()
}

fn equals(field: &str, scalar: &Scalar) -> Condition {
    match scalar {
        Scalar::Null => should(vec![
            Condition::IsEmpty(IsEmptyCondition::from(path(field))),
            Condition::IsNull(IsNullCondition::from(path(field))),
        ]),
        Scalar::Bool(bool) => matches(field, ValueVariants::Bool(*bool)),
        Scalar::Text(text) => matches(field, ValueVariants::String(text.clone())),
        Scalar::Int(int) if (-EXACT..=EXACT).contains(int) => {
            #[expect(clippy::cast_precision_loss, reason = "whole up to 2^53")]
            let float = *int as f64;
            within(field, Some(float), Some(float))
        }
        Scalar::Int(int) => matches(field, ValueVariants::Integer(*int)),
        Scalar::Float(float) => within(field, Some(*float), Some(*float)),
    }
}

fn any_of(field: &str, scalars: &[Scalar]) -> Condition {
    let texts: Option<Vec<String>> = scalars
        .iter()
        .map(|scalar| match scalar {
            Scalar::Text(text) => Some(text.clone()),
            Scalar::Null | Scalar::Bool(_) | Scalar::Int(_) | Scalar::Float(_) => None,
        })
        .collect();
    match texts {
        Some(texts) if !texts.is_empty() => {
            Condition::Field(FieldCondition::new_match(path(field), Match::from(texts)))
        }
        _ => should(scalars.iter().map(|scalar| equals(field, scalar)).collect()),
    }
}

/// Bounds in the order gt, gte, lt, lte.
fn range(field: &str, bounds: [Option<Bound>; 4]) -> Result<Condition, StoreError> {
    let is_time = |bound: &Bound| matches!(bound, Bound::Datetime { .. });
    if bounds.iter().flatten().any(is_time) {
        let mut times = [None, None, None, None];
        for (place, bound) in times.iter_mut().zip(bounds) {
            *place = bound.map(|bound| instant(&bound)).transpose()?;
        }
        let [gt, gte, lt, lte] = times;
        return Ok(Condition::Field(FieldCondition::new_datetime_range(path(field), Range { lt, gt, gte, lte })));
    }
    let [gt, gte, lt, lte] = bounds.map(|bound| bound.and_then(number).map(OrderedFloat));
    Ok(Condition::Field(FieldCondition::new_range(path(field), Range { lt, gt, gte, lte })))
}

fn number(bound: Bound) -> Option<f64> {
    match bound {
        #[expect(clippy::cast_precision_loss, reason = "Qdrant compares ranges as floats")]
        Bound::Int(int) => Some(int as f64),
        Bound::Float(float) => Some(float),
        Bound::Datetime { .. } => None,
    }
}

fn instant(bound: &Bound) -> Result<DateTimeWrapper, StoreError> {
    serde_json::from_value(bound.to_json()).map_err(|error| {
        StoreError::new(STORE, Class::Refused, format!("a bound of a range over datetimes is none: {error}"))
    })
}

fn within(field: &str, gte: Option<f64>, lte: Option<f64>) -> Condition {
    let range = Range { lt: None, gt: None, gte: gte.map(OrderedFloat), lte: lte.map(OrderedFloat) };
    Condition::Field(FieldCondition::new_range(path(field), range))
}

fn matches(field: &str, value: ValueVariants) -> Condition {
    Condition::Field(FieldCondition::new_match(path(field), Match::new_value(value)))
}

/// A top-level field, its name taken literally.
pub(super) fn path(field: &str) -> JsonPath {
    JsonPath { first_key: field.to_owned(), rest: Vec::new() }
}

const fn empty() -> EdgeFilter {
    EdgeFilter { should: None, min_should: None, must: None, must_not: None }
}

fn must(conditions: Vec<Condition>) -> EdgeFilter {
    EdgeFilter { must: Some(conditions), ..empty() }
}

fn not(condition: Condition) -> Condition {
    Condition::Filter(EdgeFilter { must_not: Some(vec![condition]), ..empty() })
}

/// One of these; of nothing, nothing: to Qdrant an empty list would say nothing at all.
fn should(conditions: Vec<Condition>) -> Condition {
    if conditions.is_empty() {
        return not(Condition::Filter(must(Vec::new())));
    }
    Condition::Filter(EdgeFilter { should: Some(conditions), ..empty() })
}
