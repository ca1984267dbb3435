//! Keys, stamps and rows: how Lockstep's words look in SurrealDB.

use lockstep_model::{Document, Id, Key, OpId, RESERVED_FIELD, Table, Vectors, Version};
use surrealdb::types as db;

use crate::surreal::value::{ENCODING, decode, document_of, encode, object_of};
use crate::{Class, DocWrite, EdgeEnds, Found, KeptVectors, Stamp, StoreError, VectorsStamp};

/// The table of kept vectors. Its ids are `[table, id]`.
pub(super) const KEPT_TABLE: &str = "lockstep_vector";

/// The record id of a key.
pub(super) fn record_id(key: &Key) -> db::RecordId {
    let id = match &key.id {
        Id::Int(number) => db::RecordIdKey::Number(*number),
        Id::Text(text) => db::RecordIdKey::String(text.to_string()),
    };
    db::RecordId::new(key.table.as_str(), id)
}

/// The key of a record id, if it is one of ours: ids of other types, and texts that read as integers, are not.
pub(super) fn key_of(id: &db::RecordId) -> Option<Key> {
    let table = Table::new(id.table.as_str()).ok()?;
    let id = match &id.key {
        db::RecordIdKey::Number(number) => match Id::parse(&number.to_string()) {
            Ok(Id::Int(same)) if same == *number => Id::Int(same),
            _ => return None,
        },
        db::RecordIdKey::String(text) => match Id::parse(text) {
            Ok(id @ Id::Text(_)) => id,
            _ => return None,
        },
        db::RecordIdKey::Uuid(_)
        | db::RecordIdKey::Array(_)
        | db::RecordIdKey::Object(_)
        | db::RecordIdKey::Range(_) => return None,
    };
    Some(Key::new(table, id))
}

/// The id of the row that keeps a key's vectors.
pub(super) fn kept_id(key: &Key) -> db::RecordId {
    let id = match &key.id {
        Id::Int(number) => db::Value::Number(db::Number::Int(*number)),
        Id::Text(text) => db::Value::String(text.to_string()),
    };
    let array = db::Array::from(vec![db::Value::String(key.table.as_str().to_owned()), id]);
    db::RecordId::new(KEPT_TABLE, array)
}

/// The key of a row's `id`.
pub(super) fn key_of_row(row: &db::Object) -> Option<Key> {
    if let db::Value::RecordId(id) = row.get("id")? { key_of(id) } else { None }
}

