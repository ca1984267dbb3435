//! Operations: an action, and under which conditions it is asked for.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::action::{Action, ActionKind};
use crate::canon::{hash_bytes, hash_json};
use crate::fields::Fields;
use crate::id::Version;
use crate::json::{JsonError, parse_json};
use crate::key::Key;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::text::shortened;
use uuid::Uuid;

/// A group has at most so many members.
pub const MAX_GROUP_OPS: usize = 1000;

/// What a caller asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// What to do.
    pub action: Action,
    /// What must hold when it is done.
    pub precondition: Precondition,
    /// What must hold for members of a group, by their place. Who asks nothing is not in it.
    pub members: BTreeMap<usize, Precondition>,
    /// Under which name it is done only once.
    pub idempotency: Option<Idempotency>,
}

/// What must hold for an operation's key at its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Precondition {
    /// The key has this version.
    pub if_version: Option<Version>,
    /// The key is absent.
    pub if_absent: bool,
}

impl Precondition {
    /// Whether nothing is asked.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.if_version.is_none() && !self.if_absent
    }
}

/// A caller's name for one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The name.
    pub key: String,
    /// What was asked under it: BLAKE3-128 of the canonical JSON of the body as [`Operation::to_json`]
    /// writes it, without the name, and with `table` where the id was made here. So the same operation
    /// has one hash, whether its vector came as numbers or as base64.
    pub body_hash: [u8; 16],
}

impl Idempotency {
    /// Names may have so many bytes.
    pub const MAX_KEY_BYTES: usize = 256;

    /// What stands for the name in the log: BLAKE3-128 of it.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        hash_bytes(self.key.as_bytes())
    }
}

impl Operation {
    /// An operation without conditions.
    #[must_use]
    pub fn plain(action: Action) -> Self {
        Self { action, precondition: Precondition::default(), members: BTreeMap::new(), idempotency: None }
    }

    /// What must hold for the member of a group at `place`, or for the one action that this is.
    #[must_use]
    pub fn condition(&self, place: usize) -> Precondition {
        self.members.get(&place).copied().unwrap_or(self.precondition)
    }

    /// Whether anything must hold.
    #[must_use]
    pub fn is_conditional(&self) -> bool {
        !self.precondition.is_none() || !self.members.is_empty()
    }

    /// Reads a request body. `header_idempotency` is the header `Idempotency-Key`; `new_id` makes the id
    /// of a put that names only its table.
    ///
    /// Whatever is not understood is refused by name: a misspelt `vector` must not be lost in silence.
    pub fn parse(
        body: &[u8],
        header_idempotency: Option<&str>,
        new_id: &mut dyn FnMut() -> Uuid,
    ) -> Result<Self, Refusal> {
        let json = parse_json(body).map_err(|error| match &error {
            JsonError::Syntax { source, .. } | JsonError::Twice { source, .. } => {
                Refusal::malformed(format!("{error}: {source}"))
            }
            JsonError::TooDeep { .. } | JsonError::Integer { .. } | JsonError::Float { .. } => {
                Refusal::malformed(error.to_string())
            }
        })?;
        Self::from_json(json, header_idempotency, new_id)
    }

    /// Reads a request body that is parsed already. It must come from [`parse_json`], which bounds it.
    pub fn from_json(
        body: Json,
        header_idempotency: Option<&str>,
        new_id: &mut dyn FnMut() -> Uuid,
    ) -> Result<Self, Refusal> {
        let mut fields = Fields::of_operation(body)?;
        let name = idempotency_key(&mut fields, header_idempotency)?;
        let precondition = Precondition::take(&mut fields)?;
        let kind = fields.kind();
        if !precondition.is_none() && matches!(kind, ActionKind::Atomic | ActionKind::Clear) {
            let instead = if kind == ActionKind::Atomic { "; its members take them" } else { "" };
            let why = format!("{kind} takes no if_version and no if_absent: it has no one key{instead}");
            return Err(Refusal::malformed(why));
        }
        let mut request = Request { new_id, made: Vec::new(), conditions: BTreeMap::new() };
        let action = request.action(fields)?;
        let Request { made, conditions: members, .. } = request;
        let mut operation = Self { action, precondition, members, idempotency: None };
        if let Some(key) = name {
            let body_hash = hash_json(&Json::Object(operation.to_body(&made)));
            operation.idempotency = Some(Idempotency { key, body_hash });
        }
        Ok(operation)
    }

