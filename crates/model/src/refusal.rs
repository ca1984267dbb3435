//! Refusals: why an operation is not, or could not be, carried out. Codes and statuses are the contract's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What kind of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Not JSON, not an operation, a bad key, a bad number.
    Malformed,
    /// No such thing; a patch whose key, a relate whose endpoint does not exist.
    NotFound,
    /// Not configured, and tables are not created by themselves.
    UnknownTable,
    /// `if_version` or `if_absent` did not hold.
    PreconditionFailed,
    /// The same idempotency key with another body.
    IdempotencyMismatch,
    /// A retry of what has been written since.
    Superseded,
    /// The key carries a newer version that this log did not write.
    NewerVersion,
    /// Over `limits.op_bytes`.
    TooLarge,
    /// A vector of another size or kind than its collection's.
    DimensionMismatch,
    /// A vector name that the collection does not know.
    UnknownVector,
    /// A required vector is not there.
    VectorMissing,
    /// A filter on a field that is not in the payload.
    NotIndexed,
    /// SurrealDB refused it for good.
    RejectedBySurreal,
    /// Qdrant refused it for good.
    RejectedByQdrant,
    /// It can be neither finished nor undone.
    Parked,
    /// Understood, not built yet, not logged.
    NotImplemented,
    /// The log is at its size limit.
    WalFull,
    /// Too much is in flight.
    Overloaded,
    /// The daemon is stopping.
    Stopping,
    /// A store that is needed for the answer cannot be reached.
    StoreUnavailable,
    /// The disk is full.
    DiskFull,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 21] = [
        Self::Malformed,
        Self::NotFound,
        Self::UnknownTable,
        Self::PreconditionFailed,
        Self::IdempotencyMismatch,
        Self::Superseded,
        Self::NewerVersion,
        Self::TooLarge,
        Self::DimensionMismatch,
        Self::UnknownVector,
        Self::VectorMissing,
        Self::NotIndexed,
        Self::RejectedBySurreal,
        Self::RejectedByQdrant,
        Self::Parked,
        Self::NotImplemented,
        Self::WalFull,
        Self::Overloaded,
        Self::Stopping,
        Self::StoreUnavailable,
        Self::DiskFull,
    ];

    /// What is said of each code, in one place: its number in the log (never change one, never use one
    /// again), the HTTP status, the name, the title.
    const fn row(self) -> (u8, u16, &'static str, &'static str) {
        match self {
            Self::Malformed => (1, 400, "malformed", "The request is malformed"),
            Self::NotFound => (2, 404, "not_found", "Not found"),
            Self::UnknownTable => (3, 404, "unknown_table", "The table is not known"),
            Self::PreconditionFailed => (4, 409, "precondition_failed", "The precondition does not hold"),
            Self::IdempotencyMismatch => (5, 409, "idempotency_mismatch", "The idempotency key has another body"),
            Self::Superseded => (6, 409, "superseded", "The key has been written since"),
            Self::NewerVersion => (21, 409, "newer_version", "The key has a newer version of unknown origin"),
            Self::TooLarge => (7, 413, "too_large", "The operation is too large"),
            Self::DimensionMismatch => (8, 422, "dimension_mismatch", "The vector does not fit its collection"),
            Self::UnknownVector => (9, 422, "unknown_vector", "The collection has no vector of this name"),
            Self::VectorMissing => (10, 422, "vector_missing", "A required vector is missing"),
            Self::NotIndexed => (11, 422, "not_indexed", "The field is not in the payload"),
            Self::RejectedBySurreal => (12, 422, "rejected_by_surreal", "SurrealDB refused the operation"),
            Self::RejectedByQdrant => (13, 422, "rejected_by_qdrant", "Qdrant refused the operation"),
            Self::Parked => (14, 500, "parked", "The operation waits for an operator"),
            Self::NotImplemented => (15, 501, "not_implemented", "Not built yet"),
            Self::WalFull => (16, 503, "wal_full", "The log is full"),
            Self::Overloaded => (17, 503, "overloaded", "Too much work is in flight"),
            Self::Stopping => (18, 503, "stopping", "The daemon is stopping"),
            Self::StoreUnavailable => (19, 503, "store_unavailable", "A store is not available"),
            Self::DiskFull => (20, 507, "disk_full", "The disk is full"),
        }
    }

    /// The number that stands for it in the log.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.row().0
    }

    /// The code that `number` stands for.
    #[must_use]
    pub fn from_code(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.code() == number)
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.row().1
    }

    /// The name that programs outside see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().2
    }

    /// One short sentence for people, the same for every refusal of this code.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().3
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a code")]
pub struct UnknownCode(String);

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::ALL.into_iter().find(|code| code.as_str() == text).ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A refusal: the code that programs act on, and the detail that people read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// What kind.
    pub code: Code,
    /// What and where.
    pub detail: String,
}

impl Refusal {
    /// A refusal with `code`.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// The request is malformed.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Code::Malformed, detail)
    }

    /// Something is not there.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Code::NotFound, detail)
    }

    /// A precondition does not hold.
    pub fn precondition_failed(detail: impl Into<String>) -> Self {
        Self::new(Code::PreconditionFailed, detail)
    }

    /// The same refusal, with the place it belongs to before the detail.
    #[must_use]
    pub fn within(self, place: &str) -> Self {
        Self { code: self.code, detail: format!("{place}: {}", self.detail) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_statuses_and_numbers_are_fixed() {
        let names: Vec<_> = Code::ALL.into_iter().map(|code| format!("{} {code}", code.status())).collect();
        assert_eq!(
            names.join("\n"),
            "400 malformed\n404 not_found\n404 unknown_table\n409 precondition_failed\n409 idempotency_mismatch\n\
             409 superseded\n409 newer_version\n413 too_large\n422 dimension_mismatch\n422 unknown_vector\n\
             422 vector_missing\n422 not_indexed\n422 rejected_by_surreal\n422 rejected_by_qdrant\n500 parked\n\
             501 not_implemented\n503 wal_full\n503 overloaded\n503 stopping\n503 store_unavailable\n507 disk_full"
        );
        let numbers: BTreeSet<_> = Code::ALL.into_iter().map(Code::code).collect();
        assert!(numbers.into_iter().eq(1..=21));
        assert_eq!((Code::DiskFull.code(), Code::NewerVersion.code()), (20, 21));
    }

    #[test]
    fn names_and_numbers_parse_back() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(code));
            assert_eq!(Code::from_code(code.code()), Some(code));
            assert!(!code.title().is_empty());
        }
        assert_eq!(Code::from_code(0), None);
        assert!("Malformed".parse::<Code>().is_err());
        let json = serde_json::to_string(&Refusal::malformed("no")).unwrap();
        assert_eq!(json, r#"{"code":"malformed","detail":"no"}"#);
    }
}
