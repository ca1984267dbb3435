//! Filters: the one grammar of search and clear.
//!
//! | JSON | what |
//! |---|---|
//! | `{"f": 1}` | the field is this scalar; null: it is absent or null |
//! | `{"f": [1, 2]}` | the field is one of these |
//! | `{"f": {"gte": 1, "lt": 5}}` | numbers, or datetimes in RFC 3339, within these bounds |
//! | `{"f": 1, "g": 2}` | all of these; counts as the `all` that it is |
//! | `{"all": […]}`, `{"any": […]}`, `{"not": …}` | of filters; so no field of these names can be filtered |
//!
//! Fields are top-level fields of the plain document, their names taken literally. A field that holds an
//! array matches if one of its elements does, as in Qdrant. A filter that says nothing (`{}`, an empty
//! list) is refused: under `clear` it could only mean the wrong thing.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use crate::tag;

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// Absent or null.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number. It equals the float of the same value.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string, byte for byte.
    Text(String),
}

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// An instant, since 1970.
    Datetime {
        /// Whole seconds, rounded down.
        secs: i64,
        /// Nanoseconds after them.
        nanos: u32,
    },
}

/// A condition on the fields of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// The field is this.
    Eq(String, Scalar),
    /// The field is one of these.
    AnyOf(String, Vec<Scalar>),
    /// The field is within every bound that is there. All are numbers, or all are datetimes.
    Range {
        /// The field.
        field: String,
        /// More than this.
        gt: Option<Bound>,
        /// At least this.
        gte: Option<Bound>,
        /// Less than this.
        lt: Option<Bound>,
        /// At most this.
        lte: Option<Bound>,
    },
    /// Every one of these holds.
    All(Vec<Filter>),
    /// One of these holds.
    Any(Vec<Filter>),
    /// This does not hold.
    Not(Box<Filter>),
}

impl Filter {
    /// As JSON. [`Filter::from_json`] of it is the same filter.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let one = |name: &str, json: Json| Json::Object(std::iter::once((name.to_owned(), json)).collect());
        let list = |filters: &[Self]| filters.iter().map(Self::to_json).collect();
        match self {
            Self::Eq(field, scalar) => one(field, scalar.to_json()),
            Self::AnyOf(field, scalars) => one(field, scalars.iter().map(Scalar::to_json).collect()),
            Self::Range { field, gt, gte, lt, lte } => {
                let bounds = [("gt", gt), ("gte", gte), ("lt", lt), ("lte", lte)];
                let there = bounds.into_iter().filter_map(|(name, bound)| Some((name.to_owned(), (*bound)?.to_json())));
                one(field, Json::Object(there.collect()))
            }
            Self::All(filters) => one("all", list(filters)),
            Self::Any(filters) => one("any", list(filters)),
            Self::Not(filter) => one("not", filter.to_json()),
        }
    }

    /// Every field that the filter looks at.
    #[must_use]
    pub fn fields(&self) -> BTreeSet<&str> {
        let mut fields = BTreeSet::new();
        self.for_each_test(&mut |field, _| _ = fields.insert(field));
        fields
    }

    /// Every field that the filter compares with a value. What is compared with null alone may be absent.
    #[must_use]
    pub fn fields_with_a_value(&self) -> BTreeSet<&str> {
        let mut fields = BTreeSet::new();
        self.for_each_test(&mut |field, test| {
            let only_null = match test {
                Self::Eq(_, scalar) => *scalar == Scalar::Null,
                Self::AnyOf(_, scalars) => scalars.iter().all(|scalar| *scalar == Scalar::Null),
                Self::Range { .. } | Self::All(_) | Self::Any(_) | Self::Not(_) => false,
            };
            if !only_null {
                fields.insert(field);
            }
        });
        fields
    }

    fn for_each_test<'a>(&'a self, each: &mut impl FnMut(&'a str, &'a Self)) {
        match self {
            Self::Eq(field, _) | Self::AnyOf(field, _) | Self::Range { field, .. } => each(field, self),
            Self::All(filters) | Self::Any(filters) => filters.iter().for_each(|filter| filter.for_each_test(each)),
            Self::Not(filter) => filter.for_each_test(each),
        }
    }

    /// Whether a document matches; `document` is its plain JSON.
    #[must_use]
    pub fn matches(&self, document: &Map<String, Json>) -> bool {
        match self {
            Self::Eq(field, scalar) => any_element(document.get(field), |json| scalar.equals(json)),
            Self::AnyOf(field, scalars) => {
                any_element(document.get(field), |json| scalars.iter().any(|scalar| scalar.equals(json)))
            }
            Self::Range { field, gt, gte, lt, lte } => any_element(document.get(field), |json| {
                let holds = |bound: &Option<Bound>, wanted: fn(Ordering) -> bool| {
                    bound.is_none_or(|bound| json.and_then(|json| bound.compare(json)).is_some_and(wanted))
                };
                holds(gt, Ordering::is_gt)
                    && holds(gte, Ordering::is_ge)
                    && holds(lt, Ordering::is_lt)
                    && holds(lte, Ordering::is_le)
            }),
            Self::All(filters) => filters.iter().all(|filter| filter.matches(document)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(document)),
            Self::Not(filter) => !filter.matches(document),
        }
    }
}

/// Whether a field's value, or one element of it, passes the test.
fn any_element(value: Option<&Json>, test: impl Fn(Option<&Json>) -> bool) -> bool {
    match value {
        Some(Json::Array(items)) => items.iter().any(|item| test(Some(item))),
        other => test(other),
    }
}

