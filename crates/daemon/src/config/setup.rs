//! What the daemon is started with: every path resolved, every value checked, nothing that this version cannot do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_engine::Settings;

use super::ConfigError;
use super::endpoint::{SurrealEndpoint, edge_directory};
use super::limit::{self, count, seconds};
use super::sections::Config;
use super::tables;
use crate::Arguments;

/// What flags say about where things are.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file.
    pub config: Option<PathBuf>,
    /// The data directory.
    pub data: Option<PathBuf>,
    /// The socket.
    pub socket: Option<PathBuf>,
}

impl From<&Arguments> for Sources {
    fn from(arguments: &Arguments) -> Self {
        let Arguments { config, data, socket, .. } = arguments.clone();
        Self { config, data, socket }
    }
}

/// What the daemon is started with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The data directory, if there is one.
    pub data: Option<PathBuf>,
    /// Where it listens.
    pub socket: PathBuf,
    /// Who may connect.
    pub socket_mode: u32,
    /// How long a stop waits.
    pub grace: Duration,
    /// Where the log is.
    pub wal_dir: PathBuf,
    /// The log's ballast.
    pub reserve_bytes: u64,
    /// SurrealDB.
    pub surreal: SurrealEndpoint,
    /// Its namespace.
    pub namespace: String,
    /// Its database.
    pub database: String,
    /// The directory of Qdrant Edge.
    pub qdrant_dir: PathBuf,
    /// `limits.op_bytes`
    pub op_bytes: usize,
    /// `limits.connections`
    pub connections: usize,
    /// What the engine is told.
    pub engine: Settings,
}

impl Setup {
    /// What the configuration comes to.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new(config: &Config, sources: &Sources) -> Result<Self, ConfigError> {
        if sources.config.is_none() && sources.data.is_none() {
            return Err(ConfigError::Nowhere);
        }
        limit::check(config)?;
        refuse_later(config)?;
        let base = sources.data.clone().unwrap_or_default();
        let below = |name: &str, key| match &sources.data {
            Some(data) => Ok(data.join(name)),
            None => Err(ConfigError::Missing(key)),
        };
        let socket = match (&sources.socket, &config.daemon.socket) {
            (Some(socket), _) => socket.clone(),
            (None, Some(socket)) => base.join(socket),
            (None, None) => below("lockstep.sock", "daemon.socket")?,
        };
        check_socket(&socket)?;
        let wal_dir = config.wal.dir.as_ref().map_or_else(|| below("wal", "wal.dir"), |dir| Ok(base.join(dir)))?;
        let surreal = match &config.surreal.endpoint {
            Some(endpoint) => SurrealEndpoint::parse(endpoint, &base)?,
            None => SurrealEndpoint::Directory(below("surreal", "surreal.endpoint")?),
        };
        let qdrant_dir = match &config.qdrant.endpoint {
            Some(endpoint) => edge_directory(endpoint, &base)?,
            None => below("qdrant", "qdrant.endpoint")?,
        };
        Ok(Self {
            data: sources.data.clone(),
            socket,
            socket_mode: config.daemon.socket_mode.0,
            grace: seconds(config.daemon.shutdown_grace_s),
            wal_dir,
            reserve_bytes: config.wal.reserve_bytes.0,
            surreal,
            namespace: config.surreal.namespace.clone(),
            database: config.surreal.database.clone(),
            qdrant_dir,
            op_bytes: count(config.limits.op_bytes.0),
            connections: count(config.limits.connections),
            engine: engine(config)?,
        })
    }
}

fn engine(config: &Config) -> Result<Settings, ConfigError> {
    let Config { daemon, wal, retry, limits, .. } = config;
    Ok(Settings {
        // Both stores are embedded in this version.
        auto_create: daemon.auto_create.unwrap_or(true),
        tables: tables::checked(&config.tables)?,
        batch_ops: count(limits.batch_ops),
        batch_bytes: count(limits.batch_bytes.0),
        open_ops: count(limits.open_ops),
        open_per_key: count(limits.open_per_key),
        stall: seconds(limits.stall_s),
        max_bytes: wal.max_bytes.0,
        keep_finished: seconds(wal.keep_finished_s),
        keep_finished_bytes: wal.keep_finished_bytes.0,
        max_attempts: retry.max_attempts,
        retry_base: Duration::from_millis(retry.base_ms),
        retry_max: Duration::from_millis(retry.max_ms),
        ..Settings::default()
    })
}

/// Keys of later stages: understood, and refused rather than passed over.
fn refuse_later(config: &Config) -> Result<(), ConfigError> {
    let Config { daemon, surreal, qdrant, .. } = config;
    let credentials = "what only a store that is served needs";
    let later = [
        ("daemon.metrics_listen", daemon.metrics_listen.is_some(), "an address for metrics"),
        ("surreal.auth", surreal.auth.is_some(), credentials),
        ("surreal.user", surreal.user.is_some(), credentials),
        ("surreal.password_file", surreal.password_file.is_some(), credentials),
        ("surreal.token_file", surreal.token_file.is_some(), credentials),
        ("surreal.ca_file", surreal.ca_file.is_some(), credentials),
        ("qdrant.api_key_file", qdrant.api_key_file.is_some(), credentials),
        ("qdrant.ca_file", qdrant.ca_file.is_some(), credentials),
    ];
    match later.into_iter().find(|(_, set, _)| *set) {
        Some((key, _, what)) => Err(ConfigError::NotBuiltYet { key: key.to_owned(), what: what.to_owned() }),
        None => Ok(()),
    }
}

fn check_socket(socket: &Path) -> Result<(), ConfigError> {
    lockstep_api::check_socket(socket).map_err(|error| ConfigError::value("daemon.socket", error.to_string()))
}
