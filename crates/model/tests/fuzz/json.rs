//! The reader of JSON: its bounds hold, every digit is kept, and what it takes is what serde_json takes.

use lockstep_model::{JsonError, MAX_JSON_DEPTH, canonical_json, parse_json};
use serde::Deserialize;
use serde_json::{Number, Value};

use crate::driver::{Fuzz, kind_of, variant};

pub const TOKENS: [&str; 24] = [
    "{\"a\":", "[", "{", "}", "]", "\"", ":", ",", "\\", "\\u0062", "\\ud800", "\\\"", "null", "true", "false",
    "\"a\":", "\"b\":1", ",\"a\":2", "-", "1e", "+", ".", "é", "\u{feff}",
];

/// The numbers of a text that is JSON, as they are written.
fn literals(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        rest = &rest[at..];
        if let Some(mut string) = rest.strip_prefix('"') {
            while let Some(end) = string.find(['"', '\\']) {
                let escaped = string[end..].starts_with('\\');
                string = &string[end + if escaped { 2 } else { 1 }..];
                if !escaped {
                    break;
                }
            }
            rest = string;
        } else {
            let end = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
            found.push(&rest[..end]);
            rest = &rest[end..];
        }
    }
    found
}

fn numbers<'a>(value: &'a Value, depth: usize, into: &mut Vec<&'a Number>) {
    match value {
        Value::Number(number) => into.push(number),
        Value::Array(items) => {
            assert!(depth < MAX_JSON_DEPTH);
            items.iter().for_each(|item| numbers(item, depth + 1, into));
        }
        Value::Object(members) => {
            assert!(depth < MAX_JSON_DEPTH);
            members.values().for_each(|member| numbers(member, depth + 1, into));
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// What serde_json makes of it, without its own bound on depth: only for what is known not to be deep.
fn by_serde(input: &[u8]) -> serde_json::Result<Value> {
    let mut parser = serde_json::Deserializer::from_slice(input);
    parser.disable_recursion_limit();
    let value = Value::deserialize(&mut parser)?;
    parser.end().map(|()| value)
}

fn check(input: &[u8]) -> u64 {
    let value = match parse_json(input) {
        Ok(value) => value,
        Err(error) => {
            match &error {
                JsonError::Syntax { .. } => assert!(by_serde(input).is_err(), "JSON was refused: {error}"),
                JsonError::TooDeep { offset } | JsonError::Integer { offset, .. } | JsonError::Float { offset, .. } => {
                    assert!(*offset < input.len());
                }
                // It is said before the rest is read, which may be no JSON.
                JsonError::Twice { .. } => {}
            }
            assert!(error.to_string().len() < 1000);
            return kind_of(&error);
        }
    };
    assert_eq!(by_serde(input).unwrap(), value);
    let mut kept = Vec::new();
    numbers(&value, 0, &mut kept);
    let written = literals(std::str::from_utf8(input).unwrap());
    assert_eq!(kept.len(), written.len());
    for (number, literal) in kept.iter().zip(&written) {
        let whole = literal.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') && *literal != "-0";
        if whole {
            assert_eq!(number.to_string(), *literal);
            assert!(number.is_i64());
        } else {
            let (float, wanted) = (number.as_f64().unwrap(), literal.parse::<f64>().unwrap());
            assert_eq!(float.to_bits(), wanted.to_bits(), "{literal}");
            assert!(float.is_finite());
        }
    }
    let text = serde_json::to_string(&value).unwrap();
    assert_eq!(parse_json(text.as_bytes()).unwrap(), value);
    let canonical = canonical_json(&value);
    let again = canonical_json(&by_serde(canonical.as_bytes()).unwrap());
    assert_eq!(again, canonical, "the canonical text is not canonical");
    variant(&value)
}

#[test]
fn json_is_read_within_its_bounds_and_to_the_last_digit() {
    Fuzz { target: "json", seeds: Vec::new(), tokens: &TOKENS, inputs: 60_000 }.run(check);
}