impl Scalar {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(bool) => json!(bool),
            Self::Int(int) => json!(int),
            Self::Float(float) => json!(float),
            Self::Text(text) => json!(text),
        }
    }

    fn equals(&self, json: Option<&Json>) -> bool {
        match (self, json) {
            (Self::Null, None | Some(Json::Null)) => true,
            (Self::Bool(bool), Some(Json::Bool(other))) => bool == other,
            (Self::Int(int), Some(json)) => Bound::Int(*int).compare(json) == Some(Ordering::Equal),
            (Self::Float(float), Some(json)) => Bound::Float(*float).compare(json) == Some(Ordering::Equal),
            (Self::Text(text), Some(Json::String(other))) => text == other,
            _ => false,
        }
    }
}

impl Bound {
    /// As JSON; a datetime in RFC 3339.
    #[must_use]
    pub fn to_json(self) -> Json {
        match self {
            Self::Int(int) => json!(int),
            Self::Float(float) => json!(float),
            Self::Datetime { secs, nanos } => json!(tag::datetime_text(secs, nanos)),
        }
    }

    /// Whether this is a datetime.
    #[must_use]
    pub const fn is_datetime(self) -> bool {
        matches!(self, Self::Datetime { .. })
    }

    /// How a document's value stands to this bound, if the two can be compared.
    fn compare(self, json: &Json) -> Option<Ordering> {
        match (self, json) {
            (Self::Int(bound), Json::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(int), _) => Some(int.cmp(&bound)),
                (None, Some(float)) => float_to_int(float, bound),
                (None, None) => None,
            },
            (Self::Float(bound), Json::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(int), _) => float_to_int(bound, int).map(Ordering::reverse),
                (None, Some(float)) => float.partial_cmp(&bound),
                (None, None) => None,
            },
            (Self::Datetime { secs, nanos }, Json::String(text)) => {
                tag::parse_datetime(text).map(|instant| instant.cmp(&(secs, nanos)))
            }
            _ => None,
        }
    }
}

/// How a float stands to an integer, exactly: not by way of a float, which would round the integer.
fn float_to_int(float: f64, int: i64) -> Option<Ordering> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() {
        return None;
    }
    if float >= LIMIT {
        return Some(Ordering::Greater);
    }
    if float < -LIMIT {
        return Some(Ordering::Less);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within 64 bits")]
    let whole = float.trunc() as i64;
    Some(whole.cmp(&int).then(float.fract().partial_cmp(&0.0)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::object;

    fn matches(filter: Json, document: Json) -> bool {
        Filter::from_json(&filter).unwrap().matches(&object(document))
    }

    #[test]
    fn what_matches() {
        let document = json!({
            "w": "w1", "n": 5, "x": 0.5, "yes": true, "none": null, "tags": ["a", 7], "empty": [],
            "when": "2026-01-29T00:00:00Z", "deep": {"a": 1}, "big": 9_007_199_254_740_993_i64,
        });
        for (filter, want) in [
            (json!({"w": "w1"}), true),
            (json!({"w": "w2"}), false),
            (json!({"w": "W1"}), false),
            (json!({"n": 5}), true),
            (json!({"n": 5.0}), true),
            (json!({"n": "5"}), false),
            (json!({"big": 9_007_199_254_740_992.0}), false),
            (json!({"yes": true}), true),
            (json!({"yes": 1}), false),
            (json!({"none": null}), true),
            (json!({"absent": null}), true),
            (json!({"w": null}), false),
            (json!({"empty": null}), false),
            (json!({"absent": "x"}), false),
            (json!({"tags": "a"}), true),
            (json!({"tags": 7}), true),
            (json!({"tags": "b"}), false),
            (json!({"tags": ["b", "a"]}), true),
            (json!({"w": ["w2", "w1"]}), true),
            (json!({"w": ["w2", null]}), false),
            (json!({"absent": ["w2", null]}), true),
            (json!({"n": {"gte": 5, "lt": 6}}), true),
            (json!({"n": {"gt": 5}}), false),
            (json!({"n": {"gt": 4.9, "lte": 5.0}}), true),
            (json!({"x": {"gt": 0, "lt": 1}}), true),
            (json!({"big": {"gt": 9_007_199_254_740_992.0}}), true),
            (json!({"w": {"gt": 0}}), false),
            (json!({"absent": {"gt": 0}}), false),
            (json!({"tags": {"gt": 6}}), true),
            (json!({"when": {"gte": "2026-01-29T01:00:00+01:00"}}), true),
            (json!({"when": {"gt": "2026-01-29T00:00:00Z"}}), false),
            (json!({"when": {"gt": 1}}), false),
            (json!({"deep": {"gt": 1}}), false),
            (json!({"w": "w1", "n": 5}), true),
            (json!({"w": "w1", "n": 6}), false),
            (json!({"any": [{"w": "w2"}, {"n": 5}]}), true),
            (json!({"all": [{"w": "w1"}, {"n": 6}]}), false),
            (json!({"not": {"w": "w1"}}), false),
            (json!({"not": {"any": [{"w": "w2"}, {"n": 6}]}}), true),
        ] {
            assert_eq!(matches(filter.clone(), document.clone()), want, "{filter}");
        }
    }

    #[test]
    fn fields_are_named_once() {
        let filter = json!({"a": 1, "any": [{"b": {"gt": 1}}, {"not": {"a": [1]}}]});
        let filter = Filter::from_json(&filter).unwrap();
        assert!(filter.fields().into_iter().eq(["a", "b"]));
        assert_eq!(filter.fields_with_a_value(), filter.fields());
        let filter = Filter::from_json(&json!({"a": null, "b": [null], "c": [null, 1], "d": 1})).unwrap();
        assert!(filter.fields().into_iter().eq(["a", "b", "c", "d"]));
        assert!(filter.fields_with_a_value().into_iter().eq(["c", "d"]));
    }
}
