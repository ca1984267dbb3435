//! The sample that is part of this program.

use std::collections::BTreeSet;
use std::io::Read;

use flate2::read::GzDecoder;
use serde::Deserialize;

use crate::failure::Failure;

static PACKAGES: &[u8] = include_bytes!("../../../../tests/data/packages-cut.ndjson.gz");
static QUERIES: &str = include_str!("../../../../tests/data/queries-cut.ndjson");

/// Operations to feed, and what the stores must hold afterwards.
#[derive(Debug)]
pub(crate) struct Sample {
    /// The operations, one a line.
    pub(crate) operations: Vec<u8>,
    /// How many there are.
    pub(crate) lines: u64,
    /// The keys that they put.
    pub(crate) keys: Vec<String>,
    /// How many edges they relate.
    pub(crate) edges: u64,
    /// Searches whose answers are known.
    pub(crate) queries: Vec<SampleQuery>,
}

/// A search and its exact answer.
#[derive(Debug, Deserialize)]
pub(crate) struct SampleQuery {
    pub(crate) text: String,
    pub(crate) table: String,
    pub(crate) vector: String,
    pub(crate) top10: Vec<String>,
}

/// What counts of an operation of the sample.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Sampled {
    Put { key: String },
    Relate { edge: String, from: String, to: String },
}

impl Sample {
    /// Unpacks it.
    pub(crate) fn load() -> Result<Self, Failure> {
        let mut operations = Vec::new();
        GzDecoder::new(PACKAGES).read_to_end(&mut operations).map_err(Failure::Sample)?;
        let queries =
            QUERIES.lines().map(serde_json::from_str).collect::<Result<_, _>>().map_err(Failure::SampleJson)?;
        let (mut keys, mut edges, mut lines) = (BTreeSet::new(), BTreeSet::new(), 0);
        for line in operations.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            lines += 1;
            match serde_json::from_slice(line).map_err(Failure::SampleJson)? {
                Sampled::Put { key } => keys.insert(key),
                Sampled::Relate { edge, from, to } => edges.insert((edge, from, to)),
            };
        }
        Ok(Self { operations, lines, keys: keys.into_iter().collect(), edges: edges.len() as u64, queries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_its_readme_says() {
        let sample = Sample::load().unwrap();
        assert_eq!((sample.lines, sample.keys.len(), sample.edges), (12_911, 1_500, 11_411));
        assert_eq!(sample.queries.len(), 20);
        for query in &sample.queries {
            assert_eq!(query.top10.len(), 10, "{}", query.text);
            assert!(query.top10.iter().all(|key| sample.keys.binary_search(key).is_ok()), "{}", query.text);
        }
        assert!(PACKAGES.len() + QUERIES.len() < 3 << 20);
    }
}
