//! What stands behind the question mark, and in headers.

use std::time::Duration;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderMap, Uri};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use crate::failure::Failure;

/// How long a request waits if it does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Nobody waits longer than this.
const MAX_TIMEOUT: Duration = Duration::from_secs(86_400);

/// The parameters of a request. What is not known is refused: a misspelt one would be lost in silence.
pub(crate) fn parameters<T: DeserializeOwned>(uri: &Uri) -> Result<T, Failure> {
    match Query::try_from_uri(uri) {
        Ok(Query(parameters)) => Ok(parameters),
        Err(rejection) => Err(Failure::malformed(said(&rejection))),
    }
}

/// What is wrong with the parameters, without the words around it, which speak of the program and not of the request.
fn said(rejection: &QueryRejection) -> String {
    let mut cause: &dyn std::error::Error = rejection;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// `timeout=5s`, `timeout=300ms`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeout(pub(crate) Duration);

impl Default for Timeout {
    fn default() -> Self {
        Self(DEFAULT_TIMEOUT)
    }
}

impl<'de> Deserialize<'de> for Timeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match humantime::parse_duration(&text) {
            Ok(timeout) if timeout <= MAX_TIMEOUT => Ok(Self(timeout)),
            Ok(_) => Err(D::Error::custom("a timeout is at most 24h")),
            Err(_) => Err(D::Error::custom("a timeout is a time with its unit, as in 5s or 300ms")),
        }
    }
}

/// The header that names an operation.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Failure::malformed("the header Idempotency-Key comes twice"));
    }
    std::str::from_utf8(value.as_bytes())
        .map(Some)
        .map_err(|_| Failure::malformed("the header Idempotency-Key is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use lockstep_api::Ack;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        #[expect(dead_code, reason = "only its reading is tested")]
        ack: Ack,
    }

    #[test]
    fn a_bad_parameter_is_told_in_the_words_of_the_request() {
        let said = |uri: &str| said(&Query::<Asked>::try_from_uri(&uri.parse().unwrap()).unwrap_err());
        assert_eq!(said("/v1/ops?ack=foo"), "ack: unknown variant `foo`, expected `committed` or `logged`");
        assert_eq!(said("/v1/ops?acc=logged"), "acc: unknown field `acc`, expected `ack`");
    }
}
