//! JSON as bytes from outside, read without trusting it.
//!
//! serde_json alone is not enough. With its recursion limit a document could nest less deeply than
//! promised; without it a kilobyte of brackets overflows the stack. And an integer beyond 64 bits comes
//! back as a float, changed without a word. So one pass over the bytes bounds the depth and the integers,
//! and only then serde_json reads them. And of a name that comes twice in an object it would keep one,
//! also without a word; here that is an error.

use std::fmt;

use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::text::shortened;

/// How deep JSON from outside may nest: a document of 128 levels inside a member of a group, and a tag
/// in its innermost place.
pub const MAX_JSON_DEPTH: usize = 132;

/// Beyond this length a number without exponent can be out of a float's range.
const LONG_NUMBER_BYTES: usize = 300;

/// Why bytes are not JSON that Lockstep takes. Offsets count bytes from 0; lines and columns count from 1.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// More nested than [`MAX_JSON_DEPTH`].
    #[error("JSON nests deeper than {MAX_JSON_DEPTH} levels at byte {offset}")]
    TooDeep {
        /// Where the first bracket too many stands.
        offset: usize,
    },
    /// An integer outside of 64 bits with sign.
    #[error("a bad number at byte {offset}: {literal} does not fit a 64-bit integer")]
    Integer {
        /// Where it begins.
        offset: usize,
        /// How it begins, if it is long.
        literal: String,
    },
    /// A number beyond the range of a float.
    #[error("a bad number at byte {offset}: {literal} does not fit a 64-bit float")]
    Float {
        /// Where it begins.
        offset: usize,
        /// How it begins, if it is long.
        literal: String,
    },
    /// A name that comes twice in an object: one of the two would be lost.
    #[error("a name comes twice in a JSON object")]
    Twice {
        /// The line.
        line: usize,
        /// The column, in bytes.
        column: usize,
        /// Which name, and the place.
        source: serde_json::Error,
    },
    /// Not JSON at all.
    #[error("not JSON")]
    Syntax {
        /// The line.
        line: usize,
        /// The column, in bytes.
        column: usize,
        /// What the parser said, and the place.
        source: serde_json::Error,
    },
}

/// Reads one JSON value, and nothing after it.
///
/// The result nests at most [`MAX_JSON_DEPTH`] deep, so it can be walked and dropped by recursion; its
/// integers fit an `i64`; its floats are finite.
pub fn parse_json(bytes: &[u8]) -> Result<Value, JsonError> {
    scan(bytes)?;
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    parser.disable_recursion_limit();
    let Unique(value) = Unique::deserialize(&mut parser).map_err(parser_error)?;
    parser.end().map_err(parser_error)?;
    Ok(value)
}

fn parser_error(source: serde_json::Error) -> JsonError {
    let (line, column) = (source.line(), source.column());
    // Any JSON is a Value: the only complaint about data, and not about syntax, is Unique's.
    if source.is_data() {
        JsonError::Twice { line, column, source }
    } else {
        JsonError::Syntax { line, column, source }
    }
}

/// A JSON value in which no object has a name twice.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Value, E> {
        Ok(Value::Bool(bool))
    }

    fn visit_i64<E>(self, int: i64) -> Result<Value, E> {
        Ok(Value::from(int))
    }

    fn visit_u64<E>(self, int: u64) -> Result<Value, E> {
        Ok(Value::from(int))
    }

    fn visit_f64<E>(self, float: f64) -> Result<Value, E> {
        Ok(Value::from(float))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unique(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if values.contains_key(&name) {
                return Err(A::Error::custom(format!("{:?} comes twice", shortened(&name))));
            }
            let Unique(value) = members.next_value()?;
            values.insert(name, value);
        }
        Ok(Value::Object(values))
    }
}

/// Bounds depth and numbers. Up to the first byte that is not JSON it sees the same strings, brackets and
/// numbers as the parser will, and the parser stops at that byte: its bounds hold for the parser.
fn scan(bytes: &[u8]) -> Result<(), JsonError> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_JSON_DEPTH {
                    return Err(JsonError::TooDeep { offset: at });
                }
                at += 1;
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b'-' | b'0'..=b'9' => at = check_number(bytes, at)?,
            _ => at += 1,
        }
    }
    Ok(())
}

