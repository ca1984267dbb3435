//! Lines of bulk requests, each an operation: what parses is one operation, however often it is written down.

use std::collections::HashSet;

use lockstep_model::{Access, Action, Operation, Refusal, hash_json};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::driver::{Fuzz, kind_of};

const TOKENS: [&str; 47] = [
    "{\"op\":\"atomic\",\"ops\":[",
    "{\"a\":",
    "{\"$datetime\":\"2026-01-29T00:00:00Z\"}",
    "{\"$record\":\"a:1\"}",
    "{\"$uuid\":\"0193d5f0-7c1a-7000-8000-000000000001\"}",
    "{\"$decimal\":\"1.50\"}",
    "{\"$duration\":\"1h30m\"}",
    "{\"$bytes\":\"AAEC\"}",
    "{\"$foreign\":\"AAEC\"}",
    "{\"$float\":\"nan\"}",
    "{\"not\":",
    "{\"all\":[",
    "{\"any\":[",
    "[",
    "{",
    "}",
    "]",
    "\"op\":\"put\"",
    "\"op\":\"patch\"",
    "\"op\":\"delete\"",
    "\"op\":\"relate\"",
    "\"op\":\"unrelate\"",
    "\"op\":\"clear\"",
    "\"key\":\"memory:1\",",
    "\"table\":\"memory\",",
    "\"edge\":\"mentions\",",
    "\"from\":\"memory:1\",",
    "\"to\":\"person:7\",",
    "\"document\":{},",
    "\"where\":{\"n\":{\"gte\":5,\"lt\":6}},",
    "\"vector\":[1,-0.5],",
    "\"vector\":\"AACAPwAAAL8=\",",
    "\"vector\":[[1,2],[3,4]],",
    "\"vector\":{\"indices\":[9,7],\"values\":[1,2]},",
    "\"vectors\":{\"title\":[1]},",
    "\"if_version\":7,",
    "\"if_absent\":true,",
    "\"idempotency_key\":\"k\",",
    "\"id\":1,",
    "\"in\":1,",
    "\"_lockstep\":1,",
    "\"$$x\":1,",
    ",",
    "\n",
    "null",
    "\"\"",
    "1e39",
];

fn parse(line: &[u8], header: Option<&str>) -> Result<Operation, Refusal> {
    Operation::parse(line, header, &mut || Uuid::from_u128(7))
}

/// Also tells -0.0 from 0.0, which are equal.
fn exact(operation: &Operation) -> String {
    format!("{operation:?}")
}

fn line(line: &[u8]) -> u64 {
    let operation = match parse(line, None) {
        Ok(operation) => operation,
        Err(refusal) => {
            assert!(refusal.detail.len() < 4000, "a refusal of {} bytes", refusal.detail.len());
            return kind_of(&refusal.detail);
        }
    };
    let body = Json::Object(operation.to_json());
    let text = body.to_string();
    let again = parse(text.as_bytes(), None).unwrap_or_else(|refusal| panic!("{text} was taken before: {refusal}"));
    assert_eq!(hash_json(&Json::Object(again.to_json())), hash_json(&body));
    let made = text.contains("00000000-0000-0000-0000-000000000007");
    if !made {
        // The id that was made here is given now, and the hash of the body is another.
        assert_eq!(exact(&again), exact(&operation));
        if operation.idempotency.is_none() {
            let hash = |line: &[u8]| parse(line, Some("k")).unwrap().idempotency.unwrap();
            assert_eq!(hash(line), hash(text.as_bytes()), "one operation, two hashes of its body");
        }
    }
    let action = &operation.action;
    let subjects: Vec<_> = action.members().iter().filter_map(Action::subject).collect();
    assert_eq!(subjects.iter().collect::<HashSet<_>>().len(), subjects.len(), "a key comes twice in a group");
    let lanes = action.lanes();
    assert!(lanes.is_sorted_by(|(a, _), (b, _)| a < b));
    let writes = |lane| lanes.contains(&(lane, Access::Write));
    assert!(action.key().is_none_or(|key| writes(key.lane())), "it changes what it does not hold");
    assert!(action.removed_lanes().into_iter().all(writes));
    kind_of(&format!("{} {} {}", action.kind(), operation.precondition.is_none(), action.members().len() > 1))
}

fn check(input: &[u8]) -> u64 {
    // The kinds of all the lines together would always be new.
    let kinds: Vec<u64> = input.split(|byte| *byte == b'\n').map(line).collect();
    kinds[0].rotate_left(5) ^ kinds[kinds.len() - 1]
}

#[test]
fn an_operation_that_is_taken_stays_the_same_operation() {
    Fuzz { target: "operations", seeds: Vec::new(), tokens: &TOKENS, inputs: 8_000 }.run(check);
}
