//! Whether a record is still what an operation wrote.
//!
//! A schema may change what is written (defaults, `VALUE` clauses, an int that becomes a float, an array that
//! becomes a set), and that is no outside change. So fields that the schema defines are compared more
//! leniently, and all others exactly.

use std::collections::BTreeMap;

use lockstep_model::{Document, Value, hash_json};
use surrealdb::types as db;

use crate::StoreError;
use crate::surreal::value::{document_of, object_of};

/// The top-level fields that a table's schema defines.
#[derive(Debug, Default)]
pub(super) struct Schema {
    /// By name: whether the schema sets the value by itself.
    fields: BTreeMap<String, bool>,
}

impl Schema {
    /// From the answer of `INFO FOR TABLE … STRUCTURE`.
    pub(super) fn of(info: Option<db::Object>) -> Self {
        let mut schema = Self::default();
        let Some(db::Value::Array(fields)) = info.and_then(|mut info| info.remove("fields")) else { return schema };
        for field in fields.into_vec() {
            let db::Value::Object(field) = field else { continue };
            let Some(db::Value::String(name)) = field.get("name") else { continue };
            let root: String = name.chars().take_while(|c| !matches!(c, '.' | '[')).filter(|c| *c != '`').collect();
            let sets = ["value", "computed"]
                .iter()
                .any(|clause| !matches!(field.get(*clause), None | Some(db::Value::None | db::Value::Null)));
            *schema.fields.entry(root).or_default() |= sets;
        }
        schema
    }
}

/// What differs between what was written and what is there; nothing if it is the same.
pub(super) fn outside_change(
    written: &Document,
    there: db::Object,
    schema: &Schema,
) -> Result<Option<String>, StoreError> {
    let sets: BTreeMap<String, db::Set> = there
        .iter()
        .filter_map(
            |(name, value)| {
                if let db::Value::Set(set) = value { Some((name.clone(), set.clone())) } else { None }
            },
        )
        .collect();
    let there = document_of(there)?;
    for (name, value) in &there.0 {
        match (written.0.get(name), schema.fields.get(name)) {
            (None, None) => return Ok(Some(format!("the field {name} has come"))),
            (None, Some(_)) | (Some(_), Some(true)) => {}
            (Some(wrote), defined) => {
                let as_set = defined.is_some() && sets.get(name).is_some_and(|set| is_set_of(set, wrote));
                if !same(wrote, value) && !as_set {
                    return Ok(Some(format!("the field {name} is another")));
                }
            }
        }
    }
    let gone = written
        .0
        .keys()
        .find(|name| *name != "id" && !there.0.contains_key(*name) && schema.fields.get(*name) != Some(&true));
    Ok(gone.map(|name| format!("the field {name} is gone")))
}

/// Equal as the document's hash sees it: 1 and 1.0 are one number, and NaN is itself.
fn same(one: &Value, other: &Value) -> bool {
    hash_json(&one.to_json()) == hash_json(&other.to_json())
}

/// The set is the one that an array becomes.
fn is_set_of(set: &db::Set, wrote: &Value) -> bool {
    let Value::Array(_) = wrote else { return false };
    let one = Document(BTreeMap::from([("a".to_owned(), wrote.clone())]));
    let Ok(object) = object_of(&one) else { return false };
    let Some(db::Value::Array(items)) = object.get("a") else { return false };
    let sorted = |mut items: Vec<db::Value>| {
        items.sort_unstable();
        items.dedup();
        items
    };
    sorted(items.iter().cloned().collect()) == sorted(set.iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(members: &[(&str, db::Value)]) -> db::Object {
        members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn int(int: i64) -> db::Value {
        db::Value::Number(db::Number::Int(int))
    }

    fn text(text: &str) -> db::Value {
        db::Value::String(text.to_owned())
    }

    fn schema(fields: &[(&str, bool)]) -> Schema {
        let field = |(name, sets): &(&str, bool)| {
            let mut field = object(&[("name", text(name))]);
            if *sets {
                field.insert("value", "1");
            }
            db::Value::Object(field)
        };
        let fields: Vec<_> = fields.iter().map(field).collect();
        Schema::of(Some(object(&[("fields", db::Value::Array(fields.into()))])))
    }

    #[test]
    fn only_what_the_schema_explains_is_forgiven() {
        let written =
            document_of(object(&[("a", int(1)), ("tags", db::Value::Array(vec![int(2), int(1)].into()))])).unwrap();
        let float = db::Value::Number(db::Number::Float(1.0));
        let tags = db::Value::Array(vec![int(2), int(1)].into());
        let set = db::Value::Set(vec![int(1), int(2)].into());
        type Fields<'a, T> = &'a [(&'a str, T)];
        let cases: [(Fields<'_, db::Value>, Fields<'_, bool>, bool); 8] = [
            (&[("a", int(1)), ("tags", tags.clone())], &[], true),
            (&[("a", float), ("tags", tags.clone())], &[], true),
            (&[("a", int(2)), ("tags", tags.clone())], &[("a", false)], false),
            (&[("a", int(2)), ("tags", tags.clone())], &[("a", true)], true),
            (&[("a", int(1)), ("tags", tags.clone()), ("b", int(1))], &[], false),
            (&[("a", int(1)), ("tags", tags.clone()), ("b", int(1))], &[("b.c", false)], true),
            (&[("a", int(1)), ("tags", set.clone())], &[("tags", false), ("tags[*]", false)], true),
            (&[("a", int(1)), ("tags", set)], &[], false),
        ];
        for (there, fields, want) in cases {
            let change = outside_change(&written, object(there), &schema(fields)).unwrap();
            assert_eq!(change.is_none(), want, "{there:?} {fields:?} {change:?}");
        }
        let gone = outside_change(&written, object(&[("a", int(1))]), &Schema::default()).unwrap();
        assert_eq!(gone.as_deref(), Some("the field tags is gone"));
    }
}
