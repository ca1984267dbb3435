//! Documents: what an application wrote for one key.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::canon::hash_json;
use crate::value::{Origin, Value, ValueError, members_from_json, members_to_json, members_to_plain};

/// The field of a record and of a payload that belongs to Lockstep.
pub const RESERVED_FIELD: &str = "_lockstep";

/// A document: values by name. It never holds Lockstep's own field, nor `id`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Document(pub BTreeMap<String, Value>);

impl Document {
    /// Reads a caller's document, with value tags.
    pub fn from_json(members: &Map<String, Json>) -> Result<Self, ValueError> {
        Self::read(members, Origin::Caller)
    }

    /// As readers get it: with value tags. `from_json` of it is the same document, unless it holds a
    /// value that no caller can send; those are shown as the log writes them.
    #[must_use]
    pub fn to_json(&self) -> Map<String, Json> {
        members_to_json(&self.0)
    }

    /// Reads a document that [`Document::to_log_json`] wrote: values without a tag of the contract too.
    pub fn from_log_json(members: &Map<String, Json>) -> Result<Self, ValueError> {
        Self::read(members, Origin::Log)
    }

    fn read(members: &Map<String, Json>, origin: Origin) -> Result<Self, ValueError> {
        members_from_json(members, origin, 0).map(Self).map_err(|error| error.within("document"))
    }

    /// As the log keeps it: every value is given back exactly.
    #[must_use]
    pub fn to_log_json(&self) -> Map<String, Json> {
        members_to_json(&self.0)
    }

    /// Plain JSON for payloads: what has no JSON type becomes its text, foreign values are left out.
    #[must_use]
    pub fn plain(&self) -> Map<String, Json> {
        members_to_plain(&self.0)
    }

    /// A document of what a payload holds: JSON as it is, nothing in it is a tag.
    #[must_use]
    pub fn from_plain(members: &Map<String, Json>) -> Self {
        Self(members.iter().map(|(name, json)| (name.clone(), Value::from_plain(json))).collect())
    }

    /// The document that `patch` makes of this one (RFC 7396): null removes, an object merges, anything
    /// else replaces; a tagged value is anything else.
    #[must_use]
    pub fn merge_patch(&self, patch: &Self) -> Self {
        let mut merged = self.0.clone();
        merge(&mut merged, &patch.0);
        Self(merged)
    }

    /// The content hash: the first 128 bits of BLAKE3 of the canonical text (see [`crate::canonical_json`])
    /// of the document with its tags. It is part of what stands in SurrealDB: never change it.
    #[must_use]
    pub fn hash(&self) -> [u8; 16] {
        hash_json(&Json::Object(self.to_log_json()))
    }
}

