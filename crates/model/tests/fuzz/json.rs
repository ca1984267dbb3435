//! The reader of JSON: its bounds hold, every digit is kept, and what it takes is what serde_json takes.

use lockstep_model::{JsonError, MAX_JSON_DEPTH, canonical_json, parse_json};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Number, Value};

use crate::driver::{Fuzz, kind_of, variant};

pub const TOKENS: [&str; 24] = [
    "{\"a\":", "[", "{", "}", "]", "\"", ":", ",", "\\", "\\u0062", "\\ud800", "\\\"", "null", "true", "false",
    "\"a\":", "\"b\":1", ",\"a\":2", "-", "1e", "+", ".", "é", "\u{feff}",
];

/// What the reader has to know of a text that is JSON, found in another way.
#[derive(Default)]
struct Outline<'a> {
    /// The numbers, as they are written.
    numbers: Vec<&'a str>,
    depth: usize,
}

impl<'a> Outline<'a> {
    fn of(text: &'a str) -> Self {
        let mut outline = Self::default();
        let (mut rest, mut depth) = (text, 0_usize);
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '"' => string_length(rest),
                '-' | '0'..='9' => {
                    rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len())
                }
                _ => first.len_utf8(),
            };
            match first {
                '-' | '0'..='9' => outline.numbers.push(&rest[..length]),
                '[' | '{' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            outline.depth = outline.depth.max(depth);
            rest = &rest[length..];
        }
        outline
    }
}

fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == '"' && !is_escaped {
            return at + 1;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    text.len()
}

fn is_whole(literal: &str) -> bool {
    literal.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
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

/// What is refused for its depth or for a number is so, if it is JSON at all. (`IgnoredAny` is read without recursion.)
fn hold_refusal(input: &[u8], error: &JsonError) {
    let (Ok(text), true) = (std::str::from_utf8(input), serde_json::from_slice::<IgnoredAny>(input).is_ok()) else {
        return;
    };
    let Outline { numbers, depth } = Outline::of(text);
    let is_so = match error {
        JsonError::TooDeep { .. } => depth > MAX_JSON_DEPTH,
        JsonError::Integer { .. } => numbers.iter().any(|literal| is_whole(literal) && literal.parse::<i64>().is_err()),
        JsonError::Float { .. } => numbers.iter().any(|literal| literal.parse().is_ok_and(f64::is_infinite)),
        JsonError::Twice { .. } | JsonError::Syntax { .. } => true,
    };
    assert!(is_so, "JSON was refused: {error}");
}

fn check(input: &[u8]) -> u64 {
    let value = match parse_json(input) {
        Ok(value) => value,
        Err(error) => {
            match &error {
                JsonError::Syntax { .. } => assert!(by_serde(input).is_err(), "JSON was refused: {error}"),
                JsonError::TooDeep { offset } | JsonError::Integer { offset, .. } | JsonError::Float { offset, .. } => {
                    assert!(*offset < input.len());
                    hold_refusal(input, &error);
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
    let written = Outline::of(std::str::from_utf8(input).unwrap()).numbers;
    assert_eq!(kept.len(), written.len());
    for (number, literal) in kept.iter().zip(&written) {
        if is_whole(literal) && *literal != "-0" {
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
