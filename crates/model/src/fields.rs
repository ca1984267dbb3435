//! The members of a request body, taken out one by one, so that what is left over was not understood.

use serde_json::{Map, Value as Json};

use crate::action::ActionKind;
use crate::key::{Key, Table};
use crate::refusal::Refusal;
use crate::text::shortened;

/// The members that any operation has.
const NAMES: [&str; 13] = [
    "key",
    "table",
    "document",
    "vector",
    "vectors",
    "edge",
    "from",
    "to",
    "ops",
    "where",
    "idempotency_key",
    "if_version",
    "if_absent",
];

/// The members of one operation's body.
pub(crate) struct Fields {
    kind: ActionKind,
    members: Map<String, Json>,
    asked: Vec<&'static str>,
}

impl Fields {
    /// The members of `body`, which must be an operation.
    pub(crate) fn of_operation(body: Json) -> Result<Self, Refusal> {
        let Json::Object(mut members) = body else {
            return Err(Refusal::malformed(format!("an operation is a JSON object, not {}", kind_of(&body))));
        };
        let names = ActionKind::ALL.map(ActionKind::as_str).join(", ");
        let kind = match members.remove("op") {
            Some(Json::String(name)) => ActionKind::from_name(&name)
                .ok_or_else(|| Refusal::malformed(format!("op is one of {names}; got {:?}", shortened(&name))))?,
            Some(other) => {
                return Err(Refusal::malformed(format!("op is one of {names}; got {}", kind_of(&other))));
            }
            None => return Err(Refusal::malformed(format!("op is missing: one of {names}"))),
        };
        Ok(Self { kind, members, asked: vec!["op"] })
    }

    /// What the operation does.
    pub(crate) const fn kind(&self) -> ActionKind {
        self.kind
    }

    /// Takes out a member.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Json> {
        self.asked.push(name);
        self.members.remove(name)
    }

    /// Whether a member is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Takes out a string.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(Refusal::malformed(format!("{name} is a string; got {}", kind_of(&other)))),
        }
    }

    /// Takes out a key.
    pub(crate) fn key(&mut self, name: &'static str) -> Result<Option<Key>, Refusal> {
        let key = self.text(name)?.map(|text| text.parse().map_err(|error| bad(name, &error)));
        key.transpose()
    }

    /// Takes out a key that must be there.
    pub(crate) fn required_key(&mut self, name: &'static str) -> Result<Key, Refusal> {
        self.key(name)?.ok_or_else(|| self.missing(name))
    }

    /// Takes out a table that must be there.
    pub(crate) fn required_table(&mut self, name: &'static str) -> Result<Table, Refusal> {
        let text = self.text(name)?.ok_or_else(|| self.missing(name))?;
        Table::new(&text).map_err(|error| bad(name, &error))
    }

    /// Takes out an object.
    pub(crate) fn object(&mut self, name: &'static str) -> Result<Option<Map<String, Json>>, Refusal> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::Object(members)) => Ok(Some(members)),
            Some(other) => Err(Refusal::malformed(format!("{name} is a JSON object; got {}", kind_of(&other)))),
        }
    }

    /// The refusal of an operation without a member that it needs. One that no operation has may be that member, misspelt.
    pub(crate) fn missing(&self, name: &str) -> Refusal {
        let unknown = self.members.keys().find(|member| !NAMES.contains(&member.as_str()));
        let unknown = unknown.map(|unknown| format!(", and has no field {:?}", shortened(unknown))).unwrap_or_default();
        Refusal::malformed(format!("{} needs {name}{unknown}", self.kind))
    }

    /// Everything must have been taken out.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        match self.members.keys().next() {
            None => Ok(()),
            Some(name) => {
                let asked = self.asked.join(", ");
                let name = shortened(name);
                Err(Refusal::malformed(format!("{} has no field {name:?}; it takes {asked}", self.kind)))
            }
        }
    }
}

/// The refusal of a member whose content is wrong.
pub(crate) fn bad(name: &str, error: &dyn std::error::Error) -> Refusal {
    Refusal::malformed(format!("{name}: {error}"))
}

/// What a JSON value is, for people.
const fn kind_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}
