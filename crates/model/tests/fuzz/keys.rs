//! Keys, ids and the names beside them: what parses is written as it was read.

use lockstep_model::{Document, Id, Key, OpId, PointIdPolicy, Table};

use crate::driver::{Fuzz, kind_of};

fn check(input: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(input);
    if let Ok(policy) = text.parse::<PointIdPolicy>() {
        assert_eq!(policy.to_string(), text);
    }
    if let Ok(id) = text.parse::<OpId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
        // Any LSN of 48 bits may stand in it.
        assert!(id.lsn().0 < 1 << 48);
    }
    let key = match text.parse::<Key>() {
        Ok(key) => key,
        Err(error) => {
            assert!(error.to_string().len() < 2000, "{error}");
            return kind_of(&error);
        }
    };
    assert_eq!(key.to_string(), text, "two texts are one key");
    assert_eq!(text.split_once(':'), Some((key.table.as_str(), &*key.id.to_string())));
    assert!(text.len() <= Table::MAX_BYTES + 1 + Id::MAX_BYTES);
    let json = serde_json::to_string(&key).unwrap();
    assert_eq!(serde_json::from_str::<Key>(&json).unwrap(), key);
    let edge = Key::edge(&key.table, &key, &key);
    assert_eq!(edge.to_string().parse().as_ref(), Ok(&edge));
    // One point for one key: a number or a UUID in its usual form is written as the id is.
    if let Ok(point) = PointIdPolicy::Key.point_id(&key, &Document::default()) {
        assert_eq!(point.to_string(), key.id.to_string());
    }
    kind_of(&if matches!(key.id, Id::Int(_)) { "integer" } else { "text" })
}

#[test]
fn two_texts_are_never_one_key() {
    let tokens = ["memory:", ":", "lockstep_", "_lockstep", "é", "\u{85}", "field:", "key", "\0", "٣"];
    Fuzz { target: "keys", seeds: Vec::new(), tokens: &tokens, inputs: 100_000 }.run(check);
}
