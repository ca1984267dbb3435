//! Documents with value tags: a caller's and the log's.

use lockstep_model::{Document, MAX_DOCUMENT_DEPTH, PayloadSelection, Value, ValueError, parse_json};
use serde_json::{Map, Value as Json};

use crate::driver::{Fuzz, kind_of};

const TOKENS: [&str; 36] = [
    "{\"a\":",
    "{\"$datetime\":",
    "{\"$record\":",
    "{\"$uuid\":",
    "{\"$decimal\":",
    "{\"$duration\":",
    "{\"$bytes\":",
    "{\"$foreign\":",
    "{\"$float\":",
    "{\"$$a\":",
    "[",
    "{",
    "}",
    "]",
    ",",
    "\"2026-01-29T00:00:00Z\"",
    "\"-009999-01-02T00:00:00.5+01:00\"",
    "\"2016-12-31T23:59:60Z\"",
    "\"@99999999999999.000000007\"",
    "\"@-1.999999999\"",
    "\"a:1\"",
    "\"0193d5f0-7c1a-7000-8000-000000000001\"",
    "\"79228162514264337593543950335\"",
    "\"-0.0000000000000000000000000001\"",
    "\"1h30m\"",
    "\"1y2w3d4h5m6s7ms8µs9ns\"",
    "\"AAEC\"",
    "\"-_-_AA\"",
    "\"nan\"",
    "\"-inf\"",
    "\"b\":",
    "\"$\":1",
    "\"$$$x\":1",
    "null",
    "true",
    "-0.0",
];

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::Datetime { .. }
        | Value::Record(_)
        | Value::Uuid(_)
        | Value::Decimal(_)
        | Value::Duration { .. }
        | Value::Bytes(_)
        | Value::Foreign(_) => 0,
    }
}

type Read = fn(&Map<String, Json>) -> Result<Document, ValueError>;

/// Reads with `read` what `written` says, by way of bytes.
fn through_text(written: Map<String, Json>, read: Read) -> Document {
    let text = Json::Object(written).to_string();
    let json = parse_json(text.as_bytes()).unwrap_or_else(|error| panic!("{text} was written here: {error}"));
    read(json.as_object().unwrap()).unwrap_or_else(|error| panic!("{text} was written here: {error}"))
}

fn check(input: &[u8]) -> u64 {
    let Ok(Json::Object(members)) = parse_json(input) else { return 0 };
    let (theirs, ours) = (Document::from_json(&members), Document::from_log_json(&members));
    if let Ok(document) = &theirs {
        // NaN is no one's equal; only the log can hold it.
        assert_eq!(&through_text(document.to_json(), Document::from_json), document);
        assert_eq!(ours.as_ref(), Ok(document), "the log does not understand what a caller may send");
    }
    let document = match &ours {
        Ok(document) => document,
        Err(error) => {
            assert!(error.to_string().len() < 2000, "an error of {} bytes", error.to_string().len());
            return kind_of(error);
        }
    };
    let again = through_text(document.to_log_json(), Document::from_log_json);
    assert_eq!(format!("{again:?}"), format!("{document:?}"));
    assert_eq!(again.hash(), document.hash());
    assert!(document.0.values().all(|value| depth(value) < MAX_DOCUMENT_DEPTH));
    for selection in [PayloadSelection::Scalars, PayloadSelection::Fields(vec!["a".to_owned()])] {
        let plain = document.plain();
        assert!(selection.select(document).iter().all(|(name, json)| plain.get(name) == Some(json)));
    }
    let patched = document.merge_patch(document);
    assert_eq!(patched.merge_patch(document).hash(), patched.hash(), "patching twice is not patching once");
    let kinds: String =
        document.0.values().take(4).map(|value| format!("{value:?}").chars().take(5).collect::<String>()).collect();
    kind_of(&format!("{} {kinds}", theirs.is_ok()))
}

#[test]
fn a_document_comes_back_with_every_tag() {
    Fuzz { target: "documents", seeds: Vec::new(), tokens: &TOKENS, inputs: 40_000 }.run(check);
}
