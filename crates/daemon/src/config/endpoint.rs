//! Where the stores are: embedded in this process, or served by another.

use std::path::{Path, PathBuf};

use axum::http::uri::Authority;

use super::ConfigError;

/// Where SurrealDB is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SurrealEndpoint {
    /// `surrealkv://PATH`: embedded.
    Directory(PathBuf),
    /// `mem://`: embedded, and nothing survives the process. For trials and tests.
    Memory,
    /// `ws://`, `wss://`, `http://` or `https://HOST:PORT`: a server.
    Served(Served),
}

/// Where Qdrant is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QdrantEndpoint {
    /// `edge://PATH`: embedded.
    Directory(PathBuf),
    /// `http://` or `https://HOST:PORT`: a server's gRPC port.
    Served(Served),
}

/// The address of a server. There are no credentials in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    scheme: String,
    authority: Authority,
}

impl Served {
    /// As the adapter and the status name it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self.scheme.as_str(), "wss" | "https")
    }

    /// Its port, where it is said.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.authority.port_u16()
    }

    /// What stands behind `scheme://`: a host and perhaps a port. A refusal does not repeat it: it may hold a password.
    fn parse(key: &str, scheme: &str, rest: &str) -> Result<Self, ConfigError> {
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            let detail = "credentials do not belong into the address: they have keys of their own";
            return Err(ConfigError::value(key, detail));
        }
        if authority.contains(['/', '?', '#']) {
            return Err(ConfigError::value(key, "only a host and a port are taken after ://"));
        }
        let wrong = |_| ConfigError::value(key, "after :// a host and a port are wanted, as in localhost:8000");
        let authority: Authority = authority.parse().map_err(wrong)?;
        let port =
            authority.as_str().rsplit_once(':').filter(|(host, _)| !host.starts_with('[') || host.ends_with(']'));
        if authority.host().is_empty() || (port.is_some() && authority.port_u16().is_none()) {
            return Err(ConfigError::value(key, "after :// a host and a port are wanted, as in localhost:8000"));
        }
        Ok(Self { scheme: scheme.to_owned(), authority })
    }
}

impl SurrealEndpoint {
    /// As the adapter and the status name it.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Directory(path) => format!("surrealkv://{}", path.display()),
            Self::Memory => "mem://".to_owned(),
            Self::Served(served) => served.url(),
        }
    }

    /// The server, if it is one.
    #[must_use]
    pub const fn served(&self) -> Option<&Served> {
        match self {
            Self::Served(served) => Some(served),
            Self::Directory(_) | Self::Memory => None,
        }
    }

    /// The directory, if it has one.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) => Some(path),
            Self::Memory | Self::Served(_) => None,
        }
    }

    pub(super) fn parse(text: &str, base: &Path) -> Result<Self, ConfigError> {
        const KEY: &str = "surreal.endpoint";
        match split(KEY, text)? {
            ("surrealkv", path) => directory(KEY, path, base).map(Self::Directory),
            ("mem", "") => Ok(Self::Memory),
            (scheme @ ("ws" | "wss" | "http" | "https"), rest) => Served::parse(KEY, scheme, rest).map(Self::Served),
            (scheme, _) => {
                let detail =
                    format!("{scheme}:// is neither surrealkv://PATH, mem:// nor ws://, wss://, http:// or https://");
                Err(ConfigError::value(KEY, detail))
            }
        }
    }
}

impl QdrantEndpoint {
    /// As the adapter and the status name it.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Directory(path) => format!("edge://{}", path.display()),
            Self::Served(served) => served.url(),
        }
    }

    /// The server, if it is one.
    #[must_use]
    pub const fn served(&self) -> Option<&Served> {
        match self {
            Self::Served(served) => Some(served),
            Self::Directory(_) => None,
        }
    }

    /// The directory, if it has one.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) => Some(path),
            Self::Served(_) => None,
        }
    }

    pub(super) fn parse(text: &str, base: &Path) -> Result<Self, ConfigError> {
        const KEY: &str = "qdrant.endpoint";
        match split(KEY, text)? {
            ("edge", path) => directory(KEY, path, base).map(Self::Directory),
            (scheme @ ("http" | "https"), rest) => Served::parse(KEY, scheme, rest).map(Self::Served),
            (scheme, _) => {
                Err(ConfigError::value(KEY, format!("{scheme}:// is neither edge://PATH nor http:// or https://")))
            }
        }
    }
}

fn split<'a>(key: &str, text: &'a str) -> Result<(&'a str, &'a str), ConfigError> {
    text.split_once("://").ok_or_else(|| ConfigError::value(key, "an endpoint has the form scheme://rest"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_servers() {
        let base = Path::new("data");
        for url in ["ws://127.0.0.1:8000", "wss://db.example", "http://[::1]:8000", "https://db:443"] {
            let endpoint = SurrealEndpoint::parse(url, base).unwrap();
            assert_eq!(endpoint.url(), url);
            let served = endpoint.served().unwrap();
            assert_eq!(served.is_encrypted(), url.starts_with("wss") || url.starts_with("https"));
        }
        assert_eq!(QdrantEndpoint::parse("http://q:6334/", base).unwrap().url(), "http://q:6334");
        assert_eq!(QdrantEndpoint::parse("http://q:6334/", base).unwrap().served().unwrap().port(), Some(6334));
        for wrong in ["ws://", "ws://u:secret@h:1", "ws://h:x", "ws://h:70000", "ws://h/rpc", "ws://h?a=1", "ws://a b"]
        {
            let said = SurrealEndpoint::parse(wrong, base).unwrap_err().to_string();
            assert!(said.starts_with("surreal.endpoint: ") && !said.contains("secret"), "{wrong}: {said}");
        }
        assert!(QdrantEndpoint::parse("ws://h", base).is_err());
    }
}
