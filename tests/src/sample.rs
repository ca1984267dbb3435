//! Real input: the cut in the repository, or the whole sample that `LOCKSTEP_SAMPLE` names.

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bytes::Bytes;
use flate2::read::GzDecoder;
use serde::Deserialize;

/// Operations to feed, and searches with their exact answers.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The operations, one a line.
    pub operations: Vec<u8>,
    /// The searches.
    pub queries: Vec<SampleQuery>,
}

/// A search and its ten nearest keys.
#[derive(Debug, Clone, Deserialize)]
pub struct SampleQuery {
    /// What is searched, in words.
    pub text: String,
    /// The table to search.
    pub table: String,
    /// The embedding of the text.
    pub vector: String,
    /// The nearest keys, by exact inner product.
    pub top10: Vec<String>,
}

/// An operation of the sample, as far as others care.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Sampled {
    /// A package.
    Put {
        /// Its key.
        key: String,
        /// What is known of it.
        document: serde_json::Map<String, serde_json::Value>,
        /// Its embedding, base64 of little-endian f32.
        vector: String,
    },
    /// A dependency.
    Relate {
        /// The edge table.
        edge: String,
        /// Who depends.
        from: String,
        /// On whom.
        to: String,
    },
}

impl Sample {
    /// The cut that lies in the repository.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn cut() -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
        let packed = File::open(folder.join("packages-cut.ndjson.gz")).context("the cut of the sample")?;
        let mut operations = Vec::new();
        GzDecoder::new(packed).read_to_end(&mut operations)?;
        Ok(Self { operations, queries: queries(&folder.join("queries-cut.ndjson"))? })
    }

    /// The whole sample, if the run was given it.
    ///
    /// # Errors
    /// If it was, and cannot be read.
    pub fn whole() -> Result<Option<Self>> {
        let Some(folder) = env::var_os("LOCKSTEP_SAMPLE").map(PathBuf::from) else { return Ok(None) };
        let operations = fs::read(folder.join("debian-packages.ndjson")).context("LOCKSTEP_SAMPLE")?;
        Ok(Some(Self { operations, queries: queries(&folder.join("queries.ndjson"))? }))
    }

    /// The first `count` operations as lines, on keys that no other client has.
    ///
    /// # Errors
    /// If they are not UTF-8.
    pub fn for_client(&self, client: usize, count: usize) -> Result<Vec<Bytes>> {
        let lines = self.operations.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let lines = lines.take(count).map(|line| {
            let line = str::from_utf8(line).context("a line of the sample")?;
            Ok(Bytes::from(format!("{}\n", line.replace("\"package:", &format!("\"package:{client}-")))))
        });
        lines.collect()
    }

    /// The operations.
    ///
    /// # Errors
    /// If a line is none.
    pub fn parsed(&self) -> Result<Vec<Sampled>> {
        let lines = self.operations.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).context("a line of the sample")).collect()
    }
}

fn queries(path: &Path) -> Result<Vec<SampleQuery>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    text.lines().map(|line| serde_json::from_str(line).context("a query of the sample")).collect()
}
