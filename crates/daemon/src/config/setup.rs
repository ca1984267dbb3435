//! What the daemon is started with: every path resolved, every secret read, every value checked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_engine::Settings;
use lockstep_stores::Expected;

use super::ConfigError;
use super::endpoint::{QdrantEndpoint, SurrealEndpoint};
use super::limit::{self, count, seconds};
use super::login::{self, Login, Trust};
use super::secret::{Secret, Secrets};
use super::sections::{Config, Ordering};
use super::tables;
use crate::Arguments;
use crate::arguments::LogFormat;
use crate::telemetry;

/// What flags and the service manager say.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file.
    pub config: Option<PathBuf>,
    /// The data directory.
    pub data: Option<PathBuf>,
    /// The socket.
    pub socket: Option<PathBuf>,
    /// How log lines look.
    pub log_format: Option<LogFormat>,
    /// What is logged.
    pub log_level: Option<String>,
    /// Take SurrealDB over from another log.
    pub adopt: bool,
    /// Where the service manager puts credentials: `$CREDENTIALS_DIRECTORY`.
    pub credentials: Option<PathBuf>,
}

impl Sources {
    /// What the flags say, and the directory of credentials that the service manager made.
    #[must_use]
    pub fn new(arguments: &Arguments, credentials: Option<PathBuf>) -> Self {
        let Arguments { command: _, config, data, socket, log_format, log_level, adopt } = arguments.clone();
        Self { config, data, socket, log_format, log_level, adopt, credentials }
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
    /// Where metrics are shown over TCP.
    pub metrics_listen: Option<SocketAddr>,
    /// How long a stop waits.
    pub grace: Duration,
    /// Where the log is.
    pub wal_dir: PathBuf,
    /// The log's ballast.
    pub reserve_bytes: u64,
    /// SurrealDB.
    pub surreal: SurrealSetup,
    /// Qdrant.
    pub qdrant: QdrantSetup,
    /// `limits.op_bytes`
    pub op_bytes: usize,
    /// `limits.connections`
    pub connections: usize,
    /// What is logged.
    pub log_level: String,
    /// How.
    pub log_format: LogFormat,
    /// What the engine is told.
    pub engine: Settings,
    /// What was odd, and does not keep it from starting.
    pub warnings: Vec<String>,
}

/// What is needed to reach SurrealDB.
#[derive(Debug, Clone)]
pub struct SurrealSetup {
    /// Where it is.
    pub endpoint: SurrealEndpoint,
    /// Its namespace.
    pub namespace: String,
    /// Its database.
    pub database: String,
    /// Who signs in.
    pub login: Login,
    /// By what it is trusted.
    pub trust: Trust,
    /// How long a call may take.
    pub timeout: Duration,
}

/// What is needed to reach Qdrant.
#[derive(Debug, Clone)]
pub struct QdrantSetup {
    /// Where it is.
    pub endpoint: QdrantEndpoint,
    /// The key it asks for.
    pub api_key: Option<Secret>,
    /// By what it is trusted.
    pub trust: Trust,
    /// How long a call may take.
    pub timeout: Duration,
    /// `qdrant.ordering`
    pub ordering: Option<Ordering>,
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
        let log_level = sources.log_level.clone().unwrap_or_else(|| config.daemon.log_level.clone());
        telemetry::check_level(&log_level)
            .map_err(|error| ConfigError::value("daemon.log_level", error.to_string()))?;
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
        let qdrant = match &config.qdrant.endpoint {
            Some(endpoint) => QdrantEndpoint::parse(endpoint, &base)?,
            None => QdrantEndpoint::Directory(below("qdrant", "qdrant.endpoint")?),
        };
        let embedded = surreal.served().is_none() && qdrant.served().is_none();
        let engine = engine(config, embedded, sources.adopt)?;
        let mut secrets = Secrets { base: &base, credentials: sources.credentials.as_deref(), warnings: Vec::new() };
        let (login, surreal_trust) = login::surreal(&config.surreal, &surreal, &mut secrets)?;
        let (api_key, qdrant_trust) = login::qdrant(&config.qdrant, &qdrant, &mut secrets)?;
        Ok(Self {
            data: sources.data.clone(),
            socket,
            socket_mode: config.daemon.socket_mode.0,
            metrics_listen: metrics_listen(config)?,
            grace: seconds(config.daemon.shutdown_grace_s),
            wal_dir,
            reserve_bytes: config.wal.reserve_bytes.0,
            surreal: SurrealSetup {
                endpoint: surreal,
                namespace: config.surreal.namespace.clone(),
                database: config.surreal.database.clone(),
                login,
                trust: surreal_trust,
                timeout: seconds(config.surreal.timeout_s),
            },
            qdrant: QdrantSetup {
                endpoint: qdrant,
                api_key,
                trust: qdrant_trust,
                timeout: seconds(config.qdrant.timeout_s),
                ordering: config.qdrant.ordering,
            },
            op_bytes: count(config.limits.op_bytes.0),
            connections: count(config.limits.connections),
            log_level,
            log_format: sources.log_format.unwrap_or(config.daemon.log_format),
            engine,
            warnings: secrets.warnings,
        })
    }

    /// What the stores are expected to look like, table by table as configured.
    #[must_use]
    pub fn expected(&self) -> Vec<Expected> {
        lockstep_engine::expected(&self.engine)
    }
}

fn engine(config: &Config, embedded: bool, adopt: bool) -> Result<Settings, ConfigError> {
    let Config { daemon, wal, surreal, qdrant, retry, limits, .. } = config;
    Ok(Settings {
        auto_create: daemon.auto_create.unwrap_or(embedded),
        tables: tables::checked(&config.tables)?,
        adopt,
        embedded,
        // A request that timed out here may still be carried out there for as long again.
        late_after: seconds(2 * surreal.timeout_s.max(qdrant.timeout_s)),
        batch_ops: count(limits.batch_ops),
        batch_bytes: count(limits.batch_bytes.0),
        group_ops: count(limits.group_ops),
        open_ops: count(limits.open_ops),
        open_per_key: count(limits.open_per_key),
        stall: seconds(limits.stall_s),
        max_bytes: wal.max_bytes.0,
        retain_committed: seconds(wal.retain_committed_s),
        retain_last: count(wal.retain_last),
        keep_finished: seconds(wal.keep_finished_s),
        keep_finished_bytes: wal.keep_finished_bytes.0,
        max_attempts: retry.max_attempts,
        retry_base: Duration::from_millis(retry.base_ms),
        retry_max: Duration::from_millis(retry.max_ms),
        ..Settings::default()
    })
}

fn metrics_listen(config: &Config) -> Result<Option<SocketAddr>, ConfigError> {
    let wrong = |_| {
        let detail = "an IP address and a port are wanted, as in 127.0.0.1:9464 or [::1]:9464";
        ConfigError::value("daemon.metrics_listen", detail)
    };
    config.daemon.metrics_listen.as_ref().map(|text| text.parse().map_err(wrong)).transpose()
}

fn check_socket(socket: &Path) -> Result<(), ConfigError> {
    lockstep_api::check_socket(socket).map_err(|error| ConfigError::value("daemon.socket", error.to_string()))
}
