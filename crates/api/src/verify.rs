//! Looking whether the stores still hold what they were given.

use serde::{Deserialize, Serialize};

/// What `POST /v1/verify` answers, with 202: the looking has begun, and `GET /v1/status` tells how much of it is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct VerifyAnswer {
    /// How many committed operations are looked at.
    pub operations: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_shape_that_was_agreed() {
        assert_eq!(serde_json::to_string(&VerifyAnswer { operations: 3 }).unwrap(), r#"{"operations":3}"#);
    }
}
