//! The barrier.

use lockstep_model::Lsn;
use serde::{Deserialize, Serialize};

/// What `POST /v1/barrier` answers, with 200, when everything logged before the call is finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BarrierAnswer {
    /// The last record that was logged before the call.
    pub lsn: Lsn,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_shape_of_the_contract() {
        assert_eq!(serde_json::to_string(&BarrierAnswer { lsn: Lsn(42) }).unwrap(), r#"{"lsn":42}"#);
    }
}
