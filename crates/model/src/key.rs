//! Keys: `table:id`, the unit of order, and what is derived from them.
//!
//! One text names one record and one point. So ids that a store would read as the same number must be
//! the same text here: only `0` and digits without a leading zero are integers (`memory:01` is a string).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::point_id::PointId;
use crate::text::shortened;

/// The namespace of Lockstep's point ids. It is part of what stands in Qdrant: never change it.
const POINT_NAMESPACE: Uuid = Uuid::from_u128(0x9d1f_3b62_7c54_4e0a_a8d6_52f0_c37b_e114);

/// Why a text is not a table, an id or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No colon divides the table from the id.
    #[error("a key is table:id, and {0:?} has no colon")]
    NoColon(String),
    /// Not `[A-Za-z_][A-Za-z0-9_]{0,63}`.
    #[error("{0:?} is not a table name: a letter or _ first, then letters, digits or _, at most 64")]
    Table(String),
    /// A name that belongs to Lockstep.
    #[error("the table name {0:?} is reserved for Lockstep")]
    ReservedTable(String),
    /// Nothing after the colon.
    #[error("the id is empty")]
    EmptyId,
    /// More than [`Id::MAX_BYTES`].
    #[error("the id has {0} bytes, at most {max} are allowed", max = Id::MAX_BYTES)]
    LongId(usize),
    /// A control character in the id.
    #[error("the id has a control character at byte {0}")]
    ControlCharacter(usize),
}

/// The name of a table of SurrealDB: `[A-Za-z_][A-Za-z0-9_]{0,63}`, and none of Lockstep's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(Arc<str>);

impl Table {
    /// Names may be this long.
    pub const MAX_BYTES: usize = 64;

    /// The table called `name`.
    pub fn new(name: &str) -> Result<Self, KeyError> {
        let mut bytes = name.bytes();
        let starts = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if !starts || name.len() > Self::MAX_BYTES || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(KeyError::Table(shortened(name)));
        }
        if name.starts_with("_lockstep") || name.starts_with("lockstep_") {
            return Err(KeyError::ReservedTable(name.to_owned()));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Table {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        Self::new(name)
    }
}

/// The part of a key after the colon.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Id {
    /// What matches `0|[1-9][0-9]{0,17}`.
    Int(i64),
    /// Anything else, as written.
    Text(Arc<str>),
}

impl Id {
    /// Ids may be this long.
    pub const MAX_BYTES: usize = 256;
    /// Integer ids have at most this many digits, so that every one of them fits an `i64`.
    const MAX_DIGITS: usize = 18;

    /// The id written as `text`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() {
            return Err(KeyError::EmptyId);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(KeyError::LongId(text.len()));
        }
        if let Some((at, _)) = text.char_indices().find(|(_, c)| c.is_control()) {
            return Err(KeyError::ControlCharacter(at));
        }
        let digits = text.len() <= Self::MAX_DIGITS && text.bytes().all(|b| b.is_ascii_digit());
        if digits
            && (text == "0" || !text.starts_with('0'))
            && let Ok(number) = text.parse()
        {
            return Ok(Self::Int(number));
        }
        Ok(Self::Text(text.into()))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// The name of one entity in both stores.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The table.
    pub table: Table,
    /// The id within the table.
    pub id: Id,
}

impl Key {
    /// The key of the entity `id` in `table`.
    #[must_use]
    pub const fn new(table: Table, id: Id) -> Self {
        Self { table, id }
    }

    /// The id of this key's point under the policy `hashed`: UUIDv5 of `table:id` in Lockstep's namespace.
    #[must_use]
    pub fn point_id(&self) -> PointId {
        PointId::Uuid(Uuid::new_v5(&POINT_NAMESPACE, self.to_string().as_bytes()))
    }