    /// As a request body. Parsing it gives an equal operation (only the body hash of an operation whose
    /// id was made here is another, because the id is now given).
    #[must_use]
    pub fn to_json(&self) -> Map<String, Json> {
        let mut body = self.to_body(&[]);
        if let Some(idempotency) = &self.idempotency {
            body.insert("idempotency_key".to_owned(), json!(idempotency.key));
        }
        body
    }

    fn to_body(&self, made: &[Key]) -> Map<String, Json> {
        let mut body = self.action.to_body(made);
        self.precondition.put_into(&mut body);
        if let Some(Json::Array(members)) = body.get_mut("ops") {
            for (place, condition) in &self.members {
                if let Some(Json::Object(member)) = members.get_mut(*place) {
                    condition.put_into(member);
                }
            }
        }
        body
    }
}

fn idempotency_key(fields: &mut Fields, header: Option<&str>) -> Result<Option<String>, Refusal> {
    let in_body = fields.text("idempotency_key")?;
    if let (Some(body), Some(header)) = (&in_body, header)
        && body != header
    {
        return Err(Refusal::malformed("idempotency_key and the header Idempotency-Key differ"));
    }
    let Some(key) = in_body.or_else(|| header.map(str::to_owned)) else {
        return Ok(None);
    };
    if key.is_empty() || key.len() > Idempotency::MAX_KEY_BYTES || key.chars().any(char::is_control) {
        return Err(Refusal::malformed("an idempotency key has 1 to 256 bytes and no control characters"));
    }
    Ok(Some(key))
}

impl Precondition {
    fn put_into(self, body: &mut Map<String, Json>) {
        if let Some(version) = self.if_version {
            body.insert("if_version".to_owned(), json!(version));
        }
        if self.if_absent {
            body.insert("if_absent".to_owned(), json!(true));
        }
    }

