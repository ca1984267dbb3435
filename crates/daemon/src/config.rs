//! Configuration: from flags, environment and file to what the daemon is started with.
//!
//! [`Config`] is what is written, key by key; [`Setup`] is what it comes to, checked. Later goes over earlier: defaults, the
//! file, the environment, flags. An unknown key is an error, wherever it stands. Secrets are never in the configuration,
//! only the names of their files (`secret` reads them); an endpoint that is refused is not repeated beyond its scheme.

mod endpoint;
mod environment;
mod keys;
mod limit;
mod login;
mod mode;
mod secret;
mod sections;
mod setup;
mod size;
mod tables;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Table;

pub use self::endpoint::{QdrantEndpoint, Served, SurrealEndpoint};
pub use self::keys::{KEYS, Kind};
pub use self::login::{Login, Trust};
pub use self::mode::Mode;
pub use self::secret::Secret;
pub use self::sections::{Auth, Config, Daemon, Limits, Ordering, Qdrant, Retry, Surreal, Wal};
pub use self::setup::{Setup, Sources};
pub use self::size::Size;

/// The configuration cannot be used. All of it is the operator's to mend: exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or has an unknown key, or a value of the wrong type.
    #[error("the configuration {} is wrong in line {line}: {what}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What. The line itself is not repeated: it may hold what should not be there.
        what: String,
    },
    /// The variables of the environment, put together, are wrong.
    #[error("the variables LOCKSTEP_<SECTION>__<KEY> are wrong: {0}")]
    Variables(String),
    /// A variable in the environment is wrong.
    #[error("the variable {variable} is wrong: {detail}")]
    Variable {
        /// Its name.
        variable: String,
        /// What is wrong. It does not repeat the value.
        detail: String,
    },
    /// A value is out of its bounds.
    #[error("{key}: {detail}")]
    Value {
        /// The key.
        key: String,
        /// What is wrong.
        detail: String,
    },
    /// A file with a secret cannot be read.
    #[error("{key}: cannot read {}", path.display())]
    Secret {
        /// The key, or the credential.
        key: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A key without default is not there.
    #[error("{0} is not set: set it, or say with --data DIR where everything shall be")]
    Missing(&'static str),
    /// Nothing says where anything is.
    #[error("where? Start it with `lockstepd --data DIR`, or with `lockstepd --config FILE`")]
    Nowhere,
}

impl ConfigError {
    pub(crate) fn value(key: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Value { key: key.into(), detail: detail.into() }
    }
}

/// Reads file and environment.
///
/// # Errors
/// See [`ConfigError`].
pub fn load(sources: &Sources, variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Config, ConfigError> {
    let mut table = match &sources.config {
        Some(path) => read(path)?,
        None => Table::new(),
    };
    environment::overlay(&mut table, variables)?;
    Config::deserialize(table).map_err(|error| ConfigError::Variables(error.to_string().trim().to_owned()))
}

fn read(path: &Path) -> Result<Table, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let wrong = |error: toml::de::Error| ConfigError::Parse {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()),
        what: key_of(&text).map_or_else(|| error.message().to_owned(), |key| format!("{key}: {}", error.message())),
    };
    // Read from the text first, whose errors tell the line.
    let _: Config = toml::from_str(&text).map_err(wrong)?;
    let table = text.parse().map_err(wrong)?;
    tables::check_names(&table)?;
    Ok(table)
}

/// Where in the configuration the wrong value, or the unknown key, stands: read from the text an error tells the line, read
/// from the table it tells the key.
fn key_of(text: &str) -> Option<String> {
    let error = Config::deserialize(text.parse::<Table>().ok()?).err()?.to_string();
    let (_, key) = error.rsplit_once("in `")?;
    Some(key.trim_end().trim_end_matches('`').to_owned())
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
