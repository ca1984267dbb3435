//! The JSON Schemas in `schemas`, and as much of a validator as they need. What it does not know is an error, so that no word
//! of a schema is without effect.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Fails if the value does not hold to the schema of this name.
pub(crate) fn holds(name: &str, value: &Value) {
    let mut wrong = Vec::new();
    check(&load(name), value, name, &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?} in {value:#}");
}

fn load(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(format!("{name}.json"));
    serde_json::from_slice(&fs::read(&path).unwrap_or_else(|error| unreachable!("{}: {error}", path.display())))
        .unwrap()
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => unreachable!("no type {other}"),
    }
}

fn check(schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    let schema = schema.as_object().unwrap();
    let properties = schema.get("properties").and_then(Value::as_object);
    for (word, says) in schema {
        match word.as_str() {
            "$schema" | "title" | "description" | "properties" => {}
            "$ref" => check(&load(says.as_str().unwrap().strip_suffix(".json").unwrap()), value, at, wrong),
            "type" => {
                let kinds = says.as_array().cloned().unwrap_or_else(|| vec![says.clone()]);
                if !kinds.iter().any(|kind| is_of(kind.as_str().unwrap(), value)) {
                    wrong.push(format!("{at}: not of type {says}: {value}"));
                }
            }
            "enum" if !says.as_array().unwrap().contains(value) => wrong.push(format!("{at}: none of {says}: {value}")),
            "const" if says != value => wrong.push(format!("{at}: not {says}: {value}")),
            "enum" | "const" => {}
            "minimum" => {
                if value.as_f64().is_some_and(|number| number < says.as_f64().unwrap()) {
                    wrong.push(format!("{at}: below {says}: {value}"));
                }
            }
            "required" => {
                for name in says.as_array().unwrap() {
                    if value.is_object() && value.get(name.as_str().unwrap()).is_none() {
                        wrong.push(format!("{at}: {name} is missing"));
                    }
                }
            }
            "additionalProperties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    if properties.is_some_and(|known| known.contains_key(name)) {
                        continue;
                    }
                    match says.as_bool() {
                        Some(true) => {}
                        Some(false) => wrong.push(format!("{at}: {name} is not foreseen")),
                        None => check(says, member, &format!("{at}.{name}"), wrong),
                    }
                }
            }
            "items" => {
                for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(says, item, &format!("{at}[{place}]"), wrong);
                }
            }
            "anyOf" => {
                let fits = |one: &Value| {
                    let mut wrong = Vec::new();
                    check(one, value, at, &mut wrong);
                    wrong.is_empty()
                };
                if !says.as_array().unwrap().iter().any(fits) {
                    wrong.push(format!("{at}: fits none of anyOf: {value}"));
                }
            }
            other => unreachable!("this validator does not know {other}"),
        }
    }
    for (name, schema) in properties.into_iter().flatten() {
        if let Some(member) = value.get(name) {
            check(schema, member, &format!("{at}.{name}"), wrong);
        }
    }
}

#[test]
fn a_schema_notices_what_does_not_hold() {
    let good = serde_json::json!({"code": "usage", "detail": "x"});
    holds("failure", &good);
    for (name, value) in
        [("code", serde_json::json!(1)), ("code", "other".into()), ("more", true.into()), ("detail", 1.into())]
    {
        let mut bad = good.clone();
        bad[name] = value;
        let mut wrong = Vec::new();
        check(&load("failure"), &bad, "failure", &mut wrong);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
    }
    let mut wrong = Vec::new();
    check(&load("failure"), &serde_json::json!({"code": "usage"}), "failure", &mut wrong);
    assert_eq!(wrong.len(), 1, "{wrong:?}");
}