/// The place after the string that begins at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// The place after the number that begins at `start`, if it is one that can be kept.
fn check_number(bytes: &[u8], start: usize) -> Result<usize, JsonError> {
    let rest = bytes.get(start..).unwrap_or_default();
    let length = rest.iter().take_while(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')).count();
    let literal = rest.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        // A lone sign and leading zeros are left to the parser, which has better words for them.
        if digits.len() > 18 && literal.parse::<i64>().is_err() {
            return Err(JsonError::Integer { offset: start, literal: shortened(literal) });
        }
    } else if (length > LONG_NUMBER_BYTES || literal.contains(['e', 'E']))
        && literal.parse::<f64>().is_ok_and(f64::is_infinite)
    {
        return Err(JsonError::Float { offset: start, literal: shortened(literal) });
    }
    Ok(start + length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn nested(levels: usize) -> Vec<u8> {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels)).into_bytes()
    }

    #[test]
    fn depth_is_bounded_and_never_overflows_the_stack() {
        assert!(parse_json(&nested(MAX_JSON_DEPTH)).is_ok());
        assert!(matches!(parse_json(&nested(MAX_JSON_DEPTH + 1)), Err(JsonError::TooDeep { offset: 132 })));
        assert!(matches!(parse_json(&nested(100_000)), Err(JsonError::TooDeep { .. })));
        assert!(matches!(parse_json("{\"a\":".repeat(100_000).as_bytes()), Err(JsonError::TooDeep { .. })));
    }

    #[test]
    fn brackets_and_digits_in_strings_do_not_count() {
        let text = format!(r#"{{"a":"{}\"{}","99999999999999999999":1}}"#, "[".repeat(500), "{".repeat(500));
        assert!(parse_json(text.as_bytes()).is_ok());
    }

    #[test]
    fn wide_is_not_deep() {
        let text = format!("[{}[]]", "[],".repeat(10_000));
        assert!(parse_json(text.as_bytes()).is_ok());
    }

    #[test]
    fn integers_outside_of_64_bits_are_refused_and_not_rounded() {
        // C4: serde_json would make floats of them.
        for text in ["9223372036854775807", "-9223372036854775808", "[9007199254740993]"] {
            assert_eq!(parse_json(text.as_bytes()).unwrap().to_string(), text);
        }
        for text in ["9223372036854775808", "18446744073709551615", "-9223372036854775809", &"9".repeat(5000)] {
            assert!(matches!(parse_json(text.as_bytes()), Err(JsonError::Integer { offset: 0, .. })), "{text}");
        }
        let error = parse_json(br#"{"a":[1,99999999999999999999]}"#).unwrap_err();
        assert_eq!(error.to_string(), "a bad number at byte 8: 99999999999999999999 does not fit a 64-bit integer");
    }

    #[test]
    fn floats_keep_every_bit_or_are_refused() {
        for number in [0.1, 1e300, 5e-324, f64::MAX, -1.5, 123_456_789.123_456_78] {
            let text = serde_json::to_string(&number).unwrap();
            assert_eq!(parse_json(text.as_bytes()).unwrap(), json!(number), "{text}");
        }
        let long = format!("{}.5", "9".repeat(400));
        for text in ["1e309", "-1e309", "1E+999999999999", &long] {
            assert!(matches!(parse_json(text.as_bytes()), Err(JsonError::Float { .. })), "{text}");
        }
        assert_eq!(parse_json(b"1e-999").unwrap(), json!(0.0));
    }

    #[test]
    fn what_is_not_json_is_a_clean_error() {
        let cases: [&[u8]; 14] = [
            b"",
            b" ",
            b"{",
            b"{\"a\"",
            b"[1,]",
            b"nul",
            b"1 2",
            b"01",
            b"-",
            b"\"\xff\"",
            b"\"\\ud800\"",
            b"\xef\xbb\xbf{}",
            b"NaN",
            b"\"a",
        ];
        for bytes in cases {
            assert!(matches!(parse_json(bytes), Err(JsonError::Syntax { .. })), "{bytes:?}");
        }
    }

    #[test]
    fn a_name_that_comes_twice_is_an_error() {
        let error = parse_json(br#"{"a":{"b":1,"c":2,"\u0062":3}}"#).unwrap_err();
        let JsonError::Twice { source, .. } = error else { panic!("{error}") };
        assert!(source.to_string().starts_with("\"b\" comes twice"), "{source}");
        assert!(parse_json(br#"[{"a":1},{"a":2,"A":{"a":3}}]"#).is_ok());
    }

    proptest! {
        #[test]
        fn what_serde_json_reads_is_read_the_same(document in crate::testing::any_document()) {
            let text = serde_json::to_string(&document.to_json()).unwrap();
            prop_assert_eq!(parse_json(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(&text).unwrap());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_json(&bytes);
        }

        #[test]
        fn what_looks_like_json_never_panics(text in r#"[\[\]{}":,0-9eE.+\\a-]{0,80}"#) {
            let _ = parse_json(text.as_bytes());
        }
    }
}
