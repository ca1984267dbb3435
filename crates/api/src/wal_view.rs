//! The log, in figures.

use lockstep_model::Lsn;
use serde::{Deserialize, Serialize};

use crate::StateCounts;

/// The `wal` object of `GET /v1/status` and of `wal-tools status --json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WalView {
    /// The oldest record that the log holds; null if it holds none.
    pub first_lsn: Option<Lsn>,
    /// The newest record; null if there never was one.
    pub last_lsn: Option<Lsn>,
    /// Every operation below it has left the log; null if that is not known.
    pub checkpoint_lsn: Option<Lsn>,
    /// What the log takes on disk.
    pub bytes: Option<u64>,
    /// How many operations have not ended and are not parked.
    pub open_ops: u64,
    /// How many operations wait for an operator.
    pub parked: u64,
    /// How long the oldest open operation has been open; null if none is.
    pub oldest_open_age_s: Option<f64>,
    /// The operations that the log holds now.
    pub states: StateCounts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_shape_of_the_contract() {
        let empty = serde_json::to_string(&WalView::default()).unwrap();
        let text = concat!(
            r#"{"first_lsn":null,"last_lsn":null,"checkpoint_lsn":null,"bytes":null,"open_ops":0,"parked":0,"oldest_open_age_s":null,"#,
            r#""states":{"pending":0,"surreal_completed":0,"qdrant_completed":0,"committed":0,"compensating":0,"rolled_back":0,"parked":0,"discarded":0}}"#,
        );
        assert_eq!(empty, text);
        let read: WalView =
            serde_json::from_str(r#"{"last_lsn":7,"bytes":1024,"oldest_open_age_s":3,"later":true}"#).unwrap();
        assert_eq!((read.last_lsn, read.bytes, read.oldest_open_age_s), (Some(Lsn(7)), Some(1024), Some(3.0)));
    }
}