    /// What a body asks for.
    pub(crate) fn take(fields: &mut Fields) -> Result<Self, Refusal> {
        let if_version = match fields.take("if_version") {
            None => None,
            Some(json) => match json.as_u64() {
                Some(version) if version < Version::LIMIT => Some(Version(version)),
                _ => {
                    return Err(Refusal::malformed(format!(
                        "if_version is a version, an integer; got {}",
                        shortened(&json.to_string())
                    )));
                }
            },
        };
        let if_absent = match fields.take("if_absent") {
            None => false,
            Some(Json::Bool(bool)) => bool,
            Some(json) => {
                return Err(Refusal::malformed(format!(
                    "if_absent is true or false; got {}",
                    shortened(&json.to_string())
                )));
            }
        };
        if if_version.is_some() && if_absent {
            return Err(Refusal::malformed("if_version and if_absent cannot both hold"));
        }
        Ok(Self { if_version, if_absent })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::refusal::Code;
    use crate::testing::any_operation;

    fn parse_with(body: &[u8], header: Option<&str>) -> Result<Operation, Refusal> {
        let mut next = 0;
        let mut new_id = || {
            next += 1;
            Uuid::from_u128(next)
        };
        Operation::parse(body, header, &mut new_id)
    }

    fn parse(body: Json) -> Result<Operation, Refusal> {
        parse_with(body.to_string().as_bytes(), None)
    }

    fn body_hash(body: Json) -> [u8; 16] {
        parse_with(body.to_string().as_bytes(), Some("k")).unwrap().idempotency.unwrap().body_hash
    }

    #[test]
    fn bytes_that_are_no_operation_say_where() {
        for (body, detail) in [
            (&b""[..], "not JSON: EOF while parsing a value at line 1 column 0"),
            (b"{\"op\":\n]", "not JSON: expected value at line 2 column 1"),
            (b"{\"op\":\"delete\",\"key\":99999999999999999999}", "a bad number at byte 21"),
            (
                b"{\"op\":\"put\",\"key\":\"memory:1\",\"document\":{\"a\":\"\xff\"}}",
                "not JSON: invalid unicode code point at line 1 column ",
            ),
            (
                b"{\"op\":\"put\",\"vector\":[1],\"vector\":[2]}",
                "a name comes twice in a JSON object: \"vector\" comes twice at line 1 column ",
            ),
            (b"null", "an operation is a JSON object, not null"),
            (
                b"{\"op\":\"put\",\"key\":\"memory:1\",\"documnt\":{}}",
                "put needs document, and has no field \"documnt\"",
            ),
        ] {
            let refusal = parse_with(body, None).unwrap_err();
            assert_eq!(refusal.code, Code::Malformed);
            assert!(refusal.detail.starts_with(detail), "{refusal}");
        }
        let deep = format!("{{\"op\":\"put\",\"key\":\"memory:1\",\"document\":{}", "{\"a\":".repeat(100_000));
        assert!(parse_with(deep.as_bytes(), None).unwrap_err().detail.contains("deeper than"));
    }

    /// What another operation has is no misspelling.
    #[test]
    fn only_a_name_that_no_operation_has_is_told_with_what_is_missing() {
        for name in ["key", "table", "document", "vector", "vectors", "edge", "from", "to", "where"] {
            assert_eq!(parse(json!({"op": "atomic", name: 1})).unwrap_err().detail, "atomic needs ops", "{name}");
        }
        assert_eq!(parse(json!({"op": "clear", "ops": 1})).unwrap_err().detail, "clear needs table");
    }

    #[test]
    fn a_document_may_nest_to_its_bound_within_a_group() {
        let document = |levels: usize| format!("{}{}", "{\"a\":".repeat(levels - 1) + "{", "}".repeat(levels));
        let group = |levels: usize| {
            format!(r#"{{"op":"atomic","ops":[{{"op":"put","key":"memory:1","document":{}}}]}}"#, document(levels))
        };
        assert!(parse_with(group(128).as_bytes(), None).is_ok());
        assert_eq!(
            parse_with(group(129).as_bytes(), None).unwrap_err().detail,
            "ops[0]: the document nests deeper than 128 levels"
        );
    }

    #[test]
    fn refusals_do_not_repeat_megabytes() {
        let long = "x".repeat(1 << 20);
        for body in [
            json!({"op": long}),
            json!({"op": "delete", "key": long}),
            json!({"op": "delete", "key": "memory:1", &long: 1}),
            json!({"op": "put", "key": "memory:1", &long: 1}),
            json!({"op": "delete", "key": "memory:1", "if_version": long}),
            json!({"op": "put", "key": "memory:1", "document": {&long: {"$nope": 1}}}),
            json!({"op": "put", "key": "memory:1", "document": {"a": {format!("${long}"): 1}}}),
            json!({"op": "put", "key": "memory:1", "document": {}, "vectors": {&long: [1]}}),
            json!({"op": "clear", "table": long}),
            json!({"op": "clear", "table": "memory", "where": {&long: 1}}),
            json!({"op": "clear", "table": "memory", "where": {"a": {&long: 1}}}),
        ] {
            let detail = parse(body).unwrap_err().detail;
            assert!(detail.len() < 500, "{detail:.600}");
        }
    }

    #[test]
    fn preconditions() {
        let with = |name: &str, json: Json| parse(json!({"op": "delete", "key": "memory:1", name: json}));
        assert!(with("if_absent", json!(false)).unwrap().precondition.is_none());
        assert!(with("if_absent", json!(true)).unwrap().precondition.if_absent);
        let limit = Version::LIMIT;
        assert_eq!(with("if_version", json!(limit - 1)).unwrap().precondition.if_version, Some(Version(limit - 1)));
        for (name, json) in [
            ("if_version", json!(limit)),
            ("if_version", json!(-1)),
            ("if_version", json!(1.5)),
            ("if_version", json!("1")),
            ("if_version", json!(null)),
            ("if_absent", json!(null)),
            ("if_absent", json!(1)),
        ] {
            assert_eq!(with(name, json.clone()).unwrap_err().code, Code::Malformed, "{name} {json}");
        }
        let both = json!({"op": "delete", "key": "memory:1", "if_version": 1, "if_absent": true});
        assert_eq!(parse(both).unwrap_err().detail, "if_version and if_absent cannot both hold");
        for op in [
            json!({"op": "clear", "table": "memory", "if_absent": true}),
            json!({"op": "atomic", "ops": [{"op": "delete", "key": "memory:1"}], "if_version": 1}),
        ] {
            assert!(parse(op).unwrap_err().detail.contains("it has no one key"));
        }
        let group = json!({"op": "atomic", "ops": [
            {"op": "delete", "key": "memory:1"}, {"op": "put", "key": "memory:2", "document": {}, "if_absent": true},
            {"op": "delete", "key": "memory:3", "if_version": 5},
        ]});
        let group = parse(group).unwrap();
        let on = |place| (group.condition(place).if_version, group.condition(place).if_absent);
        assert_eq!([on(0), on(1), on(2)], [(None, false), (None, true), (Some(Version(5)), false)]);
        assert!(group.is_conditional() && group.precondition.is_none());
        let again = parse_with(Json::Object(group.to_json()).to_string().as_bytes(), None).unwrap();
        assert_eq!(again, group);
    }

    #[test]
    fn the_idempotency_key_may_stand_in_body_or_header() {
        let body = br#"{"op":"delete","key":"memory:1","idempotency_key":"k"}"#;
        let in_body = parse_with(body, None).unwrap();
        assert_eq!(parse_with(body, Some("k")).unwrap(), in_body);
        assert_eq!(parse_with(br#"{"op":"delete","key":"memory:1"}"#, Some("k")).unwrap(), in_body);
        assert_eq!(in_body.idempotency.unwrap().digest(), hash_bytes(b"k"));
        assert!(parse_with(body, Some("other")).unwrap_err().detail.contains("differ"));
        for key in ["", "a\nb", &"k".repeat(257)] {
            assert!(parse_with(br#"{"op":"delete","key":"memory:1"}"#, Some(key)).is_err(), "{key}");
        }
    }

    #[test]
    fn one_operation_has_one_body_hash() {
        // A11: a client that sends the same operation again must not be told that it is another.
        let put = json!({"op": "put", "key": "memory:1", "document": {"a": 1, "b": 2}, "vector": [1, -0.5]});
        let same = json!({"vectors": {"default": "AACAPwAAAL8"}, "document": {"b": 2.0, "a": 1}, "key": "memory:1", "op": "put"});
        assert_eq!(body_hash(put.clone()), body_hash(same));
        let mut other = put.clone();
        other["document"]["a"] = json!(2);
        assert_ne!(body_hash(put.clone()), body_hash(other));
        let mut other = put.clone();
        other["if_absent"] = json!(true);
        assert_ne!(body_hash(put), body_hash(other));
    }

    #[test]
    fn an_id_that_is_made_here_is_not_part_of_the_body_hash() {
        let put = br#"{"op":"put","table":"memory","document":{}}"#;
        let parse = |id: u128| Operation::parse(put, Some("k"), &mut || Uuid::from_u128(id)).unwrap();
        assert_ne!(parse(1).action, parse(2).action);
        assert_eq!(parse(1).idempotency, parse(2).idempotency);
        let given = json!({"op": "put", "key": parse(1).action.key().unwrap(), "document": {}});
        assert_ne!(body_hash(given), parse(1).idempotency.unwrap().body_hash);
    }

    #[test]
    fn golden_body_hash() {
        let hash =
            body_hash(json!({"op": "put", "key": "memory:01", "document": {"title": "tide"}, "vector": [1, -0.5]}));
        let text = r#"{"document":{"title":"tide"},"key":"memory:01","op":"put","vector":"AACAPwAAAL8="}"#;
        assert_eq!(hash, hash_bytes(text.as_bytes()));
    }

    proptest! {
        #[test]
        fn json_gives_back_every_operation(operation in any_operation(), key in proptest::option::of("[a-z]{1,9}")) {
            let body = serde_json::to_vec(&operation.to_json()).unwrap();
            // A group may hold a key twice here, which parsing refuses.
            match parse_with(&body, key.as_deref()) {
                Ok(parsed) => {
                    prop_assert_eq!((&parsed.action, parsed.precondition), (&operation.action, operation.precondition));
                    let again = serde_json::to_vec(&parsed.to_json()).unwrap();
                    prop_assert_eq!(parse_with(&again, None).unwrap(), parsed);
                }
                Err(refusal) => prop_assert!(refusal.detail.ends_with("twice"), "{}", refusal),
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse_with(&bytes, None);
        }

        #[test]
        fn damaged_operations_never_panic(
            operation in any_operation(),
            cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<Option<u8>>()), 1..6),
        ) {
            let mut body = serde_json::to_vec(&operation.to_json()).unwrap();
            for (at, byte) in cuts {
                let at = at.index(body.len());
                match byte {
                    Some(byte) => body[at] = byte,
                    None => body.truncate(at.max(1)),
                }
            }
            let _ = parse_with(&body, None);
        }
    }
}
