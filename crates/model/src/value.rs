//! Values of documents, and how they are written in JSON.
//!
//! JSON has fewer types than SurrealDB. What it lacks is an object with one member whose name begins
//! with `$`: `{"$datetime":"2026-01-29T00:00:00Z"}`. A literal name that begins with `$` is written with
//! one more. The log knows two tags that documents of callers may not use: `$foreign`, a value in
//! SurrealDB's own encoding, and `$float`, a float that JSON has no number for.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use uuid::Uuid;

use crate::key::Key;
use crate::tag;
use crate::text::shortened;

/// How deep a document may nest; the document itself is the first level.
pub const MAX_DOCUMENT_DEPTH: usize = 128;

/// One value of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// JSON's null.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
    /// A list.
    Array(Vec<Value>),
    /// Values by name.
    Object(BTreeMap<String, Value>),
    /// An instant, since 1970: `$datetime`.
    Datetime {
        /// Whole seconds, rounded down.
        secs: i64,
        /// Nanoseconds after them, below 10^9.
        nanos: u32,
    },
    /// A link to another record: `$record`.
    Record(Key),
    /// A UUID: `$uuid`.
    Uuid(Uuid),
    /// A decimal in its canonical text: `$decimal`. Build it with [`Value::decimal`].
    Decimal(String),
    /// A length of time: `$duration`.
    Duration {
        /// Whole seconds.
        secs: u64,
        /// Nanoseconds after them, below 10^9.
        nanos: u32,
    },
    /// Bytes: `$bytes`.
    Bytes(Vec<u8>),
    /// A value that has no tag, in the store's own lossless encoding. Only the store's adapter looks into it.
    Foreign(Vec<u8>),
}

/// Why JSON is not a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// A `$` name that is no tag.
    #[error("{at}: {tag:?} is not a value tag; a literal name that begins with $ is written with $$")]
    UnknownTag {
        /// Where, as a path.
        at: String,
        /// The name.
        tag: String,
    },
    /// A tag with other members beside it.
    #[error("{at}: the tag {tag:?} must stand alone in its object")]
    CrowdedTag {
        /// Where, as a path.
        at: String,
        /// The tag.
        tag: String,
    },
    /// A tag whose content is not what it says.
    #[error("{at}: {tag} wants {want}")]
    BadTag {
        /// Where, as a path.
        at: String,
        /// The tag.
        tag: &'static str,
        /// What would be right.
        want: &'static str,
    },
    /// A number that cannot be kept.
    #[error("{at}: a bad number: {number} fits neither a 64-bit integer nor a float")]
    BadNumber {
        /// Where, as a path.
        at: String,
        /// The number.
        number: String,
    },
    /// Deeper than [`MAX_DOCUMENT_DEPTH`].
    #[error("the document nests deeper than {MAX_DOCUMENT_DEPTH} levels")]
    TooDeep,
}

impl ValueError {
    /// The same error, one step further out. What is far out of a long path is left out.
    pub(crate) fn within(mut self, step: &str) -> Self {
        const LONG_PATH_BYTES: usize = 200;
        let (Self::UnknownTag { at, .. }
        | Self::CrowdedTag { at, .. }
        | Self::BadTag { at, .. }
        | Self::BadNumber { at, .. }) = &mut self
        else {
            return self;
        };
        if at.len() + step.len() <= LONG_PATH_BYTES {
            at.insert_str(0, step);
        } else if !at.starts_with('…') {
            at.insert(0, '…');
        }
        self
    }
}

/// Whose JSON is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A caller's: it may not use the internal tags.
    Caller,
    /// The log's own.
    Log,
}

impl Value {
    /// The decimal written as `text`, if SurrealDB can hold it exactly.
    #[must_use]
    pub fn decimal(text: &str) -> Option<Self> {
        tag::canonical_decimal(text).map(Self::Decimal)
    }