/// The key whose vectors a row of [`KEPT_TABLE`] keeps.
pub(super) fn owner_of_row(row: &db::Object) -> Option<Key> {
    let db::Value::RecordId(db::RecordId { key: db::RecordIdKey::Array(parts), .. }) = row.get("id")? else {
        return None;
    };
    let mut parts = parts.iter();
    let (Some(db::Value::String(table)), Some(id), None) = (parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let id = if let db::Value::String(text) = id {
        db::RecordIdKey::String(text.clone())
    } else {
        let db::Value::Number(db::Number::Int(number)) = id else { return None };
        db::RecordIdKey::Number(*number)
    };
    key_of(&db::RecordId::new(table.as_str(), id))
}

/// A version as SurrealDB keeps it. Versions stay below 2^53.
pub(super) fn version_value(version: Version) -> db::Value {
    db::Value::Number(db::Number::Int(i64::try_from(version.0).unwrap_or(i64::MAX)))
}

/// The version that a value holds, if it is one.
pub(super) fn version_of(value: &db::Value) -> Option<Version> {
    let db::Value::Number(db::Number::Int(int)) = value else { return None };
    u64::try_from(*int).ok().filter(|version| *version < Version::LIMIT).map(Version)
}

/// The whole content of the record that a put makes, `id` included: the document, the ends and the stamp.
pub(super) fn content(
    key: &Key,
    version: Version,
    op: OpId,
    document: &Document,
    vectors: Option<&VectorsStamp>,
    ends: Option<&EdgeEnds>,
    created: bool,
) -> Result<db::Value, StoreError> {
    let mut object = object_of(document)?;
    let mut stamp = db::Object::new();
    stamp.insert("v", version_value(version));
    stamp.insert("op", db::Uuid::from(op.0));
    stamp.insert("d", db::Bytes::from(document.hash().to_vec()));
    if let Some(vectors) = vectors {
        let mut names = db::Object::new();
        names.insert("names", vectors.names.clone());
        names.insert("hash", db::Bytes::from(vectors.hash.to_vec()));
        stamp.insert("n", names);
    }
    if created {
        stamp.insert("c", true);
    }
    if let Some(ends) = ends {
        object.insert("in", record_id(&ends.from));
        object.insert("out", record_id(&ends.to));
    }
    object.insert(RESERVED_FIELD, stamp);
    object.insert("id", record_id(key));
    Ok(db::Value::Object(object))
}

/// The row that keeps a write's vectors.
pub(super) fn kept_row(key: &Key, version: Version, vectors: &Vectors) -> db::Value {
    let mut row = db::Object::new();
    row.insert("id", kept_id(key));
    row.insert("v", version_value(version));
    row.insert("b", db::Bytes::from(vectors.encode()));
    db::Value::Object(row)
}

/// The stamp in a record. What is not whole is no stamp: the fences in the statements think the same.
pub(super) fn stamp_of(record: &db::Object) -> Option<Stamp> {
    let db::Value::Object(stamp) = record.get(RESERVED_FIELD)? else { return None };
    let version = version_of(stamp.get("v")?)?;
    let db::Value::Uuid(op) = stamp.get("op")? else { return None };
    Some(Stamp { version, op: OpId((*op).into_inner()), created: stamp.get("c") == Some(&db::Value::Bool(true)) })
}

/// The stamp names vectors.
pub(super) fn has_vectors(record: &db::Object) -> bool {
    let Some(db::Value::Object(stamp)) = record.get(RESERVED_FIELD) else { return false };
    matches!(stamp.get("n"), Some(db::Value::Object(_)))
}

/// The ends of a record that is an edge between keys of ours.
pub(super) fn ends_of(record: &db::Object) -> Option<EdgeEnds> {
    let (db::Value::RecordId(from), db::Value::RecordId(to)) = (record.get("in")?, record.get("out")?) else {
        return None;
    };
    Some(EdgeEnds { from: key_of(from)?, to: key_of(to)? })
}

/// The application's part of a record.
pub(super) fn application_part(mut record: db::Object) -> db::Object {
    if ends_of(&record).is_some() {
        record.remove("in");
        record.remove("out");
    }
    record.remove("id");
    record.remove(RESERVED_FIELD);
    record
}

/// What an image tells of a whole record and its kept row.
pub(super) fn found(record: db::Object, kept: Option<db::Object>) -> Result<Found, StoreError> {
    let raw = Raw { record: record.clone(), kept: kept.clone() }.encode()?;
    let has_vectors = has_vectors(&record);
    Ok(Found {
        stamp: stamp_of(&record),
        ends: ends_of(&record),
        document: document_of(application_part(record))?,
        kept: kept.and_then(|row| kept_of(&row)),
        has_vectors,
        raw,
    })
}

/// The vectors in a kept row; a row that cannot be read keeps none.
fn kept_of(row: &db::Object) -> Option<KeptVectors> {
    let version = version_of(row.get("v")?)?;
    let db::Value::Bytes(bytes) = row.get("b")? else { return None };
    match Vectors::decode(&bytes.clone().into_inner()) {
        Ok(vectors) => Some(KeptVectors { version, vectors }),
        Err(error) => {
            tracing::warn!(%error, "a row of kept vectors cannot be read");
            None
        }
    }
}

/// A record and its kept row, whole.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Raw {
    pub(super) record: db::Object,
    pub(super) kept: Option<db::Object>,
}

impl Raw {
    /// Both in SurrealDB's encoding, version byte first.
    fn encode(self) -> Result<Vec<u8>, StoreError> {
        let mut both = vec![db::Value::Object(self.record)];
        both.extend(self.kept.map(db::Value::Object));
        encode(&db::Value::Array(both.into()))
    }

    /// What [`Raw::encode`] made.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged =
            || StoreError::new(super::STORE, Class::Refused, format!("an image of version {ENCODING} is damaged"));
        let db::Value::Array(both) = decode(bytes)? else { return Err(damaged()) };
        let mut both = both.into_vec().into_iter();
        let (Some(db::Value::Object(record)), kept, None) = (both.next(), both.next(), both.next()) else {
            return Err(damaged());
        };
        match kept {
            None => Ok(Self { record, kept: None }),
            Some(db::Value::Object(kept)) => Ok(Self { record, kept: Some(kept) }),
            Some(_) => Err(damaged()),
        }
    }
}

/// The record that a write is about; none for [`DocWrite::DeleteBetween`].
pub(super) const fn key_of_write(write: &DocWrite) -> Option<&Key> {
    match write {
        DocWrite::Put { key, .. } | DocWrite::Delete { key, .. } => Some(key),
        DocWrite::DeleteBetween { .. } => None,
    }
}
