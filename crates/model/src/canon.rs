//! The one canonical text of a JSON value, for hashes.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// The canonical text of `value`. Two values have the same text exactly if they mean the same.
///
/// As in RFC 8785: no white space, members sorted, strings with the shortest escapes. Different from it:
///
/// - members are sorted by the bytes of their UTF-8 names, not by UTF-16 units;
/// - integers are written whole, also those that a double cannot hold;
/// - a float that is a whole number within ±2^63 is written as that integer (`1.0` is `1`, `-0.0` is `0`),
///   because stores and clients turn the one into the other;
/// - any other float is written with the fewest digits that give it back, as `d.ddde±x` (`0.1` is `1e-1`).
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write_value(value, &mut text);
    text
}

/// BLAKE3 of the canonical text, its first 128 bits.
#[must_use]
pub fn hash_json(value: &Value) -> [u8; 16] {
    hash_bytes(canonical_json(value).as_bytes())
}

/// BLAKE3 of some bytes, its first 128 bits.
pub(crate) fn hash_bytes(bytes: &[u8]) -> [u8; 16] {
    let mut hash = [0; 16];
    blake3::Hasher::new().update(bytes).finalize_xof().fill(&mut hash);
    hash
}

fn write_value(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => write_number(number, text),
        Value::String(string) => write_string(string, text),
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write_value(item, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (place, (name, member)) in sorted.into_iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write_string(name, text);
                text.push(':');
                write_value(member, text);
            }
            text.push('}');
        }
    }
}

fn write_number(number: &Number, text: &mut String) {
    const WHOLE_LIMIT: f64 = 9_223_372_036_854_775_808.0;
    // Writing to a String cannot fail.
    let _ = match (number.as_i64(), number.as_f64()) {
        (Some(integer), _) => write!(text, "{integer}"),
        (None, Some(0.0)) => write!(text, "0"),
        (None, Some(float)) if float.trunc() == float && float.abs() <= WHOLE_LIMIT => write!(text, "{float:.0}"),
        (None, Some(float)) => write!(text, "{float:e}"),
        (None, None) => write!(text, "{number}"),
    };
}

fn write_string(string: &str, text: &mut String) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{c}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            '\0'..='\u{1f}' => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            _ => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn golden_text() {
        let value = json!({
            "b": [1, 1.0, -0.0, 0.1, 1e300, 1.5, -2.5e-7, 9_007_199_254_740_993_i64],
            "a": {"é": null, "z": true, "A": "q\"\\\u{8}\t\n\u{c}\r\u{1}/é"},
        });
        assert_eq!(
            canonical_json(&value),
            r#"{"a":{"A":"q\"\\\b\t\n\f\r\u0001/é","z":true,"é":null},"b":[1,1,0,1e-1,1e300,1.5e0,-2.5e-7,9007199254740993]}"#
        );
    }

    #[test]
    fn integers_and_floats_differ_exactly_if_their_values_do() {
        assert_eq!(canonical_json(&json!(10_000_000_000_000_000_i64)), canonical_json(&json!(1e16)));
        assert_ne!(canonical_json(&json!(9_007_199_254_740_993_i64)), canonical_json(&json!(9_007_199_254_740_992.0)));
        assert_eq!(canonical_json(&json!(1e20)), "1e20");
    }

    proptest! {
        #[test]
        fn strings_are_escaped_as_serde_json_does(string in any::<String>()) {
            prop_assert_eq!(canonical_json(&json!(string)), serde_json::to_string(&string).unwrap());
        }

        #[test]
        fn floats_are_given_back(float in any::<f64>().prop_filter("finite", |f| f.is_finite())) {
            prop_assert_eq!(canonical_json(&json!(float)).parse::<f64>().unwrap(), float);
        }
    }
}
