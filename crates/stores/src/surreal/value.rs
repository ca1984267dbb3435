//! Values of documents to and from SurrealDB's own, without losing a type.
//!
//! What has no tag of its own (sets, geometries, ranges, NONE inside arrays, record ids that are no keys
//! of ours, …) travels as [`Value::Foreign`]: SurrealDB's own encoding behind a version byte.

use std::collections::BTreeMap;

use lockstep_model::{Document, Value};
use surrealdb::types as db;

use crate::surreal::record::{key_of, record_id};
use crate::{Class, StoreError};

/// The first byte of every encoding that this adapter makes: SurrealDB's flatbuffers of protocol v1.
pub(super) const ENCODING: u8 = 1;

/// Datetimes that text can carry: years -9999 to 9999, but for the first day.
const DATETIME_SECS: std::ops::RangeInclusive<i64> = -377_705_030_400..=253_402_300_799;

/// The document that an object holds.
pub(super) fn document_of(object: db::Object) -> Result<Document, StoreError> {
    members_of(object).map(Document)
}

/// One value of a document.
pub(super) fn value_of(value: db::Value) -> Result<Value, StoreError> {
    Ok(match value {
        db::Value::Null => Value::Null,
        db::Value::Bool(bool) => Value::Bool(bool),
        db::Value::Number(db::Number::Int(int)) => Value::Int(int),
        db::Value::Number(db::Number::Float(float)) if float.is_finite() => Value::Float(float),
        db::Value::Number(db::Number::Decimal(decimal)) => {
            let text = decimal.to_string();
            match Value::decimal(&text) {
                Some(Value::Decimal(canonical)) if canonical == text => Value::Decimal(text),
                _ => foreign(&db::Value::Number(db::Number::Decimal(decimal)))?,
            }
        }
        db::Value::String(text) => Value::Text(text),
        db::Value::Bytes(bytes) => Value::Bytes(bytes.into_inner().to_vec()),
        db::Value::Duration(duration) => {
            let duration = duration.into_inner();
            Value::Duration { secs: duration.as_secs(), nanos: duration.subsec_nanos() }
        }
        db::Value::Datetime(datetime) => {
            let (secs, nanos) = (datetime.timestamp(), datetime.timestamp_subsec_nanos());
            if DATETIME_SECS.contains(&secs) && nanos < 1_000_000_000 {
                Value::Datetime { secs, nanos }
            } else {
                foreign(&db::Value::Datetime(datetime))?
            }
        }
        db::Value::Uuid(uuid) => Value::Uuid(uuid.into_inner()),
        db::Value::RecordId(id) => match key_of(&id) {
            Some(key) => Value::Record(key),
            None => foreign(&db::Value::RecordId(id))?,
        },
        db::Value::Array(items) => Value::Array(items.into_vec().into_iter().map(value_of).collect::<Result<_, _>>()?),
        db::Value::Object(object) => Value::Object(members_of(object)?),
        other @ (db::Value::None
        | db::Value::Number(db::Number::Float(_))
        | db::Value::Geometry(_)
        | db::Value::Table(_)
        | db::Value::File(_)
        | db::Value::Range(_)
        | db::Value::Regex(_)
        | db::Value::Set(_)) => foreign(&other)?,
    })
}

/// The object that a document becomes.
pub(super) fn object_of(document: &Document) -> Result<db::Object, StoreError> {
    members_into(&document.0)
}

fn members_of(object: db::Object) -> Result<BTreeMap<String, Value>, StoreError> {
    object.into_inner().into_iter().map(|(name, value)| Ok((name, value_of(value)?))).collect()
}

fn members_into(members: &BTreeMap<String, Value>) -> Result<db::Object, StoreError> {
    members.iter().map(|(name, value)| Ok((name.clone(), value_into(value)?))).collect()
}

