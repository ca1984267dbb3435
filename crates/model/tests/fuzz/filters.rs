//! Filters: a filter on the first line, a document to hold it against on the second.

use lockstep_model::{Filter, parse_json};
use serde_json::{Map, Value as Json};

use crate::driver::{Fuzz, kind_of, variant};

const TOKENS: [&str; 30] = [
    "{\"not\":",
    "{\"all\":[",
    "{\"any\":[",
    "{\"a\":",
    "{\"a\":{\"gt\":",
    "[",
    "{",
    "}",
    "]",
    ",",
    "\n",
    "\"all\":[",
    "\"any\":[",
    "\"not\":{",
    "\"a\":1,",
    "\"b\":\"x\",",
    "\"c\":null,",
    "\"d\":[1,2],",
    "\"gt\":1",
    "\"gte\":0.5",
    "\"lt\":9223372036854775807",
    "\"lte\":-1e308",
    "\"gt\":\"2026-01-29T00:00:00Z\"",
    "\"lt\":\"@99999999999999.000000007\"",
    "true",
    "null",
    "\"\"",
    "9007199254740993",
    "9007199254740992.0",
    "-0.0",
];

fn check(input: &[u8]) -> u64 {
    let mut lines = input.splitn(2, |byte| *byte == b'\n').map(parse_json);
    let (Some(Ok(json)), document) = (lines.next(), lines.next()) else { return 0 };
    let filter = match Filter::from_json(&json) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(error.to_string().len() < 4000);
            return kind_of(&error);
        }
    };
    // The log keeps a clear's filter as this JSON: what was taken must be understood again.
    let written = filter.to_json();
    let again = Filter::from_json(&written).unwrap_or_else(|error| panic!("{written} was taken before: {error}"));
    assert_eq!(format!("{again:?}"), format!("{filter:?}"));
    let document = match document {
        Some(Ok(Json::Object(members))) => members,
        _ => Map::new(),
    };
    let matches = filter.matches(&document);
    assert_eq!(again.matches(&document), matches);
    assert_eq!(Filter::Not(Box::new(filter.clone())).matches(&document), !matches);
    // Only the fields that it names decide.
    let fields = filter.fields();
    let mut named = document.clone();
    named.retain(|name, _| fields.contains(name.as_str()));
    assert_eq!(filter.matches(&named), matches);
    variant(&filter) ^ u64::from(matches)
}

#[test]
fn a_filter_that_is_taken_can_be_written_down() {
    Fuzz { target: "filters", seeds: Vec::new(), tokens: &TOKENS, inputs: 15_000 }.run(check);
}
