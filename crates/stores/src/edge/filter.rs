//! Conditions in Edge's types.

use lockstep_model::{Bound, Filter};
use qdrant_edge::external::ordered_float::OrderedFloat;
use qdrant_edge::{
    Condition as EdgeCondition, DateTimeWrapper, FieldCondition, Filter as EdgeFilter, IsEmptyCondition,
    IsNullCondition, JsonPath, Match, Range, ValueVariants,
};

use super::STORE;
use crate::condition::{Bounds, Condition, Test, condition};
use crate::{Class, StoreError};

/// The filter as Edge takes it.
pub(super) fn to_edge(filter: &Filter) -> Result<EdgeFilter, StoreError> {
    Ok(EdgeFilter { must: Some(vec![edge(condition(filter))?]), ..empty() })
}

fn edge(condition: Condition) -> Result<EdgeCondition, StoreError> {
    let all = |conditions: Vec<Condition>| conditions.into_iter().map(edge).collect::<Result<Vec<_>, _>>();
    let filter = match condition {
        Condition::All(conditions) => EdgeFilter { must: Some(all(conditions)?), ..empty() },
        Condition::Any(conditions) => EdgeFilter { should: Some(all(conditions)?), ..empty() },
        Condition::Not(condition) => EdgeFilter { must_not: Some(vec![edge(*condition)?]), ..empty() },
        Condition::Field(name, test) => return field(path(&name), test),
    };
    Ok(EdgeCondition::Filter(filter))
}

fn field(path: JsonPath, test: Test) -> Result<EdgeCondition, StoreError> {
    let value = |value| FieldCondition::new_match(path.clone(), Match::new_value(value));
    let condition = match test {
        Test::Empty => return Ok(EdgeCondition::IsEmpty(IsEmptyCondition::from(path))),
        Test::Null => return Ok(EdgeCondition::IsNull(IsNullCondition::from(path))),
        Test::Bool(bool) => value(ValueVariants::Bool(bool)),
        Test::Text(text) => value(ValueVariants::String(text)),
        Test::Int(int) => value(ValueVariants::Integer(int)),
        Test::Texts(texts) => FieldCondition::new_match(path, Match::from(texts)),
        Test::Range(bounds) => FieldCondition::new_range(path, between(bounds.map(|b| b.map(OrderedFloat)))),
        Test::Times(bounds) => FieldCondition::new_datetime_range(path, between(instants(bounds)?)),
    };
    Ok(EdgeCondition::Field(condition))
}

fn between<T>([gt, gte, lt, lte]: Bounds<T>) -> Range<T> {
    Range { lt, gt, gte, lte }
}

fn instants(bounds: Bounds<Bound>) -> Result<Bounds<DateTimeWrapper>, StoreError> {
    let mut instants = [None, None, None, None];
    for (place, bound) in instants.iter_mut().zip(bounds) {
        let Some(bound) = bound else { continue };
        *place = Some(serde_json::from_value(bound.to_json()).map_err(|error| {
            StoreError::new(STORE, Class::Refused, format!("a bound of a range over datetimes is none: {error}"))
        })?);
    }
    Ok(instants)
}

/// A top-level field, its name taken literally.
pub(super) fn path(field: &str) -> JsonPath {
    JsonPath { first_key: field.to_owned(), rest: Vec::new() }
}

const fn empty() -> EdgeFilter {
    EdgeFilter { should: None, min_should: None, must: None, must_not: None }
}
