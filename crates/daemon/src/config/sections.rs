//! The sections of the configuration, as they are written. Defaults are the contract's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lockstep_model::TableRules;
use serde::{Deserialize, Serialize};

use super::mode::Mode;
use super::size::Size;
use crate::arguments::LogFormat;

/// All of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The process and its socket.
    pub daemon: Daemon,
    /// The log.
    pub wal: Wal,
    /// SurrealDB.
    pub surreal: Surreal,
    /// Qdrant.
    pub qdrant: Qdrant,
    /// What is done about failures that may pass.
    pub retry: Retry,
    /// Bounds.
    pub limits: Limits,
    /// What is known of tables beforehand, by name.
    pub tables: BTreeMap<String, TableRules>,
}

/// `[daemon]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Daemon {
    /// Where it listens; `lockstep.sock` in the data directory.
    pub socket: Option<PathBuf>,
    /// Who may connect.
    pub socket_mode: Mode,
    /// How long a stop waits for open operations.
    pub shutdown_grace_s: u64,
    /// Where metrics are shown.
    pub metrics_listen: Option<String>,
    /// Unknown tables and collections are created; on if both stores are embedded.
    pub auto_create: Option<bool>,
    /// What is logged.
    pub log_level: String,
    /// How log lines look.
    pub log_format: LogFormat,
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            socket: None,
            socket_mode: Mode::default(),
            shutdown_grace_s: 20,
            metrics_listen: None,
            auto_create: None,
            log_level: "info".to_owned(),
            log_format: LogFormat::default(),
        }
    }
}

/// `[wal]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wal {
    /// Where the log is; `wal` in the data directory.
    pub dir: Option<PathBuf>,
    /// How large open operations may become; what has ended may take half of it.
    pub max_bytes: Size,
    /// Room kept for draining on a full disk.
    pub reserve_bytes: Size,
    /// How long whole intents are kept after their end, for stores that are served.
    pub retain_committed_s: u64,
    /// How many of the last stay for longer, for stores that are served.
    pub retain_last: u64,
    /// How long summaries of finished operations are kept.
    pub keep_finished_s: u64,
    /// And how many bytes of them.
    pub keep_finished_bytes: Size,
}

impl Default for Wal {
    fn default() -> Self {
        Self {
            dir: None,
            max_bytes: Size(4 << 30),
            reserve_bytes: Size(64 << 20),
            retain_committed_s: 900,
            retain_last: 100,
            keep_finished_s: 86_400,
            keep_finished_bytes: Size(256 << 20),
        }
    }
}

/// `[surreal]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Surreal {
    /// Where it is; `surrealkv://surreal` in the data directory.
    pub endpoint: Option<String>,
    /// Its namespace.
    pub namespace: String,
    /// Its database.
    pub database: String,
    /// What kind of user signs in to a server.
    pub auth: Option<Auth>,
    /// That user.
    pub user: Option<String>,
    /// The file that holds the password.
    pub password_file: Option<PathBuf>,
    /// The file that holds a token, instead of user and password.
    pub token_file: Option<PathBuf>,
    /// Certificates that a server is trusted by.
    pub ca_file: Option<PathBuf>,
    /// How long a call to a server may take.
    pub timeout_s: u64,
}

impl Default for Surreal {
    fn default() -> Self {
        Self {
            endpoint: None,
            namespace: "lockstep".to_owned(),
            database: "lockstep".to_owned(),
            auth: None,
            user: None,
            password_file: None,
            token_file: None,
            ca_file: None,
            timeout_s: 10,
        }
    }
}

/// `surreal.auth`: root if it is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// A root user.
    Root,
    /// A user of the namespace.
    Namespace,
    /// A user of the database.
    Database,
}

/// `[qdrant]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Qdrant {
    /// Where it is; `edge://qdrant` in the data directory.
    pub endpoint: Option<String>,
    /// The file that holds the API key.
    pub api_key_file: Option<PathBuf>,
    /// Certificates that a server is trusted by.
    pub ca_file: Option<PathBuf>,
    /// How long a call to a server may take.
    pub timeout_s: u64,
    /// How far a write has to be ordered before a cluster answers; Qdrant's own default if it is not said.
    pub ordering: Option<Ordering>,
}

impl Default for Qdrant {
    fn default() -> Self {
        Self { endpoint: None, api_key_file: None, ca_file: None, timeout_s: 10, ordering: None }
    }
}

/// `qdrant.ordering`: Qdrant's write ordering. A server that stands alone has no use for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// Any replica orders: Qdrant's default.
    Weak,
    /// A leader that is chosen dynamically orders.
    Medium,
    /// The permanent leader orders; writes fail while it is away.
    Strong,
}

/// `[retry]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// So many attempts that count, and a failure is permanent.
    pub max_attempts: u32,
    /// The first wait.
    pub base_ms: u64,
    /// The longest wait.
    pub max_ms: u64,
}

impl Default for Retry {
    fn default() -> Self {
        Self { max_attempts: 10, base_ms: 100, max_ms: 30_000 }
    }
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// One operation's bytes, as sent.
    pub op_bytes: Size,
    /// Members of a group.
    pub group_ops: u64,
    /// Operations of a batch.
    pub batch_ops: u64,
    /// And its bytes.
    pub batch_bytes: Size,
    /// Operations that have not ended.
    pub open_ops: u64,
    /// Of one key.
    pub open_per_key: u64,
    /// Connections at once.
    pub connections: u64,
    /// Work that does not move for so long is stuck.
    pub stall_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            op_bytes: Size(8 << 20),
            group_ops: 1000,
            batch_ops: 128,
            batch_bytes: Size(16 << 20),
            open_ops: 1_000_000,
            open_per_key: 10_000,
            connections: 2048,
            stall_s: 60,
        }
    }
}
