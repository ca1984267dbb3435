//! Which fields of a document a point carries.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::document::Document;
use crate::value::Value;

/// The payload of a table's points. In configuration: a list of fields, or nothing for all scalars.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Option<Vec<String>>", into = "Option<Vec<String>>")]
pub enum PayloadSelection {
    /// Every top-level field that is a scalar or an array of scalars.
    #[default]
    Scalars,
    /// These top-level fields, whatever they hold.
    Fields(Vec<String>),
}

impl PayloadSelection {
    /// The selected fields as plain JSON. Foreign values have none and are left out.
    #[must_use]
    pub fn select(&self, document: &Document) -> Map<String, Json> {
        let selected = document.0.iter().filter(|(name, value)| match self {
            Self::Scalars => is_flat(value),
            Self::Fields(fields) => fields.contains(name),
        });
        selected.filter_map(|(name, value)| Some((name.clone(), value.plain()?))).collect()
    }

    /// The field stands in every payload of a document that has it, because the configuration says so.
    #[must_use]
    pub fn names(&self, field: &str) -> bool {
        matches!(self, Self::Fields(_)) && self.covers(field)
    }

    /// Whether a filter on `field` can find what a document holds there. With [`PayloadSelection::Scalars`]
    /// that is so for every field: what is left out (objects) no filter could match.
    #[must_use]
    pub fn covers(&self, field: &str) -> bool {
        match self {
            Self::Scalars => true,
            Self::Fields(fields) => fields.iter().any(|name| name == field),
        }
    }
}

fn is_flat(value: &Value) -> bool {
    if let Value::Array(items) = value { items.iter().all(Value::is_scalar) } else { value.is_scalar() }
}

impl From<Option<Vec<String>>> for PayloadSelection {
    fn from(fields: Option<Vec<String>>) -> Self {
        fields.map_or(Self::Scalars, Self::Fields)
    }
}

impl From<PayloadSelection> for Option<Vec<String>> {
    fn from(selection: PayloadSelection) -> Self {
        match selection {
            PayloadSelection::Scalars => None,
            PayloadSelection::Fields(fields) => Some(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::object;
    use serde_json::json;

    fn document() -> Document {
        Document::from_json(&object(json!({
            "title": "tide", "n": 1, "none": null, "tags": ["a", "b"], "empty": [],
            "when": {"$datetime": "2026-01-29T00:00:00Z"}, "deep": {"a": 1}, "rows": [[1]], "mixed": [1, {}],
        })))
        .unwrap()
    }

    #[test]
    fn scalars_and_arrays_of_scalars() {
        assert_eq!(
            Json::Object(PayloadSelection::Scalars.select(&document())),
            json!({"title": "tide", "n": 1, "none": null, "tags": ["a", "b"], "empty": [], "when": "2026-01-29T00:00:00Z"})
        );
        assert!(PayloadSelection::Scalars.covers("anything"));
    }

    #[test]
    fn named_fields_whatever_they_hold() {
        let selection = PayloadSelection::Fields(vec!["deep".to_owned(), "n".to_owned(), "absent".to_owned()]);
        assert_eq!(Json::Object(selection.select(&document())), json!({"deep": {"a": 1}, "n": 1}));
        assert!(selection.covers("n") && selection.covers("absent") && !selection.covers("title"));
    }
}
