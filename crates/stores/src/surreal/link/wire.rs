//! Requests and answers as SurrealDB's servers write them, the same over both protocols.

use surrealdb::types as db;
use surrealdb_rpc::{DbResponse, DbResult, db_response_from_bytes};

use super::{Broken, Results};

/// The format, as a header of HTTP names it.
pub(super) const CONTENT_TYPE: &str = surrealdb_rpc::format::FLATBUFFERS;

/// The format, as a subprotocol of a WebSocket.
pub(super) const SUBPROTOCOL: &str = "flatbuffers";

/// A request.
pub(super) fn request(id: i64, method: &str, params: Vec<db::Value>) -> Result<Vec<u8>, Broken> {
    let mut object = db::Object::new();
    object.insert("id", id);
    object.insert("method", method.to_owned());
    object.insert("params", db::Value::Array(params.into()));
    db::encode(&db::Value::Object(object))
        .map_err(|error| Broken::TooLarge(format!("the call cannot be encoded: {error:#}")))
}

/// The parameters of a query.
pub(super) fn query(text: &str, params: db::Object) -> Vec<db::Value> {
    vec![db::Value::String(text.to_owned()), db::Value::Object(params)]
}

/// Reads an answer.
pub(super) fn response(bytes: &[u8]) -> Result<DbResponse, Broken> {
    db_response_from_bytes(bytes)
        .map_err(|error| Broken::Lost(format!("the server's answer cannot be read: {}", error.message())))
}

/// The number of the request that an answer is for.
pub(super) fn number(response: &DbResponse) -> Option<i64> {
    if let Some(db::Value::Number(db::Number::Int(id))) = response.id { Some(id) } else { None }
}

/// What the statements of a query answered.
pub(super) fn results(response: DbResponse) -> Result<Results, Broken> {
    match response.result {
        Ok(DbResult::Query(results)) => Ok(results.into_iter().map(|one| one.result).collect()),
        Ok(DbResult::Other(_) | DbResult::Live(_)) => {
            Err(Broken::Lost("the server's answer is none to a query".to_owned()))
        }
        Err(error) => Err(Broken::Answered(error)),
    }
}

/// The answer to anything but a query.
pub(super) fn value(response: DbResponse) -> Result<db::Value, Broken> {
    match response.result {
        Ok(DbResult::Other(value)) => Ok(value),
        Ok(DbResult::Query(_) | DbResult::Live(_)) => {
            Err(Broken::Lost("the server's answer is one to a query".to_owned()))
        }
        Err(error) => Err(Broken::Answered(error)),
    }
}

/// A text that stands by itself or, from other versions, in an object under `name`.
pub(super) fn text(value: db::Value, name: &str) -> Option<String> {
    let value = if let db::Value::Object(mut members) = value { members.remove(name)? } else { value };
    if let db::Value::String(text) = value { Some(text) } else { None }
}
