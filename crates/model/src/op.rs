//! Operations: an action, and under which conditions it is asked for.

use serde_json::{Map, Value as Json, json};

use crate::action::{Action, ActionKind};
use crate::canon::{hash_bytes, hash_json};
use crate::fields::Fields;
use crate::id::Version;
use crate::json::{JsonError, parse_json};
use crate::key::Key;
use crate::refusal::Refusal;
use crate::request::Request;
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
        Self { action, precondition: Precondition::default(), idempotency: None }
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
            JsonError::Syntax { source, .. } => Refusal::malformed(format!("{error}: {source}")),
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
        let precondition = precondition(&mut fields)?;
        let kind = fields.kind();
        if !precondition.is_none() && matches!(kind, ActionKind::Atomic | ActionKind::Clear) {
            return Err(Refusal::malformed(format!("{kind} takes no if_version and no if_absent: it has no one key")));
        }
        let mut request = Request { new_id, made: Vec::new() };
        let action = request.action(fields)?;
        let made = request.made;
        let mut operation = Self { action, precondition, idempotency: None };
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
        if let Some(version) = self.precondition.if_version {
            body.insert("if_version".to_owned(), json!(version));
        }
        if self.precondition.if_absent {
            body.insert("if_absent".to_owned(), json!(true));
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

fn precondition(fields: &mut Fields) -> Result<Precondition, Refusal> {
    let if_version = match fields.take("if_version") {
        None => None,
        Some(json) => match json.as_u64() {
            Some(version) if version < Version::LIMIT => Some(Version(version)),
            _ => return Err(Refusal::malformed(format!("if_version is a version, an integer; got {json}"))),
        },
    };
    let if_absent = match fields.take("if_absent") {
        None => false,
        Some(Json::Bool(bool)) => bool,
        Some(json) => return Err(Refusal::malformed(format!("if_absent is true or false; got {json}"))),
    };
    if if_version.is_some() && if_absent {
        return Err(Refusal::malformed("if_version and if_absent cannot both hold"));
    }
    Ok(Precondition { if_version, if_absent })
}
