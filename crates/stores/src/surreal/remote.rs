//! How a served SurrealDB is reached, and as whom.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::{Class, Scope, StoreError};

/// A served SurrealDB.
#[derive(Debug, Clone)]
pub struct SurrealRemote {
    /// `ws://`, `wss://`, `http://` or `https://`, a host and a port.
    pub endpoint: String,
    /// The namespace.
    pub namespace: String,
    /// The database.
    pub database: String,
    /// Who signs in.
    pub auth: SurrealAuth,
    /// Certificates (PEM) to trust instead of the system's, for `wss` and `https`.
    pub ca_file: Option<PathBuf>,
    /// How long one call may take, and how long making a connection may.
    pub timeout: Duration,
    /// Namespace, database and tables may be made where they are missing. Lockstep's own two tables are in any case.
    pub create: bool,
}

/// Who signs in. What is secret is never shown.
#[derive(Clone)]
pub enum SurrealAuth {
    /// A user of the whole server.
    Root {
        /// Its name.
        user: String,
        /// Its password.
        password: String,
    },
    /// A user of the namespace.
    Namespace {
        /// Its name.
        user: String,
        /// Its password.
        password: String,
    },
    /// A user of the database.
    Database {
        /// Its name.
        user: String,
        /// Its password.
        password: String,
    },
    /// A token that the server, or whoever it trusts, has issued.
    Token(String),
    /// Nobody: for servers that ask for nothing.
    None,
}

impl fmt::Debug for SurrealAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (level, user) = match self {
            Self::Root { user, .. } => ("Root", Some(user)),
            Self::Namespace { user, .. } => ("Namespace", Some(user)),
            Self::Database { user, .. } => ("Database", Some(user)),
            Self::Token(_) => ("Token", None),
            Self::None => ("None", None),
        };
        let mut shown = f.debug_struct(level);
        if let Some(user) = user {
            shown.field("user", user);
        }
        shown.finish_non_exhaustive()
    }
}

/// What speaks to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Ws,
    Http,
}

/// Where a connection goes, from the endpoint's text.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) protocol: Protocol,
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// What stands before `/rpc`, with a slash at its end.
    pub(super) path: String,
}

impl Address {
    pub(super) fn of(endpoint: &str) -> Result<Self, StoreError> {
        let url = Url::parse(endpoint).map_err(|error| bad(format!("the endpoint is no address: {error}")))?;
        let (protocol, tls) = match url.scheme() {
            "ws" => (Protocol::Ws, false),
            "wss" => (Protocol::Ws, true),
            "http" => (Protocol::Http, false),
            "https" => (Protocol::Http, true),
            other => return Err(bad(format!("an endpoint begins with ws, wss, http or https, and not with {other}"))),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("an endpoint carries no user and no password: they have settings of their own".to_owned()));
        }
        let host = url.host_str().ok_or_else(|| bad("the endpoint names no host".to_owned()))?.to_owned();
        let port = url.port_or_known_default().unwrap_or(8000);
        let path = url.path().trim_end_matches('/').trim_end_matches("/rpc");
        Ok(Self { protocol, tls, host, port, path: format!("{path}/") })
    }

    /// Host and port, as they stand in a header.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

fn bad(words: String) -> StoreError {
    StoreError::new(super::STORE, Class::Configuration(Scope::Store), words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let (user, password) = ("ann".to_owned(), "s3cret".to_owned());
        let all = [
            SurrealAuth::Root { user: user.clone(), password: password.clone() },
            SurrealAuth::Namespace { user: user.clone(), password: password.clone() },
            SurrealAuth::Database { user, password: password.clone() },
            SurrealAuth::Token(password),
        ];
        for auth in all {
            assert!(!format!("{auth:?}").contains("s3cret"));
        }
        let error = Address::of("ws://ann:s3cret@host").unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn endpoints_are_read() {
        let cases = [
            ("ws://db:8000", (Protocol::Ws, false, "db", 8000, "/")),
            ("wss://db", (Protocol::Ws, true, "db", 443, "/")),
            ("http://[::1]:8000/", (Protocol::Http, false, "[::1]", 8000, "/")),
            ("https://db/behind/rpc", (Protocol::Http, true, "db", 443, "/behind/")),
        ];
        for (text, want) in cases {
            let address = Address::of(text).unwrap();
            let got = (address.protocol, address.tls, address.host.as_str(), address.port, address.path.as_str());
            assert_eq!(got, want, "{text}");
        }
        for text in ["", "db:8000", "surrealkv://x", "ws://"] {
            assert_eq!(Address::of(text).unwrap_err().class, Class::Configuration(Scope::Store), "{text}");
        }
    }
}
