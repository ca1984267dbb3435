//! Ids of points: what Qdrant calls them, and how a policy makes one of a key.

use std::fmt;

use uuid::Uuid;

use crate::document::Document;
use crate::key::{Id, Key};
use crate::table::PointIdPolicy;
use crate::value::Value;

/// The id of a point. Qdrant knows these two kinds and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PointId {
    /// A whole number.
    Num(u64),
    /// A UUID.
    Uuid(Uuid),
}

impl From<Uuid> for PointId {
    fn from(uuid: Uuid) -> Self {
        Self::Uuid(uuid)
    }
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Num(number) => number.fmt(f),
            Self::Uuid(uuid) => uuid.fmt(f),
        }
    }
}

/// A key, or a document, that gives no point id under its table's policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPointId {
    /// `key`, and the id is neither a whole number nor a UUID in its usual form.
    #[error(
        "{0}: point_id = \"key\" wants an id that is a whole number or a UUID as 8-4-4-4-12 lower-case hex digits: \
         no other id can be a point's"
    )]
    Key(Key),
    /// `field:NAME`, and the document lacks the field, or it holds neither a whole number nor a UUID.
    #[error("{key}: point_id = \"field:{field}\" wants a whole number or a UUID in the document's field {field}")]
    Field {
        /// The record.
        key: Key,
        /// The field.
        field: String,
    },
}

/// A UUID as it is written everywhere. Other spellings of the same UUID would be other records with the same point.
fn usual_uuid(text: &str) -> Option<PointId> {
    let uuid = Uuid::try_parse(text).ok()?;
    (uuid.hyphenated().to_string() == text).then_some(PointId::Uuid(uuid))
}

fn number(number: i64) -> Option<PointId> {
    u64::try_from(number).ok().map(PointId::Num)
}

impl PointIdPolicy {
    /// The id of the point that belongs to `key`, whose record holds `document`.
    ///
    /// # Errors
    /// [`NoPointId`]
    pub fn point_id(&self, key: &Key, document: &Document) -> Result<PointId, NoPointId> {
        let Self::Field(field) = self else { return self.of_key(key).ok_or_else(|| NoPointId::Key(key.clone())) };
        let id = document.0.get(field).and_then(|value| {
            if let Value::Int(value) = value {
                number(*value)
            } else if let Value::Text(text) = value {
                usual_uuid(text)
            } else if let Value::Uuid(uuid) = value {
                Some(PointId::Uuid(*uuid))
            } else {
                None
            }
        });
        id.ok_or_else(|| NoPointId::Field { key: key.clone(), field: field.clone() })
    }

    /// The same where the key alone decides; none where it gives no id, or where the document has a say.
    #[must_use]
    pub fn of_key(&self, key: &Key) -> Option<PointId> {
        match self {
            Self::Hashed => Some(key.point_id()),
            Self::Key => match &key.id {
                Id::Int(value) => number(*value),
                Id::Text(text) => usual_uuid(text),
            },
            Self::Field(_) => None,
        }
    }

    /// Whether a key alone decides the id of its point.
    #[must_use]
    pub const fn is_of_key(&self) -> bool {
        match self {
            Self::Hashed | Self::Key => true,
            Self::Field(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_makes_its_id() {
        let uuid = "6f2c4a10-9d5e-4c39-8a6a-0f4b2f6f1c11";
        let document = Document(
            [("uid".to_owned(), Value::Text(uuid.to_owned())), ("n".to_owned(), Value::Int(9))].into_iter().collect(),
        );
        let id = |policy: &str, key: &str| {
            policy.parse::<PointIdPolicy>().unwrap().point_id(&key.parse().unwrap(), &document).ok()
        };
        let uuid_id = Some(PointId::Uuid(uuid.parse().unwrap()));
        assert_eq!(id("hashed", "m:1"), Some("m:1".parse::<Key>().unwrap().point_id()));
        assert_eq!(id("key", "m:17"), Some(PointId::Num(17)));
        assert_eq!(id("key", &format!("m:{uuid}")), uuid_id);
        assert_eq!(id("field:uid", "m:x"), uuid_id);
        assert_eq!(id("field:n", "m:x"), Some(PointId::Num(9)));
        for (policy, key) in [
            ("key", "m:017".to_owned()),
            ("key", "m:x".to_owned()),
            ("key", format!("m:{}", uuid.to_uppercase())),
            ("key", format!("m:{{{uuid}}}")),
            ("key", format!("m:{}", uuid.replace('-', ""))),
            ("field:none", "m:1".to_owned()),
        ] {
            assert_eq!(id(policy, &key), None, "{policy} {key}");
        }
    }
}