fn value_into(value: &Value) -> Result<db::Value, StoreError> {
    Ok(match value {
        Value::Null => db::Value::Null,
        Value::Bool(bool) => db::Value::Bool(*bool),
        Value::Int(int) => db::Value::Number(db::Number::Int(*int)),
        Value::Float(float) => db::Value::Number(db::Number::Float(*float)),
        Value::Text(text) => db::Value::String(text.clone()),
        Value::Array(items) => db::Value::Array(items.iter().map(value_into).collect::<Result<Vec<_>, _>>()?.into()),
        Value::Object(members) => db::Value::Object(members_into(members)?),
        Value::Datetime { secs, nanos } => db::Datetime::from_timestamp(*secs, *nanos)
            .map(db::Value::Datetime)
            .ok_or_else(|| refused(format!("{secs} s {nanos} ns is no datetime of SurrealDB")))?,
        Value::Record(key) => db::Value::RecordId(record_id(key)),
        Value::Uuid(uuid) => db::Value::Uuid((*uuid).into()),
        Value::Decimal(text) => text
            .parse()
            .map(|decimal| db::Value::Number(db::Number::Decimal(decimal)))
            .map_err(|_| refused(format!("{text:?} is no decimal of SurrealDB")))?,
        Value::Duration { secs, nanos } => db::Value::Duration(db::Duration::new(*secs, *nanos)),
        Value::Bytes(bytes) => db::Value::Bytes(bytes.clone().into()),
        Value::Foreign(bytes) => decode(bytes)?,
    })
}

fn foreign(value: &db::Value) -> Result<Value, StoreError> {
    encode(value).map(Value::Foreign)
}

/// A value in SurrealDB's lossless encoding, version byte first.
pub(super) fn encode(value: &db::Value) -> Result<Vec<u8>, StoreError> {
    let encoded = db::encode(value).map_err(|error| refused(format!("a value cannot be encoded: {error:#}")))?;
    let mut bytes = Vec::with_capacity(encoded.len() + 1);
    bytes.push(ENCODING);
    bytes.extend_from_slice(&encoded);
    Ok(bytes)
}

/// What [`encode`] made.
pub(super) fn decode(bytes: &[u8]) -> Result<db::Value, StoreError> {
    match bytes.split_first() {
        Some((&ENCODING, encoded)) => {
            db::decode::<db::Value>(encoded).map_err(|error| refused(format!("an encoded value is damaged: {error:#}")))
        }
        Some((version, _)) => Err(refused(format!("an encoded value has version {version}, this build reads 1"))),
        None => Err(refused("an encoded value is empty")),
    }
}

fn refused(detail: impl Into<String>) -> StoreError {
    StoreError::new(super::STORE, Class::Refused, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deep(levels: usize) -> Value {
        (0..levels).fold(Value::Int(1), |inner, _| Value::Object(BTreeMap::from([("a".to_owned(), inner)])))
    }

    #[test]
    fn encodings_say_their_version() {
        let bytes = encode(&db::Value::None).unwrap();
        assert_eq!(bytes[0], ENCODING);
        assert_eq!(decode(&bytes).unwrap(), db::Value::None);
        assert!(decode(&[]).is_err());
        assert!(decode(&[2, 0]).unwrap_err().detail.contains("version 2"));
        assert!(decode(&[ENCODING, 1, 2, 3]).is_err());
    }

    #[test]
    fn values_without_a_tag_come_back_identical() {
        let odd = [
            db::Value::None,
            db::Value::Number(db::Number::Float(f64::INFINITY)),
            db::Value::Set(db::Set::from(vec![db::Value::Bool(true), db::Value::None])),
            db::Value::Table("person".into()),
            db::Value::Regex("a+".parse().unwrap()),
            db::Value::RecordId(db::RecordId::new("person", "7")),
            db::Value::RecordId(db::RecordId::new("person", -7)),
            db::Value::RecordId(db::RecordId::new("a-b", 7)),
            db::Value::RecordId(db::RecordId::new("lockstep_vector", 7)),
            db::Value::Datetime(db::Datetime::MAX_UTC),
        ];
        for value in odd {
            let ours = value_of(value.clone()).unwrap();
            assert!(matches!(ours, Value::Foreign(_)), "{value:?}");
            assert_eq!(value_into(&ours).unwrap(), value);
        }
    }

    #[test]
    fn decimals_keep_their_scale() {
        for text in ["1.10", "-0.5", "12345678901234567890.12345678", "0"] {
            let value = db::Value::Number(db::Number::Decimal(text.parse().unwrap()));
            let back = value_into(&value_of(value).unwrap()).unwrap();
            let db::Value::Number(db::Number::Decimal(decimal)) = back else { panic!("{back:?}") };
            assert_eq!(decimal.to_string(), text);
        }
    }

    #[test]
    fn a_full_depth_passes_the_encoding() {
        let value = value_into(&deep(128)).unwrap();
        let back = decode(&encode(&value).unwrap()).unwrap();
        assert_eq!(value_of(back).unwrap(), deep(128));
    }
}
