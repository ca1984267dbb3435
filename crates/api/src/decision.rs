//! What an operator decides about a parked operation.

use lockstep_model::{OpId, State};
use serde::{Deserialize, Serialize};

use crate::OpAnswer;

/// The body of `POST /v1/ops/{op_id}/retry`, `/rollback` and `/discard`. All of it may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DecisionRequest {
    /// For a retry: also where the key has been written since.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Why, for those who look at the operation later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What became of the operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionAnswer {
    /// The operation that was decided about.
    pub op_id: OpId,
    /// Where it stands now: `rolled_back` or `discarded`; after a retry of an open one, the state that it is in.
    pub state: State,
    /// After a retry: the new operation with the same content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<OpAnswer>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_names_the_new_operation() {
        let text = concat!(
            r#"{"op_id":"0193b2c4-0000-7000-8000-00000000002a","state":"discarded","again":"#,
            r#"{"op_id":"0193b2c4-0000-7000-8000-00000000002b","lsn":43,"version":8,"state":"pending","key":"memory:01"}}"#
        );
        let answer: DecisionAnswer = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&answer).unwrap(), text);
        let text = r#"{"op_id":"0193b2c4-0000-7000-8000-00000000002a","state":"rolled_back"}"#;
        let answer: DecisionAnswer = serde_json::from_str(text).unwrap();
        assert_eq!((answer.again.as_ref(), serde_json::to_string(&answer).unwrap().as_str()), (None, text));
    }

    #[test]
    fn what_is_not_said_is_not_sent() {
        assert_eq!(serde_json::to_string(&DecisionRequest::default()).unwrap(), "{}");
        let request = DecisionRequest { force: true, note: Some("seen".to_owned()) };
        assert_eq!(serde_json::to_string(&request).unwrap(), r#"{"force":true,"note":"seen"}"#);
    }
}