    /// The key of the edge that `relate` makes between `from` and `to` when it is given none.
    ///
    /// The id is BLAKE3 of the bytes `edge 0 from 0 to`, its first 128 bits as 32 lower-case hex digits.
    /// No part can hold a zero byte, so different edges have different bytes. 32 digits are too many for
    /// an integer id: the id is a string even when none of the digits is a letter.
    #[must_use]
    pub fn edge(edge: &Table, from: &Self, to: &Self) -> Self {
        let bytes = format!("{edge}\0{from}\0{to}");
        let hash = blake3::hash(bytes.as_bytes()).to_hex();
        let (id, _) = hash.split_at(32);
        Self { table: edge.clone(), id: Id::Text(id.into()) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.table, self.id)
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (table, id) = text.split_once(':').ok_or_else(|| KeyError::NoColon(shortened(text)))?;
        Ok(Self { table: Table::new(table)?, id: Id::parse(id)? })
    }
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    #[test]
    fn only_canonical_digits_are_integer_ids() {
        for (text, want) in [("0", 0), ("7", 7), ("999999999999999999", 999_999_999_999_999_999)] {
            assert_eq!(Id::parse(text), Ok(Id::Int(want)), "{text}");
        }
        for text in ["01", "00", "-1", "+1", "1.0", "1e3", "1000000000000000000", "٣", "a", " 1"] {
            assert_eq!(Id::parse(text), Ok(Id::Text(text.into())), "{text}");
        }
    }

    #[test]
    fn ids_are_bounded_and_have_no_control_characters() {
        assert_eq!(Id::parse(""), Err(KeyError::EmptyId));
        assert!(Id::parse(&"é".repeat(128)).is_ok());
        assert_eq!(Id::parse(&"x".repeat(257)), Err(KeyError::LongId(257)));
        assert_eq!(Id::parse("ab\0"), Err(KeyError::ControlCharacter(2)));
        assert_eq!(Id::parse("ab\n"), Err(KeyError::ControlCharacter(2)));
        assert_eq!(Id::parse("é\u{85}"), Err(KeyError::ControlCharacter(2)));
    }

    #[test]
    fn tables_have_plain_names_and_not_ours() {
        for name in ["memory", "_x", "A9_", &"t".repeat(64), "lockstep", "locksteps"] {
            assert_eq!(Table::new(name).unwrap().as_str(), name);
        }
        for name in ["", "9a", "a-b", "a b", "é", "a:b", &"t".repeat(65)] {
            assert!(matches!(Table::new(name), Err(KeyError::Table(_))), "{name}");
        }
        for name in ["_lockstep", "_lockstepx", "lockstep_vector", "lockstep_"] {
            assert!(matches!(Table::new(name), Err(KeyError::ReservedTable(_))), "{name}");
        }
    }

    #[test]
    fn the_first_colon_divides() {
        let divided = key("memory:a:b");
        assert_eq!((divided.table.as_str(), divided.id.clone()), ("memory", Id::Text("a:b".into())));
        assert_eq!(divided.to_string(), "memory:a:b");
        assert!(matches!("memory".parse::<Key>(), Err(KeyError::NoColon(_))));
        assert_eq!("memory:".parse::<Key>(), Err(KeyError::EmptyId));
        assert!(matches!(":x".parse::<Key>(), Err(KeyError::Table(_))));
    }

    #[test]
    fn errors_do_not_repeat_megabytes() {
        let error = "x".repeat(1 << 20).parse::<Key>().unwrap_err();
        assert!(error.to_string().len() < 200);
    }

    #[test]
    fn zero_padded_keys_are_other_points() {
        // A9: two texts that a store would take for one record must not pass for two keys, nor the reverse.
        assert_ne!(key("memory:1"), key("memory:01"));
        assert_ne!(key("memory:1").point_id(), key("memory:01").point_id());
        assert_ne!(key("memory:5").point_id(), key("person:5").point_id());
    }

    #[test]
    fn golden_point_ids() {
        assert_eq!(key("memory:01").point_id().to_string(), "8e85809a-623a-5bf0-ab71-b6be4dc38fad");
        assert_eq!(key("person:7").point_id().to_string(), "7614604b-786e-5e8e-986f-c172c9dc312c");
    }

    #[test]
    fn golden_edge_id() {
        let edge = Key::edge(&Table::new("mentions").unwrap(), &key("memory:01"), &key("person:7"));
        assert_eq!(edge.to_string(), "mentions:5cb2beef66a00eec96f46e78c39568f4");
        assert_eq!(edge.to_string().parse::<Key>().unwrap(), edge);
    }

    #[test]
    fn serde_is_the_text() {
        assert_eq!(serde_json::to_string(&key("memory:01")).unwrap(), "\"memory:01\"");
        assert_eq!(serde_json::from_str::<Key>("\"memory:01\"").unwrap(), key("memory:01"));
        assert!(serde_json::from_str::<Key>("\"lockstep_x:1\"").is_err());
        assert_eq!(serde_json::from_str::<Table>("\"memory\"").unwrap(), Table::new("memory").unwrap());
    }
}
