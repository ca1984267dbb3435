//! Failures, as problem documents (RFC 9457).

use std::fmt;

use lockstep_model::{Code, Lsn, OpId, State};
use serde::{Deserialize, Serialize};

/// The body of every answer that is a failure; its content type is [`Problem::CONTENT_TYPE`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// A URI that names the kind of problem; programs go by `code`.
    #[serde(rename = "type")]
    pub kind: String,
    /// One short sentence, the same for every problem of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What programs go by. Codes may be added, so it is text here; [`Problem::known_code`] reads it.
    pub code: String,
    /// What is wrong with this very request.
    pub detail: String,
    /// The operation, once it was logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub op_id: Option<OpId>,
    /// Where it stands in the log, once it was logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lsn: Option<Lsn>,
    /// How it ended, once it was logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
}

impl Problem {
    /// The content type of a problem document.
    pub const CONTENT_TYPE: &'static str = "application/problem+json";

    /// A problem of an operation that was not logged.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:lockstep:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            code: code.as_str().to_owned(),
            detail: detail.into(),
            op_id: None,
            lsn: None,
            state: None,
        }
    }

    /// The same problem, of an operation that stands in the log.
    #[must_use]
    pub fn logged(self, op_id: OpId, lsn: Lsn, state: State) -> Self {
        Self { op_id: Some(op_id), lsn: Some(lsn), state: Some(state), ..self }
    }

    /// The code, if this version of Lockstep knows it.
    #[must_use]
    pub fn known_code(&self) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.as_str() == self.code)
    }
}

impl fmt::Display for Problem {
    /// `code (status): detail`, and the operation if it was logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = if self.detail.is_empty() { &self.title } else { &self.detail };
        write!(f, "{} ({}): {said}", self.code, self.status)?;
        if let (Some(lsn), Some(state)) = (self.lsn, self.state) {
            write!(f, " (lsn {lsn} is {state})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_the_log_it_has_five_members() {
        let problem = Problem::new(Code::Malformed, "the key has no colon");
        let value = serde_json::to_value(&problem).unwrap();
        let expected = serde_json::json!({
            "type": "urn:lockstep:problem:malformed", "title": Code::Malformed.title(), "status": 400,
            "code": "malformed", "detail": "the key has no colon",
        });
        assert_eq!(value, expected);
        assert_eq!(serde_json::from_value::<Problem>(value).unwrap(), problem);
        assert_eq!(problem.to_string(), "malformed (400): the key has no colon");
    }

    #[test]
    fn once_logged_it_names_the_operation() {
        let op_id: OpId = "0193b2c4-0000-7000-8000-00000000002a".parse().unwrap();
        let problem = Problem::new(Code::NotFound, "no such key").logged(op_id, Lsn(42), State::RolledBack);
        let value = serde_json::to_value(&problem).unwrap();
        assert_eq!(value["op_id"], "0193b2c4-0000-7000-8000-00000000002a");
        assert_eq!(value["lsn"], 42);
        assert_eq!(value["state"], "rolled_back");
        assert_eq!(problem.to_string(), "not_found (404): no such key (lsn 42 is rolled_back)");
    }

    #[test]
    fn an_unknown_code_and_missing_members_are_read() {
        let problem: Problem = serde_json::from_str(r#"{"code":"from_the_future","hint":1}"#).unwrap();
        assert_eq!(problem.known_code(), None);
        assert_eq!(Problem::new(Code::WalFull, "").known_code(), Some(Code::WalFull));
    }
}
