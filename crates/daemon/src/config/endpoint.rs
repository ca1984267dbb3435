//! Where the stores are. This version embeds both; a server's address is understood and refused.

use std::path::{Path, PathBuf};

use super::ConfigError;

/// An embedded SurrealDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SurrealEndpoint {
    /// `surrealkv://PATH`
    Directory(PathBuf),
    /// `mem://`: nothing survives the process. For trials and tests.
    Memory,
}

impl SurrealEndpoint {
    /// As the adapter and the status name it.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Directory(path) => format!("surrealkv://{}", path.display()),
            Self::Memory => "mem://".to_owned(),
        }
    }

    pub(super) fn parse(text: &str, base: &Path) -> Result<Self, ConfigError> {
        const KEY: &str = "surreal.endpoint";
        match split(KEY, text)? {
            ("surrealkv", path) => directory(KEY, path, base).map(Self::Directory),
            ("mem", "") => Ok(Self::Memory),
            ("ws" | "wss" | "http" | "https", _) => Err(served(KEY, "SurrealDB server")),
            (scheme, _) => {
                Err(ConfigError::value(KEY, format!("{scheme}:// is neither surrealkv://PATH, mem:// nor ws://")))
            }
        }
    }
}

/// The directory of an embedded Qdrant.
pub(super) fn edge_directory(text: &str, base: &Path) -> Result<PathBuf, ConfigError> {
    const KEY: &str = "qdrant.endpoint";
    match split(KEY, text)? {
        ("edge", path) => directory(KEY, path, base),
        ("http" | "https", _) => Err(served(KEY, "Qdrant server")),
        (scheme, _) => Err(ConfigError::value(KEY, format!("{scheme}:// is neither edge://PATH nor http://"))),
    }
}

fn split<'a>(key: &str, text: &'a str) -> Result<(&'a str, &'a str), ConfigError> {
    text.split_once("://").ok_or_else(|| ConfigError::value(key, "an endpoint has the form scheme://rest"))
}

fn served(key: &str, what: &str) -> ConfigError {
    ConfigError::NotBuiltYet { key: key.to_owned(), what: format!("a {what}") }
}

fn directory(key: &str, path: &str, base: &Path) -> Result<PathBuf, ConfigError> {
    if path.is_empty() {
        return Err(ConfigError::value(key, "there is no path after ://"));
    }
    if path.contains('?') {
        // What `?sync=never` acknowledges, a power cut takes (P1).
        return Err(ConfigError::value(key, "parameters after the path are not taken"));
    }
    Ok(base.join(path))
}