    /// Whether this is neither a list nor an object.
    #[must_use]
    pub const fn is_scalar(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// As JSON with tags.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(bool) => Json::Bool(*bool),
            Self::Int(int) => Json::from(*int),
            Self::Float(float) => match serde_json::Number::from_f64(*float) {
                Some(number) => Json::Number(number),
                None => tagged("$float", float_text(*float)),
            },
            Self::Text(text) => Json::from(text.as_str()),
            Self::Array(items) => items.iter().map(Self::to_json).collect(),
            Self::Object(members) => Json::Object(members_to_json(members)),
            Self::Datetime { secs, nanos } => tagged("$datetime", tag::datetime_text(*secs, *nanos)),
            Self::Record(key) => tagged("$record", key.to_string()),
            Self::Uuid(uuid) => tagged("$uuid", uuid.to_string()),
            Self::Decimal(text) => tagged("$decimal", text.clone()),
            Self::Duration { secs, nanos } => tagged("$duration", tag::duration_text(*secs, *nanos)),
            Self::Bytes(bytes) => tagged("$bytes", tag::base64_text(bytes)),
            Self::Foreign(bytes) => tagged("$foreign", tag::base64_text(bytes)),
        }
    }

    /// The value that plain JSON is: nothing in it is a tag.
    #[must_use]
    pub fn from_plain(json: &Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Self::Int(whole),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(items) => Self::Array(items.iter().map(Self::from_plain).collect()),
            Json::Object(members) => {
                Self::Object(members.iter().map(|(name, json)| (name.clone(), Self::from_plain(json))).collect())
            }
        }
    }

    /// As JSON without tags, for payloads: what has no JSON type becomes its text. `None` is a foreign
    /// value, which has no honest text; lists and objects leave it out.
    #[must_use]
    pub fn plain(&self) -> Option<Json> {
        Some(match self {
            Self::Null => Json::Null,
            Self::Bool(bool) => Json::Bool(*bool),
            Self::Int(int) => Json::from(*int),
            Self::Float(float) => match serde_json::Number::from_f64(*float) {
                Some(number) => Json::Number(number),
                None => Json::from(float_text(*float)),
            },
            Self::Text(text) | Self::Decimal(text) => Json::from(text.as_str()),
            Self::Array(items) => items.iter().filter_map(Self::plain).collect(),
            Self::Object(members) => Json::Object(members_to_plain(members)),
            Self::Datetime { secs, nanos } => Json::from(tag::datetime_text(*secs, *nanos)),
            Self::Record(key) => Json::from(key.to_string()),
            Self::Uuid(uuid) => Json::from(uuid.to_string()),
            Self::Duration { secs, nanos } => Json::from(tag::duration_text(*secs, *nanos)),
            Self::Bytes(bytes) => Json::from(tag::base64_text(bytes)),
            Self::Foreign(_) => return None,
        })
    }

    /// Reads JSON with tags, below `depth` levels.
    fn from_json(json: &Json, origin: Origin, depth: usize) -> Result<Self, ValueError> {
        Ok(match json {
            Json::Null => Self::Null,
            Json::Bool(bool) => Self::Bool(*bool),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(int), _) => Self::Int(int),
                (None, Some(float)) if !number.is_u64() && float.is_finite() => Self::Float(float),
                _ => return Err(ValueError::BadNumber { at: String::new(), number: number.to_string() }),
            },
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(items) if depth < MAX_DOCUMENT_DEPTH => {
                let read = |(place, item)| {
                    Self::from_json(item, origin, depth + 1).map_err(|error| error.within(&format!("[{place}]")))
                };
                Self::Array(items.iter().enumerate().map(read).collect::<Result<_, _>>()?)
            }
            Json::Array(_) => return Err(ValueError::TooDeep),
            Json::Object(members) => match members.keys().find(|name| is_tag(name)) {
                Some(_) if members.len() == 1 => Self::from_tag(members, origin)?,
                Some(tag) => return Err(ValueError::CrowdedTag { at: String::new(), tag: shortened(tag) }),
                None => Self::Object(members_from_json(members, origin, depth)?),
            },
        })
    }

    /// Reads an object whose only member is a tag.
    fn from_tag(members: &serde_json::Map<String, Json>, origin: Origin) -> Result<Self, ValueError> {
        let Some((name, content)) = members.iter().next() else {
            return Ok(Self::Object(BTreeMap::new()));
        };
        let text = content.as_str();
        let (tag, want, value) = match (name.as_str(), origin) {
            ("$datetime", _) => {
                let instant = text.and_then(tag::parse_datetime);
                let value = instant.map(|(secs, nanos)| Self::Datetime { secs, nanos });
                ("$datetime", "a text in RFC 3339, like 2026-01-29T00:00:00Z", value)
            }
            ("$record", _) => ("$record", "a key, table:id", text.and_then(|text| text.parse().ok()).map(Self::Record)),
            ("$uuid", _) => {
                ("$uuid", "a UUID as text", text.and_then(|text| Uuid::parse_str(text).ok()).map(Self::Uuid))
            }
            ("$decimal", _) => {
                ("$decimal", "a text of at most 28 digits, like \"12.50\"", text.and_then(Self::decimal))
            }
            ("$duration", _) => {
                let length = text.and_then(tag::parse_duration);
                let value = length.map(|(secs, nanos)| Self::Duration { secs, nanos });
                ("$duration", "a text like 1h30m, of the units y w d h m s ms us ns", value)
            }
            ("$bytes", _) => ("$bytes", "base64", text.and_then(tag::parse_base64).map(Self::Bytes)),
            ("$foreign", Origin::Log) => ("$foreign", "base64", text.and_then(tag::parse_base64).map(Self::Foreign)),
            ("$float", Origin::Log) => ("$float", "nan, inf or -inf", text.and_then(parse_odd_float).map(Self::Float)),
            _ => return Err(ValueError::UnknownTag { at: String::new(), tag: shortened(name) }),
        };
        value.ok_or(ValueError::BadTag { at: String::new(), tag, want })
    }
}

