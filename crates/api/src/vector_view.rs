//! A vector, as it is shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The values of one vector. Their kind shows in their JSON, as it does where they are written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum VectorView {
    /// `[0.1, 0.2]`
    Dense(Vec<f32>),
    /// `{"indices": [1, 7], "values": [0.1, 0.2]}`
    Sparse {
        /// Where the values stand.
        indices: Vec<u32>,
        /// The values.
        values: Vec<f32>,
    },
    /// `[[0.1, 0.2], [0.3, 0.4]]`
    Multi(Vec<Vec<f32>>),
}

impl fmt::Display for VectorView {
    /// Its size: `[384 f32]`, `[12 of sparse f32]`, `[3 x 128 f32]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dense(values) => write!(f, "[{} f32]", values.len()),
            Self::Sparse { values, .. } => write!(f, "[{} of sparse f32]", values.len()),
            Self::Multi(rows) => write!(f, "[{} x {} f32]", rows.len(), rows.first().map_or(0, Vec::len)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read_shown_and_written_as_short_as_it_came() {
        let cases = [
            ("[0.1,-2.0]", "[2 f32]"),
            (r#"{"indices":[1,7],"values":[0.1,0.2]}"#, "[2 of sparse f32]"),
            ("[[0.1,0.2],[0.3,0.4],[0.5,0.6]]", "[3 x 2 f32]"),
        ];
        for (text, shown) in cases {
            let vector: VectorView = serde_json::from_str(text).unwrap();
            assert_eq!(vector.to_string(), shown);
            assert_eq!(serde_json::to_string(&vector).unwrap(), text);
        }
    }
}
