//! Conditions from the wire in the engine's types.

use qdrant_client::qdrant::condition::ConditionOneOf;
use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::{
    Condition as WireCondition, DatetimeRange, FieldCondition as WireField, Filter as WireFilter, Match as WireMatch,
    Timestamp,
};
use qdrant_edge::external::ordered_float::OrderedFloat;
use qdrant_edge::{
    Condition, DateTimeWrapper, FieldCondition, Filter, HasIdCondition, IsEmptyCondition, IsNullCondition, JsonPath,
    Match, Range, ValueVariants,
};
use tonic::Status;

use crate::convert::point_id;
use crate::status::wrong;

/// The filter for the engine.
pub(crate) fn filter(wire: WireFilter) -> Result<Filter, Status> {
    if wire.min_should.is_some() {
        return Err(Status::unimplemented("min_should"));
    }
    Ok(Filter {
        should: conditions(wire.should)?,
        min_should: None,
        must: conditions(wire.must)?,
        must_not: conditions(wire.must_not)?,
    })
}

/// An empty list says nothing.
fn conditions(wire: Vec<WireCondition>) -> Result<Option<Vec<Condition>>, Status> {
    if wire.is_empty() {
        return Ok(None);
    }
    wire.into_iter().map(condition).collect::<Result<_, _>>().map(Some)
}

fn condition(wire: WireCondition) -> Result<Condition, Status> {
    let one = wire.condition_one_of.ok_or_else(|| wrong("Malformed Condition type"))?;
    Ok(match one {
        ConditionOneOf::Field(wire) => Condition::Field(field(wire)?),
        ConditionOneOf::IsEmpty(wire) => Condition::IsEmpty(IsEmptyCondition::from(path(&wire.key)?)),
        ConditionOneOf::IsNull(wire) => Condition::IsNull(IsNullCondition::from(path(&wire.key)?)),
        ConditionOneOf::HasId(wire) => {
            let ids = wire.has_id.into_iter().map(point_id).collect::<Result<Vec<_>, _>>()?;
            Condition::HasId(ids.into_iter().collect::<HasIdCondition>())
        }
        ConditionOneOf::Filter(wire) => Condition::Filter(filter(wire)?),
        ConditionOneOf::Nested(_) | ConditionOneOf::HasVector(_) | ConditionOneOf::Slice(_) => {
            return Err(Status::unimplemented("this condition"));
        }
    })
}

fn field(wire: WireField) -> Result<FieldCondition, Status> {
    let path = path(&wire.key)?;
    match (wire.r#match, wire.range, wire.datetime_range) {
        (Some(wire), None, None) => Ok(FieldCondition::new_match(path, r#match(wire)?)),
        (None, Some(wire), None) => {
            let range = Range { lt: wire.lt, gt: wire.gt, gte: wire.gte, lte: wire.lte };
            Ok(FieldCondition::new_range(path, range.map(OrderedFloat)))
        }
        (None, None, Some(wire)) => Ok(FieldCondition::new_datetime_range(path, times(wire)?)),
        (_, _, _) => Err(Status::unimplemented("this condition on a field")),
    }
}

fn r#match(wire: WireMatch) -> Result<Match, Status> {
    match wire.match_value.ok_or_else(|| wrong("Malformed Match condition"))? {
        MatchValue::Keyword(text) => Ok(Match::new_value(ValueVariants::String(text))),
        MatchValue::Integer(int) => Ok(Match::new_value(ValueVariants::Integer(int))),
        MatchValue::Boolean(bool) => Ok(Match::new_value(ValueVariants::Bool(bool))),
        MatchValue::Keywords(texts) => Ok(Match::from(texts.strings)),
        MatchValue::Text(_)
        | MatchValue::Integers(_)
        | MatchValue::ExceptIntegers(_)
        | MatchValue::ExceptKeywords(_)
        | MatchValue::Phrase(_)
        | MatchValue::TextAny(_)
        | MatchValue::Prefix(_)
        | MatchValue::Substring(_) => Err(Status::unimplemented("this match")),
    }
}

fn times(wire: DatetimeRange) -> Result<Range<DateTimeWrapper>, Status> {
    let [lt, gt, gte, lte] = [wire.lt, wire.gt, wire.gte, wire.lte].map(|time| time.map(instant).transpose());
    Ok(Range { lt: lt?, gt: gt?, gte: gte?, lte: lte? })
}

fn instant(time: Timestamp) -> Result<DateTimeWrapper, Status> {
    let micros = time.seconds.checked_mul(1_000_000).and_then(|us| us.checked_add(i64::from(time.nanos) / 1000));
    micros.and_then(DateTimeWrapper::from_timestamp).ok_or_else(|| wrong("Unable to parse timestamp"))
}

/// A path into the payload.
pub(crate) fn path(text: &str) -> Result<JsonPath, Status> {
    text.parse().map_err(|()| wrong(format!("Unable to parse path: {text}")))
}

/// The fields that a filter looks at.
pub(crate) fn fields(wire: &WireFilter) -> Vec<String> {
    let lists = [&wire.should, &wire.must, &wire.must_not];
    let mut fields = Vec::new();
    for one in lists.into_iter().flatten().filter_map(|condition| condition.condition_one_of.as_ref()) {
        match one {
            ConditionOneOf::Field(field) => fields.push(field.key.clone()),
            ConditionOneOf::IsEmpty(field) => fields.push(field.key.clone()),
            ConditionOneOf::IsNull(field) => fields.push(field.key.clone()),
            ConditionOneOf::Filter(inner) => fields.extend(self::fields(inner)),
            ConditionOneOf::HasId(_)
            | ConditionOneOf::Nested(_)
            | ConditionOneOf::HasVector(_)
            | ConditionOneOf::Slice(_) => {}
        }
    }
    fields
}
