//! Reading what the daemon wrote.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::RETRY_AFTER;
use hyper::http::response::Parts;
use serde::de::DeserializeOwned;

use crate::{Answer, Error, Problem};

/// A success as `T`, a failure as the problem that the daemon names.
pub(crate) fn read_answer<T: DeserializeOwned>(parts: &Parts, json: Bytes) -> Result<Answer<T>, Error> {
    if !parts.status.is_success() {
        return Err(read_problem(parts, &json));
    }
    Ok(Answer { status: parts.status.as_u16(), body: read_json(&json)?, json })
}

/// The error that a failure stands for.
pub(crate) fn read_problem(parts: &Parts, json: &[u8]) -> Error {
    match read_json::<Problem>(json) {
        Ok(problem) if !problem.code.is_empty() => {
            Error::Problem { problem: Box::new(problem), retry_after: retry_after(parts) }
        }
        Ok(_) | Err(_) => Error::protocol(format!("status {} without a problem document", parts.status.as_u16())),
    }
}

/// Reads one JSON value.
///
/// Without serde_json's limit of 128 levels: a document that just fits the daemon's own limit lies deeper
/// than that in an answer. Who can write to the daemon's socket address is trusted this far.
pub(crate) fn read_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    reader.disable_recursion_limit();
    T::deserialize(&mut reader).and_then(|value| reader.end().map(|()| value)).map_err(|source| Error::Protocol {
        what: "this is not the JSON that was expected".to_owned(),
        source: Some(source),
    })
}

fn retry_after(parts: &Parts) -> Option<Duration> {
    let seconds = parts.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_at_the_limit_of_depth_is_read() {
        let deep = format!("{}1{}", "[".repeat(132), "]".repeat(132));
        assert!(read_json::<serde_json::Value>(deep.as_bytes()).is_ok());
        assert!(read_json::<serde_json::Value>(b"1 2").is_err());
    }
}
