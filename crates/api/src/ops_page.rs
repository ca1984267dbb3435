//! A page of the list of operations.

use lockstep_model::State;
use serde::{Deserialize, Serialize};

use crate::OpView;

/// What `GET /v1/ops` answers: newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpsPage {
    /// The operations, without their histories.
    pub ops: Vec<OpView>,
    /// The cursor of the next page; null at the end.
    pub next: Option<String>,
}

/// Which operations to list: the parameters of `GET /v1/ops`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OpsFilter {
    /// Only those in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Only those that write this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// At most so many: 100 if it is not said, never more than [`OpsFilter::MAX_LIMIT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Go on where an earlier page ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl OpsFilter {
    /// The size of a page, if the request does not say.
    pub const DEFAULT_LIMIT: u32 = 100;
    /// A page has at most so many operations.
    pub const MAX_LIMIT: u32 = 1000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_shape_of_the_contract() {
        let page = OpsPage { ops: Vec::new(), next: None };
        assert_eq!(serde_json::to_string(&page).unwrap(), r#"{"ops":[],"next":null}"#);
        let page: OpsPage = serde_json::from_str(r#"{"ops":[],"next":"41","total":3}"#).unwrap();
        assert_eq!(page.next.as_deref(), Some("41"));
    }
}
