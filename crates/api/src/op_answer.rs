//! The answer to one operation.

use lockstep_model::{Lsn, OpId, State, Version};
use serde::{Deserialize, Serialize};

/// What `POST /v1/ops` answers, with 200 once the operation is `committed` and with 202 while it is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpAnswer {
    /// The operation's name.
    pub op_id: OpId,
    /// Where it stands in the log.
    pub lsn: Lsn,
    /// The version that it gives to its keys.
    pub version: Version,
    /// How far it has come.
    pub state: State,
    /// The key that it writes, also where the daemon made it; null where it writes no single key.
    pub key: Option<String>,
    /// Of a group the keys of its members, in their order, also those that the daemon made. Not told of anything else, nor when a repeated
    /// idempotency key names a group that has left the log and whose keys take more than some 3,000 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_shape_of_the_contract() {
        let answer = OpAnswer {
            op_id: "0193b2c4-0000-7000-8000-00000000002a".parse().unwrap(),
            lsn: Lsn(42),
            version: Version(1_769_644_800_000_000),
            state: State::Committed,
            key: Some("memory:01".to_owned()),
            keys: None,
        };
        let text = r#"{"op_id":"0193b2c4-0000-7000-8000-00000000002a","lsn":42,"version":1769644800000000,"state":"committed","key":"memory:01"}"#;
        assert_eq!(serde_json::to_string(&answer).unwrap(), text);
        assert_eq!(serde_json::from_str::<OpAnswer>(text).unwrap(), answer);
    }

    #[test]
    fn the_key_of_a_group_is_null_and_what_is_unknown_is_ignored() {
        let text = r#"{"op_id":"0193b2c4-0000-7000-8000-00000000002a","lsn":1,"version":2,"state":"pending","key":null,"new":[1]}"#;
        let answer: OpAnswer = serde_json::from_str(text).unwrap();
        assert_eq!(answer.key, None);
        assert!(serde_json::to_string(&answer).unwrap().ends_with(r#""key":null}"#));
    }
}
