//! The stamp in a point's payload: what `_lockstep` holds, built and read side by side.
//!
//! Others can have written anything there. What is not a stamp of ours is an empty stamp, never an error.

use lockstep_model::{Key, OpId, RESERVED_FIELD, Version};
use serde_json::{Map, Value as Json, json};

use crate::PointStamp;

/// The payload's field that holds the stamp.
pub(crate) const STAMP_FIELD: &str = RESERVED_FIELD;
/// The version in it: what fences compare.
pub(crate) const VERSION_FIELD: &str = "v";

/// The payload of a point: the application's, and the stamp if it says anything.
pub(crate) fn with_stamp(payload: &Map<String, Json>, stamp: &PointStamp) -> Map<String, Json> {
    let mut payload = payload.clone();
    let PointStamp { version, op, key } = stamp;
    if version.is_some() || op.is_some() || key.is_some() {
        let stamp = json!({
            VERSION_FIELD: version.map(|version| version.0),
            "op": op.map(|op| op.to_string()),
            "key": key.as_ref().map(ToString::to_string),
        });
        payload.insert(STAMP_FIELD.to_owned(), stamp);
    }
    payload
}

/// The stamp that the field holds.
pub(crate) fn stamp_of(field: Option<&Json>) -> PointStamp {
    let text = |name: &str| field.and_then(|stamp| stamp.get(name)).and_then(Json::as_str);
    let version = field.and_then(|stamp| stamp.get(VERSION_FIELD)).and_then(Json::as_u64);
    PointStamp {
        version: version.filter(|version| *version < Version::LIMIT).map(Version),
        op: text("op").and_then(|op| op.parse::<OpId>().ok()),
        key: text("key").and_then(|key| key.parse::<Key>().ok()),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_is_written_of_nothing() {
        let stamp = PointStamp {
            version: Some(Version(7)),
            op: Some(OpId(Uuid::from_u128(3))),
            key: Some("m:1".parse().unwrap()),
        };
        let payload = with_stamp(&Map::new(), &stamp);
        assert_eq!(stamp_of(payload.get(STAMP_FIELD)), stamp);
        let none = PointStamp { version: None, op: None, key: None };
        assert_eq!(with_stamp(&Map::new(), &none), Map::new());
        assert_eq!(stamp_of(None), none);
    }

    #[test]
    fn what_others_put_there_is_no_stamp() {
        for foreign in [
            json!("v1"),
            json!(["v"]),
            json!(null),
            json!({"v": "7", "op": 3, "key": {"a": 1}}),
            json!({"v": -1, "op": "x", "key": ""}),
            json!({"v": u64::MAX}),
        ] {
            let none = PointStamp { version: None, op: None, key: None };
            assert_eq!(stamp_of(Some(&foreign)), none, "{foreign}");
        }
    }
}
