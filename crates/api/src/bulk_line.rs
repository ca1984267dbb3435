//! The answer to one line of a bulk request.

use lockstep_model::{Code, Lsn, OpId, State};
use serde::{Deserialize, Serialize};

/// One line of what `POST /v1/bulk` answers: an operation, an error, or both for a line that was logged
/// and failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkLine {
    /// Which line of the request, counted from 1 and with blank ones.
    pub line: u64,
    /// The operation's name, if it was logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op_id: Option<OpId>,
    /// Where it stands in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lsn: Option<Lsn>,
    /// How far it has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<LineError>,
}

/// Why a line failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineError {
    /// A code, as in problem documents.
    pub code: String,
    /// What is wrong with this very line.
    #[serde(default)]
    pub detail: String,
}

impl BulkLine {
    /// The answer to a line that stands in the log.
    #[must_use]
    pub const fn logged(line: u64, op_id: OpId, lsn: Lsn, state: State) -> Self {
        Self { line, op_id: Some(op_id), lsn: Some(lsn), state: Some(state), error: None }
    }

    /// The answer to a line that was refused before the log.
    #[must_use]
    pub fn refused(line: u64, code: Code, detail: impl Into<String>) -> Self {
        Self { line, op_id: None, lsn: None, state: None, error: None }.with_error(code, detail)
    }

    /// The same answer, with what went wrong.
    #[must_use]
    pub fn with_error(self, code: Code, detail: impl Into<String>) -> Self {
        Self { error: Some(LineError { code: code.as_str().to_owned(), detail: detail.into() }), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_shapes_of_the_contract() {
        let op_id: OpId = "0193b2c4-0000-7000-8000-00000000002a".parse().unwrap();
        let logged = BulkLine::logged(1, op_id, Lsn(1), State::Committed);
        let refused = BulkLine::refused(3, Code::Malformed, "no key");
        let both = BulkLine::logged(4, op_id, Lsn(2), State::RolledBack).with_error(Code::NotFound, "no such key");
        let cases = [
            (logged, r#"{"line":1,"op_id":"0193b2c4-0000-7000-8000-00000000002a","lsn":1,"state":"committed"}"#),
            (refused, r#"{"line":3,"error":{"code":"malformed","detail":"no key"}}"#),
            (
                both,
                r#"{"line":4,"op_id":"0193b2c4-0000-7000-8000-00000000002a","lsn":2,"state":"rolled_back","error":{"code":"not_found","detail":"no such key"}}"#,
            ),
        ];
        for (line, text) in cases {
            assert_eq!(serde_json::to_string(&line).unwrap(), text);
            assert_eq!(serde_json::from_str::<BulkLine>(text).unwrap(), line);
        }
    }
}
