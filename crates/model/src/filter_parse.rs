//! Filters in JSON: from the grammar to a [`Filter`], within bounds.

use serde_json::{Map, Value as Json};

use crate::filter::{Bound, Filter, Scalar};
use crate::tag;
use crate::text::shortened;

const MAX_DEPTH: usize = 16;
const MAX_NODES: usize = 1000;
const MAX_FIELD_BYTES: usize = 256;

/// Why JSON is not a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Not an object.
    #[error("a filter is an object")]
    Form,
    /// It says nothing.
    #[error("{0} is empty, which says nothing")]
    Empty(String),
    /// More nested than it may be.
    #[error("a filter nests at most {MAX_DEPTH} levels")]
    TooDeep,
    /// More conditions and values than it may have.
    #[error("a filter has at most {MAX_NODES} conditions and values")]
    TooLarge,
    /// A field name beyond its bounds.
    #[error("a field name has 1 to {MAX_FIELD_BYTES} bytes")]
    Field,
    /// A list of something else than filters.
    #[error("{0:?} wants a list of filters (a field of this name cannot be filtered)")]
    List(&'static str),
    /// A value that is no scalar.
    #[error("the field {0:?} can be compared with null, a boolean, a number that is not too large, or a string")]
    Scalar(String),
    /// Something else than a bound in a range.
    #[error("the field {field:?} has a range with {name:?}; there are gt, gte, lt and lte")]
    Bound {
        /// The field.
        field: String,
        /// What stands there.
        name: String,
    },
    /// A bound of the wrong type.
    #[error("the bounds of {0:?} are numbers, or datetimes in RFC 3339, and all of one kind")]
    BoundType(String),
}

impl Filter {
    /// Reads a filter.
    pub fn from_json(json: &Json) -> Result<Self, FilterError> {
        Parser { nodes: 0, is_bounded: true }.filter(json, 1)
    }

    /// Reads a filter that [`Filter::to_json`] wrote into the log: it was taken once, by whatever bounds held then. It must come
    /// from [`crate::parse_json`], which bounds its depth.
    pub fn from_log_json(json: &Json) -> Result<Self, FilterError> {
        Parser { nodes: 0, is_bounded: false }.filter(json, 1)
    }
}

impl Scalar {
    fn from_json(json: &Json) -> Option<Self> {
        Some(match json {
            Json::Null => Self::Null,
            Json::Bool(bool) => Self::Bool(*bool),
            Json::Number(number) => match number.as_i64() {
                Some(int) => Self::Int(int),
                None => Self::Float(number.as_f64().filter(|float| float.is_finite() && !number.is_u64())?),
            },
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(_) | Json::Object(_) => return None,
        })
    }
}

impl Bound {
    fn from_json(json: &Json) -> Option<Self> {
        match Scalar::from_json(json)? {
            Scalar::Int(int) => Some(Self::Int(int)),
            Scalar::Float(float) => Some(Self::Float(float)),
            Scalar::Text(text) => tag::parse_datetime(&text).map(|(secs, nanos)| Self::Datetime { secs, nanos }),
            Scalar::Null | Scalar::Bool(_) => None,
        }
    }
}

struct Parser {
    nodes: usize,
    is_bounded: bool,
}

impl Parser {
    fn count(&mut self, nodes: usize) -> Result<(), FilterError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.is_bounded && self.nodes > MAX_NODES { Err(FilterError::TooLarge) } else { Ok(()) }
    }

    fn filter(&mut self, json: &Json, depth: usize) -> Result<Filter, FilterError> {
        let members = json.as_object().ok_or(FilterError::Form)?;
        // Several members are an `all` and are written down as one. They count as that does, or what was taken could not be
        // taken again.
        let is_all = members.len() > 1;
        let depth = depth + usize::from(is_all);
        if self.is_bounded && depth > MAX_DEPTH {
            return Err(FilterError::TooDeep);
        }
        self.count(if is_all { 1 + 2 * members.len() } else { members.len() })?;
        let mut conditions = Vec::with_capacity(members.len());
        for (name, member) in members {
            conditions.push(self.condition(name, member, depth)?);
        }
        match conditions.len() {
            0 => Err(FilterError::Empty("a filter".to_owned())),
            1 => Ok(conditions.remove(0)),
            _ => Ok(Filter::All(conditions)),
        }
    }

    fn condition(&mut self, name: &str, json: &Json, depth: usize) -> Result<Filter, FilterError> {
        match name {
            "all" => self.list("all", json, depth).map(Filter::All),
            "any" => self.list("any", json, depth).map(Filter::Any),
            "not" => self.filter(json, depth + 1).map(|filter| Filter::Not(Box::new(filter))),
            field => self.field(field, json),
        }
    }

    fn list(&mut self, name: &'static str, json: &Json, depth: usize) -> Result<Vec<Filter>, FilterError> {
        let items = json.as_array().ok_or(FilterError::List(name))?;
        if items.is_empty() {
            return Err(FilterError::Empty(format!("{name:?}")));
        }
        self.count(items.len())?;
        items.iter().map(|item| self.filter(item, depth + 1)).collect()
    }

    fn field(&mut self, field: &str, json: &Json) -> Result<Filter, FilterError> {
        if field.is_empty() || field.len() > MAX_FIELD_BYTES {
            return Err(FilterError::Field);
        }
        let scalar = |json| Scalar::from_json(json).ok_or_else(|| FilterError::Scalar(field.to_owned()));
        match json {
            Json::Array(items) if items.is_empty() => Err(FilterError::Empty(format!("the list of {field:?}"))),
            Json::Array(items) => {
                self.count(items.len())?;
                let scalars = items.iter().map(scalar).collect::<Result<_, _>>()?;
                Ok(Filter::AnyOf(field.to_owned(), scalars))
            }
            Json::Object(bounds) => range(field, bounds),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
                Ok(Filter::Eq(field.to_owned(), scalar(json)?))
            }
        }
    }
}