fn merge(target: &mut BTreeMap<String, Value>, patch: &BTreeMap<String, Value>) {
    for (name, change) in patch {
        if matches!(change, Value::Null) {
            target.remove(name);
        } else if let Value::Object(changes) = change {
            let place = target.entry(name.clone()).or_insert(Value::Null);
            if !matches!(place, Value::Object(_)) {
                *place = Value::Object(BTreeMap::new());
            }
            if let Value::Object(members) = place {
                merge(members, changes);
            }
        } else {
            target.insert(name.clone(), change.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{any_document, object};
    use proptest::prelude::*;
    use serde_json::json;

    fn read(json: Json) -> Result<Document, ValueError> {
        Document::from_json(&object(json))
    }

    #[test]
    fn every_tag_is_read_and_given_back() {
        let json = json!({
            "when": {"$datetime": "2026-01-29T00:00:00.123456789Z"},
            "who": {"$record": "person:7"},
            "uuid": {"$uuid": "0193d5f0-7c1a-7000-8000-000000000001"},
            "price": {"$decimal": "12.50"},
            "took": {"$duration": "1h30m"},
            "raw": {"$bytes": "AAEC"},
            "$$odd": {"$$datetime": 1, "$$$x": [{"$decimal": "1"}]},
            "n": [null, true, 1, -0.5, "text", {}],
        });
        let document = read(json.clone()).unwrap();
        assert_eq!(document.0["when"], Value::Datetime { secs: 1_769_644_800, nanos: 123_456_789 });
        assert_eq!(document.0["who"], Value::Record("person:7".parse().unwrap()));
        assert_eq!(document.0["raw"], Value::Bytes(vec![0, 1, 2]));
        assert!(document.0.contains_key("$odd"));
        assert_eq!(Json::Object(document.to_json()), json);
    }

    #[test]
    fn payloads_get_plain_json() {
        let mut document = read(json!({
            "when": {"$datetime": "2026-01-29T00:00:00Z"},
            "who": [{"$record": "person:7"}],
            "price": {"$decimal": "12.50"},
            "took": {"$duration": "90m"},
            "raw": {"$bytes": "AAEC"},
            "$$odd": 1,
        }))
        .unwrap();
        document.0.insert("shape".to_owned(), Value::Foreign(vec![1]));
        assert_eq!(
            Json::Object(document.plain()),
            json!({"when": "2026-01-29T00:00:00Z", "who": ["person:7"], "price": "12.50", "took": "1h30m", "raw": "AAEC", "$odd": 1})
        );
    }

    #[test]
    fn what_is_not_a_tag_is_refused() {
        for json in [
            json!({"$datetime": "2026-01-29T00:00:00Z"}),
            json!({"a": {"$nope": 1}}),
            json!({"a": {"$": 1}}),
            json!({"a": {"$uuid": "x", "b": 1}}),
            json!({"a": {"$uuid": "x"}}),
            json!({"a": {"$decimal": 1}}),
            json!({"a": {"$decimal": "1e3"}}),
            json!({"a": {"$record": "lockstep_x:1"}}),
            json!({"a": [{"$duration": "1 hour"}]}),
            json!({"a": {"$bytes": "?"}}),
            json!({"a": {"$datetime": "2026-01-29"}}),
            json!({"a": {"$foreign": "AA=="}}),
            json!({"a": {"$float": "nan"}}),
            json!({"a": 9_223_372_036_854_775_808_u64}),
        ] {
            assert!(read(json.clone()).is_err(), "{json}");
        }
        let error = read(json!({"a": [1, {"b": {"$nope": 1}}]})).unwrap_err();
        assert!(error.to_string().starts_with("document.a[1].b: \"$nope\""), "{error}");
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({ "a": inner }));
        assert!(read(nested(128)).is_ok());
        assert_eq!(read(nested(129)), Err(ValueError::TooDeep));
        let tag_inside = (0..127).fold(json!({"a": {"$decimal": "1"}}), |inner, _| json!({ "a": inner }));
        assert!(read(tag_inside).is_ok());
    }

    #[test]
    fn merge_patch_as_in_rfc_7396() {
        // Appendix A, without the cases whose target or patch is not an object.
        for (target, patch, want) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
            (json!({"a": {"b": 1}}), json!({"a": {"$decimal": "1"}}), json!({"a": {"$decimal": "1"}})),
            (json!({"a": {"$decimal": "1"}}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}})),
            (json!({"a": 1}), json!({"a": {"b": null}}), json!({"a": {}})),
        ] {
            let merged = read(target.clone()).unwrap().merge_patch(&read(patch.clone()).unwrap());
            assert_eq!(Json::Object(merged.to_json()), want, "{target} + {patch}");
        }
    }

    #[test]
    fn golden_hash() {
        let document = read(json!({"title": "tide", "n": 1, "when": {"$datetime": "2026-01-29T00:00:00Z"}})).unwrap();
        assert_eq!(hex(&document), "29a593c94541a980665da0b0f6f22265");
        assert_eq!(hex(&Document::default()), "6e46dd10defc9b56c29a6ec56b508c21");
    }

    #[test]
    fn the_hash_is_of_the_value_and_not_of_its_writing() {
        let hash = |json: Json| read(json).unwrap().hash();
        assert_eq!(hash(json!({"a": 1, "b": 2})), hash(json!({"b": 2, "a": 1.0})));
        assert_ne!(hash(json!({"a": "1"})), hash(json!({"a": 1})));
        assert_ne!(hash(json!({"a": {"$decimal": "1"}})), hash(json!({"a": {"$$decimal": "1"}})));
        assert_ne!(hash(json!({"a": null})), hash(json!({})));
    }

    fn hex(document: &Document) -> String {
        document.hash().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    proptest! {
        #[test]
        fn json_gives_back_every_document(document in any_document()) {
            prop_assert_eq!(&Document::from_json(&document.to_json()).unwrap(), &document);
            let text = serde_json::to_string(&document.to_log_json()).unwrap();
            let parsed = object(crate::parse_json(text.as_bytes()).unwrap());
            prop_assert_eq!(&Document::from_log_json(&parsed).unwrap(), &document);
        }

        #[test]
        fn the_log_gives_back_what_no_caller_can_send(document in any_document(), bytes: Vec<u8>) {
            let mut document = document;
            document.0.insert("f".to_owned(), Value::Array(vec![Value::Foreign(bytes), Value::Float(f64::INFINITY)]));
            prop_assert_eq!(&Document::from_log_json(&document.to_log_json()).unwrap(), &document);
            prop_assert!(Document::from_json(&document.to_json()).is_err());
        }

        #[test]
        fn patching_twice_is_patching_once(document in any_document(), patch in any_document()) {
            let once = document.merge_patch(&patch);
            prop_assert_eq!(&once.merge_patch(&patch), &once);
        }
    }
}
