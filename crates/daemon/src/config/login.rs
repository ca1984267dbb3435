//! How to sign in to the servers, and by what to trust them.

use std::path::{Path, PathBuf};

use super::ConfigError;
use super::endpoint::{QdrantEndpoint, SurrealEndpoint};
use super::secret::{Secret, Secrets};
use super::sections::{Auth, Qdrant, Surreal};

/// Who signs in to SurrealDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// Nobody: the server asks for nothing, or there is no server.
    Nobody,
    /// A user.
    User {
        /// Of what.
        level: Auth,
        /// Its name.
        name: String,
        /// Its password.
        password: Secret,
    },
    /// Whoever the token is for.
    Token(Secret),
}

/// By what a server is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// Certificates in a file, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// Who signs in to SurrealDB.
pub(super) fn surreal(
    config: &Surreal,
    endpoint: &SurrealEndpoint,
    secrets: &mut Secrets<'_>,
) -> Result<(Login, Trust), ConfigError> {
    let Surreal { auth, user, password_file, token_file, ca_file, .. } = config;
    let Some(served) = endpoint.served() else {
        let set = [
            ("surreal.auth", auth.is_some()),
            ("surreal.user", user.is_some()),
            ("surreal.password_file", password_file.is_some()),
            ("surreal.token_file", token_file.is_some()),
            ("surreal.ca_file", ca_file.is_some()),
        ];
        only_servers(&set, "SurrealDB")?;
        return Ok((Login::Nobody, Trust::default()));
    };
    let trust = trust("surreal.ca_file", ca_file.as_deref(), served.is_encrypted(), secrets.base)?;
    if token_file.is_some() && (user.is_some() || password_file.is_some()) {
        let detail = "a token is used instead of user and password: set one or the other";
        return Err(ConfigError::value("surreal.token_file", detail));
    }
    // What a key says goes before what the service manager hands over.
    let token = match user {
        Some(_) => None,
        None => secrets.find("surreal.token_file", token_file.as_ref(), "surreal-token")?,
    };
    if let Some(token) = token {
        return Ok((Login::Token(token), trust));
    }
    let password = secrets.find("surreal.password_file", password_file.as_ref(), "surreal-password")?;
    let login = match (user, password) {
        (Some(name), Some(password)) => Login::User { level: auth.unwrap_or(Auth::Root), name: name.clone(), password },
        (Some(_), None) => {
            let detail =
                "its password is missing: set surreal.password_file, or hand over the credential surreal-password";
            return Err(ConfigError::value("surreal.user", detail));
        }
        (None, Some(_)) => return Err(ConfigError::value("surreal.user", "there is a password, and no user")),
        (None, None) if auth.is_some() => {
            return Err(ConfigError::value("surreal.auth", "surreal.user is missing"));
        }
        (None, None) => Login::Nobody,
    };
    Ok((login, trust))
}

/// The key that Qdrant asks for.
pub(super) fn qdrant(
    config: &Qdrant,
    endpoint: &QdrantEndpoint,
    secrets: &mut Secrets<'_>,
) -> Result<(Option<Secret>, Trust), ConfigError> {
    let Qdrant { api_key_file, ca_file, ordering, .. } = config;
    let Some(served) = endpoint.served() else {
        let set = [
            ("qdrant.api_key_file", api_key_file.is_some()),
            ("qdrant.ca_file", ca_file.is_some()),
            ("qdrant.ordering", ordering.is_some()),
        ];
        only_servers(&set, "Qdrant")?;
        return Ok((None, Trust::default()));
    };
    let trust = trust("qdrant.ca_file", ca_file.as_deref(), served.is_encrypted(), secrets.base)?;
    if served.port() == Some(6333) {
        secrets.warnings.push(
            "qdrant.endpoint: 6333 is the port on which Qdrant usually speaks REST; Lockstep speaks gRPC, usually on 6334"
                .to_owned(),
        );
    }
    let key = secrets.find("qdrant.api_key_file", api_key_file.as_ref(), "qdrant-api-key")?;
    if key.is_some() && !served.is_encrypted() {
        secrets
            .warnings
            .push("qdrant.endpoint: the API key goes over the network as it is; https:// would hide it".to_owned());
    }
    Ok((key, trust))
}

fn only_servers(set: &[(&str, bool)], store: &str) -> Result<(), ConfigError> {
    match set.iter().find(|(_, set)| *set) {
        Some((key, _)) => {
            Err(ConfigError::value(*key, format!("only a {store} server has a use for it, and {store} is embedded")))
        }
        None => Ok(()),
    }
}

fn trust(key: &str, ca_file: Option<&Path>, encrypted: bool, base: &Path) -> Result<Trust, ConfigError> {
    let Some(file) = ca_file else { return Ok(Trust::default()) };
    if !encrypted {
        return Err(ConfigError::value(key, "the endpoint is not encrypted: use wss:// or https://, or leave it out"));
    }
    let path = base.join(file);
    match std::fs::File::open(&path) {
        Ok(_) => Ok(Trust { ca_file: Some(path) }),
        Err(source) => Err(ConfigError::Secret { key: key.to_owned(), path, source }),
    }
}