fn range(field: &str, bounds: &Map<String, Json>) -> Result<Filter, FilterError> {
    let (mut gt, mut gte, mut lt, mut lte) = (None, None, None, None);
    for (name, json) in bounds {
        let place = match name.as_str() {
            "gt" => &mut gt,
            "gte" => &mut gte,
            "lt" => &mut lt,
            "lte" => &mut lte,
            _ => return Err(FilterError::Bound { field: field.to_owned(), name: shortened(name) }),
        };
        *place = Some(Bound::from_json(json).ok_or_else(|| FilterError::BoundType(field.to_owned()))?);
    }
    let mut kinds = [gt, gte, lt, lte].into_iter().flatten().map(Bound::is_datetime);
    let Some(first) = kinds.next() else {
        return Err(FilterError::Empty(format!("the range of {field:?}")));
    };
    if kinds.any(|kind| kind != first) {
        return Err(FilterError::BoundType(field.to_owned()));
    }
    Ok(Filter::Range { field: field.to_owned(), gt, gte, lt, lte })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::any_filter;

    #[test]
    fn what_is_not_a_filter() {
        let deep = (0..20).fold(json!({"a": 1}), |inner, _| json!({ "not": inner }));
        for (filter, want) in [
            (json!([]), FilterError::Form),
            (json!(null), FilterError::Form),
            (json!({"not": 1}), FilterError::Form),
            (json!({"all": [1]}), FilterError::Form),
            (json!({}), FilterError::Empty("a filter".to_owned())),
            (json!({"all": []}), FilterError::Empty("\"all\"".to_owned())),
            (json!({"a": []}), FilterError::Empty("the list of \"a\"".to_owned())),
            (json!({"a": {}}), FilterError::Empty("the range of \"a\"".to_owned())),
            (json!({"any": {"a": 1}}), FilterError::List("any")),
            (json!({"": 1}), FilterError::Field),
            (json!({"a": [[1]]}), FilterError::Scalar("a".to_owned())),
            (json!({"a": u64::MAX}), FilterError::Scalar("a".to_owned())),
            (json!({"a": {"ge": 1}}), FilterError::Bound { field: "a".to_owned(), name: "ge".to_owned() }),
            (json!({"a": {"gt": null}}), FilterError::BoundType("a".to_owned())),
            (json!({"a": {"gt": "b"}}), FilterError::BoundType("a".to_owned())),
            (json!({"a": {"gt": 1, "lt": "2026-01-29T00:00:00Z"}}), FilterError::BoundType("a".to_owned())),
            (json!({"a": vec![1; 1000]}), FilterError::TooLarge),
            (deep, FilterError::TooDeep),
        ] {
            assert_eq!(Filter::from_json(&filter), Err(want), "{:.80}", filter.to_string());
        }
    }

    #[test]
    fn what_is_taken_is_taken_again_as_it_is_written() {
        let deep = |levels: usize| (0..levels).fold(json!({"a": 1, "b": 2}), |inner, _| json!({ "not": inner }));
        let wide = |fields: usize| Json::Object((0..fields).map(|n| (format!("f{n}"), json!(n))).collect());
        for filter in [deep(14), wide(499)] {
            let taken = Filter::from_json(&filter).unwrap();
            assert_eq!(Filter::from_json(&taken.to_json()).as_ref(), Ok(&taken));
        }
        // Written with their `all` they would be beyond the bounds.
        assert_eq!(Filter::from_json(&deep(15)), Err(FilterError::TooDeep));
        assert_eq!(Filter::from_json(&wide(500)), Err(FilterError::TooLarge));
    }

    #[test]
    fn the_log_gives_back_what_was_taken_by_other_bounds() {
        let deep = (0..40).fold(Filter::Eq("a".to_owned(), Scalar::Int(1)), |inner, _| Filter::Not(Box::new(inner)));
        let wide = Filter::All((0..2000).map(|n| Filter::Eq(format!("f{n}"), Scalar::Int(n))).collect());
        for filter in [deep, wide] {
            let written = filter.to_json();
            assert!(Filter::from_json(&written).is_err());
            assert_eq!(Filter::from_log_json(&written), Ok(filter));
        }
    }

    proptest! {
        #[test]
        fn json_gives_back_every_filter(filter in any_filter()) {
            prop_assert_eq!(&Filter::from_json(&filter.to_json()).unwrap(), &filter);
        }
    }
}