/// Reads the members of an object that is not a tag, below `depth` levels.
pub(crate) fn members_from_json(
    members: &serde_json::Map<String, Json>,
    origin: Origin,
    depth: usize,
) -> Result<BTreeMap<String, Value>, ValueError> {
    if depth >= MAX_DOCUMENT_DEPTH {
        return Err(ValueError::TooDeep);
    }
    let read = |(name, member): (&String, &Json)| {
        if is_tag(name) {
            return Err(ValueError::UnknownTag { at: String::new(), tag: shortened(name) });
        }
        let value = Value::from_json(member, origin, depth + 1).map_err(|error| error.within(&format!(".{name}")))?;
        Ok((unescaped(name).to_owned(), value))
    };
    members.iter().map(read).collect()
}

/// The members with tags inside and their own names escaped.
pub(crate) fn members_to_json(members: &BTreeMap<String, Value>) -> serde_json::Map<String, Json> {
    members.iter().map(|(name, value)| (escaped(name), value.to_json())).collect()
}

/// The members without tags; foreign ones are left out.
pub(crate) fn members_to_plain(members: &BTreeMap<String, Value>) -> serde_json::Map<String, Json> {
    members.iter().filter_map(|(name, value)| Some((name.clone(), value.plain()?))).collect()
}

fn tagged(tag: &str, text: String) -> Json {
    Json::Object(std::iter::once((tag.to_owned(), Json::String(text))).collect())
}

/// Whether a member of this name is a tag, known or not.
fn is_tag(name: &str) -> bool {
    name.starts_with('$') && !name.starts_with("$$")
}

fn escaped(name: &str) -> String {
    if name.starts_with('$') { format!("${name}") } else { name.to_owned() }
}

fn unescaped(name: &str) -> &str {
    if name.starts_with("$$") { name.strip_prefix('$').unwrap_or(name) } else { name }
}

fn float_text(float: f64) -> String {
    if float.is_nan() {
        "nan".to_owned()
    } else if float > 0.0 {
        "inf".to_owned()
    } else {
        "-inf".to_owned()
    }
}

fn parse_odd_float(text: &str) -> Option<f64> {
    match text {
        "nan" => Some(f64::NAN),
        "inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}
